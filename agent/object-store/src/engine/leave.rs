//! A volume that is to leave: what it holds is moved to the others. Shards go to volumes that have none of
//! their group; where there is no such volume, what is needed of the group is written into new, narrower
//! ones. Its journal is packed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};

use agent_object_store_pool::group::run::GroupId;
use agent_object_store_pool::group::set::GroupStatus;
use agent_object_store_pool::redundancy::{Redundancy, redundancy};
use agent_object_store_pool::superblock::VolumeNo;

use super::core::{Core, index_error};
use super::entry::GroupEntry;
use super::error::in_words;
use super::heal::gentle;
use super::keys;
use crate::error::StoreError;
use crate::volumes::RetireError;

/// Bytes that are written anew in one go, so that others get their turn.
const AT_ONCE: u64 = 256 << 20;

/// How far a volume is emptied.
#[derive(Debug)]
pub(crate) struct Leave {
    volume: VolumeNo,
    /// Changes up to this LSN may not have known of it.
    mark: u64,
    /// Shards and segments when it began.
    began_with: u64,
    /// Groups whose shard on it could not be made elsewhere.
    hard: BTreeSet<GroupId>,
    /// What it waits for, in words.
    waits: Option<String>,
    is_empty: bool,
}

/// How far a volume is that is being emptied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    /// Shards and segments on it when that began.
    pub began_with: u64,
    /// Those that are left.
    pub left: u64,
    /// What it waits for, in words; none while it goes on.
    pub waits: Option<String>,
}

/// How a step of emptying a volume ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Left {
    /// No volume is to leave.
    Nobody,
    /// Something was moved; there may be more.
    Moved,
    /// Nothing can be moved now.
    Waits,
    /// Nothing is on it any more.
    Empty,
}

/// What a volume holds that must find a place elsewhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Load {
    /// Bytes that are written.
    written: u64,
    /// Bytes that the other volumes get back thereby.
    freed: u64,
}

impl Core {
    /// Whether a volume may leave as things are now.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_leave(&self, volume: VolumeNo, id: &str) -> Result<(), RetireError> {
        let volume_id = || id.to_owned();
        let others: Vec<(VolumeNo, u64)> = self.volumes.room_by_volume();
        let others: Vec<_> = others.into_iter().filter(|(other, _)| *other != volume).collect();
        let Some(after) = redundancy(others.len()).filter(|after| after.copies > 1) else {
            return Err(RetireError::TooFew { id: volume_id(), others: others.len() });
        };
        let redundant = self.redundant();
        let damaged = self.damages.known();
        if redundant.degraded > 0 || redundant.lost > 0 || damaged > 0 {
            let groups = redundant.degraded.max(damaged);
            return Err(RetireError::Wanting { id: volume_id(), groups });
        }
        let load = self
            .load(volume, after)
            .map_err(|error| RetireError::Failed { id: volume_id(), reason: in_words(&error) })?;
        let room = others.iter().map(|(_, free)| *free).sum();
        // What is written anew stands twice for a while.
        let needed = load.written.saturating_sub(load.freed).max(load.written.min(AT_ONCE));
        if needed > room {
            return Err(RetireError::NoRoom { id: volume_id(), needed, room });
        }
        Ok(())
    }

    fn load(&self, volume: VolumeNo, after: Redundancy) -> Result<Load, StoreError> {
        let entries: BTreeMap<GroupId, GroupEntry> = self.known_groups()?.into_iter().collect();
        let (k, all) = (u64::from(after.k.max(1)), u64::from(after.k + after.m));
        let mut load = Load::default();
        for status in self.groups_on(volume) {
            let entry = entries.get(&status.group).copied().unwrap_or_default();
            let shard = entry.written.unwrap_or_default() / u64::from(status.shape.k.max(1));
            if self.spare_for(&status).is_some() {
                load.written += shard;
            } else {
                load.written += entry.live.saturating_mul(all) / k;
                load.freed += shard.saturating_mul(u64::from(status.shape.shards()) - 1);
            }
        }
        load.written += self.journal_bytes(volume).saturating_mul(all) / k;
        Ok(load)
    }

    fn journal_bytes(&self, volume: VolumeNo) -> u64 {
        let journal = self.volumes.get(volume).map(|volume| volume.journal);
        journal.iter().flat_map(|journal| journal.segments()).map(|segment| segment.bytes).sum()
    }

    fn segments(&self, volume: VolumeNo) -> usize {
        self.volumes.get(volume).map_or(0, |volume| volume.journal.segments().len())
    }

    fn groups_on(&self, volume: VolumeNo) -> Vec<GroupStatus> {
        let status = |group| self.groups.status(group);
        let all = self.groups.all().into_iter().filter_map(status);
        all.filter(|status| status.volumes.contains(&volume)).collect()
    }

    /// Shards and segments that a volume holds.
    pub(crate) fn holds(&self, volume: VolumeNo) -> u64 {
        (self.groups_on(volume).len() + self.segments(volume)) as u64
    }

    /// How far a volume is, if it is to leave.
    pub(crate) fn leaving(&self, volume: VolumeNo) -> Option<Leaving> {
        if self.volumes.leaving() != Some(volume) {
            return None;
        }
        let left = self.holds(volume);
        let leave = self.leave();
        let begun = leave.as_ref().filter(|leave| leave.volume == volume);
        let began_with = begun.map_or(left, |leave| leave.began_with.max(left));
        Some(Leaving { began_with, left, waits: begun.and_then(|leave| leave.waits.clone()) })
    }

    /// The volume that is to leave, if nothing is on it any more.
    pub(crate) fn left(&self) -> Option<VolumeNo> {
        let leave = self.leave();
        let volume = leave.as_ref().filter(|leave| leave.is_empty)?.volume;
        (self.volumes.leaving() == Some(volume) && self.holds(volume) == 0).then_some(volume)
    }

    /// Moves some of what the volume holds that is to leave. Takes at most one part in `parts` of the time.
    ///
    /// # Errors
    /// A volume or the index failed. What was not moved stays where it is.
    pub(crate) async fn evacuate(&self, parts: u32) -> Result<Left, StoreError> {
        let Some(volume) = self.volumes.leaving() else {
            *self.leave() = None;
            return Ok(Left::Nobody);
        };
        self.begin_leave(volume).await;
        let result = self.evacuate_some(volume, parts).await;
        let mut leave = self.leave();
        if let Some(leave) = leave.as_mut() {
            leave.is_empty = matches!(result, Ok(Ok(Left::Empty)));
            leave.waits = match &result {
                Ok(Ok(_)) => None,
                Ok(Err(reason)) => Some(reason.clone()),
                Err(error) => Some(in_words(error)),
            };
        }
        Ok(result?.unwrap_or(Left::Waits))
    }

    async fn begin_leave(&self, volume: VolumeNo) {
        let is_new = self.leave().as_ref().is_none_or(|leave| leave.volume != volume);
        if is_new {
            let (mark, began_with) = (self.progress().last(), self.holds(volume));
            let hard = BTreeSet::new();
            let new = Leave { volume, mark, began_with, hard, waits: None, is_empty: false };
            *self.leave() = Some(new);
        }
        let filling = [self.bulk.filling(), self.packed.filling()].concat();
        let is_filled = |group: &GroupId| {
            self.groups.status(*group).is_some_and(|status| status.volumes.contains(&volume))
        };
        if is_new || filling.iter().any(is_filled) {
            self.bulk.renew_all().await;
            self.packed.renew_all().await;
        }
    }

    /// As [`Core::evacuate`], with what it waits for in words.
    async fn evacuate_some(
        &self,
        volume: VolumeNo,
        parts: u32,
    ) -> Result<Result<Left, String>, StoreError> {
        let before = self.holds(volume);
        for status in self.groups_on(volume) {
            let group = status.group;
            if self.is_filling(group) || self.is_hard(group) || status.spare() < 0 {
                continue;
            }
            let Some(onto) = self.spare_for(&status) else { continue };
            let Some(shard) = self.shard_on(group, volume).await else { continue };
            if self.make_shard(group, shard, &onto, gentle(parts)).await? {
                return Ok(Ok(Left::Moved));
            }
            if let Some(leave) = self.leave().as_mut() {
                leave.hard.insert(group);
            }
        }
        let rest = self.rewritable(volume).await?;
        if !rest.is_empty() || self.segments(volume) > 0 {
            self.pack(&rest).await?;
            return Ok(match self.holds(volume) {
                after if after < before => Ok(Left::Moved),
                after => Err(format!(
                    "{after} files on it cannot be moved now: requests that write to them are under \
                     way, the others have no room, or a disk does not give what it has"
                )),
            });
        }
        let mark = self.leave().as_ref().map_or(0, |leave| leave.mark);
        Ok(match self.progress().done() < mark || self.holds(volume) > 0 {
            true => Err("requests that began before are under way".to_owned()),
            false => Ok(Left::Empty),
        })
    }

    fn is_hard(&self, group: GroupId) -> bool {
        self.leave().as_ref().is_some_and(|leave| leave.hard.contains(&group))
    }

    /// Groups on a volume, of which what is needed is to be written anew; as many as at once. Those that
    /// the index does not know are removed.
    async fn rewritable(&self, volume: VolumeNo) -> Result<Vec<GroupId>, StoreError> {
        let (mut some, mut unknown, mut budget) = (Vec::new(), Vec::new(), AT_ONCE);
        for status in self.groups_on(volume) {
            let group = status.group;
            if self.is_filling(group) {
                continue;
            }
            let entry: Option<GroupEntry> =
                super::apply::get(&*self.index, &keys::group(group)).map_err(index_error)?;
            let Some(entry) = entry else {
                unknown.push(group);
                continue;
            };
            if entry.written.is_none() {
                self.settle_ended(group).await?;
            }
            if budget > 0 {
                budget = budget.saturating_sub(entry.live);
                some.push(group);
            }
        }
        if !unknown.is_empty() {
            self.remove_groups(&unknown).await;
        }
        Ok(some)
    }

    fn leave(&self) -> MutexGuard<'_, Option<Leave>> {
        self.leave.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
