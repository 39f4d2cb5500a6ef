//! What a node says of its own health. Two parts with a hash each, which the signature covers: the
//! facts, which are kept whatever happens, and the detail, which is left out where room is short.

use agent_health::Verdict;
use alloy::primitives::{B256, keccak256};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::signed::{HealthReport, Signed};

/// The version of the forms of this module.
pub const VERSION: u32 = 1;

/// The longest facts in bytes: verdicts on 1,000 components of 500 bytes each are below.
pub const FACTS_MAX: usize = 512 << 10;

/// The longest detail in bytes.
pub const DETAIL_MAX: usize = 1 << 20;

/// What is kept whatever happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// [`VERSION`].
    pub version: u32,
    /// Always true: the node says this of itself. What oracles measured is in their votes.
    pub self_reported: bool,
    /// The report before this one; none for the first that the node remembers.
    pub previous: Option<u64>,
    /// The node's software.
    pub software: String,
    /// Seconds since the machine was started, by a clock that nobody sets.
    pub uptime_seconds: u64,
    /// How the node does, in one word, as on its console.
    pub state: String,
    /// Whether the node's clock is kept by a time daemon; none where it is not known.
    pub clock_synchronised: Option<bool>,
    /// Space for objects.
    pub capacity: Option<Capacity>,
    /// Verdicts that are not `healthy`.
    pub verdicts: Vec<Verdict>,
    /// How many components are healthy.
    pub healthy: u32,
}

/// Space for objects, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// All of it.
    pub total: u64,
    /// What is taken.
    pub used: u64,
}

/// What is left out where room is short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    /// [`VERSION`].
    pub version: u32,
    /// Every reading at the time of the report.
    pub readings: Vec<Reading>,
}

/// One reading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Its name, with labels as OpenMetrics writes them: `disk_temperature_celsius{disk="…"}`.
    pub series: String,
    /// The value.
    pub value: f64,
}

/// A report as it is kept and sent. Its parts are the bytes that were hashed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SentReport {
    /// What was signed.
    pub signed: Signed<HealthReport>,
    /// JSON of [`Facts`].
    pub facts: Box<RawValue>,
    /// JSON of [`Detail`]; none where it was left out.
    pub detail: Option<Box<RawValue>>,
}

/// Why a report is not what was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// The facts have another hash.
    #[error("the facts are not those that were signed")]
    Facts,
    /// The detail has another hash.
    #[error("the detail is not what was signed")]
    Detail,
    /// A part is longer than it may be.
    #[error("{part}: {found} bytes, more than {limit}")]
    TooLong {
        /// Which.
        part: &'static str,
        /// Its length.
        found: usize,
        /// What it may have.
        limit: usize,
    },
    /// The facts do not have the form of facts.
    #[error("the facts cannot be read: {0}")]
    Form(String),
}

/// The hash of a part, over its bytes.
#[must_use]
pub fn hash(part: &RawValue) -> B256 {
    keccak256(part.get().as_bytes())
}

impl SentReport {
    /// The facts, if both parts are what was signed. Says nothing of who signed.
    ///
    /// # Errors
    /// They are not, or too long.
    pub fn facts(&self) -> Result<Facts, ReportError> {
        within("facts", &self.facts, FACTS_MAX)?;
        if hash(&self.facts) != self.signed.message.factsHash {
            return Err(ReportError::Facts);
        }
        if let Some(detail) = &self.detail {
            within("detail", detail, DETAIL_MAX)?;
            if hash(detail) != self.signed.message.detailHash {
                return Err(ReportError::Detail);
            }
        }
        serde_json::from_str(self.facts.get()).map_err(|error| ReportError::Form(error.to_string()))
    }
}

fn within(part: &'static str, value: &RawValue, limit: usize) -> Result<(), ReportError> {
    match value.get().len() {
        found if found > limit => Err(ReportError::TooLong { part, found, limit }),
        _ => Ok(()),
    }
}
