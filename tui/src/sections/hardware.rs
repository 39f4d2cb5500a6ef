//! The components of the machine with the verdict on each.

use agent_api::health::Health;
use ratatui::text::Line;

use super::{Tone, span, waiting};
use crate::shelf::tone;
use crate::state::State;
use crate::text::{safe, wrap};

/// Columns of a verdict and the space behind it.
const MARK: usize = 8;

pub(super) fn title(state: &State) -> String {
    let Some(report) = &state.health else { return "Hardware".to_owned() };
    let count = |health| {
        let of = report.components.iter().filter(|one| one.verdict.health == health);
        of.count()
    };
    let all = [Health::Failing, Health::Warning, Health::Unknown, Health::Healthy];
    let counts = all.map(|health| format!("{} {health}", count(health)));
    format!("Hardware: {}", counts.join(", "))
}

/// The gravest first, each with its evidence.
pub(super) fn lines(state: &State, width: usize) -> Vec<Line<'static>> {
    let Some(report) = &state.health else { return waiting() };
    let room = width.saturating_sub(MARK + 1);
    let mut lines = Vec::new();
    for component in &report.components {
        let verdict = &component.verdict;
        let text = match verdict.evidence.as_slice() {
            [] => format!("{} {}", verdict.kind, verdict.name),
            all => format!("{} {}: {}", verdict.kind, verdict.name, all.join("; ")),
        };
        for (index, text) in wrap(&safe(&text), room).into_iter().enumerate() {
            let mark = if index == 0 { verdict.health.to_string() } else { String::new() };
            let mark = span(tone(verdict.health), format!("{mark:MARK$}"));
            lines.push(Line::from(vec![mark, text.into()]));
        }
    }
    if lines.is_empty() {
        lines.push(Line::from(span(Tone::Faint, "nothing was judged yet")));
    }
    lines
}
