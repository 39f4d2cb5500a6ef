//! How long calls took lately, from counters of them by how long they took.

/// The time in the unit of `ends` below which a share `quantile` (0 to 1) of the calls stayed between two
/// readings; none where there was none, or where the counters began anew.
///
/// `before` and `now` count calls by span: below the first of `ends`, then between each and the next,
/// then above the last. Within a span calls are taken to lie evenly; of those above the last end nothing
/// more is known, so that is told.
#[must_use]
pub fn quantile(ends: &[f64], before: &[u64], now: &[u64], quantile: f64) -> Option<f64> {
    let between: Option<Vec<u64>> =
        now.iter().enumerate().map(|(at, now)| now.checked_sub(*before.get(at)?)).collect();
    let between = between?;
    let all = between.iter().fold(0_u64, |all, count| all.saturating_add(*count));
    if all == 0 {
        return None;
    }
    let rank = crate::sample::number(all) * quantile.clamp(0.0, 1.0);
    let (mut below, mut begin) = (0.0, 0.0);
    for (at, count) in between.iter().enumerate() {
        let Some(end) = ends.get(at) else { break };
        let count = crate::sample::number(*count);
        if count > 0.0 && below + count >= rank {
            return Some(begin + (end - begin) * (rank - below) / count);
        }
        (below, begin) = (below + count, *end);
    }
    ends.last().copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENDS: [f64; 3] = [1.0, 2.0, 10.0];

    #[test]
    fn a_quantile_is_of_the_calls_between_two_readings() {
        let of = |before: [u64; 4], now: [u64; 4], q| quantile(&ENDS, &before, &now, q);
        assert_eq!(of([0; 4], [100, 0, 0, 0], 0.5), Some(0.5));
        assert_eq!(of([100, 0, 0, 0], [100, 0, 10, 0], 0.5), Some(6.0));
        assert_eq!(of([0; 4], [98, 1, 1, 0], 0.99), Some(2.0));
        assert_eq!(of([0; 4], [0, 0, 0, 5], 0.99), Some(10.0), "more than that is not known");
        assert_eq!(of([5; 4], [5; 4], 0.99), None);
        assert_eq!(of([5; 4], [9, 9, 9, 4], 0.99), None, "began anew");
        assert_eq!(quantile(&ENDS, &[], &[1], 0.5), None);
    }

    proptest! {
        #[test]
        fn a_higher_quantile_is_never_shorter(
            counts in prop::array::uniform4(0_u64..1000),
            low in 0.0..1.0_f64,
            more in 0.0..1.0_f64,
        ) {
            let [low, high] = [low, low + (1.0 - low) * more].map(|q| quantile(&ENDS, &[0; 4], &counts, q));
            prop_assert!(low <= high);
            prop_assert!(high.is_none_or(|time| (0.0..=10.0).contains(&time)));
        }
    }
}
