//! What was used in each era, from the store's counters.

use std::collections::{BTreeMap, VecDeque};

use agent_object_store::{BucketTotals, Requests};
use agent_settlement::usage::{BUCKETS_MAX, Counters, Reading, UsageRecord};
use serde::{Deserialize, Serialize};

/// What buckets behind the first [`BUCKETS_MAX`] are counted under. No bucket has such a name.
const OTHERS: &str = "others";

/// The last reading, and what was used between it and those before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UsageBook {
    /// None before the first.
    last: Option<Read>,
    /// The oldest first.
    records: VecDeque<UsageRecord>,
}

/// Counters at the begin of an era.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Read {
    era: u64,
    reading: Reading,
}

impl UsageBook {
    /// Whether the counters are to be read for an era: once in each.
    pub(super) fn wants(&self, era: u64) -> bool {
        // A clock that was ahead when this was read last is no reason to wait until then.
        self.last.as_ref().is_none_or(|last| era > last.era || last.era - era > 1)
    }

    /// Takes counters that were read at the begin of an era. Records of more than `keep` eras ago are dropped.
    pub(super) fn take(&mut self, era: u64, reading: Reading, keep: u64) {
        if !self.wants(era) {
            return;
        }
        if let Some(last) = &self.last
            && let Ok(record) =
                UsageRecord::between(last.era, era.saturating_sub(1), &last.reading, &reading)
        {
            self.records.push_back(record);
        }
        self.last = Some(Read { era, reading });
        self.records.retain(|record| record.to_era >= era.saturating_sub(keep));
    }

    /// Records, the oldest first.
    pub(super) fn records(&self) -> impl Iterator<Item = &UsageRecord> {
        self.records.iter()
    }
}

/// A reading of the store's counters. A bucket goes by number and name: a name can be used again, a number never.
pub(super) fn reading(totals: &[BucketTotals]) -> Reading {
    let mut buckets = BTreeMap::new();
    for (place, totals) in totals.iter().enumerate() {
        let Requests { reads, writes, deletes, bytes_in, bytes_out } = totals.requests;
        let name = match place < BUCKETS_MAX {
            // Zeros keep the order of numbers.
            true => format!("{:020} {}", totals.number, totals.bucket),
            false => OTHERS.to_owned(),
        };
        let counters: &mut Counters = buckets.entry(name).or_default();
        counters.byte_millis = counters.byte_millis.saturating_add(totals.byte_millis);
        counters.bytes_in = counters.bytes_in.saturating_add(bytes_in);
        counters.bytes_out = counters.bytes_out.saturating_add(bytes_out);
        let requests = reads.saturating_add(writes).saturating_add(deletes);
        counters.requests = counters.requests.saturating_add(requests);
    }
    Reading { buckets }
}

#[cfg(test)]
mod tests {
    use agent_object_store::{Bucket, Owner};

    use super::*;

    fn totals(number: u64, requests: u64) -> BucketTotals {
        BucketTotals {
            number,
            bucket: Bucket::new("bucket").expect("a name"),
            owner: Owner::new("owner").expect("a name"),
            is_deleted: number == 1,
            objects: 0,
            bytes: 0,
            uploads: 0,
            part_bytes: 0,
            byte_millis: u128::from(requests) * 7,
            requests: Requests { reads: requests, bytes_in: 5, ..Requests::default() },
        }
    }

    #[test]
    fn an_era_is_what_was_used_between_two_readings_also_where_a_name_was_used_again() {
        let mut book = UsageBook::default();
        assert!(book.wants(4));
        book.take(4, reading(&[totals(1, 10)]), 48);
        assert!(!book.wants(4) && book.records().next().is_none());
        book.take(5, reading(&[totals(1, 12), totals(2, 3)]), 48);
        let record = book.records().next().expect("a record");
        assert_eq!((record.from_era, record.to_era, record.total.requests), (4, 4, 5));
        assert_eq!(record.buckets.len(), 2);
        // Away for two eras; then one more.
        book.take(8, reading(&[totals(1, 12), totals(2, 4)]), 48);
        let eras: Vec<_> = book.records().map(|record| (record.from_era, record.to_era)).collect();
        assert_eq!(eras, [(4, 4), (5, 7)]);
    }

    #[test]
    fn records_go_with_the_dispute_window() {
        let mut book = UsageBook::default();
        for era in 0..100 {
            book.take(era, reading(&[totals(1, era)]), 48);
        }
        assert_eq!(book.records().count(), 48);
        assert_eq!(book.records().next().map(|record| record.to_era), Some(51));
    }

    #[test]
    fn buckets_beyond_the_most_are_read_together() {
        let most = u64::try_from(BUCKETS_MAX).expect("a number");
        let all: Vec<_> = (0..most + 3).map(|number| totals(number, 2)).collect();
        let reading = reading(&all);
        assert_eq!(reading.buckets.len(), BUCKETS_MAX + 1);
        assert_eq!(reading.buckets[OTHERS].requests, 6);
    }
}
