//! The index and the volume that it is on.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use agent_object_store_pool::device::{ANSWER_MAX, Device};
use agent_object_store_pool::io::Io;
use agent_object_store_pool::superblock::VolumeNo;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::members::Known;
use crate::engine::error::in_words;
use crate::engine::fjall::{FjallIndex, destroy};
use crate::engine::index::{Batch, Index, IndexError, IndexFault, IndexMemory, Next, Snapshot};

/// The folder of the index in the pool's folder on a volume.
const FOLDER: &str = "index";

/// How often it is looked whether nobody uses an index any more.
const BURY_STEP: Duration = Duration::from_millis(20);

/// How an index failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IndexTrouble {
    /// The volume it is on.
    pub home: VolumeNo,
    /// Whether it must be made again: if not, the volume is at fault.
    pub remake: bool,
    /// Why, in words.
    pub reason: String,
}

/// An index that tells when it fails.
#[derive(Debug)]
pub(crate) struct Watched {
    index: Arc<FjallIndex>,
    home: VolumeNo,
    trouble: OnceLock<IndexTrouble>,
    wake: Arc<Notify>,
}

impl Watched {
    pub(super) fn new(index: Arc<FjallIndex>, home: VolumeNo, wake: Arc<Notify>) -> Self {
        Self { index, home, trouble: OnceLock::new(), wake }
    }

    /// Takes note of a failure; the first one counts.
    pub(super) fn note(&self, error: &IndexError) {
        let trouble = IndexTrouble {
            home: self.home,
            remake: error.fault.remake(),
            reason: error.to_string(),
        };
        if self.trouble.set(trouble).is_ok() {
            tracing::error!(volume = %self.home, %error, "the index is given up");
            self.wake.notify_one();
        }
    }

    /// Gives it up, to be made anew from what the volumes hold.
    pub(super) fn remake(&self) {
        let reason = "it is to be made anew".to_owned();
        let trouble = IndexTrouble { home: self.home, remake: true, reason };
        if self.trouble.set(trouble).is_ok() {
            tracing::info!(volume = %self.home, "the index is to be made anew");
        }
        self.wake.notify_one();
    }

    /// The index itself, to close it.
    pub(super) fn index(&self) -> Arc<FjallIndex> {
        Arc::clone(&self.index)
    }

    /// What it keeps in memory.
    pub(super) fn memory(&self) -> IndexMemory {
        self.index.memory()
    }

    pub(super) fn trouble(&self) -> Option<&IndexTrouble> {
        self.trouble.get()
    }

    fn noted<T>(&self, result: Result<T, IndexError>) -> Result<T, IndexError> {
        result.inspect_err(|error| self.note(error))
    }
}

impl Index for Watched {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.noted(self.index.get(key))
    }

    fn write(&self, batch: &Batch) -> Result<(), IndexError> {
        self.noted(self.index.write(batch))
    }

    fn scan(
        &self,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Next,
    ) -> Result<(), IndexError> {
        self.noted(self.index.scan(from, visit))
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, IndexError> {
        self.noted(self.index.snapshot())
    }

    fn checkpoint(&self) -> Result<(), IndexError> {
        self.noted(self.index.checkpoint())
    }
}

/// Closes an index when nobody uses it any more: closing waits for the disk, so requests that end
/// must not do it.
pub(super) fn bury(index: Arc<FjallIndex>, io: Io) -> JoinHandle<()> {
    tokio::spawn(async move {
        while Arc::strong_count(&index) > 1 {
            tokio::time::sleep(BURY_STEP).await;
        }
        // It is closed all the same when the process is ending.
        let _ = io.run(move || drop(index)).await;
    })
}

/// Where indexes are kept, for tests that have no real volumes.
#[derive(Debug, Clone)]
pub(super) struct Places(pub Option<PathBuf>);

impl Places {
    /// The folder of the index on a volume.
    fn of(&self, device: &Device) -> PathBuf {
        match &self.0 {
            Some(folder) => folder.join(device.number().to_string()),
            None => device.root().join(FOLDER),
        }
    }

    /// Opens the index where it is, or decides on another volume, which all are told first, and
    /// makes an empty one there. What is known of its place is changed.
    ///
    /// # Errors
    /// It can be on none of the volumes; in words.
    pub(super) async fn open(
        &self,
        io: Io,
        devices: &[Device],
        known: &mut Known,
        trouble: Option<&IndexTrouble>,
    ) -> Result<(Arc<FjallIndex>, VolumeNo), String> {
        let mut reasons = Vec::new();
        let home = devices.iter().find(|device| Some(device.number()) == known.home);
        let trouble = trouble.filter(|trouble| Some(trouble.home) == known.home);
        let leaving = known.leaving();
        let is_leaving = |device: &Device| Some(device.number()) == leaving;
        let is_avoided = trouble.is_some_and(|trouble| !trouble.remake)
            || (home.is_some_and(is_leaving) && has_other(devices, leaving));
        if let Some(home) = home.filter(|home| home.fenced().is_none() && !is_avoided) {
            tell(devices, known).await;
            let (path, remake) = (self.of(home), trouble.is_some());
            match run(io, move || if remake { make(&path) } else { reopen(&path) }).await {
                Ok(index) => return Ok((Arc::new(index), home.number())),
                Err(reason) => reasons.push(format!("volume {}: {reason}", home.number())),
            }
        }
        let avoided = known.home;
        let mut others = ranked(io, devices, avoided).await;
        // It is emptied for nothing if it gets the index, unless it is the only one.
        if has_other(devices, leaving) {
            others.retain(|device| !is_leaving(device));
        }
        for device in others {
            known.epoch += 1;
            known.home = Some(device.number());
            tell(devices, known).await;
            if device.fenced().is_some() {
                continue;
            }
            let path = self.of(&device);
            match run(io, move || make(&path)).await {
                Ok(index) => {
                    let volume = device.number();
                    match avoided {
                        Some(before) => tracing::warn!(%volume, %before, "the index is made anew"),
                        None => tracing::info!(%volume, "the index of the new pool is made"),
                    }
                    return Ok((Arc::new(index), device.number()));
                }
                Err(reason) => reasons.push(format!("volume {}: {reason}", device.number())),
            }
        }
        if reasons.is_empty() {
            return Err("no volume takes the index".to_owned());
        }
        Err(reasons.join("; "))
    }

    /// Removes indexes on volumes other than the one where it is.
    pub(super) async fn tidy(&self, io: Io, devices: &[Device], home: Option<VolumeNo>) {
        for device in devices.iter().filter(|device| Some(device.number()) != home) {
            if device.fenced().is_some() {
                continue;
            }
            let path = self.of(device);
            let removed = run(io, move || {
                if !path.is_dir() {
                    return Ok(());
                }
                destroy(&path)?;
                std::fs::remove_dir_all(&path).map_err(|error| IndexError {
                    fault: IndexFault::Io,
                    reason: format!("cannot remove {}: {error}", path.display()),
                })
            });
            if let Err(reason) = removed.await {
                tracing::warn!(volume = %device.number(), reason, "an old index is left");
            }
        }
    }
}

/// Whether a volume takes writes that is not the one that is to leave.
pub(super) fn has_other(devices: &[Device], leaving: Option<VolumeNo>) -> bool {
    let is_other = |device: &Device| Some(device.number()) != leaving && device.fenced().is_none();
    devices.iter().any(is_other)
}

/// Writes what is known of the pool to the superblocks that say otherwise. A volume that fails is
/// fenced. Says how many have it.
pub(super) async fn tell(devices: &[Device], known: &Known) -> usize {
    let mut count = 0;
    for device in devices.iter().filter(|device| device.fenced().is_none()) {
        let (on, known) = (device.clone(), known.clone());
        let tell = move || {
            let has = on.superblock();
            if has.members == known.members
                && (has.index, has.index_epoch) == (known.home, known.epoch)
            {
                return Ok(());
            }
            on.update(|superblock| {
                superblock.members = known.members;
                (superblock.index, superblock.index_epoch) = (known.home, known.epoch);
            })
        };
        let told = device.run(ANSWER_MAX, "write", || device.root().to_owned(), tell);
        match told.await {
            Ok(Ok(())) => count += 1,
            Ok(Err(error)) => {
                tracing::warn!(volume = %device.number(), error = in_words(&error),
                    "a superblock was not written");
            }
            Err(_) => {}
        }
    }
    count
}

/// The volumes that may hold the index, the best first: of the best class, with the most room; one
/// that it failed on comes last.
async fn ranked(io: Io, devices: &[Device], last: Option<VolumeNo>) -> Vec<Device> {
    let mut ranked = Vec::new();
    for device in devices.iter().filter(|device| device.fenced().is_none()) {
        let on = device.clone();
        let space = io.run(move || on.backend().space(on.root())).await;
        let free = space.ok().and_then(Result::ok).map_or(0, |space| space.free);
        ranked.push((Some(device.number()) != last, device.class(), free, device.clone()));
    }
    ranked.sort_by_key(|(is_other, class, free, device)| {
        std::cmp::Reverse((*is_other, *class, *free, std::cmp::Reverse(device.number())))
    });
    ranked.into_iter().map(|(.., device)| device).collect()
}

/// Opens an index; one that is damaged or of another form is made again, empty.
fn reopen(path: &Path) -> Result<FjallIndex, IndexError> {
    match FjallIndex::open(path) {
        Err(error) if error.fault.remake() => {
            tracing::warn!(path = %path.display(), %error, "the index is made again");
            make(path)
        }
        other => other,
    }
}

fn make(path: &Path) -> Result<FjallIndex, IndexError> {
    destroy(path)?;
    FjallIndex::open(path)
}

async fn run<T: Send + 'static>(
    io: Io,
    work: impl FnOnce() -> Result<T, IndexError> + Send + 'static,
) -> Result<T, String> {
    match io.run(work).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(unfinished) => Err(unfinished.to_string()),
    }
}
