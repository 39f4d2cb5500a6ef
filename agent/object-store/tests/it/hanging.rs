//! Disks that hang, under a clock that is set forward by hand: it stands still while calls hang.

use std::sync::Arc;
use std::time::Duration;

use agent_object_store::{Engine, EngineConfig, ObjectStore as _, StoreError, VolumeState};
use agent_object_store_pool::io::Io;
use agent_object_store_pool::sim::SimDisk;
use tokio::task::JoinHandle;

use crate::driver::{Store, config, content, folder, volume};
use crate::gathering::attaching;

/// Lets hung calls go on when the test ends, however: the runtime waits for them.
struct Release(SimDisk);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.release();
    }
}

fn engine(disk: &SimDisk) -> Store {
    let index = Arc::new(folder());
    let settings = EngineConfig { io: Io::Threads, ..config(disk, &index) };
    Store(Engine::open(settings), index)
}

/// Lets time pass, when all calls that do not hang have ended.
async fn pass(seconds: u64) {
    for _ in 0..15 {
        std::thread::sleep(Duration::from_millis(10));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

/// Waits for work, for so many seconds of the test's clock at most.
async fn within<T>(seconds: u64, work: JoinHandle<T>) -> T {
    for _ in 0..seconds {
        pass(1).await;
        if work.is_finished() {
            return work.await.unwrap();
        }
    }
    panic!("not done within {seconds} s");
}

/// Waits for work that needs no time of the test's clock.
async fn at_once<T>(work: JoinHandle<T>) -> T {
    while !work.is_finished() {
        pass(0).await;
    }
    work.await.unwrap()
}

fn put(store: &Store, name: &str, data: &[u8]) -> JoinHandle<Result<(), StoreError>> {
    let (store, name, data) = (store.clone(), name.to_owned(), data.to_vec());
    tokio::spawn(async move { store.put("photos", &name, &data).await.map(drop) })
}

fn get(store: &Store, name: &str) -> JoinHandle<Result<Vec<u8>, StoreError>> {
    let (store, name) = (store.clone(), name.to_owned());
    tokio::spawn(async move { store.get("photos", &name).await })
}

/// Names and contents of objects, small and large.
fn objects(seed: u64) -> Vec<(String, Vec<u8>)> {
    let object = |(number, length)| (format!("k{seed}-{number}"), content(seed + number, length));
    (0..).zip([10, 4000, 100_000, 700_000, 70_000, 9, 3 << 20, 80]).map(object).collect()
}

async fn fenced(store: &Store, name: &str) -> Option<String> {
    let usage = store.0.usage().await;
    let found = usage.volumes.into_iter().find(|found| found.id == volume(name).id);
    match found.unwrap().state {
        VolumeState::Fenced { reason, .. } => Some(reason),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_is_read_around_and_then_fenced() {
    let disk = SimDisk::new(&["/a", "/b", "/c", "/d"]);
    let _release = Release(disk.clone());
    let store = engine(&disk);
    store.attach_all(&["a", "b", "c", "d"]).await;
    store.create_bucket("photos").await.unwrap();
    let mut all = objects(10);
    for (name, data) in &all {
        store.put("photos", name, data).await.unwrap();
    }
    disk.hang("/b");
    let reads: Vec<_> = all.iter().map(|(name, _)| get(&store, name)).collect();
    for (read, (name, data)) in reads.into_iter().zip(&all) {
        assert!(within(12, read).await.unwrap() == *data, "{name}");
    }
    assert_eq!(fenced(&store, "b").await, None);
    let new = objects(30);
    let puts: Vec<_> = new.iter().map(|(name, data)| put(&store, name, data)).collect();
    for (put, (name, _)) in puts.into_iter().zip(&new) {
        within(90, put).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
    }
    let reason = fenced(&store, "b").await.unwrap();
    assert!(reason.contains("no answer for 30 s when asked to"), "{reason}");
    for other in ["a", "c", "d"] {
        assert_eq!(fenced(&store, other).await, None);
    }
    // From now on nobody waits for it.
    all.extend(new);
    for (name, data) in &all {
        assert!(at_once(get(&store, name)).await.unwrap() == *data, "{name}");
    }
    for (name, data) in objects(50) {
        at_once(put(&store, &name, &data)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_blank_disk_that_hangs_is_refused_and_the_others_found_a_pool() {
    let disk = SimDisk::new(&["/a", "/b", "/c"]);
    let _release = Release(disk.clone());
    disk.hang("/b");
    let store = engine(&disk);
    let waiting = ["a", "b", "c"].map(|name| attaching(&store, name));
    let [a, b, c] = waiting;
    let refused = within(40, b).await.unwrap_err().to_string();
    assert!(refused.contains("cannot read"), "{refused}");
    within(10, a).await.unwrap();
    within(10, c).await.unwrap();
    at_once(put(&store, "k", b"v")).await.unwrap_err();
    let created = store.clone();
    let created = tokio::spawn(async move { created.create_bucket("photos").await });
    at_once(created).await.unwrap();
    at_once(put(&store, "k", b"v")).await.unwrap();
}
