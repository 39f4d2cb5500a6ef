//! What only a person at the console decides: disks claimed by hand, the PIN, the first steps, the daemon key's
//! words, and the way back to a node that is new.
//!
//! What is to be kept goes into the node's record. Before a first disk is in use there is none: it waits in memory then,
//! and ends with a restart.

mod words;

use std::path::PathBuf;
use std::time::Duration;

use agent_api::control::{Reply, Request, Secret};
use agent_api::local::ResetScope;
use disk_manager_plan::hardware::{Answer, Request as DiskRequest};
use disk_manager_plan::report::{DiskId, DiskReport, Ownership, VolumePhase};
use provisioning_config::{Changes, PinHash, SALT};
use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::{info, warn};

use super::Node;
use super::control::refused;
use super::system::{self, MachineRequest};
use crate::state::{Decided, GivenKey, Identity, NodeState, SecretKey, reset_scope};

/// How long the record may take to be written to every disk: each gets a few kilobytes.
const KEEPING_TAKES: Duration = Duration::from_secs(20);

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
    decided: watch::Sender<Decided>,
    /// One decides at a time.
    turn: Mutex<()>,
}

impl Keeping {
    /// For a node whose node.toml answers what the first steps would ask, or does not.
    pub(crate) fn new(is_answered: bool) -> Self {
        Self { is_answered, decided: watch::Sender::default(), turn: Mutex::default() }
    }

    /// What the record is to have.
    pub(crate) fn decided(&self) -> watch::Receiver<Decided> {
        self.decided.subscribe()
    }
}

/// The hash of the PIN that was set on the node, if one was.
pub(crate) fn kept_pin(node: &Node) -> Option<String> {
    let decided = node.local.decided.borrow().pin.clone();
    decided.unwrap_or_else(|| match &node.held.borrow().identity {
        Identity::Known(state) => state.pin.clone(),
        Identity::Awaited(_) => None,
    })
}

/// Whether the first steps are done or needless.
pub(crate) fn is_set_up(node: &Node) -> bool {
    node.local.is_answered
        || node.local.decided.borrow().set_up
        || matches!(&node.held.borrow().identity, Identity::Known(state) if state.set_up)
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
            node.local.decided.send_modify(|decided| decided.set_up = true);
            kept(node, |state| state.set_up).await
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
    info!(is_set = hash.is_some(), "the PIN of the console was changed");
    node.local.decided.send_modify(|decided| decided.pin = Some(hash.clone()));
    kept(node, |state| state.pin == hash).await
}

/// Waits until the record has what was decided. Without a record it stays in memory.
async fn kept(node: &Node, is_there: impl Fn(&NodeState) -> bool) -> Result<(), String> {
    let mut held = node.held.subscribe();
    let waiting = held.wait_for(|held| match &held.identity {
        Identity::Known(state) => is_there(state),
        Identity::Awaited(_) => true,
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
    let known = match &node.held.borrow().identity {
        Identity::Known(state) => Some(state.clone()),
        Identity::Awaited(_) => None,
    };
    let in_place_of = known.and_then(|state| state.daemon_key.clone());
    if in_place_of.as_ref() == Some(&key) {
        return Ok(());
    }
    if in_place_of.is_some()
        && let Some(use_of_it) = uses(node).await
    {
        return Err(format!(
            "the node has a daemon key of its own in use: {use_of_it}. Another one can be given before the first disk is \
             claimed, or, without [sla] in node.toml, after a factory reset that forgets the identity"
        ));
    }
    let told = address(&key);
    node.local.decided.send_modify(|decided| {
        decided.daemon_key = Some(GivenKey { key: key.clone(), in_place_of });
    });
    kept(node, |state| state.daemon_key.as_ref() == Some(&key)).await?;
    info!(daemon = told, "the daemon key was restored from its words");
    Ok(())
}

fn address(key: &SecretKey) -> String {
    let key = agent_sla::protocol::key::SigningKey::from_bytes(key);
    key.map(|key| key.address().to_string()).unwrap_or_default()
}

/// What the node's daemon key is used for, in words; none where it never was.
async fn uses(node: &Node) -> Option<String> {
    if node.config.sla.is_some() {
        return Some("[sla] of node.toml has it speak with oracles".to_owned());
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
    warn!(?scope, "a factory reset was asked for on the control socket");
    node.local.decided.send_modify(|decided| decided.reset = Some(scope));
    kept(node, |state| reset_scope(state) == Some(scope)).await?;
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
    use super::*;

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
