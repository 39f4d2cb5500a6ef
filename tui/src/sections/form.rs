//! A form, a line for each field, with what is wrong below it.

use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::{Tone, span};
use crate::form::{Field, Form, Value};
use crate::text::{cut, safe, wrap};

/// Columns of the mark, which the field with the keys has.
const MARK: usize = 2;
/// Columns of the labels.
const LABEL: usize = 12;
/// Columns of a text, at most.
const TEXT: usize = 100;

/// The lines, and the one of the field with the keys.
pub(super) fn lines(form: &Form, width: usize) -> (Vec<Line<'static>>, usize) {
    let mut lines = Vec::new();
    let mut focus = 0;
    for (index, field) in form.fields.iter().enumerate() {
        let is_focused = index == form.at;
        lines.push(line(field, is_focused, width));
        if is_focused {
            focus = lines.len();
        }
        if let Some(error) = &field.error {
            lines.extend(mistake(error, MARK + LABEL, width));
        }
    }
    if let Some(error) = &form.error {
        lines.extend(mistake(error, MARK, width));
    }
    let is_focused = form.at >= form.fields.len();
    let text = format!("[ {} ]", form.send);
    lines.push(Line::default());
    lines.push(Line::from(vec![mark(is_focused), Span::styled(text, weight(is_focused))]));
    if is_focused {
        focus = lines.len();
    }
    let hint = form.field().map_or("Enter does it", |field| field.hint);
    lines.push(Line::default());
    for text in wrap(&safe(hint), width.saturating_sub(MARK)) {
        lines.push(Line::from(vec![" ".repeat(MARK).into(), span(Tone::Faint, text)]));
    }
    (lines, focus)
}

fn mark(is_focused: bool) -> Span<'static> {
    if is_focused { "> ".into() } else { "  ".into() }
}

fn weight(is_focused: bool) -> Style {
    if is_focused { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() }
}

fn mistake(text: &str, indent: usize, width: usize) -> Vec<Line<'static>> {
    let room = width.saturating_sub(indent + 2);
    let texts = wrap(&safe(text), room).into_iter().enumerate();
    texts
        .map(|(index, text)| {
            let mark = if index == 0 { "! " } else { "  " };
            Line::from(vec![" ".repeat(indent).into(), span(Tone::Bad, format!("{mark}{text}"))])
        })
        .collect()
}

fn line(field: &Field, is_focused: bool, width: usize) -> Line<'static> {
    let room = width.saturating_sub(MARK + LABEL + 2).clamp(1, TEXT);
    let label = format!("{:LABEL$}", cut(field.label, LABEL - 1));
    let style = weight(is_focused);
    let mut spans = vec![mark(is_focused), span(Tone::Faint, label)];
    match &field.value {
        Value::Text { typed, cursor, .. } if is_focused => {
            spans.extend(with_cursor(&safe(typed), *cursor, room));
        }
        Value::Text { typed, .. } => spans.push(cut(&safe(typed), room).into()),
        Value::Choice { options, at } => {
            let text = safe(options.get(*at).map_or("", String::as_str));
            let text = if is_focused { format!("← {text} →") } else { text };
            spans.push(Span::styled(cut(&text, room), style));
        }
        Value::Flag(is_set) => {
            let text = if *is_set { "[x] yes" } else { "[ ] no" };
            spans.push(Span::styled(text, style));
        }
        Value::Secret { typed, .. } => {
            let stars = "*".repeat(typed.reveal().chars().count());
            let cursor = if is_focused { "_" } else { "" };
            spans.push(Span::styled(cut(&format!("{stars}{cursor}"), room), style));
        }
    }
    Line::from(spans)
}

/// The part of a text around the cursor, which is a `_` at its end and turned round elsewhere.
fn with_cursor(text: &str, cursor: usize, room: usize) -> Vec<Span<'static>> {
    let skipped = (cursor + 1).saturating_sub(room);
    let shown: Vec<char> = text.chars().skip(skipped).take(room).collect();
    let at = (cursor - skipped).min(shown.len());
    let (before, behind) = shown.split_at(at);
    let style = weight(true);
    let of = |chars: &[char]| chars.iter().collect::<String>();
    let mut spans = vec![Span::styled(of(before), style)];
    match behind.split_first() {
        Some((under, rest)) => {
            let style = style.add_modifier(Modifier::REVERSED);
            spans.push(Span::styled(under.to_string(), style));
            spans.push(Span::styled(of(rest), weight(true)));
        }
        None => spans.push(Span::styled("_", style)),
    }
    spans
}
