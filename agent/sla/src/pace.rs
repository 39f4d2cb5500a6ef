//! When things are done: waits that grow, and jitter that a node's id decides, so that not all nodes
//! come at once and a test sees the same each time.

use std::time::Duration;

use alloy::primitives::keccak256;

use crate::protocol::B256;
use crate::protocol::parameters::Parameters;

/// The wait after the first failure: an oracle that restarts is back in seconds.
const WAIT_FIRST: Duration = Duration::from_secs(1);

/// The longest wait after failures: nodes are back within two minutes of their oracle, and 100,000
/// of them knock fewer than a thousand times a second.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// The wait where a person has to act first, as for an admission.
const WAIT_PERSON: Duration = Duration::from_secs(180);

/// The shortest of the longest waits, for networks with eras of seconds.
const WAIT_LEAST: Duration = Duration::from_secs(2);

/// The part of an era in which its challenges begin.
const CHALLENGE_PART: u32 = 10;

/// The waits of one network.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    node: B256,
    era: Duration,
}

impl Pace {
    pub(crate) fn new(node: B256, parameters: &Parameters) -> Self {
        Self { node, era: Duration::from_secs(u64::from(parameters.era_seconds)) }
    }

    /// A part of `span`, decided by the node's id and `what`.
    pub(crate) fn jitter(&self, what: &str, number: u64, span: Duration) -> Duration {
        let drawn =
            keccak256([self.node.as_slice(), what.as_bytes(), &number.to_be_bytes()].concat());
        let [a, b, c, d, ..] = drawn.0;
        let part = f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX);
        span.mul_f64(part)
    }

    /// The wait after `failures` in a row with `peer`: 1 s, doubled each time up to two minutes or
    /// a tenth of an era, three quarters to five quarters of it.
    pub(crate) fn after_failures(&self, peer: &str, failures: u32) -> Duration {
        let doubled = WAIT_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16));
        self.spread(peer, failures, doubled.min(self.at_most(WAIT_MAX)))
    }

    /// The wait where a person has to act first.
    pub(crate) fn after_refusal(&self, peer: &str, failures: u32) -> Duration {
        self.spread(peer, failures, self.at_most(WAIT_PERSON))
    }

    /// How far into an era its challenges begin.
    pub(crate) fn start_in(&self, era: u64) -> Duration {
        self.jitter("era", era, self.era / CHALLENGE_PART)
    }

    fn at_most(&self, most: Duration) -> Duration {
        (self.era / 10).clamp(WAIT_LEAST, most)
    }

    fn spread(&self, peer: &str, failures: u32, wait: Duration) -> Duration {
        wait.mul_f64(0.75).saturating_add(self.jitter(peer, u64::from(failures), wait / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::parameters::example;

    fn pace(node: u8, era_seconds: u32) -> Pace {
        Pace::new(B256::repeat_byte(node), &Parameters { era_seconds, ..example() })
    }

    #[test]
    fn waits_grow_to_a_bound_and_differ_between_nodes() {
        let ours = pace(1, 3600);
        let waits: Vec<_> = (1..40).map(|failures| ours.after_failures("a", failures)).collect();
        assert!(waits[0] >= Duration::from_millis(750) && waits[0] <= Duration::from_millis(1250));
        assert!(waits.iter().all(|wait| *wait <= WAIT_MAX.mul_f64(1.25)), "{waits:?}");
        assert!(waits[20] >= WAIT_MAX.mul_f64(0.75));
        assert_eq!(waits[20], ours.after_failures("a", 21));
        assert_ne!(waits[20], pace(2, 3600).after_failures("a", 21));
        assert!(pace(1, 20).after_failures("a", 30) <= WAIT_LEAST.mul_f64(1.25));
    }

    #[test]
    fn nodes_spread_over_the_first_tenth_of_an_era() {
        let at: Vec<_> = (0..=255).map(|node| pace(node, 3600).start_in(7)).collect();
        let tenth = Duration::from_secs(360);
        assert!(at.iter().all(|at| *at <= tenth));
        let early = at.iter().filter(|at| **at < tenth / 2).count();
        assert!((90..=166).contains(&early), "{early} of 256 in the first half");
    }
}
