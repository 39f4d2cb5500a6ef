//! What the store knows, in memory. No I/O here: every method is a short step under the lock.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use super::catalog::Catalog;
use super::format::{CatalogRecord, NameHash};
use super::multi::Multi;
use super::volume::VolumeIo;
use crate::checksum::Checksums;
use crate::error::StoreError;
use crate::names::{
    Bucket, ETag, ObjectKey, PartNumber, UnixMillis, UploadId, VersionId, VolumeId,
};
use crate::object::{BucketInfo, UploadInfo};

/// The number of a volume within this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SlotNo(usize);

/// What is known of a volume. Missing → Attaching → Attached → Missing.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) id: VolumeId,
    pub(crate) phase: Phase,
    pub(crate) since: UnixMillis,
    /// Whether its content was read in since the store was opened.
    pub(crate) known: bool,
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    /// Files that were replaced or deleted while the volume was attaching.
    pub(crate) stale: Vec<PathBuf>,
}

#[derive(Debug)]
pub(crate) enum Phase {
    Missing,
    /// Being read in.
    Attaching(Arc<VolumeIo>),
    /// In use, unless its [`VolumeIo`] is fenced.
    Attached(Arc<VolumeIo>),
}

/// The present version of a key.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) version: VersionId,
    pub(crate) etag: ETag,
    pub(crate) size: u64,
    pub(crate) modified: UnixMillis,
    pub(crate) slot: SlotNo,
    /// Length of record and footer in bytes.
    pub(crate) tail_len: u32,
    /// The parts that hold the body, if it was uploaded so.
    pub(crate) multi: Option<Arc<Multi>>,
}

/// An open upload.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) info: Arc<UploadInfo>,
    pub(crate) slot: SlotNo,
    pub(crate) parts: BTreeMap<PartNumber, Part>,
}

/// A part of an open upload.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) etag: ETag,
    pub(crate) size: u64,
    pub(crate) modified: UnixMillis,
    pub(crate) checksums: Checksums,
    pub(crate) crc: u64,
}

/// What a lookup of a key found.
#[derive(Debug)]
pub(crate) enum Lookup<'a> {
    Found(&'a Entry),
    Absent,
    /// There is a file of that name, but it cannot be read.
    Damaged(SlotNo),
    /// It may be on a volume whose content is not known.
    Unknown,
}

/// How far ahead versions are leased, in milliseconds. The lease is recorded on all volumes before
/// a version of it is given. A store that is opened again begins behind the lease, so its versions
/// are greater than all before, whatever the clock says and whichever volumes are missing. A minute
/// costs a small write per volume every half minute of writing.
const LEASE_MILLIS: u64 = 60_000;

/// What must be left of the lease when an operation begins, in milliseconds.
const LEASE_LEFT_MILLIS: u64 = LEASE_MILLIS / 2;

/// Everything that the store knows.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// The greatest version that was given or seen.
    clock: VersionId,
    /// Up to where versions may be given.
    lease: VersionId,
    pub(crate) catalog: Catalog,
    slots: Vec<Slot>,
    objects: HashMap<Bucket, BTreeMap<ObjectKey, Entry>>,
    tombstones: HashMap<NameHash, VersionId>,
    damaged: HashMap<NameHash, SlotNo>,
    uploads: HashMap<Bucket, BTreeMap<ObjectKey, BTreeMap<UploadId, Upload>>>,
}

impl Index {
    /// The greatest version that was given or seen.
    pub(crate) fn clock(&self) -> VersionId {
        self.clock
    }

    /// A version greater than every one before.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the lease has run out since the operation began, as when
    /// the clock leaps.
    pub(crate) fn next_version(&mut self, now: UnixMillis) -> Result<VersionId, StoreError> {
        let next = VersionId::next(self.clock, now);
        if next > self.lease {
            let reason = "the lease of versions ran out meanwhile".to_owned();
            return Err(StoreError::Unavailable { reason });
        }
        self.clock = next;
        Ok(next)
    }

    /// Whether a copy of the catalogue has the lease.
    pub(crate) fn lease_is_in(&self, record: &CatalogRecord) -> bool {
        record.lease >= self.lease
    }

    /// Whether enough is left of the lease to begin an operation.
    pub(crate) fn lease_holds(&self, now: UnixMillis) -> bool {
        self.clock.max(VersionId::at(now)).later(LEASE_LEFT_MILLIS) <= self.lease
    }

    /// The lease to record next.
    pub(crate) fn next_lease(&self, now: UnixMillis) -> VersionId {
        self.lease.max(self.clock.max(VersionId::at(now)).later(LEASE_MILLIS))
    }

    /// Takes a lease that was recorded.
    pub(crate) fn set_lease(&mut self, lease: VersionId) {
        self.lease = self.lease.max(lease);
    }

    /// Takes note of a version that was found on a volume.
    pub(crate) fn saw(&mut self, version: VersionId) {
        self.clock = self.clock.max(version);
    }

    // Volumes.

    pub(crate) fn slot(&self, no: SlotNo) -> Option<&Slot> {
        self.slots.get(no.0)
    }

    pub(crate) fn slot_mut(&mut self, no: SlotNo) -> Option<&mut Slot> {
        self.slots.get_mut(no.0)
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = (SlotNo, &Slot)> {
        self.slots.iter().enumerate().map(|(no, slot)| (SlotNo(no), slot))
    }

    pub(crate) fn find_slot(&self, id: &VolumeId) -> Option<SlotNo> {
        self.slots().find(|(_, s)| s.id == *id).map(|(no, _)| no)
    }

    /// The slot of a volume, made if there is none.
    pub(crate) fn slot_for(&mut self, id: &VolumeId, now: UnixMillis) -> SlotNo {
        self.find_slot(id).unwrap_or_else(|| {
            self.slots.push(Slot {
                id: id.clone(),
                phase: Phase::Missing,
                since: now,
                known: false,
                objects: 0,
                bytes: 0,
                stale: Vec::new(),
            });
            SlotNo(self.slots.len() - 1)
        })
    }

    /// A volume that can be read.
    pub(crate) fn readable(&self, no: SlotNo) -> Option<Arc<VolumeIo>> {
        match &self.slots.get(no.0)?.phase {
            Phase::Attached(io) => Some(Arc::clone(io)),
            Phase::Missing | Phase::Attaching(_) => None,
        }
    }

    /// A volume that can be written.
    pub(crate) fn writable(&self, no: SlotNo) -> Option<Arc<VolumeIo>> {
        self.readable(no).filter(|io| io.fenced().is_none())
    }

    /// All volumes that can be written.
    pub(crate) fn all_writable(&self) -> Vec<(SlotNo, Arc<VolumeIo>)> {
        self.slots().filter_map(|(no, _)| Some((no, self.writable(no)?))).collect()
    }

    /// Whether every volume of the pool can be written.
    pub(crate) fn complete(&self) -> bool {
        let writable = |id| self.find_slot(id).is_some_and(|no| self.writable(no).is_some());
        self.catalog.living().all(writable)
    }

    /// A volume of the pool whose content is not known, if there is one.
    pub(crate) fn unknown_volume(&self) -> Option<&VolumeId> {
        let known =
            |id| self.find_slot(id).and_then(|no| self.slot(no)).is_some_and(|slot| slot.known);
        self.catalog.living().find(|id| !known(*id))
    }

    /// Refuses everything before the first volume was attached.
    pub(crate) fn check_open(&self) -> Result<(), StoreError> {
        if self.slots.iter().any(|s| s.known) {
            return Ok(());
        }
        let reason = "no volume is attached yet".to_owned();
        Err(StoreError::Unavailable { reason })
    }

    // Buckets.

    pub(crate) fn bucket(&self, bucket: &Bucket) -> Result<BucketInfo, StoreError> {
        self.check_open()?;
        let missing = || StoreError::NoSuchBucket { bucket: bucket.clone() };
        self.catalog.bucket(bucket).ok_or_else(missing)
    }

    /// Whether a bucket holds no objects and no open uploads.
    pub(crate) fn is_empty(&self, bucket: &Bucket) -> bool {
        self.objects.get(bucket).is_none_or(BTreeMap::is_empty)
            && self.uploads.get(bucket).is_none_or(BTreeMap::is_empty)
    }

    // Objects.

    pub(crate) fn entry(&self, bucket: &Bucket, key: &ObjectKey) -> Option<&Entry> {
        self.objects.get(bucket)?.get(key)
    }

    /// The volume that has a file of this key.
    pub(crate) fn present_slot(&self, bucket: &Bucket, key: &ObjectKey) -> Option<SlotNo> {
        let entry = self.entry(bucket, key).map(|entry| entry.slot);
        entry.or_else(|| self.damaged_at(bucket, key))
    }

    pub(crate) fn lookup(&self, bucket: &Bucket, key: &ObjectKey) -> Lookup<'_> {
        if let Some(entry) = self.entry(bucket, key) {
            Lookup::Found(entry)
        } else if let Some(no) = self.damaged_at(bucket, key) {
            Lookup::Damaged(no)
        } else if self.unknown_volume().is_some() {
            Lookup::Unknown
        } else {
            Lookup::Absent
        }
    }

    /// Where the file of a key lies that cannot be read, if there is one.
    pub(crate) fn damaged_at(&self, bucket: &Bucket, key: &ObjectKey) -> Option<SlotNo> {
        if self.damaged.is_empty() {
            return None;
        }
        self.damaged.get(&NameHash::of(bucket, key)).copied()
    }

    /// Takes note of the files of a volume that cannot be read.
    pub(crate) fn set_damaged(&mut self, no: SlotNo, names: &[NameHash]) {
        self.damaged.retain(|_, at| *at != no);
        self.damaged.extend(names.iter().map(|name| (*name, no)));
    }

    /// A file that could not be read is gone.
    pub(crate) fn clear_damaged(&mut self, no: SlotNo, name: &NameHash) {
        if self.damaged.get(name) == Some(&no) {
            self.damaged.remove(name);
        }
    }

    /// Says that the file of a key cannot be read.
    pub(crate) fn unreadable(&self, no: SlotNo, bucket: &Bucket, key: &ObjectKey) -> StoreError {
        let Some(slot) = self.slot(no) else { return self.unknown(key) };
        let volume = slot.id.clone();
        let what = PathBuf::from(NameHash::of(bucket, key).hex());
        let reason = format!("it is the file of {key} and cannot be read");
        StoreError::Damaged { volume, what, reason }
    }

    /// Says that a key may be on a volume whose content is not known.
    pub(crate) fn unknown(&self, key: &ObjectKey) -> StoreError {
        let volume = self.unknown_volume().map_or("that failed", VolumeId::as_str);
        StoreError::Unavailable { reason: format!("{key} may be on volume {volume}, not at hand") }
    }

    /// Says that an entry is on a volume that is not here.
    pub(crate) fn away(&self, no: SlotNo, key: &ObjectKey) -> StoreError {
        let volume = self.slot(no).map_or("unknown", |slot| slot.id.as_str());
        StoreError::Unavailable { reason: format!("{key} is on volume {volume}, not at hand") }
    }

    pub(crate) fn keys(&self, bucket: &Bucket) -> Option<&BTreeMap<ObjectKey, Entry>> {
        self.objects.get(bucket)
    }

    /// Whether a version found on a volume is dead: replaced, deleted, or gone with its bucket.
    pub(crate) fn is_dead(&self, bucket: &Bucket, key: &ObjectKey, version: VersionId) -> bool {
        self.catalog.buried(bucket, version)
            || self.tombstones.get(&NameHash::of(bucket, key)).is_some_and(|t| *t > version)
            || self.entry(bucket, key).is_some_and(|e| e.version > version)
    }

    /// Makes an entry the present one; the one before it is returned.
    pub(crate) fn insert(
        &mut self,
        bucket: &Bucket,
        key: ObjectKey,
        entry: Entry,
    ) -> Option<Entry> {
        self.count(entry.slot, entry.size, true);
        let keys = match self.objects.get_mut(bucket) {
            Some(keys) => keys,
            None => self.objects.entry(bucket.clone()).or_default(),
        };
        let old = keys.insert(key, entry);
        if let Some(old) = &old {
            self.count(old.slot, old.size, false);
        }
        old
    }

    pub(crate) fn remove(&mut self, bucket: &Bucket, key: &ObjectKey) -> Option<Entry> {
        let keys = self.objects.get_mut(bucket)?;
        let old = keys.remove(key)?;
        if keys.is_empty() {
            self.objects.remove(bucket);
        }
        self.count(old.slot, old.size, false);
        Some(old)
    }

    fn count(&mut self, no: SlotNo, bytes: u64, more: bool) {
        let Some(slot) = self.slots.get_mut(no.0) else { return };
        if more {
            (slot.objects, slot.bytes) = (slot.objects + 1, slot.bytes + bytes);
        } else {
            (slot.objects, slot.bytes) =
                (slot.objects.saturating_sub(1), slot.bytes.saturating_sub(bytes));
        }
    }

    /// Drops every object and upload of a volume for which `keep` says no.
    pub(crate) fn retain_on(
        &mut self,
        no: SlotNo,
        keep: &dyn Fn(&Bucket, &ObjectKey, &Entry) -> bool,
    ) -> u64 {
        let (mut dropped, mut bytes) = (0, 0);
        for (bucket, keys) in &mut self.objects {
            keys.retain(|key, entry| {
                let stays = entry.slot != no || keep(bucket, key, entry);
                if !stays {
                    (dropped, bytes) = (dropped + 1, bytes + entry.size);
                }
                stays
            });
        }
        self.objects.retain(|_, keys| !keys.is_empty());
        for keys in self.uploads.values_mut() {
            for uploads in keys.values_mut() {
                uploads.retain(|_, upload| upload.slot != no);
            }
            keys.retain(|_, uploads| !uploads.is_empty());
        }
        self.uploads.retain(|_, keys| !keys.is_empty());
        if let Some(slot) = self.slots.get_mut(no.0) {
            slot.objects = slot.objects.saturating_sub(dropped);
            slot.bytes = slot.bytes.saturating_sub(bytes);
        }
        dropped
    }

    pub(crate) fn totals(&self) -> (u64, u64) {
        self.slots.iter().fold((0, 0), |sum, s| (sum.0 + s.objects, sum.1 + s.bytes))
    }

    // Tombstones.

    pub(crate) fn bury(&mut self, name: NameHash, version: VersionId) {
        let known = self.tombstones.entry(name).or_default();
        *known = version.max(*known);
    }

    /// Takes all tombstones out. Only when no volume is missing.
    pub(crate) fn take_tombstones(&mut self) -> Vec<NameHash> {
        self.tombstones.drain().map(|(name, _)| name).collect()
    }

    // Uploads.

    pub(crate) fn upload(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: &UploadId,
    ) -> Result<&Upload, StoreError> {
        let found = self.uploads.get(bucket).and_then(|k| k.get(key)).and_then(|u| u.get(upload));
        found.ok_or_else(|| match self.unknown_volume() {
            Some(volume) => StoreError::Unavailable {
                reason: format!("volume {volume} is missing and may hold upload {upload}"),
            },
            None => StoreError::NoSuchUpload { upload: upload.clone() },
        })
    }

    pub(crate) fn uploads(
        &self,
        bucket: &Bucket,
    ) -> Option<&BTreeMap<ObjectKey, BTreeMap<UploadId, Upload>>> {
        self.uploads.get(bucket)
    }

    pub(crate) fn insert_upload(&mut self, upload: Upload) {
        let info = &upload.info;
        let keys = self.uploads.entry(info.bucket.clone()).or_default();
        keys.entry(info.key.clone()).or_default().insert(info.upload.clone(), upload);
    }

    pub(crate) fn insert_part(&mut self, info: &UploadInfo, number: PartNumber, part: Part) {
        let keys = self.uploads.get_mut(&info.bucket);
        let uploads = keys.and_then(|keys| keys.get_mut(&info.key));
        if let Some(upload) = uploads.and_then(|uploads| uploads.get_mut(&info.upload)) {
            upload.parts.insert(number, part);
        }
    }

    pub(crate) fn remove_upload(&mut self, info: &UploadInfo) {
        let Some(keys) = self.uploads.get_mut(&info.bucket) else { return };
        if let Some(uploads) = keys.get_mut(&info.key) {
            uploads.remove(&info.upload);
            if uploads.is_empty() {
                keys.remove(&info.key);
            }
        }
        if keys.is_empty() {
            self.uploads.remove(&info.bucket);
        }
    }

    pub(crate) fn upload_count(&self) -> usize {
        self.uploads.values().flat_map(BTreeMap::values).map(BTreeMap::len).sum()
    }
}
