//! The threads that ask the agent, so that a slow answer never stops the keys.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agent_api::client::{AgentClient, RequestError};
use agent_api::control::Secret;

use crate::action::{Action, Came};
use crate::screen::Screen;
use crate::state::Event;

/// How often the status is asked for.
const EVERY: Duration = Duration::from_secs(1);

/// Log lines that are held to scroll through and to search.
const LOG_LINES: u32 = 500;

/// The agent answers from memory; on a node whose processors are busy that may take a while.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// How long something that is to be done may take until the agent has taken it on: deciding to retire
/// a volume looks at all groups.
pub(crate) const ACTION_TIMEOUT: Duration = Duration::from_secs(60);

/// The same for what is slow by its nature: a support bundle goes to a stick of which some write 2 MB in
/// a second and sync for a minute.
const SLOW_TIMEOUT: Duration = Duration::from_secs(300);

/// What is asked for beside what comes by itself.
#[derive(Debug)]
pub(crate) enum Ask {
    /// The secret key.
    Secret,
    /// What another screen shows.
    Look,
}

/// The screen that is shown, for the thread that asks for what it shows.
#[derive(Debug, Clone)]
pub(crate) struct Watched(Arc<Mutex<Screen>>);

impl Watched {
    /// At first.
    pub(crate) fn new(screen: Screen) -> Self {
        Self(Arc::new(Mutex::new(screen)))
    }

    /// From now on.
    pub(crate) fn set(&self, screen: Screen) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = screen;
    }

    fn get(&self) -> Screen {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Status,
    Health,
    Pool,
    Log,
}

/// What to ask for in a round, which is one [`EVERY`]; none where a screen has just come in sight. What
/// no screen shows is not asked for: most of the time nobody looks.
fn questions(screen: Screen, round: Option<u32>) -> Vec<Question> {
    // The log is ten times longer than a status, the verdicts change over minutes.
    let is_due = |every: u32| round.is_none_or(|round| round.is_multiple_of(every));
    let mut all = Vec::new();
    if round.is_some() {
        all.push(Question::Status);
    }
    if screen == Screen::Disks && is_due(2) {
        all.push(Question::Pool);
    }
    if matches!(screen, Screen::Disks | Screen::Logs) && is_due(5) {
        all.push(Question::Health);
    }
    if screen == Screen::Logs && is_due(2) {
        all.push(Question::Log);
    }
    all
}

/// Asks the agent until nobody listens any more.
pub(crate) fn poll(
    socket: &Path,
    watched: &Watched,
    asked: &Receiver<Ask>,
    news: &SyncSender<Event>,
) {
    let mut agent = AgentClient::new(socket, TIMEOUT);
    for round in 0_u32.. {
        let mut events = answers(&mut agent, &questions(watched.get(), Some(round)));
        let next = Instant::now() + EVERY;
        loop {
            for event in events.drain(..) {
                if news.send(event).is_err() {
                    return;
                }
            }
            match asked.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(Ask::Secret) => {
                    let answer = agent.first_user_secret().map_err(|error| error.to_string());
                    events.push(Event::Secret(answer));
                }
                Ok(Ask::Look) => {
                    events = answers(&mut agent, &questions(watched.get(), None));
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// The answers to all questions; after a silence the others are not asked. An agent that told its status is not
/// silent, though one of the others takes it long.
fn answers(agent: &mut AgentClient, questions: &[Question]) -> Vec<Event> {
    let mut events = Vec::new();
    for question in questions {
        match answer(agent, *question) {
            Ok(event) => events.push(event),
            // An agent that refuses this one question answers the others.
            Err(RequestError::Refused { .. }) => {}
            Err(error) => {
                if *question == Question::Status {
                    events.push(Event::Silent(error.to_string()));
                }
                return events;
            }
        }
    }
    events
}

fn answer(agent: &mut AgentClient, question: Question) -> Result<Event, RequestError> {
    Ok(match question {
        Question::Status => Event::Status(Box::new(agent.status()?)),
        Question::Health => Event::Health(Box::new(agent.health()?)),
        Question::Pool => Event::Pool(Box::new(agent.pool()?)),
        Question::Log => Event::Log(agent.log_tail(LOG_LINES)?),
    })
}

/// What takes the agent its time.
#[derive(Debug)]
pub(crate) enum Task {
    /// Something is to be done.
    Act(Action),
    /// A PIN is to be checked.
    CheckPin(Secret),
}

impl Task {
    /// That it came to this.
    pub(crate) fn ended(self, outcome: Result<Came, String>) -> Event {
        match self {
            Self::Act(action) => Event::Done(action, outcome),
            Self::CheckPin(_) => Event::PinChecked(outcome.map(drop)),
        }
    }

    /// Whether it may take so long that others should not wait for it.
    pub(crate) fn is_slow(&self) -> bool {
        match self {
            Self::Act(action) => action.is_slow(),
            Self::CheckPin(_) => false,
        }
    }
}

/// Has the agent do one thing after the other until nobody asks any more. Apart from [`poll`]: the
/// state of the node is shown while it decides.
pub(crate) fn work(socket: PathBuf, tasks: &Receiver<Task>, news: &SyncSender<Event>) {
    while let Ok(task) = tasks.recv() {
        // A connection of its own: the agent closes one that rests for a minute.
        let timeout = if task.is_slow() { SLOW_TIMEOUT } else { ACTION_TIMEOUT };
        let mut agent = AgentClient::new(&socket, timeout);
        let outcome = match &task {
            Task::Act(action) => action.carry_out(&mut agent),
            Task::CheckPin(pin) => agent.check_pin(pin.clone()).map(|()| Came::Done),
        };
        let outcome = outcome.map_err(|error| match error {
            RequestError::Refused { reason } => reason,
            other => other.to_string(),
        });
        if news.send(task.ended(outcome)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_screen_shows_is_not_asked_for() {
        for screen in [Screen::Status, Screen::Network, Screen::Identity] {
            for round in 0..20 {
                assert_eq!(questions(screen, Some(round)), [Question::Status]);
            }
            assert_eq!(questions(screen, None), []);
        }
    }

    #[test]
    fn a_screen_that_comes_in_sight_has_its_own_answers_at_once() {
        assert_eq!(questions(Screen::Disks, None), [Question::Pool, Question::Health]);
        assert_eq!(questions(Screen::Logs, None), [Question::Health, Question::Log]);
        assert_eq!(questions(Screen::Logs, Some(1)), [Question::Status]);
        assert_eq!(questions(Screen::Logs, Some(2)), [Question::Status, Question::Log]);
    }
}
