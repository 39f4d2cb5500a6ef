//! The agent on the host, with folders as disks: for clients and crashes, without QEMU.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::artefacts::program;
use crate::s3::S3;
use crate::stick::USER;

/// A running `icn-agent serve`; killed when dropped.
#[derive(Debug)]
pub struct HostAgent {
    child: Child,
    endpoint: String,
}

impl HostAgent {
    /// The command, not yet started.
    ///
    /// # Errors
    /// When the program is not built.
    pub fn command(dir: &Path, disks: u32, listen: &str) -> Result<Command> {
        let mut command = Command::new(program("icn-agent")?);
        command
            .args(["serve", "--dir"])
            .arg(dir)
            .args(["--disks", &disks.to_string(), "--listen", listen])
            .args(["--user", &format!("tester:{}:{}", USER.0, USER.1)]);
        Ok(command)
    }

    /// Starts one on a free port and waits until it serves.
    ///
    /// # Errors
    /// When it ends before it says `ready`.
    pub fn start(dir: &Path, disks: u32) -> Result<Self> {
        let mut child = Self::command(dir, disks, "127.0.0.1:0")?.stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("stdout was asked for")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let endpoint = line.trim().strip_prefix("ready ").map(str::to_owned);
        let agent = Self { child, endpoint: endpoint.clone().unwrap_or_default() };
        ensure!(endpoint.is_some(), "`ready` was wanted, it said {line:?}");
        Ok(agent)
    }

    /// Where it serves.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A client of it.
    #[must_use]
    pub fn s3(&self) -> S3 {
        S3::new(&self.endpoint, Duration::from_secs(60))
    }

    /// Ends it without warning.
    pub fn kill(mut self) {
        // Already ended is just as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for HostAgent {
    fn drop(&mut self) {
        // Already ended is just as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program of the Python environment with the S3 clients, which `cargo xtask test` makes.
///
/// # Errors
/// When `ICN_CLIENTS` does not name it.
pub fn client(name: &str) -> Result<PathBuf> {
    let dir = std::env::var_os("ICN_CLIENTS")
        .context("ICN_CLIENTS is not set: run the tests with `cargo xtask test`")?;
    let path = PathBuf::from(dir).join("bin").join(name);
    ensure!(path.exists(), "{} is missing", path.display());
    Ok(path)
}
