//! The end of the log of all services.

use ratatui::text::Line;

use super::{Tone, span};
use crate::state::{Filter, Level, State};
use crate::text::{safe, wrap_hanging};

/// Columns by which the continuation of a long line is set in.
const INDENT: usize = 4;

/// What is shown and how much of it.
pub(super) fn title(state: &State) -> String {
    let Filter { level, text } = &state.filter;
    let mut title = match level {
        Level::All => "Log".to_owned(),
        Level::Warnings => "Log, warnings and errors".to_owned(),
        Level::Errors => "Log, errors".to_owned(),
    };
    if !text.is_empty() {
        title.push_str(&format!(", with \"{}\"", safe(text)));
    }
    if state.filter != Filter::default() {
        let shown = state.log.iter().filter(|line| passes(&state.filter, line)).count();
        title.push_str(&format!(": {shown} of {} lines", state.log.len()));
    }
    title
}

pub(crate) fn lines(state: &State, width: usize) -> Vec<Line<'static>> {
    let shown: Vec<Line<'static>> = state
        .log
        .iter()
        .filter(|line| passes(&state.filter, line))
        .flat_map(|line| wrapped(line, width).into_iter().map(|text| tinted(line, text)))
        .collect();
    if !shown.is_empty() {
        return shown;
    }
    let none = if state.log.is_empty() { "no lines yet" } else { "no such lines" };
    vec![Line::from(span(Tone::Faint, none))]
}

/// Whether a line is to be shown.
pub(crate) fn passes(filter: &Filter, line: &str) -> bool {
    let level = match filter.level {
        Level::All => true,
        Level::Warnings => matches!(tone(line), Tone::Warning | Tone::Bad),
        Level::Errors => tone(line) == Tone::Bad,
    };
    level && contains(line, &filter.text)
}

/// Whether `text` stands in `line`; large and small letters of ASCII are alike.
fn contains(line: &str, text: &str) -> bool {
    let text = text.as_bytes();
    text.is_empty()
        || line.as_bytes().windows(text.len()).any(|part| part.eq_ignore_ascii_case(text))
}

/// One line of the log, broken to the width.
pub(crate) fn wrapped(line: &str, width: usize) -> Vec<String> {
    let line = safe(short_time(line).as_ref());
    let lines = wrap_hanging(&line, width, width.saturating_sub(INDENT));
    let set_in = |(index, text)| if index == 0 { text } else { format!("{:INDENT$}{text}", "") };
    lines.into_iter().enumerate().map(set_in).collect()
}

fn tinted(line: &str, text: String) -> Line<'static> {
    Line::from(span(tone(line), text))
}

/// By the level, which our own services write behind time and name.
fn tone(line: &str) -> Tone {
    let level = |word: &str| line.split_whitespace().take(4).any(|found| found == word);
    if level("ERROR") {
        Tone::Bad
    } else if level("WARN") {
        Tone::Warning
    } else {
        Tone::Plain
    }
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
    fn a_filter_goes_by_level_and_text() {
        let warning = "2026-03-01T12:34:56.789Z icn-agent WARN Disk slow";
        let error = "2026-03-01T12:34:56.789Z icn-agent ERROR no room";
        let passing = |level, text: &str| {
            let filter = Filter { level, text: text.to_owned() };
            [warning, error].map(|line| passes(&filter, line))
        };
        assert_eq!(passing(Level::All, ""), [true, true]);
        assert_eq!(passing(Level::Warnings, "dISK"), [true, false]);
        assert_eq!(passing(Level::Errors, ""), [false, true]);
        assert_eq!(passing(Level::All, "smart"), [false, false]);
    }

    #[test]
    fn a_long_line_goes_on_set_in() {
        assert_eq!(wrapped("aaaa bbbb cccc dddd", 10), ["aaaa bbbb", "    cccc", "    dddd"]);
    }
}
