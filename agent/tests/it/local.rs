//! What a person at the console decides: the PIN, the first steps, the daemon key, the way back to a new node, and
//! claims by hand.

use agent_api::client::RequestError;
use agent_api::control::{Request, Secret};
use agent_api::local::{RECOVERY_WORDS, ResetScope};
use agent_api::status::{ConsoleChanges, NodeStatus};
use disk_manager_plan::hardware::{Answer, Request as DiskRequest};

use crate::fakes::{NODE_ID, Rig};
use crate::node::{client, ready};
use crate::process::Agent;

/// Words of some other key: `abandon` 23 times and the word with the checksum would be the key 0, which is none.
const WORDS: &str = "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful \
                     legal winner thank year wave sausage worth title";

fn decide(rig: &Rig, request: Request) -> Result<(), RequestError> {
    rig.client().decide(request)
}

fn refusal(rig: &Rig, request: Request) -> String {
    match decide(rig, request) {
        Err(RequestError::Refused { reason }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

fn set_pin(pin: &str) -> Request {
    Request::SetPin { pin: Some(Secret::new(pin.to_owned())) }
}

fn restore(words: &str) -> Request {
    Request::RestoreKey { words: Secret::new(words.to_owned()) }
}

fn words(rig: &Rig) -> String {
    rig.client().recovery_words().expect("words").reveal().to_owned()
}

fn stop(mut agent: Agent) {
    agent.signal("TERM");
    assert!(agent.ended().success());
}

/// A node whose node.toml says nothing that the first steps would ask.
fn silent_seed() -> Rig {
    let rig = Rig::new("");
    let text = "version = 1\n[node]\nname = \"node-1\"\n[metrics]\nlisten = \"off\"\n";
    std::fs::write(rig.path().join("seed/node.toml"), text).expect("a configuration");
    rig
}

#[test]
fn a_pin_that_is_set_guards_the_console_and_outlives_a_restart() {
    let rig = Rig::new("");
    rig.report_no_disk();
    let agent = rig.start();
    rig.status("an open console", |status| status.console == ConsoleChanges::Anybody);
    // Without a disk it is kept in memory, and with the first one for good.
    assert!(refusal(&rig, set_pin("12a4")).contains("4 to 16 digits"));
    decide(&rig, set_pin("1357")).expect("set");
    assert_eq!(rig.status("an answer", |_| true).console, ConsoleChanges::Pin);
    rig.report(vec![rig.mounted("a")], &[]);
    rig.status("readiness", ready);
    stop(agent);
    // Nobody gets around it by a restart with the disks pulled.
    rig.report(Vec::new(), &["wwn-a"]);
    let agent = rig.start();
    assert_eq!(rig.status("an answer", |_| true).console, ConsoleChanges::Nobody);
    assert!(refusal(&rig, set_pin("2580")).contains("disks are read"));
    rig.report_no_disk();
    rig.status("an open console", |status| status.console == ConsoleChanges::Anybody);
    decide(&rig, set_pin("2580")).expect("for a node that is new");
    rig.report(vec![rig.mounted("a")], &[]);
    rig.status("the PIN", |status| ready(status) && status.console == ConsoleChanges::Pin);
    let check = |pin: &str| rig.client().check_pin(Secret::new(pin.to_owned()));
    assert!(matches!(check("2580"), Err(RequestError::Refused { .. })));
    check("1357").expect("the PIN");
    assert!(
        !agent.log().contains("1357") && !agent.log().contains("scrypt"),
        "no secret in the log"
    );
    decide(&rig, Request::SetPin { pin: None }).expect("cleared");
    assert_eq!(rig.status("an answer", |_| true).console, ConsoleChanges::Anybody);
    stop(agent);
    let _agent = rig.start();
    assert_eq!(rig.status("readiness", ready).console, ConsoleChanges::Anybody);
}

#[test]
fn a_pin_of_node_toml_counts_and_none_can_be_set() {
    let hash = provisioning_config::PinHash::make("2580", [7; provisioning_config::SALT]);
    let rig = Rig::new(&format!("[console]\npin_hash = \"{}\"", hash.expect("a PIN")));
    let _agent = rig.start();
    rig.status("an answer", |_| true);
    assert!(refusal(&rig, set_pin("1357")).contains("node.toml has a PIN"));
    rig.client().check_pin(Secret::new("2580".to_owned())).expect("the PIN");
}

#[test]
fn the_first_steps_are_asked_for_until_they_are_done_and_never_where_node_toml_answers() {
    let rig = Rig::new("");
    let agent = rig.start();
    assert!(rig.status("an answer", |_| true).set_up, "it has [s3]");
    stop(agent);
    let rig = silent_seed();
    rig.report(vec![rig.mounted("a")], &[]);
    let agent = rig.start();
    let known = |status: &NodeStatus| status.daemon.is_some();
    assert!(!rig.status("the record", known).set_up);
    decide(&rig, Request::FinishSetUp).expect("done");
    assert!(rig.status("the record", known).set_up);
    stop(agent);
    let _agent = rig.start();
    assert!(rig.status("the record", known).set_up);
}

#[test]
fn the_daemon_key_is_shown_as_words_and_restored_before_the_first_disk() {
    let rig = Rig::new("");
    let agent = rig.start();
    rig.status("an answer", |_| true);
    assert!(matches!(rig.client().recovery_words(), Err(RequestError::Refused { .. })));
    let wrong = WORDS.replacen("winner", "hunter2", 1);
    assert!(refusal(&rig, restore(&wrong)).starts_with("word 2 is not in the list"));
    assert!(refusal(&rig, restore(&WORDS.replacen("winner", "legal", 1))).contains("checksum"));
    decide(&rig, restore(WORDS)).expect("taken");
    rig.report(vec![rig.mounted("a")], &[]);
    let status = rig.status("readiness", ready);
    assert_eq!(words(&rig), WORDS);
    assert_eq!(words(&rig).split(' ').count(), RECOVERY_WORDS);
    assert!(!agent.log().contains("winner"), "no secret in the log");
    stop(agent);
    let _agent = rig.start();
    assert_eq!(rig.status("readiness", ready).daemon, status.daemon);
    assert_eq!(words(&rig), WORDS);
}

#[test]
fn a_daemon_key_takes_the_place_of_one_that_was_never_used_and_of_no_other() {
    let rig = Rig::new("");
    rig.report(vec![rig.mounted("a")], &[]);
    let _agent = rig.start();
    let status = rig.status("readiness", ready);
    let own = words(&rig);
    decide(&rig, restore(WORDS)).expect("taken");
    let restored = rig.status("the other key", |now| now.daemon != status.daemon);
    assert!(restored.daemon.is_some());
    rig.report(vec![rig.mounted("a")], &["wwn-b"]);
    rig.status("a missing disk", |now| now.problems.iter().any(|one| one.text.contains("wwn-b")));
    assert!(refusal(&rig, restore(&own)).contains("missing or not mounted"));
    std::fs::create_dir_all(rig.path().join("data/a/state/sla/receipts")).expect("a receipt");
    rig.report(vec![rig.mounted("a")], &[]);
    let reason = crate::process::eventually("the use", || {
        Some(refusal(&rig, restore(&own))).filter(|reason| reason.contains("state/sla"))
    });
    assert!(!reason.contains(&own), "{reason}");
    assert_eq!(words(&rig), WORDS);
    decide(&rig, restore(WORDS)).expect("it has that one");
}

#[test]
fn a_node_is_made_new_at_its_next_start_and_is_still_the_same_node() {
    let rig = Rig::new("");
    rig.report(vec![rig.mounted("a"), rig.mounted("b"), rig.mounted("c")], &[]);
    let agent = rig.start();
    let status =
        rig.status("all disks in use", |status| ready(status) && status.volumes.len() == 3);
    let s3 = client(&rig, &status, "a");
    assert_eq!(s3.create_bucket().expect("an answer"), 200);
    assert_eq!(s3.put("key", b"value").expect("an answer"), 200);
    decide(&rig, set_pin("1357")).expect("set");
    let (key, scope) = (words(&rig), ResetScope::KeepIdentity);
    let reset = |end: &str| Request::FactoryReset { scope, node_end: end.to_owned() };
    let end = &NODE_ID[NODE_ID.len() - 6..];
    assert!(refusal(&rig, reset("000000")).contains("last 6 characters"));
    // This init does not restart machines.
    assert!(refusal(&rig, reset(end)).contains("power it off and on"));
    assert_eq!(s3.get("key").expect("an answer").0, 200, "it is done at the next start");
    stop(agent);

    // One disk is away meanwhile.
    rig.report(vec![rig.mounted("a"), rig.mounted("b")], &["wwn-c"]);
    let agent = rig.start();
    let now = rig.status("a new node", |now| now.daemon.is_some() && now.volumes.len() == 2);
    assert_eq!((&now.node_id, &now.daemon), (&status.node_id, &status.daemon));
    assert_eq!(now.s3.tls, status.s3.tls);
    assert_ne!(now.s3.credentials, status.s3.credentials);
    assert_eq!(now.console, ConsoleChanges::Anybody);
    assert_eq!(words(&rig), key);
    stop(agent);

    // It comes back with the objects of before.
    rig.report(vec![rig.mounted("a"), rig.mounted("b"), rig.mounted("c")], &[]);
    let agent = rig.start();
    let again = rig.status("all disks in use", |s| ready(s) && s.volumes.len() == 3);
    assert_eq!(again.s3.credentials, now.s3.credentials, "the reset is done once");
    let s3 = client(&rig, &again, "c");
    assert_eq!(s3.get("key").expect("an answer").0, 404);
    assert_eq!(s3.create_bucket().expect("an answer"), 200);
    assert_eq!(s3.put("key", b"new").expect("an answer"), 200);
    assert_eq!(s3.get("key").expect("an answer"), (200, b"new".to_vec()));
    assert!(agent.log().contains("from before the factory reset"), "{}", agent.log());
}

#[test]
fn a_node_that_forgets_its_identity_gets_another_daemon_key_and_certificate() {
    let rig = Rig::new("");
    rig.report(vec![rig.mounted("a")], &[]);
    let agent = rig.start();
    let status = rig.status("readiness", ready);
    let node_end = NODE_ID[NODE_ID.len() - 6..].to_uppercase();
    let reset = Request::FactoryReset { scope: ResetScope::ForgetIdentity, node_end };
    assert!(refusal(&rig, reset).contains("power it off and on"));
    stop(agent);
    let _agent = rig.start();
    let now = rig.status("readiness", ready);
    assert_eq!(now.node_id, status.node_id);
    assert!(now.daemon.is_some() && now.daemon != status.daemon);
    assert_ne!(now.s3.tls, status.s3.tls);
}

#[test]
fn a_reset_that_not_every_disk_took_is_taken_back() {
    let rig = Rig::new("");
    rig.report(vec![rig.mounted("a"), rig.mounted("b")], &[]);
    let agent = rig.start();
    let status = rig.status("all disks", |status| ready(status) && status.volumes.len() == 2);
    // Nothing can be written over a folder.
    let blocked = rig.path().join("data/b/state/.agent.json.new/in the way");
    std::fs::create_dir_all(&blocked).expect("a folder in the way");
    let node_end = NODE_ID[NODE_ID.len() - 6..].to_owned();
    let reset = Request::FactoryReset { scope: ResetScope::KeepIdentity, node_end };
    assert!(refusal(&rig, reset).contains("not every disk could be marked"));
    let record = rig.path().join("data/a/state/agent.json");
    crate::process::eventually("no mark", || {
        let text = std::fs::read_to_string(&record).expect("a record");
        (!text.contains("\"reset\":")).then_some(())
    });
    stop(agent);
    std::fs::remove_dir_all(blocked.parent().expect("a folder")).expect("free again");
    let _agent = rig.start();
    let again = rig.status("all disks", |status| ready(status) && status.volumes.len() == 2);
    assert_eq!(again.s3.credentials, status.s3.credentials);
}

#[test]
fn a_node_without_a_disk_has_nothing_to_reset() {
    let rig = Rig::new("");
    let _agent = rig.start();
    rig.status("an answer", |_| true);
    let reset = Request::FactoryReset { scope: ResetScope::KeepIdentity, node_end: String::new() };
    assert!(refusal(&rig, reset).contains("nothing to reset"));
}

#[test]
fn claims_by_hand_are_passed_on_and_refusals_come_back() {
    let rig = Rig::new("");
    rig.hardware_answers(|request| match request {
        DiskRequest::ClaimDisk { disk, serial_end }
            if disk.0 == "wwn-1" && serial_end == "0K7D1P" =>
        {
            Answer::Done
        }
        DiskRequest::UndoClaim { disk } if disk.0 == "wwn-1" => Answer::Done,
        DiskRequest::ClaimDisk { .. } => {
            Answer::Failed { reason: "it is mounted at /mnt".to_owned() }
        }
        _ => Answer::Failed { reason: "not now".to_owned() },
    });
    let _agent = rig.start();
    rig.status("an answer", |_| true);
    let claim =
        |disk: &str| Request::ClaimDisk { disk: disk.to_owned(), serial_end: "0K7D1P".to_owned() };
    decide(&rig, claim("wwn-1")).expect("claimed");
    assert_eq!(refusal(&rig, claim("wwn-2")), "it is mounted at /mnt");
    decide(&rig, Request::UndoClaim { disk: "wwn-1".to_owned() }).expect("taken back");
    assert_eq!(refusal(&rig, Request::UndoClaim { disk: "wwn-2".to_owned() }), "not now");
}
