use proptest::prelude::*;

use super::*;
use crate::engine::entry::{Place, RecordAt, encode};
use crate::engine::index::{Batch, Snapshot};
use crate::engine::memory::MemoryIndex;
use crate::engine::stored::{StoredAttributes, StoredChecksums, StoredObject, StoredUpload};
use crate::names::{ETag, Owner, UnixMillis, VersionId};

const BUCKET: BucketNo = BucketNo(7);

fn object(size: u64) -> ObjectEntry {
    let object = StoredObject {
        version: VersionId::ZERO,
        etag: ETag::new("tag").unwrap(),
        size,
        modified: UnixMillis(1),
        attributes: StoredAttributes::default(),
        checksums: StoredChecksums::default(),
        parts: None,
        root: [0; 32],
    };
    ObjectEntry { object, place: Place::Record, record: RecordAt::Journal(Vec::new()) }
}

fn index(keys: &[&str]) -> MemoryIndex {
    let index = MemoryIndex::default();
    let mut batch = Batch::default();
    for key in keys {
        batch.put(keys::object(BUCKET, key), encode(&object(1)).unwrap());
    }
    // Neighbours that belong to no listing of the bucket.
    batch.put(keys::object(BucketNo(6), "z"), encode(&object(1)).unwrap());
    batch.put(keys::object(BucketNo(8), "a"), encode(&object(1)).unwrap());
    batch.put(keys::upload(BUCKET, "a", &UploadId::from_random([0; 16])), Vec::new());
    index.write(&batch).unwrap();
    index
}

fn query(prefix: &str, delimiter: Option<&str>, after: Option<After>, limit: usize) -> ListQuery {
    let delimiter = delimiter.map(str::to_owned);
    ListQuery { prefix: prefix.to_owned(), delimiter, after, limit }
}

fn names(page: &ListPage) -> Vec<String> {
    let name = |entry: &ListEntry| match entry {
        ListEntry::Object(object) => object.key.to_string(),
        ListEntry::Prefix(prefix) => format!("{prefix}*"),
    };
    page.entries.iter().map(name).collect()
}

fn walk(index: &MemoryIndex, prefix: &str, delimiter: Option<&str>, step: usize) -> Vec<String> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = objects(index, BUCKET, &query(prefix, delimiter, after, step)).unwrap();
        assert!(page.entries.len() <= step);
        all.extend(names(&page));
        match page.next {
            Some(next) => after = Some(next),
            None => return all,
        }
    }
}

#[test]
fn keys_fold_at_the_first_delimiter_behind_the_prefix() {
    let index = index(&["a", "a/", "a/b", "a/c/d", "a//x", "b/c", "z"]);
    assert_eq!(walk(&index, "", Some("/"), 10), ["a", "a/*", "b/*", "z"]);
    assert_eq!(walk(&index, "a/", Some("/"), 10), ["a/", "a//*", "a/b", "a/c/*"]);
    assert_eq!(walk(&index, "a", None, 10), ["a", "a/", "a//x", "a/b", "a/c/d"]);
    assert_eq!(walk(&index, "", Some("/"), 1), ["a", "a/*", "b/*", "z"]);
}

#[test]
fn a_listing_goes_on_behind_a_key_or_a_prefix() {
    let index = index(&["a", "a/b", "a/c", "b"]);
    let from = |prefix: &str, delimiter, after| {
        names(&objects(&index, BUCKET, &query(prefix, delimiter, Some(after), 10)).unwrap())
    };
    let key = |key: &str| After::Key(key.to_owned());
    assert_eq!(from("", Some("/"), key("a")), ["a/*", "b"]);
    assert_eq!(from("", Some("/"), key("a/b")), ["a/*", "b"]);
    assert_eq!(from("", Some("/"), After::Prefix("a/".to_owned())), ["b"]);
    assert_eq!(from("a", None, key("b")), Vec::<String>::new());
}

/// Counts the entries that a scan visits.
#[derive(Debug)]
struct Counting(MemoryIndex, std::sync::atomic::AtomicUsize);

impl Index for Counting {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.0.get(key)
    }
    fn write(&self, batch: &Batch) -> Result<(), IndexError> {
        self.0.write(batch)
    }
    fn scan(
        &self,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Next,
    ) -> Result<(), IndexError> {
        self.0.scan(from, &mut |key, value| {
            self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            visit(key, value)
        })
    }
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, IndexError> {
        self.0.snapshot()
    }
    fn checkpoint(&self) -> Result<(), IndexError> {
        self.0.checkpoint()
    }
}

#[test]
fn a_folded_prefix_of_many_keys_costs_one_step() {
    let many: Vec<String> = (0..5000).map(|number| format!("dir/{number:05}")).collect();
    let mut keys: Vec<&str> = many.iter().map(String::as_str).collect();
    keys.extend(["a", "e"]);
    let index = Counting(index(&keys), 0.into());
    let page = objects(&index, BUCKET, &query("", Some("/"), None, 10)).unwrap();
    assert_eq!(names(&page), ["a", "dir/*", "e"]);
    assert!(index.1.into_inner() <= 5);
}

proptest! {
    #[test]
    fn pages_of_any_size_give_what_folding_all_keys_gives(
        keys in proptest::collection::btree_set("[ab/\u{0}]{1,6}", 0..40),
        prefix in "[ab/]{0,2}",
        step in 1usize..5,
    ) {
        let list: Vec<&str> = keys.iter().map(String::as_str).collect();
        let mut expect: Vec<String> = Vec::new();
        for key in list.iter().filter(|key| key.starts_with(&prefix)) {
            let entry = match key[prefix.len()..].find('/') {
                Some(at) => format!("{}*", &key[..=prefix.len() + at]),
                None => (*key).to_owned(),
            };
            if expect.last() != Some(&entry) {
                expect.push(entry);
            }
        }
        prop_assert_eq!(walk(&index(&list), &prefix, Some("/"), step), expect);
    }

    #[test]
    fn uploads_come_by_key_and_then_by_upload_page_by_page(
        open in proptest::collection::btree_set(("[ab/\u{0}]{1,4}", 0u8..3), 0..20),
        prefix in "[ab]{0,1}",
        step in 1usize..4,
    ) {
        let bucket = Bucket::new("bucket").unwrap();
        let index = MemoryIndex::default();
        let mut batch = Batch::default();
        for (key, number) in &open {
            let about = StoredUpload {
                owner: Owner::new("ann").unwrap(),
                begun: UnixMillis(5),
                attributes: StoredAttributes::default(),
                note: None,
            };
            let key = keys::upload(BUCKET, key, &UploadId::from_random([*number; 16]));
            batch.put(key, encode(&UploadEntry { about, record: RecordAt::Journal(Vec::new()) }).unwrap());
        }
        index.write(&batch).unwrap();
        let expect: Vec<_> =
            open.iter().filter(|(key, _)| key.starts_with(&prefix)).cloned().collect();
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let query = UploadQuery { prefix: prefix.clone(), delimiter: None, after, limit: step };
            let page = uploads(&index, &bucket, BUCKET, &query).unwrap();
            for upload in &page.uploads {
                let number = u8::from_str_radix(&upload.upload.as_str()[..2], 16).unwrap();
                found.push((upload.key.to_string(), number));
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        prop_assert_eq!(found, expect);
    }
}
