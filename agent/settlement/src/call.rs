//! What is wanted of a chain: a call of a contract, and how to see that it happened.

use alloy::primitives::{Address, B256, Bytes, U256};
use serde::{Deserialize, Serialize};

/// The longest data of a call in bytes: a claim with a proof of 32 levels is 1.3 KB, a root with 32 signatures 4 KB.
pub const CALL_DATA_MAX: usize = 64 << 10;

/// Bytes of a word of the ABI.
const WORD: usize = 32;

/// The number of an intent: counts up in one outbox, and is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl std::fmt::Display for Seq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A call that shall take effect once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The contract.
    pub to: Address,
    /// Selector and arguments, at most [`CALL_DATA_MAX`].
    pub data: Bytes,
    /// How to see that it happened, whoever made it happen; none where the contract does not show it.
    pub probe: Option<Probe>,
}

/// A question to a contract whose answer shows that a call took effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The contract.
    pub to: Address,
    /// Selector and arguments, at most [`CALL_DATA_MAX`].
    pub data: Bytes,
    /// Which word of the answer is looked at, from 0.
    pub word: u16,
    /// It happened where that word, as a number, is at least this.
    pub at_least: U256,
}

impl Probe {
    /// Whether an answer shows that it happened; none if the answer has no such word.
    #[must_use]
    pub fn met(&self, answer: &[u8]) -> Option<bool> {
        let from = usize::from(self.word).checked_mul(WORD)?;
        let word = answer.get(from..from.checked_add(WORD)?)?;
        Some(U256::from_be_slice(word) >= self.at_least)
    }
}

/// What a caller asks for. Two with one digest are one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The caller's name for it: the same for the same effect.
    pub digest: B256,
    /// The call.
    pub call: Call,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_looks_at_its_word_and_knows_when_there_is_none() {
        let probe =
            |word| Probe { to: Address::ZERO, data: Bytes::new(), word, at_least: U256::from(5) };
        let mut answer = [0; 64];
        answer[63] = 5;
        assert_eq!(probe(0).met(&answer), Some(false));
        assert_eq!(probe(1).met(&answer), Some(true));
        assert_eq!(probe(2).met(&answer), None);
        assert_eq!(probe(0).met(&answer[..31]), None);
    }
}
