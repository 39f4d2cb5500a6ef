//! The oracle that is measured, as a process of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use agent_sla::protocol::parameters::Parameters;
use anyhow::{Context as _, Result, ensure};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::node::Simulated;

/// What a process has used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Use {
    /// CPU seconds, user and system.
    pub(super) cpu: f64,
    /// Resident bytes.
    pub(super) resident: u64,
}

/// The running oracle; killed when dropped.
pub(super) struct Program {
    child: Child,
    pid: Pid,
    pub(super) at: SocketAddr,
}

impl Program {
    /// Starts this very program as an oracle that admits these nodes.
    pub(super) async fn start(
        dir: &Path,
        parameters: &Parameters,
        nodes: &[Simulated],
    ) -> Result<Self> {
        let (file, admit) = (dir.join("parameters.json"), dir.join("admit"));
        fs::write(&file, serde_json::to_string(parameters)?).context("cannot write parameters")?;
        let list: Vec<String> =
            nodes.iter().map(|node| node.party().key.address().to_string()).collect();
        fs::write(&admit, list.join("\n")).context("cannot write the list of daemons")?;
        let mut child = Command::new(std::env::current_exe().context("where is this program")?)
            .args(["serve", "--listen", "127.0.0.1:0", "--connections-per-address", "100000"])
            .arg("--data")
            .arg(dir.join("data"))
            .arg("--parameters")
            .arg(&file)
            .arg("--admit")
            .arg(&admit)
            .env("RUST_LOG", "warn")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the oracle")?;
        let output = child.stdout.take().context("the oracle has no output")?;
        let mut lines = BufReader::new(output).lines();
        let line = lines.next_line().await?.context("the oracle ended")?;
        let at = line.split_whitespace().find_map(|word| word.strip_prefix("https://"));
        let at = at.and_then(|at| at.parse().ok()).with_context(|| format!("no port: {line}"))?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { pid: id.context("the oracle ended")?, child, at })
    }

    /// What it has used so far (proc(5): fields 14, 15 and 24 of /proc/PID/stat).
    pub(super) fn spent(&self) -> Result<Use> {
        let path = format!("/proc/{}/stat", self.pid.as_raw_nonzero());
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        // The second field is a name in brackets, with whatever in it.
        let fields: Vec<&str> =
            text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let field = |number: usize| {
            let text = fields.get(number - 3).with_context(|| format!("{path}: too short"))?;
            text.parse::<u64>().with_context(|| format!("{path}: field {number}"))
        };
        let ticks = (field(14)? + field(15)?) as f64;
        let cpu = ticks / clock_ticks_per_second() as f64;
        Ok(Use { cpu, resident: field(24)? * page_size() as u64 })
    }

    /// Ends it as a service manager does.
    pub(super) async fn end(&mut self) -> Result<()> {
        kill_process(self.pid, Signal::TERM).context("cannot end the oracle")?;
        let status = self.child.wait().await.context("cannot wait for the oracle")?;
        ensure!(status.success(), "the oracle ended with {status}");
        Ok(())
    }
}

/// Bytes of all files below a folder.
pub(super) fn bytes_below(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
        let entry = entry?;
        let found = entry.metadata()?;
        bytes += if found.is_dir() { bytes_below(&entry.path())? } else { found.len() };
    }
    Ok(bytes)
}
