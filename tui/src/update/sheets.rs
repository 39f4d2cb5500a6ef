//! Keys in what takes the place of a screen, and the answers that are shown there.

use super::{act, guarded, tell};
use crate::action::{Action, Came};
use crate::dialog::{Confirm, Guarded, Opened};
use crate::network::NetworkForm;
use crate::screen::Screen;
use crate::sheet::{Scroll, Sheet, Support, Turned, WORDS_SHOWN_FOR};
use crate::shelf;
use crate::state::{Command, Key, State};
use crate::view;

/// Takes in a key while a sheet is open.
pub(super) fn press(state: &mut State, mut sheet: Sheet, key: Key) -> Vec<Command> {
    let node_id = state.status.as_ref().and_then(|status| status.node_id.clone());
    let turned = sheet.press(key, state.system(), node_id.as_deref().unwrap_or_default());
    if let Sheet::Words { until, .. } = &mut sheet {
        *until = state.now + WORDS_SHOWN_FOR;
    }
    match turned {
        Turned::Left => return Vec::new(),
        Turned::Stays => state.sheet = Some(sheet),
        Turned::Do(what) => {
            state.sheet = Some(sheet);
            return guarded(state, what);
        }
        Turned::Ask(action) => {
            state.sheet = Some(Sheet::awaited(&action));
            return vec![Command::Act(action)];
        }
        Turned::Scroll(by) => {
            state.sheet = Some(sheet);
            scroll(state, by);
        }
    }
    Vec::new()
}

fn scroll(state: &mut State, by: Scroll) {
    let (rows, furthest) = view::sheet_extent(state);
    let Some(Sheet::Reader { scroll, .. }) = &mut state.sheet else { return };
    let page = rows.saturating_sub(1).max(1);
    *scroll = match by {
        Scroll::Up => scroll.saturating_sub(1),
        Scroll::Down => *scroll + 1,
        Scroll::PageUp => scroll.saturating_sub(page),
        Scroll::PageDown => *scroll + page,
        Scroll::Top => 0,
        Scroll::Bottom => furthest,
    }
    .min(furthest);
}

/// Opens a form, once whoever wants it may change something.
pub(super) fn open(state: &mut State, what: Opened) -> Vec<Command> {
    let form = |make: fn(&agent_api::init::SystemStatus) -> Option<NetworkForm>| {
        state.system().and_then(make).map(Sheet::Network)
    };
    let sheet = match what {
        Opened::Network => form(NetworkForm::new),
        Opened::StaticAddress => form(NetworkForm::with_static_address),
        Opened::Pin => Some(Sheet::pin()),
    };
    match sheet {
        Some(sheet) => state.sheet = Some(sheet),
        None => {
            return tell(
                state,
                true,
                "how the network is set up now is not known: try again in a moment".to_owned(),
            );
        }
    }
    Vec::new()
}

/// Has something looked up and shown as a text.
pub(super) fn read(state: &mut State, action: Action) -> Vec<Command> {
    state.sheet = Some(Sheet::awaited(&action));
    vec![Command::Act(action)]
}

/// Asks whether a support bundle is to be written.
pub(super) fn support(state: &mut State) -> Vec<Command> {
    match state.status.as_ref().map(|status| status.support_recipients) {
        None => {}
        Some(0) => {
            let text = "no key can open a support bundle of this node, so none is written: name one in \
                        [support] of node.toml";
            return tell(state, true, text.to_owned());
        }
        Some(_) => state.sheet = Some(Sheet::Support(Support::Asked)),
    }
    Vec::new()
}

/// Shows what a factory reset may leave.
pub(super) fn reset(state: &mut State) -> Vec<Command> {
    if state.status.as_ref().is_none_or(|status| status.node_id.is_none()) {
        let text = "the node has no id yet, as no disk is its own: there is nothing to reset";
        return tell(state, true, text.to_owned());
    }
    state.sheet = Some(Sheet::Reset);
    Vec::new()
}

/// Asks before the selected disk is claimed, where it can be.
pub(super) fn claim(state: &mut State) -> Vec<Command> {
    let rows = shelf::rows(state);
    let Some(row) = shelf::selected(&rows, state) else { return Vec::new() };
    let (called, key) = (row.called(), row.key.clone());
    match row.refusal_to_claim() {
        Some(why) => tell(state, true, format!("{called} cannot be claimed: {why}")),
        None => match Confirm::claim(row) {
            Some(confirm) => {
                // Where an enclosure has one, its light shows which disk is meant.
                let slot = row.slot.map(|slot| slot.disk.clone());
                let dark = slot.filter(|disk| !state.lit.contains(disk));
                // It stays the one that u means, wherever it stands by then.
                state.selected = Some(key);
                let mut commands = Vec::new();
                if let Some(disk) = dark {
                    commands = act(state, Action::Locate { disk, called, on: true });
                }
                commands.extend(guarded(state, Guarded::Ask(confirm)));
                commands
            }
            None => {
                let text =
                    format!("{called} gives no serial number, so nobody can name it for sure");
                tell(state, true, text)
            }
        },
    }
}

/// Takes the claim of the selected disk back.
pub(super) fn undo(state: &mut State) -> Vec<Command> {
    let rows = shelf::rows(state);
    let Some(row) = shelf::selected(&rows, state) else { return Vec::new() };
    let called = row.called();
    match row.id.filter(|_| row.can_undo()).map(str::to_owned) {
        Some(disk) => guarded(state, Guarded::Act(Action::UndoClaim { disk, called })),
        None => tell(state, true, format!("no claim of {called} waits")),
    }
}

/// An action is begun: a sheet that shows it says so.
pub(super) fn begun(state: &mut State, action: &Action) {
    if *action == Action::WriteSupport {
        state.sheet = Some(Sheet::Support(Support::Writing { since: state.now }));
    }
}

/// Shows what came of an action in its sheet; false where the person who asked has left that.
pub(super) fn show(state: &mut State, action: &Action, outcome: &Result<Came, String>) -> bool {
    let is_there = state.last_key.is_some();
    match (action, outcome, &mut state.sheet) {
        (Action::TryNetwork { .. }, Ok(_), Some(Sheet::Network(_)))
        | (Action::SetPin { .. } | Action::ClearPin, Ok(_), Some(Sheet::Pin(_)))
        | (Action::FactoryReset { .. }, Ok(_), Some(Sheet::Reset)) => {
            state.sheet = None;
            false
        }
        (Action::RecoveryWords, Ok(Came::Words(words)), _) => {
            // Whoever asked may have left the screen meanwhile.
            if is_there && state.screen == Screen::Identity && state.sheet.is_none() {
                let until = state.now + WORDS_SHOWN_FOR;
                state.sheet = Some(Sheet::Words { words: words.clone(), until });
                state.notice = None;
            }
            true
        }
        (Action::WriteSupport, outcome, Some(Sheet::Support(support))) => {
            *support = match outcome {
                Ok(Came::Support(written)) => Support::Written(written.clone()),
                Ok(_) => return false,
                Err(reason) => Support::Failed(reason.clone()),
            };
            true
        }
        (action, outcome, Some(Sheet::Reader { title, lines, .. }))
            if lines.is_none() && *title == action.title() =>
        {
            *lines = Some(match outcome {
                Ok(Came::Text(text)) => text.lines().map(str::to_owned).collect(),
                Ok(_) => return false,
                Err(reason) => vec![format!("! {reason}")],
            });
            true
        }
        // A text that nobody waits for any more.
        (_, Ok(Came::Text(_)), _) => true,
        _ => false,
    }
}
