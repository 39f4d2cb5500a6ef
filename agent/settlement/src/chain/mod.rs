//! What is asked of a chain, and how little of it is believed.
//!
//! [`Rpc`](rpc::Rpc) asks one server; [`Checked`](checked::Checked) asks two and believes neither where they differ.

pub mod checked;
pub mod http;
pub mod logs;
pub mod rpc;
pub mod servers;

use std::future::Future;

use alloy::primitives::{Address, B256, Bytes};

use crate::call::Call;
use crate::outbox::Inclusion;

/// A block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// How many are before it.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// When it was made, in seconds since 1970.
    pub time: u64,
    /// What a unit of gas costs in it, in wei; none before EIP-1559.
    pub base_fee_wei: Option<u128>,
}

/// How far the chain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// The newest block.
    pub latest: Block,
    /// The newest block that its own chain will not change: on Base, what is in a batch on L1.
    pub safe: u64,
    /// The newest block that cannot change.
    pub finalized: u64,
}

/// Which block is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The newest.
    Latest,
    /// The newest, with what waits to be mined.
    Pending,
    /// One by its number.
    Number(u64),
}

/// What became of sending a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// It waits to be mined: sent now, or before.
    Waits,
    /// A transaction with its nonce is mined: itself, perhaps.
    NonceUsed,
    /// One with its nonce waits, and it pays too little to replace that; or it pays less than the server takes.
    Underpriced,
    /// The account cannot pay for it.
    NoFunds,
    /// The server does not take it, in its words.
    Refused(String),
}

/// Whether a call could be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Simulated {
    /// It needs so much gas.
    Gas(u64),
    /// The contract refuses it, with these bytes.
    Reverts(Bytes),
}

/// Why nothing is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The server did not answer.
    #[error("{server}: {method}: no answer: {reason}")]
    NoAnswer {
        /// Which server: host and port, without what may be secret in its URL.
        server: String,
        /// What was asked.
        method: &'static str,
        /// Why.
        reason: String,
    },
    /// It answered that it cannot.
    #[error("{server}: {method}: error {code}: {message}")]
    Refused {
        /// Which server.
        server: String,
        /// What was asked.
        method: &'static str,
        /// JSON-RPC's code.
        code: i64,
        /// Its words.
        message: String,
        /// The bytes of a revert, if there are any.
        data: Option<Bytes>,
    },
    /// It answered something else.
    #[error("{server}: {method}: the answer is not understood: {reason}")]
    Malformed {
        /// Which server.
        server: String,
        /// What was asked.
        method: &'static str,
        /// Why.
        reason: String,
    },
    /// One server has not come as far as the other.
    #[error("{server} is behind: {what}")]
    Behind {
        /// Which server.
        server: String,
        /// In what.
        what: &'static str,
    },
    /// Two servers say different things. Neither is believed.
    #[error("{first} and {second} differ in {what}: neither is believed")]
    Differ {
        /// One server.
        first: String,
        /// The other.
        second: String,
        /// In what, with what each says.
        what: String,
    },
}

/// JSON-RPC's code for a call that was reverted (geth, `revertError`).
const REVERTED: i64 = 3;

impl ChainError {
    /// The bytes of a revert; none if the call failed otherwise.
    #[must_use]
    pub fn revert(&self) -> Option<Bytes> {
        match self {
            Self::Refused { data: Some(data), .. } => Some(data.clone()),
            Self::Refused { code, message, data: None, .. } => {
                let reverted = *code == REVERTED || message.contains("execution reverted");
                reverted.then(Bytes::new)
            }
            Self::NoAnswer { .. }
            | Self::Malformed { .. }
            | Self::Behind { .. }
            | Self::Differ { .. } => None,
        }
    }
}

/// What is asked of a chain. An answer is what is so, or an error: nothing that failed is "no".
pub trait Chain: Send + Sync {
    /// Its number (EIP-155).
    fn chain_id(&self) -> impl Future<Output = Result<u64, ChainError>> + Send;
    /// How far it is.
    fn heads(&self) -> impl Future<Output = Result<Heads, ChainError>> + Send;
    /// What the makers of blocks want on top, in wei for a unit of gas.
    fn tip_wei(&self) -> impl Future<Output = Result<u128, ChainError>> + Send;
    /// How many transactions an account has sent.
    fn nonce(&self, of: Address, at: At) -> impl Future<Output = Result<u64, ChainError>> + Send;
    /// What an account has, in wei.
    fn balance(&self, of: Address) -> impl Future<Output = Result<u128, ChainError>> + Send;
    /// The code at an address; empty for none.
    fn code(&self, of: Address) -> impl Future<Output = Result<Bytes, ChainError>> + Send;
    /// What a contract answers.
    fn read(
        &self,
        to: Address,
        data: Bytes,
        at: At,
    ) -> impl Future<Output = Result<Bytes, ChainError>> + Send;
    /// Whether a call could be made now, and the gas of it.
    fn simulate(
        &self,
        from: Address,
        call: &Call,
    ) -> impl Future<Output = Result<Simulated, ChainError>> + Send;
    /// In which block a transaction is; none if in none.
    fn receipt(
        &self,
        hash: B256,
    ) -> impl Future<Output = Result<Option<Inclusion>, ChainError>> + Send;
    /// Whether a transaction is known: mined, or waiting to be.
    fn known(&self, hash: B256) -> impl Future<Output = Result<bool, ChainError>> + Send;
    /// The hash of the block of a number; none if there is none yet.
    fn block_hash(
        &self,
        number: u64,
    ) -> impl Future<Output = Result<Option<B256>, ChainError>> + Send;
    /// Sends a signed transaction.
    fn send(&self, raw: &Bytes) -> impl Future<Output = Result<Sent, ChainError>> + Send;
}
