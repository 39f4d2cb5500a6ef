//! What of a node was used in an era: the difference of counters that only count up.
//!
//! A counter that is lower than before was begun anew (its bucket was deleted and made again, or its index lost): all
//! that it says now was used since. So a difference is never negative, and what was counted between the
//! last reading and the loss is missed rather than invented.

use std::collections::BTreeMap;

use alloy::primitives::{B256, U256, keccak256};
use alloy::sol_types::SolValue;
use serde::{Deserialize, Serialize};

/// So many buckets are named in a record at most; those behind them, by name, are one. A record stays below a MiB.
pub const BUCKETS_MAX: usize = 4096;

/// Milliseconds of an hour.
const HOUR_MS: u128 = 3_600_000;

/// What a bucket's counters say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Bytes held, times the milliseconds that they were held.
    pub byte_millis: u128,
    /// Bytes that came in.
    pub bytes_in: u64,
    /// Bytes that went out.
    pub bytes_out: u64,
    /// Requests.
    pub requests: u64,
}

/// All counters of a node at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reading {
    /// Of each bucket, by its name.
    pub buckets: BTreeMap<String, Counters>,
}

/// What was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Used {
    /// Bytes held, times the milliseconds that they were held.
    pub byte_millis: u128,
    /// Bytes that came in.
    pub bytes_in: u64,
    /// Bytes that went out.
    pub bytes_out: u64,
    /// Requests.
    pub requests: u64,
}

/// What of a node was used in the eras from one reading to the next: one, unless the node was away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRecord {
    /// The first era.
    pub from_era: u64,
    /// The last era, which is the first or a later one.
    pub to_era: u64,
    /// Of all buckets.
    pub total: Used,
    /// Of each bucket that was used, at most [`BUCKETS_MAX`].
    pub buckets: BTreeMap<String, Used>,
    /// Of those that are not named.
    pub others: Used,
}

/// Why there is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("eras {from} to {to} are none: the first is behind the last")]
pub struct NoEras {
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
}

impl Used {
    /// What was used between two readings of one bucket; from its beginning where there was none before.
    #[must_use]
    pub fn between(before: Option<&Counters>, after: &Counters) -> Self {
        let Counters { byte_millis, bytes_in, bytes_out, requests } = *after;
        let whole = Self { byte_millis, bytes_in, bytes_out, requests };
        let Some(before) = before else { return whole };
        let difference = || {
            Some(Self {
                byte_millis: byte_millis.checked_sub(before.byte_millis)?,
                bytes_in: bytes_in.checked_sub(before.bytes_in)?,
                bytes_out: bytes_out.checked_sub(before.bytes_out)?,
                requests: requests.checked_sub(before.requests)?,
            })
        };
        difference().unwrap_or(whole)
    }

    /// Byte-hours, rounded down.
    #[must_use]
    pub fn byte_hours(&self) -> u128 {
        self.byte_millis / HOUR_MS
    }

    fn add(&mut self, more: &Self) {
        self.byte_millis = self.byte_millis.saturating_add(more.byte_millis);
        self.bytes_in = self.bytes_in.saturating_add(more.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(more.bytes_out);
        self.requests = self.requests.saturating_add(more.requests);
    }

    fn words(&self) -> (U256, u64, u64, u64) {
        (U256::from(self.byte_millis), self.bytes_in, self.bytes_out, self.requests)
    }
}

impl UsageRecord {
    /// What was used between two readings at the ends of eras.
    ///
    /// # Errors
    /// There are no such eras.
    pub fn between(
        from_era: u64,
        to_era: u64,
        before: &Reading,
        after: &Reading,
    ) -> Result<Self, NoEras> {
        if from_era > to_era {
            return Err(NoEras { from: from_era, to: to_era });
        }
        let mut record = Self {
            from_era,
            to_era,
            total: Used::default(),
            buckets: BTreeMap::new(),
            others: Used::default(),
        };
        for (name, counters) in &after.buckets {
            let used = Used::between(before.buckets.get(name), counters);
            if used == Used::default() {
                continue;
            }
            record.total.add(&used);
            match record.buckets.len() < BUCKETS_MAX {
                true => drop(record.buckets.insert(name.clone(), used)),
                false => record.others.add(&used),
            }
        }
        Ok(record)
    }

    /// Keccak-256 of its ABI encoding: eras, total, others, names and what each used.
    #[must_use]
    pub fn digest(&self) -> B256 {
        let buckets: Vec<_> =
            self.buckets.iter().map(|(name, used)| (name.clone(), used.words())).collect();
        let total = self.total.words();
        keccak256(
            (self.from_era, self.to_era, total, self.others.words(), buckets).abi_encode_params(),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counters(scale: u64) -> Counters {
        Counters {
            byte_millis: u128::from(scale) * 1000,
            bytes_in: scale * 3,
            bytes_out: scale * 5,
            requests: scale,
        }
    }

    fn reading(buckets: &[(&str, u64)]) -> Reading {
        let named = |(name, scale): &(&str, u64)| ((*name).to_owned(), counters(*scale));
        Reading { buckets: buckets.iter().map(named).collect() }
    }

    #[test]
    fn each_bucket_and_the_total_are_the_difference_of_two_readings() {
        let before = reading(&[("a", 10), ("b", 7), ("gone", 3)]);
        let after = reading(&[("a", 12), ("b", 7), ("new", 4)]);
        let record = UsageRecord::between(5, 5, &before, &after).expect("an era");
        let names: Vec<_> = record.buckets.keys().map(String::as_str).collect();
        assert_eq!(names, ["a", "new"]);
        assert_eq!((record.buckets["a"].requests, record.buckets["new"].requests), (2, 4));
        assert_eq!((record.total.requests, record.total.bytes_out), (6, 30));
        assert_eq!(UsageRecord::between(6, 5, &before, &after), Err(NoEras { from: 6, to: 5 }));
    }

    #[test]
    fn a_counter_that_began_anew_counts_from_there() {
        let used = Used::between(Some(&counters(10)), &counters(4));
        assert_eq!((used.requests, used.byte_millis), (4, 4000));
        // One that is higher does not make up for one that is lower: the bucket is another.
        let mixed = Counters { requests: 99, ..counters(4) };
        assert_eq!(Used::between(Some(&counters(10)), &mixed).requests, 99);
    }

    #[test]
    fn byte_hours_are_rounded_down() {
        let used = Used { byte_millis: 2 * HOUR_MS - 1, ..Used::default() };
        assert_eq!(used.byte_hours(), 1);
    }

    #[test]
    fn buckets_beyond_the_most_are_counted_together() {
        let names: Vec<String> = (0..BUCKETS_MAX + 3).map(|n| format!("{n:06}")).collect();
        let after = Reading { buckets: names.into_iter().map(|n| (n, counters(2))).collect() };
        let record = UsageRecord::between(0, 0, &Reading::default(), &after).expect("an era");
        assert_eq!((record.buckets.len(), record.others.requests), (BUCKETS_MAX, 6));
        assert_eq!(record.total.requests, 2 * (BUCKETS_MAX as u64 + 3));
    }

    #[test]
    fn everything_in_a_record_is_in_its_digest() {
        let (before, after) = (reading(&[("a", 1)]), reading(&[("a", 3), ("b", 1)]));
        let record = UsageRecord::between(5, 6, &before, &after).expect("an era");
        let mut others = vec![record.clone(); 5];
        others[0].from_era = 4;
        others[1].to_era = 7;
        others[2].total.requests += 1;
        others[3].others.bytes_in += 1;
        others[4].buckets.insert("b".to_owned(), Used::default());
        for other in others {
            assert_ne!(other.digest(), record.digest());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        /// Steps of use; 0 begins the counters anew after what was used last was read.
        #[test]
        fn records_add_up_to_what_was_used_and_never_to_more(
            steps in prop::collection::vec((0_u64..4, 1_u64..100, any::<bool>()), 1..40),
        ) {
            let (mut truth, mut recorded, mut now) = (0, 0, 0);
            let (mut last, mut missed) = (Reading::default(), 0);
            for (era, (what, amount, read)) in steps.into_iter().enumerate() {
                if what == 0 {
                    // What was counted since the last reading is lost with the counters.
                    missed += now - last.buckets.get("a").map_or(0, |a| a.requests).min(now);
                    now = 0;
                }
                now += amount;
                truth += amount;
                if read {
                    let after = reading(&[("a", now)]);
                    let era = era as u64;
                    let record = UsageRecord::between(era, era, &last, &after).expect("an era");
                    recorded += record.total.requests;
                    last = after;
                }
                prop_assert!(recorded <= truth);
            }
            if missed == 0 && last == reading(&[("a", now)]) && now == truth {
                prop_assert_eq!(recorded, truth, "without a loss nothing is missed");
            }
        }
    }
}
