use agent_object_store_pool::group::run::{GroupId, Run};
use proptest::prelude::*;

use super::*;
use crate::engine::entry::{BucketUsage, GroupEntry, Packed, PackedSpot};
use crate::engine::memory::MemoryIndex;
use crate::engine::packed::ItemAt;
use crate::engine::stored::StoredPart;
use crate::engine::stored::{StoredAttributes, StoredChecksums, StoredUpload};
use crate::names::{Bucket, ETag, Owner, UnixMillis};

const BUCKET: BucketNo = BucketNo(1);
const NONE: [u64; 0] = [];

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

fn version(number: u64) -> VersionId {
    VersionId::at(UnixMillis(number))
}

fn upload(number: u8) -> UploadId {
    UploadId::from_random([number; 16])
}

/// Bytes in a group that nothing else is in, so that each release can be told.
fn content(number: u64) -> Content {
    let group = GroupId(number);
    Content::Runs(vec![Run { group, at: 4096, rows: 1, skip: 0, length: 1 }])
}

fn object(number: u64) -> StoredObject {
    StoredObject {
        version: version(number),
        etag: ETag::new("e").unwrap(),
        size: number,
        modified: UnixMillis(number),
        attributes: StoredAttributes::default(),
        checksums: StoredChecksums::default(),
        parts: None,
        root: [0; 32],
    }
}

fn put(name: &str, number: u64) -> Change {
    Change::Put { bucket: BUCKET, key: key(name), object: object(number), content: content(number) }
}

fn put_part(of: u8, part: u16, number: u64) -> Change {
    let part = StoredPart {
        number: part,
        version: version(number),
        etag: ETag::new("e").unwrap(),
        size: number,
        modified: UnixMillis(number),
        checksums: StoredChecksums::default(),
        root: [0; 32],
    };
    let (upload, content) = (upload(of), content(number));
    Change::PutPart { bucket: BUCKET, key: key("a"), upload, part, content }
}

fn begin(of: u8) -> Change {
    let about = StoredUpload {
        owner: Owner::new("ann").unwrap(),
        begun: UnixMillis(1),
        attributes: StoredAttributes::default(),
        note: None,
    };
    Change::BeginUpload { bucket: BUCKET, key: key("a"), upload: upload(of), about }
}

/// The groups of which a byte is needed.
fn live(index: &MemoryIndex) -> Vec<u64> {
    let groups = dump(index).into_iter().filter_map(|(key, value)| {
        let entry: GroupEntry = decode(&value).ok()?;
        (entry.live > 0).then_some(keys::group_id(&key)?.0)
    });
    groups.collect()
}

/// Makes a change; the numbers of the groups whose bytes are released.
fn make(index: &MemoryIndex, change: Change) -> Vec<u64> {
    let before = live(index);
    let batch = apply(index, change, RecordAt::Journal(Vec::new())).unwrap();
    index.write(&batch).unwrap();
    let after = live(index);
    before.into_iter().filter(|group| !after.contains(group)).collect()
}

fn usage(index: &MemoryIndex) -> BucketUsage {
    get(index, &keys::usage(BUCKET)).unwrap().unwrap_or_default()
}

fn size_of(index: &MemoryIndex, name: &str) -> Option<u64> {
    let entry: Option<ObjectEntry> = get(index, &keys::object(BUCKET, name)).unwrap();
    entry.map(|entry| entry.object.size)
}

#[test]
fn a_later_version_replaces_an_earlier_one_and_releases_its_bytes() {
    let index = MemoryIndex::default();
    assert_eq!(make(&index, put("a", 1)), NONE);
    assert_eq!(make(&index, put("a", 3)), [1]);
    assert_eq!(make(&index, put("a", 2)), NONE, "an old record that is read again");
    assert_eq!(size_of(&index, "a"), Some(3));
    assert_eq!(make(&index, put("a", 3)), NONE, "the same once more");
    let delete =
        |number| Change::Delete { bucket: BUCKET, key: key("a"), version: version(number) };
    assert_eq!(make(&index, delete(2)), NONE);
    assert_eq!(make(&index, delete(4)), [3]);
    assert_eq!(make(&index, delete(4)), NONE);
    assert_eq!(size_of(&index, "a"), None);
}

#[test]
fn a_deleted_bucket_does_not_take_a_new_one_of_its_name_along() {
    let index = MemoryIndex::default();
    let bucket = Bucket::new("photos").unwrap();
    let create = |number| Change::CreateBucket {
        number: BucketNo(number),
        bucket: bucket.clone(),
        owner: Owner::new("ann").unwrap(),
        created: UnixMillis(number),
    };
    let delete = || Change::DeleteBucket { number: BucketNo(1), bucket: bucket.clone() };
    make(&index, create(1));
    make(&index, delete());
    assert_eq!(index.get(&keys::bucket(&bucket)).unwrap(), None);
    make(&index, create(2));
    make(&index, delete());
    assert!(index.get(&keys::bucket(&bucket)).unwrap().is_some());
}

#[test]
fn an_upload_becomes_an_object_of_the_parts_that_were_named() {
    let index = MemoryIndex::default();
    make(&index, put("a", 1));
    make(&index, begin(7));
    for (part, number) in [(1, 10), (2, 11), (3, 12)] {
        make(&index, put_part(7, part, number));
    }
    assert_eq!(make(&index, put_part(7, 2, 20)), [11]);
    let complete = Change::Complete {
        bucket: BUCKET,
        key: key("a"),
        upload: upload(7),
        object: object(30),
        parts: vec![(1, version(10)), (2, version(20))],
    };
    assert_eq!(make(&index, complete), [1, 12]);
    let numbers = |index: &MemoryIndex| -> Vec<u16> {
        parts(index, &upload(7)).unwrap().iter().map(|entry| entry.part.number).collect()
    };
    assert_eq!(numbers(&index), [1, 2]);
    assert_eq!(index.get(&keys::upload(BUCKET, "a", &upload(7))).unwrap(), None);
    assert_eq!(size_of(&index, "a"), Some(30));
    assert_eq!(make(&index, put("a", 31)), [10, 20]);
    assert_eq!(numbers(&index), Vec::<u16>::new());
}

#[test]
fn an_upload_that_is_given_up_leaves_nothing() {
    let index = MemoryIndex::default();
    make(&index, begin(7));
    make(&index, put_part(7, 1, 10));
    make(&index, put_part(8, 1, 11));
    let abort = Change::AbortUpload {
        bucket: BUCKET,
        key: key("a"),
        upload: upload(7),
        at: UnixMillis(20),
    };
    assert_eq!(make(&index, abort), [10]);
    assert!(parts(&index, &upload(7)).unwrap().is_empty());
    assert_eq!(parts(&index, &upload(8)).unwrap().len(), 1);
}

/// Changes as an engine makes them: versions grow, a part belongs to an upload that is open.
fn history() -> impl Strategy<Value = Vec<Change>> {
    let step = (0u8..6, 0u8..3, 0u8..2, 1u16..4);
    proptest::collection::vec(step, 1..40).prop_map(|steps| {
        let (mut changes, mut open) = (Vec::new(), Vec::<(u8, Vec<(u16, VersionId)>)>::new());
        for (at, (what, name, pick, part)) in steps.into_iter().enumerate() {
            let number = at as u64 + 1;
            let name = ["a", "b", "c"][usize::from(name)];
            let of = u8::try_from(at).unwrap();
            let chosen = open.len().checked_sub(1).map(|last| usize::from(pick).min(last));
            match (what, chosen) {
                (0 | 1, _) | (3.., None) => changes.push(put(name, number)),
                (2, _) => changes.push(Change::Delete {
                    bucket: BUCKET,
                    key: key(name),
                    version: version(number),
                }),
                (3, Some(chosen)) => {
                    let (of, parts) = &mut open[chosen];
                    parts.retain(|(number, _)| *number != part);
                    parts.push((part, version(number)));
                    changes.push(put_part(*of, part, number));
                }
                (4, Some(chosen)) => {
                    let (of, mut parts) = open.remove(chosen);
                    parts.sort_unstable();
                    let (bucket, key, upload) = (BUCKET, key("a"), upload(of));
                    let object = object(number);
                    changes.push(Change::Complete { bucket, key, upload, object, parts });
                }
                (_, Some(chosen)) => {
                    let (of, _) = open.remove(chosen);
                    let (bucket, key, upload) = (BUCKET, key("a"), upload(of));
                    let at = UnixMillis(number);
                    changes.push(Change::AbortUpload { bucket, key, upload, at });
                }
            }
            if what == 2 && open.len() < 2 {
                changes.push(begin(of));
                open.push((of, Vec::new()));
            }
        }
        changes
    })
}

fn dump(index: &MemoryIndex) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    let visit = &mut |key: &[u8], value: &[u8]| {
        all.push((key.to_vec(), value.to_vec()));
        Next::On
    };
    index.scan(b"", visit).unwrap();
    all
}

proptest! {
    #[test]
    fn reading_the_journal_again_from_anywhere_comes_to_the_same_end(
        history in history(),
        at in any::<prop::sample::Index>(),
    ) {
        let index = MemoryIndex::default();
        for change in &history {
            make(&index, change.clone());
        }
        let end = dump(&index);
        for change in history.iter().skip(at.index(history.len())) {
            make(&index, change.clone());
        }
        prop_assert_eq!(dump(&index), end);
    }

    #[test]
    fn the_counters_say_what_the_entries_say(history in history()) {
        let index = MemoryIndex::default();
        for change in &history {
            make(&index, change.clone());
        }
        let (mut named, mut held) = (Vec::new(), BucketUsage::default());
        for (key, value) in dump(&index) {
            let place = match key.first() {
                Some(b'C') => {
                    let entry: ObjectEntry = decode(&value).unwrap();
                    held.objects += 1;
                    held.bytes += entry.object.size;
                    entry.place
                }
                Some(b'P') => {
                    let entry: PartEntry = decode(&value).unwrap();
                    held.part_bytes += if entry.is_counted { entry.part.size } else { 0 };
                    entry.place
                }
                Some(b'U') => {
                    held.uploads += 1;
                    continue;
                }
                _ => continue,
            };
            if let Place::Groups(InGroups { runs, .. }) = place {
                named.push(runs[0].group.0);
                let owner = index.get(&keys::owner(&runs[0])).unwrap();
                prop_assert!(owner.is_some());
            }
        }
        named.sort_unstable();
        prop_assert_eq!(live(&index), named);
        let found = usage(&index);
        let (byte_millis, at) = (found.byte_millis, found.at);
        prop_assert_eq!(found, BucketUsage { byte_millis, at, ..held.clone() });
    }
}

#[test]
fn what_is_held_counts_for_as_long_as_it_is() {
    let index = MemoryIndex::default();
    make(&index, put("a", 10));
    make(&index, put("b", 20));
    let delete = Change::Delete { bucket: BUCKET, key: key("a"), version: version(50) };
    make(&index, delete);
    make(&index, put("b", 100));
    // 10 bytes for 40 ms, 20 bytes for 80 ms.
    assert_eq!(usage(&index).byte_millis, 10 * 40 + 20 * 80);
    let mut later = usage(&index);
    later.pass(UnixMillis(101));
    assert_eq!(later.byte_millis, 10 * 40 + 20 * 80 + 100);
}

fn packed(number: u32) -> RecordAt {
    let spot = PackedSpot { group: GroupId(77), row: 4096, number };
    let at = ItemAt { skip: 0, weight: 9, compressed: None };
    RecordAt::Packed(Packed::new(spot, 1000, at))
}

fn is_killed(index: &MemoryIndex, number: u32) -> bool {
    let spot = PackedSpot { group: GroupId(77), row: 4096, number };
    index.get(&keys::fresh_kill(spot)).unwrap().is_some()
}

#[test]
fn a_packed_record_is_killed_when_what_it_says_is_over() {
    let index = MemoryIndex::default();
    let make_at = |change: Change, record: RecordAt| {
        let batch = apply(&index, change, record).unwrap();
        index.write(&batch).unwrap();
    };
    make_at(put("a", 1), packed(0));
    make_at(put("a", 1), RecordAt::Journal(Vec::new()));
    assert!(!is_killed(&index, 0), "the journal's record of the same version");
    make_at(put("a", 1), packed(1));
    assert!(is_killed(&index, 1) && !is_killed(&index, 0), "packed twice");
    make_at(put("a", 2), RecordAt::Journal(Vec::new()));
    assert!(is_killed(&index, 0));
    make_at(put("a", 1), packed(2));
    assert!(is_killed(&index, 2), "older than what is there");
    make_at(begin(7), packed(3));
    make_at(put_part(7, 1, 10), packed(4));
    let at = UnixMillis(20);
    make_at(
        Change::AbortUpload { bucket: BUCKET, key: key("a"), upload: upload(7), at },
        RecordAt::Journal(Vec::new()),
    );
    assert!(is_killed(&index, 3) && is_killed(&index, 4));
    let group: GroupEntry = get(&index, &keys::group(GroupId(77))).unwrap().unwrap();
    assert_eq!(group.live, 0);
}

#[test]
fn bytes_that_were_moved_belong_to_the_same_version() {
    let index = MemoryIndex::default();
    make(&index, put("a", 1));
    let move_to = |number: u64, group: u64| match content(group) {
        Content::Runs(runs) => Change::Put {
            bucket: BUCKET,
            key: key("a"),
            object: object(number),
            content: Content::Moved(runs),
        },
        other => panic!("{other:?}"),
    };
    assert_eq!(make(&index, move_to(1, 50)), [1]);
    assert_eq!(make(&index, move_to(1, 50)), NONE, "the same once more");
    assert_eq!(live(&index), [50]);
    make(&index, put("a", 2));
    assert_eq!(make(&index, move_to(1, 60)), NONE, "of a version that is gone");
    assert_eq!(live(&index), [2]);
}
