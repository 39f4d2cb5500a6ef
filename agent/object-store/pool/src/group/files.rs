//! The files of extents: names, places, and what a failed change does.

use std::io;
use std::path::{Path, PathBuf};

use super::error::{ExtentError, is_full};
use super::run::GroupId;
use crate::backend::BackendFile;
use crate::device::Device;

/// The folder of extents on a volume.
pub(crate) const FOLDER: &str = "extents";

/// Behind the name of an extent that is not whole yet; one that is there at start is removed.
const UNFINISHED: &str = ".new";

/// What an extent's file is named.
pub(crate) fn name(group: GroupId, shard: u8) -> String {
    format!("{group}-{shard:02x}")
}

/// What a name in the folder says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Extent(GroupId, u8),
    Unfinished,
    Foreign,
}

pub(crate) fn parse_name(text: &str) -> Name {
    if text.strip_suffix(UNFINISHED).is_some_and(|text| is_extent(parse_name(text))) {
        return Name::Unfinished;
    }
    let parsed = text.split_once('-').and_then(|(group, shard)| {
        let group = GroupId(u64::from_str_radix(group, 16).ok()?);
        Some((group, u8::from_str_radix(shard, 16).ok()?))
    });
    match parsed {
        Some((group, shard)) if name(group, shard) == text => Name::Extent(group, shard),
        _ => Name::Foreign,
    }
}

fn is_extent(name: Name) -> bool {
    matches!(name, Name::Extent(..))
}

/// Where the file of a shard is.
pub(crate) fn path(device: &Device, group: GroupId, shard: u8, unfinished: bool) -> PathBuf {
    let suffix = if unfinished { UNFINISHED } else { "" };
    folder(device).join(format!("{}{suffix}", name(group, shard)))
}

pub(crate) fn folder(device: &Device) -> PathBuf {
    device.root().join(FOLDER)
}

/// Removes a shard's file; not durable before [`sync_folder`]. That there is none is no error.
pub(crate) fn remove(device: &Device, group: GroupId, shard: u8) -> Result<(), ExtentError> {
    remove_path(device, &path(device, group, shard, false))
}

pub(crate) fn remove_path(device: &Device, path: &Path) -> Result<(), ExtentError> {
    check(device)?;
    match device.backend().remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => changed(device, "remove", path, other),
    }
}

pub(crate) fn sync_folder(device: &Device) -> Result<(), ExtentError> {
    let folder = folder(device);
    changed(device, "sync", &folder, device.backend().sync_dir(&folder))?;
    check(device)
}

pub(crate) fn create_file(
    device: &Device,
    path: &Path,
) -> Result<Box<dyn BackendFile>, ExtentError> {
    let backend = device.backend();
    let first = match backend.create(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = folder(device);
            changed(device, "make", &folder, backend.create_dir(&folder))?;
            changed(device, "sync", device.root(), backend.sync_dir(device.root()))?;
            backend.create(path)
        }
        other => other,
    };
    match first {
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {
            Err(ExtentError::Io { operation: "make", path: path.to_owned(), source })
        }
        other => changed(device, "make", path, other),
    }
}

pub(crate) fn check(device: &Device) -> Result<(), ExtentError> {
    match device.fenced() {
        Some(_) => Err(ExtentError::Fenced { volume: device.number() }),
        None => Ok(()),
    }
}

/// Fences the device if a change failed, unless there was only no room for it.
pub(crate) fn changed<T>(
    device: &Device,
    operation: &'static str,
    path: &Path,
    result: io::Result<T>,
) -> Result<T, ExtentError> {
    result.map_err(|source| {
        if !is_full(&source) || operation == "sync" {
            device.fence(&format!("cannot {operation} {}: {source}", path.display()));
        }
        ExtentError::Io { operation, path: path.to_owned(), source }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_made() {
        let made = name(GroupId(0xabc), 3);
        assert_eq!(made, "0000000000000abc-03");
        assert_eq!(parse_name(&made), Name::Extent(GroupId(0xabc), 3));
        assert_eq!(parse_name(&format!("{made}.new")), Name::Unfinished);
        for foreign in ["", "-", "abc-3", "0000000000000ABC-03", "x.new", "0000000000000abc-03.old"]
        {
            assert_eq!(parse_name(foreign), Name::Foreign, "{foreign}");
        }
    }
}
