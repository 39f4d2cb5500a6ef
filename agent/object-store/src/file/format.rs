//! What is on a volume, byte by byte. Drawn in `docs/design/first-engine.md`.
//!
//! Every file of the store has the same form: a body (empty for records), one JSON record, and a
//! footer of 32 bytes, which says how long the two are and carries their checksums. The footer is
//! written last and before the file gets its name.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::backend::BackendFile;
use crate::checksum::{Algorithm, Checksum, ChecksumScope, Checksums};
use crate::names::{
    Bucket, ETag, ObjectKey, Owner, PartNumber, PoolId, UnixMillis, UploadId, VersionId, VolumeId,
};
use crate::object::Attributes;

/// The format that this release writes and the newest that it reads.
pub(crate) const FORMAT: u16 = 1;

/// Length of the footer in bytes.
pub(crate) const FOOTER_BYTES: usize = 32;

/// Longest record in bytes: 10,000 parts of about 80 bytes, with room for the rest.
const RECORD_MAX_BYTES: usize = 2 << 20;

/// Bytes read from a file's end at first; holds the footer and nearly every record.
const TAIL_BYTES: u64 = 2048;

const MAGIC: [u8; 8] = *b"ICNFILE\x01";

/// Why a file is not what was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormatError {
    #[error("it cannot be read: {0}")]
    Read(#[from] std::io::Error),
    #[error("it has no footer")]
    NoFooter,
    #[error("it has format {0}, which this release does not know")]
    Newer(u16),
    #[error("its length does not fit its footer")]
    Length,
    #[error("the checksum of its record is wrong")]
    Checksum,
    #[error("its record cannot be decoded: {0}")]
    Record(#[from] serde_json::Error),
    #[error("its record does not belong to its name")]
    Name,
    #[error("the checksum of its body is wrong")]
    Body,
}

/// The name that an object's file has: a hash, as a key may be any text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NameHash([u8; 32]);

impl NameHash {
    pub(crate) fn of(bucket: &Bucket, key: &ObjectKey) -> Self {
        // A bucket's name has no zero byte, so the pair is told from every other one.
        let mut hash = Sha256::new();
        hash.update(bucket.as_str());
        hash.update([0]);
        hash.update(key.as_str());
        Self(hash.finalize().into())
    }

    pub(crate) fn hex(&self) -> String {
        hex::encode(self.0)
    }

    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok().map(|()| Self(bytes))
    }

    /// Its first 8 bytes as a number, for placement and latches.
    pub(crate) fn number(&self) -> u64 {
        self.0.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
    }
}

/// Which of the 256 directories under `objects` a file is in.
pub(crate) fn object_dirs() -> impl Iterator<Item = String> {
    (0..=u8::MAX).map(|n| format!("{n:02x}"))
}

/// The record of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectRecord {
    pub(crate) bucket: Bucket,
    pub(crate) key: ObjectKey,
    pub(crate) version: VersionId,
    pub(crate) modified: UnixMillis,
    pub(crate) etag: ETag,
    pub(crate) size: u64,
    pub(crate) attributes: Attributes,
    pub(crate) checksums: ChecksumRecord,
    /// CRC-64/NVME of the body; absent when the body lies in parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) crc: Option<u64>,
    /// Where the body lies, when it was uploaded in parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) multi: Option<MultiRecord>,
}

/// A body that lies in the parts of a completed upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MultiRecord {
    pub(crate) upload: UploadId,
    pub(crate) parts: Vec<PartSlice>,
}

/// One part of such a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartSlice {
    pub(crate) part: PartNumber,
    pub(crate) size: u64,
    /// CRC-64/NVME of the part.
    pub(crate) crc: u64,
}

/// The record of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartRecord {
    pub(crate) upload: UploadId,
    pub(crate) part: PartNumber,
    pub(crate) modified: UnixMillis,
    pub(crate) etag: ETag,
    pub(crate) size: u64,
    pub(crate) checksums: ChecksumRecord,
    /// CRC-64/NVME of the body.
    pub(crate) crc: u64,
}

/// The record of an open upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UploadRecord {
    pub(crate) upload: UploadId,
    pub(crate) bucket: Bucket,
    pub(crate) key: ObjectKey,
    pub(crate) owner: Owner,
    pub(crate) version: VersionId,
    pub(crate) begun: UnixMillis,
    pub(crate) attributes: Attributes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

/// Says that every version of a key up to this one is deleted. Written only while a volume is
/// missing, as that one may hold such a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TombstoneRecord {
    pub(crate) bucket: Bucket,
    pub(crate) key: ObjectKey,
    pub(crate) version: VersionId,
}

/// What every volume knows of the whole store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CatalogRecord {
    pub(crate) pool: PoolId,
    /// The volume that this copy is on.
    pub(crate) volume: VolumeId,
    /// No greater version was or will be given before this is written again.
    pub(crate) lease: VersionId,
    pub(crate) members: BTreeMap<VolumeId, Member>,
    pub(crate) buckets: BTreeMap<Bucket, BucketRecord>,
}

/// A volume of the pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) joined: VersionId,
    /// When it was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gone: Option<VersionId>,
}

/// A bucket, or that there was one. It exists when `created` is greater than `deleted`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BucketRecord {
    pub(crate) owner: Owner,
    pub(crate) created: VersionId,
    pub(crate) created_at: UnixMillis,
    /// Objects up to this version went with a former bucket of the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deleted: Option<VersionId>,
}

/// Checksums on disk: hex by algorithm.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct ChecksumRecord {
    #[serde(default)]
    scope: ChecksumScope,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    values: BTreeMap<Algorithm, String>,
}

impl From<&Checksums> for ChecksumRecord {
    fn from(sums: &Checksums) -> Self {
        let values = sums.values.iter().map(|c| (c.algorithm(), hex::encode(c.value()))).collect();
        Self { scope: sums.scope, values }
    }
}

impl From<&ChecksumRecord> for Checksums {
    fn from(record: &ChecksumRecord) -> Self {
        let decode = |(algorithm, text): (&Algorithm, &String)| {
            Checksum::new(*algorithm, &hex::decode(text).ok()?)
        };
        Self { scope: record.scope, values: record.values.iter().filter_map(decode).collect() }
    }
}

/// Record and footer for a file whose body has `body_len` bytes.
pub(crate) fn encode_tail<R: Serialize>(record: &R, body_len: u64) -> Result<Vec<u8>, FormatError> {
    let mut tail = serde_json::to_vec(record)?;
    let record_len = u32::try_from(tail.len()).map_err(|_| FormatError::Length)?;
    if tail.len() > RECORD_MAX_BYTES {
        return Err(FormatError::Length);
    }
    let record_crc = crc32c(&tail);
    let mut footer = Vec::with_capacity(FOOTER_BYTES);
    footer.extend_from_slice(&MAGIC);
    footer.extend_from_slice(&FORMAT.to_le_bytes());
    footer.extend_from_slice(&[0; 2]);
    footer.extend_from_slice(&record_len.to_le_bytes());
    footer.extend_from_slice(&body_len.to_le_bytes());
    footer.extend_from_slice(&record_crc.to_le_bytes());
    let footer_crc = crc32c(&footer);
    footer.extend_from_slice(&footer_crc.to_le_bytes());
    tail.extend_from_slice(&footer);
    Ok(tail)
}

/// A decoded tail.
#[derive(Debug)]
pub(crate) struct Tail<R> {
    pub(crate) record: R,
    /// Length of the body in bytes.
    pub(crate) body_len: u64,
    /// Length of record and footer in bytes.
    pub(crate) tail_len: u32,
}

struct Footer {
    record_len: usize,
    body_len: u64,
    record_crc: u32,
}

fn decode_footer(bytes: &[u8]) -> Result<Footer, FormatError> {
    let start = bytes.len().checked_sub(FOOTER_BYTES).ok_or(FormatError::NoFooter)?;
    let footer = bytes.get(start..).ok_or(FormatError::NoFooter)?;
    let le = |from: usize, len: usize| {
        let field = footer.get(from..from + len).unwrap_or_default();
        field.iter().rev().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte))
    };
    let small = |from| u32::try_from(le(from, 4)).unwrap_or(u32::MAX);
    let format = u16::try_from(le(8, 2)).unwrap_or(u16::MAX);
    if footer.get(..8) != Some(MAGIC.as_slice())
        || crc32c(footer.get(..28).unwrap_or_default()) != small(28)
    {
        return Err(FormatError::NoFooter);
    }
    if format > FORMAT {
        return Err(FormatError::Newer(format));
    }
    let record_len = usize::try_from(small(12)).map_err(|_| FormatError::Length)?;
    if record_len > RECORD_MAX_BYTES {
        return Err(FormatError::Length);
    }
    Ok(Footer { record_len, body_len: le(16, 8), record_crc: small(24) })
}

/// Decodes the tail from the last bytes of a file, which must hold all of it.
pub(crate) fn decode_tail<R: DeserializeOwned>(bytes: &[u8]) -> Result<Tail<R>, FormatError> {
    let footer = decode_footer(bytes)?;
    let tail_len = footer.record_len + FOOTER_BYTES;
    let start = bytes.len().checked_sub(tail_len).ok_or(FormatError::Length)?;
    let record = bytes.get(start..start + footer.record_len).ok_or(FormatError::Length)?;
    if crc32c(record) != footer.record_crc {
        return Err(FormatError::Checksum);
    }
    Ok(Tail {
        record: serde_json::from_slice(record)?,
        body_len: footer.body_len,
        tail_len: u32::try_from(tail_len).map_err(|_| FormatError::Length)?,
    })
}

/// Reads the tail of a file whose length is not known, and checks that it fits the length.
pub(crate) fn read_tail<R: DeserializeOwned>(
    file: &dyn BackendFile,
) -> Result<Tail<R>, FormatError> {
    let len = file.size()?;
    let first = read_end(file, len, TAIL_BYTES)?;
    let footer = decode_footer(&first)?;
    let wanted = u64::try_from(footer.record_len + FOOTER_BYTES).unwrap_or(u64::MAX);
    let bytes = if wanted > TAIL_BYTES { read_end(file, len, wanted)? } else { first };
    let tail: Tail<R> = decode_tail(&bytes)?;
    if tail.body_len.checked_add(u64::from(tail.tail_len)) != Some(len) {
        return Err(FormatError::Length);
    }
    Ok(tail)
}

fn read_end(file: &dyn BackendFile, len: u64, wanted: u64) -> Result<Vec<u8>, FormatError> {
    let wanted = wanted.min(len);
    let mut bytes = vec![0; usize::try_from(wanted).map_err(|_| FormatError::Length)?];
    file.read_at(&mut bytes, len - wanted)?;
    Ok(bytes)
}

/// Checks that an object's record belongs to the name of its file.
pub(crate) fn check_name(record: &ObjectRecord, path: &Path) -> Result<(), FormatError> {
    let name = path.file_name().and_then(|n| n.to_str()).and_then(NameHash::from_hex);
    if name == Some(NameHash::of(&record.bucket, &record.key)) {
        Ok(())
    } else {
        Err(FormatError::Name)
    }
}

fn crc32c(data: &[u8]) -> u32 {
    u32::try_from(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, data)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tombstone(key: &str) -> TombstoneRecord {
        TombstoneRecord {
            bucket: Bucket::new("photos").unwrap(),
            key: ObjectKey::new(key).unwrap(),
            version: VersionId::next(VersionId::ZERO, UnixMillis(5)),
        }
    }

    proptest! {
        #[test]
        fn a_tail_decodes_to_what_was_encoded(key in ".{1,200}", body_len: u64) {
            let record = tombstone(&key);
            let mut file = vec![7; 100];
            file.extend(encode_tail(&record, body_len).unwrap());
            let tail: Tail<TombstoneRecord> = decode_tail(&file).unwrap();
            prop_assert_eq!(tail.record, record);
            prop_assert_eq!(tail.body_len, body_len);
        }

        #[test]
        fn a_flipped_bit_or_a_cut_is_always_noticed(bit in 0_usize..8 * 140, cut in 1_usize..140) {
            let good = encode_tail(&tombstone("some/key"), 0).unwrap();
            let mut flipped = good.clone();
            let at = bit / 8 % good.len();
            flipped[at] ^= 1 << (bit % 8);
            prop_assert!(decode_tail::<TombstoneRecord>(&flipped).is_err());
            let cut = good.len() - cut.min(good.len());
            prop_assert!(decode_tail::<TombstoneRecord>(&good[..cut]).is_err());
        }

        #[test]
        fn any_bytes_decode_without_a_panic(bytes: Vec<u8>) {
            prop_assert!(decode_tail::<TombstoneRecord>(&bytes).is_err());
        }
    }

    #[test]
    fn a_newer_format_is_told_apart_from_damage() {
        let mut tail = encode_tail(&tombstone("k"), 0).unwrap();
        let footer = tail.len() - FOOTER_BYTES;
        tail[footer + 8] = 2;
        let crc = crc32c(&tail[footer..footer + 28]);
        tail[footer + 28..].copy_from_slice(&crc.to_le_bytes());
        assert!(matches!(decode_tail::<TombstoneRecord>(&tail), Err(FormatError::Newer(2))));
    }
}
