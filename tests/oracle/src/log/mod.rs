//! Append-only logs: a folder of numbered files, one thread that writes, and one sync for all who wait.
//!
//! Who appends is answered when the bytes are on stable storage. After a write or sync that failed
//! nothing more is written: what the disk has is known again only after a restart.

mod frame;
mod writer;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub use frame::PAYLOAD_MAX;

/// Appends that may wait for the writer: more than all connections that can be open.
const QUEUE: usize = 32_768;

/// How a file is named.
const SUFFIX: &str = "log";

/// Why a log cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// A file cannot be used.
    #[error("cannot {operation} {path}: {source}")]
    File {
        /// What was to be done.
        operation: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// A write or sync failed before.
    #[error("{folder}: nothing is written since a write failed; see the log, and restart")]
    Fenced {
        /// The folder of the log.
        folder: PathBuf,
    },
    /// More than one record may have.
    #[error("{folder}: a record of {bytes} bytes, more than {PAYLOAD_MAX}")]
    TooLong {
        /// The folder of the log.
        folder: PathBuf,
        /// Bytes.
        bytes: usize,
    },
}

impl LogError {
    fn file(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::File { operation, path: path.clone(), source: Arc::new(source) }
    }
}

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Number of the file.
    pub file: u64,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Bytes, with what stands before the payload.
    pub length: u32,
}

/// A folder of numbered files. Cloning gives another handle.
#[derive(Debug, Clone)]
pub struct Log {
    folder: PathBuf,
    appends: mpsc::Sender<writer::Append>,
    failed: CancellationToken,
}

/// A record that is on its way to stable storage.
#[derive(Debug)]
pub struct Pending {
    done: oneshot::Receiver<Result<Place, LogError>>,
    folder: PathBuf,
}

/// A place in the queue of the writer.
#[derive(Debug)]
pub struct Turn<'a> {
    permit: mpsc::Permit<'a, writer::Append>,
    log: &'a Log,
}

impl Log {
    /// Opens the log in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// The folder cannot be made, or the writer cannot be started.
    pub fn open(folder: &Path) -> Result<Self, LogError> {
        fs::create_dir_all(folder).map_err(LogError::file("make", folder))?;
        let (appends, queue) = mpsc::channel(QUEUE);
        let failed = CancellationToken::new();
        writer::start(folder, queue, failed.clone())
            .map_err(LogError::file("start the writer of", folder))?;
        Ok(Self { folder: folder.to_owned(), appends, failed })
    }

    /// Cancelled when a write failed.
    #[must_use]
    pub fn failed(&self) -> &CancellationToken {
        &self.failed
    }

    /// A place in the queue: what is appended with it comes before what is appended later.
    ///
    /// # Errors
    /// A write failed before.
    pub async fn turn(&self) -> Result<Turn<'_>, LogError> {
        match self.appends.reserve().await {
            Ok(permit) if !self.failed.is_cancelled() => Ok(Turn { permit, log: self }),
            _ => Err(LogError::Fenced { folder: self.folder.clone() }),
        }
    }

    /// Appends a record, and waits until it is on stable storage.
    ///
    /// # Errors
    /// It could not be written.
    pub async fn append(&self, file: u64, payload: &[u8]) -> Result<Place, LogError> {
        self.turn().await?.append(file, payload)?.wait().await
    }

    /// Appends a record that may be lost in a power cut of the next moments.
    ///
    /// # Errors
    /// A write failed before.
    pub async fn note(&self, file: u64, payload: &[u8]) -> Result<(), LogError> {
        self.turn().await?.append(file, payload).map(drop)
    }

    /// The numbers of the files there are, in their order.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn files(&self) -> Result<Vec<u64>, LogError> {
        let failed = LogError::file("list", &self.folder);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(&failed)? {
            let path = entry.map_err(&failed)?.path();
            let is_ours = path.extension().is_some_and(|suffix| suffix == SUFFIX);
            let number: Option<u64> = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            found.extend(number.filter(|_| is_ours));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Bytes of a file; 0 if there is none.
    #[must_use]
    pub fn bytes(&self, file: u64) -> u64 {
        fs::metadata(path_of(&self.folder, file)).map_or(0, |found| found.len())
    }

    /// Gives every whole record of a file, in their order, and how many bytes are behind the last.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, file: u64, mut each: impl FnMut(Place, &[u8])) -> Result<u64, LogError> {
        let path = path_of(&self.folder, file);
        let failed = LogError::file("read", &path);
        let opened = match File::open(&path) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(failed(error)),
        };
        // As many bytes as there are now: what is appended meanwhile is not whole yet.
        let length = opened.metadata().map_err(&failed)?.len();
        let whole = frame::read(BufReader::new(opened).take(length), |offset, length, payload| {
            each(Place { file, offset, length }, payload);
        });
        Ok(length.saturating_sub(whole.map_err(failed)?))
    }

    /// Cuts off what a power cut left behind the last whole record. Only before anything is appended.
    ///
    /// # Errors
    /// It cannot be cut.
    pub fn cut(&self, file: u64, torn: u64) -> Result<(), LogError> {
        let path = path_of(&self.folder, file);
        let failed = LogError::file("cut the torn end of", &path);
        let opened = OpenOptions::new().write(true).open(&path).map_err(&failed)?;
        let length = opened.metadata().map_err(&failed)?.len();
        opened.set_len(length.saturating_sub(torn)).map_err(&failed)?;
        opened.sync_all().map_err(failed)
    }

    /// The payload at a place.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn get(&self, place: Place) -> Result<Vec<u8>, LogError> {
        let path = path_of(&self.folder, place.file);
        let failed = LogError::file("read", &path);
        let mut opened = File::open(&path).map_err(&failed)?;
        opened.seek(SeekFrom::Start(place.offset)).map_err(&failed)?;
        let mut frame = vec![0; (place.length as usize).min(frame::HEAD + PAYLOAD_MAX)];
        opened.read_exact(&mut frame).map_err(&failed)?;
        let payload = frame::decode(&frame).map(<[u8]>::to_vec);
        payload.ok_or_else(|| failed(io::Error::other("the checksum does not fit")))
    }

    /// Removes a file that nobody appends to any more.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, file: u64) -> Result<(), LogError> {
        let path = path_of(&self.folder, file);
        fs::remove_file(&path).map_err(LogError::file("remove", &path))
    }
}

impl Turn<'_> {
    /// Hands a record over.
    ///
    /// # Errors
    /// It is too long.
    pub fn append(self, file: u64, payload: &[u8]) -> Result<Pending, LogError> {
        let folder = self.log.folder.clone();
        let Some(frame) = frame::encode(payload) else {
            return Err(LogError::TooLong { folder, bytes: payload.len() });
        };
        let (done, waits) = oneshot::channel();
        self.permit.send(writer::Append { file, frame, done });
        Ok(Pending { done: waits, folder })
    }
}

impl Pending {
    /// Waits until the record is on stable storage.
    ///
    /// # Errors
    /// It could not be written.
    pub async fn wait(self) -> Result<Place, LogError> {
        let Self { done, folder } = self;
        done.await.unwrap_or(Err(LogError::Fenced { folder }))
    }
}

fn path_of(folder: &Path, file: u64) -> PathBuf {
    folder.join(format!("{file:020}.{SUFFIX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payloads(log: &Log, file: u64) -> (Vec<Vec<u8>>, u64) {
        let mut found = Vec::new();
        let torn = log.read(file, |_, payload| found.push(payload.to_vec())).expect("read");
        (found, torn)
    }

    #[tokio::test]
    async fn what_was_appended_is_there_in_its_order_and_at_its_place() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = Log::open(dir.path()).expect("a log");
        let mut pending = Vec::new();
        for number in 0..100_u8 {
            let turn = log.turn().await.expect("a turn");
            pending.push(turn.append(u64::from(number % 2), &[number]).expect("taken"));
        }
        for (number, pending) in (0..100_u8).zip(pending) {
            let place = pending.wait().await.expect("written");
            assert_eq!(log.get(place).expect("there"), [number]);
        }
        let odd: Vec<Vec<u8>> = (0..50_u8).map(|number| vec![number * 2 + 1]).collect();
        assert_eq!(payloads(&log, 1), (odd, 0));
        assert_eq!(log.files().expect("files"), [0, 1]);
    }

    #[tokio::test]
    async fn a_torn_end_is_cut_and_appended_behind() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = Log::open(dir.path()).expect("a log");
        for payload in [b"one", b"two"] {
            log.append(7, payload).await.expect("written");
        }
        drop(log);
        let path = path_of(dir.path(), 7);
        let whole = fs::read(&path).expect("a file");
        let second = whole.len() - frame::HEAD - 3;
        for cut in second..whole.len() {
            fs::write(&path, &whole[..cut]).expect("written");
            let log = Log::open(dir.path()).expect("a log");
            let torn = payloads(&log, 7).1;
            assert_eq!(torn, (cut - second) as u64);
            log.cut(7, torn).expect("cut");
            log.append(7, b"three").await.expect("written");
            assert_eq!(payloads(&log, 7), (vec![b"one".to_vec(), b"three".to_vec()], 0));
        }
    }

    #[tokio::test]
    async fn after_a_write_that_failed_nothing_is_taken() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = Log::open(dir.path()).expect("a log");
        fs::create_dir(path_of(dir.path(), 3)).expect("a folder in the way");
        assert!(matches!(log.append(3, b"x").await, Err(LogError::File { .. })));
        assert!(log.failed().is_cancelled());
        assert!(matches!(log.append(4, b"x").await, Err(LogError::Fenced { .. })));
        assert!(!path_of(dir.path(), 4).exists());
    }
}
