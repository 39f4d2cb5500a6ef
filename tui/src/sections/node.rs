//! How the node does, why it earns or not, and how to reach it.

use std::time::Duration;

use agent_api::health::MemoryReading;
use agent_api::init::{ServiceState, ServiceStatus};
use agent_api::status::{
    CertificateOrigin, Credentials, NodeStatus, S3State, S3Status, StateWord, TlsStatus,
};
use ratatui::text::Line;

use super::labels::Lines;
use super::{Tone, earning, oracles, ports, rewards, servers, span, waiting};
use crate::shelf;
use crate::state::{SecretShown, State};
use crate::text::{binary_size, decimal_size, duration, safe};

/// Hex digits of the node's id that a person needs to tell nodes apart.
const NODE_ID_SHOWN: usize = 32;

/// Endpoints that are shown: one for each address of two ports, as most nodes have.
const ENDPOINTS_MAX: usize = 4;

/// Characters of a fingerprint on one line: 16 of its 32 pairs with a colon each.
const FINGERPRINT_HALF: usize = 48;

pub(crate) fn title(state: &State) -> String {
    let Some(status) = &state.status else { return "Node".to_owned() };
    let id = match &status.node_id {
        Some(id) => safe(id).chars().take(NODE_ID_SHOWN).collect(),
        None => "without identity until its first disk is claimed".to_owned(),
    };
    format!("Node {id}, up {}", duration(Duration::from_secs(status.uptime_seconds)))
}

/// How a state is meant.
pub(crate) fn tone(word: StateWord) -> Tone {
    match word {
        StateWord::Ready => Tone::Good,
        StateWord::Starting | StateWord::Stopping | StateWord::Degraded => Tone::Warning,
        StateWord::Unavailable => Tone::Bad,
    }
}

/// Most important first: a small screen shows the first seven.
pub(crate) fn lines(state: &State, width: usize) -> Vec<Line<'static>> {
    let Some(status) = &state.status else {
        return waiting();
    };
    let mut lines = Lines::new(width);
    let was = if state.silence().is_some() { "was " } else { "" };
    let word = span(tone(status.state.word), format!("{was}{}: ", status.state.word));
    lines.add_after("State", word, Tone::Plain, &status.state.why);
    earning::line(&mut lines, status);
    s3(&mut lines, &status.s3);
    sign_in(&mut lines, state, &status.s3.credentials);
    ports::short_lines(&mut lines, status);
    disks(&mut lines, state);
    oracles::lines(&mut lines, status);
    rewards::line(&mut lines, status);
    machine(&mut lines, status);
    services(&mut lines, status);
    lines.finish()
}

fn s3(lines: &mut Lines, s3: &S3Status) {
    match &s3.state {
        S3State::Starting => lines.add("S3", Tone::Warning, "starting"),
        S3State::NotListening { reason } => {
            lines.add("S3", Tone::Bad, &format!("not reachable: {reason}"));
        }
        S3State::Listening if s3.endpoints.is_empty() => {
            lines.add("S3", Tone::Warning, "no port has an address yet");
        }
        S3State::Listening => {
            let shown: Vec<_> = s3.endpoints.iter().take(ENDPOINTS_MAX).cloned().collect();
            let more = match s3.endpoints.len() - shown.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            lines.add("S3", Tone::Plain, &format!("{}{more}", shown.join(" ")));
        }
    }
    match &s3.tls {
        Some(tls) => fingerprint(lines, tls),
        None if s3.state == S3State::Listening => {
            lines.add("TLS", Tone::Plain, "none: plain HTTP");
        }
        None => {}
    }
}

/// The fingerprint in two halves, nothing between them: people compare it pair by pair.
fn fingerprint(lines: &mut Lines, tls: &TlsStatus) {
    let digits = safe(&tls.fingerprint);
    let at = digits.floor_char_boundary(FINGERPRINT_HALF.min(lines.room()));
    let (first, second) = digits.split_at(at);
    let origin = match tls.origin {
        CertificateOrigin::Seed => format!("seed, to {}", tls.expires),
        CertificateOrigin::SelfSigned => "self-signed".to_owned(),
        CertificateOrigin::Temporary => "for this run only".to_owned(),
    };
    lines.add("SHA-256", Tone::Plain, first);
    lines.add("", Tone::Plain, &format!("{second} {origin}"));
}

fn sign_in(lines: &mut Lines, state: &State, credentials: &Credentials) {
    match credentials {
        Credentials::Configured { users: 1 } => {
            lines.add("Sign in", Tone::Plain, "1 user of node.toml");
        }
        Credentials::Configured { users } => {
            lines.add("Sign in", Tone::Plain, &format!("{users} users of node.toml"));
        }
        Credentials::Awaited { reason } => {
            lines.add("Sign in", Tone::Warning, &format!("nobody yet: {reason}"));
        }
        Credentials::FirstUser { name: _, access_key } => match &state.secret {
            SecretShown::Hidden => {
                let text = format!("access key {access_key}  (s shows the secret key)");
                lines.add("Sign in", Tone::Plain, &text);
            }
            SecretShown::Until(end, secret) => {
                let left = end.saturating_sub(state.now).as_secs();
                // Ten-second steps: a line that changes every second costs a serial line more.
                let left = left.div_ceil(10) * 10;
                lines.add("Sign in", Tone::Plain, &format!("access key {access_key}"));
                lines.add("", Tone::Warning, &format!("secret key {}", secret.reveal()));
                lines.add("", Tone::Faint, &format!("hidden again in {left} s, or by s"));
            }
            SecretShown::Refused(_, reason) => {
                lines.add("Sign in", Tone::Plain, &format!("access key {access_key}"));
                lines.add("", Tone::Warning, &format!("no secret key: {reason}"));
            }
        },
    }
}

fn disks(lines: &mut Lines, state: &State) {
    let Some(mut text) = shelf::summary(state) else {
        return lines.add("Disks", Tone::Warning, "unknown: icn-disks has not reported yet");
    };
    if let Some(capacity) = state.status.as_ref().and_then(|status| status.capacity) {
        let (used, total) = (decimal_size(capacity.used.0), decimal_size(capacity.total.0));
        text.push_str(&format!("; {used} used of {total}"));
    }
    lines.add("Disks", Tone::Plain, &text);
}

fn machine(lines: &mut Lines, status: &NodeStatus) {
    let (tone, clock) = servers::clock(&status.clock);
    let memory = match &status.memory {
        MemoryReading::Known { total_bytes, available_bytes } => {
            let (free, total) = (binary_size(*available_bytes), binary_size(*total_bytes));
            format!("memory {free} free of {total}")
        }
        MemoryReading::Unknown { reason } => format!("memory unknown: {reason}"),
    };
    lines.add("Machine", tone, &format!("clock {clock}; {memory}"));
}

/// Services that run on one line, the others with what ended them.
fn services(lines: &mut Lines, status: &NodeStatus) {
    let Some(system) = &status.system else {
        return lines.add("Services", Tone::Warning, "unknown: init does not answer");
    };
    let (well, ill): (Vec<_>, Vec<_>) = system
        .services
        .iter()
        .partition(|service| service.state == ServiceState::Running && service.restarts == 0);
    for service in &ill {
        let tone = match service.state {
            ServiceState::Running | ServiceState::Waiting => Tone::Warning,
            ServiceState::BackingOff | ServiceState::Stopped => Tone::Bad,
        };
        lines.add("Services", tone, &service_text(service));
    }
    if !well.is_empty() {
        let names: Vec<_> = well.iter().map(|service| service.name.as_str()).collect();
        let label = if ill.is_empty() { "Services" } else { "" };
        lines.add(label, Tone::Plain, &format!("running: {}", names.join(" ")));
    }
}

fn service_text(service: &ServiceStatus) -> String {
    let state = match service.state {
        ServiceState::Waiting => "waiting",
        ServiceState::Running => "running",
        ServiceState::BackingOff => "starts again soon",
        ServiceState::Stopped => "stopped",
    };
    let mut text = format!("{} {state}", service.name);
    match service.restarts {
        0 => {}
        1 => text.push_str(", restarted once"),
        more => text.push_str(&format!(", restarted {more} times")),
    }
    if !service.last_exit.is_empty() {
        text.push_str(&format!(", last ended: {}", service.last_exit));
    }
    text
}
