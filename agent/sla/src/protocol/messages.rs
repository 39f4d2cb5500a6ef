//! The requests and answers on the wire: JSON over HTTP/1.1 over TLS 1.3, where the node shows a
//! certificate that a session binds to its daemon key.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET /v1/parameters` | | [`Hello`] |
//! | `POST /v1/sessions` | [`OpenSession`] | [`SessionOpened`] |
//! | `POST /v1/reports` | [`DeliverReports`] | [`ReportsTaken`] |
//! | `POST /v1/challenges` | [`Signed<ChallengeRequest>`](ChallengeRequest) | [`Challenge`] |
//! | `POST /v1/challenges/{digest of the request}` | [`ChallengeAnswer`] | [`Receipt`] |
//! | `GET /v1/votes?era=N` | | a list of [`Signed<SlaVote>`](super::signed::SlaVote) |
//! | `GET /v1/votes?era=N&after=NODE` | | the same from behind a node id on |
//!
//! Votes come in the order of their node ids, as many as [`ANSWER_MAX`] leaves room for; the rest behind the
//! last one. The list is empty before the era is closed, and behind its last node.
//!
//! What anyone may read beside that is in [`settled`](super::settled). Everything but 200 carries a [`Refusal`].

use alloy::primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use super::parameters::{Era, Parameters};
use super::report::SentReport;
use super::settled::SignedBinding;
use super::signed::{ChallengeReceipt, ChallengeRequest, Session, Signed};

/// The longest body of a request in bytes: 512 samples of 16 KiB with their ways in base64 are some 13 MiB.
pub const REQUEST_MAX: usize = 16 << 20;

/// The longest body of an answer in bytes.
pub const ANSWER_MAX: usize = 1 << 20;

/// The most reports that are delivered at once.
pub const REPORTS_MAX: usize = 64;

/// How far two clocks may be apart, in milliseconds, before the oracle refuses what the node says of
/// time. A node is warned from 1 s on.
pub const SKEW_MAX_MS: u64 = 60_000;

/// Who an oracle is and what it goes by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its address: whose signature its receipts carry.
    pub oracle: Address,
    /// What it goes by.
    pub parameters: Parameters,
    /// Its clock, in milliseconds since 1970.
    pub oracle_time: u64,
}

/// Begins a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSession {
    /// Signed by the daemon key.
    pub session: Signed<Session>,
    /// Where the oracle reads and writes as an S3 tenant; none while the node serves no S3.
    pub s3: Option<S3Access>,
    /// The daemon key's own word on whose it is, for the HP to fetch; none where the node names no HP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<SignedBinding>,
}

/// How an oracle uses the node's S3.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3Access {
    /// URLs, the best first.
    pub endpoints: Vec<String>,
    /// SHA-256 of the certificate in DER; none for plain HTTP.
    pub certificate: Option<B256>,
    /// The region that requests are signed for.
    pub region: String,
    /// The oracle's access key.
    pub access_key: String,
    /// The oracle's secret key.
    pub secret_key: String,
}

impl std::fmt::Debug for S3Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { endpoints, access_key, .. } = self;
        f.debug_struct("S3Access")
            .field("endpoints", endpoints)
            .field("access_key", access_key)
            .finish_non_exhaustive()
    }
}

/// A session is open. Requests with the same certificate belong to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOpened {
    /// The last report that the oracle has of this node; none if it has none.
    pub delivered: Option<u64>,
    /// The oracle's clock, in milliseconds since 1970.
    pub oracle_time: u64,
}

/// Reports, in the order of their sequence.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeliverReports {
    /// At most [`REPORTS_MAX`].
    pub reports: Vec<SentReport>,
}

/// What of the reports is on the oracle's stable storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportsTaken {
    /// The last one.
    pub delivered: u64,
}

/// What a node is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// The EIP-712 digest of the node's request.
    pub request: B256,
    /// What the questions are drawn from ([`positions`](super::sampling::positions)).
    pub beacon: B256,
    /// How long the node has to answer, in milliseconds.
    pub answer_within_ms: u64,
}

/// What a node proves, in the order of the questions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChallengeAnswer {
    /// One for each question.
    pub samples: Vec<Sample>,
}

/// The answer to one question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "sample")]
pub enum Sample {
    /// The byte is there.
    Proven {
        /// The object, and its way to the data root: base64.
        member: String,
        /// Its group, and its way to the object's root: base64.
        slice: String,
    },
    /// The object was replaced or deleted since the data root was made.
    Gone {
        /// The object, and its way to the data root: base64.
        member: String,
    },
    /// The node cannot answer.
    Failed {
        /// Why, in words.
        reason: String,
    },
}

/// What the oracle found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Signed by the oracle.
    pub receipt: Signed<ChallengeReceipt>,
    /// Why it is not passed, in words; empty if it is.
    pub reasons: Vec<String>,
}

/// A receipt with the request it answers: what a node keeps for disputes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptReceipt {
    /// Which oracle.
    pub oracle: Address,
    /// Which era.
    pub era: Era,
    /// Signed by the daemon key.
    pub request: Signed<ChallengeRequest>,
    /// Signed by the oracle.
    pub receipt: Signed<ChallengeReceipt>,
}

/// Why an oracle does not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "refusal")]
pub enum Refusal {
    /// The daemon address is on no list.
    #[error("{daemon} is not admitted: register it with this oracle")]
    NotAdmitted {
        /// The address.
        daemon: Address,
    },
    /// No session is open for this certificate, or another one took its place.
    #[error("no session is open")]
    NoSession,
    /// Two processes speak with one daemon key.
    #[error(
        "two nodes speak with one daemon key, from {first} and from {second}: the era does not count; \
         switch one of them off, or revoke the key"
    )]
    Conflict {
        /// Where one of them speaks from.
        first: String,
        /// Where the other does.
        second: String,
    },
    /// The oracle goes by other parameters.
    #[error("the oracle goes by other parameters")]
    OtherParameters,
    /// Clocks are too far apart.
    #[error("the clocks are {skew_ms} ms apart (the node's is ahead if positive)")]
    Skew {
        /// How far.
        skew_ms: i64,
    },
    /// It is of another era than the one that is now.
    #[error("era {asked} is not era {now}, which it is here")]
    WrongEra {
        /// The era asked about.
        asked: Era,
        /// The era that it is by the oracle's clock.
        now: Era,
    },
    /// It was asked and answered before.
    #[error("a challenge of this era was answered before")]
    Replayed,
    /// The time to answer is over.
    #[error("the answer came too late")]
    TooLate,
    /// What was sent is not what it should be.
    #[error("not understood: {reason}")]
    Malformed {
        /// Why, in words.
        reason: String,
    },
    /// A signature does not fit.
    #[error("the signature does not fit: {reason}")]
    BadSignature {
        /// Why, in words.
        reason: String,
    },
    /// There is none of what was asked for.
    #[error("there is no {what} here")]
    Unknown {
        /// What, in words.
        what: String,
    },
    /// The oracle cannot, for now.
    #[error("the oracle is busy or cannot write; try again in {retry_after_ms} ms")]
    Busy {
        /// When to try again.
        retry_after_ms: u64,
    },
}

impl Refusal {
    /// Whether the same request may be taken later, without anything else being changed.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::NoSession | Self::Busy { .. } | Self::WrongEra { .. } | Self::Skew { .. } => true,
            Self::NotAdmitted { .. }
            | Self::Conflict { .. }
            | Self::OtherParameters
            | Self::Replayed
            | Self::TooLate
            | Self::Malformed { .. }
            | Self::Unknown { .. }
            | Self::BadSignature { .. } => false,
        }
    }
}
