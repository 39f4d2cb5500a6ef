//! The keys that sign: a node's daemon key and an oracle's key, secp256k1 both.

use std::fmt;

use alloy::primitives::{Address, B256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use zeroize::Zeroizing;

use super::signed::Signature;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// A key that signs; never printed. It signs typed messages only, and pays for nothing.
#[derive(Clone)]
pub struct SigningKey(PrivateKeySigner);

/// Why bytes are no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no secp256k1 key: zero, or not below the order of the group")]
pub struct NotAKey;

/// Why nothing was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key could not sign")]
pub struct CannotSign;

impl SigningKey {
    /// The key with these bytes. Random bytes are one but for one case in 2^127.
    ///
    /// # Errors
    /// They are none.
    pub fn from_bytes(bytes: &Zeroizing<[u8; KEY_BYTES]>) -> Result<Self, NotAKey> {
        let signer = PrivateKeySigner::from_slice(bytes.as_slice()).map_err(|_| NotAKey)?;
        Ok(Self(signer))
    }

    /// Whose signatures these are: the last 20 bytes of Keccak-256 of the public key.
    #[must_use]
    pub fn address(&self) -> Address {
        self.0.address()
    }

    /// Signs a digest.
    ///
    /// # Errors
    /// The signer failed, which a local key does not.
    pub(super) fn sign(&self, digest: &B256) -> Result<Signature, CannotSign> {
        let signature = self.0.sign_hash_sync(digest).map_err(|_| CannotSign)?;
        Ok(Signature(signature.as_bytes()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.address())
    }
}
