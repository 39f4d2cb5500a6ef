//! From an inventory to what will be done and what will not, with the reasons.

use std::fmt;
use std::path::PathBuf;

use uuid::Uuid;

use crate::identity::{self, Identity};
use crate::inventory::{Inventory, Neighbours, Policy};
use crate::judge::{Judgement, judge};
use crate::label::{ClaimState, Record};
use crate::ledger::Ledger;
use crate::observe::ObservedDisk;
use crate::reason::Reason;
use crate::report::{DiskId, Ownership};
use crate::slots::Verdict;

/// What will be done and what will not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The inventory it was made from.
    pub generation: u64,
    /// Whose node this is.
    pub identity: Identity,
    /// What will be done. Steps on different disks may be done side by side.
    pub steps: Vec<Step>,
    /// Disks that are left alone.
    pub refusals: Vec<Refusal>,
    /// Disks of ours that are as they should be.
    pub in_service: Vec<InService>,
    /// What is thought of each disk, in the order of the inventory.
    pub judgements: Vec<Judgement>,
    /// Every data disk that the node knows.
    pub ledger: Ledger,
    /// Those of them that are not present.
    pub missing: Vec<DiskId>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make the node's key. It lasts from the first claim on.
    MintIdentity,
    /// Make a blank disk ours: label, partition table, file system.
    Claim {
        /// Which disk.
        disk: DiskId,
        /// Its name now.
        device: PathBuf,
    },
    /// Finish a claim that was cut off.
    Resume {
        /// Which disk.
        disk: DiskId,
        /// Its name now.
        device: PathBuf,
        /// Its volume.
        volume: Uuid,
        /// How far the claim went.
        from: ClaimState,
    },
    /// Mount the volume of a disk of ours.
    Mount {
        /// Which disk.
        disk: DiskId,
        /// Its name now.
        device: PathBuf,
        /// Its volume.
        volume: Uuid,
    },
    /// Detach a volume whose disk is gone.
    Unmount {
        /// Its volume.
        volume: Uuid,
    },
    /// Write the node's ledger to a disk of ours.
    WriteLedger {
        /// Which disk.
        disk: DiskId,
        /// Its name now.
        device: PathBuf,
        /// Its volume.
        volume: Uuid,
    },
}

impl Step {
    /// The device that the step works on, if it works on one.
    #[must_use]
    pub fn device(&self) -> Option<&PathBuf> {
        match self {
            Self::Claim { device, .. }
            | Self::Resume { device, .. }
            | Self::Mount { device, .. }
            | Self::WriteLedger { device, .. } => Some(device),
            Self::MintIdentity | Self::Unmount { .. } => None,
        }
    }
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There was nothing to do.
    AlreadySo,
    /// Something changed.
    Changed,
}

/// A disk that is left alone, and why. Data, not an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its name now.
    pub device: PathBuf,
    /// Its lasting identity, if any.
    pub disk: Option<DiskId>,
    /// Whose it is.
    pub ownership: Ownership,
    /// Why, most important first; never empty.
    pub reasons: Vec<Reason>,
}

/// A disk of ours that is mounted and up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InService {
    /// Its name now.
    pub device: PathBuf,
    /// Its lasting identity.
    pub disk: DiskId,
    /// Its volume.
    pub volume: Uuid,
}

/// Decides what to do with every disk.
#[must_use]
pub fn plan(inventory: &Inventory, policy: &Policy) -> Plan {
    let identity = identity::decide(inventory, policy);
    let neighbours = Neighbours::of(inventory, policy);
    let judgements: Vec<Judgement> = inventory
        .disks
        .iter()
        .map(|disk| with_policy(judge(disk, policy, &identity, &neighbours), &identity, policy))
        .collect();
    let judged = || inventory.disks.iter().zip(&judgements);
    let ledger = node_ledger(judged());
    let present = |volume| judged().any(|(_, j)| j.ours.is_some_and(|(own, _)| own == volume));
    let missing = ledger
        .entries()
        .filter(|entry| !present(entry.volume))
        .map(|entry| entry.disk.clone())
        .collect();

    let mut steps: Vec<Step> =
        inventory.stale.iter().map(|volume| Step::Unmount { volume: *volume }).collect();
    let mut refusals = Vec::new();
    let mut in_service = Vec::new();
    let mut mint = false;
    for (disk, judgement) in judged() {
        match steps_for(disk, judgement, inventory, policy, &identity, &ledger) {
            Some(wanted) if wanted.is_empty() => in_service.extend(record_of(disk).map(|record| {
                let (device, disk) = (disk.device.clone(), record.disk.clone());
                InService { device, disk, volume: record.volume }
            })),
            Some(wanted) => {
                mint |= wanted.iter().any(|s| matches!(s, Step::Claim { .. }));
                steps.extend(wanted);
            }
            None => refusals.push(Refusal {
                device: disk.device.clone(),
                disk: disk.id.clone(),
                ownership: judgement.ownership,
                reasons: judgement.reasons.clone(),
            }),
        }
    }
    if mint && identity == Identity::None {
        steps.insert(0, Step::MintIdentity);
    }
    Plan {
        generation: inventory.generation,
        identity,
        steps,
        refusals,
        in_service,
        judgements,
        ledger,
        missing,
    }
}

/// Adds what keeps a blank disk from being claimed, or a begun claim from going on.
fn with_policy(mut judgement: Judgement, identity: &Identity, policy: &Policy) -> Judgement {
    let begun = judgement.ours.is_some_and(|(_, state)| state != ClaimState::Ready);
    if judgement.ownership == Ownership::Blank {
        let held = match identity {
            Identity::Known(_) | Identity::None => None,
            Identity::Waiting => Some(Reason::IdentityWaits),
            Identity::Tie(nodes) => Some(Reason::NodeUndecided { nodes: nodes.clone() }),
            Identity::Held(disks) => Some(Reason::IdentityHeld { disks: disks.clone() }),
        };
        if let Some(held) = held {
            judgement.reasons.insert(0, held);
        }
    }
    if (begun || judgement.ownership == Ownership::Blank) && !policy.claim {
        judgement.reasons.insert(0, Reason::ClaimingOff);
    }
    judgement
}

/// The steps for one disk; `None` where it is refused.
fn steps_for(
    disk: &ObservedDisk,
    judgement: &Judgement,
    inventory: &Inventory,
    policy: &Policy,
    identity: &Identity,
    ledger: &Ledger,
) -> Option<Vec<Step>> {
    // A disk of ours keeps the name it was claimed with, whatever it is called behind another
    // controller.
    let named = record_of(disk).filter(|_| judgement.ours.is_some()).map(|r| r.disk.clone());
    let (id, device) = (named.or_else(|| disk.id.clone())?, disk.device.clone());
    match (judgement.ownership, judgement.ours) {
        (Ownership::Blank, None) => {
            let may = policy.claim && matches!(identity, Identity::Known(_) | Identity::None);
            may.then(|| vec![Step::Claim { disk: id, device }])
        }
        (Ownership::Ours, Some((volume, ClaimState::Ready))) => {
            let mut steps = Vec::new();
            if !inventory.mounted.contains(&volume) && !inventory.stale.contains(&volume) {
                let (disk, device) = (id.clone(), device.clone());
                steps.push(Step::Mount { disk, device, volume });
            }
            if record_of(disk).is_some_and(|record| record.ledger != *ledger) {
                steps.push(Step::WriteLedger { disk: id, device, volume });
            }
            Some(steps)
        }
        (Ownership::Ours, Some((volume, from))) => {
            policy.claim.then(|| vec![Step::Resume { disk: id, device, volume, from }])
        }
        _ => None,
    }
}

/// What the records of our disks know together, newest first, and the disks themselves.
fn node_ledger<'a>(judged: impl Iterator<Item = (&'a ObservedDisk, &'a Judgement)>) -> Ledger {
    let mut records: Vec<&Record> = judged
        .filter(|(_, judgement)| {
            judgement.ours.is_some_and(|(_, state)| state == ClaimState::Ready)
        })
        .filter_map(|(disk, _)| record_of(disk))
        .collect();
    records.sort_by_key(|record| std::cmp::Reverse(record.generation));
    let own = Ledger::new(records.iter().map(|record| record.ledger_entry()));
    records.iter().fold(own, |ledger, record| ledger.union(&record.ledger))
}

/// The record on a disk, where it is valid.
#[must_use]
pub fn record_of(disk: &ObservedDisk) -> Option<&Record> {
    match &disk.label.known()?.verdict {
        Verdict::Valid { record, .. } => Some(record),
        _ => None,
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MintIdentity => f.write_str("make    a new node identity"),
            Self::Claim { disk, device } => {
                write!(f, "claim   {} ({disk}): label, partition table, XFS", device.display())
            }
            Self::Resume { disk, device, volume, from } => write!(
                f,
                "resume  {} ({disk}): its claim stopped while {from}, volume {volume}",
                device.display()
            ),
            Self::Mount { disk, device, volume } => {
                write!(f, "mount   {} ({disk}): volume {volume}", device.display())
            }
            Self::Unmount { volume } => write!(f, "unmount volume {volume}: its disk is gone"),
            Self::WriteLedger { disk, device, .. } => {
                write!(
                    f,
                    "ledger  {} ({disk}): write the list of the node's disks",
                    device.display()
                )
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leave   {}", self.device.display())?;
        if let Some(disk) = &self.disk {
            write!(f, " ({disk})")?;
        }
        let ownership = match self.ownership {
            Ownership::Blank => "blank",
            Ownership::Ours => "ours",
            Ownership::Foreign => "foreign",
            Ownership::Boot => "boot disk",
            Ownership::Failing => "failing",
        };
        write!(f, ": {ownership}")?;
        self.reasons.iter().try_for_each(|reason| write!(f, "; {reason}"))
    }
}

impl fmt::Display for InService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (device, disk, volume) = (self.device.display(), &self.disk, self.volume);
        write!(f, "keep    {device} ({disk}): ours, volume {volume} is mounted")
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inventory {}: ", self.generation)?;
        match &self.identity {
            Identity::Known(node) => writeln!(f, "node {node}")?,
            Identity::Waiting => writeln!(f, "node not known yet")?,
            Identity::Tie(_) => writeln!(f, "node undecided")?,
            Identity::Held(_) => writeln!(f, "no identity, and none may be made")?,
            Identity::None => writeln!(f, "no identity yet")?,
        }
        self.steps.iter().try_for_each(|step| writeln!(f, "  {step}"))?;
        self.refusals.iter().try_for_each(|refusal| writeln!(f, "  {refusal}"))?;
        self.in_service.iter().try_for_each(|kept| writeln!(f, "  {kept}"))?;
        self.missing.iter().try_for_each(|disk| writeln!(f, "  missing {disk}"))
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
