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

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use backend::{Backend, BackendFile, DiskBackend, EntryKind, Space, VolumeLock};

use shared::Shared;

use crate::clock::{Clock, SystemClock};
use crate::error::StoreError;
use crate::names::{PoolId, VolumeId};

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

/// A directory to keep objects in: the root of a disk's file system, or a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its identity, which stays when it is mounted elsewhere.
    pub id: VolumeId,
    /// Where it is mounted.
    pub path: PathBuf,
}

/// What attaching a volume found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachReport {
    /// Whether the volume was blank and now belongs to the pool.
    pub joined: bool,
    /// Objects on it.
    pub objects: u64,
    /// Bytes of those objects.
    pub bytes: u64,
    /// Leftovers of interrupted writes, and versions that were replaced or deleted while the volume
    /// was away, all removed.
    pub removed: u64,
    /// Files that are not what was written, in words; left where they are.
    pub damaged: Vec<String>,
}

/// Why a volume was not attached. Unless it failed, nothing on it was changed.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// It is attached already.
    #[error("volume {id} is attached already, at {path}")]
    AlreadyAttached {
        /// The volume.
        id: VolumeId,
        /// Where.
        path: PathBuf,
    },
    /// Another process uses it.
    #[error("{path} is in use by another process")]
    InUse {
        /// Where it is mounted.
        path: PathBuf,
    },
    /// It belongs to another pool.
    #[error("{path} belongs to pool {found}, this is pool {pool}; it was left as it is")]
    ForeignPool {
        /// Where it is mounted.
        path: PathBuf,
        /// The pool it belongs to.
        found: PoolId,
        /// The pool of this store.
        pool: PoolId,
    },
    /// It is another volume than was said.
    #[error("{path} is volume {found}, not {id}; it was left as it is")]
    WrongVolume {
        /// Where it is mounted.
        path: PathBuf,
        /// What it says of itself.
        found: VolumeId,
        /// What was expected.
        id: VolumeId,
    },
    /// It was declared lost before.
    #[error("volume {id} was given up before; empty it to use it again")]
    Forgotten {
        /// The volume.
        id: VolumeId,
    },
    /// It was written by a later release.
    #[error("{path} has format {found}, this release knows {known}; it was left as it is")]
    NewerFormat {
        /// Where it is mounted.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// A record of the store on it cannot be read.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file system failed.
    #[error("cannot {operation} {path}")]
    Io {
        /// What was to be done.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The volume failed while it was read in.
    #[error(transparent)]
    Failed(#[from] StoreError),
    /// It was detached while it was being attached, or the process is ending.
    #[error("attaching volume {id} at {path} was interrupted")]
    Interrupted {
        /// The volume.
        id: VolumeId,
        /// Where it is mounted.
        path: PathBuf,
    },
}

/// Why a volume was not given up.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// The store does not know it.
    #[error("volume {id} does not belong to the store")]
    Unknown {
        /// The volume.
        id: VolumeId,
    },
    /// It is in use.
    #[error("volume {id} is attached; detach it first")]
    Attached {
        /// The volume.
        id: VolumeId,
    },
    /// No volume took the record of it.
    #[error("cannot record that volume {id} was given up")]
    Record {
        /// The volume.
        id: VolumeId,
        /// What failed.
        #[source]
        source: StoreError,
    },
}

/// The first engine. A clone is another handle of the same store.
#[derive(Debug, Clone)]
pub struct FileStore {
    shared: Arc<Shared>,
}

impl FileStore {
    /// Opens a store without volumes; until the first one is attached it answers everything with
    /// [`StoreError::Unavailable`]. Touches no disk.
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
