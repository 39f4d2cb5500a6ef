//! What icn-disks tells its clients: one [`DiskReport`] per change, as one line of JSON on
//! [`SOCKET`]. Version 1 of the wire form.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where icn-disks listens. A client connects and reads; the newest report is sent at once and
/// then again after every change.
pub const SOCKET: &str = "/run/icn/disks.sock";

/// A disk's lasting name: its WWN, EUI, NGUID or serial; never a kernel name such as `sda`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiskId(pub String);

/// A size in bytes.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// Whose a disk is, and so what may be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ownership {
    /// Proven empty: may be claimed without a question.
    Blank,
    /// Carries this node's signed label: adopted, never formatted.
    Ours,
    /// Anything not proven blank or ours: never written to.
    Foreign,
    /// The disk this node booted from, or its twin.
    Boot,
    /// Reports errors or a failing self-assessment: not claimed, not trusted.
    Failing,
}

/// How the disk stores bits, as far as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskClass {
    /// Rotating.
    Hdd,
    /// Flash behind SATA or SAS.
    Ssd,
    /// Flash behind NVMe.
    Nvme,
    /// A virtual machine's disk.
    Virtual,
}

/// How far a disk of ours is on its way into service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum VolumePhase {
    /// Partition table and file system are being made.
    Claiming,
    /// Mounted and usable at `mount`.
    Mounted {
        /// The directory, owned by the agent's user.
        mount: PathBuf,
    },
    /// Ours, but not usable; the reason in words.
    Unavailable {
        /// What failed and what to do.
        reason: String,
    },
}

/// The data volume of a disk of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeStatus {
    /// The volume's UUID, lower case with dashes; stays the same wherever the disk is plugged in.
    pub id: String,
    /// How far it is.
    #[serde(flatten)]
    pub phase: VolumePhase,
}

/// One disk as the console shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStatus {
    /// Lasting identity; `None` where the disk has none (then it is never claimed).
    pub id: Option<DiskId>,
    /// The kernel's name now, such as `/dev/nvme0n1`.
    pub device: PathBuf,
    /// Model as the disk gives it; empty where it gives none.
    pub model: String,
    /// Serial number; empty where the disk gives none.
    pub serial: String,
    /// Size in bytes.
    pub size: Bytes,
    /// How it stores bits.
    pub class: DiskClass,
    /// Whose it is.
    pub ownership: Ownership,
    /// Why, in words, most important first; never empty unless `Ours`.
    pub reasons: Vec<String>,
    /// The volume on it, where ours.
    pub volume: Option<VolumeStatus>,
}

/// How far a disk is that somebody claims by hand, although it was not proven blank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandClaim {
    /// The disk's lasting name.
    pub disk: DiskId,
    /// How far it is.
    #[serde(flatten)]
    pub state: HandClaimState,
}

/// How far a claim by hand is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "claim")]
pub enum HandClaimState {
    /// Nothing is written yet, and it can be taken back.
    Waiting {
        /// For so many seconds more.
        seconds_left: u32,
    },
    /// What was on the disk is being erased: too late to take it back.
    Erasing,
    /// It was given up, and the disk is as it was unless the reason says otherwise.
    Failed {
        /// Why, and what to do, in words.
        reason: String,
    },
}

/// The reason of a disk that nobody knows anything of yet: whose it is may be another thing later.
pub const LOOKING: &str = "it is still being looked at";

/// Why a volume that is to be mounted is not yet.
pub const BEING_MOUNTED: &str = "being mounted";

/// Everything icn-disks knows at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskReport {
    /// Version of this form: 1.
    pub version: u32,
    /// Counts up with every change of the inventory since the service started.
    pub generation: u64,
    /// The node's id (hash of its public key); `None` until the first disk is claimed or adopted.
    pub node_id: Option<String>,
    /// Every disk, in the order of their kernel names.
    pub disks: Vec<DiskStatus>,
    /// Disks of the ledger that are not present: id and when last known as.
    pub missing: Vec<DiskId>,
    /// Disks that somebody claims by hand, in the order in which they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<HandClaim>,
    /// Trouble that belongs to no single disk, in words.
    pub problems: Vec<String>,
}
