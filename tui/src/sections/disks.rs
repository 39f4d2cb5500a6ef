//! The disks: which there are, whose they are, and why one is not used.

use agent_api::disks::{DiskClass, DiskReport, DiskStatus, Ownership, VolumePhase};
use agent_api::status::{NodeStatus, VolumeState};
use ratatui::text::Line;

use super::{Tone, span};
use crate::state::State;
use crate::text::{cut, decimal_size, safe, wrap};

/// Columns of kernel name, class, size, ownership and serial number.
const NAME: usize = 8;
const CLASS: usize = 7;
const SIZE: usize = 8;
const OWNERSHIP: usize = 7;
const SERIAL: usize = 20;
/// Where the note starts.
const NOTE: usize = NAME + CLASS + SIZE + OWNERSHIP + SERIAL + 5;

pub(crate) fn title(state: &State) -> String {
    let Some((status, report)) = report(state) else { return "Disks".to_owned() };
    let in_use = report.disks.iter().filter(|disk| judge(status, disk).tone == Tone::Good).count();
    let mut title = format!("Disks: {in_use} of {} in use", report.disks.len());
    if !report.missing.is_empty() {
        title.push_str(&format!(", {} missing", report.missing.len()));
    }
    if let Some(capacity) = status.capacity {
        let (used, total) = (decimal_size(capacity.used.0), decimal_size(capacity.total.0));
        title.push_str(&format!(", {used} used of {total}"));
    }
    title
}

/// Every disk with everything that is known of it.
pub(crate) fn lines(state: &State, width: usize) -> Vec<Line<'static>> {
    let detail = |status: &NodeStatus, disk: &DiskStatus| {
        let judgement = judge(status, disk);
        let mut lines = vec![row(disk, &judgement, width)];
        // What did not fit behind the disk, on lines of its own.
        let fits = |note: &&String| note.chars().count() <= note_room(width);
        let shown = judgement.notes.iter().take(1).filter(fits).count();
        let room = width.saturating_sub(NAME + 1);
        let texts = judgement.notes.iter().skip(shown).flat_map(|note| wrap(note, room));
        lines.extend(texts.map(|text| Line::from(format!("{:NAME$} {text}", ""))));
        lines
    };
    all(state, detail)
}

/// One line per disk, those that need somebody first: the others are the ones to hide when not
/// all have room.
pub(crate) fn short_lines(state: &State, width: usize) -> Vec<Line<'static>> {
    let Some((status, report)) = report(state) else { return lines(state, width) };
    let mut judged: Vec<_> = report.disks.iter().map(|disk| (disk, judge(status, disk))).collect();
    judged.sort_by_key(|(_, judgement)| match judgement.tone {
        Tone::Bad => 0,
        Tone::Warning => 1,
        Tone::Plain | Tone::Faint => 2,
        Tone::Good => 3,
    });
    let rows = judged.iter().map(|(disk, judgement)| row(disk, judgement, width));
    missing(report).chain(rows).collect()
}

fn all(
    state: &State,
    each: impl Fn(&NodeStatus, &DiskStatus) -> Vec<Line<'static>>,
) -> Vec<Line<'static>> {
    let Some((status, report)) = report(state) else {
        return vec![Line::from(span(Tone::Warning, "unknown: icn-disks has not reported yet"))];
    };
    if report.disks.is_empty() && report.missing.is_empty() {
        return vec![Line::from(span(Tone::Warning, "none found"))];
    }
    missing(report).chain(report.disks.iter().flat_map(|disk| each(status, disk))).collect()
}

fn missing(report: &DiskReport) -> impl Iterator<Item = Line<'static>> {
    report.missing.iter().map(|id| {
        let mark = span(Tone::Bad, format!("{:NAME$} ", "missing"));
        Line::from(vec![mark, safe(&id.0).into()])
    })
}

fn report(state: &State) -> Option<(&NodeStatus, &DiskReport)> {
    let status = state.status.as_deref()?;
    Some((status, status.disks.as_ref()?))
}

/// What to say about a disk.
struct Judgement {
    tone: Tone,
    /// In words, most important first.
    notes: Vec<String>,
}

fn judge(status: &NodeStatus, disk: &DiskStatus) -> Judgement {
    let reasons = || disk.reasons.iter().map(|reason| safe(reason)).collect::<Vec<_>>();
    let with = |tone, note: &str| Judgement {
        tone,
        notes: std::iter::once(note.to_owned()).chain(reasons()).collect(),
    };
    match (disk.ownership, &disk.volume) {
        (Ownership::Ours, Some(volume)) => match &volume.phase {
            VolumePhase::Claiming => with(Tone::Warning, "being claimed"),
            VolumePhase::Unavailable { reason } => {
                with(Tone::Bad, &format!("unavailable: {}", safe(reason)))
            }
            VolumePhase::Mounted { .. } => {
                let state = status.volumes.iter().find(|used| used.id == volume.id);
                match state.map(|used| &used.state) {
                    Some(VolumeState::Attached) => with(Tone::Good, "in use"),
                    Some(VolumeState::Retiring) => with(Tone::Warning, "being emptied"),
                    Some(VolumeState::Retired) => with(Tone::Good, "retired: take it out"),
                    Some(VolumeState::Failed { reason }) => {
                        with(Tone::Bad, &format!("failed: {}", safe(reason)))
                    }
                    Some(VolumeState::Attaching) | None => with(Tone::Warning, "being read in"),
                }
            }
        },
        (Ownership::Ours, None) => with(Tone::Warning, "no volume on it"),
        (Ownership::Failing, _) => Judgement { tone: Tone::Bad, notes: reasons() },
        (Ownership::Boot, _) => Judgement { tone: Tone::Faint, notes: reasons() },
        (Ownership::Blank | Ownership::Foreign, _) => {
            Judgement { tone: Tone::Warning, notes: reasons() }
        }
    }
}

fn row(disk: &DiskStatus, judgement: &Judgement, width: usize) -> Line<'static> {
    let name = disk.device.file_name().unwrap_or(disk.device.as_os_str()).to_string_lossy();
    let serial = if disk.serial.is_empty() { "no serial number" } else { &disk.serial };
    let note = judgement.notes.first().map_or("", String::as_str);
    Line::from(vec![
        format!("{:NAME$} ", cut(&safe(&name), NAME)).into(),
        format!("{:CLASS$} ", class(disk.class)).into(),
        format!("{:>SIZE$} ", decimal_size(disk.size.0)).into(),
        span(judgement.tone, format!("{:OWNERSHIP$} ", ownership(disk.ownership))),
        format!("{:SERIAL$} ", cut(&safe(serial), SERIAL)).into(),
        span(judgement.tone, cut(note, note_room(width))),
    ])
}

fn note_room(width: usize) -> usize {
    width.saturating_sub(NOTE)
}

fn class(class: DiskClass) -> &'static str {
    match class {
        DiskClass::Hdd => "HDD",
        DiskClass::Ssd => "SSD",
        DiskClass::Nvme => "NVMe",
        DiskClass::Virtual => "virtual",
    }
}

fn ownership(ownership: Ownership) -> &'static str {
    match ownership {
        Ownership::Blank => "blank",
        Ownership::Ours => "ours",
        Ownership::Foreign => "foreign",
        Ownership::Boot => "boot",
        Ownership::Failing => "failing",
    }
}
