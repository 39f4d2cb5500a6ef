//! The store over volumes that are open and an index that is up to date: what every request goes
//! through.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_object_store_pool::group::run::GroupId;
use agent_object_store_pool::group::set::Groups;
use agent_object_store_pool::io::Io;
use agent_object_store_pool::journal::{JournalConfig, Lsn};
use agent_object_store_pool::superblock::VolumeNo;
use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;

use super::admission::Admission;
use super::apply::{apply_counting, get};
use super::bulk::Bulk;
use super::doubts::{Attempt, Doubts};
use super::entry::{BucketEntry, ObjectEntry, RecordAt};
use super::error::EngineError;
use super::events::Events;
use super::heal::{Damages, Healing};
use super::index::{Index, IndexError};
use super::keys;
use super::leave::Leave;
use super::progress::Progress;
use super::publish::Publisher;
use super::reads::Reads;
use super::record::{self, BucketNo, Change};
use super::standby::Standby;
use super::traffic::{Counting, Requests, Traffic};
use super::volumes::Volumes;
use crate::clock::Clock;
use crate::error::StoreError;
use crate::latch::{Gates, Latches, number_of};
use crate::names::{Bucket, ObjectKey, UnixMillis, VersionId};

/// The store while its volumes are there.
#[derive(Debug)]
pub(crate) struct Core {
    pub(super) io: Io,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) admission: Admission,
    pub(super) index: Arc<dyn Index>,
    /// The second copy of the index.
    pub(super) standby: Standby,
    pub(super) publisher: Publisher,
    pub(super) volumes: Volumes,
    pub(super) bulk: Bulk,
    /// Packed groups.
    pub(super) packed: Bulk,
    /// Held while the journal is packed.
    pub(super) packing: tokio::sync::Mutex<()>,
    /// Held while an era is cut.
    pub(super) cutting: tokio::sync::Mutex<()>,
    pub(super) reads: Reads,
    pub(super) traffic: Traffic,
    pub(super) damages: Damages,
    pub(super) doubts: Doubts,
    pub(crate) events: Events,
    /// How far the volume is emptied that is to leave.
    pub(super) leave: Mutex<Option<Leave>>,
    pub(super) healing: Mutex<Healing>,
    /// Volumes that are missing and of which nothing is needed.
    pub(super) unneeded: Mutex<Vec<VolumeNo>>,
    /// Whether there was no room when that was last looked at.
    pub(super) is_full: AtomicBool,
    /// Groups that could not be cleaned since the start.
    pub(super) unclean: Mutex<BTreeSet<GroupId>>,
    pub(super) groups: Arc<Groups>,
    /// How journals are written; none for what suits each volume.
    pub(super) journal: Option<JournalConfig>,
    pub(super) progress: Mutex<Progress>,
    /// The last version that was given.
    pub(super) version: Mutex<VersionId>,
    /// The next bucket's number.
    pub(super) next_bucket: AtomicU64,
    pub(super) keys: Latches,
    pub(super) uploads: Latches,
    pub(super) buckets: Gates,
}

/// Of a request that failed because of the index.
pub(super) fn index_error(error: IndexError) -> StoreError {
    StoreError::engine("look into the index", EngineError::Index(error))
}

impl Core {
    /// The bucket of a name.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn bucket_entry(&self, bucket: &Bucket) -> Result<BucketEntry, StoreError> {
        let entry = get(&*self.index, &keys::bucket(bucket)).map_err(index_error)?;
        entry.ok_or_else(|| StoreError::NoSuchBucket { bucket: bucket.clone() })
    }

    /// The present version of an object, if there is one.
    ///
    /// # Errors
    /// The index failed.
    pub(super) fn object_entry(
        &self,
        bucket: BucketNo,
        key: &ObjectKey,
    ) -> Result<Option<ObjectEntry>, StoreError> {
        get(&*self.index, &keys::object(bucket, key.as_str())).map_err(index_error)
    }

    /// The latch of a key. Whoever holds it and one of an upload took that one first.
    pub(super) async fn key_latch(&self, bucket: BucketNo, key: &ObjectKey) -> OwnedMutexGuard<()> {
        self.keys.lock(number_of(&(bucket, key))).await
    }

    /// The next version: greater than any before.
    pub(super) fn next_version(&self, now: UnixMillis) -> VersionId {
        let mut last = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        *last = VersionId::next(*last, now);
        *last
    }

    pub(super) fn next_bucket(&self) -> BucketNo {
        BucketNo(self.next_bucket.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes a change: in the journals of enough volumes, then in the index. The caller holds the
    /// latches of what it changes, and does not drop this before it ends.
    ///
    /// # Errors
    /// The change could not be written down; nothing of it is seen then, unless the journals that
    /// have it are read again after a restart.
    pub(super) async fn commit(&self, change: Change, inline: &[u8]) -> Result<(), StoreError> {
        self.commit_counting(change, None, inline).await
    }

    /// The same for a change that a client asked for: it counts in the usage of its bucket.
    ///
    /// # Errors
    /// As [`Core::commit`].
    pub(super) async fn commit_request(
        &self,
        change: Change,
        requests: Requests,
        inline: &[u8],
    ) -> Result<(), StoreError> {
        self.commit_counting(change, Some(requests), inline).await
    }

    async fn commit_counting(
        &self,
        change: Change,
        requests: Option<Requests>,
        inline: &[u8],
    ) -> Result<(), StoreError> {
        let record = record::encode(&change, requests.as_ref(), inline)
            .map_err(|error| StoreError::engine("write a record down", error))?;
        let attempt = Attempt::of(&change);
        let lsn = self.progress().begin();
        let result = self.commit_record(lsn, change, requests, &record).await;
        match result {
            Ok(()) => {
                requests.into_iter().for_each(|requests| self.traffic.changed(requests));
                self.doubts.clear(&attempt);
            }
            Err(_) => self.doubts.note(lsn, attempt),
        }
        self.progress().end(lsn);
        result
    }

    async fn commit_record(
        &self,
        lsn: u64,
        change: Change,
        requests: Option<Requests>,
        record: &Bytes,
    ) -> Result<(), StoreError> {
        let places = self.volumes.append(Lsn(lsn), record).await?;
        let record = RecordAt::Journal(places);
        let publish = |index: &dyn Index| {
            // Nothing is counted between this and what is written.
            let counting = requests.map(|requests| {
                let open = Some(self.progress().count(lsn));
                Counting { lsn, requests, open }
            });
            apply_counting(index, change, record, counting)
        };
        self.publisher.publish(publish).map_err(index_error)
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
