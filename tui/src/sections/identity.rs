//! Who the node is to others: its id, its address on chain as text and as a code, its oracles.

use agent_api::sla::{Link, PeerStatus, SlaStatus};
use agent_api::status::NodeStatus;
use ratatui::text::{Line, Span};

use super::{Tone, qr, rewards, span, waiting};
use crate::state::State;
use crate::text::{safe, wrap};

/// Columns that the text needs beside the code: an address of 42 characters.
const TEXT: usize = 42;

/// Columns by which what stands below a heading is set in, where it has room.
const INDENT: usize = 2;

/// The text, and the code of the daemon address on the right where both have room, else below.
pub(super) fn lines(state: &State, width: usize) -> Vec<Line<'static>> {
    let Some(status) = &state.status else { return waiting() };
    let code = status.daemon.as_deref().and_then(qr::encode);
    let code = code.map(|code| qr::half_blocks(&code)).unwrap_or_default();
    let code_width = code.first().map_or(0, Line::width);
    if code.is_empty() || width < TEXT + 1 + code_width {
        let mut lines = text(status, width);
        lines.extend(code);
        return lines;
    }
    let text = text(status, width - 1 - code_width);
    let rows = text.len().max(code.len());
    let (mut text, mut code) = (text.into_iter(), code.into_iter());
    let beside = |_| {
        let mut line = text.next().unwrap_or_default();
        let gap = (width - code_width).saturating_sub(line.width());
        if let Some(code) = code.next() {
            line.spans.push(Span::raw(" ".repeat(gap)));
            line.spans.extend(code.spans);
        }
        line
    };
    (0..rows).map(beside).collect()
}

/// The same for a line without half blocks: the code in ASCII below the text.
pub(crate) fn plain_lines(state: &State, width: usize) -> Vec<Line<'static>> {
    let Some(status) = &state.status else { return waiting() };
    let mut lines = text(status, width);
    if let Some(code) = status.daemon.as_deref().and_then(qr::encode) {
        lines.extend(qr::ascii(&code));
    }
    lines
}

fn text(status: &NodeStatus, width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let mut item = |heading: &str, tone: Tone, text: &str| {
        if !heading.is_empty() {
            lines.push(Line::from(span(Tone::Faint, heading.to_owned())));
        }
        let indent = if width >= TEXT + INDENT { INDENT } else { 0 };
        for text in wrap(&safe(text), width.saturating_sub(indent)) {
            let indent = Span::raw(" ".repeat(indent));
            lines.push(Line::from(vec![indent, span(tone, text)]));
        }
    };
    let name = if status.name.is_empty() { "not known yet" } else { &status.name };
    item("Name", Tone::Plain, name);
    match &status.node_id {
        Some(id) => item("Node id", Tone::Plain, id),
        None => item("Node id", Tone::Warning, "none until the first disk is claimed"),
    }
    let given =
        |text: &Option<String>| text.clone().unwrap_or_else(|| "not in node.toml".to_owned());
    item("Region, class of hardware", Tone::Plain, &{
        let (region, class) = (given(&status.region), given(&status.hardware_class));
        format!("{region}, {class}")
    });
    match &status.daemon {
        Some(daemon) => item("Daemon address, to register the node", Tone::Plain, daemon),
        None => item("Daemon address", Tone::Warning, "no key until the first disk is in use"),
    }
    let (tone, registration) = rewards::registration(status);
    item("Registration", tone, &registration);
    match &status.sla {
        None => item("Oracles", Tone::Faint, "none in node.toml ([sla])"),
        Some(SlaStatus { awaited: Some(why), .. }) => item("Oracles", Tone::Warning, why),
        Some(sla) => {
            let mut heading = "Oracles";
            for peer in &sla.peers {
                let (tone, text) = oracle(peer);
                item(heading, tone, &text);
                heading = "";
            }
        }
    }
    lines
}

/// The name, the link in a word, and below it the address.
fn oracle(peer: &PeerStatus) -> (Tone, String) {
    let tone = match peer.link {
        Link::InSession => Tone::Plain,
        Link::Conflict => Tone::Bad,
        _ => Tone::Warning,
    };
    let address = peer.address.as_deref().unwrap_or("report store");
    (tone, format!("{} {} {address}", peer.name, peer.link))
}
