//! Buckets.

use std::sync::Arc;

use super::shared::{Shared, blocking};
use crate::error::StoreError;
use crate::names::{Bucket, Owner};
use crate::object::BucketInfo;
use crate::store::{BucketPage, BucketQuery};

impl Shared {
    pub(crate) async fn create_bucket(
        self: &Arc<Self>,
        bucket: Bucket,
        owner: Owner,
    ) -> Result<BucketInfo, StoreError> {
        self.take_lease().await?;
        let gate = self.buckets.close(&bucket).await;
        let turn = Arc::clone(&self.catalog_turn).lock_owned().await;
        let shared = Arc::clone(self);
        blocking(move || {
            let mut catalog = {
                let mut index = shared.write();
                index.check_open()?;
                if let Some(present) = index.catalog.bucket(&bucket) {
                    return Err(StoreError::BucketExists { bucket, owner: present.owner });
                }
                let now = shared.config.clock.now();
                let version = index.next_version(now)?;
                let mut catalog = index.catalog.clone();
                catalog.create(&bucket, &owner, version, now);
                catalog
            };
            shared.save_catalog(&catalog)?;
            let created = catalog.buckets.get(&bucket).map(|r| r.created_at).unwrap_or_default();
            std::mem::swap(&mut shared.write().catalog, &mut catalog);
            drop((turn, gate));
            Ok(BucketInfo { bucket, owner, created })
        })
        .await
    }

    pub(crate) async fn delete_bucket(self: &Arc<Self>, bucket: Bucket) -> Result<(), StoreError> {
        self.take_lease().await?;
        let gate = self.buckets.close(&bucket).await;
        let turn = Arc::clone(&self.catalog_turn).lock_owned().await;
        let shared = Arc::clone(self);
        blocking(move || {
            let mut catalog = {
                let mut index = shared.write();
                index.bucket(&bucket)?;
                if !index.is_empty(&bucket) {
                    return Err(StoreError::BucketNotEmpty { bucket });
                }
                if let Some(volume) = index.unknown_volume() {
                    let reason =
                        format!("volume {volume} is missing and may hold objects of {bucket}");
                    return Err(StoreError::Unavailable { reason });
                }
                let version = index.next_version(shared.config.clock.now())?;
                let mut catalog = index.catalog.clone();
                catalog.delete(&bucket, version);
                catalog
            };
            shared.save_catalog(&catalog)?;
            std::mem::swap(&mut shared.write().catalog, &mut catalog);
            drop((turn, gate));
            Ok(())
        })
        .await
    }

    pub(crate) fn list_buckets(&self, query: &BucketQuery) -> Result<BucketPage, StoreError> {
        let index = self.read();
        index.check_open()?;
        let wanted = |info: &BucketInfo| {
            info.bucket.as_str().starts_with(&query.prefix)
                && query.owner.as_ref().is_none_or(|owner| *owner == info.owner)
        };
        let mut found = index.catalog.buckets(query.after.as_ref()).filter(wanted);
        let buckets: Vec<BucketInfo> = found.by_ref().take(query.limit).collect();
        let more = found.next().is_some();
        Ok(BucketPage { buckets, more })
    }
}
