//! The screens as plain text, for lines that are no terminal and for the command line. Pure.

use crate::screen::{Screen, Section};
use crate::sections;
use crate::shelf::Row;
use crate::state::{Size, State};
use crate::update::is_set_up;
use crate::view;

/// Columns of the text, and rows that it never has.
pub(crate) const PAPER: Size = Size { width: 80, height: u16::MAX };

/// A screen with all of its lines.
pub(crate) fn page(state: &mut State, screen: Screen) -> String {
    state.screen = screen;
    let width = usize::from(state.size.width);
    let mut text = String::new();
    if screen == Screen::Status {
        text.push_str(&heading(state));
    }
    for section in view::sections(state) {
        // All disks are in the list; nobody has selected one.
        if section == Section::Disk {
            continue;
        }
        let lines = match section {
            Section::Identity => sections::identity::plain_lines(state, width),
            _ => sections::lines(section, state, width),
        };
        text.push_str(&titled(&sections::title(section, state), &lines));
    }
    text
}

/// One disk with everything that is known of it.
pub(crate) fn disk(state: &State, row: &Row<'_>) -> String {
    let lines = sections::disk::of_row(row, state, usize::from(state.size.width));
    titled(&row.called(), &lines)
}

fn heading(state: &State) -> String {
    let Some(status) = &state.status else { return String::new() };
    let mut text = format!("ICN Node {}, agent {}\n", status.name, status.version);
    if let Some(left) = state.trial() {
        text.push_str(&format!(
            "! Network on trial, {left} s left: network confirm keeps it, network revert takes it back\n"
        ));
    }
    if !is_set_up(state) {
        text.push_str("! Nobody has set this node up: network set PORT sets its network up\n");
    }
    text
}

fn titled(title: &str, lines: &[ratatui::text::Line<'_>]) -> String {
    let mut text = format!("\n{}\n", crate::text::safe(title));
    for line in lines {
        text.push_str("  ");
        text.push_str(line.to_string().trim_end());
        text.push('\n');
    }
    text
}

/// How the node does with its oracles.
pub(crate) fn sla(state: &State) -> String {
    let lines = sections::sla_lines(state, usize::from(state.size.width));
    titled("Oracles", &lines)
}

/// What the node earned and how it stands on chain.
pub(crate) fn settlement(report: &agent_api::settlement::SettlementReport) -> String {
    titled("Settlement", &sections::rewards::report(report, usize::from(PAPER.width)))
}
