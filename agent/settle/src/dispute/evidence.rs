//! Evidence, read from files, and compared with itself before anything is asked of the chain. Pure.

use agent_sla::protocol::messages::KeptReceipt;
use agent_sla::protocol::settled::Settled;
use agent_sla::protocol::signed::{
    ChallengeReceipt, PASSED, Signature, SignatureError, Signed, SlaVote, receipts_root,
};
use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::sol_types::{Eip712Domain, SolStruct};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::units::moment;

/// The longest file of evidence in bytes: receipts of 2,000 eras of an oracle are 3 MB.
pub(crate) const FILE_MAX: u64 = 4 << 20;

/// Receipts of a vote at most (`Disputes`, `RECEIPTS_MAX`).
const RECEIPTS_MAX: usize = 64;

/// What evidence of two votes says that it is.
const EQUIVOCATION: &str = "equivocation";

/// Why evidence shows nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EvidenceError {
    /// It is another kind of file.
    #[error("the file is no {expected}: {why}")]
    Form { expected: &'static str, why: String },
    /// There are too few or too many.
    #[error(
        "the file has {found} {what}, and one is meant: name the oracle with --oracle, or take the others out"
    )]
    NotOne { what: &'static str, found: usize },
    /// Another signed it.
    #[error("{what} is not signed by the oracle {oracle} for this network: {why}")]
    NotSigned { what: &'static str, oracle: Address, why: SignatureError },
    /// The votes have nothing to do with each other.
    #[error("the votes are not of one oracle, one node and one era: they contradict nothing")]
    NotOfOne,
    /// It is one vote.
    #[error("both votes say the same: there is nothing to show")]
    Same,
    /// Receipt and vote have nothing to do with each other.
    #[error("receipt and vote differ in {0}: take those that belong together")]
    Apart(&'static str),
    /// The node failed.
    #[error("the receipt is of a challenge that the node did not pass: no vote hides it")]
    NotPassed,
    /// The vote counts it.
    #[error("the vote was made from this receipt: it is not hidden, and the bond would be lost")]
    Counted,
    /// It is not over yet.
    #[error("era {0} is not over: the evidence is taken from its end on")]
    Early(u64),
    /// It is too late.
    #[error("evidence of era {era} was taken until {}: it is too late", moment(*.until))]
    Late { era: u64, until: u64 },
    /// These are not the receipts.
    #[error(
        "the vote was made from other receipts, or from these in another order: that is no answer"
    )]
    OtherReceipts,
    /// There are too many.
    #[error("{0} receipts: a vote has at most {RECEIPTS_MAX}")]
    Many(usize),
    /// The receipt is not among them.
    #[error("the receipt that is asked for is not among these: that is no answer")]
    NotAmong,
    /// The leaves are of two nodes.
    #[error("the leaves are of two nodes: both must be of one")]
    TwoNodes,
    /// It can be so.
    #[error("what the leaves say can be true: there is nothing to refute")]
    CanBeTrue,
    /// The leaf is elsewhere.
    #[error("the leaf of {node} is not in root {root} of the chain: it proves nothing of it")]
    NotInRoot { node: B256, root: u64 },
    /// The root is another.
    #[error(
        "root {0} of the chain is not the one that the leaf is of: it was cancelled, or is another network's"
    )]
    OtherRoot(u64),
    /// It is too late.
    #[error("root {root} is final since {}: nobody can cancel it any more", moment(*.since))]
    Final { root: u64, since: u64 },
}

/// A vote as oracles show it, or with its signature among its fields.
#[derive(Deserialize)]
#[serde(untagged)]
enum AnyVote {
    Signed(Signed<SlaVote>),
    Flat {
        #[serde(flatten)]
        message: SlaVote,
        signature: Signature,
    },
}

impl From<AnyVote> for Signed<SlaVote> {
    fn from(vote: AnyVote) -> Self {
        match vote {
            AnyVote::Signed(signed) => signed,
            AnyVote::Flat { message, signature } => Self { message, signature },
        }
    }
}

#[derive(Deserialize)]
struct EquivocationFile {
    kind: String,
    oracle: Address,
    votes: Vec<AnyVote>,
}

/// One, or a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

/// A receipt of an answer: its digest, or itself.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answered {
    Digest(B256),
    Kept(Box<KeptReceipt>),
    Signed(Signed<ChallengeReceipt>),
}

/// Two votes of an oracle on a node and era.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Equivocation {
    pub first: Signed<SlaVote>,
    pub second: Signed<SlaVote>,
}

/// A receipt, and the vote that hides it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hidden {
    pub vote: Signed<SlaVote>,
    pub kept: KeptReceipt,
    pub vote_digest: B256,
    pub receipt_digest: B256,
    /// Whether the vote cannot be true, so that nobody is asked.
    pub at_once: bool,
}

/// Leaves that cannot be true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refutation {
    /// It is of another era than its root.
    Era(Box<Settled>),
    /// Two of one node in one root.
    Twice(Box<[Settled; 2]>),
    /// Of two roots, the earlier one first.
    Course(Box<[Settled; 2]>),
}

/// A root as the chain has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Posted {
    pub digest: B256,
    pub root: B256,
    /// Of this and all before it, in the token's smallest unit.
    pub reward: U256,
    pub penalty: U256,
    /// Whether the sum of penalties ended at what fits, so that it bounds nothing.
    pub is_full: bool,
    /// When it is final, in seconds since 1970.
    pub final_at: u64,
}

fn parsed<T: DeserializeOwned>(text: &str, expected: &'static str) -> Result<T, EvidenceError> {
    serde_json::from_str(text)
        .map_err(|error| EvidenceError::Form { expected, why: error.to_string() })
}

/// Reads votes: one, or a list.
pub(crate) fn votes(text: &str) -> Result<Vec<Signed<SlaVote>>, EvidenceError> {
    match parsed::<OneOrMany<AnyVote>>(text, "signed vote")? {
        OneOrMany::Many(votes) => Ok(votes.into_iter().map(Into::into).collect()),
        OneOrMany::One(vote) => Ok(vec![vote.into()]),
    }
}

/// Reads the one receipt that is meant.
pub(crate) fn receipt(text: &str, oracle: Option<Address>) -> Result<KeptReceipt, EvidenceError> {
    let all = match parsed::<OneOrMany<KeptReceipt>>(text, "receipt that a node keeps")? {
        OneOrMany::Many(receipts) => receipts,
        OneOrMany::One(receipt) => vec![receipt],
    };
    let of = |kept: &KeptReceipt| oracle.is_none_or(|oracle| kept.oracle == oracle);
    one(all.into_iter().filter(of).collect(), "receipts")
}

/// The vote on what a receipt is of.
pub(crate) fn vote_on(
    votes: Vec<Signed<SlaVote>>,
    kept: &KeptReceipt,
) -> Result<Signed<SlaVote>, EvidenceError> {
    let request = &kept.request.message;
    let belongs = |vote: &Signed<SlaVote>| {
        let vote = &vote.message;
        (vote.oracleId, vote.nodeId, vote.era) == (kept.oracle, request.nodeId, request.era)
    };
    one(votes.into_iter().filter(belongs).collect(), "votes on what the receipt is of")
}

fn one<T>(mut found: Vec<T>, what: &'static str) -> Result<T, EvidenceError> {
    match (found.pop(), found.len()) {
        (Some(one), 0) => Ok(one),
        (Some(_), more) => Err(EvidenceError::NotOne { what, found: more.saturating_add(1) }),
        (None, _) => Err(EvidenceError::NotOne { what, found: 0 }),
    }
}

/// Reads the digests of receipts, in their order.
pub(crate) fn digests(text: &str, domain: &Eip712Domain) -> Result<Vec<B256>, EvidenceError> {
    let all: Vec<Answered> = parsed(text, "list of receipts")?;
    if all.len() > RECEIPTS_MAX {
        return Err(EvidenceError::Many(all.len()));
    }
    let digest = |one: Answered| match one {
        Answered::Digest(digest) => digest,
        Answered::Kept(kept) => kept.receipt.digest(domain),
        Answered::Signed(signed) => signed.digest(domain),
    };
    Ok(all.into_iter().map(digest).collect())
}

/// That receipts are what a vote was made from, and the one that is asked for is among them.
pub(crate) fn answers(
    digests: &[B256],
    receipts_root_: B256,
    asked: B256,
) -> Result<(), EvidenceError> {
    if receipts_root(digests) != receipts_root_ {
        return Err(EvidenceError::OtherReceipts);
    }
    if digests.contains(&asked) { Ok(()) } else { Err(EvidenceError::NotAmong) }
}

/// Reads two votes that contradict each other.
pub(crate) fn equivocation(
    text: &str,
    domain: &Eip712Domain,
) -> Result<Equivocation, EvidenceError> {
    const EXPECTED: &str = "evidence of two votes";
    let file: EquivocationFile = parsed(text, EXPECTED)?;
    if file.kind != EQUIVOCATION {
        let why = format!("it is evidence of `{}`", file.kind);
        return Err(EvidenceError::Form { expected: EXPECTED, why });
    }
    let votes: Vec<Signed<SlaVote>> = file.votes.into_iter().map(Into::into).collect();
    let count = votes.len();
    let Ok([first, second]) = <[_; 2]>::try_from(votes) else {
        let why = format!("it has {count} votes");
        return Err(EvidenceError::Form { expected: EXPECTED, why });
    };
    let oracle = file.oracle;
    let of = |vote: &SlaVote| (vote.oracleId, vote.nodeId, vote.era);
    if of(&first.message) != of(&second.message) || first.message.oracleId != oracle {
        return Err(EvidenceError::NotOfOne);
    }
    for (what, vote) in [("the first vote", &first), ("the second vote", &second)] {
        let verified = vote.verify(domain, oracle);
        verified.map_err(|why| EvidenceError::NotSigned { what, oracle, why })?;
    }
    if first.digest(domain) == second.digest(domain) {
        return Err(EvidenceError::Same);
    }
    Ok(Equivocation { first, second })
}

/// That a vote hides a receipt, as far as the two show it.
pub(crate) fn hidden(
    vote: Signed<SlaVote>,
    kept: KeptReceipt,
    domain: &Eip712Domain,
) -> Result<Hidden, EvidenceError> {
    let (said, request) = (&vote.message, &kept.request.message);
    let oracle = said.oracleId;
    let verified = vote.verify(domain, oracle);
    verified.map_err(|why| EvidenceError::NotSigned { what: "the vote", oracle, why })?;
    let verified = kept.receipt.verify(domain, oracle);
    verified.map_err(|why| EvidenceError::NotSigned { what: "the receipt", oracle, why })?;
    let pairs = [
        ("the oracle", request.oracleId == oracle),
        ("the node", request.nodeId == said.nodeId),
        ("the era", request.era == said.era),
        ("the parameters", request.configDigest == said.configDigest),
        ("the request", kept.receipt.message.requestHash == kept.request.digest(domain)),
    ];
    if let Some((what, _)) = pairs.iter().find(|(_, same)| !same) {
        return Err(EvidenceError::Apart(what));
    }
    if kept.receipt.message.result != PASSED {
        return Err(EvidenceError::NotPassed);
    }
    let (vote_digest, receipt_digest) = (vote.digest(domain), kept.receipt.digest(domain));
    // As `Disputes` has it.
    let at_once = said.passed == 0
        || said.receiptsRoot == keccak256([])
        || (said.provenBytes == 0 && request.totalBytes > 0);
    // An oracle gives one receipt for an era.
    if !at_once && said.receiptsRoot == receipts_root(&[receipt_digest]) {
        return Err(EvidenceError::Counted);
    }
    Ok(Hidden { vote, kept, vote_digest, receipt_digest, at_once })
}

/// That an era is over, and evidence of it is still taken.
pub(crate) fn in_time(
    era: u64,
    current: u64,
    until: u64,
    block_s: u64,
) -> Result<(), EvidenceError> {
    if current <= era {
        return Err(EvidenceError::Early(era));
    }
    if block_s > until { Err(EvidenceError::Late { era, until }) } else { Ok(()) }
}

/// Reads a leaf as an oracle answers it.
pub(crate) fn leaf(text: &str) -> Result<Settled, EvidenceError> {
    parsed(text, "leaf as an oracle answers it")
}

/// What one or two leaves refute, as far as they show it.
pub(crate) fn refutation(leaves: Vec<Settled>) -> Result<Refutation, EvidenceError> {
    let mut leaves = leaves;
    leaves.sort_by_key(|leaf| leaf.number);
    let two = match <[Settled; 2]>::try_from(leaves) {
        Ok(two) => two,
        Err(mut leaves) => {
            return match leaves.pop() {
                Some(one) if one.leaf.toEra != one.root.toEra => Ok(Refutation::Era(Box::new(one))),
                _ => Err(EvidenceError::CanBeTrue),
            };
        }
    };
    let [first, second] = &two;
    if first.leaf.nodeId != second.leaf.nodeId {
        return Err(EvidenceError::TwoNodes);
    }
    if first.number != second.number {
        return Ok(Refutation::Course(Box::new(two)));
    }
    match first.leaf == second.leaf {
        true => Err(EvidenceError::CanBeTrue),
        false => Ok(Refutation::Twice(Box::new(two))),
    }
}

impl Refutation {
    /// The leaves, and whether their roots must still be such as can be cancelled.
    pub(crate) fn leaves(&self) -> Vec<(&Settled, bool)> {
        match self {
            Self::Era(one) => vec![(one, true)],
            Self::Twice(two) => two.iter().map(|one| (one, true)).collect(),
            Self::Course(two) => two.iter().zip([false, true]).collect(),
        }
    }

    /// That roots as the chain has them, one for each leaf, are refuted by it.
    pub(crate) fn check(
        &self,
        posted: &[Posted],
        domain: &Eip712Domain,
        block_s: u64,
    ) -> Result<(), EvidenceError> {
        for ((settled, cancels), posted) in self.leaves().into_iter().zip(posted) {
            let (root, node) = (settled.number, settled.leaf.nodeId);
            let digest = settled.root.eip712_signing_hash(domain);
            if (digest, settled.root.root) != (posted.digest, posted.root) {
                return Err(EvidenceError::OtherRoot(root));
            }
            if !settled.leaf.is_in(posted.root, &settled.proof) {
                return Err(EvidenceError::NotInRoot { node, root });
            }
            if cancels && block_s >= posted.final_at {
                return Err(EvidenceError::Final { root, since: posted.final_at });
            }
        }
        match (self, posted) {
            (Self::Course(two), [earlier, later]) => course(two, earlier, later),
            _ => Ok(()),
        }
    }
}

/// That what a node has cannot have come about between two roots.
fn course(
    [before, after]: &[Settled; 2],
    earlier: &Posted,
    later: &Posted,
) -> Result<(), EvidenceError> {
    let can = |before: U256, after: U256, given: U256| {
        after.checked_sub(before).is_some_and(|grown| grown <= given)
    };
    let reward = later.reward.saturating_sub(earlier.reward);
    let penalty = match later.is_full {
        true => U256::MAX,
        false => later.penalty.saturating_sub(earlier.penalty),
    };
    let (before, after) = (&before.leaf, &after.leaf);
    let is_possible = can(before.cumulativeReward, after.cumulativeReward, reward)
        && can(before.cumulativePenalty, after.cumulativePenalty, penalty);
    if is_possible { Err(EvidenceError::CanBeTrue) } else { Ok(()) }
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;
