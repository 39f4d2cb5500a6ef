//! The fleet manager's command line.

mod partition;
mod pin;
mod seed;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use provisioning_config::Problem;

/// Sets up and looks after ICN nodes.
#[derive(Debug, Parser)]
#[command(name = "icn-fleet", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Configuration that a node reads at its start, on the partition ICN-SEED of its stick.
    #[command(subcommand)]
    Seed(Seed),
    /// Makes the line of `[console]` for the PIN that changes on a node's console want; it is typed, or
    /// read from standard input.
    Pin,
}

#[derive(Debug, Subcommand)]
enum Seed {
    /// Reads a node.toml as a node would and prints what is wrong with it.
    Check {
        /// The file to read.
        file: PathBuf,
    },
    /// Puts node.toml and the files it names on the partition ICN-SEED.
    Write {
        /// An image file (icn-node.img), or the device of a stick that is not in use (/dev/sdX).
        #[arg(long)]
        image: PathBuf,
        /// node.toml, and the certificate and key it names.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let command = match Arguments::parse().command {
        Command::Seed(command) => command,
        Command::Pin => {
            writeln!(out, "{}", pin::line()?)?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    match command {
        Seed::Check { file } => {
            let problems = seed::check(&file)?;
            print(&mut out, &problems)?;
            if problems.is_empty() {
                writeln!(out, "{}: no mistakes", file.display())?;
            }
            Ok(verdict(&problems))
        }
        Seed::Write { image, files } => {
            let files = seed::Files::read(&files)?;
            let problems = files.problems();
            print(&mut out, &problems)?;
            if problems.is_empty() {
                let partition = partition::open(&image)?;
                files.write(&partition)?;
                writeln!(out, "{}: {} written to {partition}", image.display(), files.names())?;
            } else {
                writeln!(out, "{}: nothing was written", image.display())?;
            }
            Ok(verdict(&problems))
        }
    }
}

fn print(out: &mut impl Write, problems: &[Problem]) -> io::Result<()> {
    problems.iter().try_for_each(|problem| writeln!(out, "{problem}"))
}

fn verdict(problems: &[Problem]) -> ExitCode {
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
