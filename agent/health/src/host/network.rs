//! Network ports: link, speed, errors.
//!
//! Source: /sys/class/net/*/ (Documentation/ABI/testing/sysfs-class-net and sysfs-class-net-statistics), of
//! ports that are hardware.

use std::path::Path;
use std::time::Duration;

use super::sysfs;
use crate::reading::{Case, Gathered, Reading};
use crate::sample::{Family, Sample, number};
use crate::trends::Trends;
use crate::verdict::{Health, Kind, Verdict};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Frames with errors a day above which a cable or transceiver is bad. IEEE 802.3 allows one bit in
/// 10^12: on a port with 10 Gbit/s that is full all day, some 900; ports are not full, and sound cables are
/// a thousand times better.
const ERRORS_A_DAY: f64 = 100.0;

/// Changes of the link a day above which it is loose: a switch that restarts makes two, a person who plugs
/// cables some more.
const CHANGES_A_DAY: f64 = 10.0;

/// Mbit/s up to which a link is a fault: copper with four sound pairs has 1000.
const SLOW_MBPS: i64 = 100;

const UP: Family = Family::gauge("network_link_up", "1 while a network port has a link, else 0");
const SPEED: Family = Family::gauge("network_link_bits_per_second", "Speed of a port's link");
const ERRORS: Family = Family::counter("network_errors", "Frames with errors");
const DROPS: Family = Family::counter("network_drops", "Frames that were dropped");
const BYTES: Family = Family::counter("network_transferred_bytes", "Bytes over a network port");
const CHANGES: Family =
    Family::counter("network_link_changes", "How often a link went or came back");

/// What is told of network ports.
pub(crate) const FAMILIES: &[Family] = &[UP, SPEED, ERRORS, DROPS, BYTES, CHANGES];

/// A network port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The kernel's name.
    pub name: String,
    /// Whether it has a link; none where the port is off.
    pub is_up: Option<bool>,
    /// Speed in Mbit/s; none without a link, and where the driver does not tell.
    pub speed_mbps: Option<i64>,
    /// Whether it can send and receive at once; none where that is not told.
    pub is_duplex: Option<bool>,
    /// Counters since the driver was loaded, by direction.
    pub received: Traffic,
    /// As above.
    pub sent: Traffic,
    /// How often the link went or came back.
    pub link_changes: Option<u64>,
}

/// Counters of one direction; what the driver does not count is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Bytes.
    pub bytes: Option<u64>,
    /// Frames with errors.
    pub errors: Option<u64>,
    /// Frames that were dropped: no memory, or nobody wanted them.
    pub drops: Option<u64>,
}

/// Reads the ports below `sys`, which is `/sys` but for tests.
#[must_use]
pub fn read_ports(sys: &Path) -> Reading<Vec<Port>> {
    Reading::of(read(sys))
}

fn read(sys: &Path) -> Result<Option<Vec<Port>>, String> {
    let root = sysfs::below(sys, &["class", "net"]);
    let Some(names) = sysfs::entries(&root)? else { return Ok(None) };
    let mut ports = Vec::new();
    for name in names {
        let folder = root.join(&name);
        // Bridges, tunnels and the loopback stand on no device.
        if !folder.join("device").exists() {
            continue;
        }
        let traffic = |direction: &str| {
            let value =
                |what: &str| sysfs::value(&folder.join(format!("statistics/{direction}_{what}")));
            Traffic { bytes: value("bytes"), errors: value("errors"), drops: value("dropped") }
        };
        let duplex = sysfs::word(&folder.join("duplex"));
        ports.push(Port {
            is_up: sysfs::value::<u8>(&folder.join("carrier")).map(|carrier| carrier == 1),
            speed_mbps: sysfs::value(&folder.join("speed")).filter(|speed: &i64| *speed > 0),
            is_duplex: duplex.and_then(|word| match word.as_str() {
                "full" => Some(true),
                "half" => Some(false),
                _ => None,
            }),
            received: traffic("rx"),
            sent: traffic("tx"),
            link_changes: sysfs::value(&folder.join("carrier_changes")),
            name,
        });
    }
    Ok((!ports.is_empty()).then_some(ports))
}

fn labels(port: &Port, direction: Option<&str>) -> Vec<(&'static str, String)> {
    let mut labels = vec![("port", port.name.clone())];
    labels.extend(direction.map(|direction| ("direction", direction.to_owned())));
    labels
}

/// Reads the ports below `sys`, with what judges them.
#[must_use]
pub fn gather(sys: &Path) -> Gathered {
    Gathered::of(
        (Kind::Network, "network ports"),
        read_ports(sys),
        |all| samples(all),
        |all, trends, now_ms| assess(all, trends, now_ms),
    )
}

/// The numbers.
#[must_use]
pub fn samples(ports: &[Port]) -> Vec<Sample> {
    let of = |port: &Port| {
        let mut all = Vec::new();
        let mut add = |family: Family, direction: Option<&str>, value: Option<f64>| {
            all.extend(value.map(|value| family.sample(labels(port, direction), value)));
        };
        add(UP, None, port.is_up.map(|up| f64::from(u8::from(up))));
        let speed = port.speed_mbps.and_then(|mbps| u64::try_from(mbps).ok());
        add(SPEED, None, speed.map(|mbps| number(mbps) * 1e6));
        for (direction, traffic) in [("received", port.received), ("sent", port.sent)] {
            add(ERRORS, Some(direction), traffic.errors.map(number));
            add(DROPS, Some(direction), traffic.drops.map(number));
            add(BYTES, Some(direction), traffic.bytes.map(number));
        }
        add(CHANGES, None, port.link_changes.map(number));
        all
    };
    ports.iter().flat_map(of).collect()
}

/// One verdict for each port. A port without a link is not used, or its cable is pulled, which the node
/// tells otherwise.
#[must_use]
pub fn assess(ports: &[Port], trends: &Trends, now_ms: u64) -> Vec<Verdict> {
    ports.iter().map(|port| assess_port(port, trends, now_ms)).collect()
}

fn assess_port(port: &Port, trends: &Trends, now_ms: u64) -> Verdict {
    let mut case = Case::default();
    let in_a_day = |family: Family, direction| {
        trends.of(&family.sample(labels(port, direction), 0.0), now_ms, DAY)
    };
    let errors = in_a_day(ERRORS, Some("received")) + in_a_day(ERRORS, Some("sent"));
    if errors > ERRORS_A_DAY {
        let text =
            format!("{errors} frames with errors in 24 hours: check the cable and both its ends");
        case.add(Health::Warning, text);
    }
    let changes = in_a_day(CHANGES, None);
    if changes > CHANGES_A_DAY {
        let text = format!("the link went or came {changes} times in 24 hours: check the cable");
        case.add(Health::Warning, text);
    }
    if port.is_up == Some(true) {
        if let Some(speed) = port.speed_mbps.filter(|speed| *speed <= SLOW_MBPS) {
            let text = format!("the link has only {speed} Mbit/s: check the cable and the switch");
            case.add(Health::Warning, text);
        }
        if port.is_duplex == Some(false) {
            let text = "the link is half duplex: check what is set on the switch".to_owned();
            case.add(Health::Warning, text);
        }
    }
    case.close(Kind::Network, port.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sysfs::fake::tree;

    fn machine(files: &[(&str, &str)]) -> Reading<Vec<Port>> {
        let files: Vec<_> =
            files.iter().map(|(path, text)| (format!("class/net/{path}"), *text)).collect();
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        read_ports(tree(&files).path())
    }

    fn port(errors: &str, changes: &str, speed: &str) -> Vec<Port> {
        let files = [
            ("eno1/device/vendor", "0x8086"),
            ("eno1/carrier", "1"),
            ("eno1/duplex", "full"),
            ("eno1/speed", speed),
            ("eno1/carrier_changes", changes),
            ("eno1/statistics/rx_errors", errors),
            ("eno1/statistics/rx_dropped", "4"),
            ("eno1/statistics/tx_bytes", "77"),
            ("lo/statistics/rx_errors", "9"),
        ];
        match machine(&files) {
            Reading::Known(ports) => ports,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_ports_that_are_hardware_are_told_and_what_is_not_counted_is_left_out() {
        let ports = port("3", "2", "10000");
        let seen: Vec<_> = samples(&ports).iter().map(|s| (s.series(), s.value)).collect();
        let of = |name: &str, more: &str| format!("{name}{{port=\"eno1\"{more}}}");
        let wanted = [
            (of("network_link_up", ""), 1.0),
            (of("network_link_bits_per_second", ""), 1e10),
            (of("network_errors", ",direction=\"received\""), 3.0),
            (of("network_drops", ",direction=\"received\""), 4.0),
            (of("network_transferred_bytes", ",direction=\"sent\""), 77.0),
            (of("network_link_changes", ""), 2.0),
        ];
        assert_eq!(seen, wanted);
        assert_eq!(machine(&[("lo/mtu", "65536")]), Reading::Absent);
        // A driver without speed says −1; a port that is off answers nothing.
        let Reading::Known(ports) = machine(&[("a/device/x", ""), ("a/speed", "-1")]) else {
            panic!("a port")
        };
        assert_eq!((ports[0].speed_mbps, ports[0].is_up), (None, None));
    }

    #[test]
    fn errors_that_rise_and_a_loose_link_warn() {
        let judged = |before: &[Port], now: &[Port]| {
            let mut trends = Trends::default();
            trends.record(0, &samples(before));
            trends.record(1000, &samples(now));
            assess(now, &trends, 1000).remove(0)
        };
        let before = port("500", "2", "10000");
        assert_eq!(judged(&before, &before).health, Health::Healthy);
        let verdict = judged(&before, &port("800", "14", "100"));
        assert_eq!(verdict.health, Health::Warning);
        let wanted = [
            "300 frames with errors in 24 hours: check the cable and both its ends",
            "the link went or came 12 times in 24 hours: check the cable",
            "the link has only 100 Mbit/s: check the cable and the switch",
        ];
        assert_eq!(verdict.evidence, wanted);
    }
}
