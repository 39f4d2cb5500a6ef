//! What objects hold: known from size and number alone, so that every answer can be checked.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::sign::sha256;

/// Bytes of a small object.
pub(crate) const SMALL: usize = 4 << 10;

/// Bytes of a large object.
pub(crate) const LARGE: usize = 64 << 20;

/// Different bodies of each size; few enough that their digests are soon known.
const VARIANTS: u64 = 64;

/// Different bodies of more than 1 MiB, which take long to hash.
const LARGE_VARIANTS: u64 = 4;

/// Random bytes of which every body is a part; a body is never copied.
#[derive(Debug)]
pub(crate) struct Content {
    bytes: Bytes,
    digests: Mutex<BTreeMap<(usize, u64), String>>,
}

impl Content {
    /// The same bytes each time.
    pub(crate) fn new() -> Self {
        let length = LARGE + SMALL * usize::try_from(VARIANTS).unwrap_or_default();
        let mut bytes = Vec::with_capacity(length);
        let mut random = Random(1);
        while bytes.len() < length {
            bytes.extend_from_slice(&random.next().to_le_bytes());
        }
        Self { bytes: bytes.into(), digests: Mutex::default() }
    }

    /// The body of an object; at most [`LARGE`] bytes.
    pub(crate) fn body(&self, size: usize, number: u64) -> Bytes {
        let from = SMALL * usize::try_from(variant(size, number)).unwrap_or_default();
        self.bytes.slice(from..from + size.min(LARGE))
    }

    /// The SHA-256 of a body in hex.
    pub(crate) fn digest(&self, size: usize, number: u64) -> String {
        // No change of the map can panic half-way.
        let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = digests.entry((size, variant(size, number)));
        digest.or_insert_with(|| sha256(&self.body(size, number))).clone()
    }
}

fn variant(size: usize, number: u64) -> u64 {
    number % if size > 1 << 20 { LARGE_VARIANTS } else { VARIANTS }
}

/// An object's key: its size, a set of objects, and its number in the set.
pub(crate) fn key(size: usize, set: &str, number: u64) -> String {
    format!("{size}/{set}/{number:010}")
}

/// Size and number of a key.
pub(crate) fn parse_key(key: &str) -> Option<(usize, u64)> {
    let (size, rest) = key.split_once('/')?;
    let (_, number) = rest.rsplit_once('/')?;
    Some((size.parse().ok()?, number.parse().ok()?))
}

/// Random numbers from a seed (splitmix64, Steele, Lea and Flood 2014).
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_what_its_object_holds() {
        let content = Content::new();
        assert_eq!(parse_key(&key(SMALL, "a/b", 77)), Some((SMALL, 77)));
        assert_eq!(parse_key("other"), None);
        let body = content.body(SMALL, 77);
        assert_eq!(body.len(), SMALL);
        assert_eq!(content.digest(SMALL, 77), sha256(&body));
        assert_ne!(body, content.body(SMALL, 78));
        assert_eq!(content.body(LARGE, 3).len(), LARGE);
        assert_eq!(Content::new().body(SMALL, 77), body);
    }
}
