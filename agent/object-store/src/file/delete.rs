//! Deleting objects.

use std::sync::Arc;

use super::format::{self, NameHash, TombstoneRecord};
use super::index::{Entry, SlotNo};
use super::shared::{Shared, blocking};
use super::volume::VolumeIo;
use crate::conditions::WriteConditions;
use crate::error::StoreError;
use crate::names::{Bucket, ObjectKey, VersionId};
use crate::store::{DeleteRequest, Deleted};

/// What a deletion has to do. Decided under the key's latch.
#[derive(Debug)]
enum Plan {
    /// There is nothing.
    Nothing,
    /// The file is removed.
    Remove(Entry, Arc<VolumeIo>),
    /// A file that cannot be read is removed.
    RemoveDamaged(SlotNo, Arc<VolumeIo>),
    /// Some volume that is away may hold a version: all others are told that it is deleted, and the
    /// file is removed if it can be reached.
    Bury(Option<(Entry, Option<Arc<VolumeIo>>)>),
}

impl Shared {
    pub(crate) async fn delete(
        self: &Arc<Self>,
        request: DeleteRequest,
    ) -> Result<Deleted, StoreError> {
        self.read().bucket(&request.bucket)?;
        if !self.read().complete() {
            // For a tombstone. Else a deletion writes nothing, so it works on a full volume.
            self.take_lease().await?;
        }
        let name = NameHash::of(&request.bucket, &request.key);
        let gate = self.buckets.pass(&request.bucket).await;
        let latch = self.keys.lock(name.number()).await;
        let plan = self.plan_delete(&request)?;
        let turn = match &plan {
            Plan::Nothing => return Ok(Deleted { version: None }),
            Plan::Remove(_, io) | Plan::RemoveDamaged(_, io) | Plan::Bury(Some((_, Some(io)))) => {
                Some(io.turn().await?)
            }
            Plan::Bury(_) => None,
        };
        let shared = Arc::clone(self);
        blocking(move || {
            let done = shared.carry_out(&request.bucket, &request.key, &name, plan);
            drop((turn, latch, gate));
            done
        })
        .await
    }

    fn plan_delete(&self, request: &DeleteRequest) -> Result<Plan, StoreError> {
        let DeleteRequest { bucket, key, version, conditions } = request;
        let index = self.read();
        index.bucket(bucket)?;
        let entry = index.entry(bucket, key).cloned();
        let unconditional = version.is_none() && *conditions == WriteConditions::default();
        if entry.is_none()
            && index.complete()
            && let Some(no) = index.damaged_at(bucket, key)
        {
            return match index.writable(no) {
                Some(io) if unconditional => Ok(Plan::RemoveDamaged(no, io)),
                _ => Err(index.unreadable(no, bucket, key)),
            };
        }
        if entry.is_none() && !index.complete() {
            // A volume that is away may hold it, or one that failed while it was being published.
            return if unconditional { Ok(Plan::Bury(None)) } else { Err(index.unknown(key)) };
        }
        conditions.check(entry.as_ref().map(|entry| &entry.etag))?;
        if let (Some(version), Some(entry)) = (version, &entry)
            && entry.version != *version
        {
            // That version is gone already, as no history is kept.
            return Ok(Plan::Nothing);
        }
        Ok(match entry {
            None => Plan::Nothing,
            Some(entry) => match index.writable(entry.slot) {
                Some(io) if index.complete() => Plan::Remove(entry, io),
                io => Plan::Bury(Some((entry, io))),
            },
        })
    }

    fn carry_out(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        name: &NameHash,
        plan: Plan,
    ) -> Result<Deleted, StoreError> {
        let (entry, io) = match plan {
            Plan::Nothing => return Ok(Deleted { version: None }),
            Plan::RemoveDamaged(no, io) => {
                io.remove(&io.object_path(name))?;
                self.write().clear_damaged(no, name);
                return Ok(Deleted { version: None });
            }
            Plan::Remove(entry, io) => {
                io.remove(&io.object_path(name))?;
                self.write().remove(bucket, key);
                (entry, Some(io))
            }
            Plan::Bury(found) => {
                let version = self.write_tombstones(bucket, key, name)?;
                let removed = found.as_ref().and_then(|(_, io)| io.as_ref()).map(|io| {
                    // A failure fences that volume; the tombstone holds.
                    io.remove(&io.object_path(name)).is_ok()
                });
                let mut index = self.write();
                index.bury(*name, version);
                index.remove(bucket, key);
                let Some((entry, io)) = found else { return Ok(Deleted { version: None }) };
                if io.is_none() {
                    index.leave_stale(entry.slot, name);
                }
                (entry, io.filter(|_| removed == Some(true)))
            }
        };
        if io.is_some()
            && let Some(multi) = &entry.multi
        {
            multi.doom();
        }
        Ok(Deleted { version: Some(entry.version) })
    }

    /// Writes a tombstone to every volume that takes writes; one is enough to go on.
    fn write_tombstones(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        name: &NameHash,
    ) -> Result<VersionId, StoreError> {
        let (version, volumes): (_, Vec<(SlotNo, Arc<VolumeIo>)>) = {
            let mut index = self.write();
            (index.next_version(self.config.clock.now())?, index.all_writable())
        };
        let record = TombstoneRecord { bucket: bucket.clone(), key: key.clone(), version };
        let (mut written, mut last) = (false, None);
        for (_, io) in volumes {
            let path = io.tombstone_path(name);
            let tail = format::encode_tail(&record, 0).map_err(|e| io.damaged(&path, &e))?;
            match io.hold().and_then(|_hold| io.write_record(&path, &tail)) {
                Ok(()) => written = true,
                Err(error) => last = Some(error),
            }
        }
        match last {
            _ if written => Ok(version),
            Some(error) => Err(error),
            None => {
                let reason = "no volume takes writes".to_owned();
                Err(StoreError::Unavailable { reason })
            }
        }
    }
}
