//! From volumes and an index of some age to a store: the journals are read, and what the index does
//! not know yet is made again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use agent_object_store_pool::device::Device;
use agent_object_store_pool::group::header::Kind;
use agent_object_store_pool::group::set::Groups;
use agent_object_store_pool::group::writer::EXTENT;
use agent_object_store_pool::io::Io;
use agent_object_store_pool::journal::{Damage, Found, Journal, JournalConfig, JournalPlace, Lsn};
use agent_object_store_pool::superblock::VolumeNo;
use futures::stream::{self, StreamExt as _};

use super::admission::{Admission, BODY_MEMORY_LEAST};
use super::apply::{apply_counting, get};
use super::bulk::Bulk;
use super::core::{Core, index_error};
use super::doubts::Doubts;
use super::entry::{Applied, FORM, RecordAt, encode};
use super::error::in_words;
use super::events::Events;
use super::heal::Damages;
use super::index::{Batch, Index};
use super::keys;
use super::progress::Progress;
use super::publish::Publisher;
use super::reads::Reads;
use super::rebuild::Rebuilding;
use super::record::{self, Change};
use super::standby::Standby;
use super::traffic::{Counting, Traffic};
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
    /// Length of a group's extents in bytes.
    pub extent: u64,
    /// How journals are written; none for what suits each volume.
    pub journal: Option<JournalConfig>,
    /// The volumes in use, filled by opening.
    pub volumes: Volumes,
    /// Memory for bodies.
    pub admission: Admission,
    /// How many of the volumes may turn out not to be readable.
    pub spare: usize,
    /// What happens is told there.
    pub events: Events,
    /// Tells how far an index is that is made anew.
    pub rebuilding: Arc<Rebuilding>,
    /// The second copy of the index.
    pub standby: Standby,
}

impl Opening {
    pub(crate) fn new(clock: Arc<dyn Clock>, index: Arc<dyn Index>, reserve: u64) -> Self {
        Self {
            events: Events::new(Arc::clone(&clock)),
            clock,
            index,
            io: Io::Threads,
            extent: EXTENT,
            journal: None,
            volumes: Volumes::new(reserve),
            admission: Admission::new(BODY_MEMORY_LEAST),
            spare: 0,
            rebuilding: Arc::default(),
            standby: Standby::new(Arc::default()),
        }
    }
}

/// What was found when the store was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Opened {
    /// Records that the index did not know.
    pub replayed: u64,
    /// Journal segments with damage.
    pub damaged: Vec<(PathBuf, Damage)>,
    /// Volumes that cannot be read and are not in use, with the reason.
    pub failed: Vec<(VolumeNo, String)>,
    /// Whether the index was made from what the volumes hold; not if they hold nothing.
    pub rebuilt: bool,
}

/// What was found on one volume.
type ReadIn = (Lsn, Vec<(Lsn, JournalPlace)>, Vec<(PathBuf, Damage)>);

/// How far the next LSN, and the next bucket's number, is from the greatest that was seen: a volume
/// that is not here may have some that nobody else has. Far more than are under way at once.
const SKIP: u64 = 1 << 20;

/// Records that get further copies at once: they share syncs then.
const COMPLETED_AT_ONCE: usize = 64;

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
        let applied = applied.filter(|applied| applied.form == FORM);
        let is_empty = applied.is_none();
        let applied = applied.unwrap_or(Applied {
            form: FORM,
            lsn: 0,
            next_bucket: 1,
            version: VersionId::ZERO,
        });
        let damages = Damages::new(opening.events.clone());
        let groups = Arc::new(Groups::new(damages.listener()));
        let volumes = opening.volumes;
        let mut opened = Opened::default();
        let known = Lsn(applied.lsn);
        let mut records = Records::new();
        let mut last = known;
        for device in devices {
            let number = device.number();
            match read_in(&volumes, &groups, device, opening.journal, known).await {
                Ok((greatest, new, damaged)) => {
                    last = last.max(greatest);
                    for (lsn, place) in new {
                        records.entry(lsn).or_default().push(place);
                    }
                    opened.damaged.extend(damaged);
                }
                Err(error) if opened.failed.len() < opening.spare => {
                    tracing::error!(volume = %number, %error, "a volume cannot be read in");
                    opened.failed.push((number, in_words(&error)));
                }
                Err(error) => return Err(error),
            }
        }
        let publisher = Publisher::new(Arc::clone(&opening.index));
        let mut core = Self {
            io: opening.io,
            clock: opening.clock,
            admission: opening.admission,
            journal: opening.journal,
            bulk: Bulk::new(
                volumes.clone(),
                Arc::clone(&groups),
                publisher.clone(),
                Kind::Bulk,
                opening.extent,
            ),
            packed: Bulk::new(
                volumes.clone(),
                Arc::clone(&groups),
                publisher.clone(),
                Kind::Packed,
                opening.extent,
            ),
            packing: tokio::sync::Mutex::default(),
            cutting: tokio::sync::Mutex::default(),
            reads: Reads::new(),
            traffic: Traffic::default(),
            damages,
            doubts: Doubts::behind(last.0),
            events: opening.events,
            leave: Mutex::default(),
            healing: Mutex::default(),
            unneeded: Mutex::default(),
            is_full: AtomicBool::new(false),
            unclean: Mutex::default(),
            index: opening.index,
            standby: opening.standby,
            publisher,
            volumes,
            groups,
            progress: Mutex::new(Progress::behind(last.0.saturating_add(SKIP))),
            version: Mutex::new(applied.version),
            next_bucket: AtomicU64::new(applied.next_bucket),
            keys: Latches::new(),
            uploads: Latches::new(),
            buckets: Gates::new(),
        };
        if is_empty {
            opened.rebuilt = !records.is_empty() || !core.groups.all().is_empty();
            let upto = Lsn(core.rebuild(&opening.rebuilding).await?);
            records = records.split_off(&Lsn(upto.0 + 1));
            core.progress().skip(upto.0);
        }
        core.complete(&mut records).await;
        opened.replayed = core.replay(records).await?;
        if is_empty {
            core.uncount_parts_of_objects()?;
        }
        core.traffic = Traffic::behind(&*core.index).map_err(index_error)?;
        core.settle_groups().await?;
        core.next_bucket.fetch_add(SKIP, Ordering::Relaxed);
        // Nothing is freed upon it, so it waits for no standby.
        core.checkpoint_index().await?;
        Ok((Arc::new(core), opened))
    }

    /// Gives records the copies that they lack. One that was cut off half-way was acknowledged to nobody,
    /// but takes the place of what was: that must not depend on the one volume that has it. Found by the
    /// model test.
    async fn complete(&self, records: &mut Records) {
        let Some(due) = self.volumes.copies_due() else { return };
        let short = records.iter_mut().filter(|(_, places)| places.len() < due);
        let complete = async |(lsn, places): (&Lsn, &mut Vec<JournalPlace>)| {
            // One that cannot be read is met again right away.
            if let Ok(Some(record)) = self.first_copy(places).await {
                self.volumes.complete(*lsn, &record, places, due).await;
            }
        };
        stream::iter(short).for_each_concurrent(COMPLETED_AT_ONCE, complete).await;
    }

    /// Makes the changes again that the index does not know.
    async fn replay(&self, records: Records) -> Result<u64, StoreError> {
        let mut count = 0;
        for (lsn, places) in records {
            let Some(bytes) = self.first_copy(&places).await? else { continue };
            let (change, requests, _) = record::decode_counting(&bytes)
                .map_err(|error| StoreError::engine("read a record again", error))?;
            self.remember(&change);
            let record = RecordAt::Journal(places);
            let counting = requests.map(|requests| Counting { lsn: lsn.0, requests, open: None });
            self.publisher
                .publish(|index| apply_counting(index, change, record, counting))
                .map_err(index_error)?;
            count += 1;
        }
        Ok(count)
    }

    /// Numbers that were given out are not given out again.
    pub(super) fn remember(&self, change: &Change) {
        let version = match change {
            Change::Put { object, .. } | Change::Complete { object, .. } => Some(object.version),
            Change::Delete { version, .. } => Some(*version),
            Change::PutPart { part, .. } => Some(part.version),
            Change::CreateBucket { number, .. } => {
                self.next_bucket.fetch_max(number.0 + 1, Ordering::Relaxed);
                None
            }
            _ => None,
        };
        let mut last = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        *last = version.map_or(*last, |version| last.max(version));
    }

    /// Brings the index and its standby to stable storage: what the journals hold up to here is not read
    /// again, whichever of them is opened, and may be freed.
    ///
    /// # Errors
    /// The index failed; or its standby did, and superblocks still name it.
    pub(crate) async fn checkpoint(&self) -> Result<(), StoreError> {
        self.checkpoint_index().await?;
        let settled = self.standby.settled().await;
        settled.map_err(|error| StoreError::engine("write a checkpoint", error))
    }

    async fn checkpoint_index(&self) -> Result<(), StoreError> {
        let (lsn, next_bucket) = {
            let done = self.progress().done();
            (done, self.next_bucket.load(Ordering::Relaxed))
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

    /// Takes a volume into use while others are: one that was away, or a new one. Its journal is not
    /// replayed: what is acknowledged of it stands on the other volumes too, or is in the index.
    ///
    /// # Errors
    /// It cannot be read; it is not in use then.
    pub(crate) async fn add_volume(
        &self,
        device: Device,
    ) -> Result<Vec<(PathBuf, Damage)>, StoreError> {
        let all = Lsn(u64::MAX);
        let (_, _, damaged) =
            read_in(&self.volumes, &self.groups, device, self.journal, all).await?;
        self.bulk.renew();
        self.packed.renew();
        self.damages.retry(None);
        Ok(damaged)
    }

    /// Lets a volume go, also one that does not answer: waits for nothing.
    pub(crate) fn remove_volume(&self, number: VolumeNo) {
        let Some(volume) = self.volumes.remove(number) else { return };
        self.groups.remove_device(number);
        self.bulk.renew();
        self.packed.renew();
        tokio::spawn(async move { volume.journal.close().await });
    }

    /// How far records are in the index, as an LSN.
    pub(crate) fn done(&self) -> u64 {
        self.progress().done()
    }

    /// Ends the journals behind all that was written.
    pub(crate) async fn close(&self) {
        for volume in self.volumes.all() {
            volume.journal.close().await;
        }
    }
}

/// Opens journal and groups of a volume, and takes it into use. Records up to `known` are passed
/// over.
async fn read_in(
    volumes: &Volumes,
    groups: &Groups,
    device: Device,
    config: Option<JournalConfig>,
    known: Lsn,
) -> Result<ReadIn, StoreError> {
    let config = match config {
        Some(config) => config,
        None => {
            let on = device.clone();
            let space = device.io().run(move || on.backend().space(on.root())).await;
            let total = space.ok().and_then(Result::ok).map_or(u64::MAX, |space| space.total);
            JournalConfig::of(device.class()).fitting(total)
        }
    };
    let found = Arc::new(Mutex::new((known, Vec::new())));
    let sink = Arc::clone(&found);
    let visit = move |found: Found| {
        let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
        sink.0 = sink.0.max(found.lsn);
        if found.lsn > known {
            sink.1.push((found.lsn, found.place));
        }
    };
    let (journal, scans) = Journal::open(device.clone(), config, visit)
        .await
        .map_err(|error| StoreError::engine("open a journal", error))?;
    let damaged = scans.iter().filter(|scan| scan.damage.is_any()).map(|scan| {
        let slot = format!("journal/{:04x}", scan.slot);
        (device.root().join(slot), scan.damage)
    });
    let damaged = damaged.collect();
    if let Err(error) = groups.add_device(&device).await {
        journal.close().await;
        return Err(StoreError::engine("open the groups of a volume", error));
    }
    volumes.add(Volume { device, journal });
    let (greatest, new) =
        std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((greatest, new, damaged))
}
