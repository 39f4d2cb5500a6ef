//! How a node does with its SLA oracles. Part of version 1 of the wire form in [`crate::control`].

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a node does with its oracles.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlaStatus {
    /// Why it speaks with none yet, in words; none where it does.
    pub awaited: Option<String>,
    /// The era that it is; none before the first.
    pub era: Option<EraStatus>,
    /// The last report on the node's health; none before the first of this run.
    pub report: Option<ReportStatus>,
    /// Reports that are kept.
    pub spool: SpoolStatus,
    /// What is wrong with the node's own clock beside those of its oracles, in words.
    pub clock: Option<String>,
    /// Oracles and report stores, in the order of the configuration.
    pub peers: Vec<PeerStatus>,
}

/// An era.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EraStatus {
    /// Its number.
    pub era: u64,
    /// Seconds until it ends.
    pub ends_in_seconds: u64,
}

/// A report on the node's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportStatus {
    /// Its number.
    pub sequence: u64,
    /// Seconds since it was made.
    pub age_seconds: u64,
}

/// Reports and receipts that are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolStatus {
    /// Whether that is on a data volume; else a restart loses what was not delivered.
    pub on_disk: bool,
    /// Reports.
    pub reports: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Seconds since the oldest was made.
    pub oldest_age_seconds: Option<u64>,
    /// Receipts.
    pub receipts: u64,
}

/// An oracle or a report store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// What people call it.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// Its address on chain; none for a report store.
    pub address: Option<String>,
    /// How it goes between it and the node.
    pub link: Link,
    /// The same in words, with what to do.
    pub words: String,
    /// How far its clock is ahead, in milliseconds; none before it was measured.
    pub clock_ahead_ms: Option<i64>,
    /// The last report that it has.
    pub delivered: Option<u64>,
    /// Reports that wait for it.
    pub pending: u64,
    /// Its last receipt; none before the first that is kept.
    pub receipt: Option<ReceiptStatus>,
    /// Eras without a receipt from it since the agent was started.
    pub missed_eras: u64,
}

/// A receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptStatus {
    /// Of which era.
    pub era: u64,
    /// Whether everything that was asked for was proven.
    pub passed: bool,
    /// What the oracle measured: the median of its small reads in microseconds.
    pub latency_us: Option<u64>,
    /// What the oracle measured: the median of its large reads.
    pub bytes_per_second: Option<u64>,
    /// Why it was not passed, in words.
    pub reasons: Vec<String>,
}

/// How it goes between a node and an oracle, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// Not known yet.
    Connecting,
    /// As it should be.
    InSession,
    /// The oracle does not know the node's daemon address.
    NotAdmitted,
    /// The oracle goes by other parameters.
    OtherParameters,
    /// Two nodes speak with one key.
    Conflict,
    /// It does not answer, or not as it should.
    Unreachable,
    /// Another's certificate was shown.
    WrongCertificate,
    /// The clocks are too far apart.
    ClockSkew,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Connecting => "connecting",
            Self::InSession => "in session",
            Self::NotAdmitted => "not admitted",
            Self::OtherParameters => "other parameters",
            Self::Conflict => "conflict",
            Self::Unreachable => "unreachable",
            Self::WrongCertificate => "wrong certificate",
            Self::ClockSkew => "clock skew",
        })
    }
}
