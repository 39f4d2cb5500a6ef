//! The disks that may be asked about, as the service saw them last, and which of them are being asked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use disk_manager_plan::observe::Bus;
use disk_manager_plan::report::DiskId;
use disk_manager_plan::{Inventory, Plan};

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

/// All disks with a lasting name, for all threads.
#[derive(Debug, Default)]
pub struct Directory {
    disks: Mutex<BTreeMap<DiskId, KnownDisk>>,
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
    }

    /// Takes these disks in place of those known.
    pub fn replace(&self, disks: BTreeMap<DiskId, KnownDisk>) {
        *locked(&self.disks) = disks;
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
