//! The engine as its callers see it: volumes are attached and detached while it serves, and
//! everything else follows from that.
//!
//! ```text
//! attach ─▶ Reading ─▶ Blank ──format──▶ Member ─▶ InUse ─▶ (detach)
//!                   └───────────────────▶
//! ```
//!
//! One task ([`owner`]) acts, on what the pure [`plan`] says. It waits until the members of the pool
//! are here, or enough of them for long enough, and opens the store on them; blank volumes then join
//! one by one. When the index is lost, with its volume or by itself, the store is closed and opened
//! anew on the volumes that are left, with its [`standby`], or an index that is made from them.

mod evidence;
mod home;
mod inspect;
mod members;
mod owner;
mod places;
mod plan;
mod retire;
mod shared;
mod sizes;
mod standby;
mod state;
mod status;
mod store;
mod usage;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent_object_store_pool::backend::Backend;
use agent_object_store_pool::disk::{Choice as IoChoice, DiskBackend};
use agent_object_store_pool::group::writer::EXTENT;
use agent_object_store_pool::io::Io;
use agent_object_store_pool::journal::JournalConfig;
use agent_object_store_pool::seal::KeyBytes;
use agent_object_store_pool::uring::Unavailable as NoUring;
use futures::future::try_join_all;
use tokio::sync::broadcast;

pub use self::inspect::{destroy_volume, has_pool, is_opened_by, is_retired};
use self::shared::{Shared, Told};
use self::state::Wanted;
pub use self::status::{
    ContentStatus, HealingStatus, PackingStatus, PoolSpace, PoolStatus, ScrubStatus, Spread,
    StandbyStatus, VolumeStatus,
};
use super::admission::{BODY_MEMORY_LEAST, BodyMemory};
use super::events::Event;
use crate::clock::{Clock, SystemClock};
use crate::error::StoreError;
use crate::names::{PoolId, VolumeId};
use crate::volumes::{AttachError, AttachReport, ForgetError, RetireError, Volume};

/// Room for superblocks, the index and the cleaning of groups, small against any disk.
const RESERVE_BYTES: u64 = 64 << 20;

/// Disks of one node are mounted within seconds of each other; a minute covers slow spin-up.
const SETTLE: Duration = Duration::from_secs(60);

/// Blank disks of one node are handed over together; a second covers that they are not at once.
const FOUNDING: Duration = Duration::from_secs(1);

/// How long a volume that went is waited for before what it held is made anew elsewhere.
const ABSENCE: Duration = Duration::from_secs(600);

/// How the engine behaves.
#[derive(Clone)]
pub struct EngineConfig {
    /// The node's pool. A volume of another one is refused.
    pub pool: PoolId,
    /// Wraps the volumes' keys.
    pub node_key: KeyBytes,
    /// Bytes that stay free on every volume.
    pub reserve_bytes: u64,
    /// How long after the first volume the others are waited for, as long as enough are here.
    pub settle: Duration,
    /// How long after the last blank volume a new pool waits for more.
    pub founding: Duration,
    /// How long a volume that went is waited for before what it held is made anew elsewhere.
    pub absence: Duration,
    /// The file system of the volumes.
    pub backend: Arc<dyn Backend>,
    /// Where calls that block run.
    pub io: Io,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Length of a group's extents in bytes.
    pub extent: u64,
    /// How journals are written; none for what suits each volume.
    pub journal: Option<JournalConfig>,
    /// Memory for the bodies of requests in bytes; a request that finds none waits.
    pub body_memory: u64,
    /// A folder for the index; none for the volumes themselves. For tests whose volumes are no
    /// folders.
    pub index_folder: Option<PathBuf>,
    /// Tells one start of the machine from another: a volume that failed is not trusted before the next.
    /// Empty where that is not known; then it is as if the machine had been started with the process.
    pub boot: String,
}

impl EngineConfig {
    /// The usual settings, on real files that threads wait for.
    #[must_use]
    pub fn new(pool: PoolId, node_key: KeyBytes) -> Self {
        Self {
            pool,
            node_key,
            reserve_bytes: RESERVE_BYTES,
            settle: SETTLE,
            founding: FOUNDING,
            absence: ABSENCE,
            backend: Arc::new(DiskBackend::threads()),
            io: Io::Threads,
            clock: Arc::new(SystemClock),
            extent: EXTENT,
            journal: None,
            body_memory: BODY_MEMORY_LEAST,
            index_folder: None,
            boot: boot_id(),
        }
    }

    /// Real files, waited for as was chosen.
    ///
    /// # Errors
    /// `io_uring` was chosen and cannot be had.
    pub fn with_io(mut self, choice: IoChoice) -> Result<Self, NoUring> {
        self.backend = Arc::new(DiskBackend::choose(choice)?);
        Ok(self)
    }
}

/// The kernel's number of this start of the machine.
fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

impl fmt::Debug for EngineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineConfig").field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// The engine. A clone is another handle; when the last one is dropped, it ends as if the process
/// were killed, unless it was closed.
#[derive(Debug, Clone)]
pub struct Engine {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Engine {
    /// Opens a store without volumes; until enough are attached it answers everything with
    /// [`StoreError::Unavailable`]. Touches no disk.
    #[must_use]
    pub fn open(config: EngineConfig) -> Self {
        Self { handle: Arc::new(Handle { shared: Arc::new(Shared::new(config)) }) }
    }

    /// Attaches a volume; returns when it is in use. That may be long: the first ones wait for each
    /// other, so volumes are attached side by side. A blank one joins the pool, or is founded one
    /// on. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The volume is not one of this pool, is in use elsewhere, or failed; it is not attached then.
    /// Or it was detached meanwhile.
    pub async fn attach(&self, volume: Volume) -> Result<AttachReport, AttachError> {
        let told = self.shared().attach(std::slice::from_ref(&volume)).pop();
        answer(&volume, told).await
    }

    /// Attaches volumes that are all there is: as [`Engine::attach`] for each, but none is looked at
    /// before all are known. So a new pool is founded on all of them, however short
    /// [`EngineConfig::founding`] is.
    ///
    /// # Errors
    /// As for [`Engine::attach`], as soon as one volume is not attached; the others may be.
    pub async fn attach_all(&self, volumes: Vec<Volume>) -> Result<Vec<AttachReport>, AttachError> {
        let told = self.shared().attach(&volumes);
        let told = volumes.iter().zip(told);
        try_join_all(told.map(|(volume, told)| answer(volume, Some(told)))).await
    }

    /// Why nothing is served now, in words; none while the store is open.
    #[must_use]
    pub fn awaited(&self) -> Option<String> {
        self.shared().serving().err().map(|error| match error {
            StoreError::Unavailable { reason } => reason,
            other => other.to_string(),
        })
    }

    /// How much of [`EngineConfig::body_memory`] is in use.
    #[must_use]
    pub fn body_memory(&self) -> BodyMemory {
        self.shared().admission.memory()
    }

    /// Says in words what the owner of the store waits for before volumes are attached; clients
    /// are told so while there are none.
    pub fn set_awaited(&self, reason: &str) {
        self.shared().state().awaited = Some(reason.to_owned());
    }

    /// Detaches a volume, also one whose disk is gone: waits for nothing. Says whether it was
    /// attached, or on the way to be.
    pub async fn detach(&self, id: &VolumeId) -> bool {
        self.shared().detach(id)
    }

    /// Gives a missing volume up for good, when its disk will not come back: it is not waited for any
    /// more, and should it come back it is refused.
    ///
    /// # Errors
    /// The volume is not known or attached, or the decision could not be recorded.
    pub async fn forget(&self, id: &VolumeId) -> Result<(), ForgetError> {
        self.shared().forget(id).await
    }

    /// Takes a volume out of the pool in good order: from now on it takes nothing new, what it holds is
    /// moved to the others, and then its key is destroyed. Returns when that is decided and recorded, and
    /// goes on over restarts.
    ///
    /// # Errors
    /// It cannot be spared, or the decision could not be recorded.
    pub async fn retire(&self, id: &VolumeId) -> Result<(), RetireError> {
        self.shared().decide(id, Wanted::Retire).await
    }

    /// Keeps a volume that is being retired. What was moved stays where it is.
    ///
    /// # Errors
    /// It is not being retired, or is already.
    pub async fn cancel_retire(&self, id: &VolumeId) -> Result<(), RetireError> {
        self.shared().decide(id, Wanted::Cancel).await
    }

    /// Says which volumes are on disks that are too hot, until it is said again: what is new goes to others where
    /// enough are left, nothing is moved onto them, and they are scrubbed more slowly. Reads and healing go on. Known
    /// only while the store serves, so it is to be said now and then.
    pub fn set_hot(&self, ids: &BTreeSet<VolumeId>) {
        let state = self.shared().state();
        let Some(serving) = &state.serving else { return };
        let device = |id: &VolumeId| state.slots.get(id)?.device();
        let numbers = ids.iter().filter_map(|id| Some(device(id)?.number()));
        serving.core.volumes.set_hot(numbers.collect());
    }

    /// Closes the store, drops the index, and opens it with one that is made anew from the volumes alone.
    /// Requests wait for that, 10 s at the most, and are answered with [`StoreError::Unavailable`]
    /// then. Returns when the store is open
    /// again; dropping the future changes nothing.
    ///
    /// # Errors
    /// The store is not open, or was closed meanwhile.
    pub async fn rebuild_index(&self) -> Result<(), StoreError> {
        let mut openings = self.shared().openings.subscribe();
        let (_, index) = self.shared().serving()?;
        index.remake();
        while openings.changed().await.is_ok() {
            if self.awaited().is_none() {
                return Ok(());
            }
        }
        self.shared().serving().map(drop)
    }

    /// What happened since an event with this number, as far as that is kept, the oldest first.
    #[must_use]
    pub fn events_since(&self, number: u64) -> Vec<Event> {
        self.shared().events.since(number)
    }

    /// Gives what happens from now on. One that is too slow misses some.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.shared().events.listen()
    }

    /// Ends the store: brings the index to stable storage, so that the next start is quick, and lets
    /// go of the volumes. Everything is answered with
    /// [`StoreError::Unavailable`] from now on.
    pub async fn close(&self) {
        owner::close(self.shared()).await;
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }
}

/// Waits until a volume is in use.
async fn answer(
    volume: &Volume,
    told: Option<Result<Told, AttachError>>,
) -> Result<AttachReport, AttachError> {
    let interrupted =
        || AttachError::Interrupted { id: volume.id.clone(), path: volume.path.clone() };
    let told = told.unwrap_or_else(|| Err(interrupted()))?;
    told.await.unwrap_or_else(|_| Err(interrupted()))
}
