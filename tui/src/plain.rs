//! The console on a line that is logged or whose terminal cannot place its cursor: the status as text
//! each minute, and commands by the line, which are those of icnctl.

mod line;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use agent_api::client::{AgentClient, RequestError};
use agent_api::control::Secret;
use agent_api::status::ConsoleChanges;
use anyhow::{Context, Result};

use crate::action::{Action, Came};
use crate::ctl::{Answer, Command, Step, prepare, question};
use crate::dialog::Confirm;
use crate::poller::{ACTION_TIMEOUT, TIMEOUT};
use crate::state::Size;
use crate::terminal::Terminal;
use crate::text::wrap;
use crate::update::{LOCKED, TERMINAL_FORGOTTEN_AFTER};
use line::{Edited, Editor, Wish};

/// How often the status is told.
const EVERY: Duration = Duration::from_secs(60);

/// How soon a status that could not be had is asked for again: the agent starts beside the console.
const AGAIN: Duration = Duration::from_secs(10);

/// How long a key is waited for before it is looked whether the console is to end.
const STEP: Duration = Duration::from_secs(1);

/// After this long without a key whoever typed the last has gone: what he began is dropped.
const GONE_AFTER: Duration = Duration::from_secs(120);

/// What stands before a command.
const PROMPT: &str = "icn> ";

/// The numbers that can be typed.
const NUMBERS: &str = "\n1 status  2 network  3 disks  4 identity  5 log  6 health  7 pool  8 restart  \
                       9 power off  s secret key\n";

/// Columns of the menu.
const MENU_WIDTH: usize = 78;

/// What can be typed: numbers, and the commands of icnctl that have none.
fn menu() -> String {
    let words = format!("or: {}; help tells more. Then Enter.", line::words().join(" "));
    let lines = wrap(&words, MENU_WIDTH).into_iter().map(|line| line + "\n");
    NUMBERS.to_owned() + &lines.collect::<String>()
}

/// How long the line stays plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To the end.
    Lasting,
    /// Until the terminal says how large it is, which it is asked when somebody types.
    UntilAnswered,
}

/// Serves the line until it ends; gives the size of a terminal that has said it.
///
/// # Errors
/// The terminal is gone.
pub(crate) fn run(
    socket: &Path,
    terminal: &mut Terminal,
    leave: &AtomicBool,
    kind: Kind,
) -> Result<Option<Size>> {
    terminal.wipe().context("cannot write to the terminal")?;
    let socket = socket.to_owned();
    let mut session = Session {
        socket,
        editor: Editor::default(),
        asked: None,
        is_unlocked: false,
        typed_at: None,
        told_at: None,
        tried_at: None,
    };
    loop {
        if leave.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let text = session.minute();
        say(terminal, &text)?;
        let key = match terminal.wait_for_key(STEP) {
            // The end of a pipe is no failure; that of a terminal is.
            Err(error)
                if error.kind() == io::ErrorKind::UnexpectedEof && !terminal.is_terminal() =>
            {
                return Ok(None);
            }
            key => key.context("cannot read from the terminal")?,
        };
        let Some(key) = key else { continue };
        let is_new = session.typed_at.is_none_or(|at| at.elapsed() >= TERMINAL_FORGOTTEN_AFTER);
        session.typed_at = Some(Instant::now());
        if kind == Kind::UntilAnswered && is_new {
            let size = terminal.measure().context("cannot read from the terminal")?;
            if size.is_some() {
                return Ok(size);
            }
        }
        match session.editor.press(key) {
            Edited::Echo(text) if terminal.is_terminal() && !session.hides_keys() => {
                say(terminal, &text)?;
            }
            Edited::Echo(_) => {}
            Edited::Quit => return Ok(None),
            Edited::Line(line) => {
                // It may be a PIN.
                let line = Secret::new(line);
                let newline = if terminal.is_terminal() { "\n" } else { "" };
                say(terminal, newline)?;
                let text = session.line(line.reveal());
                say(terminal, &text)?;
            }
        }
    }
}

fn say(terminal: &mut Terminal, text: &str) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    terminal.say(text).context("cannot write to the terminal")
}

/// Has something done, and tells what came of it.
fn act(action: &Action, agent: &mut AgentClient) -> String {
    match action.carry_out(agent) {
        Ok(Came::Text(text)) => text,
        Ok(_) => format!("{}\n", action.done()),
        Err(error) => format!("{error}\n"),
    }
}

/// A question that the next line answers.
enum Asked {
    /// With a word.
    Word(Confirm),
    /// With the PIN, before this command.
    Pin(Command),
}

/// What a line knows.
struct Session {
    socket: PathBuf,
    editor: Editor,
    /// What waits for an answer.
    asked: Option<Asked>,
    /// Whether the PIN was entered and nobody has left since.
    is_unlocked: bool,
    /// When the last key came.
    typed_at: Option<Instant>,
    /// When the status was told last, or why there is none.
    told_at: Option<Instant>,
    /// When the status was asked for last and there was none.
    tried_at: Option<Instant>,
}

impl Session {
    /// The status, when it is time for it and nobody types.
    fn minute(&mut self) -> String {
        if self.typed_at.is_some_and(|at| at.elapsed() >= GONE_AFTER) {
            self.typed_at = None;
            self.asked = None;
            self.is_unlocked = false;
            self.editor = Editor::default();
        }
        let is_busy = self.asked.is_some() || !self.editor.is_empty();
        let within = |at: Option<Instant>, time| at.is_some_and(|at| at.elapsed() < time);
        let was_told = within(self.told_at, EVERY);
        let is_due = match self.tried_at {
            Some(_) => !within(self.tried_at, AGAIN),
            None => !was_told,
        };
        if is_busy || !is_due {
            return String::new();
        }
        match prepare(&Command::Status, &mut AgentClient::new(&self.socket, TIMEOUT)) {
            Ok(Step::Show(Answer { text, .. })) => {
                (self.told_at, self.tried_at) = (Some(Instant::now()), None);
                format!("\n{text}{}{PROMPT}", menu())
            }
            Ok(Step::Do(_) | Step::Run(_) | Step::Ask(_)) => String::new(),
            Err(error) => {
                self.tried_at = Some(Instant::now());
                if was_told {
                    return String::new();
                }
                self.told_at = self.tried_at;
                format!("\n{error:#}\n{}{PROMPT}", menu())
            }
        }
    }

    /// What comes of a line.
    fn line(&mut self, line: &str) -> String {
        let text = match self.asked.take() {
            Some(Asked::Word(confirm)) => self.confirm(&confirm, line),
            Some(Asked::Pin(_)) if line.trim().is_empty() => "Nothing was done.\n".to_owned(),
            Some(Asked::Pin(command)) => self.check_pin(line, &command),
            None => return self.command(line),
        };
        let prompt = if self.asked.is_some() { "" } else { PROMPT };
        format!("{text}{prompt}")
    }

    fn command(&mut self, line: &str) -> String {
        match line::wish(line) {
            Wish::Nothing => PROMPT.to_owned(),
            Wish::Menu => format!("{}{PROMPT}", menu()),
            Wish::Wrong(text) => format!("{text}{PROMPT}"),
            Wish::Command(command) => {
                let text = self.guarded(&command);
                let prompt = if self.asked.is_some() { "" } else { PROMPT };
                format!("{text}{prompt}")
            }
        }
    }

    /// Whether what is typed now is not to be seen.
    fn hides_keys(&self) -> bool {
        matches!(self.asked, Some(Asked::Pin(_)))
    }

    /// Does a command, after the PIN where that guards it.
    fn guarded(&mut self, command: &Command) -> String {
        if !command.is_guarded() || self.is_unlocked {
            return self.carry_out(command);
        }
        match self.agent().status().map(|status| status.console) {
            Ok(ConsoleChanges::Anybody) => self.carry_out(command),
            Ok(ConsoleChanges::Pin) => {
                self.asked = Some(Asked::Pin(command.clone()));
                "PIN: ".to_owned()
            }
            Ok(ConsoleChanges::Nobody) => format!("{LOCKED}\n"),
            Err(error) => format!("{error}\n"),
        }
    }

    fn check_pin(&mut self, typed: &str, command: &Command) -> String {
        match self.agent().check_pin(Secret::new(typed.trim().to_owned())) {
            Ok(()) => {
                self.is_unlocked = true;
                self.carry_out(command)
            }
            // Asked for again at once: what is typed next is most likely a PIN, and not to be seen.
            Err(error @ RequestError::Refused { .. }) => {
                self.asked = Some(Asked::Pin(command.clone()));
                format!("{error}\nPIN (an empty line gives up): ")
            }
            Err(error) => format!("{error}\n"),
        }
    }

    fn confirm(&mut self, confirm: &Confirm, typed: &str) -> String {
        if !confirm.accepts(typed) {
            return "That was another word. Nothing was done.\n".to_owned();
        }
        act(&confirm.action, &mut self.agent())
    }

    /// A connection of its own for each command: the agent closes one that rests for a minute.
    fn agent(&self) -> AgentClient {
        AgentClient::new(&self.socket, ACTION_TIMEOUT)
    }

    fn carry_out(&mut self, command: &Command) -> String {
        let mut agent = self.agent();
        match prepare(command, &mut agent) {
            Ok(Step::Show(Answer { text, .. })) => text,
            Ok(Step::Do(action)) => act(&action, &mut agent),
            Ok(Step::Run(work)) => match work(&mut agent) {
                Ok(Answer { text, .. }) => text,
                Err(error) => format!("{error:#}\n"),
            },
            Ok(Step::Ask(confirm)) => {
                let text = question(&confirm);
                self.asked = Some(Asked::Word(confirm));
                text
            }
            Err(error) => format!("{error:#}\n"),
        }
    }
}
