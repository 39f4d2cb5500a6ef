//! A store on a data volume: sled, whose `flush` alone does not outlast a power cut.
//!
//! It writes with `sync_file_range`, which leaves data in the disk's cache and the file's length in
//! memory. So each commit is a flush, then an fsync of its file `db`. Nodes of its tree that grow beyond a
//! quarter of a segment are written to files of their own that it never syncs; a node has up to 17
//! values, so none may be longer than [`VALUE_MAX`].

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sled::{Batch, Config, Db, Mode};

use super::store::{Change, Pair, Store, StoreError};

/// The longest value in bytes: 17 of them fill half of what a node may have (128 KiB).
pub(crate) const VALUE_MAX: usize = 4 << 10;

/// Memory of its cache in bytes. It is read from the front to the back, hardly ever twice.
const CACHE: u64 = 4 << 20;

/// How often a store that is open elsewhere is tried again: threads of the one before may still end.
const TRIES: u32 = 50;

/// The wait between two of these.
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// An open store.
pub(crate) struct Disk {
    tree: Db,
    /// What is synced: the file that sled writes.
    file: File,
    path: PathBuf,
}

impl Disk {
    /// Opens the store in a folder, or makes it.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(path).map_err(|source| io_error("create", path, source))?;
        let mut tries = 1;
        let tree = loop {
            match open_once(path) {
                Err(StoreError::Taken { .. }) if tries < TRIES => tries += 1,
                done => break done?,
            }
            std::thread::sleep(BETWEEN_TRIES);
        };
        let name = path.join("db");
        let file = File::open(&name).map_err(|source| io_error("open", &name, source))?;
        let opened = Self { tree, file, path: path.to_owned() };
        opened.sync()?;
        for folder in [Some(path), path.parent()].into_iter().flatten() {
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            synced.map_err(|source| io_error("sync", folder, source))?;
        }
        Ok(opened)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.tree.flush().map_err(|error| self.failed("flush", error))?;
        self.file.sync_all().map_err(|source| io_error("sync", &self.path, source))
    }

    fn failed(&self, operation: &'static str, error: sled::Error) -> StoreError {
        judged(operation, &self.path, error)
    }
}

impl Store for Disk {
    fn each(&self, show: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        for entry in self.tree.iter() {
            let (key, value) = entry.map_err(|error| self.failed("read", error))?;
            show(&key, &value);
        }
        Ok(())
    }

    fn range(&self, first: &[u8], behind: &[u8]) -> Result<Vec<Pair>, StoreError> {
        let entries = self.tree.range(first..behind);
        entries
            .map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())))
            .collect::<sled::Result<_>>()
            .map_err(|error| self.failed("read", error))
    }

    fn commit(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.tree.apply_batch(batch).map_err(|error| self.failed("write", error))?;
        self.sync()
    }
}

fn open_once(path: &Path) -> Result<Db, StoreError> {
    let config = Config::default()
        .path(path)
        .mode(Mode::LowSpace)
        .cache_capacity(CACHE)
        .flush_every_ms(None);
    // sled ends with a panic on some of the damage that it finds.
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(opened) => opened.map_err(|error| judged("open", path, error)),
        Err(_) => Err(StoreError::Damaged {
            path: path.to_owned(),
            why: "what is there cannot be read to its end".to_owned(),
        }),
    }
}

/// What an error of sled means.
fn judged(operation: &'static str, path: &Path, error: sled::Error) -> StoreError {
    let path = path.to_owned();
    let why = error.to_string();
    match error {
        // sled says this of a lock that another holds in words alone.
        sled::Error::Io(_) if why.contains("could not acquire lock") => {
            StoreError::Taken { path, why }
        }
        sled::Error::Io(source) => match source.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                StoreError::Damaged { path, why }
            }
            _ => StoreError::Io { operation, path, source },
        },
        sled::Error::Corruption { .. }
        | sled::Error::Unsupported(_)
        | sled::Error::ReportableBug(_)
        | sled::Error::CollectionNotFound(_) => StoreError::Damaged { path, why },
    }
}

fn io_error(operation: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { operation, path: path.to_owned(), source }
}
