//! The first steps, by recorded keys and as pictures.

use std::time::Duration;

use agent_api::control::Secret;
use agent_api::status::{ConsoleChanges, NodeStatus};

use crate::action::{Action, Came};
use crate::dialog::Dialog;
use crate::draw::tests::{SMALL, WIDE, compare, console, picture};
use crate::fixtures;
use crate::screen::Screen;
use crate::sheet::Sheet;
use crate::state::{Command, Event, Key, Size, State};
use crate::steps::Step;
use crate::update::update;

/// Presses keys and gives what is to be done; `\n` is Enter, `\x1b` Escape.
fn keys(state: &mut State, text: &str) -> Vec<Action> {
    let mut actions = Vec::new();
    for letter in text.chars() {
        let key = match letter {
            '\n' => Key::Enter,
            '\x1b' => Key::Escape,
            letter => Key::Char(letter),
        };
        actions.extend(update(state, Event::Key(key)).into_iter().filter_map(
            |command| match command {
                Command::Act(action) => Some(action),
                _ => None,
            },
        ));
    }
    actions
}

fn fresh(size: Size) -> State {
    console(size, fixtures::fresh(), 9)
}

fn told(state: &mut State, status: NodeStatus) {
    update(state, Event::Status(Box::new(status)));
}

#[test]
fn each_step_of_a_fresh_node_and_of_one_where_all_is_well() {
    for (size, name) in [(SMALL, "80x24"), (WIDE, "132x43")] {
        for step in Step::ALL {
            let word = step.name().to_lowercase();
            let mut state = fresh(size);
            update(
                &mut state,
                Event::Key(Key::Char(char::from(b'0' + u8::try_from(step.number()).expect("few")))),
            );
            assert_eq!(state.steps.at, step);
            compare(&format!("steps-{word}-fresh-{name}"), &state);
            let status = NodeStatus { set_up: false, ..fixtures::normal() };
            told(&mut state, status);
            compare(&format!("steps-{word}-normal-{name}"), &state);
            let crowded = NodeStatus { set_up: false, ..fixtures::crowded() };
            told(&mut state, crowded);
            let text = picture(&state);
            assert_eq!(text.lines().count(), usize::from(size.height));
            if step == Step::Disks {
                compare(&format!("steps-{word}-crowded-{name}"), &state);
            }
        }
    }
}

#[test]
fn the_verdicts_on_disks_are_asked_for_on_their_step() {
    let mut state = fresh(SMALL);
    let mut looks = Vec::new();
    for key in
        [Key::Enter, Key::Right, Key::Down, Key::Enter, Key::Left, Key::Escape, Key::Char('f')]
    {
        let commands = update(&mut state, Event::Key(key)).into_iter();
        looks.extend(commands.filter_map(|command| match command {
            Command::Look(screen) => Some(screen),
            _ => None,
        }));
    }
    let (status, disks) = (Screen::Status, Screen::Disks);
    assert_eq!(looks, [status, disks, status, disks, status, disks]);
}

#[test]
fn enter_alone_goes_through_all_steps_and_changes_nothing_but_that_they_are_done() {
    let mut state = fresh(SMALL);
    assert!(state.steps.is_open);
    assert_eq!(keys(&mut state, "\n\n\n\n"), []);
    assert_eq!(state.steps.at, Step::Summary);
    assert_eq!(keys(&mut state, "\n"), [Action::FinishSetUp]);
    let refused = Err("no disk keeps it yet".to_owned());
    update(&mut state, Event::Done(Action::FinishSetUp, refused));
    assert!(state.steps.is_open, "what the node did not keep is not done");
    keys(&mut state, "\n");
    update(&mut state, Event::Done(Action::FinishSetUp, Ok(Came::Done)));
    assert!(!state.steps.is_open);
    assert_eq!(state.screen, Screen::Status);
}

#[test]
fn they_are_left_for_later_and_taken_up_where_they_were() {
    let mut state = fresh(SMALL);
    keys(&mut state, "\n\n\x1b");
    assert!(!state.steps.is_open);
    told(&mut state, fixtures::fresh());
    assert!(!state.steps.is_open);
    assert!(picture(&state).contains("f first steps"));
    keys(&mut state, "f");
    assert!(state.steps.is_open);
    assert_eq!(state.steps.at, Step::Disks);
    keys(&mut state, "k");
    assert!(!state.steps.is_open);
    keys(&mut state, "f");
    update(&mut state, Event::Tick(Duration::from_secs(500)));
    assert!(!state.steps.is_open, "who left them alone comes back to Status");
    told(&mut state, fixtures::normal());
    assert!(!picture(&state).contains("f first steps"));
    keys(&mut state, "f");
    assert!(!state.steps.is_open);
}

#[test]
fn a_static_vlan_a_disk_and_a_pin_are_set_from_the_steps() {
    let mut state = fresh(SMALL);
    let wishes = keys(&mut state, "s\n\n192.0.2.10/24\n192.0.2.1\n100\n\n\n\n\n\n192.0.2.53\n\n\n");
    let [Action::TryNetwork { text }] = wishes.as_slice() else { panic!("{wishes:?}") };
    assert!(text.contains("id = 100") && text.contains("192.0.2.10/24"), "{text}");
    assert!(matches!(state.sheet, Some(Sheet::Network(_))), "until the node has taken it");
    update(&mut state, Event::Done(wishes[0].clone(), Ok(Came::Done)));
    assert!(state.sheet.is_none() && state.steps.is_open);
    let mut tried = fixtures::fresh();
    if let (Some(system), Some(trial)) = (&mut tried.system, fixtures::on_trial().system) {
        system.network = trial.network;
    }
    told(&mut state, tried);
    assert!(picture(&state).contains("! Network on trial, 87 s left"), "{}", picture(&state));
    assert_eq!(keys(&mut state, "y"), [Action::ConfirmNetwork]);
    told(&mut state, fixtures::fresh());
    state.notice = None;
    assert_eq!(keys(&mut state, "\n\nc"), []);
    compare("steps-claim-80x24", &state);
    let claims = keys(&mut state, "000001\n");
    let [Action::ClaimDisk { disk, serial_end, .. }] = claims.as_slice() else {
        panic!("{claims:?}")
    };
    assert_eq!((disk.as_str(), serial_end.as_str()), ("wwn-0x0000000000000001", "000001"));
    let pin = Secret::new("2580".to_owned());
    let set = Action::SetPin { pin };
    assert_eq!(keys(&mut state, "\np2580\n2580\n\n\n"), std::slice::from_ref(&set));
    update(&mut state, Event::Done(set, Ok(Came::Done)));
    told(&mut state, NodeStatus { console: ConsoleChanges::Pin, ..fixtures::fresh() });
    assert_eq!(keys(&mut state, "\n\n"), [Action::FinishSetUp], "who set it is not asked for it");
    update(&mut state, Event::Done(Action::FinishSetUp, Ok(Came::Done)));
    assert!(!state.is_unlocked, "but whoever comes next is");
}

#[test]
fn a_pin_in_force_is_asked_for_before_the_steps_change_anything() {
    for keys_of in ["s", "3c", "4p", "5\n"] {
        let mut status = fixtures::fresh();
        status.console = ConsoleChanges::Pin;
        let mut state = console(SMALL, status, 9);
        assert_eq!(keys(&mut state, keys_of), [], "{keys_of:?}");
        assert!(matches!(state.dialog, Some(Dialog::Pin { .. })), "{keys_of:?}");
        assert!(state.sheet.is_none());
    }
}
