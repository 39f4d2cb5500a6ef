//! The resolver's configuration from node.toml and from what servers told.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::hook::Lease;

/// Most name servers: the resolver asks no more (resolv.conf(5), MAXNS).
const MAX_SERVERS: usize = 3;

/// Most search domains: more make each wrong name a row of questions.
const MAX_SEARCH: usize = 6;

/// Who is asked for names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolver {
    /// Name servers, first one first.
    pub servers: Vec<String>,
    /// Domains in which short names are looked for.
    pub search: Vec<String>,
}

/// Who is asked: configured servers first; each once.
pub(super) fn resolver<'l>(
    dns: &[IpAddr],
    leases: impl IntoIterator<Item = &'l Lease>,
) -> Resolver {
    let mut servers: Vec<String> = dns.iter().map(IpAddr::to_string).collect();
    let mut search: Vec<String> = Vec::new();
    for lease in leases {
        servers.extend(lease.name_servers.iter().cloned());
        search.extend(lease.search.iter().cloned());
    }
    Resolver {
        servers: first_distinct(servers, MAX_SERVERS),
        search: first_distinct(search, MAX_SEARCH),
    }
}

/// The resolver's configuration file.
pub(super) fn resolv_conf(Resolver { servers, search }: &Resolver) -> String {
    let mut text = "# Made by init from node.toml and DHCP.\n".to_owned();
    // Writing to a string cannot fail.
    if !search.is_empty() {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    text.push_str("options timeout:2 attempts:2\n");
    text
}

fn first_distinct(all: Vec<String>, most: usize) -> Vec<String> {
    let mut distinct = Vec::new();
    for one in all {
        if !distinct.contains(&one) && distinct.len() < most {
            distinct.push(one);
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_servers_come_first_and_each_once() {
        let lease = |server: &str| Lease {
            name_servers: vec![server.to_owned(), "192.0.2.1".to_owned()],
            search: vec!["example.net".to_owned()],
            time_servers: vec![],
        };
        let leases = [lease("192.0.2.2"), lease("fe80::1%eno1"), lease("192.0.2.9")];
        let expected = expect_test::expect![[r#"
            # Made by init from node.toml and DHCP.
            search example.net
            nameserver 192.0.2.1
            nameserver 192.0.2.2
            nameserver fe80::1%eno1
            options timeout:2 attempts:2
        "#]];
        expected.assert_eq(&resolv_conf(&resolver(&[IpAddr::from([192, 0, 2, 1])], &leases)));
    }
}
