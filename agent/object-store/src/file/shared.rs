//! The state that all handles of a store share.

use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use tokio::sync::Mutex;

use super::FileStoreConfig;
use super::catalog::Catalog;
use super::format::{self, NameHash};
use super::index::{Index, Phase, SlotNo};
use super::volume::VolumeIo;
use crate::error::StoreError;
use crate::latch::{Gates, Latches};
use crate::names::{VersionId, VolumeId};
use crate::placement::{self, Candidate};
use crate::store::{Usage, VolumeState, VolumeUsage};

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: FileStoreConfig,
    index: RwLock<Index>,
    /// By the number of a [`NameHash`].
    pub(crate) keys: Latches,
    /// By upload. Taken before a key's.
    pub(crate) uploads: Latches,
    /// By bucket. Passed before a latch is taken.
    pub(crate) buckets: Gates,
    /// Held by whoever changes the catalogue. Taken after a gate.
    pub(crate) catalog_turn: Arc<Mutex<()>>,
    opened: OnceLock<Instant>,
}

impl Shared {
    pub(crate) fn new(config: FileStoreConfig) -> Self {
        Self {
            config,
            index: RwLock::default(),
            keys: Latches::new(),
            uploads: Latches::new(),
            buckets: Gates::new(),
            catalog_turn: Arc::default(),
            opened: OnceLock::new(),
        }
    }

    // The index is changed in steps that do not panic, so a poisoned lock holds a whole state.

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note that the first volume is attached.
    pub(crate) fn mark_open(&self) {
        self.opened.get_or_init(Instant::now);
    }

    /// Refuses a listing that may lack keys of a volume that is about to come.
    pub(crate) fn check_settled(&self) -> Result<(), StoreError> {
        let waited = self.opened.get().is_some_and(|at| at.elapsed() >= self.config.settle);
        match self.read().unknown_volume() {
            Some(volume) if !waited => Err(StoreError::Unavailable {
                reason: format!("volume {volume} is not attached yet"),
            }),
            _ => Ok(()),
        }
    }

    /// Chooses a volume for a file: the one that holds the present version if it has room, as it
    /// is replaced in one step there, else one by free space.
    pub(crate) fn place(
        &self,
        name: &NameHash,
        present: Option<SlotNo>,
        wanted: u64,
    ) -> Result<(SlotNo, Arc<VolumeIo>), StoreError> {
        let volumes = self.read().all_writable();
        if volumes.is_empty() {
            let reason = "no volume takes writes".to_owned();
            return Err(StoreError::Unavailable { reason });
        }
        let room = |io: &VolumeIo| io.room().map_or(0, |space| space.free);
        let present = volumes.iter().find(|(no, _)| Some(*no) == present);
        if let Some((no, io)) = present
            && room(io) > wanted
        {
            return Ok((*no, Arc::clone(io)));
        }
        let candidates: Vec<Candidate> = volumes
            .iter()
            .map(|(_, io)| Candidate { id: io.id.clone(), free_bytes: room(io) })
            .collect();
        let chosen = placement::choose(&candidates, name.number(), wanted);
        let chosen = chosen.ok_or(StoreError::Full { wanted })?;
        let found = volumes.into_iter().find(|(_, io)| io.id == *chosen);
        found.ok_or(StoreError::Full { wanted })
    }

    /// Makes sure that versions can be given. Called before a gate is passed.
    pub(crate) async fn take_lease(self: &Arc<Self>) -> Result<(), StoreError> {
        let now = self.config.clock.now();
        if self.read().lease_holds(now) {
            return Ok(());
        }
        let turn = Arc::clone(&self.catalog_turn).lock_owned().await;
        let shared = Arc::clone(self);
        blocking(move || {
            let catalog = {
                let index = shared.read();
                index.check_open()?;
                if index.lease_holds(now) {
                    return Ok(());
                }
                index.catalog.clone()
            };
            shared.save_catalog(&catalog)?;
            drop(turn);
            Ok(())
        })
        .await
    }

    /// Writes the catalogue to all volumes that can be written.
    ///
    /// # Errors
    /// None of them took it.
    pub(crate) fn save_catalog(&self, catalog: &Catalog) -> Result<(), StoreError> {
        let (saved, last) = self.save_catalog_to_all(catalog);
        match last {
            _ if saved > 0 => Ok(()),
            Some(error) => Err(error),
            None => {
                let reason = "no volume takes writes".to_owned();
                Err(StoreError::Unavailable { reason })
            }
        }
    }

    /// Writes the catalogue wherever possible; returns how many volumes took it. One that fails is
    /// fenced and learns of the change when it is attached again.
    pub(crate) fn save_catalog_to_all(&self, catalog: &Catalog) -> (usize, Option<StoreError>) {
        let volumes = self.read().all_writable();
        let lease = self.read().next_lease(self.config.clock.now());
        let (mut saved, mut last) = (0, None);
        for (_, io) in volumes {
            match self.save_catalog_to(&io, catalog, lease) {
                Ok(()) => saved += 1,
                Err(error) => last = Some(error),
            }
        }
        if saved > 0 {
            self.write().set_lease(lease);
        }
        (saved, last)
    }

    /// Writes the catalogue to one volume, with a lease that is not taken before all have it.
    pub(crate) fn save_catalog_to(
        &self,
        io: &Arc<VolumeIo>,
        catalog: &Catalog,
        lease: VersionId,
    ) -> Result<(), StoreError> {
        let _hold = io.hold()?;
        let record = catalog.record(&self.config.pool, &io.id, lease);
        let path = io.catalog_path();
        let tail = format::encode_tail(&record, 0).map_err(|e| io.damaged(&path, &e))?;
        io.write_record(&path, &tail)
    }

    pub(crate) fn usage(&self) -> Usage {
        let index = self.read();
        let (objects, bytes) = index.totals();
        let uploads = u64::try_from(index.upload_count()).unwrap_or(u64::MAX);
        let known = |id: &VolumeId| index.catalog.living().any(|living| living == id);
        let mut volumes = Vec::new();
        for (_, slot) in index.slots() {
            let (io, state) = match &slot.phase {
                Phase::Missing if !known(&slot.id) => continue,
                Phase::Missing => (None, VolumeState::Missing),
                Phase::Attaching(io) => (Some(io), VolumeState::Attaching),
                Phase::Attached(io) => match io.fenced() {
                    None => (Some(io), VolumeState::Attached),
                    Some(reason) => (Some(io), VolumeState::Fenced { reason: reason.to_owned() }),
                },
            };
            let space = io.filter(|_| state == VolumeState::Attached).and_then(|io| io.room().ok());
            volumes.push(VolumeUsage {
                id: slot.id.clone(),
                path: io.map(|io| io.path.clone()),
                state,
                capacity_bytes: space.map_or(0, |s| s.total),
                free_bytes: space.map_or(0, |s| s.free),
                since: slot.since,
            });
        }
        Usage { objects, bytes, uploads, volumes }
    }
}

/// Runs a step that blocks on a thread of its own. It runs to its end also when the caller goes
/// away.
pub(crate) async fn blocking<T: Send + 'static>(
    step: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(step).await.unwrap_or_else(|_| {
        let reason = "the step was cut short as the process is ending, or by a defect".to_owned();
        Err(StoreError::Unavailable { reason })
    })
}
