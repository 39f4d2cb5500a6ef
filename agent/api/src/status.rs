//! The state of a node as the console shows it. Part of version 1 of the wire form in
//! [`crate::control`].

use std::fmt;

use agent_health::{ClockReading, MemoryReading};
use disk_manager_plan::report::{Bytes, DiskReport};
use serde::{Deserialize, Serialize};

use crate::init::SystemStatus;
use crate::settlement::SettlementSummary;
use crate::sla::SlaStatus;

/// Everything the agent knows about its node at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The agent's version.
    pub version: String,
    /// The node's id; `None` until the first disk is claimed.
    pub node_id: Option<String>,
    /// Host name.
    pub name: String,
    /// How the node does.
    pub state: NodeState,
    /// Seconds since the machine was started.
    pub uptime_seconds: u64,
    /// The system as init sees it; `None` while init does not answer.
    pub system: Option<SystemStatus>,
    /// The disks; `None` while icn-disks does not answer.
    pub disks: Option<DiskReport>,
    /// What the object store does with each data volume.
    pub volumes: Vec<VolumeUse>,
    /// Where disks are, as far as enclosures tell.
    #[serde(default)]
    pub slots: Vec<DiskSlot>,
    /// Space for objects; `None` while no volume is in use.
    pub capacity: Option<Capacity>,
    /// The S3 service.
    pub s3: S3Status,
    /// The node's address on chain, `0x` and 40 hex digits; `None` until it has its daemon key.
    pub daemon: Option<String>,
    /// Its SLA oracles; `None` where the configuration names no network.
    pub sla: Option<SlaStatus>,
    /// What it earned; `None` where the configuration has no `[settlement]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settlement: Option<SettlementSummary>,
    /// The system clock.
    pub clock: ClockReading,
    /// Main memory.
    pub memory: MemoryReading,
    /// Who may change something on a console.
    #[serde(default)]
    pub console: ConsoleChanges,
    /// Whether somebody went through the first steps, or node.toml makes them needless.
    #[serde(default)]
    pub set_up: bool,
    /// Where the node stands, as node.toml says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Its class of hardware, as node.toml says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware_class: Option<String>,
    /// How many keys can open a support bundle of this node: none, and none is written.
    #[serde(default)]
    pub support_recipients: u32,
    /// Whether settings of the network other than those of node.toml are kept on the node's disks. Where they
    /// are in effect and not kept, they end with the next restart of the machine.
    #[serde(default)]
    pub network_kept: bool,
    /// What deserves attention, most severe first.
    pub problems: Vec<Problem>,
}

/// Who may change something on a console.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsoleChanges {
    /// Whoever stands before it.
    #[default]
    Anybody,
    /// Whoever knows the PIN, which [`crate::control::Request::CheckPin`] checks.
    Pin,
    /// Nobody, as node.toml has a mistake that leaves open whether there is a PIN.
    Nobody,
}

/// How a node does: one word, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// The word.
    pub word: StateWord,
    /// Why, as a sentence for a technician.
    pub why: String,
}

/// How a node does, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateWord {
    /// On its way; nothing is wrong yet.
    Starting,
    /// Serves objects from every disk it knows.
    Ready,
    /// Serves objects, but something needs attention.
    Degraded,
    /// Serves no objects.
    Unavailable,
    /// Finishing the requests under way.
    Stopping,
}

/// The slot of an enclosure that a disk is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskSlot {
    /// The disk's lasting name.
    pub disk: String,
    /// The enclosure's address.
    pub enclosure: String,
    /// What the enclosure calls the slot.
    pub slot: String,
}

/// One data volume in the object store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeUse {
    /// The volume's UUID, as in the disk report.
    pub id: String,
    /// Whether objects live on it.
    #[serde(flatten)]
    pub state: VolumeState,
}

/// Whether objects live on a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum VolumeState {
    /// Being read in.
    Attaching,
    /// In use.
    Attached,
    /// In use; takes nothing new, and what it holds is moved to others.
    Retiring,
    /// Nothing is on it any more: the disk may be taken out.
    Retired,
    /// The object store could not take it.
    Failed {
        /// Why, and what to do, in words.
        reason: String,
    },
}

/// Space on all volumes in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// All of it.
    pub total: Bytes,
    /// What is taken.
    pub used: Bytes,
}

/// The S3 service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3Status {
    /// Whether it listens.
    pub state: S3State,
    /// URLs to reach it by, one per address of the node.
    pub endpoints: Vec<String>,
    /// Its certificate; `None` where it serves plain HTTP.
    pub tls: Option<TlsStatus>,
    /// Who may use it.
    pub credentials: Credentials,
}

/// Whether the S3 service listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "s3")]
pub enum S3State {
    /// Not yet.
    Starting,
    /// It accepts connections.
    Listening,
    /// It cannot listen; tried again from time to time.
    NotListening {
        /// Why, and what to do, in words.
        reason: String,
    },
}

/// The certificate of the S3 service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsStatus {
    /// SHA-256 of the certificate in DER, as 32 upper-case hex pairs between colons.
    pub fingerprint: String,
    /// Where it comes from.
    pub origin: CertificateOrigin,
    /// The day it expires, such as `2036-03-01`, or `never`.
    pub expires: String,
}

/// Where a certificate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateOrigin {
    /// Given in the seed.
    Seed,
    /// Made by this node at first boot and kept on its data volumes.
    SelfSigned,
    /// Made by this node for this run only, as no data volume is there to keep one.
    Temporary,
}

/// Who may use the S3 service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "credentials")]
pub enum Credentials {
    /// The users of the configuration.
    Configured {
        /// How many.
        users: u32,
    },
    /// The user that the node made for itself at first boot; its secret key has a request of its
    /// own, [`crate::control::Request::FirstUserSecret`].
    FirstUser {
        /// User name.
        name: String,
        /// Access key.
        access_key: String,
    },
    /// None yet.
    Awaited {
        /// What is missing before there is one, in words.
        reason: String,
    },
}

/// Something that deserves attention.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about, such as `disks` or `clock`.
    pub about: String,
    /// What is wrong and what to do, in words.
    pub text: String,
}

/// How bad a problem is, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Objects cannot be served, or not all of them.
    Error,
    /// Something will fail or already does for some.
    Warning,
}

impl fmt::Display for StateWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Unavailable => "unavailable",
            Self::Stopping => "stopping",
        })
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// An agent that has just started and knows nothing yet.
impl Default for NodeStatus {
    fn default() -> Self {
        let unknown = || "not read yet".to_owned();
        Self {
            version: String::new(),
            node_id: None,
            name: String::new(),
            state: NodeState {
                word: StateWord::Starting,
                why: "the agent has just started".to_owned(),
            },
            uptime_seconds: 0,
            system: None,
            disks: None,
            volumes: Vec::new(),
            slots: Vec::new(),
            capacity: None,
            s3: S3Status {
                state: S3State::Starting,
                endpoints: Vec::new(),
                tls: None,
                credentials: Credentials::Awaited { reason: "the agent has just started".into() },
            },
            daemon: None,
            sla: Some(SlaStatus {
                awaited: Some("the agent has just started".into()),
                ..SlaStatus::default()
            }),
            settlement: None,
            clock: ClockReading::Unknown { reason: unknown() },
            memory: MemoryReading::Unknown { reason: unknown() },
            console: ConsoleChanges::default(),
            set_up: false,
            region: None,
            hardware_class: None,
            support_recipients: 0,
            network_kept: false,
            problems: Vec::new(),
        }
    }
}
