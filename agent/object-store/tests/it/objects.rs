//! Objects and buckets as a caller sees them.

use std::ops::Range;
use std::sync::Arc;

use agent_object_store::{
    After, Algorithm, Attributes, Body, BucketQuery, Checksum, ChecksumScope, CopyTarget,
    DeleteRequest, ETag, Engine, EngineConfig, GetRequest, ListEntry, ListQuery, ObjectStore as _,
    PutRequest, ReadBody, ReadConditions, ReadRange, StoreError, TagMatch, WriteConditions,
};
use bytes::Bytes;
use tokio::task::JoinSet;

use crate::driver::{Store, bucket, config, content, folder, key, owner, put_request};
use agent_object_store_pool::sim::SimDisk;

async fn store() -> (SimDisk, Store) {
    let disk = SimDisk::new(&["/a", "/b"]);
    let store = Store::open_with(&disk, &["a", "b"]).await;
    store.create_bucket("photos").await.unwrap();
    (disk, store)
}

fn chunks(data: &[u8], len: usize) -> Body {
    let parts: Vec<Result<Bytes, _>> =
        data.chunks(len).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    Body::new(Box::pin(futures::stream::iter(parts)))
}

#[tokio::test(start_paused = true)]
async fn what_was_written_is_read_whatever_its_size() {
    let (disk, store) = store().await;
    for len in [0, 1, 4096, 16 << 10, (16 << 10) + 1, 256 << 10, (256 << 10) + 1, 3 << 20] {
        let data = content(len as u64, len);
        let request = put_request("photos", "k", WriteConditions::default());
        let info = store.0.put(request, chunks(&data, 10_000)).await.unwrap();
        assert_eq!(info.size, len as u64);
        assert_eq!(info.etag.as_str(), hex(&Checksum::of(Algorithm::Md5, &data)));
        assert_eq!(store.get("photos", "k").await.unwrap(), data, "{len} bytes");
        let again = Store::open_with(&disk.fork_unlocked(), &["a", "b"]).await;
        assert_eq!(again.get("photos", "k").await.unwrap(), data, "{len} bytes, reopened");
    }
}

fn hex(sum: &Checksum) -> String {
    sum.value().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(start_paused = true)]
async fn attributes_and_checksums_come_back_as_given() {
    let (disk, store) = store().await;
    let attributes = Attributes {
        content_type: Some("image/png".to_owned()),
        cache_control: Some("no-store".to_owned()),
        user: [("name".to_owned(), "Zoë \"z\"".to_owned())].into(),
        ..Attributes::default()
    };
    let request = PutRequest {
        attributes: attributes.clone(),
        keep: vec![Algorithm::Sha256, Algorithm::Crc32],
        ..put_request("photos", "../x//\u{1}é", WriteConditions::default())
    };
    let put = store.0.put(request, chunks(b"123456789", 2)).await.unwrap();
    let reopened = Store::open_with(&disk.fork_unlocked(), &["a", "b"]).await;
    for store in [&store, &reopened] {
        let request = GetRequest::new(bucket("photos"), key("../x//\u{1}é"));
        let info = store.0.head(&request).await.unwrap();
        assert_eq!(info, put);
        assert_eq!(info.attributes, attributes);
        assert_eq!(info.checksums.scope, ChecksumScope::Whole);
        let crc = info.checksums.get(Algorithm::Crc32).unwrap();
        assert_eq!(*crc, Checksum::of(Algorithm::Crc32, b"123456789"));
        assert!(info.checksums.get(Algorithm::Md5).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_what_it_should_be_is_never_seen() {
    let (disk, store) = store().await;
    let data = content(1, 600_000);
    let bodies = [
        chunks(&data, 50_000).with_length(600_001),
        chunks(&data, 50_000).with_length(599_999),
        chunks(&data, 50_000).with_limit(599_999),
        chunks(&data, 50_000).expecting(Checksum::of(Algorithm::Md5, b"other")),
        chunks(&data, 50_000).expecting(Checksum::of(Algorithm::Crc64Nvme, b"other")),
        chunks(b"small", 2).expecting(Checksum::of(Algorithm::Sha1, b"other")),
        chunks(&data, 50_000)
            .with_trailer(Box::new(|| Ok(vec![Checksum::of(Algorithm::Crc32c, b"other")]))),
        chunks(&data, 50_000).with_trailer(Box::new(|| Err("no trailer".into()))),
        Body::new(Box::pin(futures::stream::iter([
            Ok(Bytes::from(data.clone())),
            Err("the client went away".into()),
        ]))),
    ];
    for body in bodies {
        let what = format!("{body:?}");
        let request = PutRequest {
            keep: vec![Algorithm::Crc32c],
            ..put_request("photos", "k", WriteConditions::default())
        };
        assert!(store.0.put(request, body).await.is_err(), "{what}");
        assert!(matches!(store.get("photos", "k").await, Err(StoreError::NoSuchKey { .. })));
    }
    drop(store);
    let disk = disk.cut(agent_object_store_pool::sim::Cut::Kept);
    let store = Store::open_with(&disk, &["a", "b"]).await;
    assert_eq!(store.keys("photos").await.unwrap(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_trailing_checksum_that_fits_is_kept() {
    let (_disk, store) = store().await;
    let sum = Checksum::of(Algorithm::Crc32, b"hello");
    let trailer = sum.clone();
    let body = chunks(b"hello", 3).with_trailer(Box::new(move || Ok(vec![trailer])));
    let request = PutRequest {
        keep: vec![Algorithm::Crc32],
        ..put_request("photos", "k", WriteConditions::default())
    };
    let info = store.0.put(request, body).await.unwrap();
    assert_eq!(info.checksums.values, [sum]);
}

#[tokio::test(start_paused = true)]
async fn ranges_give_exactly_their_bytes() {
    let (_disk, store) = store().await;
    for len in [10_000_usize, 700_000] {
        let data = content(3, len);
        store.put("photos", "k", &data).await.unwrap();
        let size = len as u64;
        let cases = [
            (ReadRange::All, 0..size),
            (ReadRange::From(9_999), 9_999..size),
            (ReadRange::Between(0, 0), 0..1),
            (ReadRange::Between(5, 9_000), 5..9_001),
            (ReadRange::Between(1, u64::MAX), 1..size),
            (ReadRange::Last(7), size - 7..size),
            (ReadRange::Last(u64::MAX), 0..size),
        ];
        for (range, expect) in cases {
            let request = GetRequest { range, ..GetRequest::new(bucket("photos"), key("k")) };
            let reader = store.0.get(&request).await.unwrap();
            assert_eq!(reader.range, expect, "{range:?}");
            assert_eq!(reader.body.collect().await.unwrap(), cut(&data, &expect), "{range:?}");
        }
        for range in [ReadRange::From(size), ReadRange::Between(size, size), ReadRange::Last(0)] {
            let request = GetRequest { range, ..GetRequest::new(bucket("photos"), key("k")) };
            let refused = store.0.get(&request).await;
            assert!(
                matches!(refused, Err(StoreError::RangeNotSatisfiable { size: s }) if s == size)
            );
        }
    }
}

fn cut<'a>(data: &'a [u8], range: &Range<u64>) -> &'a [u8] {
    &data[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
}

#[tokio::test(start_paused = true)]
async fn a_reader_keeps_the_version_that_it_opened() {
    let (_disk, store) = store().await;
    let data = content(5, 2 << 20);
    store.put("photos", "k", &data).await.unwrap();
    let open = store.0.get(&GetRequest::new(bucket("photos"), key("k"))).await.unwrap();
    assert!(matches!(open.body, ReadBody::Stream(_)));
    store.put("photos", "k", b"new").await.unwrap();
    store.delete("photos", "k").await.unwrap();
    assert_eq!(open.body.collect().await.unwrap(), data);
}

#[tokio::test(start_paused = true)]
async fn of_two_writers_that_ask_for_absence_one_wins() {
    let (_disk, store) = store().await;
    let absent = || WriteConditions { if_absent: true, if_match: None };
    let writers = (0..8_u64).map(|n| {
        let store = store.clone();
        async move { store.put_if("photos", "k", &content(n, 100), absent()).await.is_ok() }
    });
    let won = futures::future::join_all(writers).await;
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn conditions_are_held_to() {
    let (_disk, store) = store().await;
    let info = store.put("photos", "k", b"one").await.unwrap();
    let tag = |text: &str| Some(TagMatch::OneOf(vec![ETag::new(text).unwrap()]));
    let wrong = WriteConditions { if_absent: false, if_match: tag("other") };
    let refused = store.put_if("photos", "k", b"two", wrong.clone()).await;
    assert!(matches!(refused, Err(StoreError::PreconditionFailed { .. })));
    let delete =
        DeleteRequest { bucket: bucket("photos"), key: key("k"), version: None, conditions: wrong };
    assert!(store.0.delete(&delete).await.is_err());
    let conditions =
        ReadConditions { if_none_match: tag(info.etag.as_str()), ..ReadConditions::default() };
    let request = GetRequest { conditions, ..GetRequest::new(bucket("photos"), key("k")) };
    assert!(matches!(store.0.get(&request).await, Err(StoreError::NotModified { .. })));
    let right = WriteConditions { if_absent: false, if_match: tag(info.etag.as_str()) };
    store.put_if("photos", "k", b"two", right).await.unwrap();
    assert_eq!(store.get("photos", "k").await.unwrap(), b"two");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_not_the_present_one_is_not_found() {
    let (_disk, store) = store().await;
    let first = store.put("photos", "k", b"one").await.unwrap().version;
    let second = store.put("photos", "k", b"two").await.unwrap().version;
    assert!(second > first);
    let get = |version| GetRequest {
        version: Some(version),
        ..GetRequest::new(bucket("photos"), key("k"))
    };
    assert_eq!(store.0.head(&get(second)).await.unwrap().version, second);
    let gone = store.0.head(&get(first)).await;
    assert!(matches!(gone, Err(StoreError::NoSuchVersion { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_copy_has_the_bytes_and_may_have_other_attributes() {
    let (_disk, store) = store().await;
    let data = content(9, 400_000);
    store.put_in_parts("photos", "big", &[&data, b"end"]).await.unwrap();
    let attributes =
        Attributes { content_type: Some("text/plain".to_owned()), ..Attributes::default() };
    let target = CopyTarget {
        bucket: bucket("photos"),
        key: key("copy"),
        attributes: Some(attributes.clone()),
        keep: vec![Algorithm::Crc64Nvme],
        conditions: WriteConditions::default(),
        limit: u64::MAX,
    };
    let source = GetRequest::new(bucket("photos"), key("big"));
    let info = store.0.copy(&source, target.clone()).await.unwrap();
    assert_eq!((info.parts, info.attributes), (None, attributes));
    assert_eq!(store.get("photos", "copy").await.unwrap(), [data, b"end".to_vec()].concat());
    let short = CopyTarget { limit: 5, ..target };
    let refused = store.0.copy(&source, short).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { limit: 5 })));
}

#[tokio::test(start_paused = true)]
async fn listings_fold_and_page() {
    let (_disk, store) = store().await;
    for k in ["a", "b/1", "b/2", "c/1/x", "c/2", "d"] {
        store.put("photos", k, k.as_bytes()).await.unwrap();
    }
    let list = async |after: Option<After>, limit: usize| {
        let query =
            ListQuery { prefix: String::new(), delimiter: Some("/".to_owned()), after, limit };
        store.0.list(&bucket("photos"), &query).await.unwrap()
    };
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = list(after, 2).await;
        assert!(page.entries.len() <= 2);
        seen.extend(page.entries.into_iter().map(|entry| match entry {
            ListEntry::Object(object) => format!("{} {}", object.key, object.size),
            ListEntry::Prefix(prefix) => prefix,
        }));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["a 1", "b/", "c/", "d 1"]);
    assert_eq!(list(None, 4).await.next, None);
    assert_eq!(list(None, 0).await.entries, []);
}

#[tokio::test(start_paused = true)]
async fn buckets_are_made_once_and_deleted_when_empty() {
    let (disk, store) = store().await;
    let again = store.create_bucket("photos").await;
    assert!(matches!(again, Err(StoreError::BucketExists { owner: o, .. }) if o == owner()));
    store.put("photos", "k", b"v").await.unwrap();
    assert!(matches!(store.delete_bucket("photos").await, Err(StoreError::BucketNotEmpty { .. })));
    store.delete("photos", "k").await.unwrap();
    let upload = store.begin("photos", "k").await.unwrap();
    // It may become an object yet.
    assert!(matches!(store.delete_bucket("photos").await, Err(StoreError::BucketNotEmpty { .. })));
    store.0.abort_upload(&upload).await.unwrap();
    store.delete_bucket("photos").await.unwrap();
    assert!(matches!(store.put("photos", "k", b"").await, Err(StoreError::NoSuchBucket { .. })));
    for name in ["aaa", "bbb", "ccc"] {
        store.create_bucket(name).await.unwrap();
    }
    let query = BucketQuery {
        owner: Some(owner()),
        prefix: String::new(),
        after: Some(bucket("aaa")),
        limit: 1,
    };
    let reopened = Store::open_with(&disk.fork_unlocked(), &["b"]).await;
    for store in [&store, &reopened] {
        let page = store.0.list_buckets(&query).await.unwrap();
        assert_eq!(page.buckets[0].bucket, bucket("bbb"));
        assert!(page.more);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_store_refuses_writes_and_keeps_and_deletes_what_it_has() {
    let (disk, store) = store().await;
    store.put("photos", "small", &content(1, 1000)).await.unwrap();
    store.put("photos", "large", &content(2, 500_000)).await.unwrap();
    // No room beside the reserve; then none at all in the middle of a write.
    for capacity in [0, 10 << 20] {
        disk.set_capacity(Some(capacity));
        tokio::time::sleep(std::time::Duration::from_millis(120)).await;
        let body = chunks(&content(3, 40 << 20), 1 << 20);
        let request = put_request("photos", "k", WriteConditions::default());
        let refused = store.0.put(request, body).await;
        assert!(matches!(refused, Err(StoreError::Full { .. })), "{refused:?}");
    }
    assert_eq!(store.get("photos", "large").await.unwrap(), content(2, 500_000));
    store.delete("photos", "large").await.unwrap();
    assert_eq!(store.keys("photos").await.unwrap(), ["small"]);
    disk.set_capacity(None);
    tokio::time::sleep(std::time::Duration::from_millis(120)).await;
    store.put("photos", "k", &content(4, 300_000)).await.unwrap();
    assert_eq!(store.keys("photos").await.unwrap(), ["k", "small"]);
    assert!(
        store
            .0
            .usage()
            .await
            .volumes
            .iter()
            .all(|v| { v.state == agent_object_store::VolumeState::Attached })
    );
}

#[tokio::test(start_paused = true)]
async fn requests_that_find_no_memory_wait_for_each_other() {
    let disk = SimDisk::new(&["/a", "/b"]);
    let index = Arc::new(folder());
    // Each takes all there is.
    let config = EngineConfig { body_memory: 1, ..config(&disk, &index) };
    let store = Store(Engine::open(config), index);
    store.attach_all(&["a", "b"]).await;
    store.create_bucket("photos").await.unwrap();
    let mut tasks = JoinSet::new();
    for number in 0..24 {
        let store = store.clone();
        tasks.spawn(async move {
            let (name, copy) = (format!("key-{number}"), format!("copy-{number}"));
            let data = content(number, if number % 3 == 0 { 3 << 20 } else { 5000 });
            let request = put_request("photos", &name, WriteConditions::default());
            store.0.put(request, chunks(&data, 10_000)).await.unwrap();
            let source = GetRequest::new(bucket("photos"), key(&name));
            let target = CopyTarget {
                bucket: bucket("photos"),
                key: key(&copy),
                attributes: None,
                keep: Vec::new(),
                conditions: WriteConditions::default(),
                limit: u64::MAX,
            };
            store.0.copy(&source, target).await.unwrap();
            assert_eq!(store.get("photos", &copy).await.unwrap(), data);
        });
    }
    tasks.join_all().await;
    let memory = store.0.body_memory();
    assert_eq!((memory.held, memory.waiting, memory.refused), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_status_tells_how_much_room_compression_saves() {
    let (_disk, store) = store().await;
    let lines = b"2026-01-01 GET /photos/1 200 17 ms\n".repeat(60_000);
    store.put("photos", "log", &lines).await.unwrap();
    store.put("photos", "random", &content(1, 300 << 10)).await.unwrap();
    let found = store.0.status().await.content.unwrap();
    assert_eq!(found.plain_bytes, lines.len() as u64 + (300 << 10));
    assert!((300 << 10..400 << 10).contains(&found.stored_bytes), "{found:?}");
    // What its readers see is what it was.
    assert_eq!(store.get("photos", "log").await.unwrap(), lines);
    assert_eq!(store.0.bucket_totals().await.unwrap()[0].bytes, found.plain_bytes);
}
