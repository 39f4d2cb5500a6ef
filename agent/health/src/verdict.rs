//! What readings mean: one verdict for each component, with its evidence.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a component does. Ordered by how much it matters: the worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It was asked, and what it answered is good.
    Healthy,
    /// It could not be asked, or gave no useful answer.
    Unknown,
    /// Something to look after; it does its work.
    Warning,
    /// It fails, or will soon.
    Failing,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Healthy => "healthy",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Failing => "failing",
        })
    }
}

/// What kind of thing a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A disk, by its lasting name.
    Disk,
    /// A memory module, by its label or place.
    Memory,
    /// A processor.
    Processor,
    /// A device on PCI Express, by its address.
    Pcie,
    /// A temperature, fan, voltage or power sensor.
    Sensor,
    /// A network port.
    Network,
    /// A power supply.
    PowerSupply,
    /// The system clock.
    Clock,
    /// The kernel, by its own complaints.
    Kernel,
    /// The management controller.
    Management,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Disk => "disk",
            Self::Memory => "memory",
            Self::Processor => "processor",
            Self::Pcie => "pcie",
            Self::Sensor => "sensor",
            Self::Network => "network",
            Self::PowerSupply => "power supply",
            Self::Clock => "clock",
            Self::Kernel => "kernel",
            Self::Management => "management controller",
        })
    }
}

/// A verdict on one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What kind of thing it is.
    pub kind: Kind,
    /// Which one; stays the same over restarts as far as the machine lets it.
    pub name: String,
    /// How it does.
    pub health: Health,
    /// Why, in words, the gravest first; empty only where healthy.
    pub evidence: Vec<String>,
}
