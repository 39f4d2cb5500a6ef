//! Paints the state. Changes nothing.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::dialog::Dialog;
use crate::hints;
use crate::screen::Screen;
use crate::sections::{Tone, node, problems, sheet, steps};
use crate::state::State;
use crate::text::{cut, is_safe, safe, wrap};
use crate::view;

/// Columns of a dialog with its frame, where the terminal has so many.
const DIALOG_WIDTH: u16 = 70;

/// Paints the whole screen.
pub(crate) fn draw(state: &State, buffer: &mut Buffer) {
    let area = buffer.area;
    let mut rows = (area.y..area.bottom()).map(|y| Rect { y, height: 1, ..area });
    let foot = view::foot_rows(state).min(usize::from(area.height));
    let mut foot: Vec<Rect> = rows.by_ref().rev().take(foot).collect();
    foot.reverse();
    if let Some(row) = rows.next() {
        title(state).render(row, buffer);
        buffer.set_style(row, Style::new().add_modifier(Modifier::REVERSED));
    }
    if let Some(row) = rows.next() {
        if state.steps.is_open { steps::tabs(state) } else { tabs(state) }.render(row, buffer);
    }
    let width = usize::from(area.width);
    if let Some((page, above)) = view::page(state) {
        let shown = rows.len().saturating_sub(1);
        let below = page.lines.len().saturating_sub(above + shown);
        if let Some(row) = rows.next() {
            rule(&page.title, (above, below), true, width).render(row, buffer);
        }
        for (row, line) in rows.zip(page.lines.iter().skip(above)) {
            line.render(row, buffer);
        }
    } else {
        for pane in view::panes(state) {
            let focused = Some(pane.section) == state.focus;
            if let Some(row) = rows.next() {
                let hidden = (pane.above, pane.below());
                rule(&pane.title, hidden, focused, width).render(row, buffer);
            }
            let mut lines = pane.in_sight().iter();
            for row in rows.by_ref().take(pane.rows) {
                if let Some(line) = lines.next() {
                    line.render(row, buffer);
                }
            }
        }
    }
    if let Some(row) = foot.first() {
        notice(state, *row, buffer);
    }
    paint_foot(state, &foot, buffer);
    if let Some(dialog) = &state.dialog {
        paint_dialog(dialog, buffer);
    }
    keep_to_safe_glyphs(buffer);
}

/// That settings of the network are tried, and the keys.
fn paint_foot(state: &State, rows: &[Rect], buffer: &mut Buffer) {
    let mut lines = hints::lines(state);
    if let Some(text) = sheet::banner(state) {
        let width = usize::from(state.size.width);
        let style = Tone::Warning.style().add_modifier(Modifier::REVERSED);
        lines.insert(0, Line::from(Span::styled(format!("{:width$}", cut(&text, width)), style)));
    }
    for (row, line) in rows.iter().zip(lines) {
        line.render(*row, buffer);
    }
}

/// The names of the screens, the one that is shown in brackets, and how many problems there are.
fn tabs(state: &State) -> Line<'static> {
    let mut spans = Vec::new();
    for (number, screen) in (1..).zip(Screen::ALL) {
        let name = format!("{number} {}", screen.name());
        spans.push(if screen == state.screen {
            Span::styled(format!("[{name}]"), Style::new().add_modifier(Modifier::BOLD))
        } else {
            Span::styled(format!(" {name} "), Tone::Faint.style())
        });
    }
    let problems = match problems::all(state).len() {
        0 => String::new(),
        1 => "1 problem ".to_owned(),
        more => format!("{more} problems "),
    };
    let used: usize = spans.iter().map(Span::width).sum();
    let room = usize::from(state.size.width).saturating_sub(used);
    if state.screen != Screen::Status && problems.len() < room {
        spans.push(Span::raw(" ".repeat(room - problems.len())));
        spans.push(Span::styled(problems, Tone::Warning.style()));
    }
    Line::from(spans)
}

/// A message, in the rows above the keys.
fn notice(state: &State, keys: Rect, buffer: &mut Buffer) {
    let Some(notice) = &state.notice else { return };
    let (tone, word) = if notice.is_bad { (Tone::Bad, "! ") } else { (Tone::Good, "> ") };
    let width = usize::from(keys.width);
    let room = width.saturating_sub(word.len() + 1);
    let texts = wrap(&safe(&notice.text), room);
    let above = u16::try_from(texts.len()).unwrap_or(u16::MAX).min(keys.y.saturating_sub(2));
    for (y, text) in (keys.y - above..keys.y).zip(texts) {
        let row = Rect { y, height: 1, ..keys };
        let text = format!("{word}{text}");
        let fill = " ".repeat(width.saturating_sub(text.chars().count()));
        let style = tone.style().add_modifier(Modifier::REVERSED);
        Line::from(Span::styled(format!("{text}{fill}"), style)).render(row, buffer);
    }
}

/// A framed question in the middle of the screen.
fn paint_dialog(dialog: &Dialog, buffer: &mut Buffer) {
    let area = buffer.area;
    let width = DIALOG_WIDTH.min(area.width);
    let inner = usize::from(width.saturating_sub(4));
    let (title, lines) = dialog_lines(dialog, inner);
    let wanted = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX);
    let height = wanted.min(area.height.saturating_sub(2));
    if width < 10 || height < 3 {
        return;
    }
    let x = area.x + (area.width - width) / 2;
    let y = area.y + (area.height - height) / 2;
    let frame = |left: &str, right: &str, title: &str| {
        let fill = usize::from(width).saturating_sub(2 + title.chars().count());
        format!("{left}{title}{}{right}", "═".repeat(fill))
    };
    let title = format!(" {} ", cut(&safe(&title), inner));
    let mut put = |offset: u16, line: Line<'static>| {
        let row = Rect { x, y: y + offset, width, height: 1 };
        line.render(row, buffer);
    };
    put(0, Line::from(frame("╔", "╗", &title)));
    // What is typed stands on the last line and is seen whatever else is not.
    let shown = usize::from(height - 2);
    let hidden = lines.len().saturating_sub(shown);
    for (offset, mut line) in (1..height - 1).zip(lines.into_iter().skip(hidden)) {
        let fill = inner.saturating_sub(line.width());
        line.spans.insert(0, Span::raw("║ "));
        line.spans.push(Span::raw(format!("{} ║", " ".repeat(fill))));
        put(offset, line);
    }
    put(height - 1, Line::from(frame("╚", "╝", "")));
}

fn dialog_lines(dialog: &Dialog, width: usize) -> (String, Vec<Line<'static>>) {
    let plain = |text: &str| wrap(&safe(text), width).into_iter().map(Line::from);
    match dialog {
        Dialog::Pin { typed, .. } => {
            let stars = "*".repeat(typed.reveal().chars().count());
            ("This is guarded by a PIN".to_owned(), vec![entry("PIN", &stars, width)])
        }
        Dialog::Search(typed) => ("Search the log".to_owned(), vec![entry("Text", typed, width)]),
        Dialog::Confirm(confirm) => {
            let mut lines: Vec<Line<'static>> = Vec::new();
            for paragraph in &confirm.means {
                lines.extend(plain(paragraph));
                lines.push(Line::default());
            }
            if confirm.is_wrong {
                let text = "That was another word. Nothing was done.";
                lines.push(Line::from(Span::styled(text, Tone::Bad.style())));
            }
            lines.push(entry(&confirm.asks, &confirm.typed, width));
            (confirm.action.title(), lines)
        }
    }
}

/// What is typed, behind what is asked for.
fn entry(asked: &str, typed: &str, width: usize) -> Line<'static> {
    let asked = cut(&safe(asked), width / 2 + width / 4);
    let room = width.saturating_sub(asked.chars().count() + 3);
    let skipped = typed.chars().count().saturating_sub(room);
    let typed: String = safe(typed).chars().skip(skipped).collect();
    let style = Style::new().add_modifier(Modifier::BOLD);
    Line::from(vec![format!("{asked}: ").into(), Span::styled(format!("{typed}_"), style)])
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
        Span::styled(word, tone.style()),
        gap.into(),
        right.into(),
    ])
}

/// The rule above a section: its title, and what is hidden above and below.
fn rule(title: &str, hidden: (usize, usize), focused: bool, width: usize) -> Line<'static> {
    let hidden = match hidden {
        (0, 0) => String::new(),
        (above, 0) => format!(" ↑ {above} more "),
        (0, below) => format!(" ↓ {below} more "),
        (above, below) => format!(" ↑ {above} ↓ {below} more "),
    };
    let room = width.saturating_sub(hidden.chars().count() + 5);
    let title = format!(" {} ", cut(&safe(title), room));
    let used = 2 + title.chars().count() + hidden.chars().count();
    let fill = if focused { "═" } else { "─" };
    let style = if focused { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() };
    let text = format!("{fill}{title}{}{hidden}{fill}", fill.repeat(width.saturating_sub(used)));
    Line::from(Span::styled(text, style.patch(Tone::Faint.style())))
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
pub(crate) mod tests;
