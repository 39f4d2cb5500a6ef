//! Paints the state. Changes nothing.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Widget;

use crate::sections::{Tone, node};
use crate::state::{Screen, State};
use crate::text::{cut, is_safe, safe};
use crate::view::{self, Pane};

/// Paints the whole screen.
pub(crate) fn draw(state: &State, buffer: &mut Buffer) {
    match state.screen {
        Screen::Status => status_screen(state, buffer),
    }
    keep_to_safe_glyphs(buffer);
}

fn status_screen(state: &State, buffer: &mut Buffer) {
    let area = buffer.area;
    let mut rows = (area.y..area.bottom()).map(|y| Rect { y, height: 1, ..area });
    let last = rows.next_back();
    if let Some(row) = rows.next() {
        title(state).render(row, buffer);
        buffer.set_style(row, Style::new().add_modifier(Modifier::REVERSED));
    }
    for pane in view::panes(state) {
        let focused = Some(pane.section) == state.focus;
        if let Some(row) = rows.next() {
            rule(&pane, focused, usize::from(area.width)).render(row, buffer);
        }
        let mut lines = pane.in_sight().iter();
        for row in rows.by_ref().take(pane.rows) {
            if let Some(line) = lines.next() {
                line.render(row, buffer);
            }
        }
    }
    if let Some(row) = last {
        keys(state).render(row, buffer);
    }
}

/// Name, state and version: what a technician looks for first, readable from afar.
fn title(state: &State) -> Line<'static> {
    let width = usize::from(state.size.width);
    let (name, version) = match &state.status {
        Some(status) => (
            safe(&status.name),
            match &status.system {
                Some(system) => safe(&system.image),
                None if status.version.is_empty() => String::new(),
                None => format!("agent {}", safe(&status.version)),
            },
        ),
        None => (String::new(), String::new()),
    };
    let (tone, word) = match (state.silence(), &state.status) {
        (Some(_), _) => (Tone::Bad, "NO ANSWER".to_owned()),
        (_, None) => (Tone::Warning, "STARTING".to_owned()),
        (_, Some(status)) => {
            (node::tone(status.state.word), status.state.word.to_string().to_uppercase())
        }
    };
    let word = format!(" {word} ");
    let room = width.saturating_sub(word.len() + 2);
    let left = cut(&format!(" ICN Node  {name}"), room);
    let right = cut(&version, room.saturating_sub(left.chars().count()));
    let used = left.chars().count() + word.len() + right.chars().count() + 2;
    let gap = " ".repeat(width.saturating_sub(used));
    Line::from(vec![
        left.into(),
        " ".into(),
        ratatui::text::Span::styled(word, tone.style()),
        gap.into(),
        right.into(),
    ])
}

/// The rule above a section: its title, and what is hidden above and below.
fn rule(pane: &Pane, focused: bool, width: usize) -> Line<'static> {
    let hidden = match (pane.above, pane.below()) {
        (0, 0) => String::new(),
        (above, 0) => format!(" ↑ {above} more "),
        (0, below) => format!(" ↓ {below} more "),
        (above, below) => format!(" ↑ {above} ↓ {below} more "),
    };
    let room = width.saturating_sub(hidden.chars().count() + 5);
    let title = format!(" {} ", cut(&safe(&pane.title), room));
    let used = 2 + title.chars().count() + hidden.chars().count();
    let fill = if focused { "═" } else { "─" };
    let style = if focused { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() };
    let text = format!("{fill}{title}{}{hidden}{fill}", fill.repeat(width.saturating_sub(used)));
    Line::from(ratatui::text::Span::styled(text, style.patch(Tone::Faint.style())))
}

fn keys(state: &State) -> Line<'static> {
    let text = match state.focus {
        None => " Tab section  ↑↓ PgUp PgDn scroll  r repaint",
        Some(_) => " Tab next section  Esc overview  ↑↓ PgUp PgDn Home End scroll  r repaint",
    };
    Line::from(ratatui::text::Span::styled(text, Tone::Faint.style()))
}

/// Whatever came in from outside, only glyphs that every console has reach the terminal.
fn keep_to_safe_glyphs(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        let mut chars = cell.symbol().chars();
        let safe = matches!((chars.next(), chars.next()), (Some(c), None) if is_safe(c));
        if !safe {
            cell.set_symbol("?");
        }
    }
}

#[cfg(test)]
#[path = "draw_tests.rs"]
mod tests;
