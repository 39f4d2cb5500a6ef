//! What the node earned: watched on chain, and claimed where the node pays gas ([`agent_settlement`]).
//!
//! One task owns outbox, usage and what is known of roots ([`actor`]); what it decides is pure ([`plan`], [`book`],
//! [`usage`]). Nothing else waits for it.

mod act;
mod actor;
mod binding;
mod book;
mod file;
mod look;
mod memory;
mod plan;
mod problems;
mod usage;
mod words;

pub(super) use problems::problems;

use std::sync::Arc;

use agent_api::control::Reply;
use agent_api::settlement::{SettlementReport, SettlementStatus, Trouble, Unsigned};
use agent_sla::protocol::settled::SignedBinding;
use provisioning_config::settlement::Network;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::{Node, control, place, since_1970, sla, spawn};

/// Where on a data volume outbox, usage and roots lie.
const FOLDER: &str = "state/settlement";

/// What is known of what was earned.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// Without its ages.
    status: SettlementStatus,
    unsigned: Vec<Unsigned>,
    /// When the chain last said something, in milliseconds since 1970.
    seen_ms: u64,
    trouble: Option<Lasting>,
}

/// What goes wrong, when it last did, and since when, in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lasting {
    what: String,
    last_ms: u64,
    since_ms: u64,
}

impl Known {
    /// As it is at a moment, in milliseconds since 1970.
    pub(crate) fn shown(&self, now_ms: u64) -> SettlementStatus {
        let since = |at: u64| now_ms.saturating_sub(at) / 1000;
        let mut status = self.status.clone();
        if let Some(seen) = &mut status.seen {
            seen.age_seconds = since(self.seen_ms);
        }
        status.error = self.trouble.as_ref().map(|trouble| Trouble {
            what: trouble.what.clone(),
            age_seconds: since(trouble.last_ms),
            lasts_seconds: since(trouble.since_ms),
        });
        status
    }

    /// Notes what went wrong at a moment, or that nothing did.
    fn note(&mut self, what: Option<String>, now_ms: u64) {
        let since_ms = self.trouble.as_ref().map_or(now_ms, |trouble| trouble.since_ms);
        self.trouble =
            what.map(|what| Lasting { what: words::short(&what), last_ms: now_ms, since_ms });
    }
}

/// Watches and claims from when the node has its daemon key until `cancel`. Without `[settlement]` it does nothing.
pub(super) async fn keep(node: Arc<Node>, cancel: CancellationToken) {
    let (Some(section), Some(sla)) = (node.config.settlement.clone(), node.config.sla.clone())
    else {
        return;
    };
    let wait = |why: String| node.settlement.send_modify(|known| known.status.awaited = Some(why));
    node.settlement.send_modify(|known| known.status = actor::beginning(&section, &sla));
    wait("waiting for the node's daemon key, which stands on its disks".to_owned());
    let Some((key, name)) = sla::identity(&node, &cancel).await else { return };
    if matches!(section.network, Network::Reference { .. }) {
        let terms = binding::Terms {
            node: name,
            hp: section.hp_account.into(),
            domain: sla::parameters(&sla).domain(),
        };
        let key = key.clone();
        spawn(&node, |node| binding::keep(key, terms, node.binding.clone()));
    }
    let folder = place::follow(&node, FOLDER);
    let parts =
        actor::Parts { section, sla, daemon: key.address(), name, folder, node: Arc::clone(&node) };
    match actor::Actor::new(parts) {
        // On a thread of its own: an outbox waits for its disk, and a disk may hang.
        Ok(actor) => {
            node.settlement.send_modify(|known| known.status.awaited = None);
            let runtime = tokio::runtime::Handle::current();
            let thread = std::thread::Builder::new().name("settlement".to_owned());
            // It may be dropped wherever it is: what it remembers is made for power cuts.
            let until = async move {
                tokio::select! {
                    () = cancel.cancelled() => {}
                    () = actor.run() => {}
                }
            };
            if let Err(error) = thread.spawn(move || runtime.block_on(until)) {
                error!(%error, "no thread for settlement");
                wait(format!("no thread for settlement: {error}"));
            }
        }
        Err(why) => {
            error!(%why, "settlement does not run");
            wait(format!("[settlement] of node.toml cannot be used: {why}"));
        }
    }
}

/// Answers the control socket.
pub(super) fn answer(node: &Node) -> Reply {
    if node.config.settlement.is_none() {
        return control::refused("node.toml has no [settlement], or one with a mistake");
    }
    let now_ms = u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX);
    let known = node.settlement.borrow();
    let binding: Option<SignedBinding> = node.binding.borrow().clone();
    Reply::Settlement(Box::new(SettlementReport {
        status: known.shown(now_ms),
        binding: binding.as_ref().map(words::binding),
        unsigned: known.unsigned.clone(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_with_how_long_it_lasts_and_forgotten_when_it_is_over() {
        let mut known = Known::default();
        known.note(Some("down".to_owned()), 10_000);
        known.note(Some("still\u{1b} down".to_owned()), 40_000);
        let trouble = known.shown(100_000).error.expect("trouble");
        assert_eq!((trouble.age_seconds, trouble.lasts_seconds), (60, 90));
        assert_eq!(trouble.what, "still down");
        known.note(None, 110_000);
        assert_eq!(known.shown(110_000).error, None);
    }
}
