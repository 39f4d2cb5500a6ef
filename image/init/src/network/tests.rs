use std::time::Duration;

use agent_api::init::{InitReply, InitRequest};
use expect_test::expect;
use provisioning_config::{IpNet, PortName};

use super::trial::Trials;
use super::*;
use crate::clock;

fn found(name: &str, index: u32, last: u8) -> Found {
    let mac = [0x52, 0x54, 0, 0x12, 0x34, last];
    Found { name: name.to_owned(), index, mac, ..Found::default() }
}

fn fixed(port: PortName) -> Port {
    Port {
        port,
        dhcp: false,
        addresses: vec![IpNet { address: IpAddr::from([192, 0, 2, 10]), prefix: 24 }],
        gateways: vec![],
        mtu: None,
    }
}

#[test]
fn dhcpcd_is_kept_from_ports_with_fixed_addresses_and_unknown_ones() {
    let network = Network {
        dns: vec![],
        ports: vec![
            fixed(PortName::Name("eno1".to_owned())),
            fixed(PortName::Mac([0x52, 0x54, 0, 0x12, 0x34, 2])),
            Port { dhcp: true, ..fixed(PortName::Name("eno3".to_owned())) },
        ],
        ..Network::default()
    };
    let found = [found("eno1", 2, 1), found("eno2", 3, 2), found("eno3", 4, 3), found("x", 5, 4)];
    let expected = expect![[r#"
        # Made by init from node.toml.
        script /run/icn/init/dhcp-hook
        hostname
        duid ll
        clientid
        vendorclassid
        persistent
        noarp
        nodelay
        noipv4ll
        slaac hwaddr
        option domain_name_servers, domain_name, domain_search, classless_static_routes
        option interface_mtu, ntp_servers
        option dhcp6_name_servers, dhcp6_domain_search, dhcp6_sntp_servers
        require dhcp_server_identifier
        allowinterfaces eno3 x
    "#]];
    expected.assert_eq(&dhcpcd_conf(&network, &found));
    for none in [&found[..2], &[]] {
        assert!(dhcpcd_conf(&network, none).ends_with("\ndenyinterfaces *\n"));
    }
}

#[test]
fn a_port_that_is_not_there_is_told_with_those_that_are() {
    let network = Network {
        dns: vec![],
        ports: vec![
            fixed(PortName::Name("eno1".to_owned())),
            fixed(PortName::Mac([2, 0, 0, 0, 0, 7])),
        ],
        ..Network::default()
    };
    assert_eq!(
        absent(&network, &[found("eno1", 2, 1), found("eno2", 3, 2)]),
        ["network.port 02:00:00:00:00:07: there is no such port; the ports are eno1, eno2"]
    );
    assert_eq!(absent(&network, &[]).len(), 2);
    assert_eq!(absent(&Network::default(), &[]), Vec::<String>::new());
}

#[test]
fn the_default_name_comes_from_the_first_hardware_address() {
    assert_eq!(default_name(&[found("eno1", 2, 0xab), found("eno2", 3, 1)]), "icn-1234ab");
    assert_eq!(default_name(&[]), "icn-node");
}

#[test]
fn configured_time_servers_stand_alone_and_those_of_dhcp_before_the_default() {
    let lease = hook::Lease { time_servers: vec!["192.0.2.1".into()], ..hook::Lease::default() };
    let asking = |ntp| Network { ntp, ..Network::default() };
    let configured = asking(Some(vec!["ntp.example.net".to_owned()]));
    assert_eq!(time_servers(&configured, [&lease]), ["ntp.example.net"]);
    assert_eq!(time_servers(&asking(Some(vec![])), [&lease]), Vec::<String>::new());
    let found = time_servers(&asking(None), [&lease, &lease]);
    assert_eq!((found[0].as_str(), found.len()), ("192.0.2.1", 5));
}

#[test]
fn chronyd_asks_the_servers_of_the_settings_in_effect_and_a_change_of_these_touches_no_port() {
    let lease = hook::Lease { time_servers: vec!["192.0.2.1".into()], ..hook::Lease::default() };
    let ports = [found("eno1", 2, 1)];
    let of = |text: &str| provisioning_config::parse_network(text).expect("no mistake");
    let written = |network: &Network| clock::chrony_conf(&time_servers(network, [&lease]));
    let asked = |trials: &Trials| {
        let text = written(trials.in_effect());
        let hosts = text.lines().filter_map(|line| line.strip_prefix("server "));
        hosts.map(|line| line.replace(" iburst", "")).collect::<Vec<_>>().join(", ")
    };
    let wish = |ntp: &str| InitRequest::TryNetwork { text: format!("[network]\nntp = {ntp}\n") };
    let default = "192.0.2.1, 0.debian.pool.ntp.org, 1.debian.pool.ntp.org, \
                   2.debian.pool.ntp.org, 3.debian.pool.ntp.org";
    let seed = of("[network]\n");
    let mut trials = Trials::new(seed.clone());
    assert_eq!(asked(&trials), default);
    // Each step: what comes, when, who is asked then, and whether chronyd starts again for it.
    let steps = [
        (Some(wish("[\"10.0.2.2:1123\"]")), 1, "10.0.2.2 port 1123", true),
        (None, 121, default, true),
        (Some(wish("[\"ntp\"]")), 200, "ntp", true),
        (Some(InitRequest::RevertNetwork), 201, default, true),
        (Some(wish("[]")), 300, "", true),
        (Some(InitRequest::ConfirmNetwork), 301, "", false),
        (Some(wish("[\"ntp\"]\ndns = [\"192.0.2.53\"]")), 400, "ntp", true),
        (None, 520, "", true),
        (Some(InitRequest::UseNetwork { text: None }), 600, default, true),
        (Some(InitRequest::UseNetwork { text: Some("[network]\n".into()) }), 601, default, false),
    ];
    for (request, seconds, servers, is_other) in steps {
        let before = trials.in_effect().clone();
        let now = Duration::from_secs(seconds);
        match &request {
            Some(request) => {
                assert_eq!(trials.answer(request, now), Some(InitReply::Accepted), "{request:?}");
            }
            None => assert!(trials.tick(now), "at {seconds} s"),
        }
        assert_eq!(asked(&trials), servers, "{request:?} at {seconds} s");
        let after = trials.in_effect();
        assert_eq!(written(&before) != written(after), is_other, "{request:?} at {seconds} s");
        assert_eq!(links::leave(&before, after, &ports), Leave::default(), "{request:?}");
        assert_eq!(dhcpcd_conf(&before, &ports), dhcpcd_conf(after, &ports), "{request:?}");
    }
    assert_eq!(*trials.in_effect(), seed);
}

#[test]
fn the_hook_reads_the_settings_in_effect_and_else_those_of_node_toml() {
    let folder = tempfile::TempDir::new().expect("temporary folder");
    let (set, seed) = (folder.path().join("network.toml"), folder.path().join("node.toml"));
    let dns = |last: u8| format!("[network]\ndns = [\"192.0.2.{last}\"]\n");
    std::fs::write(&seed, format!("version = 1\n{}", dns(1))).expect("written");
    assert_eq!(configured_dns(&set, &seed), [IpAddr::from([192, 0, 2, 1])]);
    std::fs::write(&set, dns(2)).expect("written");
    assert_eq!(configured_dns(&set, &seed), [IpAddr::from([192, 0, 2, 2])]);
}

#[test]
fn no_dhcp_runs_on_a_port_of_a_bond_and_its_leases_are_forgotten() {
    let text =
        "[network]\n[[network.bond]]\nname = \"bond0\"\nports = [\"eno1\"]\nmode = \"lacp\"\n";
    let network = provisioning_config::parse_network(text).expect("no mistake");
    let found = [found("eno1", 2, 1), Found { is_made: true, ..found("bond0", 3, 1) }];
    assert!(dhcpcd_conf(&network, &found).ends_with("\nallowinterfaces bond0\n"));
    let folder = tempfile::TempDir::new().expect("temporary folder");
    for name in ["eno1.dhcp4", "eno1.ra", "eno10.dhcp4"] {
        std::fs::write(folder.path().join(name), "").expect("written");
    }
    forget_leases(folder.path(), "eno1");
    assert_eq!(leases(folder.path()).into_keys().collect::<Vec<_>>(), ["eno10.dhcp4"]);
}
