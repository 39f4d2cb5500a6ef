//! The owner of the object store's volumes: attaches those that icn-disks mounted and whose record is settled, and
//! detaches those that went.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent_object_store::{AttachError, Class, Engine, Volume, VolumeId};
use disk_manager_plan::report::{DiskClass, DiskReport, Ownership, VolumePhase};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::heard::Heard;
use crate::state::Held;

/// How long a volume that could not be attached is left alone: what helps is mostly a person.
const RETRY: Duration = Duration::from_secs(30);

/// Why volumes could not be attached, by their ids, in words.
pub(crate) type Failures = BTreeMap<String, String>;

/// What is known of a volume.
#[derive(Debug)]
struct Holding {
    path: PathBuf,
    phase: Phase,
    /// Told to give up attaching, which may take for ever: the first volumes wait for each other.
    leave: Arc<Notify>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Attaching,
    Attached,
    Detaching,
    Failed { reason: String, retry_at: Instant },
}

/// What to do next with a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Attach(VolumeId, PathBuf),
    Detach(VolumeId),
    Forget(VolumeId),
}

/// How a step ended.
#[derive(Debug)]
enum Done {
    Attached(VolumeId, Result<(), String>),
    Detached(VolumeId),
}

/// Follows the reports, and what is held of the node's state, for ever.
pub(crate) async fn keep(
    store: Engine,
    mut reports: watch::Receiver<Heard<DiskReport>>,
    mut state: watch::Receiver<Held>,
    failures: watch::Sender<Failures>,
) {
    let mut held: BTreeMap<VolumeId, Holding> = BTreeMap::new();
    let mut running: JoinSet<Done> = JoinSet::new();
    loop {
        // The last report stays true while icn-disks restarts: it does not unmount.
        let report = reports.borrow_and_update().latest.clone();
        let mounted = mounted(report.as_ref());
        let (wanted, kept_back) = {
            let state = state.borrow_and_update();
            (wanted(&mounted, &state), kept_back(&mounted, &state))
        };
        let classes = classes(report.as_ref());
        for step in plan(&wanted, &held, Instant::now()) {
            start(step, &classes, &store, &mut held, &mut running);
        }
        publish(&held, kept_back, &failures);
        let retry = held.values().filter_map(|holding| match holding.phase {
            Phase::Failed { retry_at, .. } => Some(retry_at),
            _ => None,
        });
        let next = retry.min().unwrap_or_else(|| Instant::now() + RETRY);
        tokio::select! {
            changed = reports.changed() => if changed.is_err() { return },
            changed = state.changed() => if changed.is_err() { return },
            Some(done) = running.join_next() => if let Ok(done) = done { finish(done, &mut held) },
            () = sleep_until(next) => {}
        }
    }
}

/// The volumes that icn-disks mounted.
fn mounted(report: Option<&DiskReport>) -> BTreeMap<VolumeId, PathBuf> {
    let volumes = report.into_iter().flat_map(|report| &report.disks).filter_map(|disk| {
        let volume = disk.volume.as_ref().filter(|_| disk.ownership == Ownership::Ours)?;
        let VolumePhase::Mounted { mount } = &volume.phase else { return None };
        Some((VolumeId::new(&volume.id).ok()?, mount.clone()))
    });
    volumes.collect()
}

/// Those of the volumes that the store may have: whose record is settled.
fn wanted(mounted: &BTreeMap<VolumeId, PathBuf>, state: &Held) -> BTreeMap<VolumeId, PathBuf> {
    let wanted = mounted.iter().filter(|(_, path)| state.settled.contains(*path));
    wanted.map(|(id, path)| (id.clone(), path.clone())).collect()
}

/// Why the store may not have others of them.
fn kept_back(mounted: &BTreeMap<VolumeId, PathBuf>, state: &Held) -> Failures {
    let why = mounted.iter().filter_map(|(id, path)| {
        Some((id.as_str().to_owned(), state.kept_back.get(path)?.clone()))
    });
    why.collect()
}

/// How fast the volumes are.
fn classes(report: Option<&DiskReport>) -> BTreeMap<String, Class> {
    let classes = report.into_iter().flat_map(|report| &report.disks).filter_map(|disk| {
        let class = match disk.class {
            DiskClass::Hdd => Class::Hdd,
            DiskClass::Ssd | DiskClass::Virtual => Class::Ssd,
            DiskClass::Nvme => Class::Nvme,
        };
        Some((disk.volume.as_ref()?.id.clone(), class))
    });
    classes.collect()
}

/// Decides. A volume that is just being detached is left until that is done.
fn plan(
    wanted: &BTreeMap<VolumeId, PathBuf>,
    held: &BTreeMap<VolumeId, Holding>,
    now: Instant,
) -> Vec<Step> {
    let leaving = held.iter().filter(|(id, holding)| wanted.get(id) != Some(&holding.path));
    let leave = leaving.filter_map(|(id, holding)| match holding.phase {
        Phase::Attached | Phase::Attaching => Some(Step::Detach(id.clone())),
        Phase::Failed { .. } => Some(Step::Forget(id.clone())),
        Phase::Detaching => None,
    });
    let coming = wanted.iter().filter(|(id, path)| match held.get(id) {
        None => true,
        Some(Holding { path: held, phase: Phase::Failed { retry_at, .. }, .. }) => {
            held != *path || *retry_at <= now
        }
        Some(_) => false,
    });
    let come = coming.map(|(id, path)| Step::Attach(id.clone(), path.clone()));
    leave.chain(come).collect()
}

fn start(
    step: Step,
    classes: &BTreeMap<String, Class>,
    store: &Engine,
    held: &mut BTreeMap<VolumeId, Holding>,
    running: &mut JoinSet<Done>,
) {
    let store = store.clone();
    match step {
        Step::Attach(id, path) => {
            let leave = Arc::new(Notify::new());
            let (phase, told) = (Phase::Attaching, Arc::clone(&leave));
            held.insert(id.clone(), Holding { path: path.clone(), phase, leave });
            let class = classes.get(id.as_str()).copied().unwrap_or(Class::Ssd);
            running.spawn(async move {
                let volume = Volume { id: id.clone(), path, class };
                let attached = tokio::select! {
                    // First, so that the store knows of it when it is told to let it go.
                    biased;
                    done = store.attach(volume) => Some(done),
                    () = told.notified() => None,
                };
                match attached {
                    // It stays with the store, which says so, until its disk is taken out.
                    Some(Err(AttachError::Retired { .. })) => Done::Attached(id, Ok(())),
                    Some(done) => Done::Attached(id, done.map(drop).map_err(|e| in_words(&e))),
                    None => {
                        store.detach(&id).await;
                        Done::Detached(id)
                    }
                }
            });
        }
        Step::Detach(id) => {
            info!(volume = %id, "detaching a volume that is gone");
            let Some(holding) = held.get_mut(&id) else { return };
            match std::mem::replace(&mut holding.phase, Phase::Detaching) {
                // Whoever attaches it lets it go.
                Phase::Attaching => holding.leave.notify_one(),
                _ => {
                    running.spawn(async move {
                        store.detach(&id).await;
                        Done::Detached(id)
                    });
                }
            }
        }
        Step::Forget(id) => {
            // Turned away, but its disk is gone now: when it is back, it may be taken.
            if let Some(holding) = held.get_mut(&id) {
                holding.phase = Phase::Detaching;
            }
            running.spawn(async move {
                store.detach(&id).await;
                Done::Detached(id)
            });
        }
    }
}

fn finish(done: Done, held: &mut BTreeMap<VolumeId, Holding>) {
    match done {
        Done::Detached(id) => {
            held.remove(&id);
        }
        Done::Attached(id, result) => {
            let Some(holding) = held.get_mut(&id) else { return };
            holding.phase = match result {
                // Also if it was to leave meanwhile: then it is detached next.
                Ok(()) => Phase::Attached,
                Err(reason) => {
                    warn!(volume = %id, reason, "cannot use a volume");
                    Phase::Failed { reason, retry_at: Instant::now() + RETRY }
                }
            };
        }
    }
}

fn publish(
    held: &BTreeMap<VolumeId, Holding>,
    kept_back: Failures,
    failures: &watch::Sender<Failures>,
) {
    let failed = held.iter().filter_map(|(id, holding)| match &holding.phase {
        Phase::Failed { reason, .. } => Some((id.as_str().to_owned(), reason.clone())),
        _ => None,
    });
    let mut failed: Failures = failed.collect();
    for (volume, why) in kept_back {
        if failures.borrow().get(&volume) != Some(&why) {
            warn!(volume, why, "a volume is kept from the object store");
        }
        failed.insert(volume, why);
    }
    failures.send_if_modified(|told| {
        let new = *told != failed;
        *told = failed;
        new
    });
}

/// The error and what caused it.
fn in_words(error: &AttachError) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Identity;

    fn id(name: &str) -> VolumeId {
        VolumeId::new(name).expect("an id")
    }

    fn wanting(volumes: &[(&str, &str)]) -> BTreeMap<VolumeId, PathBuf> {
        volumes.iter().map(|(name, path)| (id(name), PathBuf::from(path))).collect()
    }

    fn holding(volumes: &[(&str, &str, Phase)]) -> BTreeMap<VolumeId, Holding> {
        let hold = |(name, path, phase): &(&str, &str, Phase)| {
            let leave = Arc::default();
            (id(name), Holding { path: PathBuf::from(path), phase: phase.clone(), leave })
        };
        volumes.iter().map(hold).collect()
    }

    #[test]
    fn only_a_volume_whose_record_is_settled_is_wanted_and_others_say_why() {
        let mounted = wanting(&[("a", "/data/a"), ("b", "/data/b"), ("c", "/data/c")]);
        let mut state = Held::default();
        assert_eq!(wanted(&mounted, &state), wanting(&[]));
        let known = crate::state::example("n1", 1).state;
        state.identity = Identity::Known(Arc::new(known));
        state.settled.insert(PathBuf::from("/data/a"));
        state.kept_back.insert(PathBuf::from("/data/b"), "is being emptied".to_owned());
        assert_eq!(wanted(&mounted, &state), wanting(&[("a", "/data/a")]));
        let told = Failures::from([("b".to_owned(), "is being emptied".to_owned())]);
        assert_eq!(kept_back(&mounted, &state), told);
        // The last copy could not be written: what is in use stays so.
        state.identity = Identity::Awaited("no copy could be written".to_owned());
        assert_eq!(wanted(&mounted, &state), wanting(&[("a", "/data/a")]));
    }

    #[test]
    fn a_volume_that_is_no_longer_settled_is_let_go() {
        let held = holding(&[("a", "/data/a", Phase::Attached)]);
        let (failures, told) = watch::channel(Failures::new());
        let why = Failures::from([("a".to_owned(), "is being emptied".to_owned())]);
        assert_eq!(plan(&wanting(&[]), &held, Instant::now()), [Step::Detach(id("a"))]);
        publish(&held, why.clone(), &failures);
        assert_eq!(*told.borrow(), why);
        publish(&held, Failures::new(), &failures);
        assert_eq!(*told.borrow(), Failures::new());
    }

    #[test]
    fn a_mounted_volume_is_attached_once() {
        let now = Instant::now();
        let wanted = wanting(&[("a", "/data/a")]);
        let attach = Step::Attach(id("a"), PathBuf::from("/data/a"));
        assert_eq!(plan(&wanted, &holding(&[]), now), [attach]);
        for phase in [Phase::Attaching, Phase::Attached, Phase::Detaching] {
            assert_eq!(plan(&wanted, &holding(&[("a", "/data/a", phase)]), now), []);
        }
    }

    #[test]
    fn a_volume_that_went_is_detached() {
        let held = holding(&[("a", "/data/a", Phase::Attached)]);
        assert_eq!(plan(&wanting(&[]), &held, Instant::now()), [Step::Detach(id("a"))]);
    }

    #[test]
    fn a_volume_that_is_mounted_elsewhere_is_detached_first() {
        let held = holding(&[("a", "/data/a", Phase::Attached)]);
        let wanted = wanting(&[("a", "/data/b")]);
        assert_eq!(plan(&wanted, &held, Instant::now()), [Step::Detach(id("a"))]);
    }

    #[test]
    fn a_volume_that_failed_is_tried_again_after_a_while() {
        let now = Instant::now();
        let failed = Phase::Failed { reason: "no".to_owned(), retry_at: now + RETRY };
        let held = holding(&[("a", "/data/a", failed)]);
        let wanted = wanting(&[("a", "/data/a")]);
        assert_eq!(plan(&wanted, &held, now), []);
        let attach = Step::Attach(id("a"), PathBuf::from("/data/a"));
        assert_eq!(plan(&wanted, &held, now + RETRY), [attach]);
        assert_eq!(plan(&wanting(&[]), &held, now), [Step::Forget(id("a"))]);
    }

    #[test]
    fn a_volume_that_goes_while_it_is_attached_is_detached_once() {
        let mut held = holding(&[("a", "/data/a", Phase::Attaching)]);
        let now = Instant::now();
        assert_eq!(plan(&wanting(&[]), &held, now), [Step::Detach(id("a"))]);
        held = holding(&[("a", "/data/a", Phase::Detaching)]);
        assert_eq!(plan(&wanting(&[]), &held, now), []);
        // It was attached before it was told to leave.
        finish(Done::Attached(id("a"), Ok(())), &mut held);
        assert_eq!(plan(&wanting(&[]), &held, now), [Step::Detach(id("a"))]);
    }

    #[tokio::test]
    async fn a_volume_that_waits_for_others_is_let_go_when_its_disk_is_pulled() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let pool = agent_object_store::PoolId::new("node").expect("a pool");
        let mut config = agent_object_store::EngineConfig::new(pool, [1; 32].into());
        // It waits for more blank ones.
        config.founding = Duration::from_secs(3600);
        let store = Engine::open(config);
        let (mut held, mut running) = (BTreeMap::new(), JoinSet::new());
        let classes = BTreeMap::new();
        let attach = Step::Attach(id("a"), dir.path().to_owned());
        start(attach, &classes, &store, &mut held, &mut running);
        start(Step::Detach(id("a")), &classes, &store, &mut held, &mut running);
        let done = running.join_next().await.expect("a step").expect("no panic");
        finish(done, &mut held);
        assert!(held.is_empty(), "{held:?}");
        assert_eq!(agent_object_store::ObjectStore::usage(&store).await.volumes, []);
    }
}
