//! The only place where files are touched. Small, so that a test can stand in for the disk and cut
//! the power between any two calls.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// A file system. Every call blocks.
pub trait Backend: Send + Sync + fmt::Debug + 'static {
    /// Makes a new file for writing and reading.
    ///
    /// # Errors
    /// What the system says, also when the file exists.
    fn create(&self, path: &Path) -> io::Result<Box<dyn BackendFile>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, path: &Path) -> io::Result<Box<dyn BackendFile>>;

    /// Gives a file another name, in the place of a file that has it. Not durable before
    /// [`Backend::sync_dir`] of both directories.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Not durable before [`Backend::sync_dir`].
    ///
    /// # Errors
    /// What the system says.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory; that it exists is no error. Not durable before [`Backend::sync_dir`] of
    /// the one that it is in.
    ///
    /// # Errors
    /// What the system says.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// What the system says.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Names in a directory, in no order.
    ///
    /// # Errors
    /// What the system says.
    fn list_dir(&self, path: &Path) -> io::Result<Vec<(String, EntryKind)>>;

    /// Brings the names in a directory to stable storage.
    ///
    /// # Errors
    /// What the system says. The volume must not be written to again.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Size and free space of the file system that holds a path.
    ///
    /// # Errors
    /// What the system says.
    fn space(&self, path: &Path) -> io::Result<Space>;

    /// Makes a file and locks it against other processes until the answer is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another process holds it, or what the system says.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn VolumeLock>>;
}

/// An open file. Every call blocks.
pub trait BackendFile: Send + Sync + fmt::Debug + 'static {
    /// Writes all of `data` at an offset in bytes.
    ///
    /// # Errors
    /// What the system says; part of the data may have been written.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()>;

    /// Fills all of `data` from an offset in bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] at the end, or what the system says.
    fn read_at(&self, data: &mut [u8], offset: u64) -> io::Result<()>;

    /// Fills all of `data` from an offset in bytes if that needs no wait for the disk; says whether
    /// it did. That it did not is no error.
    fn read_cached_at(&self, data: &mut [u8], offset: u64) -> bool {
        let _ = (data, offset);
        false
    }

    /// Size in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn size(&self) -> io::Result<u64>;

    /// Makes the file so long, in bytes: cut off, or filled up with zeros.
    ///
    /// # Errors
    /// What the system says.
    fn set_size(&self, length: u64) -> io::Result<()>;

    /// Takes room for so many bytes from the start, without changing size or content.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::StorageFull`] if there is no room.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Brings content and length to stable storage.
    ///
    /// # Errors
    /// What the system says. It must not be tried again: the content may be lost.
    fn sync_data(&self) -> io::Result<()>;
}

/// Keeps other processes away while it lives.
pub trait VolumeLock: Send + Sync + fmt::Debug + 'static {}

/// What a name in a directory stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Anything else; never made by the store.
    Other,
}

/// Size of a file system in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// In all.
    pub total: u64,
    /// Free for unprivileged users.
    pub free: u64,
}

/// Real files.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskBackend;

#[derive(Debug)]
struct DiskFile(File);

/// The lock is released when the file is closed.
#[derive(Debug)]
struct DiskLock {
    _file: File,
}

impl VolumeLock for DiskLock {}

impl Backend for DiskBackend {
    fn create(&self, path: &Path) -> io::Result<Box<dyn BackendFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Box::new(DiskFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn BackendFile>> {
        Ok(Box::new(DiskFile(OpenOptions::new().read(true).write(true).open(path)?)))
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
        self.0.write_all_at(data, offset)
    }

    fn read_at(&self, data: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(data, offset)
    }

    fn read_cached_at(&self, data: &mut [u8], offset: u64) -> bool {
        let length = data.len();
        let mut buffers = [io::IoSliceMut::new(data)];
        let flags = rustix::io::ReadWriteFlags::NOWAIT;
        matches!(rustix::io::preadv2(&self.0, &mut buffers, offset, flags), Ok(n) if n == length)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_size(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let keep = rustix::fs::FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.0, keep, 0, length) {
            // A file system that cannot says no later, when it is written to.
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            other => Ok(other?),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
