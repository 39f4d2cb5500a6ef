//! Build, run, test and measure the project.
//!
//! `cargo xtask COMMAND`; every command first looks for the Debian packages it needs on this
//! machine and installs the missing ones, see [`deps`].
#![expect(clippy::print_stdout, reason = "a command line tool: its results go to standard output")]

mod bench;
mod clients;
mod contracts;
mod deps;
mod fuzz;
mod image;
mod layout;
mod packages;
mod process;
mod run;
mod serve;
mod soak;
mod step;
mod test;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Build, run, test and measure ICN Node.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the node's image: icn-node.efi and icn-node.img.
    Image(image::Args),
    /// Boot the image in a virtual machine and wait until it serves S3.
    Run(run::Args),
    /// Run the agent on this machine, with folders as disks.
    Serve(serve::Args),
    /// Run all tests.
    Test(test::Args),
    /// Build and test the settlement contracts.
    Contracts(contracts::Args),
    /// Run the store against its model, with faults and power cuts, for as long as wanted.
    Soak(soak::Args),
    /// Feed the decoders with what no encoder of ours made.
    Fuzz(fuzz::Args),
    /// Measure, and renew the tables of docs/performance.md.
    Bench(bench::Args),
    /// Install every Debian package that a command here may need.
    Deps,
    /// Refresh the pinned versions of the Debian packages that the image is made of.
    Lock(packages::LockArgs),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Image(args) => image::command(&args),
        Command::Run(args) => run::command(&args),
        Command::Serve(args) => serve::command(&args),
        Command::Test(args) => test::command(&args),
        Command::Contracts(args) => contracts::command(&args),
        Command::Soak(args) => soak::command(&args),
        Command::Fuzz(args) => fuzz::command(&args),
        Command::Bench(args) => bench::command(&args),
        Command::Deps => deps::ensure(deps::Need::ALL),
        Command::Lock(args) => packages::command(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
