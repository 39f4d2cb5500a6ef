//! Uploads in parts. Parts are files of their own; completing an upload publishes a record that
//! names them, so nothing is copied.

use std::collections::HashSet;
use std::sync::Arc;

use super::format::{
    self, ChecksumRecord, MultiRecord, NameHash, PartRecord, PartSlice, UploadRecord,
};
use super::index::{Part, Upload};
use super::shared::{Shared, blocking};
use super::stage::Verified;
use super::volume::VolumeIo;
use super::write::{Feed, Publication, receive};
use crate::checksum::{Algorithm, ChecksumScope, Checksums};
use crate::error::StoreError;
use crate::latch::number_of;
use crate::list::{After, Step, UploadPage, UploadQuery, Walk};
use crate::names::{Bucket, ETag, PartNumber, UploadId};
use crate::object::{Body, ObjectInfo, PartInfo, UploadInfo};
use crate::store::{CompleteRequest, GetRequest, PartPage, UploadRequest, UploadTarget};

impl From<UploadRecord> for UploadInfo {
    fn from(record: UploadRecord) -> Self {
        let UploadRecord { upload, bucket, key, owner, begun, attributes, note, .. } = record;
        Self { upload, bucket, key, owner, begun, attributes, note }
    }
}

impl Shared {
    pub(crate) async fn create_upload(
        self: &Arc<Self>,
        request: UploadRequest,
    ) -> Result<UploadInfo, StoreError> {
        let UploadRequest { bucket, key, owner, attributes, note } = request;
        self.read().bucket(&bucket)?;
        self.take_lease().await?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| StoreError::Unavailable {
            reason: format!("the system gives no random numbers: {error}"),
        })?;
        let name = NameHash::of(&bucket, &key);
        let present = self.read().present_slot(&bucket, &key);
        let (slot, io) = self.place(&name, present, 0)?;
        let gate = self.buckets.pass(&bucket).await;
        let turn = io.turn().await?;
        let shared = Arc::clone(self);
        blocking(move || {
            shared.read().bucket(&bucket)?;
            let begun = shared.config.clock.now();
            let version = shared.write().next_version(begun)?;
            let upload = UploadId::from_random(random);
            let record =
                UploadRecord { upload, bucket, key, owner, version, begun, attributes, note };
            write_upload(&io, &record)?;
            let info = UploadInfo::from(record);
            let kept = Arc::new(info.clone());
            shared.write().insert_upload(Upload { info: kept, slot, parts: Default::default() });
            drop((turn, gate));
            Ok(info)
        })
        .await
    }

    pub(crate) async fn put_part(
        self: &Arc<Self>,
        target: &UploadTarget,
        part: PartNumber,
        keep: Vec<Algorithm>,
        body: Body,
    ) -> Result<PartInfo, StoreError> {
        let (info, io) = self.find_upload(target)?;
        let feed = Feed::new(body)?;
        let verified = receive(feed, &keep, |wanted| {
            let room = io.room().map_or(0, |space| space.free);
            if room > wanted { Ok(Arc::clone(&io)) } else { Err(StoreError::Full { wanted }) }
        });
        let verified = verified.await?;
        let latch = self.uploads.lock(number_of(&target.upload)).await;
        let turn = io.turn().await?;
        let shared = Arc::clone(self);
        let target = target.clone();
        blocking(move || {
            // It may have been completed or aborted meanwhile.
            shared.find_upload(&target)?;
            let values = verified.checksums(&keep);
            let checksums = Checksums { scope: ChecksumScope::Whole, values };
            let found = Part {
                etag: ETag::of_md5(verified.md5()),
                size: verified.size(),
                modified: shared.config.clock.now(),
                checksums,
                crc: verified.crc(),
            };
            publish_part(&io, &info.upload, part, &found, verified)?;
            let answer = part_info(part, &found);
            shared.write().insert_part(&info, part, found);
            drop((turn, latch));
            Ok(answer)
        })
        .await
    }

    /// An open upload and the volume that its parts are on.
    fn find_upload(
        &self,
        target: &UploadTarget,
    ) -> Result<(Arc<UploadInfo>, Arc<VolumeIo>), StoreError> {
        let index = self.read();
        index.bucket(&target.bucket)?;
        let upload = index.upload(&target.bucket, &target.key, &target.upload)?;
        let io = index.writable(upload.slot);
        let io = io.ok_or_else(|| index.away(upload.slot, &target.key))?;
        Ok((Arc::clone(&upload.info), io))
    }

    pub(crate) fn list_parts(
        &self,
        target: &UploadTarget,
        after: Option<PartNumber>,
        limit: usize,
    ) -> Result<PartPage, StoreError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let index = self.read();
        index.bucket(&target.bucket)?;
        let upload = index.upload(&target.bucket, &target.key, &target.upload)?;
        let lower = after.map_or(Unbounded, Excluded);
        let mut found = upload.parts.range((lower, Unbounded));
        let parts = found.by_ref().take(limit).map(|(n, p)| part_info(*n, p)).collect();
        let more = found.next().is_some();
        Ok(PartPage { upload: (*upload.info).clone(), parts, more })
    }

    pub(crate) async fn complete_upload(
        self: &Arc<Self>,
        request: CompleteRequest,
    ) -> Result<ObjectInfo, StoreError> {
        let CompleteRequest { target, parts, etag, checksums, conditions } = request;
        let name = NameHash::of(&target.bucket, &target.key);
        self.take_lease().await?;
        let gate = self.buckets.pass(&target.bucket).await;
        let upload_latch = self.uploads.lock(number_of(&target.upload)).await;
        let (info, io) = match self.find_upload(&target) {
            Err(StoreError::NoSuchUpload { upload }) => {
                return self.completed_before(&target, &etag, upload).await;
            }
            other => other?,
        };
        let latch = self.keys.lock(name.number()).await;
        let turn = io.turn().await?;
        let shared = Arc::clone(self);
        blocking(move || {
            let (slot, slices) = shared.pick_parts(&target, &parts)?;
            let publication = Publication {
                bucket: info.bucket.clone(),
                key: info.key.clone(),
                name,
                attributes: info.attributes.clone(),
                conditions,
                etag,
                checksums,
                slot,
                io: Arc::clone(&io),
                multi: Some(MultiRecord { upload: info.upload.clone(), parts: slices }),
            };
            let done = shared.publish(publication, Verified::empty(&io))?;
            shared.write().remove_upload(&info);
            // Left over, these are removed when the volume is attached next.
            if let Err(error) = tidy_completed(&io, &info.upload, &parts) {
                tracing::debug!(%error, "leftovers of a completed upload stay behind");
            }
            drop((turn, latch, upload_latch, gate));
            Ok(done)
        })
        .await
    }

    /// Answers a completion that was asked for again, as its answer was lost.
    async fn completed_before(
        &self,
        target: &UploadTarget,
        etag: &ETag,
        upload: UploadId,
    ) -> Result<ObjectInfo, StoreError> {
        let same = {
            let index = self.read();
            let entry = index.entry(&target.bucket, &target.key);
            entry.is_some_and(|entry| {
                entry.etag == *etag && entry.multi.as_ref().is_some_and(|m| m.upload == upload)
            })
        };
        if !same {
            return Err(StoreError::NoSuchUpload { upload });
        }
        self.head(&GetRequest::new(target.bucket.clone(), target.key.clone())).await
    }

    /// The parts to publish, if all are what the caller takes them for.
    fn pick_parts(
        &self,
        target: &UploadTarget,
        wanted: &[(PartNumber, ETag)],
    ) -> Result<(super::index::SlotNo, Vec<PartSlice>), StoreError> {
        let index = self.read();
        let upload = index.upload(&target.bucket, &target.key, &target.upload)?;
        let mut slices: Vec<PartSlice> = Vec::with_capacity(wanted.len());
        for (number, etag) in wanted {
            let bad = || StoreError::InvalidPart { upload: target.upload.clone(), part: *number };
            let found = upload.parts.get(number).filter(|part| part.etag == *etag);
            let part = found.ok_or_else(bad)?;
            if slices.last().is_some_and(|last| last.part >= *number) {
                return Err(bad());
            }
            slices.push(PartSlice { part: *number, size: part.size, crc: part.crc });
        }
        Ok((upload.slot, slices))
    }

    pub(crate) async fn abort_upload(
        self: &Arc<Self>,
        target: &UploadTarget,
    ) -> Result<(), StoreError> {
        let latch = self.uploads.lock(number_of(&target.upload)).await;
        let (info, io) = self.find_upload(target)?;
        let turn = io.turn().await?;
        let shared = Arc::clone(self);
        blocking(move || {
            io.remove(&io.upload_path(&info.upload))?;
            shared.write().remove_upload(&info);
            // Without its record the rest counts as left over, and goes at the next attach if not
            // now.
            if let Err(error) = io.remove_upload_dir(&info.upload) {
                tracing::debug!(%error, "parts of an aborted upload stay behind");
            }
            drop((turn, latch));
            Ok(())
        })
        .await
    }

    pub(crate) fn list_uploads(
        &self,
        bucket: &Bucket,
        query: &UploadQuery,
    ) -> Result<UploadPage, StoreError> {
        self.check_settled()?;
        let index = self.read();
        index.bucket(bucket)?;
        let mut page = UploadPage::default();
        let Some(keys) = index.uploads(bucket) else { return Ok(page) };
        let full = |page: &UploadPage| page.uploads.len() + page.prefixes.len() >= query.limit;
        if query.limit == 0 {
            return Ok(page);
        }
        let mut at = None;
        // What is left of the key that the page before ended in.
        if let Some((After::Key(key), Some(upload))) = &query.after {
            let uploads = keys.get(key.as_bytes()).into_iter().flatten();
            for (id, found) in uploads.filter(|(id, _)| *id > upload) {
                if full(&page) {
                    page.next = at;
                    return Ok(page);
                }
                page.uploads.push((*found.info).clone());
                at = Some((After::Key(key.clone()), Some(id.clone())));
            }
        }
        let (prefix, delimiter) = (query.prefix.as_str(), query.delimiter.as_deref());
        let after = query.after.as_ref().map(|(after, _)| after);
        for step in Walk::new(keys, prefix, delimiter, after) {
            match step {
                Step::Folded(_) if full(&page) => {
                    page.next = at;
                    return Ok(page);
                }
                Step::Folded(folded) => {
                    page.prefixes.push(folded.to_owned());
                    at = Some((After::Prefix(folded.to_owned()), None));
                }
                Step::Key(key, uploads) => {
                    for (id, found) in uploads {
                        if full(&page) {
                            page.next = at;
                            return Ok(page);
                        }
                        page.uploads.push((*found.info).clone());
                        at = Some((After::Key(key.to_string()), Some(id.clone())));
                    }
                }
            }
        }
        Ok(page)
    }
}

fn part_info(number: PartNumber, part: &Part) -> PartInfo {
    PartInfo {
        part: number,
        etag: part.etag.clone(),
        size: part.size,
        modified: part.modified,
        checksums: part.checksums.clone(),
    }
}

/// Makes the folder of an upload, durably, with its record.
fn write_upload(io: &Arc<VolumeIo>, record: &UploadRecord) -> Result<(), StoreError> {
    io.check_writable()?;
    let dir = io.multi_dir(&record.upload);
    io.backend.create_dir(&dir).map_err(|e| io.write_failed("create", &dir, e))?;
    let path = io.upload_path(&record.upload);
    let tail = format::encode_tail(record, 0).map_err(|e| io.damaged(&path, &e))?;
    io.write_record(&path, &tail)?;
    io.sync_dir(super::volume::parent(&dir))
}

fn publish_part(
    io: &Arc<VolumeIo>,
    upload: &UploadId,
    number: PartNumber,
    part: &Part,
    verified: Verified,
) -> Result<(), StoreError> {
    let record = PartRecord {
        upload: upload.clone(),
        part: number,
        modified: part.modified,
        etag: part.etag.clone(),
        size: part.size,
        checksums: ChecksumRecord::from(&part.checksums),
        crc: part.crc,
    };
    let path = io.part_path(upload, number);
    let tail = format::encode_tail(&record, part.size).map_err(|e| io.damaged(&path, &e))?;
    verified.make_durable(&tail)?.publish(&path)
}

/// Removes what a completed upload does not need: its record, and parts that were not taken.
fn tidy_completed(
    io: &VolumeIo,
    upload: &UploadId,
    taken: &[(PartNumber, ETag)],
) -> Result<(), StoreError> {
    io.remove_lazily(&io.upload_path(upload))?;
    let dir = io.multi_dir(upload);
    let taken: HashSet<u16> = taken.iter().map(|(part, _)| part.get()).collect();
    let names = io.backend.list_dir(&dir).map_err(|e| io.read_failed(&dir, e))?;
    for (name, _) in names {
        if name.parse().is_ok_and(|number: u16| !taken.contains(&number)) {
            io.remove_lazily(&dir.join(name))?;
        }
    }
    Ok(())
}
