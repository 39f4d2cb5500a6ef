//! What transactions cost, before they are signed.

use agent_settlement::chain::ChainError;
use agent_settlement::engine::policy::Policy;
use agent_settlement::l1::{self, L1Fee};
use agent_settlement::outbox::Fee;

use crate::units::{eth, gwei};

/// What a gas limit and a price come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quote {
    /// The gas that each transaction is given.
    pub gas: Vec<u64>,
    /// What is offered for a unit.
    pub fee: Fee,
    /// What they cost at the price of now, in wei.
    pub now_wei: u128,
    /// The most that they can cost, in wei: at the highest price. What comes on top for L1 is in it twice over.
    pub most_wei: u128,
    /// What of the price of now is for their data on L1, in wei; none where the chain does not charge for that.
    pub l1_wei: Option<u128>,
    /// Whether that comes on top of gas.
    pub l1_beside: bool,
    /// Why it is not known what the data costs on L1; none where it is. It comes on top of all that stands here then.
    pub l1_unknown: Option<String>,
}

/// Why there is no price.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QuoteError {
    #[error(
        "gas costs {}, more than {}: wait, or raise --max-fee", gwei(*now_wei), gwei(*cap_wei)
    )]
    AboveCap { now_wei: u128, cap_wei: u128 },
    #[error("a call needs {0} gas, more than any of this program should: nothing is signed")]
    TooMuchGas(u64),
    #[error("the account has {}, and {} are needed for gas: pay into it", eth(*has_wei), eth(*needs_wei))]
    NoFunds { has_wei: u128, needs_wei: u128 },
    #[error(
        "nothing is signed: what L1's data costs is not known ({0}), so it is in no bound: run the command again when the chain says it; --dry-run or --out FILE show the rest"
    )]
    UnknownL1(String),
}

/// What an HP spends: no budget of a day, as each call is confirmed.
pub(crate) fn policy(cap_wei: u128) -> Policy {
    Policy {
        fee_cap_wei: cap_wei,
        tip_cap_wei: cap_wei,
        day_budget_wei: u128::MAX,
        hp_pays: true,
        // Somebody sits before it: what is mined is looked at each five seconds instead of ten.
        look_up_ms: 1_000,
        ..Policy::default()
    }
}

/// What calls that need so much gas cost, each with what its data takes on L1. Where the fee may be raised until they are mined, the most is at the cap.
pub(crate) fn quote(
    policy: &Policy,
    needed: &[u64],
    l1: &[Result<L1Fee, ChainError>],
    (base_wei, tip_wei): (u128, u128),
    balance_wei: u128,
    may_be_raised: bool,
) -> Result<Quote, QuoteError> {
    let cap_wei = policy.fee_cap_wei;
    let now_wei = base_wei.saturating_add(tip_wei.clamp(1, policy.tip_cap_wei.max(1)));
    let fee = policy.fee(base_wei, tip_wei).ok_or(QuoteError::AboveCap { now_wei, cap_wei })?;
    let gas: Vec<u64> = needed
        .iter()
        .map(|needed| policy.gas(*needed).ok_or(QuoteError::TooMuchGas(*needed)))
        .collect::<Result<_, _>>()?;
    let all = |gas: &[u64]| gas.iter().map(|gas| u128::from(*gas)).sum::<u128>();
    let highest = if may_be_raised { cap_wei } else { fee.max_wei };
    let (mut beside, mut within, mut l1_unknown) = (None, None, None);
    for fee in l1 {
        let (sum, wei) = match fee {
            Ok(L1Fee::None) => continue,
            Ok(L1Fee::Beside { wei }) => (&mut beside, *wei),
            Ok(L1Fee::Within { wei }) => (&mut within, *wei),
            Err(error) => {
                l1_unknown.get_or_insert_with(|| error.to_string());
                continue;
            }
        };
        *sum = Some(sum.unwrap_or(0_u128).saturating_add(wei));
    }
    let on_top = beside.unwrap_or(0);
    let needs_wei = fee.max_wei.saturating_mul(all(&gas)).saturating_add(on_top);
    if balance_wei < needs_wei {
        return Err(QuoteError::NoFunds { has_wei: balance_wei, needs_wei });
    }
    Ok(Quote {
        now_wei: now_wei.saturating_mul(all(needed)).saturating_add(on_top),
        most_wei: highest
            .saturating_mul(all(&gas))
            .saturating_add(on_top.saturating_mul(l1::TIMES)),
        l1_wei: beside.or(within).filter(|_| l1_unknown.is_none()),
        l1_beside: beside.is_some(),
        l1_unknown,
        gas,
        fee,
    })
}

impl Quote {
    /// That it bounds all that is paid, as what is signed at once must be.
    pub(crate) fn bounds_all(&self) -> Result<(), QuoteError> {
        match &self.l1_unknown {
            Some(why) => Err(QuoteError::UnknownL1(why.clone())),
            None => Ok(()),
        }
    }

    /// In words: a line each.
    pub(crate) fn words(&self) -> Vec<String> {
        let gas: u64 = self.gas.iter().sum();
        let mut lines = vec![
            format!("costs some {} now, and at most {}", eth(self.now_wei), eth(self.most_wei)),
            format!(
                "gas: at most {gas} units for {}; tip {}",
                gwei(self.fee.max_wei),
                gwei(self.fee.tip_wei)
            ),
        ];
        lines.extend(self.l1_wei.map(|wei| match self.l1_beside {
            true => format!(
                "in this: {} now for L1's data, twice that at most; no transaction can bound it",
                eth(wei)
            ),
            false => format!("in this, as gas: {} now for L1's data", eth(wei)),
        }));
        lines.extend(self.l1_unknown.as_ref().map(|why| {
            format!(
                "not in this: L1's data, whose price is not known ({why}); nothing is signed here before it is"
            )
        }));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_bounds_what_is_paid() {
        let policy = policy(100);
        let quoted =
            |raised| quote(&policy, &[1000, 100], &[], (20, 5), u128::MAX, raised).unwrap();
        let quote = quoted(false);
        assert_eq!((quote.gas.clone(), quote.fee.max_wei), (vec![1250, 125], 45));
        assert_eq!((quote.now_wei, quote.most_wei), (25 * 1100, 45 * 1375));
        assert_eq!(quoted(true).most_wei, 100 * 1375);
        assert!(quote.words()[0].contains("at most 0.000000000000061875 ETH"));
    }

    #[test]
    fn what_cannot_be_paid_is_refused() {
        let policy = policy(100);
        let quoted = |needed: &[u64], base, has| quote(&policy, needed, &[], (base, 5), has, false);
        let above = QuoteError::AboveCap { now_wei: 101, cap_wei: 100 };
        assert_eq!(quoted(&[1], 96, u128::MAX), Err(above));
        assert_eq!(quoted(&[2_000_001], 1, u128::MAX), Err(QuoteError::TooMuchGas(2_000_001)));
        let broke = QuoteError::NoFunds { has_wei: 45 * 1250 - 1, needs_wei: 45 * 1250 };
        assert_eq!(quoted(&[1000], 20, 45 * 1250 - 1), Err(broke));
    }
    #[test]
    fn what_l1_takes_is_in_the_quote() {
        let policy = policy(100);
        let quoted = |l1: &[L1Fee], has| {
            let l1: Vec<_> = l1.iter().copied().map(Ok).collect();
            quote(&policy, &[1000, 100], &l1, (20, 5), has, false)
        };
        let (gas_now, gas_most) = (25 * 1100, 45 * 1375);
        let beside = [L1Fee::Beside { wei: 7000 }, L1Fee::Beside { wei: 300 }];
        let found = quoted(&beside, gas_most + 7300).unwrap();
        assert_eq!((found.now_wei, found.most_wei), (gas_now + 7300, gas_most + 2 * 7300));
        assert_eq!(found.l1_wei, Some(7300));
        assert!(found.words()[2].contains("0.0000000000000073 ETH now for L1's data, twice"));
        let broke = QuoteError::NoFunds { has_wei: gas_most + 7299, needs_wei: gas_most + 7300 };
        assert_eq!(quoted(&beside, gas_most + 7299), Err(broke));
        // Where it is part of the gas it is not added again.
        let within = [L1Fee::Within { wei: 400 }, L1Fee::Within { wei: 20 }];
        let found = quoted(&within, gas_most).unwrap();
        assert_eq!((found.now_wei, found.most_wei), (gas_now, gas_most));
        assert_eq!((found.l1_wei, found.l1_beside), (Some(420), false));
        let none = quoted(&[L1Fee::None; 2], gas_most).unwrap();
        assert_eq!(none.bounds_all(), Ok(()));
        assert_eq!((none.l1_wei, none.l1_unknown), (None, None));
    }

    #[test]
    fn what_l1_takes_and_nobody_knows_is_told_and_not_called_nothing() {
        let away = || ChainError::Behind { server: "one".to_owned(), what: "the newest block" };
        let l1 = [Ok(L1Fee::Beside { wei: 7000 }), Err(away())];
        let quote = quote(&policy(100), &[1000, 100], &l1, (20, 5), u128::MAX, false).unwrap();
        assert_eq!((quote.l1_wei, quote.most_wei), (None, 45 * 1375 + 2 * 7000));
        let why = "one is behind: the newest block".to_owned();
        assert_eq!(quote.bounds_all(), Err(QuoteError::UnknownL1(why)));
        let words = quote.words();
        assert_eq!(words.len(), 3, "{words:?}");
        assert!(words[2].contains("not known (one is behind: the newest block)"), "{words:?}");
    }
}
