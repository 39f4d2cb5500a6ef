//! What a volume says of itself, before it is used. Calls block.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use agent_object_store_pool::backend::{Backend, EntryKind};
use agent_object_store_pool::device::{DeviceError, FOLDER, LOCK, opens, superblock};
use agent_object_store_pool::disk::DiskBackend;
use agent_object_store_pool::seal::KeyBytes;
use agent_object_store_pool::superblock::{FORMAT, Superblock, SuperblockError};

use crate::error::StoreError;
use crate::volumes::{AttachError, Volume};

/// Whether the volume mounted at a folder was retired: then nothing else of the node is to be left on it.
/// Blocks.
#[must_use]
pub fn is_retired(path: &Path) -> bool {
    let found = superblock(&DiskBackend::threads(), path);
    matches!(found, Ok(Some(found)) if found.key.is_empty())
}

/// Whether a pool is on the volume mounted at a folder that this key opens, which wraps the keys of its volumes. No where
/// there is none, and where its superblocks are damaged. Blocks.
///
/// # Errors
/// That cannot be told: a file cannot be read, or is of a later release.
pub fn is_opened_by(path: &Path, key: &KeyBytes) -> io::Result<bool> {
    match superblock(&DiskBackend::threads(), path) {
        Ok(found) => Ok(found.is_some_and(|found| opens(key, &found))),
        Err(DeviceError::Io { source, .. }) => Err(source),
        Err(DeviceError::Superblock { source: SuperblockError::Damaged, .. }) => Ok(false),
        Err(error) => Err(io::Error::other(error.to_string())),
    }
}

/// Whether anything of a pool is on the volume mounted at a folder, whole or not. Blocks.
///
/// # Errors
/// The folder cannot be looked at.
pub fn has_pool(path: &Path) -> io::Result<bool> {
    path.join(FOLDER).try_exists()
}

/// Takes a volume out of every pool for good: its keys are written over, then what the pool has on it is removed. Goes on
/// where an earlier call was cut off. Blocks.
///
/// # Errors
/// It is in use by a process ([`io::ErrorKind::WouldBlock`]), or a file failed; something may be left then.
pub fn destroy_volume(path: &Path) -> io::Result<()> {
    let root = path.join(FOLDER);
    if !root.try_exists()? {
        return Ok(());
    }
    let backend = DiskBackend::threads();
    let _lock = backend.lock(&root.join(LOCK))?;
    for (name, _) in backend.list_dir(&root)? {
        if name.starts_with(SUPERBLOCK) {
            let file = OpenOptions::new().write(true).open(root.join(name))?;
            let length = file.metadata()?.len();
            file.write_all_at(&vec![0; usize::try_from(length).unwrap_or_default()], 0)?;
            file.sync_all()?;
        }
    }
    fs::remove_dir_all(&root)?;
    fs::File::open(path)?.sync_all()
}

/// What superblocks' names begin with.
const SUPERBLOCK: &str = "superblock-";

/// The superblock of a volume; none if it is blank, or formatting it was cut off.
///
/// # Errors
/// It cannot be read, or has lost its superblocks.
pub(super) fn inspect(
    backend: &dyn Backend,
    volume: &Volume,
) -> Result<Option<Superblock>, AttachError> {
    let found = superblock(backend, &volume.path);
    let damaged = match found {
        Ok(Some(found)) => return Ok(Some(found)),
        Ok(None) => false,
        Err(DeviceError::Superblock { source: SuperblockError::Damaged, .. }) => true,
        Err(error) => return Err(refusal(volume, error)),
    };
    let root = volume.path.join(FOLDER);
    let names = match backend.list_dir(&root) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(AttachError::Io { operation: "list", path: root, source }),
    };
    let superblocks = names.iter().filter(|(name, _)| name.starts_with(SUPERBLOCK)).count();
    // Journal and extents are made when both superblocks are there; formatting makes those one by one.
    let is_used = names.iter().any(|(_, kind)| *kind == EntryKind::Directory);
    if is_used || (damaged && superblocks > 1) {
        let reason = "its superblocks are lost or damaged; it was left as it is".to_owned();
        return Err(AttachError::Damaged { path: volume.path.clone(), reason });
    }
    Ok(None)
}

/// Why a volume is refused.
pub(super) fn refusal(volume: &Volume, error: DeviceError) -> AttachError {
    let path = volume.path.clone();
    match error {
        DeviceError::InUse { .. } => AttachError::InUse { path },
        DeviceError::Io { operation, path, source } => AttachError::Io { operation, path, source },
        DeviceError::Superblock { source: SuperblockError::Newer { found }, .. } => {
            AttachError::NewerFormat { path, found, known: FORMAT }
        }
        DeviceError::Superblock { source, .. } => {
            AttachError::Damaged { path, reason: source.to_string() }
        }
        DeviceError::WrongKey { .. } => AttachError::WrongKey { path },
        error @ DeviceError::Random(_) => {
            AttachError::Failed(StoreError::engine("format a volume", error))
        }
    }
}
