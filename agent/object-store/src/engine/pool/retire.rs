//! Volumes that leave for good: retired in good order, or failed.
//!
//! ```text
//! Serves ──retire──▶ Retires ──empty──▶ Retired (gone) ──▶ key destroyed
//!    ▲                  │
//!    └─────cancel───────┘
//! ```
//!
//! Each arrow but the last is a record on the other volumes before anything follows from it, so a start
//! goes on where the last one ended.

use std::sync::Arc;

use agent_object_store_pool::device::Device;
use agent_object_store_pool::superblock::{Duty, Superblock, VolumeNo};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::members::Known;
use super::owner::{RETRY, accept};
use super::places::tell;
use super::shared::Shared;
use super::state::{Decision, Phase, Wanted};
use crate::engine::core::Core;
use crate::engine::error::in_words;
use crate::engine::events::Happening;
use crate::names::VolumeId;
use crate::volumes::{AttachError, RetireError};

/// Characters of a reason that are written to superblocks: a path and an error of the system.
const REASON_MAX: usize = 200;

impl Shared {
    /// Has the owner decide about a volume.
    pub(super) async fn decide(&self, id: &VolumeId, wanted: Wanted) -> Result<(), RetireError> {
        let (reply, answer) = oneshot::channel();
        {
            let mut state = self.state();
            if state.is_closed || state.known.is_none() {
                return Err(failed(id, &state.reason().to_string()));
            }
            state.decisions.push(Decision { id: id.clone(), wanted, reply });
        }
        self.wake.notify_one();
        let closed = |_| failed(id, "the store is closed");
        answer.await.unwrap_or_else(|error| Err(closed(error)))
    }
}

/// What is known, with all that superblocks were told: a step that told some of them may have been cut off
/// before that was noted.
pub(super) async fn freshest(shared: &Shared) -> Option<Known> {
    let (known, devices) = {
        let state = shared.state();
        (state.known.clone()?, state.devices())
    };
    // Waits for one that is being written to.
    let read = move || -> Vec<Superblock> {
        devices.iter().map(|(.., device)| device.superblock()).collect()
    };
    let told = shared.config.io.run(read).await.ok()?;
    Known::of(Some(&known), &told.iter().collect::<Vec<_>>())
}

fn failed(id: &VolumeId, reason: &str) -> RetireError {
    RetireError::Failed { id: id.to_string(), reason: reason.to_owned() }
}

/// Decides what was asked for.
pub(super) async fn decide(shared: &Arc<Shared>) {
    let decisions = std::mem::take(&mut shared.state().decisions);
    for Decision { id, wanted, reply } in decisions {
        let result = match wanted {
            Wanted::Retire => retire(shared, &id).await,
            Wanted::Cancel => cancel(shared, &id).await,
        };
        // It may not be waited for any more.
        let _ = reply.send(result);
    }
}

async fn retire(shared: &Arc<Shared>, id: &VolumeId) -> Result<(), RetireError> {
    let known = freshest(shared).await.ok_or_else(|| failed(id, "no volume is here yet"))?;
    let (core, number) = {
        let state = shared.state();
        let unknown = RetireError::Unknown { id: id.to_string() };
        let number = known.number(id.as_str()).ok_or(unknown)?;
        let in_use = |number: VolumeNo| {
            let device = state.in_use().into_iter().find(|device| device.number() == number);
            device.is_some_and(|device| device.fenced().is_none())
        };
        let serving = state.serving.as_ref().map(|serving| Arc::clone(&serving.core));
        let core = serving.ok_or_else(|| failed(id, &state.reason().to_string()))?;
        if !in_use(number) {
            return Err(RetireError::NotInUse { id: id.to_string() });
        }
        if let Some(leaving) = known.leaving() {
            return Err(already(&known, id, number, leaving));
        }
        if let Some(other) = known.needed().find(|member| !in_use(member.number)) {
            let other = other.volume.clone();
            return Err(RetireError::Absent { id: id.to_string(), other });
        }
        (core, number)
    };
    let (checked, name) = (Arc::clone(&core), id.to_string());
    let fits = shared.config.io.run(move || checked.check_leave(number, &name)).await;
    fits.map_err(|error| failed(id, &error.to_string()))??;
    record(shared, id, &known.with_duty(number, &Duty::Retires)).await?;
    tracing::info!(volume = %id, "a volume is being retired");
    shared.events.tell_of(Some(id.to_string()), Happening::Retiring);
    Ok(())
}

fn already(known: &Known, id: &VolumeId, number: VolumeNo, leaving: VolumeNo) -> RetireError {
    if number == leaving {
        return RetireError::Already { id: id.to_string() };
    }
    let other = known.living().find(|member| member.number == leaving);
    let other = other.map(|member| member.volume.clone()).unwrap_or_default();
    RetireError::Another { id: id.to_string(), other }
}

async fn cancel(shared: &Arc<Shared>, id: &VolumeId) -> Result<(), RetireError> {
    let known = freshest(shared).await;
    let known = known.ok_or_else(|| failed(id, "no volume is here yet"))?;
    let member = known.members.iter().rfind(|member| member.volume == id.as_str());
    let member = member.ok_or_else(|| RetireError::Unknown { id: id.to_string() })?;
    match member.duty {
        Duty::Retires if !member.gone => {}
        Duty::Retires | Duty::Retired => return Err(RetireError::TooLate { id: id.to_string() }),
        _ => return Err(RetireError::NotRetiring { id: id.to_string() }),
    }
    record(shared, id, &known.with_duty(member.number, &Duty::Serves)).await?;
    tracing::info!(volume = %id, "retiring a volume was given up");
    shared.events.tell_of(Some(id.to_string()), Happening::RetireCancelled);
    Ok(())
}

/// Writes a decision down, on one volume at least.
async fn record(shared: &Shared, id: &VolumeId, known: &Known) -> Result<(), RetireError> {
    let devices = shared.state().in_use();
    if tell(&devices, known).await == 0 {
        return Err(RetireError::Record { id: id.to_string() });
    }
    accept(shared, known);
    Ok(())
}

/// Lets a volume go that is empty: it is out of the pool first, then its key is destroyed.
pub(super) async fn dismiss(shared: &Arc<Shared>, number: VolumeNo) {
    let known = freshest(shared).await;
    let found = {
        let state = shared.state();
        let serving = state.serving.as_ref().map(|serving| Arc::clone(&serving.core));
        let slot = state.slots.iter().find_map(|(id, slot)| {
            let device = slot.device().filter(|device| device.number() == number)?;
            Some((id.clone(), slot.token, device.clone()))
        });
        serving.zip(known).zip(slot)
    };
    let Some(((core, known), (id, token, device))) = found else { return };
    // Asked again, as it was some time ago that this was decided. It may be gone already, as the others were told of it and then this was cut off.
    let is_to_go = matches!(known.duty(number), Some(Duty::Retires | Duty::Retired));
    if core.left() != Some(number) || !is_to_go || known.has_index(number) {
        return;
    }
    let mut others = shared.state().in_use();
    others.retain(|other| other.number() != number);
    let next = known.with_duty(number, &Duty::Retired);
    if tell(&others, &next).await == 0 {
        shared.state().retry_at = Some(Instant::now() + RETRY);
        return;
    }
    let_go(shared, &core, number, &next);
    destroy_key(shared, &id, token, device).await;
}

fn let_go(shared: &Shared, core: &Arc<Core>, number: VolumeNo, next: &Known) {
    core.remove_volume(number);
    accept(shared, next);
}

/// Destroys the key of a volume that was met although it is not of the pool any more.
pub(super) async fn destroy(shared: &Arc<Shared>, id: &VolumeId) {
    let found = {
        let state = shared.state();
        let slot = state.slots.get(id);
        slot.and_then(|slot| Some((slot.token, slot.device()?.clone())))
    };
    let Some((token, device)) = found else { return };
    destroy_key(shared, id, token, device).await;
    let mut state = shared.state();
    if state.serving.is_none() {
        state.learn();
    }
}

async fn destroy_key(shared: &Shared, id: &VolumeId, token: u64, device: Device) {
    let destroyed = shared.config.io.run(move || device.destroy_key()).await;
    let failure = match destroyed {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(in_words(&error)),
        Err(error) => Some(error.to_string()),
    };
    let what = match &failure {
        None => {
            tracing::info!(volume = %id, "a volume is retired, its key is destroyed");
            Happening::Retired
        }
        Some(reason) => {
            tracing::error!(volume = %id, reason, "the key of a retired volume may be left on it");
            Happening::KeyLeft { reason: reason.clone() }
        }
    };
    if let Some(slot) = shared.state().slot(id, token) {
        slot.phase = Phase::Retired { failure };
        slot.turn_away(AttachError::Retired { id: id.clone() });
        slot.since = shared.config.clock.now();
    }
    shared.events.tell_of(Some(id.to_string()), what);
}

/// Records that volumes that are missing are not needed any more.
pub(super) async fn replace(shared: &Arc<Shared>, numbers: &[VolumeNo]) {
    let Some(known) = freshest(shared).await else { return };
    let (devices, gone) = {
        let state = shared.state();
        let here = state.devices();
        let is_here = |number: &&VolumeNo| here.iter().any(|(.., d)| d.number() == **number);
        let gone: Vec<VolumeNo> = numbers.iter().filter(|n| !is_here(n)).copied().collect();
        (state.in_use(), gone)
    };
    let still = |number: &&VolumeNo| known.needed().any(|member| member.number == **number);
    let replaced: Vec<VolumeNo> = gone.iter().filter(still).copied().collect();
    let next =
        replaced.iter().fold(known.clone(), |k, number| k.with_duty(*number, &Duty::Replaced));
    if tell(&devices, &next).await == 0 {
        shared.state().retry_at = Some(Instant::now() + RETRY);
        return;
    }
    accept(shared, &next);
    for member in next.living().filter(|member| replaced.contains(&member.number)) {
        tracing::info!(volume = %member.volume, "nothing of a missing volume is needed any more");
        shared.events.tell_of(Some(member.volume.clone()), Happening::Replaced);
    }
}

/// Tells the others that a volume failed: until the machine is started again, or its disk plugged in
/// again, what it shows may not be on the disk.
pub(super) async fn note_fence(shared: &Arc<Shared>, id: &VolumeId, reason: String) {
    let known = freshest(shared).await;
    let found = {
        let state = shared.state();
        let number = state.slots.get(id).and_then(|slot| Some(slot.device()?.number()));
        number.zip(known).zip(Some(state.boot.clone()))
    };
    let Some(((number, known), boot)) = found else { return };
    // Superblocks have room for many members, not for long stories.
    let reason: String = reason.chars().take(REASON_MAX).collect();
    let duty = Duty::Fenced { boot, reason: reason.clone() };
    let next = known.with_duty(number, &duty);
    let devices = shared.state().devices();
    let devices: Vec<Device> = devices.into_iter().map(|(.., device)| device).collect();
    tell(&devices, &next).await;
    accept(shared, &next);
    shared.events.tell_of(Some(id.to_string()), Happening::Fenced { reason });
}
