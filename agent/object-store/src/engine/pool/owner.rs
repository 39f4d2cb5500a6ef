//! The task that owns the pool: it alone opens and closes the store and writes superblocks, one step
//! after the other. A step that waits for a disk is begun anew when a volume goes.

use std::sync::{Arc, Weak};
use std::time::Duration;

use agent_object_store_pool::device::{ANSWER_MAX, Device, DeviceError, NewVolume};
use agent_object_store_pool::io::Io;
use agent_object_store_pool::superblock::{Member, VolumeNo};
use futures::future::join_all;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::home::{Cause, Watched, bury};
use super::inspect::refusal;
use super::members::Known;
use super::places::{Found, Origin, tell};
use super::plan::{Step, Waits, missing, plan};
use super::retire;
use super::shared::{Shared, unrecorded};
use super::sizes::Sizes;
use super::standby;
use super::state::{Phase, Serving};
use crate::engine::core::Core;
use crate::engine::error::in_words;
use crate::engine::events::Happening;
use crate::engine::index::Index;
use crate::engine::open::{Opened, Opening};
use crate::engine::standby::{Mirror, Phase as StandbyPhase, Standby};
use crate::engine::volumes::Volumes;
use crate::error::StoreError;
use crate::names::VolumeId;
use crate::volumes::{AttachError, Volume};

/// How long after a failure the same is tried again.
pub(super) const RETRY: Duration = Duration::from_secs(5);

/// How long after a lock was found held it is tried again, and how often.
const LOCK_RETRY: Duration = Duration::from_millis(500);
const LOCK_TRIES: u32 = 20;

/// How long the end of the store waits for an index to be closed.
const BURY_WAIT_MAX: Duration = Duration::from_secs(10);

/// The owner.
pub(super) struct Owner {
    shared: Weak<Shared>,
    departures: watch::Receiver<u64>,
}

impl Owner {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let departures = shared.departures.subscribe();
        Self { shared: Arc::downgrade(shared), departures }
    }

    /// Does what is to be done, for ever.
    pub(super) async fn run(mut self) {
        loop {
            let Some(shared) = self.shared.upgrade() else { return };
            let wake = Arc::clone(&shared.wake);
            let waits = Waits { settle: shared.config.settle, founding: shared.config.founding };
            self.departures.mark_unchanged();
            let step = plan(&shared.state(), waits, Instant::now());
            match step {
                Step::Idle => {
                    drop(shared);
                    wake.notified().await;
                }
                Step::Wait(until) => {
                    drop(shared);
                    tokio::select! {
                        () = wake.notified() => {}
                        () = sleep_until(until) => {}
                    }
                }
                Step::Refuse(id, error) => refuse(&shared, &id, error),
                Step::Blank(id) => blank(&shared, &id),
                Step::Stop => shared.state().stop_serving(shared.config.io),
                step => {
                    let mut departures = self.departures.clone();
                    tokio::select! {
                        biased;
                        () = act(&shared, step) => {}
                        // Fails only when the engine is gone.
                        _ = departures.changed() => {}
                    }
                }
            }
        }
    }
}

async fn act(shared: &Arc<Shared>, step: Step) {
    match step {
        Step::EndJournals => end_journals(shared).await,
        Step::Forget => forget(shared).await,
        Step::Decide => retire::decide(shared).await,
        Step::Dismiss(number) => retire::dismiss(shared, number).await,
        Step::Replace(numbers) => retire::replace(shared, &numbers).await,
        Step::Destroy(id) => retire::destroy(shared, &id).await,
        Step::NoteFence(id, reason) => retire::note_fence(shared, &id, reason).await,
        Step::Found(volumes) => found(shared, volumes).await,
        Step::Complete(id, number) => {
            let known = shared.state().known.clone();
            if let Some(Known { pool, members, .. }) = known {
                format(shared, &id, number, pool, members).await;
            }
        }
        Step::Open => try_to_open(shared).await,
        Step::Join(id) => join(shared, &id).await,
        Step::Add(id) => add(shared, &id).await,
        Step::Standby(step) => standby::see_to(shared, step).await,
        Step::Idle | Step::Wait(_) | Step::Refuse(..) | Step::Blank(_) | Step::Stop => {}
    }
}

/// Opens the store on the volumes that are here.
async fn try_to_open(shared: &Arc<Shared>) {
    let Err(reason) = open(shared).await else { return };
    tracing::error!(reason, "the store cannot be opened");
    let mut state = shared.state();
    state.trouble = Some(reason);
    state.retry_at = Some(Instant::now() + RETRY);
}

fn refuse(shared: &Shared, id: &VolumeId, error: AttachError) {
    let mut state = shared.state();
    let slot = state.slots.remove(id);
    if state.serving.is_none() {
        state.learn();
    }
    drop(state);
    tracing::warn!(volume = %id, %error, "a volume is refused");
    if let Some(slot) = slot {
        slot.refuse(error);
    }
}

/// What it holds was never used: its number may be another volume's.
fn blank(shared: &Shared, id: &VolumeId) {
    if let Some(slot) = shared.state().slots.get_mut(id) {
        slot.phase = Phase::Blank;
    }
}

async fn end_journals(shared: &Shared) {
    let closing = shared.state().closing.clone();
    for volume in closing.iter().flat_map(Volumes::all) {
        volume.journal.close().await;
    }
    // Only this task adds to them.
    shared.state().closing.clear();
}

async fn forget(shared: &Shared) {
    let (forgets, known, devices) = {
        let mut state = shared.state();
        (std::mem::take(&mut state.forgets), state.known.clone(), state.devices())
    };
    let Some(mut known) = known else { return };
    let devices: Vec<Device> = devices.into_iter().map(|(.., device)| device).collect();
    for (id, reply) in forgets {
        let result = match known.without(id.as_str()) {
            None => Err(crate::volumes::ForgetError::Unknown { id }),
            Some(_) if shared.state().slots.contains_key(&id) => {
                Err(crate::volumes::ForgetError::Attached { id })
            }
            Some(next) if tell(&devices, &next).await > 0 => {
                tracing::warn!(volume = %id, "volume given up");
                shared.events.tell_of(Some(id.to_string()), Happening::Forgotten);
                known = next;
                accept(shared, &known);
                Ok(())
            }
            Some(_) => Err(unrecorded(&id)),
        };
        // It may not be waited for any more.
        let _ = reply.send(result);
    }
}

/// Takes note of what all volumes were told.
pub(super) fn accept(shared: &Shared, known: &Known) {
    let mut state = shared.state();
    for slot in state.slots.values_mut() {
        if let Phase::Member { says: Some(says), .. } = &mut slot.phase {
            says.members = known.with_all(&says.members);
            (says.index, says.standby) = (known.home, known.standby);
            says.index_epoch = known.epoch;
        }
    }
    let members = state.known.as_ref().map(|present| known.with_all(&present.members));
    let members = members.unwrap_or_else(|| known.members.clone());
    state.known = Some(Known { members, ..known.clone() });
    if let Some(serving) = &state.serving {
        state.tell_volumes(&serving.core.volumes);
    }
}

/// Founds the pool.
async fn found(shared: &Arc<Shared>, volumes: Vec<VolumeId>) {
    let mut random = [0; 8];
    if let Err(error) = getrandom::fill(&mut random) {
        let mut state = shared.state();
        state.trouble = Some(format!("the system gives no random numbers: {error}"));
        state.retry_at = Some(Instant::now() + RETRY);
        return;
    }
    let pool = format!("{}/{}", shared.config.pool, hex::encode(random));
    tracing::info!(pool, volumes = volumes.len(), "founding the pool");
    let members: Vec<Member> = {
        let state = shared.state();
        let member = |(number, id): (u16, &VolumeId)| {
            let (class, volume) = (state.slots.get(id)?.volume.class, id.as_str().to_owned());
            Some(Member::new(volume, VolumeNo(number), class))
        };
        (0..).zip(&volumes).filter_map(member).collect()
    };
    let mut refused = Vec::new();
    for member in &members {
        let Some(id) = volumes.iter().find(|id| id.as_str() == member.volume) else { continue };
        if !format(shared, id, member.number, pool.clone(), members.clone()).await {
            refused.push(id);
        }
    }
    let (known, devices) = {
        let state = shared.state();
        (state.known.clone(), state.devices())
    };
    // Nothing is on them; nobody is to wait for them.
    let next = refused.iter().fold(known, |known, id| {
        let known = known?;
        Some(known.without(id.as_str()).unwrap_or(known))
    });
    if let Some(next) = next.filter(|_| !refused.is_empty()) {
        let devices: Vec<Device> = devices.into_iter().map(|(.., device)| device).collect();
        tell(&devices, &next).await;
        accept(shared, &next);
    }
}

/// Formats a blank volume under the next number.
async fn join(shared: &Arc<Shared>, id: &VolumeId) {
    let (known, class) = {
        let state = shared.state();
        let class = state.slots.get(id).map(|slot| slot.volume.class);
        (state.known.clone(), class)
    };
    let (Some(known), Some(class)) = (known, class) else { return };
    let Some((number, members)) = known.with(id.as_str(), class) else {
        let path = shared.state().slots.get(id).map(|slot| slot.volume.path.clone());
        let reason = "the pool has had so many volumes that no number is left".to_owned();
        let path = path.unwrap_or_default();
        return refuse(shared, id, AttachError::Damaged { path, reason });
    };
    format(shared, id, number, known.pool, members).await;
}

/// Formats a blank volume; then it is a member that is not in use. Says whether it was not refused.
async fn format(
    shared: &Arc<Shared>,
    id: &VolumeId,
    number: VolumeNo,
    pool: String,
    members: Vec<Member>,
) -> bool {
    let found = shared.state().slots.get(id).map(|slot| (slot.volume.clone(), slot.token));
    let Some((volume, token)) = found else { return true };
    let surroundings = shared.surroundings();
    let on = volume.clone();
    let format = move || {
        let class = members.iter().find(|member| member.number == number).map(|m| m.class);
        let class = class.unwrap_or(on.class);
        let new = NewVolume { pool, volume: on.id.to_string(), number, class, members };
        let device = Device::format(&on.path, new, surroundings)?;
        let says = device.superblock();
        Ok((device, says))
    };
    let path = volume.path.clone();
    let formatted = match timeout(ANSWER_MAX, shared.config.io.run(format)).await {
        Ok(formatted) => formatted.unwrap_or(Err(DeviceError::InUse { path })),
        // One that hangs does not keep the others from being used.
        Err(_) => {
            let source = std::io::ErrorKind::TimedOut.into();
            Err(DeviceError::Io { operation: "format", path, source })
        }
    };
    let mut state = shared.state();
    match formatted {
        Ok((device, says)) => {
            let Some(slot) = state.slot(id, token) else { return true };
            slot.joined = true;
            slot.phase = Phase::Member { device, says: Some(Box::new(says)) };
            state.had.insert(id.clone());
            state.first.get_or_insert(Instant::now());
            state.learn();
        }
        // A step that was begun anew may still hold it.
        Err(DeviceError::InUse { .. }) if has_tries(state.slot(id, token)) => {
            state.retry_at = Some(Instant::now() + LOCK_RETRY);
        }
        Err(error) => {
            drop(state);
            refuse(shared, id, refusal(&volume, error));
            return false;
        }
    }
    true
}

fn has_tries(slot: Option<&mut super::state::Slot>) -> bool {
    slot.is_some_and(|slot| {
        slot.tries += 1;
        slot.tries < LOCK_TRIES
    })
}

/// Takes a member into use that is not, while the store is open.
async fn add(shared: &Arc<Shared>, id: &VolumeId) {
    let found = {
        let mut state = shared.state();
        state.learn();
        let serving = state.serving.as_ref().map(|serving| Arc::clone(&serving.core));
        let slot = state.slots.get(id);
        let device = slot.and_then(|slot| Some((slot.device()?.clone(), slot.token)));
        let devices: Vec<Device> = state.devices().into_iter().map(|(.., d)| d).collect();
        serving.zip(device).zip(state.known.clone()).map(|found| (found, devices))
    };
    let Some((((core, (device, token)), known), devices)) = found else { return };
    // That it failed once is over.
    let known = known.trusting(&[device.number()]);
    // All know of it before anything is on it.
    let others: Vec<Device> =
        devices.into_iter().filter(|other| other.number() != device.number()).collect();
    tell(&others, &known).await;
    let own = std::slice::from_ref(&device);
    let is_told = tell(own, &known).await > 0;
    shared.places.tidy(own, &known).await;
    accept(shared, &known);
    let added = if is_told {
        core.add_volume(device.clone()).await
    } else {
        let reason = device.fenced().unwrap_or_default();
        Err(StoreError::Unavailable { reason: format!("its superblock was not written: {reason}") })
    };
    let now = shared.config.clock.now();
    let mut state = shared.state();
    match added {
        Ok(damaged) => {
            let damaged = damaged
                .into_iter()
                .map(|(path, damage)| format!("{}: {damage:?}", path.display()))
                .collect();
            match state.slot(id, token) {
                Some(slot) => {
                    slot.phase = Phase::InUse { device };
                    slot.since = now;
                    slot.ready(damaged, &shared.events);
                    state.missing_since.remove(id.as_str());
                    state.tell_volumes(&core.volumes);
                }
                // It went meanwhile.
                None => core.remove_volume(device.number()),
            }
        }
        Err(error) => {
            let slot = state.take(id, token);
            drop(state);
            tracing::warn!(volume = %id, error = in_words(&error), "a volume cannot be used");
            if let Some(slot) = slot {
                slot.refuse(AttachError::Failed(error));
            }
        }
    }
}

/// Opens the store on the volumes that are here.
///
/// # Errors
/// In words.
async fn open(shared: &Arc<Shared>) -> Result<(), String> {
    let config = &shared.config;
    let began = Instant::now();
    let (known, slots, trouble, missing) = {
        let state = shared.state();
        let missing = state.known.as_ref().map_or(0, |known| missing(&state, known));
        (state.known.clone(), state.devices(), state.index_trouble.clone(), missing)
    };
    let Some(mut known) = known else { return Ok(()) };
    let devices: Vec<Device> = slots.iter().map(|(.., device)| device.clone()).collect();
    let usable = devices.iter().filter(|device| device.fenced().is_none());
    let usable: Vec<VolumeNo> = usable.map(Device::number).collect();
    known = known.trusting(&usable);
    shared.rebuilding.reset();
    let found = shared.open_index(&devices, &mut known, trouble.as_ref()).await;
    accept(shared, &known);
    let Found { index, home, origin, standby: twin } = found?;
    note_origin(shared, origin, trouble.map(|trouble| trouble.cause));
    shared.places.tidy(&devices, &known).await;
    let watched = Arc::new(Watched::new(Arc::clone(&index), home, Arc::clone(&shared.wake)));
    let standby = Standby::new(Arc::clone(&shared.wake));
    if let Some((twin, volume)) = twin {
        standby.adopt(volume, twin, config.io);
    }
    let both = Mirror::new(Arc::clone(&watched) as Arc<dyn Index>, standby.clone());
    let mirror = Arc::new(both);
    let sizes = Sizes::of(config, smallest(config.io, &devices).await);
    let mut opening =
        Opening::new(Arc::clone(&config.clock), Arc::clone(&mirror) as Arc<_>, sizes.reserve);
    opening.standby = standby;
    (opening.io, opening.extent, opening.journal) = (config.io, sizes.extent, config.journal);
    opening.admission = shared.admission.clone();
    (opening.events, opening.rebuilding) = (shared.events.clone(), Arc::clone(&shared.rebuilding));
    opening.spare = known.spare().saturating_sub(missing);
    let volumes = opening.volumes.clone();
    shared.state().tell_volumes(&volumes);
    // Should this be cut off, the journals are ended before they are opened again.
    shared.state().closing.push(volumes);
    let (core, opened) = match Core::open(opening, devices).await {
        Ok(opened) => opened,
        Err(error) => {
            drop(mirror);
            // What failed is not tried in the same way again.
            shared.state().index_trouble = watched.trouble().cloned();
            drop(watched);
            bury(index, config.io);
            return Err(in_words(&error));
        }
    };
    drop(index);
    let took_ms = millis(began);
    let Opened { replayed, damaged, .. } = &opened;
    tracing::info!(
        volumes = slots.len(),
        replayed,
        damaged = damaged.len(),
        took_ms,
        "the store is open"
    );
    if origin == Origin::TakenOver {
        let took_ms = millis(shared.state().stopped_at.unwrap_or(began));
        shared.events.tell(Some(home), Happening::IndexTakenOver { took_ms });
    } else if opened.rebuilt {
        shared.events.tell(Some(home), Happening::IndexRebuilt { took_ms });
    }
    serve(shared, core, (watched, mirror), opened, &slots);
    Ok(())
}

/// Takes note of where the index came from, and why.
fn note_origin(shared: &Shared, origin: Origin, cause: Option<Cause>) {
    let mut state = shared.state();
    match origin {
        Origin::Kept => {}
        Origin::TakenOver => state.was_spared = cause == Some(Cause::Damaged),
        Origin::Made => state.was_spared = false,
    }
    // What it was about is done with.
    state.is_standby_sound = true;
}

/// Milliseconds since then.
fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Bytes of the smallest volume.
async fn smallest(io: Io, devices: &[Device]) -> u64 {
    let measured = devices.iter().map(|device| {
        let device = device.clone();
        io.run(move || device.backend().space(device.root()))
    });
    let spaces = join_all(measured).await.into_iter();
    spaces.filter_map(|space| Some(space.ok()?.ok()?.total)).min().unwrap_or(u64::MAX)
}

/// Serves from now on.
fn serve(
    shared: &Arc<Shared>,
    core: Arc<Core>,
    (index, mirror): (Arc<Watched>, Arc<Mirror>),
    opened: Opened,
    slots: &[(VolumeId, u64, Device)],
) {
    let now = shared.config.clock.now();
    let Opened { damaged, failed, .. } = opened;
    let (weak, wake) = (Arc::downgrade(&core), Arc::clone(&shared.wake));
    let absence = shared.config.absence;
    let keeper = tokio::spawn(crate::engine::keeper::keep(weak, absence, wake));
    let mut state = shared.state();
    if state.is_closed {
        return;
    }
    // These are in use again; there are no others, or it would not have been opened.
    state.closing.clear();
    (state.settled, state.trouble, state.retry_at, state.index_trouble) = (true, None, None, None);
    for (id, token, device) in slots {
        let reason = failed.iter().find(|(number, _)| *number == device.number());
        let Some(slot) = state.slot(id, *token) else {
            // It went meanwhile.
            core.remove_volume(device.number());
            continue;
        };
        slot.since = now;
        if let Some((_, reason)) = reason {
            slot.phase = Phase::Failed { reason: reason.clone() };
            let path = slot.volume.path.clone();
            if let Some(waiting) = slot.waiting.take() {
                let reason = reason.clone();
                // It may not be waited for any more.
                let _ = waiting.send(Err(AttachError::Damaged { path, reason }));
                state.slots.remove(id);
            }
            continue;
        }
        slot.phase = Phase::InUse { device: device.clone() };
        let of_volume = damaged.iter().filter(|(path, _)| path.starts_with(device.root()));
        let damaged = of_volume.map(|(path, damage)| format!("{}: {damage:?}", path.display()));
        slot.ready(damaged.collect(), &shared.events);
        state.missing_since.remove(id.as_str());
    }
    state.tell_volumes(&core.volumes);
    state.serving = Some(Serving { core, index, mirror, keeper });
    drop(state);
    shared.openings.send_modify(|count| *count += 1);
}

/// Ends the store: everything is on stable storage when this returns.
pub(super) async fn close(shared: &Arc<Shared>) {
    let (serving, slots) = {
        let mut state = shared.state();
        state.is_closed = true;
        // Whoever waits for one is told.
        state.decisions.clear();
        (state.serving.take(), std::mem::take(&mut state.slots))
    };
    // What the owner is about is ended.
    shared.departures.send_modify(|count| *count += 1);
    shared.wake.notify_one();
    for slot in slots.into_values() {
        let Volume { id, path, .. } = slot.volume.clone();
        slot.refuse(AttachError::Interrupted { id, path });
    }
    if let Some(serving) = serving {
        let standby = serving.mirror.standby().clone();
        // What fails from now on is told to no superblock.
        standby.end();
        if let Err(error) = serving.core.write_traffic().await {
            tracing::error!(error = in_words(&error), "what was read is not counted wholly");
        }
        if let Err(error) = serving.core.checkpoint().await {
            tracing::error!(error = in_words(&error), "no checkpoint was written");
        }
        serving.core.close().await;
        if matches!(standby.phase(), StandbyPhase::InStep { .. }) {
            seal(shared, &serving).await;
        }
        let index = serving.index.index();
        let writer = standby.close();
        drop(serving);
        let closed = join_all(writer.into_iter().chain([bury(index, shared.config.io)]));
        if timeout(BURY_WAIT_MAX, closed).await.is_err() {
            tracing::warn!("the index is still in use");
        }
    }
    end_journals(shared).await;
}

/// Leaves word in the index and its standby that they are alike.
async fn seal(shared: &Shared, serving: &Serving) {
    let epoch = shared.state().known.as_ref().map_or(0, |known| known.epoch);
    let mirror = Arc::clone(&serving.mirror);
    let failed = match shared.config.io.run(move || mirror.seal(epoch)).await {
        Ok(Ok(())) => serving.mirror.standby().settled().await.err().map(|error| error.to_string()),
        Ok(Err(error)) => Some(error.to_string()),
        Err(unfinished) => Some(unfinished.to_string()),
    };
    if let Some(reason) = failed {
        tracing::warn!(reason, "the standby of the index is made anew at the next start");
    }
}
