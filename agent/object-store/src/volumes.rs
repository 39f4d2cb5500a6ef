//! Volumes as the store's owner sees them: how they are handed over and why they are refused.

use std::path::PathBuf;

use agent_object_store_pool::superblock::Class;

use crate::error::StoreError;
use crate::names::VolumeId;

/// A directory to keep objects in: the root of a disk's file system, or a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its identity, which stays when it is mounted elsewhere.
    pub id: VolumeId,
    /// Where it is mounted.
    pub path: PathBuf,
    /// How fast it is.
    pub class: Class,
}

/// What attaching a volume found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachReport {
    /// Whether the volume was blank and now belongs to the pool.
    pub joined: bool,
    /// Leftovers of interrupted writes, and versions that were replaced or deleted while the volume
    /// was away, all removed.
    pub removed: u64,
    /// Files that are not what was written, in words; left where they are.
    pub damaged: Vec<String>,
}

/// Why a volume was not attached. Unless it failed, nothing on it was changed.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// It is attached already.
    #[error("volume {id} is attached already, at {path}")]
    AlreadyAttached {
        /// The volume.
        id: VolumeId,
        /// Where.
        path: PathBuf,
    },
    /// Another process uses it.
    #[error("{path} is in use by another process")]
    InUse {
        /// Where it is mounted.
        path: PathBuf,
    },
    /// It belongs to another pool.
    #[error("{path} belongs to pool {found}, this is pool {pool}; it was left as it is")]
    ForeignPool {
        /// Where it is mounted.
        path: PathBuf,
        /// The pool it belongs to.
        found: String,
        /// The pool of this store.
        pool: String,
    },
    /// It is another volume than was said.
    #[error("{path} is volume {found}, not {id}; it was left as it is")]
    WrongVolume {
        /// Where it is mounted.
        path: PathBuf,
        /// What it says of itself.
        found: VolumeId,
        /// What was expected.
        id: VolumeId,
    },
    /// It was declared lost before.
    #[error("volume {id} was given up before; empty it to use it again")]
    Forgotten {
        /// The volume.
        id: VolumeId,
    },
    /// It was retired: what is on it cannot be read any more.
    #[error(
        "volume {id} was retired and holds nothing: take the disk out, or wipe it to use it again"
    )]
    Retired {
        /// The volume.
        id: VolumeId,
    },
    /// A write of it failed since the machine was started.
    #[error(
        "volume {id} failed ({reason}), and until the disk was unplugged or the machine restarted \
         nobody knows what is on it; what it held is made anew on the others"
    )]
    Fenced {
        /// The volume.
        id: VolumeId,
        /// What failed, in words.
        reason: String,
    },
    /// It was written by a later release.
    #[error("{path} has format {found}, this release knows {known}; it was left as it is")]
    NewerFormat {
        /// Where it is mounted.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format known.
        known: u32,
    },
    /// The node's key does not open it.
    #[error("{path} was written with another key than this node's; it was left as it is")]
    WrongKey {
        /// Where it is mounted.
        path: PathBuf,
    },
    /// A record of the store on it cannot be read.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file system failed.
    #[error("cannot {operation} {path}")]
    Io {
        /// What was to be done.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The volume failed while it was read in.
    #[error(transparent)]
    Failed(#[from] StoreError),
    /// It was detached while it was being attached, or the process is ending.
    #[error("attaching volume {id} at {path} was interrupted")]
    Interrupted {
        /// The volume.
        id: VolumeId,
        /// Where it is mounted.
        path: PathBuf,
    },
}

/// Why a volume was not given up.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// The store does not know it.
    #[error("volume {id} does not belong to the store")]
    Unknown {
        /// The volume.
        id: VolumeId,
    },
    /// It is in use.
    #[error("volume {id} is attached; detach it first")]
    Attached {
        /// The volume.
        id: VolumeId,
    },
    /// No volume took the record of it.
    #[error("cannot record that volume {id} was given up")]
    Record {
        /// The volume.
        id: VolumeId,
        /// What failed.
        #[source]
        source: StoreError,
    },
}

/// Why a volume is not retired, or retiring it is not given up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RetireError {
    /// The store does not know it.
    #[error("volume {id} does not belong to the store")]
    Unknown {
        /// The volume.
        id: String,
    },
    /// The store is not open.
    #[error("volume {id} cannot be retired now: {reason}")]
    Failed {
        /// The volume.
        id: String,
        /// Why, in words.
        reason: String,
    },
    /// It is not in use.
    #[error(
        "volume {id} is missing, failed or not read in yet; a volume that will not come back is given \
         up with `forget` instead"
    )]
    NotInUse {
        /// The volume.
        id: String,
    },
    /// Another one is being retired.
    #[error("volume {other} is being retired; volume {id} can be when that is done, or cancelled")]
    Another {
        /// The volume.
        id: String,
        /// The other one.
        other: String,
    },
    /// It is being retired.
    #[error("volume {id} is being retired already")]
    Already {
        /// The volume.
        id: String,
    },
    /// Too few others are left.
    #[error(
        "without volume {id} the pool would be on {others} volume(s), where the next disk that fails \
         takes objects with it: everything must be on two; add a disk first"
    )]
    TooFew {
        /// The volume.
        id: String,
        /// Volumes that would be left.
        others: usize,
    },
    /// Something must be made good first.
    #[error(
        "volume {id} is still needed: {groups} groups have missing or damaged parts; wait until they are \
         healed, and bring missing disks back or give them up"
    )]
    Wanting {
        /// The volume.
        id: String,
        /// Groups.
        groups: u64,
    },
    /// A volume is away or failed.
    #[error(
        "volume {other} is missing or failed; bring it back or give it up before {id} is retired"
    )]
    Absent {
        /// The volume.
        id: String,
        /// The other one.
        other: String,
    },
    /// The others have no room for what it holds.
    #[error(
        "what is on volume {id} needs {needed} bytes on the others, which have {room}; add a disk or \
         delete objects first"
    )]
    NoRoom {
        /// The volume.
        id: String,
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that the others take.
        room: u64,
    },
    /// It is not being retired.
    #[error("volume {id} is not being retired")]
    NotRetiring {
        /// The volume.
        id: String,
    },
    /// Its key is destroyed.
    #[error("volume {id} is retired already: its key is destroyed")]
    TooLate {
        /// The volume.
        id: String,
    },
    /// No volume took the record of it.
    #[error("volume {id}: no volume took the record of the decision")]
    Record {
        /// The volume.
        id: String,
    },
}
