use agent_api::control::Secret;
use agent_api::disks::HandClaim;
use agent_api::status::{NodeStatus, VolumeState};

use super::*;
use crate::fixtures;
use crate::state::Size;

const VT100: Size = Size { width: 80, height: 24 };

fn seconds(seconds: u64) -> Event {
    Event::Tick(Duration::from_secs(seconds))
}

fn state(status: NodeStatus) -> State {
    let mut state = State::new(VT100);
    update(&mut state, Event::Status(Box::new(status)));
    update(&mut state, Event::Log(fixtures::log(60)));
    state
}

fn crowded() -> State {
    state(fixtures::crowded())
}

/// Presses keys and gives all commands but those to draw and how often to ask.
fn keys(state: &mut State, keys: impl IntoIterator<Item = Key>) -> Vec<Command> {
    let is_always = |command: &Command| {
        matches!(command, Command::Draw | Command::Repaint | Command::Measure | Command::Pace(_))
    };
    let commands = keys.into_iter().flat_map(|key| update(state, Event::Key(key)));
    commands.filter(|command| !is_always(command)).collect()
}

/// Types, a character a key; a line feed is Enter.
fn text(state: &mut State, text: &str) -> Vec<Command> {
    let key = |letter| if letter == '\n' { Key::Enter } else { Key::Char(letter) };
    keys(state, text.chars().map(key))
}

#[test]
fn the_picture_is_sent_whole_every_ten_seconds_and_else_drawn_only_where_it_counts() {
    let mut state = State::new(VT100);
    assert_eq!(update(&mut state, seconds(1)), []);
    assert_eq!(update(&mut state, seconds(10)), [Command::Repaint]);
    assert_eq!(update(&mut state, seconds(11)), []);
    update(&mut state, Event::Silent("refused".to_owned()));
    assert_eq!(update(&mut state, seconds(20)), [Command::Repaint]);
    assert_eq!(update(&mut state, Event::Tick(Duration::from_millis(21_250))), [Command::Draw]);
    assert_eq!(update(&mut state, Event::Tick(Duration::from_millis(21_500))), []);
    assert_eq!(update(&mut state, Event::Tick(Duration::from_millis(22_250))), [Command::Draw]);
}

/// How often the agent is to be asked after an event, where that changes.
fn paces(state: &mut State, event: Event) -> Vec<Pace> {
    let pace = |command| match command {
        Command::Pace(pace) => Some(pace),
        _ => None,
    };
    update(state, event).into_iter().filter_map(pace).collect()
}

#[test]
fn the_agent_is_asked_less_often_while_it_answers_and_nobody_is_at_the_keys() {
    let mut state = State::new(VT100);
    let told = || Event::Status(Box::new(fixtures::normal()));
    assert_eq!(paces(&mut state, seconds(1)), [], "it begins quickly");
    assert_eq!(paces(&mut state, told()), [Pace::Calm]);
    assert_eq!(paces(&mut state, told()), []);
    assert_eq!(paces(&mut state, Event::Silent("refused".to_owned())), [Pace::Quick]);
    assert_eq!(paces(&mut state, told()), [Pace::Calm]);
    // Any key does.
    assert_eq!(paces(&mut state, Event::Key(Key::Other)), [Pace::Quick]);
    assert_eq!(paces(&mut state, seconds(30)), []);
    assert_eq!(paces(&mut state, seconds(31)), [Pace::Calm]);
    // Another screen is shown quickly until it is left by itself.
    assert_eq!(paces(&mut state, Event::Key(Key::Char('3'))), [Pace::Quick]);
    assert_eq!(paces(&mut state, seconds(100)), []);
    assert_eq!(paces(&mut state, seconds(151)), [Pace::Calm]);
    assert_eq!(state.screen, Screen::Status);
}

#[test]
fn what_counts_down_and_the_first_steps_are_shown_quickly_though_nobody_is_at_the_keys() {
    let waiting = |state| {
        let mut status = fixtures::normal();
        let report = status.disks.as_mut().expect("disks");
        report.claims =
            vec![HandClaim { disk: report.disks[1].id.clone().expect("a name"), state }];
        status
    };
    let waits = waiting(HandClaimState::Waiting { seconds_left: 41 });
    for busy in [fixtures::fresh(), fixtures::on_trial(), waits] {
        let mut state = state(busy);
        assert_eq!(state.pace, Pace::Quick, "it stays as quick as it begins");
        assert_eq!(paces(&mut state, Event::Key(Key::Other)), []);
        assert_eq!(paces(&mut state, seconds(31)), []);
        // Until it is over.
        let over = NodeStatus { set_up: true, ..fixtures::normal() };
        assert_eq!(paces(&mut state, Event::Status(Box::new(over))), [Pace::Calm]);
    }
    // Nothing runs out for one that is erased already.
    let erasing = waiting(HandClaimState::Erasing);
    assert_eq!(state(erasing).pace, Pace::Calm);
}

#[test]
fn the_first_steps_that_are_left_are_shown_quickly_no_more() {
    let mut state = state(fixtures::fresh());
    assert_eq!(state.pace, Pace::Quick);
    assert_eq!(paces(&mut state, Event::Key(Key::Escape)), []);
    assert_eq!(paces(&mut state, seconds(31)), [Pace::Calm]);
}

#[test]
fn the_first_key_after_a_while_measures_the_terminal() {
    let mut state = State::new(VT100);
    assert_eq!(update(&mut state, Event::Key(Key::Other)), [Command::Measure]);
    assert_eq!(update(&mut state, Event::Key(Key::Other)), [Command::Draw]);
    update(&mut state, seconds(60));
    assert_eq!(update(&mut state, Event::Key(Key::Down)), [Command::Measure]);
}

#[test]
fn r_measures_and_repaints_and_ctrl_c_leaves() {
    let mut state = state(fixtures::normal());
    update(&mut state, Event::Resized(VT100));
    update(&mut state, Event::Key(Key::Other));
    for key in [Key::Repaint, Key::Char('r'), Key::Char('R')] {
        assert_eq!(update(&mut state, Event::Key(key))[..1], [Command::Measure]);
    }
    assert_eq!(update(&mut state, Event::Key(Key::Quit)), [Command::Quit]);
    text(&mut state, "5b");
    assert!(state.dialog.is_some());
    assert_eq!(update(&mut state, Event::Key(Key::Quit)), [Command::Quit]);
}

#[test]
fn screens_are_reached_by_numbers_function_keys_and_arrows() {
    let mut state = crowded();
    assert_eq!(text(&mut state, "3"), [Command::Look(Screen::Disks)]);
    assert_eq!(keys(&mut state, [Key::Function(5)]), [Command::Look(Screen::Logs)]);
    assert_eq!(keys(&mut state, [Key::Right]), [Command::Look(Screen::Status)]);
    assert_eq!(keys(&mut state, [Key::Left]), [Command::Look(Screen::Logs)]);
    for nothing in ["0", "6", "9", "x"] {
        assert_eq!(text(&mut state, nothing), [], "{nothing}");
        assert_eq!(state.screen, Screen::Logs);
    }
}

#[test]
fn the_number_of_the_shown_screen_changes_nothing_on_it() {
    let mut state = crowded();
    text(&mut state, "3");
    keys(&mut state, [Key::Down, Key::Down]);
    let selected = state.selected.clone();
    assert_eq!(text(&mut state, "3"), []);
    assert_eq!(state.selected, selected);
}

#[test]
fn tab_goes_round_the_sections_of_the_screen() {
    let mut state = crowded();
    text(&mut state, "5");
    let mut round = Vec::new();
    for _ in 0..3 {
        keys(&mut state, [Key::Next]);
        round.push(state.focus);
    }
    assert_eq!(round, [Some(Section::Log), Some(Section::Hardware), None]);
    keys(&mut state, [Key::Previous]);
    assert_eq!(state.focus, Some(Section::Hardware));
    keys(&mut state, [Key::Escape]);
    assert_eq!(state.focus, None);
}

#[test]
fn a_section_that_vanishes_loses_the_focus() {
    let mut state = state(fixtures::troubled());
    keys(&mut state, [Key::Next]);
    assert_eq!(state.focus, Some(Section::Problems));
    update(&mut state, Event::Status(Box::new(fixtures::normal())));
    assert_eq!(state.focus, None);
}

#[test]
fn an_arrow_scrolls_the_main_section_and_stops_at_both_ends() {
    let mut state = crowded();
    keys(&mut state, [Key::Down]);
    assert_eq!((state.focus, state.scroll), (Some(Section::Node), 1));
    keys(&mut state, [Key::Up, Key::Up]);
    assert_eq!(state.scroll, 0);
    keys(&mut state, [Key::PageDown; 40]);
    let bottom = state.scroll;
    assert!(bottom > 0);
    keys(&mut state, [Key::Down]);
    assert_eq!(state.scroll, bottom);
    keys(&mut state, [Key::Top]);
    assert_eq!(state.scroll, 0);
    keys(&mut state, [Key::Bottom]);
    assert_eq!(state.scroll, bottom);
}

#[test]
fn a_reader_of_old_log_lines_is_not_disturbed_by_new_ones() {
    for filter in ["", "w"] {
        let mut state = crowded();
        text(&mut state, "5");
        text(&mut state, filter);
        keys(&mut state, [Key::PageUp]);
        let in_sight = |state: &State| {
            let panes = view::panes(state);
            let log = panes.iter().find(|pane| pane.section == Section::Log).expect("the log");
            log.in_sight().to_vec()
        };
        let read = in_sight(&state);
        let mut longer = fixtures::log(60);
        longer.push("2026-03-01T12:01:00Z icn-agent INFO one more".to_owned());
        longer.push("2026-03-01T12:01:01Z icn-agent WARN the last".to_owned());
        longer.remove(0);
        update(&mut state, Event::Log(longer));
        assert_eq!(in_sight(&state), read, "with filter {filter:?}");
        keys(&mut state, [Key::Bottom]);
        let newest = in_sight(&state).pop().expect("a line").to_string();
        assert_eq!(newest, "12:01:01 icn-agent WARN the last");
    }
}

#[test]
fn silence_is_counted_from_its_first_moment_and_ends_with_an_answer() {
    let mut state = crowded();
    update(&mut state, seconds(100));
    update(&mut state, Event::Silent("refused".to_owned()));
    assert_eq!(state.silence(), None, "an agent may restart");
    update(&mut state, seconds(105));
    update(&mut state, Event::Silent("timed out".to_owned()));
    assert_eq!(state.silence(), Some((Duration::from_secs(5), "timed out")));
    update(&mut state, Event::Status(Box::new(fixtures::normal())));
    assert_eq!(state.silence(), None);
}

#[test]
fn a_starting_agent_is_waited_for_before_silence_is_called_a_problem() {
    let mut state = State::new(VT100);
    update(&mut state, Event::Silent("no such file".to_owned()));
    update(&mut state, seconds(9));
    assert_eq!(state.silence(), None);
    update(&mut state, seconds(11));
    assert!(state.silence().is_some());
}

#[test]
fn a_secret_is_shown_for_a_minute_or_until_it_is_hidden_or_left() {
    let secret = || Event::Secret(Ok(Secret::new("hunter2hunter2".to_owned())));
    let mut state = crowded();
    assert_eq!(text(&mut state, "s"), [Command::AskSecret]);
    update(&mut state, secret());
    assert!(matches!(state.secret, SecretShown::Until(..)));
    assert_eq!(text(&mut state, "s"), []);
    assert_eq!(state.secret, SecretShown::Hidden);
    update(&mut state, secret());
    text(&mut state, "2");
    assert_eq!(state.secret, SecretShown::Hidden);
    update(&mut state, secret());
    assert_eq!(state.secret, SecretShown::Hidden, "an answer that is late is not shown elsewhere");
    text(&mut state, "1");
    update(&mut state, secret());
    update(&mut state, seconds(61));
    assert_eq!(state.secret, SecretShown::Hidden);
}

#[test]
fn a_console_that_is_left_alone_shows_the_status_and_nothing_that_was_opened() {
    let mut state = crowded();
    update(&mut state, seconds(10));
    text(&mut state, "5w/warm\nb");
    update(&mut state, seconds(129));
    assert!(state.dialog.is_some());
    let commands = update(&mut state, seconds(130));
    assert_eq!(commands, [Command::Look(Screen::Status), Command::Draw, Command::Pace(Pace::Calm)]);
    assert_eq!((state.screen, &state.dialog), (Screen::Status, &None));
    assert_eq!(state.filter, Filter::default());
    update(&mut state, seconds(131));
    text(&mut state, "s");
    update(&mut state, Event::Secret(Ok(Secret::new("hunter2".to_owned()))));
    update(&mut state, seconds(251));
    assert_eq!(state.secret, SecretShown::Hidden);
}

#[test]
fn nothing_is_restarted_or_retired_without_its_word() {
    for (screen, key, word) in [("5", "b", "reboot"), ("5", "o", "poweroff"), ("3", "t", "000000")]
    {
        let mut state = state(fixtures::normal());
        text(&mut state, screen);
        assert_eq!(text(&mut state, key), [], "{key} only asks");
        assert_eq!(text(&mut state, "yes\n"), []);
        assert!(state.dialog.is_some(), "{key}: another word leaves the question open");
        let commands = text(&mut state, &format!("{word}\n"));
        assert!(matches!(commands.as_slice(), [Command::Act(_)]), "{key}: {commands:?}");
        assert_eq!(state.dialog, None);
        text(&mut state, key);
        assert_eq!(keys(&mut state, [Key::Escape]), []);
        assert_eq!(state.dialog, None);
    }
}

#[test]
fn the_selected_disk_is_the_one_that_is_retired_however_the_list_changes() {
    let mut state = state(fixtures::normal());
    text(&mut state, "3");
    keys(&mut state, [Key::Down, Key::Down, Key::Char('t')]);
    // A disk before it is pulled while the question stands.
    let mut fewer = fixtures::normal();
    fewer.disks.as_mut().expect("a report").disks.remove(0);
    update(&mut state, Event::Status(Box::new(fewer)));
    let commands = text(&mut state, "000002\n");
    let [Command::Act(Action::Retire { volume, called })] = commands.as_slice() else {
        panic!("{commands:?}")
    };
    assert_eq!(volume, "volume-2");
    assert_eq!(called, "disk nvme2n1 with serial S64GNE0R000002");
}

#[test]
fn a_disk_that_is_not_in_use_is_not_retired_and_one_that_is_emptied_can_be_kept() {
    let mut state = state(fixtures::troubled());
    text(&mut state, "3");
    text(&mut state, "t");
    assert_eq!(state.dialog, None);
    assert!(state.notice.as_ref().is_some_and(|notice| notice.is_bad));
    assert_eq!(text(&mut state, "k"), []);
    keys(&mut state, [Key::Down]);
    if let Some(status) = &mut state.status {
        status.volumes[0].state = VolumeState::Retiring;
    }
    let commands = text(&mut state, "k");
    assert!(matches!(commands.as_slice(), [Command::Act(Action::Keep { volume, .. })]
        if volume == "volume-0"));
}

#[test]
fn the_locate_key_lights_and_puts_out_as_the_agent_did() {
    let mut state = state(fixtures::normal());
    text(&mut state, "3");
    let act = |state: &mut State| match text(state, "l").pop() {
        Some(Command::Act(action @ Action::Locate { .. })) => action,
        other => panic!("{other:?}"),
    };
    let lights = |action: &Action| matches!(action, Action::Locate { on: true, .. });
    let first = act(&mut state);
    assert!(lights(&first));
    update(&mut state, Event::Done(first, Err("no enclosure".to_owned())));
    let again = act(&mut state);
    assert!(lights(&again), "what was refused is not lit");
    update(&mut state, Event::Done(again, Ok(Came::Done)));
    let out = act(&mut state);
    assert!(!lights(&out));
    update(&mut state, Event::Done(out, Ok(Came::Done)));
    assert!(lights(&act(&mut state)));
}

#[test]
fn a_message_goes_by_itself() {
    let mut state = state(fixtures::normal());
    update(&mut state, Event::Done(Action::Reboot, Err("not now".to_owned())));
    assert!(state.notice.as_ref().is_some_and(|notice| notice.text.contains("not now")));
    update(&mut state, seconds(14));
    assert!(state.notice.is_some());
    update(&mut state, seconds(15));
    assert_eq!(state.notice, None);
}

/// A node whose console has a PIN.
fn with_pin() -> State {
    let mut status = fixtures::normal();
    status.console = ConsoleChanges::Pin;
    state(status)
}

#[test]
fn nothing_is_changed_while_it_is_not_known_whether_there_is_a_pin() {
    let mut state = State::new(Size { width: 80, height: 24 });
    text(&mut state, "5");
    for key in ["b", "o"] {
        assert_eq!(text(&mut state, key), [], "{key}");
        assert!(state.dialog.is_none() && state.notice.is_some(), "{key}");
    }
}

#[test]
fn a_pin_is_asked_for_before_changes_and_secrets_and_not_for_reading_or_light() {
    for (screen, key) in [("1", "s"), ("3", "t"), ("5", "b"), ("5", "o")] {
        let mut state = with_pin();
        text(&mut state, screen);
        assert_eq!(text(&mut state, key), [], "{key}");
        assert!(matches!(state.dialog, Some(Dialog::Pin { .. })), "{key}");
    }
    let mut state = with_pin();
    text(&mut state, "3");
    assert!(matches!(text(&mut state, "l").as_slice(), [Command::Act(_)]));
}

#[test]
fn a_right_pin_opens_until_nobody_is_there_any_more() {
    let mut state = with_pin();
    text(&mut state, "5");
    let pin = || Secret::new("2580".to_owned());
    assert_eq!(text(&mut state, "b2580\n"), [Command::CheckPin(pin())]);
    assert_eq!(state.dialog, None);
    update(&mut state, Event::PinChecked(Err("that is not the PIN".to_owned())));
    assert!(state.dialog.is_none() && !state.is_unlocked);
    assert!(state.notice.as_ref().is_some_and(|notice| notice.is_bad));
    text(&mut state, "b2580\n");
    update(&mut state, Event::PinChecked(Ok(())));
    assert!(matches!(state.dialog, Some(Dialog::Confirm(_))), "the word is asked for all the same");
    assert_eq!(text(&mut state, "reboot\n"), [Command::Act(Action::Reboot)]);
    text(&mut state, "o");
    assert!(matches!(state.dialog, Some(Dialog::Confirm(_))), "no PIN once more");
    update(&mut state, seconds(120));
    text(&mut state, "5o");
    assert!(matches!(state.dialog, Some(Dialog::Pin { .. })), "but for who comes later");
}

#[test]
fn a_pin_that_is_answered_after_its_asker_left_opens_nothing() {
    let mut state = with_pin();
    text(&mut state, "5b2580\n");
    update(&mut state, seconds(120));
    update(&mut state, Event::PinChecked(Ok(())));
    assert!(!state.is_unlocked && state.dialog.is_none());
}

#[test]
fn a_configuration_that_leaves_open_whether_there_is_a_pin_lets_nobody_change_anything() {
    let mut status = fixtures::normal();
    status.console = ConsoleChanges::Nobody;
    let mut state = state(status);
    for keys in ["s", "3t", "5b", "5o"] {
        assert!(text(&mut state, keys).iter().all(|command| matches!(command, Command::Look(_))));
        assert_eq!(state.dialog, None);
        assert!(state.notice.as_ref().is_some_and(|notice| notice.text.contains("node.toml")));
    }
}
