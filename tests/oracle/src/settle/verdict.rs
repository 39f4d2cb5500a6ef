//! What votes on a node's era come to: pure. A missing vote is no vote.

use agent_sla::protocol::U256;
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::settled::{Median, Verdict};
use agent_sla::protocol::signed::SlaVote;

use super::tariff::Tariff;

/// How many of `oracles` decide: (n + f) / 2 + 1 with f = (n - 1) / 3, as `OracleRegistry.quorumOf` has it.
#[must_use]
pub fn quorum(oracles: usize) -> usize {
    let liars = oracles.saturating_sub(1) / 3;
    (oracles + liars) / 2 + 1
}

/// The verdict of an era, from at most one vote of each oracle. Fewer than a quorum come to nothing: no reward, and no
/// penalty.
#[must_use]
pub fn verdict(era: Era, votes: &[&SlaVote], quorum: usize, tariff: &Tariff) -> Verdict {
    let count = u32::try_from(votes.len()).unwrap_or(u32::MAX);
    let none = Verdict { era, votes: count, median: None, reward: U256::ZERO, penalty: U256::ZERO };
    if votes.len() < quorum {
        return none;
    }
    let Some(median) = median(votes) else { return none };
    let (reward, penalty) = tariff.amounts(&median);
    Verdict { median: Some(median), reward, penalty, ..none }
}

/// Medians; none of nothing.
fn median(votes: &[&SlaVote]) -> Option<Median> {
    let mut by_share: Vec<&&SlaVote> = votes.iter().collect();
    // Shares are compared across: passed / issued, where nothing issued counts as nothing passed. Two of one share
    // stand in the order of their oracles, so that all see the same one in the middle.
    by_share.sort_by(|a, b| {
        let left = u64::from(a.passed.min(a.issued)) * u64::from(b.issued.max(1));
        let right = u64::from(b.passed.min(b.issued)) * u64::from(a.issued.max(1));
        left.cmp(&right).then(a.oracleId.cmp(&b.oracleId))
    });
    let middle = by_share.get(by_share.len().checked_sub(1)? / 2)?;
    Some(Median {
        issued: middle.issued,
        passed: middle.passed.min(middle.issued),
        latency_us: lower(votes.iter().map(|vote| vote.medianLatencyUs))?,
        bytes_per_second: lower(votes.iter().map(|vote| vote.medianBytesPerSecond))?,
        proven_bytes: lower(votes.iter().map(|vote| vote.provenBytes))?,
    })
}

/// The lower median.
fn lower(values: impl Iterator<Item = u64>) -> Option<u64> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use agent_sla::protocol::{Address, B256};
    use proptest::prelude::*;

    use super::super::tariff::example;
    use super::*;

    fn vote(oracle: u8, issued: u32, passed: u32, proven: u64) -> SlaVote {
        SlaVote {
            oracleId: Address::repeat_byte(oracle),
            nodeId: B256::ZERO,
            era: 1,
            issued,
            passed,
            medianLatencyUs: u64::from(oracle),
            medianBytesPerSecond: 100,
            provenBytes: proven,
            receiptsRoot: B256::ZERO,
            configDigest: B256::ZERO,
        }
    }

    fn of(votes: &[SlaVote], oracles: usize) -> Verdict {
        verdict(Era(1), &votes.iter().collect::<Vec<_>>(), quorum(oracles), &example())
    }

    #[test]
    fn quorums_are_those_of_the_contract() {
        let found: Vec<usize> = (1..=10).map(quorum).collect();
        assert_eq!(found, [1, 2, 2, 3, 4, 4, 5, 6, 6, 7]);
    }

    #[test]
    fn a_lone_liar_moves_nothing_beyond_the_honest() {
        let honest = [vote(1, 10, 10, 7), vote(2, 10, 9, 8), vote(3, 12, 12, 9)];
        for liar in [vote(4, 1_000_000, 0, 0), vote(4, 1, 1, u64::MAX), vote(4, 0, 9, 0)] {
            let votes = [honest[0].clone(), honest[1].clone(), honest[2].clone(), liar];
            let median = of(&votes, 4).median.expect("a quorum");
            assert!((7..=9).contains(&median.proven_bytes), "{median:?}");
            assert!(median.passed * 10 >= median.issued * 9, "{median:?}");
        }
    }

    #[test]
    fn fewer_than_a_quorum_come_to_nothing() {
        let votes = [vote(1, 10, 0, 0), vote(2, 10, 0, 0)];
        let found = of(&votes, 4);
        assert_eq!((found.votes, found.median, found.penalty), (2, None, U256::ZERO));
        let decided = of(&votes, 3);
        assert_eq!(decided.penalty, example().down_penalty);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]
        #[test]
        fn the_order_of_votes_is_nothing(
            mut all in prop::collection::vec((0_u32..20, 0_u32..20, any::<u64>()), 1..8), by in any::<prop::sample::Index>(),
        ) {
            let make = |all: &[(u32, u32, u64, u8)]| -> Vec<SlaVote> {
                all.iter().map(|(issued, passed, proven, oracle)| vote(*oracle, *issued, *passed, *proven)).collect()
            };
            let mut named: Vec<_> = all.drain(..).zip(1..).map(|((a, b, c), oracle)| (a, b, c, oracle)).collect();
            let before = of(&make(&named), named.len());
            let count = named.len();
            named.rotate_left(by.index(count));
            prop_assert_eq!(of(&make(&named), count), before);
        }
    }
}
