//! Uploads in parts.

use agent_object_store::{After, GetRequest, ObjectStore as _, ReadRange, StoreError, UploadQuery};

use crate::driver::{Store, bucket, content, key, part};
use agent_object_store_pool::sim::{Cut, SimDisk};

async fn store() -> (SimDisk, Store) {
    let disk = SimDisk::new(&["/a"]);
    let store = Store::open_with(&disk, &["a"]).await;
    store.create_bucket("photos").await.unwrap();
    (disk, store)
}

#[tokio::test(start_paused = true)]
async fn an_object_in_parts_reads_as_one() {
    let (_disk, store) = store().await;
    let parts = [content(1, 300_000), content(2, 5), content(3, 700_000)];
    store.put_in_parts("photos", "k", &[&parts[0], &parts[1], &parts[2]]).await.unwrap();
    let whole = parts.concat();
    assert_eq!(store.get("photos", "k").await.unwrap(), whole);
    let get = async |range| {
        let request = GetRequest { range, ..GetRequest::new(bucket("photos"), key("k")) };
        let reader = store.0.get(&request).await.unwrap();
        (reader.range.clone(), reader.body.collect().await.unwrap())
    };
    let (range, bytes) = get(ReadRange::Between(299_999, 300_006)).await;
    assert_eq!((range, bytes), (299_999..300_007, whole[299_999..300_007].to_vec()));
    let (range, bytes) = get(ReadRange::Part(part(2))).await;
    assert_eq!((range, bytes), (300_000..300_005, parts[1].clone()));
    let info = store.0.head(&GetRequest::new(bucket("photos"), key("k"))).await.unwrap();
    assert_eq!((info.size, info.parts), (1_000_005, Some(3)));
}

#[tokio::test(start_paused = true)]
async fn parts_survive_a_restart_and_can_be_replaced_and_left_out() {
    let (disk, store) = store().await;
    let target = store.begin("photos", "k").await.unwrap();
    store.put_part(&target, 1, b"first try").await.unwrap();
    let one = store.put_part(&target, 1, b"one").await.unwrap();
    store.put_part(&target, 2, b"not wanted").await.unwrap();
    let three = store.put_part(&target, 3, b"three").await.unwrap();
    let index = store.1.clone();
    drop(store);
    let store = Store::reopen(&disk.cut(Cut::Lost), index, &["a"]).await;
    let page = store.0.list_parts(&target, Some(part(1)), 1).await.unwrap();
    assert_eq!((page.parts[0].part, page.parts[0].size, page.more), (part(2), 10, true));
    let stale = store.complete(&target, vec![(part(1), three.clone())]).await;
    assert!(matches!(stale, Err(StoreError::InvalidPart { .. })));
    let order = vec![(part(3), three.clone()), (part(1), one.clone())];
    assert!(matches!(store.complete(&target, order).await, Err(StoreError::InvalidPart { .. })));
    let parts = vec![(part(1), one), (part(3), three)];
    let done = store.complete(&target, parts.clone()).await.unwrap();
    assert_eq!(store.get("photos", "k").await.unwrap(), b"onethree");
    // Asked again, as when the answer was lost: the same answer.
    assert_eq!(store.complete(&target, parts.clone()).await.unwrap().version, done.version);
    store.put("photos", "k", b"newer").await.unwrap();
    let late = store.complete(&target, parts).await;
    assert!(matches!(late, Err(StoreError::NoSuchUpload { .. })));
    assert_eq!(store.get("photos", "k").await.unwrap(), b"newer");
}

#[tokio::test(start_paused = true)]
async fn an_aborted_upload_leaves_nothing() {
    let (_disk, store) = store().await;
    let target = store.begin("photos", "k").await.unwrap();
    store.put_part(&target, 1, &content(1, 300_000)).await.unwrap();
    store.0.abort_upload(&target).await.unwrap();
    assert!(matches!(
        store.put_part(&target, 1, b"late").await,
        Err(StoreError::NoSuchUpload { .. })
    ));
    let page = store.0.list_uploads(&bucket("photos"), &UploadQuery::default()).await.unwrap();
    assert!(page.uploads.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_reader_keeps_the_parts_of_a_replaced_object() {
    let (_disk, store) = store().await;
    let data = content(1, 2 << 20);
    store.put_in_parts("photos", "k", &[&data, b"end"]).await.unwrap();
    let open = store.0.get(&GetRequest::new(bucket("photos"), key("k"))).await.unwrap();
    store.put("photos", "k", b"new").await.unwrap();
    assert_eq!(open.body.collect().await.unwrap(), [data, b"end".to_vec()].concat());
}

#[tokio::test(start_paused = true)]
async fn uploads_are_listed_by_key_and_page() {
    let (_disk, store) = store().await;
    for k in ["a", "b/1", "b/2", "c", "c"] {
        store.begin("photos", k).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut after: Option<(After, _)> = None;
    loop {
        let query =
            UploadQuery { prefix: String::new(), delimiter: Some("/".to_owned()), after, limit: 1 };
        let page = store.0.list_uploads(&bucket("photos"), &query).await.unwrap();
        assert_eq!(page.uploads.len() + page.prefixes.len(), 1);
        seen.extend(page.prefixes);
        seen.extend(page.uploads.into_iter().map(|info| info.key.to_string()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["a", "b/", "c", "c"]);
}
