//! The pictures in docs/operations/console.md are what the console draws. `UPDATE_EXPECT=1` writes
//! them anew.

use agent_api::status::NodeStatus;
use expect_test::expect_file;

use crate::draw::tests::{SMALL, console, picture, press};
use crate::fixtures;
use crate::pages::{PAPER, page};
use crate::screen::Screen;
use crate::state::{Event, Key};
use crate::update::update;

/// The captures beside those of the screens.
const MORE: [&str; 8] = ["retiring", "dialog", "plain", "steps", "form", "trial", "claim", "reset"];

const MARK: &str = "<!-- capture: ";

fn after(status: NodeStatus, keys: &str) -> String {
    let mut state = console(SMALL, status, 40);
    press(&mut state, keys);
    picture(&state)
}

fn capture(name: &str) -> String {
    match name {
        "status" => after(fixtures::normal(), "1"),
        "network" => after(fixtures::normal(), "2"),
        "disks" => {
            let mut status = fixtures::normal();
            status.slots =
                (0..4).map(|disk| fixtures::slot(disk, &format!("Slot {disk}"))).collect();
            let mut state = console(SMALL, status, 0);
            press(&mut state, "3");
            update(&mut state, Event::Key(Key::Down));
            update(&mut state, Event::Key(Key::Down));
            picture(&state)
        }
        "retiring" => {
            let mut state = console(SMALL, fixtures::retiring(), 0);
            update(&mut state, Event::Pool(Box::new(fixtures::pool_retiring())));
            press(&mut state, "3");
            update(&mut state, Event::Key(Key::Down));
            picture(&state)
        }
        "identity" => after(fixtures::normal(), "4"),
        "logs" => after(fixtures::normal(), "5w"),
        "dialog" => after(fixtures::normal(), "3t0000"),
        "steps" => after(fixtures::fresh(), "3"),
        "form" => after(fixtures::fresh(), "s\n\n192.0.2.10/24\n192.0.2.1\n100"),
        "trial" => after(fixtures::on_trial(), "2"),
        "claim" => after(fixtures::fresh(), "3c0000"),
        "reset" => after(fixtures::normal(), "5f"),
        "plain" => page(&mut console(PAPER, fixtures::normal(), 0), Screen::Status),
        other => panic!("no capture is called {other:?}"),
    }
}

/// The manual with each picture as it is now.
fn renewed(manual: &str) -> String {
    let mut lines = manual.lines();
    let mut text = String::new();
    while let Some(line) = lines.next() {
        text.push_str(line);
        text.push('\n');
        let Some(rest) = line.strip_prefix(MARK) else { continue };
        let name = rest.strip_suffix(" -->").expect("a mark has an end");
        assert_eq!(lines.next(), Some("```text"), "a block below the mark of {name}");
        lines.find(|line| *line == "```").expect("the block has an end");
        text.push_str(&format!("```text\n{}```\n", capture(name)));
    }
    text
}

#[test]
fn the_manual_shows_what_the_console_draws() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations/console.md");
    let manual = std::fs::read_to_string(path).expect("the manual");
    let all = Screen::ALL.map(|screen| screen.name().to_lowercase());
    for name in all.iter().map(String::as_str).chain(MORE) {
        assert!(manual.contains(&format!("{MARK}{name} -->\n")), "no capture of {name}");
    }
    expect_file![path].assert_eq(&renewed(&manual));
}
