//! Where the history is kept: keys and values, in order of keys.
//!
//! sled 0.34 writes what it is told to flush with `sync_file_range`, which leaves the disk's own cache
//! alone: with a power cut replayed from logged writes it lost what was acknowledged. So each flush is
//! followed by an fsync of its one file, `db`, with which none was lost.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Memory for pages of the tree in bytes. Queries are rare, and a flush reads each chunk once.
const CACHE: u64 = 4 << 20;

/// Changes that are applied together: what a batch holds is held twice.
const BATCH: usize = 512;

/// sled's one file.
pub(super) const FILE: &str = "db";

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder could not be used.
    #[error("cannot {operation} {path}: {source}")]
    Io {
        /// What was to be done.
        operation: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The database failed.
    #[error("cannot {operation} the database in {path}: {source}")]
    Database {
        /// What was to be done.
        operation: &'static str,
        /// Where it is.
        path: PathBuf,
        /// Why not.
        source: sled::Error,
    },
    /// The database gave up on what it found.
    #[error("cannot {operation} the database in {path}: it is damaged")]
    Damaged {
        /// What was to be done.
        operation: &'static str,
        /// Where it is.
        path: PathBuf,
    },
}

/// A change: a key and its value, or none to remove it.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// Keys and values in order of keys.
pub trait Store: Send {
    /// The value of a key.
    ///
    /// # Errors
    /// It could not be read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// All pairs from one key on and before another.
    ///
    /// # Errors
    /// They could not be read.
    fn range(&self, from: &[u8], before: &[u8]) -> Result<Vec<Pair>, StoreError>;

    /// Changes pairs, and returns when that stands on the disk.
    ///
    /// # Errors
    /// What stands there is not known: the store is not to be used any more.
    fn change(&mut self, changes: Vec<Change>) -> Result<(), StoreError>;

    /// Bytes on the disk.
    ///
    /// # Errors
    /// That could not be found out.
    fn size(&self) -> Result<u64, StoreError>;
}

/// Key and value of what is written only where it cannot be.
const FAILED: &[u8] = b"failed";

/// A store in a folder.
#[derive(Debug)]
pub struct SledStore {
    path: PathBuf,
    /// None only while it is dropped.
    database: Option<sled::Db>,
}

impl SledStore {
    /// Opens the store in a folder, which is made where it is not there.
    ///
    /// # Errors
    /// It is damaged, in use, or of another kind, or the disk fails.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        guarded("open", path, || {
            let config = sled::Config::new()
                .path(path)
                .cache_capacity(CACHE)
                .mode(sled::Mode::LowSpace)
                // Only when told to.
                .flush_every_ms(None);
            let database = config.open().map_err(|source| failed("open", path, source))?;
            Ok(Self { path: path.to_owned(), database: Some(database) })
        })
    }

    fn run<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&sled::Db) -> sled::Result<T>,
    ) -> Result<T, StoreError> {
        guarded(operation, &self.path, || match &self.database {
            Some(database) => {
                work(database).map_err(|source| failed(operation, &self.path, source))
            }
            None => Err(StoreError::Damaged { operation, path: self.path.clone() }),
        })
    }
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.run("read", |database| database.get(key))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn range(&self, from: &[u8], before: &[u8]) -> Result<Vec<Pair>, StoreError> {
        self.run("read", |database| {
            let pairs = database.range(from..before);
            pairs.map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
        })
    }

    fn change(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        for part in changes.chunks(BATCH) {
            let mut batch = sled::Batch::default();
            for (key, value) in part {
                match value {
                    Some(value) => batch.insert(key.as_slice(), value.as_slice()),
                    None => batch.remove(key.as_slice()),
                }
            }
            self.run("write", |database| database.apply_batch(batch))?;
        }
        self.run("write", |database| database.flush())?;
        sync(&self.path.join(FILE))
    }

    fn size(&self) -> Result<u64, StoreError> {
        self.run("measure", |database| database.size_on_disk())
    }
}

impl Drop for SledStore {
    /// sled 0.34 panics where its last sync fails, as on a disk that was pulled, unless it met a failure before.
    fn drop(&mut self) {
        let Some(database) = self.database.take() else { return };
        if sync(&self.path.join(FILE)).is_err() {
            // It takes note of this failure, and then ends without a word to the disk.
            let fail = || database.insert(FAILED, FAILED).and_then(|_| database.flush());
            let _ = catch_unwind(AssertUnwindSafe(fail));
        }
        let _ = catch_unwind(AssertUnwindSafe(move || drop(database)));
    }
}

fn sync(path: &Path) -> Result<(), StoreError> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|source| StoreError::Io { operation: "sync", path: path.to_owned(), source })
}

fn failed(operation: &'static str, path: &Path, source: sled::Error) -> StoreError {
    StoreError::Database { operation, path: path.to_owned(), source }
}

/// sled 0.34 panics at some kinds of damage.
fn guarded<T>(
    operation: &'static str,
    path: &Path,
    work: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done,
        Err(_) => Err(StoreError::Damaged { operation, path: path.to_owned() }),
    }
}

/// Moves a store that cannot be used out of the way, in the place of one that was moved before.
///
/// # Errors
/// The disk refuses.
pub(super) fn set_aside(path: &Path) -> Result<(), StoreError> {
    let aside = path.with_extension("damaged");
    let io = |operation, path: &Path, done: io::Result<()>| {
        done.map_err(|source| StoreError::Io { operation, path: path.to_owned(), source })
    };
    match fs::remove_dir_all(&aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        done => io("remove", &aside, done)?,
    }
    io("set aside", path, fs::rename(path, &aside))
}
