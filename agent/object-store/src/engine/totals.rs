//! How much is stored, and how much was used.

use std::collections::BTreeMap;

use super::apply::get;
use super::core::{Core, index_error};
use super::entry::{BucketEntry, BucketUsage, Departed, decode};
use super::index::{Batch, Index, IndexError, Next};
use super::keys;
use super::record::BucketNo;
use super::traffic::{Requests, each_usage};
use crate::error::StoreError;
use crate::names::{Bucket, Owner};

/// What is stored in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    pub objects: u64,
    /// Bytes of those objects, as their readers count them.
    pub bytes: u64,
    /// Open uploads.
    pub uploads: u64,
    /// Bytes of the parts of open uploads.
    pub part_bytes: u64,
}

/// What a bucket holds and what was used of it since it was made. What was used never goes down, and is
/// kept when the bucket is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketTotals {
    /// Its number: never used again, unlike its name.
    pub number: u64,
    /// Its name.
    pub bucket: Bucket,
    /// Whose it is, or was.
    pub owner: Owner,
    /// Whether it is deleted.
    pub is_deleted: bool,
    /// Objects.
    pub objects: u64,
    /// Bytes of objects, as their readers count them.
    pub bytes: u64,
    /// Open uploads.
    pub uploads: u64,
    /// Bytes of the parts of open uploads.
    pub part_bytes: u64,
    /// Bytes of objects and parts, times the milliseconds that they were held until now.
    pub byte_millis: u128,
    /// Requests.
    pub requests: Requests,
}

impl Core {
    /// How much is stored.
    ///
    /// # Errors
    /// The index failed.
    pub(super) fn totals(&self) -> Result<Totals, StoreError> {
        let mut totals = Totals::default();
        let add = |_, usage: BucketUsage| {
            totals.objects += usage.objects;
            totals.bytes += usage.bytes;
            totals.uploads += usage.uploads;
            totals.part_bytes += usage.part_bytes;
        };
        each_usage(&*self.index, add).map_err(index_error)?;
        Ok(totals)
    }

    /// What each bucket holds and what was used of it, by number; what is counted in memory is written
    /// down before, so that it is not less after a restart.
    ///
    /// # Errors
    /// It could not be written down, or the index failed.
    pub(super) async fn bucket_totals(&self) -> Result<Vec<BucketTotals>, StoreError> {
        self.write_traffic().await?;
        let now = self.clock.now();
        let names = names(&*self.index).map_err(index_error)?;
        let mut found = Vec::new();
        let add = |number: BucketNo, mut usage: BucketUsage| {
            let Some((Departed { bucket, owner }, is_deleted)) = names.get(&number) else { return };
            usage.pass(now);
            found.push(BucketTotals {
                number: number.0,
                bucket: bucket.clone(),
                owner: owner.clone(),
                is_deleted: *is_deleted,
                objects: usage.objects,
                bytes: usage.bytes,
                uploads: usage.uploads,
                part_bytes: usage.part_bytes,
                byte_millis: usage.byte_millis,
                requests: usage.requests,
            });
        };
        each_usage(&*self.index, add).map_err(index_error)?;
        Ok(found)
    }

    /// Forgets what was used of a deleted bucket; says whether it was known.
    ///
    /// # Errors
    /// The index failed.
    pub(super) fn forget_usage(&self, number: u64) -> Result<bool, StoreError> {
        let (bucket, mut was_known) = (BucketNo(number), false);
        let forgotten = |index: &dyn Index| {
            let mut batch = Batch::default();
            let departed: Option<Departed> = get(index, &keys::departed(bucket))?;
            was_known = departed.is_some();
            if was_known {
                batch.delete(keys::departed(bucket));
                batch.delete(keys::usage(bucket));
            }
            Ok(batch)
        };
        self.publisher.publish(forgotten).map_err(index_error)?;
        Ok(was_known)
    }
}

/// Names and owners of all buckets by number, and whether they are deleted.
pub(super) fn names(index: &dyn Index) -> Result<BTreeMap<BucketNo, (Departed, bool)>, IndexError> {
    let (mut found, mut damage) = (BTreeMap::new(), None);
    index.scan(keys::BUCKETS, &mut |key, value| {
        let Some(bucket) = keys::bucket_name(key) else { return Next::Stop };
        match decode::<BucketEntry>(value) {
            Ok(BucketEntry { number, owner, .. }) => {
                found.insert(number, (Departed { bucket, owner }, false));
            }
            Err(error) => damage = Some(error),
        }
        Next::On
    })?;
    index.scan(keys::DEPARTED, &mut |key, value| {
        let Some(number) = keys::departed_of(key) else { return Next::Stop };
        match decode(value) {
            Ok(departed) => drop(found.entry(number).or_insert((departed, true))),
            Err(error) => damage = Some(error),
        }
        Next::On
    })?;
    damage.map_or(Ok(found), Err)
}

/// What a packed group tells of a bucket's usage.
pub(super) fn told(index: &dyn Index) -> Result<Vec<super::packed::UsageLine>, IndexError> {
    let (names, mut lines) = (names(index)?, Vec::new());
    each_usage(index, |bucket, usage| {
        let departed = names.get(&bucket).filter(|(_, is_deleted)| *is_deleted);
        let departed = departed.map(|(departed, _)| departed.clone());
        lines.push(super::packed::UsageLine { bucket, usage, departed });
    })?;
    Ok(lines)
}
