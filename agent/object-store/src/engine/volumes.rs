//! The volumes in use, and what is spread over them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use agent_object_store_pool::device::{ANSWER_MAX, Device};
use agent_object_store_pool::group::header::Kind;
use agent_object_store_pool::group::run::GroupId;
use agent_object_store_pool::journal::{Journal, JournalError, JournalPlace, Keep, Lsn};
use agent_object_store_pool::redundancy::{ROW, Redundancy, choose_volumes, redundancy};
use agent_object_store_pool::superblock::{Class, VolumeNo};
use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::Instant;

use super::error::EngineError;
use super::pool::Spread;
use crate::error::StoreError;

/// A group's number is that of its first volume and an incarnation of it, so that none is used twice.
const INCARNATION_BITS: u32 = 48;

/// Copies of a record that are the least to be acknowledged, unless the pool has one volume only:
/// losing a volume must not lose what was acknowledged.
const COPIES_MIN: usize = 2;

/// How old the answer may be whether there is room: volumes do not fill up so quickly.
const ROOM_AGE_MAX: Duration = Duration::from_millis(100);

/// Room is short where less than this part of a volume is free beside the reserve.
const SHORT_PARTS: u64 = 20;

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
    /// How many volumes have room, and when that was found out.
    room: Mutex<Option<(Instant, usize)>>,
    /// Volumes that the pool has, whether they are here or not.
    members: AtomicUsize,
    /// Their numbers.
    numbers: Mutex<Vec<VolumeNo>>,
    /// Of these, those that are not here and of which nothing is expected.
    written_off: AtomicUsize,
    /// The volume that is to be emptied.
    leaving: Mutex<Option<VolumeNo>>,
    /// Volumes on disks that are too hot.
    hot: RwLock<BTreeSet<VolumeNo>>,
    /// Volumes that came since the store was opened, also those that were here before.
    arrivals: AtomicU64,
    volumes: RwLock<BTreeMap<VolumeNo, Volume>>,
}

/// Which volumes take what is new. Unlike another if one of them went, came or came back meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Takers {
    numbers: Vec<VolumeNo>,
    arrivals: u64,
}

impl Volumes {
    pub(crate) fn new(reserve: u64) -> Self {
        let inner = Inner {
            reserve,
            room: Mutex::default(),
            members: AtomicUsize::new(0),
            numbers: Mutex::default(),
            written_off: AtomicUsize::new(0),
            leaving: Mutex::default(),
            hot: RwLock::default(),
            arrivals: AtomicU64::new(0),
            volumes: RwLock::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Says how many volumes the pool has. Of a pool with two or more, nothing is acknowledged that
    /// only one volume has.
    pub(crate) fn set_members(&self, members: usize) {
        self.inner.members.store(members, Ordering::Relaxed);
    }

    /// Says which these are.
    pub(crate) fn set_numbers(&self, numbers: Vec<VolumeNo>) {
        *self.inner.numbers.lock().unwrap_or_else(PoisonError::into_inner) = numbers;
    }

    /// The volumes of the pool that are not here.
    pub(crate) fn absent(&self) -> Vec<VolumeNo> {
        let mut numbers = self.inner.numbers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let here = self.read();
        numbers.retain(|number| !here.contains_key(number));
        numbers
    }

    /// Says how many of them are not here and will not be, so that what they held is missing for good.
    pub(crate) fn set_written_off(&self, volumes: usize) {
        self.inner.written_off.store(volumes, Ordering::Relaxed);
    }

    /// Says which volume is to be emptied: it takes no writes any more.
    pub(crate) fn set_leaving(&self, leaving: Option<VolumeNo>) {
        *self.inner.leaving.lock().unwrap_or_else(PoisonError::into_inner) = leaving;
        *self.room() = None;
    }

    /// The volume that is to be emptied.
    pub(crate) fn leaving(&self) -> Option<VolumeNo> {
        *self.inner.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which volumes are on disks that are too hot: what is new goes to others where enough are left, and
    /// what nobody waits for is done more slowly on them.
    pub(crate) fn set_hot(&self, hot: BTreeSet<VolumeNo>) {
        *self.inner.hot.write().unwrap_or_else(PoisonError::into_inner) = hot;
    }

    /// Whether a volume's disk is too hot.
    pub(crate) fn is_hot(&self, number: VolumeNo) -> bool {
        self.inner.hot.read().unwrap_or_else(PoisonError::into_inner).contains(&number)
    }

    /// Bytes that stay free on every volume.
    pub(crate) fn reserve(&self) -> u64 {
        self.inner.reserve
    }

    pub(crate) fn add(&self, volume: Volume) {
        self.write().insert(volume.device.number(), volume);
        self.inner.arrivals.fetch_add(1, Ordering::Relaxed);
        *self.room() = None;
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

    /// Whether every volume of the pool is here, so that what misses is missing for good.
    pub(crate) fn all_are_here(&self) -> bool {
        let here = self.read().len() + self.inner.written_off.load(Ordering::Relaxed);
        here >= self.inner.members.load(Ordering::Relaxed)
    }

    /// Those that take what is new.
    pub(crate) fn writable(&self) -> Vec<Volume> {
        let leaving = self.leaving();
        let mut volumes = self.healthy();
        volumes.retain(|volume| Some(volume.device.number()) != leaving);
        volumes
    }

    /// Which these are.
    pub(crate) fn takers(&self) -> Takers {
        let arrivals = self.inner.arrivals.load(Ordering::Relaxed);
        let number = |volume: Volume| volume.device.number();
        Takers { numbers: self.writable().into_iter().map(number).collect(), arrivals }
    }

    /// Those that may be written to, also what is to be emptied.
    pub(crate) fn healthy(&self) -> Vec<Volume> {
        let volumes = self.read();
        volumes.values().filter(|volume| volume.device.fenced().is_none()).cloned().collect()
    }

    /// Those that take writes, and the redundancy that they carry.
    ///
    /// # Errors
    /// No volume takes writes, or only one of several.
    fn usable(&self) -> Result<(Vec<Volume>, Redundancy), StoreError> {
        let usable = self.writable();
        let wanted = redundancy(usable.len()).ok_or_else(|| StoreError::Unavailable {
            reason: "no volume takes writes".to_owned(),
        })?;
        let members = self.inner.members.load(Ordering::Relaxed);
        if members >= COPIES_MIN && usable.len() < COPIES_MIN {
            let reason = format!(
                "only {} of the pool's {members} volumes takes writes, and what is written must \
                 be on {COPIES_MIN}; bring another one back or give the missing ones up",
                usable.len()
            );
            return Err(StoreError::Unavailable { reason });
        }
        Ok((usable, wanted))
    }

    /// Whether a body of so many bytes may be begun: whether enough volumes have room beside the
    /// reserve, as of late.
    ///
    /// # Errors
    /// [`StoreError::Full`], or no volume takes writes.
    pub(crate) fn check_room(&self, wanted: u64) -> Result<(), StoreError> {
        let (usable, redundancy) = self.usable()?;
        let known = *self.room();
        let count = match known.filter(|(at, _)| at.elapsed() < ROOM_AGE_MAX) {
            Some((_, count)) => count,
            None => {
                let count = usable
                    .iter()
                    .filter(|volume| self.free(&volume.device, self.inner.reserve) > 0)
                    .count();
                *self.room() = Some((Instant::now(), count));
                count
            }
        };
        if count < usize::from(redundancy.copies).min(COPIES_MIN) {
            return Err(StoreError::Full { wanted });
        }
        Ok(())
    }

    /// Whether the volumes that take what is new have little room left together, beside the reserve.
    pub(crate) fn is_short(&self) -> bool {
        let measured =
            self.writable().into_iter().filter_map(|volume| self.measure(&volume.device));
        let (free, total) =
            measured.fold((0, 0), |(free, total), (more, of)| (free + more, total + of));
        total > 0 && free < total / SHORT_PARTS
    }

    /// Bytes that a volume still takes, and all that its file system has.
    fn measure(&self, device: &Device) -> Option<(u64, u64)> {
        let space = device.backend().space(device.root()).ok()?;
        Some((space.free.saturating_sub(self.inner.reserve), space.total))
    }

    /// Gives room of journals back to the file systems: where it is short at once, else what was not in
    /// use for a while, if that `is_due`. How many segments.
    pub(crate) async fn trim(&self, is_due: bool) -> usize {
        let mut removed = 0;
        for volume in self.healthy() {
            let (device, journal) = (&volume.device, &volume.journal);
            let measured = self.measure(device);
            let is_short = measured.is_some_and(|(free, total)| free < total / SHORT_PARTS);
            let keep = match (is_short, is_due) {
                (true, _) => Keep::Least,
                (false, true) => Keep::Recent,
                (false, false) => continue,
            };
            match journal.trim(keep).await {
                Ok(segments) => removed += segments,
                Err(error) => {
                    tracing::warn!(volume = %device.number(), %error, "a journal gives no room back");
                }
            }
        }
        removed
    }

    fn room(&self) -> MutexGuard<'_, Option<(Instant, usize)>> {
        self.inner.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that each volume still takes, of those that take what is new.
    pub(crate) fn room_by_volume(&self) -> Vec<(VolumeNo, u64)> {
        let free = |volume: Volume| {
            (volume.device.number(), self.free(&volume.device, self.inner.reserve))
        };
        self.writable().into_iter().map(free).collect()
    }

    /// Bytes that a volume still takes. One that cannot even say so takes nothing any more.
    fn free(&self, device: &Device, reserve: u64) -> u64 {
        match device.backend().space(device.root()) {
            Ok(space) => space.free.saturating_sub(reserve),
            Err(error) => {
                device.fence(&format!("cannot measure {}: {error}", device.root().display()));
                0
            }
        }
    }

    /// The volumes that a new group may stand on, with the bytes they still take: of each class that
    /// has two or more, else all together.
    fn spreads(&self, reserve: u64) -> Vec<Vec<(VolumeNo, u64, Class)>> {
        let with_room = |volume: Volume| {
            let free = self.free(&volume.device, reserve);
            (free > 0).then(|| (volume.device.number(), free, volume.device.class()))
        };
        let all: Vec<_> = self.writable().into_iter().filter_map(with_room).collect();
        let of = |class| all.iter().filter(|(.., of)| *of == class).copied().collect::<Vec<_>>();
        let classes: Vec<Vec<_>> = [Class::Hdd, Class::Ssd, Class::Nvme]
            .into_iter()
            .map(of)
            .filter(|volumes| volumes.len() >= COPIES_MIN)
            .collect();
        if !classes.is_empty() {
            return classes;
        }
        let as_one = all.first().map(|(.., class)| *class);
        let together = all.iter().filter_map(|(number, free, _)| Some((*number, *free, as_one?)));
        vec![together.collect()]
    }

    /// How much redundancy new groups get at least.
    pub(crate) fn least_parity(&self) -> u8 {
        let spreads = self.spreads(self.inner.reserve);
        let parity = spreads.iter().filter_map(|volumes| Some(redundancy(volumes.len())?.m));
        parity.min().unwrap_or(0)
    }

    /// How a new group is spread; none while no volume takes writes.
    pub(crate) fn spread(&self) -> Option<Spread> {
        let spreads = self.spreads(self.inner.reserve);
        let free = |volumes: &&Vec<(VolumeNo, u64, Class)>| {
            volumes.iter().map(|(_, free, _)| u128::from(*free)).sum::<u128>()
        };
        let group = redundancy(spreads.iter().max_by_key(free)?.len())?;
        let copies = redundancy(self.writable().len())?.copies;
        Some(Spread { data: group.k, parity: group.m, copies })
    }

    /// The volumes of a new group, and its number. Packing takes of the reserve: it gives back more.
    ///
    /// # Errors
    /// Too few volumes have room.
    pub(crate) async fn for_group(
        &self,
        kind: Kind,
    ) -> Result<(Redundancy, Vec<Device>, GroupId), StoreError> {
        loop {
            let before = self.writable().len();
            match self.group_of(kind).await {
                // Another one may give the number.
                Err(_) if self.writable().len() < before => {}
                other => return other,
            }
        }
    }

    async fn group_of(&self, kind: Kind) -> Result<(Redundancy, Vec<Device>, GroupId), StoreError> {
        let (usable, _) = self.usable()?;
        let reserve = match kind {
            Kind::Bulk => self.inner.reserve,
            Kind::Packed => self.inner.reserve / 4,
        };
        let full = || StoreError::Full { wanted: u64::from(ROW) };
        let free = |volumes: &Vec<(VolumeNo, u64, Class)>| {
            volumes.iter().map(|(_, free, _)| u128::from(*free)).sum::<u128>()
        };
        let volumes = self.spreads(reserve).into_iter().max_by_key(free).ok_or_else(full)?;
        let wanted = redundancy(volumes.len()).ok_or_else(full)?;
        if wanted.m == 0 && self.inner.members.load(Ordering::Relaxed) >= COPIES_MIN {
            return Err(full());
        }
        let device = |number: &VolumeNo| {
            usable.iter().map(|volume| &volume.device).find(|device| device.number() == *number)
        };
        let first = volumes.first().and_then(|(number, ..)| device(number)).ok_or_else(full)?;
        let (on, path) = (first.clone(), || first.root().to_owned());
        let number = first.run(ANSWER_MAX, "write", path, move || on.incarnation()).await;
        let incarnation = number
            .map_err(|error| StoreError::engine("make a group", error))?
            .map_err(|error| StoreError::engine("make a group", error))?;
        let count = usize::from(wanted.k + wanted.m);
        let cool: Vec<_> = volumes.iter().filter(|(on, ..)| !self.is_hot(*on)).copied().collect();
        let chosen = choose_volumes(&cool, count, incarnation)
            .or_else(|| choose_volumes(&volumes, count, incarnation))
            .ok_or_else(full)?;
        let devices: Vec<Device> = chosen.iter().filter_map(device).cloned().collect();
        let number = u64::from(first.number().0);
        Ok((wanted, devices, GroupId(number << INCARNATION_BITS | incarnation)))
    }

    /// Bytes of a full row of a new group.
    ///
    /// # Errors
    /// No volume takes writes.
    pub(crate) fn row_bytes(&self) -> Result<u32, StoreError> {
        let (_, all) = self.usable()?;
        let shapes = self.spreads(self.inner.reserve);
        let rows = shapes.iter().filter_map(|v| Some(redundancy(v.len())?.shape().full_row()));
        Ok(rows.min().unwrap_or_else(|| all.shape().full_row()))
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
        let (mut usable, redundancy) = self.usable()?;
        let wanted = usize::from(redundancy.copies);
        // In turn, so that all fill up alike.
        let count = usable.len() as u64;
        usable.rotate_left(usize::try_from(lsn.0 % count).unwrap_or_default());
        usable.sort_by_key(|volume| self.is_hot(volume.device.number()));
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
        let enough = wanted.min(COPIES_MIN);
        match failure {
            Some(JournalError::Full { .. }) if places.len() < enough => {
                Err(StoreError::Full { wanted: record.len() as u64 })
            }
            Some(error) if places.len() < enough => {
                Err(StoreError::engine("write to the journals", EngineError::Journal(error)))
            }
            _ => Ok(places),
        }
    }

    /// Copies that each record has on the volumes that are here, if it was written to its end: volumes
    /// that are away may have some. None if no volume takes writes.
    pub(crate) fn copies_due(&self) -> Option<usize> {
        let (usable, redundancy) = self.usable().ok()?;
        let away = self.inner.members.load(Ordering::Relaxed).saturating_sub(self.read().len());
        let due = usize::from(redundancy.copies).saturating_sub(away).max(COPIES_MIN);
        Some(due.min(usable.len()))
    }

    /// Appends a record to the journals of further volumes, until it has so many copies; where no more
    /// volume takes it, it has fewer. Each is durable when this returns.
    pub(crate) async fn complete(
        &self,
        lsn: Lsn,
        record: &Bytes,
        places: &mut Vec<JournalPlace>,
        copies: usize,
    ) {
        for volume in self.writable() {
            if places.len() >= copies {
                return;
            }
            let number = volume.device.number();
            if places.iter().all(|place| place.volume != number)
                && let Ok(place) = volume.journal.append(lsn, record.clone()).await
            {
                places.push(place);
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<VolumeNo, Volume>> {
        self.inner.volumes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<VolumeNo, Volume>> {
        self.inner.volumes.write().unwrap_or_else(PoisonError::into_inner)
    }
}
