//! Changes of nodes' states on chain, which a quorum of oracles signs.
//!
//! [`rules`] says when a state changes, from the verdicts of roots that stand: pure. [`signed`] remembers; `round` proposes,
//! judges and posts. What is signed is a `StateChange` of `NodeRegistry`; its evidence is the digest of the newest root.

mod round;
pub mod rules;
pub mod signed;
pub mod wire;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_sla::protocol::{Address, B256};
use alloy::primitives::Bytes;

use super::voids::Void;
use crate::log::LogError;
use rules::{Rules, Runs, Standing};
use signed::Changes;

/// Nodes that the registry is asked about in one look.
const ASKED_AT_ONCE: usize = 64;

/// What is known of nodes, in memory.
#[derive(Debug, Default)]
struct Known {
    /// The newest root that is in the runs.
    root: B256,
    /// Its last era.
    last_era: u64,
    /// What is void of the eras up to it, as far as was known.
    voided: Vec<Void>,
    /// Eras up to it that are of roots which can still be cancelled.
    open: u16,
    runs: Arc<Runs>,
    /// How nodes stood when they were asked about last; forgotten when that may have changed.
    standing: BTreeMap<B256, Standing>,
    /// The node that was asked about last.
    last: Option<B256>,
    /// Changes that the poster was given, with their eras and what is called.
    wanted: BTreeMap<B256, (u64, Bytes)>,
}

/// An oracle's side of changes of state.
#[derive(Debug)]
pub struct States {
    rules: Rules,
    registry: Address,
    changes: Changes,
    known: Mutex<Known>,
}

impl States {
    /// Goes on with what is in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn open(folder: &Path, rules: Rules, registry: Address) -> Result<Self, LogError> {
        Ok(Self { rules, registry, changes: Changes::open(folder)?, known: Mutex::default() })
    }

    /// What was signed.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Takes runs up to a root. How nodes stand that were or are down may have changed since.
    fn reach(&mut self, root: B256, runs: Runs, rules: &Rules) {
        let is_down = |runs: &Runs, node: &B256| {
            runs.get(node).is_some_and(|run| run.bad >= rules.warn_after)
        };
        let before = std::mem::replace(&mut self.runs, Arc::new(runs));
        let after = Arc::clone(&self.runs);
        self.standing.retain(|node, _| !is_down(&before, node) && !is_down(&after, node));
        self.root = root;
    }

    /// Nodes whose state may have to change, some at once, each in its turn.
    fn next(&mut self, rules: &Rules) -> Vec<B256> {
        let is_due = |node: &B256| {
            let run = self.runs.get(node).copied().unwrap_or_default();
            let changes = |standing| rules.due(standing, run, self.open).is_some();
            rules.may_change(run) && self.standing.get(node).is_none_or(changes)
        };
        let due: Vec<B256> = self.runs.keys().copied().filter(is_due).collect();
        let begin = due.partition_point(|node| self.last.is_some_and(|last| *node <= last));
        let (before, behind) = due.split_at(begin);
        let next: Vec<B256> = behind.iter().chain(before).copied().take(ASKED_AT_ONCE).collect();
        self.last = next.last().copied();
        next
    }
}

#[cfg(test)]
mod tests {
    use super::rules::{Run, State, example};
    use super::*;

    #[test]
    fn nodes_are_asked_about_in_turn_and_again_when_they_were_down() {
        let rules = example();
        let node = |number: u64| B256::from(agent_sla::protocol::U256::from(number));
        let (good, bad) = (Run { good: 3, bad: 0 }, Run { good: 0, bad: 2 });
        let runs = |run| (0..100).map(|number| (node(number), run)).collect::<Runs>();
        let healthy = Standing { state: Some(State::Healthy), is_leaving: false, changes: 0 };
        let mut known = Known::default();
        known.reach(node(1), runs(good), &rules);
        let (first, second) = (known.next(&rules), known.next(&rules));
        assert_eq!((first.len(), second.len()), (64, 64));
        assert_eq!((first[63], second[0], second[36]), (node(63), node(64), node(0)));
        known.standing.extend((0..100).map(|number| (node(number), healthy)));
        assert!(known.next(&rules).is_empty(), "they are healthy, and known to be");
        let mut one_down = runs(good);
        one_down.insert(node(50), bad);
        known.reach(node(2), one_down, &rules);
        assert_eq!(known.next(&rules), [node(50)]);
        known.standing.insert(node(50), healthy);
        assert_eq!(known.next(&rules), [node(50)], "until it is warned");
        let warned = Standing { state: Some(State::Warned), changes: 1, ..healthy };
        known.standing.insert(node(50), warned);
        assert!(known.next(&rules).is_empty());
        known.reach(node(3), runs(good), &rules);
        assert_eq!(
            known.next(&rules),
            [node(50)],
            "it is back, and may have been warned by others"
        );
    }
}
