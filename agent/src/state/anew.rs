//! A node that is made new. That it is to be stands in its record on every volume ([`NodeState::reset`]); this does it at
//! the next start, and goes on where the power was cut:
//!
//! | step | a cut behind it leaves |
//! |---|---|
//! | the record with the mark and all that the node becomes, on every volume | the mark: all that follows is done at the next start |
//! | each volume: keys of the pool written over, then what else is of the node removed | the mark |
//! | the new record, without the mark, with one reset more, on each volume | volumes with the old one: emptied, as they say one reset less |
//!
//! A disk that was away meanwhile says one reset less when it comes back, and is emptied. The object store does not have it
//! before that is done and its new record is on stable storage ([`mirror`](super::mirror)).
//!
//! It is not emptied where the node was in use with it alone in between, as what is on it may be newer then. Each time that the node
//! goes on without a disk it notes a random number in the record ([`NodeState::partings`]): a disk of before with a number that the
//! record in use does not have is kept back. Nor does a disk with one reset more take anything out of use, or one of another
//! reset that was done without those in use: its pool has another key. Known faults: a node
//! that does not know of a disk that is away, as it gave it up, notes nothing, and so does an earlier release; a disk of
//! before that such a node used alone is emptied.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
#[cfg(test)]
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::{AtomicUsize, Ordering};

use agent_api::local::ResetScope;
use agent_object_store::destroy_volume;
use tracing::{info, warn};

use super::decide::Found;
use super::file::{self, FILE, FOLDER};
use super::keeper::{MakeError, make};
use super::record::{NodeState, Record, RecordError};

/// The folder of readings of the hardware, which is of the machine and may be in use already.
const READINGS: &str = "health";

/// Why a volume was not emptied.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}", .path.display())]
pub(crate) struct EraseError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The machine's power; in tests it may fail before any step.
#[derive(Debug, Clone, Default)]
pub(super) struct Power {
    #[cfg(test)]
    steps_left: Option<Arc<AtomicUsize>>,
}

impl Power {
    /// Power for so many steps.
    #[cfg(test)]
    pub(super) fn for_steps(steps: usize) -> Self {
        Self { steps_left: Some(Arc::new(AtomicUsize::new(steps))) }
    }

    #[cfg(test)]
    pub(super) fn step(&self) -> io::Result<()> {
        let Some(left) = &self.steps_left else { return Ok(()) };
        let less = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        less.map(|_| ()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "tests have the power fail")]
    pub(super) fn step(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A state with the mark that the node is to be made new, and what it becomes then.
///
/// # Errors
/// There are no new keys.
pub(super) fn marked(
    state: &NodeState,
    scope: ResetScope,
    name: &str,
) -> Result<NodeState, MakeError> {
    let made = make(name, &state.node_id, None)?;
    let next = match scope {
        ResetScope::KeepIdentity => NodeState {
            certificate_pem: state.certificate_pem.clone(),
            key_pem: state.key_pem.clone(),
            daemon_key: state.daemon_key.clone(),
            gas_key: state.gas_key.clone(),
            ..made
        },
        ResetScope::ForgetIdentity => made,
    };
    let resets = state.resets.saturating_add(1);
    let next = NodeState { resets, partings: state.partings.clone(), ..next };
    Ok(NodeState { reset: Some(Box::new(next)), ..state.clone() })
}

/// What goes when a node is made new that is to be; none where it is not.
pub(crate) fn reset_scope(state: &NodeState) -> Option<ResetScope> {
    Some(scope_between(state, state.reset.as_deref()?))
}

/// Empties these volumes; tells the record that the node has from now on, which is the one in use where it is not to be
/// made new.
///
/// # Errors
/// [`EraseError`]; it is to be done again then.
pub(super) fn make_new(
    record: &Record,
    places: &[PathBuf],
    power: &Power,
) -> Result<Record, EraseError> {
    let Some(next) = record.state.reset.as_deref() else { return Ok(record.clone()) };
    let scope = scope_between(&record.state, next);
    warn!(
        ?scope,
        volumes = places.len(),
        "the node is made new, as was decided: all objects are destroyed"
    );
    for mount in places {
        erase(mount, scope, power)?;
        forget_damaged(mount)?;
    }
    info!(access_key = next.first_user.access_key, "the node is new");
    Ok(Record { generation: record.generation.saturating_add(1), state: next.clone() })
}

/// Removes a damaged record, which may have keys of before.
fn forget_damaged(mount: &Path) -> Result<(), EraseError> {
    match file::read(mount).found {
        Found::Unusable(RecordError::Damaged(_)) => overwrite(&mount.join(FOLDER).join(FILE)),
        _ => Ok(()),
    }
}

/// Writes over a file of a volume and removes it.
fn overwrite(path: &Path) -> Result<(), EraseError> {
    file::overwrite(path).map_err(|source| EraseError {
        operation: "write over",
        path: path.to_owned(),
        source,
    })
}

/// Whether a record on a volume is from before the node was made new.
pub(super) fn is_of_before(found: &Record, current: &Record) -> bool {
    found.state.node_id == current.state.node_id && found.state.resets < current.state.resets
}

/// Whether the node was in use with a record of before only, after it was made new without it: then what is on its volume may be
/// newer than that.
pub(super) fn was_in_use_since(before: &Record, current: &Record) -> bool {
    before.state.partings.iter().any(|number| !current.state.partings.contains(number))
}

/// What went when a node with one state became one with another.
pub(super) fn scope_between(before: &NodeState, now: &NodeState) -> ResetScope {
    match before.daemon_key == now.daemon_key {
        true => ResetScope::KeepIdentity,
        false => ResetScope::ForgetIdentity,
    }
}

/// Removes everything from a volume but the node's record and readings of the hardware: the keys of the pool first. Where the node keeps its identity,
/// what else it remembers of oracles and payments stays too.
///
/// # Errors
/// [`EraseError`]; the same call goes on then.
pub(super) fn erase(mount: &Path, scope: ResetScope, power: &Power) -> Result<(), EraseError> {
    let failed = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| EraseError { operation, path, source }
    };
    power
        .step()
        .and_then(|()| destroy_volume(mount))
        .map_err(failed("destroy the pool on", mount))?;
    let state = mount.join(FOLDER);
    remove_but(mount, |name| [FOLDER, READINGS].contains(&name), power)?;
    if state.exists() {
        for name in file::LEFTOVERS {
            power.step().map_err(failed("write over", &state))?;
            overwrite(&state.join(name))?;
        }
        let stays = |name: &str| {
            let is_memory = !name.starts_with('.') && !name.starts_with(FILE);
            name == FILE || (scope == ResetScope::KeepIdentity && is_memory)
        };
        remove_but(&state, stays, power)?;
    }
    Ok(())
}

/// Removes what a folder holds, but for some names.
fn remove_but(
    folder: &Path,
    stays: impl Fn(&str) -> bool,
    power: &Power,
) -> Result<(), EraseError> {
    let failed = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| EraseError { operation, path, source }
    };
    for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
        let entry = entry.map_err(failed("list", folder))?;
        if entry.file_name().to_str().is_some_and(&stays) {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type().map_err(failed("look at", &path))?;
        let remove =
            || if kind.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        power.step().and_then(|()| remove()).map_err(failed("remove", &path))?;
    }
    let sync = || fs::File::open(folder)?.sync_all();
    sync().map_err(failed("sync", folder))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::state::{Decided, Held, Identity, Keeper, Surroundings};

    /// More steps than a reset of three volumes has.
    pub(in crate::state) const STEPS: usize = 100;

    pub(in crate::state) fn node() -> Surroundings {
        Surroundings { node_id: "n1".to_owned(), absent: Vec::new(), is_early: false }
    }

    pub(in crate::state) fn state(held: &Held) -> NodeState {
        let Identity::Known(state) = &held.identity else { panic!("{held:?}") };
        NodeState::clone(state)
    }

    /// A volume with superblocks, objects, a leftover and what the SLA remembers.
    pub(in crate::state) fn fill(mount: &Path) {
        for (path, text) in [
            ("icn-pool/superblock-0", "a key"),
            ("icn-pool/superblock-1", "a key"),
            ("icn-pool/extents/1/2", "an object"),
            ("health/history/db", "readings"),
            ("leftover", "anything"),
            ("state/sla/receipts", "a receipt"),
            ("state/agent.json.damaged", "old keys"),
        ] {
            let path = mount.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
    }

    pub(in crate::state) struct Volumes {
        _dir: tempfile::TempDir,
        pub(in crate::state) mounts: Vec<PathBuf>,
        /// The state that they have.
        pub(in crate::state) state: NodeState,
    }

    /// Two volumes of a node that is to be made new.
    pub(in crate::state) fn marked(scope: ResetScope) -> Volumes {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mounts: Vec<PathBuf> = ["a", "b"].iter().map(|name| dir.path().join(name)).collect();
        mounts.iter().for_each(|mount| fill(mount));
        let mut keeper = Keeper::new("node".to_owned());
        let decided =
            Decided { pin: Some(Some("hash".to_owned())), set_up: true, ..Decided::default() };
        keeper.keep_decided(decided.clone());
        keeper.look(&mounts, &node(), &|_| ());
        keeper.keep_decided(Decided { reset: Some(scope), ..decided });
        let held = keeper.look(&mounts, &node(), &|_| ());
        let state = state(&held);
        assert_eq!((reset_scope(&state), state.resets, state.set_up), (Some(scope), 0, true));
        assert!(
            mounts[0].join("icn-pool/extents/1/2").exists(),
            "it is in use until the next start"
        );
        Volumes { _dir: dir, mounts, state }
    }

    pub(in crate::state) fn check_new(volumes: &Volumes, scope: ResetScope, state: &NodeState) {
        let before = &volumes.state;
        assert_eq!(
            (&state.reset, state.resets, state.set_up, &state.pin),
            (&None, 1, false, &None)
        );
        assert_eq!(state.node_id, before.node_id);
        assert!(state.pool_key != before.pool_key);
        assert!(state.first_user.access_key != before.first_user.access_key);
        let keeps = scope == ResetScope::KeepIdentity;
        assert_eq!(state.daemon_key == before.daemon_key, keeps);
        assert_eq!(state.certificate_pem == before.certificate_pem, keeps);
        for mount in &volumes.mounts {
            let names = |folder: &Path| -> Vec<String> {
                let entries = fs::read_dir(folder).expect("a folder");
                let names = entries.map(|entry| entry.expect("an entry").file_name().into_string());
                let mut names: Vec<_> = names.map(|name| name.expect("UTF-8")).collect();
                names.sort();
                names
            };
            assert_eq!(names(mount), ["health", "state"]);
            let memory = names(&mount.join("state"));
            assert_eq!(memory.contains(&"sla".to_owned()), keeps, "{memory:?}");
            assert_eq!(memory.len(), if keeps { 2 } else { 1 }, "{memory:?}");
        }
    }

    #[test]
    fn a_node_is_made_new_and_keeps_what_it_is_to_keep() {
        for scope in [ResetScope::KeepIdentity, ResetScope::ForgetIdentity] {
            let volumes = marked(scope);
            let held = Keeper::new("node".to_owned()).look(&volumes.mounts, &node(), &|_| ());
            check_new(&volumes, scope, &state(&held));
            let again = Keeper::new("node".to_owned()).look(&volumes.mounts, &node(), &|_| ());
            assert_eq!(state(&again), state(&held), "it is done once");
        }
    }

    #[test]
    fn a_reset_cut_at_any_step_is_finished_at_the_next_start() {
        for scope in [ResetScope::KeepIdentity, ResetScope::ForgetIdentity] {
            let mut finished = false;
            for steps in 0..STEPS {
                let volumes = marked(scope);
                let power = Power::for_steps(steps);
                let held = Keeper::new("node".to_owned()).on_power(power).look(
                    &volumes.mounts,
                    &node(),
                    &|_| (),
                );
                finished = matches!(held.identity, Identity::Known(_));
                let held = Keeper::new("node".to_owned()).look(&volumes.mounts, &node(), &|_| ());
                check_new(&volumes, scope, &state(&held));
                if finished {
                    assert!(steps >= 6, "{steps}");
                    break;
                }
            }
            assert!(finished, "{STEPS} steps are not enough");
        }
    }

    #[test]
    fn a_cut_between_the_new_records_empties_the_other_volume() {
        let volumes = marked(ResetScope::KeepIdentity);
        let (a, b) = (&volumes.mounts[..1], &volumes.mounts[1..]);
        // The second volume is away, and so has neither been emptied nor the new record.
        let mut keeper = Keeper::new("node".to_owned());
        let made = state(&keeper.look(a, &node(), &|_| ()));
        assert!(b[0].join("icn-pool/extents/1/2").exists());
        let held = keeper.look(&volumes.mounts, &node(), &|_| ());
        assert_eq!(state(&held), made);
        check_new(&volumes, ResetScope::KeepIdentity, &made);
    }

    #[test]
    fn a_volume_with_a_damaged_record_is_emptied_with_the_others() {
        let volumes = marked(ResetScope::ForgetIdentity);
        fs::write(volumes.mounts[1].join("state/agent.json"), "torn").expect("a damaged record");
        let held = Keeper::new("node".to_owned()).look(&volumes.mounts, &node(), &|_| ());
        check_new(&volumes, ResetScope::ForgetIdentity, &state(&held));
    }

    #[test]
    fn a_volume_whose_record_nobody_understands_stops_it() {
        let volumes = marked(ResetScope::KeepIdentity);
        let path = volumes.mounts[1].join("state/agent.json");
        let kept = fs::read_to_string(&path).expect("a record");
        let newer = kept.replacen("\"version\":1,", "\"version\":99,", 1);
        fs::write(&path, newer).expect("a record of a later release");
        let held = Keeper::new("node".to_owned()).look(&volumes.mounts, &node(), &|_| ());
        let Identity::Awaited(why) = &held.identity else { panic!("{held:?}") };
        assert!(why.contains("could not be finished") && why.contains("cannot be read"), "{why}");
        assert!(volumes.mounts[0].join("icn-pool/extents/1/2").exists(), "nothing was removed");
        fs::write(&path, kept).expect("a record");
        let held = Keeper::new("node".to_owned()).look(&volumes.mounts, &node(), &|_| ());
        check_new(&volumes, ResetScope::KeepIdentity, &state(&held));
    }

    #[test]
    fn a_mark_that_comes_while_the_node_is_in_use_is_dropped() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mounts = ["a", "b"].map(|name| dir.path().join(name));
        mounts.iter().for_each(|mount| fill(mount));
        Keeper::new("node".to_owned()).look(&mounts, &node(), &|_| ());
        let mut marking = Keeper::new("node".to_owned());
        marking
            .keep_decided(Decided { reset: Some(ResetScope::KeepIdentity), ..Decided::default() });
        let before = state(&marking.look(&mounts[1..], &node(), &|_| ()));
        assert!(before.reset.is_some());
        // The disk without it comes first.
        let mut keeper = Keeper::new("node".to_owned());
        keeper.look(&mounts[..1], &node(), &|_| ());
        let held = keeper.look(&mounts, &node(), &|_| ());
        assert_eq!(state(&held), NodeState { reset: None, ..before });
        assert!(held.is_everywhere);
        let again = Keeper::new("node".to_owned()).look(&mounts, &node(), &|_| ());
        assert_eq!(state(&again), state(&held));
        assert!(mounts.iter().all(|mount| mount.join("icn-pool/extents/1/2").exists()));
    }

    #[test]
    fn whichever_volume_comes_first_the_node_becomes_the_same() {
        let volumes = marked(ResetScope::ForgetIdentity);
        let alone = |at: usize| {
            let mount = std::slice::from_ref(&volumes.mounts[at]);
            state(&Keeper::new("node".to_owned()).look(mount, &node(), &|_| ()))
        };
        let (a, b) = (alone(0), alone(1));
        assert_eq!(a, b);
        check_new(&volumes, ResetScope::ForgetIdentity, &a);
    }

    #[test]
    fn a_volume_with_superblocks_written_over_half_is_finished() {
        let volumes = marked(ResetScope::KeepIdentity);
        fs::write(volumes.mounts[0].join("icn-pool/superblock-0"), [0; 5]).expect("half");
        let held = Keeper::new("node".to_owned()).look(&volumes.mounts, &node(), &|_| ());
        check_new(&volumes, ResetScope::KeepIdentity, &state(&held));
    }

    #[test]
    fn a_volume_that_another_process_uses_stops_it() {
        let volumes = marked(ResetScope::KeepIdentity);
        let lock = fs::File::create(volumes.mounts[1].join("icn-pool/lock")).expect("a lock");
        lock.try_lock().expect("free");
        let held = Keeper::new("node".to_owned()).look(&volumes.mounts, &node(), &|_| ());
        let Identity::Awaited(why) = &held.identity else { panic!("{held:?}") };
        assert!(why.contains("factory reset could not be finished"), "{why}");
        drop(lock);
        let held = Keeper::new("node".to_owned()).look(&volumes.mounts, &node(), &|_| ());
        check_new(&volumes, ResetScope::KeepIdentity, &state(&held));
    }
}
