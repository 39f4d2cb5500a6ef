//! The clock, and whose it is that goes wrong.

use std::time::{SystemTime, UNIX_EPOCH};

/// How far two clocks may be apart, in milliseconds, before it is said: far more than a time daemon
/// leaves, far less than the minute from which on oracles refuse.
pub const SKEW_WARN_MS: u64 = 1_000;

/// What time it is.
pub(crate) trait Clock: Send + Sync {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// How far another's clock is from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offset {
    /// Milliseconds that the other is ahead; below 0 if it is behind.
    pub ahead_ms: i64,
    /// By how much that may be wrong: half of the way there and back.
    pub error_ms: u64,
}

impl Offset {
    /// From when the question left, what the other's clock said, and when the answer came, each in
    /// milliseconds since 1970.
    pub(crate) fn measured(left: u64, theirs: u64, came: u64) -> Self {
        let way = came.saturating_sub(left) / 2;
        let middle = i128::from(left.saturating_add(way));
        let ahead = i128::from(theirs).saturating_sub(middle);
        let bound =
            |ms: i128| i64::try_from(ms).unwrap_or(if ms < 0 { i64::MIN } else { i64::MAX });
        Self { ahead_ms: bound(ahead), error_ms: way }
    }

    /// Whether the clocks are apart, even if the measurement is as wrong as it can be.
    fn apart(self) -> bool {
        self.ahead_ms.unsigned_abs() >= SKEW_WARN_MS.saturating_add(self.error_ms)
    }
}

/// Whose clock is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// None.
    Nobodys,
    /// The node's: more than half of at least three say so, and all of these the same way.
    Ours,
    /// That of those that are apart: more than half are not.
    Theirs,
    /// There are too few to tell.
    Unclear,
}

/// Whose clock is wrong, by the offsets of all that were measured.
pub(crate) fn whose(offsets: &[Offset]) -> Whose {
    let apart: Vec<_> = offsets.iter().filter(|offset| offset.apart()).collect();
    let ahead = apart.iter().filter(|offset| offset.ahead_ms > 0).count();
    let behind = apart.len().saturating_sub(ahead);
    let majority = |count: usize| count.saturating_mul(2) > offsets.len();
    match (apart.len(), offsets.len()) {
        (0, _) => Whose::Nobodys,
        (_, ..=2) => Whose::Unclear,
        _ if majority(ahead) || majority(behind) => Whose::Ours,
        (apart, all) if majority(all.saturating_sub(apart)) => Whose::Theirs,
        _ => Whose::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_measured_from_the_middle_of_the_way() {
        assert_eq!(
            Offset::measured(1_000, 5_100, 1_200),
            Offset { ahead_ms: 4_000, error_ms: 100 }
        );
        assert_eq!(Offset::measured(1_000, 0, 1_000), Offset { ahead_ms: -1_000, error_ms: 0 });
        assert_eq!(Offset::measured(0, u64::MAX, 0).ahead_ms, i64::MAX);
        // A clock that was set back meanwhile makes no way below nothing.
        assert_eq!(Offset::measured(2_000, 2_000, 1_000), Offset { ahead_ms: 0, error_ms: 0 });
    }

    #[test]
    fn a_slow_answer_is_no_skew() {
        assert!(!Offset { ahead_ms: 1_500, error_ms: 600 }.apart());
        assert!(Offset { ahead_ms: -1_600, error_ms: 600 }.apart());
    }

    #[test]
    fn the_majority_says_whose_clock_is_wrong() {
        let at = |ms: &[i64]| -> Vec<Offset> {
            ms.iter().map(|ms| Offset { ahead_ms: *ms, error_ms: 0 }).collect()
        };
        assert_eq!(whose(&[]), Whose::Nobodys);
        assert_eq!(whose(&at(&[0, 900, -900])), Whose::Nobodys);
        assert_eq!(whose(&at(&[5_000, 5_000, 0])), Whose::Ours);
        assert_eq!(whose(&at(&[0, 0, 600_000])), Whose::Theirs);
        assert_eq!(whose(&at(&[5_000])), Whose::Unclear);
        assert_eq!(whose(&at(&[5_000, 0])), Whose::Unclear);
        assert_eq!(whose(&at(&[5_000, -5_000, 0])), Whose::Unclear);
        assert_eq!(whose(&at(&[5_000, 5_000, 0, 0])), Whose::Unclear);
    }
}
