//! icn-console: the state of the node on tty1 and the serial line.

mod canvas;
mod draw;
#[cfg(test)]
mod fixtures;
mod keys;
mod once;
mod poller;
mod run;
mod sections;
mod state;
mod terminal;
mod text;
mod view;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

/// Shows the state of the node on the terminal that is standard input and output.
#[derive(Debug, Parser)]
#[command(name = "icn-console", version)]
struct Arguments {
    /// The agent's control socket.
    #[arg(long, default_value = agent_api::control::SOCKET)]
    socket: PathBuf,
    /// Prints the status once as plain text.
    #[arg(long)]
    once: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.once { once::print(&arguments.socket) } else { run::run(&arguments.socket) }
}
