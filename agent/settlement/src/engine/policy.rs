//! What an engine may spend, and how long it waits.

use crate::outbox::{Fee, Spent};

/// Percent by which a fee grows when a transaction is replaced. Servers want 10 (geth, `PriceBump`); with 20, a
/// fee that is short by half is met after four.
const BUMP_PERCENT: u128 = 20;

/// Percent that servers want at least.
const BUMP_LEAST_PERCENT: u128 = 10;

/// So many base fees are offered: it grows by an eighth per block at most (EIP-1559), so six full blocks are paid for.
const BASE_FEES: u128 = 2;

/// Gas beyond what was simulated, in percent: state may change until the call is mined.
const GAS_MARGIN_PERCENT: u64 = 25;

/// What an engine may spend, and how long it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The most for a unit of gas, in wei. At this cap a call waits; it is never dropped.
    pub fee_cap_wei: u128,
    /// The most of that for the makers of blocks, in wei.
    pub tip_cap_wei: u128,
    /// The most that the transactions of one day (UTC) can cost, in wei.
    pub day_budget_wei: u128,
    /// The most gas of one call.
    pub gas_max: u64,
    /// So many transactions may wait to be mined at once.
    pub in_flight_max: usize,
    /// So many intents may be open.
    pub open_max: usize,
    /// After so many reverts a call is parked.
    pub reverts_max: u32,
    /// How often what became of a transaction is looked up, in milliseconds.
    pub look_up_ms: u64,
    /// How long a transaction waits before its fee is raised, in milliseconds.
    pub replace_ms: u64,
    /// How long a nonce below ours may be missing before it is filled, in milliseconds.
    pub gap_ms: u64,
    /// How long transactions that are not ours are waited for, in milliseconds.
    pub strangers_ms: u64,
    /// The first wait after a failure, in milliseconds; it doubles up to `retry_max_ms`.
    pub retry_ms: u64,
    /// The longest wait after a failure, in milliseconds.
    pub retry_max_ms: u64,
    /// How far the clock may be from the newest block's, in seconds.
    pub skew_max_s: u64,
    /// Whether the HP account itself may pay: only for a person at a machine of their own, never on a node.
    pub hp_pays: bool,
}

impl Default for Policy {
    fn default() -> Self {
        /// One gwei.
        const GWEI: u128 = 1_000_000_000;
        Self {
            // Base is at some 0.01 gwei; a hundredfold is 1, and 5 is more than it ever was for long.
            fee_cap_wei: 5 * GWEI,
            tip_cap_wei: GWEI,
            // 20 calls of 300,000 gas at the cap: 0.03 ETH.
            day_budget_wei: 30_000_000 * GWEI,
            // A root with 32 signatures is the most there is, below one million.
            gas_max: 2_000_000,
            in_flight_max: 4,
            open_max: 1024,
            reverts_max: 5,
            // One block of Base.
            look_up_ms: 2_000,
            replace_ms: 30_000,
            gap_ms: 60_000,
            strangers_ms: 600_000,
            retry_ms: 5_000,
            retry_max_ms: 600_000,
            skew_max_s: 60,
            hp_pays: false,
        }
    }
}

impl Policy {
    /// What is offered; none while the chain is dearer than the cap.
    #[must_use]
    pub fn fee(&self, base_wei: u128, tip_wei: u128) -> Option<Fee> {
        // A tip of nothing is taken by nobody.
        let tip_wei = tip_wei.clamp(1, self.tip_cap_wei.max(1));
        let least = base_wei.saturating_add(tip_wei);
        if least > self.fee_cap_wei {
            return None;
        }
        let max_wei = base_wei.saturating_mul(BASE_FEES).saturating_add(tip_wei);
        Some(Fee { max_wei: max_wei.min(self.fee_cap_wei), tip_wei })
    }

    /// What is offered in the place of what was; none at the cap.
    pub(crate) fn raised(&self, before: Fee, base_wei: u128, tip_wei: u128) -> Option<Fee> {
        let grown = |wei: u128, percent: u128| {
            wei.saturating_mul(100 + percent).div_ceil(100).max(wei.saturating_add(1))
        };
        let fresh = self.fee(base_wei, tip_wei);
        let max_wei = fresh.map_or(0, |fee| fee.max_wei).max(grown(before.max_wei, BUMP_PERCENT));
        let max_wei = max_wei.min(self.fee_cap_wei);
        // Both must grow for a server to take it: the tip's cap gives way, the cap over all does not.
        let tip_wei = grown(before.tip_wei, BUMP_PERCENT).min(max_wei);
        let enough = max_wei >= grown(before.max_wei, BUMP_LEAST_PERCENT)
            && tip_wei >= grown(before.tip_wei, BUMP_LEAST_PERCENT);
        enough.then_some(Fee { max_wei, tip_wei })
    }

    /// The gas that a call is given, for what it needed when it was simulated; none if that is too much.
    #[must_use]
    pub fn gas(&self, needed: u64) -> Option<u64> {
        let margin = needed / 100 * GAS_MARGIN_PERCENT;
        (needed <= self.gas_max).then(|| needed.saturating_add(margin).min(self.gas_max))
    }

    /// What is set aside on a day after `more` wei of it; none beyond the budget.
    pub(crate) fn budget(&self, spent: Spent, day: u64, more: u128) -> Option<Spent> {
        let before = if spent.day == day { spent.wei } else { 0 };
        let wei = before.saturating_add(more);
        (wei <= self.day_budget_wei).then_some(Spent { day, wei })
    }

    /// How long the `failures`th failure in a row is waited after, in milliseconds.
    pub(crate) fn wait_ms(&self, failures: u32) -> u64 {
        let doubled = 1_u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
        self.retry_ms.saturating_mul(doubled).min(self.retry_max_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn at_the_cap_nothing_is_offered_and_nothing_raised() {
        let policy = Policy { fee_cap_wei: 100, tip_cap_wei: 10, ..Policy::default() };
        assert_eq!(policy.fee(20, 5), Some(Fee { max_wei: 45, tip_wei: 5 }));
        assert_eq!(policy.fee(80, 5), Some(Fee { max_wei: 100, tip_wei: 5 }));
        assert_eq!(policy.fee(98, 5), None);
        let before = Fee { max_wei: 90, tip_wei: 10 };
        assert_eq!(policy.raised(before, 20, 5), Some(Fee { max_wei: 100, tip_wei: 12 }));
        assert_eq!(policy.raised(Fee { max_wei: 95, tip_wei: 10 }, 20, 5), None);
    }

    #[test]
    fn a_day_has_its_budget_and_the_next_another() {
        let policy = Policy { day_budget_wei: 10, ..Policy::default() };
        let spent = policy.budget(Spent::default(), 3, 10).expect("just enough");
        assert_eq!(policy.budget(spent, 3, 1), None);
        assert_eq!(policy.budget(spent, 4, 1), Some(Spent { day: 4, wei: 1 }));
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let policy = Policy { retry_ms: 5, retry_max_ms: 30, ..Policy::default() };
        assert_eq!([0, 1, 2, 3, 4, 90].map(|n| policy.wait_ms(n)), [5, 5, 10, 20, 30, 30]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]
        #[test]
        fn no_fee_is_above_the_cap_and_each_raise_is_one_that_servers_take(
            cap in 1_u128..1 << 70, tip_cap in 0_u128..1 << 70, base in any::<u128>(), tip in any::<u128>(),
        ) {
            let policy = Policy { fee_cap_wei: cap, tip_cap_wei: tip_cap, ..Policy::default() };
            let mut fee = policy.fee(base, tip);
            let mut raises = 0;
            while let Some(now) = fee {
                prop_assert!(now.max_wei <= cap && now.tip_wei <= now.max_wei);
                fee = policy.raised(now, base, tip);
                if let Some(next) = fee {
                    prop_assert!(next.max_wei * 10 >= now.max_wei * 11 && next.tip_wei * 10 >= now.tip_wei * 11);
                }
                raises += 1;
                prop_assert!(raises < 600, "it ends");
            }
        }
    }
}
