//! The list of disks: where each is, how it does, and what it is used for.

use agent_api::disks::DiskClass;
use ratatui::text::Line;

use super::{Tone, span, waiting};
use crate::shelf::{self, Row};
use crate::state::State;
use crate::text::{cut, decimal_size, safe};

/// Columns of slot, kernel name, class, size, verdict and serial number.
const SLOT: usize = 8;
const NAME: usize = 8;
const CLASS: usize = 7;
const SIZE: usize = 8;
const HEALTH: usize = 7;
const SERIAL: usize = 20;

/// Before the selected disk, and as wide before the others.
const MARK: &str = "> ";

pub(crate) fn title(state: &State) -> String {
    match shelf::summary(state) {
        Some(summary) => format!("Disks: {summary}"),
        None => "Disks".to_owned(),
    }
}

/// A line for each disk.
pub(crate) fn lines(state: &State, width: usize) -> Vec<Line<'static>> {
    if state.status.is_none() {
        return waiting();
    }
    if shelf::report(state).is_none() {
        return vec![Line::from(span(Tone::Warning, "unknown: icn-disks has not reported yet"))];
    }
    let rows = shelf::rows(state);
    if rows.is_empty() {
        return vec![Line::from(span(Tone::Warning, "none found"))];
    }
    let selected = shelf::selected_index(&rows, state);
    let with_slots = rows.iter().any(|row| row.slot.is_some());
    let lines = rows.iter().enumerate();
    lines.map(|(index, row)| line(row, index == selected, with_slots, width)).collect()
}

fn line(row: &Row<'_>, is_selected: bool, with_slots: bool, width: usize) -> Line<'static> {
    let mark = if is_selected { MARK } else { "  " };
    let slot = match (with_slots, row.slot) {
        (false, _) => String::new(),
        (true, slot) => {
            let slot = slot.map_or_else(String::new, |slot| safe(&slot.slot));
            format!("{:SLOT$} ", cut(&slot, SLOT))
        }
    };
    let what = match row.disk {
        Some(disk) => format!("{:CLASS$} {:>SIZE$}", class(disk.class), decimal_size(disk.size.0)),
        None => " ".repeat(CLASS + 1 + SIZE),
    };
    let (tone, health) = match row.health {
        Some(component) => {
            (shelf::tone(component.verdict.health), component.verdict.health.to_string())
        }
        None => (Tone::Faint, "-".to_owned()),
    };
    let serial = row.serial().or(row.disk.is_none().then_some(row.key.as_str()));
    let serial = serial.map_or_else(|| "no serial number".to_owned(), safe);
    let front = format!("{mark}{slot}{:NAME$} {what} ", cut(&row.name(), NAME));
    let used = front.chars().count() + HEALTH + 1 + SERIAL + 1;
    Line::from(vec![
        front.into(),
        span(tone, format!("{health:HEALTH$} ")),
        format!("{:SERIAL$} ", cut(&serial, SERIAL)).into(),
        span(row.judgement.tone, cut(&note(row), width.saturating_sub(used))),
    ])
}

/// The use, and as much of why as fits behind it.
fn note(row: &Row<'_>) -> String {
    match row.judgement.reasons.first() {
        Some(reason) => format!("{}: {reason}", row.judgement.word),
        None => row.judgement.word.clone(),
    }
}

/// How the disk stores bits, in a word.
pub(super) fn class(class: DiskClass) -> &'static str {
    match class {
        DiskClass::Hdd => "HDD",
        DiskClass::Ssd => "SSD",
        DiskClass::Nvme => "NVMe",
        DiskClass::Virtual => "virtual",
    }
}
