//! The disks that may be asked about, as the service saw them last, and which of them are being asked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use disk_manager_plan::observe::{Bus, DeviceKind};
use disk_manager_plan::report::DiskId;
use disk_manager_plan::stick::Candidate;
use disk_manager_plan::{Inventory, Judgement, ObservedDisk, Plan};

/// A disk that may be asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownDisk {
    /// Its device node, such as `/dev/sda`.
    pub device: PathBuf,
    /// How it is attached.
    pub bus: Bus,
    /// Whether it carries this node's label.
    pub is_ours: bool,
}

/// A disk that could be a stick for support bundles, with the devices to look for a file system on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pluggable {
    /// What is known of it without a look.
    pub candidate: Candidate,
    /// Its kernel name, such as `sdc`.
    pub name: String,
    /// Its partitions; where it has none, the disk itself.
    pub devices: Vec<PathBuf>,
}

/// All disks with a lasting name, for all threads.
#[derive(Debug, Default)]
pub struct Directory {
    disks: Mutex<BTreeMap<DiskId, KnownDisk>>,
    pluggable: Mutex<Vec<Pluggable>>,
    busy: Mutex<BTreeSet<String>>,
}

impl Directory {
    /// Takes the disks that a plan was made for in place of what was known. Where two disks claim the same name,
    /// neither may be asked about: nobody can say which is meant.
    pub fn learn(&self, inventory: &Inventory, plan: &Plan) {
        let mut known = BTreeMap::new();
        let mut doubtful = BTreeSet::new();
        for (disk, judgement) in inventory.disks.iter().zip(&plan.judgements) {
            let Some(id) = disk.id.clone() else { continue };
            let is_ours = judgement.ours.is_some();
            let entry = KnownDisk { device: disk.device.clone(), bus: disk.bus, is_ours };
            if known.insert(id.clone(), entry).is_some() {
                doubtful.insert(id);
            }
        }
        known.retain(|id, _| !doubtful.contains(id));
        self.replace(known);
        let disks = inventory.disks.iter().zip(&plan.judgements);
        let pluggable = disks.filter_map(|(disk, judgement)| pluggable(disk, judgement));
        self.replace_pluggable(pluggable.collect());
    }

    /// Takes these disks in place of those known.
    pub fn replace(&self, disks: BTreeMap<DiskId, KnownDisk>) {
        *locked(&self.disks) = disks;
    }

    /// Takes these in place of the disks that can be plugged in.
    pub fn replace_pluggable(&self, disks: Vec<Pluggable>) {
        *locked(&self.pluggable) = disks;
    }

    /// The disks that can be plugged in.
    pub(super) fn pluggable(&self) -> Vec<Pluggable> {
        locked(&self.pluggable).clone()
    }

    /// The disk of that name.
    pub(super) fn find(&self, id: &DiskId) -> Option<KnownDisk> {
        locked(&self.disks).get(id).cloned()
    }

    /// Keeps everybody else from asking `whom` until the place is dropped; `None` while another has it.
    pub(super) fn take_place(self: &Arc<Self>, whom: &str) -> Option<Place> {
        let is_free = locked(&self.busy).insert(whom.to_owned());
        is_free.then(|| Place { directory: Arc::clone(self), whom: whom.to_owned() })
    }
}

/// A disk as what a stick could be; none where it is built in.
fn pluggable(disk: &ObservedDisk, judgement: &Judgement) -> Option<Pluggable> {
    let is_disk = matches!(disk.kind, DeviceKind::Disk);
    if !is_disk || !(disk.removable || matches!(disk.bus, Bus::Usb | Bus::Mmc)) {
        return None;
    }
    let in_use = [&disk.holders, &disk.slaves].iter().any(|others| !others.is_empty());
    let node = |name: &String| PathBuf::from("/dev").join(name.replace('!', "/"));
    let devices: Vec<PathBuf> = match disk.partitions.as_slice() {
        [] => vec![disk.device.clone()],
        partitions => partitions.iter().map(node).collect(),
    };
    Some(Pluggable {
        candidate: Candidate {
            ownership: judgement.ownership,
            bus: disk.bus,
            removable: disk.removable,
            read_only: disk.read_only,
            in_use: in_use || disk.swap || !disk.mounts.is_empty(),
            labelled: Vec::new(),
        },
        name: disk.device.file_name()?.to_string_lossy().into_owned(),
        devices,
    })
}

/// The right to ask one disk, or the management controller; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    directory: Arc<Directory>,
    whom: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        locked(&self.directory.busy).remove(&self.whom);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
