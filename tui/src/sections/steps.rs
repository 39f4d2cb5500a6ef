//! The first steps: signs and numbers beside few words. ▲ works, ▼ does not, ○ is open, • is done.

use agent_api::status::{ConsoleChanges, Credentials, NodeStatus};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::labels::Lines;
use super::sheet::Page;
use super::{Tone, disks, ports, servers, span, waiting};
use crate::shelf;
use crate::state::State;
use crate::steps::{Step, is_reachable};
use crate::text::{safe, wrap};

/// What comes before the steps, in the place of the names of the screens.
const HEAD: &str = " First steps ";

/// The steps with what is done, in the place of the names of the screens.
pub(crate) fn tabs(state: &State) -> Line<'static> {
    let mut spans = vec![Span::raw(HEAD)];
    for step in Step::ALL {
        let is_done = state.status.as_ref().is_some_and(|status| state.steps.is_done(step, status));
        let sign = if is_done { "•" } else { "○" };
        let text = format!("{sign}{} {}", step.number(), step.name());
        spans.push(if step == state.steps.at {
            Span::styled(format!("[{text}]"), Style::new().add_modifier(Modifier::BOLD))
        } else {
            Span::styled(format!(" {text} "), Tone::Faint.style())
        });
    }
    Line::from(spans)
}

/// The step that is shown.
pub(super) fn page(state: &State, width: usize) -> Page {
    let step = state.steps.at;
    let title = format!("{} / {}  {}", step.number(), Step::ALL.len(), step.name());
    let Some(status) = &state.status else {
        return Page { title, lines: waiting(), focus: 0, scroll: 0 };
    };
    let mut lines = match step {
        Step::Network => network(status, width),
        Step::Clock => clock(status, width),
        Step::Disks => disk_lines(state, width),
        Step::Pin => pin(status, width),
        Step::Summary => summary(status, width),
    };
    lines.push(Line::default());
    lines.extend(keys(step, state, status));
    Page { title, lines, focus: 0, scroll: 0 }
}

/// What each key does, the safe one first.
fn keys(step: Step, state: &State, status: &NodeStatus) -> Vec<Line<'static>> {
    let is_done = state.steps.is_done(step, status);
    let mut lines = Vec::new();
    let mut key = |name: &str, text: &str| {
        let style = Style::new().add_modifier(Modifier::BOLD);
        let name = Span::styled(format!("  {name:8}"), style);
        lines.push(Line::from(vec![name, text.to_owned().into()]));
    };
    match (step, is_done) {
        (Step::Network, true) => key("Enter →", "keep it so"),
        (Step::Clock | Step::Disks | Step::Network, false) => key("Enter →", "go on all the same"),
        (Step::Clock | Step::Disks, true) => key("Enter →", "go on"),
        (Step::Pin, _) if status.console == ConsoleChanges::Pin => key("Enter →", "keep it"),
        (Step::Pin, _) => key("Enter →", "no PIN"),
        (Step::Summary, _) => key("Enter", "finish: not asked again"),
    }
    match step {
        Step::Network => {
            key("s", "static address, VLAN, bond, DNS");
            key("t", "test: ping, DNS, clock");
        }
        Step::Disks => {
            key("c", "claim the disk at > by hand: what is on it is lost");
            key("u", "undo that within a minute");
        }
        Step::Pin => key("p", "set a PIN of 4 to 16 digits"),
        Step::Clock | Step::Summary => {}
    }
    key("Esc", "later");
    lines
}

fn sign(is_good: bool) -> Span<'static> {
    if is_good { span(Tone::Good, "▲ ") } else { span(Tone::Warning, "▼ ") }
}

fn network(status: &NodeStatus, width: usize) -> Vec<Line<'static>> {
    let Some(system) = &status.system else {
        return vec![Line::from(span(Tone::Warning, "▼ init does not answer"))];
    };
    let mut lines = Vec::new();
    for port in &system.ports {
        let text = format!("{:10} {}", safe(&port.name), safe(&ports::text(port)));
        let link = if port.link { "" } else { " no link" };
        let texts = wrap(&format!("{text}{link}"), width.saturating_sub(2)).into_iter();
        lines.extend(texts.enumerate().map(|(index, text)| {
            let sign = if index == 0 { sign(is_reachable(port)) } else { "  ".into() };
            Line::from(vec![sign, text.into()])
        }));
    }
    if lines.is_empty() {
        lines.push(Line::from(span(Tone::Bad, "▼ no network port found")));
    }
    let mut more = Lines::new(width);
    for (label, all) in [("Gateway", &system.gateways), ("DNS", &system.dns)] {
        match all.as_slice() {
            [] => more.add(label, Tone::Warning, "-"),
            all => more.add(label, Tone::Plain, &all.join(", ")),
        }
    }
    lines.extend(more.finish());
    lines
}

fn clock(status: &NodeStatus, width: usize) -> Vec<Line<'static>> {
    let (tone, text) = servers::clock(&status.clock);
    let mut lines = vec![Line::from(vec![sign(tone == Tone::Plain), text.into()])];
    let servers = status.system.as_ref().map(|system| system.time_servers.join(", "));
    let mut more = Lines::new(width);
    let servers = servers.filter(|servers| !servers.is_empty());
    more.add("Servers", Tone::Plain, servers.as_deref().unwrap_or("-"));
    if tone != Tone::Plain {
        let text = "S3 refuses clients whose clock differs by 15 minutes; the node goes on trying, and \
                    the form of step 1 sets other servers";
        more.add("", Tone::Warning, text);
    }
    lines.extend(more.finish());
    lines
}

/// Rows below the list of disks: why one is not taken, and what each key does.
const BELOW_DISKS: usize = 14;

/// The fewest disks that are shown at once.
const DISKS_MIN: usize = 4;

/// The disks around the selected one, and below them why that is not taken.
fn disk_lines(state: &State, width: usize) -> Vec<Line<'static>> {
    let mut lines = disks::lines(state, width);
    let rows = shelf::rows(state);
    let selected = shelf::selected_index(&rows, state);
    let shown = usize::from(state.size.height).saturating_sub(BELOW_DISKS).max(DISKS_MIN);
    let all = lines.len();
    if all > shown {
        let above = selected.saturating_sub(shown / 2).min(all - shown);
        lines = lines.into_iter().skip(above).take(shown).collect();
        let text = format!("  ↑ {above} ↓ {} more", all - shown - above);
        lines.push(Line::from(span(Tone::Faint, text)));
    }
    if let Some(row) = shelf::selected(&rows, state) {
        let mut more = Lines::new(width);
        for (index, reason) in row.judgement.reasons.iter().enumerate() {
            more.add(if index == 0 { "▼ why" } else { "" }, Tone::Plain, reason);
        }
        let more = more.finish();
        if !more.is_empty() {
            lines.push(Line::default());
            lines.extend(more);
        }
    }
    lines
}

fn pin(status: &NodeStatus, width: usize) -> Vec<Line<'static>> {
    let (sign, text) = match status.console {
        ConsoleChanges::Anybody => {
            ("○ ", "no PIN: whoever stands here can change the node; reading needs none")
        }
        ConsoleChanges::Pin => ("• ", "a PIN guards changes"),
        ConsoleChanges::Nobody => {
            ("▼ ", "node.toml has a mistake, so nobody can change anything here")
        }
    };
    let texts = wrap(text, width.saturating_sub(2)).into_iter().enumerate();
    texts
        .map(|(index, text)| format!("{}{text}", if index == 0 { sign } else { "  " }))
        .map(Line::from)
        .collect()
}

/// What somebody writes down, and what is still open.
fn summary(status: &NodeStatus, width: usize) -> Vec<Line<'static>> {
    let mut lines = Lines::new(width);
    let mut add = |label: &str, text: Option<&str>| match text {
        Some(text) => lines.add(label, Tone::Plain, text),
        None => lines.add(label, Tone::Warning, "▼ -"),
    };
    add("State", Some(&format!("{}: {}", status.state.word, status.state.why)));
    add("Node id", status.node_id.as_deref());
    add("Daemon", status.daemon.as_deref());
    let endpoints = status.s3.endpoints.join(" ");
    add("S3", Some(endpoints.as_str()).filter(|text| !text.is_empty()));
    let fingerprint = status.s3.tls.as_ref().map(|tls| tls.fingerprint.as_str());
    // Two lines of sixteen pairs, as on the status screen.
    let halves = fingerprint.map(|text| text.split_at(text.floor_char_boundary(48)));
    add("SHA-256", halves.map(|(first, _)| first));
    if let Some((_, second)) = halves.filter(|(_, second)| !second.is_empty()) {
        add("", Some(second));
    }
    match &status.s3.credentials {
        Credentials::FirstUser { access_key, .. } => {
            add("Sign in", Some(&format!("access key {access_key}; its secret: s on Status")));
        }
        Credentials::Configured { users } => {
            add("Sign in", Some(&format!("{users} users of node.toml")));
        }
        Credentials::Awaited { reason } => add("Sign in", Some(&format!("▼ {reason}"))),
    }
    let place = [status.region.as_deref(), status.hardware_class.as_deref()];
    let place: Vec<_> = place.into_iter().flatten().collect();
    if !place.is_empty() {
        add("Place", Some(&place.join(", ")));
    }
    lines.finish()
}
