//! The only place where files are touched. Small, so that a test can stand in for the disk and cut
//! the power between any two calls.

use std::fmt;
use std::io;
use std::path::Path;
use std::pin::Pin;

pub use crate::buffer::Buffer;
use crate::io::Unfinished;

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

    /// Writes all of `data` at an offset in bytes and brings it to stable storage.
    ///
    /// # Errors
    /// What the system says; part of the data may have been written. It must not be tried again.
    fn write_durable_at(&self, data: &[u8], offset: u64) -> Result<(), Failed> {
        self.write_at(data, offset).map_err(|source| Failed { operation: "write", source })?;
        self.sync_data().map_err(|source| Failed { operation: "sync", source })
    }

    /// As [`BackendFile::write_at`], of what need not be in memory afterwards. Length and offset are multiples
    /// of 4096, and it is well if the memory stands at one ([`Buffer::aligned`]).
    ///
    /// # Errors
    /// As [`BackendFile::write_at`].
    fn write_direct_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.write_at(data, offset)
    }

    /// Writes so many zeros at an offset in bytes, both multiples of 4096; nothing of it need be in
    /// memory afterwards.
    ///
    /// # Errors
    /// What the system says; part of it may have been written.
    fn write_zeros_at(&self, length: u64, offset: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.write_at(&vec![0; length], offset)
    }

    /// Begins a job that needs no thread to wait for it.
    ///
    /// # Errors
    /// The job, if it does need one: [`Job::run`] does it.
    fn start(&self, job: Job) -> Result<Started, Job> {
        Err(job)
    }
}

/// A job that is under way. It goes on when this is dropped, and keeps its memory.
pub type Started = Pin<Box<dyn Future<Output = Result<Done, Unfinished>> + Send>>;

/// What is to be done with a file, and the memory for it.
#[derive(Debug)]
pub struct Job {
    /// What.
    pub action: Action,
    /// What is written, or filled; nothing for a sync.
    pub data: Buffer,
    /// Where in the file, in bytes.
    pub offset: u64,
}

/// What is done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// As [`BackendFile::read_at`].
    Read,
    /// As [`BackendFile::write_at`].
    Write,
    /// As [`BackendFile::write_durable_at`].
    WriteDurable,
    /// As [`BackendFile::sync_data`].
    Sync,
}

impl Action {
    /// What it is called where it failed.
    #[must_use]
    pub fn operation(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write | Self::WriteDurable => "write",
            Self::Sync => "sync",
        }
    }
}

/// What became of a job.
#[derive(Debug)]
pub struct Done {
    /// The memory, filled if it was to be.
    pub data: Buffer,
    /// Whether it was done.
    pub result: Result<(), Failed>,
}

/// A job that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation}: {source}")]
pub struct Failed {
    /// What was to be done.
    pub operation: &'static str,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl Job {
    /// Brings to stable storage what was written.
    #[must_use]
    pub fn sync() -> Self {
        Self { action: Action::Sync, data: Buffer::default(), offset: 0 }
    }

    /// Fills the memory.
    #[must_use]
    pub fn read(data: Buffer, offset: u64) -> Self {
        Self { action: Action::Read, data, offset }
    }

    /// Does it. Blocks.
    #[must_use]
    pub fn run(self, file: &dyn BackendFile) -> Done {
        let Self { action, mut data, offset } = self;
        let failed = |source| Failed { operation: action.operation(), source };
        let result = match action {
            Action::Read => file.read_at(data.bytes(), offset).map_err(failed),
            Action::Write => file.write_at(data.as_ref(), offset).map_err(failed),
            Action::WriteDurable => file.write_durable_at(data.as_ref(), offset),
            Action::Sync => file.sync_data().map_err(failed),
        };
        Done { data, result }
    }
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
