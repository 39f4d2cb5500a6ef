//! The network ports.

use agent_api::init::{PortStatus, SystemStatus};
use agent_api::status::NodeStatus;
use ratatui::text::Line;

use super::labels::Lines;
use super::{Tone, span, waiting};
use crate::state::State;
use crate::text::{cut, safe, wrap};

/// Columns of a port's name; the kernel's are at most 15 long (IFNAMSIZ).
const NAME: usize = 15;
/// Columns of its link, speed, longest packet and set-up.
const LINK: usize = 7;
const SPEED: usize = 5;
const MTU: usize = 5;
const SETUP: usize = 6;
/// Columns of a hardware address.
const MAC: usize = 17;

pub(super) fn title(state: &State) -> String {
    let system = state.status.as_ref().and_then(|status| status.system.as_ref());
    let Some(system) = system else { return "Ports".to_owned() };
    let linked = system.ports.iter().filter(|port| port.link).count();
    format!("Ports: {linked} of {} with a link", system.ports.len())
}

/// A table of all ports, each with its addresses below it.
pub(super) fn lines(state: &State, width: usize) -> Vec<Line<'static>> {
    let Some(status) = &state.status else { return waiting() };
    let ports = match ports(status) {
        Ok(ports) => ports,
        Err((tone, text)) => return vec![Line::from(span(tone, text))],
    };
    let head = format!(
        "{:NAME$} {:LINK$} {:SPEED$} {:>MTU$} {:SETUP$} {:MAC$}",
        "port", "link", "speed", "MTU", "set-up", "hardware address"
    );
    let mut lines = vec![Line::from(span(Tone::Faint, cut(&head, width)))];
    for port in ports {
        lines.push(row(port));
        let text = match (port.addresses.is_empty(), port.link) {
            (false, _) => port.addresses.join(" "),
            (true, true) => "no address".to_owned(),
            (true, false) => continue,
        };
        let room = width.saturating_sub(NAME + 1);
        let wrapped = wrap(&safe(&text), room).into_iter();
        lines.extend(wrapped.map(|text| Line::from(format!("{:NAME$} {text}", ""))));
    }
    lines
}

fn row(port: &PortStatus) -> Line<'static> {
    let (tone, link) = link(port);
    let known = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let mtu = known(port.mtu_bytes.map(|mtu| mtu.to_string()));
    let setup = match port.dhcp {
        Some(true) => "DHCP",
        Some(false) => "static",
        None => "-",
    };
    Line::from(vec![
        format!("{:NAME$} ", cut(&safe(&port.name), NAME)).into(),
        span(tone, format!("{link:LINK$} ")),
        format!("{:SPEED$} {mtu:>MTU$} {setup:SETUP$} ", known(speed(port))).into(),
        safe(&port.mac).into(),
    ])
}

/// Ports that the first screen shows; the others are on that of the network.
const SHORT_MAX: usize = 3;

/// A line for each of some ports, for the screen with everything on it.
pub(super) fn short_lines(lines: &mut Lines, status: &NodeStatus) {
    let ports = match ports(status) {
        Ok(ports) => ports,
        Err((tone, text)) => return lines.add("Ports", tone, text),
    };
    for (index, port) in ports.iter().take(SHORT_MAX).enumerate() {
        let label = if index == 0 { "Ports" } else { "" };
        let (tone, link) = link(port);
        let first = span(tone, format!("{:8} {link:LINK$} ", safe(&port.name)));
        lines.add_after(label, first, Tone::Plain, &text(port));
    }
    match ports.len().saturating_sub(SHORT_MAX) {
        0 => {}
        more => lines.add("", Tone::Faint, &format!("{more} more: see Network")),
    }
}

/// Those with a link first; else as the kernel has them.
fn ports(status: &NodeStatus) -> Result<Vec<&PortStatus>, (Tone, &'static str)> {
    let Some(SystemStatus { ports, .. }) = &status.system else {
        return Err((Tone::Warning, "unknown: init does not answer"));
    };
    if ports.is_empty() {
        return Err((Tone::Bad, "no network port found"));
    }
    let (linked, unlinked): (Vec<_>, Vec<_>) = ports.iter().partition(|port| port.link);
    Ok(linked.into_iter().chain(unlinked).collect())
}

fn link(port: &PortStatus) -> (Tone, &'static str) {
    if port.link { (Tone::Good, "up") } else { (Tone::Warning, "no link") }
}

/// Of a port without a link it says nothing.
fn speed(port: &PortStatus) -> Option<String> {
    let speed = port.speed_mbps.filter(|_| port.link)?;
    Some(match speed {
        1000.. if speed.is_multiple_of(1000) => format!("{}G", speed / 1000),
        _ => format!("{speed}M"),
    })
}

pub(super) fn text(port: &PortStatus) -> String {
    let mut text = port.mac.clone();
    let none = (port.addresses.is_empty() && port.link).then(|| "no address".to_owned());
    for word in speed(port).into_iter().chain(none).chain(port.addresses.iter().cloned()) {
        text.push(' ');
        text.push_str(&word);
    }
    text
}
