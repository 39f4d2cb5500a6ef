//! `icn-agent run`.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use agent_api::client::RequestError;
use agent_api::control::{Request, Secret};
use agent_api::init::InitRequest;
use agent_api::status::{
    CertificateOrigin, ConsoleChanges, Credentials, NodeStatus, S3State, StateWord,
};

use crate::fakes::{NODE_ID, Rig};
use crate::process::eventually;
use crate::s3::Client;

pub(crate) fn ready(status: &NodeStatus) -> bool {
    status.state.word == StateWord::Ready
}

/// A client of the node with its own first user and certificate.
pub(crate) fn client(rig: &Rig, status: &NodeStatus, volume: &str) -> Client {
    let Credentials::FirstUser { access_key, .. } = &status.s3.credentials else {
        panic!("{status:#?}")
    };
    let secret = rig.client().first_user_secret().expect("a secret key");
    let state = std::fs::read(rig.path().join("data").join(volume).join("state/agent.json"));
    let state: serde_json::Value = serde_json::from_slice(&state.expect("a copy")).expect("JSON");
    let pem = state["state"]["certificate_pem"].as_str().expect("PEM");
    let url = format!("https://localhost:{}", rig.port);
    Client::new(&url, (access_key, secret.reveal()), Some(pem))
}

#[test]
fn a_fresh_node_makes_a_user_and_serves_and_the_user_outlives_a_restart_on_one_disk() {
    let rig = Rig::new("");
    rig.report(vec![rig.mounted("a"), rig.mounted("b")], &[]);
    let mut agent = rig.start();
    let status = rig.status("all disks in use", ready);
    assert_eq!(status.node_id.as_deref(), Some(NODE_ID));
    assert_eq!(status.name, "node-1");
    let tls = status.s3.tls.clone().expect("TLS");
    assert_eq!(tls.origin, CertificateOrigin::SelfSigned);
    let s3 = client(&rig, &status, "b");
    assert_eq!(s3.create_bucket().expect("an answer"), 200);
    assert_eq!(s3.put("key", b"value").expect("an answer"), 200);
    let secret = rig.client().first_user_secret().expect("a secret key");
    agent.signal("TERM");
    assert!(agent.ended().success());
    assert!(!agent.log().contains(secret.reveal()), "no secret in the log");

    // One disk is pulled while the node is off: the same user and certificate, not new ones.
    rig.report(vec![rig.mounted("b")], &["wwn-a"]);
    let _agent = rig.start();
    let degraded = rig.status("one of two disks", |s| s.state.word == StateWord::Degraded);
    assert_eq!(degraded.s3.tls, Some(tls));
    assert_eq!(degraded.s3.credentials, status.s3.credentials);
    assert!(degraded.problems.iter().any(|p| p.text.contains("wwn-a")), "{degraded:#?}");
    let s3 = client(&rig, &degraded, "b");
    assert_eq!(s3.get("key").expect("an answer"), (200, b"value".to_vec()));
}

#[test]
fn a_blank_disk_beside_missing_ones_makes_no_new_user() {
    let rig = Rig::new("");
    rig.report(vec![rig.mounted("new")], &["wwn-old"]);
    let _agent = rig.start();
    let awaited = |status: &NodeStatus| match &status.s3.credentials {
        Credentials::Awaited { reason } => reason.contains("wwn-old"),
        _ => false,
    };
    let status = rig.status("why nobody can sign in", awaited);
    assert_eq!(status.s3.tls.expect("TLS").origin, CertificateOrigin::Temporary);
    assert!(!rig.path().join("data/new/state").exists());
    let refusal = rig.client().first_user_secret().expect_err("no user").to_string();
    assert!(refusal.contains("wwn-old"), "{refusal}");
}

#[test]
fn users_of_the_configuration_sign_in_and_the_node_makes_no_other_known() {
    let rig = Rig::new(
        "[[s3.user]]\nname = \"alice\"\naccess_key = \"AKIAEXAMPLE\"\nsecret_key = \"12345678\"\n",
    );
    rig.report(vec![rig.mounted("a")], &[]);
    let _agent = rig.start();
    let status = rig.status("readiness", ready);
    assert_eq!(status.s3.credentials, Credentials::Configured { users: 1 });
    assert!(matches!(rig.client().first_user_secret(), Err(RequestError::Refused { .. })));
}

#[test]
fn disks_come_and_go_while_the_node_serves() {
    let mut rig = Rig::new("");
    let agent = rig.start();
    rig.status("an answer without disks", |s| s.s3.state == S3State::Listening);
    rig.report(vec![rig.mounted("a")], &[]);
    let status = rig.status("the first disk in use", ready);
    let s3 = client(&rig, &status, "a");
    assert_eq!(s3.create_bucket().expect("an answer"), 200);
    assert_eq!(s3.put("key", b"value").expect("an answer"), 200);

    rig.report(vec![rig.mounted("a"), rig.mounted("b")], &[]);
    rig.status("both disks in use", |s| ready(s) && s.volumes.len() == 2);
    eventually("a second copy", || agent.log().contains("packed the journal").then_some(()));
    rig.restart_disks();
    rig.report(vec![rig.mounted("b")], &["wwn-a"]);
    rig.status("one disk in use", |s| s.state.word == StateWord::Degraded);
    let read = eventually("the object from the other disk", || {
        // While the index is made anew there, the answer is 503.
        s3.get("key").ok().filter(|(status, _)| *status != 503)
    });
    assert_eq!(read, (200, b"value".to_vec()));
    assert_eq!(s3.put("other", b"value").expect("an answer"), 503, "one disk is not enough");

    rig.report(vec![rig.mounted("a"), rig.mounted("b")], &[]);
    rig.status("both disks again", |s| ready(s) && s.volumes.len() == 2);
    assert_eq!(s3.get("key").expect("an answer"), (200, b"value".to_vec()));
    assert_eq!(s3.put("other", b"value").expect("an answer"), 200);
}

#[test]
fn a_taken_port_is_shown_and_taken_over_once_it_is_free() {
    let rig = Rig::new("");
    rig.report(vec![rig.mounted("a")], &[]);
    let holder = std::net::TcpListener::bind(("127.0.0.1", rig.port)).expect("the port");
    let _agent = rig.start();
    let wanted = format!("port {} is taken", rig.port);
    let shown = |status: &NodeStatus| match &status.s3.state {
        S3State::NotListening { reason } => reason.contains(&wanted),
        _ => false,
    };
    let status = rig.status("the taken port", shown);
    assert_eq!(status.state.word, StateWord::Unavailable);
    drop(holder);
    rig.status("readiness", ready);
}

#[test]
fn the_console_gets_log_problems_and_ports_and_can_ask_for_power_off() {
    let rig = Rig::new("");
    std::fs::write(rig.path().join("previous"), "older\n").expect("a log");
    std::fs::write(rig.path().join("current"), "old\nnew\n").expect("a log");
    let _agent = rig.start();
    let status = rig.status("news of init", |status| status.system.is_some());
    assert!(status.problems.iter().any(|p| p.text.contains("serail")), "{status:#?}");
    assert_eq!(status.s3.endpoints, [format!("https://127.0.0.1:{}", rig.port)]);
    let network = rig.network.lock().expect("no panic").clone();
    assert_eq!(status.system.and_then(|system| system.network), Some(network));
    assert_eq!(rig.client().log_tail(3).expect("lines"), ["older", "old", "new"]);

    rig.client().power_off().expect("init takes it");
    assert_eq!(*rig.asked_of_init.lock().expect("no panic"), [InitRequest::PowerOff]);
    let refusal = rig.client().reboot().expect_err("init refuses").to_string();
    assert!(refusal.contains("not now"), "{refusal}");
}

#[test]
fn the_pin_of_the_console_is_checked_and_three_wrong_ones_make_even_the_right_one_wait() {
    let hash = provisioning_config::PinHash::make("2580", [7; provisioning_config::SALT]);
    let rig = Rig::new(&format!("[console]\npin_hash = \"{}\"", hash.expect("a PIN")));
    let _agent = rig.start();
    let status = rig.status("an answer", |_| true);
    assert_eq!(status.console, ConsoleChanges::Pin);
    let check = |pin: &str| rig.client().check_pin(Secret::new(pin.to_owned()));
    check("2580").expect("the PIN");
    for _ in 0..3 {
        assert!(matches!(check("1111"), Err(RequestError::Refused { .. })));
    }
    let refusal = check("2580").expect_err("too soon").to_string();
    assert!(refusal.contains("too many wrong PINs: wait "), "{refusal}");
}

#[test]
fn a_mistake_in_the_console_s_section_locks_changes() {
    let rig = Rig::new("[console]\npin_hash = \"2580\"");
    let _agent = rig.start();
    assert_eq!(rig.status("an answer", |_| true).console, ConsoleChanges::Nobody);
}

#[test]
fn the_control_socket_is_closed_to_others_and_refuses_what_it_does_not_know() {
    use std::io::{BufRead, BufReader, Write};
    let rig = Rig::new("");
    let path = rig.path().join("agent.sock");
    // What an earlier run left behind.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    let _agent = rig.start();
    rig.status("an answer", |_| true);
    let meta = std::fs::symlink_metadata(&path).expect("a socket");
    assert!(meta.file_type().is_socket());
    assert_eq!(meta.permissions().mode() & 0o777, 0o660);

    let mut stream = std::os::unix::net::UnixStream::connect(&path).expect("a connection");
    let mut answers = BufReader::new(stream.try_clone().expect("a stream")).lines();
    let mut ask = |line: &str| {
        stream.write_all(line.as_bytes()).expect("sent");
        answers.next().expect("an answer").expect("a line")
    };
    assert!(ask("{\"v\":2,\"request\":\"status\"}\n").contains("version 2 is not known"));
    assert!(ask("hello\n").contains("\"reply\":\"refused\""));
    let known = agent_api::control::Versioned::current(Request::LogTail { lines: 1 });
    let line = serde_json::to_string(&known).expect("JSON") + "\n";
    assert!(ask(&line).contains("\"reply\":\"log_tail\""), "still answers after refusals");
}

#[test]
fn a_certificate_that_cannot_be_used_is_told_and_replaced() {
    let rig = Rig::new("tls_certificate = \"tls/cert.pem\"\ntls_key = \"tls/key.pem\"\n");
    rig.report(vec![rig.mounted("a")], &[]);
    let agent = rig.start();
    let status = rig.status("readiness", ready);
    assert_eq!(status.s3.tls.expect("TLS").origin, CertificateOrigin::SelfSigned);
    assert!(status.problems.iter().any(|p| p.about == "tls" && p.text.contains("tls/cert.pem")));
    eventually("the reason in the log", || agent.log().contains("tls/cert.pem").then_some(()));
}
