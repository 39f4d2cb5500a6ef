//! What anyone may read of roots.

use agent_sla::protocol::messages::{ANSWER_MAX, Refusal};
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::settled::{KnownRoot, Leaf, ROOTS_MAX, RootSignature, RootState, Settled};
use agent_sla::protocol::{Address, B256};
use tracing::warn;

use super::book::Root;
use super::compute::{Terms, leaf, verdicts};
use super::settler::{Settler, Tip};
use super::wire::{LEAVES_MAX, Proposal};

/// When to try again where something cannot be read, in milliseconds.
const RETRY_MS: u64 = 5_000;

fn unknown(what: &str) -> Refusal {
    Refusal::Unknown { what: what.to_owned() }
}

fn busy(error: &dyn std::fmt::Display) -> Refusal {
    warn!(%error, "what was asked for cannot be read");
    Refusal::Busy { retry_after_ms: RETRY_MS }
}

impl Settler {
    /// A node in the newest root on chain.
    ///
    /// # Errors
    /// It is in none.
    pub fn settled(&self, node: B256) -> Result<Settled, Refusal> {
        let stood = self.tip().and_then(|tip| tip.stood).ok_or_else(|| unknown("root"))?;
        let index = stood.nodes.binary_search(&node).map_err(|_| unknown("leaf of this node"))?;
        let (Some(amounts), Some(proof)) = (stood.ledger.get(&node), stood.tree.proof(index))
        else {
            return Err(unknown("leaf of this node"));
        };
        let root = &stood.proposal.root;
        let terms = Terms { parameters: &self.parameters, tariff: &self.config.tariff };
        Ok(Settled {
            number: stood.number,
            root: root.clone(),
            leaf: leaf(node, amounts, root.toEra),
            proof,
            eras: verdicts(terms, &node, &stood.sets),
        })
    }

    /// Roots that begin before an era, or the newest ones.
    #[must_use]
    pub fn roots(&self, before: Option<Era>) -> Vec<KnownRoot> {
        let tip = self.tip();
        let found = self.book.before(before.map_or(u64::MAX, |era| era.0), ROOTS_MAX);
        found.into_iter().map(|(digest, root)| self.known(tip.as_ref(), digest, root)).collect()
    }

    fn known(&self, tip: Option<&Tip>, digest: B256, root: Root) -> KnownRoot {
        let state = match (root.number, tip) {
            (Some(number), Some(tip)) => {
                let stands = number < tip.view.count && self.book.standing(number) == Some(digest);
                match stands {
                    true if number < tip.finals => RootState::Final,
                    true => RootState::Posted,
                    false => RootState::Cancelled,
                }
            }
            (Some(_), None) => RootState::Posted,
            (None, Some(tip)) if root.proposal.root.fromEra < tip.base.from => RootState::Cancelled,
            (None, _) => RootState::Signing,
        };
        let mut signatures = root.signatures;
        signatures.extend(root.ours.map(|ours| (self.address(), ours)));
        let signed = |(oracle, signature)| RootSignature { oracle, signature };
        KnownRoot {
            root: root.proposal.root,
            signatures: signatures.into_iter().map(signed).collect(),
            state,
            number: root.number,
            transaction: root.transaction,
        }
    }

    /// What a root was computed from.
    ///
    /// # Errors
    /// It is not known.
    pub fn proposal(&self, digest: &B256) -> Result<Proposal, Refusal> {
        self.book.root(digest).map(|root| root.proposal).ok_or_else(|| unknown("such root"))
    }

    /// The leaves of a root from behind a node on.
    ///
    /// # Errors
    /// It is not known.
    pub fn leaves(&self, digest: &B256, after: Option<B256>) -> Result<Vec<Leaf>, Refusal> {
        let leading =
            self.leading.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let (root, ledger) = match leading {
            Some((proposed, root, ledger)) if proposed == *digest => (root, ledger),
            _ => {
                let stood = self.tip().and_then(|tip| Some((tip.view.previous(), tip.stood?)));
                match stood.filter(|(stands, _)| stands == digest) {
                    Some((_, stood)) => {
                        (stood.proposal.root.clone(), std::sync::Arc::clone(&stood.ledger))
                    }
                    None => {
                        let Proposal { root, .. } = self.proposal(digest)?;
                        let found =
                            self.book.ledger(digest, &root).map_err(|error| busy(&error))?;
                        (root, found.ok_or_else(|| unknown("ledger of this root"))?)
                    }
                }
            }
        };
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let behind = ledger.range((from, std::ops::Bound::Unbounded)).take(LEAVES_MAX);
        Ok(behind.map(|(node, amounts)| leaf(*node, amounts, root.toEra)).collect())
    }

    /// The votes of an oracle on an era that are kept, from behind a node on, as one JSON list, as many as an answer may
    /// have.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn kept(&self, era: Era, of: &Address, after: Option<B256>) -> Result<String, Refusal> {
        let votes = self.store.set(era, of).map_err(|error| busy(&error))?.unwrap_or_default();
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let mut text = String::from("[");
        for (_, vote) in votes.range((from, std::ops::Bound::Unbounded)) {
            let vote = serde_json::to_string(vote).unwrap_or_default();
            if text.len() + vote.len() + 2 > ANSWER_MAX {
                break;
            }
            if text.len() > 1 {
                text.push(',');
            }
            text.push_str(&vote);
        }
        text.push(']');
        Ok(text)
    }
}
