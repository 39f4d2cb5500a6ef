//! The index in use, and how it fails.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use agent_object_store_pool::io::Io;
use agent_object_store_pool::superblock::VolumeNo;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::engine::fjall::FjallIndex;
use crate::engine::index::{Batch, Index, IndexError, IndexMemory, Next, Snapshot};

/// How often it is looked whether nobody uses an index any more.
const BURY_STEP: Duration = Duration::from_millis(20);

/// Why an index cannot be used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Its volume failed.
    Volume,
    /// It holds what it should not.
    Damaged,
    /// It is to be made anew from the volumes alone.
    Asked,
}

/// How an index failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IndexTrouble {
    /// The volume it is on.
    pub home: VolumeNo,
    /// Why it cannot be used any more.
    pub cause: Cause,
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
            cause: if error.fault.remake() { Cause::Damaged } else { Cause::Volume },
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
        let trouble = IndexTrouble { home: self.home, cause: Cause::Asked, reason };
        if self.trouble.set(trouble).is_ok() {
            tracing::info!(volume = %self.home, "the index is to be made anew");
        }
        self.wake.notify_one();
    }

    /// The index itself, to close it.
    pub(super) fn index(&self) -> Arc<FjallIndex> {
        Arc::clone(&self.index)
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

    fn memory(&self) -> IndexMemory {
        self.index.memory()
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
