//! Carries out single steps of a plan. Each step looks at its disk again, through the descriptor
//! that it will write through, and does nothing unless the plan would still say the same.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use disk_manager_plan::by_hand::Fingerprint;
use disk_manager_plan::label::{ClaimState, EncodeError, SECTOR};
use disk_manager_plan::layout::{DATA_START, LayoutError};
use disk_manager_plan::ledger::Ledger;
use disk_manager_plan::observe::Trouble;
use disk_manager_plan::slots::Verdict;
use disk_manager_plan::{
    Inventory, Layout, NodeKey, ObservedDisk, Outcome, Policy, Record, Step, plan,
};
use uuid::Uuid;

use crate::claim::{Claim, ClaimError, Progress};
use crate::device::{Presence, facts, partition_at, presence, spans};
use crate::erase::{EraseError, erase};
use crate::firmware::Loader;
use crate::held::Held;
use crate::mounts::InUse;
use crate::probe::label::read_slots;
use crate::probe::{Health, Look, Pulse, Source, observe, smart};
use crate::target::DiskTarget;
use crate::volume::{MountError, Owner, mount_volume};

/// Why a step was not carried out, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The disk cannot be held for us alone.
    #[error("cannot hold {} for us alone: {source}", .device.display())]
    Hold {
        /// Which.
        device: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another disk has the name now, or none.
    #[error("{name} is not the disk any more that was judged")]
    Replaced {
        /// The name.
        name: String,
    },
    /// A second look came to another judgement.
    #[error("left alone after a second look: {findings}")]
    Changed {
        /// What was found.
        findings: String,
    },
    /// What is in use cannot be found out.
    #[error("cannot read what is mounted: {source}")]
    InUse {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The layout does not fit.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The disk was not erased.
    #[error(transparent)]
    Erase(#[from] EraseError),
    /// The claim stopped.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The volume is not mounted.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The label could not be read again.
    #[error("cannot read the label: {0}")]
    Label(Trouble),
    /// The label is not the one that was judged.
    #[error("the label is not this node's any more")]
    LabelChanged,
    /// The ledger could not be written.
    #[error("cannot write the list of disks: {source}")]
    Ledger {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The ledger is too long.
    #[error(transparent)]
    Record(#[from] EncodeError),
}

/// What every step needs beside the step itself.
#[derive(Debug, Clone)]
pub struct Context {
    /// Root of sysfs.
    pub sysfs: PathBuf,
    /// What the operator wants.
    pub policy: Policy,
    /// What the firmware said of the boot loader.
    pub loader: Option<Loader>,
    /// Who owns volumes.
    pub owner: Owner,
}

impl Context {
    /// Looks at one disk. Blocks as long as the disk does; `pulse` tells whether it still answers.
    ///
    /// # Errors
    /// What is in use cannot be found out.
    pub fn look(
        &self,
        name: &str,
        source: &Source<'_>,
        health: Health,
        pulse: Pulse,
    ) -> Result<ObservedDisk, ApplyError> {
        let in_use = InUse::read(&self.sysfs).map_err(|source| ApplyError::InUse { source })?;
        let seen = facts(&self.sysfs, name, &in_use);
        let look = Look { policy: &self.policy, loader: self.loader, health, pulse };
        Ok(observe(seen, &look, source))
    }

    /// Claims a blank disk as `fresh`, or takes up a claim, whichever `step` says, among the other
    /// disks of `inventory`.
    ///
    /// # Errors
    /// The disk is not as it was, or the claim stopped.
    pub fn claim(
        &self,
        presence: &Presence,
        step: &Step,
        mut inventory: Inventory,
        key: &NodeKey,
        fresh: Uuid,
    ) -> Result<Outcome, ApplyError> {
        let device = Path::new("/dev").join(presence.name.replace('!', "/"));
        let held = Held::open(&device)
            .map_err(|source| ApplyError::Hold { device: device.clone(), source })?;
        self.still_there(presence)?;
        let seen =
            self.look(&presence.name, &Source::Held(&held), Health::Ask, Pulse::default())?;
        let progress = progress(&seen);

        inventory.node = Some(key.node());
        inventory.disks.retain(|disk| disk.device != device);
        inventory.disks.push(seen.clone());
        let again = plan(&inventory, &self.policy);
        if !again.steps.contains(step) {
            let findings = again.refusals.iter().filter(|refusal| refusal.device == device);
            let findings: Vec<_> =
                findings.flat_map(|refusal| &refusal.reasons).map(ToString::to_string).collect();
            return Err(ApplyError::Changed { findings: findings.join("; ") });
        }
        let (disk, volume) = match step {
            Step::Claim { disk, .. } => (disk.clone(), fresh),
            Step::Resume { disk, volume, .. } => (disk.clone(), *volume),
            _ => return Ok(Outcome::AlreadySo),
        };
        let layout = Layout::new(seen.size, seen.block, volume)?;
        let (disk, serial) = match plan::record_of(&seen) {
            // A claim that goes on keeps the names it began with.
            Some(record) => (record.disk.clone(), record.serial.clone()),
            None => (disk, seen.serial.clone()),
        };
        let claim = Claim { key, disk, serial, volume, layout, block: seen.block };
        claim.run(&mut DiskTarget::new(held, &self.sysfs, &presence.name), progress)?;
        Ok(Outcome::Changed)
    }

    /// Erases a disk that somebody claims by hand, if it is still what `wanted` says.
    ///
    /// # Errors
    /// The disk is not as it was, or could not be erased.
    pub fn erase(&self, presence: &Presence, wanted: &Fingerprint) -> Result<(), ApplyError> {
        let device = Path::new("/dev").join(presence.name.replace('!', "/"));
        let held = Held::open(&device)
            .map_err(|source| ApplyError::Hold { device: device.clone(), source })?;
        self.still_there(presence)?;
        let smart =
            smart::smart(&held.path(), facts(&self.sysfs, &presence.name, &InUse::default()).bus);
        let partitions = spans(&self.sysfs, &presence.name);
        let mut target = DiskTarget::new(held, &self.sysfs, &presence.name);
        let mut is_first = true;
        erase(&mut target, wanted, &partitions, |target| {
            let held = target.held();
            if !std::mem::take(&mut is_first) {
                match held.reread_partition_table() {
                    // Somebody looks at a partition: if it stays, it is seen below.
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
                    result => result.map_err(|error| error.to_string())?,
                }
            }
            let looked =
                self.look(&presence.name, &Source::Held(held), Health::Later, Pulse::default());
            let seen = looked.map_err(|error| error.to_string())?;
            Ok(ObservedDisk { smart: smart.clone(), ..seen })
        })?;
        Ok(())
    }

    /// Mounts the volume of a disk of ours.
    ///
    /// # Errors
    /// The disk is not as it was, or the volume does not mount.
    pub fn mount(&self, presence: &Presence, volume: Uuid) -> Result<Outcome, ApplyError> {
        self.still_there(presence)?;
        let at = self.policy.data_dir.join(volume.to_string());
        let in_use = InUse::read(&self.sysfs).map_err(|source| ApplyError::InUse { source })?;
        if in_use.mounts.get(&presence.name).is_some_and(|mounts| mounts.contains(&at)) {
            return Ok(Outcome::AlreadySo);
        }
        let partition =
            partition_at(&self.sysfs, &presence.name, DATA_START).ok_or(MountError::NoPartition)?;
        mount_volume(&partition, &self.policy.data_dir, volume, self.owner)?;
        Ok(Outcome::Changed)
    }

    /// Writes the node's ledger to a disk of ours, into the slot that is not in force.
    ///
    /// # Errors
    /// The disk or its label is not as it was, or the write failed; the label in force stays.
    pub fn write_ledger(
        &self,
        presence: &Presence,
        volume: Uuid,
        ledger: &Ledger,
        key: &NodeKey,
    ) -> Result<Outcome, ApplyError> {
        let failed = |source| ApplyError::Ledger { source };
        let device = Path::new("/dev").join(presence.name.replace('!', "/"));
        let disk = OpenOptions::new().read(true).write(true).open(&device).map_err(failed)?;
        self.still_there(presence)?;
        let block = facts(&self.sysfs, &presence.name, &InUse::default()).block;
        let verdict = read_slots(&disk, block).map_err(ApplyError::Label)?;
        let Verdict::Valid { record, slot, .. } = verdict else {
            return Err(ApplyError::LabelChanged);
        };
        if record.key != *key || record.volume != volume || record.state != ClaimState::Ready {
            return Err(ApplyError::LabelChanged);
        }
        if record.ledger == *ledger {
            return Ok(Outcome::AlreadySo);
        }
        let generation = record.generation + 1;
        let record = Record { generation, ledger: ledger.clone(), ..*record };
        let mut bytes = record.encode()?;
        let length = bytes.len().next_multiple_of(usize::try_from(block).unwrap_or(SECTOR));
        bytes.resize(length, 0);
        disk.write_all_at(&bytes, Layout::slot_start(slot.other())).map_err(failed)?;
        disk.sync_all().map_err(failed)?;
        Ok(Outcome::Changed)
    }

    fn still_there(&self, wanted: &Presence) -> Result<(), ApplyError> {
        if presence(&self.sysfs, &wanted.name).as_ref() == Some(wanted) {
            return Ok(());
        }
        Err(ApplyError::Replaced { name: wanted.name.clone() })
    }
}

/// How far the claim on a disk went, where one was begun.
fn progress(seen: &ObservedDisk) -> Option<Progress> {
    match &seen.label.known()?.verdict {
        Verdict::Valid { record, slot, .. } => {
            Some(Progress { state: record.state, slot: *slot, generation: record.generation })
        }
        _ => None,
    }
}
