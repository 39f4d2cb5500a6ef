//! What an era comes to: pure, from its records in their order.

use std::collections::BTreeMap;

use agent_sla::protocol::messages::Receipt;
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::signed::{ChallengeRequest, PASSED, Signed, SlaVote, receipts_root};
use agent_sla::protocol::{Address, B256};

use crate::record::{Check, Record, Work};

/// Readings of one kind that are kept of a node and era: more than a schedule has.
const READINGS_MAX: usize = 64;

/// Latencies and throughputs, of which medians are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readings {
    /// Of small reads, in microseconds.
    pub latencies: Vec<u64>,
    /// Of large reads, in bytes per second.
    pub speeds: Vec<u64>,
}

impl Readings {
    /// Adds what a check showed; the oldest makes room.
    pub fn add(&mut self, check: &Check) {
        let (list, value) = match check.work {
            Work::Small => (&mut self.latencies, check.micros.max(1)),
            Work::Large => {
                let speed = check.bytes.saturating_mul(1_000_000) / check.micros.max(1);
                (&mut self.speeds, speed)
            }
            Work::Put => return,
        };
        if !check.passed {
            return;
        }
        if list.len() >= READINGS_MAX {
            list.remove(0);
        }
        list.push(value);
    }

    /// Median latency and throughput; 0 for none.
    #[must_use]
    pub fn medians(&self) -> (u64, u64) {
        (median(&self.latencies), median(&self.speeds))
    }
}

/// The lower median; 0 of nothing.
fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}

/// The challenge of a node in an era.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Who asked for it.
    pub daemon: Address,
    /// EIP-712 digest of the request.
    pub digest: B256,
    /// What the node committed to.
    pub request: Signed<ChallengeRequest>,
    /// What the questions are drawn from, and when that was; none while nothing was drawn.
    pub beacon: Option<(B256, u64)>,
    /// What was found; none while the node has not answered.
    pub receipt: Option<Receipt>,
}

/// One node in one era.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Checks that were made.
    pub issued: u32,
    /// Those of them that were passed.
    pub passed: u32,
    /// What the oracle measured.
    pub readings: Readings,
    /// Bytes that a passed challenge committed to.
    pub proven_bytes: u64,
    /// Digests of the receipts with their times.
    receipts: Vec<(u64, B256)>,
    /// The challenge.
    pub challenge: Option<Opened>,
    /// From where two speak with one key.
    pub conflict: Option<(String, String)>,
    /// The vote, where one is on record.
    pub vote: Option<Signed<SlaVote>>,
}

impl Tally {
    /// What the oracle makes of it; none where nothing was checked, or two spoke with one key.
    #[must_use]
    pub fn vote(&self, oracle: Address, node: B256, era: Era, config: B256) -> Option<SlaVote> {
        if self.issued == 0 || self.conflict.is_some() {
            return None;
        }
        let mut receipts = self.receipts.clone();
        receipts.sort_unstable();
        let digests: Vec<B256> = receipts.into_iter().map(|(_, digest)| digest).collect();
        let (latency, speed) = self.readings.medians();
        Some(SlaVote {
            oracleId: oracle,
            nodeId: node,
            era: era.0,
            issued: self.issued,
            passed: self.passed,
            medianLatencyUs: latency,
            medianBytesPerSecond: speed,
            provenBytes: self.proven_bytes,
            receiptsRoot: receipts_root(&digests),
            configDigest: config,
        })
    }

    fn count(&mut self, passed: bool) {
        self.passed = self.passed.saturating_add(u32::from(passed));
    }
}

/// How far an era is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Checks are made and answers taken.
    #[default]
    Open,
    /// Votes are being written; nothing else is taken.
    Voting,
    /// All votes are on record.
    Closed,
}

/// All nodes of one era.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    /// By node.
    pub nodes: BTreeMap<B256, Tally>,
    /// How far it is.
    pub phase: Phase,
}

impl Book {
    /// Takes a record that is on stable storage.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Request { daemon, digest, request } => {
                let tally = self.nodes.entry(request.message.nodeId).or_default();
                let opened = Opened { daemon, digest, request, beacon: None, receipt: None };
                tally.challenge.get_or_insert(opened);
            }
            Record::Beacon { node, beacon, at } => {
                let tally = self.nodes.entry(node).or_default();
                let Some(challenge) = tally.challenge.as_mut() else { return };
                if challenge.beacon.is_none() {
                    challenge.beacon = Some((beacon, at));
                    tally.issued = tally.issued.saturating_add(1);
                }
            }
            Record::Receipt { node, digest, receipt } => self.receipt(node, digest, receipt),
            Record::Check { node, check } => {
                let tally = self.nodes.entry(node).or_default();
                tally.issued = tally.issued.saturating_add(1);
                tally.count(check.passed);
                tally.readings.add(&check);
            }
            Record::Conflict { node, first, second } => {
                self.nodes.entry(node).or_default().conflict.get_or_insert((first, second));
            }
            Record::Vote { vote } => {
                self.nodes.entry(vote.message.nodeId).or_default().vote.get_or_insert(vote);
                if self.phase == Phase::Open {
                    self.phase = Phase::Voting;
                }
            }
            Record::Closed { .. } => self.phase = Phase::Closed,
        }
    }

    fn receipt(&mut self, node: B256, digest: B256, receipt: Receipt) {
        let tally = self.nodes.entry(node).or_default();
        let Some(challenge) = tally.challenge.as_mut().filter(|opened| opened.receipt.is_none())
        else {
            return;
        };
        let passed = receipt.receipt.message.result == PASSED;
        if passed {
            tally.proven_bytes = challenge.request.message.totalBytes;
        }
        tally.receipts.push((receipt.receipt.message.oracleTime, digest));
        challenge.receipt = Some(receipt);
        tally.count(passed);
    }

    /// Whether a node was frozen: from where two speak.
    #[must_use]
    pub fn conflict(&self, node: &B256) -> Option<(String, String)> {
        self.nodes.get(node)?.conflict.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Canary;

    const NODE: B256 = B256::repeat_byte(1);

    fn check(work: Work, passed: bool, micros: u64, bytes: u64) -> Record {
        let canary = Canary { era: 1, number: 0 };
        let check = Check { work, canary, passed, micros, bytes, why: None };
        Record::Check { node: NODE, check }
    }

    fn vote(book: &Book) -> Option<SlaVote> {
        book.nodes.get(&NODE)?.vote(Address::ZERO, NODE, Era(1), B256::ZERO)
    }

    #[test]
    fn medians_are_of_reads_that_succeeded() {
        let mut book = Book::default();
        book.apply(check(Work::Put, true, 9, 9));
        book.apply(check(Work::Small, true, 300, 4096));
        book.apply(check(Work::Small, true, 100, 4096));
        book.apply(check(Work::Small, true, 200, 4096));
        book.apply(check(Work::Small, false, 1, 0));
        book.apply(check(Work::Large, true, 500_000, 1_000_000));
        let vote = vote(&book).expect("a vote");
        assert_eq!((vote.issued, vote.passed), (6, 5));
        assert_eq!((vote.medianLatencyUs, vote.medianBytesPerSecond), (200, 2_000_000));
        assert_eq!(vote.receiptsRoot, receipts_root(&[]));
    }

    #[test]
    fn nothing_checked_or_two_with_one_key_is_no_vote() {
        let mut book = Book::default();
        book.apply(Record::Conflict { node: NODE, first: "a".into(), second: "b".into() });
        assert_eq!(vote(&book), None);
        book.apply(check(Work::Put, true, 9, 9));
        assert_eq!(vote(&book), None);
        assert_eq!(book.conflict(&NODE), Some(("a".into(), "b".into())));
        book = Book::default();
        book.apply(Record::Beacon { node: NODE, beacon: B256::ZERO, at: 0 });
        assert_eq!(vote(&book), None, "a beacon without a request asks for nothing");
    }
}
