//! What is kept of one node.

use std::collections::VecDeque;
use std::sync::Arc;

use agent_sla::protocol::B256;
use agent_sla::protocol::messages::S3Access;
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::signed::PASSED;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Semaphore};

use super::Standing;
use crate::limits::Bucket;
use crate::log::Place;
use crate::record::Canary;
use crate::tally::{Readings, Tally};

/// Eras that the page shows of a node: a day of eras of an hour.
pub const HISTORY_MAX: usize = 24;

/// Canaries of a node that are remembered: those of the eras that are kept, and some that could not be
/// deleted yet.
pub const CANARIES_MAX: usize = 32;

/// Requests of a node at once: reports on one connection, a challenge on another, and one whose
/// connection broke. So no node takes more than three bodies' memory.
pub const ROOMS: usize = 3;

/// What is kept of one node.
#[derive(Debug)]
pub struct Node {
    /// Its id.
    pub id: B256,
    /// Who speaks for it.
    pub standing: Standing,
    /// Held while one of its requests is dealt with: they are dealt with one after the other.
    pub gate: Arc<Mutex<()>>,
    /// Its requests that are received or dealt with at once.
    pub rooms: Arc<Semaphore>,
    /// How often it may ask.
    pub bucket: Bucket,
    /// When it spoke last, in milliseconds since 1970; 0 for not since the oracle was started.
    pub seen_at: u64,
    /// How the oracle reads and writes as a tenant.
    pub s3: Option<S3Access>,
    /// Its reports.
    pub delivery: Delivery,
    /// Canaries that it has, the oldest first.
    pub canaries: Vec<Canary>,
    /// What the oracle read since the last receipt.
    pub since_receipt: Readings,
    /// The last eras, the newest first.
    pub history: VecDeque<EraSummary>,
    /// The last era whose reads and writes are scheduled.
    pub planned: Option<Era>,
}

/// The reports of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The last one that is on stable storage.
    pub delivered: Option<u64>,
    /// What it says.
    pub head: Option<ReportHead>,
}

/// What is kept in memory of a node's last report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportHead {
    /// Its number.
    pub sequence: u64,
    /// When it was taken, by the node's clock.
    pub taken_at: u64,
    /// When it came, by the oracle's clock.
    pub received_at: u64,
    /// How the node says that it does, in one word.
    pub state: String,
    /// Verdicts in it that are not healthy.
    pub verdicts: u32,
    /// Where it lies.
    pub place: Place,
}

/// An era of a node, as the page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EraSummary {
    /// Which.
    pub era: Era,
    /// Checks.
    pub issued: u32,
    /// Those passed.
    pub passed: u32,
    /// Median latency in microseconds; 0 for none.
    pub latency_us: u64,
    /// Median bytes per second; 0 for none.
    pub bytes_per_second: u64,
    /// Whether the challenge was passed; none where it was not answered.
    pub receipt: Option<bool>,
    /// Bytes that were proven.
    pub proven_bytes: u64,
    /// From where two spoke with one key.
    pub conflict: Option<(String, String)>,
    /// Whether there is a vote.
    pub has_vote: bool,
}

impl EraSummary {
    /// What a tally comes to.
    #[must_use]
    pub fn of(era: Era, tally: &Tally) -> Self {
        let (latency_us, bytes_per_second) = tally.readings.medians();
        let receipt = tally.challenge.as_ref().and_then(|opened| opened.receipt.as_ref());
        Self {
            era,
            issued: tally.issued,
            passed: tally.passed,
            latency_us,
            bytes_per_second,
            receipt: receipt.map(|found| found.receipt.message.result == PASSED),
            proven_bytes: tally.proven_bytes,
            conflict: tally.conflict.clone(),
            has_vote: tally.vote.is_some(),
        }
    }
}

impl Node {
    /// One that nothing is known of.
    #[must_use]
    pub fn new(id: B256, now_ms: u64) -> Self {
        Self {
            id,
            standing: Standing::default(),
            gate: Arc::default(),
            rooms: Arc::new(Semaphore::new(ROOMS)),
            bucket: Bucket::full(now_ms),
            seen_at: 0,
            s3: None,
            delivery: Delivery::default(),
            canaries: Vec::new(),
            since_receipt: Readings::default(),
            history: VecDeque::new(),
            planned: None,
        }
    }

    /// A canary is there.
    pub fn wrote(&mut self, canary: Canary) {
        if !self.canaries.contains(&canary) {
            self.canaries.push(canary);
            self.canaries.sort_unstable();
        }
        if self.canaries.len() > CANARIES_MAX {
            self.canaries.remove(0);
        }
    }

    /// Adds an era that is over.
    pub fn remember(&mut self, summary: EraSummary) {
        self.history.retain(|known| known.era != summary.era);
        let newer = self.history.iter().take_while(|known| known.era > summary.era).count();
        self.history.insert(newer, summary);
        self.history.truncate(HISTORY_MAX);
    }
}
