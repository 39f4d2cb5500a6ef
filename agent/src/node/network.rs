//! Settings of the network that take the place of those of node.toml: init tries and has them, the
//! node's record keeps them, and this brings the two together.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent_api::client::{InitClient, RequestError};
use agent_api::control::{Reply, Request};
use agent_api::init::{InitRequest, NetworkOrigin, NetworkState};
use provisioning_config::Network;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::Node;
use super::control::refused;
use crate::state::{Identity, KeptNetwork};

/// init answers once the ports are set up: bonds and their ports take a netlink answer each.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is to be kept, and what stands in the way of what is.
#[derive(Debug)]
pub(crate) struct Keeping {
    /// Digest of the settings of node.toml.
    seed: String,
    /// What the record is to have; none where it stays at what it has.
    wanted: watch::Sender<Option<Option<KeptNetwork>>>,
    /// Kept settings that init refused, and why.
    refused: watch::Sender<Option<(String, String)>>,
    /// One asks init and decides at a time.
    turn: Mutex<()>,
}

impl Keeping {
    /// For a node whose node.toml says this.
    pub(crate) fn new(seed: &Network) -> Self {
        Self {
            seed: digest(seed),
            wanted: watch::Sender::default(),
            refused: watch::Sender::default(),
            turn: Mutex::default(),
        }
    }

    /// What the record is to have.
    pub(crate) fn wanted(&self) -> watch::Receiver<Option<Option<KeptNetwork>>> {
        self.wanted.subscribe()
    }

    /// What deserves attention, in words.
    pub(crate) fn problem(&self) -> Option<String> {
        let refused = self.refused.borrow();
        let (_, why) = refused.as_ref()?;
        Some(format!(
            "the settings that were confirmed cannot be used, those of node.toml are ({why}): confirm \
             others, or drop them with icnctl network reset"
        ))
    }

    /// What is kept, or will be in a moment.
    fn kept(&self, node: &Node) -> Option<Option<KeptNetwork>> {
        let wanted = self.wanted.borrow().clone();
        wanted.or_else(|| match &node.held.borrow().identity {
            Identity::Known(state) => Some(state.network.clone()),
            Identity::Awaited(_) => None,
        })
    }
}

/// SHA-256 in hex of settings in the form in which they are written.
fn digest(network: &Network) -> String {
    hex::encode(Sha256::digest(network.to_toml().as_bytes()))
}

/// What is to be done about settings in effect and settings kept.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Nothing,
    /// Those in effect are to be kept.
    Keep(KeptNetwork),
    /// Those kept are for another node.toml.
    Drop,
    /// Those kept are to be in effect.
    HandOver(String),
}

/// Decides. What somebody confirmed while the node ran is in effect at init, and counts before what is
/// kept; after a restart of the machine init has node.toml alone.
fn decide(kept: Option<&KeptNetwork>, seed: &str, init: &NetworkState) -> Step {
    if init.tried.is_some() {
        return Step::Nothing;
    }
    match (init.origin, kept) {
        (NetworkOrigin::Set, Some(kept)) if kept.text == init.text && kept.seed == seed => {
            Step::Nothing
        }
        (NetworkOrigin::Set, _) => {
            Step::Keep(KeptNetwork { text: init.text.clone(), seed: seed.to_owned() })
        }
        (NetworkOrigin::Seed, None) => Step::Nothing,
        (NetworkOrigin::Seed, Some(kept)) if kept.seed != seed => Step::Drop,
        (NetworkOrigin::Seed, Some(kept)) => Step::HandOver(kept.text.clone()),
    }
}

/// Brings settings in effect and settings kept together, for ever.
pub(super) async fn keep(node: Arc<Node>) {
    let (mut system, mut held) = (node.system.subscribe(), node.held.subscribe());
    loop {
        let told = system.borrow_and_update().latest.as_ref().and_then(|told| told.network.clone());
        held.mark_unchanged();
        if let Some(told) = told
            && step(&node, &told) != Step::Nothing
        {
            settle(&node).await;
        }
        tokio::select! {
            changed = system.changed() => if changed.is_err() { return },
            changed = held.changed() => if changed.is_err() { return },
        }
    }
}

fn step(node: &Node, init: &NetworkState) -> Step {
    let Some(kept) = node.network.kept(node) else { return Step::Nothing };
    let step = decide(kept.as_ref(), &node.network.seed, init);
    let refused = node.network.refused.borrow();
    match (&step, refused.as_ref()) {
        // It would be refused again.
        (Step::HandOver(text), Some((refused, _))) if text == refused => Step::Nothing,
        _ => step,
    }
}

/// Decides once more, by what init says now, and does it.
async fn settle(node: &Node) {
    let _turn = node.network.turn.lock().await;
    let asked = ask(node.arguments.init_socket.clone(), InitClient::status).await;
    // Where init does not answer, it is asked again when it has.
    let Ok(Some(init)) = asked.map(|status| status.network) else { return };
    match step(node, &init) {
        Step::Nothing => {}
        Step::Keep(kept) => {
            node.network.wanted.send_replace(Some(Some(kept)));
            node.network.refused.send_replace(None);
        }
        Step::Drop => {
            warn!(
                "node.toml has another [network] than when settings were confirmed: they are dropped"
            );
            node.network.wanted.send_replace(Some(None));
        }
        Step::HandOver(text) => {
            let change = InitRequest::UseNetwork { text: Some(text.clone()) };
            match change_init(node, change).await {
                Ok(()) => info!("init has the settings of the network that were confirmed earlier"),
                Err(RequestError::Refused { reason }) => {
                    warn!(
                        reason,
                        "init refuses the settings of the network that were confirmed earlier"
                    );
                    node.network.refused.send_replace(Some((text, reason)));
                }
                Err(error) => warn!(%error, "init does not take the settings of the network"),
            }
        }
    }
}

/// Answers a request of the control socket about the network.
pub(super) async fn answer(node: &Node, request: Request) -> Reply {
    let (change, is_reset) = match request {
        Request::TryNetwork { text } => (InitRequest::TryNetwork { text }, false),
        Request::ConfirmNetwork => (InitRequest::ConfirmNetwork, false),
        Request::RevertNetwork => (InitRequest::RevertNetwork, false),
        Request::ResetNetwork => (InitRequest::UseNetwork { text: None }, true),
        _ => return refused("not a request about the network"),
    };
    let done = {
        let _turn = node.network.turn.lock().await;
        let done = change_init(node, change).await;
        if is_reset && done.is_ok() {
            node.network.wanted.send_replace(Some(None));
            node.network.refused.send_replace(None);
        }
        done
    };
    match done {
        Ok(()) => {
            // What was confirmed is kept at once rather than with the next news of init.
            settle(node).await;
            Reply::Accepted
        }
        Err(RequestError::Refused { reason }) => refused(reason),
        Err(error) => refused(error.to_string()),
    }
}

async fn change_init(node: &Node, change: InitRequest) -> Result<(), RequestError> {
    info!(change = name(&change), "the network is changed");
    let socket = node.arguments.init_socket.clone();
    ask(socket, move |init| init.change_network(change)).await
}

/// What is asked of init, for the log: settings may be long.
fn name(change: &InitRequest) -> &'static str {
    match change {
        InitRequest::TryNetwork { .. } => "tried",
        InitRequest::ConfirmNetwork => "confirmed",
        InitRequest::RevertNetwork => "reverted",
        InitRequest::UseNetwork { text: Some(_) } => "handed over",
        InitRequest::UseNetwork { text: None } => "reset",
        InitRequest::Status | InitRequest::PowerOff | InitRequest::Reboot => "none",
    }
}

async fn ask<T: Send + 'static>(
    socket: PathBuf,
    question: impl FnOnce(&mut InitClient) -> Result<T, RequestError> + Send + 'static,
) -> Result<T, RequestError> {
    let path = socket.clone();
    let asking = spawn_blocking(move || question(&mut InitClient::new(&socket, TIMEOUT)));
    asking.await.unwrap_or_else(|error| {
        let source = std::io::Error::other(error);
        Err(RequestError::Lost { path, source })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str, seed: &str) -> KeptNetwork {
        KeptNetwork { text: text.to_owned(), seed: seed.to_owned() }
    }

    fn init(origin: NetworkOrigin, text: &str) -> NetworkState {
        NetworkState { origin, text: text.to_owned(), tried: None, seconds_left: None }
    }

    #[test]
    fn what_was_confirmed_comes_back_after_a_restart_unless_node_toml_has_changed() {
        let seed = init(NetworkOrigin::Seed, "seed");
        let set = init(NetworkOrigin::Set, "a");
        let (a, b, old) = (kept("a", "s"), kept("b", "s"), kept("a", "before"));
        for (kept, init, expected) in [
            (None, &seed, Step::Nothing),
            (Some(&a), &seed, Step::HandOver("a".to_owned())),
            (Some(&old), &seed, Step::Drop),
            (None, &set, Step::Keep(a.clone())),
            (Some(&a), &set, Step::Nothing),
            (Some(&b), &set, Step::Keep(a.clone())),
            (Some(&old), &set, Step::Keep(a.clone())),
        ] {
            assert_eq!(decide(kept, "s", init), expected, "{kept:?} {init:?}");
        }
    }

    #[test]
    fn nothing_is_kept_or_handed_over_while_a_change_is_tried() {
        for origin in [NetworkOrigin::Seed, NetworkOrigin::Set] {
            let tried = Some("b".to_owned());
            let init = NetworkState { tried, seconds_left: Some(9), ..init(origin, "a") };
            for kept in [None, Some(kept("c", "s")), Some(kept("c", "before"))] {
                assert_eq!(decide(kept.as_ref(), "s", &init), Step::Nothing);
            }
        }
    }

    #[test]
    fn the_digest_of_node_toml_goes_by_what_it_says_and_not_by_how_it_is_written() {
        let read = |text: &str| provisioning_config::parse_network(text).expect("no mistake");
        let a = digest(&read("[network]\ndns = [\"192.0.2.1\"] # the router\n"));
        assert_eq!(a, digest(&read("[network]\ndns=['192.0.2.1']\n")));
        assert_ne!(a, digest(&Network::default()));
    }
}
