//! What is stored and what has room.

use std::time::Duration;

use agent_object_store_pool::backend::Space;
use agent_object_store_pool::superblock::VolumeNo;
use futures::future::join_all;

use super::Engine;
use super::members::Known;
use super::shared::Shared;
use super::state::{Phase, Slot};
use crate::names::VolumeId;
use crate::store::{Usage, VolumeState, VolumeUsage};

/// How long a volume may take to say how much room it has; behind that, what it said last counts.
const SPACE_WAIT_MAX: Duration = Duration::from_secs(1);

impl Engine {
    pub(super) async fn usage_now(&self) -> Usage {
        let shared = self.shared();
        measure(shared).await;
        let (core, volumes) = {
            let state = shared.state();
            let configured = shared.config.reserve_bytes;
            let serving = state.serving.as_ref();
            let reserve = serving.map_or(configured, |serving| serving.core.volumes.reserve());
            let leaving = state.known.as_ref().and_then(Known::leaving);
            let mut volumes: Vec<VolumeUsage> =
                state.slots.iter().map(|(id, slot)| of_slot(id, slot, reserve, leaving)).collect();
            let fenced = state.known.iter().flat_map(|known| known.fenced(&state.boot));
            let fenced: Vec<(VolumeNo, String)> =
                fenced.map(|(member, reason)| (member.number, reason.to_owned())).collect();
            let members = state.known.iter().flat_map(|known| known.living());
            for member in members {
                let Ok(id) = VolumeId::new(&member.volume) else { continue };
                if state.slots.contains_key(&id) {
                    continue;
                }
                let since = state.missing_since.get(id.as_str()).copied().unwrap_or(state.opened);
                let state = match fenced.iter().find(|(number, _)| *number == member.number) {
                    Some((_, reason)) => VolumeState::Fenced { reason: reason.clone() },
                    None => VolumeState::Missing,
                };
                let (path, capacity_bytes, free_bytes) = (None, 0, 0);
                volumes.push(VolumeUsage { id, path, state, capacity_bytes, free_bytes, since });
            }
            (state.serving.as_ref().map(|serving| serving.core.clone()), volumes)
        };
        // While the index fails, nothing is known.
        let totals = core.and_then(|core| core.totals().ok()).unwrap_or_default();
        Usage { objects: totals.objects, bytes: totals.bytes, uploads: totals.uploads, volumes }
    }
}

/// Asks all volumes how much room they have.
async fn measure(shared: &Shared) {
    let devices = shared.state().devices();
    let io = shared.config.io;
    let spaces = devices.into_iter().map(|(id, token, device)| async move {
        let space = io.run(move || device.backend().space(device.root()));
        let space = tokio::time::timeout(SPACE_WAIT_MAX, space).await;
        Some((id, token, space.ok()?.ok()?.ok()?))
    });
    let spaces = join_all(spaces).await;
    let mut state = shared.state();
    for (id, token, space) in spaces.into_iter().flatten() {
        if let Some(slot) = state.slot(&id, token) {
            slot.space = Some(space);
        }
    }
}

fn of_slot(id: &VolumeId, slot: &Slot, reserve: u64, leaving: Option<VolumeNo>) -> VolumeUsage {
    let is_leaving = slot.device().is_some_and(|device| Some(device.number()) == leaving);
    let state = match &slot.phase {
        Phase::Reading | Phase::Blank | Phase::Member { .. } => VolumeState::Attaching,
        Phase::InUse { device } => match device.fenced() {
            None if is_leaving => VolumeState::Retiring,
            None => VolumeState::Attached,
            Some(reason) => VolumeState::Fenced { reason },
        },
        Phase::Retired { failure: None } => VolumeState::Retired,
        Phase::Retired { failure: Some(failure) } => {
            let reason =
                format!("retired, but its key may be left on it: {failure}; destroy the disk");
            VolumeState::Fenced { reason }
        }
        Phase::Failed { reason } => VolumeState::Fenced { reason: reason.clone() },
    };
    let is_attached = matches!(state, VolumeState::Attached | VolumeState::Retiring);
    let space = slot.space.filter(|_| is_attached).unwrap_or(Space { total: 0, free: 0 });
    VolumeUsage {
        id: id.clone(),
        path: Some(slot.volume.path.clone()),
        state,
        capacity_bytes: space.total,
        free_bytes: space.free.saturating_sub(reserve),
        since: slot.since,
    }
}
