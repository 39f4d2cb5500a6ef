//! Tests of the network in words.

use std::fmt::Write as _;

use agent_health::ClockReading;

use crate::init::{NetworkOrigin, NetworkState};
use crate::network::{ClockReport, LookUpReport, PingReport, PingWay, TimeAnswer};

/// What came of asking a machine for echoes.
#[must_use]
pub fn ping(report: &PingReport) -> String {
    let way = match report.way {
        PingWay::Icmp => "ICMP echo".to_owned(),
        PingWay::Tcp { port } => format!("connections to port {port}, as ICMP is not allowed"),
    };
    let mut text = format!("{} by {way}\n", report.address);
    for (index, answer) in report.answers_us.iter().enumerate() {
        // Writing to a string cannot fail; the same holds below.
        let _ = match answer {
            Some(us) => writeln!(text, "  {}  {} ms", index + 1, millis(i64::from(*us))),
            None => writeln!(text, "  {}  no answer", index + 1),
        };
    }
    let came = report.answers_us.iter().flatten().count();
    let _ = writeln!(text, "{came} of {} answered", report.answers_us.len());
    text
}

/// What came of looking a name up.
#[must_use]
pub fn look_up(report: &LookUpReport) -> String {
    let mut text = String::new();
    for address in &report.addresses {
        let _ = writeln!(text, "{address}");
    }
    let _ = writeln!(text, "found within {} ms", report.took_ms);
    text
}

/// How the clock stands against the time servers.
#[must_use]
pub fn clock(report: &ClockReport) -> String {
    let mut text = match &report.clock {
        ClockReading::Synchronised { max_error_us, .. } => {
            let most = i64::try_from(*max_error_us).unwrap_or(i64::MAX);
            format!("the clock is kept, within {} ms\n", millis(most))
        }
        ClockReading::Unsynchronised => "the clock is not kept by any server\n".to_owned(),
        ClockReading::Unknown { reason } => format!("the clock cannot be read: {reason}\n"),
    };
    for server in &report.servers {
        let name = &server.server;
        let _ = match &server.answer {
            TimeAnswer::Time { offset_us, delay_us, stratum } => writeln!(
                text,
                "  {name}: {} ms {}, after {} ms, stratum {stratum}",
                millis(offset_us.saturating_abs()),
                if *offset_us < 0 { "behind the node" } else { "ahead of the node" },
                millis(*delay_us)
            ),
            TimeAnswer::None { reason } => writeln!(text, "  {name}: {reason}"),
        };
    }
    if report.servers.is_empty() {
        text.push_str("  no time server is known\n");
    }
    text
}

/// Which settings of the network are in effect, where they are others than those of node.toml.
#[must_use]
pub fn settings(state: &NetworkState) -> Option<String> {
    let left = state.seconds_left.map(|left| {
        format!("A change is being tried: {left} s left to confirm it, or it is taken back\n")
    });
    let set = (state.origin == NetworkOrigin::Set).then(|| {
        "The network is set up by settings of its own; node.toml is not used\n".to_owned()
    });
    left.or(set)
}

/// Thousandths of what is given, with one digit behind the point.
fn millis(us: i64) -> String {
    format!("{}.{}", us / 1000, us.rem_euclid(1000) / 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::TimeServer;

    #[test]
    fn a_ping_tells_each_try() {
        let address = "192.0.2.1".parse().expect("address");
        let report =
            PingReport { address, way: PingWay::Icmp, answers_us: vec![Some(1_250), None] };
        assert_eq!(
            ping(&report),
            "192.0.2.1 by ICMP echo\n  1  1.2 ms\n  2  no answer\n1 of 2 answered\n"
        );
    }

    #[test]
    fn a_clock_test_tells_each_server() {
        let server = |server: &str, answer| TimeServer { server: server.to_owned(), answer };
        let time = TimeAnswer::Time { offset_us: -12_340, delay_us: 900, stratum: 2 };
        let silent = TimeAnswer::None { reason: "no answer within 2 s".to_owned() };
        let report = ClockReport {
            clock: ClockReading::Unsynchronised,
            servers: vec![server("ntp-1", time), server("ntp-2", silent)],
        };
        assert_eq!(
            clock(&report),
            "the clock is not kept by any server\n  \
             ntp-1: 12.3 ms behind the node, after 0.9 ms, stratum 2\n  ntp-2: no answer within 2 s\n"
        );
    }
}
