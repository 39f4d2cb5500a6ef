//! What is settled: roots, leaves and bindings, as anyone may read them from an oracle.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/settled/{node id}` | [`Settled`] |
//! | `GET /v1/roots`, `GET /v1/roots?before=ERA` | a list of [`KnownRoot`], the newest first |
//! | `GET /v1/bindings/{daemon address}` | [`SignedBinding`] |
//!
//! Numbers of 256 bits are hexadecimal texts with `0x`. Where there is none, the answer is 404 with
//! [`Refusal::Unknown`](super::messages::Refusal::Unknown). Nothing here needs a session, and nothing is to be
//! believed for the oracle's word alone: a leaf is compared with the root on chain.

use alloy::primitives::{Address, B256, U256};
use serde::{Deserialize, Serialize};

use super::parameters::{Era, ORACLES_MAX};
use super::signed::{Signature, Signed};

/// The most eras of one root: a week of eras of an hour. Who was away for longer posts several.
pub const RANGE_ERAS_MAX: u64 = 168;

/// The most roots in one answer: with 32 signatures each has some 6 KiB.
pub const ROOTS_MAX: usize = 64;

pub use agent_settlement::abi::messages::{DaemonBinding, EraRoot, Leaf, PROOF_MAX};

/// A binding with the signature of the daemon key that it names.
pub type SignedBinding = Signed<DaemonBinding>;

/// A node in the newest root that the oracle knows to be on chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// The number of the root on chain, from 0.
    pub number: u64,
    /// The root.
    pub root: EraRoot,
    /// The node's leaf.
    pub leaf: Leaf,
    /// The way from the leaf to the root, from below; at most [`PROOF_MAX`].
    pub proof: Vec<B256>,
    /// The root's eras that there are votes on the node of, in their order; at most [`RANGE_ERAS_MAX`].
    pub eras: Vec<Verdict>,
}

/// What an era of a node came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Which.
    pub era: Era,
    /// Votes on the node, at most one of each oracle.
    pub votes: u32,
    /// What they came to; none where they were fewer than a quorum, so nothing is earned or forfeited.
    pub median: Option<Median>,
    /// What the node earned, in the token's smallest unit.
    pub reward: U256,
    /// What it forfeited, in the token's smallest unit.
    pub penalty: U256,
}

/// Medians of votes: of an even number the lower one of the two in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Median {
    /// Checks of the vote whose passed share is the median.
    pub issued: u32,
    /// How many of them that vote says were passed.
    pub passed: u32,
    /// Of all votes, in microseconds.
    pub latency_us: u64,
    /// Of all votes.
    pub bytes_per_second: u64,
    /// Of all votes.
    pub proven_bytes: u64,
}

/// How far a root is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RootState {
    /// It is being signed, or posted.
    Signing,
    /// It stands on chain, and its dispute window is open.
    Posted,
    /// It stands, and nobody can cancel it any more.
    Final,
    /// It was cancelled, or another took its place.
    Cancelled,
}

/// A root that an oracle computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownRoot {
    /// The root.
    pub root: EraRoot,
    /// Its signatures that this oracle has, in ascending order of signers.
    pub signatures: Vec<RootSignature>,
    /// How far it is.
    pub state: RootState,
    /// Its number on chain, where it stands or stood there.
    pub number: Option<u64>,
    /// The transaction that this oracle posted it by; none where another posted it.
    pub transaction: Option<B256>,
}

/// An oracle's signature of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootSignature {
    /// Whose.
    pub oracle: Address,
    /// Of the root's EIP-712 digest.
    pub signature: Signature,
}

/// Why an answer about what is settled is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnboundedError {
    /// It is about another node.
    #[error("the answer is about node {found}, not {asked}")]
    Node {
        /// Who was asked about.
        asked: B256,
        /// Who was answered about.
        found: B256,
    },
    /// A list in it is longer than it may be.
    #[error("{what}: {found}, more than {most}")]
    Long {
        /// What.
        what: &'static str,
        /// How many.
        found: usize,
        /// The most.
        most: usize,
    },
}

fn within(what: &'static str, found: usize, most: usize) -> Result<(), UnboundedError> {
    if found > most { Err(UnboundedError::Long { what, found, most }) } else { Ok(()) }
}

impl Settled {
    /// That it is about a node, and has no more than it may have. Whether the leaf is in the root, and the root on
    /// chain, is for who reads it to see.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, asked: B256) -> Result<(), UnboundedError> {
        let found = self.leaf.nodeId;
        if found != asked {
            return Err(UnboundedError::Node { asked, found });
        }
        within("hashes of a proof", self.proof.len(), PROOF_MAX)?;
        let eras = usize::try_from(RANGE_ERAS_MAX).unwrap_or(usize::MAX);
        within("eras of a root", self.eras.len(), eras)
    }
}

impl KnownRoot {
    /// That it has no more than it may have.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), UnboundedError> {
        within("signatures of a root", self.signatures.len(), ORACLES_MAX)
    }
}
