use super::*;
use agent_api::init::{NetworkOrigin, NetworkState, PortStatus};

fn system(text: &str) -> SystemStatus {
    let port = |name: &str, link| PortStatus {
        name: name.to_owned(),
        mac: "52:54:00:12:34:56".to_owned(),
        link,
        ..PortStatus::default()
    };
    let state = NetworkState {
        origin: NetworkOrigin::Seed,
        text: text.to_owned(),
        tried: None,
        seconds_left: None,
    };
    SystemStatus {
        ports: vec![port("eno1", false), port("eno2", true)],
        network: Some(state),
        ..SystemStatus::default()
    }
}

fn keys(form: &mut NetworkForm, system: &SystemStatus, keys: &str) -> Sent {
    let mut last = Sent::Open;
    for letter in keys.chars() {
        last = form.press(
            match letter {
                '\n' => Key::Enter,
                '\t' => Key::Next,
                '>' => Key::Right,
                'v' => Key::PageDown,
                '#' => Key::Erase,
                letter => Key::Char(letter),
            },
            system,
        );
    }
    last
}

#[test]
fn a_vlan_with_a_static_address_is_filled_in_by_keys() {
    let system = system("[network]\n");
    let mut form = NetworkForm::new(&system).expect("ports");
    assert_eq!(form.form.text("port"), "eno2", "the one with a link");
    let sent = keys(
        &mut form,
        &system,
        "\ns\n192.0.2.10/24 2001:db8::10/64\n192.0.2.1\n100\n\n\n\n\n\n192.0.2.53\nntp 192.0.2.1:1123\n\n",
    );
    let Sent::Try(text) = sent else { panic!("{sent:?}: {form:?}") };
    let network = parse_network(&text).expect("settings");
    assert_eq!(network.vlans[0].id, 100);
    assert_eq!(network.vlans[0].port.addresses.len(), 2);
    assert_eq!(network.dns.len(), 1);
    assert_eq!(network.ntp, Some(vec!["ntp".to_owned(), "192.0.2.1:1123".to_owned()]));
    assert!(!network.ports[0].dhcp);
}

#[test]
fn mistakes_stand_at_their_fields_and_nothing_is_tried() {
    let system = system("[network]\n");
    for (typed, field, words) in [
        ("\ns\n192.0.2.300/24v\n", "addresses", "prefix length"),
        ("\ns\n192.0.2.10v\n", "addresses", "has no prefix length"),
        ("\ns\nv\n", "addresses", "write an address"),
        ("\ns\n192.0.2.10/33v\n", "addresses", "no address"),
        ("\ns\n192.0.2.10/24\n10.0.0.1v\n", "gateways", "in no subnet"),
        ("\n\n\n\n5000v\n", "vlan", "1 to 4094"),
        ("\n\n\n\nxv\n", "vlan", "is not such a number"),
        ("\n\n\n\n\n99v\n", "mtu", "1280 to 9216"),
        ("\n\n\n\n\n\n\n\nftp://av\n", "proxy", "http://"),
        ("\n\n\n\n\n\n\n\na\"b\\v\n", "proxy", "has characters"),
        ("\n\n\n\n\n\n\n\n\n10.0.0.0/99v\n", "direct", "10.0.0.0/99"),
        ("\n\n\n\n\n\n\n\n\n\n1.2v\n", "dns", "is no address"),
        ("\n\n\n\n\n\n\n\n\n\n\nntp:0v\n", "ntp", "is not a time server"),
        ("\n\n\n\n\n\n\n\n\n\n\nntp ntpv\n", "ntp", "is there twice"),
        ("\n\n\n\n\n\n\n\n\n\n\nnone ntpv\n", "ntp", "none stands alone"),
        ("\n\n\n\n\n\n\n\n\n\n\na b c d e f g h iv\n", "ntp", "at most 8"),
    ] {
        let mut form = NetworkForm::new(&system).expect("ports");
        assert_eq!(keys(&mut form, &system, typed), Sent::Open, "{typed:?}");
        let wrong = form.form.field().expect("a field");
        assert_eq!(wrong.key, field, "{typed:?}");
        let error = wrong.error.as_deref().unwrap_or_default();
        assert!(error.contains(words), "{typed:?}: {error}");
    }
}

#[test]
fn another_port_shows_its_own_settings() {
    let system = system(
        "[network]\n[[network.port]]\nport = \"eno1\"\naddresses = [\"192.0.2.7/24\"]\nmtu = 9000\n",
    );
    let mut form = NetworkForm::new(&system).expect("ports");
    assert_eq!((form.form.text("dhcp"), form.form.text("mtu")), ("DHCP", ""));
    form.press(Key::Right, &system);
    assert_eq!((form.form.text("port"), form.form.text("dhcp")), ("eno1", "static"));
    assert_eq!((form.form.text("addresses"), form.form.text("mtu")), ("192.0.2.7/24", "9000"));
    assert_eq!(form.press(Key::Escape, &system), Sent::Left);
    assert_eq!(NetworkForm::new(&SystemStatus::default()), None);
    let unknown = SystemStatus { network: None, ..system };
    assert_eq!(NetworkForm::new(&unknown), None, "what is not known is not undone");
}

#[test]
fn a_proxy_is_set_kept_and_taken_away() {
    let mut system = system("[network]\n");
    let mut form = NetworkForm::new(&system).expect("ports");
    let proxy = "http://192.0.2.3:3128\nexample.net 10.0.0.0/8v\n";
    let sent = keys(&mut form, &system, &format!("\n\n\n\n\n\n\n\n{proxy}"));
    let Sent::Try(text) = sent else { panic!("{sent:?}: {form:?}") };
    let network = parse_network(&text).expect("settings");
    assert_eq!(network.proxy_for("example.org").map(|proxy| proxy.port), Some(3128));
    assert_eq!(network.proxy_for("10.1.2.3"), None);
    system.network.as_mut().expect("settings").text.clone_from(&text);
    let mut form = NetworkForm::new(&system).expect("ports");
    assert_eq!(form.form.text("direct"), "example.net, 10.0.0.0/8");
    assert_eq!(keys(&mut form, &system, "v\n"), Sent::Try(text));
    form.form.at = 8;
    let erased = "#".repeat(30);
    let sent = keys(&mut form, &system, &format!("{erased}\n{erased}v\n"));
    assert_eq!(sent, Sent::Try("[network]\n".to_owned()));
}

#[test]
fn time_servers_are_set_kept_and_taken_away() {
    let mut system = system("[network]\n");
    let mut text = String::new();
    for (shown, typed, key) in [
        (
            "",
            "ntp.example.net; [2001:db8::1]:123",
            "ntp = [\"ntp.example.net\", \"[2001:db8::1]:123\"]\n",
        ),
        ("ntp.example.net, [2001:db8::1]:123", "none", "ntp = []\n"),
        ("none", "ntp:1123", "ntp = [\"ntp:1123\"]\n"),
        ("ntp:1123", "default", ""),
        ("", "none", "ntp = []\n"),
        ("none", "", ""),
    ] {
        let mut form = NetworkForm::new(&system).expect("ports");
        assert_eq!(form.form.text("ntp"), shown);
        if !text.is_empty() {
            assert_eq!(keys(&mut form.clone(), &system, "v\n"), Sent::Try(text));
        }
        form.form.at = 11;
        let sent = keys(&mut form, &system, &format!("{}{typed}\n\n", "#".repeat(40)));
        text = format!("[network]\n{key}");
        assert_eq!(sent, Sent::Try(text.clone()), "{typed:?}");
        system.network.as_mut().expect("settings").text.clone_from(&text);
    }
}

#[test]
fn the_longest_time_servers_fit_into_their_field() {
    let name = |last: usize| format!("{last}{}.{}:65535", ".a".repeat(95), "b".repeat(61));
    let servers: Vec<_> = (0..8).map(name).collect();
    let text = Network { ntp: Some(servers), ..Network::default() }.to_toml();
    let system = system(&text);
    let mut form = NetworkForm::new(&system).expect("ports");
    assert_eq!(keys(&mut form, &system, "v\n"), Sent::Try(text));
}

#[test]
fn a_bond_with_lacp_is_made_by_keys() {
    let system = system("[network]\n");
    let mut form = NetworkForm::new(&system).expect("ports");
    let sent = keys(&mut form, &system, "\n\n\n\n\n\n>\n, eno1\n\n\n\n\n\n");
    let Sent::Try(text) = sent else { panic!("{sent:?}: {form:?}") };
    let network = parse_network(&text).expect("settings");
    assert_eq!(network.bonds[0].mode, BondMode::Lacp);
    assert_eq!(network.bonds[0].ports.len(), 2);
    assert!(network.bonds[0].port.dhcp);
}

#[test]
fn the_longest_lists_that_are_taken_come_back_from_the_form_as_they_were() {
    let name = |at: usize| format!("{at:02}{}.{}", ".a".repeat(88), "b".repeat(61));
    let host = |at: usize| format!("2001:fdb8:ffff:ffff:ffff:ffff:ffff:{:x}", 0xff00 + at);
    let base = Network {
        proxy: Some(Proxy { host: name(0), port: 65535 }),
        no_proxy: (0..64).map(|at| Direct::Name(name(at))).collect(),
        ..Network::default()
    };
    let nets: Vec<String> = (0..16).map(|at| format!("{:?}", host(at) + "/128")).collect();
    let ports = format!("\n[[network.port]]\nport = \"eno2\"\naddresses = [{}]\n", nets.join(", "));
    for text in [base.to_toml(), format!("[network]\n{ports}")] {
        parse_network(&text).expect("settings that are taken");
        let system = system(&text);
        let mut form = NetworkForm::new(&system).expect("ports");
        assert_eq!(keys(&mut form, &system, "v\n"), Sent::Try(text));
    }
    // The bounds are those of the parser: there is no longer list, and no longer name.
    let most = |count: usize| Network {
        no_proxy: (0..count).map(|at| Direct::Name(format!("d{at}"))).collect(),
        ..Network::default()
    };
    assert!(parse_network(&most(65).to_toml()).is_err());
    assert!(direct(&format!("{}{}", "a.".repeat(96), "b".repeat(62))).is_err());
    assert!(direct(&format!("{}{}", "a.".repeat(96), "b".repeat(61))).is_ok());
}
