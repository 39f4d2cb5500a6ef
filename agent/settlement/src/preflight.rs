//! What must be so before anything is signed.

use alloy::primitives::{Address, Bytes};

/// What an engine is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The chain (EIP-155).
    pub chain: u64,
    /// Who is paid.
    pub hp: Address,
    /// The contracts that are called.
    pub contracts: Vec<Contract>,
}

/// A contract that is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// What it is called in words.
    pub name: &'static str,
    /// Where it is.
    pub address: Address,
    /// A question, and the answer that one of this version gives; none where only code is looked for.
    pub version: Option<(Bytes, Bytes)>,
}

/// What is known of a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Whether there is code.
    pub code: bool,
    /// Its answer to the question for its version; none where it was not asked, or refused to answer.
    pub answer: Option<Bytes>,
}

/// What is known of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its number.
    pub chain: u64,
    /// When its newest block was made, in seconds since 1970.
    pub block_time: u64,
    /// The contracts, in the order of [`Target::contracts`].
    pub contracts: Vec<Seen>,
}

/// Why nothing is signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The servers are of another chain.
    #[error("the RPC servers are of chain {found}, not {expected}: correct the configuration")]
    OtherChain {
        /// The chain in the configuration.
        expected: u64,
        /// The servers' chain.
        found: u64,
    },
    /// There is no contract.
    #[error("there is no contract {name} at {address} on this chain: correct the configuration")]
    NoCode {
        /// Which.
        name: &'static str,
        /// Where it should be.
        address: Address,
    },
    /// The contract is of another version.
    #[error("the contract {name} at {address} is not of the version that this program knows")]
    OtherVersion {
        /// Which.
        name: &'static str,
        /// Where it is.
        address: Address,
    },
    /// Nobody would be paid.
    #[error("the HP account is zero: set it in the configuration")]
    NoHp,
    /// The payer is the HP.
    #[error("the paying key is the HP account's own, which belongs on no node: use a relayer's")]
    PayerIsHp,
    /// The clock is off, or the servers are.
    #[error(
        "the clock is {skew_s} s ahead of the newest block: check the time, and whether the chain stands"
    )]
    Skew {
        /// How far ahead the clock is, in seconds; negative if it is behind.
        skew_s: i64,
    },
    /// There is nothing to pay with.
    #[error("the account {0} has nothing to pay gas with: pay into it")]
    NoFunds(Address),
}

/// Everything that stands against signing; empty if nothing does.
#[must_use]
pub fn check(
    target: &Target,
    facts: &Facts,
    payer: Address,
    balance_wei: u128,
    unix_s: u64,
    skew_max_s: u64,
) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if facts.chain != target.chain {
        refusals.push(Refusal::OtherChain { expected: target.chain, found: facts.chain });
    }
    if target.hp == Address::ZERO {
        refusals.push(Refusal::NoHp);
    }
    if target.hp == payer {
        refusals.push(Refusal::PayerIsHp);
    }
    for (index, contract) in target.contracts.iter().enumerate() {
        let (name, address) = (contract.name, contract.address);
        let seen = facts.contracts.get(index);
        if !seen.is_some_and(|seen| seen.code) {
            refusals.push(Refusal::NoCode { name, address });
            continue;
        }
        if let Some((_, expected)) = &contract.version
            && seen.and_then(|seen| seen.answer.as_ref()) != Some(expected)
        {
            refusals.push(Refusal::OtherVersion { name, address });
        }
    }
    if unix_s.abs_diff(facts.block_time) > skew_max_s {
        let skew_s = i64::try_from(i128::from(unix_s) - i128::from(facts.block_time));
        refusals.push(Refusal::Skew { skew_s: skew_s.unwrap_or(i64::MAX) });
    }
    if balance_wei == 0 {
        refusals.push(Refusal::NoFunds(payer));
    }
    refusals
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYER: Address = Address::repeat_byte(9);

    fn target() -> Target {
        let address = Address::repeat_byte(1);
        let version = Some((Bytes::from_static(b"?"), Bytes::from_static(b"!")));
        let contracts = vec![Contract { name: "settlement", address, version }];
        Target { chain: 5, hp: Address::repeat_byte(2), contracts }
    }

    fn facts() -> Facts {
        let seen = Seen { code: true, answer: Some(Bytes::from_static(b"!")) };
        Facts { chain: 5, block_time: 1000, contracts: vec![seen] }
    }

    fn refusals(target: &Target, facts: &Facts, balance: u128, now: u64) -> Vec<Refusal> {
        check(target, facts, PAYER, balance, now, 60)
    }

    #[test]
    fn what_is_right_is_signed() {
        assert_eq!(refusals(&target(), &facts(), 1, 1060), []);
    }

    #[test]
    fn each_mistake_is_named() {
        let (name, address) = ("settlement", Address::repeat_byte(1));
        let (t, f) = (target(), facts());
        let other = Facts { chain: 1, ..f.clone() };
        assert_eq!(refusals(&t, &other, 1, 1000), [Refusal::OtherChain { expected: 5, found: 1 }]);
        let empty = Facts { contracts: vec![Seen { code: false, answer: None }], ..f.clone() };
        assert_eq!(refusals(&t, &empty, 1, 1000), [Refusal::NoCode { name, address }]);
        let unknown = Facts { contracts: Vec::new(), ..f.clone() };
        assert_eq!(refusals(&t, &unknown, 1, 1000), [Refusal::NoCode { name, address }]);
        for answer in [None, Some(Bytes::from_static(b"?"))] {
            let old = Facts { contracts: vec![Seen { code: true, answer }], ..f.clone() };
            assert_eq!(refusals(&t, &old, 1, 1000), [Refusal::OtherVersion { name, address }]);
        }
        let nobody = Target { hp: Address::ZERO, ..t.clone() };
        assert_eq!(refusals(&nobody, &f, 1, 1000), [Refusal::NoHp]);
        let hot = Target { hp: PAYER, ..t.clone() };
        assert_eq!(refusals(&hot, &f, 1, 1000), [Refusal::PayerIsHp]);
        assert_eq!(refusals(&t, &f, 1, 939), [Refusal::Skew { skew_s: -61 }]);
        assert_eq!(refusals(&t, &f, 1, 1061), [Refusal::Skew { skew_s: 61 }]);
        assert_eq!(refusals(&t, &f, 0, 1000), [Refusal::NoFunds(PAYER)]);
    }
}
