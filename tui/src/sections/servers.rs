//! Gateways, name servers, time servers, and the clock that these keep.

use agent_api::health::ClockReading;
use agent_api::init::SystemStatus;
use ratatui::text::Line;

use super::labels::Lines;
use super::{Tone, waiting};
use crate::state::State;

pub(super) fn lines(state: &State, width: usize) -> Vec<Line<'static>> {
    let Some(status) = &state.status else { return waiting() };
    let mut lines = Lines::new(width);
    lines.add("Name", Tone::Plain, &status.name);
    match &status.system {
        Some(system) => of_system(&mut lines, system),
        None => lines.add("Servers", Tone::Warning, "unknown: init does not answer"),
    }
    let (tone, clock) = clock(&status.clock);
    lines.add("Clock", tone, &clock);
    lines.add("Change", Tone::Faint, "with [network] and [time] of node.toml on the stick");
    lines.finish()
}

fn of_system(lines: &mut Lines, system: &SystemStatus) {
    let mut list = |label: &str, all: &[String], none: &str| match all {
        [] => lines.add(label, Tone::Warning, none),
        all => lines.add(label, Tone::Plain, &all.join(", ")),
    };
    list("Gateway", &system.gateways, "none: only neighbours can be reached");
    list("DNS", &system.dns, "none: names cannot be looked up");
    if !system.search.is_empty() {
        list("Search", &system.search, "");
    }
    list("Time", &system.time_servers, "none: nobody sets the clock");
}

/// How the clock does.
pub(super) fn clock(reading: &ClockReading) -> (Tone, String) {
    match reading {
        ClockReading::Synchronised { max_error_us, .. } => {
            (Tone::Plain, format!("synchronised within {} ms", max_error_us.div_ceil(1000)))
        }
        ClockReading::Unsynchronised => (Tone::Warning, "not synchronised".to_owned()),
        ClockReading::Unknown { reason } => (Tone::Warning, format!("unknown: {reason}")),
    }
}
