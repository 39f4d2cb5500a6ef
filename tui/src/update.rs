//! How events change what the console shows. Pure.

mod sheets;
mod steps;

use std::time::Duration;

use agent_api::control::Secret;
use agent_api::disks::HandClaimState;
use agent_api::status::{ConsoleChanges, Credentials};

use crate::action::{Action, Came};
use crate::dialog::{Confirm, Dialog, Guarded, Opened, Outcome};
use crate::screen::{Screen, Section};
use crate::sheet::{Sheet, Support};
use crate::shelf;
use crate::state::{Command, Contact, Event, Filter, Key, Level, Notice, Pace, SecretShown, State};
use crate::view;

/// How often the whole picture is sent again though nothing changed. A serial line loses bytes,
/// and whoever plugs in a terminal late must not stare at a blank one: 2 to 3 kB take 0.25 s at
/// 115200 baud.
const REPAINT_EVERY: Duration = Duration::from_secs(10);

/// After this long without a key the next key may come from another terminal than the last.
pub(crate) const TERMINAL_FORGOTTEN_AFTER: Duration = Duration::from_secs(30);

/// After this long without a key whoever pressed the last has gone: what he opened is closed.
const GONE_AFTER: Duration = Duration::from_secs(120);

/// How long a secret stays on the screen: long enough to copy 40 characters by hand.
const SECRET_SHOWN_FOR: Duration = Duration::from_secs(60);

/// How long a message stays: long enough to read two lines twice.
const NOTICE_SHOWN_FOR: Duration = Duration::from_secs(15);

/// What is said where the configuration leaves open whether there is a PIN.
pub(crate) const LOCKED: &str = "nothing can be changed here: node.toml has a mistake that leaves open \
                                 whether there is a PIN; correct it on the stick";

/// Takes in an event and says what to do.
pub(crate) fn update(state: &mut State, event: Event) -> Vec<Command> {
    let mut commands = take_in(state, event);
    let pace = pace(state);
    if pace != state.pace {
        state.pace = pace;
        commands.push(Command::Pace(pace));
    }
    commands
}

/// An answering node that nobody has touched for a while is asked less often, as it is most of its life. Other screens
/// than Status show what goes on, and are left by themselves; so do the first steps, and seconds that run out are shown
/// one by one.
fn pace(state: &State) -> Pace {
    let is_touched = state
        .last_key
        .is_some_and(|last| state.now.saturating_sub(last) < TERMINAL_FORGOTTEN_AFTER);
    let is_at_rest = state.screen == Screen::Status && !state.steps.is_open && !counts_down(state);
    if state.contact == Contact::Answering && is_at_rest && !is_touched {
        Pace::Calm
    } else {
        Pace::Quick
    }
}

/// Whether the node counts seconds until it does something: a change of the network is tried, or a claim waits.
fn counts_down(state: &State) -> bool {
    let reports = state.status.iter().filter_map(|status| status.disks.as_ref());
    let mut claims = reports.flat_map(|report| &report.claims);
    let waits = claims.any(|claim| matches!(claim.state, HandClaimState::Waiting { .. }));
    state.trial().is_some() || waits
}

fn take_in(state: &mut State, event: Event) -> Vec<Command> {
    match event {
        Event::Tick(now) => return tick(state, now),
        Event::Key(key) => return press(state, key),
        Event::Resized(size) => {
            state.size = size;
            clamp_scroll(state);
            return vec![Command::Repaint];
        }
        Event::Status(status) => {
            state.contact = Contact::Answering;
            state.steps.look(&status);
            state.status = Some(status);
            clamp_scroll(state);
        }
        Event::Health(report) => {
            state.health = Some(report);
            clamp_scroll(state);
        }
        Event::Pool(status) => {
            state.pool = Some(status);
            clamp_scroll(state);
        }
        Event::Log(lines) => {
            // A reader who scrolled back keeps what is being read in place.
            if state.focus == Some(Section::Log) && state.scroll > 0 {
                state.scroll += view::log_growth(state, &lines);
            }
            state.log = lines;
            clamp_scroll(state);
        }
        Event::Silent(reason) => {
            let since = match state.contact {
                Contact::Silent { since, .. } => since,
                _ => state.now,
            };
            state.contact = Contact::Silent { since, reason };
        }
        Event::Secret(answer) => {
            // Whoever asked may have left the screen meanwhile.
            if state.screen == Screen::Status {
                let until = state.now + SECRET_SHOWN_FOR;
                state.secret = match answer {
                    Ok(secret) => SecretShown::Until(until, secret),
                    Err(reason) => SecretShown::Refused(until, reason),
                };
            }
        }
        Event::Done(action, outcome) => {
            if !sheets::show(state, &action, &outcome) {
                done(state, &action, outcome);
            }
        }
        Event::PinChecked(outcome) => {
            let mut commands = pin_checked(state, outcome);
            commands.push(Command::Draw);
            return commands;
        }
    }
    vec![Command::Draw]
}

fn tick(state: &mut State, now: Duration) -> Vec<Command> {
    state.now = now;
    if state.last_key.is_some_and(|last| now.saturating_sub(last) >= GONE_AFTER) {
        state.last_key = None;
        return go_home(state);
    }
    if let SecretShown::Until(end, _) | SecretShown::Refused(end, _) = &state.secret
        && *end <= now
    {
        state.secret = SecretShown::Hidden;
        return vec![Command::Draw];
    }
    if let Some(Sheet::Words { until, .. }) = &state.sheet
        && *until <= now
    {
        state.sheet = None;
        return vec![Command::Draw];
    }
    if state.notice.as_ref().is_some_and(|notice| notice.until <= now) {
        state.notice = None;
        return vec![Command::Draw];
    }
    if now.saturating_sub(state.last_repaint) >= REPAINT_EVERY {
        state.last_repaint = now;
        return vec![Command::Repaint];
    }
    // Whatever else is shown changes with what the agent answers.
    let is_counting = state.silence().is_some()
        || state.secret != SecretShown::Hidden
        || matches!(
            &state.sheet,
            Some(Sheet::Words { .. } | Sheet::Support(Support::Writing { .. }))
        );
    if is_counting && now.saturating_sub(state.last_draw) >= Duration::from_secs(1) {
        state.last_draw = now;
        return vec![Command::Draw];
    }
    Vec::new()
}

/// As a console that has just started: what a person opened is closed, and no secret stands there.
fn go_home(state: &mut State) -> Vec<Command> {
    state.dialog = None;
    state.sheet = None;
    state.steps.is_open = false;
    state.is_unlocked = false;
    state.guarded = None;
    state.notice = None;
    state.filter = Filter::default();
    state.selected = None;
    show(state, Screen::Status)
}

fn press(state: &mut State, key: Key) -> Vec<Command> {
    let other_terminal = state
        .last_key
        .is_none_or(|last| state.now.saturating_sub(last) >= TERMINAL_FORGOTTEN_AFTER);
    state.last_key = Some(state.now);
    let mut commands = match (key, state.dialog.take()) {
        (Key::Quit, _) => return vec![Command::Quit],
        (Key::Repaint, dialog) => {
            state.dialog = dialog;
            return vec![Command::Measure];
        }
        (key, Some(dialog)) => answer(state, dialog.press(key)),
        (key, None) => press_below(state, key),
    };
    commands.push(if other_terminal { Command::Measure } else { Command::Draw });
    commands
}

fn answer(state: &mut State, outcome: Outcome) -> Vec<Command> {
    match outcome {
        Outcome::Open(dialog) => state.dialog = Some(dialog),
        Outcome::Dropped => {}
        Outcome::Do(action) => return act(state, action),
        Outcome::Check(pin, then) => {
            state.guarded = Some(then);
            tell(state, false, "The PIN is checked ...".to_owned());
            return vec![Command::CheckPin(pin)];
        }
        Outcome::Find(text) => {
            state.filter.text = text;
            focus(state, None);
        }
    }
    Vec::new()
}

/// Takes in a key that is for no dialog: it is for a sheet, else for a change of the network that is tried,
/// else for the first steps, else for the screen.
fn press_below(state: &mut State, key: Key) -> Vec<Command> {
    let takes_text = state.sheet.as_ref().is_some_and(Sheet::takes_text);
    if state.trial().is_some() && !takes_text {
        match key {
            Key::Char('y' | 'Y') => return guarded(state, Guarded::Act(Action::ConfirmNetwork)),
            Key::Char('n' | 'N') => return guarded(state, Guarded::Act(Action::RevertNetwork)),
            _ => {}
        }
    }
    match state.sheet.take() {
        Some(sheet) => sheets::press(state, sheet, key),
        None if state.steps.is_open => steps::press(state, key),
        None => press_on_screen(state, key),
    }
}

fn press_on_screen(state: &mut State, key: Key) -> Vec<Command> {
    match key {
        Key::Function(number) => return go(state, number),
        Key::Left => return show(state, state.screen.previous()),
        Key::Right => return show(state, state.screen.next()),
        Key::Next => move_focus(state, Direction::Forward),
        Key::Previous => move_focus(state, Direction::Back),
        Key::Escape => {
            state.notice = None;
            focus(state, None);
        }
        Key::Up | Key::Down | Key::PageUp | Key::PageDown | Key::Top | Key::Bottom => {
            travel(state, key);
        }
        Key::Char(letter) => return press_letter(state, letter.to_ascii_lowercase()),
        _ => {}
    }
    Vec::new()
}

fn press_letter(state: &mut State, letter: char) -> Vec<Command> {
    match (state.screen, letter) {
        (_, '1'..='9') => {
            let number = letter.to_digit(10).and_then(|number| u8::try_from(number).ok());
            return number.map_or_else(Vec::new, |number| go(state, number));
        }
        (_, 'r') => return vec![Command::Measure],
        (Screen::Status, 's') => match state.secret {
            SecretShown::Hidden if has_secret(state) => return guarded(state, Guarded::Secret),
            SecretShown::Hidden => {}
            _ => state.secret = SecretShown::Hidden,
        },
        (Screen::Status, 'f') if !is_set_up(state) => return steps::open(state),
        (Screen::Network, 'e') => return guarded(state, Guarded::Open(Opened::Network)),
        (Screen::Network, 't') => state.sheet = Some(Sheet::test()),
        (Screen::Network, 'd') => return guarded(state, Guarded::Ask(Confirm::reset_network())),
        (Screen::Identity, 'w') => return guarded(state, Guarded::Ask(Confirm::recovery_words())),
        (Screen::Identity, 'p') => return guarded(state, Guarded::Open(Opened::Pin)),
        (Screen::Disks, 'c') => return sheets::claim(state),
        (Screen::Disks, 'u') => return sheets::undo(state),
        (Screen::Disks, 'l') => return locate(state),
        (Screen::Disks, 't') => return retire(state),
        (Screen::Disks, 'k') => return keep(state),
        (Screen::Logs, '/') => state.dialog = Some(Dialog::Search(state.filter.text.clone())),
        (Screen::Logs, 'w') => {
            state.filter.level = match state.filter.level {
                Level::All => Level::Warnings,
                Level::Warnings => Level::Errors,
                Level::Errors => Level::All,
            };
            focus(state, None);
        }
        (Screen::Logs, 's') => return sheets::support(state),
        (Screen::Logs, 'i') => return sheets::read(state, Action::Inventory),
        (Screen::Logs, 'f') => return sheets::reset(state),
        (Screen::Logs, 'b') => return guarded(state, Guarded::Ask(Confirm::reboot())),
        (Screen::Logs, 'o') => return guarded(state, Guarded::Ask(Confirm::power_off())),
        _ => {}
    }
    Vec::new()
}

/// Whether the node has a secret key of its own to show.
pub(crate) fn has_secret(state: &State) -> bool {
    let credentials = state.status.as_ref().map(|status| &status.s3.credentials);
    matches!(credentials, Some(Credentials::FirstUser { .. }))
}

/// Whether the first steps are done, or nothing is known of the node.
pub(crate) fn is_set_up(state: &State) -> bool {
    state.status.as_ref().is_none_or(|status| status.set_up || status.system.is_none())
}

fn go(state: &mut State, number: u8) -> Vec<Command> {
    Screen::of_number(number).map_or_else(Vec::new, |screen| show(state, screen))
}

/// Shows a screen; one that is shown already stays as it is.
fn show(state: &mut State, screen: Screen) -> Vec<Command> {
    if state.screen == screen && screen != Screen::Status {
        return Vec::new();
    }
    state.screen = screen;
    state.secret = SecretShown::Hidden;
    focus(state, None);
    vec![Command::Look(screen), Command::Draw]
}

fn locate(state: &mut State) -> Vec<Command> {
    let rows = shelf::rows(state);
    let Some(row) = shelf::selected(&rows, state) else { return Vec::new() };
    let (called, id) = (row.called(), row.id.map(str::to_owned));
    match id {
        Some(disk) if row.disk.is_some() => {
            let on = !state.lit.contains(&disk);
            act(state, Action::Locate { disk, called, on })
        }
        _ => tell(state, true, format!("{called} is not there or has no lasting name")),
    }
}

fn retire(state: &mut State) -> Vec<Command> {
    let rows = shelf::rows(state);
    let Some(row) = shelf::selected(&rows, state) else { return Vec::new() };
    let question = if row.is_in_use() { Confirm::retire(row) } else { None };
    let called = row.called();
    match question {
        Some(confirm) => guarded(state, Guarded::Ask(confirm)),
        None => tell(state, true, format!("{called} is not in use: there is nothing to retire")),
    }
}

fn keep(state: &mut State) -> Vec<Command> {
    let rows = shelf::rows(state);
    let Some(row) = shelf::selected(&rows, state) else { return Vec::new() };
    let (called, volume) = (row.called(), row.volume_id().map(str::to_owned));
    match volume {
        Some(volume) if row.is_retiring() => {
            guarded(state, Guarded::Act(Action::Keep { volume, called }))
        }
        _ => tell(state, true, format!("{called} is not being retired")),
    }
}

/// Goes on with what the PIN guards, where there is none or it was entered; else asks for it.
fn guarded(state: &mut State, what: Guarded) -> Vec<Command> {
    // While nothing is known of the node, neither is whether it has a PIN.
    let Some(changes) = state.status.as_ref().map(|status| status.console) else {
        return tell(state, true, "Wait for the node: nothing is known of it yet.".to_owned());
    };
    match changes {
        ConsoleChanges::Anybody => go_on(state, what),
        ConsoleChanges::Pin if state.is_unlocked => go_on(state, what),
        ConsoleChanges::Pin => {
            state.dialog = Some(Dialog::Pin { typed: Secret::new(String::new()), then: what });
            Vec::new()
        }
        ConsoleChanges::Nobody => tell(state, true, LOCKED.to_owned()),
    }
}

fn go_on(state: &mut State, what: Guarded) -> Vec<Command> {
    match what {
        Guarded::Secret => vec![Command::AskSecret],
        Guarded::Ask(confirm) => {
            state.dialog = Some(Dialog::Confirm(confirm));
            Vec::new()
        }
        Guarded::Act(action) => act(state, action),
        Guarded::Open(what) => sheets::open(state, what),
    }
}

fn pin_checked(state: &mut State, outcome: Result<(), String>) -> Vec<Command> {
    // Whoever typed it may have gone meanwhile.
    let Some(what) = state.guarded.take() else { return Vec::new() };
    match outcome {
        Ok(()) => {
            state.is_unlocked = true;
            state.notice = None;
            go_on(state, what)
        }
        Err(reason) => tell(state, true, reason),
    }
}

/// Has something done, and says so until the answer is there.
fn act(state: &mut State, action: Action) -> Vec<Command> {
    sheets::begun(state, &action);
    tell(state, false, format!("{} ...", action.title()));
    vec![Command::Act(action)]
}

fn done(state: &mut State, action: &Action, outcome: Result<Came, String>) {
    match outcome {
        Ok(Came::Support(written)) => {
            let text = format!("the support bundle {} is on {}", written.file, written.device);
            tell(state, false, text);
        }
        Ok(_) => {
            if let Action::Locate { disk, on, .. } = action {
                if *on {
                    state.lit.insert(disk.clone());
                } else {
                    state.lit.remove(disk);
                }
            }
            match action {
                // Whoever has just typed it twice is not asked for it until he goes, or the steps end.
                Action::SetPin { .. } => state.is_unlocked = true,
                Action::FinishSetUp => (state.steps.is_open, state.is_unlocked) = (false, false),
                _ => {}
            }
            tell(state, false, action.done());
        }
        Err(reason) => {
            tell(state, true, format!("{}: {reason}", action.title()));
        }
    }
}

fn tell(state: &mut State, is_bad: bool, text: String) -> Vec<Command> {
    state.notice = Some(Notice { until: state.now + NOTICE_SHOWN_FOR, is_bad, text });
    Vec::new()
}

enum Direction {
    Forward,
    Back,
}

/// Moves the focus in the circle of no section and the sections that there are.
fn move_focus(state: &mut State, direction: Direction) {
    let stops: Vec<Option<Section>> =
        std::iter::once(None).chain(view::sections(state).into_iter().map(Some)).collect();
    let now = stops.iter().position(|stop| *stop == state.focus).unwrap_or(0);
    let steps = match direction {
        Direction::Forward => 1,
        Direction::Back => stops.len() - 1,
    };
    focus(state, stops.get((now + steps) % stops.len()).copied().flatten());
}

fn focus(state: &mut State, section: Option<Section>) {
    state.focus = section;
    state.scroll = 0;
}

/// Scrolls, or in the list of disks selects.
fn travel(state: &mut State, key: Key) {
    let section = state.focus.unwrap_or(state.screen.main_section());
    if section == Section::Disks {
        return select(state, key);
    }
    state.focus = Some(section);
    let (rows, furthest) = view::focused_extent(state);
    let page = rows.saturating_sub(1).max(1);
    // The log is counted from its end, where the newest line is.
    let from_end = section == Section::Log;
    let forward = |by: usize| (state.scroll + by).min(furthest);
    let back = |by: usize| state.scroll.saturating_sub(by);
    state.scroll = match (key, from_end) {
        (Key::Down, false) | (Key::Up, true) => forward(1),
        (Key::Up, false) | (Key::Down, true) => back(1),
        (Key::PageDown, false) | (Key::PageUp, true) => forward(page),
        (Key::PageUp, false) | (Key::PageDown, true) => back(page),
        (Key::Bottom, false) | (Key::Top, true) => furthest,
        _ => 0,
    };
}

fn select(state: &mut State, key: Key) {
    let page = view::rows_of(state, Section::Disks).saturating_sub(1).max(1);
    let rows = shelf::rows(state);
    let now = shelf::selected_index(&rows, state);
    let last = rows.len().saturating_sub(1);
    let next = match key {
        Key::Down => now + 1,
        Key::Up => now.saturating_sub(1),
        Key::PageDown => now + page,
        Key::PageUp => now.saturating_sub(page),
        Key::Bottom => last,
        _ => 0,
    };
    let key = rows.get(next.min(last)).map(|row| row.key.clone());
    state.selected = key;
}

fn clamp_scroll(state: &mut State) {
    if state.focus.is_some_and(|section| !view::sections(state).contains(&section)) {
        focus(state, None);
    }
    if state.scroll > 0 {
        state.scroll = state.scroll.min(view::focused_extent(state).1);
    }
}

#[cfg(test)]
#[path = "update_tests.rs"]
mod tests;
