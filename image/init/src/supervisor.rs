//! Which service runs when: a pure machine of events and actions.
//!
//! ```text
//!              dependencies started          exits
//!    Waiting ───────────────────▶ Starting ───────▶ BackingOff
//!                                  │    ▲               │ delay passed
//!                       has a pid  ▼    └───────────────┘
//!                                 Running ──────────────▲ exits
//!                                  │ restart or stop
//!                                  ▼        exits
//!                               Stopping ───────▶ Starting (restart) or Stopped (stop)
//! ```
//!
//! Stopping the system goes through the services' [`StopOrder`]s: each is asked to end, and killed
//! where it has not ended within its time, before the next order begins.

use std::time::Duration;

use agent_api::init::ServiceState;

/// Time since the kernel started.
pub(crate) type Time = Duration;

/// First delay before a service starts again.
pub(crate) const FIRST_DELAY: Duration = Duration::from_secs(1);

/// Longest delay before a service starts again: a person who mends the cause waits no longer.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// A service that ran this long is healthy: its next end counts as the first.
pub(crate) const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// How long a killed process may take to be gone: longer means that the kernel holds it, and
/// waiting for it would hold the machine.
pub(crate) const KILL_WAIT: Duration = Duration::from_secs(2);

/// Which service of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id(pub usize);

/// When a service is stopped as the system stops: all of one order before the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StopOrder {
    /// The consoles.
    First,
    /// The agent, which brings its requests to an end.
    Agent,
    /// icn-disks, when nobody uses the disks any more.
    Disks,
    /// What the others needed.
    Last,
}

impl StopOrder {
    const ALL: [Self; 4] = [Self::First, Self::Agent, Self::Disks, Self::Last];

    fn next(self) -> Option<Self> {
        Self::ALL.into_iter().find(|order| *order > self)
    }
}

/// What the machine has to know of a service.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub name: String,
    /// Names of services that have been started before this one is.
    pub after: Vec<String>,
    pub stop_order: StopOrder,
    /// How long it may take to end once asked.
    pub stop_within: Duration,
}

/// What the system does when every service has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    PowerOff,
    Reboot,
}

/// What happened.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Time has passed.
    Tick,
    /// The process asked for by [`Action::Start`] runs.
    Started(Id, i32),
    /// It could not be made; why.
    StartFailed(Id, String),
    /// The process of a service has ended; how.
    Exited(Id, String),
    /// The service is to end and to start again at once.
    Restart(Id),
    /// Every service is to end.
    Stop(Goal),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Make the process; answer with `Started` or `StartFailed`.
    Start(Id),
    /// Ask the process to end (SIGTERM).
    Terminate(Id, i32),
    /// End the process and all it has made (SIGKILL).
    Kill(Id, i32),
    /// Every service has stopped.
    Finish(Goal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Starting,
    Running { pid: i32, since: Time },
    BackingOff { until: Time },
    Stopping { pid: i32, deadline: Time, killed: bool, again: bool },
    Stopped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Stopping { order: StopOrder, goal: Goal },
    Finished,
}

#[derive(Debug)]
struct Service {
    rules: Rules,
    state: State,
    /// Starts so far.
    starts: u32,
    /// Ends in a row, each before the service was healthy.
    failures: u32,
    last_exit: String,
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Supervisor {
    services: Vec<Service>,
    phase: Phase,
}

impl Supervisor {
    pub(crate) fn new() -> Self {
        Self { services: Vec::new(), phase: Phase::Running }
    }

    /// Takes a service on; the next [`Supervisor::step`] starts it.
    pub(crate) fn add(&mut self, rules: Rules) -> Id {
        let id = Id(self.services.len());
        let state = if self.phase == Phase::Running { State::Waiting } else { State::Stopped };
        let last_exit = String::new();
        self.services.push(Service { rules, state, starts: 0, failures: 0, last_exit });
        id
    }

    /// Name, state, restarts and last end of every service.
    pub(crate) fn status(&self) -> impl Iterator<Item = (&str, ServiceState, u32, &str)> {
        self.services.iter().map(|service| {
            let state = match service.state {
                State::Waiting | State::Starting => ServiceState::Waiting,
                State::Running { .. } | State::Stopping { .. } => ServiceState::Running,
                State::BackingOff { .. } => ServiceState::BackingOff,
                State::Stopped => ServiceState::Stopped,
            };
            let restarts = service.starts.saturating_sub(1);
            (service.rules.name.as_str(), state, restarts, service.last_exit.as_str())
        })
    }

    /// The service that a process belongs to.
    pub(crate) fn owner(&self, process: i32) -> Option<Id> {
        let owns = |service: &Service| match service.state {
            State::Running { pid, .. } | State::Stopping { pid, .. } => pid == process,
            _ => false,
        };
        self.services.iter().position(owns).map(Id)
    }

    /// Whether every service is being stopped, or has been.
    pub(crate) fn is_stopping(&self) -> bool {
        self.phase != Phase::Running
    }

    /// When the next [`Event::Tick`] is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let due = |service: &Service| match service.state {
            State::BackingOff { until } => Some(until),
            State::Stopping { deadline, .. } => Some(deadline),
            _ => None,
        };
        self.services.iter().filter_map(due).min()
    }

    /// Takes an event in and says what is to be done.
    pub(crate) fn step(&mut self, now: Time, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Tick => {}
            Event::Started(id, pid) => self.started(id, pid, now),
            Event::StartFailed(id, why) | Event::Exited(id, why) => self.ended(id, why, now),
            Event::Restart(id) => self.restart(id, now, &mut actions),
            Event::Stop(goal) => self.stop(goal, now, &mut actions),
        }
        self.overdue(now, &mut actions);
        match self.phase {
            Phase::Running => self.start_due(now, &mut actions),
            Phase::Stopping { order, goal } => self.stop_on(order, goal, now, &mut actions),
            Phase::Finished => {}
        }
        actions
    }

    fn started(&mut self, id: Id, pid: i32, now: Time) {
        let stopping = self.phase != Phase::Running;
        if let Some(service) = self.services.get_mut(id.0) {
            service.starts = service.starts.saturating_add(1);
            service.state = State::Running { pid, since: now };
            if stopping {
                // Asked for before the stop and made after it: the next step of the stop ends it.
                service.state = State::Stopping { pid, deadline: now, killed: false, again: false };
            }
        }
    }

    fn ended(&mut self, id: Id, why: String, now: Time) {
        let running = self.phase == Phase::Running;
        let Some(service) = self.services.get_mut(id.0) else { return };
        service.last_exit = why;
        service.state = match service.state {
            State::Stopping { again: true, .. } if running => State::Waiting,
            _ if !running => State::Stopped,
            state => {
                let healthy = matches!(state, State::Running { since, .. }
                    if now.saturating_sub(since) >= HEALTHY_AFTER);
                service.failures = if healthy { 0 } else { service.failures };
                let until = now + delay(service.failures);
                service.failures = service.failures.saturating_add(1);
                State::BackingOff { until }
            }
        };
    }

    fn restart(&mut self, id: Id, now: Time, actions: &mut Vec<Action>) {
        let running = self.phase == Phase::Running;
        let Some(service) = self.services.get_mut(id.0).filter(|_| running) else { return };
        match service.state {
            State::Running { pid, .. } => {
                let deadline = now + service.rules.stop_within;
                service.state = State::Stopping { pid, deadline, killed: false, again: true };
                actions.push(Action::Terminate(id, pid));
            }
            State::BackingOff { .. } => service.state = State::Waiting,
            _ => {}
        }
    }

    fn stop(&mut self, goal: Goal, now: Time, actions: &mut Vec<Action>) {
        if self.phase != Phase::Running {
            return;
        }
        for service in &mut self.services {
            match &mut service.state {
                State::Waiting | State::BackingOff { .. } => service.state = State::Stopped,
                State::Stopping { again, deadline, killed, .. } => {
                    *again = false;
                    if *killed {
                        *deadline = (*deadline).min(now + KILL_WAIT);
                    }
                }
                _ => {}
            }
        }
        self.phase = Phase::Stopping { order: StopOrder::First, goal };
        self.stop_order(StopOrder::First, now, actions);
    }

    /// Asks the services of one order to end.
    fn stop_order(&mut self, order: StopOrder, now: Time, actions: &mut Vec<Action>) {
        for (index, service) in self.services.iter_mut().enumerate() {
            if let State::Running { pid, .. } = service.state
                && service.rules.stop_order == order
            {
                let deadline = now + service.rules.stop_within;
                service.state = State::Stopping { pid, deadline, killed: false, again: false };
                actions.push(Action::Terminate(Id(index), pid));
            }
        }
    }

    /// Goes on with the stop where an order is done.
    fn stop_on(&mut self, order: StopOrder, goal: Goal, now: Time, actions: &mut Vec<Action>) {
        let mut order = order;
        while !self.services.iter().any(|service| {
            service.rules.stop_order <= order
                && matches!(service.state, State::Starting | State::Stopping { .. })
        }) {
            let Some(next) = order.next() else {
                self.phase = Phase::Finished;
                actions.push(Action::Finish(goal));
                return;
            };
            order = next;
            self.phase = Phase::Stopping { order, goal };
            self.stop_order(order, now, actions);
        }
    }

    /// Kills what was asked to end and has not; gives up on what was killed and is still there.
    fn overdue(&mut self, now: Time, actions: &mut Vec<Action>) {
        let running = self.phase == Phase::Running;
        for (index, service) in self.services.iter_mut().enumerate() {
            let State::Stopping { pid, deadline, killed, again } = service.state else { continue };
            if deadline > now {
                continue;
            }
            if !killed {
                let deadline = now + KILL_WAIT;
                service.state = State::Stopping { pid, deadline, killed: true, again };
                actions.push(Action::Kill(Id(index), pid));
            } else if running {
                // It is not started twice: wait for its end for as long as it takes.
                let deadline = now + LONGEST_DELAY;
                service.state = State::Stopping { pid, deadline, killed, again };
            } else {
                "did not end when killed".clone_into(&mut service.last_exit);
                service.state = State::Stopped;
            }
        }
    }

    /// Starts what waits for nothing any more.
    fn start_due(&mut self, now: Time, actions: &mut Vec<Action>) {
        for index in 0..self.services.len() {
            let Some(service) = self.services.get(index) else { continue };
            let due = match service.state {
                State::Waiting => service.rules.after.iter().all(|name| self.has_started(name)),
                State::BackingOff { until } => until <= now,
                _ => false,
            };
            if let Some(service) = self.services.get_mut(index).filter(|_| due) {
                service.state = State::Starting;
                actions.push(Action::Start(Id(index)));
            }
        }
    }

    /// Whether the named service has been started once; one that is not there counts as started.
    fn has_started(&self, name: &str) -> bool {
        self.services.iter().find(|other| other.rules.name == name).is_none_or(|s| s.starts > 0)
    }
}

/// The delay after so many ends in a row: it doubles from the first to the longest.
fn delay(failures: u32) -> Duration {
    FIRST_DELAY.saturating_mul(1 << failures.min(16)).min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests;
