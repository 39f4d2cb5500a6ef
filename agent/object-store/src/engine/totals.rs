//! How much is stored.

use super::core::{Core, index_error};
use super::entry::{BucketUsage, decode};
use super::index::Next;
use super::keys;
use super::record::BucketNo;
use crate::error::StoreError;

/// What is stored in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    pub objects: u64,
    /// Bytes of those objects, as their readers count them.
    pub bytes: u64,
    /// Open uploads.
    pub uploads: u64,
}

impl Core {
    /// How much is stored.
    ///
    /// # Errors
    /// The index failed.
    pub(super) fn totals(&self) -> Result<Totals, StoreError> {
        let (mut totals, mut failed) = (Totals::default(), None);
        let own = keys::usage(BucketNo::OWN);
        let visit = &mut |key: &[u8], value: &[u8]| {
            if !key.starts_with(keys::USAGES) {
                return Next::Stop;
            }
            if key == own {
                return Next::On;
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
