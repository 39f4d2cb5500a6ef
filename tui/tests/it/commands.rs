//! icnctl, and the same commands on a plain line.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use agent_api::control::Request;
use agent_api::hardware::HealthReport;
use agent_api::local::ResetScope;
use agent_api::pool::PoolStatus;
use agent_api::settlement::SettlementReport;
use agent_api::status::NodeStatus;
use agent_api::support::{Inventory, SupportWritten};
use provisioning_config::{Direct, Network, Proxy};
use serde_json::Value;

use crate::fake::{self, Agent};

fn icnctl(agent: &Agent, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_icnctl"))
        .args(arguments)
        .arg("--socket")
        .arg(agent.socket())
        .stdin(Stdio::null())
        .output()
        .expect("icnctl runs")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// What a command prints; it must end well.
fn shown(agent: &Agent, arguments: &[&str]) -> String {
    let output = icnctl(agent, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    text(&output)
}

fn json(agent: &Agent, arguments: &[&str]) -> Value {
    let output = icnctl(agent, &[arguments, &["--json"]].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn every_screen_and_reading_is_shown_in_words() {
    let agent = Agent::start();
    for (arguments, wanted) in [
        (&["status"][..], "Earning  not yet: the agent has just started"),
        (&["network"], "192.0.2.7/24"),
        (&["disks"], "sdb      HDD       1.0 TB failing SERIAL000002         in use"),
        (&["disk", "show", "000002"], "3 reads failed"),
        (&["identity"], "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"),
        (&["identity"], "################"),
        (&["sla"], "the agent has just started"),
        (&["settlement"], "Waits    the node is not registered"),
        (&["settlement"], "Alarm    the gas key is empty"),
        (&["settlement"], "To sign  registers the node"),
        (&["pool"], "nothing is missing of 0 groups"),
        (&["log"], "WARN a client is slow"),
        (&["secret"], "the-secret-key"),
    ] {
        let text = shown(&agent, arguments);
        assert!(text.contains(wanted), "{arguments:?}: {text}");
    }
    assert_eq!(agent.done(), []);
}

#[test]
fn json_has_the_types_of_the_control_socket() {
    let agent = Agent::start();
    let status: NodeStatus = serde_json::from_value(json(&agent, &["status"])).expect("a status");
    assert_eq!(status, fake::status(2));
    let pool: PoolStatus = serde_json::from_value(json(&agent, &["pool"])).expect("a pool");
    assert_eq!(pool, fake::pool());
    let health: HealthReport = serde_json::from_value(json(&agent, &["health"])).expect("health");
    assert_eq!(health.components.len(), 1);
    let settlement: SettlementReport =
        serde_json::from_value(json(&agent, &["settlement"])).expect("a settlement");
    assert_eq!(settlement.unsigned.len(), 1);
    let disks = json(&agent, &["disks"]);
    assert_eq!(disks["v"], 1);
    assert_eq!(disks["disks"][1]["verdict"]["health"], "failing");
    assert_eq!(disks["disks"][1]["disk"]["serial"], "SERIAL000002");
    assert_eq!(json(&agent, &["disk", "show", "sda"])["disks"].as_array().map(Vec::len), Some(1));
    assert_eq!(json(&agent, &["network"])["ports"][0]["name"], "eno1");
    assert_eq!(json(&agent, &["identity"])["node_id"], "7f83b1657ff1fc53b92dc18148a1d65d");
    assert_eq!(
        json(&agent, &["log", "--level", "errors"])["lines"].as_array().map(Vec::len),
        Some(1)
    );
}

#[test]
fn the_receipts_of_an_era_are_shown_and_written_to_a_new_file() {
    let agent = Agent::start();
    let text = shown(&agent, &["receipts", "7"]);
    let oracle = "0x0101010101010101010101010101010101010101";
    assert_eq!(
        text,
        format!("era 7: 1 receipt(s)\n{oracle}  passed  6 objects, 7000000000 bytes\n")
    );
    assert_eq!(json(&agent, &["receipts", "7"]), Value::Array(vec![fake::receipt()]));
    assert_eq!(shown(&agent, &["receipts", "8"]), "era 8: no receipt\n");

    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("receipts.json");
    let out = ["--out", file.to_str().expect("text")];
    let done = shown(&agent, &[&["receipts", "7"][..], &out].concat());
    assert_eq!(done, format!("1 receipt(s) of era 7 are in {}\n", file.display()));
    let kept = std::fs::read(&file).expect("it is written");
    assert_eq!(
        serde_json::from_slice::<Value>(&kept).expect("JSON"),
        json(&agent, &["receipts", "7"])
    );
    // Neither is a file overwritten, nor one without a receipt made.
    for (era, words) in [("7", "is there already"), ("8", "no receipt; nothing was written")] {
        let output = icnctl(&agent, &[&["receipts", era][..], &out].concat());
        assert_eq!(output.status.code(), Some(1), "{era}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(words), "{output:?}");
    }
    assert_eq!(std::fs::read(&file).expect("it is there"), kept);
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
}

#[test]
fn what_deserves_attention_is_the_exit_status_2() {
    let agent = Agent::start();
    let output = icnctl(&agent, &["health"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("failing  disk wwn-2"), "{output:?}");
}

#[test]
fn an_agent_that_is_not_there_is_an_error_in_words() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_icnctl"));
    let output = command.args(["status", "--socket", "/nonexistent/agent.sock"]).output();
    let output = output.expect("icnctl runs");
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("cannot connect to /nonexistent/agent.sock"), "{words}");
}

#[test]
fn nothing_that_cannot_be_taken_back_is_done_without_a_person_or_yes() {
    let agent = Agent::start();
    for arguments in [&["reboot"][..], &["poweroff"], &["disk", "retire", "000002"]] {
        let output = icnctl(&agent, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("--yes"), "{output:?}");
    }
    assert_eq!(agent.done(), []);
    shown(&agent, &["reboot", "--yes"]);
    shown(&agent, &["poweroff", "--yes"]);
    let text = shown(&agent, &["disk", "retire", "SERIAL000002", "--yes"]);
    assert_eq!(text, "disk sdb with serial SERIAL000002 is being emptied\n");
    let retired = Request::RetireVolume { volume: "volume-2".to_owned() };
    assert_eq!(agent.done(), [Request::Reboot, Request::PowerOff, retired]);
}

#[test]
fn a_locate_led_is_switched_and_a_refusal_is_told() {
    let agent = Agent::start();
    shown(&agent, &["disk", "locate", "sda", "on"]);
    assert_eq!(agent.done(), [Request::Locate { disk: "wwn-1".to_owned(), on: true }]);
    let output = icnctl(&agent, &["disk", "locate", "sda", "off"]);
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("the enclosure does not answer"), "{words}");
    for wrong in [&["disk", "locate", "sdz", "on"][..], &["disk", "keep", "sda"]] {
        assert_eq!(icnctl(&agent, wrong).status.code(), Some(1), "{wrong:?}");
    }
}

/// icnctl with something on standard input.
fn icnctl_reading(agent: &Agent, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_icnctl"))
        .args(arguments)
        .arg("--socket")
        .arg(agent.socket())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("icnctl runs");
    let mut pipe = child.stdin.take().expect("a pipe");
    pipe.write_all(input.as_bytes()).expect("written");
    drop(pipe);
    child.wait_with_output().expect("an end")
}

#[test]
fn a_disk_is_claimed_by_hand_and_that_taken_back() {
    let agent = Agent::start();
    let told = shown(&agent, &["claim", "sda", "000001"]);
    assert_eq!(
        told,
        "disk sda with serial SERIAL000001 is erased and claimed in 60 s unless that is taken back\n"
    );
    let told = json(&agent, &["undo-claim", "000001"]);
    assert_eq!(told["done"], "disk sda with serial SERIAL000001 is not claimed");
    let disk = || "wwn-1".to_owned();
    let claimed = Request::ClaimDisk { disk: disk(), serial_end: "000001".to_owned() };
    assert_eq!(agent.done(), [claimed, Request::UndoClaim { disk: disk() }]);
    let output = icnctl(&agent, &["claim", "sda", "000002"]);
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("type the last 6 characters"), "{words}");
    assert_eq!(icnctl(&agent, &["claim", "sdz", "000001"]).status.code(), Some(1));
    assert_eq!(agent.done().len(), 2);
}

#[test]
fn a_pin_and_words_come_from_standard_input_and_are_not_shown() {
    let agent = Agent::start();
    let output = icnctl_reading(&agent, &["pin", "set"], "1357\n");
    assert!(output.status.success() && !text(&output).contains("1357"), "{output:?}");
    let output =
        icnctl_reading(&agent, &["restore-key", "--json"], &format!("{}\n", fake::words()));
    assert!(output.status.success() && !text(&output).contains("word1"), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let daemon = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf";
    assert_eq!(told["done"], format!("the node has the daemon key of {daemon}"));
    shown(&agent, &["pin", "clear"]);
    let secret = |text: &str| agent_api::control::Secret::new(text.to_owned());
    let set = Request::SetPin { pin: Some(secret("1357")) };
    let restored = Request::RestoreKey { words: secret(&fake::words()) };
    assert_eq!(agent.done(), [set, restored, Request::SetPin { pin: None }]);
    let output = icnctl_reading(&agent, &["pin", "set"], "\n");
    assert_eq!(output.status.code(), Some(1), "an empty PIN is none: {output:?}");
    assert_eq!(agent.done().len(), 3);
}

#[test]
fn the_words_are_shown_and_the_first_steps_finished() {
    let agent = Agent::start();
    let told = shown(&agent, &["words"]);
    assert!(told.starts_with(" 1 word1") && told.contains("24 word24"), "{told}");
    assert_eq!(json(&agent, &["words"])["words"].as_array().map(Vec::len), Some(24));
    assert_eq!(agent.done(), []);
    assert_eq!(shown(&agent, &["first-steps", "done"]), "the first steps are done\n");
    assert_eq!(agent.done(), [Request::FinishSetUp]);
}

#[test]
fn a_node_is_made_new_by_the_end_of_its_id() {
    let agent = Agent::start();
    assert_eq!(icnctl(&agent, &["factory-reset"]).status.code(), Some(2), "the end is missing");
    shown(&agent, &["factory-reset", "a1d65d"]);
    shown(&agent, &["factory-reset", "--forget-identity", "a1d65d", "--json"]);
    let reset = |scope| Request::FactoryReset { scope, node_end: "a1d65d".to_owned() };
    assert_eq!(agent.done(), [reset(ResetScope::KeepIdentity), reset(ResetScope::ForgetIdentity)]);
}

#[test]
fn the_network_is_changed_and_tested() {
    let agent = Agent::start();
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("change.toml");
    std::fs::write(&file, "[network]\n").expect("written");
    let path = file.to_str().expect("UTF-8");
    let told = shown(&agent, &["network", "try", path]);
    assert!(told.contains("for 120 s"), "{told}");
    for what in ["confirm", "revert", "reset"] {
        shown(&agent, &["network", what, "--json"]);
    }
    let tried = Request::TryNetwork { text: "[network]\n".to_owned() };
    let changes = [Request::ConfirmNetwork, Request::RevertNetwork, Request::ResetNetwork];
    assert_eq!(agent.done(), [&[tried][..], &changes].concat());
    let output = icnctl(&agent, &["network", "ping", "gateway"]);
    assert_eq!(output.status.code(), Some(2), "an echo was lost: {output:?}");
    assert!(text(&output).contains("1 of 2 answered"), "{output:?}");
    assert_eq!(json(&agent, &["network", "lookup", "name"])["addresses"][0], "192.0.2.1");
    assert!(shown(&agent, &["network", "clock"]).contains("no time server is known"));
    std::fs::write(&file, "x".repeat(20_000)).expect("written");
    for wrong in [path, "/nonexistent", "/dev/zero"] {
        assert_eq!(icnctl(&agent, &["network", "try", wrong]).status.code(), Some(1), "{wrong}");
    }
    assert_eq!(agent.done().len(), 4);
}

/// What the console prints on a pipe into which `lines` go.
fn plain(agent: &Agent, lines: &str) -> String {
    let mut console = Command::new(env!("CARGO_BIN_EXE_icn-console"))
        .arg("--socket")
        .arg(agent.socket())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("icn-console");
    let mut input = console.stdin.take().expect("a pipe");
    input.write_all(lines.as_bytes()).expect("written");
    drop(input);
    let output = console.wait_with_output().expect("an end");
    assert!(output.status.success(), "{output:?}");
    text(&output)
}

#[test]
fn a_line_that_is_no_terminal_gets_the_status_and_takes_commands_by_number_or_word() {
    let agent = Agent::start();
    let text = plain(&agent, "3\ndisk show 000002\nstatsu\n2");
    assert!(!text.contains('\x1b'), "{text}");
    let order = ["ICN Node node-1", "1 status  2 network", "Disks: 2 of 2", "3 reads failed"];
    let places: Vec<_> = order.iter().map(|wanted| text.find(wanted)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} in {text}");
    assert!(text.contains("unrecognized subcommand 'statsu'"), "{text}");
    assert!(!text.contains("192.0.2.7/24\n\nServers"), "a line that has no end is no command");
    assert_eq!(agent.done(), []);
}

#[test]
fn a_plain_line_says_what_waits_for_somebody_and_sets_the_network_up() {
    let agent = Agent::start_fresh();
    let text = plain(&agent, "network set eno1 --address 192.0.2.10/24\nnetwork confirm\n");
    assert!(text.contains("! Nobody has set this node up"), "{text}");
    assert!(text.contains("\nor: network disk"), "{text}");
    assert!(text.contains("set up so for 120 s"), "{text}");
    assert!(matches!(
        agent.done().as_slice(),
        [Request::TryNetwork { text }, Request::ConfirmNetwork] if text.contains("192.0.2.10/24")
    ));
}

#[test]
fn a_plain_line_asks_for_the_word_too() {
    let agent = Agent::start();
    let text = plain(&agent, "8\nyes\n9\n\ndisk retire 000001\nreboot\n");
    assert_eq!(agent.done(), [], "{text}");
    assert!(text.contains("Type the last 6 characters of its serial: "), "{text}");
    let text = plain(&agent, "8\nreboot\ndisk retire 000001\n000001\ndisk locate sda on\n");
    assert!(text.contains("the node restarts\n"), "{text}");
    let retired = Request::RetireVolume { volume: "volume-1".to_owned() };
    let lit = Request::Locate { disk: "wwn-1".to_owned(), on: true };
    assert_eq!(agent.done(), [Request::Reboot, retired, lit]);
}

#[test]
fn a_plain_line_asks_for_the_pin_before_the_word() {
    let agent = Agent::start_with_pin();
    let text = plain(&agent, "8\n1111\nreboot\n9\n\npoweroff\n");
    assert_eq!(agent.done(), [], "{text}");
    assert!(text.contains("PIN: refused: that is not the PIN\n"), "{text}");
    let text = plain(&agent, &format!("8\n{}\nreboot\n9\npoweroff\nsecret\n", fake::PIN));
    assert_eq!(agent.done(), [Request::Reboot, Request::PowerOff], "{text}");
    assert!(text.contains("the-secret-key"), "{text}");
    assert_eq!(text.matches("PIN: ").count(), 1, "it is asked for once: {text}");
}

#[test]
fn a_port_is_set_up_by_a_command() {
    let agent = Agent::start();
    let set = |arguments: &[&str]| {
        let output = icnctl(&agent, &[&["network", "set"], arguments].concat());
        (output.status.success(), String::from_utf8(output.stderr).expect("UTF-8"))
    };
    let port = ["eno1", "--address", "192.0.2.10/24", "--address", "2001:db8::10/64"];
    let more = ["--gateway", "192.0.2.1", "--vlan", "100", "--mtu", "9000", "--dns", "192.0.2.53"];
    let proxy = ["--proxy", "http://192.0.2.3:3128", "--direct", "example.net"];
    let ntp = ["--ntp", "ntp.example.net", "--ntp", "192.0.2.1:1123"];
    assert_eq!(set(&[&port[..], &more[..], &proxy[..], &ntp[..]].concat()), (true, String::new()));
    let done = agent.done();
    let [Request::TryNetwork { text }] = done.as_slice() else { panic!("another request") };
    let tried = provisioning_config::parse_network(text).expect("settings");
    assert_eq!((tried.dns.len(), tried.vlans[0].id), (1, 100));
    assert_eq!((tried.vlans[0].port.addresses.len(), tried.vlans[0].port.mtu), (2, Some(9000)));
    assert_eq!(tried.proxy_for("example.org").map(|proxy| proxy.port), Some(3128));
    assert_eq!(tried.proxy_for("example.net"), None);
    assert_eq!(tried.ntp, Some(vec!["ntp.example.net".to_owned(), "192.0.2.1:1123".to_owned()]));
    for (arguments, why) in [
        (&[][..], "say how it gets its address"),
        (&["eno1"], "say how it gets its address"),
        (&["eno1", "--mtu", "9000", "--ntp", "ntp"], "say how it gets its address"),
        (&["eno1", "--gateway", "192.0.2.1", "--ntp", "ntp"], "say how it gets its address"),
        (
            &["eno1", "--bond", "lacp", "--with", "eno2", "--ntp", "ntp"],
            "say how it gets its address",
        ),
        (&["eno1", "--alone", "--dns", "192.0.2.53"], "say how it gets its address"),
        (&["--dhcp", "--ntp", "ntp"], "<PORT>"),
        (&["--vlan", "7", "--ntp", "ntp"], "<PORT>"),
        (&["eno9", "--ntp", "ntp"], "there is no port, bond or VLAN \"eno9\""),
        (&["--direct", "example.net"], "--proxy"),
        (&["eno9", "--dhcp"], "there is no port, bond or VLAN \"eno9\""),
        (&["eno1", "--address", "192.0.2.10"], "has no prefix length"),
        (&["eno1", "--address", "192.0.2.10/24", "--gateway", "10.0.0.1"], "in no subnet"),
        (&["eno1", "--dhcp", "--vlan", "5000"], "1 to 4094"),
        (&["eno1", "--dhcp", "--bond", "lacp"], "--with"),
        (&["eno1", "--dhcp", "--none"], "cannot be used with"),
        (&["eno1", "--dhcp", "--ntp", "a b"], "--ntp: \"a b\" is not a time server"),
        (&["eno1", "--dhcp", "--ntp", "none", "--ntp", "ntp"], "none stands alone"),
        (&["eno1", "--dhcp", "--ntp", "ntp", "--ntp", "ntp"], "is there twice"),
    ] {
        let (is_done, error) = set(arguments);
        assert!(!is_done && error.contains(why), "{arguments:?}: {error}");
    }
    assert_eq!(agent.done().len(), 1, "nothing with a mistake is tried");
}

#[test]
fn what_all_ports_share_is_set_alone_and_the_ports_stay_as_they_are() {
    let before = provisioning_config::parse_network(
        "[network]\ndns = [\"192.0.2.53\"]\nntp = [\"192.0.2.123\"]\nproxy = \"http://192.0.2.9:3128\"\n\
         no_proxy = [\"10.0.0.0/8\"]\n[[network.port]]\nport = \"eno1\"\naddresses = [\"192.0.2.10/24\"]\n\
         gateways = [\"192.0.2.1\"]\nmtu = 9000\n",
    )
    .expect("settings");
    let agent = Agent::start_with_network(&before);
    let servers = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let proxy = |host: &str| Some(Proxy { host: host.to_owned(), port: 3128 });
    for (arguments, expected) in [
        (
            &["--ntp", "ntp.example.net", "--ntp", "ntp:1123"][..],
            Network { ntp: Some(servers(&["ntp.example.net", "ntp:1123"])), ..before.clone() },
        ),
        (&["--ntp", "none"], Network { ntp: Some(Vec::new()), ..before.clone() }),
        (&["eno1", "--ntp", "ntp"], Network { ntp: Some(servers(&["ntp"])), ..before.clone() }),
        (
            &["--dns", "192.0.2.54"],
            Network { dns: vec!["192.0.2.54".parse().expect("address")], ..before.clone() },
        ),
        (
            &["--proxy", "http://192.0.2.3:3128", "--direct", "example.net"],
            Network {
                proxy: proxy("192.0.2.3"),
                no_proxy: vec![Direct::Name("example.net".to_owned())],
                ..before.clone()
            },
        ),
        (&["--proxy", "none"], Network { proxy: None, no_proxy: Vec::new(), ..before.clone() }),
    ] {
        let output = icnctl(&agent, &[&["network", "set"], arguments].concat());
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
        let done = agent.done();
        let Some(Request::TryNetwork { text }) = done.last() else { panic!("another request") };
        assert_eq!(provisioning_config::parse_network(text), Ok(expected), "{arguments:?}");
    }
}

#[test]
fn a_support_bundle_is_told_with_its_place_and_an_inventory_in_its_parts() {
    let agent = Agent::start_with_support();
    let told = shown(&agent, &["support"]);
    assert!(told.starts_with("icn-support-1.tar.zst.age\n  on /dev/sdc1, 4096 bytes"), "{told}");
    assert!(told.contains("age1abc"), "{told}");
    let written: SupportWritten =
        serde_json::from_value(json(&agent, &["support"])["written"].clone()).expect("a bundle");
    assert_eq!(written, fake::written());
    assert_eq!(shown(&agent, &["inventory"]), "Machine\n  serial: SN4711\n");
    let inventory: Inventory =
        serde_json::from_value(json(&agent, &["inventory"])["inventory"].clone()).expect("parts");
    assert_eq!(inventory, fake::inventory());
}

#[test]
fn a_bundle_that_nobody_could_open_is_refused_with_the_reason() {
    let output = icnctl(&Agent::start(), &["support"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("no keys can open a bundle"), "{error}");
}
