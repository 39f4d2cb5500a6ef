//! The daemon key as words that can be written on paper: its 32 bytes as BIP 39 entropy, in the English list. Pure.

use agent_api::local::RECOVERY_WORDS;
use agent_sla::protocol::key::SigningKey;
use bip39::{Error, Language, Mnemonic};
use zeroize::Zeroizing;

use crate::state::SecretKey;

/// Why words are no daemon key. Quotes none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum WordsError {
    /// Too few or too many.
    #[error("{found} words were given: a daemon key has {RECOVERY_WORDS}")]
    Count {
        /// How many.
        found: usize,
    },
    /// One is not in the list.
    #[error("word {number} is not in the list of words: compare it with the paper")]
    Unknown {
        /// Which, from 1.
        number: usize,
    },
    /// All are in the list, but they do not belong together.
    #[error("the checksum does not fit: a word is another one, or two have changed places")]
    Checksum,
    /// No key of the curve has these bytes.
    #[error("these words are no key: they were not made by a node")]
    NoKey,
}

/// The words of a key, with blanks between them.
pub(super) fn words(key: &SecretKey) -> Option<Zeroizing<String>> {
    let mnemonic = Mnemonic::from_entropy_in(Language::English, key.as_slice()).ok()?;
    // As long as the longest, so that no copy stays behind where it grew.
    let mut words = Zeroizing::new(String::with_capacity(RECOVERY_WORDS * 9));
    for word in mnemonic.words() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
    Some(words)
}

/// The key of words, with any white space between them and letters of either case.
///
/// # Errors
/// [`WordsError`].
pub(super) fn key(words: &str) -> Result<SecretKey, WordsError> {
    let found = words.split_whitespace().count();
    if found != RECOVERY_WORDS {
        return Err(WordsError::Count { found });
    }
    let lower = Zeroizing::new(words.to_ascii_lowercase());
    let mnemonic = Mnemonic::parse_in_normalized(Language::English, &lower);
    let mnemonic = mnemonic.map_err(|error| match error {
        Error::UnknownWord(index) => WordsError::Unknown { number: index + 1 },
        Error::BadWordCount(found) => WordsError::Count { found },
        Error::InvalidChecksum | Error::BadEntropyBitCount(_) | Error::AmbiguousLanguages(_) => {
            WordsError::Checksum
        }
    })?;
    let (bytes, length) = mnemonic.to_entropy_array();
    let bytes = Zeroizing::new(bytes);
    let mut key = SecretKey::default();
    let entropy = bytes.get(..length).filter(|entropy| entropy.len() == key.len());
    key.copy_from_slice(entropy.ok_or(WordsError::NoKey)?);
    SigningKey::from_bytes(&key).map_err(|_| WordsError::NoKey)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_words_are_those_of_bip_39() {
        // Of the test vectors that BIP 39 refers to, 256 bits, the second.
        let key = Zeroizing::new([0x7f; 32]);
        let words = words(&key).expect("words");
        let start = "legal winner thank year wave sausage worth useful legal winner thank year wave sausage";
        assert!(words.starts_with(start) && words.ends_with("worth title"), "{}", *words);
        assert_eq!(super::key(&format!(" {}\n", words.to_uppercase().replace(' ', "  "))), Ok(key));
    }

    #[test]
    fn a_mistake_is_told_by_the_number_of_its_word() {
        let right = words(&Zeroizing::new([0x7f; 32])).expect("words");
        let with = |at: usize, word: &str| {
            let mut words: Vec<&str> = right.split(' ').collect();
            words[at] = word;
            key(&words.join(" ")).expect_err("a mistake")
        };
        assert_eq!(with(4, "hunter2"), WordsError::Unknown { number: 5 });
        assert!(!with(4, "hunter2").to_string().contains("hunter2"));
        assert_eq!(with(0, "winner"), WordsError::Checksum);
        assert_eq!(key("legal winner"), Err(WordsError::Count { found: 2 }));
        let none = words(&Zeroizing::new([0xff; 32])).expect("words");
        assert_eq!(key(&none), Err(WordsError::NoKey), "above the order of the curve");
    }

    proptest! {
        #[test]
        fn every_key_comes_back(bytes in any::<[u8; 32]>()) {
            let bytes = Zeroizing::new(bytes);
            prop_assume!(SigningKey::from_bytes(&bytes).is_ok());
            let words = words(&bytes).expect("words");
            prop_assert_eq!(words.split(' ').count(), RECOVERY_WORDS);
            prop_assert_eq!(key(&words), Ok(bytes));
        }
    }
}
