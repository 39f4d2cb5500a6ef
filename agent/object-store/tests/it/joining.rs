//! The power is cut at every call of founding a pool and of joining it: every volume is then blank or
//! a member, and what was acknowledged is there.

use agent_object_store_pool::sim::{Cut, Fault, SimDisk};

use std::sync::Arc;

use agent_object_store::Engine;
use agent_object_store_pool::journal::JournalConfig;

use crate::driver::{Store, config, content, folder};

const CUTS: [Cut; 3] = [Cut::Lost, Cut::Mixed(0), Cut::Kept];

/// Small, to be quick.
const JOURNAL: JournalConfig = JournalConfig {
    segment_bytes: 64 << 10,
    lanes: 1,
    frame_bytes_max: 16 << 10,
    record_bytes_max: 16 << 10,
    spare_segments: 0,
};

fn open(disk: &SimDisk) -> Store {
    let index = Arc::new(folder());
    let mut settings = config(disk, &index);
    settings.journal = Some(JOURNAL);
    Store(Engine::open(settings), index)
}

async fn open_with(disk: &SimDisk, volumes: &[&str]) -> Store {
    let store = open(disk);
    store.attach_all(volumes).await;
    store
}

fn cut_of(at: u64) -> Cut {
    match CUTS[usize::try_from(at % 3).unwrap()] {
        Cut::Mixed(_) => Cut::Mixed(at),
        cut => cut,
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_at_any_call_of_founding_leaves_a_pool_or_blank_volumes() {
    for at in 0.. {
        let disk = SimDisk::new(&["/a", "/b", "/c"]);
        disk.set_fault(Some(Fault::PowerAt(at)));
        let store = open(&disk);
        let done = try_to_attach(&store, &["a", "b", "c"]).await;
        drop(store);
        let disk = disk.cut(cut_of(at));
        let store = open_with(&disk, &["a", "b", "c"]).await;
        store.create_bucket("photos").await.unwrap();
        store.put("photos", "k", b"v").await.unwrap();
        assert_eq!(store.get("photos", "k").await.unwrap(), b"v", "cut at {at}");
        if done {
            println!("{at} cuts");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_at_any_call_of_a_join_loses_nothing() {
    let disk = SimDisk::new(&["/a", "/b", "/c"]);
    let store = open_with(&disk, &["a", "b"]).await;
    store.create_bucket("photos").await.unwrap();
    let data = content(1, 270_000);
    store.put("photos", "large", &data).await.unwrap();
    store.0.close().await;
    for at in 0.. {
        let disk = disk.fork_unlocked();
        let store = open_with(&disk, &["a", "b"]).await;
        disk.set_fault(Some(Fault::PowerAt(at)));
        let done = try_to_attach(&store, &["c"]).await;
        let is_written = store.put("photos", "k", b"v").await.is_ok();
        drop(store);
        let mut disk = disk.cut(cut_of(at));
        // With all, without the new one, and with it again.
        for volumes in [&["a", "b", "c"][..], &["a", "b"], &["c", "b"]] {
            let store = open_with(&disk, volumes).await;
            assert_eq!(store.get("photos", "large").await.unwrap(), data, "cut at {at}");
            if is_written {
                assert_eq!(store.get("photos", "k").await.unwrap(), b"v", "cut at {at}");
            }
            store.put("photos", "other", b"new").await.unwrap();
            drop(store);
            disk = disk.cut(cut_of(at));
        }
        if done {
            println!("{at} cuts");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_volume_whose_join_was_cut_off_gives_way_to_one_that_took_its_number() {
    for at in 0.. {
        let disk = SimDisk::new(&["/a", "/b", "/c", "/d"]);
        drop(open_with(&disk, &["a", "b"]).await);
        let disk = disk.cut(Cut::Lost);
        let store = open_with(&disk, &["a", "b"]).await;
        disk.set_fault(Some(Fault::PowerAt(at)));
        let done = try_to_attach(&store, &["c"]).await;
        drop(store);
        let disk = disk.cut(cut_of(at));
        let store = open(&disk);
        let all = futures::future::join_all(["a", "b"].map(|name| store.attach(name)));
        all.await.into_iter().for_each(|attached| drop(attached.unwrap()));
        store.attach("d").await.unwrap();
        store.attach("c").await.unwrap();
        store.create_bucket("photos").await.unwrap();
        store.put("photos", "k", b"v").await.unwrap();
        drop(store);
        let store = open_with(&disk.cut(Cut::Lost), &["d", "c", "b", "a"]).await;
        assert_eq!(store.get("photos", "k").await.unwrap(), b"v", "cut at {at}");
        if done {
            return;
        }
    }
}

/// Attaches volumes side by side; whether all came into use. One whose disk failed is not waited for.
async fn try_to_attach(store: &Store, volumes: &[&str]) -> bool {
    let attach = volumes.iter().map(|name| store.attach(name));
    let all = futures::future::join_all(attach);
    let wait = std::time::Duration::from_secs(200);
    let all = tokio::time::timeout(wait, all).await.unwrap_or_default();
    all.len() == volumes.len() && all.iter().all(Result::is_ok)
}
