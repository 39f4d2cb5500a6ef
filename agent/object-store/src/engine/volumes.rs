//! The volumes in use, and what is spread over them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use agent_object_store_pool::device::Device;
use agent_object_store_pool::group::run::GroupId;
use agent_object_store_pool::journal::{Journal, JournalPlace, Lsn};
use agent_object_store_pool::redundancy::{Redundancy, choose_volumes, redundancy};
use agent_object_store_pool::superblock::{Class, VolumeNo};
use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt as _};

use super::error::EngineError;
use crate::error::StoreError;

/// A group's number is that of its first volume and an incarnation of it, so that none is used twice.
const INCARNATION_BITS: u32 = 48;

/// A volume in use.
#[derive(Debug, Clone)]
pub(crate) struct Volume {
    pub device: Device,
    pub journal: Journal,
}

/// The volumes in use. A clone is another handle.
#[derive(Debug, Clone)]
pub(crate) struct Volumes {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Bytes that stay free on every volume.
    reserve: u64,
    volumes: RwLock<BTreeMap<VolumeNo, Volume>>,
}

impl Volumes {
    pub(crate) fn new(reserve: u64) -> Self {
        Self { inner: Arc::new(Inner { reserve, volumes: RwLock::default() }) }
    }

    pub(crate) fn add(&self, volume: Volume) {
        self.write().insert(volume.device.number(), volume);
    }

    pub(crate) fn remove(&self, number: VolumeNo) -> Option<Volume> {
        self.write().remove(&number)
    }

    pub(crate) fn get(&self, number: VolumeNo) -> Option<Volume> {
        self.read().get(&number).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Volume> {
        self.read().values().cloned().collect()
    }

    /// Those that take writes.
    fn usable(&self) -> Vec<Volume> {
        let volumes = self.read();
        volumes.values().filter(|volume| volume.device.fenced().is_none()).cloned().collect()
    }

    /// How much redundancy there is for what is written now.
    ///
    /// # Errors
    /// No volume takes writes.
    pub(crate) fn redundancy(&self) -> Result<Redundancy, StoreError> {
        redundancy(self.usable().len()).ok_or_else(nowhere)
    }

    /// The volumes of a new group, and its number.
    ///
    /// # Errors
    /// Too few volumes have room.
    pub(crate) fn for_group(&self) -> Result<(Redundancy, Vec<Device>, GroupId), StoreError> {
        let usable = self.usable();
        let free: Vec<(VolumeNo, u64, Class)> = usable
            .iter()
            .map(|volume| {
                let device = &volume.device;
                let space = device.backend().space(device.root());
                let free = space.map_or(0, |space| space.free);
                (device.number(), free.saturating_sub(self.inner.reserve), device.class())
            })
            .collect();
        let wanted = redundancy(usable.len()).ok_or_else(nowhere)?;
        let incarnation = usable
            .first()
            .ok_or_else(nowhere)?
            .device
            .incarnation()
            .map_err(|source| StoreError::engine("make a group", source))?;
        let count = usize::from(wanted.k + wanted.m);
        let chosen = choose_volumes(&free, count, incarnation)
            .ok_or(StoreError::Full { wanted: u64::from(wanted.shape().full_row()) })?;
        let device = |number: &VolumeNo| {
            usable.iter().map(|volume| &volume.device).find(|device| device.number() == *number)
        };
        let devices: Vec<Device> = chosen.iter().filter_map(device).cloned().collect();
        let first = usable.first().map_or(0, |volume| u64::from(volume.device.number().0));
        Ok((wanted, devices, GroupId(first << INCARNATION_BITS | incarnation)))
    }

    /// Appends a record to the journals of as many volumes as copies are wanted; durable when this
    /// returns. In the place of a volume that fails another one is taken.
    ///
    /// # Errors
    /// Fewer than two volumes have it, unless there is one only.
    pub(crate) async fn append(
        &self,
        lsn: Lsn,
        record: &Bytes,
    ) -> Result<Vec<JournalPlace>, StoreError> {
        let mut usable = self.usable();
        let wanted = usize::from(redundancy(usable.len()).ok_or_else(nowhere)?.copies);
        // In turn, so that all fill up alike.
        let count = usable.len() as u64;
        usable.rotate_left(usize::try_from(lsn.0 % count).unwrap_or_default());
        let mut spare = usable.into_iter();
        let start = |volume: Volume| {
            let record = record.clone();
            async move { volume.journal.append(lsn, record).await }
        };
        let mut appends: FuturesUnordered<_> = spare.by_ref().take(wanted).map(start).collect();
        let (mut places, mut failure) = (Vec::with_capacity(wanted), None);
        while let Some(result) = appends.next().await {
            match result {
                Ok(place) => places.push(place),
                Err(error) => {
                    failure = Some(error);
                    appends.extend(spare.next().map(start));
                }
            }
        }
        // Losing one more volume must not lose what is acknowledged.
        let enough = wanted.min(2);
        match failure {
            Some(error) if places.len() < enough => {
                Err(StoreError::engine("write to the journals", EngineError::Journal(error)))
            }
            _ => Ok(places),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<VolumeNo, Volume>> {
        self.inner.volumes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<VolumeNo, Volume>> {
        self.inner.volumes.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nowhere() -> StoreError {
    StoreError::Unavailable { reason: "no volume takes writes".to_owned() }
}
