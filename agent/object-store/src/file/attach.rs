//! Volumes come and go.
//!
//! A volume that comes is read in beside the running store; then what it holds is compared with
//! what is known, the newer version of every key wins, and the older files are durably removed.
//! Only then does it take part. Until that point no other step places a file on it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Shared;
use super::catalog::Catalog;
use super::format::{self, CatalogRecord, FormatError, NameHash, ObjectRecord, TombstoneRecord};
use super::index::{Entry, Phase, Slot, SlotNo, Upload};
use super::multi::Multi;
use super::scan::{self, Scan, ScannedObject};
use super::volume::VolumeIo;
use crate::error::StoreError;
use crate::names::VolumeId;
use crate::object::UploadInfo;
use crate::volumes::{AttachError, AttachReport, ForgetError, Volume};

impl Shared {
    /// Attaches a volume. See [`super::FileStore::attach`].
    pub(crate) async fn attach(
        self: &Arc<Self>,
        volume: Volume,
    ) -> Result<AttachReport, AttachError> {
        let backend = Arc::clone(&self.config.backend);
        let io = Arc::new(VolumeIo::new(volume, backend, self.config.reserve_bytes));
        let no = self.begin_attach(&io)?;
        let (shared, volume) = (Arc::clone(self), Arc::clone(&io));
        // A task of its own, so that it ends in a defined state when the caller goes away.
        let task = tokio::spawn(async move {
            let done = shared.run_attach(no, &volume).await;
            if done.is_err() {
                shared.abandon_attach(no, &volume);
            }
            done
        });
        let report = task.await.unwrap_or_else(|_| Err(interrupted(&io)))?;
        tracing::info!(volume = %io.id, path = %io.path.display(), removed = report.removed,
            damaged = report.damaged.len(), joined = report.joined, "volume attached");
        Ok(report)
    }

    fn begin_attach(&self, io: &Arc<VolumeIo>) -> Result<SlotNo, AttachError> {
        let now = self.config.clock.now();
        let mut index = self.write();
        if index.catalog.is_gone(&io.id) {
            return Err(AttachError::Forgotten { id: io.id.clone() });
        }
        let no = index.slot_for(&io.id, now);
        if let Some(slot) = index.slot_mut(no) {
            if let Phase::Attaching(other) | Phase::Attached(other) = &slot.phase {
                let (id, path) = (other.id.clone(), other.path.clone());
                return Err(AttachError::AlreadyAttached { id, path });
            }
            slot.phase = Phase::Attaching(Arc::clone(io));
            slot.since = now;
        }
        Ok(no)
    }

    fn abandon_attach(&self, no: SlotNo, io: &Arc<VolumeIo>) {
        let now = self.config.clock.now();
        io.release();
        if let Some(slot) = self.write().slot_mut(no)
            && slot.is_attaching(io)
        {
            (slot.phase, slot.since) = (Phase::Missing, now);
            slot.stale.clear();
        }
    }

    async fn run_attach(
        self: &Arc<Self>,
        no: SlotNo,
        io: &Arc<VolumeIo>,
    ) -> Result<AttachReport, AttachError> {
        let (shared, volume) = (Arc::clone(self), Arc::clone(io));
        let read_in = tokio::task::spawn_blocking(move || shared.read_in(&volume));
        let (catalog, scan) = read_in.await.map_err(|_| interrupted(io))??;
        let turn = Arc::clone(&self.catalog_turn).lock_owned().await;
        let (shared, volume) = (Arc::clone(self), Arc::clone(io));
        let take_in = tokio::task::spawn_blocking(move || {
            let done = shared.take_in(no, &volume, catalog, scan);
            drop(turn);
            done
        });
        take_in.await.map_err(|_| interrupted(io))?
    }

    /// Locks the volume, makes it one of ours if it is blank, and reads it in.
    fn read_in(&self, io: &Arc<VolumeIo>) -> Result<(Option<CatalogRecord>, Scan), AttachError> {
        match io.backend.list_dir(&io.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = io.backend.create_dir(&io.root);
                made.map_err(|e| failed("create", &io.root, e))?;
            }
            other => drop(other.map_err(|e| failed("list", &io.root, e))?),
        }
        let lock_path = io.root.join("lock");
        let lock = io.backend.lock(&lock_path).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => AttachError::InUse { path: io.path.clone() },
            _ => failed("lock", &lock_path, e),
        })?;
        io.lock_with(lock);
        let catalog = self.read_catalog(io)?;
        if catalog.is_none() {
            lay_out(io)?;
        }
        Ok((catalog, scan::scan(io)?))
    }

    fn read_catalog(&self, io: &VolumeIo) -> Result<Option<CatalogRecord>, AttachError> {
        let path = io.catalog_path();
        let file = match io.backend.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                check_blank(io)?;
                return Ok(None);
            }
            other => other.map_err(|e| failed("open", &path, e))?,
        };
        let record: CatalogRecord = match format::read_tail(&*file) {
            Ok(tail) => tail.record,
            Err(FormatError::Newer(found)) => {
                let (path, known) = (io.path.clone(), format::FORMAT);
                return Err(AttachError::NewerFormat {
                    path,
                    found: found.into(),
                    known: known.into(),
                });
            }
            Err(FormatError::Read(source)) => return Err(failed("read", &path, source)),
            Err(error) => return Err(AttachError::Damaged { path, reason: error.to_string() }),
        };
        if record.pool != self.config.pool {
            let (found, pool) = (record.pool.to_string(), self.config.pool.to_string());
            return Err(AttachError::ForeignPool { path: io.path.clone(), found, pool });
        }
        if record.volume != io.id {
            let (found, id) = (record.volume, io.id.clone());
            return Err(AttachError::WrongVolume { path: io.path.clone(), found, id });
        }
        Ok(Some(record))
    }

    /// Compares what the volume holds with what is known, and lets it take part.
    fn take_in(
        &self,
        no: SlotNo,
        io: &Arc<VolumeIo>,
        record: Option<CatalogRecord>,
        scan: Scan,
    ) -> Result<AttachReport, AttachError> {
        let mut report = AttachReport {
            joined: record.is_none(),
            removed: scan.removed,
            damaged: scan.damaged.clone(),
        };
        let (before, catalog) = self.merge_catalog(io, record.as_ref())?;
        let leftovers = scan.leftovers.clone();
        let (dead, replaced) = self.merge_scan(no, io, scan);
        let removed = dead.len() + replaced.len() + leftovers.len();
        report.removed += u64::try_from(removed).unwrap_or(u64::MAX);
        for upload in &leftovers {
            io.remove_upload_dir(upload)?;
        }
        remove_dead(io, &dead)?;
        for (name, old) in &replaced {
            self.remove_replaced(name, old);
        }
        // The volume's own copy first: it must know the pool before anything is placed on it.
        let up_to_date = |r: CatalogRecord| catalog.same_as(&r) && self.read().lease_is_in(&r);
        if !record.is_some_and(up_to_date) {
            let lease = self.read().next_lease(self.config.clock.now());
            self.save_catalog_to(io, &catalog, lease)?;
        }
        if before != catalog {
            self.save_catalog_to_all(&catalog);
        }
        self.open_slot(no, io)?;
        self.mark_open();
        self.purge_if_complete();
        Ok(report)
    }

    /// Takes in what the volume knows of the store; returns the catalogue before and after.
    fn merge_catalog(
        &self,
        io: &VolumeIo,
        record: Option<&CatalogRecord>,
    ) -> Result<(Catalog, Catalog), AttachError> {
        let now = self.config.clock.now();
        let mut index = self.write();
        let before = index.catalog.clone();
        if let Some(record) = record {
            index.saw(record.lease);
            index.catalog.merge(record);
        }
        if index.catalog.is_gone(&io.id) {
            return Err(AttachError::Forgotten { id: io.id.clone() });
        }
        let joined = index.clock();
        index.catalog.join(&io.id, joined);
        let members: Vec<VolumeId> = index.catalog.living().cloned().collect();
        for id in members {
            index.slot_for(&id, now);
        }
        Ok((before, index.catalog.clone()))
    }

    /// Puts what lives into the index. Returns the files on this volume that are dead, and entries
    /// on other volumes that are.
    fn merge_scan(&self, no: SlotNo, io: &Arc<VolumeIo>, scan: Scan) -> (Vec<PathBuf>, Vec<Old>) {
        let mut index = self.write();
        let (mut dead, mut replaced) = (Vec::new(), Vec::new());
        // What was on the volume before it went away counts no more; the scan says what is there.
        index.retain_on(no, &|_, _, _| false);
        index.set_damaged(no, &scan.damaged_objects);
        for TombstoneRecord { bucket, key, version } in &scan.tombstones {
            let name = NameHash::of(bucket, key);
            index.saw(*version);
            index.bury(name, *version);
            let older = index.entry(bucket, key).is_some_and(|e| e.version < *version);
            if older && let Some(old) = index.remove(bucket, key) {
                replaced.push((name, old));
            }
        }
        for object in &scan.objects {
            let ObjectRecord { bucket, key, version, .. } = &object.record;
            index.saw(*version);
            if index.is_dead(bucket, key, *version) {
                dead.push(io.object_path(&object.name));
            } else if let Some(old) = index.insert(bucket, key.clone(), entry(no, io, object)) {
                replaced.push((object.name, old));
            }
        }
        for upload in scan.uploads {
            index.saw(upload.record.version);
            let info = Arc::new(UploadInfo::from(upload.record));
            index.insert_upload(Upload { info, slot: no, parts: upload.parts });
        }
        (dead, replaced)
    }

    /// Removes the file of an entry that a version on another volume, or a tombstone, replaced.
    fn remove_replaced(&self, name: &NameHash, old: &Entry) {
        // The latch keeps writers from placing a new version there. None can have done so before:
        // that would have made the other version the older one.
        let _latch = self.keys.lock_blocking(name.number());
        let Some(io) = self.read().writable(old.slot) else {
            // Read in again, it will be found to be older.
            return;
        };
        let path = io.object_path(name);
        let current = io.backend.open(&path).map_err(FormatError::from);
        let current = current.and_then(|file| format::read_tail::<ObjectRecord>(&*file));
        if current.is_ok_and(|tail| tail.record.version == old.version)
            // A failure fences that volume, so it is read in again before it counts.
            && io.remove(&path).is_ok()
            && let Some(multi) = &old.multi
        {
            multi.doom();
        }
    }

    /// Lets a volume take part, when nothing on it was replaced or deleted meanwhile.
    fn open_slot(&self, no: SlotNo, io: &Arc<VolumeIo>) -> Result<(), AttachError> {
        loop {
            let stale = {
                let mut index = self.write();
                let Some(slot) = index.slot_mut(no) else { return Ok(()) };
                if !slot.is_attaching(io) {
                    return Err(interrupted(io));
                }
                if slot.stale.is_empty() {
                    slot.phase = Phase::Attached(Arc::clone(io));
                    slot.since = self.config.clock.now();
                    slot.known = true;
                    return Ok(());
                }
                std::mem::take(&mut slot.stale)
            };
            remove_dead(io, &stale)?;
        }
    }

    /// Drops tombstones and deleted buckets when no volume can bring older versions any more.
    pub(crate) fn purge_if_complete(&self) {
        let (names, volumes) = {
            let mut index = self.write();
            if !index.complete() {
                return;
            }
            index.catalog.drop_deleted();
            (index.take_tombstones(), index.all_writable())
        };
        for (_, io) in volumes {
            for name in &names {
                // One that stays is harmless: it concerns older versions only.
                if io.remove_lazily(&io.tombstone_path(name)).is_err() {
                    break;
                }
            }
        }
    }

    /// Detaches a volume. See [`super::FileStore::detach`].
    pub(crate) fn detach(&self, id: &VolumeId) -> bool {
        let now = self.config.clock.now();
        let mut index = self.write();
        let Some(slot) = index.find_slot(id).and_then(|no| index.slot_mut(no)) else {
            return false;
        };
        let phase = std::mem::replace(&mut slot.phase, Phase::Missing);
        let was = !matches!(phase, Phase::Missing);
        if was {
            slot.since = now;
            slot.stale.clear();
        }
        drop(index);
        if let Phase::Attached(io) | Phase::Attaching(io) = phase {
            io.release();
            tracing::warn!(volume = %id, "volume detached");
        }
        was
    }

    /// Gives a missing volume up. See [`super::FileStore::forget`].
    pub(crate) fn forget(&self, id: &VolumeId) -> Result<u64, ForgetError> {
        let (mut catalog, no, gone) = {
            let mut index = self.write();
            if index.catalog.is_gone(id) || !index.catalog.members.contains_key(id) {
                return Err(ForgetError::Unknown { id: id.clone() });
            }
            let no = index.slot_for(id, self.config.clock.now());
            if !matches!(index.slot(no).map(|s| &s.phase), Some(Phase::Missing)) {
                return Err(ForgetError::Attached { id: id.clone() });
            }
            (index.catalog.clone(), no, index.clock())
        };
        if let Some(member) = catalog.members.get_mut(id) {
            member.gone = Some(gone);
        }
        let saved = self.save_catalog(&catalog);
        saved.map_err(|source| ForgetError::Record { id: id.clone(), source })?;
        let lost = {
            let mut index = self.write();
            index.catalog = catalog;
            index.set_damaged(no, &[]);
            index.retain_on(no, &|_, _, _| false)
        };
        tracing::warn!(volume = %id, objects = lost, "volume given up");
        self.purge_if_complete();
        Ok(lost)
    }
}

/// An entry that was replaced, with the name of its file.
type Old = (NameHash, Entry);

fn interrupted(io: &VolumeIo) -> AttachError {
    AttachError::Interrupted { id: io.id.clone(), path: io.path.clone() }
}

impl Slot {
    /// Whether it is being attached by this attempt and no other.
    fn is_attaching(&self, io: &Arc<VolumeIo>) -> bool {
        matches!(&self.phase, Phase::Attaching(other) if Arc::ptr_eq(other, io))
    }
}

fn entry(no: SlotNo, io: &Arc<VolumeIo>, object: &ScannedObject) -> Entry {
    let record = &object.record;
    let multi = record.multi.as_ref();
    Entry {
        version: record.version,
        etag: record.etag.clone(),
        size: record.size,
        modified: record.modified,
        slot: no,
        tail_len: object.tail_len,
        multi: multi.map(|m| Arc::new(Multi::new(Arc::clone(io), m.upload.clone()))),
    }
}

/// Removes files durably. Parts of removed objects go when the volume is attached next.
fn remove_dead(io: &VolumeIo, dead: &[PathBuf]) -> Result<(), StoreError> {
    let mut dirs: Vec<&Path> = dead.iter().map(|path| super::volume::parent(path)).collect();
    dirs.sort_unstable();
    dirs.dedup();
    for path in dead {
        io.remove_lazily(path)?;
    }
    dirs.into_iter().try_for_each(|dir| io.sync_dir(dir))
}

/// Refuses a folder that has objects but no catalogue: one that was lost, not a blank one.
fn check_blank(io: &VolumeIo) -> Result<(), AttachError> {
    let objects = io.root.join("objects");
    for dir in format::object_dirs() {
        let dir = objects.join(dir);
        match io.backend.list_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("list", &dir, error)),
            Ok(names) if names.is_empty() => {}
            Ok(_) => {
                let reason = "it holds objects but no catalogue".to_owned();
                return Err(AttachError::Damaged { path: io.root.clone(), reason });
            }
        }
    }
    Ok(())
}

/// Makes the folders of a blank volume.
fn lay_out(io: &VolumeIo) -> Result<(), AttachError> {
    let make = |path: &Path| io.backend.create_dir(path).map_err(|e| failed("create", path, e));
    let sync = |path: &Path| io.backend.sync_dir(path).map_err(|e| failed("sync", path, e));
    for dir in ["tmp", "objects", "multi", "tombstones"] {
        make(&io.root.join(dir))?;
    }
    let objects = io.root.join("objects");
    for dir in format::object_dirs() {
        make(&objects.join(dir))?;
    }
    sync(&objects)?;
    sync(&io.root)?;
    sync(&io.path)
}

fn failed(operation: &'static str, path: &Path, source: io::Error) -> AttachError {
    AttachError::Io { operation, path: path.to_owned(), source }
}
