use super::*;
use crate::fixtures;

fn seconds(seconds: u64) -> Event {
    Event::Tick(Duration::from_secs(seconds))
}

fn crowded() -> State {
    let mut state = State::new(VT100);
    update(&mut state, Event::Status(Box::new(fixtures::crowded())));
    update(&mut state, Event::Log(fixtures::log(60)));
    state
}

#[test]
fn the_picture_is_drawn_each_second_and_sent_whole_every_ten() {
    let mut state = State::new(VT100);
    assert_eq!(update(&mut state, Event::Tick(Duration::from_millis(250))), []);
    assert_eq!(update(&mut state, seconds(1)), [Command::Draw]);
    assert_eq!(update(&mut state, Event::Tick(Duration::from_millis(1250))), []);
    assert_eq!(update(&mut state, seconds(10)), [Command::Repaint]);
    assert_eq!(update(&mut state, Event::Tick(Duration::from_millis(10_250))), [Command::Draw]);
    assert_eq!(update(&mut state, seconds(20)), [Command::Repaint]);
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
    let mut state = State::new(VT100);
    update(&mut state, Event::Key(Key::Other));
    assert_eq!(update(&mut state, Event::Key(Key::Repaint)), [Command::Measure]);
    assert_eq!(update(&mut state, Event::Key(Key::Quit)), [Command::Quit]);
}

#[test]
fn tab_goes_round_the_sections_that_there_are() {
    let mut state = crowded();
    let mut round = Vec::new();
    for _ in 0..4 {
        update(&mut state, Event::Key(Key::Next));
        round.push(state.focus);
    }
    assert_eq!(round, [Some(Section::Node), Some(Section::Disks), Some(Section::Log), None]);
    update(&mut state, Event::Key(Key::Previous));
    assert_eq!(state.focus, Some(Section::Log));
    update(&mut state, Event::Key(Key::Overview));
    assert_eq!(state.focus, None);
    update(&mut state, Event::Status(Box::new(fixtures::troubled())));
    update(&mut state, Event::Key(Key::Next));
    assert_eq!(state.focus, Some(Section::Problems));
}

#[test]
fn an_arrow_in_the_overview_scrolls_the_disks_and_stops_at_both_ends() {
    let mut state = crowded();
    update(&mut state, Event::Key(Key::Down));
    assert_eq!((state.focus, state.scroll), (Some(Section::Disks), 1));
    update(&mut state, Event::Key(Key::Up));
    update(&mut state, Event::Key(Key::Up));
    assert_eq!(state.scroll, 0);
    for _ in 0..40 {
        update(&mut state, Event::Key(Key::PageDown));
    }
    let bottom = state.scroll;
    update(&mut state, Event::Key(Key::Down));
    assert_eq!(state.scroll, bottom);
    update(&mut state, Event::Key(Key::Top));
    assert_eq!(state.scroll, 0);
    update(&mut state, Event::Key(Key::Bottom));
    assert_eq!(state.scroll, bottom);
}

#[test]
fn a_section_that_vanishes_loses_the_focus() {
    let mut state = State::new(VT100);
    update(&mut state, Event::Status(Box::new(fixtures::troubled())));
    update(&mut state, Event::Key(Key::Next));
    assert_eq!(state.focus, Some(Section::Problems));
    update(&mut state, Event::Status(Box::new(fixtures::normal())));
    assert_eq!(state.focus, None);
}

#[test]
fn a_reader_of_old_log_lines_is_not_disturbed_by_new_ones() {
    let mut state = crowded();
    for _ in 0..3 {
        update(&mut state, Event::Key(Key::Next));
    }
    update(&mut state, Event::Key(Key::PageUp));
    let in_sight = |state: &State| {
        let pane = view::panes(state).pop().expect("the log");
        pane.in_sight().to_vec()
    };
    let read = in_sight(&state);
    let mut longer = fixtures::log(60);
    longer.push("2026-03-01T12:01:00Z icn-agent INFO one more".to_owned());
    longer.remove(0);
    update(&mut state, Event::Log(longer));
    assert_eq!(in_sight(&state), read);
    update(&mut state, Event::Key(Key::Bottom));
    let newest = in_sight(&state).pop().expect("a line").to_string();
    assert_eq!(newest, "12:01:00 icn-agent INFO one more");
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
fn a_secret_is_shown_for_a_minute_or_until_s_is_pressed_again() {
    let secret = || Event::Secret(Ok(Secret::new("hunter2hunter2".to_owned())));
    let mut state = crowded();
    update(&mut state, Event::Key(Key::Other));
    let commands = update(&mut state, Event::Key(Key::Secret));
    assert_eq!(commands, [Command::AskSecret, Command::Draw]);
    update(&mut state, secret());
    assert!(matches!(state.secret, SecretShown::Until(..)));
    update(&mut state, Event::Key(Key::Secret));
    assert_eq!(state.secret, SecretShown::Hidden);
    update(&mut state, secret());
    update(&mut state, seconds(61));
    assert_eq!(state.secret, SecretShown::Hidden);
}
