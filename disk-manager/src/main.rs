//! `icn-disks run` is the service; `icn-disks plan` prints what it would do and changes nothing.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use disk_manager::apply::Context;
use disk_manager::device::SYSFS;
use disk_manager::firmware::{EFIVARS, Loader};
use disk_manager::service::{self, Service};
use disk_manager::volume::Owner;
use disk_manager::{settings, survey};
use disk_manager_plan::hardware;
use disk_manager_plan::report::SOCKET;
use tracing_subscriber::EnvFilter;

/// Finds, judges, claims and mounts the disks of a node.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the service until it is stopped.
    Run {
        /// Where clients connect.
        #[arg(long, default_value = SOCKET)]
        socket: PathBuf,
        /// Where clients ask for readings of the hardware.
        #[arg(long, default_value = hardware::SOCKET)]
        hardware_socket: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Prints what would be done with each disk and why; changes nothing.
    Plan {
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Args)]
struct Common {
    /// Below which directory volumes are mounted.
    #[arg(long, default_value = "/data")]
    data_dir: PathBuf,
    /// User and group id that own each volume, and group id that may use the socket.
    #[arg(long, default_value = "900:900", value_parser = parse_owner)]
    owner: Owner,
    /// The node's configuration; a missing file means the defaults.
    #[arg(long, default_value = provisioning_config::PATH)]
    config: PathBuf,
}

fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .without_time()
        .with_ansi(false)
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_env_filter(EnvFilter::try_from_env("ICN_LOG").unwrap_or_else(|_| "info".into()))
        .init();
    match Cli::parse().command {
        Command::Run { socket, hardware_socket, common } => {
            let (context, problems) = context(&common);
            let service = Service::new(context, problems).context("cannot start icn-disks")?;
            service.run(&socket, &hardware_socket).context("icn-disks stopped")
        }
        Command::Plan { common } => {
            let (context, problems) = context(&common);
            for problem in problems {
                tracing::warn!("{problem}");
            }
            let plan = survey::survey(&context).context("cannot look at the disks")?;
            service::print(&plan).context("cannot print the plan")
        }
    }
}

/// What steps need, and what was wrong with the configuration.
fn context(common: &Common) -> (Context, Vec<String>) {
    let (policy, problems) = match settings::policy(&common.config, &common.data_dir) {
        Ok((policy, problems)) => (policy, problems.iter().map(ToString::to_string).collect()),
        Err(error) => {
            let error = format!("{:#}", anyhow::Error::from(error));
            (settings::claim_nothing(&common.data_dir), vec![error])
        }
    };
    let loader = Loader::read(EFIVARS.as_ref());
    let context = Context { sysfs: SYSFS.into(), policy, loader, owner: common.owner };
    (context, problems)
}

fn parse_owner(text: &str) -> Result<Owner, String> {
    let (user, group) = text.split_once(':').ok_or("write USER:GROUP as numbers, as 900:900")?;
    let number = |text: &str| text.parse::<u32>().map_err(|error| format!("{text}: {error}"));
    Ok(Owner { user: number(user)?, group: number(group)? })
}
