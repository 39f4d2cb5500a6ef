use std::time::Duration;

use agent_api::control::Secret;
use agent_api::status::NodeStatus;
use expect_test::expect_file;
use proptest::prelude::*;
use ratatui::layout::Rect;

use super::*;
use crate::action::{Action, Came};
use crate::fixtures;
use crate::state::{Event, Key, Size};
use crate::update::update;

pub(crate) const SMALL: Size = Size { width: 80, height: 24 };
pub(crate) const WIDE: Size = Size { width: 132, height: 43 };

pub(crate) fn console(size: Size, status: NodeStatus, log_lines: usize) -> State {
    let disks = status.disks.as_ref().map_or(0, |report| report.disks.len());
    let mut state = State::new(size);
    update(&mut state, Event::Status(Box::new(status)));
    update(&mut state, Event::Health(Box::new(fixtures::health(disks))));
    update(&mut state, Event::Pool(Box::new(fixtures::pool(disks))));
    update(&mut state, Event::Log(fixtures::log(log_lines)));
    state
}

pub(crate) fn picture(state: &State) -> String {
    let mut buffer = Buffer::empty(Rect::new(0, 0, state.size.width, state.size.height));
    draw(state, &mut buffer);
    let rows = buffer.content.chunks(usize::from(state.size.width));
    rows.map(|row| {
        let text: String = row.iter().map(|cell| cell.symbol()).collect();
        format!("{}\n", text.trim_end())
    })
    .collect()
}

/// Types, a character a key.
pub(crate) fn press(state: &mut State, keys: &str) {
    for letter in keys.chars() {
        update(state, Event::Key(if letter == '\n' { Key::Enter } else { Key::Char(letter) }));
    }
}

/// Compares a picture with the file of its name.
pub(crate) fn compare(name: &str, state: &State) {
    let path = format!("{}/snapshots/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    expect_file![path].assert_eq(&picture(state));
}

/// Compares every screen of a node, on a small and on a large terminal.
fn compare_screens(what: &str, state: impl Fn(Size) -> State) {
    for (size, name) in [(SMALL, "80x24"), (WIDE, "132x43")] {
        for (number, screen) in (1..).zip(Screen::ALL) {
            let mut state = state(size);
            update(&mut state, Event::Key(Key::Function(number)));
            assert_eq!(state.screen, screen);
            let screen = screen.name().to_lowercase();
            compare(&format!("{screen}-{what}-{name}"), &state);
        }
    }
}

#[test]
fn every_screen_of_a_node_where_all_is_well() {
    compare_screens("normal", |size| console(size, fixtures::normal(), 40));
}

#[test]
fn every_screen_before_the_agent_answers() {
    compare_screens("empty", State::new);
}

#[test]
fn every_screen_of_an_agent_that_has_just_started() {
    compare_screens("started", |size| {
        let mut state = State::new(size);
        update(&mut state, Event::Status(Box::default()));
        state
    });
}

#[test]
fn every_screen_of_a_node_in_trouble() {
    compare_screens("trouble", |size| console(size, fixtures::troubled(), 40));
}

#[test]
fn every_screen_with_more_than_fits() {
    compare_screens("crowded", |size| console(size, fixtures::crowded(), 200));
}

#[test]
fn every_screen_while_the_agent_is_silent() {
    compare_screens("silent", |size| {
        let mut state = console(size, fixtures::normal(), 9);
        update(&mut state, Event::Tick(Duration::from_secs(100)));
        update(&mut state, Event::Silent("/run/icn/agent.sock: connection refused".to_owned()));
        update(&mut state, Event::Tick(Duration::from_secs(112)));
        state
    });
}

#[test]
fn the_last_of_sixty_disks_can_be_selected_and_is_seen_with_its_neighbours() {
    let mut state = console(SMALL, fixtures::crowded(), 0);
    press(&mut state, "3");
    update(&mut state, Event::Key(Key::PageDown));
    update(&mut state, Event::Key(Key::PageDown));
    compare("disks-paged-80x24", &state);
    update(&mut state, Event::Key(Key::Bottom));
    let text = picture(&state);
    assert!(text.contains("> ") && text.contains("nvme59n1"), "{text}");
    for _ in 0..60 {
        update(&mut state, Event::Key(Key::Up));
    }
    assert!(picture(&state).contains("> Slot 00  nvme0n1"), "{}", picture(&state));
}

#[test]
fn a_failing_disk_has_its_evidence_below_the_list() {
    let mut state = console(SMALL, fixtures::normal(), 0);
    press(&mut state, "3");
    update(&mut state, Event::Key(Key::Down));
    update(&mut state, Event::Key(Key::Down));
    compare("disks-failing-80x24", &state);
}

#[test]
fn a_disk_that_is_emptied_shows_how_far_it_is() {
    let mut state = console(SMALL, fixtures::retiring(), 0);
    update(&mut state, Event::Pool(Box::new(fixtures::pool_retiring())));
    press(&mut state, "3");
    update(&mut state, Event::Key(Key::Down));
    compare("disks-retiring-80x24", &state);
}

#[test]
fn what_cannot_be_taken_back_is_asked_for_with_what_will_be_lost() {
    let mut state = console(SMALL, fixtures::normal(), 40);
    press(&mut state, "3t000");
    compare("dialog-retire-80x24", &state);
    press(&mut state, "111\n");
    compare("dialog-wrong-80x24", &state);
    update(&mut state, Event::Key(Key::Escape));
    press(&mut state, "5b");
    compare("dialog-reboot-80x24", &state);
    update(&mut state, Event::Key(Key::Escape));
    press(&mut state, "opower");
    state.size = WIDE;
    compare("dialog-poweroff-132x43", &state);
}

#[test]
fn a_pin_is_never_seen() {
    let mut status = fixtures::normal();
    status.console = agent_api::status::ConsoleChanges::Pin;
    let mut state = console(SMALL, status, 40);
    press(&mut state, "5b2580");
    assert!(!picture(&state).contains("2580") && !format!("{state:?}").contains("2580"));
    compare("dialog-pin-80x24", &state);
}

#[test]
fn the_log_is_filtered_by_level_and_text() {
    let mut state = console(SMALL, fixtures::normal(), 60);
    press(&mut state, "5w/clients are");
    compare("dialog-search-80x24", &state);
    press(&mut state, "\n");
    compare("logs-filtered-80x24", &state);
    press(&mut state, "/ and more\n");
    assert!(picture(&state).contains("no such lines"), "{}", picture(&state));
}

#[test]
fn what_came_of_an_action_stands_above_the_keys() {
    let mut state = console(SMALL, fixtures::normal(), 0);
    press(&mut state, "3l");
    let (disk, called) = ("wwn-0x0000000000000000".to_owned(), "disk nvme0n1".to_owned());
    let action = Action::Locate { disk, called, on: true };
    let reason =
        "refused: this machine does not have an enclosure that lights the slot of this disk";
    update(&mut state, Event::Done(action.clone(), Err(reason.to_owned())));
    compare("notice-refused-80x24", &state);
    update(&mut state, Event::Done(action, Ok(Came::Done)));
    let text = picture(&state);
    assert!(text.contains("> the locate LED of disk nvme0n1 is lit"), "{text}");
}

#[test]
fn the_secret_key_that_somebody_asked_for() {
    let mut state = console(SMALL, fixtures::normal(), 9);
    let secret = Secret::new("k3Jp9/Zt+0aBcDeFgHiJkLmNoPqRsTuVwXyZ0123".to_owned());
    assert!(!picture(&state).contains(secret.reveal()));
    update(&mut state, Event::Secret(Ok(secret)));
    compare("status-secret-80x24", &state);
}

#[test]
fn the_first_screen_shows_what_a_technician_came_for() {
    let status = fixtures::normal();
    let text = picture(&console(SMALL, status.clone(), 9));
    let printable: String = text.chars().filter(char::is_ascii_graphic).collect();
    let tls = status.s3.tls.expect("a certificate");
    assert!(printable.contains(&tls.fingerprint), "the fingerprint in one piece");
    for wanted in [
        "7f83b1657ff1fc53b92dc18148a1d65d",
        "https://192.0.2.10",
        "52:54:00:12:34:56",
        "4 of 4 in use",
        "last report",
    ] {
        assert!(text.contains(wanted), "{wanted} in\n{text}");
    }
}

#[test]
fn every_screen_says_which_keys_lead_on() {
    for (number, screen) in (1..).zip(Screen::ALL) {
        let mut state = console(SMALL, fixtures::normal(), 9);
        update(&mut state, Event::Key(Key::Function(number)));
        let text = picture(&state);
        assert!(text.contains(&format!("[{number} {}]", screen.name())), "{text}");
        let keys = text.lines().find(|line| line.starts_with(" 1-5 ←→ screen"));
        assert!(keys.is_some_and(|keys| keys.chars().count() <= 80), "{text}");
        let last = text.lines().last().expect("a line");
        assert!(last.ends_with("r repaint") && !last.contains(".."), "{last}");
    }
}

#[test]
fn sixty_disks_eight_ports_and_long_names_are_readable() {
    let mut state = console(SMALL, fixtures::crowded(), 0);
    assert!(picture(&state).contains("a-name-of-forty-characters-0123456789-xy"));
    press(&mut state, "3");
    let mut seen = String::new();
    for _ in 0..60 {
        seen.push_str(&picture(&state));
        update(&mut state, Event::Key(Key::Down));
    }
    for disk in 0..60 {
        assert!(seen.contains(&format!("S64GNE0R{disk:06}")), "disk {disk}");
    }
    press(&mut state, "2");
    let mut seen = String::new();
    for _ in 0..20 {
        seen.push_str(&picture(&state));
        update(&mut state, Event::Key(Key::Down));
    }
    for port in 0..8 {
        assert!(seen.contains(&format!("2001:db8:1234:5678::{port}/64")), "port {port} in {seen}");
    }
}

#[test]
fn what_a_hostile_disk_or_client_writes_does_not_reach_the_terminal() {
    let mut status = fixtures::normal();
    if let Some(report) = &mut status.disks {
        report.disks[0].serial = "\x1b[2J\u{9b}2Jxx".to_owned();
        report.disks[1].serial = "\u{202e}日本".to_owned();
        report.disks[0].model = "\x1b[31m".to_owned();
    }
    let mut state = console(SMALL, status, 0);
    update(&mut state, Event::Log(vec!["GET /\x1b]0;pwned\x07 \u{200b}\u{1f600}".to_owned()]));
    press(&mut state, "3");
    assert!(picture(&state).contains("?[2J?2Jxx"), "{}", picture(&state));
    for keys in ["1", "2", "3", "t", "4", "5"] {
        press(&mut state, keys);
        let text = picture(&state);
        assert!(text.chars().all(|c| c == '\n' || is_safe(c)), "{text}");
    }
}

#[test]
#[ignore = "measures: cargo test --release -p tui --lib redraw -- --ignored --nocapture"]
fn the_time_of_a_redraw_of_sixty_disks() {
    const ROUNDS: u32 = 200;
    // What takes the place of a screen, by the keys that open it.
    let sheets = [("form", "2e"), ("inventory", "5i"), ("steps", "f3")];
    let screens = (1..).zip(Screen::ALL).map(|(number, screen)| (screen.name(), number));
    let screens: Vec<(&str, String)> =
        screens.map(|(name, number): (&str, u32)| (name, number.to_string())).collect();
    let all = screens.into_iter().chain(sheets.map(|(name, keys)| (name, keys.to_owned())));
    let all: Vec<_> = all.collect();
    for size in [SMALL, WIDE] {
        for (name, keys) in &all {
            let status = NodeStatus { set_up: *name != "steps", ..fixtures::crowded() };
            let mut state = console(size, status, 500);
            state.steps.is_open = false;
            press(&mut state, keys);
            let mut canvas = crate::canvas::Canvas::default();
            let (mut whole, mut longest) = (Duration::ZERO, Duration::ZERO);
            for _ in 0..ROUNDS {
                let began = std::time::Instant::now();
                let mut picture = crate::canvas::Canvas::blank(size);
                draw(&state, &mut picture);
                canvas.forget();
                assert!(!canvas.show(picture).is_empty());
                whole += began.elapsed();
                longest = longest.max(began.elapsed());
            }
            let (mean, longest) = ((whole / ROUNDS).as_micros(), longest.as_micros());
            let (width, height) = (size.width, size.height);
            eprintln!("{width}x{height} {name:9} mean {mean:5} us, longest {longest:5} us");
            #[cfg(not(debug_assertions))]
            assert!(mean <= 5000, "a redraw takes 5 ms at most: {name}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_size_and_any_keys_are_drawn_without_a_crash(
        width in 1_u16..200,
        height in 1_u16..60,
        keys in prop::collection::vec(prop::sample::select(vec![
            Key::Next, Key::Previous, Key::Down, Key::Up, Key::PageDown, Key::PageUp, Key::Top,
            Key::Bottom, Key::Escape, Key::Left, Key::Right, Key::Enter, Key::Erase,
            Key::Function(3), Key::Function(5), Key::Char('t'), Key::Char('b'), Key::Char('/'),
            Key::Char('w'), Key::Char('l'), Key::Char('x'),
        ]), 0..16),
        troubled in any::<bool>(),
    ) {
        let status = if troubled { fixtures::troubled() } else { fixtures::crowded() };
        let mut state = console(Size { width, height }, status, 60);
        for key in keys {
            update(&mut state, Event::Key(key));
            let before = state.scroll;
            picture(&state);
            prop_assert_eq!(before, state.scroll);
            let sections = view::sections(&state);
            prop_assert!(state.focus.is_none_or(|focus| sections.contains(&focus)));
        }
    }
}
