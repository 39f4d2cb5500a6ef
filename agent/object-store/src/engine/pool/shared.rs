//! What all handles of the engine share with its owner task.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use agent_object_store_pool::device::{ANSWER_MAX, Device, Surroundings, end_destruction};
use agent_object_store_pool::superblock::Superblock;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::EngineConfig;
use super::home::Watched;
use super::inspect::{inspect, refusal};
use super::owner::Owner;
use super::places::Places;
use super::plan::is_index_lost;
use super::state::{Phase, Slot, State};
use crate::engine::admission::Admission;
use crate::engine::core::Core;
use crate::engine::error::EngineError;
use crate::engine::events::{Events, Happening};
use crate::engine::rebuild::Rebuilding;
use crate::error::StoreError;
use crate::names::{UnixMillis, VolumeId};
use crate::volumes::{AttachError, AttachReport, ForgetError, Volume};

/// How long a volume that was here before may stay locked: until requests that use it have ended.
const RELEASE_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long a request waits for an index that is made anew.
const MOVING_MAX: Duration = Duration::from_secs(10);

/// How often it is looked whether it is released.
const RELEASE_STEP: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Shared {
    pub config: EngineConfig,
    pub places: Places,
    pub admission: Admission,
    state: Mutex<State>,
    /// Something happened that the owner may act on.
    pub wake: Arc<Notify>,
    /// Counts volumes that went: a step that may wait for one for ever is begun anew.
    pub departures: watch::Sender<u64>,
    /// Counts how often the store was opened.
    pub openings: watch::Sender<u64>,
    pub events: Events,
    pub rebuilding: Arc<Rebuilding>,
    owner: OnceLock<JoinHandle<()>>,
}

impl Shared {
    pub(super) fn new(config: EngineConfig) -> Self {
        let opened = config.clock.now();
        let boot = config.boot.clone();
        Self {
            openings: watch::Sender::new(0),
            events: Events::new(Arc::clone(&config.clock)),
            rebuilding: Arc::default(),
            places: Places(config.index_folder.clone()),
            admission: Admission::new(config.body_memory),
            config,
            state: Mutex::new(State::new(opened, boot)),
            wake: Arc::default(),
            departures: watch::Sender::new(0),
            owner: OnceLock::new(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // It is changed in steps that do not panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the owner; what it was about is dropped.
    pub(super) fn stop(&self) {
        if let Some(owner) = self.owner.get() {
            owner.abort();
        }
        // Held by nothing but requests from now on.
        let serving = self.state().serving.take();
        drop(serving);
    }

    /// Packed groups that were read for the index that is made anew, and all.
    pub(super) fn rebuilt(&self) -> (u64, u64) {
        let Rebuilding { read, groups } = &*self.rebuilding;
        (read.load(Ordering::Relaxed), groups.load(Ordering::Relaxed))
    }

    /// The store, to serve a request.
    ///
    /// # Errors
    /// It is not open.
    pub(super) fn serving(&self) -> Result<(Arc<Core>, Arc<Watched>), StoreError> {
        let state = self.state();
        match &state.serving {
            Some(serving) => Ok((Arc::clone(&serving.core), Arc::clone(&serving.index))),
            None => Err(state.reason_with(Some(self.rebuilt()))),
        }
    }

    /// The same; waits a little while the index is made anew on another volume, as clients ask only a few
    /// times again.
    ///
    /// # Errors
    /// As [`Shared::serving`].
    pub(super) async fn serving_soon(&self) -> Result<(Arc<Core>, Arc<Watched>), StoreError> {
        let serving = self.serving();
        if serving.is_ok() {
            return serving;
        }
        // From before it is looked at, so that no opening is missed.
        let mut openings = self.openings.subscribe();
        if self.state().is_moving() && *openings.borrow() > 0 {
            // Looked at once more below, whatever came of it.
            let _ = timeout(MOVING_MAX, openings.changed()).await;
        }
        self.serving()
    }

    /// Looks at how a request ended: the index may have failed, or the store been closed meanwhile.
    pub(super) fn seen<T>(
        &self,
        core: &Arc<Core>,
        index: &Watched,
        result: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let Err(StoreError::Engine { source, .. }) = &result else { return result };
        if let EngineError::Index(error) = source {
            index.note(error);
        }
        let state = self.state();
        match &state.serving {
            Some(serving)
                if Arc::ptr_eq(&serving.core, core) && serving.index.trouble().is_none() =>
            {
                result
            }
            Some(_) => {
                let reason = "the index is being made anew".to_owned();
                Err(StoreError::Unavailable { reason })
            }
            None => Err(state.reason_with(Some(self.rebuilt()))),
        }
    }

    /// Takes volumes in, all before the owner looks at any; for each, who tells when it is in use.
    pub(super) fn attach(self: &Arc<Self>, volumes: &[Volume]) -> Vec<Result<Told, AttachError>> {
        let registered: Vec<_> = {
            let mut state = self.state();
            let now = self.config.clock.now();
            volumes.iter().map(|volume| register(&mut state, volume, now)).collect()
        };
        self.owner.get_or_init(|| tokio::spawn(Owner::new(self).run()));
        let read_in = volumes.iter().zip(registered).map(|(volume, registered)| {
            let (token, told) = registered?;
            let (shared, volume) = (Arc::clone(self), volume.clone());
            // A task of its own, so that it ends in a defined state when the caller goes away.
            tokio::spawn(async move {
                let read = shared.read(&volume).await;
                shared.take_in(&volume, token, read);
            });
            Ok(told)
        });
        read_in.collect()
    }

    /// Reads what a volume says of itself, and opens it if it is one of ours; none if it is blank.
    async fn read(
        self: &Arc<Self>,
        volume: &Volume,
    ) -> Result<Option<(Device, Superblock)>, AttachError> {
        let until = Instant::now() + RELEASE_WAIT_MAX;
        loop {
            let read = self.read_once(volume).await;
            let was_here = self.state().had.contains(&volume.id);
            match read {
                Err(AttachError::InUse { .. }) if was_here && Instant::now() < until => {
                    tokio::time::sleep(RELEASE_STEP).await;
                }
                read => return read,
            }
        }
    }

    async fn read_once(
        self: &Arc<Self>,
        volume: &Volume,
    ) -> Result<Option<(Device, Superblock)>, AttachError> {
        let (shared, on) = (Arc::clone(self), volume.clone());
        let work = move || {
            let Some(found) = inspect(&*shared.config.backend, &on)? else { return Ok(None) };
            shared.check(&on, &found)?;
            if found.key.is_empty() {
                end_destruction(&*shared.config.backend, &on.path)
                    .map_err(|error| refusal(&on, error))?;
                return Err(AttachError::Retired { id: on.id });
            }
            let device = Device::open(&on.path, shared.surroundings())
                .map_err(|error| refusal(&on, error))?;
            Ok(Some((device, found)))
        };
        let interrupted =
            |_| AttachError::Interrupted { id: volume.id.clone(), path: volume.path.clone() };
        match timeout(ANSWER_MAX, self.config.io.run(work)).await {
            Ok(read) => read.map_err(interrupted)?,
            Err(_) => {
                let (path, source) = (volume.path.clone(), io::ErrorKind::TimedOut.into());
                Err(AttachError::Io { operation: "read", path, source })
            }
        }
    }

    /// Whether a volume may be one of ours.
    fn check(&self, volume: &Volume, found: &Superblock) -> Result<(), AttachError> {
        let path = volume.path.clone();
        let ours = self.config.pool.as_str();
        let is_ours = found.pool.split_once('/').is_some_and(|(pool, _)| pool == ours);
        let known = self.state().known.as_ref().map(|known| known.pool.clone());
        if !is_ours || known.as_ref().is_some_and(|known| *known != found.pool) {
            let pool = known.unwrap_or_else(|| ours.to_owned());
            return Err(AttachError::ForeignPool { path, found: found.pool.clone(), pool });
        }
        if found.volume != volume.id.as_str() {
            let id = volume.id.clone();
            return Err(match VolumeId::new(&found.volume) {
                Ok(found) => AttachError::WrongVolume { path, found, id },
                Err(error) => AttachError::Damaged { path, reason: error.to_string() },
            });
        }
        Ok(())
    }

    /// Makes a volume known that was read.
    fn take_in(
        &self,
        volume: &Volume,
        token: u64,
        read: Result<Option<(Device, Superblock)>, AttachError>,
    ) {
        // Another founding may have come first.
        let read = read.and_then(|read| match read {
            Some((device, found)) => self.check(volume, &found).map(|()| Some((device, found))),
            None => Ok(None),
        });
        let mut state = self.state();
        let phase = match read {
            // It stays, to be shown, until its disk is taken out.
            Err(error @ AttachError::Retired { .. }) => {
                tracing::info!(volume = %volume.id, "a retired volume is here");
                if let Some(slot) = state.slot(&volume.id, token) {
                    slot.phase = Phase::Retired { failure: None };
                    slot.turn_away(error);
                }
                return;
            }
            Err(error) => {
                let slot = state.take(&volume.id, token);
                drop(state);
                tracing::warn!(volume = %volume.id, %error, "a volume is refused");
                if let Some(slot) = slot {
                    slot.refuse(error);
                }
                self.wake.notify_one();
                return;
            }
            Ok(None) => Phase::Blank,
            Ok(Some((device, found))) => {
                self.events.name(device.number(), volume.id.as_str());
                Phase::Member { device, says: Some(Box::new(found)) }
            }
        };
        let is_blank = matches!(phase, Phase::Blank);
        let now = Instant::now();
        let Some(slot) = state.slot(&volume.id, token) else { return };
        slot.phase = phase;
        if is_blank {
            state.last_blank = Some(now);
        } else {
            state.first.get_or_insert(now);
            state.had.insert(volume.id.clone());
            state.learn();
        }
        drop(state);
        self.wake.notify_one();
    }

    /// What a device needs.
    pub(super) fn surroundings(&self) -> Surroundings {
        let wake: Weak<Notify> = Arc::downgrade(&self.wake);
        Surroundings {
            backend: Arc::clone(&self.config.backend),
            io: self.config.io,
            node_key: self.config.node_key.clone(),
            on_fence: Box::new(move |_, _| {
                if let Some(wake) = wake.upgrade() {
                    wake.notify_one();
                }
            }),
        }
    }

    pub(super) fn detach(&self, id: &VolumeId) -> bool {
        let now = self.config.clock.now();
        let mut state = self.state();
        // Also of one that was turned away.
        state.unplugged.insert(id.clone());
        let Some(slot) = state.slots.remove(id) else { return false };
        if !matches!(slot.phase, Phase::Retired { .. }) {
            state.missing_since.insert(id.as_str().to_owned(), now);
        }
        let core = state.serving.as_ref().map(|serving| Arc::clone(&serving.core));
        let closing = state.closing.clone();
        if is_index_lost(&state) {
            state.stop_serving(self.config.io);
        }
        if state.serving.is_none() {
            state.learn();
        }
        if let Some(core) = &core {
            state.tell_volumes(&core.volumes);
        }
        drop(state);
        self.events.tell_of(Some(id.to_string()), Happening::Detached);
        if let Some(number) = slot.device().map(Device::number) {
            if let Some(core) = core {
                core.remove_volume(number);
            }
            for volume in closing.iter().filter_map(|volumes| volumes.remove(number)) {
                tokio::spawn(async move { volume.journal.close().await });
            }
        }
        let (id, path) = (slot.volume.id.clone(), slot.volume.path.clone());
        tracing::info!(volume = %id, "volume detached");
        slot.refuse(AttachError::Interrupted { id, path });
        self.departures.send_modify(|count| *count += 1);
        self.wake.notify_one();
        true
    }

    pub(super) async fn forget(&self, id: &VolumeId) -> Result<(), ForgetError> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.state();
            if state.slots.contains_key(id) {
                return Err(ForgetError::Attached { id: id.clone() });
            }
            let known = state.known.as_ref();
            if known.and_then(|known| known.number(id.as_str())).is_none() {
                return Err(ForgetError::Unknown { id: id.clone() });
            }
            state.forgets.push((id.clone(), sender));
        }
        self.wake.notify_one();
        receiver.await.unwrap_or_else(|_| Err(unrecorded(id)))
    }
}

/// Tells when a volume is in use.
pub(super) type Told = oneshot::Receiver<Result<AttachReport, AttachError>>;

/// Makes a slot for a volume; its token, and who tells.
fn register(
    state: &mut State,
    volume: &Volume,
    now: UnixMillis,
) -> Result<(u64, Told), AttachError> {
    let id = volume.id.clone();
    if state.is_closed {
        return Err(AttachError::Interrupted { id, path: volume.path.clone() });
    }
    if let Some(slot) = state.slots.get(&id) {
        return Err(AttachError::AlreadyAttached { id, path: slot.volume.path.clone() });
    }
    let (sender, receiver) = oneshot::channel();
    let token = state.next_token;
    state.next_token += 1;
    let slot = Slot {
        volume: volume.clone(),
        since: now,
        token,
        phase: Phase::Reading,
        waiting: Some(sender),
        joined: false,
        tries: 0,
        space: None,
    };
    state.slots.insert(id, slot);
    Ok((token, receiver))
}

/// No volume took the record of one that was given up.
pub(super) fn unrecorded(id: &VolumeId) -> ForgetError {
    let reason = "no volume took the record of it".to_owned();
    ForgetError::Record { id: id.clone(), source: StoreError::Unavailable { reason } }
}
