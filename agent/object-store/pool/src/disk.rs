//! Real files, and how it is waited for them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use crate::backend::{Backend, BackendFile, EntryKind, Failed, Job, Space, Started, VolumeLock};
use crate::uring::{Unavailable, Uring};

/// How it is waited for real files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// By `io_uring` where the kernel allows it, else by threads.
    #[default]
    Auto,
    /// By threads.
    Threads,
    /// By `io_uring`.
    IoUring,
}

/// Names of the choices, as they are written.
const CHOICES: [(&str, Choice); 3] =
    [("auto", Choice::Auto), ("threads", Choice::Threads), ("io-uring", Choice::IoUring)];

/// The word is none of `auto`, `threads` and `io-uring`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write auto, threads or io-uring")]
pub struct NoChoice;

impl FromStr for Choice {
    type Err = NoChoice;

    fn from_str(text: &str) -> Result<Self, NoChoice> {
        let found = CHOICES.iter().find(|(name, _)| *name == text);
        found.map(|(_, choice)| *choice).ok_or(NoChoice)
    }
}

/// Real files.
#[derive(Debug, Clone, Default)]
pub struct DiskBackend {
    ring: Option<Uring>,
}

impl DiskBackend {
    /// Files that threads wait for.
    #[must_use]
    pub fn threads() -> Self {
        Self { ring: None }
    }

    /// Files that are waited for as was chosen.
    ///
    /// # Errors
    /// `io_uring` was chosen and cannot be had.
    pub fn choose(choice: Choice) -> Result<Self, Unavailable> {
        match choice {
            Choice::Threads => Ok(Self::threads()),
            Choice::IoUring => Ok(Self { ring: Some(Uring::new()?) }),
            Choice::Auto => Ok(Self::automatic()),
        }
    }

    /// Files that are waited for by `io_uring` where the kernel allows it, else by threads.
    #[must_use]
    pub fn automatic() -> Self {
        let ring = Uring::new();
        if let Err(error) = &ring {
            tracing::info!(why = %error, "disks are waited for by threads");
        } else {
            tracing::info!("disks are waited for by io_uring");
        }
        Self { ring: ring.ok() }
    }

    fn file(&self, file: File) -> Box<dyn BackendFile> {
        Box::new(DiskFile { file: Arc::new(file), ring: self.ring.clone() })
    }
}

/// As direct writes want it: at a multiple of any disk's block. It takes no memory, as nothing writes to
/// it.
#[repr(align(4096))]
struct Zeros([u8; 1 << 20]);

static ZEROS: Zeros = Zeros([0; 1 << 20]);

#[derive(Debug)]
struct DiskFile {
    file: Arc<File>,
    ring: Option<Uring>,
}

impl DiskFile {
    /// The same file for writes past the kernel's cache; none where that cannot be.
    fn direct(&self) -> Option<File> {
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(rustix::fs::OFlags::DIRECT.bits().cast_signed());
        options.open(format!("/proc/self/fd/{}", self.file.as_raw_fd())).ok()
    }

    fn write_by(&self, direct: Option<&File>, data: &[u8], offset: u64) -> io::Result<()> {
        match direct.unwrap_or(&self.file).write_all_at(data, offset) {
            // A file system that takes no direct writes after all, or not from this memory.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                self.file.write_all_at(data, offset)
            }
            other => other,
        }
    }
}

/// The lock is released when the file is closed.
#[derive(Debug)]
struct DiskLock {
    _file: File,
}

impl VolumeLock for DiskLock {}

impl Backend for DiskBackend {
    fn create(&self, path: &Path) -> io::Result<Box<dyn BackendFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(self.file(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn BackendFile>> {
        Ok(self.file(OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<(String, EntryKind)>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let kind = if kind.is_file() {
                EntryKind::File
            } else if kind.is_dir() {
                EntryKind::Directory
            } else {
                EntryKind::Other
            };
            // A name that is not UTF-8 is not one of ours.
            if let Ok(name) = entry.file_name().into_string() {
                names.push((name, kind));
            }
        }
        Ok(names)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Space { total: bytes(stat.f_blocks), free: bytes(stat.f_bavail) })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn VolumeLock>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        file.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            fs::TryLockError::Error(error) => error,
        })?;
        Ok(Box::new(DiskLock { _file: file }))
    }
}

impl BackendFile for DiskFile {
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    fn read_at(&self, data: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(data, offset)
    }

    fn read_cached_at(&self, data: &mut [u8], offset: u64) -> bool {
        let length = data.len();
        let mut buffers = [io::IoSliceMut::new(data)];
        let flags = rustix::io::ReadWriteFlags::NOWAIT;
        matches!(rustix::io::preadv2(&self.file, &mut buffers, offset, flags), Ok(n) if n == length)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_size(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let keep = rustix::fs::FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.file, keep, 0, length) {
            // A file system that cannot says no later, when it is written to.
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            other => Ok(other?),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write_durable_at(&self, data: &[u8], offset: u64) -> Result<(), Failed> {
        // One call: about a tenth quicker than two.
        let (mut rest, mut offset) = (data, offset);
        while !rest.is_empty() {
            let flags = rustix::io::ReadWriteFlags::DSYNC;
            let wrote =
                match rustix::io::pwritev2(&self.file, &[io::IoSlice::new(rest)], offset, flags) {
                    Err(rustix::io::Errno::INTR) => continue,
                    Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                    other => other.map_err(io::Error::from),
                };
            let wrote = wrote.map_err(|source| Failed { operation: "write", source })?;
            rest = rest.get(wrote..).unwrap_or_default();
            offset += wrote as u64;
        }
        Ok(())
    }

    fn write_direct_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.write_by(self.direct().as_ref(), data, offset)
    }

    fn write_zeros_at(&self, length: u64, offset: u64) -> io::Result<()> {
        // A quarter of what the processor did for small PUTs was to copy zeros.
        let direct = self.direct();
        let end = offset.saturating_add(length);
        let mut at = offset;
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX).min(ZEROS.0.len());
            let piece = ZEROS.0.get(..left).unwrap_or_default();
            self.write_by(direct.as_ref(), piece, at)?;
            at += left as u64;
        }
        Ok(())
    }

    fn start(&self, job: Job) -> Result<Started, Job> {
        match &self.ring {
            Some(ring) => ring.start(&self.file, job),
            None => Err(job),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_written_where_they_are_to_be_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = DiskBackend::threads().create(&folder.path().join("file")).unwrap();
        file.write_at(&vec![7; 5 << 20], 0).unwrap();
        let (from, length) = (4096, (2 << 20) + 8192);
        file.write_zeros_at(length, from).unwrap();
        let mut found = vec![1; 5 << 20];
        file.read_at(&mut found, 0).unwrap();
        let zeros = usize::try_from(from).unwrap()..usize::try_from(from + length).unwrap();
        for (at, byte) in found.into_iter().enumerate() {
            assert_eq!(byte, if zeros.contains(&at) { 0 } else { 7 }, "{at}");
        }
    }
}
