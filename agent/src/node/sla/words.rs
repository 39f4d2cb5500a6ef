//! How the node does with its oracles, as the console shows it.

use agent_api::sla::{
    EraStatus, Link, PeerStatus, ReceiptStatus, ReportStatus, SlaStatus, SpoolStatus,
};
use agent_sla::status::{Kept, LinkState};

/// The state for the control socket.
///
/// `now_ms` is in milliseconds since 1970.
pub(super) fn shown(
    status: &agent_sla::status::SlaStatus,
    awaited: Option<String>,
    now_ms: u64,
) -> SlaStatus {
    let since = |at: u64| now_ms.saturating_sub(at) / 1000;
    SlaStatus {
        awaited,
        era: status.era.map(|era| EraStatus {
            era: era.era.0,
            ends_in_seconds: era.ends.saturating_sub(now_ms) / 1000,
        }),
        report: status.report.map(|report| ReportStatus {
            sequence: report.sequence,
            age_seconds: since(report.taken_at),
        }),
        spool: SpoolStatus {
            on_disk: status.spool.kept == Kept::OnDisk,
            reports: status.spool.reports,
            bytes: status.spool.bytes,
            oldest_age_seconds: status.spool.oldest.map(since),
            receipts: status.spool.receipts,
        },
        clock: status.clock.clone(),
        peers: status.peers.iter().map(peer).collect(),
    }
}

fn peer(peer: &agent_sla::status::PeerStatus) -> PeerStatus {
    let receipt = peer.receipt.as_ref().map(|receipt| ReceiptStatus {
        era: receipt.era.0,
        passed: receipt.passed,
        latency_us: receipt.latency_us,
        bytes_per_second: receipt.bytes_per_second,
        reasons: receipt.reasons.clone(),
    });
    PeerStatus {
        name: peer.name.clone(),
        url: peer.url.clone(),
        address: peer.address.map(|address| address.to_string()),
        link: link(&peer.link),
        words: peer.link.to_string(),
        clock_ahead_ms: peer.clock_ahead_ms,
        delivered: peer.delivered,
        pending: peer.pending,
        receipt,
        missed_eras: peer.missed_eras,
    }
}

fn link(state: &LinkState) -> Link {
    match state {
        LinkState::Connecting => Link::Connecting,
        LinkState::InSession { .. } => Link::InSession,
        LinkState::NotAdmitted { .. } => Link::NotAdmitted,
        LinkState::OtherParameters { .. } => Link::OtherParameters,
        LinkState::Conflict { .. } => Link::Conflict,
        LinkState::Unreachable { .. } => Link::Unreachable,
        LinkState::WrongCertificate { .. } => Link::WrongCertificate,
        LinkState::ClockSkew { .. } => Link::ClockSkew,
    }
}
