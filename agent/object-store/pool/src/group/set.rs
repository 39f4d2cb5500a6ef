//! All groups on the volumes that are there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::join_all;

use super::attach::{self, Listing};
use super::error::{CreateError, ExtentError, RebuildError};
use super::extent::Extent;
use super::files;
use super::geometry::Shape;
use super::header::{ExtentHeader, Kind};
use super::reader::{GroupReader, OnDamage};
use super::repair::{Holes, Rebuilt, rebuild_shard};
use super::run::GroupId;
use super::writer::{GroupWriter, NewGroup, Watch};
use crate::device::Device;
use crate::superblock::VolumeNo;

/// Groups whose files are kept open: enough for what is read again and again, few enough files.
const OPEN_GROUPS: usize = 128;

/// The groups of a pool.
pub struct Groups {
    on_damage: OnDamage,
    state: Mutex<State>,
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").field("groups", &self.state().groups.len()).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    devices: BTreeMap<VolumeNo, Device>,
    groups: BTreeMap<GroupId, Entry>,
    /// The one that was used last stands last.
    readers: VecDeque<GroupReader>,
    rebuilding: BTreeSet<GroupId>,
    /// Counts changes of groups.
    changes: u64,
}

struct Entry {
    kind: Kind,
    shape: Shape,
    /// By shard.
    extents: BTreeMap<u8, Place>,
    writer: Watch,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    volume: VolumeNo,
    generation: u32,
}

/// What is known of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStatus {
    /// The group.
    pub group: GroupId,
    /// What it holds.
    pub kind: Kind,
    /// How its rows are laid out.
    pub shape: Shape,
    /// Shards that are not there.
    pub missing: Vec<u8>,
    /// Shards that can be read, on volumes that are fenced.
    pub fenced: Vec<u8>,
    /// Volumes of the shards that are there.
    pub volumes: Vec<VolumeNo>,
}

impl GroupStatus {
    /// Volumes that may still be lost; less than 0 if content is.
    #[must_use]
    pub fn spare(&self) -> i32 {
        i32::from(self.shape.m) - i32::try_from(self.missing.len()).unwrap_or(i32::MAX)
    }
}

/// What was found on a volume.
#[derive(Debug, Default)]
pub struct Attached {
    /// Extents that count.
    pub extents: usize,
    /// Files that were removed: extents that were not finished or that were replaced since.
    pub removed: usize,
    /// Files that are left alone and count for nothing.
    pub unusable: Vec<ExtentError>,
}

/// Why a group cannot be removed as asked.
#[derive(Debug, thiserror::Error)]
#[error("an extent on volume {volume} is left")]
pub struct RemoveError {
    /// The volume.
    pub volume: VolumeNo,
    /// Why.
    #[source]
    pub source: ExtentError,
}

/// Why a shard of a group of the set was not rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum GroupRebuildError {
    /// It is being filled, or rebuilt already.
    #[error("group {group} is in use")]
    Busy {
        /// The group.
        group: GroupId,
    },
    /// See [`RebuildError`].
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
}

impl Groups {
    /// No groups; `on_damage` is told of what all readers meet.
    #[must_use]
    pub fn new(on_damage: OnDamage) -> Self {
        Self { on_damage, state: Mutex::default() }
    }

    /// Takes in a volume with the extents on it. What was not finished on it is removed; of two
    /// extents of one shard the one with the lesser generation is.
    ///
    /// # Errors
    /// The folder cannot be listed; the volume is not taken in.
    pub async fn add_device(&self, device: &Device) -> Result<Attached, ExtentError> {
        let on = device.clone();
        let Listing { extents, unfinished, unusable } =
            device.io().run(move || attach::list(&on)).await??;
        let mut attached = Attached { removed: unfinished, unusable, ..Attached::default() };
        let mut stale = Vec::new();
        {
            let mut state = self.state();
            state.devices.insert(device.number(), device.clone());
            for header in extents {
                match state.claim(device.number(), &header) {
                    Claim::Counts => attached.extents += 1,
                    Claim::Replaces(older) => {
                        attached.extents += 1;
                        stale.extend(state.devices.get(&older).cloned().map(|on| (on, header)));
                    }
                    Claim::Stale => stale.push((device.clone(), header)),
                    Claim::Conflict => attached.unusable.push(attach::conflict(device, &header)),
                }
            }
            state.readers.clear();
        }
        attached.removed += stale.len();
        for (on, header) in stale {
            let io = on.io();
            let removed = io.run(move || {
                files::remove(&on, header.group, header.shard)?;
                files::sync_folder(&on)
            });
            if let Err(error) = removed.await? {
                tracing::warn!(%error, "an extent that was replaced is left");
            }
        }
        Ok(attached)
    }

    /// Lets a volume go: its extents are missing from now on.
    pub fn remove_device(&self, volume: VolumeNo) {
        let mut state = self.state();
        state.devices.remove(&volume);
        for entry in state.groups.values_mut() {
            entry.extents.retain(|_, place| place.volume != volume);
        }
        // A group of which nothing is there is not known to be one.
        state.groups.retain(|_, entry| !entry.extents.is_empty());
        state.readers.clear();
        state.changes += 1;
    }

    /// Makes a group; see [`GroupWriter::create`].
    ///
    /// # Errors
    /// See [`CreateError`].
    pub async fn create(
        &self,
        new: NewGroup,
        devices: &[Device],
    ) -> Result<GroupWriter, CreateError> {
        if self.state().groups.contains_key(&new.group) {
            return Err(CreateError::Exists { group: new.group });
        }
        let writer = GroupWriter::create(new, devices).await?;
        let mut state = self.state();
        for extent in writer.extents() {
            state.claim(extent.device().number(), extent.header());
        }
        if let Some(entry) = state.groups.get_mut(&new.group) {
            entry.writer = writer.watch();
        }
        Ok(writer)
    }

    /// A reader of a group; none if nothing of it is there.
    pub async fn reader(&self, group: GroupId) -> Option<GroupReader> {
        if let Some(reader) = self.state().cached(group) {
            return Some(reader);
        }
        let (places, changes) = {
            let state = self.state();
            (state.places(group), state.changes)
        };
        let opened = places.into_iter().map(|(device, shard)| async move {
            let io = device.io();
            io.run(move || Extent::open(&device, group, shard)).await
        });
        let mut extents = Vec::new();
        for opened in join_all(opened).await {
            match opened {
                Ok(Ok(extent)) => extents.push(Arc::new(extent)),
                Ok(Err(error)) => tracing::warn!(%group, %error, "cannot open an extent"),
                Err(_) => return None,
            }
        }
        let reader = GroupReader::new(extents, Arc::clone(&self.on_damage))?;
        let mut state = self.state();
        // What was opened while the group changed serves once.
        if state.changes == changes {
            state.readers.push_back(reader.clone());
            if state.readers.len() > OPEN_GROUPS {
                state.readers.pop_front();
            }
        }
        Some(reader)
    }

    /// All groups of which something is there.
    #[must_use]
    pub fn all(&self) -> Vec<GroupId> {
        self.state().groups.keys().copied().collect()
    }

    /// What is known of a group; none if nothing of it is there.
    #[must_use]
    pub fn status(&self, group: GroupId) -> Option<GroupStatus> {
        self.state().status(group)
    }

    /// Groups with shards that are missing or on fenced volumes, those first that can lose least.
    #[must_use]
    pub fn degraded(&self) -> Vec<GroupStatus> {
        let state = self.state();
        let all = state.groups.keys().filter_map(|group| state.status(*group));
        let mut found: Vec<GroupStatus> =
            all.filter(|status| !status.missing.is_empty() || !status.fenced.is_empty()).collect();
        found.sort_by_key(|status| (status.spare(), std::cmp::Reverse(status.fenced.len())));
        found
    }

    /// Removes groups: their files on all volumes that are there, durably. Readers in use go on.
    ///
    /// # Errors
    /// A volume failed; the other volumes' files are removed. The group comes back with that volume,
    /// for the caller to remove it again.
    pub async fn remove(&self, groups: &[GroupId]) -> Result<(), RemoveError> {
        let mut by_volume: BTreeMap<VolumeNo, (Device, Vec<(GroupId, u8)>)> = BTreeMap::new();
        {
            let mut state = self.state();
            for group in groups {
                for (device, shard) in state.places(*group) {
                    let of_volume = by_volume.entry(device.number());
                    of_volume.or_insert_with(|| (device, Vec::new())).1.push((*group, shard));
                }
                state.groups.remove(group);
                state.drop_reader(*group);
            }
            state.changes += 1;
        }
        let removals = by_volume.into_iter().map(|(volume, (device, files))| async move {
            let io = device.io();
            let removed = io.run(move || attach::remove(&device, &files)).await;
            let removed = removed.unwrap_or_else(|unfinished| Err(unfinished.into()));
            removed.map_err(|source| RemoveError { volume, source })
        });
        join_all(removals).await.into_iter().collect()
    }

    /// Cuts a group off at an offset, and gives back room that was taken for more rows: for a group
    /// that was being filled when the process ended, if the caller knows of no row behind `end`.
    ///
    /// # Errors
    /// A volume failed and is fenced.
    pub async fn trim(&self, group: GroupId, end: u64) -> Result<(), ExtentError> {
        let Some(reader) = self.reader(group).await else { return Ok(()) };
        let cuts = reader.extents().map(|extent| {
            let extent = Arc::clone(extent);
            let io = extent.device().io();
            io.run(move || attach::trim(&extent, end))
        });
        for cut in join_all(cuts).await {
            cut??;
        }
        Ok(())
    }

    /// Makes a shard anew on a volume; see [`rebuild_shard`].
    ///
    /// # Errors
    /// See [`GroupRebuildError`].
    pub async fn rebuild<P: Future<Output = ()>>(
        &self,
        group: GroupId,
        shard: u8,
        onto: &Device,
        holes: Holes,
        pace: impl FnMut() -> P,
    ) -> Result<Rebuilt, GroupRebuildError> {
        let unknown = || RebuildError::Shard { group, shard };
        let _turn = Turn::take(self, group).ok_or(GroupRebuildError::Busy { group })?;
        let reader = self.reader(group).await.ok_or_else(unknown)?;
        let rebuilt = rebuild_shard(&reader, shard, onto, holes, pace).await?;
        let mut state = self.state();
        let volume = onto.number();
        if state.devices.contains_key(&volume) {
            state.claim(volume, rebuilt.extent.header());
        }
        state.drop_reader(group);
        Ok(rebuilt)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No change of it can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to rebuild a shard of a group.
struct Turn<'a> {
    groups: &'a Groups,
    group: GroupId,
}

impl<'a> Turn<'a> {
    fn take(groups: &'a Groups, group: GroupId) -> Option<Self> {
        let mut state = groups.state();
        let is_open = state.groups.get(&group).is_some_and(|entry| entry.writer.is_open());
        if is_open || !state.rebuilding.insert(group) {
            return None;
        }
        drop(state);
        Some(Self { groups, group })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.groups.state().rebuilding.remove(&self.group);
    }
}

enum Claim {
    Counts,
    /// The one on this volume no longer counts.
    Replaces(VolumeNo),
    Stale,
    /// It says other things than the group's other extents.
    Conflict,
}

impl State {
    fn claim(&mut self, volume: VolumeNo, header: &ExtentHeader) -> Claim {
        let entry = self.groups.entry(header.group).or_insert_with(|| Entry {
            kind: header.kind,
            shape: header.shape,
            extents: BTreeMap::new(),
            writer: Watch::default(),
        });
        if (entry.kind, entry.shape) != (header.kind, header.shape) {
            return Claim::Conflict;
        }
        let claim = match entry.extents.get(&header.shard) {
            Some(known) if known.volume == volume => Claim::Counts,
            Some(known) if header.generation > known.generation => Claim::Replaces(known.volume),
            // Of two with one generation the first that was found stays: both were made whole.
            Some(_) => return Claim::Stale,
            None => Claim::Counts,
        };
        entry.extents.insert(header.shard, Place { volume, generation: header.generation });
        self.changes += 1;
        claim
    }

    fn places(&self, group: GroupId) -> Vec<(Device, u8)> {
        let extents = self.groups.get(&group).into_iter().flat_map(|entry| &entry.extents);
        extents
            .filter_map(|(shard, place)| Some((self.devices.get(&place.volume)?.clone(), *shard)))
            .collect()
    }

    fn status(&self, group: GroupId) -> Option<GroupStatus> {
        let entry = self.groups.get(&group)?;
        let is_fenced = |place: &Place| {
            self.devices.get(&place.volume).is_some_and(|device| device.fenced().is_some())
        };
        let fenced = entry.extents.iter().filter(|(_, place)| is_fenced(place));
        Some(GroupStatus {
            group,
            kind: entry.kind,
            shape: entry.shape,
            missing: (0..entry.shape.shards())
                .filter(|shard| !entry.extents.contains_key(shard))
                .collect(),
            fenced: fenced.map(|(shard, _)| *shard).collect(),
            volumes: entry.extents.values().map(|place| place.volume).collect(),
        })
    }

    fn cached(&mut self, group: GroupId) -> Option<GroupReader> {
        let at = self.readers.iter().position(|reader| reader.group() == group)?;
        let reader = self.readers.remove(at)?;
        self.readers.push_back(reader.clone());
        Some(reader)
    }

    fn drop_reader(&mut self, group: GroupId) {
        self.readers.retain(|reader| reader.group() != group);
    }
}
