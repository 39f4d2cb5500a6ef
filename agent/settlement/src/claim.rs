//! What a node has earned and not been paid: from the record of what was used to the payment that is final.
//!
//! ```text
//! Accrued ─▶ RootPosted ─▶ Claimable ─▶ Sent ─▶ Mined ─▶ Final
//!    ▲         │  ▲  │        │  ▲       ▲ └──reorg──┘ │
//!    │         │  │  │        ▼  │       │             │ paid nothing: rewards were held
//!    │         ▼  │  │       Held ◀──────┼─────────────┘
//!    │     Disputed  │                   │
//!    └──cancelled────┘                parked: Held, until somebody looked
//! ```
//!
//! Roots count from a node's beginning, so a claim that was missed is in the next.

use alloy::primitives::B256;
use serde::{Deserialize, Serialize};

use crate::call::Seq;
use crate::usage::UsageRecord;

/// What is claimed for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RewardClaim {
    /// Which node.
    pub node: B256,
    /// The first era.
    pub from_era: u64,
    /// The last era.
    pub to_era: u64,
    /// Digest of what the node itself counted: to compare by, not what it is paid by.
    pub usage: B256,
    /// How far it is.
    pub stage: ClaimStage,
}

/// A root that is posted on chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Its number on chain.
    pub id: u64,
    /// Its EIP-712 digest: a number is used again after a root was cancelled.
    pub digest: B256,
    /// The last era that is in it.
    pub to_era: u64,
    /// When it is final, in seconds since 1970.
    pub final_at: u64,
}

/// How far a claim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimStage {
    /// It was earned, as far as the node knows.
    Accrued,
    /// Oracles posted a root with it; it can be disputed.
    RootPosted(Root),
    /// The root is in dispute.
    Disputed(Root),
    /// The root is final.
    Claimable(Root),
    /// The node's rewards are held back: a claim would pay nothing.
    Held(Root),
    /// The claim is with the transaction engine.
    Sent(Root, Seq),
    /// It is in a block.
    Mined(Root, Seq),
    /// It is paid, for good.
    Final(Root),
}

/// What happens to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimEvent {
    /// A root was posted.
    Posted(Root),
    /// A root was cancelled.
    Cancelled(B256),
    /// A dispute about a root began.
    Disputed(B256),
    /// It ended, and the root stands.
    Upheld(B256),
    /// It is so late on chain, in seconds since 1970.
    Time(u64),
    /// Rewards of the node are held back.
    Held,
    /// They are paid again.
    Released,
    /// The engine has the claim of a root.
    Queued(B256, Seq),
    /// It is in a block.
    Mined(Seq),
    /// It no longer is.
    Reorged(Seq),
    /// It is final; whether the contract says that the node was paid.
    Settled {
        /// By the engine's number.
        seq: Seq,
        /// Whether the node was paid what the root has for it.
        paid: bool,
    },
    /// The engine gave it up.
    Parked(Seq),
    /// The contract says that all of a root was paid, whoever claimed it.
    PaidByAnother(B256),
}

/// What is to be done: claim what a root has for the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MakeClaim(pub Root);

impl ClaimStage {
    /// The root that it is about.
    #[must_use]
    pub fn root(&self) -> Option<Root> {
        match self {
            Self::Accrued => None,
            Self::RootPosted(root)
            | Self::Disputed(root)
            | Self::Claimable(root)
            | Self::Held(root)
            | Self::Sent(root, _)
            | Self::Mined(root, _)
            | Self::Final(root) => Some(*root),
        }
    }
}

impl RewardClaim {
    /// What is earned by what was used.
    #[must_use]
    pub fn accrued(node: B256, usage: &UsageRecord) -> Self {
        let UsageRecord { from_era, to_era, .. } = *usage;
        Self { node, from_era, to_era, usage: usage.digest(), stage: ClaimStage::Accrued }
    }

    /// Takes note of what happened, and says what is to be done. What cannot be at its stage changes nothing.
    pub fn step(&mut self, event: ClaimEvent) -> Option<MakeClaim> {
        use ClaimStage as S;
        let about = |digest: B256| self.stage.root().is_some_and(|root| root.digest == digest);
        let next = match (self.stage, event) {
            (S::Final(_), _) => None,
            (S::Accrued, ClaimEvent::Posted(root)) if root.to_era >= self.to_era => {
                Some(S::RootPosted(root))
            }
            (
                S::RootPosted(root) | S::Held(root) | S::Claimable(root),
                ClaimEvent::Posted(newer),
            ) if root.digest == newer.digest && root.to_era == newer.to_era && root != newer => {
                // The same root was posted again, later: its window begins again.
                Some(S::RootPosted(newer))
            }
            // Until it is final a root can be cancelled. One that is final cannot, and where a chain says so all the
            // same it was reorganised: nothing is owed by a root that is not there.
            (
                S::RootPosted(_)
                | S::Disputed(_)
                | S::Claimable(_)
                | S::Held(_)
                | S::Sent(..)
                | S::Mined(..),
                ClaimEvent::Cancelled(digest),
            ) if about(digest) => Some(S::Accrued),
            (S::RootPosted(root), ClaimEvent::Disputed(digest)) if about(digest) => {
                Some(S::Disputed(root))
            }
            (S::Disputed(root), ClaimEvent::Upheld(digest)) if about(digest) => {
                Some(S::RootPosted(root))
            }
            (S::RootPosted(root), ClaimEvent::Time(now)) if now >= root.final_at => {
                Some(S::Claimable(root))
            }
            (S::Claimable(root), ClaimEvent::Held) => Some(S::Held(root)),
            (S::Held(root), ClaimEvent::Released) => Some(S::Claimable(root)),
            (S::Claimable(root), ClaimEvent::Queued(digest, seq)) if about(digest) => {
                Some(S::Sent(root, seq))
            }
            (S::Sent(root, seq), ClaimEvent::Mined(of)) if of == seq => Some(S::Mined(root, seq)),
            (S::Mined(root, seq), ClaimEvent::Reorged(of)) if of == seq => Some(S::Sent(root, seq)),
            (S::Sent(root, seq) | S::Mined(root, seq), ClaimEvent::Settled { seq: of, paid })
                if of == seq =>
            {
                Some(if paid { S::Final(root) } else { S::Held(root) })
            }
            (S::Sent(root, seq) | S::Mined(root, seq), ClaimEvent::Parked(of)) if of == seq => {
                Some(S::Held(root))
            }
            (
                S::Claimable(root) | S::Held(root) | S::Sent(root, _) | S::Mined(root, _),
                ClaimEvent::PaidByAnother(digest),
            ) if about(digest) => Some(S::Final(root)),
            _ => None,
        }?;
        self.stage = next;
        match next {
            S::Claimable(root) => Some(MakeClaim(root)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::usage::Reading;

    fn claim() -> RewardClaim {
        let reading = Reading::default();
        let usage = UsageRecord::between(3, 4, &reading, &reading).expect("eras");
        RewardClaim::accrued(B256::repeat_byte(1), &usage)
    }

    fn root(number: u8, to_era: u64) -> Root {
        let final_at = 100 + u64::from(number);
        Root { id: u64::from(number), digest: B256::repeat_byte(number), to_era, final_at }
    }

    #[test]
    fn a_claim_goes_its_way_and_is_made_once() {
        let (mut claim, root, early) = (claim(), root(7, 4), root(6, 3));
        assert_eq!(claim.step(ClaimEvent::Posted(early)), None, "not its eras");
        assert_eq!(claim.stage, ClaimStage::Accrued);
        assert_eq!(claim.step(ClaimEvent::Posted(root)), None);
        assert_eq!(claim.step(ClaimEvent::Time(106)), None);
        assert_eq!(claim.step(ClaimEvent::Time(107)), Some(MakeClaim(root)));
        assert_eq!(claim.step(ClaimEvent::Time(108)), None);
        assert_eq!(claim.step(ClaimEvent::Queued(root.digest, Seq(5))), None);
        assert_eq!(claim.step(ClaimEvent::Mined(Seq(5))), None);
        assert_eq!(claim.stage, ClaimStage::Mined(root, Seq(5)));
        assert_eq!(claim.step(ClaimEvent::Reorged(Seq(5))), None);
        assert_eq!(claim.stage, ClaimStage::Sent(root, Seq(5)));
        assert_eq!(claim.step(ClaimEvent::Settled { seq: Seq(5), paid: true }), None);
        assert_eq!(claim.stage, ClaimStage::Final(root));
    }

    #[test]
    fn what_paid_nothing_is_held_and_made_again_when_released() {
        let (mut claim, root) = (claim(), root(7, 9));
        claim.step(ClaimEvent::Posted(root));
        claim.step(ClaimEvent::Disputed(root.digest));
        assert_eq!(claim.step(ClaimEvent::Time(1000)), None, "nothing is claimed in a dispute");
        claim.step(ClaimEvent::Upheld(root.digest));
        assert_eq!(claim.step(ClaimEvent::Time(1000)), Some(MakeClaim(root)));
        claim.step(ClaimEvent::Queued(root.digest, Seq(1)));
        claim.step(ClaimEvent::Settled { seq: Seq(1), paid: false });
        assert_eq!(claim.stage, ClaimStage::Held(root));
        assert_eq!(claim.step(ClaimEvent::Released), Some(MakeClaim(root)));
    }

    #[test]
    fn a_cancelled_root_owes_nothing_and_another_takes_its_place() {
        let (mut claim, first, second) = (claim(), root(7, 4), root(8, 4));
        claim.step(ClaimEvent::Posted(first));
        claim.step(ClaimEvent::Cancelled(first.digest));
        assert_eq!(claim.stage, ClaimStage::Accrued);
        assert_eq!(claim.step(ClaimEvent::Time(1000)), None);
        claim.step(ClaimEvent::Posted(second));
        assert_eq!(claim.step(ClaimEvent::Time(1000)), Some(MakeClaim(second)));
    }

    fn event() -> impl Strategy<Value = ClaimEvent> {
        let digest = || (6_u8..9).prop_map(B256::repeat_byte);
        let seq = || (0_u64..3).prop_map(Seq);
        prop_oneof![
            (6_u8..9, 3_u64..6)
                .prop_map(|(number, to_era)| ClaimEvent::Posted(root(number, to_era))),
            digest().prop_map(ClaimEvent::Cancelled),
            digest().prop_map(ClaimEvent::Disputed),
            digest().prop_map(ClaimEvent::Upheld),
            (100_u64..112).prop_map(ClaimEvent::Time),
            Just(ClaimEvent::Held),
            Just(ClaimEvent::Released),
            (digest(), seq()).prop_map(|(digest, seq)| ClaimEvent::Queued(digest, seq)),
            seq().prop_map(ClaimEvent::Mined),
            seq().prop_map(ClaimEvent::Reorged),
            (seq(), any::<bool>()).prop_map(|(seq, paid)| ClaimEvent::Settled { seq, paid }),
            seq().prop_map(ClaimEvent::Parked),
            digest().prop_map(ClaimEvent::PaidByAnother),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

        #[test]
        fn whatever_comes_in_whatever_order(events in prop::collection::vec(event(), 0..60)) {
            let mut claim = claim();
            let mut standing = BTreeSet::new();
            let (mut latest, mut asked) = (0, 0);
            for event in events {
                match event {
                    ClaimEvent::Posted(root) => drop(standing.insert(root.digest)),
                    ClaimEvent::Cancelled(digest) => drop(standing.remove(&digest)),
                    ClaimEvent::Time(now) => latest = latest.max(now),
                    _ => {}
                }
                let before = claim.stage;
                let made = claim.step(event);
                if let Some(MakeClaim(root)) = made {
                    prop_assert!(standing.contains(&root.digest), "a root that stands");
                    prop_assert!(latest >= root.final_at, "not before it is final");
                    prop_assert!(root.to_era >= claim.to_era, "it has these eras");
                    prop_assert_eq!(claim.stage, ClaimStage::Claimable(root));
                    prop_assert_ne!(before, claim.stage, "once for each time that it comes so far");
                    asked += 1;
                }
                if let ClaimStage::Final(_) = before {
                    prop_assert_eq!(claim.stage, before, "what is final stays so");
                }
                if let ClaimStage::Final(root) = claim.stage
                    && before != claim.stage
                {
                    prop_assert!(asked > 0, "nothing is final that never was claimable");
                    let paid = matches!(event, ClaimEvent::Settled { paid: true, .. })
                        || event == ClaimEvent::PaidByAnother(root.digest);
                    prop_assert!(paid);
                }
            }
        }
    }
}
