//! `[sla]`: what the network that a node works for goes by, and its oracles.

use std::time::Duration;

/// `[sla]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sla {
    /// `chain`: the chain that is settled on (EIP-155).
    pub chain: u64,
    /// `contract`: the contract that settles.
    pub contract: [u8; 20],
    /// `genesis`: when era 0 begins, in seconds since 1970.
    pub genesis: u64,
    /// `era`: how long an era is. Default [`ERA`].
    pub era: Duration,
    /// `samples`: bytes that each oracle asks for in each challenge. Default [`SAMPLES`].
    pub samples: u16,
    /// `report_every`: how often the node reports its health. Default [`REPORT_EVERY`].
    pub report_every: Duration,
    /// `s3_endpoint`: where oracles reach the node's S3; none where that is by the node's own addresses.
    pub s3_endpoint: Option<String>,
    /// `[[sla.oracle]]`.
    pub oracles: Vec<Oracle>,
    /// `[[sla.report_store]]`.
    pub report_stores: Vec<ReportStore>,
}

/// How long an era is by default: about an hour, as ICN documents it.
pub const ERA: Duration = Duration::from_secs(3600);

/// Bytes that each oracle asks for by default: with three oracles 460 in all, which find a loss of 1% with
/// a chance of 99%.
pub const SAMPLES: u16 = 154;

/// How often the node reports its health by default.
pub const REPORT_EVERY: Duration = Duration::from_secs(300);

/// `[[sla.oracle]]`: who measures the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oracle {
    /// `name`: how the node calls it.
    pub name: String,
    /// `url`: `https://`, host, port.
    pub url: String,
    /// `address`: whose signatures its receipts carry.
    pub address: [u8; 20],
    /// `certificate`: SHA-256 of its TLS certificate in DER.
    pub certificate: [u8; 32],
}

/// `[[sla.report_store]]`: who keeps the node's reports beside the oracles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportStore {
    /// `name`: how the node calls it.
    pub name: String,
    /// `url`: `https://`, host, port.
    pub url: String,
    /// `certificate`: SHA-256 of its TLS certificate in DER.
    pub certificate: [u8; 32],
}
