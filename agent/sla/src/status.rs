//! How the SLA of a node does: for the control socket and the console.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::protocol::parameters::Era;
use crate::protocol::{Address, B256};

/// How the SLA of a node does. Times are in milliseconds since 1970 by the node's clock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlaStatus {
    /// Whose signatures the node's messages carry; none before it runs.
    pub daemon: Option<Address>,
    /// The era that it is; none before the first.
    pub era: Option<EraStatus>,
    /// The last report; none before the first of this process.
    pub report: Option<ReportStatus>,
    /// Where reports wait.
    pub spool: SpoolStatus,
    /// What is wrong with the node's own clock, in words.
    pub clock: Option<String>,
    /// Oracles and report stores, in the order of the configuration.
    pub peers: Vec<PeerStatus>,
}

/// An era.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EraStatus {
    /// Its number.
    pub era: Era,
    /// When it begins.
    pub begins: u64,
    /// When it ends.
    pub ends: u64,
}

/// A report that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportStatus {
    /// Its number.
    pub sequence: u64,
    /// When it was taken.
    pub taken_at: u64,
}

/// Where reports and receipts are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// In memory, as there is no data volume: what is not delivered is lost with the process.
    #[default]
    InMemory,
    /// On a data volume.
    OnDisk,
}

/// What waits to be delivered, or was delivered and is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolStatus {
    /// Where.
    pub kept: Kept,
    /// How many reports.
    pub reports: u64,
    /// How many bytes they take.
    pub bytes: u64,
    /// When the oldest was taken.
    pub oldest: Option<u64>,
    /// How many receipts.
    pub receipts: u64,
}

/// How an oracle or a report store does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// What people call it.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// Its address; none for a report store.
    pub address: Option<Address>,
    /// How it goes between it and the node.
    pub link: LinkState,
    /// How far its clock is ahead, in milliseconds; none before it was measured.
    pub clock_ahead_ms: Option<i64>,
    /// The last report that it has.
    pub delivered: Option<u64>,
    /// How many reports wait for it.
    pub pending: u64,
    /// The last receipt from it; none before the first that is kept.
    pub receipt: Option<ReceiptStatus>,
    /// Eras without a receipt from it since the process began, while the node ran.
    pub missed_eras: u64,
    /// Receipts from it that were refused since the process began.
    pub refused_receipts: u64,
}

/// A receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptStatus {
    /// Of which era.
    pub era: Era,
    /// Whether the challenge was passed.
    pub passed: bool,
    /// What the oracle measured: the median of its small reads; none if there were none.
    pub latency_us: Option<u64>,
    /// What the oracle measured: the median of its large reads; none if there were none.
    pub bytes_per_second: Option<u64>,
    /// Why it was not passed, in words.
    pub reasons: Vec<String>,
}

/// How it goes between a node and an oracle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum LinkState {
    /// Not yet known.
    Connecting,
    /// Everything is as it should be.
    InSession {
        /// Since when.
        since: u64,
    },
    /// The node's daemon address is on no list of the oracle.
    NotAdmitted {
        /// The address to register.
        daemon: Address,
    },
    /// The oracle goes by other parameters.
    OtherParameters {
        /// In what they differ, in words.
        differences: Vec<String>,
    },
    /// Two nodes speak with one key.
    Conflict {
        /// Where one of them speaks from.
        first: String,
        /// Where the other does.
        second: String,
    },
    /// It does not answer, or not as it should.
    Unreachable {
        /// Since when.
        since: u64,
        /// Why, in words.
        why: String,
    },
    /// Another's certificate was shown: nothing was sent.
    WrongCertificate {
        /// SHA-256 of the one that is configured.
        expected: B256,
        /// SHA-256 of the one that was shown.
        found: B256,
    },
    /// The clocks are too far apart.
    ClockSkew {
        /// Milliseconds that the node's clock is ahead; below 0 if it is behind.
        ms: i64,
    },
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("connecting"),
            Self::InSession { .. } => f.write_str("in session"),
            Self::NotAdmitted { daemon } => {
                write!(f, "not admitted: register {daemon} with this oracle")
            }
            Self::OtherParameters { differences } => {
                write!(f, "goes by other parameters: {}", differences.join("; "))
            }
            Self::Conflict { first, second } => write!(
                f,
                "two nodes speak with one daemon key, from {first} and from {second}: switch one \
                 of them off, or revoke the key"
            ),
            Self::Unreachable { why, .. } => write!(f, "unreachable: {why}"),
            Self::WrongCertificate { expected, found } => {
                write!(f, "shows another certificate: {found}, not {expected}; nothing was sent")
            }
            Self::ClockSkew { ms } => {
                let way = if *ms < 0 { "behind" } else { "ahead" };
                write!(
                    f,
                    "the node's clock is {} ms {way} of its clock: too far",
                    ms.unsigned_abs()
                )
            }
        }
    }
}
