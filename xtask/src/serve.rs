//! `cargo xtask serve`: the agent on this machine, with folders as disks.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::deps::{self, Need};
use crate::layout::{self, Layout};
use crate::process;

/// Arguments of `cargo xtask serve`; all but `--release` go to `icn-agent serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder below which each disk is a folder.
    #[arg(long)]
    dir: OsString,
    /// How many disks.
    #[arg(long, default_value_t = 1)]
    disks: u32,
    /// Address and port; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: String,
    /// A user, as NAME:ACCESS:SECRET; may be given more than once.
    #[arg(long = "user", required = true, value_name = "NAME:ACCESS:SECRET")]
    users: Vec<String>,
    /// HTTPS with a self-signed certificate instead of plain HTTP.
    #[arg(long)]
    tls: bool,
    /// Build with optimisation: for benchmarks.
    #[arg(long)]
    release: bool,
}

/// Builds the agent and becomes it.
///
/// # Errors
///
/// When it cannot be built or started.
pub(crate) fn command(args: &Args) -> Result<()> {
    deps::ensure(&[Need::Compile])?;
    let layout = Layout::find()?;
    let mut build = Command::new(layout::cargo());
    build.args(["build", "--quiet", "--locked", "--package", "agent"]).current_dir(&layout.root);
    if args.release {
        build.arg("--release");
    }
    process::run(&mut build)?;
    let profile = if args.release { "release" } else { "debug" };
    let mut agent = Command::new(layout.target.join(profile).join("icn-agent"));
    agent.args(["serve", "--dir"]).arg(&args.dir).args([
        "--disks",
        &args.disks.to_string(),
        "--listen",
        &args.listen,
    ]);
    for user in &args.users {
        agent.args(["--user", user]);
    }
    if args.tls {
        agent.arg("--tls");
    }
    Err(agent.exec()).context("cannot start icn-agent")
}
