use std::sync::{Arc, Mutex};

use agent_kv::{Memory, Pair};
use proptest::prelude::*;

use super::*;
use crate::sample::Family;

const GAUGE: Family = Family::gauge("warmth_celsius", "Warmth");
const COUNTER: Family = Family::counter("faults", "Faults");

/// A disk with a cache: what was changed is lost with a power cut unless the change was finished.
#[derive(Debug, Clone, Default)]
struct Fake(Arc<Mutex<Memory>>);

impl Store for Fake {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.lock().expect("no panic").get(key)
    }

    fn each(&self, show: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        self.0.lock().expect("no panic").each(show)
    }

    fn range(&self, from: &[u8], before: &[u8]) -> Result<Vec<Pair>, StoreError> {
        self.0.lock().expect("no panic").range(from, before)
    }

    fn commit(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.0.lock().expect("no panic").commit(changes)
    }

    fn size(&self) -> Result<u64, StoreError> {
        self.0.lock().expect("no panic").size()
    }
}

fn over(store: &Fake) -> History<Fake> {
    History::over(store.clone()).expect("no error").expect("of this version")
}

fn both(value: f64) -> [Sample; 2] {
    [GAUGE.sample(Vec::new(), value), COUNTER.sample(Vec::new(), value)]
}

/// One reading a minute, value = minute, written every ten minutes.
fn fill(history: &mut History<Fake>, minutes: std::ops::Range<u32>) {
    for minute in minutes {
        let at_ms = u64::from(minute) * MINUTE_MS;
        history.record(at_ms, &both(f64::from(minute)));
        if history.is_due(at_ms) {
            history.flush(at_ms).expect("written");
        }
    }
}

fn gauge(min: f32, mean: f32, max: f32, count: u16) -> Point {
    Point::Gauge { min, mean, max, count }
}

#[test]
fn resolution_falls_with_age_and_old_points_go() {
    let store = Fake::default();
    let mut history = over(&store);
    let minutes = 100 * 24 * 60;
    fill(&mut history, 0..minutes);
    let now_ms = u64::from(minutes) * MINUTE_MS;
    history.flush(now_ms).expect("written");
    let points = |from_ms, step_ms| {
        let found = history.points("warmth_celsius", (from_ms, now_ms), step_ms, now_ms);
        found.expect("no error").expect("a series")
    };
    let minutely = points(now_ms - HOUR_MS, MINUTE_MS);
    assert_eq!((minutely.step_ms, minutely.points.len()), (MINUTE_MS, 60));
    let (last, value) = (minutes - 1, 143_999.0);
    assert_eq!(
        minutely.points.last(),
        Some(&(u64::from(last) * MINUTE_MS, gauge(value, value, value, 1)))
    );
    // A day back is beyond what is kept by the minute.
    let by_ten = points(now_ms - DAY_MS, MINUTE_MS);
    assert_eq!((by_ten.step_ms, by_ten.points.len()), (10 * MINUTE_MS, 144));
    assert_eq!(by_ten.points[0].1, gauge(142_560.0, 142_564.5, 142_569.0, 10));
    let hourly = points(0, MINUTE_MS);
    assert_eq!(hourly.step_ms, HOUR_MS);
    let oldest = hourly.points[0].0;
    assert!((now_ms - 97 * DAY_MS..=now_ms - 90 * DAY_MS).contains(&oldest), "{oldest}");
    assert_eq!(
        hourly.points[0].1.and(hourly.points[0].1),
        hourly.points[0].1.and(hourly.points[0].1)
    );
    // A coarser step than is needed can be asked for.
    assert_eq!(points(now_ms - HOUR_MS, DAY_MS).points.len(), 1);
    let size = store.size().expect("a size");
    assert!(size < 2 * 58 * 1024, "two series take {size} bytes");
}

#[test]
fn a_counter_is_told_as_fine_as_it_is_kept_and_each_time_once() {
    let mut history = over(&Fake::default());
    fill(&mut history, 0..3000);
    let values = history.values("faults").expect("no error");
    assert!(values.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1));
    assert_eq!(values.last(), Some(&(2999 * MINUTE_MS, 2999.0)));
    assert_eq!(values[0], (0, 9.0), "ten minutes are one");
    assert_eq!(history.values("warmth_celsius").expect("no error"), []);
}

#[test]
fn what_was_flushed_is_there_after_a_power_cut_and_goes_on_in_the_same_stretch() {
    let store = Fake::default();
    let mut history = over(&store);
    history.record(0, &both(1.0));
    history.flush(0).expect("written");
    history.record(20_000, &both(99.0));
    // The power is cut: what was not flushed is lost.
    drop(history);
    let mut history = over(&store);
    let at = |history: &History<Fake>| {
        let found = history.points("warmth_celsius", (0, 59_999), 0, HOUR_MS);
        found.expect("no error").expect("a series").points
    };
    assert_eq!(at(&history), [(0, gauge(1.0, 1.0, 1.0, 1))]);
    history.record(40_000, &both(4.0));
    assert_eq!(at(&history), [(0, gauge(1.0, 2.5, 4.0, 2))], "also before it is written");
    history.flush(40_000).expect("written");
    assert_eq!(at(&over(&store)), [(0, gauge(1.0, 2.5, 4.0, 2))]);
}

#[test]
fn series_are_bounded_and_one_of_which_nothing_is_left_makes_room() {
    let mut history = over(&Fake::default());
    let sample = |n: usize| COUNTER.sample(vec![("n", n.to_string())], 1.0);
    let all: Vec<Sample> = (0..SERIES_MAX + 5).map(sample).collect();
    history.record(0, &all);
    history.record(0, &[COUNTER.sample(vec![("long", "x".repeat(NAME_MAX))], 1.0)]);
    history.record(0, &[GAUGE.sample(Vec::new(), f64::NAN)]);
    assert_eq!(history.series().count(), SERIES_MAX);
    history.flush(0).expect("written");
    let later = 98 * DAY_MS;
    history.record(later, &[sample(0)]);
    history.flush(later).expect("written");
    assert_eq!(history.series().count(), 1);
    assert!(history.points("faults{n=\"1\"}", (0, later), 0, later).expect("no error").is_none());
}

#[test]
fn of_long_stretches_the_newest_points_are_given() {
    let mut history = over(&Fake::default());
    let hours = u64::try_from(POINTS_MAX).expect("a number") + 100;
    for hour in 0..hours {
        history.record(hour * HOUR_MS, &both(1.0));
    }
    let found = history.points("faults", (0, u64::MAX), HOUR_MS, 0).expect("no error");
    let points = found.expect("a series").points;
    assert_eq!((points.len(), points[0].0), (POINTS_MAX, 100 * HOUR_MS));
}

#[test]
fn a_store_on_disk_is_there_when_it_is_opened_again() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("history");
    let (mut history, why) = History::open(&path).expect("it opens");
    assert!(why.is_none());
    history.record(0, &both(7.0));
    history.flush(0).expect("written");
    assert!(!history.is_too_large().expect("a size"));
    drop(history);
    let (history, why) = History::open(&path).expect("it opens");
    assert!(why.is_none(), "{why:?}");
    assert_eq!(history.values("faults").expect("no error"), [(0, 7.0)]);
    assert_eq!(history.series().count(), 2);
}

#[test]
fn a_damaged_store_is_set_aside_and_begins_anew() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("history");
    // Not a database at all, twice: the first that was set aside gives way.
    for _ in 0..2 {
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).expect("a folder");
        std::fs::write(path.join("conf"), "nonsense").expect("written");
        std::fs::write(path.join("db"), vec![0x5a; 100_000]).expect("written");
        let (history, why) = History::open(&path).expect("it begins anew");
        assert!(why.is_some());
        assert_eq!(history.series().count(), 0);
        assert!(dir.path().join("history.damaged/conf").exists());
    }
    // Of another version.
    let mut store = Disk::open(&path).expect("it opens");
    store.commit(vec![(VERSION_KEY.to_vec(), Some(vec![9]))]).expect("written");
    drop(store);
    let (_, why) = History::open(&path).expect("it begins anew");
    assert!(why.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_database_with_bytes_changed_is_opened_or_set_aside(
        places in prop::collection::vec((0.0..1.0_f64, any::<u8>()), 1..20),
    ) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("history");
        let (mut history, _) = History::open(&path).expect("it opens");
        for minute in 0..50 {
            history.record(minute * MINUTE_MS, &both(1.0));
            history.flush(minute * MINUTE_MS).expect("written");
        }
        drop(history);
        let mut bytes = std::fs::read(path.join("db")).expect("read");
        let count = u32::try_from(bytes.len()).expect("a size");
        for (place, byte) in places {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below it")]
            let place = (f64::from(count) * place) as usize;
            bytes[place] = byte;
        }
        std::fs::write(path.join("db"), bytes).expect("written");
        let (mut history, _) = History::open(&path).expect("it opens, or begins anew");
        history.record(0, &both(2.0));
        // It may notice only now; what counts is that nobody is taken along.
        let _ = history.flush(0);
        let _ = history.values("faults");
    }
}
