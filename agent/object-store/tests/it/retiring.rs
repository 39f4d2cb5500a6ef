//! Volumes that leave the pool for good: emptied first, or failed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_object_store::{
    AttachError, Engine, EngineConfig, Happening, ObjectStore as _, RetireError, StoreError,
    VolumeId, VolumeState,
};
use agent_object_store_pool::device::superblock;
use agent_object_store_pool::journal::JournalConfig;
use agent_object_store_pool::sim::{Cut, Fault, SimDisk};

use crate::driver::{Store, config, content, folder};
use crate::gathering::is_unavailable;
use crate::volumes::{check, fill, home, open, state};

fn id(name: &str) -> VolumeId {
    VolumeId::new(name).unwrap()
}

/// The volume's key as it stands in its superblock; empty when it is destroyed.
fn key_of(disk: &SimDisk, name: &str) -> String {
    superblock(disk, Path::new(&format!("/{name}"))).unwrap().unwrap().key
}

/// Waits until a volume is retired; whether it was in an hour.
async fn is_retired(store: &Store, name: &str) -> bool {
    for _ in 0..720 {
        let volumes = store.0.usage().await.volumes;
        let volume = volumes.into_iter().find(|volume| volume.id.as_str() == name);
        match volume.map(|volume| volume.state) {
            Some(VolumeState::Retired) | None => return true,
            Some(VolumeState::Fenced { .. }) => return false,
            _ => tokio::time::sleep(Duration::from_secs(5)).await,
        }
    }
    false
}

fn assert_destroyed(disk: &SimDisk, name: &str, key: &str) {
    assert_eq!(key_of(disk, name), "");
    for file in disk.files(&format!("/{name}")) {
        let bytes = disk.content(&file);
        let is_left = bytes.windows(key.len()).any(|some| some == key.as_bytes());
        assert!(!is_left, "{}", file.display());
    }
    assert_eq!(disk.files(&format!("/{name}/icn-pool/extents")), Vec::<std::path::PathBuf>::new());
}

pub(crate) fn happened(store: &Store) -> Vec<Happening> {
    store.0.events_since(0).into_iter().map(|event| event.what).collect()
}

#[tokio::test(start_paused = true)]
async fn a_retired_volume_is_emptied_and_its_key_destroyed_while_the_store_serves() {
    // Narrower groups are written where every volume is in every group.
    for volumes in [&["a", "b", "c"][..], &["a", "b", "c", "d"], &["a", "b", "c", "d", "e", "f"]] {
        let folders: Vec<String> = volumes.iter().map(|name| format!("/{name}")).collect();
        let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
        let disk = SimDisk::new(&folders);
        let store = open(&disk, volumes).await;
        let mut all = fill(&store, 10).await;
        // The index is on it.
        let leaving = home(&disk, "/b");
        assert_eq!(leaving, "a");
        let key = key_of(&disk, leaving);
        store.0.retire(&id(leaving)).await.unwrap();
        assert_eq!(state(&store, leaving).await, VolumeState::Retiring);
        while is_unavailable(&store.keys("photos").await) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_ne!(home(&disk, "/b"), leaving);
        all.extend(fill(&store, 20).await);
        assert!(is_retired(&store, leaving).await);
        assert_destroyed(&disk, leaving, &key);
        check(&store, &all).await;
        all.extend(fill(&store, 30).await);
        let told = happened(&store);
        for what in [Happening::Retiring, Happening::Retired] {
            assert!(told.contains(&what), "{told:?}");
        }
        drop(store);
        let disk = disk.cut(Cut::Lost);
        disk.pull(&format!("/{leaving}"));
        let store = Store::open_with(&disk, &volumes[1..]).await;
        check(&store, &all).await;
        disk.plug(&format!("/{leaving}"));
        let back = store.attach(leaving).await;
        assert!(matches!(back, Err(AttachError::Retired { .. })), "{back:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn shards_go_to_a_volume_that_has_none_of_their_group() {
    let disk = SimDisk::new(&["/a", "/b", "/c"]);
    let store = open(&disk, &["a", "b"]).await;
    let all = fill(&store, 10).await;
    store.attach("c").await.unwrap();
    store.0.retire(&id("b")).await.unwrap();
    assert!(is_retired(&store, "b").await);
    let made = happened(&store).into_iter();
    assert!(made.filter(|what| matches!(what, Happening::Repaired { .. })).count() > 0);
    check(&store, &all).await;
    store.detach("a").await;
    while is_unavailable(&store.keys("photos").await) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    check(&store, &all).await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_is_needed_is_not_retired() {
    let disk = SimDisk::new(&["/a", "/b", "/c", "/d"]);
    let store = open(&disk, &["a", "b"]).await;
    let all = fill(&store, 10).await;
    let refused = store.0.retire(&id("b")).await;
    assert!(matches!(refused, Err(RetireError::TooFew { others: 1, .. })), "{refused:?}");
    let refused = store.0.retire(&id("x")).await;
    assert!(matches!(refused, Err(RetireError::Unknown { .. })), "{refused:?}");
    for name in ["c", "d"] {
        store.attach(name).await.unwrap();
    }
    let all_new = fill(&store, 20).await;
    disk.fill(1 << 10);
    let refused = store.0.retire(&id("c")).await;
    assert!(matches!(refused, Err(RetireError::NoRoom { .. })), "{refused:?}");
    disk.set_capacity(None);
    store.detach("d").await;
    for (name, expected) in [("d", "missing"), ("c", "missing or failed")] {
        let refused = store.0.retire(&id(name)).await.unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
    store.attach("d").await.unwrap();
    store.0.retire(&id("c")).await.unwrap();
    let refused = store.0.retire(&id("c")).await;
    assert!(matches!(refused, Err(RetireError::Already { .. })), "{refused:?}");
    let refused = store.0.retire(&id("d")).await;
    assert!(matches!(refused, Err(RetireError::Another { .. })), "{refused:?}");
    let refused = store.0.cancel_retire(&id("d")).await;
    assert!(matches!(refused, Err(RetireError::NotRetiring { .. })), "{refused:?}");
    store.0.cancel_retire(&id("c")).await.unwrap();
    assert_eq!(state(&store, "c").await, VolumeState::Attached);
    store.0.retire(&id("c")).await.unwrap();
    assert!(is_retired(&store, "c").await);
    let refused = store.0.cancel_retire(&id("c")).await;
    assert!(matches!(refused, Err(RetireError::TooLate { .. })), "{refused:?}");
    check(&store, &all).await;
    check(&store, &all_new).await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_whose_retiring_was_given_up_stays_over_restarts() {
    let disk = SimDisk::new(&["/a", "/b", "/c"]);
    let store = open(&disk, &["a", "b", "c"]).await;
    let all = fill(&store, 10).await;
    store.0.retire(&id("b")).await.unwrap();
    drop(store);
    let disk = disk.cut(Cut::Lost);
    let store = Store::open_with(&disk, &["a", "b", "c"]).await;
    assert_eq!(state(&store, "b").await, VolumeState::Retiring);
    store.0.cancel_retire(&id("b")).await.unwrap();
    drop(store);
    let disk = disk.cut(Cut::Lost);
    // Also where the one that was told last is not here at first.
    let store = Store::open_with(&disk, &["c", "b"]).await;
    store.attach("a").await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(state(&store, "b").await, VolumeState::Attached);
    check(&store, &all).await;
}

/// Small, to be quick.
const JOURNAL: JournalConfig = JournalConfig {
    segment_bytes: 64 << 10,
    lanes: 1,
    frame_bytes_max: 16 << 10,
    record_bytes_max: 16 << 10,
    spare_segments: 0,
};

async fn open_small(disk: &SimDisk, volumes: &[&str]) -> Store {
    let index = Arc::new(folder());
    let settings = EngineConfig { journal: Some(JOURNAL), ..config(disk, &index) };
    let store = Store(Engine::open(settings), index);
    let attached = futures::future::join_all(volumes.iter().map(|name| store.attach(name))).await;
    for (name, attached) in volumes.iter().zip(attached) {
        match attached {
            Ok(_) => {}
            Err(AttachError::Retired { .. }) if *name == "b" => {}
            Err(error) => panic!("{name}: {error}"),
        }
    }
    store
}

/// Cuts the power at every call of retiring b.
async fn cut_while_retiring(founders: &[&str], joiners: &[&str]) {
    let all = [founders, joiners].concat();
    let folders: Vec<String> = all.iter().map(|name| format!("/{name}")).collect();
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    let disk = SimDisk::new(&folders);
    let store = open_small(&disk, founders).await;
    store.create_bucket("photos").await.unwrap();
    let data = content(1, 270_000);
    store.put("photos", "large", &data).await.unwrap();
    store.put("photos", "small", b"small").await.unwrap();
    for joiner in joiners {
        store.attach(joiner).await.unwrap();
    }
    store.put("photos", "later", b"later").await.unwrap();
    store.0.close().await;
    let key = key_of(&disk, "b");
    for at in 0.. {
        let disk = disk.fork_unlocked();
        let store = open_small(&disk, &all).await;
        disk.set_fault(Some(Fault::PowerAt(at)));
        let begun = store.0.retire(&id("b")).await.is_ok();
        let done = begun && is_retired(&store, "b").await;
        let is_written = store.put("photos", "k", b"v").await.is_ok();
        drop(store);
        let cut = match at % 3 {
            0 => Cut::Lost,
            1 => Cut::Mixed(at),
            _ => Cut::Kept,
        };
        let mut disk = disk.cut(cut);
        for round in 0..2 {
            let store = open_small(&disk, &all).await;
            assert!(store.get("photos", "large").await.unwrap() == data, "cut at {at}");
            assert_eq!(store.get("photos", "small").await.unwrap(), b"small", "cut at {at}");
            assert_eq!(store.get("photos", "later").await.unwrap(), b"later", "cut at {at}");
            if is_written {
                assert_eq!(store.get("photos", "k").await.unwrap(), b"v", "cut at {at}");
            }
            if round == 0 {
                // It goes on by itself, if it had begun.
                match store.0.retire(&id("b")).await {
                    Ok(()) => assert!(!done, "cut at {at}"),
                    Err(RetireError::Already { .. } | RetireError::Unknown { .. }) => {}
                    Err(error) => panic!("cut at {at}: {error}"),
                }
                assert!(is_retired(&store, "b").await, "cut at {at}");
                assert_destroyed(&disk, "b", &key);
            }
            drop(store);
            disk = disk.cut(cut);
        }
        if done {
            println!("{at} cuts");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_at_any_call_of_moving_shards_of_a_retired_volume_loses_nothing() {
    cut_while_retiring(&["a", "b"], &["c"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_cut_at_any_call_of_writing_groups_of_a_retired_volume_anew_loses_nothing() {
    cut_while_retiring(&["a", "b", "c", "d"], &[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_failed_is_not_trusted_before_the_machine_is_started_again() {
    let disk = SimDisk::new(&["/a", "/b", "/c"]);
    let store = open(&disk, &["a", "b", "c"]).await;
    let all = fill(&store, 10).await;
    let mut failed = None;
    for number in 0..20 {
        disk.set_fault(Some(Fault::SyncErrorAt(0)));
        let _ = store.put("photos", "k", b"v").await;
        disk.set_fault(None);
        tokio::time::sleep(Duration::from_millis(100)).await;
        for name in ["a", "b", "c"] {
            if matches!(state(&store, name).await, VolumeState::Fenced { .. }) {
                failed = Some(name);
            }
        }
        if failed.is_some() {
            break;
        }
        assert!(number < 19, "no sync failed");
    }
    let failed = failed.unwrap();
    let told = happened(&store);
    assert!(told.iter().any(|what| matches!(what, Happening::Fenced { .. })), "{told:?}");
    drop(store);
    // The process is killed, the machine runs on.
    let disk = disk.cut(Cut::Kept);
    let store = Store::open(&disk);
    let attached = futures::future::join_all(["a", "b", "c"].map(|name| store.attach(name))).await;
    for (name, attached) in ["a", "b", "c"].into_iter().zip(attached) {
        match attached {
            Err(AttachError::Fenced { .. }) if name == failed => {}
            Ok(_) if name != failed => {}
            other => panic!("{name}: {other:?}"),
        }
    }
    assert!(matches!(state(&store, failed).await, VolumeState::Fenced { .. }));
    check(&store, &all).await;
    store.put("photos", "meanwhile", b"v").await.unwrap();
    let other = disk.fork_unlocked();
    // The disk is plugged in again: nothing of it is in memory any more.
    assert!(!store.detach(failed).await, "it was not attached");
    store.attach(failed).await.unwrap();
    assert_eq!(state(&store, failed).await, VolumeState::Attached);
    check(&store, &all).await;
    drop(store);
    // Or the machine is started again.
    let disk = other.cut(Cut::Lost);
    let index = Arc::new(folder());
    let settings = EngineConfig { boot: "boot-2".to_owned(), ..config(&disk, &index) };
    let store = Store(Engine::open(settings), index);
    store.attach_all(&["a", "b", "c"]).await;
    assert_eq!(state(&store, failed).await, VolumeState::Attached);
    check(&store, &all).await;
    assert_eq!(store.get("photos", "meanwhile").await.unwrap(), b"v");
}

#[tokio::test(start_paused = true)]
async fn the_index_is_made_anew_on_demand_and_says_the_same() {
    let disk = SimDisk::new(&["/a", "/b", "/c"]);
    let store = open(&disk, &["a", "b", "c"]).await;
    let all = fill(&store, 10).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let listed = store.keys("photos").await.unwrap();
    for _ in 0..2 {
        // Whatever becomes of the index while it is in use.
        std::fs::remove_dir_all(store.1.path().join("0")).unwrap();
        store.0.rebuild_index().await.unwrap();
        assert_eq!(store.keys("photos").await.unwrap(), listed);
        check(&store, &all).await;
    }
    let told = happened(&store);
    let rebuilt = |what: &&Happening| matches!(what, Happening::IndexRebuilt { .. });
    assert_eq!(told.iter().filter(rebuilt).count(), 2, "{told:?}");
    store.0.close().await;
    let refused = store.0.retire(&id("a")).await;
    assert!(matches!(refused, Err(RetireError::Failed { .. })), "{refused:?}");
    let error = store.0.rebuild_index().await;
    assert!(matches!(error, Err(StoreError::Unavailable { .. })), "{error:?}");
}
