//! The selected disk with everything that is known of it.

use std::time::Duration;

use agent_api::pool::{PoolVolume, PoolVolumeState};
use ratatui::text::Line;

use super::disks::class;
use super::labels::Lines;
use super::{Tone, span};
use crate::shelf::{self, Row};
use crate::state::State;
use crate::text::{decimal_size, duration, safe, sentence};

/// Cells of the bar that shows how far a disk is emptied.
const BAR: u64 = 20;

pub(crate) fn title(state: &State) -> String {
    let rows = shelf::rows(state);
    match shelf::selected(&rows, state) {
        Some(row) => sentence(&row.called()),
        None => "No disk".to_owned(),
    }
}

/// Most important first: a small screen shows the first seven.
pub(crate) fn lines(state: &State, width: usize) -> Vec<Line<'static>> {
    let rows = shelf::rows(state);
    let Some(row) = shelf::selected(&rows, state) else { return Vec::new() };
    of_row(row, state, width)
}

/// Everything that is known of one disk.
pub(crate) fn of_row(row: &Row<'_>, state: &State, width: usize) -> Vec<Line<'static>> {
    let mut lines = Lines::new(width);
    let word = span(row.judgement.tone, row.judgement.word.clone());
    lines.add_after("Use", word, Tone::Plain, "");
    for reason in &row.judgement.reasons {
        lines.add("", Tone::Plain, reason);
    }
    if let Some(volume) = row.volume {
        emptying(&mut lines, row, volume);
    }
    verdict(&mut lines, row, state);
    if let Some(disk) = row.disk {
        let (class, size) = (class(disk.class), decimal_size(disk.size.0));
        lines.add("Model", Tone::Plain, &format!("{}, {class}, {size}", known(&disk.model)));
        lines.add("Serial", Tone::Plain, known(&disk.serial));
    }
    let lit = row.id.is_some_and(|id| state.lit.contains(id));
    let led = if lit { "; its locate LED was lit from here" } else { "" };
    match row.slot {
        Some(slot) => {
            let text = format!("{} of enclosure {}{led}", slot.slot, slot.enclosure);
            lines.add("Slot", Tone::Plain, &text);
        }
        None => lines.add("Slot", Tone::Faint, &format!("no enclosure tells where it is{led}")),
    }
    lines.add("Id", Tone::Plain, row.id.unwrap_or("none: it cannot be claimed"));
    if let Some(id) = row.volume_id() {
        lines.add("Volume", Tone::Plain, &volume(id, row.volume));
    }
    lines.finish()
}

fn known(text: &str) -> &str {
    if text.is_empty() { "none given" } else { text }
}

fn verdict(lines: &mut Lines, row: &Row<'_>, state: &State) {
    let Some(component) = row.health else {
        let why = match state.health {
            Some(_) => "not judged: it is not asked, or does not answer",
            None => "not asked yet",
        };
        return lines.add("Verdict", Tone::Faint, why);
    };
    let verdict = &component.verdict;
    let age = duration(Duration::from_millis(component.age_ms));
    let word = span(shelf::tone(verdict.health), format!("{} ", verdict.health));
    lines.add_after("Verdict", word, Tone::Faint, &format!("read {age} ago"));
    for evidence in &verdict.evidence {
        lines.add("", Tone::Plain, evidence);
    }
}

fn emptying(lines: &mut Lines, row: &Row<'_>, volume: &PoolVolume) {
    let PoolVolumeState::Retiring { began_with, left, waits } = &volume.state else { return };
    let percent = row.emptied_percent().unwrap_or(0);
    let done = percent * BAR / 100;
    let cells = |glyph: &str, count: u64| glyph.repeat(usize::try_from(count).unwrap_or(0));
    let bar = format!("{}{}", cells("█", done), cells("░", BAR - done));
    let text = format!("{bar} {percent} %, {left} of {began_with} files left");
    lines.add("Emptying", Tone::Warning, &text);
    if let Some(waits) = waits {
        lines.add("", Tone::Warning, &format!("waits: {waits}"));
    }
}

fn volume(id: &str, volume: Option<&PoolVolume>) -> String {
    let mut text = safe(id);
    let Some(volume) = volume else { return text };
    if volume.capacity_bytes > 0 {
        let (free, all) = (decimal_size(volume.free_bytes), decimal_size(volume.capacity_bytes));
        text.push_str(&format!(", {free} of {all} free"));
    }
    if volume.has_index {
        text.push_str(", has the index");
    }
    if volume.has_standby {
        text.push_str(", has the standby of the index");
    }
    let failed = volume.reads.errors + volume.writes.errors + volume.syncs.errors;
    if failed > 0 {
        text.push_str(&format!(", {failed} failed calls"));
    }
    if volume.damaged_blocks > 0 {
        text.push_str(&format!(", {} damaged blocks", volume.damaged_blocks));
    }
    text
}
