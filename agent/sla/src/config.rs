//! What a node is told of its SLA.

use std::time::Duration;

use crate::protocol::parameters::{Parameters, ParametersError};
use crate::protocol::{Address, B256};

/// The shortest time between two reports that are due: oracles write each of them to stable storage.
pub const REPORT_EVERY_MIN: Duration = Duration::from_secs(5);

/// The longest: three a day show that a node is alive.
pub const REPORT_EVERY_MAX: Duration = Duration::from_secs(8 * 3600);

/// How often a node reports where nothing else is said.
pub const REPORT_EVERY: Duration = Duration::from_secs(300);

/// The most report stores: as many as oracles would be more than anyone needs.
pub const STORES_MAX: usize = 8;

/// The most eras that receipts are kept for: a year of eras of an hour.
pub const DISPUTE_ERAS_MAX: u64 = 8_784;

/// The SLA of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlaConfig {
    /// What all nodes and oracles agree on.
    pub parameters: Parameters,
    /// The oracles that this node speaks with.
    pub oracles: Vec<Peer>,
    /// Report stores: they get the reports too, and ask nothing.
    pub stores: Vec<Store>,
    /// How often a node reports where nothing changes.
    pub report_every: Duration,
    /// The node, on the wire.
    pub node_id: B256,
    /// For how many eras receipts are kept.
    pub dispute_eras: u64,
    /// The node's software, with its version.
    pub software: String,
}

/// An oracle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// What people call it.
    pub name: String,
    /// `https://host` with or without a port.
    pub url: String,
    /// Whose signatures its receipts carry.
    pub address: Address,
    /// SHA-256 of its TLS certificate in DER.
    pub certificate: B256,
}

/// A report store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// What people call it.
    pub name: String,
    /// `https://host` with or without a port.
    pub url: String,
    /// SHA-256 of its TLS certificate in DER.
    pub certificate: B256,
}

/// Why a node cannot go by a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// What all agree on cannot be used.
    #[error("the parameters of the SLA cannot be used: {0}")]
    Parameters(#[from] ParametersError),
    /// An oracle is not among those that all agree on.
    #[error(
        "the oracle {name} has the address {address}, which is not among the parameters' oracles"
    )]
    Stranger {
        /// Its name.
        name: String,
        /// Its address.
        address: Address,
    },
    /// Two peers have one name, or two oracles one address.
    #[error("{0} is there twice: give each oracle and store a name and an address of its own")]
    Twice(String),
    /// There are too many.
    #[error("{found} report stores, more than {STORES_MAX}")]
    Stores {
        /// How many.
        found: usize,
    },
    /// A URL is none.
    #[error("the URL {url} of {name}: {why}; write https://host or https://host:port")]
    Url {
        /// Whose.
        name: String,
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A length of time or a count is outside of what is possible.
    #[error("{what} is outside of what is possible: {possible}")]
    Outside {
        /// What.
        what: &'static str,
        /// What is possible, in words.
        possible: String,
    },
}

impl SlaConfig {
    /// That a node can go by it.
    ///
    /// # Errors
    /// It cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.parameters.check()?;
        let mut seen = std::collections::BTreeSet::new();
        for Peer { name, url, address, .. } in &self.oracles {
            if !self.parameters.oracles.contains(address) {
                return Err(ConfigError::Stranger { name: name.clone(), address: *address });
            }
            for once in [name.clone(), address.to_string()] {
                if !seen.insert(once.clone()) {
                    return Err(ConfigError::Twice(once));
                }
            }
            crate::exchange::Place::of(name, url)?;
        }
        if self.stores.len() > STORES_MAX {
            return Err(ConfigError::Stores { found: self.stores.len() });
        }
        for Store { name, url, .. } in &self.stores {
            if !seen.insert(name.clone()) {
                return Err(ConfigError::Twice(name.clone()));
            }
            crate::exchange::Place::of(name, url)?;
        }
        if !(REPORT_EVERY_MIN..=REPORT_EVERY_MAX).contains(&self.report_every) {
            let (least, most) = (REPORT_EVERY_MIN.as_secs(), REPORT_EVERY_MAX.as_secs());
            let possible = format!("{least} to {most} s");
            return Err(ConfigError::Outside { what: "the time between reports", possible });
        }
        if !(1..=DISPUTE_ERAS_MAX).contains(&self.dispute_eras) {
            let possible = format!("1 to {DISPUTE_ERAS_MAX}");
            return Err(ConfigError::Outside { what: "the number of eras of disputes", possible });
        }
        Ok(())
    }
}
