//! icn-console: which form the console has on this line.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use clap::Parser;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::run::{self, End};
use crate::terminal::Terminal;
use crate::{plain, state::Size};

/// Shows the state of the node on the terminal that is standard input and output.
#[derive(Debug, Parser)]
#[command(name = "icn-console", version)]
pub struct Arguments {
    /// The agent's control socket.
    #[arg(long, default_value = agent_api::control::SOCKET)]
    socket: PathBuf,
    /// Prints the status each minute and takes commands by the line, as it does by itself where TERM
    /// is dumb or the terminal does not say how large it is.
    #[arg(long)]
    plain: bool,
}

/// Shows the console until Ctrl-C, SIGTERM, or the end of the input.
///
/// # Errors
/// The terminal is gone, or the system gives no thread.
pub fn run(arguments: &Arguments) -> Result<()> {
    let leave = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&leave)).context("cannot catch signals")?;
    }
    let mut terminal = Terminal::open().context("cannot take over the terminal")?;
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if arguments.plain || is_dumb || !terminal.is_terminal() {
        return plain::run(&arguments.socket, &mut terminal, &leave, plain::Kind::Lasting)
            .map(drop);
    }
    let mut size = terminal.measure().context("cannot read from the terminal")?;
    loop {
        let end = match size {
            Some(size) => run::run(&arguments.socket, &mut terminal, size, &leave)?,
            None => End::Mute,
        };
        if end == End::Left {
            return Ok(());
        }
        let answered: Option<Size> =
            plain::run(&arguments.socket, &mut terminal, &leave, plain::Kind::UntilAnswered)?;
        if answered.is_none() {
            return Ok(());
        }
        size = answered;
    }
}
