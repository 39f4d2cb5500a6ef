//! What the console knows and shows. Pure: no clock, no terminal, no socket.

use std::collections::BTreeSet;
use std::time::Duration;

use agent_api::control::Secret;
use agent_api::hardware::HealthReport;
use agent_api::init::SystemStatus;
use agent_api::pool::PoolStatus;
use agent_api::status::NodeStatus;

use crate::action::{Action, Came};
use crate::dialog::{Dialog, Guarded};
use crate::screen::{Screen, Section};
use crate::sheet::Sheet;
use crate::steps::Steps;

/// The agent may take so long to answer for the first time: it starts beside the console.
const FIRST_START_TAKES: Duration = Duration::from_secs(10);

/// An agent that answered before may be silent for so long before a word is said.
const RESTART_TAKES: Duration = Duration::from_secs(3);

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
    /// The agent told how the hardware does.
    Health(Box<HealthReport>),
    /// The agent told how the pool does.
    Pool(Box<PoolStatus>),
    /// The agent gave the end of the log, newest line last.
    Log(Vec<String>),
    /// The agent gave no status; why, in words.
    Silent(String),
    /// The agent answered the request for the secret key; a refusal in words.
    Secret(Result<Secret, String>),
    /// Something was done, or refused in words.
    Done(Action, Result<Came, String>),
    /// The PIN is right, or it is not, or was not checked; why, in words.
    PinChecked(Result<(), String>),
}

/// The keys that mean something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Arrow left: the screen before.
    Left,
    /// Arrow right: the next screen.
    Right,
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
    /// A function key, from 1.
    Function(u8),
    /// Escape: out of a dialog or a section.
    Escape,
    /// Enter.
    Enter,
    /// Backspace.
    Erase,
    /// A printable character of ASCII.
    Char(char),
    /// Ctrl-L: paint everything again.
    Repaint,
    /// Ctrl-C.
    Quit,
    /// Any other.
    Other,
}

/// What is to be done after an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Send what changed on the screen.
    Draw,
    /// Send the whole screen.
    Repaint,
    /// Ask the terminal for its size, then send the whole screen.
    Measure,
    /// Ask the agent for what this screen shows from now on.
    Look(Screen),
    /// Ask the agent so often from now on; where that is more often, at once.
    Pace(Pace),
    /// Ask the agent for the secret key.
    AskSecret,
    /// Have the agent do something.
    Act(Action),
    /// Ask the agent whether this is the PIN.
    CheckPin(Secret),
    /// Leave.
    Quit,
}

/// How often the agent is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Somebody is at the keys, or the agent does not answer.
    Quick,
    /// At most somebody looks.
    Calm,
}

/// The size of a terminal in cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// Columns.
    pub(crate) width: u16,
    /// Rows.
    pub(crate) height: u16,
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

/// Which lines of the log are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Of which level.
    pub(crate) level: Level,
    /// With which text; large and small letters are alike. All where it is empty.
    pub(crate) text: String,
}

/// Which levels of the log are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Level {
    /// All lines.
    #[default]
    All,
    /// Warnings and errors.
    Warnings,
    /// Errors alone.
    Errors,
}

/// A message that goes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// Until when it is shown.
    pub(crate) until: Duration,
    /// Whether it tells of a failure.
    pub(crate) is_bad: bool,
    /// The message.
    pub(crate) text: String,
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
    /// The newest report on the hardware.
    pub(crate) health: Option<Box<HealthReport>>,
    /// The newest state of the pool.
    pub(crate) pool: Option<Box<PoolStatus>>,
    /// The newest end of the log.
    pub(crate) log: Vec<String>,
    /// Whether the agent answers.
    pub(crate) contact: Contact,
    /// The secret key.
    pub(crate) secret: SecretShown,
    /// The section that has the room and the keys; none at first.
    pub(crate) focus: Option<Section>,
    /// Lines that the focused section is scrolled by; in the log counted from its end.
    pub(crate) scroll: usize,
    /// The selected disk, as [`crate::shelf::Row::key`] names it; the first where there is none such.
    pub(crate) selected: Option<String>,
    /// Disks whose locate LED was lit from here and not put out, by lasting names.
    pub(crate) lit: BTreeSet<String>,
    /// Which lines of the log are shown.
    pub(crate) filter: Filter,
    /// A question in the middle of the screen.
    pub(crate) dialog: Option<Dialog>,
    /// What has the place of the screen until it is left.
    pub(crate) sheet: Option<Sheet>,
    /// How far somebody is in the first steps.
    pub(crate) steps: Steps,
    /// Whether the PIN was entered and nobody has left since.
    pub(crate) is_unlocked: bool,
    /// What waits for the answer whether the PIN is right.
    pub(crate) guarded: Option<Guarded>,
    /// A message above the keys.
    pub(crate) notice: Option<Notice>,
    /// How often the agent is asked.
    pub(crate) pace: Pace,
    /// When the last key was pressed, since the console started.
    pub(crate) last_key: Option<Duration>,
    /// When the whole picture was sent last.
    pub(crate) last_repaint: Duration,
    /// When anything was sent last.
    pub(crate) last_draw: Duration,
}

impl State {
    /// A console that has just started on a terminal of this size.
    pub(crate) fn new(size: Size) -> Self {
        Self {
            now: Duration::ZERO,
            size,
            screen: Screen::Status,
            status: None,
            health: None,
            pool: None,
            log: Vec::new(),
            contact: Contact::Trying,
            secret: SecretShown::Hidden,
            focus: None,
            scroll: 0,
            selected: None,
            lit: BTreeSet::new(),
            filter: Filter::default(),
            dialog: None,
            sheet: None,
            steps: Steps::default(),
            is_unlocked: false,
            guarded: None,
            notice: None,
            pace: Pace::Quick,
            last_key: None,
            last_repaint: Duration::ZERO,
            last_draw: Duration::ZERO,
        }
    }

    /// What init says, where it is known.
    pub(crate) fn system(&self) -> Option<&SystemStatus> {
        self.status.as_ref()?.system.as_ref()
    }

    /// For how many seconds more settings of the network are tried, where some are.
    pub(crate) fn trial(&self) -> Option<u32> {
        self.system()?.network.as_ref()?.seconds_left
    }

    /// How long the agent has not answered and why, once that is worth a word.
    pub(crate) fn silence(&self) -> Option<(Duration, &str)> {
        let Contact::Silent { since, reason } = &self.contact else { return None };
        let silence = self.now.saturating_sub(*since);
        let patience = if self.status.is_some() { RESTART_TAKES } else { FIRST_START_TAKES };
        (silence >= patience).then_some((silence, reason))
    }
}
