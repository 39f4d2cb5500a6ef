//! Mounts and unmounts data volumes.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use uuid::Uuid;

/// Who owns the root directory of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub user: u32,
    /// Group id.
    pub group: u32,
}

/// Permissions of a volume's root directory: its owner's alone.
const VOLUME_MODE: u32 = 0o700;

/// Why a volume is not mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The kernel does not show the data partition.
    #[error("the kernel shows no data partition on it")]
    NoPartition,
    /// The partition cannot be read.
    #[error("cannot read {}: {source}", .partition.display())]
    Read {
        /// Which.
        partition: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The partition has no XFS of this volume.
    #[error("the data partition {} does not hold the file system of volume {volume}; \
             it is not formatted again", .partition.display())]
    WrongFileSystem {
        /// Which.
        partition: PathBuf,
        /// The volume.
        volume: Uuid,
    },
    /// The mount point cannot be made.
    #[error("cannot make the directory {}: {source}", .at.display())]
    Directory {
        /// Where.
        at: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel refuses the file system.
    #[error("the file system on {} does not mount ({source}); it is not formatted again: \
             check it with xfs_repair, or replace the disk", .partition.display())]
    Mount {
        /// Which.
        partition: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its root directory cannot be given to its owner.
    #[error("cannot hand {} over to its owner: {source}", .at.display())]
    Owner {
        /// Where.
        at: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Mounts a volume below `data_dir` and gives it to its owner. The kernel replays the file system's
/// log.
///
/// # Errors
/// See [`MountError`]; nothing stays mounted.
pub fn mount_volume(
    partition: &Path,
    data_dir: &Path,
    volume: Uuid,
    owner: Owner,
) -> Result<PathBuf, MountError> {
    let named = || partition.to_owned();
    let mut head = [0; 512];
    File::open(partition)
        .and_then(|file| file.read_exact_at(&mut head, 0))
        .map_err(|source| MountError::Read { partition: named(), source })?;
    if !is_xfs_of(&head, volume) {
        return Err(MountError::WrongFileSystem { partition: named(), volume });
    }
    let at = data_dir.join(volume.to_string());
    make_directory(data_dir, &at)
        .map_err(|source| MountError::Directory { at: at.clone(), source })?;
    mount_xfs(partition, &at)
        .map_err(|error| MountError::Mount { partition: named(), source: error.into() })?;
    if let Err(source) = hand_over(&at, owner) {
        detach(&at);
        return Err(MountError::Owner { at, source });
    }
    Ok(at)
}

/// XFS refuses (`EINVAL`) a UUID that is mounted already. The plan gives a volume to one disk of all
/// that are there, so the other can only be what is left of this volume from before its disk was
/// pulled, kept by a program with a file of it open: its device is gone, and nothing it does reaches
/// the disk. Then the UUID is not asked for.
fn mount_xfs(partition: &Path, at: &Path) -> Result<(), Errno> {
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NOATIME;
    match mount(partition, at, "xfs", flags, None) {
        Err(Errno::INVAL) => {
            tracing::warn!(at = %at.display(), "mounting beside a volume that was pulled in use");
            mount(partition, at, "xfs", flags, Some(c"nouuid"))
        }
        other => other,
    }
}

/// Detaches a volume whose disk is gone: at once for whoever opens a path now, later for whoever
/// has a file open.
pub fn detach(at: &Path) {
    match unmount(at, UnmountFlags::DETACH) {
        // What is not mounted is as wanted.
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
        Err(error) => tracing::warn!(at = %at.display(), %error, "cannot unmount"),
    }
    // An empty directory may stay; the next mount uses it.
    let _ = fs::remove_dir(at);
}

/// Whether a partition that starts with these bytes holds an XFS with this UUID (Linux
/// fs/xfs/libxfs/xfs_format.h: magic at 0, UUID at 32).
#[must_use]
pub fn is_xfs_of(head: &[u8], volume: Uuid) -> bool {
    head.starts_with(b"XFSB") && head.get(32..48) == Some(volume.as_bytes())
}

fn hand_over(at: &Path, owner: Owner) -> io::Result<()> {
    chown(at, Some(owner.user), Some(owner.group))?;
    fs::set_permissions(at, Permissions::from_mode(VOLUME_MODE))
}

/// Makes the mount point. Where the data directory cannot be written, as on a read-only root, a
/// small file system in memory takes its place: it only ever holds mount points.
fn make_directory(data_dir: &Path, at: &Path) -> io::Result<()> {
    match fs::create_dir_all(at) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
            mount("icn-data", data_dir, "tmpfs", flags, Some(c"size=1m,mode=0755"))?;
            fs::create_dir_all(at)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_xfs_is_known_by_its_magic_and_uuid() {
        let volume = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        let mut head = vec![0; 512];
        head[..4].copy_from_slice(b"XFSB");
        head[32..48].copy_from_slice(volume.as_bytes());
        assert!(is_xfs_of(&head, volume));
        assert!(!is_xfs_of(&head, Uuid::nil()));
        assert!(!is_xfs_of(b"XFS", volume));
    }
}
