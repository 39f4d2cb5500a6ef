//! Healing: shards that are missing, on volumes that failed, or damaged are made anew, on other volumes
//! where need be, the groups first that can lose least. And evening out: shards go from full volumes to
//! empty ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_object_store_pool::device::Device;
use agent_object_store_pool::group::error::RebuildError;
use agent_object_store_pool::group::reader::{Damage, OnDamage};
use agent_object_store_pool::group::repair::{Holes, verify};
use agent_object_store_pool::group::run::GroupId;
use agent_object_store_pool::group::set::{GroupRebuildError, GroupStatus};
use agent_object_store_pool::superblock::VolumeNo;

use super::core::Core;
use super::error::EngineError;
use super::events::{Events, Happening};
use crate::error::StoreError;
use crate::names::UnixMillis;

/// Difference of what two volumes are full, in percent of their size, from which on shards are moved.
const UNEVEN: u64 = 10;

/// Damaged shards that are known and not made anew yet. A clone is another handle.
#[derive(Debug, Clone)]
pub(crate) struct Damages {
    events: Events,
    inner: Arc<Mutex<Found>>,
}

#[derive(Debug, Default)]
struct Found {
    shards: BTreeSet<(GroupId, u8)>,
    /// Shards that were made anew and have holes, as nothing gives what was in them. Those are met
    /// again and again, and making one shard anew meets those of the others.
    left: BTreeSet<(GroupId, u8)>,
    blocks: u64,
    /// Damaged blocks that were met since the start, by volume.
    of_volumes: BTreeMap<VolumeNo, u64>,
    /// Shards that were made anew since the start, by the volume they are on.
    repaired: BTreeMap<VolumeNo, u64>,
}

/// What healing does, since it last had nothing to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Healing {
    /// When it began; none while there is nothing to do.
    pub since: Option<UnixMillis>,
    /// Shards that were made.
    pub shards: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How whole the groups are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Redundant {
    /// Groups.
    pub groups: u64,
    /// Groups with a shard that is missing or on a volume that failed.
    pub degraded: u64,
    /// Shards of these that are wanting.
    pub shards: u64,
    /// Groups that miss more than they can.
    pub lost: u64,
    /// Damaged blocks that were met since the start.
    pub damaged_blocks: u64,
}

impl Damages {
    pub(crate) fn new(events: Events) -> Self {
        Self { events, inner: Arc::default() }
    }

    /// Damaged shards that are not made anew yet.
    pub(crate) fn known(&self) -> u64 {
        self.lock().shards.len() as u64
    }

    /// Damaged blocks that were met on a volume, and shards that were made anew on it.
    pub(crate) fn of_volume(&self, volume: VolumeNo) -> (u64, u64) {
        let found = self.lock();
        let of = |counts: &BTreeMap<VolumeNo, u64>| counts.get(&volume).copied().unwrap_or(0);
        (of(&found.of_volumes), of(&found.repaired))
    }

    /// What tells of damage, once for each shard.
    pub(crate) fn listener(&self) -> OnDamage {
        let found = self.clone();
        Arc::new(move |damage: &Damage| {
            let mut state = found.lock();
            state.blocks += 1;
            if let Some(volume) = damage.volume {
                *state.of_volumes.entry(volume).or_default() += 1;
            }
            let shard = (damage.group, damage.shard);
            if !state.left.contains(&shard) && state.shards.insert(shard) {
                drop(state);
                tracing::warn!(?damage, "a block is damaged");
                let (group, shard) = (damage.group.to_string(), damage.shard);
                found.events.tell(damage.volume, Happening::Damaged { group, shard });
            }
        })
    }

    /// Tries holes of a group once more when they are met again; of all groups if none is named.
    pub(crate) fn retry(&self, group: Option<GroupId>) {
        let is_other = |of: GroupId| group.is_some_and(|group| group != of);
        self.lock().left.retain(|(of, _)| is_other(*of));
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// How whole the groups are.
    pub(crate) fn redundant(&self) -> Redundant {
        let degraded = self.groups.degraded();
        let wanting = |status: &GroupStatus| status.missing.len() + status.fenced.len();
        Redundant {
            groups: self.groups.all().len() as u64,
            degraded: degraded.len() as u64,
            shards: degraded.iter().map(wanting).sum::<usize>() as u64,
            lost: degraded.iter().filter(|status| status.spare() < 0).count() as u64,
            damaged_blocks: self.damages.lock().blocks,
        }
    }

    /// Makes one shard anew that is damaged or on a volume that failed, or, if `missing`, that is not
    /// here; `pace` is awaited after each row. Says whether there was one.
    ///
    /// # Errors
    /// The process is ending.
    pub(crate) async fn heal_one<P: Future<Output = ()>>(
        &self,
        missing: bool,
        pace: impl FnMut() -> P,
    ) -> Result<bool, StoreError> {
        let damaged = {
            let found = self.damages.lock();
            found.shards.iter().find(|(group, _)| !self.is_filling(*group)).copied()
        };
        if let Some((group, shard)) = damaged {
            let status = self.groups.status(group);
            let own = self.own_device(group, shard).await;
            let onto = own.or_else(|| status.and_then(|status| self.spare_for(&status)));
            let made = match onto {
                Some(onto) => self.make_shard(group, shard, &onto, pace).await,
                None => Ok(true),
            };
            // What could not be made is met again by the next read or scrub.
            self.damages.lock().shards.remove(&(group, shard));
            return made;
        }
        for status in self.groups.degraded() {
            if status.spare() < 0 || self.is_filling(status.group) {
                continue;
            }
            let missing = status.missing.iter().filter(|_| missing);
            let shard = missing.chain(&status.fenced).next().copied();
            if let Some((shard, onto)) = shard.zip(self.spare_for(&status)) {
                return self.make_shard(status.group, shard, &onto, pace).await;
            }
        }
        Ok(false)
    }

    /// Moves a shard from a full volume to an empty one, if they differ much; says whether it did.
    ///
    /// # Errors
    /// The process is ending.
    pub(crate) async fn even_one<P: Future<Output = ()>>(
        &self,
        pace: impl FnMut() -> P,
    ) -> Result<bool, StoreError> {
        let mut volumes: Vec<(u64, Device)> = Vec::new();
        let writable = self.volumes.writable().into_iter();
        for volume in writable.filter(|volume| !self.volumes.is_hot(volume.device.number())) {
            let device = volume.device;
            let space = device.backend().space(device.root());
            let used = space.map(|space| {
                space.total.saturating_sub(space.free).saturating_mul(100) / space.total.max(1)
            });
            volumes.extend(used.ok().map(|used| (used, device)));
        }
        volumes.sort_by_key(|(used, device)| (*used, device.number()));
        let (Some((least, empty)), Some((most, full))) = (volumes.first(), volumes.last()) else {
            return Ok(false);
        };
        if empty.class() != full.class() || most.saturating_sub(*least) < UNEVEN {
            return Ok(false);
        }
        for group in self.groups.all() {
            let Some(status) = self.groups.status(group) else { continue };
            let is_movable = status.volumes.contains(&full.number())
                && !status.volumes.contains(&empty.number())
                && status.missing.is_empty()
                && !self.is_filling(group);
            if is_movable && let Some(shard) = self.shard_on(group, full.number()).await {
                return self.make_shard(group, shard, empty, pace).await;
            }
        }
        Ok(false)
    }

    /// Reads all of a group and compares; what is damaged is told to be healed.
    ///
    /// # Errors
    /// The process is ending.
    pub(crate) async fn scrub_group<P: Future<Output = ()>>(
        &self,
        group: GroupId,
        pace: impl FnMut() -> P,
    ) -> Result<(), StoreError> {
        if self.is_filling(group) {
            return Ok(());
        }
        let Some(reader) = self.groups.reader(group).await else { return Ok(()) };
        self.damages.retry(Some(group));
        let failed = |source| StoreError::engine("scrub a group", EngineError::Read(source));
        verify(&reader, pace).await.map_err(failed)?;
        Ok(())
    }

    pub(super) fn is_filling(&self, group: GroupId) -> bool {
        self.bulk.filling().contains(&group) || self.packed.filling().contains(&group)
    }

    /// Makes a shard anew; says whether it did. What cannot be made is told and left.
    pub(super) async fn make_shard<P: Future<Output = ()>>(
        &self,
        group: GroupId,
        shard: u8,
        onto: &Device,
        pace: impl FnMut() -> P,
    ) -> Result<bool, StoreError> {
        match self.groups.rebuild(group, shard, onto, Holes::Refuse, pace).await {
            Ok(rebuilt) => {
                let (rows, volume) = (rebuilt.rows, onto.number());
                tracing::info!(%group, shard, %volume, rows, "a shard was made anew");
                if rebuilt.holes > 0 {
                    let holes = rebuilt.holes;
                    tracing::warn!(%group, shard, holes, "blocks of a shard cannot be made again");
                    self.damages.lock().left.insert((group, shard));
                }
                *self.damages.lock().repaired.entry(volume).or_default() += 1;
                let bytes = rebuilt.extent.size().unwrap_or_default();
                let mut healing = self.healing();
                healing.shards += 1;
                healing.bytes += bytes;
                drop(healing);
                let group = group.to_string();
                self.events.tell(Some(volume), Happening::Repaired { group, shard });
                Ok(true)
            }
            Err(GroupRebuildError::Rebuild(RebuildError::Read(error))) => {
                tracing::error!(%group, shard, %error, "a shard cannot be made anew");
                Ok(false)
            }
            Err(error) => {
                tracing::warn!(%group, shard, %error, "a shard is not made anew");
                Ok(false)
            }
        }
    }

    /// The volume to make a missing shard on: one that holds none of the group, of the class of the others if
    /// there is one, not too hot if there is one, with most room.
    pub(super) fn spare_for(&self, status: &GroupStatus) -> Option<Device> {
        let classes: Vec<_> = status
            .volumes
            .iter()
            .filter_map(|number| Some(self.volumes.get(*number)?.device.class()))
            .collect();
        let usable = self.volumes.writable().into_iter().map(|volume| volume.device);
        let spare = usable.filter(|device| !status.volumes.contains(&device.number()));
        let with_room = spare.filter_map(|device| {
            let free = device.backend().space(device.root()).ok()?.free;
            let room = free.checked_sub(self.volumes.reserve())?;
            let rank =
                (classes.contains(&device.class()), !self.volumes.is_hot(device.number()), room);
            Some((rank, device))
        });
        with_room.max_by_key(|(rank, _)| *rank).map(|(_, device)| device)
    }

    async fn own_device(&self, group: GroupId, shard: u8) -> Option<Device> {
        let reader = self.groups.reader(group).await?;
        let device = reader.extent(shard)?.device().clone();
        device.fenced().is_none().then_some(device)
    }

    /// Something is made anew.
    pub(super) fn healing_began(&self) {
        let now = self.clock.now();
        let is_new = self.healing().since.replace(now);
        match is_new {
            Some(since) => self.healing().since = Some(since),
            None => {
                let groups = self.redundant().degraded;
                self.events.tell(None, Happening::HealingBegan { groups });
            }
        }
    }

    /// Nothing more can be made anew now.
    pub(super) fn healing_ended(&self) {
        let ended = std::mem::take(&mut *self.healing());
        if ended.since.is_some() {
            let (shards, left) = (ended.shards, self.redundant().degraded);
            self.events.tell(None, Happening::HealingEnded { shards, left });
        }
    }

    /// Tells when there is no room any more, and when there is again.
    pub(super) fn note_room(&self) {
        let is_full = matches!(self.volumes.check_room(0), Err(StoreError::Full { .. }));
        if self.is_full.swap(is_full, Ordering::Relaxed) != is_full {
            let what = if is_full { Happening::Full } else { Happening::HasRoom };
            self.events.tell(None, what);
        }
    }

    /// What healing does now.
    pub(crate) fn healing_now(&self) -> Healing {
        *self.healing()
    }

    /// What healing does.
    fn healing(&self) -> MutexGuard<'_, Healing> {
        self.healing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn shard_on(&self, group: GroupId, volume: VolumeNo) -> Option<u8> {
        let reader = self.groups.reader(group).await?;
        let mut extents = reader.extents();
        let extent = extents.find(|extent| extent.device().number() == volume)?;
        Some(extent.header().shard)
    }
}

/// A pace that takes at most one part in `parts` of the time: what a row took is waited for so many
/// times.
pub(crate) fn gentle(parts: u32) -> impl FnMut() -> tokio::time::Sleep {
    let mut last = tokio::time::Instant::now();
    move || {
        let now = tokio::time::Instant::now();
        let rest = (now - last).min(Duration::from_secs(1)) * parts.saturating_sub(1);
        last = now + rest;
        tokio::time::sleep(rest)
    }
}
