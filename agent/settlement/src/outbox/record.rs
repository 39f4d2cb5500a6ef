//! The records of an outbox. Their form is JSON, and part of the format's version. `Record` has no tag inside of its
//! variants: serde reads those through a form that has no numbers of 128 bits.

use alloy::primitives::{B256, Bytes};
use serde::{Deserialize, Serialize};

use crate::call::{Call, Seq};
use crate::revert::Revert;

/// One step of one intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// What records that were compacted away leave behind; it counts the gas of all records before it, too.
    Carried {
        /// No number below this is free.
        next: Seq,
        /// What was set aside for gas.
        spent: Spent,
    },
    /// A call is wanted.
    Intent(Intent),
    /// A transaction was signed; it may have been sent.
    Signed(Signed),
    /// The same call with the same nonce was signed again, for a higher fee.
    Replaced(Signed),
    /// A transaction of ours is in a block.
    Mined {
        /// Which intent.
        seq: Seq,
        /// Where.
        inclusion: Inclusion,
    },
    /// Nothing more will be done: it is final on chain.
    Final {
        /// Which intent.
        seq: Seq,
        /// How it came about.
        how: Outcome,
    },
    /// Nothing more is done until somebody looks at it.
    Parked {
        /// Which intent.
        seq: Seq,
        /// Why.
        reason: ParkReason,
    },
}

/// A call is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Its number.
    pub seq: Seq,
    /// The caller's name for it.
    pub digest: B256,
    /// What for.
    pub purpose: Purpose,
    /// The call.
    pub call: Call,
}

/// What an intent is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A caller wants it.
    Wanted,
    /// It takes a nonce that nothing else has, so that those behind it can be mined.
    Filler,
}

/// A signed transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// Of which intent.
    pub seq: Seq,
    /// What is sent (EIP-2718).
    pub raw: Bytes,
    /// The sender's count of transactions before it.
    pub nonce: u64,
    /// Its hash.
    pub hash: B256,
    /// What it pays for each unit of gas.
    pub fee: Fee,
    /// The most gas that it may use.
    pub gas: u64,
    /// What is set aside for its data on L1, in wei, where that comes on top of gas. Outboxes from before this was counted
    /// have none.
    #[serde(default)]
    pub l1_wei: u128,
    /// The day whose budget it is of: days since 1970, UTC.
    pub day: u64,
}

impl Signed {
    /// The most that it can cost, in wei.
    #[must_use]
    pub fn cost_wei(&self) -> u128 {
        self.fee.max_wei.saturating_mul(u128::from(self.gas)).saturating_add(self.l1_wei)
    }
}

/// What is paid for a unit of gas, in wei (EIP-1559).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fee {
    /// The most in all.
    pub max_wei: u128,
    /// Of that, for whoever makes the block.
    pub tip_wei: u128,
}

/// Where a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inclusion {
    /// Its hash.
    pub tx: B256,
    /// Hash of the block.
    pub block: B256,
    /// Number of the block.
    pub number: u64,
    /// Whether it did what it should; else it was reverted, and only gas is gone.
    pub ok: bool,
}

/// How an intent came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A transaction of ours did it.
    Ours,
    /// The contract shows that it happened, by no transaction of this outbox.
    Another,
    /// A filler is no longer needed.
    NotNeeded,
}

/// Why nothing more is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "parked")]
pub enum ParkReason {
    /// The contract will never take it.
    #[error("the contract refuses it for good: {revert}")]
    Refused {
        /// Its words.
        revert: Revert,
    },
    /// The contract did not take it so many times.
    #[error("the contract refused it {times} times, the last time: {revert}")]
    KeepsReverting {
        /// How often.
        times: u32,
        /// Its words, the last time.
        revert: Revert,
    },
    /// It needs more gas than any call may.
    #[error("it needs {gas} gas; {limit} are allowed")]
    TooMuchGas {
        /// What it needs.
        gas: u64,
        /// What is allowed.
        limit: u64,
    },
}

/// What was set aside for gas on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spent {
    /// Days since 1970, UTC.
    pub day: u64,
    /// The most that the day's transactions can cost, in wei.
    pub wei: u128,
}
