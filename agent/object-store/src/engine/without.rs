//! Missing volumes of which nothing is needed any more: they are not waited for at the next start.

use std::sync::{Arc, PoisonError};

use agent_object_store_pool::superblock::VolumeNo;

use super::core::{Core, index_error};
use super::entry::RecordAt;
use super::heal::Redundant;
use super::index::{IndexError, Next};
use super::records;
use crate::error::StoreError;

impl Core {
    /// Finds out whether nothing is needed any more of volumes that are missing: all groups are whole
    /// without them, the journal is packed, and no record is on them alone. Looks at all entries of the
    /// index: it is called once for each loss, when healing is done.
    ///
    /// # Errors
    /// A volume or the index failed.
    pub(super) async fn do_without(&self, absent: &[VolumeNo]) -> Result<bool, StoreError> {
        self.pack(&[]).await?;
        if !self.is_whole() || self.doubts.is_any() || self.holds_alone(absent).await? {
            return Ok(false);
        }
        *self.unneeded.lock().unwrap_or_else(PoisonError::into_inner) = absent.to_vec();
        Ok(true)
    }

    /// Volumes that are missing and of which nothing is needed.
    pub(super) fn unneeded(&self) -> Vec<VolumeNo> {
        self.unneeded.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether no group lacks a shard.
    pub(super) fn is_whole(&self) -> bool {
        let Redundant { degraded, lost, .. } = self.redundant();
        degraded == 0 && lost == 0
    }

    /// Whether a record stands in the journals of some volumes alone.
    async fn holds_alone(&self, volumes: &[VolumeNo]) -> Result<bool, StoreError> {
        let (index, volumes) = (Arc::clone(&self.index), volumes.to_vec());
        let look = move || -> Result<bool, IndexError> {
            let mut found = Ok(false);
            for tag in records::TAGS {
                let visit = &mut |key: &[u8], value: &[u8]| {
                    if key.first() != Some(&tag) {
                        return Next::Stop;
                    }
                    found = records::record_at(key, value).map(|record| match record {
                        RecordAt::Journal(places) => {
                            places.iter().all(|place| volumes.contains(&place.volume))
                        }
                        RecordAt::Packed(_) => false,
                    });
                    if matches!(found, Ok(false)) { Next::On } else { Next::Stop }
                };
                index.scan(&[tag], visit)?;
                if !matches!(found, Ok(false)) {
                    break;
                }
            }
            found
        };
        let looked = self.io.run(look).await;
        looked
            .map_err(|error| StoreError::engine("look through the index", error))?
            .map_err(index_error)
    }
}
