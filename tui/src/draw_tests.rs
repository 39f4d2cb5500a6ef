use std::time::Duration;

use agent_api::control::Secret;
use agent_api::status::NodeStatus;
use expect_test::expect_file;
use proptest::prelude::*;
use ratatui::layout::Rect;

use super::*;
use crate::fixtures;
use crate::state::{Event, Key, Size, VT100, update};
use crate::view::Section;

const WIDE: Size = Size { width: 132, height: 43 };

fn console(size: Size, status: NodeStatus, log_lines: usize) -> State {
    let mut state = State::new(size);
    update(&mut state, Event::Status(Box::new(status)));
    update(&mut state, Event::Log(fixtures::log(log_lines)));
    state
}

fn picture(state: &State) -> String {
    let mut buffer = Buffer::empty(Rect::new(0, 0, state.size.width, state.size.height));
    draw(state, &mut buffer);
    let rows = buffer.content.chunks(usize::from(state.size.width));
    rows.map(|row| {
        let text: String = row.iter().map(|cell| cell.symbol()).collect();
        format!("{}\n", text.trim_end())
    })
    .collect()
}

macro_rules! snapshot {
    ($name:literal, $state:expr) => {
        expect_file![concat!("../snapshots/", $name, ".txt")].assert_eq(&picture($state))
    };
}

#[test]
fn a_node_where_all_is_well() {
    snapshot!("normal-80x24", &console(VT100, fixtures::normal(), 9));
    snapshot!("normal-132x43", &console(WIDE, fixtures::normal(), 30));
}

#[test]
fn a_console_that_starts_before_the_agent() {
    snapshot!("empty-80x24", &State::new(VT100));
    snapshot!("empty-132x43", &State::new(WIDE));
    snapshot!("just-started-80x24", &console(VT100, NodeStatus::default(), 0));
}

#[test]
fn a_node_in_trouble() {
    snapshot!("troubled-80x24", &console(VT100, fixtures::troubled(), 9));
    snapshot!("troubled-132x43", &console(WIDE, fixtures::troubled(), 30));
}

#[test]
fn more_than_fits() {
    let mut state = console(VT100, fixtures::crowded(), 60);
    snapshot!("crowded-80x24", &state);
    update(&mut state, Event::Key(Key::Next));
    snapshot!("crowded-node-80x24", &state);
    update(&mut state, Event::Key(Key::Next));
    update(&mut state, Event::Key(Key::PageDown));
    snapshot!("crowded-disks-80x24", &state);
    update(&mut state, Event::Key(Key::Bottom));
    assert!(picture(&state).contains("nvme59n1"), "the last disk can be reached");
    update(&mut state, Event::Key(Key::Next));
    update(&mut state, Event::Key(Key::PageUp));
    snapshot!("crowded-log-80x24", &state);
    snapshot!("crowded-132x43", &console(WIDE, fixtures::crowded(), 60));
}

#[test]
fn an_agent_that_stopped_answering() {
    let mut state = console(VT100, fixtures::normal(), 9);
    update(&mut state, Event::Tick(Duration::from_secs(100)));
    update(&mut state, Event::Silent("/run/icn/agent.sock: connection refused".to_owned()));
    update(&mut state, Event::Tick(Duration::from_secs(112)));
    snapshot!("silent-80x24", &state);
}

#[test]
fn the_secret_key_that_somebody_asked_for() {
    let mut state = console(VT100, fixtures::normal(), 9);
    let secret = Secret::new("k3Jp9/Zt+0aBcDeFgHiJkLmNoPqRsTuVwXyZ0123".to_owned());
    assert!(!picture(&state).contains(secret.reveal()));
    update(&mut state, Event::Secret(Ok(secret)));
    snapshot!("secret-80x24", &state);
}

#[test]
fn the_overview_of_a_small_screen_shows_what_a_technician_came_for() {
    let status = fixtures::normal();
    let text = picture(&console(VT100, status.clone(), 9));
    let printable: String = text.chars().filter(char::is_ascii_graphic).collect();
    let tls = status.s3.tls.expect("a certificate");
    assert!(printable.contains(&tls.fingerprint), "the fingerprint in one piece");
    let disks = status.disks.expect("disks").disks;
    for wanted in disks.iter().map(|disk| disk.serial.as_str()).chain([
        "7f83b1657ff1fc53b92dc18148a1d65d",
        "https://192.0.2.10",
        "52:54:00:12:34:56",
    ]) {
        assert!(text.contains(wanted), "{wanted} in\n{text}");
    }
}

#[test]
fn what_a_hostile_disk_or_client_writes_does_not_reach_the_terminal() {
    let mut status = fixtures::normal();
    if let Some(report) = &mut status.disks {
        report.disks[0].serial = "\x1b[2J\u{9b}2Jxx".to_owned();
        report.disks[1].serial = "\u{202e}日本".to_owned();
    }
    let mut state = console(VT100, status, 0);
    update(&mut state, Event::Log(vec!["GET /\x1b]0;pwned\x07 \u{200b}\u{1f600}".to_owned()]));
    let text = picture(&state);
    assert!(text.contains("?[2J?2Jxx"), "{text}");
    assert!(text.chars().all(|c| c == '\n' || is_safe(c)), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_size_and_any_keys_are_drawn_without_a_crash(
        width in 1_u16..200,
        height in 1_u16..60,
        keys in prop::collection::vec(prop::sample::select(vec![
            Key::Next, Key::Previous, Key::Down, Key::Up, Key::PageDown, Key::PageUp, Key::Top,
            Key::Bottom, Key::Overview,
        ]), 0..12),
        troubled in any::<bool>(),
    ) {
        let status = if troubled { fixtures::troubled() } else { fixtures::crowded() };
        let mut state = console(Size { width, height }, status, 60);
        for key in keys {
            update(&mut state, Event::Key(key));
            let before = state.clone();
            picture(&state);
            prop_assert_eq!(before.scroll, state.scroll);
            prop_assert!(state.focus.is_none() || Section::ALL.contains(&state.focus.unwrap()));
        }
    }
}
