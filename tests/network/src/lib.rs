//! A network on this machine for a node to work in: SLA oracles, and if wanted a local chain on which they settle.
//! All of them are programs, made once in a folder and kept there.

mod chain;
mod hp;
mod oracle;
mod process;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

pub use chain::{Chain, ChainPrograms, tokens};
pub use hp::Hp;
pub use oracle::Oracle;

/// Where a machine sees this one, with QEMU's user network.
const HOST: &str = "10.0.2.2";

/// The chain of a network that settles on none (the number that local chains use).
const CHAIN: u64 = 31_337;

/// The contract of such a network.
const CONTRACT: &str = "0x0000000000000000000000000000000000000001";

/// What all oracles and the node go by.
const PARAMETERS: &str = "parameters.json";

/// Whom the oracles admit.
const ADMITTED: &str = "admitted.txt";

/// What a network is to be.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program of the oracles.
    pub oracle: PathBuf,
    /// How many oracles.
    pub oracles: u8,
    /// The length of an era in seconds.
    pub era_seconds: u32,
    /// Bytes that each oracle asks for in an era.
    pub samples: u16,
    /// How often the node reports, in seconds.
    pub report_every: u32,
    /// What it settles with; none where it settles on no chain.
    pub chain: Option<ChainPrograms>,
}

/// A network. Its programs end when it is dropped.
#[derive(Debug)]
pub struct Network {
    dir: PathBuf,
    /// The oracles, in the order of their names.
    pub oracles: Vec<Oracle>,
    /// What they settle on.
    pub chain: Option<Chain>,
    parameters: Parameters,
    report_every: u32,
    admitted: BTreeSet<String>,
}

/// As `agent-sla` has them: the tests link none of what they test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Parameters {
    chain: u64,
    contract: String,
    genesis: u64,
    era_seconds: u32,
    samples: u16,
    oracles: BTreeSet<String>,
}

impl Network {
    /// Starts a network in a folder, or one that was there before. Nobody new is admitted yet.
    ///
    /// # Errors
    /// A program does not start, with what it said.
    pub fn start(dir: &Path, settings: Settings) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let Settings { oracle, oracles, era_seconds, samples, report_every, chain } = settings;
        let made = (1..=oracles).map(|number| Oracle::new(&oracle, dir, number));
        let oracles: Vec<Oracle> = made.collect::<Result<_>>()?;
        let mut addresses: Vec<String> = oracles.iter().map(|one| one.address.clone()).collect();
        addresses.sort_unstable();
        let chain = match chain {
            Some(programs) => {
                Some(Chain::start(dir, programs, &addresses, (era_seconds, samples))?)
            }
            None => None,
        };
        let parameters = match &chain {
            Some(chain) => chain.parameters(addresses)?,
            None => kept(dir, era_seconds, samples, addresses)?,
        };
        let path = dir.join(PARAMETERS);
        fs::write(&path, serde_json::to_string_pretty(&parameters)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let admitted = fs::read_to_string(dir.join(ADMITTED)).unwrap_or_default();
        fs::write(dir.join(ADMITTED), &admitted).context("cannot write the list of nodes")?;
        let admitted = admitted.lines().map(str::to_owned).collect();
        let dir = dir.to_owned();
        let mut network = Self { dir, oracles, chain, parameters, report_every, admitted };
        if let Some(chain) = &network.chain {
            chain.write_settlement(&network.oracles)?;
        }
        for oracle in &mut network.oracles {
            oracle.start()?;
        }
        Ok(network)
    }

    /// `[sla]` of a node's `node.toml`, and `[settlement]` where there is a chain; `s3_port` of this machine
    /// leads to the node's S3.
    #[must_use]
    pub fn node_toml(&self, s3_port: u16) -> String {
        let Parameters { chain, contract, genesis, era_seconds, samples, .. } = &self.parameters;
        let report_every = self.report_every;
        let mut text = format!(
            "\n[sla]\nchain = {chain}\ncontract = \"{contract}\"\ngenesis = {genesis}\n\
             era = \"{era_seconds}s\"\nsamples = {samples}\nreport_every = \"{report_every}s\"\n\
             s3_endpoint = \"https://127.0.0.1:{s3_port}\"\n"
        );
        for oracle in &self.oracles {
            let (port, Oracle { name, address, certificate, .. }) = (oracle.port(), oracle);
            let _ = write!(
                text,
                "\n[[sla.oracle]]\nname = \"{name}\"\nurl = \"https://{HOST}:{port}\"\n\
                 address = \"{address}\"\ncertificate = \"{certificate}\"\n"
            );
        }
        text.extend(self.chain.iter().map(Chain::node_toml));
        text
    }

    /// Has all oracles admit a daemon address; whether that is new.
    ///
    /// # Errors
    /// The list cannot be written.
    pub fn admit(&mut self, daemon: &str) -> Result<bool> {
        if !self.admitted.insert(daemon.to_owned()) {
            return Ok(false);
        }
        let path = self.dir.join(ADMITTED);
        let mut list = OpenOptions::new().append(true).open(&path)?;
        writeln!(list, "{daemon}").with_context(|| format!("cannot write {}", path.display()))?;
        Ok(true)
    }

    /// The HP whose nodes are in the network.
    ///
    /// # Errors
    /// There is no chain, or its tool fails.
    pub fn hp(&self) -> Result<Hp> {
        let chain = self.chain.as_ref().context("the network settles on no chain")?;
        Hp::new(&self.dir, chain, &self.oracles)
    }
}

/// Parameters are made once: receipts of another network are no receipts of this one.
fn kept(dir: &Path, era_seconds: u32, samples: u16, oracles: Vec<String>) -> Result<Parameters> {
    let known = fs::read_to_string(dir.join(PARAMETERS)).ok();
    let known: Option<Parameters> = known.and_then(|text| serde_json::from_str(&text).ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let wanted = Parameters {
        chain: CHAIN,
        contract: CONTRACT.to_owned(),
        genesis: known.as_ref().map_or(now.as_secs(), |known| known.genesis),
        era_seconds,
        samples,
        oracles: oracles.into_iter().collect(),
    };
    Ok(if known.as_ref() == Some(&wanted) {
        wanted
    } else {
        Parameters { genesis: now.as_secs(), ..wanted }
    })
}

/// The daemon address that a node's log told last.
#[must_use]
pub fn daemon_in(log: &str) -> Option<String> {
    /// Digits of an address.
    const DIGITS: usize = 40;
    last_hex(log, "daemon=0x", DIGITS).map(|digits| format!("0x{digits}"))
}

/// The id that a node made for itself, as its log told it last.
#[must_use]
pub fn label_in(log: &str) -> Option<String> {
    /// Digits of an id.
    const DIGITS: usize = 32;
    last_hex(log, "label=\"", DIGITS).map(str::to_owned)
}

/// The address that a node pays gas from, as its log told it last.
#[must_use]
pub fn gas_in(log: &str) -> Option<String> {
    last_hex(log, "gas=0x", 40).map(|digits| format!("0x{digits}"))
}

/// The hexadecimal digits behind the last `mark` in a log.
fn last_hex<'a>(log: &'a str, mark: &str, digits: usize) -> Option<&'a str> {
    let (at, _) = log.rmatch_indices(mark).next()?;
    let start = at + mark.len();
    let found = log.get(start..start + digits)?;
    found.chars().all(|c| c.is_ascii_hexdigit()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemon_address_is_the_last_that_the_log_has() {
        let (one, two) = ("1".repeat(40), "aB".repeat(20));
        let log = format!("x daemon=0x{one} y\nz daemon=0x{two} oracles=3\n");
        assert_eq!(daemon_in(&log), Some(format!("0x{two}")));
        assert_eq!(daemon_in("daemon=0x12"), None);
        assert_eq!(daemon_in("nothing"), None);
    }
}
