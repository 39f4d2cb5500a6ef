//! When a node's state is to change: pure. Part of what all oracles of a network agree on out of band; its digest is in every
//! proposal, so that who goes by other rules is told so before anything is signed.

use std::collections::BTreeMap;

use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::{B256, U256};
use alloy::primitives::keccak256;
use alloy::sol_types::SolValue;
use serde::{Deserialize, Serialize};

use super::super::compute::{Set, Terms, verdicts};

/// The longest run that a rule may ask for, in eras: 30 days of eras of an hour. After a start so many are looked at again.
pub const RUN_MAX: u16 = 720;

/// How a node stands on chain (`NodeRegistry.State`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum State {
    /// All is well.
    Healthy = 1,
    /// Nothing is withheld yet.
    Warned = 2,
    /// Rewards are counted and not paid.
    RewardsHeld = 3,
    /// Penalties are taken from collateral.
    Slashing = 4,
    /// It is gone.
    Offboarded = 5,
}

impl State {
    /// The state of this number; none where there is no node, or none that is known.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        let all =
            [Self::Healthy, Self::Warned, Self::RewardsHeld, Self::Slashing, Self::Offboarded];
        all.into_iter().find(|state| *state as u8 == number)
    }
}

/// After how many eras in a row a state changes. Only eras with a verdict count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Eras that were not passed: from healthy to warned.
    pub warn_after: u16,
    /// From warned to rewards held.
    pub hold_after: u16,
    /// From rewards held to slashing.
    pub slash_after: u16,
    /// From slashing to offboarded; never unless said.
    pub offboard_after: Option<u16>,
    /// Eras that were passed: back to healthy from warned, rewards held and slashing.
    pub restore_after: u16,
}

/// What is wrong with rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "write 1 <= warn_after < hold_after < slash_after < offboard_after <= {RUN_MAX} and 1 <= restore_after <= {RUN_MAX}"
)]
pub struct RulesError;

/// How many eras in a row up to the last one were passed, or were not. One of the two is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Run {
    /// Eras with a verdict that were passed.
    pub good: u16,
    /// Eras with a verdict that were not.
    pub bad: u16,
}

/// The runs of all nodes that have one.
pub type Runs = BTreeMap<B256, Run>;

/// What is known of a node on chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How it stands; none where there is no such node.
    pub state: Option<State>,
    /// Whether its HP wants its collateral back: its key is revoked, so it cannot be up.
    pub is_leaving: bool,
    /// Changes of state so far.
    pub changes: u64,
}

impl Run {
    /// The run with one era more: passed, not passed, or without a verdict, which ends both.
    #[must_use]
    pub fn then(self, passed: Option<bool>) -> Self {
        let longer = |run: u16| run.saturating_add(1);
        match passed {
            Some(true) => Self { good: longer(self.good), bad: 0 },
            Some(false) => Self { good: 0, bad: longer(self.bad) },
            None => Self::default(),
        }
    }
}

impl Rules {
    /// That they can be used.
    ///
    /// # Errors
    /// They cannot.
    pub fn check(&self) -> Result<(), RulesError> {
        let down = [0, self.warn_after, self.hold_after, self.slash_after];
        let last = self.offboard_after.unwrap_or(RUN_MAX.saturating_add(1));
        let is_down = down.is_sorted_by(|a, b| a < b) && self.slash_after < last;
        let is_bounded = self.slash_after <= RUN_MAX
            && self.offboard_after.is_none_or(|after| after <= RUN_MAX)
            && (1..=RUN_MAX).contains(&self.restore_after);
        if is_down && is_bounded { Ok(()) } else { Err(RulesError) }
    }

    /// Their digest: Keccak-256 of the ABI encoding of their fields, in their order; 0 for never.
    #[must_use]
    pub fn digest(&self) -> B256 {
        let of = |eras: u16| U256::from(eras);
        let down = (of(self.warn_after), of(self.hold_after), of(self.slash_after));
        let last = (of(self.offboard_after.unwrap_or(0)), of(self.restore_after));
        keccak256((down.0, down.1, down.2, last.0, last.1).abi_encode_params())
    }

    /// So many eras back can make a difference.
    #[must_use]
    pub fn longest(&self) -> u16 {
        self.offboard_after.unwrap_or(self.slash_after).max(self.restore_after)
    }

    /// Whether a run is long enough to change some state.
    #[must_use]
    pub fn may_change(&self, run: Run) -> bool {
        run.bad >= self.warn_after || run.good >= self.restore_after
    }

    /// The same, but that nobody is offboarded for eras of roots that can still be cancelled: there is no way back. `open`
    /// are those eras, the last of the run.
    #[must_use]
    pub fn due(&self, standing: &Standing, run: Run, open: u16) -> Option<State> {
        let sure = Run { bad: run.bad.saturating_sub(open), ..run };
        let last = self.next(standing, sure) == Some(State::Offboarded);
        self.next(standing, run).filter(|next| *next != State::Offboarded || last)
    }

    /// The state that follows, one step at a time; none where nothing is to change. Who leaves is held to nothing more.
    #[must_use]
    pub fn next(&self, standing: &Standing, run: Run) -> Option<State> {
        let state = standing.state?;
        let is_bad = |after: u16| run.bad >= after && !standing.is_leaving;
        let is_good = run.good >= self.restore_after;
        match state {
            State::Warned | State::RewardsHeld | State::Slashing if is_good => Some(State::Healthy),
            State::Healthy if is_bad(self.warn_after) => Some(State::Warned),
            State::Warned if is_bad(self.hold_after) => Some(State::RewardsHeld),
            State::RewardsHeld if is_bad(self.slash_after) => Some(State::Slashing),
            State::Slashing if self.offboard_after.is_some_and(is_bad) => Some(State::Offboarded),
            State::Healthy
            | State::Warned
            | State::RewardsHeld
            | State::Slashing
            | State::Offboarded => None,
        }
    }
}

/// Runs with the eras of one root more: what their votes come to is in `sets`, without what is void.
pub fn extend(runs: &mut Runs, terms: Terms<'_>, (from, to): (u64, u64), sets: &[Set]) {
    let voted = sets.iter().flat_map(|set| set.votes.keys().copied());
    let nodes: std::collections::BTreeSet<B256> = runs.keys().copied().chain(voted).collect();
    for node in nodes {
        let verdicts = verdicts(terms, &node, sets);
        let passed: BTreeMap<Era, bool> = verdicts
            .iter()
            .filter_map(|verdict| Some((verdict.era, terms.tariff.is_passed(&verdict.median?))))
            .collect();
        let run = runs.get(&node).copied().unwrap_or_default();
        let run = (from..=to).fold(run, |run, era| run.then(passed.get(&Era(era)).copied()));
        match run == Run::default() {
            true => drop(runs.remove(&node)),
            false => drop(runs.insert(node, run)),
        }
    }
}

#[cfg(test)]
pub(crate) fn example() -> Rules {
    Rules {
        warn_after: 2,
        hold_after: 4,
        slash_after: 6,
        offboard_after: Some(8),
        restore_after: 3,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use agent_sla::protocol::Address;
    use agent_sla::protocol::key::SigningKey;
    use agent_sla::protocol::parameters::Parameters;
    use agent_sla::protocol::signed::{Signed, SlaVote};
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    use super::*;

    const ALL: [State; 5] =
        [State::Healthy, State::Warned, State::RewardsHeld, State::Slashing, State::Offboarded];

    fn next(state: State, good: u16, bad: u16) -> Option<State> {
        let standing = Standing { state: Some(state), is_leaving: false, changes: 0 };
        example().next(&standing, Run { good, bad })
    }

    #[test]
    fn a_node_goes_down_step_by_step_and_back_at_once() {
        use State::{Healthy, Offboarded, RewardsHeld, Slashing, Warned};
        assert_eq!((next(Healthy, 0, 1), next(Healthy, 0, 2)), (None, Some(Warned)));
        assert_eq!((next(Warned, 0, 3), next(Warned, 0, 4)), (None, Some(RewardsHeld)));
        assert_eq!((next(RewardsHeld, 0, 5), next(RewardsHeld, 0, 6)), (None, Some(Slashing)));
        assert_eq!((next(Slashing, 0, 7), next(Slashing, 0, 8)), (None, Some(Offboarded)));
        assert_eq!(next(Healthy, 0, 99), Some(Warned), "one step at a time, however long it was");
        for state in [Warned, RewardsHeld, Slashing] {
            assert_eq!((next(state, 2, 0), next(state, 3, 0)), (None, Some(Healthy)));
        }
        assert_eq!((next(Healthy, 99, 0), next(Offboarded, 99, 0)), (None, None));
        assert_eq!(next(Offboarded, 0, 99), None);
        let never = Rules { offboard_after: None, ..example() };
        let standing = Standing { state: Some(Slashing), is_leaving: false, changes: 3 };
        assert_eq!(never.next(&standing, Run { good: 0, bad: RUN_MAX }), None);
    }

    #[test]
    fn nobody_is_offboarded_for_what_can_still_be_cancelled() {
        let due = |state, bad, open| {
            let standing = Standing { state: Some(state), is_leaving: false, changes: 0 };
            example().due(&standing, Run { good: 0, bad }, open)
        };
        assert_eq!(due(State::Slashing, 8, 0), Some(State::Offboarded));
        assert_eq!(
            (due(State::Slashing, 8, 1), due(State::Slashing, 9, 1)),
            (None, Some(State::Offboarded))
        );
        assert_eq!(due(State::Slashing, 800, u16::MAX), None);
        assert_eq!(due(State::RewardsHeld, 6, 6), Some(State::Slashing), "there is a way back");
    }

    #[test]
    fn who_leaves_and_who_is_nobody_is_held_to_nothing() {
        let standing = |state, is_leaving| Standing { state, is_leaving, changes: 0 };
        let (bad, good) = (Run { good: 0, bad: 99 }, Run { good: 99, bad: 0 });
        for state in ALL {
            assert_eq!(example().next(&standing(Some(state), true), bad), None, "{state:?}");
        }
        let back = example().next(&standing(Some(State::Slashing), true), good);
        assert_eq!(back, Some(State::Healthy));
        assert_eq!(example().next(&standing(None, false), bad), None);
    }

    #[test]
    fn rules_are_bounded_and_each_changes_the_digest() {
        let one = example();
        assert_eq!(one.check(), Ok(()));
        let others = [
            Rules { warn_after: 1, ..one.clone() },
            Rules { hold_after: 5, ..one.clone() },
            Rules { slash_after: 7, ..one.clone() },
            Rules { offboard_after: None, ..one.clone() },
            Rules { restore_after: 4, ..one.clone() },
        ];
        for other in &others {
            assert_eq!(other.check(), Ok(()));
            assert_ne!(other.digest(), one.digest(), "{other:?}");
        }
        let wrong = [
            Rules { warn_after: 0, ..one.clone() },
            Rules { hold_after: 2, ..one.clone() },
            Rules { slash_after: 4, ..one.clone() },
            Rules { slash_after: RUN_MAX + 1, offboard_after: None, ..one.clone() },
            Rules { offboard_after: Some(6), ..one.clone() },
            Rules { offboard_after: Some(RUN_MAX + 1), ..one.clone() },
            Rules { restore_after: 0, ..one.clone() },
            Rules { restore_after: RUN_MAX + 1, ..one },
        ];
        assert!(wrong.iter().all(|rules| rules.check() == Err(RulesError)));
    }

    proptest! {
        /// What the contract would refuse is never proposed, and only what is long enough changes anything.
        #[test]
        fn only_steps_that_there_are_follow(state in 0_usize..5, good in 0_u16..9, bad in 0_u16..9) {
            let state = ALL[state];
            let run = if good > bad { Run { good, bad: 0 } } else { Run { good: 0, bad } };
            let standing = Standing { state: Some(state), is_leaving: false, changes: 0 };
            if let Some(next) = example().next(&standing, run) {
                prop_assert!(example().may_change(run));
                let is_step = next as u8 == state as u8 + 1;
                let is_back = next == State::Healthy && state != State::Healthy;
                prop_assert!((is_step || is_back) && state != State::Offboarded);
                prop_assert_eq!(is_back, run.good > 0);
            }
        }

        /// Whatever was before the longest run, the same follows: who starts later comes to the same.
        #[test]
        fn only_the_last_eras_count(
            before in prop::collection::vec(prop::option::of(any::<bool>()), 0..20),
            last in prop::collection::vec(prop::option::of(any::<bool>()), 8..20),
            state in 0_usize..5,
        ) {
            let over = |run: Run, eras: &[Option<bool>]| eras.iter().fold(run, |run, era| run.then(*era));
            let whole = over(over(Run::default(), &before), &last);
            let late = over(Run::default(), &last);
            prop_assert!(usize::from(example().longest()) <= last.len());
            let standing = Standing { state: Some(ALL[state]), is_leaving: false, changes: 0 };
            prop_assert_eq!(example().next(&standing, whole), example().next(&standing, late));
        }
    }

    #[test]
    fn eras_with_a_verdict_make_runs_and_others_end_them() {
        let keys: Vec<SigningKey> = (1..=4)
            .map(|byte| SigningKey::from_bytes(&Zeroizing::new([byte; 32])).expect("a key"))
            .collect();
        let parameters = Parameters {
            chain: 1,
            contract: Address::ZERO,
            genesis: 0,
            era_seconds: 60,
            samples: 1,
            oracles: keys.iter().map(SigningKey::address).collect(),
        };
        let tariff = super::super::super::tariff::example();
        let terms = Terms { parameters: &parameters, tariff: &tariff };
        let node = B256::repeat_byte(7);
        let set = |key: &SigningKey, era: u64, passed: u32| {
            let message = SlaVote {
                oracleId: key.address(),
                nodeId: node,
                era,
                issued: 10,
                passed,
                medianLatencyUs: 0,
                medianBytesPerSecond: 0,
                provenBytes: 0,
                receiptsRoot: B256::ZERO,
                configDigest: parameters.digest(),
            };
            let vote = Signed::new(message, &parameters.domain(), key).expect("signed");
            Set { era: Era(era), oracle: key.address(), votes: Arc::new([(node, vote)].into()) }
        };
        let era = |era: u64, oracles: usize, passed: u32| {
            keys.iter().take(oracles).map(|key| set(key, era, passed)).collect::<Vec<_>>()
        };
        let mut runs = Runs::new();
        let of = |runs: &Runs| runs.get(&node).map(|run| (run.good, run.bad));
        extend(&mut runs, terms, (5, 6), &[era(5, 4, 10), era(6, 3, 10)].concat());
        assert_eq!(of(&runs), Some((2, 0)));
        extend(&mut runs, terms, (7, 8), &[era(7, 4, 8), era(8, 4, 0)].concat());
        assert_eq!(of(&runs), Some((0, 2)), "below the share that is asked for");
        extend(&mut runs, terms, (9, 10), &[era(9, 2, 0), era(10, 4, 0)].concat());
        assert_eq!(of(&runs), Some((0, 1)), "two votes are no verdict");
        extend(&mut runs, terms, (11, 11), &[]);
        assert_eq!(of(&runs), None, "nobody voted");
    }
}
