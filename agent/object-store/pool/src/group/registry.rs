//! Which extents there are, and where.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::filling::Watch;
use super::geometry::Shape;
use super::header::{ExtentHeader, Kind};
use super::reader::GroupReader;
use super::run::GroupId;
use crate::device::Device;
use crate::superblock::VolumeNo;

/// Groups whose files are kept open: enough for what is read again and again, few enough files.
const OPEN_GROUPS: usize = 128;

#[derive(Default)]
pub(super) struct Registry {
    pub(super) devices: BTreeMap<VolumeNo, Device>,
    pub(super) groups: BTreeMap<GroupId, Entry>,
    /// The one that was used last stands last.
    pub(super) readers: VecDeque<GroupReader>,
    pub(super) rebuilding: BTreeSet<GroupId>,
    /// Counts changes of groups.
    pub(super) changes: u64,
}

pub(super) struct Entry {
    kind: Kind,
    shape: Shape,
    /// By shard.
    extents: BTreeMap<u8, Place>,
    pub(super) writer: Watch,
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

pub(super) enum Claim {
    Counts,
    /// The one on this volume no longer counts.
    Replaces(VolumeNo),
    Stale,
    /// It says other things than the group's other extents.
    Conflict,
}

impl Registry {
    pub(super) fn claim(&mut self, volume: VolumeNo, header: &ExtentHeader) -> Claim {
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

    pub(super) fn places(&self, group: GroupId) -> Vec<(Device, u8)> {
        let extents = self.groups.get(&group).into_iter().flat_map(|entry| &entry.extents);
        extents
            .filter_map(|(shard, place)| Some((self.devices.get(&place.volume)?.clone(), *shard)))
            .collect()
    }

    pub(super) fn status(&self, group: GroupId) -> Option<GroupStatus> {
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

    pub(super) fn cached(&mut self, group: GroupId) -> Option<GroupReader> {
        let at = self.readers.iter().position(|reader| reader.group() == group)?;
        let reader = self.readers.remove(at)?;
        self.readers.push_back(reader.clone());
        Some(reader)
    }

    pub(super) fn drop_reader(&mut self, group: GroupId) {
        self.readers.retain(|reader| reader.group() != group);
    }

    /// Keeps a reader for the next time.
    pub(super) fn keep(&mut self, reader: GroupReader) {
        self.readers.push_back(reader);
        if self.readers.len() > OPEN_GROUPS {
            self.readers.pop_front();
        }
    }

    /// Forgets a volume and the extents on it.
    pub(super) fn drop_device(&mut self, volume: VolumeNo) {
        self.devices.remove(&volume);
        for entry in self.groups.values_mut() {
            entry.extents.retain(|_, place| place.volume != volume);
        }
        // A group of which nothing is there is not known to be one.
        self.groups.retain(|_, entry| !entry.extents.is_empty());
        self.readers.clear();
        self.changes += 1;
    }
}
