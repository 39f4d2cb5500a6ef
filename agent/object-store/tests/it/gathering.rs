//! How the store opens: which volumes it waits for, and which it refuses.

use std::time::Duration;

use agent_object_store::{
    AttachError, AttachReport, Class, Engine, EngineConfig, ForgetError, ObjectStore as _, PoolId,
    StoreError, Volume, VolumeId, VolumeState,
};
use agent_object_store_pool::device::{FOLDER, superblock};
use agent_object_store_pool::sim::{Cut, SimDisk};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use crate::driver::{Store, config, content, folder, volume};

const SETTLE: Duration = Duration::from_secs(60);

pub(crate) fn is_unavailable<T: std::fmt::Debug>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(error @ StoreError::Unavailable { .. }) if error.retryable())
}

/// Why everything is unavailable.
pub(crate) async fn reason(store: &Store) -> String {
    match store.keys("photos").await {
        Err(StoreError::Unavailable { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

/// Attaches a volume in the background.
pub(crate) fn attaching(
    store: &Store,
    name: &'static str,
) -> JoinHandle<Result<AttachReport, AttachError>> {
    let store = store.clone();
    tokio::spawn(async move { store.attach(name).await })
}

/// A pool of these volumes with an object, whose power was cut.
async fn pool(names: &[&str]) -> SimDisk {
    let folders: Vec<String> = names.iter().map(|name| format!("/{name}")).collect();
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    let disk = SimDisk::new(&folders);
    let store = Store::open_with(&disk, names).await;
    store.create_bucket("photos").await.unwrap();
    store.put("photos", "k", b"v").await.unwrap();
    drop(store);
    disk.cut(Cut::Lost)
}

#[tokio::test(start_paused = true)]
async fn without_volumes_everything_is_unavailable() {
    let disk = SimDisk::new(&["/a"]);
    let store = Store::open(&disk);
    assert!(is_unavailable(&store.create_bucket("photos").await));
    assert!(is_unavailable(&store.put("photos", "k", b"v").await));
    assert!(is_unavailable(&store.get("photos", "k").await));
    assert_eq!(reason(&store).await, "no volume is attached");
    assert_eq!(store.0.usage().await.volumes, []);
    store.0.set_awaited("the node has no key yet");
    assert_eq!(reason(&store).await, "the node has no key yet");
    assert_eq!(store.0.awaited().unwrap(), "the node has no key yet");
}

#[tokio::test(start_paused = true)]
async fn volumes_of_several_classes_hold_large_objects_together() {
    let disk = SimDisk::new(&["/a", "/b", "/c", "/d"]);
    let store = Store::open(&disk);
    let classes = [Class::Ssd, Class::Nvme, Class::Hdd, Class::Ssd];
    let volumes = ["a", "b", "c", "d"].map(volume).into_iter().zip(classes);
    let volumes = volumes.map(|(volume, class)| Volume { class, ..volume }).collect();
    store.0.attach_all(volumes).await.unwrap();
    store.create_bucket("photos").await.unwrap();
    let body = content(1, 1_000_000);
    store.put("photos", "k", &body).await.unwrap();
    // Any two may go.
    assert!(store.detach("b").await);
    assert!(store.detach("c").await);
    let read = loop {
        match store.get("photos", "k").await {
            // The index may be made anew.
            Err(StoreError::Unavailable { .. }) => sleep(Duration::from_secs(1)).await,
            read => break read,
        }
    };
    assert_eq!(read.unwrap(), body);
}

#[tokio::test(start_paused = true)]
async fn volumes_that_are_handed_over_together_found_one_pool_without_a_wait() {
    let disk = SimDisk::new(&["/a", "/b", "/c"]);
    let index = folder();
    let config = EngineConfig { founding: Duration::ZERO, ..config(&disk, &index) };
    let store = Engine::open(config);
    let began = Instant::now();
    let volumes = ["a", "b", "c"].map(volume).to_vec();
    let reports = store.attach_all(volumes.clone()).await.unwrap();
    assert!(reports.iter().all(|report| report.joined));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(store.awaited(), None);
    let again = store.attach_all(volumes).await;
    assert!(matches!(again, Err(AttachError::AlreadyAttached { .. })), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pool_is_founded_on_all_blank_volumes_a_second_after_the_last() {
    let disk = SimDisk::new(&["/a", "/b", "/c"]);
    let store = Store::open(&disk);
    let begun = Instant::now();
    let first = attaching(&store, "a");
    sleep(Duration::from_millis(800)).await;
    let second = attaching(&store, "b");
    sleep(Duration::from_millis(800)).await;
    assert!(is_unavailable(&store.create_bucket("photos").await));
    assert!(first.await.unwrap().unwrap().joined);
    assert!(second.await.unwrap().unwrap().joined);
    assert_eq!(begun.elapsed(), Duration::from_millis(1800));
    // A later one joins at once.
    assert!(store.attach("c").await.unwrap().joined);
    assert_eq!(begun.elapsed(), Duration::from_millis(1800));
    let of = |name: &str| superblock(&disk, name.as_ref()).unwrap().unwrap();
    let (a, b, c) = (of("/a"), of("/b"), of("/c"));
    assert!(a.pool.starts_with("pool/") && a.pool.len() == "pool/".len() + 16, "{}", a.pool);
    assert_eq!((&a.pool, &a.pool), (&b.pool, &c.pool));
    assert_eq!([a.number.0, b.number.0, c.number.0], [0, 1, 2]);
    assert_eq!((&a.members, &a.members), (&b.members, &c.members));
    assert_eq!((a.index, b.index, c.index), (Some(a.number), a.index, a.index));
    assert_ne!(a.key, b.key);
}

#[tokio::test(start_paused = true)]
async fn with_all_members_the_store_opens_at_once() {
    let disk = pool(&["a", "b", "c"]).await;
    let begun = Instant::now();
    let store = Store::open_with(&disk, &["a", "b", "c"]).await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(store.get("photos", "k").await.unwrap(), b"v");
}

#[tokio::test(start_paused = true)]
async fn without_some_members_the_store_opens_when_enough_were_waited_for() {
    let disk = pool(&["a", "b", "c"]).await;
    let store = Store::open(&disk);
    let begun = Instant::now();
    let first = attaching(&store, "b");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(
        reason(&store).await,
        "1 of the pool's 3 volumes are here, 2 are needed; attach the others or give those up that \
         will not come back"
    );
    let second = attaching(&store, "c");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(reason(&store).await, "2 of the pool's 3 volumes are here; waiting for the others");
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert_eq!(begun.elapsed(), SETTLE);
    assert_eq!(store.get("photos", "k").await.unwrap(), b"v");
    let volumes = store.0.usage().await.volumes;
    let missing = volumes.iter().find(|volume| volume.state == VolumeState::Missing).unwrap();
    assert_eq!((missing.id.as_str(), &missing.path), ("a", &None));
    // The one that was missing comes late.
    assert!(!store.attach("a").await.unwrap().joined);
    assert_eq!(store.get("photos", "k").await.unwrap(), b"v");
}

#[tokio::test(start_paused = true)]
async fn with_too_few_members_the_store_stays_closed_until_the_others_are_given_up() {
    let disk = pool(&["a", "b", "c"]).await;
    let store = Store::open(&disk);
    let waiting = attaching(&store, "a");
    sleep(10 * SETTLE).await;
    assert!(!waiting.is_finished());
    assert!(is_unavailable(&store.get("photos", "k").await));
    let id = |name| VolumeId::new(name).unwrap();
    assert!(matches!(store.0.forget(&id("a")).await, Err(ForgetError::Attached { .. })));
    assert!(matches!(store.0.forget(&id("x")).await, Err(ForgetError::Unknown { .. })));
    store.0.forget(&id("b")).await.unwrap();
    waiting.await.unwrap().unwrap();
    store.keys("photos").await.unwrap();
    let refused = store.attach("b").await;
    assert!(matches!(refused, Err(AttachError::Forgotten { .. })), "{refused:?}");
    // Also by those that did not hear of it themselves.
    drop(store);
    let disk = disk.cut(Cut::Lost);
    let store = Store::open(&disk);
    let (b, c) = (attaching(&store, "b"), attaching(&store, "c"));
    sleep(Duration::from_secs(1)).await;
    let a = attaching(&store, "a");
    assert!(matches!(b.await.unwrap(), Err(AttachError::Forgotten { .. })));
    a.await.unwrap().unwrap();
    c.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn blank_volumes_wait_until_the_pool_is_open() {
    let disk = SimDisk::new(&["/a", "/b", "/x"]);
    drop(Store::open_with(&disk, &["a", "b"]).await);
    let disk = disk.cut(Cut::Lost);
    let store = Store::open(&disk);
    let blank = attaching(&store, "x");
    let member = attaching(&store, "a");
    sleep(Duration::from_secs(30)).await;
    assert!(superblock(&disk, "/x".as_ref()).unwrap().is_none());
    assert!(blank.await.unwrap().unwrap().joined);
    assert!(!member.await.unwrap().unwrap().joined);
    assert_eq!(superblock(&disk, "/x".as_ref()).unwrap().unwrap().number.0, 2);
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_is_not_ours_is_refused_and_left_as_it_is() {
    let disk = SimDisk::new(&["/a", "/b"]);
    let store = Store::open_with(&disk, &["a"]).await;
    assert!(matches!(store.attach("a").await, Err(AttachError::AlreadyAttached { .. })));
    let second = Store::open(&disk);
    assert!(matches!(second.attach("a").await, Err(AttachError::InUse { .. })));
    store.0.close().await;
    assert!(matches!(store.attach("a").await, Err(AttachError::Interrupted { .. })));
    let files = |disk: &SimDisk| -> Vec<_> {
        disk.files("/a").into_iter().map(|path| (disk.content(&path), path)).collect()
    };
    let before = files(&disk);
    let mut other = volume("b");
    other.path = "/a".into();
    let wrong = Store::open(&disk).0.attach(other).await;
    assert!(matches!(wrong, Err(AttachError::WrongVolume { .. })), "{wrong:?}");
    let mut settings = config(&disk, &store.1);
    settings.pool = PoolId::new("another").unwrap();
    let foreign = Engine::open(settings).attach(volume("a")).await;
    let Err(AttachError::ForeignPool { found, pool, .. }) = foreign else { panic!("{foreign:?}") };
    assert!(found.starts_with("pool/") && pool == "another");
    let mut settings = config(&disk, &store.1);
    settings.node_key = Zeroizing::new([2; 32]);
    let locked = Engine::open(settings).attach(volume("a")).await;
    assert!(matches!(locked, Err(AttachError::WrongKey { .. })), "{locked:?}");
    assert_eq!(files(&disk), before);
    // Refused, it can still be attached where it belongs.
    Store::reopen(&disk, store.1.clone(), &["a"]).await;
}

#[tokio::test(start_paused = true)]
async fn two_foundings_of_a_node_are_never_mixed() {
    let disk = SimDisk::new(&["/a", "/b"]);
    drop(Store::open_with(&disk, &["a"]).await);
    drop(Store::open_with(&disk, &["b"]).await);
    let disk = disk.cut(Cut::Lost);
    let store = Store::open_with(&disk, &["a"]).await;
    let refused = store.attach("b").await;
    let Err(AttachError::ForeignPool { found, pool, .. }) = refused else { panic!("{refused:?}") };
    assert!(found != pool && found.starts_with("pool/") && pool.starts_with("pool/"));
}

#[tokio::test(start_paused = true)]
async fn a_later_format_and_lost_superblocks_are_refused() {
    let disk = pool(&["a", "b"]).await;
    let path = |name: &str| std::path::Path::new("/a").join(FOLDER).join(name);
    // The format stands at byte 8, outside of the checksum.
    disk.flip_bit_of(&path("superblock-0"), 8, 0);
    let store = Store::open(&disk);
    let refused = store.attach("a").await;
    let Err(AttachError::NewerFormat { found: 3, known: 2, .. }) = refused else {
        panic!("{refused:?}")
    };
    disk.flip_bit_of(&path("superblock-0"), 8, 0);
    for name in ["superblock-0", "superblock-1"] {
        use agent_object_store_pool::backend::Backend as _;
        disk.remove_file(&path(name)).unwrap();
    }
    let refused = store.attach("a").await;
    assert!(matches!(refused, Err(AttachError::Damaged { .. })), "{refused:?}");
    // The other volume has everything.
    store.attach("b").await.unwrap();
    assert_eq!(store.get("photos", "k").await.unwrap(), b"v");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_closed_opens_again_and_has_everything() {
    let disk = SimDisk::new(&["/a", "/b"]);
    let store = Store::open_with(&disk, &["a", "b"]).await;
    store.create_bucket("photos").await.unwrap();
    let data = content(1, 900_000);
    store.put("photos", "k", &data).await.unwrap();
    store.0.close().await;
    assert_eq!(reason(&store).await, "the store is closed");
    let store = Store::reopen(&disk, store.1.clone(), &["a", "b"]).await;
    assert_eq!(store.get("photos", "k").await.unwrap(), data);
}
