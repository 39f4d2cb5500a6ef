//! A store on a data volume: sled 0.34, with what it lacks.
//!
//! - Its `flush` uses `sync_file_range`, which leaves data in the disk's cache and the file's length in
//!   memory: with a power cut replayed from logged writes it lost what was acknowledged. So each commit is a flush, then
//!   an fsync of its one file, `db`, with which none was lost.
//! - Nodes of its tree that grow beyond a quarter of a segment are written to files of their own that it never
//!   syncs; a node has up to 17 values, so none longer than [`VALUE_MAX`](crate::VALUE_MAX) is taken.
//! - It panics at some of the damage that it finds, and where its last sync fails as it is closed on a disk that was
//!   pulled: each call is guarded.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sled::{Batch, Config, Db, Mode};

use crate::store::{Change, Pair, Store, StoreError, check};

/// Memory of its cache in bytes: what is kept is hardly ever read twice.
const CACHE: u64 = 4 << 20;

/// How often a store that is open elsewhere is tried again: threads of the one before may still end.
const TRIES: u32 = 50;

/// The wait between two of these.
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// sled's one file.
const FILE: &str = "db";

/// The key that every store has: sled takes a file in which nothing is sound for an empty one.
const MARK: &[u8] = b"\0form";

/// Its value: the version of what this module makes of sled.
const FORM: &[u8] = &[1];

/// Key and value of what is written only where it cannot be.
const FAILED: &[u8] = b"failed";

/// An open store.
#[derive(Debug)]
pub struct Disk {
    /// None only while it is dropped.
    database: Option<Db>,
    /// What is synced: the file that sled writes.
    file: File,
    path: PathBuf,
}

impl Disk {
    /// Opens the store in a folder, or makes both.
    ///
    /// # Errors
    /// It is damaged, open elsewhere, or of another kind, or the disk fails.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(path).map_err(|source| io_error("create", path, source))?;
        let name = path.join(FILE);
        let is_new = !name.exists();
        let mut tries = 1;
        let database = loop {
            match open_once(path) {
                Err(StoreError::Taken { .. }) if tries < TRIES => tries += 1,
                done => break done?,
            }
            std::thread::sleep(BETWEEN_TRIES);
        };
        let file = File::open(&name).map_err(|source| io_error("open", &name, source))?;
        let mut opened = Self { database: Some(database), file, path: path.to_owned() };
        if is_new {
            opened.commit(vec![(MARK.to_vec(), Some(FORM.to_vec()))])?;
        } else if opened.get(MARK)?.as_deref() != Some(FORM) {
            return Err(unreadable(path));
        }
        for folder in [Some(path), path.parent()].into_iter().flatten() {
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            synced.map_err(|source| io_error("sync", folder, source))?;
        }
        Ok(opened)
    }

    fn run<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Db) -> sled::Result<T>,
    ) -> Result<T, StoreError> {
        let Some(database) = &self.database else { return Err(unreadable(&self.path)) };
        guarded(operation, &self.path, || work(database))
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_all().map_err(|source| io_error("sync", &self.path, source))
    }
}

impl Store for Disk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.run("read", |database| database.get(key))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn each(&self, show: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        self.run("read", |database| {
            let mut pairs =
                database.iter().filter(|pair| !pair.as_ref().is_ok_and(|(key, _)| key == MARK));
            pairs.try_for_each(|pair| pair.map(|(key, value)| show(&key, &value)))
        })
    }

    fn range(&self, first: &[u8], behind: &[u8]) -> Result<Vec<Pair>, StoreError> {
        self.run("read", |database| {
            let pairs = database.range(first..behind);
            pairs.map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
        })
    }

    fn commit(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        check(&changes)?;
        let mut batch = Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.run("write", |database| database.apply_batch(batch))?;
        self.run("flush", |database| database.flush())?;
        self.sync()
    }

    fn size(&self) -> Result<u64, StoreError> {
        self.run("measure", Db::size_on_disk)
    }
}

impl Drop for Disk {
    /// sled panics where its last sync fails, unless it met a failure before.
    fn drop(&mut self) {
        let Some(database) = self.database.take() else { return };
        if self.sync().is_err() {
            // It takes note of this failure, and then ends without a word to the disk.
            let fail = || database.insert(FAILED, FAILED).and_then(|_| database.flush());
            let _ = catch_unwind(AssertUnwindSafe(fail));
        }
        let _ = catch_unwind(AssertUnwindSafe(move || drop(database)));
    }
}

/// Moves the store in a folder that cannot be used to another, in the place of what was there.
///
/// # Errors
/// The disk refuses.
pub fn set_aside(path: &Path, aside: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error("remove", aside, error));
        }
        _ => {}
    }
    fs::rename(path, aside).map_err(|error| io_error("rename", path, error))
}

fn open_once(path: &Path) -> Result<Db, StoreError> {
    let config = Config::default()
        .path(path)
        .mode(Mode::LowSpace)
        .cache_capacity(CACHE)
        // Only when told to.
        .flush_every_ms(None);
    guarded("open", path, || config.open())
}

fn guarded<T>(
    operation: &'static str,
    path: &Path,
    work: impl FnOnce() -> sled::Result<T>,
) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|error| judged(operation, path, error)),
        Err(_) => Err(unreadable(path)),
    }
}

fn unreadable(path: &Path) -> StoreError {
    let why = "what is there cannot be read to its end".to_owned();
    StoreError::Damaged { path: path.to_owned(), why }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Memory, VALUE_MAX};

    fn change(key: u8, value: Option<u8>) -> Change {
        (vec![key], value.map(|value| vec![value]))
    }

    #[test]
    fn what_was_committed_is_there_again() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("kept/here");
        let mut store = Disk::open(&path).expect("it opens");
        let changes = vec![change(1, Some(10)), change(2, Some(20)), change(3, Some(30))];
        store.commit(changes).expect("committed");
        store.commit(vec![change(2, None)]).expect("committed");
        drop(store);
        let store = Disk::open(&path).expect("it opens again");
        let mut all = Vec::new();
        store.each(&mut |key, value| all.push((key.to_vec(), value.to_vec()))).expect("read");
        assert_eq!(all, [(vec![1], vec![10]), (vec![3], vec![30])]);
        assert_eq!(store.range(&[2], &[4]).expect("read"), [(vec![3], vec![30])]);
        assert_eq!(
            (store.get(&[1]).expect("read"), store.get(&[2]).expect("read")),
            (Some(vec![10]), None)
        );
    }

    #[test]
    fn a_value_that_is_too_long_is_refused_and_nothing_is_written() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let stores: [Box<dyn Store>; 2] =
            [Box::new(Disk::open(dir.path()).expect("it opens")), Box::new(Memory::default())];
        for mut store in stores {
            let long = |length: usize| (b"long".to_vec(), Some(vec![7; length]));
            let refused = store.commit(vec![change(1, Some(10)), long(VALUE_MAX + 1)]);
            let error = refused.expect_err("too long");
            assert!(matches!(error, StoreError::TooLong { key: 4, value: 4097 }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("4097 bytes") && text.contains("at most 4096"), "{text}");
            assert_eq!(store.get(&[1]).expect("read"), None, "all or none");
            store.commit(vec![change(1, Some(10)), long(VALUE_MAX)]).expect("the longest is taken");
            assert_eq!(store.get(b"long").expect("read").map(|value| value.len()), Some(VALUE_MAX));
            store.commit(vec![(b"long".to_vec(), None)]).expect("removed");
        }
    }

    #[test]
    fn one_that_is_open_is_taken() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let _store = Disk::open(dir.path()).expect("it opens");
        assert!(matches!(Disk::open(dir.path()), Err(StoreError::Taken { .. })));
    }

    #[test]
    fn what_cannot_be_used_is_set_aside() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (path, aside) = (dir.path().join("store"), dir.path().join("aside"));
        // Twice: what was set aside first gives way.
        for _ in 0..2 {
            fs::create_dir(&path).expect("a folder");
            fs::write(path.join("conf"), "nonsense").expect("written");
            fs::write(path.join(FILE), vec![0x5a; 100_000]).expect("written");
            assert!(matches!(Disk::open(&path), Err(StoreError::Damaged { .. })));
            set_aside(&path, &aside).expect("set aside");
            assert!(aside.join("conf").exists() && !path.exists());
        }
    }
}
