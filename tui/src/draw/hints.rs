//! The keys that mean something now, on the last line of every screen.

use ratatui::text::{Line, Span};

use crate::dialog::Dialog;
use crate::screen::Screen;
use crate::sections::Tone;
use crate::state::{SecretShown, State};
use crate::update::has_secret;

/// The keys, as many as have room; what is missing is missing from the end.
pub(super) fn line(state: &State) -> Line<'static> {
    let hints: &[&str] = match &state.dialog {
        Some(Dialog::Confirm(_)) => &["Enter do it if the word is right", "Esc do nothing"],
        Some(Dialog::Pin { .. }) => &["Enter check it", "Esc leave"],
        Some(Dialog::Search(_)) => &["Enter search, all where nothing is typed", "Esc leave"],
        None => &on_screen(state),
    };
    let mut text = String::new();
    for hint in hints {
        let gap = if text.is_empty() { " " } else { "  " };
        let cells = text.chars().count() + gap.len() + hint.chars().count();
        if cells > usize::from(state.size.width) {
            break;
        }
        text.push_str(gap);
        text.push_str(hint);
    }
    Line::from(Span::styled(text, Tone::Faint.style()))
}

/// Most important first.
fn on_screen(state: &State) -> Vec<&'static str> {
    let mut hints = vec!["1-5 ←→ screen"];
    match (state.screen, &state.secret) {
        (Screen::Status, SecretShown::Hidden) if has_secret(state) => hints.push("s secret key"),
        (Screen::Status, SecretShown::Until(..)) => hints.push("s hide it"),
        (Screen::Status | Screen::Network | Screen::Identity, _) => {}
        (Screen::Disks, _) => hints.extend(["l locate LED", "t retire", "k keep"]),
        (Screen::Logs, _) => hints.extend(["/ search", "w level", "b reboot", "o power off"]),
    }
    hints.push(if state.screen == Screen::Disks { "↑↓ disk" } else { "↑↓ scroll" });
    if state.screen.sections().len() > 1 {
        hints.push(if state.focus.is_none() { "Tab section" } else { "Esc all" });
    }
    hints.push("r repaint");
    hints
}
