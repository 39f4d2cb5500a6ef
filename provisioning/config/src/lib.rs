//! The node's configuration file: types, parser and its complaints.
//!
//! One TOML file, `node.toml`, is what a person writes on the partition ICN-SEED of a stick. Every
//! process of the node parses the same text with [`parse()`] and so sees the same configuration.
//!
//! A wrong file never stops a node. A section with a mistake is replaced by its safe default and
//! the mistake becomes a [`Problem`]; see [`parse()`] for what is safe.

mod nearest;
mod network;
mod parse;
mod pin;
mod proxy;
mod section;
pub mod seed;
pub mod settlement;
pub mod sla;
mod support;
mod value;

pub use network::{Bond, BondMode, IpNet, Network, Port, PortName, TIME_SERVERS, Vlan};
pub use parse::{
    MAX_NETWORK_TEXT, MAX_TEXT, answers_first_steps, load, parse, parse_bytes, parse_network,
};
pub use pin::{PinHash, SALT};
pub use proxy::{Direct, Proxy};
pub use support::{Recipient, Support};

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Where init puts the copy of the configuration that it found; every process reads it here.
/// Absent where none was found.
pub const PATH: &str = "/run/icn/seed/node.toml";

/// The directory of [`PATH`]: file names inside the configuration are relative to it.
pub const SEED_DIR: &str = "/run/icn/seed";

/// The version of the configuration this code reads.
pub const VERSION: u64 = 1;

/// The whole configuration, complete: what a file leaves out has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// `[node]`.
    pub node: Node,
    /// `[network]`.
    pub network: Network,
    /// `[disks]`.
    pub disks: Disks,
    /// `[s3]`.
    pub s3: S3,
    /// `[metrics]`.
    pub metrics: Metrics,
    /// `[sla]`; none where the node works for no network.
    pub sla: Option<sla::Sla>,
    /// `[settlement]`; none where the node does not look at the chain.
    pub settlement: Option<settlement::Settlement>,
    /// `[health]`.
    pub health: Health,
    /// `[support]`.
    pub support: Support,
    /// `[console]`.
    pub console: Console,
    /// `[log]`.
    pub log: Log,
}

/// `[node]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// `name`: host name, letters, digits and dashes, at most 63 characters.
    pub name: Option<String>,
    /// `region`: where the node stands, in the HP's words: 1 to 40 printable characters.
    pub region: Option<String>,
    /// `hardware_class`: what kind of machine it is, in the HP's words: 1 to 40 printable characters.
    pub hardware_class: Option<String>,
}

/// `[disks]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disks {
    /// `claim`: which disks are claimed without a question.
    pub claim: ClaimMode,
    /// `min_size`: smaller disks are refused, in bytes. Default [`MIN_DISK_SIZE`].
    pub min_size: u64,
    /// `replace_after`: how long a disk that is missing is waited for before what it held is made
    /// anew on the others. Default [`REPLACE_AFTER`].
    pub replace_after: Duration,
    /// `allow_removable`: serial numbers of USB, MMC or removable disks that may be claimed.
    pub allow_removable: Vec<String>,
}

/// The smallest disk that is claimed by default: 32 GB, above any boot stick or SATA DOM in use.
pub const MIN_DISK_SIZE: u64 = 32_000_000_000;

/// How long a missing disk is waited for by default: as long as a person needs who pulled the wrong
/// one.
pub const REPLACE_AFTER: Duration = Duration::from_secs(600);

/// `claim` of `[disks]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClaimMode {
    /// `"off"`: disks of ours are used, no other is claimed.
    Off,
    /// `"blank-only"`: disks proven blank are claimed.
    #[default]
    BlankOnly,
}

/// `[s3]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    /// `listen`: addresses and port of the service. Default `[::]:443`.
    pub listen: SocketAddr,
    /// `region`: default `us-east-1`.
    pub region: String,
    /// `domains`: names below which a bucket may stand as a host name (virtual-host style).
    pub domains: Vec<String>,
    /// `tls_certificate` and `tls_key`: PEM files beside the configuration. Default: self-signed,
    /// made at first boot.
    pub tls: Option<TlsFiles>,
    /// `[[s3.user]]`. Where none is given, the node makes one at first boot and the console shows
    /// it.
    pub users: Vec<User>,
}

/// A certificate chain and its key, as file names below [`SEED_DIR`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM chain, the node's own certificate first.
    pub certificate: String,
    /// PEM private key.
    pub key: String,
}

/// `[[s3.user]]`.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// `name`.
    pub name: String,
    /// `access_key`: 3 to 128 letters, digits, `-`, `_`, `.`.
    pub access_key: String,
    /// `secret_key`: 8 to 128 printable characters.
    pub secret_key: String,
}

/// `[metrics]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// `listen`: where the node's readings are served to whoever watches it; none where that is `"off"`.
    /// Default [`METRICS_LISTEN`].
    pub listen: Option<SocketAddr>,
}

/// Where readings are served by default: the node itself alone, as nobody is asked who he is.
pub const METRICS_LISTEN: SocketAddr =
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9100);

/// `[health]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// `drain`: whether a disk that is judged failing is emptied and taken out of the pool by itself. Default
    /// true.
    pub drain: bool,
}

/// `[console]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Console {
    /// `serial`: serial lines that carry a console beside tty1. Default `["ttyS0"]`.
    pub serial: Vec<String>,
    /// `pin_hash`: who may change something on a console.
    pub changes: Changes,
}

/// Who may change something on a console.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Changes {
    /// Whoever stands before it.
    #[default]
    Anybody,
    /// Whoever knows the PIN.
    Pin(PinHash),
    /// Nobody, as the file has a mistake that leaves open whether there is a PIN.
    Nobody,
}

/// `[log]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// `serial`: a serial line that gets every log line as plain text, such as `ttyS1`.
    pub serial: Option<String>,
}

/// One mistake in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1; 0 where the mistake has no place.
    pub line: usize,
    /// The key in question, such as `network.port.addresses`; empty for the whole file.
    pub key: String,
    /// What is wrong and what to write instead.
    pub message: String,
    /// What the node does meanwhile.
    pub consequence: String,
}

impl Problem {
    /// The problem in words where its text stands in `file`.
    #[must_use]
    pub fn told_of(&self, file: &str) -> String {
        let line = if self.line > 0 { format!(" line {}", self.line) } else { String::new() };
        let comma = if self.key.is_empty() { "" } else { ", " };
        let Self { key, message, consequence, .. } = self;
        format!("{file}{line}{comma}{key}: {message}; {consequence}")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told_of("node.toml"))
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

impl Default for Disks {
    fn default() -> Self {
        Self {
            claim: ClaimMode::default(),
            min_size: MIN_DISK_SIZE,
            replace_after: REPLACE_AFTER,
            allow_removable: Vec::new(),
        }
    }
}

impl Default for S3 {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), 443),
            region: "us-east-1".to_owned(),
            domains: Vec::new(),
            tls: None,
            users: Vec::new(),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self { listen: Some(METRICS_LISTEN) }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self { drain: true }
    }
}

impl Default for Console {
    fn default() -> Self {
        Self { serial: vec!["ttyS0".to_owned()], changes: Changes::Anybody }
    }
}
