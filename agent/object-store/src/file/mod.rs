//! The first engine: one file per object, published by renaming, and an index in memory that is
//! read in from the files when a volume is attached.

mod attach;
mod backend;
mod bucket;
mod catalog;
mod delete;
mod engine;
mod format;
mod index;
mod multi;
mod read;
mod scan;
mod shared;
mod stage;
mod upload;
mod volume;
mod write;

use std::sync::Arc;
use std::time::Duration;

pub use backend::{Backend, BackendFile, DiskBackend, EntryKind, Space, VolumeLock};

use shared::Shared;

use crate::clock::{Clock, SystemClock};
use crate::names::{PoolId, VolumeId};
use crate::volumes::{AttachError, AttachReport, ForgetError, Volume};

/// How the engine behaves.
#[derive(Debug, Clone)]
pub struct FileStoreConfig {
    /// The pool. A volume of another pool is refused.
    pub pool: PoolId,
    /// Bytes that stay free on every volume, so that deletes and the store's own records have room.
    pub reserve_bytes: u64,
    /// How long after the first volume a listing waits for the others, before it answers with what
    /// is known.
    pub settle: Duration,
    /// The file system.
    pub backend: Arc<dyn Backend>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

impl FileStoreConfig {
    /// The usual settings, on real files.
    #[must_use]
    pub fn new(pool: PoolId) -> Self {
        Self {
            pool,
            reserve_bytes: RESERVE_BYTES,
            settle: SETTLE,
            backend: Arc::new(DiskBackend),
            clock: Arc::new(SystemClock),
        }
    }
}

/// Room for some hundred thousand tombstones and the catalogue, small against any disk.
const RESERVE_BYTES: u64 = 64 << 20;

/// Disks of one node are mounted within seconds of each other; a minute covers slow spin-up.
const SETTLE: Duration = Duration::from_secs(60);

/// The first engine. A clone is another handle of the same store.
#[derive(Debug, Clone)]
pub struct FileStore {
    shared: Arc<Shared>,
}

impl FileStore {
    /// Opens a store without volumes; until the first one is attached it answers everything with
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable). Touches no disk.
    #[must_use]
    pub fn open(config: FileStoreConfig) -> Self {
        Self { shared: Arc::new(Shared::new(config)) }
    }

    /// Attaches a volume: reads it in, removes what interrupted writes left and what was replaced
    /// or deleted while it was away, and takes it into use. A blank one joins the pool. May take
    /// long on a full disk; the store serves meanwhile. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The volume is not one of this pool, is in use, or failed; it is not attached then.
    pub async fn attach(&self, volume: Volume) -> Result<AttachReport, AttachError> {
        self.shared.attach(volume).await
    }

    /// Detaches a volume, also one whose disk is gone: waits for nothing. What is on it is not
    /// available until it is attached again. Says whether it was attached.
    pub async fn detach(&self, id: &VolumeId) -> bool {
        self.shared.detach(id)
    }

    /// Gives a missing volume up for good, when its disk will not come back: objects on it are no
    /// longer known, and should it come back it is refused. Returns how many objects were lost that
    /// were known.
    ///
    /// # Errors
    /// The volume is not known or attached, or the decision could not be recorded.
    pub async fn forget(&self, id: &VolumeId) -> Result<u64, ForgetError> {
        let turn = Arc::clone(&self.shared.catalog_turn).lock_owned().await;
        let (shared, volume) = (Arc::clone(&self.shared), id.clone());
        let task = tokio::task::spawn_blocking(move || {
            let done = shared.forget(&volume);
            drop(turn);
            done
        });
        task.await.unwrap_or_else(|_| Err(ForgetError::Unknown { id: id.clone() }))
    }
}
