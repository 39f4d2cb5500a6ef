//! Volumes that come, go, fail and disagree.

use std::path::Path;
use std::time::Duration;

use agent_object_store::{
    AttachError, Body, FileStore, ForgetError, GetRequest, ObjectStore as _, PoolId, StoreError,
    VolumeId, VolumeState, WriteConditions,
};
use bytes::Bytes;

use crate::driver::{Store, bucket, config, content, key, put_request, volume};
use crate::sim::{Cut, Fault, SimDisk};

fn is_unavailable<T: std::fmt::Debug>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(error @ StoreError::Unavailable { .. }) if error.retryable())
}

#[tokio::test]
async fn without_volumes_everything_is_unavailable() {
    let disk = SimDisk::new(&["/a"]);
    let store = Store::open(&disk);
    assert!(is_unavailable(&store.create_bucket("photos").await));
    assert!(is_unavailable(&store.put("photos", "k", b"v").await));
    assert!(is_unavailable(&store.get("photos", "k").await));
    assert!(is_unavailable(&store.keys("photos").await));
    assert_eq!(store.0.usage().await.volumes, []);
}

/// Twenty objects spread over two volumes; returns a key on each.
async fn spread(store: &Store) -> (String, String) {
    store.create_bucket("photos").await.unwrap();
    let (mut on_a, mut on_b) = (None, None);
    for n in 0..20 {
        let k = format!("k{n}");
        let before = objects_on(store, "a").await;
        store.put("photos", &k, k.as_bytes()).await.unwrap();
        let slot = if objects_on(store, "a").await > before { &mut on_a } else { &mut on_b };
        slot.get_or_insert(k);
    }
    (on_a.unwrap(), on_b.unwrap())
}

async fn objects_on(store: &Store, name: &str) -> u64 {
    let usage = store.0.usage().await;
    usage.volumes.iter().find(|v| v.id.as_str() == name).map_or(0, |v| v.objects)
}

#[tokio::test]
async fn objects_of_a_missing_volume_are_unavailable_and_come_back() {
    let disk = SimDisk::new(&["/a", "/b"]);
    let store = Store::open_with(&disk, &["a", "b"]).await;
    let (on_a, on_b) = spread(&store).await;
    assert!(store.detach("b").await);
    assert!(!store.detach("b").await);
    assert_eq!(store.get("photos", &on_a).await.unwrap(), on_a.as_bytes());
    assert!(is_unavailable(&store.get("photos", &on_b).await));
    // Its keys are known, so the listing is whole, and a key that never was is just absent.
    assert_eq!(store.keys("photos").await.unwrap().len(), 20);
    assert!(matches!(store.get("photos", "never").await, Err(StoreError::NoSuchKey { .. })));
    store.attach("b").await.unwrap();
    assert_eq!(store.get("photos", &on_b).await.unwrap(), on_b.as_bytes());
}

#[tokio::test]
async fn a_restart_without_a_volume_does_not_call_its_objects_absent() {
    let disk = SimDisk::new(&["/a", "/b"]);
    let store = Store::open_with(&disk, &["a", "b"]).await;
    let (on_a, on_b) = spread(&store).await;
    store.create_bucket("empty").await.unwrap();
    drop(store);
    let disk = disk.cut(Cut::Lost);
    let mut settings = config(&disk);
    settings.settle = Duration::from_secs(3600);
    let store = Store(FileStore::open(settings));
    store.attach("a").await.unwrap();
    assert_eq!(store.get("photos", &on_a).await.unwrap(), on_a.as_bytes());
    assert!(is_unavailable(&store.get("photos", &on_b).await));
    assert!(is_unavailable(&store.get("photos", "never").await));
    assert!(is_unavailable(&store.keys("photos").await));
    assert!(is_unavailable(&store.delete_bucket("empty").await));
    let missing = store.0.usage().await.volumes;
    let missing = missing.iter().find(|v| v.id.as_str() == "b").unwrap();
    assert_eq!(missing.state, VolumeState::Missing);
    store.attach("b").await.unwrap();
    assert_eq!(store.keys("photos").await.unwrap().len(), 20);
}

#[tokio::test]
async fn deletes_and_overwrites_hold_when_an_old_volume_comes_back() {
    let disk = SimDisk::new(&["/a", "/b"]);
    let store = Store::open_with(&disk, &["a", "b"]).await;
    let (_, on_b) = spread(&store).await;
    store.put("photos", &on_b, b"first").await.unwrap();
    let second = "other-on-b";
    drop(store);
    // While b is away and its keys are not even known.
    let disk = disk.cut(Cut::Lost);
    let store = Store::open_with(&disk, &["a"]).await;
    store.delete("photos", &on_b).await.unwrap();
    store.put("photos", second, b"new").await.unwrap();
    drop(store);
    let disk = disk.cut(Cut::Lost);
    let store = Store::open_with(&disk, &["b", "a"]).await;
    let gone = store.get("photos", &on_b).await;
    assert!(matches!(gone, Err(StoreError::NoSuchKey { .. })), "{gone:?}");
    assert_eq!(store.get("photos", second).await.unwrap(), b"new");
    drop(store);
    // Nothing depends on the tombstone any more.
    let disk = disk.cut(Cut::Kept);
    assert!(disk.files("/a/icn-store/tombstones").is_empty());
    let store = Store::open_with(&disk, &["b"]).await;
    assert!(!store.keys("photos").await.unwrap().contains(&on_b));
}

#[tokio::test]
async fn buckets_survive_the_loss_of_any_volume() {
    let disk = SimDisk::new(&["/a", "/b"]);
    let store = Store::open_with(&disk, &["a", "b"]).await;
    store.create_bucket("both").await.unwrap();
    store.detach("b").await;
    store.create_bucket("late").await.unwrap();
    store.attach("b").await.unwrap();
    drop(store);
    let disk = disk.cut(Cut::Lost);
    let store = Store::open_with(&disk, &["b"]).await;
    for name in ["both", "late"] {
        store.0.bucket(&bucket(name)).await.unwrap();
    }
}

#[tokio::test]
async fn a_volume_that_is_given_up_takes_its_objects_along_and_is_refused_later() {
    let disk = SimDisk::new(&["/a", "/b"]);
    let store = Store::open_with(&disk, &["a", "b"]).await;
    let (on_a, on_b) = spread(&store).await;
    let lost = objects_on(&store, "b").await;
    let b = VolumeId::new("b").unwrap();
    assert!(matches!(store.0.forget(&b).await, Err(ForgetError::Attached { .. })));
    store.detach("b").await;
    assert_eq!(store.0.forget(&b).await.unwrap(), lost);
    assert!(matches!(store.get("photos", &on_b).await, Err(StoreError::NoSuchKey { .. })));
    assert_eq!(store.get("photos", &on_a).await.unwrap(), on_a.as_bytes());
    assert!(matches!(store.attach("b").await, Err(AttachError::Forgotten { .. })));
    drop(store);
    let disk = disk.cut(Cut::Lost);
    let store = Store::open_with(&disk, &["a"]).await;
    assert!(matches!(store.get("photos", &on_b).await, Err(StoreError::NoSuchKey { .. })));
    assert!(matches!(store.attach("b").await, Err(AttachError::Forgotten { .. })));
}

#[tokio::test]
async fn a_volume_that_is_not_ours_is_refused_and_left_as_it_is() {
    let disk = SimDisk::new(&["/a", "/b"]);
    let store = Store::open_with(&disk, &["a"]).await;
    assert!(matches!(store.attach("a").await, Err(AttachError::AlreadyAttached { .. })));
    let second = Store::open(&disk);
    assert!(matches!(second.attach("a").await, Err(AttachError::InUse { .. })));
    store.detach("a").await;
    let files = disk.files("/a");
    let mut other = volume("b");
    other.path = "/a".into();
    let wrong = store.0.attach(other).await;
    assert!(matches!(wrong, Err(AttachError::WrongVolume { .. })), "{wrong:?}");
    let mut settings = config(&disk);
    settings.pool = PoolId::new("another").unwrap();
    let foreign = FileStore::open(settings).attach(volume("a")).await;
    assert!(matches!(foreign, Err(AttachError::ForeignPool { .. })), "{foreign:?}");
    assert_eq!(disk.files("/a"), files);
    // Refused, it can still be attached where it belongs.
    store.attach("a").await.unwrap();
}

#[tokio::test]
async fn a_lost_catalogue_is_not_taken_for_a_blank_volume() {
    let disk = SimDisk::new(&["/a"]);
    let store = Store::open_with(&disk, &["a"]).await;
    store.create_bucket("photos").await.unwrap();
    store.put("photos", "k", b"v").await.unwrap();
    store.detach("a").await;
    use agent_object_store::Backend as _;
    disk.remove_file(Path::new("/a/icn-store/catalog")).unwrap();
    let refused = store.attach("a").await;
    assert!(matches!(refused, Err(AttachError::Damaged { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_flipped_bit_is_noticed_before_the_body_ends() {
    let disk = SimDisk::new(&["/a"]);
    let store = Store::open_with(&disk, &["a"]).await;
    store.create_bucket("photos").await.unwrap();
    store.put("photos", "small", &content(1, 5000)).await.unwrap();
    store.put("photos", "large", &content(2, 900_000)).await.unwrap();
    store.put_in_parts("photos", "parts", &[&content(3, 400_000), b"x"]).await.unwrap();
    for file in disk.files("/a/icn-store/objects") {
        disk.flip_bit(&file, 100);
    }
    for file in disk.files("/a/icn-store/multi") {
        disk.flip_bit(&file, 0);
    }
    let request = |k: &str| GetRequest::new(bucket("photos"), key(k));
    assert!(matches!(store.0.get(&request("small")).await, Err(StoreError::Damaged { .. })));
    assert!(store.get("photos", "large").await.is_err());
    assert!(store.get("photos", "parts").await.is_err());
}

#[tokio::test]
async fn an_object_whose_record_is_damaged_is_not_called_absent() {
    let disk = SimDisk::new(&["/a"]);
    let store = Store::open_with(&disk, &["a"]).await;
    store.create_bucket("photos").await.unwrap();
    for k in ["k", "l"] {
        store.put("photos", k, b"v").await.unwrap();
    }
    for file in disk.files("/a/icn-store/objects") {
        disk.flip_bit(&file, 5);
    }
    store.detach("a").await;
    let report = store.attach("a").await.unwrap();
    assert_eq!((report.objects, report.damaged.len()), (0, 2), "{:?}", report.damaged);
    assert!(matches!(store.get("photos", "k").await, Err(StoreError::Damaged { .. })));
    assert!(matches!(store.get("photos", "other").await, Err(StoreError::NoSuchKey { .. })));
    store.put("photos", "k", b"again").await.unwrap();
    assert_eq!(store.get("photos", "k").await.unwrap(), b"again");
    store.delete("photos", "l").await.unwrap();
    assert!(matches!(store.get("photos", "l").await, Err(StoreError::NoSuchKey { .. })));
    assert_eq!(disk.files("/a/icn-store/objects").len(), 1);
}

#[tokio::test]
async fn a_failed_sync_is_never_tried_again() {
    let disk = SimDisk::new(&["/a"]);
    let store = Store::open_with(&disk, &["a"]).await;
    store.create_bucket("photos").await.unwrap();
    store.put("photos", "old", b"old").await.unwrap();
    // Create, write, then the sync.
    disk.set_fault(Some(Fault::ErrorAt(2)));
    let failed = store.put("photos", "k", b"v").await;
    assert!(matches!(failed, Err(StoreError::Io { operation: "sync", .. })), "{failed:?}");
    let calls = disk.calls();
    assert!(is_unavailable(&store.put("photos", "k", b"v").await));
    assert_eq!(disk.calls(), calls, "a fenced volume is written to");
    assert_eq!(store.get("photos", "old").await.unwrap(), b"old");
    let state = store.0.usage().await.volumes[0].state.clone();
    assert!(matches!(state, VolumeState::Fenced { reason } if reason.contains("sync")));
    store.detach("a").await;
    store.attach("a").await.unwrap();
    store.put("photos", "k", b"v").await.unwrap();
}

#[tokio::test]
async fn writers_go_on_while_volumes_come_and_go() {
    let disk = SimDisk::new(&["/a", "/b", "/c"]);
    let store = Store::open_with(&disk, &["a", "b", "c"]).await;
    store.create_bucket("photos").await.unwrap();
    let writer = |name: usize| {
        let store = store.clone();
        async move {
            let mut acked = Vec::new();
            for round in 0..60_u64 {
                let k = format!("w{name}-{}", round % 7);
                if store.put("photos", &k, &round.to_le_bytes()).await.is_ok() {
                    acked.retain(|(other, _): &(String, u64)| *other != k);
                    acked.push((k, round));
                }
            }
            acked
        }
    };
    let disturb = async {
        for name in ["b", "c", "a", "b"] {
            tokio::time::sleep(Duration::from_millis(3)).await;
            store.detach(name).await;
            tokio::time::sleep(Duration::from_millis(3)).await;
            while store.attach(name).await.is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    let writers = futures::future::join_all((0..4).map(writer));
    let (acked, ()) = futures::future::join(writers, disturb).await;
    for (k, round) in acked.into_iter().flatten() {
        let seen = u64::from_le_bytes(store.get("photos", &k).await.unwrap().try_into().unwrap());
        // A write that failed after it may have taken place all the same.
        assert!(seen >= round && seen % 7 == round % 7, "{k}: {seen}, acknowledged {round}");
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_all_or_nothing() {
    let disk = SimDisk::new(&["/a"]);
    let store = Store::open_with(&disk, &["a"]).await;
    store.create_bucket("photos").await.unwrap();
    let data = content(1, 1 << 20);
    for wait in 0..30 {
        let endless = futures::stream::iter(
            data.chunks(100_000).map(|c| Ok(Bytes::copy_from_slice(c))).collect::<Vec<_>>(),
        );
        let request = put_request("photos", "k", WriteConditions::default());
        let put = store.0.put(request, Body::new(Box::pin(endless)));
        let _ = tokio::time::timeout(Duration::from_micros(wait * 300), put).await;
        match store.get("photos", "k").await {
            Ok(seen) => assert_eq!(seen, data),
            Err(error) => assert!(matches!(error, StoreError::NoSuchKey { .. }), "{error}"),
        }
    }
}
