//! Keys that support bundles are encrypted to, and words of the HP on its node.

use super::{Checked, quoted};
use crate::Recipient;

/// Longest region or class of hardware, in characters: what a line of the console has room for.
const MAX_WORDS: usize = 40;

/// What every recipient begins with (age-encryption.org/v1, X25519 recipients).
const RECIPIENT_START: &str = "age1";

/// What every private key of age begins with, in either case.
const PRIVATE_START: &str = "age-secret-key-";

/// The characters of Bech32, in the order of their values (BIP 173).
const BECH32: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// 32 bytes in groups of five bits, and six groups of checksum.
const RECIPIENT_GROUPS: usize = 52 + 6;

/// Where the node stands.
pub(crate) fn place(text: &str) -> Checked<String> {
    words(text, "a region", "Zürich, rack 4")
}

/// What kind of machine it is.
pub(crate) fn machine_class(text: &str) -> Checked<String> {
    words(text, "a class of hardware", "hdd-12")
}

fn words(text: &str, what: &str, example: &str) -> Checked<String> {
    let fits = (1..=MAX_WORDS).contains(&text.chars().count());
    // Marks that turn the direction of text would change what stands beside it.
    let shows = |c: char| {
        !c.is_control() && !matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if fits && text.trim() == text && text.chars().all(shows) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{} is not {what}: write 1 to {MAX_WORDS} printable characters without spaces at the ends, \
         such as \"{example}\"",
        quoted(text)
    ))
}

/// A recipient of age. What is wrong is not quoted where it could be a private key.
pub(crate) fn recipient(text: &str) -> Checked<Recipient> {
    if text.to_ascii_lowercase().starts_with(PRIVATE_START) {
        return Err(
            "this is a private key, which stays with whoever reads bundles: write the public \
                    key that belongs to it, which begins with age1, and make a new pair if this \
                    file left your hands"
                .to_owned(),
        );
    }
    let Some(groups) = text.strip_prefix(RECIPIENT_START).and_then(groups) else {
        return Err(format!(
            "{} is not a recipient: write the public key that age-keygen prints, \"age1\" and \
             {RECIPIENT_GROUPS} small letters and digits",
            quoted(text)
        ));
    };
    if !has_checksum("age", &groups) {
        return Err(format!(
            "{} has a slip of the pen, its checksum is wrong: copy the public key once more",
            quoted(text)
        ));
    }
    Ok(Recipient(text.to_owned()))
}

/// The values of the characters; none where there are more or fewer, others, or bits beyond 32 bytes.
fn groups(text: &str) -> Option<Vec<u8>> {
    let value = |c: char| BECH32.find(c).and_then(|at| u8::try_from(at).ok());
    let groups: Vec<u8> = text.chars().map(value).collect::<Option<_>>()?;
    // 52 groups have 260 bits, of which the last four must be zero.
    let padding = groups.get(RECIPIENT_GROUPS.checked_sub(7)?)? & 0b1111;
    (groups.len() == RECIPIENT_GROUPS && padding == 0).then_some(groups)
}

/// Whether the last six groups are the checksum of the others behind `prefix` (BIP 173, "Checksum").
fn has_checksum(prefix: &str, groups: &[u8]) -> bool {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let high = prefix.bytes().map(|byte| byte >> 5);
    let low = prefix.bytes().map(|byte| byte & 31);
    let all = high.chain([0]).chain(low).chain(groups.iter().copied());
    let sum = all.fold(1_u32, |sum, group| {
        let top = sum >> 25;
        let next = (sum & 0x1ff_ffff) << 5 ^ u32::from(group);
        let used = GENERATOR.iter().enumerate().filter(|(bit, _)| top >> bit & 1 == 1);
        used.fold(next, |next, (_, generator)| next ^ generator)
    });
    sum == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

    #[test]
    fn a_recipient_is_taken_with_a_right_checksum_only() {
        assert_eq!(recipient(RIGHT).map(|found| found.to_string()), Ok(RIGHT.to_owned()));
        for at in 4..RIGHT.len() {
            let mut wrong = RIGHT.as_bytes().to_vec();
            wrong[at] = if wrong[at] == b'q' { b'p' } else { b'q' };
            let wrong = String::from_utf8(wrong).expect("ASCII");
            assert!(recipient(&wrong).is_err(), "{wrong}");
        }
        for wrong in
            ["", "age1", "age1b", &RIGHT[..61], &format!("{RIGHT}q"), &RIGHT.to_uppercase()]
        {
            assert!(recipient(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_private_key_is_refused_and_not_shown() {
        let private = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
        let error = recipient(private).expect_err("a private key");
        assert!(error.contains("private key") && !error.contains("GQ9778"), "{error}");
    }

    #[test]
    fn words_of_the_hp_fit_a_line() {
        for right in ["a", "Zürich, rack 4", &"ü".repeat(40)] {
            assert_eq!(place(right), Ok(right.to_owned()));
        }
        for wrong in ["", " a", "a\nb", "a\u{1b}[2J", "a\u{202e}b", &"a".repeat(41)] {
            assert!(machine_class(wrong).is_err(), "{wrong}");
        }
    }
}
