//! What init (PID 1) answers on its socket. Version 1 of the wire form: one line of JSON per
//! request, one line of JSON back, any number of times on one connection.

use serde::{Deserialize, Serialize};

/// Where init listens. Root and the agent's user may ask; others are refused by peer credentials.
pub const SOCKET: &str = "/run/icn/init.sock";

/// The current log of all services, newest line last; one line is
/// `<RFC 3339 time> <service> <text>`. Rotated to [`LOG_OLD`].
pub const LOG: &str = "/run/icn/log/current";

/// The log before the last rotation.
pub const LOG_OLD: &str = "/run/icn/log/previous";

/// The longest settings of the network in bytes; init compares it with what the parser takes.
pub const NETWORK_TEXT_MAX: usize = 16 * 1024;

/// What init can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "request")]
pub enum InitRequest {
    /// Asks for the state of the system.
    Status,
    /// Stops every service, unmounts and powers off.
    PowerOff,
    /// Stops every service, unmounts and restarts the machine.
    Reboot,
    /// Sets the network up by other settings, for 120 s unless they are confirmed.
    TryNetwork {
        /// A section `[network]` as in node.toml, at most [`NETWORK_TEXT_MAX`].
        text: String,
    },
    /// Keeps the settings that are tried, until the machine restarts.
    ConfirmNetwork,
    /// Takes the settings back that are tried.
    RevertNetwork,
    /// Sets the network up by other settings for good, or by those of node.toml; refused while others are
    /// tried.
    UseNetwork {
        /// As of [`InitRequest::TryNetwork`]; none for node.toml.
        text: Option<String>,
    },
}

/// What init answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reply")]
pub enum InitReply {
    /// The state of the system.
    Status(Box<SystemStatus>),
    /// The request was taken and is being carried out.
    Accepted,
    /// The request was refused; why, in words.
    Refused {
        /// The reason.
        reason: String,
    },
}

/// The system as PID 1 sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemStatus {
    /// Version of this form: 1.
    pub version: u32,
    /// Name and version of the image.
    pub image: String,
    /// Every supervised service.
    pub services: Vec<ServiceStatus>,
    /// Every network port but loopback.
    pub ports: Vec<PortStatus>,
    /// Default gateways with their ports, such as `192.0.2.1 eno1`.
    #[serde(default)]
    pub gateways: Vec<String>,
    /// Name servers that are asked, first one first.
    #[serde(default)]
    pub dns: Vec<String>,
    /// Domains in which short names are looked for.
    #[serde(default)]
    pub search: Vec<String>,
    /// Time servers that are asked.
    #[serde(default)]
    pub time_servers: Vec<String>,
    /// Which settings of the network are in effect; `None` where init does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkState>,
    /// What was wrong with the configuration or the start-up, in words, with what was done instead.
    pub problems: Vec<String>,
}

/// Which settings of the network are in effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkState {
    /// Where those come from that hold while nothing is tried.
    pub origin: NetworkOrigin,
    /// These, as a section `[network]`.
    pub text: String,
    /// Those that are tried and in effect now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried: Option<String>,
    /// For how many seconds more they are, unless they are confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<u32>,
}

/// Where settings of the network come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkOrigin {
    /// From node.toml, or its defaults.
    Seed,
    /// They were given while the node ran.
    Set,
}

/// One supervised service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name, such as `icn-agent`.
    pub name: String,
    /// What it does now.
    pub state: ServiceState,
    /// Starts after the first.
    pub restarts: u32,
    /// Why it last ended, in words; empty while it never did.
    pub last_exit: String,
}

/// What a supervised service does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// Not started yet, as it waits for another.
    Waiting,
    /// Running.
    Running,
    /// Ended; starts again when its back-off has passed.
    BackingOff,
    /// Stopped on purpose.
    Stopped,
}

/// One network port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStatus {
    /// The kernel's name, such as `eno1`.
    pub name: String,
    /// Hardware address, lower case with colons.
    pub mac: String,
    /// Whether the link is up (carrier).
    pub link: bool,
    /// Link speed in Mbit/s, where the driver says.
    pub speed_mbps: Option<u32>,
    /// The longest packet in bytes; `None` where it cannot be read.
    #[serde(default)]
    pub mtu_bytes: Option<u32>,
    /// Whether DHCP and IPv6 autoconfiguration run on it; `None` where init does not say.
    #[serde(default)]
    pub dhcp: Option<bool>,
    /// Addresses with prefix length, such as `192.0.2.10/24`.
    pub addresses: Vec<String>,
}
