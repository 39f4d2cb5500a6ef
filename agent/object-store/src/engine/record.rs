//! What the journal and the packed groups hold: one change of the store each.
//!
//! ```text
//! record   length of the head u32 | head | content, where it stands in the record
//! head     change | what the change counts as a request, if it does (both in the form of postcard)
//! ```
//!
//! The head's form is that of `postcard` 1 for [`Change`]; fields are only ever added as new variants.

use agent_object_store_pool::group::run::{GroupId, Run};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::stored::{StoredObject, StoredPart, StoredUpload};
use super::traffic::Requests;
use crate::names::{Bucket, ObjectKey, Owner, UnixMillis, UploadId, VersionId};

/// A bucket's number: never used again, so that what is left of a deleted bucket never shows up in a
/// new one of the same name.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub(crate) struct BucketNo(pub u64);

impl BucketNo {
    /// Holds what the engine keeps for itself; it has no name, so that no request meets it.
    pub(crate) const OWN: Self = Self(0);
}

/// One change of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    /// A bucket was made.
    CreateBucket { number: BucketNo, bucket: Bucket, owner: Owner, created: UnixMillis },
    /// An empty bucket was deleted.
    DeleteBucket { number: BucketNo, bucket: Bucket },
    /// An object was written, in the place of the one before.
    Put { bucket: BucketNo, key: ObjectKey, object: StoredObject, content: Content },
    /// An object was deleted; `version` orders the deletion among the object's versions.
    Delete { bucket: BucketNo, key: ObjectKey, version: VersionId },
    /// An upload was begun.
    BeginUpload { bucket: BucketNo, key: ObjectKey, upload: UploadId, about: StoredUpload },
    /// A part was written, in the place of the one of the same number before.
    PutPart {
        bucket: BucketNo,
        key: ObjectKey,
        upload: UploadId,
        part: StoredPart,
        content: Content,
    },
    /// Parts, by number and version, became an object.
    Complete {
        bucket: BucketNo,
        key: ObjectKey,
        upload: UploadId,
        object: StoredObject,
        parts: Vec<(u16, VersionId)>,
    },
    /// An upload was given up.
    AbortUpload { bucket: BucketNo, key: ObjectKey, upload: UploadId, at: UnixMillis },
    /// So much was counted in memory since a start of the store, by bucket.
    Traffic { session: u64, so_far: Vec<(BucketNo, Requests)> },
}

impl Change {
    /// The bucket that it is of; none if it is of many.
    pub(crate) fn bucket(&self) -> Option<BucketNo> {
        match self {
            Self::CreateBucket { number, .. } | Self::DeleteBucket { number, .. } => Some(*number),
            Self::Put { bucket, .. }
            | Self::Delete { bucket, .. }
            | Self::BeginUpload { bucket, .. }
            | Self::PutPart { bucket, .. }
            | Self::Complete { bucket, .. }
            | Self::AbortUpload { bucket, .. } => Some(*bucket),
            Self::Traffic { .. } => None,
        }
    }

    /// Where its bytes are, if it has any.
    pub(crate) fn content(&self) -> Option<&Content> {
        match self {
            Self::Put { content, .. } | Self::PutPart { content, .. } => Some(content),
            _ => None,
        }
    }
}

/// Where the bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Content {
    /// Behind the record's head; so many.
    Inline(u32),
    /// In groups, in this order.
    Runs(Vec<Run>),
    /// As [`Content::Runs`], of a version that is there already: its bytes stand here from now on.
    Moved(Vec<Run>),
    /// As [`Content::Inline`], compressed: so many bytes are stored.
    CompressedInline(u32),
    /// As [`Content::Runs`], compressed: so many bytes are stored, without what stands behind them.
    CompressedRuns(Vec<Run>, u64),
    /// As [`Content::Moved`], compressed as [`Content::CompressedRuns`].
    CompressedMoved(Vec<Run>, u64),
}

/// Bytes in groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InGroups {
    /// Where, in this order.
    pub runs: Vec<Run>,
    /// How many bytes are stored, if they are compressed.
    pub compressed: Option<u64>,
}

impl Content {
    /// Bytes of content behind the head.
    pub(crate) fn inline(&self) -> u32 {
        match self {
            Self::Inline(length) | Self::CompressedInline(length) => *length,
            Self::Runs(_)
            | Self::Moved(_)
            | Self::CompressedRuns(..)
            | Self::CompressedMoved(..) => 0,
        }
    }

    /// How many bytes of content are stored behind the head, if they are compressed.
    pub(crate) fn compressed_inline(&self) -> Option<u32> {
        match self {
            Self::CompressedInline(length) => Some(*length),
            _ => None,
        }
    }

    /// The groups that it is in, one for each run.
    pub(crate) fn groups(&self) -> impl Iterator<Item = GroupId> {
        let runs = match self {
            Self::Inline(_) | Self::CompressedInline(_) => &[],
            Self::Runs(runs)
            | Self::Moved(runs)
            | Self::CompressedRuns(runs, _)
            | Self::CompressedMoved(runs, _) => runs.as_slice(),
        };
        runs.iter().map(|run| run.group)
    }

    /// Whether it says where the bytes of a version are that is there already.
    pub(crate) fn is_moved(&self) -> bool {
        matches!(self, Self::Moved(_) | Self::CompressedMoved(..))
    }

    /// The same as it is packed: where bytes were moved to is where they are.
    pub(crate) fn settled(self) -> Self {
        match self {
            Self::Moved(runs) => Self::Runs(runs),
            Self::CompressedMoved(runs, stored) => Self::CompressedRuns(runs, stored),
            other => other,
        }
    }
}

impl InGroups {
    /// Of what is new.
    pub(crate) fn written(self) -> Content {
        match self.compressed {
            None => Content::Runs(self.runs),
            Some(stored) => Content::CompressedRuns(self.runs, stored),
        }
    }

    /// Of what was elsewhere before.
    pub(crate) fn moved(self) -> Content {
        match self.compressed {
            None => Content::Moved(self.runs),
            Some(stored) => Content::CompressedMoved(self.runs, stored),
        }
    }
}

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not a record of the store")]
pub struct NotARecord;

/// Length of the head's length, in bytes.
const LENGTH: usize = 4;

/// The bytes of a change with its inline content.
///
/// # Errors
/// The head is longer than 4 GiB.
pub(crate) fn encode(
    change: &Change,
    requests: Option<&Requests>,
    inline: &[u8],
) -> Result<Bytes, NotARecord> {
    let mut bytes = vec![0; LENGTH];
    bytes = postcard::to_extend(change, bytes).map_err(|_| NotARecord)?;
    if let Some(requests) = requests {
        bytes = postcard::to_extend(requests, bytes).map_err(|_| NotARecord)?;
    }
    let head = u32::try_from(bytes.len() - LENGTH).map_err(|_| NotARecord)?;
    if let Some(length) = bytes.first_chunk_mut::<LENGTH>() {
        *length = head.to_le_bytes();
    }
    bytes.extend_from_slice(inline);
    Ok(bytes.into())
}

/// The change in a record and the bytes of its inline content, which share the record's memory.
///
/// # Errors
/// The bytes are no record, or its content is not as long as it says.
pub(crate) fn decode(record: &Bytes) -> Result<(Change, Bytes), NotARecord> {
    decode_counting(record).map(|(change, _, inline)| (change, inline))
}

/// The same with what the change counts.
///
/// # Errors
/// As [`decode`].
pub(crate) fn decode_counting(
    record: &Bytes,
) -> Result<(Change, Option<Requests>, Bytes), NotARecord> {
    let length = record.first_chunk::<LENGTH>().ok_or(NotARecord)?;
    let head = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| NotARecord)?;
    let end = LENGTH.checked_add(head).filter(|end| *end <= record.len()).ok_or(NotARecord)?;
    let bytes = record.get(LENGTH..end).ok_or(NotARecord)?;
    let (change, rest) = postcard::take_from_bytes::<Change>(bytes).map_err(|_| NotARecord)?;
    let (requests, rest) = match rest {
        [] => (None, rest),
        counted => {
            let taken = postcard::take_from_bytes(counted).map_err(|_| NotARecord)?;
            (Some(taken.0), taken.1)
        }
    };
    let inline = record.slice(end..);
    let expected = change.content().map_or(0, Content::inline);
    let expected = usize::try_from(expected).map_err(|_| NotARecord)?;
    let is_whole = rest.is_empty() && inline.len() == expected;
    if is_whole { Ok((change, requests, inline)) } else { Err(NotARecord) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::stored::{StoredAttributes, StoredChecksums};
    use crate::names::ETag;
    use proptest::prelude::*;

    fn put(content: Content) -> Change {
        let object = StoredObject {
            version: VersionId::at(UnixMillis(77)),
            etag: ETag::new("e").unwrap(),
            size: 3,
            modified: UnixMillis(77),
            attributes: StoredAttributes::default(),
            checksums: StoredChecksums::default(),
            parts: None,
            root: [7; 32],
        };
        let key = ObjectKey::new("a key").unwrap();
        Change::Put { bucket: BucketNo(1), key, object, content }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let change = put(Content::Inline(3));
        let record = encode(&change, None, b"abc").unwrap();
        let (found, inline) = decode(&record).unwrap();
        assert_eq!((&found, &inline[..]), (&change, &b"abc"[..]));
        let requests = Requests::write(u64::MAX);
        let record = encode(&change, Some(&requests), b"abc").unwrap();
        assert_eq!(decode_counting(&record).unwrap().1, Some(requests));
        assert_eq!(decode(&record).unwrap().0, change);
        // The bytes of an object of 4 KiB that are not the object.
        let long = put(Content::Inline(4096));
        assert!(encode(&long, None, &[0; 4096]).unwrap().len() < 4096 + 100);
    }

    #[test]
    fn content_is_written_down_as_ever() {
        let run = Run { group: GroupId(3), at: 4096, rows: 300, skip: 0, length: 9 };
        // Number of the variant; number of runs; 4096 and 300 take two bytes each.
        let runs = |variant: u8| [&[variant, 1], &[3, 0x80, 0x20, 0xac, 2, 0, 9][..]].concat();
        for (content, bytes) in [
            (Content::Inline(3), vec![0, 3]),
            (Content::Runs(vec![run]), runs(1)),
            (Content::Moved(vec![run]), runs(2)),
            (Content::CompressedInline(3), vec![3, 3]),
            (Content::CompressedRuns(vec![run], 7), [runs(4), vec![7]].concat()),
            (Content::CompressedMoved(vec![run], 7), [runs(5), vec![7]].concat()),
        ] {
            assert_eq!(postcard::to_allocvec(&content).unwrap(), bytes);
            assert_eq!(postcard::from_bytes::<Content>(&bytes).unwrap(), content);
        }
    }

    #[test]
    fn a_record_that_is_cut_or_has_more_than_it_says_is_none() {
        let requests = Requests::write(3);
        let record = encode(&put(Content::Inline(3)), Some(&requests), b"abc").unwrap();
        for length in 0..record.len() {
            assert_eq!(decode(&record.slice(..length)), Err(NotARecord), "{length}");
        }
        assert_eq!(decode(&[&record[..], b"d"].concat().into()), Err(NotARecord));
        let record = encode(&put(Content::Runs(Vec::new())), None, b"").unwrap();
        assert!(decode(&record).is_ok());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&Bytes::from(bytes));
        }
    }
}
