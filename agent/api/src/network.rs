//! Tests that the node makes of its network, and what came of them. Part of version 1 of the wire form
//! in [`crate::control`].

use std::net::IpAddr;

use agent_health::ClockReading;
use serde::{Deserialize, Serialize};

/// The longest name or address that is tested, in bytes (RFC 1035, 2.3.4, with room for a port).
pub const HOST_MAX: usize = 260;

/// What came of asking a machine for echoes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PingReport {
    /// Which address was asked: the first that the name has.
    pub address: IpAddr,
    /// How it was asked.
    pub way: PingWay,
    /// For each try after how many microseconds the answer came; none where none came in time.
    pub answers_us: Vec<Option<u32>>,
}

/// How a machine is asked whether it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PingWay {
    /// By ICMP echo requests.
    Icmp,
    /// By connections to this port, where ICMP is not allowed; a refusal is an answer too.
    Tcp {
        /// The port.
        port: u16,
    },
}

/// What came of looking a name up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookUpReport {
    /// The addresses of the name.
    pub addresses: Vec<IpAddr>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// How the clock stands against the time servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReport {
    /// What the kernel says of the clock.
    pub clock: ClockReading,
    /// Each time server that was asked.
    pub servers: Vec<TimeServer>,
}

/// What one time server said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeServer {
    /// As it stands in the settings or came by DHCP.
    pub server: String,
    /// What it said.
    #[serde(flatten)]
    pub answer: TimeAnswer,
}

/// What a time server says, if anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum TimeAnswer {
    /// The time.
    Time {
        /// By how many microseconds its clock is ahead of the node's.
        offset_us: i64,
        /// How long question and answer were under way, in microseconds.
        delay_us: i64,
        /// How many servers stand between it and a clock of reference (RFC 5905, 7.3).
        stratum: u8,
    },
    /// Nothing of use.
    None {
        /// Why, in words.
        reason: String,
    },
}
