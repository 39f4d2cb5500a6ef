//! What the store says of itself to whoever keeps the node.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use agent_object_store_pool::group::run::GroupId;
use agent_object_store_pool::meter::Measured;
use agent_object_store_pool::redundancy::redundancy;
use agent_object_store_pool::superblock::{Class, VolumeNo};

use super::Engine;
use super::members::Known;
use super::state::State;
use crate::engine::admission::BodyMemory;
use crate::engine::core::Core;
use crate::engine::entry::GroupEntry;
use crate::engine::index::{Index as _, IndexMemory};
use crate::engine::keeper::Scrubbed;
use crate::engine::leave::Leaving;
use crate::engine::standby::Phase;
use crate::engine::totals::Totals;
use crate::engine::traffic::Requests;
use crate::error::StoreError;
use crate::names::{UnixMillis, VolumeId};
use crate::store::{VolumeState, VolumeUsage};

/// The state of the pool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PoolStatus {
    /// Why nothing is served, in words; none while the store is open.
    pub awaited: Option<String>,
    /// How far an index is that is made anew: packed groups that were read, and all. None while none is.
    pub rebuilding: Option<(u64, u64)>,
    /// How what is new is spread; none while the store is not open.
    pub spread: Option<Spread>,
    /// How many volumes may still be lost without any object; none while that is not known.
    pub spare_volumes: Option<u32>,
    /// Bytes of the volumes in use.
    pub space: PoolSpace,
    /// How much is stored, and how much that takes; none while that is not known.
    pub content: Option<ContentStatus>,
    /// What is missing, and how far it is made anew.
    pub healing: HealingStatus,
    /// How far the scrub has come; none before its first round.
    pub scrub: Option<ScrubStatus>,
    /// The journals.
    pub packing: PackingStatus,
    /// Memory for the bodies of requests.
    pub bodies: BodyMemory,
    /// How far the standby of the index is; none while the store is not open.
    pub standby: Option<StandbyStatus>,
    /// Memory of the index and its standby; none while the store is not open.
    pub index: Option<IndexMemory>,
    /// Requests that were carried out since the store was opened; none while it is not open.
    pub served: Option<Requests>,
    /// Events since the process began.
    pub events: u64,
    /// Every volume of the pool.
    pub volumes: Vec<VolumeStatus>,
}

/// How far the standby of the index is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StandbyStatus {
    /// There is none: only one volume can have an index, or the last one failed a moment ago.
    None,
    /// It is being filled.
    Filling {
        /// Entries that were copied.
        copied: u64,
    },
    /// It takes over should the volume of the index go.
    InStep,
}

impl StandbyStatus {
    fn of(phase: &Phase) -> Self {
        match phase {
            Phase::None | Phase::Failed { .. } => Self::None,
            Phase::Filling { copied, .. } | Phase::Whole { copied, .. } => {
                Self::Filling { copied: *copied }
            }
            Phase::InStep { .. } => Self::InStep,
        }
    }
}

/// How what is new is spread over volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// Parts of each row with content.
    pub data: u8,
    /// Parts of each row that may be lost.
    pub parity: u8,
    /// Copies of what is in the journals.
    pub copies: u8,
}

/// Bytes of the volumes in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolSpace {
    /// Of their file systems, in all.
    pub total: u64,
    /// Taken.
    pub used: u64,
    /// Kept free for packing and cleaning.
    pub reserved: u64,
    /// Bytes of objects that still fit, about, with their redundancy.
    pub usable: u64,
}

/// How much is stored, and how much that takes without redundancy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ContentStatus {
    /// Bytes of objects and of parts of open uploads, as their readers count them.
    pub plain_bytes: u64,
    /// Bytes in groups that are needed: what of the above is not in the journals, compressed where that saves
    /// room, with its records.
    pub stored_bytes: u64,
}

/// What is missing, and how far it is made anew.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HealingStatus {
    /// Groups.
    pub groups: u64,
    /// Groups by how many of their shards are missing, from one on.
    pub by_missing: Vec<u64>,
    /// Groups of which more is missing than may be.
    pub lost: u64,
    /// Damaged shards that are known and not made anew yet.
    pub damaged: u64,
    /// Bytes that are to be made, about.
    pub wanting_bytes: u64,
    /// When healing began; none while nothing is done.
    pub since: Option<UnixMillis>,
    /// Shards that were made since.
    pub made_shards: u64,
    /// Bytes that were made since.
    pub made_bytes: u64,
    /// Bytes a second since then; none as long as nothing was made.
    pub bytes_per_second: Option<u64>,
    /// How long it will take at this rate; none as long as nothing was made.
    pub seconds_left: Option<u64>,
}

/// How far the scrub has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubStatus {
    /// When this round began.
    pub begun: UnixMillis,
    /// When it will have taken its time.
    pub ends: UnixMillis,
    /// Groups that were read in it.
    pub read: u64,
    /// All groups.
    pub groups: u64,
}

/// The journals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PackingStatus {
    /// Whether a pass is under way.
    pub is_running: bool,
    /// Segments in use.
    pub segments: u64,
    /// Bytes of records in them.
    pub bytes: u64,
    /// Whether something that failed may still take effect, until a pass.
    pub is_in_doubt: bool,
}

/// One volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeStatus {
    /// Its identity.
    pub id: VolumeId,
    /// Its number; none before it is of the pool.
    pub number: Option<VolumeNo>,
    /// How fast it is; none where it is missing and unknown.
    pub class: Option<Class>,
    /// Where it is mounted; none while it is missing.
    pub path: Option<PathBuf>,
    /// Whether it can be used.
    pub state: VolumeState,
    /// When it came to this state.
    pub since: UnixMillis,
    /// Size of its file system in bytes; 0 while it is missing.
    pub capacity_bytes: u64,
    /// Bytes that it still takes, without the reserve.
    pub free_bytes: u64,
    /// Whether the index is on it.
    pub has_index: bool,
    /// Whether the standby of the index is on it, or becomes it.
    pub has_standby: bool,
    /// Whether its disk is too hot, as [`Engine::set_hot`] was told.
    pub is_hot: bool,
    /// Shards and segments on it.
    pub files: u64,
    /// How far it is emptied, if it is to leave.
    pub leaving: Option<Leaving>,
    /// What its file system was asked for since it was attached.
    pub measured: Measured,
    /// Damaged blocks that were met on it since the store was opened.
    pub damaged_blocks: u64,
    /// Shards that were made anew on it since the store was opened.
    pub repaired_shards: u64,
}

impl Engine {
    /// The state of the pool. Reads what the index says of groups; not to be asked for with every request.
    pub async fn status(&self) -> PoolStatus {
        let usage = self.usage_now().await;
        let shared = self.shared();
        let (mut status, core, mirror) = {
            let state = shared.state();
            let volumes = usage.volumes.iter().map(|usage| of_volume(&state, usage));
            let volumes = volumes.collect();
            let core = state.serving.as_ref().map(|serving| Arc::clone(&serving.core));
            let mirror = state.serving.as_ref().map(|serving| Arc::clone(&serving.mirror));
            let rebuilding = (core.is_none() && state.settled).then(|| shared.rebuilt());
            (PoolStatus { rebuilding, volumes, ..PoolStatus::default() }, core, mirror)
        };
        status.bodies = shared.admission.memory();
        status.index = mirror.as_ref().map(|mirror| mirror.memory());
        status.standby = mirror.map(|mirror| StandbyStatus::of(&mirror.standby().phase()));
        status.events = shared.events.last();
        status.awaited = self.awaited();
        if status.awaited.is_some() && status.rebuilding.is_none() {
            status.rebuilding = Some(shared.rebuilt()).filter(|(_, all)| *all > 0);
        }
        let Some(core) = core else { return status };
        let now = shared.config.clock.now();
        let looked = Arc::clone(&core);
        let found = shared.config.io.run(move || looked.look(now)).await;
        // While the index fails, nothing is known.
        if let Ok(Ok(found)) = found {
            (status.healing, status.scrub) = (found.healing, found.scrub);
            status.spare_volumes = found.spare;
            status.content = Some(found.content);
        }
        status.served = Some(core.traffic.served());
        status.spread = core.volumes.spread();
        status.packing = core.packing_status();
        let in_use = status.volumes.iter().filter(|volume| volume.capacity_bytes > 0);
        for volume in in_use {
            let kept = core.volumes.reserve().min(volume.capacity_bytes);
            let space = &mut status.space;
            space.total += volume.capacity_bytes;
            space.reserved += kept;
            space.used += volume.capacity_bytes.saturating_sub(volume.free_bytes + kept);
            space.usable += volume.free_bytes;
        }
        if let Some(Spread { data, parity, .. }) = status.spread {
            let (data, all) = (u64::from(data), u64::from(data) + u64::from(parity));
            status.space.usable = status.space.usable / all.max(1) * data;
        }
        status
    }
}

fn of_volume(state: &State, usage: &VolumeUsage) -> VolumeStatus {
    let device = state.slots.get(&usage.id).and_then(|slot| slot.device());
    let member = state.known.iter().flat_map(Known::living);
    let member = member.into_iter().find(|member| member.volume == usage.id.as_str());
    let number = device.map(|device| device.number()).or(member.map(|member| member.number));
    let core = state.serving.as_ref().map(|serving| &serving.core);
    let of_core = core.zip(number);
    let (damaged_blocks, repaired_shards) =
        of_core.map(|(core, number)| core.damages.of_volume(number)).unwrap_or_default();
    VolumeStatus {
        id: usage.id.clone(),
        number,
        class: device.map(|device| device.class()).or(member.map(|member| member.class)),
        path: usage.path.clone(),
        state: usage.state.clone(),
        since: usage.since,
        capacity_bytes: usage.capacity_bytes,
        free_bytes: usage.free_bytes,
        has_index: number.is_some() && state.known.as_ref().and_then(|known| known.home) == number,
        has_standby: number.is_some()
            && state.serving.as_ref().and_then(|s| s.mirror.standby().phase().volume()) == number,
        is_hot: of_core.is_some_and(|(core, number)| core.volumes.is_hot(number)),
        files: of_core.map(|(core, number)| core.holds(number)).unwrap_or_default(),
        leaving: of_core.and_then(|(core, number)| core.leaving(number)),
        measured: device.map(|device| device.measured()).unwrap_or_default(),
        damaged_blocks,
        repaired_shards,
    }
}

/// What a look at groups and index gives.
struct Looked {
    healing: HealingStatus,
    scrub: Option<ScrubStatus>,
    spare: Option<u32>,
    content: ContentStatus,
}

impl Core {
    fn look(&self, now: UnixMillis) -> Result<Looked, StoreError> {
        let entries: BTreeMap<GroupId, GroupEntry> = self.known_groups()?.into_iter().collect();
        let Totals { bytes, part_bytes, .. } = self.totals()?;
        let content = ContentStatus {
            plain_bytes: bytes.saturating_add(part_bytes),
            stored_bytes: entries.values().map(|entry| entry.live).sum(),
        };
        let redundant = self.redundant();
        let healing = self.healing_now();
        let mut status = HealingStatus {
            groups: redundant.groups,
            lost: redundant.lost,
            damaged: self.damages.known(),
            since: healing.since,
            made_shards: healing.shards,
            made_bytes: healing.bytes,
            ..HealingStatus::default()
        };
        // What stands in the journals only has so many copies.
        let volumes = self.volumes.healthy().len();
        let mut spare = redundancy(volumes).map(|now| i32::from(now.copies) - 1);
        for group in self.groups.all() {
            let Some(group) = self.groups.status(group) else { continue };
            let fenced = group.fenced.len();
            let wanting = group.missing.len() + fenced;
            let left = group.spare() - i32::try_from(fenced).unwrap_or(i32::MAX);
            spare = spare.map(|spare| spare.min(left));
            if wanting > 0 {
                let written = entries.get(&group.group).and_then(|entry| entry.written);
                let shard = written.unwrap_or_default() / u64::from(group.shape.k.max(1));
                status.wanting_bytes += shard.saturating_mul(wanting as u64);
                if status.by_missing.len() < wanting {
                    status.by_missing.resize(wanting, 0);
                }
                if let Some(count) = status.by_missing.get_mut(wanting - 1) {
                    *count += 1;
                }
            }
        }
        let seconds = status.since.map(|since| now.0.saturating_sub(since.0) / 1000);
        let rate = seconds.and_then(|seconds| status.made_bytes.checked_div(seconds));
        status.bytes_per_second = rate.filter(|rate| *rate > 0);
        status.seconds_left =
            status.bytes_per_second.and_then(|rate| status.wanting_bytes.checked_div(rate));
        let scrub = self.scrubbed()?.map(|Scrubbed { begun, ends, groups: read }| ScrubStatus {
            begun,
            ends,
            read,
            groups: redundant.groups,
        });
        let spare = spare.map(|spare| u32::try_from(spare).unwrap_or(0));
        Ok(Looked { healing: status, scrub, spare, content })
    }

    fn packing_status(&self) -> PackingStatus {
        let volumes = self.volumes.all();
        let segments = volumes.iter().flat_map(|volume| volume.journal.segments());
        let (segments, bytes) =
            segments.fold((0, 0), |(count, bytes), segment| (count + 1, bytes + segment.bytes));
        let is_running = self.is_packing();
        PackingStatus { is_running, segments, bytes, is_in_doubt: self.doubts.is_any() }
    }
}
