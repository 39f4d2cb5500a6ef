//! What an era is worth: pure. Part of what all oracles of a network agree on out of band; its digest is in every
//! proposal, so that who goes by another is told so before anything is signed.

use agent_sla::protocol::settled::Median;
use agent_sla::protocol::{B256, U256};
use alloy::primitives::keccak256;
use alloy::sol_types::SolValue;
use serde::{Deserialize, Serialize};

/// Bits of an amount on chain: the contracts keep 96.
const AMOUNT_BITS: usize = 96;

/// A whole of permille.
const PERMILLE: u64 = 1000;

/// Bits of a TiB.
const TIB_BITS: usize = 40;

/// What an era is worth. Amounts are in the token's smallest unit, as decimal texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tariff {
    /// For an era in which every check was passed.
    pub era_reward: U256,
    /// The same, for each TiB that was proven.
    pub tib_reward: U256,
    /// The most for an era of one node, whatever it proved.
    pub era_reward_max: U256,
    /// So many checks of a thousand must be passed, or nothing is earned.
    pub pass_permille: u16,
    /// Where fewer of a thousand are passed, the node was down.
    pub down_permille: u16,
    /// What an era costs in which the node was down.
    pub down_penalty: U256,
}

/// What is wrong with a tariff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TariffError {
    /// An amount is more than the contracts can keep.
    #[error("{0} is more than the contracts can keep: 2^96 - 1 of the token's smallest unit")]
    Amount(&'static str),
    /// A share is none.
    #[error(
        "{what} is {found}: 0 to 1000 of a thousand are possible, down_permille <= pass_permille"
    )]
    Share {
        /// Which.
        what: &'static str,
        /// What it is.
        found: u16,
    },
}

impl Tariff {
    /// That it can be used.
    ///
    /// # Errors
    /// It cannot.
    pub fn check(&self) -> Result<(), TariffError> {
        let amounts = [
            ("era_reward", self.era_reward),
            ("tib_reward", self.tib_reward),
            ("era_reward_max", self.era_reward_max),
            ("down_penalty", self.down_penalty),
        ];
        if let Some((what, _)) = amounts.iter().find(|(_, found)| found.bit_len() > AMOUNT_BITS) {
            return Err(TariffError::Amount(what));
        }
        if u64::from(self.pass_permille) > PERMILLE {
            return Err(TariffError::Share { what: "pass_permille", found: self.pass_permille });
        }
        if self.down_permille > self.pass_permille {
            return Err(TariffError::Share { what: "down_permille", found: self.down_permille });
        }
        Ok(())
    }

    /// Its digest: Keccak-256 of the ABI encoding of its fields, in their order.
    #[must_use]
    pub fn digest(&self) -> B256 {
        let share = |permille: u16| U256::from(permille);
        let Self { era_reward, tib_reward, era_reward_max, down_penalty, .. } = *self;
        let shares = (share(self.pass_permille), share(self.down_permille));
        keccak256(
            (era_reward, tib_reward, era_reward_max, shares.0, shares.1, down_penalty)
                .abi_encode_params(),
        )
    }

    /// Whether so many checks were passed that the era is paid for.
    #[must_use]
    pub fn is_passed(&self, median: &Median) -> bool {
        let (issued, passed) = (u64::from(median.issued), u64::from(median.passed));
        let wanted = u64::from(self.pass_permille).saturating_mul(issued);
        issued > 0 && passed.saturating_mul(PERMILLE) >= wanted
    }

    /// What an era with these medians earns and forfeits. Rounded down, for the payer.
    #[must_use]
    pub fn amounts(&self, median: &Median) -> (U256, U256) {
        let (issued, passed) = (u64::from(median.issued), u64::from(median.passed));
        let reaches = |permille: u16| {
            passed.saturating_mul(PERMILLE) >= u64::from(permille).saturating_mul(issued)
        };
        let stored = self.tib_reward.saturating_mul(U256::from(median.proven_bytes)) >> TIB_BITS;
        let full = self.era_reward.saturating_add(stored).min(self.era_reward_max);
        let share = full.saturating_mul(U256::from(passed)).checked_div(U256::from(issued));
        let reward = share.filter(|_| reaches(self.pass_permille)).unwrap_or_default();
        let penalty =
            if issued > 0 && !reaches(self.down_permille) { self.down_penalty } else { U256::ZERO };
        (reward, penalty)
    }
}

#[cfg(test)]
pub(crate) fn example() -> Tariff {
    Tariff {
        era_reward: U256::from(1000),
        tib_reward: U256::from(100),
        era_reward_max: U256::from(5000),
        pass_permille: 900,
        down_permille: 500,
        down_penalty: U256::from(70),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(issued: u32, passed: u32, proven_bytes: u64) -> (u64, u64) {
        let median = Median { issued, passed, latency_us: 1, bytes_per_second: 1, proven_bytes };
        let (reward, penalty) = example().amounts(&median);
        (reward.to(), penalty.to())
    }

    #[test]
    fn an_era_is_paid_by_passed_share_and_proven_bytes() {
        assert_eq!(amounts(10, 10, 0), (1000, 0));
        assert_eq!(amounts(10, 10, 3 << 40), (1300, 0));
        assert_eq!(amounts(10, 9, 3 << 40), (1170, 0), "at the share that is asked for");
        assert_eq!(amounts(100, 89, 3 << 40), (0, 0), "below it, and not down");
        assert_eq!(amounts(10, 10, 1 << 60), (5000, 0), "never more than the most");
        assert_eq!(amounts(3, 3, 1 << 39), (1050, 0));
    }

    #[test]
    fn only_who_was_down_forfeits() {
        assert_eq!(amounts(10, 5, 0), (0, 0));
        assert_eq!(amounts(10, 4, 0), (0, 70));
        assert_eq!(amounts(10, 0, 1 << 50), (0, 70));
        assert_eq!(amounts(0, 0, 0), (0, 0), "nothing asked is nothing missed");
    }

    #[test]
    fn a_tariff_is_bounded_and_each_field_changes_its_digest() {
        let one = example();
        assert_eq!(one.check(), Ok(()));
        let more = U256::from(1);
        let others = [
            Tariff { era_reward: one.era_reward + more, ..one.clone() },
            Tariff { tib_reward: one.tib_reward + more, ..one.clone() },
            Tariff { era_reward_max: one.era_reward_max + more, ..one.clone() },
            Tariff { pass_permille: 901, ..one.clone() },
            Tariff { down_permille: 501, ..one.clone() },
            Tariff { down_penalty: one.down_penalty + more, ..one.clone() },
        ];
        assert!(others.iter().all(|other| other.digest() != one.digest()));
        let long = Tariff { down_penalty: more << 96, ..one.clone() };
        assert_eq!(long.check(), Err(TariffError::Amount("down_penalty")));
        let crossed = Tariff { down_permille: 950, ..one };
        assert!(matches!(crossed.check(), Err(TariffError::Share { found: 950, .. })));
    }
}
