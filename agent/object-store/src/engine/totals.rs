//! How much is stored.

use super::apply::get;
use super::core::{Core, index_error};
use super::entry::{BucketEntry, BucketUsage, decode};
use super::index::{IndexError, Next};
use super::keys;
use crate::error::StoreError;
use crate::names::{Bucket, UnixMillis};

/// What is stored in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    pub objects: u64,
    /// Bytes of those objects, as their readers count them.
    pub bytes: u64,
    /// Open uploads.
    pub uploads: u64,
}

/// What a bucket holds, and held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BucketTotals {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Open uploads.
    pub uploads: u64,
    /// Bytes of parts of these.
    pub part_bytes: u64,
    /// Bytes of objects and parts, times the hours that they were held.
    pub byte_hours: u128,
}

const MILLIS_PER_HOUR: u128 = 3_600_000;

impl Core {
    /// What each bucket holds, in the order of names, up to `now`.
    ///
    /// # Errors
    /// The index failed.
    pub(super) fn totals_by_bucket(
        &self,
        now: UnixMillis,
    ) -> Result<Vec<(Bucket, BucketTotals)>, StoreError> {
        let mut buckets: Vec<(Bucket, Result<BucketEntry, IndexError>)> = Vec::new();
        let visit = &mut |key: &[u8], value: &[u8]| match keys::bucket_name(key) {
            Some(bucket) => {
                buckets.push((bucket, decode(value)));
                Next::On
            }
            None => Next::Stop,
        };
        self.index.scan(keys::BUCKETS, visit).map_err(index_error)?;
        let totals = |(bucket, entry): (Bucket, Result<BucketEntry, IndexError>)| {
            let number = entry.map_err(index_error)?.number;
            let usage = get(&*self.index, &keys::usage(number)).map_err(index_error)?;
            let mut usage: BucketUsage = usage.unwrap_or_default();
            usage.pass(now);
            let BucketUsage { objects, bytes, uploads, part_bytes, byte_millis, .. } = usage;
            let byte_hours = byte_millis / MILLIS_PER_HOUR;
            Ok((bucket, BucketTotals { objects, bytes, uploads, part_bytes, byte_hours }))
        };
        buckets.into_iter().map(totals).collect()
    }

    /// How much is stored.
    ///
    /// # Errors
    /// The index failed.
    pub(super) fn totals(&self) -> Result<Totals, StoreError> {
        let (mut totals, mut failed) = (Totals::default(), None);
        let visit = &mut |key: &[u8], value: &[u8]| {
            if !key.starts_with(keys::USAGES) {
                return Next::Stop;
            }
            match decode::<BucketUsage>(value) {
                Ok(usage) => {
                    totals.objects += usage.objects;
                    totals.bytes += usage.bytes;
                    totals.uploads += usage.uploads;
                }
                Err(error) => failed = Some(error),
            }
            Next::On
        };
        self.index.scan(keys::USAGES, visit).map_err(index_error)?;
        failed.map_or(Ok(totals), |error| Err(index_error(error)))
    }
}
