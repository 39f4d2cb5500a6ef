//! Why a contract refuses a call, and whether asking again can help.

use alloy::primitives::hex;
use alloy::sol_types::{Panic, Revert as ErrorString, SolError};
use serde::{Deserialize, Serialize};

/// The longest words of a contract that are kept, in characters: more fits on no screen.
const WORDS_MAX: usize = 200;

/// Bytes of a selector.
const SELECTOR: usize = 4;

/// Whether the same call may be taken later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// It never will be.
    Terminal,
    /// It may be: time or others change what it depends on.
    Retryable,
}

/// What a contract said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{words}")]
pub struct Revert {
    /// In words: the error's name with its arguments as they came, or its text.
    pub words: String,
    /// Whether asking again can help.
    pub class: Class,
}

/// An error of a contract that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownError {
    /// The first four bytes of Keccak-256 of its signature.
    pub selector: [u8; SELECTOR],
    /// Its signature.
    pub signature: &'static str,
    /// Whether asking again can help.
    pub class: Class,
}

impl KnownError {
    /// An error of an ABI.
    #[must_use]
    pub const fn of<E: SolError>(class: Class) -> Self {
        Self { selector: E::SELECTOR, signature: E::SIGNATURE, class }
    }
}

/// Reads what a call answered that was reverted. What is not known is retryable: callers bound how often.
#[must_use]
pub fn decode(data: &[u8], known: &[KnownError]) -> Revert {
    let Some((selector, arguments)) = data.split_first_chunk::<SELECTOR>() else {
        return Revert { words: "it says nothing".to_owned(), class: Class::Retryable };
    };
    if let Some(error) = known.iter().find(|error| error.selector == *selector) {
        let words = match arguments {
            [] => error.signature.to_owned(),
            _ => format!("{} 0x{}", error.signature, hex::encode(arguments)),
        };
        return Revert { words: short(&words), class: error.class };
    }
    if let Ok(text) = ErrorString::abi_decode(data) {
        return Revert { words: short(&text.reason), class: Class::Retryable };
    }
    if let Ok(panic) = Panic::abi_decode(data) {
        // Overflow, division by zero and the like (Solidity, "Panic via assert"): the same again next time.
        return Revert { words: format!("panic 0x{:02x}", panic.code), class: Class::Terminal };
    }
    let words = format!("an error that is not known: 0x{}", hex::encode(data));
    Revert { words: short(&words), class: Class::Retryable }
}

/// Cuts words, and takes out what would move a cursor.
fn short(words: &str) -> String {
    words.chars().filter(|char| !char.is_control()).take(WORDS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use alloy::primitives::U256;
    use proptest::prelude::*;

    use super::*;

    const KNOWN: [KnownError; 1] =
        [KnownError { selector: [1, 2, 3, 4], signature: "Gone()", class: Class::Terminal }];

    #[test]
    fn each_kind_of_refusal_is_read() {
        let text = ErrorString::from("not yet\u{1b}[2J").abi_encode();
        let panic = Panic { code: U256::from(0x11) }.abi_encode();
        let cases: [(&[u8], &str, Class); 6] = [
            (&[], "it says nothing", Class::Retryable),
            (&[1, 2, 3], "it says nothing", Class::Retryable),
            (&[1, 2, 3, 4], "Gone()", Class::Terminal),
            (&[1, 2, 3, 4, 0xab], "Gone() 0xab", Class::Terminal),
            (&text, "not yet[2J", Class::Retryable),
            (&panic, "panic 0x11", Class::Terminal),
        ];
        for (data, words, class) in cases {
            assert_eq!(decode(data, &KNOWN), Revert { words: words.to_owned(), class });
        }
        let unknown = decode(&[9, 9, 9, 9], &KNOWN);
        assert!(unknown.words.ends_with("0x09090909") && unknown.class == Class::Retryable);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]
        #[test]
        fn whatever_a_contract_says_the_words_stay_short(data in any::<Vec<u8>>()) {
            prop_assert!(decode(&data, &KNOWN).words.chars().count() <= WORDS_MAX);
        }
    }
}
