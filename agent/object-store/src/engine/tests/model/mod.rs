//! The store against a model of it: requests, faults of disks, power cuts, lost volumes and lost
//! indexes in any order.
//!
//! `ICN_SEED` begins with another seed; `ICN_MINUTES` lets `soak` run so long.

mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use agent_object_store_pool::sim::Cut;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use super::*;
use crate::engine::apply::get;
use crate::engine::entry::BucketUsage;
use crate::engine::keys;
use crate::engine::standby::{Phase, fill};
use crate::engine::traffic::Requests;
use crate::list::{ListEntry, ListQuery};
use crate::names::{ETag, PartNumber};
use crate::store::{CompleteRequest, CopyTarget, UploadRequest, UploadTarget};
use plan::{Breakage, Plan, Step};

/// Starts of a machine in all tests of this process, and those with a standby in the place of the index.
static REBOOTS: AtomicU64 = AtomicU64::new(0);
static TAKEN_OVER: AtomicU64 = AtomicU64::new(0);

/// What may be found of a key.
#[derive(Debug, Clone, Default)]
struct Expected {
    acknowledged: Option<Vec<u8>>,
    /// Asked for, not acknowledged.
    perhaps: Vec<Option<Vec<u8>>>,
}

#[derive(Debug)]
struct Upload {
    target: UploadTarget,
    parts: BTreeMap<u16, (ETag, Vec<u8>)>,
    /// Whether a call that failed may have changed it.
    is_uncertain: bool,
}

/// A machine, the store on it, and what must be in it.
struct Store {
    runtime: tokio::runtime::Runtime,
    machine: Machine,
    core: Option<Arc<Core>>,
    keys: BTreeMap<String, Expected>,
    /// None where making it failed.
    uploads: Vec<Option<Upload>>,
    made: u64,
    counted: Tallied,
    /// The standby of the index, if superblocks name it.
    standby: Option<Arc<MemoryIndex>>,
}

/// Requests that must be counted.
#[derive(Debug, Clone, Copy, Default)]
struct Tallied {
    acknowledged: Requests,
    /// Those that failed, or that no record stands behind: they may be.
    perhaps: Requests,
}

impl Tallied {
    fn note(&mut self, requests: Requests, is_sure: bool) {
        let sum = if is_sure { &mut self.acknowledged } else { &mut self.perhaps };
        *sum = sum.plus(requests);
    }
}

fn name(key: u8) -> String {
    format!("key-{key}")
}

impl Store {
    fn run<T>(&mut self, work: impl AsyncFnOnce(&mut Model<'_>) -> T) -> T {
        let Self { runtime, core, keys, uploads, made, counted, .. } = self;
        let core = core.as_ref().unwrap();
        runtime.block_on(work(&mut Model { core, keys, uploads, made, counted }))
    }

    /// Starts the machine on what is left of it.
    fn reboot(&mut self, cut: Cut, keeps_index: bool) {
        REBOOTS.fetch_add(1, Ordering::Relaxed);
        self.core = None;
        // Tasks of the store end with their runtime, as with a machine.
        self.runtime = runtime();
        self.machine = self.machine.cut(cut);
        self.machine.disk.set_capacity(None);
        // Where both are there but were not closed, the standby is made anew.
        let standby = self.standby.take();
        let mut is_rebuilt = None;
        if !keeps_index {
            self.machine.index = match standby {
                Some(standby) => {
                    TAKEN_OVER.fetch_add(1, Ordering::Relaxed);
                    is_rebuilt = Some(false);
                    // What was not brought to stable storage may be there or not.
                    if matches!(cut, Cut::Kept) { standby } else { Arc::new(standby.crash()) }
                }
                None => Arc::new(MemoryIndex::default()),
            };
        }
        let opened = self.open();
        assert!(is_rebuilt.is_none_or(|wanted| opened.rebuilt == wanted), "{opened:?}");
        self.run(async |model| model.check().await);
    }

    fn open(&mut self) -> Opened {
        let (core, opened) = self.runtime.block_on(self.machine.open()).unwrap();
        self.core = Some(core);
        opened
    }

    /// Makes a standby as the owner of a pool does.
    fn make_standby(&mut self) {
        let core = Arc::clone(self.core.as_ref().unwrap());
        let (home, index) = (self.machine.index.clone(), Arc::new(MemoryIndex::default()));
        let on = Arc::clone(&index) as Arc<dyn Index>;
        self.standby = None;
        self.runtime.block_on(async {
            let standby = core.standby.clone();
            standby.dropped();
            let attempt = standby.begin(VolumeNo(0));
            standby.write_to(attempt, on, Io::Inline);
            fill(standby.clone(), attempt, home, Arc::downgrade(&core), Io::Inline).await;
            standby.named();
            assert!(matches!(standby.phase(), Phase::InStep { .. }), "{:?}", standby.phase());
        });
        self.standby = Some(index);
    }

    /// Plugs everything in, and makes good what is wanting: afterwards nothing is.
    fn mend(&mut self) {
        for volume in 0..self.machine.volumes {
            self.machine.disk.plug(&format!("/v{volume}"));
        }
        self.reboot(Cut::Kept, true);
        self.run(async |model| {
            let core = model.core;
            pack(core).await.unwrap();
            model.settle().await;
            for group in core.groups.all() {
                core.scrub_group(group, async || ()).await.unwrap();
            }
            while core.heal_one(true, async || ()).await.unwrap() {}
            let redundant = core.redundant();
            assert_eq!((redundant.degraded, redundant.lost), (0, 0), "{redundant:?}");
            model.check().await;
        });
    }

    fn rot(&mut self, volume: u16, seed: u64) {
        let mut dice = Dice(seed);
        let files =
            [format!("/v{volume}/icn-pool/journal"), format!("/v{volume}/icn-pool/extents")];
        for file in files.iter().flat_map(|folder| self.machine.disk.files(folder)) {
            let length = self.machine.disk.content(&file).len() as u64;
            for _ in 0..dice.roll(6) {
                if let Some(at) = dice.0.checked_rem(length) {
                    self.machine.disk.flip_bit(&file, usize::try_from(at).unwrap());
                    dice.roll(2);
                }
            }
        }
    }
}

/// The store and what must be in it, while a step is done.
struct Model<'a> {
    core: &'a Arc<Core>,
    keys: &'a mut BTreeMap<String, Expected>,
    uploads: &'a mut Vec<Option<Upload>>,
    made: &'a mut u64,
    counted: &'a mut Tallied,
}

impl Model<'_> {
    fn bytes(&mut self, size: usize) -> Vec<u8> {
        *self.made += 1;
        mixed(*self.made, size)
    }

    /// Notes how a change of a key ended.
    fn note(&mut self, key: &str, state: Option<Vec<u8>>, result: Result<(), StoreError>) -> bool {
        let entry = self.keys.entry(key.to_owned()).or_default();
        match result {
            Ok(()) => *entry = Expected { acknowledged: state, perhaps: Vec::new() },
            Err(_) => entry.perhaps.push(state),
        }
        entry.perhaps.is_empty()
    }

    /// Reads a key, if that can be done, and settles what is expected of it.
    async fn look(&mut self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let found = read(self.core, key).await?;
        let expected = self.keys.entry(key.to_owned()).or_default();
        let fits = found == expected.acknowledged || expected.perhaps.contains(&found);
        let size = |state: &Option<Vec<u8>>| state.as_ref().map(Vec::len);
        assert!(
            fits,
            "{key} has {:?}, acknowledged {:?}, perhaps {:?}",
            size(&found),
            size(&expected.acknowledged),
            expected.perhaps.iter().map(size).collect::<Vec<_>>()
        );
        Ok(found)
    }

    /// Everything is as it must be, and the listing says the same.
    async fn check(&mut self) {
        let mut present = Vec::new();
        for key in self.keys.keys().cloned().collect::<Vec<_>>() {
            let found = self.look(&key).await.unwrap_or_else(|error| panic!("{key}: {error}"));
            if found.is_some() {
                present.push(key);
            }
        }
        let query = ListQuery { limit: 1000, ..ListQuery::default() };
        let page = self.core.list(&bucket(), &query).unwrap();
        let listed: Vec<String> = page
            .entries
            .iter()
            .map(|entry| match entry {
                ListEntry::Object(object) => object.key.as_str().to_owned(),
                ListEntry::Prefix(prefix) => panic!("{prefix}"),
            })
            .collect();
        assert_eq!(listed, present);
        self.check_counted();
        for upload in self.uploads.iter().flatten().filter(|upload| !upload.is_uncertain) {
            let page = self.core.list_parts(&upload.target, None, 100).unwrap();
            let numbers: Vec<u16> = page.parts.iter().map(|part| part.part.get()).collect();
            assert_eq!(numbers, upload.parts.keys().copied().collect::<Vec<_>>());
        }
    }

    /// Each request that was acknowledged counts once; one that failed may, once.
    fn check_counted(&self) {
        let number = self.core.bucket_entry(&bucket()).unwrap().number;
        let usage: BucketUsage =
            get(&*self.core.index, &keys::usage(number)).unwrap().unwrap_or_default();
        let Tallied { acknowledged, perhaps } = *self.counted;
        let (found, most) = (usage.requests, acknowledged.plus(perhaps));
        let of = |requests: Requests| [requests.writes, requests.deletes, requests.bytes_in];
        let fits = of(acknowledged).into_iter().zip(of(found)).zip(of(most));
        for ((least, found), most) in fits {
            assert!(
                (least..=most).contains(&found),
                "{:?} are counted, of {acknowledged:?} and perhaps {perhaps:?}",
                usage.requests
            );
        }
    }

    /// What was not acknowledged either took effect by now or never will.
    async fn settle(&mut self) {
        for key in self.keys.keys().cloned().collect::<Vec<_>>() {
            if let Ok(found) = self.look(&key).await {
                self.keys.insert(key, Expected { acknowledged: found, perhaps: Vec::new() });
            }
        }
    }

    async fn step(&mut self, step: &Step) -> Result<(), StoreError> {
        match step {
            Step::Put { key, size } => {
                let bytes = self.bytes(*size);
                let result = put(self.core, &name(*key), bytes.clone()).await.map(drop);
                self.counted.note(Requests::write(bytes.len() as u64), result.is_ok());
                self.after(*key, Some(bytes), result)
            }
            Step::Delete { key } => {
                let result = delete_version(self.core, &name(*key)).await;
                // That nothing was there is told by no record.
                self.counted.note(Requests::delete(), matches!(&result, Ok(Some(_))));
                self.after(*key, None, result.map(drop))
            }
            Step::Copy { from, to } => {
                let Some(bytes) = self.look(&name(*from)).await? else { return Ok(()) };
                let target = CopyTarget {
                    bucket: bucket(),
                    key: key(&name(*to)),
                    attributes: None,
                    keep: Vec::new(),
                    conditions: WriteConditions::default(),
                    limit: u64::MAX,
                };
                let source = GetRequest::new(bucket(), key(&name(*from)));
                let result = Arc::clone(self.core).copy(&source, target).await.map(drop);
                self.counted.note(Requests::write(0), result.is_ok());
                self.after(*to, Some(bytes), result)
            }
            Step::Range { key, from, length } => {
                let Some(whole) = self.look(&name(*key)).await? else { return Ok(()) };
                let (from, to) = (u64::from(*from), u64::from(from + length - 1));
                let Some(rest) = usize::try_from(from).ok().and_then(|from| whole.get(from..))
                else {
                    return Ok(());
                };
                if rest.is_empty() {
                    return Ok(());
                }
                let range = ReadRange::Between(from, to);
                let found = read_range(self.core, &name(*key), range).await?;
                let wanted = &rest[..rest.len().min(*length as usize)];
                assert!(found.as_deref() == Some(wanted), "{key}: {from} to {to}");
                Ok(())
            }
            Step::Pack => {
                pack(self.core).await?;
                self.core.volumes.trim(true).await;
                self.settle().await;
                Ok(())
            }
            Step::Checkpoint => self.core.checkpoint().await,
            _ => self.upload_step(step).await,
        }
    }

    fn after(
        &mut self,
        key: u8,
        state: Option<Vec<u8>>,
        result: Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let failed = result.as_ref().err().map(ToString::to_string);
        self.note(&name(key), state, result);
        match failed {
            Some(reason) => Err(StoreError::Unavailable { reason }),
            None => Ok(()),
        }
    }

    async fn upload_step(&mut self, step: &Step) -> Result<(), StoreError> {
        match step {
            Step::Begin { key: number } => {
                let key = key(&name(*number));
                let request = UploadRequest {
                    bucket: bucket(),
                    key: key.clone(),
                    owner: Owner::new("ann").unwrap(),
                    attributes: Attributes::default(),
                    note: None,
                };
                let begun = Arc::clone(self.core).create_upload(request).await;
                self.counted.note(Requests::write(0), begun.is_ok());
                let upload = begun.as_ref().ok().map(|info| Upload {
                    target: UploadTarget { bucket: bucket(), key, upload: info.upload.clone() },
                    parts: BTreeMap::new(),
                    is_uncertain: false,
                });
                self.uploads.push(upload);
                begun.map(drop)
            }
            Step::Part { upload, part, size } => {
                let bytes = self.bytes(*size);
                let Some(upload) = &mut self.uploads[usize::from(*upload)] else { return Ok(()) };
                let number = PartNumber::new(*part).unwrap();
                let body = Body::from_bytes(bytes.clone().into());
                let put = Arc::clone(self.core).put_part(&upload.target, number, Vec::new(), body);
                let put = put.await;
                self.counted.note(Requests::write(bytes.len() as u64), put.is_ok());
                match put {
                    Ok(info) => {
                        upload.parts.insert(*part, (info.etag, bytes));
                        Ok(())
                    }
                    Err(error) => {
                        upload.is_uncertain = true;
                        Err(error)
                    }
                }
            }
            Step::Complete { upload } => {
                let upload = self.uploads.remove(usize::from(*upload));
                let Some(upload) = upload.filter(|upload| !upload.is_uncertain) else {
                    return Ok(());
                };
                if upload.parts.is_empty() {
                    return Ok(());
                }
                let key = upload.target.key.as_str().to_owned();
                let etag = |(number, (etag, _)): (&u16, &(ETag, Vec<u8>))| {
                    (PartNumber::new(*number).unwrap(), etag.clone())
                };
                let request = CompleteRequest {
                    target: upload.target,
                    parts: upload.parts.iter().map(etag).collect(),
                    etag: ETag::new("of-parts-1").unwrap(),
                    checksums: crate::checksum::Checksums::default(),
                    conditions: WriteConditions::default(),
                };
                let result = Arc::clone(self.core).complete_upload(request).await.map(drop);
                self.counted.note(Requests::write(0), result.is_ok());
                let whole = upload.parts.into_values().flat_map(|(_, bytes)| bytes).collect();
                let number = key.trim_start_matches("key-").parse().unwrap();
                self.after(number, Some(whole), result)
            }
            Step::Abort { upload } => match self.uploads.remove(usize::from(*upload)) {
                Some(upload) if !upload.is_uncertain => {
                    let result = Arc::clone(self.core).abort_upload(upload.target).await;
                    self.counted.note(Requests::delete(), result.is_ok());
                    result
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// What the steps are done with.
struct Test;

impl StateMachineTest for Test {
    type SystemUnderTest = Store;
    type Reference = Plan;

    fn init_test(plan: &Plan) -> Store {
        // Room for a few rows.
        let machine = Machine { extent: 3 << 20, ..Machine::new(plan.volumes) };
        let mut store = Store {
            runtime: runtime(),
            machine,
            core: None,
            keys: BTreeMap::new(),
            uploads: Vec::new(),
            made: 0,
            counted: Tallied::default(),
            standby: None,
        };
        store.open();
        store.run(async |model| make_bucket(model.core).await.unwrap());
        store.counted.note(Requests::write(0), true);
        store
    }

    fn apply(mut store: Store, plan: &Plan, step: Step) -> Store {
        match &step {
            Step::Break(breakage) => store.machine.disk.set_fault(Some(breakage.fault())),
            Step::Pull(volume) => store.machine.disk.pull(&format!("/v{volume}")),
            Step::Rot { volume, seed } => store.rot(*volume, *seed),
            Step::Fill(room) => store.machine.disk.fill(*room),
            Step::Reboot { cut, keeps_index } => store.reboot(*cut, *keeps_index),
            Step::Mend => store.mend(),
            Step::Standby => store.make_standby(),
            step => {
                let result = store.run(async |model| model.step(step).await);
                // Volumes that are lost or harmed are no reason to fail, while there are two.
                let may_fail = plan.is_broken || plan.is_full || plan.is_alone();
                assert!(may_fail || result.is_ok(), "{:?}", result.err());
            }
        }
        store
    }
}

/// Runs so many cases from a seed.
fn cases(seed: u64, cases: u32) {
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..Config::default()
    };
    println!("seed {seed}");
    let mut runner = TestRunner::new(config.clone());
    let steps = Plan::sequential_strategy(10..50);
    let result = runner.run(&steps, |(plan, steps, seen)| {
        Test::test_sequential(config.clone(), plan, steps, seen);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("seed {seed}: {failure}");
    }
}

fn first_seed() -> u64 {
    std::env::var("ICN_SEED").map_or(1, |seed| seed.parse().unwrap())
}

#[test]
fn the_store_is_as_its_model_says() {
    let first = first_seed();
    for seed in first..first + 20 {
        cases(seed, 100);
    }
    let reboots = REBOOTS.load(Ordering::Relaxed);
    println!("{reboots} reboots");
    assert!(reboots >= 10_000, "too few reboots: {reboots}");
    let taken_over = TAKEN_OVER.load(Ordering::Relaxed);
    println!("{taken_over} with the standby");
    assert!(taken_over >= 300, "too few standbys took over: {taken_over}");
}

#[test]
#[ignore = "runs as long as ICN_MINUTES says: cargo xtask soak"]
fn soak() {
    let minutes: u64 = std::env::var("ICN_MINUTES").map_or(1, |minutes| minutes.parse().unwrap());
    let (begun, mut seed) = (Instant::now(), first_seed());
    while begun.elapsed() < Duration::from_secs(minutes * 60) {
        cases(seed, 100);
        seed += 1;
    }
    println!("{} reboots, next seed {seed}", REBOOTS.load(Ordering::Relaxed));
}

/// Runs these steps, as they were found by a seed.
fn steps(volumes: u16, steps: Vec<Step>) {
    let plan = Plan {
        volumes,
        bad: BTreeSet::new(),
        unknown: 0,
        uploads: 0,
        is_broken: false,
        is_full: false,
    };
    Test::test_sequential(Config::default(), plan, steps, None);
}

fn reboot(cut: Cut, keeps_index: bool) -> Step {
    Step::Reboot { cut, keeps_index }
}

#[test]
fn a_record_that_one_volume_has_is_not_lost_with_it() {
    let put = || Step::Put { key: 0, size: 0 };
    let lost = || reboot(Cut::Lost, false);
    let begin = [lost(), put(), put(), lost(), put(), lost(), put()];
    let cut = [Step::Break(Breakage::Power(2)), Step::Put { key: 0, size: 1 }, lost()];
    let pulled = [Step::Pull(4), reboot(Cut::Lost, true)];
    steps(6, begin.into_iter().chain(cut).chain(pulled).collect());
}

#[test]
fn a_copy_that_the_power_cut_took_back_is_packed_from_another_volume() {
    let put = |size| Step::Put { key: 0, size };
    let lost = || reboot(Cut::Lost, false);
    let begin = [lost(), Step::Begin { key: 0 }, lost(), Step::Abort { upload: 0 }, Step::Pack];
    let failed = [put(0), put(0), Step::Break(Breakage::Sync(5)), put(0), put(1)];
    let back = [reboot(Cut::Kept, false), reboot(Cut::Mixed(0), true), Step::Pack, lost()];
    steps(6, begin.into_iter().chain(failed).chain(back).collect());
}
