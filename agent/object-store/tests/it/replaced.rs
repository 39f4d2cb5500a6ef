//! Disks that die and are replaced by blank ones, again and again.

use std::time::Duration;

use agent_object_store::Happening;
use agent_object_store_pool::sim::{Cut, SimDisk};
use tokio::time::{Instant, sleep};

use crate::driver::Store;
use crate::volumes::{check, fill, open};

/// Waits until nothing of a volume is needed.
async fn replaced(store: &Store, name: &str) {
    for _ in 0..7200 {
        let is_it = |volume: &Option<String>| volume.as_deref() == Some(name);
        let events = store.0.events_since(0);
        if events.iter().any(|e| e.what == Happening::Replaced && is_it(&e.volume)) {
            return;
        }
        sleep(Duration::from_secs(1)).await;
    }
    panic!("{name} is still waited for: {:?}", store.0.events_since(0));
}

#[tokio::test(start_paused = true)]
async fn more_disks_than_there_is_parity_are_replaced_in_the_life_of_a_pool() {
    let disk = SimDisk::new(&["/a", "/b", "/c", "/d", "/e", "/f"]);
    let store = open(&disk, &["a", "b", "c"]).await;
    let mut all = fill(&store, 10).await;
    for (round, (old, new)) in (2..).zip([("a", "d"), ("b", "e"), ("c", "f")]) {
        disk.pull(&format!("/{old}"));
        assert!(store.detach(old).await);
        store.attach(new).await.unwrap();
        all.extend(fill(&store, round * 10).await);
        replaced(&store, old).await;
        check(&store, &all).await;
    }
    drop(store);
    let disk = disk.cut(Cut::Lost);
    let began = Instant::now();
    let store = Store::open_with(&disk, &["d", "e", "f"]).await;
    assert!(began.elapsed() < Duration::from_secs(30), "nobody is waited for");
    check(&store, &all).await;
    // One that comes back after all serves again.
    disk.plug("/a");
    assert!(!store.attach("a").await.unwrap().joined);
    all.extend(fill(&store, 90).await);
    check(&store, &all).await;
    // And is waited for again.
    drop(store);
    let disk = disk.cut(Cut::Lost);
    disk.pull("/a");
    let began = Instant::now();
    let store = Store::open_with(&disk, &["d", "e", "f"]).await;
    assert!(began.elapsed() >= Duration::from_secs(60), "it may come");
    check(&store, &all).await;
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_is_needed_is_waited_for() {
    // Nothing can be made anew elsewhere: both copies are wanted.
    let disk = SimDisk::new(&["/a", "/b", "/c"]);
    let store = open(&disk, &["a", "b", "c"]).await;
    let all = fill(&store, 10).await;
    disk.pull("/c");
    assert!(store.detach("c").await);
    sleep(Duration::from_secs(7200)).await;
    assert!(store.0.events_since(0).iter().all(|event| event.what != Happening::Replaced));
    check(&store, &all).await;
}
