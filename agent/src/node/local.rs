//! What only a person at the console decides: disks claimed by hand, the PIN, the first steps, the daemon key's
//! words, and the way back to a node that is new.
//!
//! What is to be kept goes into the node's record. Before a first disk is in use there is none: it waits in memory then,
//! and ends with a restart.

mod words;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_api::control::{Reply, Request, Secret};
use agent_api::local::ResetScope;
use agent_sla::protocol::key::SigningKey;
use disk_manager_plan::hardware::{Answer, Request as DiskRequest};
use disk_manager_plan::report::{DiskId, DiskReport, LOOKING, Ownership, VolumePhase};
use provisioning_config::{Changes, PinHash, SALT};
use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::{info, warn};

use super::Node;
use super::control::refused;
use super::pin::{KeptPin, UNKNOWN};
use super::system::{self, MachineRequest};
use crate::state::{Decided, GivenKey, Identity, NodeState, SecretKey, reset_scope};

/// How long the record may take to be written to every disk: each gets a few kilobytes.
const KEEPING_TAKES: Duration = Duration::from_secs(20);

/// How long after the start icn-disks may take to tell of disks and to look at them: later, the node is set up without them.
const FIRST_REPORT: Duration = Duration::from_secs(30);

/// How long icn-disks may take to answer about a claim by hand: it asks the disk for its SMART before.
const CLAIM_ANSWER: Duration = Duration::from_secs(55);

/// How many of the last characters of the node's id are typed to make it new.
const NODE_END: usize = 6;

/// Folders of a volume that have something in them once the daemon key was used.
const USED_BY: [&str; 2] = ["state/sla", "state/settlement"];

/// What was decided since the agent was started.
#[derive(Debug)]
pub(crate) struct Keeping {
    /// Whether node.toml answers what the first steps would ask.
    is_answered: bool,
    /// Whether all of node.toml was read.
    is_clear: bool,
    started: Instant,
    decided: watch::Sender<Decided>,
    /// One decides at a time.
    turn: Mutex<()>,
}

impl Keeping {
    /// For a node whose node.toml answers what the first steps would ask, or does not, and was read in full, or was
    /// not.
    pub(crate) fn new(is_answered: bool, is_clear: bool) -> Self {
        let (decided, turn) = (watch::Sender::default(), Mutex::default());
        Self { is_answered, is_clear, started: Instant::now(), decided, turn }
    }

    /// What the record is to have.
    pub(crate) fn decided(&self) -> watch::Receiver<Decided> {
        self.decided.subscribe()
    }
}

/// The state that the node has by now.
fn known(node: &Node) -> Option<Arc<NodeState>> {
    match &node.held.borrow().identity {
        Identity::Known(state) => Some(Arc::clone(state)),
        Identity::Awaited(_) => None,
    }
}

/// What is known of a PIN that was set on the node.
pub(crate) fn kept_pin(node: &Node) -> KeptPin {
    let state = known(node);
    let decided = node.local.decided.borrow().clone();
    let pin = match state {
        Some(state) => decided.pin.unwrap_or_else(|| state.pin.clone()),
        None if may_have_record(node) => return KeptPin::Unknown,
        None => decided.for_new.pin,
    };
    pin.map_or(KeptPin::Nothing, KeptPin::Hash)
}

/// Whether a disk may have the node's record: only one of its own can, and not while it is being claimed.
fn may_have_record(node: &Node) -> bool {
    let is_early = node.local.started.elapsed() < FIRST_REPORT;
    match &node.disks.borrow().latest {
        Some(report) => has_old_disks(report) || (is_early && is_looking(report)),
        None => is_early,
    }
}

fn is_looking(report: &DiskReport) -> bool {
    report.disks.iter().any(|disk| disk.reasons.iter().any(|reason| reason == LOOKING))
}

fn has_old_disks(report: &DiskReport) -> bool {
    let phases = report.disks.iter().filter(|disk| disk.ownership == Ownership::Ours);
    let mut phases = phases.map(|disk| disk.volume.as_ref().map(|volume| &volume.phase)).peekable();
    let is_named_without_any = report.node_id.is_some() && phases.peek().is_none();
    is_named_without_any
        || !report.missing.is_empty()
        || phases.any(|phase| !matches!(phase, Some(VolumePhase::Claiming)))
}

/// Whether the first steps are done or needless.
pub(crate) fn is_set_up(node: &Node) -> bool {
    if node.local.is_answered {
        return true;
    }
    let state = known(node);
    let decided = node.local.decided.borrow();
    decided.set_up || state.map_or(decided.for_new.set_up, |state| state.set_up)
}

/// Answers such a request.
pub(crate) async fn answer(node: &Node, request: Request) -> Reply {
    let done = match request {
        Request::ClaimDisk { disk, serial_end } => {
            info!(disk, "a disk is claimed by hand, as asked for on the control socket");
            ask_disks(node, DiskRequest::ClaimDisk { disk: DiskId(disk), serial_end }).await
        }
        Request::UndoClaim { disk } => {
            info!(disk, "a claim by hand is taken back, as asked for on the control socket");
            ask_disks(node, DiskRequest::UndoClaim { disk: DiskId(disk) }).await
        }
        Request::SetPin { pin } => set_pin(node, pin).await,
        Request::FinishSetUp => {
            let _turn = node.local.turn.lock().await;
            let was_known = known(node).is_some();
            node.local.decided.send_modify(|decided| match was_known {
                true => decided.set_up = true,
                false => decided.for_new.set_up = true,
            });
            kept(node, was_known, |state| state.set_up).await
        }
        Request::RecoveryWords => return recovery_words(node),
        Request::RestoreKey { words } => restore_key(node, &words).await,
        Request::FactoryReset { scope, node_end } => factory_reset(node, scope, &node_end).await,
        _ => Err("not a request that a person decides".to_owned()),
    };
    match done {
        Ok(()) => Reply::Accepted,
        Err(reason) => refused(reason),
    }
}

async fn ask_disks(node: &Node, request: DiskRequest) -> Result<(), String> {
    match node.hardware.ask(request, CLAIM_ANSWER).await? {
        Answer::Done => Ok(()),
        Answer::Failed { reason } => Err(reason),
        Answer::Absent { what } => Err(format!("this machine does not have {what}")),
        other => Err(format!("not an answer to a claim by hand: {other:?}")),
    }
}

async fn set_pin(node: &Node, pin: Option<Secret>) -> Result<(), String> {
    match &node.config.console.changes {
        Changes::Anybody => {}
        Changes::Pin(_) => {
            return Err(
                "node.toml has a PIN, which counts: change pin_hash of [console] on the stick"
                    .to_owned(),
            );
        }
        Changes::Nobody => {
            return Err(
                "a mistake in node.toml locks changes on the console: correct it first".to_owned()
            );
        }
    }
    let hash = match pin {
        None => None,
        Some(pin) => {
            let mut salt = [0; SALT];
            getrandom::fill(&mut salt).map_err(|error| format!("no random numbers: {error}"))?;
            let making = spawn_blocking(move || PinHash::make(pin.reveal(), salt));
            let made =
                making.await.map_err(|error| format!("the PIN could not be set: {error}"))?;
            Some(made?.to_string())
        }
    };
    let _turn = node.local.turn.lock().await;
    let was_known = known(node).is_some();
    if !was_known && may_have_record(node) {
        return Err(UNKNOWN.to_owned());
    }
    info!(is_set = hash.is_some(), "the PIN of the console was changed");
    node.local.decided.send_modify(|decided| match was_known {
        true => decided.pin = Some(hash.clone()),
        false => decided.for_new.pin.clone_from(&hash),
    });
    kept(node, was_known, |state| state.pin == hash).await
}

/// Waits until the record has what was decided. Where there was no record before, it may stay in memory.
async fn kept(
    node: &Node,
    was_known: bool,
    is_there: impl Fn(&NodeState) -> bool,
) -> Result<(), String> {
    let mut held = node.held.subscribe();
    let waiting = held.wait_for(|held| match &held.identity {
        Identity::Known(state) => is_there(state),
        Identity::Awaited(_) => !was_known,
    });
    let late =
        "it is decided, but was not written to the disks in time: look at the problems on Status";
    let written = timeout(KEEPING_TAKES, waiting).await;
    written.map_err(|_| late.to_owned())?.map_err(|_| late.to_owned()).map(|_| ())
}

fn recovery_words(node: &Node) -> Reply {
    let state = match &node.held.borrow().identity {
        Identity::Known(state) => state.clone(),
        Identity::Awaited(why) => return refused(why.clone()),
    };
    let Some(words) = state.daemon_key.as_ref().and_then(words::words) else {
        return refused("the node has no daemon key yet: plug in the disks that are missing");
    };
    info!("the recovery words of the daemon key were shown on the console");
    Reply::RecoveryWords { words: Secret(words) }
}

async fn restore_key(node: &Node, words: &Secret) -> Result<(), String> {
    let key = words::key(words.reveal()).map_err(|error| error.to_string())?;
    let _turn = node.local.turn.lock().await;
    let state = known(node);
    let was_known = state.is_some();
    let in_place_of = state.and_then(|state| state.daemon_key.clone());
    if in_place_of.as_ref() == Some(&key) {
        return Ok(());
    }
    if in_place_of.is_some()
        && let Some(use_of_it) = uses(node).await
    {
        return Err(format!(
            "the node has a daemon key of its own, which is in use or may be: {use_of_it}. Another one can be given before the first disk is \
             claimed, or, without [sla] in node.toml, after a factory reset that forgets the identity"
        ));
    }
    let told = address(&key)?;
    node.local.decided.send_modify(|decided| {
        decided.daemon_key = Some(GivenKey { key: key.clone(), in_place_of });
    });
    kept(node, was_known, |state| state.daemon_key.as_ref() == Some(&key)).await?;
    info!(daemon = told, "the daemon key was restored from its words");
    Ok(())
}

/// The address on chain of a daemon key.
///
/// # Errors
/// It is not a key of secp256k1, so it has none.
fn address(key: &SecretKey) -> Result<String, String> {
    let key = SigningKey::from_bytes(key).map_err(|error| {
        format!("the words give no key with an address on chain ({error}): compare each of them")
    })?;
    Ok(key.address().to_string())
}

/// What the node's daemon key is used for, in words; none where it never was.
async fn uses(node: &Node) -> Option<String> {
    if node.config.sla.is_some() {
        return Some("[sla] of node.toml has it speak with oracles".to_owned());
    }
    if !node.local.is_clear {
        return Some("node.toml has mistakes or cannot be read, and may have [sla]".to_owned());
    }
    let report = node.disks.borrow().latest.clone();
    if !is_complete(report.as_ref()) || report.is_some_and(|report| !report.missing.is_empty()) {
        return Some(
            "disks of the node are missing or not mounted, and may have receipts".to_owned(),
        );
    }
    let mounts = mounts(node.disks.borrow().latest.as_ref());
    let look = spawn_blocking(move || {
        let mut folders = mounts.iter().flat_map(|mount| USED_BY.map(|folder| mount.join(folder)));
        folders.find(|folder| match std::fs::read_dir(folder) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        })
    });
    match look.await {
        Ok(found) => {
            found.map(|folder| format!("{} has reports, receipts or payments", folder.display()))
        }
        Err(error) => Some(format!("whether it was used cannot be seen ({error})")),
    }
}

fn mounts(report: Option<&DiskReport>) -> Vec<PathBuf> {
    let disks = report.into_iter().flat_map(|report| &report.disks);
    let ours = disks.filter(|disk| disk.ownership == Ownership::Ours);
    ours.filter_map(|disk| match &disk.volume.as_ref()?.phase {
        VolumePhase::Mounted { mount } => Some(mount.clone()),
        VolumePhase::Claiming | VolumePhase::Unavailable { .. } => None,
    })
    .collect()
}

/// Whether every disk of the node that is there is mounted.
fn is_complete(report: Option<&DiskReport>) -> bool {
    let disks = report.into_iter().flat_map(|report| &report.disks);
    let mut ours = disks.filter(|disk| disk.ownership == Ownership::Ours);
    ours.all(|disk| {
        let phase = disk.volume.as_ref().map(|volume| &volume.phase);
        matches!(phase, Some(VolumePhase::Mounted { .. }))
    })
}

async fn factory_reset(node: &Node, scope: ResetScope, node_end: &str) -> Result<(), String> {
    let node_id = match &node.held.borrow().identity {
        Identity::Known(state) => state.node_id.clone(),
        Identity::Awaited(why) => return Err(format!("there is nothing to reset: {why}")),
    };
    if !is_end(&node_id, node_end) {
        return Err(format!(
            "that is not the end of the node's id: type its last {NODE_END} characters"
        ));
    }
    let _turn = node.local.turn.lock().await;
    if !is_complete(node.disks.borrow().latest.as_ref()) {
        return Err(
            "a disk of the node is there but not mounted: wait, or take it out, and try again"
                .to_owned(),
        );
    }
    warn!(?scope, "a factory reset was asked for on the control socket");
    node.local.decided.send_modify(|decided| decided.reset = Some(scope));
    let marked = kept(node, true, |state| reset_scope(state) == Some(scope)).await;
    if marked.is_err() || !node.held.borrow().is_everywhere {
        // A mark on some disks would be obeyed whenever one of them comes first at a start.
        warn!("the factory reset is taken back: not every disk could be marked");
        node.local.decided.send_modify(|decided| decided.reset = None);
        return Err(
            "not every disk could be marked, so nothing is reset: look at the problems on Status, \
             or take out the disk that cannot be written"
                .to_owned(),
        );
    }
    let socket = node.arguments.init_socket.clone();
    system::ask(socket, MachineRequest::Reboot).await.map_err(|why| {
        format!(
            "the reset is decided and done at the next start, but the machine does not restart by itself ({why}): \
             power it off and on"
        )
    })
}

fn is_end(node_id: &str, typed: &str) -> bool {
    let from = node_id.len().saturating_sub(NODE_END);
    node_id.get(from..).is_some_and(|end| !end.is_empty() && end.eq_ignore_ascii_case(typed.trim()))
}

#[cfg(test)]
mod tests {
    use disk_manager_plan::report::{Bytes, DiskClass, DiskStatus, VolumeStatus};

    use super::*;

    fn report(node_id: Option<&str>, phases: Vec<VolumePhase>, missing: &[&str]) -> DiskReport {
        let disk = |phase: VolumePhase| DiskStatus {
            id: None,
            device: PathBuf::from("/dev/sda"),
            model: String::new(),
            serial: String::new(),
            size: Bytes(0),
            class: DiskClass::Virtual,
            ownership: Ownership::Ours,
            reasons: Vec::new(),
            volume: Some(VolumeStatus { id: "a".to_owned(), phase }),
        };
        DiskReport {
            node_id: node_id.map(str::to_owned),
            disks: phases.into_iter().map(disk).collect(),
            missing: missing.iter().map(|id| DiskId((*id).to_owned())).collect(),
            ..DiskReport::default()
        }
    }

    #[test]
    fn a_pin_may_have_been_kept_where_there_is_or_was_a_disk_of_the_node() {
        let mounted = || VolumePhase::Mounted { mount: PathBuf::from("/data/a") };
        let unavailable = || VolumePhase::Unavailable { reason: "torn".to_owned() };
        for (report, may) in [
            (report(None, Vec::new(), &[]), false),
            (report(None, vec![VolumePhase::Claiming], &[]), false),
            (report(Some("n1"), Vec::new(), &[]), true),
            (report(Some("n1"), vec![VolumePhase::Claiming], &["wwn-1"]), true),
            (report(Some("n1"), vec![mounted()], &[]), true),
            (report(None, vec![VolumePhase::Claiming, unavailable()], &[]), true),
        ] {
            assert_eq!(has_old_disks(&report), may, "{report:?}");
        }
        assert!(is_complete(Some(&report(Some("n1"), vec![mounted()], &["wwn-1"]))));
        assert!(!is_complete(Some(&report(Some("n1"), vec![mounted(), unavailable()], &[]))));
        let mut looked_at = report(None, vec![mounted()], &[]);
        assert!(!is_looking(&looked_at));
        looked_at.disks[0].reasons.push(LOOKING.to_owned());
        assert!(is_looking(&looked_at));
    }

    #[test]
    fn a_key_has_an_address_or_says_why_it_has_none() {
        // The key 1 of secp256k1; 0 and what is not below the order of the curve are none.
        let mut one = SecretKey::new([0; 32]);
        one[31] = 1;
        let known = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf";
        assert_eq!(address(&one), Ok(known.to_owned()));
        for byte in [0, 0xff] {
            let error = address(&SecretKey::new([byte; 32])).expect_err("no key");
            assert!(error.contains("no key with an address"), "{error}");
        }
    }

    #[test]
    fn the_end_of_the_node_s_id_is_its_last_six_characters() {
        for (typed, is) in [
            ("626c9a", true),
            (" 626C9A ", true),
            ("26c9a", false),
            ("d626c9a", false),
            ("", false),
            ("000000", false),
        ] {
            assert_eq!(is_end("7f83b1d626c9a", typed), is, "{typed:?}");
        }
        assert!(!is_end("", ""));
    }
}
