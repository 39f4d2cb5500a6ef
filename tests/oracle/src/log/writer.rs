//! The thread that writes: takes all that waits, writes it, syncs each file once, and answers.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::frame::MAGIC;
use super::{LogError, Place, path_of};

/// Bytes that one sync covers at most, so that nobody waits long for others' records.
const BATCH_MAX: usize = 16 << 20;

/// Files that are kept open: the era that runs, and the ones before it that are not closed.
const OPEN_MAX: usize = 4;

/// A record on its way.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) file: u64,
    pub(super) frame: Vec<u8>,
    pub(super) done: oneshot::Sender<Result<Place, LogError>>,
}

/// Starts the thread; it ends with the last handle of the log.
///
/// # Errors
/// The system gives no thread.
pub(super) fn start(
    folder: &Path,
    queue: mpsc::Receiver<Append>,
    failed: CancellationToken,
) -> io::Result<()> {
    let mut writer = Writer { folder: folder.to_owned(), files: BTreeMap::new() };
    let run = move || writer.run(queue, &failed);
    thread::Builder::new().name("log".to_owned()).spawn(run).map(drop)
}

struct Writer {
    folder: PathBuf,
    files: BTreeMap<u64, Open>,
}

struct Open {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Writer {
    fn run(&mut self, mut queue: mpsc::Receiver<Append>, failed: &CancellationToken) {
        while let Some(first) = queue.blocking_recv() {
            let mut bytes = first.frame.len();
            let mut batch = vec![first];
            while bytes < BATCH_MAX {
                let Ok(next) = queue.try_recv() else { break };
                bytes += next.frame.len();
                batch.push(next);
            }
            let done = if failed.is_cancelled() {
                Err(LogError::Fenced { folder: self.folder.clone() })
            } else {
                self.write(&batch).inspect_err(|error| {
                    error!(%error, "a log cannot be written; nothing more is taken");
                    failed.cancel();
                })
            };
            match done {
                // Who does not wait any more does not need the answer.
                Ok(places) => batch.into_iter().zip(places).for_each(|(append, place)| {
                    let _gone = append.done.send(Ok(place));
                }),
                Err(error) => batch.into_iter().for_each(|append| {
                    let _gone = append.done.send(Err(error.clone()));
                }),
            }
        }
    }

    fn write(&mut self, batch: &[Append]) -> Result<Vec<Place>, LogError> {
        let mut together: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let mut places = Vec::with_capacity(batch.len());
        for append in batch {
            let start = self.open(append.file)?.length;
            let bytes = together.entry(append.file).or_default();
            let length = u32::try_from(append.frame.len()).unwrap_or(u32::MAX);
            places.push(Place { file: append.file, offset: start + bytes.len() as u64, length });
            bytes.extend_from_slice(&append.frame);
        }
        for (file, bytes) in together {
            let open = self.open(file)?;
            open.file.write_all(&bytes).map_err(LogError::file("write", &open.path))?;
            open.file.sync_data().map_err(LogError::file("sync", &open.path))?;
            open.length += bytes.len() as u64;
        }
        while self.files.len() > OPEN_MAX {
            self.files.pop_first();
        }
        Ok(places)
    }

    fn open(&mut self, file: u64) -> Result<&mut Open, LogError> {
        let path = path_of(&self.folder, file);
        let entry = match self.files.entry(file) {
            std::collections::btree_map::Entry::Occupied(entry) => return Ok(entry.into_mut()),
            std::collections::btree_map::Entry::Vacant(entry) => entry,
        };
        let failed = LogError::file("open", &path);
        let mut opened =
            OpenOptions::new().create(true).append(true).open(&path).map_err(&failed)?;
        let mut length = opened.metadata().map_err(&failed)?.len();
        if length < MAGIC.len() as u64 {
            // New, or made just before a power cut.
            opened.set_len(0).map_err(&failed)?;
            opened.write_all(&MAGIC).map_err(&failed)?;
            opened.sync_all().map_err(&failed)?;
            File::open(&self.folder)
                .and_then(|folder| folder.sync_all())
                .map_err(LogError::file("sync", &self.folder))?;
            length = MAGIC.len() as u64;
        }
        Ok(entry.insert(Open { path, file: opened, length }))
    }
}
