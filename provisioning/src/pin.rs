//! From a PIN that a person types to the line of node.toml.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use anyhow::{Context as _, Result, bail};
use provisioning_config::{PinHash, SALT};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

/// Bytes of a line that are read: a PIN has at most sixteen.
const LINE_MAX: u64 = 64;

/// The line of `[console]` for the PIN that is typed; on a terminal it is not shown, and asked for twice.
///
/// # Errors
/// It is no PIN, or was typed in two ways, or cannot be read.
pub(crate) fn line() -> Result<String> {
    let pin = if io::stdin().is_terminal() {
        let pin = typed("PIN: ")?;
        if typed("once more: ")? != pin {
            bail!("these were two PINs; nothing was made");
        }
        pin
    } else {
        read()?
    };
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    let hash = PinHash::make(&pin, salt).map_err(anyhow::Error::msg)?;
    Ok(format!("pin_hash = \"{hash}\""))
}

/// What is typed on the terminal, which does not show it.
fn typed(prompt: &str) -> Result<String> {
    let before = tcgetattr(io::stdin()).context("cannot read how the terminal is set")?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    let mut asking = io::stderr().lock();
    write!(asking, "{prompt}").and_then(|()| asking.flush()).context("stderr")?;
    tcsetattr(io::stdin(), OptionalActions::Now, &silent).context("cannot set the terminal")?;
    let pin = read();
    tcsetattr(io::stdin(), OptionalActions::Now, &before).context("cannot set the terminal")?;
    writeln!(asking).context("stderr")?;
    pin
}

fn read() -> Result<String> {
    let mut line = String::new();
    io::stdin().lock().take(LINE_MAX).read_line(&mut line).context("cannot read the PIN")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
