//! `cargo xtask soak`: the store against its model for as long as wanted.

use std::process::Command;

use anyhow::Result;

use crate::deps::{self, Need};
use crate::layout::{self, Layout};
use crate::process;

/// The test that runs until its time is over.
const SOAK: &str = "engine::tests::model::soak";

/// Arguments of `cargo xtask soak`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For so long.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// The first seed; one that failed is printed.
    #[arg(long, default_value_t = 1_000_000)]
    seed: u64,
}

/// Runs the test.
///
/// # Errors
///
/// When it fails, or cannot be built.
pub(crate) fn command(args: &Args) -> Result<()> {
    deps::ensure(&[Need::Compile])?;
    let layout = Layout::find()?;
    let mut command: Command = process::command(&layout::cargo().to_string_lossy());
    command
        .current_dir(&layout.root)
        .args(["test", "--release", "--package", "agent-object-store", "--lib", SOAK, "--"])
        .args(["--ignored", "--exact", "--nocapture"])
        .env("ICN_MINUTES", args.minutes.to_string())
        .env("ICN_SEED", args.seed.to_string());
    process::run(&mut command)
}
