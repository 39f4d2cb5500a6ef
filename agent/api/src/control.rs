//! What the agent can be asked on its control socket, and what it answers. Version 1 of the wire
//! form: `{"v":1,"request":"status"}` is answered by `{"v":1,"reply":"status", …}`.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::hardware::{HealthReport, Series, Stretch};
use crate::init::NETWORK_TEXT_MAX;
use crate::local::ResetScope;
use crate::network::{ClockReport, LookUpReport, PingReport};
use crate::pool::{BucketUse, PoolEvent, PoolStatus};
use crate::settlement::SettlementReport;
use crate::status::NodeStatus;
use crate::support::{Inventory, SupportWritten};

/// Where the agent listens. The socket's mode (0660, group `icn`) decides who may ask.
pub const SOCKET: &str = "/run/icn/agent.sock";

/// The version of the wire form of this module and of [`crate::status`].
pub const VERSION: u32 = 1;

/// The most log lines that one reply carries: several screens of the largest console, and at
/// [`LOG_LINE_MAX`] bytes each below [`REPLY_MAX`].
pub const LOG_LINES_MAX: u32 = 500;

/// Longer log lines are cut to this many bytes: more than five lines of a 132-column console.
pub const LOG_LINE_MAX: usize = 700;

/// The longest request line in bytes: settings of the network as JSON, where each line break and quote
/// takes two.
pub const REQUEST_MAX: usize = 2 * NETWORK_TEXT_MAX + 1024;

/// The longest reply line in bytes. A status with 1000 disks of 1 KiB each stays below it.
pub const REPLY_MAX: usize = 4 << 20;

/// A request or reply with the version it is written in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versioned<T> {
    /// [`VERSION`].
    pub v: u32,
    /// The request or reply.
    #[serde(flatten)]
    pub body: T,
}

impl<T> Versioned<T> {
    /// Marks `body` with the current version.
    pub fn current(body: T) -> Self {
        Self { v: VERSION, body }
    }
}

/// What the agent can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "request")]
pub enum Request {
    /// Asks for the state of the node.
    Status,
    /// Asks for the end of the log of all services.
    LogTail {
        /// How many lines; at most [`LOG_LINES_MAX`] are given.
        lines: u32,
    },
    /// Asks for the secret key of the user that the node made for itself at first boot. Apart
    /// from the status, so that it stands on a screen only while somebody asks for it.
    FirstUserSecret,
    /// Asks whether this is the PIN of the console. After three wrong ones the answer is a refusal for a
    /// while, which grows.
    CheckPin {
        /// What was typed.
        pin: Secret,
    },
    /// Asks for the state of the storage pool.
    PoolStatus,
    /// Asks for what happened to disks and data.
    PoolEvents {
        /// The last event that is known; 0 for all that are kept.
        since: u64,
    },
    /// Asks for what buckets hold and what was used of them, in the order of their numbers.
    BucketUsage {
        /// The number behind which to begin; none for the first.
        after: Option<u64>,
    },
    /// Takes a volume out of the pool in good order.
    RetireVolume {
        /// Its UUID.
        volume: String,
    },
    /// Keeps a volume that is being retired.
    CancelRetire {
        /// Its UUID.
        volume: String,
    },
    /// Gives a missing volume up for good.
    ForgetVolume {
        /// Its UUID.
        volume: String,
    },
    /// Makes the index anew from the volumes alone; nothing is served meanwhile.
    RebuildIndex,
    /// Asks for the verdicts on the node's hardware.
    Health,
    /// Asks which series have a history.
    HealthSeries,
    /// Asks for a stretch of the history of a series.
    HealthHistory {
        /// Its name with its labels.
        series: String,
        /// From when, in milliseconds since 1970.
        from_ms: u64,
        /// Until when.
        to_ms: u64,
        /// How fine, in milliseconds from one point to the next. What is older may be coarser.
        step_ms: u64,
    },
    /// Switches the locate LED of a disk's slot.
    Locate {
        /// The disk's lasting name, as in the disk report.
        disk: String,
        /// Whether it is to be lit.
        on: bool,
    },
    /// Asks for what the node earned, and what its HP has to sign.
    Settlement,
    /// Asks for the receipts of challenges of an era that the node keeps for disputes.
    Receipts {
        /// Which era.
        era: u64,
    },
    /// Sets the network up by other settings, for 120 s unless they are confirmed.
    TryNetwork {
        /// A section `[network]` as in node.toml, at most [`NETWORK_TEXT_MAX`].
        text: String,
    },
    /// Keeps the settings that are tried: in the node's record too, once there is one.
    ConfirmNetwork,
    /// Takes the settings back that are tried.
    RevertNetwork,
    /// Sets the network up by node.toml again.
    ResetNetwork,
    /// Asks a machine for echoes.
    Ping {
        /// Its name or address.
        host: String,
    },
    /// Looks a name up by the name servers in use.
    LookUp {
        /// The name.
        name: String,
    },
    /// Compares the clock with the time servers.
    ClockTest,
    /// Claims a disk that was not proven blank: what is on it is erased, a minute later unless it is taken back.
    ClaimDisk {
        /// The disk's lasting name, as in the disk report.
        disk: String,
        /// The last [`crate::local::SERIAL_END`] characters of its serial number, as somebody typed them.
        serial_end: String,
    },
    /// Takes a claim by hand back while it waits, and forgets one that failed.
    UndoClaim {
        /// The disk's lasting name.
        disk: String,
    },
    /// Sets the PIN of the console, which the node's disks keep, or takes it away. One in node.toml wins.
    SetPin {
        /// The digits; none for no PIN.
        pin: Option<Secret>,
    },
    /// Says that the first steps are done, and keeps it on the node's disks.
    FinishSetUp,
    /// Asks for the words from which the daemon key can be made again.
    RecoveryWords,
    /// Gives a node the daemon key of these words, where it has none of its own in use.
    RestoreKey {
        /// The words with blanks between them.
        words: Secret,
    },
    /// Makes the node new: see [`ResetScope`]. The machine restarts afterwards.
    FactoryReset {
        /// What goes too.
        scope: ResetScope,
        /// The last six characters of the node's id, as somebody typed them.
        node_end: String,
    },
    /// Asks for what the node is made of.
    Inventory,
    /// Writes a support bundle, encrypted to the recipients of node.toml, to the stick that is labelled for it.
    WriteSupport,
    /// Asks init to stop every service and power off.
    PowerOff,
    /// Asks init to stop every service and restart the machine.
    Reboot,
}

/// What the agent answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reply")]
pub enum Reply {
    /// To [`Request::Status`].
    Status(Box<NodeStatus>),
    /// To [`Request::LogTail`].
    LogTail {
        /// Newest last, each at most [`LOG_LINE_MAX`] bytes.
        lines: Vec<String>,
    },
    /// To [`Request::FirstUserSecret`].
    FirstUserSecret {
        /// The secret key.
        secret_key: Secret,
    },
    /// To [`Request::PoolStatus`].
    PoolStatus(Box<PoolStatus>),
    /// To [`Request::PoolEvents`].
    PoolEvents {
        /// The oldest first.
        events: Vec<PoolEvent>,
    },
    /// To [`Request::BucketUsage`].
    BucketUsage {
        /// In the order of names.
        buckets: Vec<BucketUse>,
        /// Whether there are more behind them.
        more: bool,
    },
    /// To [`Request::Health`].
    Health(Box<HealthReport>),
    /// To [`Request::HealthSeries`].
    HealthSeries {
        /// In order of their names.
        series: Vec<Series>,
    },
    /// To [`Request::HealthHistory`].
    HealthHistory(Box<Stretch>),
    /// To [`Request::Settlement`].
    Settlement(Box<SettlementReport>),
    /// To [`Request::Receipts`].
    Receipts {
        /// In the form of agent-sla (`KeptReceipt`), at most one of each oracle.
        receipts: Vec<serde_json::Value>,
    },
    /// To [`Request::Ping`].
    Ping(PingReport),
    /// To [`Request::LookUp`].
    LookUp(LookUpReport),
    /// To [`Request::ClockTest`].
    ClockTest(Box<ClockReport>),
    /// To [`Request::RecoveryWords`].
    RecoveryWords {
        /// [`crate::local::RECOVERY_WORDS`] words with blanks between them.
        words: Secret,
    },
    /// To [`Request::Inventory`].
    Inventory(Box<Inventory>),
    /// To [`Request::WriteSupport`].
    SupportWritten(SupportWritten),
    /// To all requests that change something: it is decided, and being carried out.
    Accepted,
    /// The request was refused or could not be carried out.
    Refused {
        /// Why, and what to do, in words.
        reason: String,
    },
}

/// A text that is wiped from memory when dropped and never printed by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub Zeroizing<String>);

impl Secret {
    /// Takes over `text`.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_keep_their_wire_form() {
        let line = |request| serde_json::to_string(&Versioned::current(request)).expect("JSON");
        assert_eq!(line(Request::Status), r#"{"v":1,"request":"status"}"#);
        assert_eq!(
            line(Request::LogTail { lines: 5 }),
            r#"{"v":1,"request":"log_tail","lines":5}"#
        );
        assert_eq!(line(Request::FirstUserSecret), r#"{"v":1,"request":"first_user_secret"}"#);
        assert_eq!(line(Request::PowerOff), r#"{"v":1,"request":"power_off"}"#);
        assert_eq!(
            line(Request::Locate { disk: "wwn-0x5".to_owned(), on: true }),
            r#"{"v":1,"request":"locate","disk":"wwn-0x5","on":true}"#
        );
    }

    #[test]
    fn a_status_comes_back_as_it_was_sent() {
        let reply = Versioned::current(Reply::Status(Box::default()));
        let line = serde_json::to_string(&reply).expect("JSON");
        assert!(line.starts_with(r#"{"v":1,"reply":"status","version":"#), "{line}");
        assert_eq!(serde_json::from_str::<Versioned<Reply>>(&line).expect("a reply"), reply);
    }

    #[test]
    fn a_secret_is_never_printed_for_debugging() {
        let request = Request::CheckPin { pin: Secret::new("2580".to_owned()) };
        assert!(!format!("{request:?}").contains("2580"));
        let reply = Reply::FirstUserSecret { secret_key: Secret::new("hunter2".to_owned()) };
        assert!(!format!("{reply:?}").contains("hunter2"));
    }
}
