//! The node's address on chain and how it does with its oracles.

use std::time::Duration;

use agent_api::sla::{Link, PeerStatus, SlaStatus};
use agent_api::status::NodeStatus;

use super::labels::Lines;
use super::{Tone, span};
use crate::text::{duration, safe};

pub(super) fn lines(lines: &mut Lines, status: &NodeStatus) {
    match &status.daemon {
        Some(daemon) => lines.add("Daemon", Tone::Plain, daemon),
        None => lines.add("Daemon", Tone::Warning, "no key yet"),
    }
    let Some(sla) = &status.sla else {
        return lines.add("SLA", Tone::Faint, "no [sla] in node.toml: no oracles");
    };
    overview(lines, sla);
    for peer in &sla.peers {
        oracle(lines, peer);
    }
}

fn overview(lines: &mut Lines, sla: &SlaStatus) {
    if let Some(why) = &sla.awaited {
        return lines.add("SLA", Tone::Warning, why);
    }
    let span = |seconds| duration(Duration::from_secs(seconds));
    let era = match sla.era {
        Some(era) => format!("era {}, {} left", era.era, span(era.ends_in_seconds)),
        None => "no era yet".to_owned(),
    };
    let report = match sla.report {
        Some(report) => format!("last report {} ago", span(report.age_seconds)),
        None => "no report yet".to_owned(),
    };
    let waiting = sla.peers.iter().map(|peer| peer.pending).max().unwrap_or(0);
    let kept = if sla.spool.on_disk { "" } else { ", in memory only" };
    let text = format!("{era}; {report}, {waiting} waiting{kept}; {} receipts", sla.spool.receipts);
    lines.add("SLA", Tone::Plain, &text);
}

fn oracle(lines: &mut Lines, peer: &PeerStatus) {
    let tone = match peer.link {
        Link::InSession => Tone::Good,
        Link::Conflict => Tone::Bad,
        _ => Tone::Warning,
    };
    let first = span(tone, format!("{:12} {:10} ", safe(&peer.name), peer.link));
    lines.add_after("", first, Tone::Plain, &receipt(peer));
}

fn receipt(peer: &PeerStatus) -> String {
    let Some(receipt) = &peer.receipt else {
        return match peer.address {
            Some(_) => "no receipt yet".to_owned(),
            None => peer
                .delivered
                .map_or("nothing delivered".to_owned(), |last| format!("has report {last}")),
        };
    };
    let verdict = if receipt.passed { "passed" } else { "NOT passed" };
    let measured = match (receipt.latency_us, receipt.bytes_per_second) {
        (Some(us), Some(rate)) => {
            format!(", {} ms, {} MB/s", us.div_ceil(1000), rate / 1_000_000)
        }
        (Some(us), None) => format!(", {} ms", us.div_ceil(1000)),
        _ => String::new(),
    };
    format!("era {} {verdict}{measured}", receipt.era)
}
