//! The status as plain text, for scripts and lines that are no terminal.

use std::io::{self, Write};
use std::path::Path;

use agent_api::client::AgentClient;
use anyhow::{Context, Result};

use crate::poller::TIMEOUT;
use crate::sections;
use crate::state::{Event, Size, State, update};
use crate::view;

/// Columns of the text, and rows that it never has.
const PAPER: Size = Size { width: 100, height: u16::MAX };

/// Log lines at its end.
const LOG_LINES: u32 = 20;

/// Prints the status of the node once.
pub(crate) fn print(socket: &Path) -> Result<()> {
    let mut agent = AgentClient::new(socket, TIMEOUT);
    let status = agent.status().context("the agent gave no status")?;
    let log = agent.log_tail(LOG_LINES).context("the agent gave no log")?;
    let mut state = State::new(PAPER);
    update(&mut state, Event::Status(Box::new(status)));
    update(&mut state, Event::Log(log));
    io::stdout().write_all(text(&state).as_bytes()).context("cannot write to standard output")
}

/// Every section with all of its lines.
pub(crate) fn text(state: &State) -> String {
    let mut text = String::new();
    if let Some(status) = &state.status {
        text.push_str(&format!("ICN Node {}, agent {}\n", status.name, status.version));
    }
    for section in view::sections(state) {
        text.push_str(&format!("\n{}\n", sections::title(section, state)));
        for line in sections::lines(section, state, usize::from(state.size.width)) {
            text.push_str("  ");
            text.push_str(line.to_string().trim_end());
            text.push('\n');
        }
    }
    text
}
