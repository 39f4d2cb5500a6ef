//! `reference-oracle`: an SLA oracle, or a store of reports.
#![expect(clippy::print_stdout, reason = "a command line tool: its results go to standard output")]

mod evidence;
mod load;
mod serve;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use reference_oracle::identity::Identity;

/// An SLA oracle: takes reports of nodes, challenges them, reads canaries, votes.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the key if there is none, and print its address and the certificate's fingerprint.
    Key {
        /// The oracle's folder.
        #[arg(long)]
        data: PathBuf,
    },
    /// Serve until told to end.
    Serve(serve::Args),
    /// Compute the roots on chain anew from votes, and compare.
    Verify(verify::Args),
    /// Write what shows that an oracle voted twice, for `icn-settle dispute equivocation`.
    Evidence(evidence::Args),
    /// Simulate many nodes against an oracle on this machine, and measure what it needs.
    Load(load::Args),
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .init();
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Key { data } => {
            let identity = Identity::open(&data)?;
            println!("address={}", identity.key.address());
            println!("certificate=sha256:{}", hex::encode(identity.fingerprint()));
            Ok(())
        }
        Command::Serve(args) => serve::command(args),
        Command::Verify(args) => verify::command(args),
        Command::Evidence(args) => evidence::command(&args),
        Command::Load(args) => load::command(&args),
    }
}
