//! Three SLA oracles on this machine, for the machine's node: made once, kept with its disks.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::process;

/// How many: one may be down, and two still agree.
const ORACLES: usize = 3;

/// Where the machine sees this one, with QEMU's user network.
const HOST: &str = "10.0.2.2";

/// Bytes that each oracle asks for in an era: an emulated node has little to compute with.
const SAMPLES: u16 = 24;

/// The chain of a network that settles on none (the number that local chains use).
const CHAIN: u64 = 31_337;

/// The contract of such a network.
const CONTRACT: &str = "0x0000000000000000000000000000000000000001";

/// How long an oracle may take to listen.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How long one may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// How long an oracle that ended stays away before it is started again.
const AWAY: Duration = Duration::from_secs(60);

/// Where they keep what they know, in the machine's directory.
pub(crate) const FOLDER: &str = "oracles";

/// What all of them and the node go by.
const PARAMETERS: &str = "parameters.json";

/// Whom they admit.
const ADMITTED: &str = "admitted.txt";

/// The oracles of a run.
#[derive(Debug)]
pub(crate) struct Oracles {
    dir: PathBuf,
    program: PathBuf,
    oracles: Vec<Oracle>,
    admitted: BTreeSet<String>,
}

#[derive(Debug)]
struct Oracle {
    name: String,
    port: u16,
    page: u16,
    address: String,
    certificate: String,
    running: Running,
}

#[derive(Debug)]
enum Running {
    Up(Child),
    Away { since: Instant },
}

/// As `agent-sla` has them; this crate links none of ours.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Parameters {
    chain: u64,
    contract: String,
    genesis: u64,
    era_seconds: u32,
    samples: u16,
    oracles: BTreeSet<String>,
}

impl Oracles {
    /// Starts three of `program` below `dir`, with eras of this length.
    ///
    /// # Errors
    ///
    /// When one of them does not start.
    pub(crate) fn start(program: PathBuf, dir: &Path, era_seconds: u32) -> Result<Self> {
        let dir = dir.join(FOLDER);
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let admitted = fs::read_to_string(dir.join(ADMITTED)).unwrap_or_default();
        fs::write(dir.join(ADMITTED), &admitted).context("cannot write the list of nodes")?;
        let admitted = admitted.lines().map(str::to_owned).collect();
        let mut oracles = Self { dir, program, oracles: Vec::new(), admitted };
        for number in 1..=ORACLES {
            let name = format!("oracle-{number}");
            let (address, certificate) = oracles.identity(&name)?;
            let running = Running::Away { since: Instant::now() };
            let (port, page) = (free_port()?, free_port()?);
            oracles.oracles.push(Oracle { name, port, page, address, certificate, running });
        }
        oracles.keep_parameters(era_seconds)?;
        for number in 0..ORACLES {
            oracles.start_one(number)?;
        }
        Ok(oracles)
    }

    /// The `[sla]` of the machine's `node.toml`; `s3_port` of this machine leads to its S3.
    ///
    /// # Errors
    ///
    /// When the parameters cannot be read back.
    pub(crate) fn node_toml(&self, s3_port: u16) -> Result<String> {
        let Parameters { chain, contract, genesis, era_seconds, samples, .. } =
            self.parameters()?;
        let mut text = format!(
            "\n[sla]\nchain = {chain}\ncontract = \"{contract}\"\ngenesis = {genesis}\n\
             era = \"{era_seconds}s\"\nsamples = {samples}\nreport_every = \"30s\"\n\
             s3_endpoint = \"https://127.0.0.1:{s3_port}\"\n"
        );
        for Oracle { name, port, address, certificate, .. } in &self.oracles {
            let _ = write!(
                text,
                "\n[[sla.oracle]]\nname = \"{name}\"\nurl = \"https://{HOST}:{port}\"\n\
                 address = \"{address}\"\ncertificate = \"{certificate}\"\n"
            );
        }
        Ok(text)
    }

    /// What a person may want to know of them.
    pub(crate) fn words(&self) -> String {
        let mut text = String::new();
        for Oracle { name, page, running, .. } in &self.oracles {
            let process = match running {
                Running::Up(child) => format!("process {}", child.id()),
                Running::Away { .. } => "down".to_owned(),
            };
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
            && self.admitted.insert(daemon.clone())
        {
            let path = self.dir.join(ADMITTED);
            let mut list = OpenOptions::new().append(true).open(&path)?;
            writeln!(list, "{daemon}")
                .with_context(|| format!("cannot write {}", path.display()))?;
            said.push(format!("the oracles admit the node's daemon address {daemon}"));
        }
        for number in 0..self.oracles.len() {
            let Some(oracle) = self.oracles.get_mut(number) else { continue };
            match &mut oracle.running {
                Running::Up(child) => {
                    if let Some(status) = child.try_wait().context("cannot look at an oracle")? {
                        said.push(format!("{} ended ({status})", oracle.name));
                        oracle.running = Running::Away { since: Instant::now() };
                    }
                }
                Running::Away { since } if since.elapsed() >= AWAY => {
                    self.start_one(number)?;
                    said.extend(
                        self.oracles.get(number).map(|one| format!("{} is up again", one.name)),
                    );
                }
                Running::Away { .. } => {}
            }
        }
        Ok(said)
    }

    fn identity(&self, name: &str) -> Result<(String, String)> {
        let mut command = process::command(&self.program.to_string_lossy());
        command.args(["key", "--data"]).arg(self.dir.join(name));
        let said = process::output_within(&mut command, START_LIMIT)?;
        let word = |key: &str| {
            let found = said.split_whitespace().find_map(|word| word.strip_prefix(key));
            found.map(str::to_owned).with_context(|| format!("the oracle told no {key}: {said}"))
        };
        Ok((word("address=")?, word("certificate=")?))
    }

    /// Parameters are made once: receipts of another network are no receipts of this one.
    fn keep_parameters(&self, era_seconds: u32) -> Result<()> {
        let oracles: BTreeSet<String> =
            self.oracles.iter().map(|oracle| oracle.address.clone()).collect();
        if self.parameters().is_ok_and(|kept| {
            kept.era_seconds == era_seconds && kept.oracles == oracles && kept.samples == SAMPLES
        }) {
            return Ok(());
        }
        let now =
            SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
        let parameters = Parameters {
            chain: CHAIN,
            contract: CONTRACT.to_owned(),
            genesis: now.as_secs(),
            era_seconds,
            samples: SAMPLES,
            oracles,
        };
        let path = self.dir.join(PARAMETERS);
        fs::write(&path, serde_json::to_string_pretty(&parameters)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn parameters(&self) -> Result<Parameters> {
        let path = self.dir.join(PARAMETERS);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("in {}", path.display()))
    }

    fn start_one(&mut self, number: usize) -> Result<()> {
        let Some(oracle) = self.oracles.get_mut(number) else { return Ok(()) };
        let log = self.dir.join(format!("{}.log", oracle.name));
        let log = File::options().create(true).append(true).open(log)?;
        let mut child = process::command(&self.program.to_string_lossy())
            .args(["serve", "--listen", &format!("127.0.0.1:{}", oracle.port), "--data"])
            .arg(self.dir.join(&oracle.name))
            .arg("--parameters")
            .arg(self.dir.join(PARAMETERS))
            .arg("--admit")
            .arg(self.dir.join(ADMITTED))
            .args(["--page", &format!("127.0.0.1:{}", oracle.page)])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C is for this program, which ends them.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let said = child.stdout.take().map(BufReader::new).and_then(|out| {
            let mut lines = out.lines();
            lines.next().and_then(std::io::Result::ok)
        });
        if !said.as_ref().is_some_and(|said| said.starts_with("ready ")) {
            let _ = child.kill();
            let _ = child.wait();
            bail!("{} did not start: see {}/{}.log", oracle.name, self.dir.display(), oracle.name);
        }
        oracle.running = Running::Up(child);
        Ok(())
    }
}

impl Drop for Oracles {
    fn drop(&mut self) {
        for oracle in &mut self.oracles {
            let Running::Up(child) = &mut oracle.running else { continue };
            if let Ok(None) = child.try_wait() {
                // It may end in this instant, which is as good.
                let _ = kill_process(Pid::from_child(child), Signal::TERM);
                process::wait_within(child, STOP_LIMIT);
            }
        }
    }
}

/// The daemon address that a node's log told last.
fn daemon_in(log: &str) -> Option<String> {
    const MARK: &str = "daemon=0x";
    const DIGITS: usize = 40;
    let (at, _) = log.rmatch_indices(MARK).next()?;
    let start = at + MARK.len();
    let digits = log.get(start..start + DIGITS)?;
    digits.chars().all(|c| c.is_ascii_hexdigit()).then(|| format!("0x{digits}"))
}

fn free_port() -> Result<u16> {
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(holder.local_addr().context("no free port")?.port())
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
