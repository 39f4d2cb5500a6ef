//! The support bundle and the hardware inventory. Part of version 1 of the wire form in [`crate::control`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long a client waits for the answer to [`crate::control::Request::WriteSupport`], and to no other request: the
/// slowest sticks take minutes for the largest bundle, of which the agent allows ten, and it is made before.
pub const SUPPORT_ANSWER: Duration = Duration::from_secs(720);

/// How a support bundle came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupportWritten {
    /// The disk it was written to, such as `/dev/sdc1`.
    pub device: String,
    /// The name of the file on it.
    pub file: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Whether it was read back and found the same.
    pub verified: bool,
    /// The keys that can open it: age recipients.
    pub recipients: Vec<String>,
}

/// What a node is made of, as its own kernel and firmware say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Maker, product and serial number of the machine; empty where the firmware does not say.
    pub machine: Vec<Fact>,
    /// Model of the processor, with cores and threads.
    pub processors: Vec<Fact>,
    /// Main memory: total, and modules where the firmware tells.
    pub memory: Vec<Fact>,
    /// Network ports with address, speed and driver.
    pub ports: Vec<Fact>,
    /// Disks with model, serial number, firmware and size.
    pub disks: Vec<Fact>,
    /// PCI devices that are none of the above.
    pub devices: Vec<Fact>,
    /// What could not be read, in words.
    pub problems: Vec<String>,
}

/// One line of the inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What it is, such as `eno1` or `serial`.
    pub name: String,
    /// What is known of it, in one line.
    pub text: String,
}
