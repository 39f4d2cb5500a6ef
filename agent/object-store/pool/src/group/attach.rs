//! What stands in a volume's folder of extents. Calls block.

use std::io;

use super::error::ExtentError;
use super::extent::Extent;
use super::files::{self, Name};
use super::header::ExtentHeader;
use super::run::GroupId;
use crate::backend::EntryKind;
use crate::device::Device;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) extents: Vec<ExtentHeader>,
    /// Files that were removed as they were not finished.
    pub(crate) unfinished: usize,
    /// Files that are left as they are.
    pub(crate) unusable: Vec<ExtentError>,
}

/// Lists the extents, and removes what was not finished unless the device is fenced.
pub(crate) fn list(device: &Device) -> Result<Listing, ExtentError> {
    let folder = files::folder(device);
    let names = match device.backend().list_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Listing::default()),
        other => other.map_err(|source| ExtentError::Io {
            operation: "list",
            path: folder.clone(),
            source,
        })?,
    };
    let mut listing = Listing::default();
    let mut leftovers = Vec::new();
    for (name, kind) in names {
        match files::parse_name(&name) {
            _ if kind != EntryKind::File => {}
            Name::Foreign => {}
            Name::Unfinished => leftovers.push(name),
            Name::Extent(group, shard) => match Extent::open(device, group, shard) {
                Ok(extent) => listing.extents.push(*extent.header()),
                Err(ExtentError::Incomplete { .. }) => leftovers.push(name),
                Err(error) => listing.unusable.push(error),
            },
        }
    }
    if leftovers.is_empty() || device.fenced().is_some() {
        return Ok(listing);
    }
    listing.unfinished = leftovers.len();
    for name in leftovers {
        files::remove_path(device, &folder.join(name))?;
    }
    files::sync_folder(device)?;
    Ok(listing)
}

/// An extent that says other things than those of its group that were found before it.
pub(crate) fn conflict(device: &Device, header: &ExtentHeader) -> ExtentError {
    ExtentError::Misplaced { path: files::path(device, header.group, header.shard, false) }
}

/// Removes shards' files, durably.
pub(crate) fn remove(device: &Device, shards: &[(GroupId, u8)]) -> Result<(), ExtentError> {
    for (group, shard) in shards {
        files::remove(device, *group, *shard)?;
    }
    files::sync_folder(device)
}

/// Cuts an extent off, if it is longer.
pub(crate) fn trim(extent: &Extent, end: u64) -> Result<(), ExtentError> {
    let path = || files::path(extent.device(), extent.header().group, extent.header().shard, false);
    let size = extent.size();
    let size =
        size.map_err(|source| ExtentError::Io { operation: "measure", path: path(), source });
    let end = end.max(super::geometry::EXTENT_HEADER).min(size?);
    extent.truncate(end)
}
