//! A disk held for us alone.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use disk_manager_plan::observe::Access;
use rustix::fs::{FlockOperation, flock};

use crate::blocks::Blocks;
use crate::program::between_starts;

/// How long udev may take to let go of a disk that it is looking at.
const LOCK_LIMIT: Duration = Duration::from_secs(5);
/// Time between two tries to lock.
const LOCK_STEP: Duration = Duration::from_millis(50);

/// A disk opened with `O_EXCL`, so that no one else can mount it or build on it, and locked, so that
/// udev stays away. Both end when this is dropped.
#[derive(Debug)]
pub struct Held {
    /// Holds `O_EXCL`; `None` once let go for mkfs.
    exclusive: Option<File>,
    /// Holds the lock, and is read and written through.
    file: File,
}

impl Held {
    /// Opens and locks a disk for reading and writing.
    ///
    /// # Errors
    /// It is in use (`EBUSY`), cannot be opened, or udev does not let go of it.
    pub fn open(device: &Path) -> io::Result<Self> {
        let open =
            |flags| OpenOptions::new().read(true).write(true).custom_flags(flags).open(device);
        let exclusive = open(libc::O_EXCL)?;
        let file = open(0)?;
        let start = Instant::now();
        while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if start.elapsed() > LOCK_LIMIT {
                return Err(error.into());
            }
            thread::sleep(LOCK_STEP);
        }
        Ok(Self { exclusive: Some(exclusive), file })
    }

    /// The descriptor to read through.
    #[must_use]
    pub fn disk(&self) -> &File {
        &self.file
    }

    /// A path by which other programs open the very device that is held, whatever its name names
    /// by now.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()))
    }

    /// Makes the kernel read the partition table again. Needs the exclusive hold: without it the
    /// kernel refuses while anyone has the disk open for itself.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn reread_partition_table(&self) -> io::Result<()> {
        crate::sys::reread_partition_table(self.exclusive.as_ref().unwrap_or(&self.file))
    }

    /// Lets go of the exclusive hold, as mkfs.xfs wants one on the partition and the kernel gives
    /// none below a held disk. The lock stays.
    pub fn let_partitions_be_held(&mut self) {
        between_starts(|| self.exclusive = None);
    }

    /// Writes `bytes` at `offset`.
    ///
    /// # Errors
    /// The write failed.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Waits until everything written is on stable storage.
    ///
    /// # Errors
    /// It is not; what was written since the last flush is in doubt.
    pub fn flush(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.let_partitions_be_held();
    }
}

impl Blocks for Held {
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, bytes)
    }
}

/// Whether a disk can be opened for us alone; lets go of it at once. Read-only, as closing a disk
/// that was open for writing makes udev look at it again.
#[must_use]
pub fn access(device: &Path) -> Access {
    match OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(device) {
        Ok(held) => {
            between_starts(|| drop(held));
            Access::Free
        }
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Access::Busy,
        Err(error) => Access::Denied(error.to_string()),
    }
}
