//! From volumes and an index of some age to a store: the journals are read, and what the index does
//! not know yet is made again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use agent_object_store_pool::device::Device;
use agent_object_store_pool::group::set::Groups;
use agent_object_store_pool::group::writer::EXTENT;
use agent_object_store_pool::io::Io;
use agent_object_store_pool::journal::{Damage, Journal, JournalConfig, JournalPlace, Lsn};

use super::apply::{apply, get};
use super::bulk::Bulk;
use super::core::{Core, index_error};
use super::entry::{Applied, FORM, encode};
use super::index::{Batch, Index};
use super::keys;
use super::progress::Progress;
use super::record::{self, Change};
use super::volumes::{Volume, Volumes};
use crate::clock::Clock;
use crate::error::StoreError;
use crate::latch::{Gates, Latches};
use crate::names::VersionId;

/// What the store is opened with.
#[derive(Debug, Clone)]
pub(crate) struct Opening {
    pub clock: Arc<dyn Clock>,
    pub index: Arc<dyn Index>,
    pub io: Io,
    /// Bytes that stay free on every volume.
    pub reserve: u64,
    /// Length of a group's extents in bytes.
    pub extent: u64,
    /// How journals are written; none for what suits each volume.
    pub journal: Option<JournalConfig>,
}

impl Opening {
    pub(crate) fn new(clock: Arc<dyn Clock>, index: Arc<dyn Index>, reserve: u64) -> Self {
        Self { clock, index, io: Io::Threads, reserve, extent: EXTENT, journal: None }
    }
}

/// What was found when the store was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Opened {
    /// Records that the index did not know.
    pub replayed: u64,
    /// Journal segments with damage.
    pub damaged: Vec<(PathBuf, Damage)>,
}

/// Records by LSN, each with its copies.
type Records = BTreeMap<Lsn, Vec<JournalPlace>>;

impl Core {
    /// Opens the store on these volumes.
    ///
    /// # Errors
    /// A journal cannot be read, or the index fails.
    pub(crate) async fn open(
        opening: Opening,
        devices: Vec<Device>,
    ) -> Result<(Arc<Self>, Opened), StoreError> {
        let applied: Option<Applied> = get(&*opening.index, keys::APPLIED).map_err(index_error)?;
        let applied = applied.filter(|applied| applied.form == FORM).unwrap_or(Applied {
            form: FORM,
            lsn: 0,
            next_bucket: 1,
            version: VersionId::ZERO,
        });
        let groups = Arc::new(Groups::new(Arc::new(|damage: &_| {
            tracing::warn!(?damage, "a block is damaged");
        })));
        let volumes = Volumes::new(opening.reserve);
        let mut opened = Opened::default();
        let known = Lsn(applied.lsn);
        let mut records = Records::new();
        let mut last = known;
        for device in devices {
            let config = opening.journal.unwrap_or(JournalConfig::of(device.class()));
            let found = Arc::new(Mutex::new((known, Vec::new())));
            let sink = Arc::clone(&found);
            let visit = move |found: agent_object_store_pool::journal::Found| {
                let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
                sink.0 = sink.0.max(found.lsn);
                if found.lsn > known {
                    sink.1.push((found.lsn, found.place));
                }
            };
            let (journal, scans) = Journal::open(device.clone(), config, visit)
                .await
                .map_err(|error| StoreError::engine("open a journal", error))?;
            for scan in scans.iter().filter(|scan| scan.damage.is_any()) {
                let slot = format!("journal/{:04x}", scan.slot);
                opened.damaged.push((device.root().join(slot), scan.damage));
            }
            let (greatest, new) =
                std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
            last = last.max(greatest);
            for (lsn, place) in new {
                records.entry(lsn).or_default().push(place);
            }
            groups
                .add_device(&device)
                .await
                .map_err(|error| StoreError::engine("open the groups of a volume", error))?;
            volumes.add(Volume { device, journal });
        }
        let core = Self {
            io: opening.io,
            clock: opening.clock,
            bulk: Bulk::new(volumes.clone(), Arc::clone(&groups), opening.extent),
            index: opening.index,
            volumes,
            groups,
            progress: Mutex::new(Progress::behind(last.0)),
            version: Mutex::new(applied.version),
            next_bucket: AtomicU64::new(applied.next_bucket),
            keys: Latches::new(),
            uploads: Latches::new(),
            buckets: Gates::new(),
        };
        opened.replayed = core.replay(records).await?;
        core.checkpoint().await?;
        Ok((Arc::new(core), opened))
    }

    /// Makes the changes again that the index does not know.
    async fn replay(&self, records: Records) -> Result<u64, StoreError> {
        let mut count = 0;
        for (_, places) in records {
            let Some(bytes) = self.first_copy(&places).await? else { continue };
            let (change, _) = record::decode(&bytes)
                .map_err(|error| StoreError::engine("read a record again", error))?;
            self.remember(&change);
            let effect = apply(&*self.index, change, places).map_err(index_error)?;
            self.index.write(&effect.batch).map_err(index_error)?;
            count += 1;
        }
        Ok(count)
    }

    /// Numbers that were given out are not given out again.
    fn remember(&self, change: &Change) {
        let version = match change {
            Change::Put { object, .. } | Change::Complete { object, .. } => Some(object.version),
            Change::Delete { version, .. } => Some(*version),
            Change::PutPart { part, .. } => Some(part.version),
            Change::CreateBucket { number, .. } => {
                self.next_bucket.fetch_max(number.0 + 1, std::sync::atomic::Ordering::Relaxed);
                None
            }
            _ => None,
        };
        let mut last = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        *last = version.map_or(*last, |version| last.max(version));
    }

    /// Brings the index to stable storage; what the journals hold up to here is not read again.
    ///
    /// # Errors
    /// The index failed.
    pub(crate) async fn checkpoint(&self) -> Result<(), StoreError> {
        let (lsn, next_bucket) = {
            let done = self.progress().done();
            (done, self.next_bucket.load(std::sync::atomic::Ordering::Relaxed))
        };
        let version = *self.version.lock().unwrap_or_else(PoisonError::into_inner);
        let applied = Applied { form: FORM, lsn, next_bucket, version };
        let mut batch = Batch::default();
        batch.put(keys::APPLIED.to_vec(), encode(&applied).map_err(index_error)?);
        let index = Arc::clone(&self.index);
        let work = move || index.write(&batch).and_then(|()| index.checkpoint());
        let result = self.io.run(work).await;
        result
            .map_err(|error| StoreError::engine("write a checkpoint", error))?
            .map_err(index_error)
    }

    /// Ends the journals behind all that was written.
    pub(crate) async fn close(&self) {
        for volume in self.volumes.all() {
            volume.journal.close().await;
        }
    }
}
