//! Keys in the first steps.

use super::{guarded, select, sheets, show};
use crate::action::Action;
use crate::dialog::{Guarded, Opened};
use crate::screen::Screen;
use crate::sheet::Sheet;
use crate::state::{Command, Key, State};
use crate::steps::Step;

/// Shows the first steps where they were left.
pub(super) fn open(state: &mut State) -> Vec<Command> {
    state.steps.open();
    look(state)
}

/// The verdicts on disks are asked for where they are shown.
fn look(state: &State) -> Vec<Command> {
    vec![Command::Look(match state.steps.at {
        Step::Disks => Screen::Disks,
        _ => Screen::Status,
    })]
}

/// Takes in a key while the first steps are shown.
pub(super) fn press(state: &mut State, key: Key) -> Vec<Command> {
    let before = state.steps.at;
    let mut commands = step(state, key);
    if state.steps.is_open && state.steps.at != before {
        commands.extend(look(state));
    }
    commands
}

fn step(state: &mut State, key: Key) -> Vec<Command> {
    match (state.steps.at, key) {
        (_, Key::Escape | Key::Char('k' | 'K')) => {
            state.steps.is_open = false;
            return show(state, Screen::Status);
        }
        (Step::Summary, Key::Enter) => return guarded(state, Guarded::Act(Action::FinishSetUp)),
        (_, Key::Enter | Key::Right) => {
            state.steps.forward();
        }
        (_, Key::Left) => state.steps.back(),
        (_, Key::Char(number @ '1'..='5')) => {
            let number = number.to_digit(10).and_then(|number| u8::try_from(number).ok());
            go(state, number);
        }
        (_, Key::Function(number)) => go(state, Some(number)),
        (
            Step::Disks,
            Key::Up | Key::Down | Key::PageUp | Key::PageDown | Key::Top | Key::Bottom,
        ) => {
            select(state, key);
        }
        (at, Key::Char(letter)) => return press_letter(state, at, letter.to_ascii_lowercase()),
        _ => {}
    }
    Vec::new()
}

fn press_letter(state: &mut State, at: Step, letter: char) -> Vec<Command> {
    match (at, letter) {
        (_, 'r') => vec![Command::Measure],
        (Step::Network, 's') => guarded(state, Guarded::Open(Opened::StaticAddress)),
        (Step::Network, 't') => {
            state.sheet = Some(Sheet::test());
            Vec::new()
        }
        (Step::Disks, 'c') => sheets::claim(state),
        (Step::Disks, 'u') => sheets::undo(state),
        (Step::Pin, 'p') => guarded(state, Guarded::Open(Opened::Pin)),
        _ => Vec::new(),
    }
}

fn go(state: &mut State, number: Option<u8>) {
    if let Some(step) = number.and_then(Step::of_number) {
        state.steps.at = step;
    }
}
