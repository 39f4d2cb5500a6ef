//! All disks of one moment, and what they show only side by side.

use std::collections::BTreeMap;
use std::path::PathBuf;

use uuid::Uuid;

use crate::label::NodeId;
use crate::layout::{ENDS, Partition};
use crate::observe::{LabelSeen, ObservedDisk};
use crate::report::{Bytes, DiskId};
use crate::slots::Verdict;

/// All disks of one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Counts up with every change; a plan of an older one is stale.
    pub generation: u64,
    /// The disks, in the order of their kernel names.
    pub disks: Vec<ObservedDisk>,
    /// Disks that are still being looked at.
    pub pending: Vec<PathBuf>,
    /// Whether no more disks are expected: the kernel has been quiet for a while.
    pub settled: bool,
    /// The node's id, once this process has used one.
    pub node: Option<NodeId>,
    /// Volumes that are mounted below the data directory from a disk that is there.
    pub mounted: Vec<Uuid>,
    /// Volumes that are still mounted below the data directory from a disk that is gone.
    pub stale: Vec<Uuid>,
    /// Disks that somebody claims by hand and whose marks were erased: between their ends there may be data, which
    /// was given up.
    pub erased: Vec<DiskId>,
}

/// What the operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Whether blank disks are claimed at all.
    pub claim: bool,
    /// Smaller disks are refused.
    pub min_size: Bytes,
    /// Serial numbers of removable disks that may be claimed.
    pub allow_removable: Vec<String>,
    /// Below which directory volumes are mounted.
    pub data_dir: PathBuf,
}

/// What the disks show only side by side.
#[derive(Debug, Clone, Default)]
pub(crate) struct Neighbours {
    identities: BTreeMap<DiskId, Vec<PathBuf>>,
    volumes: BTreeMap<Uuid, Vec<PathBuf>>,
    boot_serials: BTreeMap<String, PathBuf>,
    erased: Vec<DiskId>,
}

impl Neighbours {
    pub(crate) fn of(inventory: &Inventory, policy: &Policy) -> Self {
        let mut found = Self { erased: inventory.erased.clone(), ..Self::default() };
        for disk in &inventory.disks {
            if let Some(id) = &disk.id {
                found.identities.entry(id.clone()).or_default().push(disk.device.clone());
            }
            if let Some(volume) = claimed_volume(disk) {
                found.volumes.entry(volume).or_default().push(disk.device.clone());
            }
            if !disk.serial.is_empty() && is_boot(disk, policy) {
                found.boot_serials.insert(disk.serial.clone(), disk.device.clone());
            }
        }
        found
    }

    /// Other devices with this one's identity.
    pub(crate) fn same_identity(&self, disk: &ObservedDisk) -> Vec<PathBuf> {
        let same = disk.id.as_ref().and_then(|id| self.identities.get(id));
        others(same, disk)
    }

    /// Other devices that hold this one's volume.
    pub(crate) fn same_volume(&self, disk: &ObservedDisk) -> Vec<PathBuf> {
        let same = claimed_volume(disk).and_then(|volume| self.volumes.get(&volume));
        others(same, disk)
    }

    /// Whether data at a place of the disk was given up: it was erased by hand, and the place is not at an end.
    pub(crate) fn is_given_up(&self, disk: &ObservedDisk, offset: u64) -> bool {
        let between = ENDS..disk.size.0.saturating_sub(ENDS);
        disk.id.as_ref().is_some_and(|id| self.erased.contains(id)) && between.contains(&offset)
    }

    /// Whether another disk with this one's serial number is the boot disk.
    pub(crate) fn is_boot_twin(&self, disk: &ObservedDisk) -> bool {
        self.boot_serials.get(&disk.serial).is_some_and(|device| *device != disk.device)
    }
}

fn others(same: Option<&Vec<PathBuf>>, disk: &ObservedDisk) -> Vec<PathBuf> {
    same.into_iter().flatten().filter(|device| **device != disk.device).cloned().collect()
}

/// Whether the disk is the boot disk by its own facts: the loader's partition, a seed partition, or
/// a mount that is not one of our volumes.
pub(crate) fn is_boot(disk: &ObservedDisk, policy: &Policy) -> bool {
    disk.loader || has_seed(disk) || foreign_mount(disk, policy).is_some()
}

pub(crate) fn has_seed(disk: &ObservedDisk) -> bool {
    let seed = |label: &LabelSeen| label.partitions.iter().any(Partition::is_seed);
    disk.label.known().is_some_and(seed)
}

/// A place where the disk is mounted other than that of its own volume. Where its label cannot be
/// read now, any place of a volume counts as its own: only we mount there.
pub(crate) fn foreign_mount<'a>(disk: &'a ObservedDisk, policy: &Policy) -> Option<&'a PathBuf> {
    let volume_at = |mount: &PathBuf| {
        let name = mount.strip_prefix(&policy.data_dir).ok()?.to_str()?;
        Uuid::parse_str(name).ok()
    };
    let is_own = |mount: &PathBuf| match (volume_at(mount), disk.label.known()) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(volume), Some(_)) => claimed_volume(disk) == Some(volume),
    };
    disk.mounts.iter().find(|mount| !is_own(mount))
}

/// The volume that the disk's label names, if the label is for this disk.
fn claimed_volume(disk: &ObservedDisk) -> Option<Uuid> {
    match &disk.label.known()?.verdict {
        Verdict::Valid { record, .. } if is_for(record, disk) => Some(record.volume),
        _ => None,
    }
}

/// Whether a record was written for this very disk: the same identity, or the same serial number
/// behind another controller (which gives another identity to the same disk).
pub(crate) fn is_for(record: &crate::label::Record, disk: &ObservedDisk) -> bool {
    disk.id.as_ref() == Some(&record.disk)
        || (!record.serial.is_empty() && record.serial == disk.serial)
}
