//! What a change adds to and takes from the counters of the index: of groups and of buckets. They are
//! written together with the change, so that they are as right as the entries.

use std::collections::BTreeMap;

use agent_object_store_pool::group::run::GroupId;

use super::apply::get;
use super::entry::{BucketUsage, GroupEntry, encode};
use super::index::{Batch, Index, IndexError};
use super::keys;
use super::record::BucketNo;
use super::traffic::{Counting, Session};
use crate::names::UnixMillis;

/// Differences of counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    groups: BTreeMap<GroupId, i64>,
    buckets: BTreeMap<BucketNo, Difference>,
    /// What counts in buckets once and for all.
    counted: BTreeMap<BucketNo, Vec<Count>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Count {
    Change(Counting),
    Session(Session),
}

/// Differences of one bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub objects: i64,
    pub bytes: i64,
    pub uploads: i64,
    pub part_bytes: i64,
}

impl Tally {
    /// So many bytes of a group are needed more.
    pub(crate) fn hold(&mut self, group: GroupId, bytes: u64) {
        *self.groups.entry(group).or_default() += signed(bytes);
    }

    /// So many bytes of a group are needed no more.
    pub(crate) fn release(&mut self, group: GroupId, bytes: u64) {
        *self.groups.entry(group).or_default() -= signed(bytes);
    }

    pub(crate) fn bucket(&mut self, bucket: BucketNo, difference: Difference) {
        let sum = self.buckets.entry(bucket).or_default();
        sum.objects += difference.objects;
        sum.bytes += difference.bytes;
        sum.uploads += difference.uploads;
        sum.part_bytes += difference.part_bytes;
    }

    /// A change counts in a bucket.
    pub(crate) fn count(&mut self, bucket: BucketNo, counting: Counting) {
        self.counted.entry(bucket).or_default().push(Count::Change(counting));
    }

    /// So much a session has counted of a bucket.
    pub(crate) fn count_session(&mut self, bucket: BucketNo, so_far: Session) {
        self.counted.entry(bucket).or_default().push(Count::Session(so_far));
    }

    /// Writes the counters as they are at `now`. What a bucket held before counts up to the latest
    /// moment it was told of: a change that is made again adds nothing.
    ///
    /// # Errors
    /// The index cannot be read.
    pub(crate) fn settle(
        self,
        index: &dyn Index,
        now: UnixMillis,
        batch: &mut Batch,
    ) -> Result<(), IndexError> {
        for (group, difference) in self.groups {
            let key = keys::group(group);
            let mut entry: GroupEntry = get(index, &key)?.unwrap_or_default();
            if difference != 0 || entry == GroupEntry::default() {
                entry.live = entry.live.saturating_add_signed(difference);
                entry.changed = entry.changed.max(now);
                batch.put(key, encode(&entry)?);
            }
        }
        let Self { mut buckets, mut counted, .. } = self;
        for bucket in counted.keys() {
            buckets.entry(*bucket).or_default();
        }
        for (bucket, difference) in buckets {
            let counts = counted.remove(&bucket).unwrap_or_default();
            if difference == Difference::default() && counts.is_empty() {
                continue;
            }
            let key = keys::usage(bucket);
            let mut usage: BucketUsage = get(index, &key)?.unwrap_or_default();
            usage.pass(now);
            usage.objects = usage.objects.saturating_add_signed(difference.objects);
            usage.bytes = usage.bytes.saturating_add_signed(difference.bytes);
            usage.uploads = usage.uploads.saturating_add_signed(difference.uploads);
            usage.part_bytes = usage.part_bytes.saturating_add_signed(difference.part_bytes);
            for count in counts {
                match count {
                    Count::Change(counting) => usage.count(counting),
                    Count::Session(so_far) => usage.count_session(so_far),
                }
            }
            batch.put(key, encode(&usage)?);
        }
        Ok(())
    }
}

impl Tally {
    /// As [`Tally::settle`], but groups that are not known stay so.
    ///
    /// # Errors
    /// The index cannot be read.
    pub(crate) fn settle_known(
        mut self,
        index: &dyn Index,
        batch: &mut Batch,
    ) -> Result<(), IndexError> {
        let mut known = BTreeMap::new();
        for (group, difference) in std::mem::take(&mut self.groups) {
            if index.get(&keys::group(group))?.is_some() {
                known.insert(group, difference);
            }
        }
        self.groups = known;
        self.settle(index, UnixMillis(0), batch)
    }
}

impl BucketUsage {
    /// Counts what is held up to `now`.
    pub(crate) fn pass(&mut self, now: UnixMillis) {
        if let Some(millis) = now.0.checked_sub(self.at.0) {
            let held = u128::from(self.bytes) + u128::from(self.part_bytes);
            self.byte_millis = self.byte_millis.saturating_add(held * u128::from(millis));
            self.at = now;
        }
    }
}

/// A number of bytes as a difference: none is near the limit.
pub(crate) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
