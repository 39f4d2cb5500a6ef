//! Values of the index. The index can be made again from the volumes, so its form may change with
//! any release: an index of another [`FORM`] is made again.

use agent_object_store_pool::group::run::{GroupId, Run};
use agent_object_store_pool::journal::JournalPlace;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::index::IndexError;
use super::packed::ItemAt;
use super::record::{BucketNo, InGroups};
use super::stored::{StoredObject, StoredPart, StoredUpload};
use super::traffic::{Counted, Requests, Session};
use crate::names::{Bucket, ObjectKey, Owner, UnixMillis, UploadId, VersionId};

/// Changes when an older index cannot be read any more.
pub(crate) const FORM: u32 = 3;

/// How far the index has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Applied {
    pub form: u32,
    /// Every record up to this LSN is in the index.
    pub lsn: u64,
    /// The next bucket's number.
    pub next_bucket: u64,
    /// No version up to this one is given again.
    pub version: VersionId,
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BucketEntry {
    pub number: BucketNo,
    pub owner: Owner,
    pub created: UnixMillis,
    pub record: RecordAt,
}

/// An object and where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectEntry {
    pub object: StoredObject,
    pub place: Place,
    pub record: RecordAt,
}

/// A part and where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartEntry {
    pub bucket: BucketNo,
    pub key: ObjectKey,
    pub part: StoredPart,
    pub place: Place,
    pub record: RecordAt,
    /// Whether it counts among the parts of open uploads.
    pub is_counted: bool,
}

/// An open upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UploadEntry {
    pub about: StoredUpload,
    pub record: RecordAt,
}

/// Where bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Place {
    /// In the record, wherever that is.
    Record,
    /// In bulk groups.
    Groups(InGroups),
    /// In the parts of this upload.
    Parts(UploadId),
}

/// Where the record of an entry stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RecordAt {
    /// In the journal; its copies.
    Journal(Vec<JournalPlace>),
    /// In a row of a packed group.
    Packed(Packed),
}

/// A record in a row of a packed group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Packed {
    pub spot: PackedSpot,
    /// Bytes of the row.
    pub row_bytes: u32,
    /// Bytes of the row before the record's content.
    pub skip: u32,
    /// Bytes that count as live in the group while the record does.
    pub weight: u32,
    /// Bytes of the record's content as they are stored, if it is compressed.
    pub compressed: Option<u32>,
}

/// Names a record in a packed group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct PackedSpot {
    pub group: GroupId,
    /// Offset of the row.
    pub row: u64,
    /// Its number in the row's table.
    pub number: u32,
}

impl Packed {
    /// A record that stands in a row of so many bytes.
    pub(crate) fn new(spot: PackedSpot, row_bytes: u32, at: ItemAt) -> Self {
        let ItemAt { skip, weight, compressed } = at;
        Self { spot, row_bytes, skip, weight, compressed }
    }

    /// The run of the row's bytes that are the record's content, of so many bytes as they are not
    /// compressed.
    pub(crate) fn content(&self, size: u64) -> Run {
        let length = self.compressed.map_or(size, u64::from);
        let PackedSpot { group, row, .. } = self.spot;
        let (rows, skip) = (u64::from(self.row_bytes), u64::from(self.skip));
        Run { group, at: row, rows, skip, length }
    }
}

/// What holds bytes of a bulk group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Holder {
    /// An object.
    Object(BucketNo, ObjectKey),
    /// A part of an upload.
    Part(UploadId, u16),
}

/// A group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct GroupEntry {
    /// Bytes in it that something needs.
    pub live: u64,
    /// Bytes in it; none while it is filled, and after a crash in between until it was looked through.
    pub written: Option<u64>,
    /// When a client last changed what is needed of it; 0 where that is not known.
    pub changed: UnixMillis,
}

/// The last packing of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    /// Records of the journal up to this LSN count no more.
    pub upto: u64,
    /// The group where that is written.
    pub group: GroupId,
    /// Groups where the usage of buckets is written.
    pub usage: Vec<GroupId>,
}

/// A bucket that is deleted, as long as its usage is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Departed {
    pub bucket: Bucket,
    pub owner: Owner,
}

/// What a bucket holds and held, and what was used of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct BucketUsage {
    pub objects: u64,
    /// Of objects.
    pub bytes: u64,
    pub uploads: u64,
    /// Of parts of open uploads.
    pub part_bytes: u64,
    /// Bytes of objects and parts, times the milliseconds that they were held, up to `at`.
    pub byte_millis: u128,
    pub at: UnixMillis,
    pub requests: Requests,
    /// The records that `requests` has counted.
    pub counted: Counted,
    /// What it has counted of what was in memory.
    pub session: Session,
}

/// The bytes of a value.
///
/// # Errors
/// The value cannot be written down.
pub(crate) fn encode(value: &impl Serialize) -> Result<Vec<u8>, IndexError> {
    postcard::to_allocvec(value).map_err(IndexError::damaged)
}

/// The value in bytes.
///
/// # Errors
/// The bytes are no such value.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, IndexError> {
    postcard::from_bytes(bytes).map_err(IndexError::damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_group_is_read_whole_or_not_at_all() {
        let entry = GroupEntry { live: 300, written: Some(1 << 40), changed: UnixMillis(1 << 41) };
        let bytes = encode(&entry).unwrap();
        assert_eq!(decode::<GroupEntry>(&bytes).unwrap(), entry);
        for length in 0..bytes.len() {
            assert!(decode::<GroupEntry>(&bytes[..length]).is_err(), "{length}");
        }
    }
}
