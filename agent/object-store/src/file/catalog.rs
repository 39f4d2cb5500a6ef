//! What every volume knows of the whole store: its members and buckets. Pure. Copies that were
//! apart merge to the same result in any order, as every record carries versions and the newer
//! event wins.

use std::collections::BTreeMap;

use super::format::{BucketRecord, CatalogRecord, Member};
use crate::names::{Bucket, Owner, PoolId, UnixMillis, VersionId, VolumeId};
use crate::object::BucketInfo;

/// Members and buckets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Catalog {
    pub(crate) members: BTreeMap<VolumeId, Member>,
    pub(crate) buckets: BTreeMap<Bucket, BucketRecord>,
}

impl Catalog {
    /// Takes in what another copy knows.
    pub(crate) fn merge(&mut self, other: &CatalogRecord) {
        for (id, theirs) in &other.members {
            let ours = self.members.entry(id.clone()).or_insert_with(|| theirs.clone());
            ours.joined = ours.joined.min(theirs.joined);
            ours.gone = ours.gone.max(theirs.gone);
        }
        for (bucket, theirs) in &other.buckets {
            let ours = self.buckets.entry(bucket.clone()).or_insert_with(|| theirs.clone());
            let deleted = ours.deleted.max(theirs.deleted);
            if theirs.created > ours.created {
                *ours = theirs.clone();
            }
            ours.deleted = deleted;
        }
    }

    /// The copy for one volume.
    pub(crate) fn record(
        &self,
        pool: &PoolId,
        volume: &VolumeId,
        lease: VersionId,
    ) -> CatalogRecord {
        CatalogRecord {
            pool: pool.clone(),
            volume: volume.clone(),
            lease,
            members: self.members.clone(),
            buckets: self.buckets.clone(),
        }
    }

    /// Whether a copy holds all that this one does.
    pub(crate) fn same_as(&self, record: &CatalogRecord) -> bool {
        self.members == record.members && self.buckets == record.buckets
    }

    /// Volumes that belong to the pool and were not given up.
    pub(crate) fn living(&self) -> impl Iterator<Item = &VolumeId> {
        self.members.iter().filter(|(_, m)| m.gone.is_none()).map(|(id, _)| id)
    }

    /// Whether a volume was given up.
    pub(crate) fn is_gone(&self, id: &VolumeId) -> bool {
        self.members.get(id).is_some_and(|m| m.gone.is_some())
    }

    /// Adds a volume.
    pub(crate) fn join(&mut self, id: &VolumeId, version: VersionId) {
        self.members.entry(id.clone()).or_insert(Member { joined: version, gone: None });
    }

    /// A bucket that exists.
    pub(crate) fn bucket(&self, bucket: &Bucket) -> Option<BucketInfo> {
        self.buckets.get(bucket).filter(|r| r.exists()).map(|r| info(bucket, r))
    }

    /// Buckets that exist and whose name is greater than `after`, by name.
    pub(crate) fn buckets(&self, after: Option<&Bucket>) -> impl Iterator<Item = BucketInfo> {
        use std::ops::Bound::{Excluded, Unbounded};
        let lower = after.map_or(Unbounded, Excluded);
        self.buckets
            .range::<Bucket, _>((lower, Unbounded))
            .filter(|(_, r)| r.exists())
            .map(|(bucket, r)| info(bucket, r))
    }

    /// Makes a bucket.
    pub(crate) fn create(
        &mut self,
        bucket: &Bucket,
        owner: &Owner,
        created: VersionId,
        created_at: UnixMillis,
    ) {
        let deleted = self.buckets.get(bucket).and_then(|r| r.deleted);
        let record = BucketRecord { owner: owner.clone(), created, created_at, deleted };
        self.buckets.insert(bucket.clone(), record);
    }

    /// Deletes a bucket.
    pub(crate) fn delete(&mut self, bucket: &Bucket, version: VersionId) {
        if let Some(record) = self.buckets.get_mut(bucket) {
            record.deleted = Some(version);
        }
    }

    /// Whether an object of this version went with a former bucket of the name.
    pub(crate) fn buried(&self, bucket: &Bucket, version: VersionId) -> bool {
        self.buckets.get(bucket).is_some_and(|r| r.deleted.is_some_and(|d| d > version))
    }

    /// Drops buckets that no longer exist. Only when no volume is missing.
    pub(crate) fn drop_deleted(&mut self) {
        self.buckets.retain(|_, r| r.exists());
    }
}

impl BucketRecord {
    fn exists(&self) -> bool {
        self.deleted.is_none_or(|deleted| self.created > deleted)
    }
}

fn info(bucket: &Bucket, record: &BucketRecord) -> BucketInfo {
    let (owner, created) = (record.owner.clone(), record.created_at);
    BucketInfo { bucket: bucket.clone(), owner, created }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(n: u64) -> VersionId {
        VersionId::next(VersionId::ZERO, UnixMillis(n + 1))
    }

    fn names() -> (Bucket, VolumeId, PoolId) {
        let bucket = Bucket::new("photos").unwrap();
        (bucket, VolumeId::new("v").unwrap(), PoolId::new("p").unwrap())
    }

    fn owner(name: &str) -> Owner {
        Owner::new(name).unwrap()
    }

    #[test]
    fn a_deletion_is_not_undone_by_a_copy_that_missed_it() {
        let (bucket, volume, pool) = names();
        let mut ours = Catalog::default();
        ours.create(&bucket, &owner("ann"), version(1), UnixMillis(1));
        let stale = ours.record(&pool, &volume, version(1));
        ours.delete(&bucket, version(2));
        ours.merge(&stale);
        assert_eq!(ours.bucket(&bucket), None);
        assert!(ours.buried(&bucket, version(1)));
        ours.create(&bucket, &owner("bob"), version(3), UnixMillis(3));
        ours.merge(&stale);
        assert_eq!(ours.bucket(&bucket).unwrap().owner, owner("bob"));
        assert!(ours.buried(&bucket, version(1)) && !ours.buried(&bucket, version(4)));
    }

    /// A history of one bucket: created and deleted in turn, each event at its own version.
    fn copy(events: &[bool]) -> CatalogRecord {
        let (bucket, volume, pool) = names();
        let mut catalog = Catalog::default();
        for (at, create) in (1..).zip(events) {
            if *create {
                catalog.create(&bucket, &owner(&format!("o{at}")), version(at), UnixMillis(at));
            } else {
                catalog.delete(&bucket, version(at));
            }
        }
        catalog.record(&pool, &volume, version(99))
    }

    proptest! {
        #[test]
        fn copies_merge_to_the_same_in_any_order(
            history in proptest::collection::vec(any::<bool>(), 0..6), a in 0_usize..6, b in 0_usize..6,
        ) {
            let (a, b) = (copy(&history[..a.min(history.len())]), copy(&history[..b.min(history.len())]));
            let merged = |first: &CatalogRecord, second: &CatalogRecord| {
                let mut all = Catalog::default();
                all.merge(first);
                all.merge(second);
                all
            };
            prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        }
    }
}
