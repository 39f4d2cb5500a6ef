//! The clock: never before the image was made, then kept by chronyd.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

/// The configuration that init writes for chronyd.
pub(crate) const CHRONY_CONF: &str = "/run/icn/init/chrony.conf";

/// The NTP port (RFC 5905).
const NTP_PORT: u16 = 123;

/// Sets a clock that stands before the image was made, as after a flat battery: certificates made
/// at such a time would not be valid, and the files of a new object older than those of an old.
/// Gives the problem to show.
pub(crate) fn correct(built: Option<i64>) -> Option<String> {
    let now = clock_gettime(ClockId::Realtime).tv_sec;
    let built = built.filter(|built| now < *built)?;
    let set = clock_settime(ClockId::Realtime, Timespec { tv_sec: built, tv_nsec: 0 });
    Some(format!(
        "the clock stood at {} before the image was made and {}: check the battery of the main \
         board and the time in its firmware",
        jiff::Timestamp::from_second(now).map_or_else(|_| now.to_string(), |time| time.to_string()),
        match set {
            Ok(()) => "was set to that day".to_owned(),
            Err(error) => format!("could not be set ({error})"),
        }
    ))
}

/// The configuration of chronyd for these servers.
///
/// `makestep 1 -1`: a clock more than a second off is set at once, whenever that is found. A node
/// whose time is wrong refuses its clients (SigV4 allows 15 minutes) and slewing hours takes
/// weeks; our own programs measure durations with the monotonic clock, which no step moves.
pub(crate) fn chrony_conf(servers: &[String]) -> String {
    let mut text = "# Made by init from node.toml and DHCP.\n".to_owned();
    for server in servers {
        let (host, port) = split(server);
        // Writing to a string cannot fail.
        let _ = match port {
            NTP_PORT => writeln!(text, "server {host} iburst"),
            _ => writeln!(text, "server {host} port {port} iburst"),
        };
    }
    text.push_str(
        "makestep 1 -1\nrtcsync\ndriftfile /var/lib/chrony/drift\nuser _chrony\nport 0\n\
         cmdport 0\n",
    );
    text
}

/// Host and port of `host`, `host:port`, `[address]:port` or a bare IPv6 address.
fn split(server: &str) -> (String, u16) {
    if let Ok(address) = server.parse::<SocketAddr>() {
        return (address.ip().to_string(), address.port());
    }
    if server.parse::<IpAddr>().is_ok() {
        return (server.to_owned(), NTP_PORT);
    }
    match server.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) => (host.to_owned(), port),
        None => (server.to_owned(), NTP_PORT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_a_server_is_written_as_chronyd_wants_it() {
        let servers = ["ntp.example.net", "ntp:1123", "192.0.2.1:123", "[2001:db8::1]:5", "::1"]
            .map(str::to_owned);
        let expected = expect_test::expect![[r#"
            # Made by init from node.toml and DHCP.
            server ntp.example.net iburst
            server ntp port 1123 iburst
            server 192.0.2.1 iburst
            server 2001:db8::1 port 5 iburst
            server ::1 iburst
            makestep 1 -1
            rtcsync
            driftfile /var/lib/chrony/drift
            user _chrony
            port 0
            cmdport 0
        "#]];
        expected.assert_eq(&chrony_conf(&servers));
    }

    #[test]
    fn a_clock_after_the_image_is_left_alone() {
        assert_eq!(correct(None), None);
        assert_eq!(correct(Some(1_600_000_000)), None);
    }
}
