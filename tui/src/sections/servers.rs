//! Gateways, name servers, time servers, and the clock that these keep.

use agent_api::health::ClockReading;
use agent_api::init::{NetworkOrigin, SystemStatus};
use agent_api::status::NodeStatus;
use ratatui::text::Line;

use super::labels::Lines;
use super::{Tone, waiting};
use crate::network;
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
    if let Some(proxy) = proxy(status) {
        lines.add("Proxy", Tone::Plain, &proxy);
    }
    let (tone, settings) = settings(status);
    lines.add("Settings", tone, &settings);
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
    list("NTP", &system.time_servers, "none: nobody sets the clock");
}

/// The proxy, and what goes around it; none where there is none.
fn proxy(status: &NodeStatus) -> Option<String> {
    let settings = network::base(status.system.as_ref()?).ok()?;
    let mut text = settings.proxy.as_ref()?.to_string();
    let direct: Vec<_> = settings.no_proxy.iter().map(ToString::to_string).collect();
    if !direct.is_empty() {
        text.push_str(&format!(", not for {}", direct.join(", ")));
    }
    Some(text)
}

/// Where the settings come from, and how they are changed.
fn settings(status: &NodeStatus) -> (Tone, String) {
    let state = status.system.as_ref().and_then(|system| system.network.as_ref());
    let is_set = state.is_some_and(|state| state.origin == NetworkOrigin::Set);
    let (tone, text) = match (is_set, status.network_kept) {
        (false, _) => (Tone::Faint, "from node.toml; e sets a port up otherwise"),
        (true, true) => {
            (Tone::Faint, "made on this node; e changes them, d goes back to node.toml")
        }
        (true, false) => {
            (Tone::Warning, "made on this node, until it restarts; e changes them, d goes back")
        }
    };
    (tone, text.to_owned())
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
