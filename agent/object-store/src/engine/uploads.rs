//! Uploads in parts. Completing one copies nothing: the object names the upload, whose parts stay
//! where they are.

use std::sync::Arc;

use super::apply::{get, parts};
use super::core::{Core, index_error};
use super::entry::{ObjectEntry, PartEntry, Place, UploadEntry};
use super::feed::Feed;
use super::keys;
use super::listing;
use super::receive::receive;
use super::record::{BucketNo, Change};
use super::stored::{StoredObject, StoredPart, StoredUpload};
use super::traffic::Requests;
use super::write::{detached, etag_of};
use crate::checksum::{Algorithm, ChecksumScope, Checksums};
use crate::error::StoreError;
use crate::latch::number_of;
use crate::list::{UploadPage, UploadQuery};
use crate::names::{Bucket, ETag, PartNumber, UploadId, VersionId};
use crate::object::{Attributes, Body, ObjectInfo, PartInfo, UploadInfo};
use crate::store::{CompleteRequest, PartPage, UploadRequest, UploadTarget};

impl Core {
    pub(super) async fn create_upload(
        self: Arc<Self>,
        request: UploadRequest,
    ) -> Result<UploadInfo, StoreError> {
        let UploadRequest { bucket, key, owner, attributes, note } = request;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| StoreError::Unavailable {
            reason: format!("the system gives no random numbers: {error}"),
        })?;
        let upload = UploadId::from_random(random);
        detached(async move {
            let gate = self.buckets.pass(&bucket).await;
            let number = self.affirm_bucket(&bucket).await?;
            let begun = self.clock.now();
            let info = UploadInfo {
                upload: upload.clone(),
                bucket,
                key: key.clone(),
                owner: owner.clone(),
                begun,
                attributes: attributes.clone(),
                note: note.clone(),
            };
            let about = StoredUpload { owner, begun, attributes: attributes.into(), note };
            let change = Change::BeginUpload { bucket: number, key, upload, about };
            self.commit_request(change, Requests::write(0), &[]).await?;
            drop(gate);
            Ok(info)
        })
        .await
    }

    pub(super) async fn put_part(
        self: Arc<Self>,
        target: &UploadTarget,
        part: PartNumber,
        keep: Vec<Algorithm>,
        body: Body,
    ) -> Result<PartInfo, StoreError> {
        self.find_upload(target)?;
        let is_received = !body.is_of_store;
        let received =
            receive(Feed::new(body)?, &keep, &self.bulk, &self.admission, self.io).await?;
        let failed = |source| StoreError::Body { source: Box::new(source) };
        let etag = etag_of(&received).map_err(failed)?;
        let checksums = Checksums { scope: ChecksumScope::Whole, values: received.sums(&keep) };
        let target = target.clone();
        let hold = received.hold.clone();
        detached(async move {
            let latch = self.uploads.lock(number_of(&target.upload)).await;
            // It may have been completed or aborted meanwhile.
            let (bucket, _) = self.find_upload(&target)?;
            self.check_doubt(&target, bucket, None)?;
            let modified = self.clock.now();
            let stored = StoredPart {
                number: part.get(),
                version: self.next_version(modified),
                etag,
                size: received.size,
                modified,
                checksums: checksums.into(),
                root: received.root,
            };
            let info = stored.info(part);
            let (key, upload, content) = (target.key, target.upload, received.content);
            let change = Change::PutPart { bucket, key, upload, part: stored, content };
            let requests = Requests::write(if is_received { received.size } else { 0 });
            self.commit_request(change, requests, &received.inline).await?;
            drop((latch, hold, received.admitted));
            Ok(info)
        })
        .await
    }

    /// An open upload and its bucket's number.
    fn find_upload(&self, target: &UploadTarget) -> Result<(BucketNo, UploadEntry), StoreError> {
        let number = self.bucket_entry(&target.bucket)?.number;
        let key = keys::upload(number, target.key.as_str(), &target.upload);
        let entry = get(&*self.index, &key).map_err(index_error)?;
        let missing = || StoreError::NoSuchUpload { upload: target.upload.clone() };
        Ok((number, entry.ok_or_else(missing)?))
    }

    pub(super) fn list_parts(
        &self,
        target: &UploadTarget,
        after: Option<PartNumber>,
        limit: usize,
    ) -> Result<PartPage, StoreError> {
        let (_, UploadEntry { about, .. }) = self.find_upload(target)?;
        let upload = UploadInfo {
            upload: target.upload.clone(),
            bucket: target.bucket.clone(),
            key: target.key.clone(),
            owner: about.owner,
            begun: about.begun,
            attributes: about.attributes.into(),
            note: about.note,
        };
        let all = parts(&*self.index, &target.upload).map_err(index_error)?;
        let mut found = all.iter().filter_map(|entry| {
            let number = PartNumber::new(entry.part.number).ok()?;
            after.is_none_or(|after| number > after).then(|| entry.part.info(number))
        });
        let parts = found.by_ref().take(limit).collect();
        Ok(PartPage { upload, parts, more: found.next().is_some() })
    }

    pub(super) async fn complete_upload(
        self: Arc<Self>,
        request: CompleteRequest,
    ) -> Result<ObjectInfo, StoreError> {
        detached(async move {
            let CompleteRequest { target, parts, etag, checksums, conditions } = request;
            let gate = self.buckets.pass(&target.bucket).await;
            let upload_latch = self.uploads.lock(number_of(&target.upload)).await;
            let about = match self.find_upload(&target) {
                Ok((_, UploadEntry { about, .. })) => about,
                Err(StoreError::NoSuchUpload { upload }) => {
                    return self.completed_before(&target, &etag, upload);
                }
                Err(error) => return Err(error),
            };
            let number = self.affirm_bucket(&target.bucket).await?;
            let latch = self.key_latch(number, &target.key).await;
            self.check_write(&target.bucket, &target.key, &conditions)?;
            let chosen = self.pick_parts(&target, &parts)?;
            self.check_doubt(&target, number, Some(&chosen))?;
            let modified = self.clock.now();
            let object = StoredObject {
                version: self.next_version(modified),
                etag,
                size: chosen.iter().map(|part| part.size).sum(),
                modified,
                attributes: Attributes::from(about.attributes).into(),
                checksums: checksums.into(),
                parts: Some(u16::try_from(chosen.len()).unwrap_or(u16::MAX)),
                root: root_of(&chosen),
            };
            let info = ObjectInfo::from(object.clone());
            let parts: Vec<(u16, VersionId)> =
                chosen.iter().map(|part| (part.number, part.version)).collect();
            let UploadTarget { key, upload, .. } = target;
            let change = Change::Complete { bucket: number, key, upload, object, parts };
            self.commit_request(change, Requests::write(0), &[]).await?;
            drop((latch, upload_latch, gate));
            Ok(info)
        })
        .await
    }

    /// Answers a completion that was asked for again, as its answer was lost.
    fn completed_before(
        &self,
        target: &UploadTarget,
        etag: &ETag,
        upload: UploadId,
    ) -> Result<ObjectInfo, StoreError> {
        let number = self.bucket_entry(&target.bucket)?.number;
        match self.object_entry(number, &target.key)? {
            Some(ObjectEntry { object, place: Place::Parts(of), .. })
                if of == upload && object.etag == *etag =>
            {
                self.traffic.meter(number).write();
                Ok(object.into())
            }
            _ => Err(StoreError::NoSuchUpload { upload }),
        }
    }

    /// Refuses what an end of the upload that failed, or a part of it, would spoil if it came back.
    fn check_doubt(
        &self,
        target: &UploadTarget,
        bucket: BucketNo,
        chosen: Option<&[StoredPart]>,
    ) -> Result<(), StoreError> {
        let name = keys::upload(bucket, target.key.as_str(), &target.upload);
        let names = |parts: &[StoredPart]| -> Vec<(u16, VersionId)> {
            parts.iter().map(|part| (part.number, part.version)).collect()
        };
        if let Some(doubt) = self.doubts.of(&name)
            && (doubt.completed.is_none() || doubt.completed != chosen.map(names))
        {
            let reason = "ending this upload failed; end it again in the same way".to_owned();
            return Err(StoreError::Unavailable { reason });
        }
        for part in chosen.into_iter().flatten() {
            if self.doubts.of(&keys::part(&target.upload, part.number)).is_some() {
                let reason = format!("part {} was not written the last time; again", part.number);
                return Err(StoreError::Unavailable { reason });
            }
        }
        Ok(())
    }

    /// The parts to publish, if all are what the caller takes them for.
    fn pick_parts(
        &self,
        target: &UploadTarget,
        wanted: &[(PartNumber, ETag)],
    ) -> Result<Vec<StoredPart>, StoreError> {
        let mut chosen: Vec<StoredPart> = Vec::with_capacity(wanted.len());
        for (number, etag) in wanted {
            let bad = || StoreError::InvalidPart { upload: target.upload.clone(), part: *number };
            let found: Option<PartEntry> =
                get(&*self.index, &keys::part(&target.upload, number.get()))
                    .map_err(index_error)?;
            let part = found.map(|entry| entry.part).filter(|part| part.etag == *etag);
            let part = part.ok_or_else(bad)?;
            if chosen.last().is_some_and(|last| last.number >= part.number) {
                return Err(bad());
            }
            chosen.push(part);
        }
        Ok(chosen)
    }

    pub(super) async fn abort_upload(
        self: Arc<Self>,
        target: UploadTarget,
    ) -> Result<(), StoreError> {
        detached(async move {
            let latch = self.uploads.lock(number_of(&target.upload)).await;
            let (bucket, _) = self.find_upload(&target)?;
            let UploadTarget { key, upload, .. } = target;
            let at = self.clock.now();
            let change = Change::AbortUpload { bucket, key, upload, at };
            self.commit_request(change, Requests::delete(), &[]).await?;
            drop(latch);
            Ok(())
        })
        .await
    }

    pub(super) fn list_uploads(
        &self,
        bucket: &Bucket,
        query: &UploadQuery,
    ) -> Result<UploadPage, StoreError> {
        let number = self.bucket_entry(bucket)?.number;
        listing::uploads(&*self.index, bucket, number, query).map_err(index_error)
    }
}

/// The root of an object of these parts.
fn root_of(parts: &[StoredPart]) -> [u8; 32] {
    let list = agent_proofs::parts::list(parts.iter().map(|part| (part.size, part.root)));
    *blake3::hash(&list).as_bytes()
}
