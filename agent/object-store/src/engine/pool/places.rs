//! Where the index and its standby are, and opening one of both.
//!
//! Each decision about them has a number, and is told to all volumes before anything follows from it. The first
//! one of a process is told when the store is opened, with a number far above those that were seen: what
//! was decided last and told to a few volumes only, which are not here, must not be taken for the latest when
//! they come back.

use std::path::{Path, PathBuf};

use agent_object_store_pool::device::{ANSWER_MAX, Device, LONG_MAX};
use agent_object_store_pool::superblock::VolumeNo;
use futures::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

use super::home::{Cause, IndexTrouble};
use super::members::Known;
use super::shared::Shared;
use crate::engine::error::in_words;
use crate::engine::fjall::{FjallIndex, Role, destroy};
use crate::engine::index::{IndexError, IndexFault};
use crate::engine::standby::unseal;

/// The folder of the index in the pool's folder on a volume.
const FOLDER: &str = "index";

/// How far the first decision of a process is from the greatest that was seen: a volume that is not here may
/// know some that nobody else does. Far more than a process takes.
const SKIP: u64 = 1 << 20;

/// How long an index is waited for that is still open, as the step that opened it was cut off, and how often it
/// is tried: closing brings its journal to the disk.
const IN_USE_MAX: Duration = Duration::from_secs(10);
const IN_USE_STEP: Duration = Duration::from_millis(20);

/// Where an index came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It is the one that was there.
    Kept,
    /// It was the standby.
    TakenOver,
    /// It is empty.
    Made,
}

/// An index that was opened.
#[derive(Debug)]
pub(super) struct Found {
    pub index: Arc<FjallIndex>,
    pub home: VolumeNo,
    pub origin: Origin,
    /// Its standby, if that is like it.
    pub standby: Option<(Arc<FjallIndex>, VolumeNo)>,
}

/// An index cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("volume {volume}: {reason}")]
pub(super) struct Unopened {
    volume: VolumeNo,
    reason: String,
    /// It can only be made again.
    is_damaged: bool,
}

/// What may be tried, in this order; then an empty index is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ways {
    /// The index that was there, on this volume.
    keep: Option<VolumeNo>,
    /// The standby, on this volume.
    take_over: Option<VolumeNo>,
}

/// What may be tried. `usable` are the volumes that take writes; `is_sound` says whether the standby is as
/// superblocks say, `was_spared` whether the index was a standby before that took over for a damaged one.
fn ways(
    known: &Known,
    usable: &[VolumeNo],
    trouble: Option<Cause>,
    is_sound: bool,
    was_spared: bool,
) -> Ways {
    let leaving = known.leaving();
    let has_other = usable.iter().any(|number| Some(*number) != leaving);
    // It is emptied for nothing if it has the index, unless it is the only one.
    let may_have =
        |number: &VolumeNo| usable.contains(number) && (Some(*number) != leaving || !has_other);
    // A standby has what its index had: that does not help twice.
    let is_spoiled =
        trouble == Some(Cause::Asked) || (trouble == Some(Cause::Damaged) && was_spared);
    Ways {
        keep: known.home.filter(may_have).filter(|_| trouble.is_none() && !known.is_disputed),
        take_over: known.standby.filter(may_have).filter(|_| is_sound && !is_spoiled),
    }
}

/// Where indexes are kept, for tests that have no real volumes.
#[derive(Debug, Clone)]
pub(super) struct Places(pub Option<PathBuf>);

impl Places {
    /// The folder of the index on a volume.
    pub(super) fn of(&self, device: &Device) -> PathBuf {
        match &self.0 {
            Some(folder) => folder.join(device.number().to_string()),
            None => device.root().join(FOLDER),
        }
    }

    /// Makes an empty index on a volume.
    ///
    /// # Errors
    /// See [`Unopened`].
    pub(super) async fn make(&self, device: &Device, role: Role) -> Result<FjallIndex, Unopened> {
        let (path, new) = (self.of(device), self.of(device));
        let make = move || {
            destroy(&new)?;
            FjallIndex::open_as(&new, role)
        };
        run(device, &path, "make", make).await
    }

    /// Opens the index on a volume, if there is a whole one, and says what it was closed with.
    async fn reopen(
        &self,
        device: &Device,
        role: Role,
    ) -> Result<(FjallIndex, Option<u64>), Unopened> {
        let (path, old) = (self.of(device), self.of(device));
        let reopen = move || {
            let index = FjallIndex::reopen(&old, role)?.ok_or_else(|| missing(&old))?;
            let seal = unseal(&index)?;
            Ok((index, seal))
        };
        run(device, &path, "open", reopen).await
    }

    /// Removes indexes on volumes that are to have none.
    pub(super) async fn tidy(&self, devices: &[Device], known: &Known) {
        let places = [known.home, known.standby];
        let idle = devices.iter().filter(|device| !places.contains(&Some(device.number())));
        for device in idle.filter(|device| device.fenced().is_none()) {
            let (path, old) = (self.of(device), self.of(device));
            let remove = move || {
                if !old.is_dir() {
                    return Ok(());
                }
                destroy(&old)?;
                std::fs::remove_dir_all(&old).map_err(|error| IndexError {
                    fault: IndexFault::Io,
                    reason: format!("cannot remove {}: {error}", old.display()),
                })
            };
            if let Err(error) = run(device, &path, "remove", remove).await {
                tracing::warn!(%error, "an old index is left");
            }
        }
    }
}

impl Shared {
    /// A number for the next decision about the index; none was ever given to another one by this process.
    pub(super) fn next_epoch(&self, known: &Known) -> u64 {
        let mut state = self.state();
        let last = state.decided.unwrap_or(0).max(known.epoch);
        let step = if state.decided.is_some() { 1 } else { SKIP };
        let next = last.saturating_add(step);
        state.decided = Some(next);
        next
    }

    /// Opens the index where it is, or its standby, or decides on another volume and makes an empty one there.
    /// What is known of the places is changed, and told to all.
    ///
    /// # Errors
    /// It can be on none of the volumes; in words.
    pub(super) async fn open_index(
        &self,
        devices: &[Device],
        known: &mut Known,
        trouble: Option<&IndexTrouble>,
    ) -> Result<Found, String> {
        let (is_sound, was_spared) = {
            let state = self.state();
            (state.is_standby_sound, state.was_spared)
        };
        let trouble = trouble.filter(|trouble| Some(trouble.home) == known.home);
        let trouble = trouble.map(|trouble| trouble.cause);
        let of = |number: Option<VolumeNo>| {
            let usable = devices.iter().filter(|device| device.fenced().is_none());
            usable.clone().find(|device| Some(device.number()) == number)
        };
        let usable: Vec<VolumeNo> =
            devices.iter().filter(|device| device.fenced().is_none()).map(Device::number).collect();
        let ways = ways(known, &usable, trouble, is_sound, was_spared);
        let (mut reasons, mut stays) = (Vec::new(), trouble != Some(Cause::Volume));
        if let Some(home) = of(ways.keep) {
            match self.keep(home, of(ways.take_over), devices, known).await {
                Ok(found) => return Ok(found),
                Err(unopened) => {
                    tracing::warn!(error = %unopened, "the index is not used");
                    stays = unopened.is_damaged;
                    reasons.push(unopened.to_string());
                }
            }
        }
        if let Some(standby) = of(ways.take_over) {
            match self.take_over(standby, devices, known).await {
                Ok(found) => return Ok(found),
                Err(unopened) => {
                    tracing::warn!(error = %unopened, "the standby of the index is not used");
                    reasons.push(unopened.to_string());
                }
            }
        }
        self.make_index(devices, known, stays, reasons).await
    }

    /// Goes on with the index that was there, and with its standby if both were closed alike.
    async fn keep(
        &self,
        home: &Device,
        standby: Option<&Device>,
        devices: &[Device],
        known: &mut Known,
    ) -> Result<Found, Unopened> {
        let (index, seal) = self.places.reopen(home, Role::Home).await?;
        let mut twin = None;
        if let Some(standby) = standby {
            let reopened = self.places.reopen(standby, Role::Standby);
            match timeout(ANSWER_MAX, reopened).await {
                Ok(Ok((other, other_seal))) if seal.is_some() && seal == other_seal => {
                    twin = Some((Arc::new(other), standby.number()));
                }
                Ok(Ok(_)) => tracing::info!("the standby of the index is not like it; made anew"),
                Ok(Err(unopened)) => {
                    tracing::warn!(error = %unopened, "the standby of the index is not used");
                }
                Err(_) => standby.fence("its index was not opened in time"),
            }
        }
        let (home, places) = (home.number(), twin.as_ref().map(|(_, number)| *number));
        self.decide_index(devices, known, home, places).await?;
        Ok(Found { index: Arc::new(index), home, origin: Origin::Kept, standby: twin })
    }

    /// Goes on with the standby.
    async fn take_over(
        &self,
        standby: &Device,
        devices: &[Device],
        known: &mut Known,
    ) -> Result<Found, Unopened> {
        let (index, _) = self.places.reopen(standby, Role::Home).await?;
        let (home, before) = (standby.number(), known.home);
        self.decide_index(devices, known, home, None).await?;
        tracing::warn!(volume = %home, ?before, "the standby takes the index over");
        Ok(Found { index: Arc::new(index), home, origin: Origin::TakenOver, standby: None })
    }

    /// Makes an empty index: on the volume where it is, if it `stays`, else on the best other one.
    async fn make_index(
        &self,
        devices: &[Device],
        known: &mut Known,
        stays: bool,
        mut reasons: Vec<String>,
    ) -> Result<Found, String> {
        let (before, leaving) = (known.home, known.leaving());
        let mut ranked = ranked(devices, before).await;
        if has_other(devices, leaving) {
            ranked.retain(|device| Some(device.number()) != leaving);
        }
        if stays {
            ranked.sort_by_key(|device| Some(device.number()) != before);
        }
        for device in ranked {
            let volume = device.number();
            if let Err(unopened) = self.decide_index(devices, known, volume, None).await {
                reasons.push(unopened.to_string());
                continue;
            }
            match self.places.make(&device, Role::Home).await {
                Ok(index) => {
                    match before {
                        Some(before) => tracing::warn!(%volume, %before, "the index is made anew"),
                        None => tracing::info!(%volume, "the index of the new pool is made"),
                    }
                    let index = Arc::new(index);
                    return Ok(Found { index, home: volume, origin: Origin::Made, standby: None });
                }
                Err(unopened) => reasons.push(unopened.to_string()),
            }
        }
        if reasons.is_empty() {
            return Err("no volume takes the index".to_owned());
        }
        Err(reasons.join("; "))
    }

    /// Tells all volumes where the index and its standby are from now on.
    ///
    /// # Errors
    /// The index's own volume was not told.
    async fn decide_index(
        &self,
        devices: &[Device],
        known: &mut Known,
        home: VolumeNo,
        standby: Option<VolumeNo>,
    ) -> Result<(), Unopened> {
        known.epoch = self.next_epoch(known);
        (known.home, known.standby, known.is_disputed) = (Some(home), standby, false);
        tell(devices, known).await;
        let is_told = |device: &Device| device.number() == home && device.fenced().is_none();
        if devices.iter().any(is_told) {
            return Ok(());
        }
        let reason = "it takes no writes".to_owned();
        Err(Unopened { volume: home, reason, is_damaged: false })
    }
}

/// Whether a volume takes writes that is not the one that is to leave.
pub(super) fn has_other(devices: &[Device], leaving: Option<VolumeNo>) -> bool {
    let is_other = |device: &Device| Some(device.number()) != leaving && device.fenced().is_none();
    devices.iter().any(is_other)
}

/// Writes what is known of the pool to the superblocks that say otherwise, side by side. A volume that fails
/// is fenced. Says how many have it.
pub(super) async fn tell(devices: &[Device], known: &Known) -> usize {
    let tell = async |device: &Device| {
        let (on, known) = (device.clone(), known.clone());
        let tell = move || {
            let has = on.superblock();
            if has.members == known.members
                && (has.index, has.standby, has.index_epoch)
                    == (known.home, known.standby, known.epoch)
            {
                return Ok(());
            }
            on.update(|superblock| {
                superblock.members = known.members;
                (superblock.index, superblock.standby) = (known.home, known.standby);
                superblock.index_epoch = known.epoch;
            })
        };
        match device.run(ANSWER_MAX, "write", || device.root().to_owned(), tell).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(volume = %device.number(), error = in_words(&error),
                    "a superblock was not written");
                false
            }
            Err(_) => false,
        }
    };
    let told = devices.iter().filter(|device| device.fenced().is_none()).map(tell);
    join_all(told).await.into_iter().filter(|is_told| *is_told).count()
}

/// The volumes that may hold an index, the best first: of the best class, with the most room; one
/// that it failed on comes last.
pub(super) async fn ranked(devices: &[Device], last: Option<VolumeNo>) -> Vec<Device> {
    let space = async |device: &Device| {
        let on = device.clone();
        let look = move || on.backend().space(on.root());
        let space = device.run(ANSWER_MAX, "measure", || device.root().to_owned(), look).await;
        let free = space.ok().and_then(Result::ok).map_or(0, |space| space.free);
        (Some(device.number()) != last, device.class(), free, device.clone())
    };
    let usable = devices.iter().filter(|device| device.fenced().is_none());
    let mut ranked = join_all(usable.map(space)).await;
    ranked.sort_by_key(|(is_other, class, free, device)| {
        std::cmp::Reverse((*is_other, *class, *free, std::cmp::Reverse(device.number())))
    });
    let devices = ranked.into_iter().map(|(.., device)| device);
    devices.filter(|device| device.fenced().is_none()).collect()
}

fn missing(path: &Path) -> IndexError {
    let reason = format!("there is none at {}", path.display());
    IndexError { fault: IndexFault::Damaged, reason }
}

/// Does something with the index on a volume; one that is still open is waited for.
///
/// # Errors
/// See [`Unopened`]. A volume that gives no answer is fenced.
async fn run<T: Send + 'static>(
    device: &Device,
    path: &Path,
    operation: &'static str,
    work: impl Fn() -> Result<T, IndexError> + Clone + Send + 'static,
) -> Result<T, Unopened> {
    let volume = device.number();
    let until = Instant::now() + IN_USE_MAX;
    loop {
        let done = device.run(LONG_MAX, operation, || path.to_owned(), work.clone()).await;
        let (reason, is_damaged) = match done {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) if error.fault == IndexFault::InUse && Instant::now() < until => {
                sleep(IN_USE_STEP).await;
                continue;
            }
            Ok(Err(error)) => (error.to_string(), error.fault.remake()),
            Err(unfinished) => (unfinished.to_string(), false),
        };
        return Err(Unopened { volume, reason, is_damaged });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_object_store_pool::superblock::{Class, Duty, Member};

    fn known(home: u16, standby: Option<u16>) -> Known {
        let member = |number: u16| Member::new(format!("v{number}"), VolumeNo(number), Class::Ssd);
        Known {
            pool: "pool/1".to_owned(),
            members: (0..3).map(member).collect(),
            home: Some(VolumeNo(home)),
            standby: standby.map(VolumeNo),
            epoch: 3,
            is_disputed: false,
        }
    }

    fn tried(
        known: &Known,
        usable: &[u16],
        trouble: Option<Cause>,
        is_sound: bool,
        was_spared: bool,
    ) -> (Option<u16>, Option<u16>) {
        let usable: Vec<VolumeNo> = usable.iter().copied().map(VolumeNo).collect();
        let Ways { keep, take_over } = ways(known, &usable, trouble, is_sound, was_spared);
        (keep.map(|number| number.0), take_over.map(|number| number.0))
    }

    #[test]
    fn the_standby_is_opened_where_the_index_cannot_be_and_both_are_sound() {
        let both = known(0, Some(1));
        let of = |usable: &[u16], trouble| tried(&both, usable, trouble, true, false);
        assert_eq!(of(&[0, 1, 2], None), (Some(0), Some(1)));
        assert_eq!(of(&[1, 2], None), (None, Some(1)));
        assert_eq!(of(&[0, 2], None), (Some(0), None));
        assert_eq!(of(&[2], None), (None, None));
        assert_eq!(of(&[0, 1, 2], Some(Cause::Volume)), (None, Some(1)));
        assert_eq!(of(&[0, 1, 2], Some(Cause::Damaged)), (None, Some(1)));
        assert_eq!(of(&[0, 1, 2], Some(Cause::Asked)), (None, None));
        // One that failed may show what is not on its disk.
        assert_eq!(tried(&both, &[0, 1], Some(Cause::Volume), false, false), (None, None));
        // What spoiled two of them is in what they are told.
        assert_eq!(tried(&both, &[0, 1], Some(Cause::Damaged), true, true), (None, None));
        assert_eq!(tried(&both, &[0, 1], Some(Cause::Volume), true, true), (None, Some(1)));
        let disputed = Known { is_disputed: true, ..both.clone() };
        assert_eq!(tried(&disputed, &[0, 1], None, true, false), (None, Some(1)));
        assert_eq!(tried(&known(0, None), &[0, 1], None, true, false), (Some(0), None));
    }

    #[test]
    fn a_volume_that_is_to_leave_has_neither_while_there_is_another() {
        let both = known(0, Some(1));
        let leaves = |number: u16| both.with_duty(VolumeNo(number), &Duty::Retires);
        assert_eq!(tried(&leaves(0), &[0, 1], None, true, false), (None, Some(1)));
        assert_eq!(tried(&leaves(1), &[0, 1], None, true, false), (Some(0), None));
        assert_eq!(tried(&leaves(0), &[0], None, true, false), (Some(0), None));
    }
}
