//! What goes wrong with groups.

use std::io;
use std::path::PathBuf;

use super::codec::CodecError;
use super::header::HeaderError;
use super::run::GroupId;
use crate::device::DeviceError;
use crate::io::Unfinished;
use crate::superblock::VolumeNo;

/// Why an extent cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExtentError {
    /// A file failed. If it was to be changed, the device is fenced, unless it was only full.
    #[error("cannot {operation} {}", .path.display())]
    Io {
        /// What was to be done.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Its header is damaged, or of a later release. It was left as it is.
    #[error("{}: {source}", .path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: HeaderError,
    },
    /// It ends within its header: it was being made when the power was cut, and holds nothing.
    #[error("{} is not finished", .path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
    },
    /// Its header names another group or shard than its file's name.
    #[error("{} is not what its name says", .path.display())]
    Misplaced {
        /// The file.
        path: PathBuf,
    },
    /// The device is fenced.
    #[error("volume {volume} is fenced")]
    Fenced {
        /// The device.
        volume: VolumeNo,
    },
    /// The device gave no incarnation.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The process is ending.
    #[error(transparent)]
    Unfinished(#[from] Unfinished),
}

impl ExtentError {
    /// Whether there was no room; nothing is wrong with the device then.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_full(source))
    }
}

/// Whether there was no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Why a group was not made. What was made of it is removed, as far as that is possible.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The number of volumes is not that of the shape, one is named twice, or the shape or the size
    /// makes no sense.
    #[error("a group of {wanted} shards cannot be made so on {given} volumes")]
    Unsound {
        /// Shards of the shape.
        wanted: usize,
        /// Different volumes that were given.
        given: usize,
    },
    /// A volume failed, or is full.
    #[error("cannot make an extent on volume {volume}")]
    Extent {
        /// The volume.
        volume: VolumeNo,
        /// Why.
        #[source]
        source: ExtentError,
    },
    /// There is a group with this number.
    #[error("group {group} exists")]
    Exists {
        /// The group.
        group: GroupId,
    },
}

/// A shard that can no longer be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LostShard {
    /// The shard.
    pub shard: u8,
    /// Its volume.
    pub volume: VolumeNo,
}

/// A group that lost shards while it was filled. It takes no more rows; who waits for rows to be
/// durable writes their content anew, to another group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("group {group} lost {} of its shards while it was filled", .lost.len())]
pub struct Degraded {
    /// The group.
    pub group: GroupId,
    /// The shards that failed.
    pub lost: Vec<LostShard>,
    /// Rows before this offset are on stable storage of all volumes, the lost ones included.
    pub whole: u64,
    /// Rows before this offset are on stable storage of all volumes but the lost ones, and these are
    /// enough to read them. Not less than `whole`; [`super::writer::GroupWriter::sync`] and
    /// [`super::writer::GroupWriter::seal`] bring it to the group's end if enough shards are left.
    pub reduced: u64,
}

/// Why a row was not appended, or is not durable.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The row does not fit into what is left; another group takes it.
    #[error("the group is full")]
    Full,
    /// The group was sealed.
    #[error("the group is sealed")]
    Sealed,
    /// A row is of 1 byte up to a full row.
    #[error("a row of {length} bytes")]
    Length {
        /// Length of the row in bytes.
        length: usize,
    },
    /// Shards failed.
    #[error(transparent)]
    Degraded(#[from] Degraded),
    /// Parity could not be computed.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The process is ending.
    #[error(transparent)]
    Unfinished(#[from] Unfinished),
}

/// Why content cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The run is of another group, or not one.
    #[error("there is no such run in group {group}")]
    Run {
        /// The group.
        group: GroupId,
    },
    /// Fewer blocks than needed are there and whole. It may be read again when a volume comes back.
    #[error("group {group}, row at {at}: {whole} blocks {block} are whole, {needed} are needed")]
    Lost {
        /// The group.
        group: GroupId,
        /// Offset of the row.
        at: u64,
        /// The block.
        block: u32,
        /// Blocks that opened.
        whole: usize,
        /// Blocks that are needed.
        needed: usize,
    },
    /// No data cells could be made of whole ones: never so unless the group was written wrongly.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The process is ending.
    #[error(transparent)]
    Unfinished(#[from] Unfinished),
}

/// Why a shard was not rebuilt; the group is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// There is no such shard, or no extent of the group at all.
    #[error("group {group} has no shard {shard}")]
    Shard {
        /// The group.
        group: GroupId,
        /// The shard.
        shard: u8,
    },
    /// The volume holds another shard of the group.
    #[error("volume {volume} holds another shard of group {group}")]
    Taken {
        /// The group.
        group: GroupId,
        /// The volume.
        volume: VolumeNo,
    },
    /// Content cannot be made.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The new extent cannot be written.
    #[error("cannot rebuild onto volume {volume}")]
    Extent {
        /// The volume.
        volume: VolumeNo,
        /// Why.
        #[source]
        source: ExtentError,
    },
}
