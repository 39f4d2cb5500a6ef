//! What the hardware and the store have to do with each other: the history's place, how long the store's
//! calls take, and failing disks that are to be emptied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use agent_api::hardware::Component;
use agent_health::sampler::Outcome;
use agent_health::{Gathered, Health, Kind};
use agent_object_store::{Engine, ObjectStore, PoolStatus, Usage, VolumeId, VolumeState};
use disk_manager_plan::report::DiskReport;
use tokio::sync::watch::Receiver;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use super::super::Node;
use super::super::heard::Heard;
use super::disks::Started;
use super::drain::Failing;
use super::history::Homes;
use super::{Hardware, disks, latency, locked};

/// How often is looked where the history can be, and whether a disk fails: a failing NVMe disk is known
/// within a minute, and confirmed a minute later.
const EVERY: Duration = Duration::from_secs(5);

/// How often the store is asked for what its calls took: as often as the history keeps it.
const MEASURE: Duration = Duration::from_secs(60);

/// How long the store may take to tell how it does: longer, and a disk of it hangs, which is looked at again
/// when it has been given up.
const STORE: Duration = Duration::from_secs(30);

/// How long a store that cannot spare a disk is left alone: until then other disks may have come.
const REFUSED: Duration = Duration::from_secs(600);

/// How long it is remembered that a self-test was started: longer than one that did not begin is waited for.
const STARTED: Duration = Duration::from_secs(48 * 3600);

/// Watches for ever.
pub(in crate::node) async fn watch(node: Arc<Node>, hardware: Arc<Hardware>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reports = node.disks.subscribe();
    // What was reported before counts, too.
    reports.mark_changed();
    let mut failing = Failing::default();
    let mut before = latency::Before::new();
    let mut started = Started::new();
    let mut told = BTreeMap::new();
    let (mut measured_at, mut refused) = (None::<Instant>, None::<Instant>);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            changed = reports.changed() => {
                if changed.is_err() {
                    return;
                }
                hardware.set_disks(reports.borrow_and_update().latest.as_ref());
                continue;
            }
        }
        let healths = healths(&hardware);
        if healths != told {
            told = healths;
            node.verdicts_changed.notify_one();
        }
        let Some(store) = node.store.borrow().clone() else { continue };
        let Ok(usage) = timeout(STORE, store.usage()).await else { continue };
        let homes = homes(&usage);
        // A node that stops lets its volumes go, but nothing has to move.
        if node.stopping.load(Ordering::Relaxed) || homes.stay.is_empty() {
            continue;
        }
        hardware.keeper.set_homes(homes);
        let on = on(reports.borrow().latest.as_ref());
        store.set_hot(&of_disks(&locked(&hardware.disks.hot), &on));
        if measured_at.is_none_or(|at| at.elapsed() >= MEASURE) {
            measured_at = Some(Instant::now());
            let Ok(status) = timeout(STORE, store.status()).await else { continue };
            let samples = latency::samples(&status.volumes, &before);
            note_calls(&hardware, &status, &before, &on);
            before = latency::measured(&status.volumes);
            start_tests(&hardware, &reports, &mut started, is_healing(&status));
            let gathered = Gathered::new(samples, |_, _| Vec::new());
            let subject = (Kind::Disk, latency::SOURCE.to_owned());
            hardware.take_of(latency::SOURCE, &subject, Outcome::Answer(gathered));
        }
        failing.observe(&locked(&hardware.board).disks());
        if !hardware.drains || refused.is_some_and(|at| at.elapsed() < REFUSED) {
            continue;
        }
        refused = None;
        if let Some(volume) = failing.drain(&usage.volumes, &on) {
            refused = (!retire(&store, &volume).await).then(Instant::now);
        }
    }
}

/// How each component does.
fn healths(hardware: &Hardware) -> BTreeMap<(Kind, String), Health> {
    let of = |one: Component| ((one.verdict.kind, one.verdict.name), one.verdict.health);
    hardware.components().into_iter().map(of).collect()
}

/// Has what the store saw of the disks at hand for those who judge them.
fn note_calls(
    hardware: &Hardware,
    status: &PoolStatus,
    before: &latency::Before,
    on: &BTreeMap<String, String>,
) {
    let now_ms = hardware.now().ms;
    let mut trends = locked(&hardware.trends);
    latency::record(&mut trends, &status.volumes, before, now_ms);
    let observed = latency::observed(&status.volumes, before, on, &trends, now_ms);
    *locked(&hardware.disks.observed) = observed;
}

/// Has the store empty a volume; whether it does.
async fn retire(store: &Engine, volume: &VolumeId) -> bool {
    match store.retire(volume).await {
        Ok(()) => {
            info!(%volume, "the volume's disk fails: it is emptied and taken out of the pool");
            true
        }
        Err(error) => {
            warn!(%volume, %error, "the volume's disk fails but cannot be spared; replace it soon");
            false
        }
    }
}

/// Whether disks are needed for something else than for testing themselves.
fn is_healing(status: &PoolStatus) -> bool {
    let healing = &status.healing;
    healing.since.is_some() || healing.by_missing.iter().any(|groups| *groups > 0)
}

/// Starts the self-tests that are due.
fn start_tests(
    hardware: &Arc<Hardware>,
    reports: &Receiver<Heard<DiskReport>>,
    started: &mut Started,
    is_healing: bool,
) {
    let report = reports.borrow().latest.clone();
    for start in disks::due_tests(&hardware.disks, report.as_ref(), started, is_healing) {
        started.insert(start.disk.clone(), Instant::now());
        let privileged = Arc::clone(&hardware.sources.privileged);
        spawn_blocking(move || disks::start_test(&*privileged, start));
    }
    let is_old = |at: &Instant| at.elapsed() > STARTED;
    started.retain(|_, at| !is_old(at));
}

/// Mounts of the volumes that are in use and stay so, and of those that do not.
fn homes(usage: &Usage) -> Homes {
    let mounts = |wanted: fn(&VolumeState) -> bool| {
        let of = usage.volumes.iter().filter(|volume| wanted(&volume.state));
        of.filter_map(|volume| volume.path.clone()).collect()
    };
    Homes {
        stay: mounts(|state| *state == VolumeState::Attached),
        leave: mounts(|state| matches!(state, VolumeState::Retiring | VolumeState::Retired)),
    }
}

/// The volumes on disks.
fn of_disks(disks: &BTreeSet<String>, on: &BTreeMap<String, String>) -> BTreeSet<VolumeId> {
    disks.iter().filter_map(|disk| VolumeId::new(on.get(disk)?).ok()).collect()
}

/// Which volume is on which disk, by lasting names.
fn on(report: Option<&DiskReport>) -> BTreeMap<String, String> {
    let disks = report.map(|report| report.disks.as_slice()).unwrap_or_default();
    let pairs = disks.iter().filter_map(|disk| {
        let (id, volume) = disk.id.as_ref().zip(disk.volume.as_ref())?;
        Some((id.0.clone(), volume.id.clone()))
    });
    pairs.collect()
}
