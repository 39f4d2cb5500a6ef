//! The standby of the index: the store goes on with it when the index's volume goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent_object_store::{
    Engine, EngineConfig, Happening, PoolId, StandbyStatus, StoreError, Volume, VolumeId,
    VolumeState,
};
use agent_object_store_pool::device::superblock;
use agent_object_store_pool::io::Io;
use agent_object_store_pool::sim::{Cut, Fault, SimDisk};
use zeroize::Zeroizing;

use crate::driver::{Store, config, folder, volume};
use crate::gathering::is_unavailable;
use crate::retiring::happened;
use crate::volumes::{check, fill, home, open, state};

/// The volume that a volume says the standby is on.
fn named(disk: &SimDisk, asked: &str) -> Option<String> {
    let superblock = superblock(disk, asked.as_ref()).unwrap().unwrap();
    let member = |member: &&agent_object_store_pool::superblock::Member| {
        Some(member.number) == superblock.standby
    };
    superblock.members.iter().find(member).map(|member| member.volume.clone())
}

/// Waits until the index has a standby; where.
pub(crate) async fn in_step(store: &Store) -> String {
    for _ in 0..10_000 {
        let status = store.0.status().await;
        if status.standby == Some(StandbyStatus::InStep) {
            let volume = status.volumes.into_iter().find(|volume| volume.has_standby);
            return volume.unwrap().id.to_string();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the index gets no standby: {:?}", store.0.status().await.standby);
}

/// Waits until the standby is on this volume.
async fn in_step_on(store: &Store, volume: &str) {
    for _ in 0..10_000 {
        if in_step(store).await == volume {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the standby is on {}", in_step(store).await);
}

fn count(told: &[Happening], wanted: fn(&Happening) -> bool) -> usize {
    told.iter().filter(|what| wanted(what)).count()
}

fn taken_over(store: &Store) -> usize {
    count(&happened(store), |what| matches!(what, Happening::IndexTakenOver { .. }))
}

fn rebuilt(store: &Store) -> usize {
    count(&happened(store), |what| matches!(what, Happening::IndexRebuilt { .. }))
}

#[tokio::test(start_paused = true)]
async fn the_standby_takes_over_and_another_one_is_made() {
    let disk = SimDisk::new(&["/a", "/b", "/c", "/d"]);
    let store = open(&disk, &["a", "b", "c", "d"]).await;
    let mut all = fill(&store, 10).await;
    assert_eq!(in_step(&store).await, "b");
    assert_eq!(named(&disk, "/d").as_deref(), Some("b"));
    // What it does not have at its last checkpoint is in the journals.
    all.extend(fill(&store, 20).await);
    disk.pull("/a");
    store.detach("a").await;
    check(&store, &all).await;
    assert_eq!((taken_over(&store), rebuilt(&store)), (1, 0));
    assert_eq!(home(&disk, "/d"), "b");
    assert_eq!(in_step(&store).await, "c");
    all.extend(fill(&store, 30).await);
    let index = store.1.clone();
    drop(store);
    // Killed, and the index's volume does not come back.
    let disk = disk.cut(Cut::Lost);
    let store = Store::open(&disk);
    drop(store);
    disk.plug("/a");
    disk.pull("/b");
    let store = Store::reopen(&disk, index, &["a", "c", "d"]).await;
    check(&store, &all).await;
    assert_eq!((taken_over(&store), rebuilt(&store)), (1, 0));
    assert_eq!(home(&disk, "/a"), "c");
}

#[tokio::test(start_paused = true)]
async fn without_index_and_standby_the_index_is_made_anew() {
    let disk = SimDisk::new(&["/a", "/b", "/c", "/d", "/e"]);
    let store = open(&disk, &["a", "b", "c", "d", "e"]).await;
    let all = fill(&store, 10).await;
    assert_eq!(in_step(&store).await, "b");
    for gone in ["a", "b"] {
        disk.pull(&format!("/{gone}"));
    }
    store.detach("a").await;
    store.detach("b").await;
    check(&store, &all).await;
    assert_eq!((taken_over(&store), rebuilt(&store)), (0, 1));
    assert_eq!(home(&disk, "/e"), "c");
}

#[tokio::test(start_paused = true)]
async fn of_an_orderly_end_both_are_alike_and_stay_in_step() {
    let disk = SimDisk::new(&["/a", "/b", "/c"]);
    let store = open(&disk, &["a", "b", "c"]).await;
    let all = fill(&store, 10).await;
    in_step(&store).await;
    store.0.close().await;
    let index = store.1.clone();
    drop(store);
    let disk = disk.cut(Cut::Lost);
    let store = Store::reopen(&disk, index.clone(), &["a", "b", "c"]).await;
    // It was there from the start, not filled again.
    assert_eq!(store.0.status().await.standby, Some(StandbyStatus::InStep));
    assert_eq!(named(&disk, "/c").as_deref(), Some("b"));
    let new = fill(&store, 20).await;
    disk.pull("/a");
    store.detach("a").await;
    check(&store, &all).await;
    check(&store, &new).await;
    assert_eq!((taken_over(&store), rebuilt(&store)), (1, 0));
    drop(store);
    // A kill leaves the two unlike: it is filled again.
    let disk = disk.cut(Cut::Lost);
    let store = Store::reopen(&disk, index, &["b", "c"]).await;
    in_step(&store).await;
    check(&store, &new).await;
}

#[tokio::test(start_paused = true)]
async fn a_standby_whose_volume_is_missing_is_not_trusted_later() {
    let disk = SimDisk::new(&["/a", "/b", "/c", "/d"]);
    let store = open(&disk, &["a", "b", "c", "d"]).await;
    let mut all = fill(&store, 10).await;
    assert_eq!(in_step(&store).await, "b");
    let index = store.1.clone();
    drop(store);
    let disk = disk.cut(Cut::Lost);
    disk.pull("/b");
    let store = Store::reopen(&disk, index.clone(), &["a", "c", "d"]).await;
    assert_eq!(in_step(&store).await, "c");
    all.extend(fill(&store, 20).await);
    store.delete("photos", "k10-0").await.unwrap();
    all.remove(0);
    // All that the standby on b lacks is packed, and gone from the journals.
    store.0.rebuild_index().await.unwrap();
    tokio::time::sleep(Duration::from_secs(120)).await;
    drop(store);
    let disk = disk.cut(Cut::Lost);
    disk.plug("/b");
    disk.pull("/a");
    std::fs::remove_dir_all(index.path().join("2")).unwrap();
    // Only b believes in what it has.
    assert_eq!(named(&disk, "/b").as_deref(), Some("b"));
    assert!(index.path().join("1/mark").is_file());
    let store = Store::reopen(&disk, index, &["b", "c", "d"]).await;
    check(&store, &all).await;
    assert!(matches!(store.get("photos", "k10-0").await, Err(StoreError::NoSuchKey { .. })));
    assert_eq!((taken_over(&store), rebuilt(&store)), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn the_standby_moves_when_its_volume_goes_or_is_to_leave() {
    let disk = SimDisk::new(&["/a", "/b", "/c", "/d"]);
    let store = open(&disk, &["a", "b", "c", "d"]).await;
    let all = fill(&store, 10).await;
    assert_eq!(in_step(&store).await, "b");
    disk.pull("/b");
    store.detach("b").await;
    in_step_on(&store, "c").await;
    assert_eq!(named(&disk, "/d").as_deref(), Some("c"));
    disk.plug("/b");
    store.attach("b").await.unwrap();
    assert_eq!(in_step(&store).await, "c");
    store.0.retire(&VolumeId::new("c").unwrap()).await.unwrap();
    for _ in 0..1000 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if state(&store, "c").await == VolumeState::Retired {
            break;
        }
    }
    assert_eq!(state(&store, "c").await, VolumeState::Retired);
    in_step_on(&store, "b").await;
    // The index goes to the standby when its own volume is to leave.
    store.0.retire(&VolumeId::new("a").unwrap()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    check(&store, &all).await;
    assert_eq!(home(&disk, "/d"), "b");
    assert_eq!((taken_over(&store), rebuilt(&store)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_pool_of_one_volume_has_no_standby_and_one_of_two_has_one() {
    let disk = SimDisk::new(&["/a", "/b"]);
    let store = open(&disk, &["a"]).await;
    let all = fill(&store, 10).await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(store.0.status().await.standby, Some(StandbyStatus::None));
    store.attach("b").await.unwrap();
    assert_eq!(in_step(&store).await, "b");
    // What one volume alone held got its second copy meanwhile.
    tokio::time::sleep(Duration::from_secs(60)).await;
    disk.pull("/a");
    store.detach("a").await;
    check(&store, &all).await;
    assert_eq!((taken_over(&store), rebuilt(&store)), (1, 0));
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(store.0.status().await.standby, Some(StandbyStatus::None));
}

#[tokio::test(start_paused = true)]
async fn an_index_that_is_damaged_gives_way_to_its_standby() {
    let disk = SimDisk::new(&["/a", "/b"]);
    let store = open(&disk, &["a", "b"]).await;
    let all = fill(&store, 10).await;
    in_step(&store).await;
    store.0.close().await;
    let index = store.1.clone();
    drop(store);
    std::fs::write(index.path().join("0/mark"), b"nonsense").unwrap();
    let store = Store::reopen(&disk, index, &["a", "b"]).await;
    check(&store, &all).await;
    assert_eq!(home(&disk, "/b"), "b");
    assert_eq!((taken_over(&store), rebuilt(&store)), (1, 0));
    assert_eq!(in_step(&store).await, "a");
}

#[tokio::test(start_paused = true)]
async fn on_demand_the_index_is_made_from_the_volumes_alone() {
    let disk = SimDisk::new(&["/a", "/b", "/c"]);
    let store = open(&disk, &["a", "b", "c"]).await;
    let all = fill(&store, 10).await;
    in_step(&store).await;
    store.0.rebuild_index().await.unwrap();
    check(&store, &all).await;
    assert_eq!((taken_over(&store), rebuilt(&store)), (0, 1));
    in_step(&store).await;
}

#[test]
fn nothing_that_was_acknowledged_is_lost_when_the_standby_takes_over() {
    let disk = SimDisk::new(&["/a", "/b", "/c", "/d"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let index = Arc::new(folder());
        let settings = EngineConfig { io: Io::Threads, ..config(&disk, &index) };
        let store = Store(Engine::open(settings), index);
        store.attach_all(&["a", "b", "c", "d"]).await;
        store.create_bucket("photos").await.unwrap();
        let done = Arc::new(AtomicBool::new(false));
        let writer = |name: usize| {
            let (store, done) = (store.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut acknowledged: Vec<String> = Vec::new();
                let mut number = 0_u64;
                while !done.load(Ordering::Relaxed) {
                    let key = format!("w{name}-{number}");
                    let put = store.put("photos", &key, key.as_bytes()).await;
                    match put {
                        Ok(_) => acknowledged.push(key),
                        Err(_) => assert!(is_unavailable(&put.map(drop))),
                    }
                    number += 1;
                }
                acknowledged
            })
        };
        let writers: Vec<_> = (0..4).map(writer).collect();
        let mut taken = 0;
        for _ in 0..4 {
            let next = in_step(&store).await;
            let gone = home(&disk, &format!("/{next}"));
            disk.pull(&format!("/{gone}"));
            store.detach(gone).await;
            let until = tokio::time::Instant::now() + Duration::from_secs(60);
            while taken_over(&store) == taken && tokio::time::Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            taken += 1;
            assert_eq!((taken_over(&store), rebuilt(&store)), (taken, 0));
            assert_eq!(home(&disk, &format!("/{next}")), next);
            disk.plug(&format!("/{gone}"));
            store.attach(gone).await.unwrap();
        }
        done.store(true, Ordering::Relaxed);
        for writer in writers {
            for key in writer.await.unwrap() {
                let found = store.get("photos", &key).await.unwrap();
                assert!(found == key.as_bytes(), "{key}");
            }
        }
        assert_eq!(rebuilt(&store), 0);
    });
}

/// What a store does whose standby comes, changes and takes over: names of objects that were acknowledged.
/// Ends where something fails.
async fn live(store: &Store, acknowledged: &mut Vec<&'static str>) -> Option<()> {
    let pause = || tokio::time::sleep(Duration::from_secs(12));
    pause().await;
    let mut put = async |name| {
        store.put("photos", name, name.as_bytes()).await.ok()?;
        acknowledged.push(name);
        Some(())
    };
    put("in step").await?;
    // When a volume goes, the journals are packed, and segments freed.
    for (volume, names) in [("c", ["1", "2"]), ("b", ["3", "4"]), ("a", ["5", "6"])] {
        store.detach(volume).await;
        put(names[0]).await?;
        pause().await;
        put(names[1]).await?;
        store.attach(volume).await.ok()?;
        pause().await;
    }
    put("last").await?;
    pause().await;
    Some(())
}

#[tokio::test(start_paused = true)]
async fn a_cut_at_any_call_leaves_an_index_or_a_standby_that_has_everything() {
    const VOLUMES: [&str; 4] = ["a", "b", "c", "d"];
    // A prime, so that cuts fall between different calls of what is done again and again.
    const STRIDE: usize = 17;
    let (mut taken, mut done) = (0, false);
    for at in (0_u64..).step_by(STRIDE) {
        let disk = SimDisk::new(&["/a", "/b", "/c", "/d"]);
        let store = open(&disk, &VOLUMES).await;
        disk.set_fault(Some(Fault::PowerAt(at)));
        let mut acknowledged = Vec::new();
        let life = live(&store, &mut acknowledged);
        done |=
            tokio::time::timeout(Duration::from_secs(2000), life).await.is_ok_and(|l| l.is_some());
        let index = store.1.clone();
        drop(store);
        let disk = disk.cut(if at % 2 == 0 { Cut::Lost } else { Cut::Mixed(at) });
        for missing in VOLUMES {
            let what = format!("cut at {at}, without {missing}");
            let disk = disk.fork_unlocked();
            let copy = Arc::new(folder());
            copy_folder(index.path(), copy.path());
            let others: Vec<&str> = VOLUMES.into_iter().filter(|name| *name != missing).collect();
            let store = Store::reopen(&disk, copy, &others).await;
            for name in &acknowledged {
                let found = store.get("photos", name).await;
                assert_eq!(found.as_deref().ok(), Some(name.as_bytes()), "{what}: {name}");
            }
            taken += taken_over(&store);
            store.attach(missing).await.unwrap();
            store.put("photos", "new", b"v").await.unwrap();
            for name in &acknowledged {
                let found = store.get("photos", name).await;
                assert_eq!(
                    found.as_deref().ok(),
                    Some(name.as_bytes()),
                    "{what}, then with it: {name}"
                );
            }
        }
        if done {
            break;
        }
    }
    assert!(taken > 10, "{taken} standbys took over");
    println!("{taken} standbys took over");
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// Puts objects of 200 bytes on four folders of one disk, then takes the index's volume away: how many a second,
/// and how long the first GET and PUT took then.
async fn measured(objects: u64, has_standby: bool) -> (f64, Duration, Duration) {
    let (volumes, index) = (tempfile::tempdir().unwrap(), Arc::new(tempfile::tempdir().unwrap()));
    let pool = PoolId::new("pool").unwrap();
    let settings = EngineConfig {
        index_folder: Some(index.path().to_owned()),
        ..EngineConfig::new(pool, Zeroizing::new([1; 32]))
    };
    let store = Store(Engine::open(settings), index);
    let names = ["a", "b", "c", "d"];
    if !has_standby {
        // Where there is a file no folder can be made.
        (1..4).for_each(|n| std::fs::write(store.1.path().join(n.to_string()), b"").unwrap());
    }
    let all = names.map(|name| {
        let path = volumes.path().join(name);
        std::fs::create_dir(&path).unwrap();
        Volume { path, ..volume(name) }
    });
    store.0.attach_all(all.to_vec()).await.unwrap();
    store.create_bucket("photos").await.unwrap();
    if has_standby {
        in_step_on(&store, "b").await;
    }
    let began = std::time::Instant::now();
    let writers = (0..64).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in (writer..objects).step_by(64) {
                store.put("photos", &number.to_string(), &[7; 200]).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let rate = objects as f64 / began.elapsed().as_secs_f64();
    if !has_standby {
        (1..4).for_each(|n| std::fs::remove_file(store.1.path().join(n.to_string())).unwrap());
    }
    let began = std::time::Instant::now();
    store.detach("a").await;
    while store.get("photos", "7").await.is_err() {}
    let get = began.elapsed();
    while store.put("photos", "new", b"v").await.is_err() {}
    (rate, get, began.elapsed())
}

/// `ICN_OBJECTS=200000 cargo test --release -p agent-object-store --test it what_a_standby -- --ignored --nocapture`
#[test]
#[ignore = "measures: ICN_OBJECTS objects, 100,000 unless told"]
fn what_a_standby_costs_and_gives() {
    let objects = std::env::var("ICN_OBJECTS").map_or(100_000, |count| count.parse().unwrap());
    for round in 0..2 {
        for has_standby in [true, false] {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let (rate, get, put) = runtime.block_on(measured(objects, has_standby));
            println!(
                "round {round}, standby {has_standby}: {rate:.0} PUT/s; then GET after {get:.1?}, \
                 PUT after {put:.1?}"
            );
        }
    }
}
