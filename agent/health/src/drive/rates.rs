//! How many disks of a kind failed within a year, by what their attributes counted.
//!
//! Source: the observed failure rates with confidence intervals that scrutiny lists for ATA attributes
//! (AnalogJ/scrutiny, webapp/backend/pkg/thresholds/ata_attribute_metadata.go), computed from the drive
//! statistics that Backblaze publishes. They are of rotating disks for the most part, and count failures
//! for each disk and year in operation, so that more than 100 % is possible.

use std::fmt;

/// Failures a year among a hundred such disks, between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureRate {
    /// The least, in tenths of a percent.
    pub low_permille: u16,
    /// The most, in tenths of a percent.
    pub high_permille: u16,
}

impl fmt::Display for FailureRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |permille: u16| permille.saturating_add(5).min(1000) / 10;
        match (percent(self.low_permille), percent(self.high_permille)) {
            (100, _) => write!(f, "over 100%"),
            (low, high) if low == high => write!(f, "{low}%"),
            (low, high) => write!(f, "{low}–{high}%"),
        }
    }
}

/// From a count on: the rate that was observed, and the bounds of its confidence interval, in tenths of a
/// percent.
type Row = (u64, u16, u16, u16);

/// An attribute whose count tells of failures.
#[derive(Debug)]
pub(super) struct Rated {
    /// Its number.
    pub(super) id: u8,
    /// What it counts.
    pub(super) what: &'static str,
    /// Whether it is the disk itself that fails, not perhaps its cable.
    pub(super) is_critical: bool,
    rows: &'static [Row],
}

/// Time-outs of more than 7.5 s, counted by the highest word of attribute 188, from which on the rates rise:
/// the source's 13 000 000 000 is 3.03 in that word.
const SLOW_TIMEOUTS: u16 = 4;

/// The attributes with a rate, in the order of their numbers.
pub(super) const RATED: [Rated; 7] = [
    Rated {
        id: 5,
        what: "reallocated sectors",
        is_critical: true,
        rows: &[
            (0, 25, 23, 28),
            (1, 27, 10, 60),
            (5, 75, 40, 128),
            (17, 236, 164, 328),
            (71, 362, 261, 489),
            (261, 568, 453, 703),
            (1101, 1503, 1268, 1768),
        ],
    },
    Rated {
        id: 10,
        what: "failed attempts to spin up",
        is_critical: true,
        rows: &[(0, 55, 51, 58), (1, 556, 14, 3095)],
    },
    Rated {
        id: 187,
        what: "uncorrectable errors",
        is_critical: true,
        rows: &[
            (0, 28, 24, 32),
            (1, 339, 223, 493),
            (2, 241, 145, 376),
            (4, 501, 306, 774),
            (7, 380, 299, 476),
            (12, 535, 406, 691),
            (21, 843, 650, 1074),
            (36, 1443, 1141, 1801),
        ],
    },
    Rated {
        id: 188,
        what: "commands that timed out",
        is_critical: false,
        rows: &[(0, 25, 21, 29), (101, 100, 81, 123)],
    },
    Rated {
        id: 197,
        what: "pending sectors",
        is_critical: true,
        rows: &[
            (0, 26, 23, 28),
            (1, 342, 227, 494),
            (3, 682, 411, 1066),
            (7, 611, 473, 776),
            (17, 956, 770, 1174),
            (41, 1652, 1328, 2031),
        ],
    },
    Rated {
        id: 198,
        what: "unreadable sectors",
        is_critical: true,
        rows: &[(0, 29, 26, 31), (1, 814, 406, 1456)],
    },
    Rated {
        id: 199,
        what: "transmission errors, of the cable or slot",
        is_critical: false,
        rows: &[(0, 41, 38, 44), (2, 150, 96, 220)],
    },
];

/// Attribute 188 where many commands took more than 7.5 s: the source's rows from there on lie between
/// these.
const SLOW_ROW: Row = (0, 300, 220, 370);

impl Rated {
    /// The rate at a count: the one observed, and its bounds.
    pub(super) fn rate(&self, count: u64) -> Option<(u16, FailureRate)> {
        self.rows.iter().rev().find(|row| row.0 <= count).map(|row| rate_of(*row))
    }
}

/// The rate of attribute 188, which counts in three words: all time-outs, those of more than 5 s, those of
/// more than 7.5 s.
pub(super) fn timeout_rate([all, _, slow]: [u16; 3]) -> Option<(u16, FailureRate)> {
    if slow >= SLOW_TIMEOUTS {
        return Some(rate_of(SLOW_ROW));
    }
    rated(188)?.rate(u64::from(all))
}

/// The attribute of that number, if it has a rate.
pub(super) fn rated(id: u8) -> Option<&'static Rated> {
    RATED.iter().find(|rated| rated.id == id)
}

/// How many of a hundred disks fail within a year whose attribute `id` counts so much; none where nobody
/// has published it.
#[must_use]
pub fn annual_failure_rate(id: u8, count: u64) -> Option<FailureRate> {
    rated(id)?.rate(count).map(|(_, rate)| rate)
}

fn rate_of((_, observed, low_permille, high_permille): Row) -> (u16, FailureRate) {
    (observed, FailureRate { low_permille, high_permille })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_holds_from_its_count_on_up_to_the_next() {
        for rated in &RATED {
            let (first, ..) = rated.rows[0];
            assert_eq!(first, 0, "{} has a rate for none", rated.id);
            for (number, row) in rated.rows.iter().enumerate() {
                assert!(row.2 <= row.1 && row.1 <= row.3, "{}: {row:?}", rated.id);
                assert_eq!(rated.rate(row.0), Some(rate_of(*row)), "{}", rated.id);
                let last = rated.rows.get(number + 1).map_or(u64::MAX, |next| next.0 - 1);
                assert_eq!(rated.rate(last), Some(rate_of(*row)), "{}", rated.id);
            }
        }
    }

    #[test]
    fn rates_are_those_that_were_published() {
        let shown = |id, count| annual_failure_rate(id, count).map(|rate| rate.to_string());
        let table = [
            (5, 0, "2–3%"),
            (5, 4, "1–6%"),
            (5, 16, "4–13%"),
            (5, 17, "16–33%"),
            (5, 100, "26–49%"),
            (5, 5000, "over 100%"),
            (10, 0, "5–6%"),
            (10, 1, "1–100%"),
            (187, 1, "22–49%"),
            (188, 100, "2–3%"),
            (188, 101, "8–12%"),
            (197, 2, "23–49%"),
            (197, 12, "47–78%"),
            (197, 40, "77–100%"),
            (198, 1, "41–100%"),
            (199, 1, "4%"),
            (199, 2, "10–22%"),
        ];
        for (id, count, rate) in table {
            assert_eq!(shown(id, count).as_deref(), Some(rate), "{id} at {count}");
        }
        assert_eq!(shown(9, 1), None);
    }

    #[test]
    fn long_time_outs_weigh_more_than_many() {
        let observed = |words| timeout_rate(words).map(|(observed, _)| observed);
        assert_eq!(observed([100, 100, 3]), Some(25));
        assert_eq!(observed([101, 0, 0]), Some(100));
        assert_eq!(observed([4, 4, 4]), Some(300));
        assert_eq!(observed([u16::MAX; 3]), Some(300));
    }
}
