//! The end of the log of all services.

use ratatui::text::Line;

use super::{Tone, span};
use crate::state::State;
use crate::text::{safe, wrap_hanging};

/// Columns by which the continuation of a long line is set in.
const INDENT: usize = 4;

pub(crate) fn lines(state: &State, width: usize) -> Vec<Line<'static>> {
    if state.log.is_empty() {
        return vec![Line::from(span(Tone::Faint, "no lines yet"))];
    }
    state
        .log
        .iter()
        .flat_map(|line| wrapped(line, width).into_iter().map(|text| tinted(line, text)))
        .collect()
}

/// One line of the log, broken to the width.
pub(crate) fn wrapped(line: &str, width: usize) -> Vec<String> {
    let line = safe(short_time(line).as_ref());
    let lines = wrap_hanging(&line, width, width.saturating_sub(INDENT));
    let set_in = |(index, text)| if index == 0 { text } else { format!("{:INDENT$}{text}", "") };
    lines.into_iter().enumerate().map(set_in).collect()
}

fn tinted(line: &str, text: String) -> Line<'static> {
    let level = |word: &str| line.split_whitespace().take(4).any(|found| found == word);
    let tone = if level("ERROR") {
        Tone::Bad
    } else if level("WARN") {
        Tone::Warning
    } else {
        Tone::Plain
    };
    Line::from(span(tone, text))
}

/// `2026-03-01T12:34:56.789Z icn-disks …` without the date: the day fits on no small screen, and
/// the log file has it.
fn short_time(line: &str) -> std::borrow::Cow<'_, str> {
    let Some((time, rest)) = line.split_once(' ') else { return line.into() };
    match time.split_once('T').and_then(|(_, clock)| clock.get(..8)) {
        Some(clock) if clock.bytes().all(|byte| byte.is_ascii_digit() || byte == b':') => {
            format!("{clock} {rest}").into()
        }
        _ => line.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_the_time_of_day() {
        let line = "2026-03-01T12:34:56.789Z icn-disks INFO mounted";
        assert_eq!(wrapped(line, 60), ["12:34:56 icn-disks INFO mounted"]);
        assert_eq!(wrapped("no time here", 60), ["no time here"]);
    }

    #[test]
    fn a_long_line_goes_on_set_in() {
        assert_eq!(wrapped("aaaa bbbb cccc dddd", 10), ["aaaa bbbb", "    cccc", "    dddd"]);
    }
}
