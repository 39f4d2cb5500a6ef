//! The key that pays for transactions. It is the relayer's: never the HP's, and never the daemon's.

use std::fmt;

use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address, Bytes, TxKind, U256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use zeroize::Zeroizing;

use crate::call::{Call, Seq};
use crate::outbox::{Fee, Signed};

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// A key that pays; never printed.
#[derive(Clone)]
pub struct PayerKey(PrivateKeySigner);

/// Why bytes are no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// They are of another length or form.
    #[error(
        "the keystore is malformed: a key is 32 bytes, or 64 hexadecimal digits with or without 0x; these are {0} bytes"
    )]
    Form(usize),
    /// They are no key of the curve.
    #[error("the keystore is malformed: zero, or not below the order of secp256k1")]
    Range,
}

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub seq: Seq,
    pub chain: u64,
    pub nonce: u64,
    pub gas: u64,
    pub fee: Fee,
    /// What is set aside for its data on L1, in wei.
    pub l1_wei: u128,
    pub day: u64,
}

/// A local key does not fail to sign; if it does, nothing is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key could not sign")]
pub struct CannotSign;

impl PayerKey {
    /// Reads a keystore: 32 bytes, or 64 hexadecimal digits with or without `0x`, and a line's end.
    ///
    /// # Errors
    /// It holds no key. Nothing of what it holds is in the error.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if bytes.len() == KEY_BYTES {
            key.copy_from_slice(bytes);
        } else {
            let text = bytes.trim_ascii();
            let digits = text.strip_prefix(b"0x").unwrap_or(text);
            alloy::hex::decode_to_slice(digits, key.as_mut_slice())
                .map_err(|_| KeyError::Form(bytes.len()))?;
        }
        PrivateKeySigner::from_slice(key.as_slice()).map(Self).map_err(|_| KeyError::Range)
    }

    /// Who pays.
    #[must_use]
    pub fn address(&self) -> Address {
        self.0.address()
    }

    /// Signs a call as a transaction that pays nothing but gas.
    pub(crate) fn sign(&self, call: &Call, order: &Order) -> Result<Signed, CannotSign> {
        let transaction = TxEip1559 {
            chain_id: order.chain,
            nonce: order.nonce,
            gas_limit: order.gas,
            max_fee_per_gas: order.fee.max_wei,
            max_priority_fee_per_gas: order.fee.tip_wei,
            to: TxKind::Call(call.to),
            value: U256::ZERO,
            access_list: Default::default(),
            input: call.data.clone(),
        };
        let signature =
            self.0.sign_hash_sync(&transaction.signature_hash()).map_err(|_| CannotSign)?;
        let envelope = TxEnvelope::from(transaction.into_signed(signature));
        Ok(Signed {
            seq: order.seq,
            raw: Bytes::from(envelope.encoded_2718()),
            nonce: order.nonce,
            hash: *envelope.tx_hash(),
            fee: order.fee,
            gas: order.gas,
            l1_wei: order.l1_wei,
            day: order.day,
        })
    }
}

impl fmt::Debug for PayerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PayerKey({})", self.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Private key 1: a known pair.
    const ONE: &str = "0x0000000000000000000000000000000000000000000000000000000000000001\n";

    #[test]
    fn a_keystore_is_read_in_each_form_and_never_printed() {
        let key = PayerKey::parse(ONE.as_bytes()).expect("a key");
        let address = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf";
        assert_eq!(key.address().to_string(), address);
        let mut raw = [0; 32];
        raw[31] = 1;
        assert_eq!(PayerKey::parse(&raw).expect("a key").address(), key.address());
        assert_eq!(format!("{key:?}"), format!("PayerKey({address})"));
    }

    #[test]
    fn a_malformed_keystore_is_refused_and_its_bytes_are_not_in_the_error() {
        for bytes in [&b""[..], b"0x12", &[7; 33], &[b'g'; 64], b"{\"crypto\":{}}"] {
            let error = PayerKey::parse(bytes).map(|_| ()).expect_err("no key");
            assert_eq!(error, KeyError::Form(bytes.len()));
        }
        assert_eq!(PayerKey::parse(&[0; 32]).map(|_| ()), Err(KeyError::Range));
        assert_eq!(PayerKey::parse(&[0xff; 32]).map(|_| ()), Err(KeyError::Range));
    }
}
