//! What the console knows and shows, and how events change it. Pure: no clock, no terminal, no
//! socket.

use std::time::Duration;

use agent_api::control::Secret;
use agent_api::status::NodeStatus;

use crate::view::{self, Section};

/// How often the whole picture is sent again though nothing changed. A serial line loses bytes,
/// and whoever plugs in a terminal late must not stare at a blank one: 2 to 3 kB take 0.25 s at
/// 115200 baud.
pub(crate) const REPAINT_EVERY: Duration = Duration::from_secs(10);

/// After this long without a key the next key may come from another terminal than the last.
const TERMINAL_FORGOTTEN_AFTER: Duration = Duration::from_secs(30);

/// The agent may take so long to answer for the first time: it starts beside the console.
const FIRST_START_TAKES: Duration = Duration::from_secs(10);

/// An agent that answered before may be silent for so long before a word is said.
const RESTART_TAKES: Duration = Duration::from_secs(3);

/// How long a secret stays on the screen: long enough to copy 40 characters by hand.
const SECRET_SHOWN_FOR: Duration = Duration::from_secs(60);

/// Something that happened.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Time went by; carries the time since the console started.
    Tick(Duration),
    /// A key was pressed.
    Key(Key),
    /// The terminal has this size now.
    Resized(Size),
    /// The agent told its status.
    Status(Box<NodeStatus>),
    /// The agent gave the end of the log, newest line last.
    Log(Vec<String>),
    /// The agent gave no status; why, in words.
    Silent(String),
    /// The agent answered the request for the secret key; a refusal in words.
    Secret(Result<Secret, String>),
}

/// The keys that mean something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// Home.
    Top,
    /// End.
    Bottom,
    /// Tab: to the next section.
    Next,
    /// Shift and tab: to the section before.
    Previous,
    /// Escape: back to the overview.
    Overview,
    /// `r`: paint everything again.
    Repaint,
    /// `s`: show or hide the secret key.
    Secret,
    /// Ctrl-C.
    Quit,
    /// Any other.
    Other,
}

/// What is to be done after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// Send what changed on the screen.
    Draw,
    /// Send the whole screen.
    Repaint,
    /// Ask the terminal for its size, then send the whole screen.
    Measure,
    /// Ask the agent for the secret key.
    AskSecret,
    /// Leave.
    Quit,
}

/// The size of a terminal in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// Columns.
    pub(crate) width: u16,
    /// Rows.
    pub(crate) height: u16,
}

/// The terminal that every line has until it says otherwise.
pub(crate) const VT100: Size = Size { width: 80, height: 24 };

/// Which screen is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Screen {
    /// The state of the node.
    Status,
}

/// How the agent does, as seen from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Contact {
    /// No answer yet, and no failure.
    Trying,
    /// The last request was answered.
    Answering,
    /// No answer since then; why, in words.
    Silent {
        /// When the silence was noticed, since the console started.
        since: Duration,
        /// Why.
        reason: String,
    },
}

/// The secret key of the node's own first user on this console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretShown {
    /// Not shown.
    Hidden,
    /// Shown until then.
    Until(Duration, Secret),
    /// It could not be had; why, until then.
    Refused(Duration, String),
}

/// Everything the console knows and shows.
#[derive(Debug, Clone)]
pub(crate) struct State {
    /// Time since the console started.
    pub(crate) now: Duration,
    /// The terminal.
    pub(crate) size: Size,
    /// Which screen is shown.
    pub(crate) screen: Screen,
    /// The newest status, however old.
    pub(crate) status: Option<Box<NodeStatus>>,
    /// The newest end of the log.
    pub(crate) log: Vec<String>,
    /// Whether the agent answers.
    pub(crate) contact: Contact,
    /// The secret key.
    pub(crate) secret: SecretShown,
    /// The section that has the room and the keys; none in the overview.
    pub(crate) focus: Option<Section>,
    /// Lines that the focused section is scrolled by; in the log counted from its end.
    pub(crate) scroll: usize,
    last_key: Option<Duration>,
    last_repaint: Duration,
    last_draw: Duration,
}

impl State {
    /// A console that has just started on a terminal of this size.
    pub(crate) fn new(size: Size) -> Self {
        Self {
            now: Duration::ZERO,
            size,
            screen: Screen::Status,
            status: None,
            log: Vec::new(),
            contact: Contact::Trying,
            secret: SecretShown::Hidden,
            focus: None,
            scroll: 0,
            last_key: None,
            last_repaint: Duration::ZERO,
            last_draw: Duration::ZERO,
        }
    }

    /// How long the agent has not answered and why, once that is worth a word.
    pub(crate) fn silence(&self) -> Option<(Duration, &str)> {
        let Contact::Silent { since, reason } = &self.contact else { return None };
        let silence = self.now.saturating_sub(*since);
        let patience = if self.status.is_some() { RESTART_TAKES } else { FIRST_START_TAKES };
        (silence >= patience).then_some((silence, reason))
    }
}

/// Takes in an event and says what to do.
pub(crate) fn update(state: &mut State, event: Event) -> Vec<Command> {
    match event {
        Event::Tick(now) => tick(state, now),
        Event::Key(key) => press(state, key),
        Event::Resized(size) => {
            state.size = size;
            clamp_scroll(state);
            vec![Command::Repaint]
        }
        Event::Status(status) => {
            state.contact = Contact::Answering;
            state.status = Some(status);
            clamp_scroll(state);
            vec![Command::Draw]
        }
        Event::Log(lines) => {
            // A reader who scrolled back keeps what is being read in place.
            if state.focus == Some(Section::Log) && state.scroll > 0 {
                state.scroll += view::log_growth(state, &lines);
            }
            state.log = lines;
            clamp_scroll(state);
            vec![Command::Draw]
        }
        Event::Silent(reason) => {
            let since = match state.contact {
                Contact::Silent { since, .. } => since,
                _ => state.now,
            };
            state.contact = Contact::Silent { since, reason };
            vec![Command::Draw]
        }
        Event::Secret(answer) => {
            state.secret = match answer {
                Ok(secret) => SecretShown::Until(state.now + SECRET_SHOWN_FOR, secret),
                Err(reason) => SecretShown::Refused(state.now + SECRET_SHOWN_FOR, reason),
            };
            vec![Command::Draw]
        }
    }
}

fn tick(state: &mut State, now: Duration) -> Vec<Command> {
    state.now = now;
    if let SecretShown::Until(end, _) | SecretShown::Refused(end, _) = &state.secret
        && *end <= now
    {
        state.secret = SecretShown::Hidden;
        return vec![Command::Draw];
    }
    if now.saturating_sub(state.last_repaint) >= REPAINT_EVERY {
        state.last_repaint = now;
        return vec![Command::Repaint];
    }
    if now.saturating_sub(state.last_draw) >= Duration::from_secs(1) {
        state.last_draw = now;
        return vec![Command::Draw];
    }
    Vec::new()
}

fn press(state: &mut State, key: Key) -> Vec<Command> {
    let other_terminal = state
        .last_key
        .is_none_or(|last| state.now.saturating_sub(last) >= TERMINAL_FORGOTTEN_AFTER);
    state.last_key = Some(state.now);
    let mut commands = Vec::new();
    match key {
        Key::Quit => return vec![Command::Quit],
        Key::Repaint => return vec![Command::Measure],
        Key::Next => move_focus(state, Direction::Forward),
        Key::Previous => move_focus(state, Direction::Back),
        Key::Overview => focus(state, None),
        Key::Secret => match state.secret {
            SecretShown::Hidden => commands.push(Command::AskSecret),
            _ => state.secret = SecretShown::Hidden,
        },
        Key::Up | Key::Down | Key::PageUp | Key::PageDown | Key::Top | Key::Bottom => {
            scroll(state, key);
        }
        Key::Other => {}
    }
    commands.push(if other_terminal { Command::Measure } else { Command::Draw });
    commands
}

enum Direction {
    Forward,
    Back,
}

/// Moves the focus in the circle of the overview and the sections that there are.
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

fn scroll(state: &mut State, key: Key) {
    if state.focus.is_none() {
        state.focus = Some(Section::Disks);
    }
    let (rows, furthest) = view::focused_extent(state);
    let page = rows.saturating_sub(1).max(1);
    // The log is counted from its end, where the newest line is.
    let from_end = state.focus == Some(Section::Log);
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

fn clamp_scroll(state: &mut State) {
    if state.focus.is_some_and(|section| !view::sections(state).contains(&section)) {
        focus(state, None);
    }
    state.scroll = state.scroll.min(view::focused_extent(state).1);
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
