//! What lies below HTTP: codecs, seals, journal and groups of the pool, beside the disk.

mod compute;
mod groups;
mod journal;
mod put;
mod rebuild;

use std::path::Path;
use std::sync::Arc;

use agent_object_store_pool::device::{Device, NewVolume, Surroundings};
use agent_object_store_pool::disk::DiskBackend;
use agent_object_store_pool::io::Io;
use agent_object_store_pool::seal::KEY;
use agent_object_store_pool::superblock::{Class, VolumeNo};
use anyhow::{Context, Result};
use zeroize::Zeroizing;

use crate::arguments::Options;
use crate::content::Content;
use crate::table::Row;

/// The works, for `--only`.
const WORKS: [&str; 5] = ["compute", "journal", "groups", "put-large", "rebuild"];

/// Rounds of each measurement that shares the disk with others.
const ROUNDS: u32 = 3;

/// What all works need.
struct Bench<'a> {
    options: &'a Options,
    dir: &'a Path,
    content: Content,
}

/// Measures in a folder.
///
/// # Errors
/// A file failed.
pub(crate) async fn measure(options: &Options, dir: &Path) -> Result<Vec<Row>> {
    options.check_only(&WORKS)?;
    let bench = Bench { options, dir, content: Content::new() };
    let mut rows = Vec::new();
    if options.wants("compute") {
        rows.extend(compute::measure(&bench)?);
    }
    if options.wants("journal") {
        rows.extend(journal::measure(&bench).await?);
    }
    if options.wants("groups") {
        rows.extend(groups::measure(&bench).await?);
    }
    if options.wants("put-large") {
        rows.extend(put::measure(&bench).await?);
    }
    if options.wants("rebuild") {
        rows.extend(rebuild::measure(&bench).await?);
    }
    Ok(rows)
}

/// New volumes in folders below `dir`.
fn volumes(dir: &Path, count: u16) -> Result<Vec<Device>> {
    let volume = |number: u16| {
        let path = dir.join(format!("disk-{number}"));
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        let new = NewVolume {
            pool: "bench".to_owned(),
            volume: format!("disk-{number}"),
            number: VolumeNo(number),
            class: Class::Nvme,
            members: Vec::new(),
        };
        let surroundings = Surroundings {
            backend: Arc::new(DiskBackend::threads()),
            io: Io::Threads,
            node_key: Zeroizing::new([1; KEY]),
            on_fence: Box::new(|_, _| ()),
        };
        Ok(Device::format(&path, new, surroundings)?)
    };
    (0..count).map(volume).collect()
}

fn remove(dir: &Path) -> Result<()> {
    std::fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))
}
