//! What dhcpcd calls: takes down what a server told.
//!
//! dhcpcd starts this program under the name [`super::HOOK`] with the facts in the environment
//! (dhcpcd-run-hooks(8)). It writes one file for the port and protocol, and the resolver's
//! configuration; init watches the folder for time servers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use super::{IN_EFFECT, LEASES, RESOLV_CONF, configured_dns, leases, write_resolv_conf};
use crate::replace::replace;

/// Most servers or domains of one kind that are taken from one server.
const MAX_ENTRIES: usize = 8;

/// How the files of a port's leases end, by the protocol.
pub(super) const PROTOCOLS: [&str; 3] = [DHCP4, DHCP6, ADVERTISEMENT];
const DHCP4: &str = "dhcp4";
const DHCP6: &str = "dhcp6";
const ADVERTISEMENT: &str = "ra";

/// What a server told, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lease {
    /// Addresses of name servers; one that is link-local has its port after a percent sign.
    pub name_servers: Vec<String>,
    /// Domains to search.
    pub search: Vec<String>,
    /// Addresses of time servers.
    pub time_servers: Vec<String>,
}

/// What is to be done with the lease of a port.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    Set(String, Lease),
    Drop(String),
    Nothing,
}

/// Runs as dhcpcd's hook.
///
/// # Errors
///
/// When a file cannot be written.
pub(crate) fn run() -> io::Result<()> {
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let folder = Path::new(LEASES);
    match change(&environment) {
        Change::Nothing => return Ok(()),
        Change::Set(name, lease) => replace(&folder.join(name), lease.to_text())?,
        Change::Drop(name) => match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => (),
        },
    }
    let dns = configured_dns(Path::new(IN_EFFECT), Path::new(provisioning_config::PATH));
    write_resolv_conf(Path::new(RESOLV_CONF), &dns, &leases(folder))
}

/// What the environment of a call means.
fn change(environment: &BTreeMap<String, String>) -> Change {
    let get = |name: &str| environment.get(name).map_or("", String::as_str);
    let interface = get("interface");
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if interface.is_empty() || interface.starts_with('.') || !interface.chars().all(legal) {
        return Change::Nothing;
    }
    let reason = get("reason");
    let (kind, protocol) = match reason.strip_suffix('6') {
        Some(kind) => (kind, DHCP6),
        None if reason == "ROUTERADVERT" => (reason, ADVERTISEMENT),
        None => (reason, DHCP4),
    };
    let name = format!("{interface}.{protocol}");
    match kind {
        "BOUND" | "RENEW" | "REBIND" | "REBOOT" | "INFORM" | "STATIC" | "TIMEOUT" => {
            Change::Set(name, Lease::of(environment, interface))
        }
        "ROUTERADVERT" => Change::Set(name, Lease::of_advertisement(environment, interface)),
        "EXPIRE" | "FAIL" | "NAK" | "RELEASE" | "STOP" | "NOCARRIER" | "DEPARTED" => {
            Change::Drop(name)
        }
        _ => Change::Nothing,
    }
}

impl Lease {
    /// From the variables of DHCPv4 and DHCPv6.
    fn of(environment: &BTreeMap<String, String>, interface: &str) -> Self {
        let get = |name: &str| environment.get(name).map_or("", String::as_str);
        let search = match get("new_domain_search") {
            "" => get("new_domain_name"),
            search => search,
        };
        Self {
            name_servers: addresses(
                &[get("new_domain_name_servers"), get("new_dhcp6_name_servers")],
                interface,
            ),
            search: domains(&[search, get("new_dhcp6_domain_search")]),
            time_servers: addresses(
                &[
                    get("new_ntp_servers"),
                    get("new_dhcp6_sntp_servers"),
                    get("new_dhcp6_ntp_server_addr"),
                ],
                "",
            ),
        }
    }

    /// From router advertisements: name servers and domains are numbered twice, by router and by
    /// option, and hold for a lifetime in seconds; 0 takes them back.
    fn of_advertisement(environment: &BTreeMap<String, String>, interface: &str) -> Self {
        let get = |name: &str| environment.get(name).map_or("", String::as_str);
        let (mut servers, mut search) = (Vec::new(), Vec::new());
        for router in 1..=MAX_ENTRIES {
            for option in 1..=MAX_ENTRIES {
                let rdnss = format!("nd{router}_rdnss{option}");
                let dnssl = format!("nd{router}_dnssl{option}");
                if get(&format!("{rdnss}_lifetime")) != "0" {
                    servers.push(get(&format!("{rdnss}_servers")));
                }
                if get(&format!("{dnssl}_lifetime")) != "0" {
                    search.push(get(&format!("{dnssl}_search")));
                }
            }
        }
        Self {
            name_servers: addresses(&servers, interface),
            search: domains(&search),
            time_servers: Vec::new(),
        }
    }

    /// One line for each fact.
    fn to_text(&self) -> String {
        let mut text = String::new();
        for (word, values) in [
            ("nameserver", &self.name_servers),
            ("search", &self.search),
            ("ntp", &self.time_servers),
        ] {
            for value in values {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{word} {value}");
            }
        }
        text
    }

    /// The reverse of what the hook writes; other lines are passed over.
    pub(crate) fn parse(text: &str) -> Self {
        let mut lease = Self::default();
        for (word, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            match word {
                "nameserver" => lease.name_servers.push(value.to_owned()),
                "search" => lease.search.push(value.to_owned()),
                "ntp" => lease.time_servers.push(value.to_owned()),
                _ => (),
            }
        }
        lease
    }
}

/// Every IP address in the texts. A link-local one gets its port where one is given, and is left
/// out where none is.
fn addresses(texts: &[&str], interface: &str) -> Vec<String> {
    let words = texts.iter().flat_map(|text| text.split_whitespace());
    let address = |word: &str| {
        let ip: IpAddr = word.split('%').next()?.parse().ok()?;
        let link_local = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        match (link_local, interface) {
            (false, _) => Some(ip.to_string()),
            (true, "") => None,
            (true, interface) => Some(format!("{ip}%{interface}")),
        }
    };
    words.filter_map(address).take(MAX_ENTRIES).collect()
}

/// Every domain name in the texts.
fn domains(texts: &[&str]) -> Vec<String> {
    let legal = |word: &&str| {
        word.len() <= 253
            && !word.starts_with(['-', '.'])
            && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
    };
    let words = texts.iter().flat_map(|text| text.split_whitespace());
    words.filter(legal).take(MAX_ENTRIES).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn a_bound_port_has_the_servers_it_was_told() {
        let change = change(&environment(&[
            ("interface", "eno1"),
            ("reason", "BOUND"),
            ("new_domain_name_servers", "192.0.2.1 192.0.2.2 bogus"),
            ("new_domain_name", "example.net"),
            ("new_ntp_servers", "192.0.2.3"),
        ]));
        let lease = Lease {
            name_servers: vec!["192.0.2.1".into(), "192.0.2.2".into()],
            search: vec!["example.net".into()],
            time_servers: vec!["192.0.2.3".into()],
        };
        assert_eq!(change, Change::Set("eno1.dhcp4".into(), lease.clone()));
        assert_eq!(Lease::parse(&lease.to_text()), lease);
    }

    #[test]
    fn protocols_of_one_port_are_kept_apart() {
        for (reason, file) in [
            ("BOUND6", "eno1.dhcp6"),
            ("INFORM6", "eno1.dhcp6"),
            ("ROUTERADVERT", "eno1.ra"),
            ("REBOOT", "eno1.dhcp4"),
        ] {
            let change = change(&environment(&[("interface", "eno1"), ("reason", reason)]));
            assert_eq!(change, Change::Set(file.to_owned(), Lease::default()), "{reason}");
        }
        for (reason, file) in [("EXPIRE6", "eno1.dhcp6"), ("NOCARRIER", "eno1.dhcp4")] {
            let change = change(&environment(&[("interface", "eno1"), ("reason", reason)]));
            assert_eq!(change, Change::Drop(file.to_owned()), "{reason}");
        }
        for reason in ["PREINIT", "CARRIER", "", "TEST", "STOPPED"] {
            let change = change(&environment(&[("interface", "eno1"), ("reason", reason)]));
            assert_eq!(change, Change::Nothing, "{reason}");
        }
    }

    #[test]
    fn a_router_s_servers_hold_for_their_lifetime_and_link_local_ones_name_their_port() {
        let change = change(&environment(&[
            ("interface", "eno1"),
            ("reason", "ROUTERADVERT"),
            ("nd1_rdnss1_servers", "fe80::1 2001:db8::1"),
            ("nd1_rdnss1_lifetime", "1800"),
            ("nd2_rdnss1_servers", "2001:db8::2"),
            ("nd2_rdnss1_lifetime", "0"),
            ("nd1_dnssl1_search", "example.net -bad"),
        ]));
        let Change::Set(_, lease) = change else { panic!("no lease: {change:?}") };
        assert_eq!(lease.name_servers, ["fe80::1%eno1", "2001:db8::1"]);
        assert_eq!(lease.search, ["example.net"]);
    }

    #[test]
    fn a_call_without_a_proper_port_is_passed_over() {
        for interface in ["", "../x", "a b", ".hidden", "a/b"] {
            let change = change(&environment(&[("interface", interface), ("reason", "BOUND")]));
            assert_eq!(change, Change::Nothing, "{interface}");
        }
    }

    #[test]
    fn nothing_that_a_server_says_adds_a_line() {
        let lease = Lease::of(
            &environment(&[
                ("new_domain_name_servers", "192.0.2.1\nnameserver 6.6.6.6"),
                ("new_domain_name", "a\nsearch b;c $(x)"),
            ]),
            "eno1",
        );
        assert_eq!(lease.name_servers, ["192.0.2.1", "6.6.6.6"]);
        assert_eq!(lease.search, ["a", "search"]);
    }
}
