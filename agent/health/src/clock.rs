//! The system clock: is it disciplined, and can S3 clients agree with it?

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::reading::{Case, Gathered, Reading};
use crate::sample::{Family, number};
use crate::sys;
use crate::trends::Trends;
use crate::verdict::{Health, Kind, Verdict};

const OFFSET: Family =
    Family::gauge("clock_offset_seconds", "By how much the clock is off, as its daemon estimates");
const ESTIMATED: Family =
    Family::gauge("clock_estimated_error_seconds", "By how much the clock may be off, estimated");
const LARGEST: Family =
    Family::gauge("clock_error_limit_seconds", "By how much the clock can be off at the most");
const FREQUENCY: Family = Family::gauge(
    "clock_frequency_error_ratio",
    "By which share of time the clock would run fast or slow if it were not corrected",
);
const SYNCHRONISED: Family =
    Family::gauge("clock_synchronised", "1 while a time daemon keeps the clock, else 0");

/// What is told of the clock.
pub(crate) const FAMILIES: &[Family] = &[OFFSET, ESTIMATED, LARGEST, FREQUENCY, SYNCHRONISED];

/// What the kernel says about its clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "clock")]
pub enum ClockReading {
    /// A time daemon keeps the clock.
    Synchronised {
        /// Largest possible error in microseconds (adjtimex(2), `maxerror`).
        max_error_us: u64,
        /// By how much it is likely to be off, in microseconds (`esterror`).
        #[serde(default)]
        estimated_error_us: u64,
        /// By how much it is off and being corrected, in microseconds (`offset`).
        #[serde(default)]
        offset_us: i64,
        /// By how much it would run fast or slow, in 10^-9 (`freq`).
        #[serde(default)]
        frequency_ppb: i64,
    },
    /// Nobody keeps the clock; it runs on from whatever the hardware clock said.
    Unsynchronised,
    /// The kernel gave no answer.
    Unknown {
        /// Why, in words.
        reason: String,
    },
}

/// Why a clock reading deserves somebody's attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClockConcern {
    /// The clock shows a time before this software was made: it cannot be right.
    InThePast,
    /// Not synchronised although the node has been up for longer than [`SETTLING`].
    NotSynchronised,
    /// Kept, but likely to be off by [`SKEW_MAX`] or more.
    Skewed {
        /// By how much, in milliseconds.
        by_ms: u64,
    },
    /// No reading.
    Unknown {
        /// Why, in words.
        reason: String,
    },
}

/// How long after boot a clock may be unsynchronised without a word. chrony's first step takes up
/// to about 10 s with reachable servers; a slow DHCP or spanning-tree delay adds up to 60 s.
pub const SETTLING: Duration = Duration::from_secs(120);

/// How far a clock that is kept may be off: eras and the order of versions are told by it, and a sound one is
/// within some 10 ms over the Internet.
pub const SKEW_MAX: Duration = Duration::from_secs(1);

/// 2025-01-01T00:00:00Z in seconds since 1970: no release of this software is older.
const SOFTWARE_EPOCH_SECONDS: u64 = 1_735_689_600;

/// Asks the kernel about its clock.
#[must_use]
pub fn read_clock() -> ClockReading {
    match sys::kernel_clock() {
        Ok(clock) if clock.unsynchronised => ClockReading::Unsynchronised,
        Ok(clock) => ClockReading::Synchronised {
            max_error_us: clock.max_error_us,
            estimated_error_us: clock.estimated_error_us,
            offset_us: clock.offset_us,
            frequency_ppb: clock.frequency_ppb,
        },
        Err(error) => ClockReading::Unknown { reason: format!("adjtimex: {error}") },
    }
}

/// Judges a clock: `since_1970` is what it shows, `uptime` how long the node has run.
#[must_use]
pub fn assess_clock(
    reading: &ClockReading,
    since_1970: Duration,
    uptime: Duration,
) -> Option<ClockConcern> {
    if since_1970.as_secs() < SOFTWARE_EPOCH_SECONDS {
        return Some(ClockConcern::InThePast);
    }
    match reading {
        ClockReading::Synchronised { estimated_error_us, offset_us, .. } => {
            let off = Duration::from_micros((*estimated_error_us).max(offset_us.unsigned_abs()));
            let by_ms = u64::try_from(off.as_millis()).unwrap_or(u64::MAX);
            (off >= SKEW_MAX).then_some(ClockConcern::Skewed { by_ms })
        }
        ClockReading::Unsynchronised if uptime < SETTLING => None,
        ClockReading::Unsynchronised => Some(ClockConcern::NotSynchronised),
        ClockReading::Unknown { reason } => Some(ClockConcern::Unknown { reason: reason.clone() }),
    }
}

/// A reading with what it is judged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// What the kernel says.
    pub reading: ClockReading,
    /// What the clock shows.
    pub since_1970: Duration,
    /// How long the machine has run.
    pub uptime: Duration,
}

/// Numbers of the clock and the verdict on it.
#[must_use]
pub fn clock_gathered(clock: Clock) -> Gathered {
    Gathered::of((Kind::Clock, NAME), Reading::Known(clock), samples, assess)
}

const NAME: &str = "system clock";

fn samples(clock: &Clock) -> Vec<crate::Sample> {
    let is = |synchronised: u8| SYNCHRONISED.sample(Vec::new(), f64::from(synchronised));
    match &clock.reading {
        ClockReading::Synchronised {
            max_error_us,
            estimated_error_us,
            offset_us,
            frequency_ppb,
        } => {
            let sign = |negative| if negative { -1.0 } else { 1.0 };
            let offset = number(offset_us.unsigned_abs()) * sign(*offset_us < 0);
            let frequency = number(frequency_ppb.unsigned_abs()) * sign(*frequency_ppb < 0);
            let of = |family: Family, value| family.sample(Vec::new(), value);
            vec![
                of(OFFSET, offset / 1e6),
                of(ESTIMATED, number(*estimated_error_us) / 1e6),
                of(LARGEST, number(*max_error_us) / 1e6),
                of(FREQUENCY, frequency / 1e9),
                is(1),
            ]
        }
        ClockReading::Unsynchronised => vec![is(0)],
        ClockReading::Unknown { .. } => Vec::new(),
    }
}

fn assess(clock: &Clock, _: &Trends, _: u64) -> Vec<Verdict> {
    let mut case = Case::default();
    match assess_clock(&clock.reading, clock.since_1970, clock.uptime) {
        None => {}
        Some(ClockConcern::InThePast) => {
            case.add(Health::Failing, "shows a time long past".to_owned());
        }
        Some(ClockConcern::NotSynchronised) => {
            case.add(
                Health::Warning,
                "not synchronised: give a time server it can reach".to_owned(),
            );
        }
        Some(ClockConcern::Skewed { by_ms }) => {
            let text = format!("likely to be off by {by_ms} ms: check the time servers");
            case.add(Health::Warning, text);
        }
        Some(ClockConcern::Unknown { reason }) => case.add(Health::Unknown, reason),
    }
    vec![case.close(Kind::Clock, NAME)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(SOFTWARE_EPOCH_SECONDS + 1);
    const HOUR: Duration = Duration::from_secs(3600);

    fn kept(estimated_error_us: u64, offset_us: i64) -> ClockReading {
        let (max_error_us, frequency_ppb) = (900, -12_500);
        ClockReading::Synchronised { max_error_us, estimated_error_us, offset_us, frequency_ppb }
    }

    #[test]
    fn a_clock_that_is_off_by_a_second_is_a_concern() {
        for (estimated, offset, by_ms) in
            [(999_999, 0, None), (1_000_000, 0, Some(1000)), (0, -2_500_000, Some(2500))]
        {
            let concern = assess_clock(&kept(estimated, offset), NOW, HOUR);
            assert_eq!(concern, by_ms.map(|by_ms| ClockConcern::Skewed { by_ms }));
        }
    }

    #[test]
    fn the_clock_is_told_in_seconds_with_a_verdict() {
        let clock = Clock { reading: kept(50, -1500), since_1970: NOW, uptime: HOUR };
        let gathered = clock_gathered(clock.clone());
        let seen: Vec<_> = gathered.samples.iter().map(|s| (s.name, s.value)).collect();
        let wanted = [
            ("clock_offset_seconds", -0.0015),
            ("clock_estimated_error_seconds", 0.000_05),
            ("clock_error_limit_seconds", 0.0009),
            ("clock_frequency_error_ratio", -0.000_012_5),
            ("clock_synchronised", 1.0),
        ];
        assert_eq!(seen, wanted);
        assert_eq!(gathered.assess(&Trends::default(), 0)[0].health, Health::Healthy);
        let lost = clock_gathered(Clock { reading: ClockReading::Unsynchronised, ..clock });
        assert_eq!(lost.assess(&Trends::default(), 0)[0].health, Health::Warning);
    }

    #[test]
    fn the_kernel_answers() {
        assert!(!matches!(read_clock(), ClockReading::Unknown { .. }));
    }

    #[test]
    fn a_synchronised_clock_is_no_concern() {
        let reading = kept(0, 0);
        assert_eq!(assess_clock(&reading, NOW, HOUR), None);
    }

    #[test]
    fn an_unsynchronised_clock_has_time_to_settle_after_boot() {
        let reading = ClockReading::Unsynchronised;
        assert_eq!(assess_clock(&reading, NOW, Duration::from_secs(5)), None);
        assert_eq!(assess_clock(&reading, NOW, HOUR), Some(ClockConcern::NotSynchronised));
    }

    #[test]
    fn a_clock_before_the_software_is_wrong_at_once_whoever_keeps_it() {
        let reading = kept(0, 0);
        let concern = assess_clock(&reading, Duration::from_secs(60), Duration::ZERO);
        assert_eq!(concern, Some(ClockConcern::InThePast));
    }

    #[test]
    fn an_unknown_clock_is_never_taken_for_a_good_one() {
        let reading = ClockReading::Unknown { reason: "no".to_owned() };
        assert!(assess_clock(&reading, NOW, HOUR).is_some());
    }
}
