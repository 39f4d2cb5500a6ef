//! What requests count in the usage of their bucket.
//!
//! A request that changes something counts with the record of its change, exactly once: the record says
//! what it counts, and the usage of the bucket says which records it has counted ([`Counted`]). What
//! changes nothing is counted in memory, and written down every second as a record of all that was
//! counted since the start ([`Session`]): reading such a record again, or one that was thought to have
//! failed, adds nothing. At most the last second of it is lost by a power cut.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use super::core::Core;
use super::entry::{BucketUsage, decode};
use super::index::{Index, IndexError, Next};
use super::keys;
use super::record::{BucketNo, Change};
use crate::error::StoreError;
use crate::names::Bucket;

/// Requests of a bucket that were carried out, and the bytes of objects that went in and out with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Requests {
    /// GET, HEAD and listings.
    pub reads: u64,
    /// PUT, POST and copies.
    pub writes: u64,
    /// DELETE; each key of those that name several.
    pub deletes: u64,
    /// Bytes of objects that were received; copies receive none.
    pub bytes_in: u64,
    /// Bytes of objects that were handed over to be sent.
    pub bytes_out: u64,
}

impl Requests {
    /// One that wrote something, and received so many bytes.
    pub(crate) fn write(bytes_in: u64) -> Self {
        Self { writes: 1, bytes_in, ..Self::default() }
    }

    /// One that deleted something.
    pub(crate) fn delete() -> Self {
        Self { deletes: 1, ..Self::default() }
    }

    fn zip(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            reads: with(self.reads, other.reads),
            writes: with(self.writes, other.writes),
            deletes: with(self.deletes, other.deletes),
            bytes_in: with(self.bytes_in, other.bytes_in),
            bytes_out: with(self.bytes_out, other.bytes_out),
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }
}

/// Which records of changes are counted: all up to `high`, but for those of `open`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub high: u64,
    /// Under way when `high` was counted.
    pub open: Vec<u64>,
}

/// What was counted in memory since a start of the store, as far as it is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Of two starts the later has the greater number.
    pub number: u64,
    pub requests: Requests,
}

/// What the record of a change counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counting {
    pub lsn: u64,
    pub requests: Requests,
    /// The other records that are under way; none when the record is read again.
    pub open: Option<Vec<u64>>,
}

impl BucketUsage {
    /// Counts a record, unless it is counted.
    pub(crate) fn count(&mut self, Counting { lsn, requests, open }: Counting) {
        let Counted { high, open: left } = &mut self.counted;
        match open {
            Some(now) => {
                *high = lsn.max(*high);
                *left = now.into_iter().filter(|open| *open < *high).collect();
            }
            None if lsn > *high => *high = lsn,
            None => match left.iter().position(|open| *open == lsn) {
                Some(at) => drop(left.remove(at)),
                None => return,
            },
        }
        self.requests = self.requests.plus(requests);
    }

    /// Takes in what a session has counted so far.
    pub(crate) fn count_session(&mut self, so_far: Session) {
        let seen = match self.session {
            seen if seen.number == so_far.number => seen.requests,
            seen if seen.number < so_far.number => Requests::default(),
            _ => return,
        };
        let greatest = so_far.requests.zip(seen, u64::max);
        self.requests = self.requests.plus(greatest.zip(seen, u64::saturating_sub));
        self.session = Session { requests: greatest, ..so_far };
    }
}

/// Counters of a bucket in memory.
#[derive(Debug, Default)]
struct Cells {
    reads: AtomicU64,
    writes: AtomicU64,
    deletes: AtomicU64,
    bytes_out: AtomicU64,
}

impl Cells {
    fn requests(&self) -> Requests {
        let of = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        Requests {
            reads: of(&self.reads),
            writes: of(&self.writes),
            deletes: of(&self.deletes),
            bytes_in: 0,
            bytes_out: of(&self.bytes_out),
        }
    }
}

/// Counts requests of one bucket that change nothing. A clone counts for the same; the default one for
/// none.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Cells>);

impl Meter {
    /// A read was carried out.
    pub fn read(&self) {
        self.0.reads.fetch_add(1, Ordering::Relaxed);
    }

    /// So many bytes of an object were handed over to be sent.
    pub fn sent(&self, bytes: u64) {
        self.0.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A write was carried out that had nothing to change.
    pub(crate) fn write(&self) {
        self.0.writes.fetch_add(1, Ordering::Relaxed);
    }

    /// A deletion was carried out that had nothing to delete.
    pub(crate) fn delete(&self) {
        self.0.deletes.fetch_add(1, Ordering::Relaxed);
    }
}

/// Maps of meters: requests of different buckets seldom meet.
const SHARDS: usize = 16;

type Shard = RwLock<HashMap<BucketNo, Arc<Cells>>>;

/// What counts with records of changes.
#[derive(Debug, Default)]
struct Changes {
    writes: AtomicU64,
    deletes: AtomicU64,
    bytes_in: AtomicU64,
}

/// What is counted in memory, by bucket.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    session: u64,
    shards: [Shard; SHARDS],
    /// What counted with records of changes since the store was opened, of all buckets.
    changes: Changes,
    /// What is written down of it. Held while more is.
    written: tokio::sync::Mutex<BTreeMap<BucketNo, Requests>>,
}

impl Traffic {
    /// Counts for a new session, behind all that the index knows.
    ///
    /// # Errors
    /// The index cannot be read.
    pub(crate) fn behind(index: &dyn Index) -> Result<Self, IndexError> {
        let mut last = 0;
        each_usage(index, |_, usage| last = usage.session.number.max(last))?;
        Ok(Self { session: last + 1, ..Self::default() })
    }

    /// The meter of a bucket.
    pub(crate) fn meter(&self, bucket: BucketNo) -> Meter {
        let at = usize::try_from(bucket.0 % SHARDS as u64).unwrap_or(0);
        let Some(shard) = self.shards.get(at) else { return Meter::default() };
        let found = shard.read().unwrap_or_else(PoisonError::into_inner).get(&bucket).cloned();
        let cells = found.unwrap_or_else(|| {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(shard.entry(bucket).or_default())
        });
        Meter(cells)
    }

    /// A request was carried out that changed something.
    pub(crate) fn changed(&self, requests: Requests) {
        let Changes { writes, deletes, bytes_in } = &self.changes;
        writes.fetch_add(requests.writes, Ordering::Relaxed);
        deletes.fetch_add(requests.deletes, Ordering::Relaxed);
        bytes_in.fetch_add(requests.bytes_in, Ordering::Relaxed);
    }

    /// All requests that were carried out since the store was opened.
    pub(crate) fn served(&self) -> Requests {
        let of = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        let Changes { writes, deletes, bytes_in } = &self.changes;
        let changed = Requests {
            writes: of(writes),
            deletes: of(deletes),
            bytes_in: of(bytes_in),
            ..Requests::default()
        };
        self.all().into_iter().fold(changed, |sum, (_, requests)| sum.plus(requests))
    }

    fn all(&self) -> Vec<(BucketNo, Requests)> {
        let of = |shard: &Shard| {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            shard.iter().map(|(bucket, cells)| (*bucket, cells.requests())).collect::<Vec<_>>()
        };
        self.shards.iter().flat_map(of).collect()
    }
}

/// Buckets that one record tells of: a record has room for some thousands.
const BUCKETS_MAX: usize = 1024;

impl Core {
    /// The meter of a bucket's requests that change nothing.
    ///
    /// # Errors
    /// There is no such bucket.
    pub(super) fn meter(&self, bucket: &Bucket) -> Result<Meter, StoreError> {
        Ok(self.traffic.meter(self.bucket_entry(bucket)?.number))
    }

    /// Writes down what was counted in memory since the last time.
    ///
    /// # Errors
    /// It could not be written down; it is the next time.
    pub(super) async fn write_traffic(&self) -> Result<(), StoreError> {
        let mut written = self.traffic.written.lock().await;
        let is_news = |(bucket, now): &(BucketNo, Requests)| {
            written.get(bucket).copied().unwrap_or_default() != *now
        };
        let news: Vec<_> = self.traffic.all().into_iter().filter(is_news).collect();
        for some in news.chunks(BUCKETS_MAX) {
            let (session, so_far) = (self.traffic.session, some.to_vec());
            self.commit(Change::Traffic { session, so_far }, &[]).await?;
            written.extend(some.iter().copied());
        }
        Ok(())
    }
}

/// Visits the usage of all buckets, also of those that are deleted.
///
/// # Errors
/// The index cannot be read.
pub(crate) fn each_usage(
    index: &dyn Index,
    mut visit: impl FnMut(BucketNo, BucketUsage),
) -> Result<(), IndexError> {
    let mut damage = None;
    index.scan(keys::USAGES, &mut |key, value| {
        let Some(bucket) = keys::usage_of(key) else { return Next::Stop };
        if bucket != BucketNo::OWN {
            match decode(value) {
                Ok(usage) => visit(bucket, usage),
                Err(error) => damage = Some(error),
            }
        }
        Next::On
    })?;
    damage.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes(writes: u64) -> Requests {
        Requests { writes, ..Requests::default() }
    }

    #[test]
    fn a_record_counts_once_in_whatever_order_and_however_often_it_is_read() {
        // 2 and 4 are under way when 3 and 5 are counted.
        let live =
            |lsn, open: &[u64]| Counting { lsn, requests: writes(1), open: Some(open.into()) };
        let again = |lsn| Counting { lsn, requests: writes(1), open: None };
        let mut usage = BucketUsage::default();
        usage.count(live(1, &[2, 3]));
        usage.count(live(3, &[2, 4, 5]));
        usage.count(live(5, &[2, 4, 6]));
        assert_eq!((usage.requests, &usage.counted.open[..]), (writes(3), &[2, 4][..]));
        for _ in 0..2 {
            (1..=6).for_each(|lsn| usage.count(again(lsn)));
            assert_eq!(usage.requests, writes(6));
        }
        assert_eq!(usage.counted, Counted { high: 6, open: Vec::new() });
        // One that is late counts all the same.
        let mut usage = BucketUsage::default();
        usage.count(live(9, &[7, 8]));
        usage.count(live(7, &[8]));
        (1..10).for_each(|lsn| usage.count(again(lsn)));
        assert_eq!(usage.requests, writes(3));
    }

    #[test]
    fn what_a_session_counted_adds_what_is_new_of_it() {
        let mut usage = BucketUsage::default();
        let session = |number, requests| Session { number, requests: writes(requests) };
        for (so_far, total) in [
            (session(1, 3), 3),
            (session(1, 3), 3),
            (session(1, 5), 5),
            (session(1, 4), 5),
            (session(2, 2), 7),
            (session(1, 9), 7),
            (session(2, 3), 8),
        ] {
            usage.count_session(so_far);
            assert_eq!(usage.requests, writes(total), "{so_far:?}");
        }
    }
}
