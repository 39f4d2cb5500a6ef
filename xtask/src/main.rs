//! Build, run, test and measure the project.
//!
//! `cargo xtask COMMAND`; every command first looks for the Debian packages it needs on this
//! machine and installs the missing ones, see [`deps`].
#![expect(clippy::print_stdout, reason = "a command line tool: its results go to standard output")]

mod deps;
mod image;
mod layout;
mod packages;
mod process;
mod step;

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
    /// Refresh the pinned versions of the Debian packages that the image is made of.
    Lock(packages::LockArgs),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Image(args) => image::command(&args),
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
