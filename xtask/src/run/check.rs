//! A real S3 client against the machine.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::seed::User;
use crate::process;

/// How long one question may take while the node starts: QEMU takes the connection long before
/// the node can answer.
const QUESTION: Duration = Duration::from_secs(5);

/// How long one object may take on an emulated node.
const TRANSFER: Duration = Duration::from_secs(60);

/// Bytes of the object that is stored and read back.
const OBJECT_SIZE: u64 = 1 << 20;

const BUCKET: &str = "s3://run-check";

/// s5cmd, set up for the machine.
#[derive(Debug)]
pub(crate) struct Client {
    program: PathBuf,
    endpoint: String,
    user: User,
}

impl Client {
    /// The client for the machine behind a port of this one.
    pub(crate) fn new(program: &Path, port: u16, user: &User) -> Self {
        let endpoint = format!("https://127.0.0.1:{port}");
        Self { program: program.to_owned(), endpoint, user: user.clone() }
    }

    /// Where S3 is.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A command to try, as a person types it.
    pub(crate) fn example(&self) -> String {
        format!(
            "AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={} \\\n  {} --no-verify-ssl \
             --endpoint-url {} ls",
            self.user.access_key,
            self.user.secret_key,
            self.program.display(),
            self.endpoint
        )
    }

    /// Asks for the list of buckets, once.
    ///
    /// # Errors
    ///
    /// When it does not come at once.
    pub(crate) fn answers(&self) -> Result<()> {
        let mut command = self.command();
        process::output_within(command.args(["--retry-count", "0", "ls"]), QUESTION).map(drop)
    }

    /// Stores an object of random bytes, reads it back and compares.
    ///
    /// # Errors
    ///
    /// When a step fails or other bytes come back.
    pub(crate) fn there_and_back(&self, dir: &Path) -> Result<()> {
        let (sent, received) = (dir.join("sent.bin"), dir.join("received.bin"));
        let mut bytes = Vec::new();
        File::open("/dev/urandom")
            .and_then(|source| source.take(OBJECT_SIZE).read_to_end(&mut bytes))
            .context("cannot read /dev/urandom")?;
        fs::write(&sent, &bytes).with_context(|| format!("cannot write {}", sent.display()))?;
        let _ = fs::remove_file(&received);
        let run = |args: &[&str]| process::output_within(self.command().args(args), TRANSFER);
        if !run(&["ls"])?.contains(BUCKET) {
            run(&["mb", BUCKET]).context("cannot make a bucket")?;
        }
        let object = format!("{BUCKET}/object");
        run(&["cp", &sent.to_string_lossy(), &object]).context("cannot store an object")?;
        run(&["cp", &object, &received.to_string_lossy()]).context("cannot read an object")?;
        let back =
            fs::read(&received).with_context(|| format!("cannot read {}", received.display()))?;
        ensure!(
            back == bytes,
            "{object} came back with other bytes: compare {} and {}",
            sent.display(),
            received.display()
        );
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = process::command(&self.program.to_string_lossy());
        command
            .args(["--no-verify-ssl", "--endpoint-url", &self.endpoint])
            .env("AWS_ACCESS_KEY_ID", &self.user.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &self.user.secret_key)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("NO_PROXY", "127.0.0.1")
            .env_remove("AWS_PROFILE")
            .env_remove("AWS_SESSION_TOKEN");
        command
    }
}
