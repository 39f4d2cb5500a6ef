//! The words of each section.

pub(crate) mod disks;
pub(crate) mod log;
pub(crate) mod node;
pub(crate) mod problems;

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use crate::state::State;
use crate::view::Section;

/// Columns of the labels in the node section.
const LABEL_WIDTH: usize = 9;

/// All lines of a section at this width.
pub(crate) fn lines(section: Section, state: &State, width: usize) -> Vec<Line<'static>> {
    match section {
        Section::Problems => problems::lines(state, width),
        Section::Node => node::lines(state, width),
        Section::Disks => disks::lines(state, width),
        Section::Log => log::lines(state, width),
    }
}

/// A shorter form for when not all lines have room; `None` where there is none.
pub(crate) fn short_lines(
    section: Section,
    state: &State,
    width: usize,
    rows: usize,
) -> Option<Vec<Line<'static>>> {
    match section {
        Section::Problems => Some(problems::short_lines(state, width, rows)),
        Section::Disks => Some(disks::short_lines(state, width)),
        Section::Node | Section::Log => None,
    }
}

/// The words in the rule above a section.
pub(crate) fn title(section: Section, state: &State) -> String {
    match section {
        Section::Problems => problems::title(state),
        Section::Node => node::title(state),
        Section::Disks => disks::title(state),
        Section::Log => "Log".to_owned(),
    }
}

/// How a word is meant. The word itself says it too: colour is never alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing special.
    Plain,
    /// A label or something of little interest.
    Faint,
    /// As it should be.
    Good,
    /// Needs attention.
    Warning,
    /// Does not work.
    Bad,
}

impl Tone {
    /// The tone in the 16 colours of a console.
    pub(crate) fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Faint => Style::new().fg(Color::Cyan),
            Self::Good => Style::new().fg(Color::Green),
            Self::Warning => Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD),
            Self::Bad => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        }
    }
}

/// Text in a tone.
fn span(tone: Tone, text: impl Into<String>) -> Span<'static> {
    Span::styled(text.into(), tone.style())
}
