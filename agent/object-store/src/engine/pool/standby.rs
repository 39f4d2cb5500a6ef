//! Seeing to the standby of the index: where there is to be one, naming it, and giving it up.

use std::sync::Arc;
use std::time::Duration;

use agent_object_store_pool::device::{ANSWER_MAX, Device};
use agent_object_store_pool::superblock::VolumeNo;
use tokio::time::{Instant, timeout};

use super::members::Known;
use super::owner::{RETRY, accept};
use super::places::{ranked, tell};
use super::retire::freshest;
use super::shared::Shared;
use super::state::State;
use crate::engine::fjall::Role;
use crate::engine::index::Index;
use crate::engine::standby::{Phase, Standby, fill};

/// How long after a standby failed another one is begun: it is filled with everything.
const PAUSE: Duration = Duration::from_secs(60);

/// How long is waited for the disk of a standby that was given up, before what it holds is removed.
const RELEASE_MAX: Duration = Duration::from_secs(30);

/// What is to be done about the standby.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StandbyStep {
    /// Give it up.
    Drop,
    /// Name it in the superblocks.
    Name,
    /// Begin one.
    Begin,
    /// Begin one then.
    Wait(Instant),
}

/// What is to be done about the standby while the store is open, if anything.
pub(super) fn standby_step(state: &State, now: Instant) -> Option<StandbyStep> {
    let known = state.known.as_ref()?;
    let standby = state.serving.as_ref()?.mirror.standby();
    let phase = standby.phase();
    let may_stay = phase.volume().is_none_or(|volume| is_fit(state, known, volume));
    match phase {
        Phase::Failed { .. } => Some(StandbyStep::Drop),
        _ if !may_stay => Some(StandbyStep::Drop),
        // It was named by a step that was cut off, or is one of a store before.
        Phase::None if known.standby.is_some() => Some(StandbyStep::Drop),
        Phase::Whole { .. } => Some(StandbyStep::Name),
        Phase::None => begin_step(state, known, now),
        Phase::Filling { .. } | Phase::InStep { .. } => None,
    }
}

fn begin_step(state: &State, known: &Known, now: Instant) -> Option<StandbyStep> {
    let mut in_use = state.in_use().into_iter().map(|device| device.number());
    if !in_use.any(|number| is_fit(state, known, number)) {
        return None;
    }
    let until = state.standby_failed.map(|(at, _)| at + PAUSE).filter(|until| *until > now);
    Some(until.map_or(StandbyStep::Begin, StandbyStep::Wait))
}

/// Whether a volume may hold the standby.
fn is_fit(state: &State, known: &Known, number: VolumeNo) -> bool {
    let device = state.in_use().into_iter().find(|device| device.number() == number);
    known.home != Some(number)
        && known.leaving() != Some(number)
        && device.is_some_and(|device| device.fenced().is_none())
}

/// Whether there will be a standby soon that is not there now.
pub(super) fn is_standby_to_come(state: &State) -> bool {
    let Some(serving) = &state.serving else { return false };
    match serving.mirror.standby().phase() {
        Phase::Filling { .. } | Phase::Whole { .. } => true,
        Phase::None => {
            let known = state.known.as_ref();
            known.is_some_and(|known| {
                begin_step(state, known, Instant::now()) == Some(StandbyStep::Begin)
            })
        }
        Phase::InStep { .. } | Phase::Failed { .. } => false,
    }
}

/// Does a step.
pub(super) async fn see_to(shared: &Arc<Shared>, step: StandbyStep) {
    match step {
        StandbyStep::Drop => drop_standby(shared).await,
        StandbyStep::Name => name(shared).await,
        StandbyStep::Begin => begin(shared).await,
        StandbyStep::Wait(_) => {}
    }
}

/// The standby of the store that is open, what is known with what superblocks were told last, and the volumes
/// in use.
async fn found(shared: &Shared) -> Option<(Standby, Known, Vec<Device>)> {
    let known = freshest(shared).await?;
    let state = shared.state();
    let serving = state.serving.as_ref()?;
    Some((serving.mirror.standby().clone(), known, state.in_use()))
}

/// Begins a standby on the best volume.
async fn begin(shared: &Arc<Shared>) {
    let Some((standby, known, devices)) = found(shared).await else { return };
    let failed = shared.state().standby_failed.map(|(_, volume)| volume);
    let ranked = ranked(&devices, failed).await;
    let (device, home, core) = {
        let state = shared.state();
        let mut fit = ranked.into_iter().filter(|device| is_fit(&state, &known, device.number()));
        let Some((device, serving)) = fit.next().zip(state.serving.as_ref()) else { return };
        (device, serving.mirror.home(), Arc::downgrade(&serving.core))
    };
    let attempt = standby.begin(device.number());
    tracing::info!(volume = %device.number(), "a standby of the index is begun");
    let (places, io) = (shared.places.clone(), shared.config.io);
    // A task of its own: it takes long, and its disk may hang.
    tokio::spawn(async move {
        match timeout(ANSWER_MAX, places.make(&device, Role::Standby)).await {
            Ok(Ok(index)) => {
                let index: Arc<dyn Index> = Arc::new(index);
                standby.write_to(attempt, index, io);
                fill(standby, attempt, home, core, io).await;
            }
            Ok(Err(error)) => standby.fail(attempt, &error.to_string()),
            Err(_) => standby.fail(attempt, "it was not made in time"),
        }
    });
}

/// Names a standby that is whole.
async fn name(shared: &Arc<Shared>) {
    let Some((standby, known, devices)) = found(shared).await else { return };
    let Phase::Whole { volume, .. } = standby.phase() else { return };
    let epoch = shared.next_epoch(&known);
    let next = Known { standby: Some(volume), epoch, ..known };
    if tell(&devices, &next).await == 0 {
        shared.state().retry_at = Some(Instant::now() + RETRY);
        return;
    }
    accept(shared, &next);
    shared.state().standby_failed = None;
    standby.named();
    tracing::info!(%volume, "the index has a standby");
}

/// Gives a standby up: first no superblock names it any more, then nobody waits for it.
async fn drop_standby(shared: &Arc<Shared>) {
    let Some((standby, known, devices)) = found(shared).await else { return };
    let volume = standby.phase().volume();
    if let Some(volume) = volume {
        let mut state = shared.state();
        // One that is gone is no reason to wait.
        if is_fit(&state, &known, volume) {
            state.standby_failed = Some((Instant::now(), volume));
        }
    }
    let next = if standby.is_awaited() || known.standby.is_some() {
        let epoch = shared.next_epoch(&known);
        let next = Known { standby: None, epoch, ..known };
        // Those that are not told are fenced, or not here: what they hold of the journals is not freed.
        if tell(&devices, &next).await == 0 {
            shared.state().retry_at = Some(Instant::now() + RETRY);
            return;
        }
        accept(shared, &next);
        next
    } else {
        known
    };
    tracing::info!(?volume, "the index has no standby any more");
    let writer = standby.dropped();
    let places = shared.places.clone();
    let old: Vec<Device> =
        devices.into_iter().filter(|device| Some(device.number()) == volume).collect();
    tokio::spawn(async move {
        if let Some(writer) = writer {
            // One that hangs keeps it.
            let _ = timeout(RELEASE_MAX, writer).await;
        }
        if standby.phase().volume() != volume {
            places.tidy(&old, &next).await;
        }
    });
}
