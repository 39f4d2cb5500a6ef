//! The keys that mean something now, on the last rows of every screen. Pure.

use ratatui::text::{Line, Span};

use crate::dialog::Dialog;
use crate::screen::Screen;
use crate::sections::Tone;
use crate::sheet::{Sheet, Support};
use crate::state::{SecretShown, State};
use crate::steps::Step;
use crate::update::{has_secret, is_set_up};

/// Rows that the keys take at most, on a terminal that has as many rows as a VT100.
const ROWS_MAX: usize = 2;

/// Rows of a terminal below which the keys take one.
const HEIGHT_LOW: u16 = 16;

/// The keys, on one row where they have room there; what has no room is missing from the end.
pub(crate) fn lines(state: &State) -> Vec<Line<'static>> {
    let most = if state.size.height < HEIGHT_LOW { 1 } else { ROWS_MAX };
    let mut rows = vec![String::new()];
    for hint in hints(state) {
        let width = usize::from(state.size.width);
        let row = rows.last().map_or(0, |row| row.chars().count());
        let gap = if row == 0 { " " } else { "  " };
        if row + gap.len() + hint.chars().count() > width && row > 0 {
            if rows.len() == most {
                break;
            }
            rows.push(" ".to_owned() + hint);
        } else if let Some(row) = rows.last_mut() {
            row.push_str(gap);
            row.push_str(hint);
        }
    }
    let line = |row: String| Line::from(Span::styled(row, Tone::Faint.style()));
    rows.into_iter().map(line).collect()
}

fn hints(state: &State) -> Vec<&'static str> {
    match (&state.dialog, &state.sheet) {
        (Some(Dialog::Confirm(_)), _) => vec!["Enter do it if the word is right", "Esc do nothing"],
        (Some(Dialog::Pin { .. }), _) => vec!["Enter check it", "Esc leave"],
        (Some(Dialog::Search(_)), _) => {
            vec!["Enter search, all where nothing is typed", "Esc leave"]
        }
        (None, Some(sheet)) => on_sheet(sheet),
        (None, None) if state.steps.is_open => on_step(state.steps.at),
        (None, None) => on_screen(state),
    }
}

fn on_sheet(sheet: &Sheet) -> Vec<&'static str> {
    match sheet {
        Sheet::Network(_) | Sheet::Test(_) | Sheet::Pin(_) => vec![
            "Enter Tab ↑↓ field",
            "←→ choose, move",
            "PgDn to the end",
            "Esc leave",
            "Ctrl-L repaint",
        ],
        Sheet::Reader { .. } => vec!["↑↓ PgUp PgDn scroll", "Esc leave"],
        Sheet::Words { .. } => vec!["Esc blank them"],
        Sheet::Support(Support::Asked) => vec!["Enter write it", "Esc do nothing"],
        Sheet::Support(_) => vec!["Esc leave"],
        Sheet::Reset => vec!["1 keep the identity", "2 forget it too", "Esc do nothing"],
    }
}

fn on_step(step: Step) -> Vec<&'static str> {
    let mut hints = vec![if step == Step::Summary { "Enter finish" } else { "Enter → go on" }];
    match step {
        Step::Network => hints.extend(["s static, VLAN", "t test"]),
        Step::Clock | Step::Summary => {}
        Step::Disks => hints.extend(["↑↓ disk", "c claim", "u undo"]),
        Step::Pin => hints.push("p set a PIN"),
    }
    hints.extend(["1-5 ←→ step", "Esc later", "r repaint"]);
    hints
}

/// Most important first.
fn on_screen(state: &State) -> Vec<&'static str> {
    let mut hints = vec!["1-5 ←→ screen"];
    match (state.screen, &state.secret) {
        (Screen::Status, secret) => {
            if !is_set_up(state) {
                hints.push("f first steps");
            }
            match secret {
                SecretShown::Hidden if has_secret(state) => hints.push("s secret key"),
                SecretShown::Until(..) => hints.push("s hide it"),
                _ => {}
            }
        }
        (Screen::Network, _) => hints.extend(["e edit", "t test", "d node.toml"]),
        (Screen::Identity, _) => hints.extend(["w recovery words", "p PIN"]),
        (Screen::Disks, _) => {
            hints.extend(["l locate LED", "c claim", "u undo", "t retire", "k keep"]);
        }
        (Screen::Logs, _) => hints.extend([
            "/ search",
            "w level",
            "s support bundle",
            "i inventory",
            "b reboot",
            "o power off",
            "f factory reset",
        ]),
    }
    hints.push(if state.screen == Screen::Disks { "↑↓ disk" } else { "↑↓ scroll" });
    if state.screen.sections().len() > 1 {
        hints.push(if state.focus.is_none() { "Tab section" } else { "Esc all" });
    }
    hints.push("r repaint");
    hints
}
