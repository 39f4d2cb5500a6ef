//! The threads that ask the agent, so that a slow answer never stops the keys.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agent_api::client::{AgentClient, RequestError};
use agent_api::control::Secret;

use crate::action::{Action, Came};
use crate::screen::Screen;
use crate::state::{Event, Pace};

/// How often the status is asked for while somebody is at the keys.
const QUICK: Duration = Duration::from_secs(1);

/// The same while at most somebody looks, who still sees a change soon.
const CALM: Duration = Duration::from_secs(2);

/// Log lines that are held to scroll through and to search.
const LOG_LINES: u32 = 500;

/// The agent answers from memory; on a node whose processors are busy that may take a while.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

/// How long something that is to be done may take until the agent has taken it on: deciding to retire
/// a volume looks at all groups.
pub(crate) const ACTION_TIMEOUT: Duration = Duration::from_secs(60);

/// What is asked for beside what comes by itself.
#[derive(Debug)]
pub(crate) enum Ask {
    /// The secret key.
    Secret,
    /// What another screen shows.
    Look,
    /// Everything, now.
    Now,
}

/// The screen that is shown and how often it is to be asked for what it shows, for the thread that does that.
#[derive(Debug, Clone)]
pub(crate) struct Watched(Arc<Mutex<(Screen, Pace)>>);

impl Watched {
    /// At first.
    pub(crate) fn new(screen: Screen, pace: Pace) -> Self {
        Self(Arc::new(Mutex::new((screen, pace))))
    }

    /// From now on.
    pub(crate) fn set_screen(&self, screen: Screen) {
        self.lock().0 = screen;
    }

    /// From now on.
    pub(crate) fn set_pace(&self, pace: Pace) {
        self.lock().1 = pace;
    }

    fn screen(&self) -> Screen {
        self.lock().0
    }

    fn every(&self) -> Duration {
        match self.lock().1 {
            Pace::Quick => QUICK,
            Pace::Calm => CALM,
        }
    }

    fn lock(&self) -> MutexGuard<'_, (Screen, Pace)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way of events to the console: each wakes it.
#[derive(Debug, Clone)]
pub(crate) struct News {
    events: SyncSender<Event>,
    bell: Arc<OwnedFd>,
}

impl News {
    /// Of events that go here, and wake whoever waits until `bell`, an eventfd, can be read.
    pub(crate) fn new(events: SyncSender<Event>, bell: Arc<OwnedFd>) -> Self {
        Self { events, bell }
    }

    /// False where nobody listens any more.
    fn send(&self, event: Event) -> bool {
        let is_heard = self.events.send(event).is_ok();
        // It fails where it has been rung for long and nobody came: then it still rings.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        is_heard
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

/// What to ask for in a round; none where a screen has just come in sight. What
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
pub(crate) fn poll(socket: &Path, watched: &Watched, asked: &Receiver<Ask>, news: &News) {
    let mut agent = AgentClient::new(socket, TIMEOUT);
    for round in 0_u32.. {
        let mut events = answers(&mut agent, &questions(watched.screen(), Some(round)));
        let next = Instant::now() + watched.every();
        loop {
            for event in events.drain(..) {
                if !news.send(event) {
                    return;
                }
            }
            match asked.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(Ask::Secret) => {
                    let answer = agent.first_user_secret().map_err(|error| error.to_string());
                    events.push(Event::Secret(answer));
                }
                Ok(Ask::Look) => {
                    events = answers(&mut agent, &questions(watched.screen(), None));
                }
                Ok(Ask::Now) | Err(RecvTimeoutError::Timeout) => break,
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
pub(crate) fn work(socket: PathBuf, tasks: &Receiver<Task>, news: &News) {
    while let Ok(task) = tasks.recv() {
        // A connection of its own: the agent closes one that rests for a minute.
        let mut agent = AgentClient::new(&socket, ACTION_TIMEOUT);
        let outcome = match &task {
            Task::Act(action) => action.carry_out(&mut agent),
            Task::CheckPin(pin) => agent.check_pin(pin.clone()).map(|()| Came::Done),
        };
        let outcome = outcome.map_err(|error| match error {
            RequestError::Refused { reason } => reason,
            other => other.to_string(),
        });
        if !news.send(task.ended(outcome)) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    #[test]
    fn a_round_that_is_asked_for_begins_at_once_and_its_news_ring() {
        let (asking, asked) = sync_channel(3);
        for _ in 0..3 {
            asking.try_send(Ask::Now).expect("room");
        }
        // Who asks no more ends it, so that no round begins by time.
        drop(asking);
        let (events, news) = sync_channel(16);
        let bell = Arc::new(eventfd(0, EventfdFlags::NONBLOCK).expect("an eventfd"));
        let watched = Watched::new(Screen::Status, Pace::Calm);
        let nobody = Path::new("/nonexistent/agent.sock");
        poll(nobody, &watched, &asked, &News::new(events, Arc::clone(&bell)));
        let news: Vec<_> = news.iter().collect();
        assert_eq!(news.len(), 4, "{news:?}");
        assert!(news.iter().all(|event| matches!(event, Event::Silent(_))), "{news:?}");
        let mut rung = [0; 8];
        rustix::io::read(&bell, &mut rung).expect("it was rung");
        assert_eq!(u64::from_ne_bytes(rung), 4);
    }

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
