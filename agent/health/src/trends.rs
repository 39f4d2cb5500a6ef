//! How counters grew lately: what judges need of the past, in memory.
//!
//! Of each counter only its changes are kept, so that a machine where nothing goes wrong keeps one number
//! for each. After a restart it is filled again from the history.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::sample::{Sample, SampleKind};

/// Most changes of one counter that are kept. One that changes all the time is thinned out: the older
/// half to every second change, so that the distance between two grows with their age.
const CHANGES_MAX: usize = 256;

/// Changes within so long of each other are kept as one: no judge asks for less than an hour.
const STEP_MS: u64 = 5 * 60 * 1000;

/// Most counters. A machine with 60 disks, 32 memory modules and 100 devices on PCI Express has some
/// 1500; more than this are not followed. Together with [`CHANGES_MAX`] that is 16 MiB at the most.
const COUNTERS_MAX: usize = 4096;

/// How long a change is of use to anybody.
pub const MEMORY: Duration = Duration::from_secs(90 * 24 * 3600);

/// What is known of earlier values of counters.
#[derive(Debug, Default)]
pub struct Trends {
    /// Times in milliseconds since 1970 and values, the oldest first.
    counters: BTreeMap<String, VecDeque<(u64, f64)>>,
}

impl Trends {
    /// Takes in the counters among these.
    pub fn record(&mut self, at_ms: u64, samples: &[Sample]) {
        for sample in samples.iter().filter(|sample| sample.kind == SampleKind::Counter) {
            self.push(sample.series(), at_ms, sample.value);
        }
    }

    /// Takes in what a store kept of a counter before the first of what is known of it, the oldest first.
    pub fn recall(&mut self, series: &str, earlier: &[(u64, f64)]) {
        let known = self.counters.remove(series).unwrap_or_default();
        let begin = known.front().map_or(u64::MAX, |(at, _)| *at);
        let earlier = earlier.iter().filter(|(at, _)| *at < begin);
        for (at, value) in earlier.chain(&known) {
            self.push(series.to_owned(), *at, *value);
        }
    }

    fn push(&mut self, series: String, at_ms: u64, value: f64) {
        if !value.is_finite() {
            return;
        }
        if self.counters.len() >= COUNTERS_MAX && !self.counters.contains_key(&series) {
            return;
        }
        let changes = self.counters.entry(series).or_default();
        let count = changes.len();
        match changes.back_mut() {
            Some((_, last)) if *last == value => {}
            // The first stays as it is: everything is counted from it. So does one before a restart.
            Some((at, last))
                if count > 1 && at_ms.saturating_sub(*at) < STEP_MS && *last < value =>
            {
                *last = value;
            }
            // A clock that was set back makes no change older than the one before.
            Some((at, _)) => {
                let at_ms = at_ms.max(*at);
                changes.push_back((at_ms, value));
            }
            None => changes.push_back((at_ms, value)),
        }
        if changes.len() > CHANGES_MAX {
            thin(changes);
        }
    }

    /// By how much a counter grew within `window` before `now_ms`; none where nothing is known of it.
    #[must_use]
    pub fn increase(&self, series: &str, now_ms: u64, window: Duration) -> Option<f64> {
        let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        let changes = self.counters.get(series)?;
        Some(increase(changes.iter().copied(), now_ms.saturating_sub(window)))
    }

    /// The same of a sample, which is nothing as long as it is not known.
    pub(crate) fn of(&self, sample: &Sample, now_ms: u64, window: Duration) -> f64 {
        self.increase(&sample.series(), now_ms, window).unwrap_or(0.0)
    }
}

/// Drops every second of the older half, but never the first.
fn thin(changes: &mut VecDeque<(u64, f64)>) {
    let half = changes.len() / 2;
    let mut at = 0;
    changes.retain(|_| {
        at += 1;
        at > half || at % 2 == 1
    });
}

/// By how much a counter grew from `from_ms` on, given its values at their times, the oldest first. It
/// counts from the last value at or before `from_ms`, or else from the first. A value below the one before
/// means that it began anew at 0.
#[must_use]
pub fn increase(values: impl IntoIterator<Item = (u64, f64)>, from_ms: u64) -> f64 {
    let (mut base, mut grown) = (None, 0.0);
    for (at, value) in values {
        match base {
            Some(before) if at > from_ms => {
                grown += if value >= before { value - before } else { value };
            }
            _ => {}
        }
        base = Some(value);
    }
    grown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn growth_is_counted_from_the_last_value_before_the_window() {
        let values = [(0, 5.0), (HOUR, 7.0), (2 * HOUR, 10.0)];
        assert_eq!(increase(values, 0), 5.0);
        assert_eq!(increase(values, HOUR), 3.0);
        assert_eq!(increase(values, HOUR + 1), 3.0);
        assert_eq!(increase(values, 2 * HOUR), 0.0);
        assert_eq!(increase([], 0), 0.0);
    }

    #[test]
    fn a_counter_that_began_anew_has_grown_by_what_it_shows() {
        let values = [(0, 50.0), (1, 60.0), (2, 4.0), (3, 0.0), (4, 1.0)];
        assert_eq!(increase(values, 0), 10.0 + 4.0 + 1.0);
    }

    #[test]
    fn what_a_store_kept_stands_before_what_is_known() {
        let mut trends = Trends::default();
        trends.push("c".to_owned(), 10 * HOUR, 9.0);
        trends.push("c".to_owned(), 11 * HOUR, 10.0);
        trends.recall("c", &[(0, 2.0), (HOUR, 4.0), (11 * HOUR, 99.0)]);
        let of = |hours: u64| trends.increase("c", 12 * HOUR, Duration::from_secs(hours * 3600));
        assert_eq!(of(100), Some(8.0));
        assert_eq!(of(2), Some(1.0));
        assert_eq!(trends.increase("d", 0, MEMORY), None);
    }

    #[test]
    fn a_clock_that_is_set_back_loses_nothing() {
        let mut trends = Trends::default();
        for (at, value) in [(5 * HOUR, 1.0), (HOUR, 2.0), (6 * HOUR, 3.0)] {
            trends.push("c".to_owned(), at, value);
        }
        assert_eq!(trends.increase("c", 6 * HOUR, MEMORY), Some(2.0));
    }

    proptest! {
        #[test]
        fn a_counter_that_grows_all_the_time_is_bounded_and_its_sum_stays(
            steps in prop::collection::vec((0_u64..HOUR, 1_u32..9), 1..3000),
        ) {
            let mut trends = Trends::default();
            let (mut at, mut value) = (0, 0.0);
            trends.push("c".to_owned(), at, value);
            for (after, more) in steps {
                at += after;
                value += f64::from(more);
                trends.push("c".to_owned(), at, value);
            }
            prop_assert!(trends.counters["c"].len() <= CHANGES_MAX);
            prop_assert_eq!(trends.increase("c", at, Duration::MAX), Some(value));
        }
    }
}
