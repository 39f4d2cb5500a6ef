//! Three SLA oracles on this machine, for the machine's node: made once, kept with its disks.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use test_network::{ChainPrograms, Network, Settings, tokens};

use super::heard::Heard;

/// How many: one may be down, and two still agree.
const ORACLES: u8 = 3;

/// Bytes that each oracle asks for in an era: an emulated node has little to compute with.
const SAMPLES: u16 = 24;

/// Seconds from one report of the node to the next.
const REPORT_EVERY: u32 = 30;

/// How long an oracle that ended stays away before it is started again.
const AWAY: Duration = Duration::from_secs(60);

/// How long the HP waits before it tries again.
const BETWEEN_TRIES: Duration = Duration::from_secs(10);

/// How often is looked at what the HP has.
const LOOK_AT_TOKENS: Duration = Duration::from_secs(5);

/// Where they keep what they know, in the machine's directory.
pub(crate) const FOLDER: &str = "oracles";

/// The oracles of a run.
#[derive(Debug)]
pub(crate) struct Oracles {
    network: Network,
    /// What the node's log told.
    heard: Heard,
    /// Since when oracles are away, in their order.
    away: Vec<Option<Instant>>,
    /// What was done for the node on chain.
    enrolled: Option<String>,
    tried: Option<Instant>,
    is_funded: bool,
    /// Tokens of the HP when this was looked at last, and when that was.
    paid: Option<(u128, Instant)>,
}

impl Oracles {
    /// Starts three of `program` below `dir`, with eras of this length.
    ///
    /// # Errors
    ///
    /// When one of them does not start.
    pub(crate) fn start(
        program: PathBuf,
        chain: Option<ChainPrograms>,
        dir: &Path,
        era_seconds: u32,
    ) -> Result<Self> {
        let settings = Settings {
            oracle: program,
            oracles: ORACLES,
            era_seconds,
            samples: SAMPLES,
            report_every: REPORT_EVERY,
            chain,
        };
        let network = Network::start(&dir.join(FOLDER), settings)?;
        let away = vec![None; network.oracles.len()];
        Ok(Self {
            network,
            heard: Heard::default(),
            away,
            enrolled: None,
            tried: None,
            is_funded: false,
            paid: None,
        })
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
        if let Some(chain) = &self.network.chain {
            let _ = writeln!(
                text,
                "  chain       {}   (worth nothing; contracts: {FOLDER}/deployment.json)",
                chain.url()
            );
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
    /// When the log cannot be read, the list cannot be written, or an oracle does not start.
    pub(crate) fn tend(&mut self, log: &Path) -> Result<Vec<String>> {
        let mut said = Vec::new();
        self.heard.listen(log).with_context(|| format!("cannot read {}", log.display()))?;
        if let Some(daemon) = &self.heard.daemon
            && self.network.admit(daemon)?
        {
            said.push(format!("the oracles admit the node's daemon address {daemon}"));
        }
        if self.network.chain.is_some() {
            said.extend(self.settle()?);
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

    /// Does what the node's HP does on chain, and looks at what it is paid.
    fn settle(&mut self) -> Result<Vec<String>> {
        let mut said = Vec::new();
        let Some(chain) = &self.network.chain else { return Ok(said) };
        if !self.is_funded
            && let Some(gas) = &self.heard.gas
            && let Ok(is_new) = chain.fund(gas)
        {
            self.is_funded = true;
            if is_new {
                said.push(format!("{gas}, from which the node pays gas, has 10 ETH"));
            }
        }
        let due = self.paid.as_ref().is_none_or(|(_, at)| at.elapsed() >= LOOK_AT_TOKENS);
        // A chain that is busy is asked again.
        if due && let Ok(now) = chain.tokens_of_hp() {
            if let Some((before, _)) = &self.paid
                && *before != now
            {
                said.push(format!("the HP has {} tokens", tokens(now)));
            }
            self.paid = Some((now, Instant::now()));
        }
        let (Some(label), Some(daemon)) = (&self.heard.label, &self.heard.daemon) else {
            return Ok(said);
        };
        // Its binding comes to the oracles with its session.
        let is_early = !self.heard.has_binding || !self.heard.was_in_session;
        let tried = self.tried.is_some_and(|at| at.elapsed() < BETWEEN_TRIES);
        if self.enrolled.as_ref() == Some(label) || is_early || tried {
            return Ok(said);
        }
        self.tried = Some(Instant::now());
        match self.network.hp().and_then(|hp| hp.enrol(label, daemon)) {
            Ok(()) => {
                said.push(format!("the HP registered node {label} and bound its daemon key"));
                self.enrolled = Some(label.clone());
            }
            Err(error) => said.push(format!("the HP tries again: {error:#}")),
        }
        Ok(said)
    }
}
