//! Changes of buckets and objects.

use std::future::Future;
use std::sync::Arc;

use super::apply::get;
use super::core::{Core, index_error};
use super::entry::BucketEntry;
use super::feed::Feed;
use super::index::Next;
use super::keys;
use super::listing;
use super::receive::{Received, receive};
use super::record::{BucketNo, Change};
use super::stored::StoredObject;
use super::traffic::Requests;
use crate::checksum::{Algorithm, Checksum, ChecksumScope, Checksums};
use crate::conditions::WriteConditions;
use crate::error::StoreError;
use crate::list::{ListPage, ListQuery};
use crate::names::{Bucket, ETag, NameError, ObjectKey, Owner};
use crate::object::{Attributes, Body, BucketInfo, ObjectInfo};
use crate::store::{
    BucketPage, BucketQuery, CopyTarget, DeleteRequest, Deleted, GetRequest, PutRequest,
};

/// Runs to its end what must not be left half done when a client goes away.
///
/// # Errors
/// Those of `work`, or the process is ending.
pub(super) async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    let ended = |_| StoreError::Unavailable { reason: "the store is shutting down".to_owned() };
    tokio::spawn(work).await.map_err(ended)?
}

/// The entity tag of a body: its MD5 in hex, as S3 clients expect.
pub(super) fn etag_of(received: &Received) -> Result<ETag, NameError> {
    let md5 = received.sum(Algorithm::Md5).map(Checksum::value).unwrap_or_default();
    ETag::new(&hex::encode(md5))
}

impl Core {
    pub(super) async fn create_bucket(
        self: Arc<Self>,
        bucket: Bucket,
        owner: Owner,
    ) -> Result<BucketInfo, StoreError> {
        detached(async move {
            let gate = self.buckets.close(&bucket).await;
            let present: Option<BucketEntry> =
                get(&*self.index, &keys::bucket(&bucket)).map_err(index_error)?;
            if let Some(present) = present {
                return Err(StoreError::BucketExists { bucket, owner: present.owner });
            }
            let (number, created) = (self.next_bucket(), self.clock.now());
            let info = BucketInfo { bucket: bucket.clone(), owner: owner.clone(), created };
            let change = Change::CreateBucket { number, bucket, owner, created };
            self.commit_request(change, Requests::write(0), &[]).await?;
            drop(gate);
            Ok(info)
        })
        .await
    }

    pub(super) fn bucket_info(&self, bucket: &Bucket) -> Result<BucketInfo, StoreError> {
        let BucketEntry { owner, created, .. } = self.bucket_entry(bucket)?;
        Ok(BucketInfo { bucket: bucket.clone(), owner, created })
    }

    pub(super) fn list_buckets(&self, query: &BucketQuery) -> Result<BucketPage, StoreError> {
        let mut page = BucketPage { buckets: Vec::new(), more: false };
        let from = match &query.after {
            Some(after) => [keys::bucket(after), vec![0]].concat(),
            None => keys::BUCKETS.to_vec(),
        };
        let from = from.max([keys::BUCKETS, query.prefix.as_bytes()].concat());
        let mut failed = None;
        let visit = &mut |key: &[u8], value: &[u8]| {
            let Some(bucket) = keys::bucket_name(key) else { return Next::Stop };
            if !bucket.as_str().starts_with(&query.prefix) {
                return Next::Stop;
            }
            let BucketEntry { owner, created, .. } = match super::entry::decode(value) {
                Ok(entry) => entry,
                Err(error) => {
                    failed = Some(error);
                    return Next::Stop;
                }
            };
            if query.owner.as_ref().is_some_and(|wanted| *wanted != owner) {
                return Next::On;
            }
            if page.buckets.len() >= query.limit {
                page.more = true;
                return Next::Stop;
            }
            page.buckets.push(BucketInfo { bucket, owner, created });
            Next::On
        };
        self.index.scan(&from, visit).map_err(index_error)?;
        failed.map_or(Ok(page), |error| Err(index_error(error)))
    }

    pub(super) fn list(&self, bucket: &Bucket, query: &ListQuery) -> Result<ListPage, StoreError> {
        let number = self.bucket_entry(bucket)?.number;
        listing::objects(&*self.index, number, query).map_err(index_error)
    }

    pub(super) async fn delete_bucket(self: Arc<Self>, bucket: Bucket) -> Result<(), StoreError> {
        detached(async move {
            let gate = self.buckets.close(&bucket).await;
            let number = self.bucket_entry(&bucket)?.number;
            // An open upload keeps its bucket, as it may become an object.
            if self.has_any(&keys::objects(number))? || self.has_any(&keys::uploads(number))? {
                return Err(StoreError::BucketNotEmpty { bucket });
            }
            let change = Change::DeleteBucket { number, bucket };
            self.commit_request(change, Requests::delete(), &[]).await?;
            drop(gate);
            Ok(())
        })
        .await
    }

    /// Whether the index has a key that begins so.
    fn has_any(&self, prefix: &[u8]) -> Result<bool, StoreError> {
        let mut found = false;
        let visit = &mut |key: &[u8], _: &[u8]| {
            found = key.starts_with(prefix);
            Next::Stop
        };
        self.index.scan(prefix, visit).map_err(index_error)?;
        Ok(found)
    }

    pub(super) async fn put(
        self: Arc<Self>,
        request: PutRequest,
        body: Body,
    ) -> Result<ObjectInfo, StoreError> {
        let PutRequest { bucket, key, attributes, keep, conditions } = request;
        // Refused early where it can be; decided again when it is published.
        self.check_write(&bucket, &key, &conditions)?;
        let is_received = !body.is_of_store;
        let received =
            receive(Feed::new(body)?, &keep, &self.bulk, &self.admission, self.io).await?;
        let failed = |source| StoreError::Body { source: Box::new(source) };
        let etag = etag_of(&received).map_err(failed)?;
        let checksums = Checksums { scope: ChecksumScope::Whole, values: received.sums(&keep) };
        let Received { size, content, inline, root, hold, admitted, .. } = received;
        detached(async move {
            let gate = self.buckets.pass(&bucket).await;
            let number = self.affirm_bucket(&bucket).await?;
            let latch = self.key_latch(number, &key).await;
            self.check_write(&bucket, &key, &conditions)?;
            let modified = self.clock.now();
            let object = StoredObject {
                version: self.next_version(modified),
                etag,
                size,
                modified,
                attributes: attributes.into(),
                checksums: checksums.into(),
                parts: None,
                root,
            };
            let info = ObjectInfo::from(object.clone());
            let requests = Requests::write(if is_received { size } else { 0 });
            let change = Change::Put { bucket: number, key, object, content };
            self.commit_request(change, requests, &inline).await?;
            drop((latch, gate, hold, admitted));
            Ok(info)
        })
        .await
    }

    /// Says once more that a bucket is there, if deleting it failed: or else it may be gone after a
    /// restart, with what is written to it now. The caller has passed its gate.
    pub(super) async fn affirm_bucket(&self, bucket: &Bucket) -> Result<BucketNo, StoreError> {
        let BucketEntry { number, owner, created, .. } = self.bucket_entry(bucket)?;
        if self.doubts.of(&keys::bucket(bucket)).is_some() {
            let bucket = bucket.clone();
            self.commit(Change::CreateBucket { number, bucket, owner, created }, &[]).await?;
        }
        Ok(number)
    }

    /// Whether an object may be written as things are now; its bucket's number.
    pub(super) fn check_write(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        conditions: &WriteConditions,
    ) -> Result<BucketNo, StoreError> {
        let number = self.bucket_entry(bucket)?.number;
        if *conditions != WriteConditions::default() {
            let present = self.object_entry(number, key)?;
            conditions.check(present.as_ref().map(|present| &present.object.etag))?;
        }
        Ok(number)
    }

    pub(super) async fn delete(
        self: Arc<Self>,
        request: DeleteRequest,
    ) -> Result<Deleted, StoreError> {
        let DeleteRequest { bucket, key, version, conditions } = request;
        detached(async move {
            let gate = self.buckets.pass(&bucket).await;
            let number = self.bucket_entry(&bucket)?.number;
            let latch = self.key_latch(number, &key).await;
            self.check_write(&bucket, &key, &conditions)?;
            let Some(present) = self.object_entry(number, &key)? else {
                if let Some(version) = version {
                    return Err(StoreError::NoSuchVersion { bucket, key, version });
                }
                // A write that failed must not come back behind this.
                let name = keys::object(number, key.as_str());
                if self.doubts.of_anything() || self.doubts.of(&name).is_some() {
                    let version = self.next_version(self.clock.now());
                    let change = Change::Delete { bucket: number, key, version };
                    self.commit_request(change, Requests::delete(), &[]).await?;
                } else {
                    self.traffic.meter(number).delete();
                }
                return Ok(Deleted { version: None });
            };
            let found = present.object.version;
            if let Some(version) = version.filter(|version| *version != found) {
                return Err(StoreError::NoSuchVersion { bucket, key, version });
            }
            let version = self.next_version(self.clock.now());
            let change = Change::Delete { bucket: number, key, version };
            self.commit_request(change, Requests::delete(), &[]).await?;
            drop((latch, gate));
            Ok(Deleted { version: Some(found) })
        })
        .await
    }

    pub(super) async fn copy(
        self: Arc<Self>,
        source: &GetRequest,
        target: CopyTarget,
    ) -> Result<ObjectInfo, StoreError> {
        let reader = Arc::clone(&self).get(source).await?;
        let size = reader.range.end - reader.range.start;
        if size > target.limit {
            return Err(StoreError::TooLarge { limit: target.limit });
        }
        let CopyTarget { bucket, key, attributes, keep, conditions, .. } = target;
        let attributes: Attributes = attributes.unwrap_or(reader.info.attributes);
        let body = Body::new(reader.body.into_stream()).with_length(size).of_store();
        self.put(PutRequest { bucket, key, attributes, keep, conditions }, body).await
    }
}
