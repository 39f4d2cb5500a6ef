//! What deserves attention.

use agent_api::status::{Problem, Severity};
use ratatui::text::Line;

use super::{Tone, span};
use crate::state::State;
use crate::text::{cut_lines, duration, safe, wrap};

/// Every problem, worst first: the agent's, and that the agent does not answer.
pub(crate) fn all(state: &State) -> Vec<Problem> {
    let mut all = Vec::new();
    if let Some((silence, reason)) = state.silence() {
        let silence = duration(silence);
        let shown = match state.status {
            Some(_) => "what stands below is from before",
            None => "nothing is known of the node yet",
        };
        all.push(Problem {
            severity: Severity::Error,
            about: "agent".to_owned(),
            text: format!("no answer for {silence}; {shown} ({reason})"),
        });
    }
    if let Some(status) = &state.status {
        all.extend(status.problems.iter().cloned());
    }
    all
}

pub(crate) fn title(state: &State) -> String {
    match all(state).len() {
        1 => "1 problem".to_owned(),
        more => format!("{more} problems"),
    }
}

pub(crate) fn lines(state: &State, width: usize) -> Vec<Line<'static>> {
    all(state).iter().flat_map(|problem| problem_lines(problem, width, usize::MAX)).collect()
}

/// At least the first line of each; what room is left goes round, worst first.
pub(crate) fn short_lines(state: &State, width: usize, rows: usize) -> Vec<Line<'static>> {
    let all = all(state);
    let full: Vec<_> =
        all.iter().map(|problem| problem_lines(problem, width, usize::MAX).len()).collect();
    let mut given = vec![1_usize; all.len()];
    let mut left = rows.saturating_sub(all.len());
    while left > 0 {
        let before = left;
        for (given, full) in given.iter_mut().zip(&full) {
            if *given < *full && left > 0 {
                *given += 1;
                left -= 1;
            }
        }
        if left == before {
            break;
        }
    }
    let pairs = all.iter().zip(given);
    pairs.flat_map(|(problem, rows)| problem_lines(problem, width, rows)).collect()
}

fn problem_lines(problem: &Problem, width: usize, most: usize) -> Vec<Line<'static>> {
    let tone = match problem.severity {
        Severity::Error => Tone::Bad,
        Severity::Warning => Tone::Warning,
    };
    // As wide as the longest severity and a space, so that texts stand in one column.
    const MARK_WIDTH: usize = 8;
    let text = safe(&format!("{}: {}", problem.about, problem.text));
    let room = width.saturating_sub(MARK_WIDTH + 1);
    cut_lines(wrap(&text, room), most, room)
        .into_iter()
        .enumerate()
        .map(|(index, text)| {
            let mark = if index == 0 { problem.severity.to_string() } else { String::new() };
            Line::from(vec![span(tone, format!("{mark:MARK_WIDTH$}")), text.into()])
        })
        .collect()
}
