//! What the probe saw of one disk: plain facts, no judgement.

use std::fmt;
use std::path::PathBuf;

use crate::layout::Partition;
use crate::report::{Bytes, DiskClass, DiskId};
use crate::slots::Verdict;

/// Everything that was seen of one disk at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedDisk {
    /// The kernel's name now, such as `/dev/sda`.
    pub device: PathBuf,
    /// Lasting identity, where the disk has one.
    pub id: Option<DiskId>,
    /// Model; empty where none is given.
    pub model: String,
    /// Serial number; empty where none is given.
    pub serial: String,
    /// Size.
    pub size: Bytes,
    /// Logical block size in bytes.
    pub block: u32,
    /// How it stores bits.
    pub class: DiskClass,
    /// What the kernel has behind the name.
    pub kind: DeviceKind,
    /// How it is attached.
    pub bus: Bus,
    /// Whether the kernel calls it removable.
    pub removable: bool,
    /// Whether the kernel calls it read-only.
    pub read_only: bool,
    /// Devices built on the disk or its partitions (md, dm), by kernel name.
    pub holders: Vec<String>,
    /// Devices that this one is built on, by kernel name.
    pub slaves: Vec<String>,
    /// Its partitions as the kernel knows them, by kernel name.
    pub partitions: Vec<String>,
    /// Where the disk or a partition of it is mounted.
    pub mounts: Vec<PathBuf>,
    /// Whether the disk or a partition of it is swap space in use.
    pub swap: bool,
    /// Whether the firmware's boot loader was started from it (`LoaderDevicePartUUID`).
    pub loader: bool,
    /// Whether it can be opened for us alone.
    pub access: Answer<Access>,
    /// Our label and partitions.
    pub label: Answer<LabelSeen>,
    /// What a begun claim left in the data partition; asked only where there is one.
    pub data: Answer<DataSeen>,
    /// What `wipefs` names.
    pub wipefs: Answer<Vec<Signature>>,
    /// What `blkid -p` answers.
    pub blkid: Answer<Blkid>,
    /// What our own checks name.
    pub own: Answer<Vec<Signature>>,
    /// What the head, the tail and the samples hold. Where a claim was begun, what our own claim
    /// has written so far counts as blank.
    pub content: Answer<Content>,
    /// The disk's own health assessment.
    pub smart: Smart,
}

/// What the kernel has behind a device name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceKind {
    /// A whole disk of its own.
    Disk,
    /// Something the kernel makes up: loop, zram, dm, md, nbd; the kind in a word.
    Virtual(String),
}

/// How a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// SATA or PATA.
    Ata,
    /// SAS, Fibre Channel, virtual SCSI.
    Scsi,
    /// NVMe.
    Nvme,
    /// virtio-blk.
    Virtio,
    /// USB.
    Usb,
    /// SD card or eMMC.
    Mmc,
    /// None of these.
    Other,
}

/// The answer to one question to a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// The question was not put, as another answer already decides.
    NotAsked,
    /// The answer.
    Is(T),
    /// There is none.
    Failed(Trouble),
}

impl<T> Answer<T> {
    /// The answer, if there is one.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Is(answer) => Some(answer),
            Self::NotAsked | Self::Failed(_) => None,
        }
    }
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The disk could not be read.
    Read {
        /// Where the read started, in bytes.
        offset: u64,
        /// Logical block of the same place.
        lba: u64,
        /// The system's error.
        error: String,
    },
    /// No answer in time.
    TimedOut {
        /// What was asked.
        what: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A program failed or answered what nobody understands.
    Program {
        /// The program.
        program: String,
        /// What happened.
        error: String,
    },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { offset, lba, error } => {
                write!(f, "reading block {lba} (byte {offset}) failed: {error}")
            }
            Self::TimedOut { what, seconds } => {
                write!(f, "{what} gave no answer within {seconds} s")
            }
            Self::Program { program, error } => write!(f, "{program}: {error}"),
        }
    }
}

/// Whether a disk can be opened for us alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// It could.
    Free,
    /// The kernel says that another has it (EBUSY).
    Busy,
    /// It could not, for another reason.
    Denied(String),
}

/// Our label and partitions on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelSeen {
    /// What the two slots say.
    pub verdict: Verdict,
    /// Partitions of ours in the table.
    pub partitions: Vec<Partition>,
    /// The bytes of the table beside those that the label's volume asks for.
    pub table: TableMatch,
    /// BLAKE3 hash of the first MiB and the last.
    pub ends: [u8; 32],
}

/// How a partition table compares with the one that a label asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableMatch {
    /// There is no label to compare with.
    NotCompared,
    /// Each sector is either blank or ours.
    Begun,
    /// Each sector is ours.
    Exact,
    /// Something else stands there.
    Other,
}

/// What a begun claim left in the data partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataSeen {
    /// No signature.
    Blank,
    /// An XFS with the volume's UUID, whole or half-made.
    OurXfs,
    /// Something else, by name.
    Other(String),
}

/// A signature: something that marks the content of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Its name, such as `ext4` or `LVM2_member`.
    pub name: String,
    /// Where it stands, in bytes.
    pub offset: u64,
}

/// What `blkid -p` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blkid {
    /// Exit 2: nothing found.
    Nothing,
    /// Exit 0: what it found.
    Found(String),
    /// Exit 8: several things, it cannot say which.
    Ambivalent,
}

/// What the head, the tail and the samples of a disk hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// One and the same byte everywhere.
    Uniform(u8),
    /// Not so; where the first difference was seen, in bytes.
    Data {
        /// Where.
        offset: u64,
    },
}

/// A disk's own health assessment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Smart {
    /// Not asked, as another answer already decides.
    NotAsked,
    /// The device type cannot have SMART, in words.
    NotSupported(String),
    /// Passed.
    Passed,
    /// It says that it fails; how, in words.
    Failing(String),
    /// Asleep, and left so.
    Asleep,
    /// It should have SMART but gave none.
    Unreadable(String),
}

impl ObservedDisk {
    /// What is read troubled, if anything: the first question that failed on the disk itself.
    #[must_use]
    pub fn troubles(&self) -> Vec<&Trouble> {
        fn of<T>(answer: &Answer<T>) -> Option<&Trouble> {
            match answer {
                Answer::Failed(trouble) => Some(trouble),
                Answer::NotAsked | Answer::Is(_) => None,
            }
        }
        let mut found: Vec<&Trouble> = Vec::new();
        let all = [
            of(&self.access),
            of(&self.label),
            of(&self.data),
            of(&self.wipefs),
            of(&self.blkid),
            of(&self.own),
            of(&self.content),
        ];
        for trouble in all.into_iter().flatten() {
            if !found.contains(&trouble) {
                found.push(trouble);
            }
        }
        found
    }
}
