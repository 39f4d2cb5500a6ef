//! The trait that protocols above the store are written against, with its requests and answers.

use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;

use crate::checksum::{Algorithm, Checksums};
use crate::conditions::{ReadConditions, WriteConditions};
use crate::engine::Meter;
use crate::error::StoreError;
use crate::list::{ListPage, ListQuery, UploadPage, UploadQuery};
use crate::names::{
    Bucket, ETag, ObjectKey, Owner, PartNumber, UnixMillis, UploadId, VersionId, VolumeId,
};
use crate::object::{Attributes, Body, BucketInfo, ObjectInfo, ObjectReader, PartInfo, UploadInfo};

/// A store of objects in buckets.
///
/// **Durability.** When a method that changes something returns `Ok`, the change is on stable
/// storage: data and name, with all checksums verified before. When it returns an error, or is
/// dropped before it returns, either nothing changed or, after [`StoreError::Io`] and after being
/// dropped, all of the change took place; nothing in between is ever seen.
///
/// **Order.** Changes of one key take place one after the other, and conditions are decided at that
/// point. A read sees one version from its first to its last byte.
///
/// **Versions.** Every published object has a [`VersionId`]. A store that keeps no history answers
/// [`StoreError::NoSuchVersion`] for all but the present one.
///
/// **Memory.** No method holds a whole object in memory.
#[async_trait]
pub trait ObjectStore: Send + Sync + fmt::Debug + 'static {
    /// Makes a bucket.
    ///
    /// # Errors
    /// [`StoreError::BucketExists`], [`StoreError::Unavailable`], [`StoreError::Io`].
    async fn create_bucket(&self, bucket: &Bucket, owner: &Owner)
    -> Result<BucketInfo, StoreError>;

    /// Looks up a bucket.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`], [`StoreError::Unavailable`].
    async fn bucket(&self, bucket: &Bucket) -> Result<BucketInfo, StoreError>;

    /// Lists buckets by name.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    async fn list_buckets(&self, query: &BucketQuery) -> Result<BucketPage, StoreError>;

    /// Deletes an empty bucket.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`], [`StoreError::BucketNotEmpty`], [`StoreError::Unavailable`]
    /// when it may hold objects that cannot be seen now.
    async fn delete_bucket(&self, bucket: &Bucket) -> Result<(), StoreError>;

    /// Writes an object, in the place of a present one.
    ///
    /// # Errors
    /// Any of [`StoreError`] that concerns buckets, conditions, bodies or volumes.
    async fn put(&self, request: PutRequest, body: Body) -> Result<ObjectInfo, StoreError>;

    /// Opens an object for reading.
    ///
    /// # Errors
    /// The object does not exist, cannot be reached, or a condition does not hold.
    async fn get(&self, request: &GetRequest) -> Result<ObjectReader, StoreError>;

    /// Looks up an object.
    ///
    /// # Errors
    /// As for [`ObjectStore::get`].
    async fn head(&self, request: &GetRequest) -> Result<ObjectInfo, StoreError>;

    /// Deletes an object. That there is none is no error.
    ///
    /// # Errors
    /// The bucket does not exist, a condition does not hold, or a volume failed.
    async fn delete(&self, request: &DeleteRequest) -> Result<Deleted, StoreError>;

    /// Copies an object within the store.
    ///
    /// # Errors
    /// As for [`ObjectStore::get`] of the source and [`ObjectStore::put`] of the target.
    async fn copy(&self, source: &GetRequest, target: CopyTarget)
    -> Result<ObjectInfo, StoreError>;

    /// Lists keys in the order of their bytes. The cost follows what is returned, not what is
    /// folded into common prefixes.
    ///
    /// # Errors
    /// The bucket does not exist, or not all of its keys are known now.
    async fn list(&self, bucket: &Bucket, query: &ListQuery) -> Result<ListPage, StoreError>;

    /// Begins an upload in parts.
    ///
    /// # Errors
    /// The bucket does not exist, or no volume takes it.
    async fn create_upload(&self, request: UploadRequest) -> Result<UploadInfo, StoreError>;

    /// Writes one part, in the place of a present one of the same number.
    ///
    /// # Errors
    /// The upload does not exist, or as for [`ObjectStore::put`].
    async fn put_part(
        &self,
        target: &UploadTarget,
        part: PartNumber,
        keep: Vec<Algorithm>,
        body: Body,
    ) -> Result<PartInfo, StoreError>;

    /// Lists parts by number, behind `after`, at most `limit`.
    ///
    /// # Errors
    /// The upload does not exist or cannot be reached.
    async fn list_parts(
        &self,
        target: &UploadTarget,
        after: Option<PartNumber>,
        limit: usize,
    ) -> Result<PartPage, StoreError>;

    /// Publishes parts, in their order, as one object, and ends the upload. Completing it again in
    /// the same way gives the same answer as long as the object is the present one.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUpload`], [`StoreError::InvalidPart`], or a condition does not hold.
    async fn complete_upload(&self, request: CompleteRequest) -> Result<ObjectInfo, StoreError>;

    /// Ends an upload and drops its parts.
    ///
    /// # Errors
    /// The upload does not exist or cannot be reached.
    async fn abort_upload(&self, target: &UploadTarget) -> Result<(), StoreError>;

    /// Lists open uploads by key, and within a key by upload.
    ///
    /// # Errors
    /// The bucket does not exist.
    async fn list_uploads(
        &self,
        bucket: &Bucket,
        query: &UploadQuery,
    ) -> Result<UploadPage, StoreError>;

    /// Counts requests of a bucket that change nothing: whoever speaks to clients says what was carried
    /// out, and what of it went out. What changes something is counted by the store. By default nothing
    /// is.
    fn meter(&self, bucket: &Bucket) -> Meter {
        let _ = bucket;
        Meter::default()
    }

    /// What is stored and what has room.
    async fn usage(&self) -> Usage;
}

/// Which buckets to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketQuery {
    /// Only those of this owner.
    pub owner: Option<Owner>,
    /// Only those whose name starts so.
    pub prefix: String,
    /// Only those whose name is greater.
    pub after: Option<Bucket>,
    /// At most so many.
    pub limit: usize,
}

/// Some buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketPage {
    /// The buckets by name.
    pub buckets: Vec<BucketInfo>,
    /// Whether there are more behind the last one.
    pub more: bool,
}

/// What to write where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutRequest {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: ObjectKey,
    /// What to keep beside the bytes.
    pub attributes: Attributes,
    /// Checksums to compute and keep.
    pub keep: Vec<Algorithm>,
    /// When to write at all.
    pub conditions: WriteConditions,
}

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetRequest {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: ObjectKey,
    /// The version; none for the present one.
    pub version: Option<VersionId>,
    /// Which bytes.
    pub range: ReadRange,
    /// When to read at all.
    pub conditions: ReadConditions,
}

impl GetRequest {
    /// All bytes of the present version, without conditions.
    #[must_use]
    pub fn new(bucket: Bucket, key: ObjectKey) -> Self {
        let conditions = ReadConditions::default();
        Self { bucket, key, version: None, range: ReadRange::All, conditions }
    }
}

/// Which bytes of an object to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadRange {
    /// All.
    All,
    /// From an offset to the end.
    From(u64),
    /// From an offset to another one, both included; the end may lie behind the object's.
    Between(u64, u64),
    /// So many at the end.
    Last(u64),
    /// Those of one part, as it was uploaded.
    Part(PartNumber),
}

/// What to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteRequest {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: ObjectKey,
    /// The version; none for the present one.
    pub version: Option<VersionId>,
    /// When to delete at all.
    pub conditions: WriteConditions,
}

/// What a deletion did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deleted {
    /// The version that is gone; none if there was none.
    pub version: Option<VersionId>,
}

/// Where a copy goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyTarget {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: ObjectKey,
    /// New attributes; none to take those of the source.
    pub attributes: Option<Attributes>,
    /// Checksums to compute and keep.
    pub keep: Vec<Algorithm>,
    /// When to write at all.
    pub conditions: WriteConditions,
    /// The most bytes to copy.
    pub limit: u64,
}

/// How to begin an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRequest {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: ObjectKey,
    /// Who begins it.
    pub owner: Owner,
    /// What the object will carry.
    pub attributes: Attributes,
    /// A note for the layer above, at most 1 KiB.
    pub note: Option<String>,
}

/// Names an open upload. All three must fit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UploadTarget {
    /// The bucket.
    pub bucket: Bucket,
    /// The key.
    pub key: ObjectKey,
    /// The upload.
    pub upload: UploadId,
}

/// Some parts of an open upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartPage {
    /// The upload.
    pub upload: UploadInfo,
    /// Parts by number.
    pub parts: Vec<PartInfo>,
    /// Whether there are more behind the last one.
    pub more: bool,
}

/// How to complete an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompleteRequest {
    /// The upload.
    pub target: UploadTarget,
    /// The parts in rising order, each with the entity tag it must still have.
    pub parts: Vec<(PartNumber, ETag)>,
    /// The entity tag that the object gets.
    pub etag: ETag,
    /// The checksums that the object gets.
    pub checksums: Checksums,
    /// When to publish at all.
    pub conditions: WriteConditions,
}

/// What is stored and what has room.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// Objects known, including those on missing volumes.
    pub objects: u64,
    /// Bytes of those objects, as their readers count them.
    pub bytes: u64,
    /// Open uploads.
    pub uploads: u64,
    /// Every volume that belongs to the store.
    pub volumes: Vec<VolumeUsage>,
}

impl Usage {
    /// Bytes that attached volumes hold in all.
    #[must_use]
    pub fn capacity_bytes(&self) -> u64 {
        self.attached().map(|v| v.capacity_bytes).sum()
    }

    /// Bytes that attached volumes still take.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.attached().map(|v| v.free_bytes).sum()
    }

    fn attached(&self) -> impl Iterator<Item = &VolumeUsage> {
        self.volumes.iter().filter(|v| v.state == VolumeState::Attached)
    }
}

/// One volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeUsage {
    /// The volume.
    pub id: VolumeId,
    /// Where it is mounted; none while it is missing.
    pub path: Option<PathBuf>,
    /// Whether it can be used.
    pub state: VolumeState,
    /// Size of its file system in bytes; 0 while it is missing.
    pub capacity_bytes: u64,
    /// Bytes that it still takes, without the reserve; 0 while it is missing.
    pub free_bytes: u64,
    /// When it came to this state.
    pub since: UnixMillis,
}

/// Whether a volume can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeState {
    /// It is being read in.
    Attaching,
    /// In use.
    Attached,
    /// In use; takes nothing new, and what it holds is moved to others.
    Retiring,
    /// Nothing is on it any more, and its key is destroyed: the disk may be taken out.
    Retired,
    /// It failed and takes no more writes until it is attached again.
    Fenced {
        /// What failed, in words.
        reason: String,
    },
    /// It belongs to the store but is not here.
    Missing,
}
