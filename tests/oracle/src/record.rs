//! What an oracle writes down of an era. From these records alone its votes can be made again.

use agent_sla::protocol::messages::Receipt;
use agent_sla::protocol::signed::{ChallengeRequest, Signed, SlaVote};
use agent_sla::protocol::{Address, B256};
use serde::{Deserialize, Serialize};

/// A record of an era's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "record")]
pub enum Record {
    /// A node committed to what it stores, before the questions were drawn.
    Request {
        /// Who signed it.
        daemon: Address,
        /// EIP-712 digest of the request.
        digest: B256,
        /// What it sent.
        request: Signed<ChallengeRequest>,
    },
    /// The questions were drawn; the check counts from here on.
    Beacon {
        /// Which node.
        node: B256,
        /// What they are drawn from.
        beacon: B256,
        /// When, in milliseconds since 1970 by the oracle's clock.
        at: u64,
    },
    /// What the oracle found.
    Receipt {
        /// Which node.
        node: B256,
        /// EIP-712 digest of the receipt.
        digest: B256,
        /// What the node was given.
        receipt: Receipt,
    },
    /// The oracle wrote or read as a tenant.
    Check {
        /// Which node.
        node: B256,
        /// What it did.
        check: Check,
    },
    /// Two spoke with one key: no vote.
    Conflict {
        /// Which node.
        node: B256,
        /// Where one speaks from.
        first: String,
        /// Where the other does.
        second: String,
    },
    /// What the oracle makes of a node's era.
    Vote {
        /// Signed by the oracle.
        vote: Signed<SlaVote>,
    },
    /// All votes of the era stand before this; from here on they are given away.
    Closed {
        /// How many.
        votes: u32,
    },
}

/// An object that the oracle wrote to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Canary {
    /// The era that it was written in.
    pub era: u64,
    /// Its number within the era.
    pub number: u8,
}

/// What the oracle does as a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Writes a canary.
    Put,
    /// Reads a few KiB of one: latency.
    Small,
    /// Reads much of one: throughput.
    Large,
}

/// One write or read of the oracle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was done.
    pub work: Work,
    /// With which object.
    pub canary: Canary,
    /// Whether it was done, and the bytes were those that had been written.
    pub passed: bool,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// Bytes that went over the wire.
    pub bytes: u64,
    /// Why it failed, in words.
    pub why: Option<String>,
}

impl Record {
    /// The record as bytes. A form of plain fields is always JSON.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The record that some bytes are.
    ///
    /// # Errors
    /// They are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}
