//! Lines with a label in front.

use ratatui::text::{Line, Span};

use super::{Tone, span};
use crate::text::{safe, wrap_hanging};

/// Columns of the labels.
const LABEL_WIDTH: usize = 9;

/// Columns by which the continuation of a long text is set in.
const INDENT: usize = 2;

/// Lines with a label in front.
pub(super) struct Lines {
    room: usize,
    lines: Vec<Line<'static>>,
}

impl Lines {
    /// None yet, at this width.
    pub(super) fn new(width: usize) -> Self {
        Self { room: width.saturating_sub(LABEL_WIDTH + 1), lines: Vec::new() }
    }

    /// Columns behind the label.
    pub(super) fn room(&self) -> usize {
        self.room
    }

    /// Adds a text, wrapped, behind `label`.
    pub(super) fn add(&mut self, label: &str, tone: Tone, text: &str) {
        self.add_after(label, Span::raw(""), tone, text);
    }

    /// Adds a text, wrapped, behind `label` and a first word.
    pub(super) fn add_after(&mut self, label: &str, first: Span<'static>, tone: Tone, text: &str) {
        let rest = self.room.saturating_sub(INDENT);
        let room = self.room.saturating_sub(first.content.chars().count());
        for (index, text) in wrap_hanging(&safe(text), room, rest).into_iter().enumerate() {
            if index == 0 {
                self.push(label, vec![first.clone(), span(tone, text)]);
            } else {
                self.push("", vec![" ".repeat(INDENT).into(), span(tone, text)]);
            }
        }
    }

    /// All of them.
    pub(super) fn finish(self) -> Vec<Line<'static>> {
        self.lines
    }

    fn push(&mut self, label: &str, spans: Vec<Span<'static>>) {
        let label = span(Tone::Faint, format!("{label:LABEL_WIDTH$}"));
        self.lines.push(std::iter::once(label).chain(spans).collect::<Vec<_>>().into());
    }
}
