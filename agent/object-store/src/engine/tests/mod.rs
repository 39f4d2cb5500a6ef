//! The core on simulated disks, in one order only.

mod compressed;
mod crash;
mod eras;
mod heal;
mod model;
mod objects;
mod pack;
mod proofs;
mod usage;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use agent_object_store_pool::device::{Device, NewVolume, Surroundings, superblock};
use agent_object_store_pool::io::Io;
use agent_object_store_pool::journal::JournalConfig;
use agent_object_store_pool::seal::KEY;
use agent_object_store_pool::sim::{Cut, Dice, SimDisk};
use agent_object_store_pool::superblock::{Class, VolumeNo};
use bytes::Bytes;
use zeroize::Zeroizing;

use super::core::Core;
use super::fjall::FjallIndex;
use super::index::{Batch, Index, IndexError, Next, Snapshot};
use super::memory::MemoryIndex;
use super::open::{Opened, Opening};
use super::standby::{Mirror, Standby};
use crate::clock::Clock;
use crate::conditions::WriteConditions;
use crate::error::StoreError;
use crate::names::{Bucket, ObjectKey, Owner, UnixMillis, VersionId};
use crate::object::{Attributes, Body, ObjectInfo};
use crate::store::{DeleteRequest, GetRequest, PutRequest, ReadRange};

/// A clock that moves one millisecond with each look.
#[derive(Debug, Default)]
struct StepClock(AtomicU64);

impl Clock for StepClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.fetch_add(1, Ordering::Relaxed) + 1_000_000)
    }
}

const JOURNAL: JournalConfig = JournalConfig {
    segment_bytes: 1 << 20,
    lanes: 2,
    frame_bytes_max: 512 << 10,
    record_bytes_max: 512 << 10,
    spare_segments: 0,
};

/// Runs on one thread, every task in turn.
fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// An index that can be stopped without warning.
trait Stoppable: Index {
    /// What the next start finds.
    fn restarted(&self) -> Arc<dyn Stoppable>;
}

impl Stoppable for MemoryIndex {
    fn restarted(&self) -> Arc<dyn Stoppable> {
        Arc::new(self.crash())
    }
}

/// An index in a real folder, whose process is killed: what it gave to the kernel stays.
#[derive(Debug)]
struct KilledIndex {
    index: FjallIndex,
    folder: tempfile::TempDir,
}

impl KilledIndex {
    fn open(folder: tempfile::TempDir) -> Arc<dyn Stoppable> {
        Arc::new(Self { index: FjallIndex::open(folder.path()).unwrap(), folder })
    }
}

impl Stoppable for KilledIndex {
    fn restarted(&self) -> Arc<dyn Stoppable> {
        // Its buffers never fill here, so that nothing happens behind our back.
        let copy = tempfile::tempdir().unwrap();
        copy_folder(self.folder.path(), copy.path());
        Self::open(copy)
    }
}

impl Index for KilledIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.index.get(key)
    }
    fn write(&self, batch: &Batch) -> Result<(), IndexError> {
        self.index.write(batch)
    }
    fn scan(
        &self,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Next,
    ) -> Result<(), IndexError> {
        self.index.scan(from, visit)
    }
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, IndexError> {
        self.index.snapshot()
    }
    fn checkpoint(&self) -> Result<(), IndexError> {
        self.index.checkpoint()
    }
}

pub(super) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// Disks and what is left of the index.
struct Machine {
    disk: SimDisk,
    volumes: u16,
    extent: u64,
    index: Arc<dyn Stoppable>,
}

impl Machine {
    fn new(volumes: u16) -> Self {
        let folders: Vec<String> = (0..volumes).map(|number| format!("/v{number}")).collect();
        let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
        let index = Arc::new(MemoryIndex::default());
        Self { disk: SimDisk::new(&folders), volumes, extent: 8 << 20, index }
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            backend: Arc::new(self.disk.clone()),
            io: Io::Inline,
            node_key: Zeroizing::new([1; KEY]),
            on_fence: Box::new(|_, _| ()),
        }
    }

    /// Opens the store on the volumes that are there, formatting those that are blank.
    async fn open(&self) -> Result<(Arc<Core>, Opened), StoreError> {
        let mut devices = Vec::new();
        for number in 0..self.volumes {
            let path = PathBuf::from(format!("/v{number}"));
            let found = superblock(&self.disk, &path);
            let device = match found {
                Ok(Some(_)) => Device::open(&path, self.surroundings()),
                // A disk that was pulled.
                Err(agent_object_store_pool::device::DeviceError::Io { .. }) => continue,
                _ => {
                    let new = NewVolume {
                        pool: "pool".to_owned(),
                        volume: format!("disk-{number}"),
                        number: VolumeNo(number),
                        class: Class::Ssd,
                        members: Vec::new(),
                    };
                    Device::format(&path, new, self.surroundings())
                }
            };
            devices.push(device.map_err(|error| StoreError::engine("open a volume", error))?);
        }
        let standby = Standby::new(Arc::default());
        let mirror = Arc::new(Mirror::new(self.index.clone(), standby.clone()));
        let opening = Opening {
            io: Io::Inline,
            extent: self.extent,
            journal: Some(JOURNAL),
            standby,
            ..Opening::new(Arc::new(StepClock::default()), mirror, 0)
        };
        opening.volumes.set_members(usize::from(self.volumes));
        Core::open(opening, devices).await
    }

    /// Cuts the power: what is left.
    fn cut(&self, cut: Cut) -> Self {
        let disk = self.disk.cut(cut);
        Self { disk, index: self.index.restarted(), ..*self }
    }
}

fn bucket() -> Bucket {
    Bucket::new("bucket").unwrap()
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

/// Bytes that tell where they belong.
fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut dice = Dice(seed);
    let mut bytes: Vec<u8> = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&dice.roll(u64::MAX).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The same where some of it, all or nothing can be compressed.
fn mixed(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = content(seed, length);
    // Four bits a byte.
    let letters = |bytes: &mut [u8]| bytes.iter_mut().for_each(|byte| *byte = b'a' + *byte % 16);
    match seed % 3 {
        0 => {}
        1 => letters(&mut bytes),
        _ => {
            let (mut dice, mut at) = (Dice(seed), 0);
            while at < length {
                let end = length.min(at + usize::try_from(dice.roll(150_000)).unwrap() + 1);
                if dice.roll(2) == 0 {
                    letters(&mut bytes[at..end]);
                }
                at = end;
            }
        }
    }
    bytes
}

async fn make_bucket(core: &Arc<Core>) -> Result<(), StoreError> {
    let owner = Owner::new("ann").unwrap();
    Arc::clone(core).create_bucket(bucket(), owner).await.map(drop)
}

async fn put(core: &Arc<Core>, name: &str, bytes: Vec<u8>) -> Result<ObjectInfo, StoreError> {
    let request = PutRequest {
        bucket: bucket(),
        key: key(name),
        attributes: Attributes::default(),
        keep: Vec::new(),
        conditions: WriteConditions::default(),
    };
    Arc::clone(core).put(request, Body::from_bytes(Bytes::from(bytes))).await
}

async fn delete(core: &Arc<Core>, name: &str) -> Result<(), StoreError> {
    delete_version(core, name).await.map(drop)
}

/// Deletes an object; the version that is gone.
async fn delete_version(core: &Arc<Core>, name: &str) -> Result<Option<VersionId>, StoreError> {
    let conditions = WriteConditions::default();
    let request = DeleteRequest { bucket: bucket(), key: key(name), version: None, conditions };
    Ok(Arc::clone(core).delete(request).await?.version)
}

/// Packs everything, and cleans what is worth it.
async fn pack(core: &Arc<Core>) -> Result<(), StoreError> {
    let (victims, _) = core.victims()?;
    core.pack(&victims).await.map(drop)
}

async fn read_range(
    core: &Arc<Core>,
    name: &str,
    range: ReadRange,
) -> Result<Option<Vec<u8>>, StoreError> {
    let request = GetRequest { range, ..GetRequest::new(bucket(), key(name)) };
    match Arc::clone(core).get(&request).await {
        Ok(reader) => {
            let length = reader.range.end - reader.range.start;
            let bytes = reader.body.collect().await.unwrap();
            assert_eq!(bytes.len() as u64, length);
            Ok(Some(bytes))
        }
        Err(StoreError::NoSuchKey { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn read(core: &Arc<Core>, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
    read_range(core, name, ReadRange::All).await
}
