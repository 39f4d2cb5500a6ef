use super::pages::PageAt;
use super::*;
use crate::engine::entry::{Place, RecordAt, encode};
use crate::engine::fjall::FjallIndex;
use crate::engine::index::{Batch, Index};
use crate::engine::memory::MemoryIndex;
use crate::names::{ETag, Owner, VersionId};
use agent_object_store_pool::sim::Dice;
use agent_proofs::member::{parent, top};
use futures::TryStreamExt as _;
use std::time::Instant;

fn bucket_entry(number: u64) -> BucketEntry {
    let owner = Owner::new("ann").unwrap();
    let record = RecordAt::Journal(Vec::new());
    BucketEntry { number: BucketNo(number), owner, created: UnixMillis(0), record }
}

fn object_entry(number: u64, size: u64) -> ObjectEntry {
    let object = StoredObject {
        version: VersionId::at(UnixMillis(number)),
        etag: ETag::new("0123456789abcdef0123456789abcdef").unwrap(),
        size,
        modified: UnixMillis(number),
        attributes: StoredAttributes::default(),
        checksums: StoredChecksums::default(),
        parts: None,
        root: *blake3::hash(&number.to_le_bytes()).as_bytes(),
    };
    ObjectEntry { object, place: Place::Record, record: RecordAt::Journal(Vec::new()) }
}

/// Fills an index with so many objects in two buckets; a third one was deleted.
fn fill(index: &dyn Index, count: u64) {
    let mut batch = Batch::default();
    for (name, number) in [("bees", 7), ("ants", 9)] {
        batch
            .put(keys::bucket(&Bucket::new(name).unwrap()), encode(&bucket_entry(number)).unwrap());
    }
    batch.put(keys::object(BucketNo(8), "gone"), encode(&object_entry(1, 1)).unwrap());
    let mut dice = Dice(count);
    for number in 0..count {
        let bucket = BucketNo(7 + 2 * dice.roll(2));
        let key = format!("folder-{}/object-{number:08}", dice.roll(100));
        let entry = encode(&object_entry(number, dice.roll(1 << 20))).unwrap();
        batch.put(keys::object(bucket, &key), entry);
        if batch.0.len() == 1024 {
            index.write(&std::mem::take(&mut batch)).unwrap();
        }
    }
    index.write(&batch).unwrap();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// Cuts an index; what is written, and its end. Visits each piece.
fn cut(index: &dyn Index, mut visit: impl FnMut(Bytes)) -> Trailer {
    let trailer = Arc::new(Mutex::new(None));
    let cut = Cut::new(index.snapshot().unwrap(), Writer::new([5; 32]), UnixMillis(3)).unwrap();
    let stream = cut.stream(Io::Inline, Arc::clone(&trailer));
    runtime()
        .block_on(stream.try_for_each(|bytes| {
            visit(bytes);
            async { Ok(()) }
        }))
        .unwrap();
    trailer.lock().unwrap().unwrap()
}

/// All members below a page.
fn below(bytes: &[u8], page: PageAt, level: u8) -> Vec<Member> {
    let at = usize::try_from(page.at).unwrap();
    let body = &bytes[at..at + page.length as usize];
    if level == 0 {
        return members(body, page.entries).unwrap();
    }
    let lines = lines(body, page.entries).unwrap();
    lines.into_iter().flat_map(|line| below(bytes, line.page, level - 1)).collect()
}

fn naive(leaves: &[Node]) -> Option<Node> {
    match leaves {
        [] => None,
        [alone] => Some(*alone),
        many => {
            let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
            Some(parent(&naive(left)?, &naive(right)?))
        }
    }
}

#[test]
fn the_root_is_that_of_a_plain_tree_over_all_objects_in_order() {
    for count in [0, 1, 2, 255, 256, 257, 511, 4097, 70_000] {
        let index = MemoryIndex::default();
        fill(&index, count);
        let mut bytes = Vec::new();
        let end = cut(&index, |piece| bytes.extend_from_slice(&piece));
        let at = bytes.len() - usize::try_from(TRAILER).unwrap();
        assert_eq!(Trailer::read(&bytes[at..]).unwrap(), end);
        let all = if end.levels == 0 { Vec::new() } else { below(&bytes, end.top, end.levels - 1) };
        assert_eq!(all.len() as u64, count);
        assert!(all.is_sorted_by_key(|member| (&member.bucket, &member.key)));
        let leaf = |member: &Member| member.leaf(&salt(&[5; 32], member)).unwrap();
        let leaves: Vec<Node> = all.iter().map(leaf).collect();
        let plain = naive(&leaves);
        assert_eq!(top(&leaves), plain);
        assert_eq!(end.commitment, Commitment::new(count, plain), "{count}");
    }
}

#[test]
fn damaged_pages_are_errors_and_no_panic() {
    let index = MemoryIndex::default();
    fill(&index, 300);
    let mut bytes = Vec::new();
    let end = cut(&index, |piece| bytes.extend_from_slice(&piece));
    let at = usize::try_from(end.top.at).unwrap();
    let top = bytes[at..at + end.top.length as usize].to_vec();
    for length in 0..top.len() {
        assert!(lines(&top[..length], end.top.entries).is_err());
        let _ = members(&top[..length], end.top.entries);
    }
    let mut dice = Dice(3);
    for _ in 0..1000 {
        let mut other = bytes.clone();
        let place = usize::try_from(dice.roll(other.len() as u64)).unwrap();
        other[place] ^= 1 << dice.roll(8);
        let _ = members(&other, 256);
        let _ = lines(&other, 256);
        let _ = Trailer::read(&other[other.len() - usize::try_from(TRAILER).unwrap()..]);
    }
}

#[test]
#[ignore = "measures: ICN_OBJECTS objects, 1 million unless told"]
fn measure() {
    let count = std::env::var("ICN_OBJECTS").map_or(1_000_000, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let index = FjallIndex::open(folder.path()).unwrap();
    let begun = Instant::now();
    fill(&index, count);
    index.checkpoint().unwrap();
    println!("filled with {count} in {:?}, {}", begun.elapsed(), memory());
    for _ in 0..2 {
        let (begun, mut bytes) = (Instant::now(), 0);
        let end = cut(&index, |piece| bytes += piece.len());
        let each = bytes as u64 / count.max(1);
        println!("cut in {:?}: {bytes} bytes, {each} each, {}", begun.elapsed(), memory());
        assert_eq!(end.commitment.count, count);
    }
}

/// Memory of this process, as the kernel says.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let lines =
        status.lines().filter(|line| line.starts_with("VmHWM") || line.starts_with("VmRSS"));
    lines.collect::<Vec<_>>().join(" ")
}
