//! What oracles say to each other about roots.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `POST /v1/roots/propose` | [`Asked`] | [`Reply`] |
//! | `GET /v1/roots/{digest}` | | [`Proposal`] |
//! | `GET /v1/kept?era=N&oracle=ADDRESS[&after=NODE]` | | votes of an oracle that this one keeps |
//! | `GET /v1/leaves?root=DIGEST[&after=NODE]` | | leaves of a root in the order of nodes, at most [`LEAVES_MAX`] |

use agent_sla::protocol::settled::EraRoot;
use agent_sla::protocol::signed::{Signature, Signed};
use agent_sla::protocol::{Address, B256};
use alloy::primitives::keccak256;
use alloy::sol_types::SolValue;
use serde::{Deserialize, Serialize};

use super::voids::Void;
use crate::service::Vote;

/// Leaves in one answer: each is some 350 bytes of JSON.
pub const LEAVES_MAX: usize = 2000;

/// Votes that show why others are left out, in one proposal: two of each oracle that may lie without harm
/// (a third of 32), for three eras.
pub const EVIDENCE_MAX: usize = 60;

/// The longest body of a proposal in bytes: 168 eras of 32 oracles are 5,376 sets of some 170 bytes.
pub const PROPOSAL_MAX: usize = 1 << 20;

// The macro makes public fields and helpers without a word on them.
#[allow(
    missing_docs,
    missing_debug_implementations,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "made by the macro; what the message means is said in the lines beside its fields"
)]
mod messages {
    alloy::sol! {
        /// An oracle asks another for its signature of a root. Never read by a contract.
        #[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        struct RootProposal {
            /// EIP-712 digest of the root.
            bytes32 root;
            /// Digest of the sets of votes that it was computed from.
            bytes32 sets;
            /// Digest of the tariff.
            bytes32 tariff;
            /// Whether a signature is wanted, or only to know whether there would be one.
            bool sign;
        }
    }
}

pub use messages::RootProposal;

/// The votes of an oracle on an era, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SetName {
    /// Of which era.
    pub era: u64,
    /// Whose.
    pub oracle: Address,
    /// How many.
    pub count: u32,
    /// Keccak-256 of their digests, in the order of nodes.
    pub digest: B256,
}

/// A root, and what it was computed from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The root.
    pub root: EraRoot,
    /// The votes, in the order of era, then oracle.
    pub sets: Vec<SetName>,
    /// What of them is left out, as the chain voided it, in the order of era, oracle, node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub voided: Vec<Void>,
}

impl Proposal {
    /// The digest of its sets, and of what is left out of them.
    #[must_use]
    pub fn sets_digest(&self) -> B256 {
        let words = |set: &SetName| (set.era, set.oracle, set.count, set.digest).abi_encode();
        let void = |void: &Void| {
            (void.era, void.oracle, void.node.is_some(), void.node.unwrap_or_default()).abi_encode()
        };
        let sets = self.sets.iter().flat_map(words);
        keccak256(sets.chain(self.voided.iter().flat_map(void)).collect::<Vec<u8>>())
    }
}

/// A proposal, signed by who makes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// What is proposed.
    pub proposal: Proposal,
    /// That an oracle proposes it.
    pub by: Signed<RootProposal>,
    /// Why votes are left out: two of one oracle on one node, one behind the other; at most [`EVIDENCE_MAX`].
    pub evidence: Vec<Vote>,
}

/// What becomes of a proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reply")]
pub enum Reply {
    /// It would be signed.
    Agreed,
    /// It is signed.
    Signed {
        /// Of the root.
        signature: Signature,
    },
    /// It is not, and why.
    Objects {
        /// Why.
        objection: Objection,
    },
}

/// Why an oracle does not sign a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "objection")]
pub enum Objection {
    /// The chain stands elsewhere, as the other sees it.
    #[error("the next root begins with era {from} and follows {previous}")]
    OtherBase {
        /// The era.
        from: u64,
        /// Digest of the root before.
        previous: B256,
    },
    /// The range is none, or its votes are still awaited.
    #[error("the eras are not settled yet, or more than one root may have")]
    NotYet,
    /// It goes by another tariff.
    #[error("another tariff: {tariff} there")]
    OtherTariff {
        /// Its digest.
        tariff: B256,
    },
    /// It has votes that the proposal leaves out.
    #[error("votes of {oracle} on era {era} are left out, or not all are there", oracle = set.oracle, era = set.era)]
    Lacks {
        /// The votes, as it has them.
        set: SetName,
    },
    /// Other votes are void on chain than the proposal leaves out, as it sees the chain.
    #[error("{} votes of these eras are void on chain, and the proposal leaves out others", voided.len())]
    OtherVoids {
        /// What is void.
        voided: Vec<Void>,
    },
    /// It cannot get votes that the proposal names.
    #[error("votes of {oracle} on era {era} cannot be had as they are named", oracle = set.oracle, era = set.era)]
    Unavailable {
        /// The votes, as they are named.
        set: SetName,
    },
    /// An oracle whose votes are named voted twice on a node.
    #[error("{} voted twice on node {} in era {}", first.message.oracleId, first.message.nodeId, first.message.era)]
    Equivocated {
        /// One vote.
        first: Box<Vote>,
        /// The other.
        second: Box<Vote>,
    },
    /// It comes to another root.
    #[error("another root of the same votes: {first}")]
    Differs {
        /// What it comes to.
        root: Box<EraRoot>,
        /// The first difference, in words.
        first: String,
    },
    /// It signed another root for these eras.
    #[error("another root of the same eras is signed already")]
    AlreadySigned {
        /// That root, and what it was computed from.
        proposal: Box<Proposal>,
        /// Its signature.
        signature: Signature,
    },
    /// It cannot, for now.
    #[error("busy, or its own disk or chain fails")]
    Busy,
}
