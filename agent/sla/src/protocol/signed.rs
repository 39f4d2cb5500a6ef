//! What is signed, by EIP-712: the names and fields of these messages are part of what is signed and
//! never change; a new meaning gets a new name.

use std::fmt;

use alloy::primitives::{Address, B256, Signature as Recoverable, keccak256};
use alloy::sol_types::{Eip712Domain, SolStruct};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::key::{CannotSign, SigningKey};

/// Bytes of a signature: r, s, v.
const SIGNATURE_BYTES: usize = 65;

// The macro makes public fields and helpers without a word on them.
#[allow(
    missing_docs,
    missing_debug_implementations,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "made by the macro; what the messages mean is said in the lines beside their fields"
)]
mod messages {
    alloy::sol! {
        /// A node begins to speak with an oracle. Binds the TLS certificate that it shows to the daemon key.
        #[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        struct Session {
            /// The node.
            bytes32 nodeId;
            /// The oracle that is meant.
            address oracleId;
            /// SHA-256 of the node's TLS certificate for this session, in DER.
            bytes32 certificate;
            /// Drawn by each process of a node when it starts: tells two from one that speaks twice.
            bytes32 instance;
            /// Milliseconds since 1970 by the node's clock.
            uint64 openedAt;
            /// The parameters that the node knows.
            bytes32 configDigest;
        }

        /// What a node says of its own health.
        #[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        struct HealthReport {
            bytes32 nodeId;
            /// Counts up with every report; gaps are legal, going back is not.
            uint64 sequence;
            /// Milliseconds since 1970 by the node's clock.
            uint64 takenAt;
            /// Keccak-256 of the facts.
            bytes32 factsHash;
            /// Keccak-256 of the detail.
            bytes32 detailHash;
            bytes32 configDigest;
        }
    }
}

pub use agent_settlement::abi::messages::{ChallengeReceipt, ChallengeRequest, SlaVote};
pub use messages::{HealthReport, Session};

/// `result` of a receipt: everything that was asked for was proven.
pub const PASSED: u8 = 1;

/// `result` of a receipt: it was not.
pub const FAILED: u8 = 2;

/// `receiptsRoot` of a vote, from the digests of the era's receipts in the order of their times.
#[must_use]
pub fn receipts_root(digests: &[B256]) -> B256 {
    keccak256(digests.concat())
}

/// A signature: r, s, v; on the wire `0x` and 130 hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; SIGNATURE_BYTES]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", alloy::hex::encode_prefixed(self.0))
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&alloy::hex::encode_prefixed(self.0))
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let mut bytes = [0; SIGNATURE_BYTES];
        alloy::hex::decode_to_slice(&text, &mut bytes)
            .map_err(|_| de::Error::custom("a signature is 0x and 130 hex digits"))?;
        Ok(Self(bytes))
    }
}

/// A message with its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed<T> {
    /// What was signed.
    pub message: T,
    /// By whom shows the signature itself: see [`Signed::signer`].
    pub signature: Signature,
}

/// Why a signed message is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It is nobody's.
    #[error("the signature is malformed")]
    Malformed,
    /// It is another's, or of something else.
    #[error("signed by {found}, not by {expected}, or not of this message and these parameters")]
    Other {
        /// Who should have signed.
        expected: Address,
        /// Whom the signature shows.
        found: Address,
    },
}

impl<T: SolStruct> Signed<T> {
    /// Signs a message.
    ///
    /// # Errors
    /// The key could not.
    pub fn new(message: T, domain: &Eip712Domain, key: &SigningKey) -> Result<Self, CannotSign> {
        let signature = key.sign(&message.eip712_signing_hash(domain))?;
        Ok(Self { message, signature })
    }

    /// What is signed of the message: its EIP-712 digest.
    #[must_use]
    pub fn digest(&self, domain: &Eip712Domain) -> B256 {
        self.message.eip712_signing_hash(domain)
    }

    /// Who signed it. Anyone's signature shows somebody: compare.
    ///
    /// # Errors
    /// It is nobody's.
    pub fn signer(&self, domain: &Eip712Domain) -> Result<Address, SignatureError> {
        let malformed = |_| SignatureError::Malformed;
        let signature = Recoverable::from_raw_array(&self.signature.0).map_err(malformed)?;
        // Of the two signatures that anyone can make of one, only the lower counts (EIP-2).
        if signature.normalize_s().is_some() {
            return Err(SignatureError::Malformed);
        }
        signature.recover_address_from_prehash(&self.digest(domain)).map_err(malformed)
    }

    /// That `expected` signed it.
    ///
    /// # Errors
    /// Somebody else did, or it is no signature.
    pub fn verify(&self, domain: &Eip712Domain, expected: Address) -> Result<(), SignatureError> {
        match self.signer(domain)? {
            found if found == expected => Ok(()),
            found => Err(SignatureError::Other { expected, found }),
        }
    }
}
