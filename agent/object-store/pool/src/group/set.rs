//! All groups on the volumes that are there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;

use super::attach::{self, Listing};
use super::error::{CreateError, ExtentError, RebuildError};
use super::extent::Extent;
use super::files;
use super::reader::{GroupReader, OnDamage};
use super::registry::{Claim, Registry};
use super::repair::{Holes, Rebuilt, rebuild_while};
use super::run::GroupId;
use super::writer::{GroupWriter, NewGroup};
use crate::device::{ANSWER_MAX, Device, LONG_MAX, SCAN_MAX};
use crate::io::{PATIENCE, Unfinished, within};
use crate::superblock::VolumeNo;

pub use super::registry::GroupStatus;

/// The groups of a pool.
pub struct Groups {
    on_damage: OnDamage,
    state: Arc<Mutex<Registry>>,
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").field("groups", &self.state().groups.len()).finish_non_exhaustive()
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
        Self { on_damage, state: Arc::default() }
    }

    /// Takes in a volume with the extents on it. What was not finished on it is removed; of two
    /// extents of one shard the one with the lesser generation is.
    ///
    /// # Errors
    /// The folder cannot be listed; the volume is not taken in.
    pub async fn add_device(&self, device: &Device) -> Result<Attached, ExtentError> {
        let on = device.clone();
        let Listing { extents, unfinished, unusable } = device
            .run(SCAN_MAX, "list", || files::folder(device), move || attach::list(&on))
            .await??;
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
            let (device, path) = (on.clone(), || files::folder(&on));
            let removed = on.run(ANSWER_MAX, "remove a file of", path, move || {
                files::remove(&device, header.group, header.shard)?;
                files::sync_folder(&device)
            });
            if let Err(error) = removed.await? {
                tracing::warn!(%error, "an extent that was replaced is left");
            }
        }
        Ok(attached)
    }

    /// Lets a volume go: its extents are missing from now on.
    pub fn remove_device(&self, volume: VolumeNo) {
        self.state().drop_device(volume);
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
        // A disk that hangs keeps no one from reading of the others, if they do.
        let mut opened = open_extents(group, &places, Some(PATIENCE)).await;
        let needed = opened.extents.first().map_or(1, |extent| extent.header().shape.k);
        if opened.is_late && opened.extents.len() < usize::from(needed) {
            opened = open_extents(group, &places, None).await;
        }
        let all_opened = opened.extents.len() == places.len();
        let extents = opened.extents;
        let reader = GroupReader::new(extents, Arc::clone(&self.on_damage))?;
        let mut state = self.state();
        // What was opened while the group changed, or in part only, serves once.
        if all_opened && state.changes == changes {
            state.keep(reader.clone());
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

    /// Whether a group is being filled.
    #[must_use]
    pub fn is_open(&self, group: GroupId) -> bool {
        self.state().groups.get(&group).is_some_and(|entry| entry.writer.is_open())
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
        let removals = by_volume.into_iter().map(|(volume, (device, shards))| async move {
            let (on, folder) = (device.clone(), || files::folder(&device));
            let remove = move || attach::remove(&on, &shards);
            let removed = device.run(LONG_MAX, "remove files of", folder, remove).await;
            let removed = removed.unwrap_or_else(|unfinished| Err(unfinished.into()));
            removed.map_err(|source| RemoveError { volume, source })
        });
        join_all(removals).await.into_iter().collect()
    }

    /// Brings what stands in a group's extents to stable storage: what is read of a group that was being
    /// filled when the process ended may be lost with the power before this.
    ///
    /// # Errors
    /// A volume failed and is fenced.
    pub async fn sync(&self, group: GroupId) -> Result<(), ExtentError> {
        let Some(reader) = self.reader(group).await else { return Ok(()) };
        let syncs = reader.extents().map(|extent| extent.sync_soon());
        join_all(syncs).await.into_iter().collect()
    }

    /// Cuts a group off at an offset, and gives back room that was taken for more rows: for a group
    /// that was being filled when the process ended, if the caller knows of no row behind `end`.
    ///
    /// # Errors
    /// A volume failed and is fenced.
    pub async fn trim(&self, group: GroupId, end: u64) -> Result<(), ExtentError> {
        let Some(reader) = self.reader(group).await else { return Ok(()) };
        let cuts = reader.extents().map(|extent| {
            let on = Arc::clone(extent);
            let trim = move || attach::trim(&on, end);
            extent.device().run(LONG_MAX, "cut off", || extent.path(), trim)
        });
        for cut in join_all(cuts).await {
            cut??;
        }
        Ok(())
    }

    /// Makes a shard anew on a volume; see [`rebuild_shard`](super::repair::rebuild_shard).
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
        let turn = Turn::take(self, group).ok_or(GroupRebuildError::Busy { group })?;
        let reader = self.reader(group).await.ok_or_else(unknown)?;
        let rebuilt = rebuild_while(turn, &reader, shard, onto, holes, pace).await?;
        let mut state = self.state();
        let volume = onto.number();
        if state.devices.contains_key(&volume) {
            state.claim(volume, rebuilt.extent.header());
        }
        state.drop_reader(group);
        Ok(rebuilt)
    }

    fn state(&self) -> MutexGuard<'_, Registry> {
        locked(&self.state)
    }
}

fn locked(state: &Mutex<Registry>) -> MutexGuard<'_, Registry> {
    // No change of it can panic half-way.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right to rebuild a shard of a group; kept until the last call to a disk ended.
struct Turn {
    state: Arc<Mutex<Registry>>,
    group: GroupId,
}

impl Turn {
    fn take(groups: &Groups, group: GroupId) -> Option<Arc<Self>> {
        let mut state = groups.state();
        let is_open = state.groups.get(&group).is_some_and(|entry| entry.writer.is_open());
        if is_open || !state.rebuilding.insert(group) {
            return None;
        }
        drop(state);
        Some(Arc::new(Self { state: Arc::clone(&groups.state), group }))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        locked(&self.state).rebuilding.remove(&self.group);
    }
}

/// Extents that were opened.
#[derive(Debug, Default)]
struct Opened {
    extents: Vec<Arc<Extent>>,
    /// Whether one may only be slow.
    is_late: bool,
}

async fn open_extents(
    group: GroupId,
    places: &[(Device, u8)],
    patience: Option<Duration>,
) -> Opened {
    let opening = places.iter().cloned().map(|(device, shard)| async move {
        let open = async move {
            let (on, path) = (device.clone(), || files::path(&device, group, shard, false));
            let open = move || Extent::open(&on, group, shard);
            device.run(ANSWER_MAX, "open", path, open).await
        };
        match patience {
            Some(patience) => within(patience, open).await.unwrap_or(Err(Unfinished)),
            None => open.await,
        }
    });
    let mut opened = Opened::default();
    for result in join_all(opening).await {
        match result {
            Ok(Ok(extent)) => opened.extents.push(Arc::new(extent)),
            Ok(Err(error)) => tracing::warn!(%group, %error, "cannot open an extent"),
            Err(Unfinished) => opened.is_late = true,
        }
    }
    opened
}
