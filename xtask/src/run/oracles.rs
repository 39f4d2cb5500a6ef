//! Three SLA oracles on this machine, for the machine's node: made once, kept with its disks.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use test_network::{Network, Settings, daemon_in};

/// How many: one may be down, and two still agree.
const ORACLES: u8 = 3;

/// Bytes that each oracle asks for in an era: an emulated node has little to compute with.
const SAMPLES: u16 = 24;

/// Seconds from one report of the node to the next.
const REPORT_EVERY: u32 = 30;

/// How long an oracle that ended stays away before it is started again.
const AWAY: Duration = Duration::from_secs(60);

/// Where they keep what they know, in the machine's directory.
pub(crate) const FOLDER: &str = "oracles";

/// The oracles of a run.
#[derive(Debug)]
pub(crate) struct Oracles {
    network: Network,
    /// Since when oracles are away, in their order.
    away: Vec<Option<Instant>>,
}

impl Oracles {
    /// Starts three of `program` below `dir`, with eras of this length.
    ///
    /// # Errors
    ///
    /// When one of them does not start.
    pub(crate) fn start(program: PathBuf, dir: &Path, era_seconds: u32) -> Result<Self> {
        let settings = Settings {
            oracle: program,
            oracles: ORACLES,
            era_seconds,
            samples: SAMPLES,
            report_every: REPORT_EVERY,
            chain: None,
        };
        let network = Network::start(&dir.join(FOLDER), settings)?;
        let away = vec![None; network.oracles.len()];
        Ok(Self { network, away })
    }

    /// What the machine's `node.toml` says of them; `s3_port` of this machine leads to its S3.
    pub(crate) fn node_toml(&self, s3_port: u16) -> String {
        self.network.node_toml(s3_port)
    }

    /// What a person may want to know of them.
    pub(crate) fn words(&self) -> String {
        let mut text = String::new();
        for oracle in &self.network.oracles {
            let process = oracle
                .process()
                .map_or_else(|| "down".to_owned(), |process| format!("process {process}"));
            let (name, page) = (&oracle.name, oracle.page_port);
            let _ = writeln!(text, "  {name}    http://127.0.0.1:{page}/   ({process})");
        }
        let away = AWAY.as_secs();
        let _ = writeln!(text, "  end one with `kill`, and it is started again after {away} s");
        text
    }

    /// Looks after the oracles: admits the node once its log tells its daemon address, and starts those
    /// again that ended. Says what happened.
    ///
    /// # Errors
    ///
    /// When the list cannot be written or an oracle does not start.
    pub(crate) fn tend(&mut self, log: &Path) -> Result<Vec<String>> {
        let mut said = Vec::new();
        let text = fs::read(log).unwrap_or_default();
        if let Some(daemon) = daemon_in(&String::from_utf8_lossy(&text))
            && self.network.admit(&daemon)?
        {
            said.push(format!("the oracles admit the node's daemon address {daemon}"));
        }
        for (oracle, away) in self.network.oracles.iter_mut().zip(&mut self.away) {
            if let Some(status) = oracle.ended()? {
                said.push(format!("{} ended ({status})", oracle.name));
                *away = Some(Instant::now());
            }
            if away.is_some_and(|since| since.elapsed() >= AWAY) {
                *away = None;
                oracle.start()?;
                said.push(format!("{} is up again", oracle.name));
            }
        }
        Ok(said)
    }
}
