//! Short words for the tests: a store on simulated disks, and the usual requests.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agent_object_store::{
    AttachError, AttachReport, Attributes, Body, Bucket, Checksums, Class, Clock, CompleteRequest,
    DeleteRequest, ETag, Engine, EngineConfig, GetRequest, ListEntry, ListQuery, ObjectInfo,
    ObjectKey, ObjectStore as _, Owner, PartNumber, PoolId, PutRequest, StoreError, UnixMillis,
    UploadRequest, UploadTarget, Volume, VolumeId, WriteConditions,
};
use agent_object_store_pool::io::Io;
use agent_object_store_pool::journal::JournalConfig;
use agent_object_store_pool::sim::{Dice, SimDisk};
use bytes::Bytes;
use tempfile::TempDir;
use zeroize::Zeroizing;

/// A clock that moves one millisecond with each look.
#[derive(Debug, Default)]
pub(crate) struct StepClock(AtomicU64);

impl Clock for StepClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.fetch_add(1, Ordering::Relaxed) + 1_000_000)
    }
}

/// Small segments, as all files are in memory.
const JOURNAL: JournalConfig = JournalConfig {
    segment_bytes: 1 << 20,
    lanes: 2,
    frame_bytes_max: 512 << 10,
    record_bytes_max: 512 << 10,
    spare_segments: 0,
};

/// Settings for simulated disks: everything runs in one order, and time passes when nothing else is
/// to be done.
pub(crate) fn config(disk: &SimDisk, index: &TempDir) -> EngineConfig {
    let pool = PoolId::new("pool").unwrap();
    EngineConfig {
        reserve_bytes: 1 << 16,
        backend: Arc::new(disk.clone()),
        io: Io::Inline,
        clock: Arc::new(StepClock::default()),
        extent: 8 << 20,
        journal: Some(JOURNAL),
        index_folder: Some(index.path().to_owned()),
        boot: "boot-1".to_owned(),
        ..EngineConfig::new(pool, Zeroizing::new([1; 32]))
    }
}

pub(crate) fn bucket(name: &str) -> Bucket {
    Bucket::new(name).unwrap()
}

pub(crate) fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

pub(crate) fn owner() -> Owner {
    Owner::new("ann").unwrap()
}

pub(crate) fn volume(name: &str) -> Volume {
    Volume {
        id: VolumeId::new(name).unwrap(),
        path: PathBuf::from(format!("/{name}")),
        class: Class::Ssd,
    }
}

pub(crate) fn part(number: u16) -> PartNumber {
    PartNumber::new(number).unwrap()
}

/// Bytes that tell where they belong.
pub(crate) fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut dice = Dice(seed);
    let mut bytes: Vec<u8> = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&dice.roll(u64::MAX).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A folder for an index, in memory where that can be: an index syncs often.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A store with short words, and where its index is.
#[derive(Debug, Clone)]
pub(crate) struct Store(pub(crate) Engine, pub(crate) Arc<TempDir>);

impl Store {
    pub(crate) fn open(disk: &SimDisk) -> Self {
        let index = Arc::new(folder());
        Self(Engine::open(config(disk, &index)), index)
    }

    /// Opens a store without an index on these volumes.
    pub(crate) async fn open_with(disk: &SimDisk, volumes: &[&str]) -> Self {
        let store = Self::open(disk);
        store.attach_all(volumes).await;
        store
    }

    /// Opens a store with an index that was there before.
    pub(crate) async fn reopen(disk: &SimDisk, index: Arc<TempDir>, volumes: &[&str]) -> Self {
        let store = Self(Engine::open(config(disk, &index)), index);
        store.attach_all(volumes).await;
        store
    }

    /// Attaches volumes side by side.
    pub(crate) async fn attach_all(&self, volumes: &[&str]) {
        for attached in futures::future::join_all(volumes.iter().map(|v| self.attach(v))).await {
            attached.unwrap();
        }
    }

    pub(crate) async fn attach(&self, name: &str) -> Result<AttachReport, AttachError> {
        self.0.attach(volume(name)).await
    }

    pub(crate) async fn detach(&self, name: &str) -> bool {
        self.0.detach(&VolumeId::new(name).unwrap()).await
    }

    pub(crate) async fn create_bucket(&self, name: &str) -> Result<(), StoreError> {
        self.0.create_bucket(&bucket(name), &owner()).await.map(drop)
    }

    pub(crate) async fn delete_bucket(&self, name: &str) -> Result<(), StoreError> {
        self.0.delete_bucket(&bucket(name)).await
    }

    pub(crate) async fn put(
        &self,
        b: &str,
        k: &str,
        data: &[u8],
    ) -> Result<ObjectInfo, StoreError> {
        self.put_if(b, k, data, WriteConditions::default()).await
    }

    pub(crate) async fn put_if(
        &self,
        b: &str,
        k: &str,
        data: &[u8],
        conditions: WriteConditions,
    ) -> Result<ObjectInfo, StoreError> {
        let body = Body::from_bytes(Bytes::copy_from_slice(data));
        self.0.put(put_request(b, k, conditions), body).await
    }

    pub(crate) async fn get(&self, b: &str, k: &str) -> Result<Vec<u8>, StoreError> {
        let reader = self.0.get(&GetRequest::new(bucket(b), key(k))).await?;
        reader.body.collect().await.map_err(|source| StoreError::Body { source })
    }

    pub(crate) async fn delete(&self, b: &str, k: &str) -> Result<(), StoreError> {
        let conditions = WriteConditions::default();
        let request = DeleteRequest { bucket: bucket(b), key: key(k), version: None, conditions };
        self.0.delete(&request).await.map(drop)
    }

    pub(crate) async fn keys(&self, b: &str) -> Result<Vec<String>, StoreError> {
        let query = ListQuery { limit: usize::MAX, ..ListQuery::default() };
        let page = self.0.list(&bucket(b), &query).await?;
        let name = |entry| match entry {
            ListEntry::Object(object) => object.key.to_string(),
            ListEntry::Prefix(prefix) => prefix,
        };
        Ok(page.entries.into_iter().map(name).collect())
    }

    pub(crate) async fn begin(&self, b: &str, k: &str) -> Result<UploadTarget, StoreError> {
        let request = UploadRequest {
            bucket: bucket(b),
            key: key(k),
            owner: owner(),
            attributes: Attributes::default(),
            note: None,
        };
        let info = self.0.create_upload(request).await?;
        Ok(UploadTarget { bucket: info.bucket, key: info.key, upload: info.upload })
    }

    pub(crate) async fn put_part(
        &self,
        target: &UploadTarget,
        number: u16,
        data: &[u8],
    ) -> Result<ETag, StoreError> {
        let body = Body::from_bytes(Bytes::copy_from_slice(data));
        Ok(self.0.put_part(target, part(number), Vec::new(), body).await?.etag)
    }

    pub(crate) async fn complete(
        &self,
        target: &UploadTarget,
        parts: Vec<(PartNumber, ETag)>,
    ) -> Result<ObjectInfo, StoreError> {
        let request = CompleteRequest {
            target: target.clone(),
            etag: ETag::new(&format!("{}-{}", "0".repeat(32), parts.len())).unwrap(),
            parts,
            checksums: Checksums::default(),
            conditions: WriteConditions::default(),
        };
        self.0.complete_upload(request).await
    }

    /// Writes an object in parts of these sizes.
    pub(crate) async fn put_in_parts(
        &self,
        b: &str,
        k: &str,
        parts: &[&[u8]],
    ) -> Result<(), StoreError> {
        let target = self.begin(b, k).await?;
        let mut done = Vec::new();
        for (number, data) in (1..).zip(parts) {
            done.push((part(number), self.put_part(&target, number, data).await?));
        }
        self.complete(&target, done).await.map(drop)
    }
}

pub(crate) fn put_request(b: &str, k: &str, conditions: WriteConditions) -> PutRequest {
    PutRequest {
        bucket: bucket(b),
        key: key(k),
        attributes: Attributes::default(),
        keep: Vec::new(),
        conditions,
    }
}
