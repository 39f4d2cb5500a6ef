//! The system clock: is it disciplined, and can S3 clients agree with it?

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::sys;

/// What the kernel says about its clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "clock")]
pub enum ClockReading {
    /// A time daemon keeps the clock.
    Synchronised {
        /// Largest possible error in microseconds (adjtimex(2), `maxerror`).
        max_error_us: u64,
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
    /// No reading.
    Unknown {
        /// Why, in words.
        reason: String,
    },
}

/// How long after boot a clock may be unsynchronised without a word. chrony's first step takes up
/// to about 10 s with reachable servers; a slow DHCP or spanning-tree delay adds up to 60 s.
pub const SETTLING: Duration = Duration::from_secs(120);

/// 2025-01-01T00:00:00Z in seconds since 1970: no release of this software is older.
const SOFTWARE_EPOCH_SECONDS: u64 = 1_735_689_600;

/// Asks the kernel about its clock.
#[must_use]
pub fn read_clock() -> ClockReading {
    match sys::kernel_clock() {
        Ok(clock) if clock.unsynchronised => ClockReading::Unsynchronised,
        Ok(clock) => ClockReading::Synchronised { max_error_us: clock.max_error_us },
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
        ClockReading::Synchronised { .. } => None,
        ClockReading::Unsynchronised if uptime < SETTLING => None,
        ClockReading::Unsynchronised => Some(ClockConcern::NotSynchronised),
        ClockReading::Unknown { reason } => Some(ClockConcern::Unknown { reason: reason.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(SOFTWARE_EPOCH_SECONDS + 1);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn the_kernel_answers() {
        assert!(!matches!(read_clock(), ClockReading::Unknown { .. }));
    }

    #[test]
    fn a_synchronised_clock_is_no_concern() {
        let reading = ClockReading::Synchronised { max_error_us: 900 };
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
        let reading = ClockReading::Synchronised { max_error_us: 900 };
        let concern = assess_clock(&reading, Duration::from_secs(60), Duration::ZERO);
        assert_eq!(concern, Some(ClockConcern::InThePast));
    }

    #[test]
    fn an_unknown_clock_is_never_taken_for_a_good_one() {
        let reading = ClockReading::Unknown { reason: "no".to_owned() };
        assert!(assess_clock(&reading, NOW, HOUR).is_some());
    }
}
