//! The power is cut at every single call, and what was acknowledged must be there afterwards.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::driver::{Store, content, runtime};
use crate::sim::{Cut, Fault, SimDisk};

/// Volumes of the simulated node.
const VOLUMES: [&str; 3] = ["a", "b", "c"];

/// Larger than what is written in one call with its record.
const LARGE: usize = 300_000;

#[derive(Debug, Clone)]
enum Op {
    CreateBucket(&'static str),
    DeleteBucket(&'static str),
    Put(&'static str, usize, u64),
    PutInParts(&'static str, u64),
    BeginAndPutPart(&'static str),
    BeginAndAbort(&'static str),
    Delete(&'static str),
    Detach(&'static str),
    Attach(&'static str),
    /// Cuts the power while nothing is under way.
    Restart(u64),
}

const BUCKET: &str = "photos";

/// What must be there: objects of the one bucket, and further buckets.
#[derive(Debug, Clone, Default, PartialEq)]
struct Truth {
    buckets: BTreeMap<&'static str, ()>,
    objects: BTreeMap<&'static str, Vec<u8>>,
}

impl Op {
    fn apply_to(&self, truth: &mut Truth) {
        match self {
            Self::CreateBucket(name) => drop(truth.buckets.insert(name, ())),
            Self::DeleteBucket(name) => drop(truth.buckets.remove(name)),
            Self::Put(key, len, seed) => drop(truth.objects.insert(key, content(*seed, *len))),
            Self::PutInParts(key, seed) => {
                let [first, second] = part_contents(*seed);
                drop(truth.objects.insert(key, [first, second].concat()));
            }
            Self::Delete(key) => drop(truth.objects.remove(key)),
            Self::BeginAndPutPart(_)
            | Self::BeginAndAbort(_)
            | Self::Detach(_)
            | Self::Attach(_)
            | Self::Restart(_) => {}
        }
    }

    async fn run(&self, store: &Store) -> Result<(), String> {
        let text = |e: agent_object_store::StoreError| e.to_string();
        match self {
            Self::CreateBucket(name) => store.create_bucket(name).await.map_err(text),
            Self::DeleteBucket(name) => store.delete_bucket(name).await.map_err(text),
            Self::Put(key, len, seed) => {
                store.put(BUCKET, key, &content(*seed, *len)).await.map(drop).map_err(text)
            }
            Self::PutInParts(key, seed) => {
                let [first, second] = part_contents(*seed);
                store.put_in_parts(BUCKET, key, &[&first, &second]).await.map_err(text)
            }
            Self::BeginAndPutPart(key) => {
                let target = store.begin(BUCKET, key).await.map_err(text)?;
                store.put_part(&target, 7, b"lonely").await.map(drop).map_err(text)
            }
            Self::BeginAndAbort(key) => {
                use agent_object_store::ObjectStore as _;
                let target = store.begin(BUCKET, key).await.map_err(text)?;
                store.put_part(&target, 1, b"unwanted").await.map_err(text)?;
                store.0.abort_upload(&target).await.map_err(text)
            }
            Self::Delete(key) => store.delete(BUCKET, key).await.map_err(text),
            Self::Detach(name) => {
                store.detach(name).await;
                Ok(())
            }
            Self::Attach(name) => match store.attach(name).await {
                Ok(_) | Err(agent_object_store::AttachError::AlreadyAttached { .. }) => Ok(()),
                Err(error) => Err(error.to_string()),
            },
            Self::Restart(_) => Ok(()),
        }
    }
}

fn part_contents(seed: u64) -> [Vec<u8>; 2] {
    [content(seed, LARGE), content(seed + 1, 1000)]
}

/// What the store says is there.
async fn observed(store: &Store) -> Result<Truth, String> {
    use agent_object_store::{BucketQuery, ObjectStore as _};
    let query = BucketQuery { owner: None, prefix: String::new(), after: None, limit: 100 };
    let page = store.0.list_buckets(&query).await.map_err(|e| e.to_string())?;
    let mut truth = Truth::default();
    for info in page.buckets {
        let name = ["photos", "music", "films"].into_iter().find(|n| *n == info.bucket.as_str());
        truth.buckets.insert(name.unwrap(), ());
    }
    if !truth.buckets.contains_key(BUCKET) {
        return Ok(truth);
    }
    let listed = store.keys(BUCKET).await.map_err(|e| e.to_string())?;
    for key in KEYS {
        match store.get(BUCKET, key).await {
            Ok(data) => drop(truth.objects.insert(key, data)),
            Err(agent_object_store::StoreError::NoSuchKey { .. }) => {}
            Err(error) => return Err(format!("{key}: {error}")),
        }
    }
    if listed != truth.objects.keys().copied().collect::<Vec<_>>() {
        return Err(format!("listing {listed:?} is not what can be read"));
    }
    Ok(truth)
}

const KEYS: [&str; 3] = ["a//b", "k", "z/"];

/// Runs operations up to the first that fails; returns what may be there afterwards.
async fn run(
    disk: &mut SimDisk,
    truth: &mut Truth,
    ops: &[Op],
    fault: Option<Fault>,
) -> Vec<Truth> {
    let mut store = Store::open_with(disk, &VOLUMES).await;
    disk.set_fault(fault);
    for op in ops {
        let mut after = truth.clone();
        op.apply_to(&mut after);
        if let Op::Restart(seed) = op {
            drop(store);
            let cut = if *seed == 0 { Cut::Lost } else { Cut::Mixed(*seed) };
            *disk = disk.cut(cut);
            store = Store::open_with(disk, &VOLUMES).await;
        } else if op.run(&store).await.is_err() {
            return vec![truth.clone(), after];
        }
        *truth = after;
    }
    vec![truth.clone()]
}

async fn check(disk: &SimDisk, allowed: &[Truth], what: &str) {
    let store = Store::open_with(disk, &VOLUMES).await;
    let seen = observed(&store).await.unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(allowed.contains(&seen), "{what}: {} is not allowed", describe(&seen));
    drop(store);
    // Opened once more, also after a cut of the repair itself, nothing changes.
    let again = disk.cut(Cut::Lost);
    let store = Store::open_with(&again, &VOLUMES).await;
    let second = observed(&store).await.unwrap_or_else(|e| panic!("{what}, again: {e}"));
    assert_eq!(describe(&second), describe(&seen), "{what}: changed when opened again");
    let leftovers: Vec<_> = again.files("/a/icn-store/tmp");
    assert_eq!(leftovers, Vec::<std::path::PathBuf>::new(), "{what}: staged files stay behind");
}

fn describe(truth: &Truth) -> String {
    let sizes: Vec<_> = truth.objects.iter().map(|(k, v)| (k, v.len(), v.get(..2))).collect();
    format!("{:?} {sizes:?}", truth.buckets.keys())
}

/// Runs `setup` in peace, then `ops` once for every call that can be the last.
fn cut_everywhere(setup: &[Op], ops: &[Op]) {
    let runtime = runtime();
    runtime.block_on(async {
        let mut base = SimDisk::new(&["/a", "/b", "/c"]);
        let mut truth = Truth::default();
        assert_eq!(run(&mut base, &mut truth, setup, None).await.len(), 1, "the setup fails");
        base = base.cut(Cut::Kept);
        let mut calls = 0;
        while {
            let mut finished = false;
            for cut in [Cut::Lost, Cut::Kept, Cut::Mixed(calls), Cut::Mixed(!calls)] {
                let mut disk = base.fork();
                let mut truth = truth.clone();
                let fault = Some(Fault::PowerAt(calls));
                let allowed = run(&mut disk, &mut truth, ops, fault).await;
                finished = disk.calls() <= calls;
                check(&disk.cut(cut), &allowed, &format!("{ops:?} cut at {calls}, {cut:?}")).await;
            }
            calls += 1;
            !finished
        } {}
        assert!(calls > 1, "nothing was cut");
    });
}

fn with_bucket(more: &[Op]) -> Vec<Op> {
    [&[Op::CreateBucket(BUCKET)], more].concat()
}

#[test]
fn a_cut_during_a_put_leaves_all_or_nothing() {
    cut_everywhere(&with_bucket(&[]), &[Op::Put("k", 100, 1)]);
    cut_everywhere(&with_bucket(&[]), &[Op::Put("k", LARGE, 1)]);
}

#[test]
fn a_cut_during_an_overwrite_leaves_the_old_or_the_new() {
    cut_everywhere(&with_bucket(&[Op::Put("k", 100, 1)]), &[Op::Put("k", LARGE, 2)]);
    cut_everywhere(&with_bucket(&[Op::PutInParts("k", 1)]), &[Op::Put("k", 5, 2)]);
}

#[test]
fn a_cut_during_a_delete_does_not_undo_it_once_acknowledged() {
    let two = [Op::Put("k", 100, 1), Op::Put("z/", 50, 3)];
    cut_everywhere(&with_bucket(&two), &[Op::Delete("k"), Op::Put("z/", 60, 4)]);
    cut_everywhere(&with_bucket(&[Op::PutInParts("k", 1)]), &[Op::Delete("k")]);
}

#[test]
fn a_cut_during_an_upload_publishes_whole_objects_only() {
    cut_everywhere(&with_bucket(&[]), &[Op::PutInParts("k", 1)]);
    cut_everywhere(&with_bucket(&[Op::Put("k", 9, 9)]), &[Op::PutInParts("k", 1)]);
    cut_everywhere(
        &with_bucket(&[Op::BeginAndPutPart("k")]),
        &[Op::BeginAndAbort("k"), Op::PutInParts("k", 1), Op::PutInParts("k", 5)],
    );
}

#[test]
fn a_cut_while_a_bucket_is_made_or_deleted_leaves_it_or_not() {
    cut_everywhere(&with_bucket(&[]), &[Op::CreateBucket("music"), Op::DeleteBucket("music")]);
    cut_everywhere(&with_bucket(&[]), &[Op::DeleteBucket(BUCKET), Op::CreateBucket(BUCKET)]);
}

#[test]
fn a_cut_while_a_volume_is_away_undoes_nothing_when_it_comes_back() {
    let setup = [Op::Put("k", 100, 1), Op::Put("z/", 100, 2), Op::PutInParts("a//b", 3)];
    for away in VOLUMES {
        cut_everywhere(
            &with_bucket(&setup),
            &[
                Op::Detach(away),
                Op::Put("k", 200, 4),
                Op::Delete("z/"),
                Op::Delete("a//b"),
                Op::Attach(away),
                Op::Put("z/", 10, 5),
            ],
        );
    }
}

#[test]
fn a_cut_while_a_volume_joins_leaves_it_blank_or_joined() {
    let runtime = runtime();
    runtime.block_on(async {
        let mut calls = 0;
        loop {
            let mut finished = false;
            for cut in [Cut::Lost, Cut::Kept, Cut::Mixed(calls)] {
                let disk = SimDisk::new(&["/a"]);
                disk.set_fault(Some(Fault::PowerAt(calls)));
                let attached = Store::open(&disk).attach("a").await;
                finished = attached.is_ok();
                let disk = disk.cut(cut);
                let store = Store::open_with(&disk, &["a"]).await;
                store.create_bucket(BUCKET).await.unwrap();
                store.put(BUCKET, "k", b"value").await.unwrap();
            }
            if finished {
                break;
            }
            calls += 1;
        }
        assert!(calls > 250, "laying out takes more calls than {calls}");
    });
}

/// One call fails, the power stays: what was acknowledged can be read, at the latest when the
/// volumes are attached anew; what failed is there whole or not at all.
#[test]
fn a_failed_call_fences_its_volume_and_loses_nothing() {
    let runtime = runtime();
    runtime.block_on(async {
        let ops = [
            Op::Put("k", 100, 1),
            Op::Put("k", LARGE, 2),
            Op::PutInParts("z/", 3),
            Op::Delete("k"),
            Op::Put("z/", 10, 6),
            Op::Delete("z/"),
            Op::Put("a//b", 10, 7),
        ];
        let mut base = SimDisk::new(&["/a", "/b", "/c"]);
        let mut truth = Truth::default();
        run(&mut base, &mut truth, &with_bucket(&[]), None).await;
        base = base.cut(Cut::Kept);
        let mut calls = 0;
        loop {
            let disk = base.fork();
            let store = Store::open_with(&disk, &VOLUMES).await;
            disk.set_fault(Some(Fault::ErrorAt(calls)));
            let mut allowed = vec![truth.clone()];
            for op in &ops {
                let failed = op.run(&store).await.is_err();
                let before = if failed { allowed.clone() } else { Vec::new() };
                for truth in &mut allowed {
                    op.apply_to(truth);
                }
                allowed.extend(before);
            }
            let finished = disk.calls() <= calls;
            drop(store);
            let what = format!("{ops:?} with an error at {calls}");
            check(&disk.cut(Cut::Lost), &allowed, &what).await;
            if finished {
                break;
            }
            calls += 1;
        }
    });
}

fn any_op() -> impl Strategy<Value = Op> {
    let keys = proptest::sample::select(KEYS.to_vec());
    let volumes = proptest::sample::select(VOLUMES.to_vec());
    prop_oneof![
        4 => (keys.clone(), prop_oneof![Just(0), Just(77), Just(LARGE)], 0_u64..100)
            .prop_map(|(key, len, seed)| Op::Put(key, len, seed)),
        2 => (keys.clone(), 0_u64..100).prop_map(|(key, seed)| Op::PutInParts(key, seed)),
        3 => keys.clone().prop_map(Op::Delete),
        1 => keys.prop_map(Op::BeginAndPutPart),
        2 => volumes.clone().prop_map(Op::Detach),
        2 => volumes.prop_map(Op::Attach),
        1 => (0_u64..50).prop_map(Op::Restart),
    ]
}

proptest! {
    /// Against a map: any operations, with volumes that come and go and restarts between; the power
    /// is cut at a random call.
    #[test]
    fn any_history_with_cuts_keeps_what_was_acknowledged(
        ops in proptest::collection::vec(any_op(), 1..16), at in 0_u64..120, seed in 1_u64..1000,
    ) {
        runtime().block_on(async {
            let mut base = SimDisk::new(&["/a", "/b", "/c"]);
            let mut truth = Truth::default();
            run(&mut base, &mut truth, &with_bucket(&[]), None).await;
            let mut disk = base.cut(Cut::Kept);
            let fault = Some(Fault::PowerAt(at));
            let allowed = run_degraded(&mut disk, &mut truth, &ops, fault).await;
            check(&disk.cut(Cut::Mixed(seed)), &allowed, "history").await;
        });
    }
}

/// As [`run`], but an operation that fails because a volume is away changes nothing and does not
/// end the run.
async fn run_degraded(
    disk: &mut SimDisk,
    truth: &mut Truth,
    ops: &[Op],
    fault: Option<Fault>,
) -> Vec<Truth> {
    let mut store = Store::open_with(disk, &VOLUMES).await;
    disk.set_fault(fault);
    let mut allowed = vec![truth.clone()];
    for op in ops {
        if let Op::Restart(seed) = op {
            drop(store);
            let cut = if *seed == 0 { Cut::Lost } else { Cut::Mixed(*seed) };
            *disk = disk.cut(cut);
            store = Store::open_with(disk, &VOLUMES).await;
            continue;
        }
        let failed = op.run(&store).await.is_err();
        let before = if failed { allowed.clone() } else { Vec::new() };
        for truth in &mut allowed {
            op.apply_to(truth);
        }
        allowed.extend(before);
        allowed.dedup();
    }
    allowed
}
