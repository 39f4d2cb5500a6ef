use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::*;
use crate::settlement::{self, Gas, Settlement};
use crate::sla::{Oracle, ReportStore};
use crate::{IpNet, Port, PortName, Proxy};

fn printed(text: &str) -> String {
    parse(text).1.iter().fold(String::new(), |mut all, problem| {
        writeln!(all, "{problem}").expect("writing to a string");
        all
    })
}

fn check(text: &str, expected: &Expect) {
    expected.assert_eq(&printed(text));
}

mod manual;
mod random;
mod support_tests;

const WHOLE: &str = r#"
version = 1

[node]
name = "node-7"
region = "Zürich, rack 4"
hardware_class = "hdd-12"

[network]
dns = ["192.0.2.1", "2001:db8::53"]
ntp = ["ntp.example.net", "[2001:db8::1]:123"]
proxy = "http://proxy.example.net:3128"

[[network.port]]
port = "eno1"
addresses = ["192.0.2.10/24", "2001:db8::10/64"]
gateways = ["192.0.2.1", "fe80::1"]
mtu = 9000

[[network.port]]
port = "52:54:00:12:34:56"
dhcp = false

[disks]
claim = "blank-only"
min_size = "1GiB"
replace_after = "2h"
allow_removable = ["WD-1234 5"]

[s3]
listen = "0.0.0.0:8443"
region = "eu-west-1"
domains = ["S3.example.net"]
tls_certificate = "node.pem"
tls_key = "node.key"

[[s3.user]]
name = "backup"
access_key = "BACKUPKEY"
secret_key = "not-a-real-secret"

[metrics]
listen = ":9200"

[sla]
chain = 8453
contract = "0xc0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0"
genesis = 1767225600
era = "2h"
samples = 100
report_every = "1min"
s3_endpoint = "https://node-7.example.net"

[[sla.oracle]]
name = "oracle-1"
url = "https://oracle-1.example.net:7443/"
address = "0x0101010101010101010101010101010101010101"
certificate = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

[[sla.report_store]]
name = "store"
url = "https://[2001:db8::5]:7444"
certificate = "BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB:BB"

[settlement]
backend = "reference"
rpc = ["https://rpc.example.net/a-secret", "http://10.0.0.7:8545"]
hp_account = "0x4848484848484848484848484848484848484848"
registry = "0x0202020202020202020202020202020202020202"
eras = "0x0303030303030303030303030303030303030303"
claims = "0x0404040404040404040404040404040404040404"
pay_gas = true
max_fee = "0.5 gwei"
day_budget = "0.01 ETH"
claim_every = "12h"
claim_at_least = "2.5"

[health]
drain = false

[support]
recipients = ["age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"]

[console]
serial = ["ttyS1"]

[log]
serial = "ttyS0"
"#;

#[test]
fn every_key_is_read() {
    let (config, problems) = parse(WHOLE);
    assert_eq!(problems, []);
    let net = |address: &str, prefix| IpNet { address: address.parse().expect("address"), prefix };
    let expected = Config {
        node: Node {
            name: Some("node-7".to_owned()),
            region: Some("Zürich, rack 4".to_owned()),
            hardware_class: Some("hdd-12".to_owned()),
        },
        network: Network {
            dns: vec!["192.0.2.1".parse().expect("v4"), "2001:db8::53".parse().expect("v6")],
            ntp: Some(vec!["ntp.example.net".into(), "[2001:db8::1]:123".into()]),
            ports: vec![
                Port {
                    port: PortName::Name("eno1".to_owned()),
                    dhcp: false,
                    addresses: vec![net("192.0.2.10", 24), net("2001:db8::10", 64)],
                    gateways: vec![
                        "192.0.2.1".parse().expect("v4"),
                        "fe80::1".parse().expect("v6"),
                    ],
                    mtu: Some(9000),
                },
                Port {
                    port: PortName::Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]),
                    dhcp: false,
                    addresses: vec![],
                    gateways: vec![],
                    mtu: None,
                },
            ],
            proxy: Some(Proxy { host: "proxy.example.net".to_owned(), port: 3128 }),
            ..Network::default()
        },
        disks: Disks {
            claim: ClaimMode::BlankOnly,
            min_size: 1 << 30,
            replace_after: std::time::Duration::from_secs(7200),
            allow_removable: vec!["WD-1234 5".to_owned()],
        },
        s3: S3 {
            listen: "0.0.0.0:8443".parse().expect("listen"),
            region: "eu-west-1".to_owned(),
            domains: vec!["s3.example.net".to_owned()],
            tls: Some(TlsFiles { certificate: "node.pem".into(), key: "node.key".into() }),
            users: vec![User {
                name: "backup".to_owned(),
                access_key: "BACKUPKEY".to_owned(),
                secret_key: "not-a-real-secret".to_owned(),
            }],
        },
        metrics: Metrics { listen: Some("[::]:9200".parse().expect("listen")) },
        sla: Some(Sla {
            chain: 8453,
            contract: [0xc0; 20],
            genesis: 1_767_225_600,
            era: std::time::Duration::from_secs(7200),
            samples: 100,
            report_every: std::time::Duration::from_secs(60),
            s3_endpoint: Some("https://node-7.example.net".to_owned()),
            oracles: vec![Oracle {
                name: "oracle-1".to_owned(),
                url: "https://oracle-1.example.net:7443".to_owned(),
                address: [1; 20],
                certificate: [0xaa; 32],
            }],
            report_stores: vec![ReportStore {
                name: "store".to_owned(),
                url: "https://[2001:db8::5]:7444".to_owned(),
                certificate: [0xbb; 32],
            }],
        }),
        settlement: Some(Settlement {
            rpc: vec!["https://rpc.example.net/a-secret".into(), "http://10.0.0.7:8545".into()],
            hp_account: [0x48; 20],
            network: settlement::Network::Reference {
                registry: [2; 20],
                eras: [3; 20],
                claims: [4; 20],
            },
            gas: Some(Gas {
                max_fee_wei: 500_000_000,
                day_budget_wei: 10_000_000_000_000_000,
                claim_every: std::time::Duration::from_secs(12 * 3600),
                claim_at_least: 2_500_000_000_000_000_000,
            }),
        }),
        health: Health { drain: false },
        support: Support { recipients: vec![support_tests::recipient()] },
        console: Console { serial: vec!["ttyS1".to_owned()], changes: Changes::Anybody },
        log: Log { serial: Some("ttyS0".to_owned()) },
    };
    assert_eq!(config, expected);
}

#[test]
fn a_version_alone_means_the_defaults() {
    assert_eq!(parse("version = 1\n"), (Config::default(), vec![]));
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_do_no_harm() {
    let text = format!("\u{feff}{}", WHOLE.replace('\n', "\r\n"));
    assert_eq!(parse(&text), parse(WHOLE));
}

#[test]
fn a_port_uses_dhcp_only_where_no_address_is_given() {
    for (keys, dhcp) in [
        ("", true),
        ("addresses = [\"192.0.2.10/24\"]", false),
        ("dhcp = true\naddresses = [\"192.0.2.10/24\"]", true),
        ("dhcp = false", false),
    ] {
        let (config, problems) =
            parse(&format!("version = 1\n[[network.port]]\nport = \"eno1\"\n{keys}\n"));
        assert_eq!(problems, []);
        assert_eq!(config.network.ports[0].dhcp, dhcp, "{keys}");
    }
}

#[test]
fn whatever_leaves_the_wish_for_the_disks_open_claims_none() {
    for text in [
        "",
        "\0",
        "version = 2\n",
        "version = \"1\"\n",
        "[disks]\nclaim = \"blank-only\"\n",
        "version = 1\n[disks\nclaim = \"off\"",
        "version = 1\nclaim = \"off\"\n",
        "version = 1\n[disk]\nclaim = \"off\"\n",
        "version = 1\n[disks]\nclaims = \"off\"\n",
        "version = 1\n[disks]\nclaim = \"all\"\n",
        "version = 1\n[disks]\nclaim = \"blank-only\"\nmin_size = \"a lot\"\n",
        "version = 1\ndisks = \"off\"\n",
        "version = 1\n[[disks]]\nclaim = \"off\"\n",
    ] {
        let (config, problems) = parse(text);
        assert_eq!(config.disks.claim, ClaimMode::Off, "{text}");
        assert!(!problems.is_empty(), "{text}");
    }
}

#[test]
fn a_mistake_elsewhere_leaves_the_disks_as_written() {
    let text = "version = 1\n[network]\ndns = [\"x\"]\n[disks]\nmin_size = 2000000000\n";
    let (config, problems) = parse(text);
    assert_eq!(problems.len(), 1);
    assert_eq!(config.disks.claim, ClaimMode::BlankOnly);
    assert_eq!(config.disks.min_size, 2_000_000_000);
    assert_eq!(config.network, Network::default());
}

#[test]
fn a_file_that_is_not_for_us_is_ignored_as_a_whole() {
    check(
        "",
        &expect![[r#"
            node.toml, version: the key is missing: write version = 1 above the first section; the whole file is ignored, defaults are used and no disk is claimed
        "#]],
    );
    check(
        "\nversion = 7\n[node]\nname = \"a\"\n",
        &expect![[r#"
            node.toml line 2, version: this image reads version 1 only: write version = 1 above the first section; the whole file is ignored, defaults are used and no disk is claimed
        "#]],
    );
    check(
        "version = 1\n[node]\nname = node-7\n",
        &expect![[r#"
            node.toml line 3: the text is not TOML here (invalid float, expected `nan`): correct this line; the whole file is ignored, defaults are used and no disk is claimed
        "#]],
    );
    check(
        "version = 1\n[node]\n[node]\n",
        &expect![[r#"
            node.toml line 3: the text is not TOML here (duplicate key): correct this line; the whole file is ignored, defaults are used and no disk is claimed
        "#]],
    );
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    check(
        "version = 1\nlisten = \":443\"\nclaim = \"off\"\n[netwrok]\n[s3]\nlissen = \":443\"\n\
         [[network.port]]\nport = \"eno1\"\nadresses = []\nspeed = 1\n[tls]\n",
        &expect![[r#"
            node.toml line 2, listen: the key belongs below [s3]: move it there; no disk is claimed
            node.toml line 3, claim: the key belongs below [disks]: move it there; no disk is claimed
            node.toml line 4, netwrok: the key is not known: did you mean network?; no disk is claimed
            node.toml line 6, s3.lissen: the key is not known: did you mean listen?; [s3] is ignored: the service uses its default address, its own certificate and the node's own user
            node.toml line 9, network.port.adresses: the key is not known: did you mean addresses?; [network] is ignored and every port uses DHCP
            node.toml line 10, network.port.speed: the key is not known: known are port, dhcp, addresses, gateways, mtu; [network] is ignored and every port uses DHCP
            node.toml line 11, tls: the key is not known: known are version, node, network, disks, s3, metrics, sla, settlement, health, support, console, log; no disk is claimed
        "#]],
    );
}

#[test]
fn a_bad_value_says_what_to_write_instead() {
    check(
        r#"version = 1
[node]
name = "node_7"
[network]
dns = "192.0.2.1"
ntp = ["ntp.example.net", "ntp.example.net", "a b"]
[[network.port]]
port = "eno1"
dhcp = "yes"
addresses = ["192.0.2.10", "192.0.2.10/33", 7]
gateways = ["router"]
mtu = 100
[[network.port]]
[disks]
claim = "yes"
min_size = 1.5
allow_removable = [""]
[s3]
listen = "443"
region = "EU"
domains = ["192.0.2.1"]
tls_certificate = "../node.pem"
[[s3.user]]
name = "a user"
access_key = "k"
secret_key = "hush"
[[s3.user]]
name = "other"
[console]
serial = ["tty1"]
[log]
serial = ["ttyS1"]
"#,
        &expect![[r#"
            node.toml line 3, node.name: "node_7" is not a host name: write 1 to 63 letters, digits and dashes, no dash at either end, such as "node-7"; [node] is ignored and the node keeps its default name
            node.toml line 5, network.dns: write a list in square brackets, such as dns = ["…"]; [network] is ignored and every port uses DHCP
            node.toml line 6, network.ntp: "ntp.example.net" is there twice: remove one; ntp is ignored and the default time servers are asked
            node.toml line 6, network.ntp: "a b" is not a time server: write "ntp.example.net", "192.0.2.1:123" or "[2001:db8::1]:123"; ntp is ignored and the default time servers are asked
            node.toml line 9, network.port.dhcp: write true or false, without quotes; [network] is ignored and every port uses DHCP
            node.toml line 10, network.port.addresses: "192.0.2.10" has no prefix length: write address and prefix length, such as "192.0.2.10/24"; [network] is ignored and every port uses DHCP
            node.toml line 10, network.port.addresses: the prefix length of 192.0.2.10 is 1 to 32: write address and prefix length, such as "192.0.2.10/24"; [network] is ignored and every port uses DHCP
            node.toml line 10, network.port.addresses: write text in double quotes; [network] is ignored and every port uses DHCP
            node.toml line 11, network.port.gateways: "router" is not an IP address: write one such as "192.0.2.1"; [network] is ignored and every port uses DHCP
            node.toml line 12, network.port.mtu: write a number from 1280 to 9216, without quotes; [network] is ignored and every port uses DHCP
            node.toml line 13, network.port.port: the key is missing: add port = "…"; [network] is ignored and every port uses DHCP
            node.toml line 15, disks.claim: "yes" is not a way to claim disks: write "blank-only" or "off"; [disks] is ignored and no disk is claimed
            node.toml line 16, disks.min_size: write bytes, or a text such as "32GB"; [disks] is ignored and no disk is claimed
            node.toml line 17, disks.allow_removable: "" is not a serial number: write it as the console shows it, 1 to 128 characters without spaces at the ends; [disks] is ignored and no disk is claimed
            node.toml line 19, s3.listen: "443" is not an address with a port: write ":443" for all addresses, or one such as "192.0.2.10:443" or "[2001:db8::1]:443"; [s3] is ignored: the service uses its default address, its own certificate and the node's own user
            node.toml line 20, s3.region: "EU" is not a region: write 1 to 64 small letters, digits and dashes, such as "us-east-1"; [s3] is ignored: the service uses its default address, its own certificate and the node's own user
            node.toml line 21, s3.domains: "192.0.2.1" is not a domain name: write one such as "s3.example.net"; [s3] is ignored: the service uses its default address, its own certificate and the node's own user
            node.toml line 22, s3.tls_certificate: "../node.pem" is not a file beside node.toml: copy the file there and write its bare name, such as "node.pem"; [s3] is ignored: the service uses its default address, its own certificate and the node's own user
            node.toml line 22, s3.tls_certificate: its key is missing: add tls_key, or remove both; [s3] is ignored: the service uses its default address, its own certificate and the node's own user
            node.toml line 24, s3.user.name: "a user" is not a user name: write 1 to 64 letters, digits and any of - _ . @ +; [s3] is ignored: the service uses its default address, its own certificate and the node's own user
            node.toml line 25, s3.user.access_key: "k" is not an access key: write 3 to 128 letters, digits and any of - _ .; [s3] is ignored: the service uses its default address, its own certificate and the node's own user
            node.toml line 26, s3.user.secret_key: the secret is too short: write 8 to 128 characters; [s3] is ignored: the service uses its default address, its own certificate and the node's own user
            node.toml line 27, s3.user.access_key: the key is missing: add access_key = "…"; [s3] is ignored: the service uses its default address, its own certificate and the node's own user
            node.toml line 27, s3.user.secret_key: the key is missing: add secret_key = "…"; [s3] is ignored: the service uses its default address, its own certificate and the node's own user
            node.toml line 30, console.serial: "tty1" is not a serial line: write one such as "ttyS0"; [console] is ignored: the consoles are tty1 and ttyS0, and nobody can change anything there
            node.toml line 32, log.serial: write text in double quotes; [log] is ignored and no serial line gets the log
        "#]],
    );
}

#[test]
fn a_port_is_refused_where_its_addresses_do_not_fit() {
    check(
        r#"version = 1
[[network.port]]
port = "eno1"
addresses = ["192.0.2.10/24"]
gateways = ["192.0.3.1", "192.0.2.10"]
[[network.port]]
port = "eno1"
addresses = ["192.0.2.10/25"]
[[network.port]]
port = "eno2"
gateways = ["2001:db8::1"]
[network.ports]
"#,
        &expect![[r#"
            node.toml line 5, network.port.gateways: write one gateway per address family; [network] is ignored and every port uses DHCP
            node.toml line 5, network.port.gateways: 192.0.3.1 is in no subnet of this port's addresses: correct it, the address or the prefix length; [network] is ignored and every port uses DHCP
            node.toml line 5, network.port.gateways: 192.0.2.10 is the port's own address: write the router's; [network] is ignored and every port uses DHCP
            node.toml line 7, network.port.port: another entry is for the same port: join them; [network] is ignored and every port uses DHCP
            node.toml line 8, network.port.addresses: 192.0.2.10 is there twice: remove one; [network] is ignored and every port uses DHCP
            node.toml line 11, network.port.gateways: 2001:db8::1 is in no subnet of this port's addresses: correct it, the address or the prefix length; [network] is ignored and every port uses DHCP
            node.toml line 12, network.ports: the key is not known: did you mean port?; [network] is ignored and every port uses DHCP
        "#]],
    );
}

#[test]
fn users_are_told_apart() {
    check(
        r#"version = 1
[[s3.user]]
name = "one"
access_key = "SAMEKEY"
secret_key = "not-a-real-secret"
[[s3.user]]
name = "one"
access_key = "SAMEKEY"
secret_key = "not-a-real-secret"
"#,
        &expect![[r#"
            node.toml line 7, s3.user.name: another user has it too: give each its own; [s3] is ignored: the service uses its default address, its own certificate and the node's own user
            node.toml line 8, s3.user.access_key: another user has it too: give each its own; [s3] is ignored: the service uses its default address, its own certificate and the node's own user
        "#]],
    );
    check(
        "version = 1\n[s3.user]\nname = \"one\"\n",
        &expect![[r#"
        node.toml line 2, s3.user: write [[s3.user]] with two brackets on each side; [s3] is ignored: the service uses its default address, its own certificate and the node's own user
    "#]],
    );
}

#[test]
fn a_certificate_needs_its_key() {
    check(
        "version = 1\n[s3]\ntls_certificate = \"node.pem\"\n",
        &expect![[r#"
        node.toml line 3, s3.tls_certificate: its key is missing: add tls_key, or remove both; [s3] is ignored: the service uses its default address, its own certificate and the node's own user
    "#]],
    );
    check(
        "version = 1\n[s3]\ntls_key = \"node.key\"\n",
        &expect![[r#"
        node.toml line 3, s3.tls_key: its certificate is missing: add tls_certificate, or remove both; [s3] is ignored: the service uses its default address, its own certificate and the node's own user
    "#]],
    );
}

#[test]
fn a_line_carries_the_log_or_a_console_but_not_both() {
    check(
        "version = 1\n[log]\nserial = \"ttyS0\"\n",
        &expect![[r#"
        node.toml line 3, log.serial: ttyS0 carries a console: write another line, or take it out of [console] serial; [log] is ignored and no serial line gets the log
    "#]],
    );
    assert_eq!(printed("version = 1\n[console]\nserial = []\n[log]\nserial = \"ttyS0\"\n"), "");
}

#[test]
fn a_file_of_another_kind_is_refused_in_few_words() {
    let problems = |bytes: &[u8]| parse_bytes(bytes).1;
    let huge = "# \n".repeat(MAX_TEXT);
    let utf16 = [0xff, 0xfe, b'v', 0, b'e', 0];
    let strangers: String = (0..1000).fold("version = 1\n".to_owned(), |mut text, n| {
        writeln!(text, "key{n} = 1").expect("writing to a string");
        text
    });
    for bytes in [huge.as_bytes(), &utf16, &[0, 1, 2, 255]] {
        assert_eq!(problems(bytes).len(), 1);
        assert_eq!(parse_bytes(bytes).0, unclaiming());
    }
    let many = problems(strangers.as_bytes());
    assert_eq!(many.len(), 33);
    assert!(many[32].message.starts_with("968 more"), "{}", many[32]);
}

#[test]
fn a_missing_file_means_the_defaults_and_an_unreadable_one_claims_nothing() {
    let missing = load(Path::new("/nonexistent/node.toml"));
    assert_eq!(missing, (Config::default(), vec![]));
    let (config, problems) = load(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert_eq!(config, unclaiming());
    assert_eq!(problems.len(), 1);
}

#[test]
fn readings_have_a_port_of_their_own() {
    check(
        "version = 1\n[s3]\nlisten = \":9100\"\n[metrics]\nlisten = \"127.0.0.1:9100\"\n",
        &expect![[r#"
            node.toml line 5, metrics.listen: port 9100 is that of [s3]: write another port; [metrics] is ignored and only the node itself can read them
        "#]],
    );
    let (config, problems) = parse("version = 1\n[health]\ndrain = \"no\"\n");
    assert_eq!((config.health.drain, problems.len()), (false, 1), "what is not clear is not done");
    let (config, problems) = parse("version = 1\n[metrics]\nlisten = \"off\"\n");
    assert_eq!((config.metrics.listen, problems), (None, vec![]));
}

#[test]
fn no_secret_appears_in_a_problem() {
    let secret = "hunter2";
    for line in [
        format!("secret_key = \"{secret}\""),
        format!("secret_key = [\"{secret}\"]"),
        format!("secret_key = {secret}"),
        format!("secret_key = '{secret}"),
        format!("secret_key = \"{secret}\" {secret}"),
        format!("secret_key \"{secret}\""),
        format!("secret_key = \"\\{secret}\""),
    ] {
        let text = format!("version = 1\n[[s3.user]]\nname = \"n\"\naccess_key = \"KEY\"\n{line}");
        let problems = printed(&text);
        assert!(!problems.is_empty() && !problems.contains(secret), "{line}: {problems}");
    }
}
