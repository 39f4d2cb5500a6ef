//! The tool itself, with a home of its own.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use alloy::primitives::hex;
use serde_json::Value;
use tempfile::TempDir;

use crate::chain::{Chain, HP_KEY};

/// The password of the HP's keystore.
const PASSWORD: &str = "correct horse";

/// An HP's machine.
#[derive(Debug)]
pub(crate) struct Tool {
    folder: TempDir,
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) json: Value,
    pub(crate) text: String,
}

impl Tool {
    /// A machine that knows a network, with more lines in its description.
    pub(crate) fn new(chain: &Chain, more: &str) -> Self {
        let tool = Self { folder: tempfile::tempdir().expect("a folder") };
        tool.write("deployed.json", &chain.deployed.to_string());
        let rpc = &chain.url;
        tool.write(
            "network.toml",
            &format!("deployment = \"deployed.json\"\nrpc = [\"{rpc}\"]\n{more}"),
        );
        tool.write("password", PASSWORD);
        tool.write("hp.hex", &format!("{}\n", hex::encode_prefixed(HP_KEY)));
        let run = tool.run(&["key", "import", "--from", "hp.hex", "--keystore", "hp.json"], true);
        assert_eq!(run.code, Some(0), "{}", run.text);
        tool
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("it is written");
    }

    pub(crate) fn read(&self, name: &str) -> Value {
        let text = fs::read_to_string(self.path(name)).expect("it is there");
        serde_json::from_str(&text).expect("JSON")
    }

    fn run(&self, arguments: &[&str], password: bool) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_icn-settle"));
        command
            .current_dir(self.folder.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .stdin(Stdio::null())
            .arg("--json")
            .args(arguments);
        if password {
            command.args(["--password-file", "password"]);
        }
        let Output { status, stdout, stderr } = command.output().expect("it runs");
        let text =
            format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        for secret in [PASSWORD, &hex::encode(HP_KEY)] {
            assert!(!text.contains(secret), "a secret is told: {text}");
        }
        let json = serde_json::from_slice(&stdout).unwrap_or(Value::Null);
        Run { code: status.code(), json, text }
    }

    /// A command about the network.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Run {
        self.run(&[&["--network", "network.toml"], arguments].concat(), false)
    }

    /// The same, signed with the HP's keystore and without questions.
    pub(crate) fn sign(&self, arguments: &[&str]) -> Run {
        self.sign_for("network.toml", arguments)
    }

    /// The same, for another description of the network.
    pub(crate) fn sign_for(&self, network: &str, arguments: &[&str]) -> Run {
        let keystore = ["--keystore", "hp.json", "--yes"];
        self.run(&[&["--network", network], arguments, &keystore].concat(), true)
    }

    /// The same, with nobody to answer questions.
    pub(crate) fn alone(&self, arguments: &[&str]) -> Run {
        let keystore = ["--keystore", "hp.json"];
        self.run(&[&["--network", "network.toml"], arguments, &keystore].concat(), true)
    }

    /// The same, and it must succeed.
    pub(crate) fn done(&self, arguments: &[&str]) -> Value {
        let run = self.sign(arguments);
        assert_eq!(run.code, Some(0), "{arguments:?}: {}", run.text);
        run.json
    }

    /// A command about the network that must succeed.
    pub(crate) fn told(&self, arguments: &[&str]) -> Value {
        let run = self.ask(arguments);
        assert_eq!(run.code, Some(0), "{arguments:?}: {}", run.text);
        run.json
    }
}

impl Run {
    /// That it failed, saying this.
    pub(crate) fn refused(&self, words: &str) {
        assert_eq!(self.code, Some(1), "{}", self.text);
        let error = self.json["error"].as_str().unwrap_or_default();
        assert!(error.contains(words), "{words}: {}", self.text);
    }
}
