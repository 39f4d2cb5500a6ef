//! Forms, dialogs and pages beyond the first screens, by recorded keys and as pictures.

use std::time::Duration;

use agent_api::control::Secret;
use agent_api::disks::{DiskId, HandClaim, HandClaimState};
use agent_api::local::ResetScope;
use agent_api::status::{ConsoleChanges, NodeStatus};
use agent_api::support::{Fact, Inventory, SupportWritten};

use crate::action::{Action, Came};
use crate::dialog::Dialog;
use crate::draw::tests::{SMALL, WIDE, compare, console, picture};
use crate::fixtures;
use crate::sheet::{Sheet, Support};
use crate::state::{Command, Event, Key, Size, State};
use crate::update::update;

/// Presses keys and gives what is to be done; `\n` is Enter, `\x1b` Escape.
fn keys(state: &mut State, text: &str) -> Vec<Action> {
    let mut actions = Vec::new();
    for letter in text.chars() {
        let key = match letter {
            '\n' => Key::Enter,
            '\x1b' => Key::Escape,
            'V' => Key::PageDown,
            letter => Key::Char(letter),
        };
        for command in update(state, Event::Key(key)) {
            if let Command::Act(action) = command {
                actions.push(action);
            }
        }
    }
    actions
}

fn node(status: NodeStatus) -> State {
    console(SMALL, status, 9)
}

fn seconds(state: &mut State, seconds: u64) {
    update(state, Event::Tick(Duration::from_secs(seconds)));
}

fn words() -> Secret {
    let words: Vec<String> = (1..=24).map(|n| format!("abcdefg{}", char::from(b'a' + n))).collect();
    Secret::new(words.join(" "))
}

/// The same picture on a small and on a large terminal.
fn compare_both(name: &str, state: &mut State) {
    for (size, of) in [(SMALL, "80x24"), (WIDE, "132x43")] {
        state.size = size;
        compare(&format!("{name}-{of}"), state);
    }
    state.size = SMALL;
}

#[test]
fn a_port_is_set_up_on_the_network_screen_and_mistakes_stay_at_their_fields() {
    let mut state = node(fixtures::normal());
    assert_eq!(keys(&mut state, "2e"), []);
    compare_both("form-network", &mut state);
    assert_eq!(keys(&mut state, "\ns\n192.0.2.300/24V\n"), []);
    compare_both("form-network-wrong", &mut state);
    assert_eq!(keys(&mut state, "\x1b"), []);
    assert!(state.sheet.is_none() && picture(&state).contains("[2 Network]"));
    let wishes = keys(&mut state, "e\ns\n192.0.2.10/24\n192.0.2.1V\n");
    assert!(matches!(wishes.as_slice(), [Action::TryNetwork { .. }]), "{wishes:?}");
    let refused = Err("others are tried".to_owned());
    update(&mut state, Event::Done(wishes[0].clone(), refused));
    assert!(state.sheet.is_some() && picture(&state).contains("others are tried"));
    let mut long = node(fixtures::crowded());
    keys(&mut long, &format!("2e\ns\n{}", "2001:db8:1234:5678::1/64 ".repeat(12)));
    compare_both("form-network-long", &mut long);
}

#[test]
fn a_change_on_trial_is_seen_and_answered_on_every_screen() {
    for screen in ["1", "2", "3", "4", "5"] {
        let mut state = node(fixtures::on_trial());
        keys(&mut state, screen);
        assert!(picture(&state).contains("! Network on trial, 87 s left: y keep  n take back"));
        assert_eq!(keys(&mut state, "n"), [Action::RevertNetwork]);
        assert_eq!(keys(&mut state, "y"), [Action::ConfirmNetwork]);
    }
    let mut state = node(fixtures::on_trial());
    compare_both("status-trial", &mut state);
    assert_eq!(keys(&mut state, "2tny"), [], "in a form these are letters");
    assert!(picture(&state).contains("Esc, then y keep"));
    let mut guarded = node(NodeStatus { console: ConsoleChanges::Pin, ..fixtures::on_trial() });
    assert_eq!(keys(&mut guarded, "y"), []);
    assert!(matches!(guarded.dialog, Some(Dialog::Pin { .. })));
    let mut quiet = node(fixtures::normal());
    assert_eq!(keys(&mut quiet, "yn"), []);
}

#[test]
fn the_network_is_tested_and_reset() {
    let mut state = node(fixtures::normal());
    keys(&mut state, "2t\n");
    compare_both("form-test", &mut state);
    let ping = Action::Ping { host: "192.0.2.1".to_owned() };
    assert_eq!(keys(&mut state, "192.0.2.1\n\n"), std::slice::from_ref(&ping));
    assert!(picture(&state).contains("waiting for the answer"));
    let text = "192.0.2.1 by ICMP echo\n  1  1.2 ms\n  2  no answer\n1 of 2 answered\n";
    update(&mut state, Event::Done(ping.clone(), Ok(Came::Text(text.to_owned()))));
    compare_both("reader-ping", &mut state);
    keys(&mut state, "\x1b");
    assert!(state.sheet.is_none());
    update(&mut state, Event::Done(ping, Ok(Came::Text(text.to_owned()))));
    assert!(state.sheet.is_none() && state.notice.is_none(), "nobody waits for it any more");
    let look_up = Action::LookUp { name: "nowhere".to_owned() };
    assert_eq!(keys(&mut state, "td\nnowhere\n\n"), std::slice::from_ref(&look_up));
    update(&mut state, Event::Done(look_up, Err("no such name".to_owned())));
    assert!(picture(&state).contains("! no such name"));
    keys(&mut state, "\x1bd");
    assert_eq!(keys(&mut state, "no\n"), []);
    assert_eq!(keys(&mut state, "reset\n"), [Action::ResetNetwork]);
}

/// A node with a disk that somebody claims.
fn claiming(state: HandClaimState) -> NodeStatus {
    let mut status = fixtures::troubled();
    if let Some(report) = &mut status.disks {
        report.missing.clear();
        report.claims = vec![HandClaim { disk: DiskId(format!("wwn-0x{:016x}", 1)), state }];
    }
    status
}

#[test]
fn a_refused_disk_is_claimed_by_the_end_of_its_serial_number_and_that_is_undone() {
    let mut state = node(fixtures::troubled());
    keys(&mut state, "3");
    update(&mut state, Event::Key(Key::Down));
    update(&mut state, Event::Key(Key::Down));
    assert_eq!(keys(&mut state, "c0000"), []);
    compare_both("dialog-claim", &mut state);
    let text = picture(&state);
    for found in ["ext4 \"backup\"", "data in the first 16 MiB", "S64GNE0R000001"] {
        let text: String =
            text.split_whitespace().collect::<Vec<_>>().join(" ").replace("║ ║ ", "");
        assert!(text.contains(found), "{found} in {text}");
    }
    assert_eq!(keys(&mut state, "02\n"), []);
    let claims = keys(&mut state, "000001\n");
    assert!(matches!(claims.as_slice(), [Action::ClaimDisk { disk, serial_end, .. }]
        if disk == "wwn-0x0000000000000001" && serial_end == "000001"));
    assert_eq!(keys(&mut state, "u"), [], "no claim waits yet");
    for (claim, name) in [
        (HandClaimState::Waiting { seconds_left: 42 }, "waiting"),
        (HandClaimState::Erasing, "erasing"),
        (HandClaimState::Failed { reason: "the disk changed".to_owned() }, "failed"),
    ] {
        let can_undo = claim != HandClaimState::Erasing;
        update(&mut state, Event::Status(Box::new(claiming(claim))));
        state.notice = None;
        compare(&format!("disks-claim-{name}-80x24"), &state);
        let undone = keys(&mut state, "u");
        assert_eq!(matches!(undone.as_slice(), [Action::UndoClaim { .. }]), can_undo, "{name}");
    }
}

#[test]
fn the_light_of_a_slot_shows_which_disk_is_meant() {
    let mut status = fixtures::fresh();
    status.set_up = true;
    status.slots = vec![fixtures::slot(1, "Slot 7")];
    let mut state = node(status);
    let lit = keys(&mut state, "3c");
    assert!(matches!(lit.as_slice(), [Action::Locate { on: true, .. }]), "{lit:?}");
    assert!(matches!(state.dialog, Some(Dialog::Confirm(_))));
    update(&mut state, Event::Done(lit[0].clone(), Ok(Came::Done)));
    assert_eq!(keys(&mut state, "\x1bc"), [], "once is enough");
}

#[test]
fn only_disks_that_are_nobody_s_are_claimed_by_hand() {
    let mut state = node(fixtures::troubled());
    keys(&mut state, "3");
    for why in ["it is not there", "a disk of this node", "", "it is failing", "booted from it"] {
        let asked = keys(&mut state, "c");
        assert_eq!(asked, []);
        if why.is_empty() {
            assert!(matches!(state.dialog, Some(Dialog::Confirm(_))));
            keys(&mut state, "\x1b");
        } else {
            let notice = state.notice.take().expect("a refusal");
            assert!(notice.text.contains(why), "{}", notice.text);
        }
        update(&mut state, Event::Key(Key::Down));
    }
}

#[test]
fn recovery_words_are_shown_once_and_blanked() {
    let mut state = node(fixtures::normal());
    seconds(&mut state, 10);
    assert_eq!(keys(&mut state, "4wyes\n"), [], "another word");
    assert_eq!(keys(&mut state, "show\n"), [Action::RecoveryWords]);
    let answer = || Event::Done(Action::RecoveryWords, Ok(Came::Words(words())));
    update(&mut state, answer());
    compare_both("words", &mut state);
    assert!(picture(&state).contains("24 abcdefgy"), "{}", picture(&state));
    assert!(!format!("{state:?}").contains("abcdefg"), "not for a log");
    seconds(&mut state, 60);
    keys(&mut state, "x");
    seconds(&mut state, 119);
    assert!(picture(&state).contains("abcdefgb"), "a key keeps them");
    seconds(&mut state, 120);
    assert!(state.sheet.is_none() && !picture(&state).contains("abcdefg"));
    update(&mut state, answer());
    keys(&mut state, "\x1b");
    assert!(state.sheet.is_none());
    keys(&mut state, "1");
    update(&mut state, answer());
    assert!(state.sheet.is_none(), "whoever asked has left the screen");
    keys(&mut state, "4");
    seconds(&mut state, 500);
    update(&mut state, answer());
    assert!(state.sheet.is_none(), "whoever asked has gone");
}

#[test]
fn a_pin_is_asked_for_before_every_change_of_the_new_screens() {
    for pressed in ["2e", "2d", "3c", "4w", "4p", "5s\n", "5f1"] {
        let mut status = fixtures::troubled();
        status.console = ConsoleChanges::Pin;
        if let Some(report) = &mut status.disks {
            report.missing.clear();
            report.disks.remove(0);
        }
        let mut state = node(status);
        assert_eq!(keys(&mut state, pressed), [], "{pressed}");
        assert!(matches!(state.dialog, Some(Dialog::Pin { .. })), "{pressed}");
    }
    for pressed in ["2t\n192.0.2.1\n\n", "5i"] {
        let mut state = node(NodeStatus { console: ConsoleChanges::Pin, ..fixtures::normal() });
        assert_eq!(keys(&mut state, pressed).len(), 1, "{pressed} changes nothing");
    }
}

#[test]
fn the_pin_is_set_by_a_form_that_never_shows_it() {
    let mut state = node(fixtures::normal());
    keys(&mut state, "4p2580\n2581\n\n\n");
    compare_both("form-pin", &mut state);
    assert!(!picture(&state).contains("258") && !format!("{state:?}").contains("2580"));
    keys(&mut state, "\x1b");
    let pin = Secret::new("2580".to_owned());
    let set = Action::SetPin { pin };
    assert_eq!(keys(&mut state, "p2580\n2580\n\n\n"), std::slice::from_ref(&set));
    update(&mut state, Event::Done(set, Ok(Came::Done)));
    assert!(state.sheet.is_none() && picture(&state).contains("ask for this PIN"));
}

fn written() -> SupportWritten {
    SupportWritten {
        device: "/dev/sdc1".to_owned(),
        file: "icn-support-7f83b165-20260301T120000Z.tar.age".to_owned(),
        size_bytes: 1_234_567,
        verified: true,
        recipients: vec![
            "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p".to_owned(),
        ],
    }
}

#[test]
fn a_support_bundle_is_written_while_the_screens_go_on() {
    let mut state = node(fixtures::normal());
    seconds(&mut state, 10);
    assert_eq!(keys(&mut state, "5s"), []);
    compare_both("support-asked", &mut state);
    assert_eq!(keys(&mut state, "\n"), [Action::WriteSupport]);
    state.notice = None;
    seconds(&mut state, 33);
    compare("support-writing-80x24", &state);
    let ended = |outcome| Event::Done(Action::WriteSupport, outcome);
    update(&mut state, ended(Ok(Came::Support(written()))));
    compare_both("support-written", &mut state);
    keys(&mut state, "\x1bs\n\x1b");
    assert!(state.sheet.is_none());
    update(&mut state, ended(Ok(Came::Support(written()))));
    assert!(picture(&state).contains("the support bundle icn-support-7f83b165"));
    keys(&mut state, "s\n");
    update(&mut state, ended(Err("no stick with a partition ICN-SUPPORT is there".to_owned())));
    assert!(matches!(state.sheet, Some(Sheet::Support(Support::Failed(_)))));
    state.notice = None;
    compare("support-failed-80x24", &state);
    let mut without = node(NodeStatus { support_recipients: 0, ..fixtures::normal() });
    keys(&mut without, "5s");
    assert!(without.sheet.is_none() && picture(&without).contains("[support] of node.toml"));
}

fn inventory(devices: usize) -> Inventory {
    let fact = |name: &str, text: &str| Fact { name: name.to_owned(), text: text.to_owned() };
    Inventory {
        machine: vec![fact("serial", "XZ-1234"), fact("product", "Storage Server 2U")],
        processors: vec![fact("model", "AMD EPYC 9354P, 32 cores, 64 threads")],
        memory: vec![fact("total", "256 GiB")],
        ports: vec![fact("eno1", "52:54:00:12:34:56, 25G, ice")],
        disks: vec![fact(
            "nvme0n1",
            "SAMSUNG MZQL21T9HCJR-00A07, S64GNE0R000000, GDC5602Q, 1.9 TB",
        )],
        devices: (0..devices)
            .map(|n| {
                fact(
                    &format!("0000:{n:02x}:00.0"),
                    "Broadcom MegaRAID, a name of forty characters or so",
                )
            })
            .collect(),
        problems: vec!["/sys/firmware/dmi/tables cannot be read".to_owned()],
    }
}

#[test]
fn the_inventory_is_a_page_to_scroll() {
    let mut state = node(fixtures::normal());
    assert_eq!(keys(&mut state, "5i"), [Action::Inventory]);
    compare("inventory-awaited-80x24", &state);
    let answer = |devices| {
        let text = agent_api::words::support::inventory(&inventory(devices));
        Event::Done(Action::Inventory, Ok(Came::Text(text)))
    };
    update(&mut state, answer(0));
    compare_both("inventory", &mut state);
    keys(&mut state, "\x1bi");
    update(&mut state, answer(60));
    for key in [Key::PageDown, Key::Down] {
        update(&mut state, Event::Key(key));
    }
    compare("inventory-paged-80x24", &state);
    update(&mut state, Event::Key(Key::Bottom));
    assert!(picture(&state).contains("Problem /sys/firmware/dmi"), "{}", picture(&state));
    update(&mut state, Event::Key(Key::Top));
    assert!(picture(&state).contains("\nMachine\n"));
    keys(&mut state, "\x1bi");
    update(&mut state, Event::Done(Action::Inventory, Err("not now".to_owned())));
    assert!(picture(&state).contains("! not now"));
}

#[test]
fn a_factory_reset_says_what_is_lost_and_kept_and_asks_for_the_node_s_id() {
    let mut state = node(fixtures::normal());
    assert_eq!(keys(&mut state, "5f"), []);
    compare_both("reset", &mut state);
    keys(&mut state, "1");
    compare("dialog-reset-keep-80x24", &state);
    assert!(picture(&state).contains("Kept: node id, daemon key"));
    keys(&mut state, "\x1b2");
    compare("dialog-reset-forget-80x24", &state);
    assert!(picture(&state).contains("gas key"), "it may hold somebody's money");
    assert_eq!(keys(&mut state, "7f83b1\n"), [], "its beginning is not its end");
    let scope = ResetScope::ForgetIdentity;
    let reset = Action::FactoryReset { scope, node_end: "a1d65d".to_owned() };
    assert_eq!(keys(&mut state, "a1d65d\n"), [reset]);
    let mut fresh = node(NodeStatus { set_up: true, ..fixtures::fresh() });
    keys(&mut fresh, "5f");
    assert!(fresh.sheet.is_none() && picture(&fresh).contains("nothing to reset"));
}

#[test]
fn whoever_leaves_a_form_alone_finds_it_closed() {
    for pressed in ["2e", "2t", "4p", "5f", "5i", "5s"] {
        let mut state = node(fixtures::normal());
        seconds(&mut state, 1);
        keys(&mut state, pressed);
        assert!(state.sheet.is_some(), "{pressed}");
        seconds(&mut state, 121);
        assert!(state.sheet.is_none(), "{pressed}");
        assert!(picture(&state).contains("[1 Status]"));
    }
}

#[test]
fn sheets_are_drawn_on_terminals_of_every_size() {
    for (width, height) in [(1, 1), (5, 3), (20, 6), (39, 12), (60, 15), (200, 60)] {
        for pressed in ["2e", "2t", "4p2580", "5f", "5i", "5s", "f", "f3", "f5"] {
            let mut status = fixtures::crowded();
            if pressed.starts_with('f') {
                status.set_up = false;
            }
            let mut state = console(Size { width, height }, status, 9);
            if pressed.starts_with('f') {
                keys(&mut state, "\x1b");
            }
            keys(&mut state, pressed);
            let rows = picture(&state).lines().count();
            assert_eq!(rows, usize::from(height), "{pressed} at {width}x{height}");
        }
    }
}
