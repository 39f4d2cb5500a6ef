//! Volumes that come, go and fail while the store serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent_object_store::{
    Body, Engine, GetRequest, Happening, ObjectStore as _, StoreError, VolumeId, VolumeState,
    WriteConditions,
};
use agent_object_store_pool::device::superblock;
use agent_object_store_pool::io::Io;
use agent_object_store_pool::sim::{Cut, Fault, SimDisk};
use bytes::Bytes;

use crate::driver::{Store, bucket, config, content, folder, key, put_request};
use crate::gathering::{attaching, is_unavailable, reason};
use crate::retiring::happened;
use crate::standby::in_step;

pub(crate) async fn state(store: &Store, name: &str) -> VolumeState {
    let usage = store.0.usage().await;
    usage.volumes.into_iter().find(|volume| volume.id.as_str() == name).unwrap().state
}

/// The volume that the index is on, as a volume says.
pub(crate) fn home(disk: &SimDisk, asked: &str) -> &'static str {
    let superblock = superblock(disk, asked.as_ref()).unwrap().unwrap();
    let member = superblock.members.iter().find(|member| Some(member.number) == superblock.index);
    ["a", "b", "c", "d"].into_iter().find(|name| *name == member.unwrap().volume).unwrap()
}

/// Objects of all sizes.
pub(crate) async fn fill(store: &Store, seed: u64) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for (number, length) in (0..).zip([10, 4000, 300_000, 100_000, 3 << 20]) {
        let (name, data) = (format!("k{seed}-{number}"), content(seed + number, length));
        store.put("photos", &name, &data).await.unwrap();
        all.push((name, data));
    }
    all
}

pub(crate) async fn check(store: &Store, all: &[(String, Vec<u8>)]) {
    for (name, data) in all {
        assert!(store.get("photos", name).await.unwrap() == *data, "{name}");
    }
}

pub(crate) async fn open(disk: &SimDisk, volumes: &[&str]) -> Store {
    let store = Store::open_with(disk, volumes).await;
    store.create_bucket("photos").await.unwrap();
    store
}

#[tokio::test(start_paused = true)]
async fn a_volume_goes_and_comes_back_without_a_restart() {
    let disk = SimDisk::new(&["/a", "/b", "/c"]);
    let store = open(&disk, &["a", "b", "c"]).await;
    let mut all = fill(&store, 10).await;
    assert_eq!(home(&disk, "/b"), "a");
    disk.pull("/b");
    assert!(store.detach("b").await);
    assert!(!store.detach("b").await);
    assert_eq!(state(&store, "b").await, VolumeState::Missing);
    check(&store, &all).await;
    all.extend(fill(&store, 20).await);
    store.delete("photos", "k10-0").await.unwrap();
    all.remove(0);
    disk.plug("/b");
    assert!(!store.attach("b").await.unwrap().joined);
    assert_eq!(state(&store, "b").await, VolumeState::Attached);
    check(&store, &all).await;
    all.extend(fill(&store, 30).await);
    // Everything is there without any one of the volumes, also with a new index.
    let index = store.1.clone();
    drop(store);
    let mut disk = disk.cut(Cut::Lost);
    for volumes in [["a", "b"], ["b", "c"], ["c", "a"]] {
        let store = Store::reopen(&disk, index.clone(), &volumes).await;
        check(&store, &all).await;
        assert!(matches!(store.get("photos", "k10-0").await, Err(StoreError::NoSuchKey { .. })));
        drop(store);
        disk = disk.cut(Cut::Lost);
    }
}

#[tokio::test(start_paused = true)]
async fn the_volume_of_the_index_is_pulled_while_serving() {
    let disk = SimDisk::new(&["/a", "/b", "/c", "/d"]);
    let store = open(&disk, &["a", "b", "c", "d"]).await;
    let mut all = fill(&store, 10).await;
    for (gone, next) in [("a", "b"), ("b", "c")] {
        assert_eq!(home(&disk, "/d"), gone);
        disk.pull(&format!("/{gone}"));
        assert!(store.detach(gone).await);
        // Nobody is told: requests wait.
        check(&store, &all).await;
        assert_eq!(home(&disk, "/d"), next);
        assert_eq!(in_step(&store).await, if next == "b" { "c" } else { "d" });
        all.extend(fill(&store, 20).await);
    }
    // One that comes back has no say about the index.
    for back in ["a", "b"] {
        disk.plug(&format!("/{back}"));
        store.attach(back).await.unwrap();
        assert_eq!(home(&disk, &format!("/{back}")), "c");
    }
    check(&store, &all).await;
    let folders = std::fs::read_dir(store.1.path()).unwrap();
    let mut folders: Vec<_> = folders.map(|entry| entry.unwrap().file_name()).collect();
    folders.sort();
    assert_eq!(folders, ["2", "3"], "old indexes are left");
    let told = happened(&store);
    assert!(told.iter().all(|what| !matches!(what, Happening::IndexRebuilt { .. })), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn an_index_that_is_older_than_the_pool_is_not_used() {
    let disk = SimDisk::new(&["/a", "/b"]);
    let store = open(&disk, &["a", "b"]).await;
    let old = fill(&store, 10).await;
    store.detach("a").await;
    let index = store.1.clone();
    drop(store);
    let disk = disk.cut(Cut::Lost);
    // The index is on a, by a's own word; b knows better.
    assert_eq!((home(&disk, "/a"), home(&disk, "/b")), ("a", "a"));
    let store = Store::reopen(&disk, index.clone(), &["b"]).await;
    assert_eq!((home(&disk, "/a"), home(&disk, "/b")), ("a", "b"));
    drop(store);
    let disk = disk.cut(Cut::Lost);
    let store = Store::reopen(&disk, index, &["a", "b"]).await;
    assert_eq!((home(&disk, "/a"), home(&disk, "/b")), ("b", "b"));
    check(&store, &old).await;
}

#[tokio::test(start_paused = true)]
async fn an_index_that_is_damaged_is_made_again() {
    let disk = SimDisk::new(&["/a", "/b"]);
    let store = open(&disk, &["a", "b"]).await;
    let all = fill(&store, 10).await;
    store.0.close().await;
    let index = store.1.clone();
    drop(store);
    for folder in ["0/mark", "1/mark"] {
        let _ = std::fs::write(index.path().join(folder), b"nonsense");
    }
    let store = Store::reopen(&disk, index, &["a", "b"]).await;
    check(&store, &all).await;
    assert_eq!(home(&disk, "/b"), "a");
    let told = happened(&store);
    assert!(told.iter().any(|what| matches!(what, Happening::IndexRebuilt { .. })), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn the_index_moves_away_from_a_volume_that_takes_no_writes() {
    let disk = SimDisk::new(&["/a", "/b", "/c"]);
    let store = open(&disk, &["a", "b", "c"]).await;
    let all = fill(&store, 10).await;
    for _ in 0..6 {
        disk.set_fault(Some(Fault::SyncErrorAt(0)));
        // A copy on another volume takes its place.
        let _ = store.put("photos", "k", b"v").await;
        disk.set_fault(None);
        if matches!(state(&store, "a").await, VolumeState::Fenced { .. }) {
            break;
        }
        for name in ["b", "c"] {
            store.detach(name).await;
            store.attach(name).await.unwrap();
        }
    }
    while is_unavailable(&store.keys("photos").await) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_ne!(home(&disk, "/b"), "a");
    check(&store, &all).await;
    // It is still read from, and back in use when it is attached again.
    assert!(matches!(state(&store, "a").await, VolumeState::Fenced { .. }));
    assert!(store.attach("a").await.is_err());
    store.detach("a").await;
    store.attach("a").await.unwrap();
    assert_eq!(state(&store, "a").await, VolumeState::Attached);
    check(&store, &all).await;
}

#[tokio::test(start_paused = true)]
async fn of_a_pool_of_two_volumes_nothing_is_acknowledged_by_one() {
    let disk = SimDisk::new(&["/a", "/b"]);
    let store = open(&disk, &["a", "b"]).await;
    let all = fill(&store, 10).await;
    store.detach("b").await;
    for length in [10, 3 << 20] {
        match store.put("photos", "new", &content(1, length)).await {
            Err(StoreError::Unavailable { reason }) => assert_eq!(
                reason,
                "only 1 of the pool's 2 volumes takes writes, and what is written must be on 2; \
                 bring another one back or give the missing ones up"
            ),
            other => panic!("{other:?}"),
        }
    }
    assert!(is_unavailable(&store.delete("photos", "k10-0").await));
    check(&store, &all).await;
    store.0.forget(&VolumeId::new("b").unwrap()).await.unwrap();
    store.put("photos", "new", b"v").await.unwrap();
    assert_eq!(store.get("photos", "new").await.unwrap(), b"v");
    assert_eq!(store.0.usage().await.volumes.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_joins_takes_writes() {
    let disk = SimDisk::new(&["/a", "/b", "/c"]);
    let store = open(&disk, &["a"]).await;
    let all = fill(&store, 10).await;
    for name in ["b", "c"] {
        assert!(store.attach(name).await.unwrap().joined);
    }
    let new = fill(&store, 20).await;
    for name in ["b", "c"] {
        disk.pull(&format!("/{name}"));
        store.detach(name).await;
        check(&store, &all).await;
        check(&store, &new).await;
        disk.plug(&format!("/{name}"));
        store.attach(name).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn without_any_volume_the_store_waits_for_enough_of_them() {
    let disk = SimDisk::new(&["/a", "/b", "/c", "/d"]);
    let store = open(&disk, &["a", "b", "c"]).await;
    let all = fill(&store, 10).await;
    for name in ["c", "b", "a"] {
        store.detach(name).await;
    }
    assert!(reason(&store).await.starts_with("0 of the pool's 3 volumes are here"));
    // A blank volume is no reason to found another pool.
    let blank = attaching(&store, "d");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(superblock(&disk, "/d".as_ref()).unwrap().is_none());
    store.attach_all(&["b", "c"]).await;
    assert!(blank.await.unwrap().unwrap().joined);
    check(&store, &all).await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_is_detached_while_it_is_waited_for_is_let_go() {
    let disk = SimDisk::new(&["/a", "/b"]);
    drop(open(&disk, &["a", "b"]).await);
    let store = Store::open(&disk.cut(Cut::Lost));
    let waiting = attaching(&store, "a");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(store.detach("a").await);
    let ended = waiting.await.unwrap();
    assert!(matches!(ended, Err(agent_object_store::AttachError::Interrupted { .. })), "{ended:?}");
    store.attach_all(&["a", "b"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_flipped_bit_is_noticed_or_made_good() {
    let disk = SimDisk::new(&["/a"]);
    let store = open(&disk, &["a"]).await;
    let all = fill(&store, 10).await;
    for file in disk.files("/a/icn-pool/extents") {
        disk.flip_bit(&file, 5000);
    }
    let mut bad = 0;
    for (name, data) in &all {
        match store.get("photos", name).await {
            Ok(found) => assert!(found == *data, "{name}"),
            Err(_) => bad += 1,
        }
    }
    assert!(bad > 0, "one volume cannot make it good");
}

#[test]
fn writers_go_on_while_volumes_come_and_go() {
    let disk = SimDisk::new(&["/a", "/b", "/c", "/d"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let index = Arc::new(folder());
        let settings =
            agent_object_store::EngineConfig { io: Io::Threads, ..config(&disk, &index) };
        let store = Store(Engine::open(settings), index);
        store.attach_all(&["a", "b", "c", "d"]).await;
        store.create_bucket("photos").await.unwrap();
        let done = Arc::new(AtomicBool::new(false));
        let writer = |name: usize| {
            let (store, done) = (store.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut acked: Vec<(String, u64)> = Vec::new();
                for round in 0..2000_u64 {
                    let k = format!("w{name}-{}", round % 7);
                    if store.put("photos", &k, &round.to_le_bytes()).await.is_ok() {
                        acked.retain(|(other, _)| *other != k);
                        acked.push((k, round));
                    }
                    if done.load(Ordering::Relaxed) && round > 60 {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                acked
            })
        };
        let writers: Vec<_> = (0..4).map(writer).collect();
        // The volume of the index among them.
        for name in ["b", "c", "a", "d", "a", "b"] {
            tokio::time::sleep(Duration::from_millis(5)).await;
            store.detach(name).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
            store.attach(name).await.unwrap();
        }
        done.store(true, Ordering::Relaxed);
        for writer in writers {
            for (k, round) in writer.await.unwrap() {
                let seen = store.get("photos", &k).await.unwrap();
                let seen = u64::from_le_bytes(seen.try_into().unwrap());
                // A write that failed after it may have taken place all the same.
                assert!(
                    seen >= round && seen % 7 == round % 7,
                    "{k}: {seen}, acknowledged {round}"
                );
            }
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_leaves_all_or_nothing() {
    let disk = SimDisk::new(&["/a"]);
    let store = open(&disk, &["a"]).await;
    let data = content(1, 1 << 20);
    for polls in 0..30 {
        let pieces: Vec<_> = data.chunks(100_000).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
        let request = put_request("photos", "k", WriteConditions::default());
        let put = store.0.put(request, Body::new(Box::pin(futures::stream::iter(pieces))));
        let mut put = std::pin::pin!(put);
        for _ in 0..polls {
            if futures::poll!(put.as_mut()).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        match store.0.get(&GetRequest::new(bucket("photos"), key("k"))).await {
            Ok(reader) => assert!(reader.body.collect().await.unwrap() == data),
            Err(error) => assert!(matches!(error, StoreError::NoSuchKey { .. }), "{error}"),
        }
    }
}
