//! One oracle: `reference-oracle`, as whoever runs a network starts it.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use ureq::Agent;

use crate::process::{HeldPort, first_line, output, stop, tied};
use crate::{ADMITTED, PARAMETERS};

/// How long an oracle may take to make its key, and to answer.
const ANSWER: Duration = Duration::from_secs(20);

/// How long it may take to be ready, with what it logged in days, on a machine that is busy.
const START: Duration = Duration::from_secs(120);

/// An oracle; ended when dropped.
#[derive(Debug)]
pub struct Oracle {
    /// What the node calls it.
    pub name: String,
    program: PathBuf,
    dir: PathBuf,
    port: HeldPort,
    /// The port of its page; 0 before it was started.
    pub page_port: u16,
    /// Whose signatures its votes carry.
    pub address: String,
    pub(crate) certificate: String,
    child: Option<Child>,
}

impl Oracle {
    /// The oracle with a number; its key is made where there is none.
    pub(crate) fn new(program: &Path, dir: &Path, number: u8) -> Result<Self> {
        let name = format!("oracle-{number}");
        let mut command = Command::new(program);
        let said = output(command.args(["key", "--data"]).arg(dir.join(&name)), ANSWER)?;
        let word = |key: &str| {
            let found = said.split_whitespace().find_map(|word| word.strip_prefix(key));
            found.map(str::to_owned).with_context(|| format!("no {key} in {said:?}"))
        };
        let (address, certificate) = (word("address=")?, word("certificate=")?);
        let port = HeldPort::take()?;
        let (program, dir) = (program.to_owned(), dir.to_owned());
        Ok(Self { name, program, dir, port, page_port: 0, address, certificate, child: None })
    }

    /// Where nodes and other oracles find it.
    pub(crate) fn port(&self) -> u16 {
        self.port.number
    }

    /// What it settles by; there is no such file where it does not settle.
    pub(crate) fn settlement(&self) -> PathBuf {
        self.dir.join(format!("{}-settlement.toml", self.name))
    }

    /// Starts it, or starts it again where it was.
    ///
    /// # Errors
    /// It ends before it says `ready`, or does not say so in time; with its log.
    pub fn start(&mut self) -> Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let mut command = tied(&self.program);
        command
            .args(["serve", "--listen", &format!("127.0.0.1:{}", self.port()), "--data"])
            .arg(self.dir.join(&self.name))
            .arg("--parameters")
            .arg(self.dir.join(PARAMETERS))
            .arg("--admit")
            .arg(self.dir.join(ADMITTED))
            .args(["--page", &format!("127.0.0.1:{}", self.page_port)]);
        let settlement = self.settlement();
        if settlement.exists() {
            command.arg("--settlement").arg(settlement);
        }
        self.port.let_go();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            // A Ctrl-C is for whoever started it, who ends it then.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let stdout = child.stdout.take().context("stdout was asked for")?;
        self.child = Some(child);
        let line = first_line(stdout, START)
            .with_context(|| format!("{} did not start: {}", self.name, self.log()))?;
        ensure!(
            line.starts_with("ready "),
            "{} did not start: {line:?}: {}",
            self.name,
            self.log()
        );
        self.page_port = page_port_in(&line).with_context(|| format!("no page in {line:?}"))?;
        Ok(())
    }

    /// Its process, while it has one.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// How it ended, if it did so by itself since this was asked last.
    ///
    /// # Errors
    /// That cannot be found out.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let status = child.try_wait().context("cannot look at an oracle")?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
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
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join(format!("{}.log", self.name))
    }

    /// A page of it.
    ///
    /// # Errors
    /// It does not come.
    pub fn page(&self, path: &str) -> Result<String> {
        let agent: Agent = Agent::config_builder().timeout_global(Some(ANSWER)).build().into();
        let mut answer = agent.get(format!("http://127.0.0.1:{}{path}", self.page_port)).call()?;
        Ok(answer.body_mut().read_to_string()?)
    }

    /// Its votes on an era.
    ///
    /// # Errors
    /// They do not come, or are no JSON.
    pub fn votes(&self, era: u64) -> Result<Value> {
        Ok(serde_json::from_str(&self.page(&format!("/votes?era={era}"))?)?)
    }
}

/// The port of the page, as the line says that tells that it is ready.
fn page_port_in(line: &str) -> Option<u16> {
    let (_, port) = line.split_once(" page=http://127.0.0.1:")?;
    port.trim_end().trim_end_matches('/').parse().ok()
}

impl Drop for Oracle {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            stop(child);
        }
    }
}

#[cfg(test)]
impl Oracle {
    /// One that is never started.
    pub(crate) fn at(number: u8, dir: &Path) -> Self {
        Self {
            name: format!("oracle-{number}"),
            program: PathBuf::new(),
            dir: dir.to_owned(),
            port: HeldPort::take().expect("a port"),
            page_port: 0,
            address: format!("0x{number:040}"),
            certificate: format!("sha256:{number:064}"),
            child: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::page_port_in;

    #[test]
    fn the_port_of_the_page_is_the_one_that_it_tells() {
        let line = "ready https://127.0.0.1:8443 address=0x1 certificate=sha256:2";
        let paged = format!("{line} page=http://127.0.0.1:4711/\n");
        assert_eq!((page_port_in(&paged), page_port_in(line)), (Some(4711), None));
    }
}
