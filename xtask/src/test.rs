//! `cargo xtask test`: unit and property tests, those of the contracts, then whole nodes.

use std::process::Command;

use anyhow::Result;

use crate::clients;
use crate::contracts;
use crate::deps::{self, Need};
use crate::image::{self, Compression};
use crate::layout::{self, Layout};
use crate::process;
use crate::step;
use crate::tools::Tools;

/// Machines that run at once: each needs most of a core while it boots.
const MACHINES: &str = "2";

/// Arguments of `cargo xtask test`; without any, everything runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only unit and property tests, and those of the contracts.
    #[arg(long, conflicts_with = "node")]
    unit: bool,
    /// Only tests of built artefacts: real clients, and machines in QEMU.
    #[arg(long)]
    node: bool,
    /// Only whole-node tests whose name contains this.
    #[arg(requires = "node")]
    filter: Option<String>,
    /// So many power cuts in the test that takes the disks' caches, each with a boot.
    #[arg(long, requires = "node")]
    cuts: Option<u64>,
    /// The seed of that test.
    #[arg(long, requires = "node")]
    seed: Option<u64>,
}

/// Runs the tests.
///
/// # Errors
///
/// When one fails, or something cannot be built.
pub(crate) fn command(args: &Args) -> Result<()> {
    deps::ensure(&[
        Need::Compile,
        Need::Image,
        Need::Machine,
        Need::Client,
        Need::Test,
        Need::Contracts,
    ])?;
    let layout = Layout::find()?;
    if !args.node {
        let mut command = cargo(&layout);
        command
            .args(["test", "--workspace", "--exclude", "e2e"])
            .env("ICN_ANVIL", contracts::anvil(&layout)?)
            .env("ICN_FORGE", contracts::forge(&layout)?);
        step::timed("unit and property tests", || process::run(&mut command))?;
        contracts::command(&contracts::Args::default())?;
    }
    if args.unit {
        return Ok(());
    }
    let built = image::build(&layout, Compression::Fast)?;
    let tools = Tools::build(&layout)?;
    let clients = clients::ensure(&layout)?;
    let mut command = cargo(&layout);
    command
        .args(["test", "--package", "e2e", "--"])
        .args(["--test-threads", MACHINES])
        .env("ICN_IMAGE_DIR", &built.image_dir)
        .env("ICN_BIN_DIR", &built.bin_dir)
        .env("ICN_TOOLS_DIR", &tools.folder)
        .env("ICN_ANVIL", contracts::anvil(&layout)?)
        .env("ICN_FORGE", contracts::forge(&layout)?)
        .env("ICN_CLIENTS", &clients);
    for (name, number) in [("ICN_CUTS", args.cuts), ("ICN_SEED", args.seed)] {
        command.envs(number.map(|number| (name, number.to_string())));
    }
    if let Some(filter) = &args.filter {
        command.args(["--nocapture", filter]);
    }
    step::timed("whole-node tests", || process::run(&mut command))
}

fn cargo(layout: &Layout) -> Command {
    let mut command = process::command(&layout::cargo().to_string_lossy());
    command.current_dir(&layout.root);
    command
}
