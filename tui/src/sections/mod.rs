//! The words of each section.

pub(crate) mod disk;
pub(crate) mod disks;
mod earning;
mod form;
mod hardware;
pub(crate) mod identity;
mod labels;
pub(crate) mod log;
pub(crate) mod node;
mod oracles;
mod ports;
pub(crate) mod problems;
mod qr;
pub(crate) mod rewards;
mod servers;
pub(crate) mod sheet;
pub(crate) mod steps;

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use crate::screen::Section;
use crate::state::State;

/// All lines of a section at this width.
pub(crate) fn lines(section: Section, state: &State, width: usize) -> Vec<Line<'static>> {
    match section {
        Section::Problems => problems::lines(state, width),
        Section::Node => node::lines(state, width),
        Section::Ports => ports::lines(state, width),
        Section::Servers => servers::lines(state, width),
        Section::Disks => disks::lines(state, width),
        Section::Disk => disk::lines(state, width),
        Section::Identity => identity::lines(state, width),
        Section::Log => log::lines(state, width),
        Section::Hardware => hardware::lines(state, width),
    }
}

/// How the node does with its oracles, which is a part of [`Section::Node`].
pub(crate) fn sla_lines(state: &State, width: usize) -> Vec<Line<'static>> {
    let Some(status) = &state.status else { return waiting() };
    let mut lines = labels::Lines::new(width);
    oracles::lines(&mut lines, status);
    lines.finish()
}

/// A shorter form for when not all lines have room; `None` where there is none.
pub(crate) fn short_lines(
    section: Section,
    state: &State,
    width: usize,
    rows: usize,
) -> Option<Vec<Line<'static>>> {
    (section == Section::Problems).then(|| problems::short_lines(state, width, rows))
}

/// The words in the rule above a section.
pub(crate) fn title(section: Section, state: &State) -> String {
    match section {
        Section::Problems => problems::title(state),
        Section::Node => node::title(state),
        Section::Ports => ports::title(state),
        Section::Servers => "Servers".to_owned(),
        Section::Disks => disks::title(state),
        Section::Disk => disk::title(state),
        Section::Identity => "Identity".to_owned(),
        Section::Log => log::title(state),
        Section::Hardware => hardware::title(state),
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

/// The only line of a section while nothing is known.
fn waiting() -> Vec<Line<'static>> {
    vec![Line::from("Waiting for the agent's first answer.")]
}
