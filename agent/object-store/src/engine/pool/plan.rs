//! What to do next, as things are. Pure.

use std::time::Duration;

use agent_object_store_pool::superblock::{Duty, VolumeNo};
use tokio::time::Instant;

use super::members::{Known, Standing};
use super::places::has_other;
use super::standby::{StandbyStep, is_standby_to_come, standby_step};
use super::state::{Phase, Slot, State};
use crate::names::VolumeId;
use crate::volumes::AttachError;

/// The next step.
#[derive(Debug)]
pub(super) enum Step {
    /// Wait for something to happen.
    Idle,
    /// The same, but not for longer than this.
    Wait(Instant),
    /// Turn a volume away.
    Refuse(VolumeId, AttachError),
    /// Take a volume for a blank one: what it holds was never used.
    Blank(VolumeId),
    /// Stop serving, as the index cannot be used any more.
    Stop,
    /// Record that a volume failed.
    NoteFence(VolumeId, String),
    /// Destroy the key of a volume that is not of the pool any more, and turn it away.
    Destroy(VolumeId),
    /// Decide what was asked for: a volume is to be retired, or not.
    Decide,
    /// Let a volume go that is empty.
    Dismiss(VolumeNo),
    /// Record that volumes that are missing are not needed any more.
    Replace(Vec<VolumeNo>),
    /// End the journals of a store that is not open any more.
    EndJournals,
    /// Record that volumes were given up.
    Forget,
    /// Found the pool on these volumes.
    Found(Vec<VolumeId>),
    /// Format a volume under its number: founding the pool was cut off.
    Complete(VolumeId, VolumeNo),
    /// Open the store.
    Open,
    /// Format a blank volume.
    Join(VolumeId),
    /// Take a member into use.
    Add(VolumeId),
    /// See to the standby of the index.
    Standby(StandbyStep),
}

/// How long is waited for volumes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    pub settle: Duration,
    pub founding: Duration,
}

/// Decides.
pub(super) fn plan(state: &State, waits: Waits, now: Instant) -> Step {
    if state.is_closed {
        return Step::Idle;
    }
    if let Some(step) = state.slots.iter().find_map(|(id, slot)| unwanted(state, id, slot)) {
        return step;
    }
    if state.serving.is_some() && is_index_lost(state) {
        return Step::Stop;
    }
    if !state.closing.is_empty() {
        return Step::EndJournals;
    }
    if let Some(step) = unnoted_fence(state) {
        return step;
    }
    if let Some(until) = state.retry_at.filter(|until| *until > now) {
        return Step::Wait(until);
    }
    if !state.forgets.is_empty() {
        return Step::Forget;
    }
    if !state.decisions.is_empty() {
        return Step::Decide;
    }
    if state.serving.is_some() { serve(state, now) } else { gather(state, waits, now) }
}

/// What to do with a volume that cannot be used as it is.
fn unwanted(state: &State, id: &VolumeId, slot: &Slot) -> Option<Step> {
    let known = state.known.as_ref()?;
    let path = slot.volume.path.clone();
    match &slot.phase {
        Phase::Member { says: Some(says), .. } => match known.standing(says) {
            Standing::Member => {
                if state.unplugged.contains(id) {
                    return None;
                }
                let fenced = known.fenced(&state.boot).find(|(m, _)| m.number == says.number);
                let (id, reason) = (id.clone(), fenced?.1.to_owned());
                Some(Step::Refuse(id.clone(), AttachError::Fenced { id, reason }))
            }
            Standing::Gone if known.duty(says.number) == Some(&Duty::Retired) => {
                Some(Step::Destroy(id.clone()))
            }
            Standing::Gone => {
                Some(Step::Refuse(id.clone(), AttachError::Forgotten { id: id.clone() }))
            }
            Standing::Unused => Some(Step::Blank(id.clone())),
            Standing::Conflict => {
                let reason = format!(
                    "its number {} in the pool is another volume's by now; empty it to use it again",
                    says.number
                );
                Some(Step::Refuse(id.clone(), AttachError::Damaged { path, reason }))
            }
        },
        Phase::Blank if known.home.is_some() && known.number(id.as_str()).is_some() => {
            let reason = "it belongs to the pool but has lost its superblocks; give it up, then it \
                          can join anew";
            let reason = reason.to_owned();
            Some(Step::Refuse(id.clone(), AttachError::Damaged { path, reason }))
        }
        _ => None,
    }
}

/// A volume that failed, of which the others are to know.
fn unnoted_fence(state: &State) -> Option<Step> {
    let known = state.known.as_ref()?;
    let fenced = state.slots.iter().filter_map(|(id, slot)| {
        let device = slot.device()?;
        Some((id, device.number(), device.fenced()?))
    });
    let is_unnoted = |number: VolumeNo| match known.duty(number) {
        Some(Duty::Fenced { boot, .. }) => *boot != state.boot,
        Some(Duty::Retired) | None => false,
        Some(_) => true,
    };
    let mut unnoted = fenced.filter(|(_, number, _)| is_unnoted(*number));
    unnoted.next().map(|(id, _, reason)| Step::NoteFence(id.clone(), reason))
}

/// Whether the index failed, or the volume that it is on is gone, takes no writes or is to leave.
pub(super) fn is_index_lost(state: &State) -> bool {
    let Some(serving) = &state.serving else { return false };
    let home = state.known.as_ref().and_then(|known| known.home);
    let device = state.in_use().into_iter().find(|device| Some(device.number()) == home);
    let leaving = state.known.as_ref().and_then(Known::leaving);
    // Taking over is quick: a standby that can be had is waited for.
    let is_to_move = leaving.is_some()
        && leaving == home
        && has_other(&state.in_use(), leaving)
        && !is_standby_to_come(state);
    serving.index.trouble().is_some()
        || device.is_none_or(|device| device.fenced().is_some())
        || is_to_move
}

/// The store is open.
fn serve(state: &State, now: Instant) -> Step {
    let standby = standby_step(state, now);
    if standby == Some(StandbyStep::Drop) {
        return Step::Standby(StandbyStep::Drop);
    }
    let first = |wanted: fn(&Phase) -> bool| {
        state.slots.iter().find(|(_, slot)| wanted(&slot.phase)).map(|(id, _)| id.clone())
    };
    if let Some(id) = first(|phase| matches!(phase, Phase::Member { .. })) {
        return Step::Add(id);
    }
    if let Some(id) = first(|phase| matches!(phase, Phase::Blank)) {
        return Step::Join(id);
    }
    let unneeded = state.serving.as_ref().map(|serving| serving.core.unneeded());
    let unneeded = unneeded.unwrap_or_default();
    let is_needed = |number: &VolumeNo| {
        state.known.iter().flat_map(Known::needed).any(|member| member.number == *number)
    };
    if unneeded.iter().any(is_needed) {
        return Step::Replace(unneeded);
    }
    // Not while another one may still hold what only this one had.
    let left = state.serving.as_ref().and_then(|serving| serving.core.left());
    let are_all_well = state.known.as_ref().is_some_and(|known| missing(state, known) == 0)
        && state.in_use().iter().all(|device| device.fenced().is_none());
    if let Some(number) = left.filter(|_| are_all_well) {
        let has_index = state.known.as_ref().is_some_and(|known| known.has_index(number));
        if !has_index {
            return Step::Dismiss(number);
        }
    }
    match standby {
        Some(StandbyStep::Wait(until)) => Step::Wait(until),
        Some(step) => Step::Standby(step),
        None => Step::Idle,
    }
}

/// The store is not open.
fn gather(state: &State, waits: Waits, now: Instant) -> Step {
    let Some(known) = &state.known else { return found(state, waits, now) };
    let blank = state.slots.iter().filter(|(_, slot)| matches!(slot.phase, Phase::Blank));
    if known.home.is_none() {
        let mut cut_off = blank.filter_map(|(id, _)| Some((id, known.number(id.as_str())?)));
        if let Some((id, number)) = cut_off.next() {
            return Step::Complete(id.clone(), number);
        }
    }
    let missing = missing(state, known);
    if missing > known.spare() || state.slots.values().all(|slot| slot.device().is_none()) {
        return Step::Idle;
    }
    let until = state.first.map_or(now, |first| first + waits.settle);
    if missing <= written_off(state, known) || state.settled || until <= now {
        Step::Open
    } else {
        Step::Wait(until)
    }
}

/// How many members are not here.
pub(super) fn missing(state: &State, known: &Known) -> usize {
    let is_here = |number| {
        let devices = state.slots.values().filter_map(Slot::device);
        devices.into_iter().any(|device| device.number() == number)
    };
    known.needed().filter(|member| !is_here(member.number)).count()
}

/// How many members are not here of which nothing is expected: they failed since the machine was started.
pub(super) fn written_off(state: &State, known: &Known) -> usize {
    let is_here = |number| {
        let devices = state.slots.values().filter_map(Slot::device);
        devices.into_iter().any(|device| device.number() == number)
    };
    known.fenced(&state.boot).filter(|(member, _)| !is_here(member.number)).count()
}

/// There is no member: the pool is founded when no more blank volumes come.
fn found(state: &State, waits: Waits, now: Instant) -> Step {
    // One that is still being read may be a member.
    let is_reading = state.slots.values().any(|slot| matches!(slot.phase, Phase::Reading));
    let blank = state.slots.iter().filter(|(_, slot)| matches!(slot.phase, Phase::Blank));
    let blank: Vec<VolumeId> = blank.map(|(id, _)| id.clone()).collect();
    if is_reading || blank.is_empty() {
        return Step::Idle;
    }
    let until = state.last_blank.map_or(now, |last| last + waits.founding);
    if until <= now { Step::Found(blank) } else { Step::Wait(until) }
}
