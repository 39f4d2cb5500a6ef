//! Asks many sources of readings, each at its own pace, so that none can delay another.
//!
//! [`Schedule`] decides what is due (pure: time is an argument), [`Sampler::run`] carries it out: each run of a
//! probe has a thread of its own, as a read from a driver or disk that hangs cannot be ended. A probe
//! that is over its time is told once as hung, and is not started again before it has come back.

mod schedule;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

pub use schedule::{Pace, Schedule, THREADS_MAX};

/// A source of readings.
pub struct Probe<T> {
    /// Its name, which no other has.
    pub name: String,
    /// How often it is asked, and how long it may take.
    pub pace: Pace,
    /// Asks it; may take for ever.
    pub ask: Arc<dyn Fn() -> T + Send + Sync>,
}

impl<T> std::fmt::Debug for Probe<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").field("name", &self.name).field("pace", &self.pace).finish()
    }
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T> {
    /// An answer.
    Answer(T),
    /// None, for so long. Its answer is told should it still come.
    Hung(Duration),
    /// It ended without one: a defect of ours.
    Failed(String),
}

/// What is told to [`Sampler::run`].
pub enum Order<T> {
    /// These are the probes now: those that went are not asked any more, those that are new are asked soon.
    Probes(Vec<Probe<T>>),
    /// Stop.
    Stop,
}

impl<T> std::fmt::Debug for Order<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Probes(probes) => f.debug_tuple("Probes").field(probes).finish(),
            Self::Stop => f.write_str("Stop"),
        }
    }
}

enum Event<T> {
    Order(Order<T>),
    Done(String, Outcome<T>),
}

/// Gives orders to a sampler that runs.
pub struct Orders<T>(Sender<Event<T>>);

impl<T> Orders<T> {
    /// Gives one. A sampler that has ended takes none.
    pub fn give(&self, order: Order<T>) {
        let _ = self.0.send(Event::Order(order));
    }
}

impl<T> Clone for Orders<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> std::fmt::Debug for Orders<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Orders")
    }
}

/// A sampler that does not run yet, and what gives it orders.
#[must_use]
pub fn sampler<T: Send + 'static>() -> (Sampler<T>, Orders<T>) {
    let (events, inbox) = channel();
    (Sampler { events: events.clone(), inbox }, Orders(events))
}

/// Asks probes as they are due.
pub struct Sampler<T> {
    events: Sender<Event<T>>,
    inbox: Receiver<Event<T>>,
}

impl<T> std::fmt::Debug for Sampler<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sampler")
    }
}

impl<T: Send + 'static> Sampler<T> {
    /// Asks until told to stop, and tells `told` the name of each probe with what came of asking it. What
    /// `told` does delays the next questions: it must be short.
    pub fn run(self, mut told: impl FnMut(&str, Outcome<T>)) {
        let begin = Instant::now();
        let mut schedule = Schedule::default();
        let mut probes: BTreeMap<String, Probe<T>> = BTreeMap::new();
        loop {
            let now = begin.elapsed();
            for name in schedule.start_due(now) {
                if let Some(probe) = probes.get(&name) {
                    self.start(probe);
                }
            }
            for (name, since) in schedule.tell_hung(now) {
                told(&name, Outcome::Hung(since));
            }
            let wait = schedule.next(now).map_or(Duration::MAX, |at| at.saturating_sub(now));
            match self.next(wait) {
                None => {}
                Some(Event::Order(Order::Stop)) => return,
                Some(Event::Order(Order::Probes(wanted))) => {
                    let paces = wanted.iter().map(|probe| (probe.name.clone(), probe.pace));
                    schedule.set(paces.collect(), begin.elapsed());
                    probes = wanted.into_iter().map(|probe| (probe.name.clone(), probe)).collect();
                }
                Some(Event::Done(name, outcome)) => {
                    schedule.done(&name, begin.elapsed());
                    if probes.contains_key(&name) {
                        told(&name, outcome);
                    }
                }
            }
        }
    }

    fn next(&self, wait: Duration) -> Option<Event<T>> {
        if wait == Duration::MAX {
            return self.inbox.recv().ok();
        }
        // Never disconnected: this holds a sender itself.
        self.inbox.recv_timeout(wait).ok()
    }

    fn start(&self, probe: &Probe<T>) {
        let name = probe.name.clone();
        let ask = Arc::clone(&probe.ask);
        let run = Run { events: self.events.clone(), name: name.clone(), outcome: None };
        let started = thread::Builder::new().name("health-probe".to_owned()).spawn(move || {
            let mut run = run;
            run.outcome = Some(Outcome::Answer(ask()));
        });
        // Where no thread could be had, the run is dropped, which tells that it has failed.
        if let Err(error) = started {
            tracing::warn!(probe = name, %error, "cannot ask for a reading");
        }
    }
}

/// A run of a probe. However it ends, that is told.
struct Run<T> {
    events: Sender<Event<T>>,
    name: String,
    outcome: Option<Outcome<T>>,
}

impl<T> Drop for Run<T> {
    fn drop(&mut self) {
        let failed = || Outcome::Failed("taking the reading ended without one".to_owned());
        let outcome = self.outcome.take().unwrap_or_else(failed);
        let _ = self.events.send(Event::Done(std::mem::take(&mut self.name), outcome));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    const LIMIT: Duration = Duration::from_millis(20);

    /// A probe that may take as long as a busy machine wants.
    fn probe(name: &str, ask: impl Fn() -> u32 + Send + Sync + 'static) -> Probe<u32> {
        let pace = Pace { period: Duration::from_millis(1), limit: Duration::from_secs(3600) };
        Probe { name: name.to_owned(), pace, ask: Arc::new(ask) }
    }

    type Told = Receiver<(String, Outcome<u32>)>;

    fn running(probes: Vec<Probe<u32>>) -> (Orders<u32>, Told, thread::JoinHandle<()>) {
        let (sampler, orders) = sampler();
        let (tell, told) = channel();
        orders.give(Order::Probes(probes));
        let thread = thread::spawn(move || {
            sampler.run(|name, outcome| {
                let _ = tell.send((name.to_owned(), outcome));
            });
        });
        (orders, told, thread)
    }

    #[test]
    fn a_probe_that_hangs_delays_nobody_and_is_started_once_until_it_comes_back() {
        let (release, gate) = channel::<()>();
        let gate = Mutex::new(gate);
        let (started, starts) = channel();
        let mut hangs = probe("hangs", move || {
            started.send(()).expect("counted");
            gate.lock().expect("nobody panics with it").recv().expect("released");
            7
        });
        hangs.pace.limit = LIMIT;
        let (orders, told, thread) = running(vec![hangs, probe("answers", || 1)]);
        let mut seen = told.iter();
        let mut answers = 0;
        let hung = loop {
            match seen.next().expect("it goes on") {
                (name, Outcome::Hung(since)) => break (name, since),
                (name, outcome) => {
                    assert_eq!((name.as_str(), outcome), ("answers", Outcome::Answer(1)));
                    answers += 1;
                }
            }
        };
        assert_eq!(hung.0, "hangs");
        assert!(hung.1 >= LIMIT && answers > 0);
        // Others go on, and it is told once and started once.
        for (name, outcome) in seen.by_ref().take(20) {
            assert_eq!((name.as_str(), outcome), ("answers", Outcome::Answer(1)));
        }
        assert_eq!(starts.try_iter().count(), 1);
        release.send(()).expect("it waits");
        let back = seen.find(|(name, _)| name == "hangs").expect("its answer");
        assert_eq!(back.1, Outcome::Answer(7));
        starts.recv().expect("it is started again");
        orders.give(Order::Stop);
        thread.join().expect("it ends though a probe hangs");
    }

    #[test]
    fn a_probe_that_panics_has_failed_and_is_asked_again() {
        let (orders, told, thread) = running(vec![probe("breaks", || panic!("a defect"))]);
        for (_, outcome) in told.iter().take(2) {
            assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
        }
        orders.give(Order::Stop);
        thread.join().expect("it ends");
    }

    #[test]
    fn probes_come_and_go() {
        let (orders, told, thread) = running(vec![probe("a", || 1)]);
        assert_eq!(told.recv().expect("told").0, "a");
        orders.give(Order::Probes(vec![probe("b", || 2)]));
        let first = told.iter().find(|(name, _)| name == "b").expect("told");
        assert_eq!(first.1, Outcome::Answer(2));
        assert!(told.iter().take(10).all(|(name, _)| name == "b"));
        orders.give(Order::Stop);
        thread.join().expect("it ends");
    }
}
