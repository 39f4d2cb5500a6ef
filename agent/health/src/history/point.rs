//! What a series did within a stretch of time, and chunks of those as bytes.
//!
//! ```text
//! chunk of a gauge     slot u8 │ count u16 │ min f32 │ mean f32 │ max f32     15 bytes each
//! chunk of a counter   slot u8 │ last f64                                      9 bytes each
//! ```
//!
//! Numbers are little-endian; slots rise. Whatever else stands there is not read.

use crate::sample::SampleKind;

const GAUGE_BYTES: usize = 15;
const COUNTER_BYTES: usize = 9;

/// What a series did within a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Point {
    /// Of a number that goes up and down.
    Gauge {
        /// The lowest value.
        min: f32,
        /// The mean of all.
        mean: f32,
        /// The highest.
        max: f32,
        /// How many there were; more than 65535 count as so many.
        count: u16,
    },
    /// The last value of a number that only grows.
    Counter {
        /// The value.
        last: f64,
    },
}

impl Point {
    /// Of one value.
    #[expect(clippy::cast_possible_truncation, reason = "seven digits are enough for a history")]
    #[must_use]
    pub fn of(kind: SampleKind, value: f64) -> Self {
        match kind {
            SampleKind::Gauge => {
                let value = value as f32;
                Self::Gauge { min: value, mean: value, max: value, count: 1 }
            }
            SampleKind::Counter => Self::Counter { last: value },
        }
    }

    /// With what came later. Points of different kinds are of different series: the later stands.
    #[must_use]
    pub fn and(self, later: Self) -> Self {
        match (self, later) {
            (
                Self::Gauge { min, mean, max, count },
                Self::Gauge { min: low, mean: middle, max: high, count: more },
            ) => {
                let all = f32::from(count) + f32::from(more);
                let share = if all > 0.0 { f32::from(more) / all } else { 0.5 };
                Self::Gauge {
                    min: min.min(low),
                    mean: mean + (middle - mean) * share,
                    max: max.max(high),
                    count: count.saturating_add(more),
                }
            }
            (_, later) => later,
        }
    }
}

/// Points by their slots, as bytes.
pub(super) fn encode(points: &[(u8, Point)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(points.len() * GAUGE_BYTES);
    for (slot, point) in points {
        bytes.push(*slot);
        match point {
            Point::Gauge { min, mean, max, count } => {
                bytes.extend(count.to_le_bytes());
                bytes.extend([min, mean, max].into_iter().flat_map(|value| value.to_le_bytes()));
            }
            Point::Counter { last } => bytes.extend(last.to_le_bytes()),
        }
    }
    bytes
}

/// Points from bytes. What is not whole, not finite or not in order is left out.
pub(super) fn decode(kind: SampleKind, bytes: &[u8]) -> Vec<(u8, Point)> {
    let width = match kind {
        SampleKind::Gauge => GAUGE_BYTES,
        SampleKind::Counter => COUNTER_BYTES,
    };
    let mut points: Vec<(u8, Point)> = Vec::new();
    for record in bytes.chunks_exact(width) {
        let Some((slot, point)) = point(kind, record) else { continue };
        if points.last().is_none_or(|(last, _)| *last < slot) {
            points.push((slot, point));
        }
    }
    points
}

fn point(kind: SampleKind, record: &[u8]) -> Option<(u8, Point)> {
    let (slot, rest) = record.split_first()?;
    let point = match kind {
        SampleKind::Gauge => {
            let (count, rest) = rest.split_first_chunk()?;
            let (min, rest) = rest.split_first_chunk()?;
            let (mean, rest) = rest.split_first_chunk()?;
            let (max, _) = rest.split_first_chunk()?;
            let [min, mean, max] = [min, mean, max].map(|bytes| f32::from_le_bytes(*bytes));
            if ![min, mean, max].iter().all(|value| value.is_finite()) {
                return None;
            }
            Point::Gauge { min, mean, max, count: u16::from_le_bytes(*count) }
        }
        SampleKind::Counter => {
            let last = f64::from_le_bytes(*rest.first_chunk()?);
            last.is_finite().then_some(Point::Counter { last })?
        }
    };
    Some((*slot, point))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gauges_keep_their_ends_and_their_mean() {
        let [a, b, c] = [1.0, 5.0, 3.0].map(|value| Point::of(SampleKind::Gauge, value));
        let wanted = Point::Gauge { min: 1.0, mean: 3.0, max: 5.0, count: 3 };
        assert_eq!(a.and(b).and(c), wanted);
        assert_eq!(a.and(b.and(c)), wanted);
    }

    #[test]
    fn counters_keep_the_last() {
        let [a, b] = [9.0, 5.0].map(|value| Point::of(SampleKind::Counter, value));
        assert_eq!(a.and(b), b);
    }

    proptest! {
        #[test]
        fn points_come_back_from_their_bytes(
            values in prop::collection::btree_map(any::<u8>(), -1e30..1e30_f64, 0..200),
            is_gauge: bool,
        ) {
            let kind = if is_gauge { SampleKind::Gauge } else { SampleKind::Counter };
            let points: Vec<_> =
                values.into_iter().map(|(slot, value)| (slot, Point::of(kind, value))).collect();
            prop_assert_eq!(decode(kind, &encode(&points)), points);
        }

        #[test]
        fn any_bytes_are_read_without_a_crash(bytes: Vec<u8>, is_gauge: bool) {
            let kind = if is_gauge { SampleKind::Gauge } else { SampleKind::Counter };
            let points = decode(kind, &bytes);
            prop_assert_eq!(decode(kind, &encode(&points)), points);
        }
    }
}
