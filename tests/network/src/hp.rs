//! The HP: its tool `icn-settle`, with a key that is worth nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::chain::{Chain, HP_KEY, write_secret};
use crate::oracle::Oracle;
use crate::process::output;

/// How long one command may take: a few blocks.
const COMMAND: Duration = Duration::from_secs(120);

/// The password of a key that is worth nothing.
const PASSWORD: &str = "nothing";

/// An HP with its tool.
#[derive(Debug, Clone)]
pub struct Hp {
    program: PathBuf,
    dir: PathBuf,
}

impl Hp {
    pub(crate) fn new(dir: &Path, chain: &Chain, oracles: &[Oracle]) -> Result<Self> {
        let mut network = format!(
            "deployment = \"deployment.json\"\nrpc = [\"{}\"]\nhp_account = \"{}\"\n",
            chain.url(),
            chain.hp()
        );
        for oracle in oracles {
            let (port, Oracle { name, address, certificate, .. }) = (oracle.port(), oracle);
            network.push_str(&format!(
                "\n[[oracle]]\nname = \"{name}\"\nurl = \"https://127.0.0.1:{port}\"\n\
                 address = \"{address}\"\ncertificate = \"0x{}\"\n",
                certificate.trim_start_matches("sha256:")
            ));
        }
        fs::write(dir.join("network.toml"), network)?;
        let hp = Self { program: chain.programs.settle.clone(), dir: dir.to_owned() };
        write_secret(&dir.join("hp-password"), PASSWORD)?;
        if !dir.join("hp.json").exists() {
            write_secret(&dir.join("hp-key"), HP_KEY)?;
            let mut command = Command::new(&hp.program);
            command.args(["key", "import", "--from", "hp-key", "--keystore", "hp.json"]);
            command.args(["--password-file", "hp-password"]).current_dir(dir);
            output(&mut command, COMMAND)?;
        }
        Ok(hp)
    }

    /// Does something that changes the chain, and waits until it is in a block.
    ///
    /// # Errors
    /// The tool's own, in words.
    pub fn act(&self, arguments: &[&str]) -> Result<String> {
        let more =
            ["--keystore", "hp.json", "--password-file", "hp-password", "--state", "hp-state"];
        let mut command = self.command(arguments);
        output(command.args(more).args(["--wait", "mined", "--yes"]), COMMAND)
    }

    /// How the nodes with these ids stand.
    ///
    /// # Errors
    /// The tool's own, in words, or it prints no JSON.
    pub fn status(&self, labels: &[&str]) -> Result<Value> {
        let mut command = self.command(&["status", "--json"]);
        command.args(labels.iter().flat_map(|label| ["--label", label]));
        Ok(serde_json::from_str(&output(&mut command, COMMAND)?)?)
    }

    /// Registers a node, puts collateral in for it, and binds its daemon key as an oracle has its binding; what was
    /// done before is left as it is.
    ///
    /// # Errors
    /// The tool's own, in words.
    pub fn enrol(&self, label: &str, daemon: &str) -> Result<()> {
        let is_new = done_once(self.act(&["register", "--label", label]), "is registered already")?;
        if is_new {
            self.act(&["deposit", "--label", label, "--amount", "1000"])?;
        }
        done_once(self.act(&["bind", "--daemon", daemon]), "was bound before").map(drop)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(["--network", "network.toml"]).current_dir(&self.dir);
        command
    }
}

/// Whether something was done now; where the answer says that it was done `before`, it was not.
fn done_once(answer: Result<String>, before: &str) -> Result<bool> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.to_string().contains(before) => Ok(false),
        Err(error) => Err(error),
    }
}
