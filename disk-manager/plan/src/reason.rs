//! Why a disk is what it is: one [`Rule`] per requirement, one [`Reason`] per finding, in words
//! that a technician in front of the machine can act on.

use std::fmt;
use std::path::PathBuf;

use crate::label::{ClaimState, NodeId};
use crate::observe::{Bus, Smart, Trouble};
use crate::report::{Bytes, DiskId};

/// One finding about a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Not a disk of its own.
    NotADisk {
        /// What it is.
        kind: String,
    },
    /// The kernel calls it read-only.
    ReadOnly,
    /// Smaller than the policy allows.
    TooSmall {
        /// Its size.
        size: Bytes,
        /// The least.
        least: Bytes,
    },
    /// Its blocks are neither 512 nor 4096 bytes.
    BlockSize {
        /// What they are, in bytes.
        block: u32,
    },
    /// The boot loader was started from it.
    BootLoader,
    /// It has a partition with first-boot configuration.
    Seed,
    /// Something on it is mounted.
    Mounted {
        /// Where.
        at: PathBuf,
    },
    /// It has the serial number of the boot disk.
    BootTwin {
        /// That number.
        serial: String,
    },
    /// Removable, USB or a memory card, and not asked for by name.
    Removable {
        /// How it is attached.
        bus: Bus,
    },
    /// No WWN, EUI, NGUID or serial.
    NoIdentity,
    /// Its identity or serial number does not fit a label.
    NameTooLong,
    /// Another device has the same identity.
    SharedIdentity {
        /// The others.
        with: Vec<PathBuf>,
    },
    /// Other devices are built on it.
    Holders {
        /// Which.
        names: Vec<String>,
    },
    /// It is built on other devices.
    Slaves {
        /// Which.
        names: Vec<String>,
    },
    /// The kernel sees partitions on it.
    Partitions {
        /// Which.
        names: Vec<String>,
    },
    /// Swap space in use.
    Swap,
    /// Another program has it open for itself.
    Busy,
    /// It cannot be opened.
    Denied {
        /// Why.
        error: String,
    },
    /// `wipefs` or `blkid` found a signature.
    Signature {
        /// Who found it.
        by: &'static str,
        /// Its name.
        name: String,
        /// Where, in bytes, if known.
        offset: Option<u64>,
    },
    /// `blkid` found several signatures that contradict each other.
    Ambivalent,
    /// A question about what is on it got no answer.
    Unanswered {
        /// The question.
        question: &'static str,
        /// Why; `None` where it was not put.
        trouble: Option<Trouble>,
    },
    /// Our own checks found a signature.
    OwnSignature {
        /// Its name.
        name: String,
        /// Where, in bytes.
        offset: u64,
    },
    /// It is not empty.
    Data {
        /// Where the first difference was seen, in bytes.
        offset: u64,
    },
    /// It fails by its own account.
    SmartFailing {
        /// How.
        how: String,
    },
    /// It should give SMART data and does not.
    SmartUnreadable {
        /// Why.
        why: String,
    },
    /// It cannot be read.
    Unreadable {
        /// What happened.
        trouble: Trouble,
    },
    /// Its label is of another node.
    OtherNode {
        /// Whose.
        node: NodeId,
    },
    /// Its label's signature does not verify.
    BadSignature,
    /// Its label is of a later version.
    NewerLabel {
        /// Which.
        version: u16,
    },
    /// Its label names another disk.
    CopyOf {
        /// Which.
        disk: DiskId,
    },
    /// Its label is damaged.
    DamagedLabel {
        /// How.
        what: String,
    },
    /// It has partitions of ours but no label.
    NoLabel,
    /// Its label is good but the partition table is not the one that goes with it.
    TableMismatch,
    /// Another disk has the same volume.
    SharedVolume {
        /// The others.
        with: Vec<PathBuf>,
    },
    /// A claim was begun, but something else was written since.
    ClaimDisturbed {
        /// How far the claim went.
        state: ClaimState,
        /// What is there.
        what: String,
    },
    /// The labels present do not say whose node this is.
    NodeUndecided {
        /// The nodes with equally many disks; none where the labels are still being read.
        nodes: Vec<NodeId>,
    },
    /// Proven blank.
    Blank {
        /// The byte that fills it.
        fill: u8,
        /// What it says of its health.
        smart: Smart,
    },
    /// Somebody claims it by hand, and what marked its content was erased.
    Erased,
    /// Claiming is off.
    ClaimingOff,
    /// Blank, but no identity may be made while other disks may carry the node's.
    IdentityHeld {
        /// Which disks.
        disks: Vec<PathBuf>,
    },
    /// Blank; waiting until every disk of the machine has been seen.
    IdentityWaits,
}

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The kind of a [`Reason`], without what was found.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $($(#[$doc])* $name,)*
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }

        impl Reason {
            /// The rule behind this finding.
            #[must_use]
            pub fn rule(&self) -> Rule {
                match self {
                    $(Self::$name { .. } => Rule::$name,)*
                }
            }
        }
    };
}

rules! {
    /// A1.
    NotADisk,
    /// A1.
    ReadOnly,
    /// A1.
    TooSmall,
    /// A1.
    BlockSize,
    /// A2.
    BootLoader,
    /// A2.
    Seed,
    /// A2 and A5.
    Mounted,
    /// A2.
    BootTwin,
    /// A3.
    Removable,
    /// A4.
    NoIdentity,
    /// A4.
    NameTooLong,
    /// A4.
    SharedIdentity,
    /// A5.
    Holders,
    /// A5.
    Slaves,
    /// A5.
    Partitions,
    /// A5.
    Swap,
    /// A5.
    Busy,
    /// A5.
    Denied,
    /// A6.
    Signature,
    /// A6.
    Ambivalent,
    /// A6 to A8.
    Unanswered,
    /// A7.
    OwnSignature,
    /// A8.
    Data,
    /// A9.
    SmartFailing,
    /// A9.
    SmartUnreadable,
    /// A6 to A9.
    Unreadable,
    /// B.
    OtherNode,
    /// B.
    BadSignature,
    /// B.
    NewerLabel,
    /// B.
    CopyOf,
    /// B.
    DamagedLabel,
    /// B.
    NoLabel,
    /// B.
    TableMismatch,
    /// B.
    SharedVolume,
    /// B.
    ClaimDisturbed,
    /// B.
    NodeUndecided,
    /// All of A hold.
    Blank,
    /// By hand.
    Erased,
    /// The policy.
    ClaimingOff,
    /// The identity rules.
    IdentityHeld,
    /// The identity rules.
    IdentityWaits,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotADisk { kind } => write!(f, "not a disk of its own but a {kind} device"),
            Self::ReadOnly => f.write_str("read-only"),
            Self::TooSmall { size, least } => {
                write!(f, "smaller ({size}) than disks.min_size allows ({least})")
            }
            Self::BlockSize { block } => {
                write!(f, "blocks of {block} bytes are not supported, only 512 and 4096")
            }
            Self::BootLoader => f.write_str("the node was booted from it"),
            Self::Seed => f.write_str("carries first-boot configuration (ICN-SEED)"),
            Self::Mounted { at } => write!(f, "in use: mounted at {}", at.display()),
            Self::BootTwin { serial } => {
                write!(f, "has the boot disk's serial number {serial}: the same disk or its twin")
            }
            Self::Removable { bus } => {
                write!(f, "{bus}: claimed only if its serial number is in disks.allow_removable")
            }
            Self::NoIdentity => {
                f.write_str("gives no WWN, EUI, NGUID or serial number to know it by")
            }
            Self::NameTooLong => f.write_str("its identity or serial number is too long to label"),
            Self::SharedIdentity { with } => write!(
                f,
                "has the same identity as {}: two paths to one disk; leave one cable",
                paths(with)
            ),
            Self::Holders { names } => write!(f, "in use by {}", names.join(", ")),
            Self::Slaves { names } => write!(f, "made of {}", names.join(", ")),
            Self::Partitions { names } => write!(f, "has partitions: {}", names.join(", ")),
            Self::Swap => f.write_str("in use as swap space"),
            Self::Busy => f.write_str("another program has it open for itself"),
            Self::Denied { error } => write!(f, "cannot be opened: {error}"),
            Self::Signature { by, name, offset: Some(offset) } => {
                write!(f, "{by} found {name} at byte {offset}")
            }
            Self::Signature { by, name, offset: None } => write!(f, "{by} found {name}"),
            Self::Ambivalent => f.write_str("blkid found several signatures that contradict"),
            Self::Unanswered { question, trouble: Some(trouble) } => {
                write!(f, "not known whether {question}: {trouble}")
            }
            Self::Unanswered { question, trouble: None } => {
                write!(f, "not known whether {question}: not looked at")
            }
            Self::OwnSignature { name, offset } => write!(f, "{name} at byte {offset}"),
            Self::Data { offset } => write!(f, "not empty: data at byte {offset}"),
            Self::SmartFailing { how } => write!(f, "SMART says it is failing: {how}"),
            Self::SmartUnreadable { why } => write!(f, "SMART cannot be read: {why}"),
            Self::Unreadable { trouble } => write!(f, "cannot be read: {trouble}"),
            Self::OtherNode { node } => write!(f, "belongs to node {node}"),
            Self::BadSignature => f.write_str("its label's signature does not verify"),
            Self::NewerLabel { version } => {
                write!(f, "its label has version {version}, of a later release: update this node")
            }
            Self::CopyOf { disk } => write!(f, "copy of disk {disk}: its label names that disk"),
            Self::DamagedLabel { what } => write!(f, "its label is damaged: {what}"),
            Self::NoLabel => f.write_str("has ICN partitions but no label"),
            Self::TableMismatch => {
                f.write_str("its label is good but its partition table is not the one we made")
            }
            Self::SharedVolume { with } => {
                write!(f, "holds the same volume as {}: remove one of them", paths(with))
            }
            Self::ClaimDisturbed { state, what } => {
                write!(f, "a claim stopped while {state}, and now {what}")
            }
            Self::NodeUndecided { nodes } if nodes.is_empty() => {
                f.write_str("labelled; waiting until every disk of the machine has been seen")
            }
            Self::NodeUndecided { nodes } => {
                let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "equally many disks belong to the nodes {}: remove those of the other node",
                    nodes.join(" and ")
                )
            }
            Self::Blank { fill, smart } => {
                write!(f, "blank: every byte read is 0x{fill:02x}; ")?;
                match smart {
                    Smart::NotSupported(why) => write!(f, "no SMART: {why}"),
                    _ => f.write_str("SMART passed"),
                }
            }
            Self::Erased => f.write_str("claimed by hand: what marked its content was erased"),
            Self::ClaimingOff => f.write_str("claiming is off in node.toml (disks.claim)"),
            Self::IdentityHeld { disks } => write!(
                f,
                "no new node identity is made while {} may carry one: repair or remove",
                paths(disks)
            ),
            Self::IdentityWaits => {
                f.write_str("waiting until every disk of the machine has been seen")
            }
        }
    }
}

fn paths(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ata => "ATA",
            Self::Scsi => "SCSI",
            Self::Nvme => "NVMe",
            Self::Virtio => "virtio",
            Self::Usb => "USB",
            Self::Mmc => "memory card",
            Self::Other => "removable",
        })
    }
}

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Bytes {
    /// In decimal units with one digit, as disks are sold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 5] = [
            (1_000_000_000_000_000, "PB"),
            (1_000_000_000_000, "TB"),
            (1_000_000_000, "GB"),
            (1_000_000, "MB"),
            (1_000, "kB"),
        ];
        match UNITS.into_iter().find(|(unit, _)| self.0 >= *unit) {
            Some((unit, name)) => {
                let tenths = self.0 / (unit / 10);
                write!(f, "{}.{} {name}", tenths / 10, tenths % 10)
            }
            None => write!(f, "{} B", self.0),
        }
    }
}
