//! A root from votes: pure. Whoever has the same votes, the root before and the tariff comes to the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_sla::protocol::parameters::{Era, Parameters};
use agent_sla::protocol::settled::{EraRoot, Leaf, Verdict};
use agent_sla::protocol::signed::SlaVote;
use agent_sla::protocol::{Address, B256, U256};
use alloy::primitives::{Keccak256, keccak256};

use super::tariff::Tariff;
use super::tree::Tree;
use super::verdict::{quorum, verdict};
use super::voids::Void;
use crate::service::Vote;

/// An oracle's votes on an era, by node.
pub type Votes = BTreeMap<B256, Vote>;

/// The votes of one oracle on one era that a root is computed from.
#[derive(Debug, Clone)]
pub struct Set {
    /// Of which era.
    pub era: Era,
    /// Whose.
    pub oracle: Address,
    /// The votes.
    pub votes: Arc<Votes>,
}

/// What a node came to since its beginning, in the token's smallest unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amounts {
    /// Earned.
    pub reward: U256,
    /// Forfeited.
    pub penalty: U256,
    /// Keccak-256 of the digests of the votes of the root's eras.
    pub votes_hash: B256,
}

/// All nodes that ever had a verdict.
pub type Ledger = BTreeMap<B256, Amounts>;

/// What a root is computed by.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// What all agree on.
    pub parameters: &'a Parameters,
    /// What an era is worth.
    pub tariff: &'a Tariff,
}

/// What a root is computed on top of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Base {
    /// Digest of the root before; zero for none.
    pub previous: B256,
    /// The first era.
    pub from: u64,
    /// What nodes came to before.
    pub ledger: Ledger,
}

/// A root with everything in it.
#[derive(Debug, Clone)]
pub struct Computed {
    /// The root.
    pub root: EraRoot,
    /// What nodes came to.
    pub ledger: Ledger,
}

/// `leaf` of a node in the ledger of a root.
#[must_use]
pub fn leaf(node: B256, amounts: &Amounts, to_era: u64) -> Leaf {
    Leaf {
        nodeId: node,
        toEra: to_era,
        cumulativeReward: amounts.reward,
        cumulativePenalty: amounts.penalty,
        votesHash: amounts.votes_hash,
    }
}

/// The tree of a ledger.
#[must_use]
pub fn tree(ledger: &Ledger, to_era: u64) -> Tree {
    let hash = |(node, amounts): (&B256, &Amounts)| leaf(*node, amounts, to_era).hash();
    Tree::new(ledger.iter().map(hash).collect())
}

/// The digest that names a set: Keccak-256 of the digests of its votes, in the order of nodes.
#[must_use]
pub fn set_digest(votes: &Votes, parameters: &Parameters) -> B256 {
    let domain = parameters.domain();
    let mut hasher = Keccak256::new();
    for vote in votes.values() {
        hasher.update(vote.digest(&domain));
    }
    hasher.finalize()
}

/// Sets without what is void of them.
#[must_use]
pub fn without(mut sets: Vec<Set>, voided: &[Void]) -> Vec<Set> {
    for set in &mut sets {
        let of = |void: &&Void| (void.era, void.oracle) == (set.era.0, set.oracle);
        for void in voided.iter().filter(of) {
            match void.node {
                Some(node) => drop(Arc::make_mut(&mut set.votes).remove(&node)),
                None => set.votes = Arc::default(),
            }
        }
    }
    sets
}

/// The votes on a node in each era of some sets.
fn on<'a>(node: &B256, sets: &'a [Set]) -> BTreeMap<Era, Vec<&'a SlaVote>> {
    let mut eras: BTreeMap<Era, Vec<&SlaVote>> = BTreeMap::new();
    for set in sets {
        if let Some(vote) = set.votes.get(node) {
            eras.entry(set.era).or_default().push(&vote.message);
        }
    }
    eras
}

/// What each era of a node came to that there are votes of, in their order.
#[must_use]
pub fn verdicts(terms: Terms<'_>, node: &B256, sets: &[Set]) -> Vec<Verdict> {
    let quorum = quorum(terms.parameters.oracles.len());
    let of = |(era, votes): (Era, Vec<&SlaVote>)| verdict(era, &votes, quorum, terms.tariff);
    on(node, sets).into_iter().map(of).collect()
}

/// Computes a root. The sets are of its eras, at most one for each era and oracle, in that order.
///
/// A node without a verdict since its beginning has no leaf, so that no lone oracle can fill the tree.
#[must_use]
pub fn compute(terms: Terms<'_>, base: &Base, to: u64, sets: &[Set]) -> Computed {
    let domain = terms.parameters.domain();
    let mut digests = Vec::new();
    let mut hashers: BTreeMap<B256, Keccak256> = BTreeMap::new();
    for set in sets {
        for (node, vote) in set.votes.iter() {
            let digest = vote.digest(&domain);
            digests.push(digest);
            hashers.entry(*node).or_default().update(digest);
        }
    }
    let mut ledger = base.ledger.clone();
    for amounts in ledger.values_mut() {
        amounts.votes_hash = keccak256([]);
    }
    let (mut total_reward, mut total_penalty) = (U256::ZERO, U256::ZERO);
    for (node, hasher) in hashers {
        let verdicts = verdicts(terms, &node, sets);
        if !ledger.contains_key(&node) && verdicts.iter().all(|verdict| verdict.median.is_none()) {
            continue;
        }
        let amounts = ledger.entry(node).or_default();
        amounts.votes_hash = hasher.finalize();
        for Verdict { reward, penalty, .. } in verdicts {
            amounts.reward = amounts.reward.saturating_add(reward);
            amounts.penalty = amounts.penalty.saturating_add(penalty);
            total_reward = total_reward.saturating_add(reward);
            total_penalty = total_penalty.saturating_add(penalty);
        }
    }
    let root = EraRoot {
        fromEra: base.from,
        toEra: to,
        previous: base.previous,
        root: tree(&ledger, to).root(),
        votesRoot: Tree::new(digests).root(),
        totalReward: total_reward,
        totalPenalty: total_penalty,
        configDigest: terms.parameters.digest(),
    };
    Computed { root, ledger }
}

/// In what two roots of the same eras differ first, in words; none if in nothing.
#[must_use]
pub fn difference(ours: &EraRoot, theirs: &EraRoot) -> Option<String> {
    let fields = [
        ("fromEra", ours.fromEra.to_string(), theirs.fromEra.to_string()),
        ("toEra", ours.toEra.to_string(), theirs.toEra.to_string()),
        ("previous", ours.previous.to_string(), theirs.previous.to_string()),
        ("configDigest", ours.configDigest.to_string(), theirs.configDigest.to_string()),
        ("votesRoot", ours.votesRoot.to_string(), theirs.votesRoot.to_string()),
        ("totalReward", ours.totalReward.to_string(), theirs.totalReward.to_string()),
        ("totalPenalty", ours.totalPenalty.to_string(), theirs.totalPenalty.to_string()),
        ("root", ours.root.to_string(), theirs.root.to_string()),
    ];
    let found = fields.into_iter().find(|(_, ours, theirs)| ours != theirs);
    found.map(|(field, ours, theirs)| format!("{field}: {ours} here, {theirs} there"))
}

#[cfg(test)]
mod tests;
