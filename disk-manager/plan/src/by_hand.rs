//! Disks that a person claims although they were not proven blank: which may be, and how to tell later that a disk is
//! still as it was then. Pure; the rules stand in docs/design/disk-ownership.md, "By hand".

use std::fmt;
use std::path::PathBuf;

use crate::identity::Identity;
use crate::inventory::{Inventory, Policy};
use crate::judge::{Judgement, shape_reasons, use_reasons};
use crate::label::ClaimState;
use crate::observe::{
    Access, Answer, Blkid, DeviceKind, ObservedDisk, Signature, Smart, TableMatch, Trouble,
};
use crate::plan::{Plan, record_of};
use crate::reason::Reason;
use crate::report::{DiskId, Ownership};
use crate::slots::Verdict;

/// How many of the last characters of a serial number are typed.
pub const SERIAL_END: usize = 6;

/// What a disk was when somebody wanted it claimed. It is erased only if it still is that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    id: Option<DiskId>,
    serial: String,
    size: u64,
    block: u32,
    verdict: Option<Verdict>,
    table: Option<TableMatch>,
    ends: Option<[u8; 32]>,
    partitions: Vec<String>,
    wipefs: Option<Vec<Signature>>,
    blkid: Option<Blkid>,
    own: Option<Vec<Signature>>,
}

impl Fingerprint {
    /// That of a disk: what it is, what marks its content, and its first and last MiB. Other content without a mark is
    /// not in it.
    #[must_use]
    pub fn of(disk: &ObservedDisk) -> Self {
        let label = disk.label.known();
        Self {
            id: disk.id.clone(),
            serial: disk.serial.clone(),
            size: disk.size.0,
            block: disk.block,
            verdict: label.map(|label| label.verdict.clone()),
            table: label.map(|label| label.table),
            ends: label.map(|label| label.ends),
            partitions: disk.partitions.clone(),
            wipefs: disk.wipefs.known().cloned(),
            blkid: disk.blkid.known().cloned(),
            own: disk.own.known().cloned(),
        }
    }
}

/// Why a disk is not claimed by hand. Each says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// No disk has the name.
    Unknown {
        /// The name.
        disk: DiskId,
    },
    /// Disks are still being looked at: one of them may be the boot disk.
    Looking,
    /// Claiming is off.
    ClaimingOff,
    /// Whose node this is, is not known.
    NoIdentity,
    /// Several devices have the name.
    Shared {
        /// Which.
        devices: Vec<PathBuf>,
    },
    /// It is not foreign.
    Not(Ownership),
    /// It is no disk of its own.
    NotADisk {
        /// What it is.
        kind: String,
    },
    /// What it is keeps it from being claimed.
    Shape(Reason),
    /// It is in use.
    InUse(String),
    /// It is of this node, or of a later release that knows better.
    Labelled(String),
    /// It is a disk that this node misses.
    Missed,
    /// It fails, or does not say how it does.
    Failing(String),
    /// A program could not look at it.
    NotSeen(String),
    /// It has no serial number.
    NoSerial,
    /// Something else was typed than the end of its serial number.
    OtherEnd {
        /// How many characters are wanted.
        wanted: usize,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { disk } => {
                write!(f, "no disk is known as {disk}: look at the list of disks again")
            }
            Self::Looking => f.write_str("disks are still being looked at: try again in a minute"),
            Self::ClaimingOff => f.write_str(
                "claiming is off in node.toml (disks.claim), or the file has a mistake: correct it on the stick",
            ),
            Self::NoIdentity => f.write_str(
                "whose node this is, is not known: first do what the problems on Status say",
            ),
            Self::Shared { devices } => {
                let names: Vec<_> = devices.iter().map(|at| at.display().to_string()).collect();
                write!(
                    f,
                    "{} have the same identity: leave one cable, or take one of the disks out",
                    names.join(", ")
                )
            }
            Self::Not(Ownership::Blank) => {
                f.write_str("it is blank, and claimed by itself: nothing needs to be typed")
            }
            Self::Not(Ownership::Ours) => {
                f.write_str("it is a disk of this node: to empty it, retire it")
            }
            Self::Not(Ownership::Boot) => {
                f.write_str("the node boots from it, or it is in use: it is never erased")
            }
            Self::Not(Ownership::Failing) => f.write_str("it is failing: replace it"),
            Self::Not(Ownership::Foreign) => f.write_str("it is foreign"),
            Self::NotADisk { kind } => {
                write!(f, "it is no disk of its own but a {kind} device: claim the disk below it")
            }
            Self::Shape(reason) => write!(f, "{reason}: use another disk"),
            Self::InUse(how) => write!(f, "{how}: free it, or restart the machine without it"),
            Self::Labelled(how) => write!(f, "{how}: it is not erased, as its data may be wanted"),
            Self::Missed => f.write_str(
                "it is in this node's list of disks: its data may be wanted; erase it on another machine if not",
            ),
            Self::Failing(how) => write!(f, "{how}: replace it"),
            Self::NotSeen(why) => write!(
                f,
                "what is on it could not be looked at ({why}): plug it in again, or erase it on another machine"
            ),
            Self::NoSerial => {
                f.write_str("it has no serial number to tell it from others by: use another disk")
            }
            Self::OtherEnd { wanted } => write!(
                f,
                "that is not the end of its serial number: type the last {wanted} characters, as they are on its \
                 label"
            ),
        }
    }
}

/// Whether a disk may be claimed by hand by whoever typed `serial_end`, and what it is now. `smart` is what it says of
/// its health now, as foreign disks are not asked otherwise.
///
/// # Errors
/// [`Refused`].
pub fn check(
    inventory: &Inventory,
    plan: &Plan,
    policy: &Policy,
    wanted: &DiskId,
    (serial_end, smart): (&str, &Smart),
) -> Result<Fingerprint, Refused> {
    let disk = check_again(inventory, plan, policy, wanted)?;
    check_smart(smart)?;
    check_end(&disk.serial, serial_end)?;
    Ok(Fingerprint::of(disk))
}

/// The disk, if it may still be claimed by hand: all rules but the end of its serial number, which was typed before, and how
/// it does, which it is asked once more before it is erased.
///
/// # Errors
/// [`Refused`].
pub fn check_again<'a>(
    inventory: &'a Inventory,
    plan: &Plan,
    policy: &Policy,
    wanted: &DiskId,
) -> Result<&'a ObservedDisk, Refused> {
    let judged = inventory.disks.iter().zip(&plan.judgements);
    let same: Vec<_> = judged.filter(|(disk, _)| disk.id.as_ref() == Some(wanted)).collect();
    let (disk, judgement) = match same.as_slice() {
        [] => return Err(Refused::Unknown { disk: wanted.clone() }),
        [one] => *one,
        several => {
            let devices = several.iter().map(|(disk, _)| disk.device.clone()).collect();
            return Err(Refused::Shared { devices });
        }
    };
    if !inventory.pending.is_empty() {
        return Err(Refused::Looking);
    }
    if !policy.claim {
        return Err(Refused::ClaimingOff);
    }
    check_disk(disk, judgement, policy)?;
    check_label(disk, plan)?;
    match plan.identity {
        Identity::Known(_) | Identity::None => {}
        Identity::Waiting => return Err(Refused::Looking),
        Identity::Tie(_) | Identity::Held(_) => return Err(Refused::NoIdentity),
    }
    Ok(disk)
}

fn check_disk(disk: &ObservedDisk, judgement: &Judgement, policy: &Policy) -> Result<(), Refused> {
    if judgement.ownership != Ownership::Foreign {
        return Err(Refused::Not(judgement.ownership));
    }
    if let DeviceKind::Virtual(kind) = &disk.kind {
        return Err(Refused::NotADisk { kind: kind.clone() });
    }
    if let Some(reason) = shape_reasons(disk, policy).into_iter().next() {
        return Err(Refused::Shape(reason));
    }
    if let Some(at) = disk.mounts.first() {
        return Err(Refused::InUse(format!("it is mounted at {}", at.display())));
    }
    if let Some(reason) = use_reasons(disk).first() {
        return Err(Refused::InUse(reason.to_string()));
    }
    // A disk with a complete label is not asked whether it can be held; it is held before the first write.
    match (&disk.access, record_of(disk)) {
        (Answer::Is(Access::Free), _) | (Answer::NotAsked, Some(_)) => {}
        _ => return Err(Refused::InUse("whether it is in use is not known".to_owned())),
    }
    // Also where a program could not look: what nobody saw would not be missed before the disk is erased.
    match disk.troubles().first() {
        Some(trouble @ Trouble::Program { .. }) => Err(Refused::NotSeen(trouble.to_string())),
        Some(trouble) => Err(Refused::Failing(format!("it cannot be read: {trouble}"))),
        None => Ok(()),
    }
}

/// Whether a disk says that it is well.
///
/// # Errors
/// [`Refused::Failing`].
pub fn check_smart(smart: &Smart) -> Result<(), Refused> {
    match smart {
        Smart::Passed | Smart::NotSupported(_) => Ok(()),
        Smart::Failing(how) => Err(Refused::Failing(format!("SMART says it is failing: {how}"))),
        Smart::Unreadable(why) => Err(Refused::Failing(format!("SMART cannot be read: {why}"))),
        Smart::Asleep => {
            Err(Refused::Failing("it is asleep and does not say how it is".to_owned()))
        }
        Smart::NotAsked => Err(Refused::Failing("it was not asked how it is".to_owned())),
    }
}

/// Labels of ours: a complete one of this node, and what only a later release understands, is never erased. A claim
/// of this node that was cut off never held anything.
fn check_label(disk: &ObservedDisk, plan: &Plan) -> Result<(), Refused> {
    let is_listed = plan.ledger.entries().any(|entry| {
        disk.id.as_ref() == Some(&entry.disk)
            || (!entry.serial.is_empty() && entry.serial == disk.serial)
    });
    if is_listed {
        return Err(Refused::Missed);
    }
    let Some(label) = disk.label.known() else {
        return Err(Refused::Failing("its label cannot be read".to_owned()));
    };
    let of_this_node = |node| matches!(plan.identity, Identity::Known(own) if own == node);
    match &label.verdict {
        Verdict::Newer { version } => Err(Refused::Labelled(format!(
            "its label has version {version}, of a later release: update this node"
        ))),
        // The other may have been of a disk in use.
        Verdict::Valid { record, other_damaged: true, .. } if of_this_node(record.node()) => {
            let how = "one of its two labels is damaged, and the other is of this node";
            Err(Refused::Labelled(how.to_owned()))
        }
        Verdict::Valid { record, .. } if of_this_node(record.node()) => match record.state {
            ClaimState::Claiming | ClaimState::Formatting => Ok(()),
            ClaimState::Ready => Err(Refused::Labelled("its label is of this node".to_owned())),
        },
        Verdict::Valid { .. }
        | Verdict::Absent
        | Verdict::BadSignature
        | Verdict::Damaged { .. } => Ok(()),
    }
}

/// Whether the end of a serial number was typed.
fn check_end(serial: &str, typed: &str) -> Result<(), Refused> {
    let characters: Vec<char> = serial.chars().collect();
    if characters.is_empty() {
        return Err(Refused::NoSerial);
    }
    let wanted = characters.len().min(SERIAL_END);
    let end: String = characters.iter().skip(characters.len() - wanted).collect();
    match end.eq_ignore_ascii_case(typed.trim()) {
        true => Ok(()),
        false => Err(Refused::OtherEnd { wanted }),
    }
}

#[cfg(test)]
#[path = "by_hand_tests.rs"]
mod tests;
