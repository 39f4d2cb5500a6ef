//! Encryption at rest that is the checksum as well: AES-256-GCM (NIST SP 800-38D) with a nonce made
//! of the place where the bytes stand.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, Tag, UnboundKey};
use zeroize::Zeroizing;

/// Bytes that sealing adds.
pub const TAG: usize = 16;

/// Sealed pieces of one file start at least so many bytes apart, so that their nonces differ.
const STEP: u64 = 16;

/// Length of a key in bytes.
pub const KEY: usize = 32;

/// Where sealed bytes stand: a file's incarnation, unique on its volume for ever, and their offset
/// in it, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// The file's incarnation.
    pub incarnation: u64,
    /// Offset of the first sealed byte, less than 64 GiB.
    pub offset: u64,
}

/// Sealed bytes that are not what was written at that place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not what was written there")]
pub struct Damaged;

/// A key as bytes; wiped when dropped.
pub type KeyBytes = Zeroizing<[u8; KEY]>;

/// Seals and opens with one key.
pub struct Sealer {
    key: LessSafeKey,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// A sealer with this key.
    #[must_use]
    pub fn new(key: &KeyBytes) -> Self {
        // A key of the right length is never refused.
        #[expect(clippy::expect_used, reason = "the length is that of the algorithm")]
        let key = UnboundKey::new(&AES_256_GCM, &**key).expect("32 bytes are an AES-256 key");
        Self { key: LessSafeKey::new(key) }
    }

    /// Encrypts `bytes` in place and gives the tag that belongs behind them. The caller seals one
    /// piece only for each spot.
    ///
    /// # Panics
    /// If the offset is 64 GiB or more, or `bytes` longer than 64 GiB.
    #[must_use]
    pub fn seal(&self, spot: Spot, bytes: &mut [u8]) -> [u8; TAG] {
        self.seal_with(nonce(spot), bytes)
    }

    /// As [`Sealer::seal`], with a nonce that the caller answers for.
    pub(crate) fn seal_with(&self, nonce: [u8; NONCE_LEN], bytes: &mut [u8]) -> [u8; TAG] {
        #[expect(clippy::expect_used, reason = "only longer input than any file of ours fails")]
        let tag = self
            .key
            .seal_in_place_separate_tag(unique(nonce), Aad::empty(), bytes)
            .expect("shorter than 64 GiB");
        let mut out = [0; TAG];
        out.copy_from_slice(tag.as_ref());
        out
    }

    /// Decrypts `sealed`, ciphertext and tag, in place and gives the part that is the plaintext.
    ///
    /// # Errors
    /// The bytes are not those that were sealed at this spot with this key; what is in them then is
    /// not to be used.
    pub fn open<'a>(&self, spot: Spot, sealed: &'a mut [u8]) -> Result<&'a mut [u8], Damaged> {
        self.open_with(nonce(spot), sealed)
    }

    /// As [`Sealer::open`], with a nonce that was kept.
    pub(crate) fn open_with<'a>(
        &self,
        nonce: [u8; NONCE_LEN],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], Damaged> {
        self.key.open_in_place(unique(nonce), Aad::empty(), sealed).map_err(|_| Damaged)
    }

    /// As [`Sealer::open`], with the tag apart.
    ///
    /// # Errors
    /// As [`Sealer::open`].
    pub fn open_apart(&self, spot: Spot, bytes: &mut [u8], tag: [u8; TAG]) -> Result<(), Damaged> {
        self.key
            .open_in_place_separate_tag(
                unique(nonce(spot)),
                Aad::empty(),
                Tag::from(tag),
                bytes,
                0..,
            )
            .map(|_| ())
            .map_err(|_| Damaged)
    }
}

fn nonce(spot: Spot) -> [u8; NONCE_LEN] {
    let mut bytes = [0; NONCE_LEN];
    let (incarnation, place) = bytes.split_at_mut(8);
    incarnation.copy_from_slice(&spot.incarnation.to_le_bytes());
    #[expect(clippy::expect_used, reason = "files of ours are far smaller")]
    let step = u32::try_from(spot.offset / STEP).expect("an offset below 64 GiB");
    place.copy_from_slice(&step.to_le_bytes());
    bytes
}

fn unique(nonce: [u8; NONCE_LEN]) -> Nonce {
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(&Zeroizing::new([byte; KEY]))
    }

    const SPOT: Spot = Spot { incarnation: 7, offset: 4096 };

    fn sealed(text: &[u8]) -> Vec<u8> {
        let mut bytes = text.to_vec();
        let tag = sealer(1).seal(SPOT, &mut bytes);
        bytes.extend_from_slice(&tag);
        bytes
    }

    #[test]
    fn what_was_sealed_opens_at_its_place_only() {
        let text = b"some bytes of an object";
        assert_eq!(sealer(1).open(SPOT, &mut sealed(text)).unwrap(), text);
        let elsewhere = [
            Spot { offset: SPOT.offset + 16, ..SPOT },
            Spot { offset: SPOT.offset - 4096, ..SPOT },
            Spot { incarnation: 8, ..SPOT },
        ];
        for spot in elsewhere {
            assert_eq!(sealer(1).open(spot, &mut sealed(text)), Err(Damaged), "{spot:?}");
        }
        assert_eq!(sealer(2).open(SPOT, &mut sealed(text)), Err(Damaged));
    }

    #[test]
    fn every_flipped_bit_and_every_missing_byte_is_seen() {
        let whole = sealed(b"0123456789");
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(sealer(1).open(SPOT, &mut bytes), Err(Damaged), "bit {bit}");
        }
        for length in 0..whole.len() {
            assert_eq!(sealer(1).open(SPOT, &mut whole[..length].to_vec()), Err(Damaged));
        }
    }

    #[test]
    fn a_tag_may_stand_apart() {
        let mut bytes = b"abc".to_vec();
        let tag = sealer(1).seal(SPOT, &mut bytes);
        assert_ne!(bytes, b"abc");
        sealer(1).open_apart(SPOT, &mut bytes, tag).unwrap();
        assert_eq!(bytes, b"abc");
        assert_eq!(sealer(1).open_apart(SPOT, &mut bytes, [0; TAG]), Err(Damaged));
    }
}
