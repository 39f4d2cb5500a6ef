//! Whose node this is. The node's key lives on its data disks, so the disks decide:
//!
//! 1. An identity that this process already used stays until it ends.
//! 2. Else each disk with a valid label for itself has one vote for the node that signed it. Disks
//!    whose claim is complete outvote any number of begun ones. The node with the most votes is
//!    this node; disks of other nodes are foreign. A tie: no disk is adopted, none is claimed, and
//!    every labelled disk says which nodes are at odds, for a technician to remove one side.
//! 3. Else, if any disk carries something of ours that does not verify, or a disk's head cannot be
//!    read, no identity is made: it may be the one with the identity on it.
//! 4. Else a new identity may be made, once no more disks are expected.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::inventory::{Inventory, Neighbours, Policy, has_seed, is_boot, is_for};
use crate::label::{ClaimState, NodeId, Record};
use crate::ledger::Ledger;
use crate::observe::{Answer, DeviceKind, ObservedDisk};
use crate::slots::Verdict;

/// Whose node this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// This node's.
    Known(NodeId),
    /// Not yet decided: disks are still being looked at, or more are expected.
    Waiting,
    /// These nodes have equally many disks.
    Tie(Vec<NodeId>),
    /// No label verifies, but these disks may carry an identity.
    Held(Vec<PathBuf>),
    /// No disk carries anything of ours: a new identity may be made.
    None,
}

/// What one disk says about whose node this is.
enum Evidence<'a> {
    /// Nothing.
    Nothing,
    /// Something of ours that does not verify, or it cannot be read.
    Unclear,
    /// A valid label for this disk.
    Vote(&'a Record),
}

/// Decides whose node this is.
#[must_use]
pub fn decide(inventory: &Inventory, policy: &Policy) -> Identity {
    if let Some(node) = inventory.node {
        return Identity::Known(node);
    }
    let neighbours = Neighbours::of(inventory, policy);
    let mut votes: Vec<&Record> = Vec::new();
    let mut unclear = Vec::new();
    for disk in &inventory.disks {
        match evidence(disk, policy, &neighbours) {
            Evidence::Nothing => {}
            Evidence::Unclear => unclear.push(disk.device.clone()),
            Evidence::Vote(record) => votes.push(record),
        }
    }
    if votes.is_empty() {
        if !inventory.pending.is_empty() || !inventory.settled {
            return Identity::Waiting;
        }
        return if unclear.is_empty() { Identity::None } else { Identity::Held(unclear) };
    }
    count(&votes, inventory)
}

fn count(votes: &[&Record], inventory: &Inventory) -> Identity {
    let complete = votes.iter().any(|record| record.state == ClaimState::Ready);
    let mut ballot: BTreeMap<NodeId, usize> = BTreeMap::new();
    for record in votes.iter().filter(|r| !complete || r.state == ClaimState::Ready) {
        *ballot.entry(record.node()).or_default() += 1;
    }
    let most = ballot.values().copied().max().unwrap_or_default();
    let mut leaders: Vec<NodeId> =
        ballot.iter().filter(|(_, n)| **n == most).map(|(node, _)| *node).collect();
    let second = ballot.values().copied().filter(|n| *n < most).max().unwrap_or_default();
    match leaders.as_slice() {
        [node] => {
            let final_count = inventory.settled && inventory.pending.is_empty();
            let safe_lead = most > second + inventory.pending.len()
                && (inventory.settled || is_complete(*node, votes));
            if final_count || safe_lead { Identity::Known(*node) } else { Identity::Waiting }
        }
        _ if !inventory.pending.is_empty() || !inventory.settled => Identity::Waiting,
        _ => {
            leaders.sort_unstable();
            Identity::Tie(leaders)
        }
    }
}

/// Whether every disk in the ledgers of a node is present: then no later disk can change the vote.
fn is_complete(node: NodeId, votes: &[&Record]) -> bool {
    let own = || votes.iter().filter(|record| record.node() == node);
    let ledger = own().fold(Ledger::default(), |all, record| all.union(&record.ledger));
    !ledger.is_empty()
        && votes.len() == own().count()
        && ledger.entries().all(|entry| own().any(|record| record.volume == entry.volume))
}

fn evidence<'a>(disk: &'a ObservedDisk, policy: &Policy, neighbours: &Neighbours) -> Evidence<'a> {
    if disk.kind != DeviceKind::Disk
        || (is_boot(disk, policy) && (has_seed(disk) || disk.loader))
        || neighbours.is_boot_twin(disk)
    {
        return Evidence::Nothing;
    }
    let label = match &disk.label {
        Answer::Is(label) => label,
        Answer::NotAsked => return Evidence::Nothing,
        Answer::Failed(_) => return Evidence::Unclear,
    };
    let shared = !neighbours.same_identity(disk).is_empty();
    let unclear = shared || !neighbours.same_volume(disk).is_empty();
    let has_partitions = label.partitions.iter().any(|p| !p.is_seed());
    match &label.verdict {
        Verdict::Valid { record, .. } if !unclear && is_for(record, disk) => Evidence::Vote(record),
        Verdict::Absent if !has_partitions => Evidence::Nothing,
        _ => Evidence::Unclear,
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
