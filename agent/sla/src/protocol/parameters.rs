//! What all nodes and oracles of one network agree on.

use std::collections::BTreeSet;
use std::fmt;

use alloy::primitives::{Address, B256, keccak256};
use alloy::sol_types::{Eip712Domain, SolValue};
use serde::{Deserialize, Serialize};

use agent_settlement::abi::messages::domain;

/// The most oracles of a network: each node speaks with all of them, each era.
pub const ORACLES_MAX: usize = 32;

/// The shortest era in seconds: everything of one must fit in it, also on a machine that is emulated.
pub const ERA_SECONDS_MIN: u32 = 20;

/// The longest era in seconds: a day.
pub const ERA_SECONDS_MAX: u32 = 86_400;

/// The most samples of one challenge: 512 groups of 16 KiB with their ways are some 9 MiB.
pub const SAMPLES_MAX: u16 = 512;

/// What all nodes and oracles of one network agree on. Its digest is in everything that is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// The chain that is settled on (EIP-155).
    pub chain: u64,
    /// The contract that settles.
    pub contract: Address,
    /// When era 0 begins, in seconds since 1970.
    pub genesis: u64,
    /// How long an era is, in seconds.
    pub era_seconds: u32,
    /// Bytes of a node that each oracle asks for in each challenge.
    pub samples: u16,
    /// The oracles.
    pub oracles: BTreeSet<Address>,
}

/// A stretch of time that is settled as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Era(pub u64);

impl fmt::Display for Era {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is wrong with parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParametersError {
    /// An era has another length.
    #[error("an era of {0} s: {ERA_SECONDS_MIN} to {ERA_SECONDS_MAX} s are possible")]
    EraSeconds(u32),
    /// A challenge asks for another number of bytes.
    #[error("{0} samples: 1 to {SAMPLES_MAX} are possible")]
    Samples(u16),
    /// There are too few or too many oracles.
    #[error("{0} oracles: 1 to {ORACLES_MAX} are possible")]
    Oracles(usize),
}

impl Parameters {
    /// That they can be used.
    ///
    /// # Errors
    /// They cannot.
    pub fn check(&self) -> Result<(), ParametersError> {
        if !(ERA_SECONDS_MIN..=ERA_SECONDS_MAX).contains(&self.era_seconds) {
            return Err(ParametersError::EraSeconds(self.era_seconds));
        }
        if self.samples == 0 || self.samples > SAMPLES_MAX {
            return Err(ParametersError::Samples(self.samples));
        }
        match self.oracles.len() {
            1..=ORACLES_MAX => Ok(()),
            count => Err(ParametersError::Oracles(count)),
        }
    }

    /// Their digest: Keccak-256 of their ABI encoding.
    #[must_use]
    pub fn digest(&self) -> B256 {
        let oracles: Vec<Address> = self.oracles.iter().copied().collect();
        let Self { chain, contract, genesis, era_seconds, samples, .. } = self;
        keccak256(
            (*chain, *contract, *genesis, *era_seconds, *samples, oracles).abi_encode_params(),
        )
    }

    /// The EIP-712 domain of what is signed.
    #[must_use]
    pub fn domain(&self) -> Eip712Domain {
        domain(self.chain, self.contract)
    }

    /// The era of a moment, in milliseconds since 1970; none before the first.
    #[must_use]
    pub fn era_at(&self, at_ms: u64) -> Option<Era> {
        let since = (at_ms / 1000).checked_sub(self.genesis)?;
        since.checked_div(u64::from(self.era_seconds)).map(Era)
    }

    /// When an era begins, in milliseconds since 1970.
    #[must_use]
    pub fn begin_ms(&self, era: Era) -> u64 {
        let seconds = era.0.saturating_mul(u64::from(self.era_seconds));
        self.genesis.saturating_add(seconds).saturating_mul(1000)
    }

    /// In what two differ, in words; empty if in nothing.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: &str, ours: String, theirs: String| {
            if ours != theirs {
                found.push(format!("{what}: {ours} here, {theirs} there"));
            }
        };
        compare("chain", self.chain.to_string(), other.chain.to_string());
        compare("contract", self.contract.to_string(), other.contract.to_string());
        compare("genesis", self.genesis.to_string(), other.genesis.to_string());
        let era = |of: &Self| format!("{} s", of.era_seconds);
        compare("era", era(self), era(other));
        compare("samples", self.samples.to_string(), other.samples.to_string());
        let oracles =
            |of: &Self| of.oracles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        compare("oracles", oracles(self), oracles(other));
        found
    }
}

#[cfg(test)]
pub(crate) fn example() -> Parameters {
    Parameters {
        chain: 31_337,
        contract: Address::repeat_byte(0xc0),
        genesis: 1_000,
        era_seconds: 60,
        samples: 16,
        oracles: [1, 2, 3].map(Address::repeat_byte).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eras_follow_each_other_without_a_gap() {
        let parameters = example();
        assert_eq!(parameters.era_at(999_999), None);
        assert_eq!(parameters.era_at(1_000_000), Some(Era(0)));
        assert_eq!(parameters.era_at(1_059_999), Some(Era(0)));
        assert_eq!(parameters.era_at(1_060_000), Some(Era(1)));
        assert_eq!(parameters.begin_ms(Era(1)), 1_060_000);
    }

    #[test]
    fn each_parameter_changes_the_digest_and_is_named_as_different() {
        let ours = example();
        let others = [
            ("chain", Parameters { chain: 1, ..ours.clone() }),
            ("contract", Parameters { contract: Address::ZERO, ..ours.clone() }),
            ("genesis", Parameters { genesis: 0, ..ours.clone() }),
            ("era", Parameters { era_seconds: 61, ..ours.clone() }),
            ("samples", Parameters { samples: 17, ..ours.clone() }),
            ("oracles", Parameters { oracles: [Address::ZERO].into(), ..ours.clone() }),
        ];
        for (name, other) in others {
            assert_ne!(ours.digest(), other.digest(), "{name}");
            let differences = ours.differences(&other);
            assert!(differences.len() == 1 && differences[0].starts_with(name), "{differences:?}");
        }
        assert!(ours.differences(&ours).is_empty());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let ours = example();
        assert_eq!(ours.check(), Ok(()));
        let short = Parameters { era_seconds: 1, ..ours.clone() };
        assert_eq!(short.check(), Err(ParametersError::EraSeconds(1)));
        let none = Parameters { samples: 0, ..ours.clone() };
        assert_eq!(none.check(), Err(ParametersError::Samples(0)));
        let alone = Parameters { oracles: BTreeSet::new(), ..ours };
        assert_eq!(alone.check(), Err(ParametersError::Oracles(0)));
    }
}
