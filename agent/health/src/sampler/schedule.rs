//! When each probe is due. Pure: times are given, as durations since any beginning.

use std::collections::BTreeMap;
use std::time::Duration;

/// Most probes under way at a time. Each disk and each source of the machine has one; on a machine with
/// more than 60 disks that all hang, the others wait.
pub const THREADS_MAX: usize = 64;

/// By how much of its period a probe is moved, so that not all are asked at once: a tenth.
const SPREAD: u32 = 10;

/// And by so much at the most: a technician waits for the first reading.
const SPREAD_MAX: Duration = Duration::from_secs(15);

/// How often a probe is asked, and how long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From one question to the next.
    pub period: Duration,
    /// Without an answer for so long it hangs.
    pub limit: Duration,
}

#[derive(Debug)]
struct Entry {
    pace: Pace,
    due: Duration,
    /// Since when it is under way.
    since: Option<Duration>,
    is_told_hung: bool,
    /// It is to be asked no more, but has not come back.
    is_gone: bool,
}

/// Probes and when they are due.
#[derive(Debug, Default)]
pub struct Schedule {
    entries: BTreeMap<String, Entry>,
}

impl Schedule {
    /// These are the probes. New ones are due within a tenth of their period, and within 15 s; of known ones the pace may
    /// change.
    pub fn set(&mut self, paces: BTreeMap<String, Pace>, now: Duration) {
        for (name, entry) in &mut self.entries {
            entry.is_gone = !paces.contains_key(name);
        }
        self.entries.retain(|_, entry| !entry.is_gone || entry.since.is_some());
        for (name, pace) in paces {
            let due = now + spread(&name, pace);
            let fresh = Entry { pace, due, since: None, is_told_hung: false, is_gone: false };
            self.entries.entry(name).or_insert(fresh).pace = pace;
        }
    }

    /// The probes that are due, which count as under way from now on; the longest due first.
    pub fn start_due(&mut self, now: Duration) -> Vec<String> {
        let under_way = self.entries.values().filter(|entry| entry.since.is_some()).count();
        let mut due: Vec<_> = self
            .entries
            .iter_mut()
            .filter(|(_, entry)| entry.since.is_none() && entry.due <= now)
            .collect();
        due.sort_by_key(|(_, entry)| entry.due);
        let free = THREADS_MAX.saturating_sub(under_way);
        let start = due.into_iter().take(free).map(|(name, entry)| {
            entry.since = Some(now);
            name.clone()
        });
        start.collect()
    }

    /// A probe came back.
    pub fn done(&mut self, name: &str, now: Duration) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        (entry.since, entry.is_told_hung) = (None, false);
        // At its pace; what was missed meanwhile is not made up for.
        let mut due = entry.due + entry.pace.period;
        if due <= now {
            due = now + entry.pace.period;
        }
        entry.due = due;
        if entry.is_gone {
            self.entries.remove(name);
        }
    }

    /// The probes that have been under way for longer than they may, and for how long: each once.
    pub fn tell_hung(&mut self, now: Duration) -> Vec<(String, Duration)> {
        let mut hung = Vec::new();
        for (name, entry) in &mut self.entries {
            let Some(since) = entry.since else { continue };
            let took = now.saturating_sub(since);
            if took >= entry.pace.limit && !entry.is_told_hung && !entry.is_gone {
                entry.is_told_hung = true;
                hung.push((name.clone(), took));
            }
        }
        hung
    }

    /// When there is something to do next; none while there is nothing to wait for.
    #[must_use]
    pub fn next(&self, now: Duration) -> Option<Duration> {
        let under_way = self.entries.values().filter(|entry| entry.since.is_some()).count();
        let is_full = under_way >= THREADS_MAX;
        let of = |entry: &Entry| match entry.since {
            // Where there is no place, one that comes back makes it.
            None => (!is_full).then_some(entry.due),
            Some(since) if !entry.is_told_hung && !entry.is_gone => Some(since + entry.pace.limit),
            Some(_) => None,
        };
        self.entries.values().filter_map(of).min().map(|at| at.max(now))
    }
}

/// How much later a probe is asked first; the same for the same name (FNV-1a, 32 bits).
fn spread(name: &str, pace: Pace) -> Duration {
    let hash = name
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (pace.period / SPREAD).min(SPREAD_MAX) / 256 * (hash % 256)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn schedule(names: &[&str]) -> Schedule {
        let mut schedule = Schedule::default();
        let pace = Pace { period: s(60), limit: s(10) };
        schedule.set(names.iter().map(|name| ((*name).to_owned(), pace)).collect(), s(0));
        schedule
    }

    #[test]
    fn a_probe_is_asked_at_its_pace_and_soon_at_first() {
        let mut schedule = schedule(&["a"]);
        let first = schedule.next(s(0)).expect("it is due");
        assert!(first < s(6), "{first:?}");
        assert_eq!(schedule.start_due(first), ["a"]);
        assert_eq!(schedule.start_due(first + s(1)), Vec::<String>::new(), "it is under way");
        schedule.done("a", first + s(2));
        assert_eq!(schedule.next(first + s(2)), Some(first + s(60)));
        assert_eq!(schedule.start_due(first + s(60)), ["a"]);
        // Late: what was missed is not made up for.
        schedule.done("a", first + s(500));
        assert_eq!(schedule.next(first + s(500)), Some(first + s(560)));
    }

    #[test]
    fn one_that_hangs_is_told_once_and_not_started_again() {
        let mut schedule = schedule(&["a"]);
        assert_eq!(schedule.start_due(s(6)), ["a"]);
        assert_eq!(schedule.next(s(6)), Some(s(16)));
        assert_eq!(schedule.tell_hung(s(15)), []);
        assert_eq!(schedule.tell_hung(s(17)), [("a".to_owned(), s(11))]);
        assert_eq!(schedule.tell_hung(s(1000)), []);
        assert_eq!(schedule.start_due(s(1000)), Vec::<String>::new());
        assert_eq!(schedule.next(s(1000)), None, "there is nothing to wait for but its end");
        schedule.done("a", s(1001));
        assert_eq!(schedule.start_due(s(1061)), ["a"]);
        assert_eq!(schedule.tell_hung(s(1071)).len(), 1, "told again when it hangs again");
    }

    #[test]
    fn one_that_went_while_it_hung_is_forgotten_when_it_comes_back() {
        let mut schedule = schedule(&["a"]);
        schedule.start_due(s(6));
        schedule.set(BTreeMap::new(), s(7));
        assert_eq!(schedule.tell_hung(s(100)), []);
        schedule.done("a", s(101));
        assert_eq!(schedule.entries.len(), 0);
    }

    #[test]
    fn more_than_there_are_places_for_wait() {
        let names: Vec<String> = (0..THREADS_MAX + 3).map(|n| format!("probe-{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut schedule = schedule(&names);
        let first = schedule.start_due(s(6));
        assert_eq!(first.len(), THREADS_MAX);
        assert_eq!(schedule.start_due(s(7)).len(), 0);
        schedule.done(&first[0], s(8));
        assert_eq!(schedule.start_due(s(8)).len(), 1);
    }

    proptest! {
        #[test]
        fn first_questions_are_spread_over_a_tenth_of_the_period(name in ".{0,40}", period in 1_u64..100_000) {
            let pace = Pace { period: s(period), limit: s(1) };
            let later = spread(&name, pace);
            prop_assert!(later * SPREAD <= pace.period);
            prop_assert_eq!(later, spread(&name, pace));
        }
    }
}
