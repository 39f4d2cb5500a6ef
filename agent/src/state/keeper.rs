//! The owner of the node's state: reads it from volumes as they come, makes it where none ever
//! was, and mirrors it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_object_store::is_retired;
use tracing::{error, info, warn};

use super::anew::{self, Power};
use super::decide::{Decision, Found, Surroundings, VolumeFound, decide, may_make};
use super::decided::Decided;
use super::file;
use super::record::{KeptNetwork, NodeState, Record, RecordError, SecretKey};
use crate::certificate;
use crate::first_user;

/// What is held of the node's state.
#[derive(Debug, Clone)]
pub(crate) enum Identity {
    /// None yet; why, in words.
    Awaited(String),
    /// This one.
    Known(Arc<NodeState>),
}

/// The node's state, and what went wrong with its copies, in words.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// The state.
    pub(crate) identity: Identity,
    /// Trouble with single volumes.
    pub(crate) problems: Vec<String>,
    /// Whether every mounted volume has the state, but for those that only a person can bring back.
    pub(crate) is_everywhere: bool,
    /// Volumes that the object store may have, by where they are mounted: what is on them is of the node as it is now.
    pub(crate) settled: BTreeSet<PathBuf>,
    /// Why it may not have others, in words.
    pub(crate) kept_back: BTreeMap<PathBuf, String>,
}

impl Held {
    /// No state yet; why, and what went wrong, in words.
    pub(crate) fn awaited(why: String, problems: Vec<String>) -> Self {
        Self {
            identity: Identity::Awaited(why),
            problems,
            is_everywhere: false,
            settled: BTreeSet::new(),
            kept_back: BTreeMap::new(),
        }
    }
}

impl Default for Held {
    fn default() -> Self {
        Self::awaited("no disk of this node is in use yet".to_owned(), Vec::new())
    }
}

/// Why no state could be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum MakeError {
    #[error(transparent)]
    Certificate(#[from] certificate::MakeError),
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

/// Keeps the state. Its methods block on disks.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// Host name for the certificate.
    name: String,
    /// Whether the node needs a key that pays gas.
    pays_gas: bool,
    /// Which settings of the network are to be kept; none where it stays at what the record has.
    network: Option<Option<KeptNetwork>>,
    decided: Decided,
    pub(super) power: Power,
    pub(super) current: Option<Record>,
    /// Whether anybody was told of `current`: then it stays as it is until the agent ends.
    pub(super) is_in_use: bool,
    /// Disks that the node goes on without, as its record says.
    without: Vec<String>,
    /// The first user of the record that was made here; none where none was.
    made: Option<String>,
    /// What stands on the volumes, as far as it was read.
    pub(super) known: Vec<VolumeFound>,
    /// Volumes that were emptied here: whatever is left on them is to stay.
    pub(super) emptied: BTreeSet<PathBuf>,
    /// Volumes that nothing is kept on any more.
    pub(super) retired: Vec<PathBuf>,
}

impl Keeper {
    /// A keeper that knows nothing yet; `name` is the host name for a certificate.
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            pays_gas: false,
            network: None,
            decided: Decided::default(),
            power: Power::default(),
            current: None,
            is_in_use: false,
            without: Vec::new(),
            made: None,
            known: Vec::new(),
            emptied: BTreeSet::new(),
            retired: Vec::new(),
        }
    }

    /// Another keeper of the same node that has looked at nothing yet.
    pub(crate) fn afresh(&self) -> Self {
        Self {
            current: self.current.clone(),
            is_in_use: self.is_in_use,
            without: self.without.clone(),
            made: self.made.clone(),
            ..Self::new(self.name.clone()).paying_gas(self.pays_gas)
        }
    }

    /// The same for a node that pays gas where `pays_gas`.
    pub(crate) fn paying_gas(self, pays_gas: bool) -> Self {
        Self { pays_gas, ..self }
    }

    /// Keeps these settings of the network from the next look on, or none.
    pub(crate) fn keep_network(&mut self, network: Option<KeptNetwork>) {
        self.network = Some(network);
    }

    /// Keeps what a person decided from the next look on.
    pub(crate) fn keep_decided(&mut self, decided: Decided) {
        self.decided = decided;
    }

    /// The same on a machine whose power may fail.
    #[cfg(test)]
    pub(super) fn on_power(self, power: Power) -> Self {
        Self { power, ..self }
    }

    /// Takes note of the mounted volumes and brings every copy up to date. A node that is to be made new is made so
    /// before anything of it is held. What is held meanwhile is told where emptying volumes takes long.
    pub(crate) fn look(
        &mut self,
        mounts: &[PathBuf],
        surroundings: &Surroundings,
        tell: &dyn Fn(Held),
    ) -> Held {
        self.read(mounts);
        if !self.is_in_use {
            self.current = None;
            self.without.clear();
        }
        let mut decision = decide(self.current.as_ref(), &self.known, surroundings);
        if let Some((pending, places)) = self.pending(&decision) {
            let why = "the node is made new after a factory reset: this takes some minutes";
            tell(Held::awaited(why.to_owned(), Vec::new()));
            let made = match self.unclear() {
                Some(why) => Err(why),
                None => anew::make_new(&pending, &places, &self.power)
                    .map_err(|error| error.to_string()),
            };
            // What stands there now is what counts, also after a failure.
            self.known.iter_mut().for_each(|volume| *volume = file::read(&volume.mount));
            match made {
                Ok(renewed) => {
                    self.current = Some(renewed);
                    self.emptied.extend(places);
                }
                Err(error) => {
                    error!(error, "the factory reset could not be finished");
                    let why = format!(
                        "the factory reset could not be finished ({error}): restart the machine, and take out \
                         a disk that cannot be written"
                    );
                    let problems = vec![why.clone()];
                    return Held::awaited(why, problems);
                }
            }
            decision = decide(self.current.as_ref(), &self.known, surroundings);
        }
        if decision == Decision::Make {
            match make(&self.name, &surroundings.node_id, self.decided.first_daemon_key()) {
                Ok(state) => {
                    info!(
                        access_key = state.first_user.access_key,
                        "first start: made a certificate, a first user and the node's keys"
                    );
                    self.made = Some(state.first_user.access_key.clone());
                    self.current = Some(Record { generation: 1, state });
                    decision = decide(self.current.as_ref(), &self.known, surroundings);
                }
                Err(error) => {
                    error!(%error, "cannot make a certificate, a first user and a key");
                    decision = Decision::Wait(format!("none could be made: {error}"));
                }
            }
        }
        if let Some(parted) = self.with_parting(&decision, surroundings) {
            self.current = Some(parted);
            decision = decide(self.current.as_ref(), &self.known, surroundings);
        }
        if let Some(with_keys) = self.with_keys(&decision, surroundings) {
            self.current = Some(with_keys);
            decision = decide(self.current.as_ref(), &self.known, surroundings);
        }
        for change in [Self::with_network, Self::with_decided] {
            if let Some(changed) = change(self, &decision) {
                self.current = Some(changed);
                decision = decide(self.current.as_ref(), &self.known, surroundings);
            }
        }
        match decision {
            Decision::Use { record, write } => self.mirror(*record, write, tell),
            Decision::Wait(why) => Held::awaited(why, Vec::new()),
            // Answered above: after making, a record is in use.
            Decision::Make => Held::default(),
        }
    }

    /// Reads the records of volumes that are new, and again those that could not be read.
    fn read(&mut self, mounts: &[PathBuf]) {
        self.known.retain(|VolumeFound { mount, found }| {
            mounts.contains(mount) && !matches!(found, Found::Unreadable(_))
        });
        self.emptied.retain(|mount| mounts.contains(mount));
        self.retired.retain(|mount| mounts.contains(mount));
        for mount in mounts {
            if self.retired.contains(mount)
                || self.known.iter().any(|volume| volume.mount == *mount)
            {
                continue;
            }
            if is_retired(mount) {
                self.leave(mount);
            } else {
                self.known.push(file::read(mount));
            }
        }
    }

    /// The record in use with keys that it lacks, where no disk can have them. They are the node's addresses on
    /// chain: while a disk is away that may hold the real ones, none is made.
    fn with_keys(&self, decision: &Decision, surroundings: &Surroundings) -> Option<Record> {
        let Decision::Use { record, .. } = decision else { return None };
        let Record { generation, state } = &**record;
        let lacks_daemon = state.daemon_key.is_none();
        let lacks_gas = self.pays_gas && state.gas_key.is_none();
        if !(lacks_daemon || lacks_gas) || !may_make(&self.known, surroundings) {
            return None;
        }
        let made = |lacks: bool, held: &Option<SecretKey>| match lacks {
            true => random_key().map(Some),
            false => Ok(held.clone()),
        };
        let given = self.decided.first_daemon_key().filter(|_| lacks_daemon);
        let daemon = match given {
            Some(given) => Ok(Some(given)),
            None => made(lacks_daemon, &state.daemon_key),
        };
        let keys = daemon.and_then(|daemon| Ok((daemon, made(lacks_gas, &state.gas_key)?)));
        let (daemon_key, gas_key) = match keys {
            Ok(keys) => keys,
            Err(error) => {
                error!(%error, "cannot make the node's keys on chain");
                return None;
            }
        };
        info!(
            daemon = lacks_daemon,
            gas = lacks_gas,
            "made keys that the node's record did not have"
        );
        let state = NodeState { daemon_key, gas_key, ..state.clone() };
        Some(Record { generation: generation + 1, state })
    }

    /// The record in use with all partings of its time, and with another where a disk is away that was not before. It is no newer
    /// than without: of what was changed on two disks that were in use without each other, the later change is to count.
    fn with_parting(&mut self, decision: &Decision, surroundings: &Surroundings) -> Option<Record> {
        let Decision::Use { record, .. } = decision else { return None };
        let on_volumes = self.known.iter().filter_map(|volume| match &volume.found {
            Found::Record(found) => Some(&**found),
            _ => None,
        });
        let of_its_time = on_volumes
            .chain(&self.current)
            .filter(|other| other.state.is_of_one_time(&record.state));
        let mut state =
            record.state.with_partings(of_its_time.flat_map(|other| other.state.partings.clone()));
        if surroundings.absent.iter().any(|name| !self.without.contains(name)) {
            let mut number = [0; 8];
            match getrandom::fill(&mut number) {
                Ok(()) => {
                    info!(absent = ?surroundings.absent, "the node goes on without some of its disks");
                    state = state.parted(u64::from_le_bytes(number));
                }
                Err(error) => {
                    error!(%error, "cannot note that the node goes on without some disks");
                    return None;
                }
            }
        }
        self.without.clone_from(&surroundings.absent);
        (state != record.state).then(|| Record { generation: record.generation, state })
    }

    /// Forgets that it is noted which disks the node goes on without: it could not be written.
    pub(super) fn part_again(&mut self) {
        self.without.clear();
    }

    /// The record in use with other settings of the network, where others are to be kept.
    fn with_network(&self, decision: &Decision) -> Option<Record> {
        let Decision::Use { record, .. } = decision else { return None };
        let wanted = self.network.as_ref().filter(|wanted| **wanted != record.state.network)?;
        info!(kept = wanted.is_some(), "the node's record has other settings of the network now");
        let state = NodeState { network: wanted.clone(), ..record.state.clone() };
        Some(Record { generation: record.generation + 1, state })
    }

    /// The record in use with what a person decided, where that is something else.
    fn with_decided(&self, decision: &Decision) -> Option<Record> {
        let Decision::Use { record, .. } = decision else { return None };
        let is_made = self.made.as_ref() == Some(&record.state.first_user.access_key);
        let changed = self.decided.applied_to(&record.state, is_made);
        let mut state = changed.unwrap_or_else(|| record.state.clone());
        match self.decided.reset {
            Some(scope) if anew::reset_scope(&state) == Some(scope) => {}
            Some(scope) => match anew::marked(&state, scope, &self.name) {
                Ok(marked) => {
                    state = marked;
                    self.take_in(&mut state);
                }
                Err(error) => error!(%error, "cannot make what the node is to become"),
            },
            // Taken back, or of a disk that comes while the node is in use: nobody wants it any more.
            None if state.reset.is_some() => {
                warn!("a factory reset that was not finished is taken back");
                state.reset = None;
            }
            None => {}
        }
        if state == record.state {
            return None;
        }
        info!("the node's record has what was decided on the console");
        Some(Record { generation: record.generation + 1, state })
    }

    /// A record that asks for a node that is made new, and where that is to be done: only before anything of the node
    /// is held, as what is held is in use.
    fn pending(&self, decision: &Decision) -> Option<(Record, Vec<PathBuf>)> {
        let Decision::Use { record, .. } = decision else { return None };
        if self.current.is_some() || record.state.reset.is_none() {
            return None;
        }
        let next = Record { generation: 0, state: record.state.reset.as_deref()?.clone() };
        let is_meant = |volume: &&VolumeFound| match &volume.found {
            Found::Record(found) if found.state.node_id == next.state.node_id => {
                !anew::was_in_use_since(found, &next)
            }
            _ => true,
        };
        let places = self.known.iter().filter(is_meant).map(|volume| volume.mount.clone());
        Some(((**record).clone(), places.collect()))
    }

    /// Has a reset mean every disk that is there, also one that was in use by itself.
    fn take_in(&self, state: &mut NodeState) {
        let numbers = self.known.iter().filter_map(|volume| match &volume.found {
            Found::Record(found) if found.state.node_id == state.node_id => {
                Some(found.state.partings.clone())
            }
            _ => None,
        });
        let numbers: Vec<u64> = numbers.flatten().collect();
        state.reset = state.reset.take().map(|next| Box::new(next.with_partings(numbers)));
    }

    /// A volume that says nothing of whether it is to be emptied, in words.
    fn unclear(&self) -> Option<String> {
        self.known.iter().find_map(|volume| {
            let why = match &volume.found {
                Found::Unusable(error @ RecordError::Newer { .. }) => error.to_string(),
                Found::Unreadable(why) => why.clone(),
                Found::Nothing | Found::Record(_) | Found::Unusable(RecordError::Damaged(_)) => {
                    return None;
                }
            };
            Some(format!("the node's record on {} cannot be read: {why}", volume.mount.display()))
        })
    }

    /// Looks at every volume again the next time, as one was retired.
    pub(crate) fn look_again(&mut self) {
        self.known.clear();
    }

    fn leave(&mut self, mount: &Path) {
        match file::destroy(mount) {
            Ok(()) => info!(mount = %mount.display(), "nothing of the node is on a retired disk"),
            Err(error) => {
                error!(mount = %mount.display(), %error, "keys of the node are left on a retired disk");
            }
        }
        self.retired.push(mount.to_owned());
    }
}

/// A new state, with a daemon key that was given or a random one.
pub(super) fn make(
    name: &str,
    node_id: &str,
    daemon_key: Option<SecretKey>,
) -> Result<NodeState, MakeError> {
    let made = certificate::make(name, node_id)?;
    Ok(NodeState {
        node_id: node_id.to_owned(),
        certificate_pem: made.certificate_pem,
        key_pem: made.key_pem,
        first_user: first_user::make()?,
        pool_key: random_key()?,
        daemon_key: Some(daemon_key.map_or_else(random_key, Ok)?),
        gas_key: None,
        network: None,
        pin: None,
        set_up: false,
        reset: None,
        resets: 0,
        partings: Vec::new(),
    })
}

/// 32 random bytes: also a key of secp256k1, but for one case in 2^127.
fn random_key() -> Result<SecretKey, getrandom::Error> {
    let mut key = SecretKey::default();
    getrandom::fill(key.as_mut_slice())?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Surroundings {
        Surroundings { node_id: "n1".to_owned(), absent: Vec::new(), is_early: false }
    }

    fn volumes(dir: &tempfile::TempDir, names: &[&str]) -> Vec<PathBuf> {
        let mount = |name: &&str| {
            let mount = dir.path().join(name);
            std::fs::create_dir_all(&mount).expect("a volume");
            mount
        };
        names.iter().map(mount).collect()
    }

    fn pool_key(held: &Held) -> SecretKey {
        let Identity::Known(state) = &held.identity else { panic!("{held:?}") };
        state.pool_key.clone()
    }

    fn access_key(held: &Held) -> String {
        let Identity::Known(state) = &held.identity else { panic!("{held:?}") };
        state.first_user.access_key.clone()
    }

    #[test]
    fn one_disk_of_several_is_enough_to_keep_the_state() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut keeper = Keeper::new("node".to_owned());
        let made = access_key(&keeper.look(&volumes(&dir, &["a"]), &node(), &|_| ()));
        // A second disk comes: mirrored. The first goes; after a restart the second is enough.
        assert_eq!(access_key(&keeper.look(&volumes(&dir, &["a", "b"]), &node(), &|_| ())), made);
        let mut restarted = Keeper::new("node".to_owned());
        let absent = Surroundings { absent: vec!["a".to_owned()], ..node() };
        assert_eq!(access_key(&restarted.look(&volumes(&dir, &["b"]), &absent, &|_| ())), made);
        // And a third, blank one gets its copy from there.
        restarted.look(&volumes(&dir, &["b", "c"]), &absent, &|_| ());
        let mut again = Keeper::new("node".to_owned());
        assert_eq!(access_key(&again.look(&volumes(&dir, &["c"]), &node(), &|_| ())), made);
    }

    #[test]
    fn the_pool_s_key_is_random_and_read_back_from_any_disk() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mounts = volumes(&dir, &["a", "b", "other"]);
        let made = pool_key(&Keeper::new("node".to_owned()).look(&mounts[..2], &node(), &|_| ()));
        let again = pool_key(&Keeper::new("node".to_owned()).look(&mounts[1..2], &node(), &|_| ()));
        assert_eq!(again, made);
        let other = pool_key(&Keeper::new("node".to_owned()).look(&mounts[2..], &node(), &|_| ()));
        assert!(other != made && *other != [0; 32], "every node has another one");
    }

    fn daemon_key(held: &Held) -> Option<SecretKey> {
        let Identity::Known(state) = &held.identity else { panic!("{held:?}") };
        state.daemon_key.clone()
    }

    #[test]
    fn a_record_of_an_earlier_release_gets_a_daemon_key_once_all_disks_are_there() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mounts = volumes(&dir, &["a", "b"]);
        let mut earlier = crate::state::record::example("n1", 3);
        earlier.state.daemon_key = None;
        let place = super::super::decide::Write { mount: mounts[0].clone(), set_aside: false };
        file::write(&place, &earlier).expect("written");
        let absent = Surroundings { absent: vec!["b".to_owned()], ..node() };
        let mut keeper = Keeper::new("node".to_owned());
        assert_eq!(daemon_key(&keeper.look(&mounts[..1], &absent, &|_| ())), None, "b may hold it");
        let made = daemon_key(&keeper.look(&mounts, &node(), &|_| ())).expect("a key");
        assert_eq!(daemon_key(&keeper.look(&mounts[..1], &absent, &|_| ())), Some(made.clone()));
        let mut restarted = Keeper::new("node".to_owned());
        let held = restarted.look(&mounts[1..], &absent, &|_| ());
        assert_eq!((daemon_key(&held), access_key(&held)), (Some(made), "ACCESS3".to_owned()));
    }

    #[test]
    fn a_gas_key_is_made_once_for_a_node_that_pays_and_stays_when_it_does_not() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mounts = volumes(&dir, &["a", "b"]);
        let gas_key = |pays: bool, mounts: &[PathBuf], absent: &[&str]| {
            let absent = absent.iter().map(|name| (*name).to_owned()).collect();
            let mut keeper = Keeper::new("node".to_owned()).paying_gas(pays);
            let held = keeper.look(mounts, &Surroundings { absent, ..node() }, &|_| ());
            let Identity::Known(state) = &held.identity else { panic!("{held:?}") };
            state.gas_key.clone()
        };
        assert_eq!(gas_key(false, &mounts, &[]), None);
        assert_eq!(gas_key(true, &mounts[..1], &["b"]), None, "b may hold it");
        let made = gas_key(true, &mounts, &[]).expect("a key");
        assert!(*made != [0; 32]);
        assert_eq!(gas_key(true, &mounts[1..], &["a"]), Some(made.clone()));
        assert_eq!(gas_key(false, &mounts, &[]), Some(made));
    }

    #[test]
    fn settings_of_the_network_wait_for_a_record_and_outlive_a_restart() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let network = |held: &Held| {
            let Identity::Known(state) = &held.identity else { panic!("{held:?}") };
            state.network.clone()
        };
        let kept = Some(KeptNetwork { text: "[network]\n".to_owned(), seed: "5a".to_owned() });
        let mut keeper = Keeper::new("node".to_owned());
        keeper.keep_network(kept.clone());
        assert!(matches!(keeper.look(&[], &node(), &|_| ()).identity, Identity::Awaited(_)));
        let mounts = volumes(&dir, &["a", "b"]);
        assert_eq!(network(&keeper.look(&mounts, &node(), &|_| ())), kept);
        let mut restarted = Keeper::new("node".to_owned());
        assert_eq!(network(&restarted.look(&mounts[1..], &node(), &|_| ())), kept);
        restarted.keep_network(None);
        assert_eq!(network(&restarted.look(&mounts[1..], &node(), &|_| ())), None);
        // The other disk has the older record, which does not come back.
        let mut again = Keeper::new("node".to_owned());
        assert_eq!(network(&again.look(&mounts, &node(), &|_| ())), None);
    }

    #[test]
    fn the_state_stays_while_every_disk_is_away() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut keeper = Keeper::new("node".to_owned());
        let made = access_key(&keeper.look(&volumes(&dir, &["a"]), &node(), &|_| ()));
        assert_eq!(access_key(&keeper.look(&[], &node(), &|_| ())), made);
    }

    #[test]
    fn a_blank_disk_beside_missing_ones_makes_nobody_new() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let absent = Surroundings { absent: vec!["wwn-1".to_owned()], ..node() };
        let mounts = volumes(&dir, &["a"]);
        let mut keeper = Keeper::new("node".to_owned());
        assert!(matches!(keeper.look(&mounts, &absent, &|_| ()).identity, Identity::Awaited(_)));
        assert!(!mounts[0].join("state").exists(), "nothing was written");
        assert!(matches!(keeper.look(&mounts, &node(), &|_| ()).identity, Identity::Known(_)));
    }

    #[test]
    fn nobody_gets_in_with_a_state_that_could_not_be_written() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mount = dir.path().join("a");
        std::fs::create_dir(&mount).expect("a volume");
        std::fs::write(mount.join("state"), "a file in the way").expect("a file");
        let mut keeper = Keeper::new("node".to_owned());
        let held = keeper.look(&[mount], &node(), &|_| ());
        assert!(matches!(held.identity, Identity::Awaited(_)), "{held:?}");
    }
}
