//! What a call of `Disputes` does, read from its own bytes.

use agent_settlement::abi::reference::Disputes;
use alloy::primitives::{Address, B256, U256};

use crate::deed::call;

/// What a call shows or asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dispute {
    /// Two votes of an oracle.
    Equivocation { oracle: Address, node: B256, era: u64 },
    /// A receipt that a vote hides.
    Receipt { oracle: Address, node: B256, era: u64 },
    /// What a vote was made from.
    Answer { vote: B256, receipt: B256, count: usize },
    /// Nobody answered.
    Close { vote: B256, receipt: B256 },
    /// Nobody answered, and the bond goes back before that is closed.
    TakeBack { vote: B256, receipt: B256 },
    /// Leaves that cannot be true.
    Refute { node: B256, root: U256, why: &'static str },
}

impl Dispute {
    /// Reads a call.
    pub(crate) fn read(data: &[u8]) -> Option<Self> {
        if let Some(call) = call::<Disputes::showEquivocationCall>(data) {
            let vote = call.first;
            return Some(Self::Equivocation {
                oracle: vote.oracleId,
                node: vote.nodeId,
                era: vote.era,
            });
        }
        if let Some(call) = call::<Disputes::showReceiptCall>(data) {
            let vote = call.vote;
            return Some(Self::Receipt { oracle: vote.oracleId, node: vote.nodeId, era: vote.era });
        }
        if let Some(call) = call::<Disputes::answerCall>(data) {
            let (vote, receipt) = (call.voteDigest, call.receiptDigest);
            return Some(Self::Answer { vote, receipt, count: call.receipts.len() });
        }
        if let Some(call) = call::<Disputes::closeCall>(data) {
            return Some(Self::Close { vote: call.voteDigest, receipt: call.receiptDigest });
        }
        if let Some(call) = call::<Disputes::takeBackCall>(data) {
            return Some(Self::TakeBack { vote: call.voteDigest, receipt: call.receiptDigest });
        }
        Self::refutes(data)
    }

    fn refutes(data: &[u8]) -> Option<Self> {
        if let Some(call) = call::<Disputes::refuteEraCall>(data) {
            let why = "its leaf is of another era";
            return Some(Self::Refute { node: call.leaf.nodeId, root: call.rootId, why });
        }
        if let Some(call) = call::<Disputes::refuteTwiceCall>(data) {
            let why = "it has two leaves of the node";
            return Some(Self::Refute { node: call.first.nodeId, root: call.rootId, why });
        }
        let call = call::<Disputes::refuteCourseCall>(data)?;
        let why = "what the node earned or forfeited shrank, or grew by more than was given";
        Some(Self::Refute { node: call.leaf.nodeId, root: call.rootId, why })
    }

    /// In words: a line each.
    pub(crate) fn words(&self) -> Vec<String> {
        match self {
            Self::Equivocation { oracle, node, era } => vec![
                format!("shows that the oracle {oracle} voted twice on era {era} of the node {node}"),
                "it loses its stake, and signs no more; a part of the stake is paid to who shows it"
                    .to_owned(),
            ],
            Self::Receipt { oracle, node, era } => vec![format!(
                "shows a receipt of the oracle {oracle} that its vote on era {era} of the node {node} hides"
            )],
            Self::Answer { vote, receipt, count } => vec![
                format!("shows the {count} receipt(s) that the vote {vote} was made from"),
                format!("among them the one that was asked for: {receipt}"),
            ],
            Self::Close { vote, receipt } => vec![
                format!("closes the question for the receipt {receipt}, which nobody answered"),
                format!("the vote {vote} is void, and the bond goes back if it is still there"),
            ],
            Self::TakeBack { vote, receipt } => vec![format!(
                "takes the bond of the question for the receipt {receipt} of the vote {vote} back, which stays to be closed"
            )],
            Self::Refute { node, root, why } => vec![
                format!("refutes root {root} by what it says of the node {node}: {why}"),
                "the root is cancelled, and all after it".to_owned(),
            ],
        }
    }
}
