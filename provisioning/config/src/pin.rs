//! The PIN that guards changes on the console, as its hash: `$scrypt$ln=15,r=8,p=1$SALT$HASH`, the
//! PHC string format with salt and hash in base64 without padding. Pure: salt comes as an argument.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use scrypt::{Params, scrypt};

use crate::value::Checked;

/// Digits of a PIN. Four are too many to guess at the pace that the node allows, and sixteen more
/// than anybody keeps in the head.
const LENGTH: RangeInclusive<usize> = 4..=16;

/// The work of a new hash: 32 MiB and a tenth of a second, as RFC 7914 has for interactive log-ins.
const LOG_N: u8 = 15;
const R: u32 = 8;
const P: u32 = 1;

/// The work that is accepted: above 64 MiB a check would take memory that the node needs.
const LOG_N_ACCEPTED: RangeInclusive<u8> = 10..=16;
const R_ACCEPTED: RangeInclusive<u32> = 1..=8;
const P_ACCEPTED: RangeInclusive<u32> = 1..=4;

/// Bytes of a new salt; the PHC string format recommends as many.
pub const SALT: usize = 16;

/// Bytes of a salt that is accepted.
const SALT_ACCEPTED: RangeInclusive<usize> = 8..=64;

/// Bytes of the hash.
const HASH: usize = 32;

/// What a PIN is checked against. Never printed by `Debug`: short PINs can be found from it.
#[derive(Clone, PartialEq, Eq)]
pub struct PinHash {
    log_n: u8,
    r: u32,
    p: u32,
    salt: Vec<u8>,
    hash: [u8; HASH],
}

impl PinHash {
    /// The hash of a new PIN; `salt` is random.
    ///
    /// # Errors
    /// What is wrong with the PIN, in words.
    pub fn make(pin: &str, salt: [u8; SALT]) -> Result<Self, String> {
        let is_digits = pin.chars().all(|c| c.is_ascii_digit());
        if !is_digits || !LENGTH.contains(&pin.len()) {
            let (least, most) = (LENGTH.start(), LENGTH.end());
            return Err(format!("a PIN has {least} to {most} digits"));
        }
        let hash = digest(pin, &salt, (LOG_N, R, P))
            .ok_or_else(|| "scrypt does not take these parameters".to_owned())?;
        Ok(Self { log_n: LOG_N, r: R, p: P, salt: salt.to_vec(), hash })
    }

    /// Whether this is the PIN. Takes a tenth of a second and up to 64 MiB.
    #[must_use]
    pub fn accepts(&self, pin: &str) -> bool {
        // A text that is no PIN is not worth the work.
        pin.len() <= *LENGTH.end()
            && digest(pin, &self.salt, (self.log_n, self.r, self.p)) == Some(self.hash)
    }

    pub(crate) fn parse(text: &str) -> Checked<Self> {
        Self::read(text).ok_or_else(|| {
            "this is not a hash that icn-fleet made: write the line that `icn-fleet pin` prints"
                .to_owned()
        })
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("$scrypt$")?.split('$');
        let (work, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
        let mut work = work.split(',');
        let log_n = work.next()?.strip_prefix("ln=")?.parse().ok()?;
        let r = work.next()?.strip_prefix("r=")?.parse().ok()?;
        let p = work.next()?.strip_prefix("p=")?.parse().ok()?;
        let salt = BASE64.decode(salt).ok()?;
        let hash = BASE64.decode(hash).ok()?.try_into().ok()?;
        let is_accepted = LOG_N_ACCEPTED.contains(&log_n)
            && R_ACCEPTED.contains(&r)
            && P_ACCEPTED.contains(&p)
            && SALT_ACCEPTED.contains(&salt.len())
            && work.next().is_none()
            && parts.next().is_none();
        is_accepted.then_some(Self { log_n, r, p, salt, hash })
    }
}

fn digest(pin: &str, salt: &[u8], (log_n, r, p): (u8, u32, u32)) -> Option<[u8; HASH]> {
    let mut hash = [0; HASH];
    let params = Params::new(log_n, r, p).ok()?;
    scrypt(pin.as_bytes(), salt, &params, &mut hash).ok()?;
    Some(hash)
}

impl FromStr for PinHash {
    type Err = String;

    /// Reads what [`Display`](fmt::Display) wrote.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl fmt::Display for PinHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log_n, r, p, salt, hash } = self;
        let (salt, hash) = (BASE64.encode(salt), BASE64.encode(hash));
        write!(f, "$scrypt$ln={log_n},r={r},p={p}${salt}${hash}")
    }
}

impl fmt::Debug for PinHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PinHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_known_by_what_was_written_of_it() {
        let made = PinHash::make("2580", [7; SALT]).expect("a PIN");
        let text = made.to_string();
        assert!(text.starts_with("$scrypt$ln=15,r=8,p=1$BwcHBwcHBwcHBwcHBwcHBw$"), "{text}");
        let read = PinHash::parse(&text).expect("a hash");
        assert_eq!(read, made);
        assert!(read.accepts("2580"));
        for wrong in ["", "2581", "25800", " 2580"] {
            assert!(!read.accepts(wrong), "{wrong:?}");
        }
        assert_ne!(PinHash::make("2580", [8; SALT]), Ok(made));
    }

    #[test]
    fn the_digest_is_that_of_rfc_7914() {
        // RFC 7914, 12: the first half of scrypt("pleaseletmein", "SodiumChloride", 16384, 8, 1).
        let hash = digest("pleaseletmein", b"SodiumChloride", (14, 8, 1)).expect("a digest");
        assert!(hash.starts_with(&[0x70, 0x23, 0xbd, 0xcb, 0x3a, 0xfd, 0x73, 0x48]), "{hash:x?}");
    }

    #[test]
    fn what_is_no_pin_or_no_hash_is_refused() {
        for wrong in ["", "123", "12345678901234567", "12a4", "１２３４"] {
            assert!(PinHash::make(wrong, [0; SALT]).is_err(), "{wrong:?}");
        }
        let good = PinHash::make("2580", [7; SALT]).expect("a PIN").to_string();
        for (from, to) in [
            ("$scrypt", "$argon2"),
            ("ln=15", "ln=20"),
            ("r=8", "r=64"),
            ("p=1", "p=1,x=1"),
            ("$B", "$*"),
        ] {
            assert!(PinHash::parse(&good.replace(from, to)).is_err(), "{from} to {to}");
        }
        for wrong in ["", "2580", &format!("{good}$"), good.get(..60).expect("long")] {
            assert!(PinHash::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_hash_is_not_printed_for_debugging() {
        let made = PinHash::make("2580", [7; SALT]).expect("a PIN");
        assert_eq!(format!("{made:?}"), "PinHash(..)");
    }
}
