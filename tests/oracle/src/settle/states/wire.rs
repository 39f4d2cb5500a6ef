//! What oracles say to each other about changes of state: `POST /v1/states/propose`, [`AskedChanges`] → a list of
//! [`ChangeReply`], one for each change in their order.

use agent_settlement::abi::reference::StateChange;
use agent_sla::protocol::B256;
use agent_sla::protocol::signed::{Signature, Signed};
use alloy::primitives::keccak256;
use alloy::sol_types::SolValue;
use serde::{Deserialize, Serialize};

/// The most changes of one proposal: as many nodes as are asked about in one look.
pub const CHANGES_MAX: usize = 64;

/// The longest body in bytes: each change is some 450 bytes of JSON.
pub const BODY_MAX: usize = 64 << 10;

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
        /// An oracle asks another for its signatures of changes. Never read by a contract.
        #[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        struct StateProposal {
            /// Keccak-256 of the ABI encoding of the changes.
            bytes32 changes;
            /// Digest of the rules.
            bytes32 rules;
        }
    }
}

pub use messages::StateProposal;

/// Changes that are proposed, signed by who proposes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedChanges {
    /// At most [`CHANGES_MAX`].
    pub changes: Vec<StateChange>,
    /// That an oracle proposes them.
    pub by: Signed<StateProposal>,
}

/// What becomes of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reply")]
pub enum ChangeReply {
    /// It is signed.
    Signed {
        /// Of the change.
        signature: Signature,
    },
    /// It is not, and why.
    Objects {
        /// Why.
        objection: ChangeObjection,
    },
}

/// Why an oracle does not sign a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "objection")]
pub enum ChangeObjection {
    /// It goes by other rules, or by none.
    #[error("it goes by other rules, or proposes no changes of state: compare [states] of both")]
    OtherRules,
    /// It sees another root as the newest.
    #[error("the newest root is {root} there")]
    OtherRoot {
        /// Its digest.
        root: B256,
    },
    /// The era is neither the one that is nor the one before, or the parameters are others.
    #[error("it is of an era that is not now, or of other parameters")]
    OtherEra,
    /// The node stands otherwise on chain, or the eras do not come to this change.
    #[error("the node's state is not to change so, as the verdicts and the registry are there")]
    NotDue,
    /// It signed another change of that number in that era.
    #[error("another change of the node is signed already for this era")]
    AlreadySigned,
    /// It cannot, for now.
    #[error("busy, or its own disk or chain fails")]
    Busy,
}

/// What names some changes.
#[must_use]
pub fn changes_digest(changes: &[StateChange]) -> B256 {
    keccak256(changes.iter().flat_map(SolValue::abi_encode).collect::<Vec<u8>>())
}
