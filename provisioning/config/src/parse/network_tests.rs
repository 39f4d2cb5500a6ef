use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::{Bond, BondMode, Direct, IpNet, Port, PortName, Proxy, Vlan};

const BONDED: &str = r#"[network]
dns = ["192.0.2.1"]

[[network.port]]
port = "52:54:00:12:34:56"
dhcp = false

[[network.bond]]
name = "bond0"
ports = ["eno1", "eno2"]
mode = "lacp"

[[network.vlan]]
name = "storage"
id = 100
parent = "bond0"
addresses = ["192.0.2.10/24"]
gateways = ["192.0.2.1"]
mtu = 9000
"#;

fn named(name: &str) -> PortName {
    PortName::Name(name.to_owned())
}

fn dynamic(name: &str) -> Port {
    Port { port: named(name), dhcp: true, addresses: vec![], gateways: vec![], mtu: None }
}

fn complaints(text: &str, expected: &Expect) {
    let problems = parse_network(text).expect_err("mistakes");
    let printed: String =
        problems.iter().map(|problem| problem.told_of("the change") + "\n").collect();
    expected.assert_eq(&printed);
}

#[test]
fn bonds_and_vlans_are_read_and_written() {
    let network = parse_network(BONDED).expect("no mistake");
    let bond = Bond {
        port: dynamic("bond0"),
        ports: vec![named("eno1"), named("eno2")],
        mode: BondMode::Lacp,
    };
    assert_eq!(network.bonds, [bond]);
    let [Vlan { port, id: 100, parent }] = network.vlans.as_slice() else { panic!("{network:?}") };
    assert_eq!((parent, port.dhcp, port.mtu), (&named("bond0"), false, Some(9000)));
    assert_eq!(network.entries().count(), 3);
    assert_eq!(network.to_toml(), BONDED);
    assert_eq!(parse(&format!("version = 1\n{BONDED}")).0.network, network);
    assert_eq!(parse_network("[network]\n"), Ok(Network::default()));
}

#[test]
fn a_mistake_in_a_bond_is_told() {
    let text = r#"[network]
[[network.port]]
port = "eno1"
[[network.bond]]
name = "bond0"
ports = ["eno1", "eno2"]
mode = "balance"
[[network.bond]]
name = "bond1"
ports = ["eno1", "eno2"]
mode = "active-backup"
[[network.bond]]
name = "bond2"
ports = ["bond1", "eno2", "bond2"]
mode = "lacp"
[[network.bond]]
name = "eno1"
ports = []
[[network.bond]]
name = "all"
mode = "lacp"
"#;
    complaints(
        text,
        &expect![[r#"
        the change line 7, network.bond.mode: "balance" is not how ports work as one: write "lacp" or "active-backup"; the network stays as it is
        the change line 10, network.bond.ports: eno1 has an entry of its own: remove it, as the bond has the addresses; the network stays as it is
        the change line 14, network.bond.ports: bond1 is a bond: write ports only; the network stays as it is
        the change line 14, network.bond.ports: eno2 is in bond1 already: remove it from one; the network stays as it is
        the change line 14, network.bond.ports: bond2 is a bond: write ports only; the network stays as it is
        the change line 16, network.bond.mode: the key is missing: add mode = "…"; the network stays as it is
        the change line 18, network.bond.ports: a bond needs ports: write such as ports = ["eno1", "eno2"]; the network stays as it is
        the change line 19, network.bond.ports: a bond needs ports: write such as ports = ["eno1", "eno2"]; the network stays as it is
        the change line 20, network.bond.name: "all" is not a name for it: write 1 to 15 letters, digits, dots and dashes, such as "bond0" or "storage"; the network stays as it is
    "#]],
    );
}

#[test]
fn a_mistake_in_a_vlan_is_told() {
    let text = r#"[network]
[[network.bond]]
name = "bond0"
ports = ["eno1"]
mode = "lacp"
[[network.vlan]]
name = "a"
id = 100
parent = "eno1"
[[network.vlan]]
name = "b"
id = 0
parent = "eno2"
[[network.vlan]]
name = "c"
id = 7
parent = "a"
[[network.vlan]]
name = "d"
id = 100
parent = "eno1"
[[network.vlan]]
name = "bond0"
id = 5
parent = "e"
[[network.vlan]]
name = "e"
id = 4095
parent = "e"
[[network.vlan]]
name = "e"
id = 8
"#;
    complaints(
        text,
        &expect![[r#"
        the change line 9, network.vlan.parent: eno1 is a port of bond0: write bond0; the network stays as it is
        the change line 12, network.vlan.id: write a number from 1 to 4094, without quotes; the network stays as it is
        the change line 17, network.vlan.parent: a is a VLAN: write a port or a bond; the network stays as it is
        the change line 20, network.vlan.id: eno1 carries VLAN 100 twice: remove one; the network stays as it is
        the change line 21, network.vlan.parent: eno1 is a port of bond0: write bond0; the network stays as it is
        the change line 23, network.vlan.name: another entry has the name "bond0": write another; the network stays as it is
        the change line 28, network.vlan.id: write a number from 1 to 4094, without quotes; the network stays as it is
        the change line 30, network.vlan.parent: the key is missing: add parent = "…"; the network stays as it is
    "#]],
    );
}

#[test]
fn nothing_but_the_network_is_taken_on_its_own() {
    for text in ["", "version = 1\n[network]\n", "[network]\n[disks]\n", "[netwrok]\n", "[network"]
    {
        assert!(parse_network(text).is_err(), "{text}");
    }
    let long = format!("[network]\n#{}\n", "x".repeat(MAX_NETWORK_TEXT));
    assert!(parse_network(&long).is_err());
}

#[test]
fn time_servers_are_read_and_written_and_none_is_not_the_default() {
    for (keys, ntp) in [
        ("", None),
        ("ntp = []\n", Some(vec![])),
        (
            "ntp = [\"ntp.example.net\", \"192.0.2.1:1123\"]\n",
            Some(vec!["ntp.example.net".to_owned(), "192.0.2.1:1123".to_owned()]),
        ),
    ] {
        let text = format!("[network]\n{keys}");
        let network = parse_network(&text).expect("no mistake");
        assert_eq!(network, Network { ntp, ..Network::default() });
        assert_eq!(network.to_toml(), text);
    }
}

#[test]
fn a_mistake_among_the_time_servers_is_told() {
    complaints(
        "[network]\nntp = [\n\"ntp:123\",\n\"ntp:0\",\n\"ntp:123\",\n7,\n]\n",
        &expect![[r#"
            the change line 4, network.ntp: "ntp:0" is not a time server: write "ntp.example.net", "192.0.2.1:123" or "[2001:db8::1]:123"; the network stays as it is
            the change line 5, network.ntp: "ntp:123" is there twice: remove one; the network stays as it is
            the change line 6, network.ntp: write text in double quotes; the network stays as it is
        "#]],
    );
    let nine = ["\"ntp\""; 9].join(", ");
    complaints(
        &format!("[network]\nntp = [{nine}]\n"),
        &expect![[r#"
        the change line 2, network.ntp: 9 entries are too many: write at most 8; the network stays as it is
    "#]],
    );
    complaints(
        "[network]\n\nntp = \"ntp\"\n",
        &expect![[r#"
        the change line 3, network.ntp: write a list in square brackets, such as ntp = ["…"]; the network stays as it is
    "#]],
    );
}

#[test]
fn a_mistake_among_the_time_servers_of_the_file_takes_no_node_off_the_network() {
    let of = |ntp: &str, port: &str| {
        format!(
            "version = 1\n[network]\ndns = [\"192.0.2.1\"]\n{ntp}proxy = \"http://192.0.2.3:3128\"\n\
             [[network.port]]\nport = \"eno1\"\n{port}[disks]\nmin_size = 2000000000\n"
        )
    };
    let port = "addresses = [\"192.0.2.10/24\"]\ngateways = [\"192.0.2.1\"]\n";
    let (wanted, problems) = parse(&of("", port));
    assert_eq!((wanted.network.ports.len(), problems.len()), (1, 0));
    let told = |text: &str| {
        let (config, problems) = parse(text);
        (config, problems.iter().map(|problem| format!("{problem}\n")).collect::<String>())
    };
    for (ntp, expected) in [
        (
            "ntp = [\"ntp:0\"]\n",
            expect![[r#"
            node.toml line 4, network.ntp: "ntp:0" is not a time server: write "ntp.example.net", "192.0.2.1:123" or "[2001:db8::1]:123"; ntp is ignored and the default time servers are asked
        "#]],
        ),
        (
            "ntp = \"ntp\"\n",
            expect![[r#"
            node.toml line 4, network.ntp: write a list in square brackets, such as ntp = ["…"]; ntp is ignored and the default time servers are asked
        "#]],
        ),
        (
            "ntp = [\"none\"]\n",
            expect![[r#"
            node.toml line 4, network.ntp: "none" is not a time server: write ntp = [] to ask none; ntp is ignored and the default time servers are asked
        "#]],
        ),
        (
            "ntp = [\"ntp\", \"ntp\", 7]\n",
            expect![[r#"
            node.toml line 4, network.ntp: "ntp" is there twice: remove one; ntp is ignored and the default time servers are asked
            node.toml line 4, network.ntp: write text in double quotes; ntp is ignored and the default time servers are asked
        "#]],
        ),
    ] {
        let (config, problems) = told(&of(ntp, port));
        assert_eq!(config, wanted, "{ntp}");
        expected.assert_eq(&problems);
        let change = of(ntp, port);
        let (from, to) = (change.find("[network]").unwrap(), change.find("[disks]").unwrap());
        assert!(parse_network(&change[from..to]).is_err(), "{ntp}");
    }
    // Any other mistake of the section still costs the section, and each says what it does.
    let (config, problems) = told(&of("ntp = [\"ntp:0\"]\n", "adresses = []\n"));
    assert_eq!((config.network, config.disks), (Network::default(), wanted.disks));
    expect![[r#"
        node.toml line 4, network.ntp: "ntp:0" is not a time server: write "ntp.example.net", "192.0.2.1:123" or "[2001:db8::1]:123"; ntp is ignored and the default time servers are asked
        node.toml line 8, network.port.adresses: the key is not known: did you mean addresses?; [network] is ignored and every port uses DHCP
    "#]].assert_eq(&problems);
}

#[test]
fn a_section_for_the_time_says_where_its_servers_belong_and_costs_nothing_else() {
    let file = "version = 1\n[network]\ndns = [\"192.0.2.1\"]\n[disks]\nmin_size = 2000000000\n";
    let (wanted, problems) = parse(file);
    assert_eq!(problems, []);
    let before = |section: &str| {
        let (config, problems) = parse(&format!("{file}{section}"));
        assert_eq!(config, wanted, "{section}");
        problems.iter().map(|problem| format!("{problem}\n")).collect::<String>()
    };
    let told = before("[time]\nservers = [\"192.0.2.1\"]\n");
    expect![[r#"
        node.toml line 6, time: time servers stand in [network]: write ntp = ["ntp.example.net"] there, which drops what was confirmed at the console, or set them at the console; then remove this section; [time] is ignored and the time servers of [network] are asked
    "#]].assert_eq(&told);
    for section in ["[time]\n", "[time]\nservers = 7\nwatch = true\n", "[[time]]\n"] {
        assert_eq!(before(section), told, "{section}");
    }
    // A slip of the pen is still none of ours: what was wanted of the disks is open.
    let (config, problems) = parse(&format!("{file}[tmie]\n[time]\n"));
    assert_eq!((config.disks.claim, problems.len()), (ClaimMode::Off, 2));
}

fn setups() -> impl Strategy<Value = (bool, Option<u8>, bool, Option<u16>)> {
    (
        any::<bool>(),
        proptest::option::of(2_u8..250),
        any::<bool>(),
        proptest::option::of(1280_u16..=9216),
    )
}

fn set_up(port: PortName, number: u8, setup: (bool, Option<u8>, bool, Option<u16>)) -> Port {
    let (dhcp, host, gateway, mtu) = setup;
    let net = |host| IpNet { address: [10, number, 0, host].into(), prefix: 24 };
    let addresses: Vec<_> = host.map(net).into_iter().collect();
    let gateways =
        if gateway && !addresses.is_empty() { vec![[10, number, 0, 1].into()] } else { vec![] };
    Port { port, dhcp, addresses, gateways, mtu }
}

proptest! {
    #[test]
    fn the_text_of_a_network_is_read_as_the_same_network(
        proxy in proptest::option::of((any::<bool>(), 1_u16..)),
        direct in proptest::collection::btree_set((0_u8..3, 1_u8..200), 0..5),
        dns in proptest::collection::btree_set(1_u8..200, 0..=3),
        ntp in proptest::option::of(proptest::collection::btree_set((0_u8..4, 1_u16..), 0..=8)),
        ports in proptest::collection::vec((any::<bool>(), setups()), 0..4),
        bonds in proptest::collection::vec((1_usize..=8, any::<bool>(), setups()), 0..3),
        vlans in proptest::collection::vec((1_u16..=4094, setups()), 0..3),
    ) {
        let number = |at: usize| u8::try_from(at).expect("few");
        let port = |at: usize, by_mac: bool| match by_mac {
            true => PortName::Mac([2, 0, 0, 0, 0, number(at)]),
            false => named(&format!("port{at}")),
        };
        let network = Network {
            proxy: proxy.map(|(named, port)| Proxy {
                host: if named { "proxy.example.net" } else { "2001:db8::1" }.to_owned(),
                port,
            }),
            no_proxy: direct.iter().map(|(kind, number)| match kind {
                0 => Direct::Name(format!("d{number}.example")),
                1 => Direct::Net(IpNet { address: [10, *number, 0, 0].into(), prefix: 16 }),
                _ => Direct::Net(IpNet { address: [10, 0, 0, *number].into(), prefix: 32 }),
            }).collect(),
            dns: dns.iter().map(|host| [192, 0, 2, *host].into()).collect(),
            ntp: ntp.map(|servers| servers.iter().map(|(kind, number)| match kind {
                0 => format!("ntp{number}.example.net"),
                1 => format!("ntp:{number}"),
                2 => format!("[2001:db8::1]:{number}"),
                _ => format!("2001:db8::{number:x}"),
            }).collect()),
            ports: ports.iter().enumerate().map(|(at, (by_mac, setup))| {
                set_up(port(at, *by_mac), number(at), *setup)
            }).collect(),
            bonds: bonds.iter().enumerate().map(|(at, (size, lacp, setup))| Bond {
                port: set_up(named(&format!("bond{at}")), 50 + number(at), *setup),
                ports: (0..*size).map(|port| named(&format!("b{at}p{port}"))).collect(),
                mode: if *lacp { BondMode::Lacp } else { BondMode::ActiveBackup },
            }).collect(),
            vlans: vlans.iter().enumerate().map(|(at, (id, setup))| Vlan {
                port: set_up(named(&format!("vlan{at}")), 100 + number(at), *setup),
                id: *id,
                parent: named(&format!("carrier{at}")),
            }).collect(),
        };
        prop_assert_eq!(parse_network(&network.to_toml()), Ok(network));
    }
}
