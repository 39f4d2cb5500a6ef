//! Keys of the index: a tag, then names and numbers such that the order of the bytes is the order
//! wanted. Numbers are big-endian.
//!
//! | key | value |
//! |---|---|
//! | `A` | how far the index has come: [`Applied`](super::entry::Applied) |
//! | `B` name | a bucket |
//! | `C` bucket u64, key | an object |
//! | `D` bucket u64 | name and owner of a deleted bucket, as long as its usage is kept |
//! | `F` group u64, offset u64, number u32 | a record of a packed group that counts no more, not yet told on the volumes |
//! | `G` group u64 | a group |
//! | `K` group u64, offset u64, number u32 | a record of a packed group that counts no more, and the group that tells it |
//! | `M` | the last packing: [`Marker`](super::entry::Marker) |
//! | `P` upload, part u16 | a part of an upload, or of the object that the upload became |
//! | `Q` bucket u64 | what the bucket holds, and what was used of it |
//! | `R` group u64, offset u64, skip u64 | who owns these bytes of a group |
//! | `S` | how far the scrub has come |
//! | `T` | after an orderly end: the number of the decision about index and standby that were alike then |
//! | `U` bucket u64, key, 0, 1, upload | an open upload |
//!
//! A key of S3 may hold the byte 0: in the key of an upload it is 0, 255, so that what ends the key is
//! less than whatever goes on.

use agent_object_store_pool::group::run::{GroupId, Run};

use crate::engine::entry::PackedSpot;
use crate::engine::record::BucketNo;
use crate::names::{Bucket, UploadId};

/// Length of an upload's name in bytes.
const UPLOAD: usize = 32;

/// Stands behind a zero that is part of a key.
const ESCAPED: u8 = 0xff;

/// Ends a key.
const END: [u8; 2] = [0, 1];

/// Length of a tag and a number.
const HEAD: usize = 9;

pub(crate) const APPLIED: &[u8] = b"A";

/// The last entry that is written to an index and its standby before both are closed.
pub(crate) const TWINS: &[u8] = b"T";

/// A bucket.
pub(crate) fn bucket(bucket: &Bucket) -> Vec<u8> {
    [b"B", bucket.as_str().as_bytes()].concat()
}

/// What all buckets begin with.
pub(crate) const BUCKETS: &[u8] = b"B";

/// The name in the key of a bucket.
pub(crate) fn bucket_name(key: &[u8]) -> Option<Bucket> {
    Bucket::new(std::str::from_utf8(key.strip_prefix(BUCKETS)?).ok()?).ok()
}

/// What all objects of a bucket begin with.
pub(crate) fn objects(bucket: BucketNo) -> Vec<u8> {
    tagged(b'C', bucket)
}

/// An object; `key` may also be the start of one.
pub(crate) fn object(bucket: BucketNo, key: &str) -> Vec<u8> {
    let mut bytes = objects(bucket);
    bytes.extend_from_slice(key.as_bytes());
    bytes
}

/// What all open uploads of a bucket begin with.
pub(crate) fn uploads(bucket: BucketNo) -> Vec<u8> {
    tagged(b'U', bucket)
}

/// What all open uploads of a bucket begin with, of keys that begin with `start`.
pub(crate) fn uploads_from(bucket: BucketNo, start: &str) -> Vec<u8> {
    let mut bytes = uploads(bucket);
    for byte in start.bytes() {
        bytes.push(byte);
        if byte == 0 {
            bytes.push(ESCAPED);
        }
    }
    bytes
}

/// An open upload.
pub(crate) fn upload(bucket: BucketNo, key: &str, upload: &UploadId) -> Vec<u8> {
    let mut bytes = uploads_from(bucket, key);
    bytes.extend_from_slice(&END);
    bytes.extend_from_slice(upload.as_str().as_bytes());
    bytes
}

/// The first key of an upload behind those of one key.
pub(crate) fn behind_uploads_of(bucket: BucketNo, key: &str) -> Vec<u8> {
    let mut bytes = uploads_from(bucket, key);
    bytes.extend_from_slice(&[0, 2]);
    bytes
}

/// The S3 key and the upload in the key of an open upload.
pub(crate) fn upload_key(key: &[u8]) -> Option<(String, UploadId)> {
    let rest = key.get(HEAD..)?;
    let (name, upload) = rest.split_at_checked(rest.len().checked_sub(UPLOAD)?)?;
    let escaped = name.strip_suffix(&END)?;
    let mut name = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(byte) = bytes.next() {
        name.push(*byte);
        if *byte == 0 && bytes.next() != Some(&ESCAPED) {
            return None;
        }
    }
    let upload = UploadId::new(std::str::from_utf8(upload).ok()?).ok()?;
    Some((String::from_utf8(name).ok()?, upload))
}

/// What all parts of an upload begin with.
pub(crate) fn parts(upload: &UploadId) -> Vec<u8> {
    [b"P", upload.as_str().as_bytes()].concat()
}

/// A part.
pub(crate) fn part(upload: &UploadId, part: u16) -> Vec<u8> {
    let mut bytes = parts(upload);
    bytes.extend_from_slice(&part.to_be_bytes());
    bytes
}

/// The upload in the key of a part.
pub(crate) fn upload_of_part(key: &[u8]) -> Option<UploadId> {
    let upload = key.get(1..)?.get(..UPLOAD)?;
    UploadId::new(std::str::from_utf8(upload).ok()?).ok()
}

/// What all owners in a group begin with.
pub(crate) fn owners(group: GroupId) -> Vec<u8> {
    [b"R", &group.0.to_be_bytes()[..]].concat()
}

/// The owner of bytes of a bulk group.
pub(crate) fn owner(run: &Run) -> Vec<u8> {
    let mut bytes = owners(run.group);
    bytes.extend_from_slice(&run.at.to_be_bytes());
    bytes.extend_from_slice(&run.skip.to_be_bytes());
    bytes
}

/// The last packing.
pub(crate) const MARKER: &[u8] = b"M";

/// How far the scrub has come.
pub(crate) const SCRUB: &[u8] = b"S";

/// What all groups begin with.
pub(crate) const GROUPS: &[u8] = b"G";

/// A group.
pub(crate) fn group(group: GroupId) -> Vec<u8> {
    [GROUPS, &group.0.to_be_bytes()].concat()
}

/// The group in the key of one.
pub(crate) fn group_id(key: &[u8]) -> Option<GroupId> {
    let number = key.strip_prefix(GROUPS)?.try_into().ok()?;
    Some(GroupId(u64::from_be_bytes(number)))
}

/// What the usage of all buckets begins with.
pub(crate) const USAGES: &[u8] = b"Q";

/// What a bucket holds.
pub(crate) fn usage(bucket: BucketNo) -> Vec<u8> {
    tagged(b'Q', bucket)
}

/// The bucket in the key of a usage.
pub(crate) fn usage_of(key: &[u8]) -> Option<BucketNo> {
    let number = key.strip_prefix(USAGES)?.try_into().ok()?;
    Some(BucketNo(u64::from_be_bytes(number)))
}

/// What all deleted buckets begin with.
pub(crate) const DEPARTED: &[u8] = b"D";

/// A deleted bucket.
pub(crate) fn departed(bucket: BucketNo) -> Vec<u8> {
    tagged(b'D', bucket)
}

/// The bucket in the key of a deleted one.
pub(crate) fn departed_of(key: &[u8]) -> Option<BucketNo> {
    let number = key.strip_prefix(DEPARTED)?.try_into().ok()?;
    Some(BucketNo(u64::from_be_bytes(number)))
}

/// What all kills begin with that no volume tells yet.
pub(crate) const FRESH: &[u8] = b"F";

/// A kill that no volume tells yet.
pub(crate) fn fresh_kill(spot: PackedSpot) -> Vec<u8> {
    killed(FRESH, spot)
}

/// A kill that a volume tells.
pub(crate) fn kill(spot: PackedSpot) -> Vec<u8> {
    killed(b"K", spot)
}

/// What all kills of a group begin with, those that no volume tells yet first.
pub(crate) fn kills(group: GroupId) -> [Vec<u8>; 2] {
    [FRESH, b"K"].map(|tag| [tag, &group.0.to_be_bytes()].concat())
}

fn killed(tag: &[u8], spot: PackedSpot) -> Vec<u8> {
    let PackedSpot { group, row, number } = spot;
    [tag, &group.0.to_be_bytes(), &row.to_be_bytes(), &number.to_be_bytes()].concat()
}

/// The record that the key of a kill names.
pub(crate) fn killed_spot(key: &[u8]) -> Option<PackedSpot> {
    let (group, rest) = key.get(1..)?.split_first_chunk()?;
    let (row, rest) = rest.split_first_chunk()?;
    Some(PackedSpot {
        group: GroupId(u64::from_be_bytes(*group)),
        row: u64::from_be_bytes(*row),
        number: u32::from_be_bytes(rest.try_into().ok()?),
    })
}

/// The first key behind all that begin with `prefix`; none if there can be none.
pub(crate) fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut next = prefix.to_vec();
    while let Some(last) = next.pop() {
        if last < u8::MAX {
            next.push(last + 1);
            return Some(next);
        }
    }
    None
}

fn tagged(tag: u8, bucket: BucketNo) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend_from_slice(&bucket.0.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn upload_of(byte: u8) -> UploadId {
        UploadId::from_random([byte; 16])
    }

    #[test]
    fn names_come_back_out_of_keys() {
        let name = Bucket::new("photos").unwrap();
        assert_eq!(bucket_name(&bucket(&name)), Some(name));
        let number = BucketNo(u64::MAX);
        let key = upload(number, "a\0b", &upload_of(7));
        assert_eq!(upload_key(&key), Some(("a\0b".to_owned(), upload_of(7))));
        assert_eq!(upload_of_part(&part(&upload_of(1), 10_000)), Some(upload_of(1)));
        assert_eq!(upload_key(b"U"), None);
        assert_eq!(bucket_name(b"C"), None);
    }

    proptest! {
        #[test]
        fn the_order_of_keys_is_the_order_of_their_names(
            a in any::<(u64, String)>(),
            b in any::<(u64, String)>(),
        ) {
            let of = |(number, key): &(u64, String)| object(BucketNo(*number), key);
            prop_assert_eq!(of(&a).cmp(&of(&b)), a.cmp(&b));
            let of = |(number, key): &(u64, String)| upload(BucketNo(*number), key, &upload_of(1));
            prop_assert_eq!(of(&a).cmp(&of(&b)), a.cmp(&b));
            prop_assert_eq!(upload_key(&of(&a)), Some((a.1.clone(), upload_of(1))));
        }

        #[test]
        fn what_stands_behind_a_prefix_is_greater_than_all_that_begin_so(
            prefix in proptest::collection::vec(any::<u8>(), 0..6),
            rest in proptest::collection::vec(any::<u8>(), 0..6),
        ) {
            let whole = [prefix.clone(), rest].concat();
            match behind(&prefix) {
                Some(next) => prop_assert!(next > whole),
                None => prop_assert!(prefix.iter().all(|byte| *byte == u8::MAX)),
            }
        }
    }
}
