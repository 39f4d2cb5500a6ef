//! SLA oracles on the host: `reference-oracle`, as whoever runs a network starts it.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use ureq::Agent;

use crate::artefacts::program;
use crate::machine::free_port;

/// Where a machine sees the host, with QEMU's user network.
const HOST: &str = "10.0.2.2";

/// The contract of a network that settles on no chain.
const CONTRACT: &str = "0x0000000000000000000000000000000000000001";

/// How long an oracle may take to answer.
const ANSWER: Duration = Duration::from_secs(20);

/// A network of oracles.
#[derive(Debug)]
pub struct Network {
    dir: PathBuf,
    /// The oracles, in the order of their names.
    pub oracles: Vec<Oracle>,
    era_seconds: u32,
    genesis: u64,
}

/// An oracle; ended when dropped.
#[derive(Debug)]
pub struct Oracle {
    /// What the node calls it.
    pub name: String,
    dir: PathBuf,
    port: u16,
    page: u16,
    address: String,
    certificate: String,
    child: Option<Child>,
}

impl Network {
    /// Starts oracles below `dir`, with eras of this length. Nobody is admitted yet.
    ///
    /// # Errors
    /// When the program is not built or one does not start, with what it said.
    pub fn start(dir: &Path, oracles: u8, era_seconds: u32) -> Result<Self> {
        let oracles: Vec<Oracle> =
            (1..=oracles).map(|number| Oracle::new(dir, number)).collect::<Result<_>>()?;
        let genesis = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let mut network = Self { dir: dir.to_path_buf(), oracles, era_seconds, genesis };
        let addresses: Vec<&str> =
            network.oracles.iter().map(|oracle| oracle.address.as_str()).collect();
        let parameters = json!({
            "chain": 31_337, "contract": CONTRACT, "genesis": genesis,
            "era_seconds": era_seconds, "samples": 12, "oracles": addresses,
        });
        std::fs::write(dir.join("parameters.json"), parameters.to_string())?;
        std::fs::write(dir.join("admitted.txt"), "")?;
        for oracle in &mut network.oracles {
            oracle.start()?;
        }
        Ok(network)
    }

    /// The `[sla]` of a node; `s3_port` of the host leads to its S3.
    #[must_use]
    pub fn node_toml(&self, s3_port: u16) -> String {
        let Self { genesis, era_seconds, .. } = self;
        let mut text = format!(
            "[sla]\nchain = 31337\ncontract = \"{CONTRACT}\"\ngenesis = {genesis}\n\
             era = \"{era_seconds}s\"\nsamples = 12\nreport_every = \"10s\"\n\
             s3_endpoint = \"https://127.0.0.1:{s3_port}\"\n"
        );
        for Oracle { name, port, address, certificate, .. } in &self.oracles {
            let _ = write!(
                text,
                "[[sla.oracle]]\nname = \"{name}\"\nurl = \"https://{HOST}:{port}\"\n\
                 address = \"{address}\"\ncertificate = \"{certificate}\"\n"
            );
        }
        text
    }

    /// Admits a daemon address with all oracles.
    ///
    /// # Errors
    /// When the list cannot be written.
    pub fn admit(&self, daemon: &str) -> Result<()> {
        let path = self.dir.join("admitted.txt");
        let mut list = std::fs::OpenOptions::new().append(true).open(path)?;
        Ok(writeln!(list, "{daemon}")?)
    }
}

impl Oracle {
    fn new(dir: &Path, number: u8) -> Result<Self> {
        let name = format!("oracle-{number}");
        let output = Command::new(program("reference-oracle")?)
            .args(["key", "--data"])
            .arg(dir.join(&name))
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let word = |key: &str| {
            let found = said.split_whitespace().find_map(|word| word.strip_prefix(key));
            found.map(str::to_owned).with_context(|| format!("no {key} in {said:?}"))
        };
        let (address, certificate) = (word("address=")?, word("certificate=")?);
        let (port, page, dir) = (free_port()?, free_port()?, dir.to_path_buf());
        Ok(Self { name, dir, port, page, address, certificate, child: None })
    }

    /// Starts it, or starts it again where it was.
    ///
    /// # Errors
    /// When it ends before it says `ready`, with its log.
    pub fn start(&mut self) -> Result<()> {
        let log = self.dir.join(format!("{}.log", self.name));
        let mut child = Command::new(program("reference-oracle")?)
            .args(["serve", "--listen", &format!("127.0.0.1:{}", self.port), "--data"])
            .arg(self.dir.join(&self.name))
            .arg("--parameters")
            .arg(self.dir.join("parameters.json"))
            .arg("--admit")
            .arg(self.dir.join("admitted.txt"))
            .args(["--page", &format!("127.0.0.1:{}", self.page)])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::OpenOptions::new().create(true).append(true).open(&log)?)
            .spawn()?;
        let stdout = child.stdout.take().context("stdout was asked for")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        self.child = Some(child);
        ensure!(line.starts_with("ready "), "{}: {line:?}: {}", self.name, self.log());
        Ok(())
    }

    /// Ends it without warning.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Already ended is just as well.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join(format!("{}.log", self.name))).unwrap_or_default()
    }

    /// A page of it.
    ///
    /// # Errors
    /// When it does not come.
    pub fn page(&self, path: &str) -> Result<String> {
        let agent: Agent = Agent::config_builder().timeout_global(Some(ANSWER)).build().into();
        let mut answer = agent.get(format!("http://127.0.0.1:{}{path}", self.page)).call()?;
        Ok(answer.body_mut().read_to_string()?)
    }

    /// Its votes on an era.
    ///
    /// # Errors
    /// When they do not come, or are no JSON.
    pub fn votes(&self, era: u64) -> Result<Value> {
        Ok(serde_json::from_str(&self.page(&format!("/votes?era={era}"))?)?)
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        self.kill();
    }
}
