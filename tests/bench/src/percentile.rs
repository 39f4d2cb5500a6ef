//! Figures from many measurements.

use std::time::Duration;

/// Latencies of one load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Latencies {
    /// Half of the requests took at most this.
    pub(crate) p50: Duration,
    /// 99 of 100 requests took at most this.
    pub(crate) p99: Duration,
    /// The slowest request.
    pub(crate) max: Duration,
}

impl Latencies {
    /// Sums up; none of nothing.
    pub(crate) fn of(mut all: Vec<Duration>) -> Option<Self> {
        all.sort_unstable();
        let max = *all.last()?;
        Some(Self { p50: nearest_rank(&all, 50)?, p99: nearest_rank(&all, 99)?, max })
    }
}

/// The least of the sorted values that `percent` of all do not exceed.
fn nearest_rank(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// The middle value, of two the mean; none of nothing.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let high = *sorted.get(sorted.len() / 2)?;
    let low = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(all: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        all.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let latencies = Latencies::of(milliseconds((1..=200).rev())).unwrap();
        assert_eq!(latencies.p50, Duration::from_millis(100));
        assert_eq!(latencies.p99, Duration::from_millis(198));
        assert_eq!(latencies.max, Duration::from_millis(200));
        let one = Latencies::of(milliseconds([7])).unwrap();
        assert_eq!((one.p50, one.p99, one.max), (one.max, one.max, Duration::from_millis(7)));
        assert_eq!(Latencies::of(Vec::new()), None);
    }

    #[test]
    fn the_median_stands_in_the_middle() {
        assert_eq!(median(&[9.0, 1.0, 4.0]), Some(4.0));
        assert_eq!(median(&[9.0, 1.0, 4.0, 6.0]), Some(5.0));
        assert_eq!(median(&[]), None);
    }
}
