//! What a fuzzer asks of the decoders of this crate: they never panic, and what they take for whole is
//! the same when it is written and read again. Part of no release.

use std::fmt::Debug;

use agent_object_store_pool::group::run::{GroupId, Run};
use agent_object_store_pool::journal::JournalPlace;
use agent_object_store_pool::superblock::VolumeNo;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::apply::apply;
use super::compress::{Zstd, compress};
use super::entry::{self, PackedSpot};
use super::expand::{Layout, expand};
use super::fjall::mark::Mark;
use super::index::Index as _;
use super::keys;
use super::memory::MemoryIndex;
use super::packed::{self, Item, ItemAt, RowBuilder, UsageLine};
use super::record::{self, BucketNo, Change, Content, InGroups};
use super::stored::{StoredAttributes, StoredChecksums, StoredObject, StoredPart, StoredUpload};
use super::traffic::Requests;
use crate::names::{Bucket, ETag, ObjectKey, Owner, UnixMillis, UploadId, VersionId};

/// A name, what is done with the fuzzer's bytes, and bytes to begin with.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// All targets of this crate.
pub const TARGETS: &[Target] = &[
    ("record", read_record, records),
    ("compressed", read_compressed, compressed),
    ("packed-row", read_row, rows),
    ("index-value", read_value, values),
    ("index-key", read_key, index_names),
    ("index-mark", read_mark, marks),
    ("apply", apply_row, rows),
];

/// Most bytes of a row's table and contents here.
const ROW: usize = 1 << 24;

fn read_record(bytes: &[u8]) {
    let Ok((change, requests, inline)) = record::decode_counting(&Bytes::copy_from_slice(bytes))
    else {
        return;
    };
    let again = record::encode(&change, requests.as_ref(), &inline).unwrap_or_default();
    assert_eq!(record::decode_counting(&again), Ok((change, requests, inline)));
}

fn read_row(bytes: &[u8]) {
    let Ok(items) = packed::items(bytes) else { return };
    let row = Bytes::copy_from_slice(bytes);
    let mut builder = RowBuilder::default();
    for (item, at) in &items {
        // Of a row whose contents are missing the table counts all the same.
        let Ok(content) = packed::content_of(&row, item, *at) else { return };
        assert_eq!(builder.push(item, &content, ROW), Ok(true));
    }
    let Ok((again, places)) = builder.finish() else { return };
    let expected: Vec<(Item, ItemAt)> =
        items.into_iter().zip(places).map(|((item, _), at)| (item, at)).collect();
    assert_eq!(packed::items(&again), Ok(expected));
}

/// The first four bytes say how long the content is, two numbers more which range of it is wanted.
fn read_compressed(bytes: &[u8]) {
    let mut rest = bytes;
    let mut number = || {
        let (number, behind) = rest.split_first_chunk()?;
        rest = behind;
        Some(u64::from(u32::from_le_bytes(*number)))
    };
    let (Some(plain), Some(from), Some(to)) = (number(), number(), number()) else { return };
    let layout = Layout { plain, stored: rest.len() as u64 };
    let stored = Bytes::copy_from_slice(rest);
    let range = from.min(to).min(plain)..to.max(from).min(plain);
    // A range that is long is read in steps.
    let range = range.start..range.end.min(range.start + (256 << 10));
    let found = expand(layout, &stored, &range);
    if let Ok(found) = &found {
        assert_eq!(found.len() as u64, range.end - range.start);
    }
    if plain > 256 << 10 {
        return;
    }
    let Ok(all) = expand(layout, &stored, &(0..plain)) else { return };
    let place = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
    let part = place.and_then(|(from, to)| all.get(from..to)).map(<[u8]>::to_vec);
    assert_eq!(found.ok(), part);
    if let Some(again) = compress(&mut Zstd::new(), &all) {
        let layout = Layout { stored: again.len() as u64, ..layout };
        assert_eq!(expand(layout, &again.into(), &(0..plain)), Ok(all));
    }
}

fn compressed() -> Vec<Vec<u8>> {
    let text = b"a line of text, as there are many\n".repeat(6000);
    let random: Vec<u8> =
        (0_u32..2000).flat_map(|n| *blake3::hash(&n.to_le_bytes()).as_bytes()).collect();
    let mixed = [text.as_slice(), &random].concat();
    let of = |content: &[u8], from: u32, to: u32| {
        let plain = u32::try_from(content.len()).unwrap_or_default();
        let head = [plain, from, to].map(u32::to_le_bytes).concat();
        let stored = compress(&mut Zstd::new(), content).unwrap_or_else(|| content.to_vec());
        [head, stored].concat()
    };
    let short = text.get(..3000).unwrap_or_default();
    vec![
        of(short, 0, 3000),
        of(&text, 65_000, 140_000),
        of(&mixed, 100, 250_000),
        of(&random, 0, 1),
    ]
}

fn read_value(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 9 {
        0 => value::<entry::Applied>(bytes),
        1 => value::<entry::BucketEntry>(bytes),
        2 => value::<entry::ObjectEntry>(bytes),
        3 => value::<entry::PartEntry>(bytes),
        4 => value::<entry::UploadEntry>(bytes),
        5 => value::<entry::Holder>(bytes),
        6 => value::<entry::GroupEntry>(bytes),
        7 => value::<entry::Marker>(bytes),
        _ => value::<entry::BucketUsage>(bytes),
    }
}

fn value<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(found) = entry::decode::<T>(bytes) else { return };
    let again = entry::encode(&found).unwrap_or_default();
    assert_eq!(entry::decode::<T>(&again).ok(), Some(found));
}

fn read_key(key: &[u8]) {
    if let Some(name) = keys::bucket_name(key) {
        assert_eq!(keys::bucket(&name), key);
    }
    if let Some((name, upload)) = keys::upload_key(key) {
        let bucket = key.get(1..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        let again = keys::upload(BucketNo(u64::from_be_bytes(bucket)), &name, &upload);
        // Whoever asks knows the tag.
        assert_eq!(again.get(1..), key.get(1..));
    }
    if let Some(group) = keys::group_id(key) {
        assert_eq!(keys::group(group), key);
    }
    if let Some(spot) = keys::killed_spot(key) {
        assert_eq!(keys::kill(spot).get(1..), key.get(1..));
    }
    if let Some(upload) = keys::upload_of_part(key) {
        assert!(key.get(1..).unwrap_or_default().starts_with(upload.as_str().as_bytes()));
    }
    if let Some(next) = keys::behind(key) {
        assert!(next.as_slice() > key);
    }
}

/// With the digest that is in the bytes, and with the right one.
fn read_mark(bytes: &[u8]) {
    let whole = [bytes, blake3::hash(bytes).as_bytes()].concat();
    for bytes in [bytes, &whole] {
        let Ok(mark) = Mark::decode(bytes) else { continue };
        let again = mark.encode().unwrap_or_default();
        assert_eq!(Mark::decode(&again).ok(), Some(mark));
    }
}

/// What a row says takes effect on an index, twice, and nothing it holds then is damaged.
fn apply_row(bytes: &[u8]) {
    let Ok(items) = packed::items(bytes) else { return };
    let index = MemoryIndex::default();
    for (number, (item, at)) in (0_u32..).zip(items) {
        let Item::Record { lsn, change } = item else { continue };
        let spot = PackedSpot { group: GroupId(lsn), row: 4096, number };
        let packed = entry::Packed::new(spot, u32::MAX, at);
        for _ in 0..2 {
            let record = entry::RecordAt::Packed(packed);
            let Ok(batch) = apply(&index, (*change).clone(), record) else { return };
            assert!(index.write(&batch).is_ok());
        }
    }
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap_or_else(|error| unreachable!("{error}"))
}

fn upload_id() -> UploadId {
    UploadId::from_random([9; 16])
}

fn attributes() -> StoredAttributes {
    let mut attributes = crate::object::Attributes {
        content_type: Some("text/plain".to_owned()),
        ..crate::object::Attributes::default()
    };
    attributes.user.insert("colour".to_owned(), "blue".to_owned());
    attributes.into()
}

fn object(version: u64, size: u64) -> StoredObject {
    StoredObject {
        version: VersionId::at(UnixMillis(version)),
        etag: ETag::of_md5([1; 16]),
        size,
        modified: UnixMillis(version),
        attributes: attributes(),
        checksums: StoredChecksums::default(),
        parts: None,
        root: [7; 32],
    }
}

fn part(number: u16, size: u64) -> StoredPart {
    StoredPart {
        number,
        version: VersionId::at(UnixMillis(5)),
        etag: ETag::of_md5([2; 16]),
        size,
        modified: UnixMillis(5),
        checksums: StoredChecksums::default(),
        root: [8; 32],
    }
}

fn run() -> Run {
    Run { group: GroupId(3), at: 4096, rows: 300_000, skip: 0, length: 300_000 }
}

fn about() -> StoredUpload {
    let owner = Owner::new("owner").unwrap_or_else(|error| unreachable!("{error}"));
    StoredUpload { owner, begun: UnixMillis(4), attributes: attributes(), note: None }
}

fn bucket_name() -> Bucket {
    Bucket::new("photos").unwrap_or_else(|error| unreachable!("{error}"))
}

/// One of each change, with its inline content.
fn changes() -> Vec<(Change, &'static [u8])> {
    let bucket = BucketNo(1);
    let name = bucket_name();
    let upload = upload_id();
    let created = UnixMillis(1);
    let version = VersionId::at(UnixMillis(5));
    let runs = Content::Runs(vec![run()]);
    let moved = Content::Moved(vec![Run { group: GroupId(4), ..run() }]);
    let put = |object, content| Change::Put { bucket, key: key("a"), object, content };
    let put_part = |part, content| {
        let upload = upload.clone();
        Change::PutPart { bucket, key: key("b"), upload, part, content }
    };
    vec![
        (
            Change::CreateBucket {
                number: bucket,
                bucket: name.clone(),
                owner: about().owner,
                created,
            },
            b"",
        ),
        (put(object(2, 3), Content::Inline(3)), b"abc"),
        (put(object(3, 300_000), runs.clone()), b""),
        (put(object(3, 300_000), moved), b""),
        (put(object(2, 3000), Content::CompressedInline(3)), b"abc"),
        (put(object(3, 300_000), Content::CompressedRuns(vec![run()], 200_000)), b""),
        (put(object(3, 300_000), Content::CompressedMoved(vec![run()], 200_000)), b""),
        (Change::Delete { bucket, key: key("a"), version }, b""),
        (
            Change::BeginUpload { bucket, key: key("b"), upload: upload.clone(), about: about() },
            b"",
        ),
        (put_part(part(1, 300_000), runs), b""),
        (put_part(part(2, 2), Content::Inline(2)), b"xy"),
        (
            Change::Complete {
                bucket,
                key: key("b"),
                upload: upload.clone(),
                object: StoredObject { parts: Some(2), ..object(6, 300_002) },
                parts: vec![(1, version), (2, version)],
            },
            b"",
        ),
        (Change::AbortUpload { bucket, key: key("b"), upload, at: UnixMillis(7) }, b""),
        (Change::DeleteBucket { number: bucket, bucket: name }, b""),
    ]
}

fn records() -> Vec<Vec<u8>> {
    let requests = Requests::write(9);
    let encode = |(change, inline): (Change, &[u8])| {
        [None, Some(&requests)].map(|requests| record::encode(&change, requests, inline))
    };
    let records = changes().into_iter().flat_map(encode);
    records.filter_map(|record| Some(record.ok()?.to_vec())).collect()
}

/// All changes in one row, and each in one.
fn rows() -> Vec<Vec<u8>> {
    let changes = changes();
    let one = changes.iter().map(std::slice::from_ref).map(row);
    one.chain([row(&changes), row(&[])]).collect()
}

fn row(changes: &[(Change, &[u8])]) -> Vec<u8> {
    let mut builder = RowBuilder::default();
    let mut push = |item: &Item, content: &[u8]| builder.push(item, content, ROW).is_ok();
    for (lsn, (change, inline)) in (1..).zip(changes) {
        push(&Item::Record { lsn, change: Box::new(change.clone()) }, inline);
    }
    push(&Item::Kills(vec![PackedSpot { group: GroupId(5), row: 4096, number: 3 }; 2]), b"");
    push(&Item::Upto(77), b"");
    let departed = entry::Departed { bucket: bucket_name(), owner: about().owner };
    let (bucket, usage) = (BucketNo(1), entry::BucketUsage::default());
    let line = UsageLine { bucket, usage, departed: Some(departed) };
    push(&Item::Usage(Box::new(line)), b"");
    builder.finish().map(|(row, _)| row).unwrap_or_default()
}

fn in_groups(compressed: Option<u64>) -> entry::Place {
    entry::Place::Groups(InGroups { runs: vec![run()], compressed })
}

fn values() -> Vec<Vec<u8>> {
    let owner = about().owner;
    let place =
        JournalPlace { volume: VolumeNo(2), slot: 1, incarnation: 1025, offset: 4132, length: 200 };
    let journal = entry::RecordAt::Journal(vec![place; 2]);
    let spot = PackedSpot { group: GroupId(5), row: 4096, number: 3 };
    let at = ItemAt { skip: 400, weight: 90, compressed: None };
    let packed = entry::RecordAt::Packed(entry::Packed::new(spot, 9000, at));
    let at = ItemAt { compressed: Some(30), ..at };
    let compressed = entry::RecordAt::Packed(entry::Packed::new(spot, 9000, at));
    let number = BucketNo(1);
    let applied =
        entry::Applied { form: entry::FORM, lsn: 9, next_bucket: 2, version: VersionId::ZERO };
    let bucket = entry::BucketEntry { number, owner, created: UnixMillis(1), record: packed };
    let object = |place, record| entry::ObjectEntry { object: object(3, 9), place, record };
    let part = entry::PartEntry {
        bucket: number,
        key: key("b"),
        part: part(1, 9),
        place: entry::Place::Record,
        record: journal.clone(),
        is_counted: true,
    };
    let upload = entry::UploadEntry { about: about(), record: journal.clone() };
    let usage = entry::BucketUsage { objects: 1, bytes: 9, ..entry::BucketUsage::default() };
    let group = entry::GroupEntry { live: 9, written: Some(20), changed: UnixMillis(9) };
    [
        (0, entry::encode(&applied)),
        (1, entry::encode(&bucket)),
        (2, entry::encode(&object(in_groups(None), journal.clone()))),
        (2, entry::encode(&object(in_groups(Some(200_000)), journal.clone()))),
        (2, entry::encode(&object(entry::Place::Record, compressed))),
        (2, entry::encode(&object(entry::Place::Parts(upload_id()), bucket.record.clone()))),
        (3, entry::encode(&part)),
        (4, entry::encode(&upload)),
        (5, entry::encode(&entry::Holder::Object(number, key("b")))),
        (5, entry::encode(&entry::Holder::Part(upload_id(), 3))),
        (6, entry::encode(&group)),
        (7, entry::encode(&entry::Marker { upto: 9, group: GroupId(5), usage: vec![GroupId(4)] })),
        (8, entry::encode(&usage)),
    ]
    .into_iter()
    .map(|(kind, bytes)| [vec![kind], bytes.unwrap_or_default()].concat())
    .collect()
}

fn index_names() -> Vec<Vec<u8>> {
    let spot = PackedSpot { group: GroupId(5), row: 4096, number: 3 };
    let number = BucketNo(0x1_ffff);
    let name = Bucket::new("photos").ok();
    let mut all = vec![
        keys::object(number, "a/b"),
        keys::upload(number, "a\0b", &upload_id()),
        keys::part(&upload_id(), 300),
        keys::group(GroupId(5)),
        keys::kill(spot),
        keys::fresh_kill(spot),
        keys::owner(&run()),
        keys::usage(number),
    ];
    all.extend(name.map(|name| keys::bucket(&name)));
    all
}

fn marks() -> Vec<Vec<u8>> {
    let mark = Mark { form: entry::FORM, batches: 900, jumps: vec![3, 500] };
    let bytes = mark.encode().unwrap_or_default();
    let said = bytes.len().saturating_sub(blake3::OUT_LEN);
    vec![bytes.get(..said).unwrap_or_default().to_vec(), bytes]
}
