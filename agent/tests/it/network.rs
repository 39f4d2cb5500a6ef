//! Settings of the network that are changed while the node runs, and tests from the node.

use agent_api::client::RequestError;
use agent_api::control::Request;
use agent_api::init::{NetworkOrigin, NetworkState};
use agent_api::network::PingWay;

use crate::fakes::{Rig, network_of_seed};
use crate::node::ready;
use crate::process::eventually;

const CHANGE: &str = "[network]\ndns = [\"192.0.2.1\"]\n";

fn change(rig: &Rig, request: Request) -> Result<(), RequestError> {
    rig.client().change_network(request)
}

fn try_and_confirm(rig: &Rig) {
    change(rig, Request::TryNetwork { text: CHANGE.to_owned() }).expect("tried");
    change(rig, Request::ConfirmNetwork).expect("confirmed");
}

fn at_init(rig: &Rig) -> NetworkState {
    rig.network.lock().expect("no panic").clone()
}

/// The machine restarts: init has node.toml alone again.
fn restart_machine(rig: &Rig) {
    *rig.network.lock().expect("no panic") = network_of_seed();
}

fn await_change(rig: &Rig) {
    eventually("the kept settings at init", || (at_init(rig).text == CHANGE).then_some(()));
    assert_eq!(at_init(rig).origin, NetworkOrigin::Set);
}

#[test]
fn a_change_is_tried_and_reverted_and_a_mistake_is_told() {
    let rig = Rig::new("");
    rig.report(vec![rig.mounted("a")], &[]);
    let _agent = rig.start();
    rig.status("readiness", ready);
    let text = "[network]\nmistake = 1\n".to_owned();
    let refusal = change(&rig, Request::TryNetwork { text }).expect_err("refused").to_string();
    assert!(refusal.contains("the change line 2: a mistake"), "{refusal}");
    assert!(change(&rig, Request::ConfirmNetwork).is_err(), "nothing is tried");
    change(&rig, Request::TryNetwork { text: CHANGE.to_owned() }).expect("tried");
    let tried = |status: &agent_api::status::NodeStatus| {
        let network = status.system.as_ref().and_then(|system| system.network.as_ref());
        network.is_some_and(|network| network.seconds_left == Some(120))
    };
    let status = rig.status("a change that is tried", tried);
    assert!(!status.network_kept);
    change(&rig, Request::RevertNetwork).expect("reverted");
    assert_eq!(at_init(&rig), network_of_seed());
}

#[test]
fn a_confirmed_change_outlives_a_restart_and_is_dropped_by_a_reset() {
    let rig = Rig::new("");
    rig.report(vec![rig.mounted("a")], &[]);
    let mut agent = rig.start();
    rig.status("readiness", ready);
    try_and_confirm(&rig);
    rig.status("kept settings", |status| status.network_kept);
    agent.signal("TERM");
    assert!(agent.ended().success());

    restart_machine(&rig);
    let mut agent = rig.start();
    await_change(&rig);
    rig.status("kept settings", |status| status.network_kept);
    change(&rig, Request::ResetNetwork).expect("reset");
    assert_eq!(at_init(&rig), network_of_seed());
    rig.status("no kept settings", |status| !status.network_kept && ready(status));
    agent.signal("TERM");
    assert!(agent.ended().success());

    let agent = rig.start();
    rig.status("readiness", |status| ready(status) && status.system.is_some());
    assert_eq!(at_init(&rig), network_of_seed());
    assert!(!agent.log().contains("has the settings of the network"), "{}", agent.log());
}

#[test]
fn a_change_of_a_node_without_disks_is_kept_with_the_first_one() {
    let rig = Rig::new("");
    let mut agent = rig.start();
    rig.status("an answer", |status| status.system.is_some());
    try_and_confirm(&rig);
    assert!(!rig.status("an answer", |_| true).network_kept);
    rig.report(vec![rig.mounted("a")], &[]);
    rig.status("kept settings", |status| status.network_kept);
    agent.signal("TERM");
    assert!(agent.ended().success());
    restart_machine(&rig);
    let _agent = rig.start();
    await_change(&rig);
}

#[test]
fn another_section_on_the_stick_wins_and_drops_what_was_kept() {
    let rig = Rig::new("");
    rig.report(vec![rig.mounted("a")], &[]);
    let mut agent = rig.start();
    rig.status("readiness", ready);
    try_and_confirm(&rig);
    rig.status("kept settings", |status| status.network_kept);
    agent.signal("TERM");
    assert!(agent.ended().success());

    restart_machine(&rig);
    let path = rig.path().join("seed/node.toml");
    let seed = std::fs::read_to_string(&path).expect("a configuration");
    std::fs::write(&path, format!("{seed}[network]\ndns = [\"192.0.2.2\"]\n")).expect("written");
    let agent = rig.start();
    eventually("why in the log", || agent.log().contains("they are dropped").then_some(()));
    rig.status("no kept settings", |status| ready(status) && !status.network_kept);
    assert_eq!(at_init(&rig), network_of_seed());
}

#[test]
fn kept_settings_that_init_refuses_are_told() {
    let rig = Rig::new("");
    rig.report(vec![rig.mounted("a")], &[]);
    let mut agent = rig.start();
    rig.status("readiness", ready);
    change(&rig, Request::TryNetwork { text: CHANGE.to_owned() }).expect("tried");
    // As by an init that takes what a later one does not.
    rig.network.lock().expect("no panic").tried = Some("[network]\nmistake = 1\n".to_owned());
    change(&rig, Request::ConfirmNetwork).expect("confirmed");
    rig.status("kept settings", |status| status.network_kept);
    agent.signal("TERM");
    assert!(agent.ended().success());
    restart_machine(&rig);
    let _agent = rig.start();
    let status = rig.status("a problem", |status| {
        status.problems.iter().any(|problem| problem.about == "network")
    });
    assert!(status.network_kept, "they stay for a release that takes them: {status:#?}");
    change(&rig, Request::ResetNetwork).expect("reset");
    rig.status("no problem", |status| {
        !status.network_kept && status.problems.iter().all(|problem| problem.about != "network")
    });
}

#[test]
fn the_network_is_tested_from_the_node() {
    let rig = Rig::new("");
    let _agent = rig.start();
    rig.status("an answer", |_| true);
    let report = rig.client().ping("127.0.0.1").expect("a report");
    assert_eq!(report.answers_us.iter().flatten().count(), report.answers_us.len());
    assert!(matches!(report.way, PingWay::Icmp | PingWay::Tcp { port: 443 }));
    let report = rig.client().look_up("127.0.0.1").expect("a report");
    assert_eq!(report.addresses.len(), 1);
    assert!(matches!(rig.client().look_up("no name"), Err(RequestError::Refused { .. })));
    assert_eq!(rig.client().test_clock().expect("a report").servers, []);
}
