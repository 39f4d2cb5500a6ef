use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

fn port(name: &str, mac: &str) -> PortStatus {
    PortStatus { name: name.to_owned(), mac: mac.to_owned(), link: true, ..PortStatus::default() }
}

fn ports() -> Vec<PortStatus> {
    vec![port("eno1", "52:54:00:00:00:01"), port("eno2", "52:54:00:00:00:02")]
}

fn net(text: &str) -> IpNet {
    let (address, prefix) = text.split_once('/').expect("a prefix");
    IpNet { address: address.parse().expect("address"), prefix: prefix.parse().expect("number") }
}

fn fixed(port: &str, address: &str, gateway: &str) -> Wish {
    Wish {
        port: port.to_owned(),
        dhcp: false,
        addresses: vec![net(address)],
        gateways: vec![gateway.parse().expect("address")],
        mtu: None,
        vlan: None,
        bond: BondWish::Keep,
        shared: Shared::default(),
    }
}

fn changed(base: &str, wish: &Wish, expected: &Expect) {
    let base = if base.is_empty() { Network::default() } else { read(base) };
    let next = set(&base, wish, &ports()).expect("no mistake");
    expected.assert_eq(&next.to_toml());
}

fn read(text: &str) -> Network {
    parse_network(text).expect("settings")
}

#[test]
fn a_static_address_takes_the_place_of_dhcp_and_goes_again() {
    let mut wish = fixed("eno1", "192.0.2.10/24", "192.0.2.1");
    wish.addresses.push(net("2001:db8::10/64"));
    wish.shared.dns = Some(vec!["192.0.2.53".parse().expect("address")]);
    changed(
        "",
        &wish,
        &expect![[r#"
        [network]
        dns = ["192.0.2.53"]

        [[network.port]]
        port = "eno1"
        addresses = ["192.0.2.10/24", "2001:db8::10/64"]
        gateways = ["192.0.2.1"]
    "#]],
    );
    let next = set(&Network::default(), &wish, &ports()).expect("settings");
    let dhcp = Wish { dhcp: true, addresses: vec![], gateways: vec![], ..wish };
    changed(
        &next.to_toml(),
        &dhcp,
        &expect![[r#"
        [network]
        dns = ["192.0.2.53"]
    "#]],
    );
}

#[test]
fn a_vlan_id_makes_a_vlan_and_leaves_the_port_without_an_address() {
    let wish =
        Wish { vlan: Some(100), mtu: Some(9000), ..fixed("eno1", "192.0.2.10/24", "192.0.2.1") };
    let expected = expect![[r#"
        [network]

        [[network.port]]
        port = "eno1"
        dhcp = false
        mtu = 9000

        [[network.vlan]]
        name = "eno1.100"
        id = 100
        parent = "eno1"
        addresses = ["192.0.2.10/24"]
        gateways = ["192.0.2.1"]
        mtu = 9000
    "#]];
    changed("", &wish, &expected);
    // Once more, by the name of the port and by that of the VLAN.
    let next = set(&Network::default(), &wish, &ports()).expect("settings").to_toml();
    changed(&next, &wish, &expected);
    let by_name = Wish { port: "eno1.100".to_owned(), ..wish.clone() };
    changed(&next, &by_name, &expected);
    let moved = Wish { vlan: Some(7), mtu: None, ..by_name.clone() };
    changed(
        &next,
        &moved,
        &expect![[r#"
        [network]

        [[network.port]]
        port = "eno1"
        dhcp = false
        mtu = 9000

        [[network.vlan]]
        name = "eno1.100"
        id = 7
        parent = "eno1"
        addresses = ["192.0.2.10/24"]
        gateways = ["192.0.2.1"]
    "#]],
    );
    let untagged = Wish { vlan: None, ..by_name };
    changed(
        &next,
        &untagged,
        &expect![[r#"
        [network]

        [[network.port]]
        port = "eno1"
        addresses = ["192.0.2.10/24"]
        gateways = ["192.0.2.1"]
        mtu = 9000
    "#]],
    );
}

#[test]
fn a_bond_is_made_of_ports_changed_and_dissolved() {
    let names = || vec!["eno1".to_owned(), "eno2".to_owned()];
    let base =
        "[network]\n[[network.port]]\nport = \"52:54:00:00:00:02\"\ndhcp = true\nmtu = 9000\n";
    let wish = Wish {
        bond: BondWish::With(BondMode::Lacp, names()),
        vlan: Some(5),
        ..fixed("eno1", "192.0.2.10/24", "192.0.2.1")
    };
    changed(
        base,
        &wish,
        &expect![[r#"
        [network]

        [[network.bond]]
        name = "bond0"
        ports = ["eno1", "52:54:00:00:00:02"]
        mode = "lacp"
        dhcp = false

        [[network.vlan]]
        name = "bond0.5"
        id = 5
        parent = "bond0"
        addresses = ["192.0.2.10/24"]
        gateways = ["192.0.2.1"]
    "#]],
    );
    let next = set(&read(base), &wish, &ports()).expect("settings");
    assert_eq!(
        set(&next, &wish, &ports()),
        Err(SetError::Bonded { port: "eno1".to_owned(), bond: "bond0".to_owned() })
    );
    let now = current(&next, "bond0", &ports());
    assert_eq!(now.bond, BondWish::With(BondMode::Lacp, names()));
    assert_eq!((now.dhcp, now.vlan), (false, None));
    let alone = Wish { bond: BondWish::Alone, dhcp: true, ..now };
    changed(
        &next.to_toml(),
        &alone,
        &expect![[r#"
        [network]

        [[network.vlan]]
        name = "bond0.5"
        id = 5
        parent = "eno1"
        addresses = ["192.0.2.10/24"]
        gateways = ["192.0.2.1"]
    "#]],
    );
}

#[test]
fn what_the_parser_refuses_is_not_tried() {
    let wish = fixed("eno1", "192.0.2.10/24", "198.51.100.1");
    let Err(SetError::Mistakes(problems)) = set(&Network::default(), &wish, &ports()) else {
        panic!("taken")
    };
    assert_eq!(problems[0].key, "network.port.gateways");
    let none = fixed("eno9", "192.0.2.10/24", "192.0.2.1");
    assert_eq!(set(&Network::default(), &none, &ports()), Err(SetError::NoPort("eno9".to_owned())));
}

#[test]
fn time_servers_stay_as_they_are_unless_others_are_wanted() {
    let base = read("[network]\nntp = [\"ntp.example.net\"]\n");
    for (ntp, expected) in [
        (NtpWish::Keep, base.ntp.clone()),
        (NtpWish::Default, None),
        (NtpWish::These(vec![]), Some(vec![])),
        (NtpWish::These(vec!["ntp:1123".to_owned()]), Some(vec!["ntp:1123".to_owned()])),
    ] {
        let shared = Shared { ntp: ntp.clone(), ..Shared::default() };
        let wish = Wish { shared, ..fixed("eno1", "192.0.2.10/24", "192.0.2.1") };
        let next = set(&base, &wish, &ports()).expect("settings");
        assert_eq!(next.ntp, expected, "{ntp:?}");
        assert_eq!(next.ports.len(), 1);
    }
    let twice = NtpWish::These(vec!["ntp".to_owned(), "ntp".to_owned()]);
    let shared = Shared { ntp: twice, ..Shared::default() };
    let wish = Wish { shared: shared.clone(), ..fixed("eno1", "192.0.2.10/24", "192.0.2.1") };
    for next in [set(&base, &wish, &ports()), set_shared(&base, &shared)] {
        let Err(SetError::Mistakes(problems)) = next else { panic!("taken") };
        assert_eq!(problems[0].key, "network.ntp");
    }
}

#[test]
fn what_all_ports_share_is_set_and_the_ports_stay_as_they_are() {
    let base = read(
        "[network]\ndns = [\"192.0.2.1\"]\nntp = [\"ntp\"]\n[[network.port]]\nport = \"eno2\"\n\
         addresses = [\"192.0.2.10/24\"]\nmtu = 9000\n[[network.vlan]]\nname = \"a\"\nid = 1\n\
         parent = \"eno2\"\n",
    );
    let dns: IpAddr = "192.0.2.53".parse().expect("address");
    let proxy = Some(Proxy { host: "192.0.2.3".to_owned(), port: 3128 });
    let through = Through { proxy: proxy.clone(), direct: Vec::new() };
    for (shared, expected) in [
        (Shared::default(), base.clone()),
        (
            Shared { dns: Some(vec![dns]), ..Shared::default() },
            Network { dns: vec![dns], ..base.clone() },
        ),
        (
            Shared { ntp: NtpWish::Default, ..Shared::default() },
            Network { ntp: None, ..base.clone() },
        ),
        (Shared { through: Some(through), ..Shared::default() }, Network { proxy, ..base.clone() }),
    ] {
        assert_eq!(set_shared(&base, &shared), Ok(expected));
    }
}

#[test]
fn a_name_that_would_be_too_long_is_a_short_one() {
    let ports = vec![port("enp129s0f1np1", "52:54:00:00:00:01")];
    let wish = Wish { vlan: Some(4000), ..fixed("enp129s0f1np1", "192.0.2.10/24", "192.0.2.1") };
    let next = set(&Network::default(), &wish, &ports).expect("settings");
    assert_eq!(next.vlans[0].port.port.to_string(), "vlan4000");
}

#[test]
fn the_ports_of_a_bond_are_not_offered() {
    let text = "[network]\n[[network.bond]]\nname = \"bond0\"\nports = [\"52:54:00:00:00:02\"]\n\
                mode = \"active-backup\"\n[[network.vlan]]\nname = \"a\"\nid = 1\nparent = \"bond0\"\n";
    let mut ports = ports();
    ports.push(port("bond0", "52:54:00:00:00:02"));
    ports.push(port("a", "52:54:00:00:00:02"));
    let system = SystemStatus { ports, ..SystemStatus::default() };
    assert_eq!(names_of(&system, &read(text)), ["eno1", "bond0", "a"]);
}

proptest! {
    #[test]
    fn what_is_set_is_what_is_shown_next_time(
        dhcp in any::<bool>(),
        host in 2_u8..250,
        mtu in prop::option::of(1280_u16..9216),
        vlan in prop::option::of(1_u16..=4094),
        with in prop::option::of(any::<bool>()),
        ntp in prop::option::of(prop::collection::btree_set(1_u16.., 0..8)),
    ) {
        let bond = match with {
            Some(lacp) => {
                let mode = if lacp { BondMode::Lacp } else { BondMode::ActiveBackup };
                BondWish::With(mode, vec!["eno1".to_owned(), "eno2".to_owned()])
            }
            None => BondWish::Alone,
        };
        let mut wish = fixed("eno1", &format!("192.0.2.{host}/24"), "192.0.2.1");
        (wish.dhcp, wish.mtu, wish.vlan, wish.bond) = (dhcp, mtu, vlan, bond);
        let servers = |ports: BTreeSet<u16>| ports.iter().map(|port| format!("ntp:{port}")).collect();
        wish.shared.ntp = ntp.map_or(NtpWish::Default, |ports| NtpWish::These(servers(ports)));
        let next = set(&Network::default(), &wish, &ports()).expect("settings");
        let carrier = if with.is_some() { "bond0" } else { "eno1" };
        let name = vlan.map_or_else(|| carrier.to_owned(), |id| format!("{carrier}.{id}"));
        let now = current(&next, &name, &ports());
        prop_assert_eq!(
            (now.dhcp, now.mtu, now.vlan, &now.addresses, &now.gateways, &now.shared.ntp),
            (wish.dhcp, wish.mtu, wish.vlan, &wish.addresses, &wish.gateways, &wish.shared.ntp)
        );
        // Set once more as it is shown, nothing changes.
        let again = set(&next, &now, &ports()).expect("settings");
        prop_assert_eq!(again, next);
    }
}
