//! The volumes of the pool that are here, and whether the store is open.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agent_object_store_pool::backend::Space;
use agent_object_store_pool::device::Device;
use agent_object_store_pool::io::Io;
use agent_object_store_pool::superblock::{Superblock, VolumeNo};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::home::{IndexTrouble, Watched, bury};
use super::members::Known;
use super::plan::written_off;
use crate::engine::core::Core;
use crate::engine::events::{Events, Happening};
use crate::engine::standby::{Mirror, Phase as StandbyPhase};
use crate::engine::volumes::Volumes;
use crate::error::StoreError;
use crate::names::{UnixMillis, VolumeId};
use crate::volumes::{AttachError, AttachReport, ForgetError, RetireError, Volume};

/// Who waits until a volume is in use.
pub(super) type Waiting = oneshot::Sender<Result<AttachReport, AttachError>>;

/// A volume that is here.
#[derive(Debug)]
pub(super) struct Slot {
    pub volume: Volume,
    pub since: UnixMillis,
    /// Tells it from one of the same name before it.
    pub token: u64,
    pub phase: Phase,
    pub waiting: Option<Waiting>,
    /// Whether it was blank.
    pub joined: bool,
    /// How often formatting it met another one that held its lock.
    pub tries: u32,
    /// Its space when that was last known.
    pub space: Option<Space>,
}

/// How far a volume is.
#[derive(Debug)]
pub(super) enum Phase {
    /// Its superblock is being read.
    Reading,
    /// It has none.
    Blank,
    /// It is one of the pool; with what it said when it was read, unless it was in use since.
    Member { device: Device, says: Option<Box<Superblock>> },
    /// In use by the store that is open.
    InUse { device: Device },
    /// It was retired; left alone until it is detached. With the reason where its key could not be
    /// destroyed.
    Retired { failure: Option<String> },
    /// It cannot be read; left alone until it is detached.
    Failed { reason: String },
}

impl Slot {
    /// The device, if it has one.
    pub(super) fn device(&self) -> Option<&Device> {
        match &self.phase {
            Phase::Member { device, .. } | Phase::InUse { device } => Some(device),
            Phase::Reading | Phase::Blank | Phase::Retired { .. } | Phase::Failed { .. } => None,
        }
    }

    /// Tells who waits that it is in use.
    pub(super) fn ready(&mut self, damaged: Vec<String>, events: &Events) {
        let report = AttachReport { joined: self.joined, removed: 0, damaged };
        tracing::info!(volume = %self.volume.id, path = %self.volume.path.display(),
            joined = report.joined, damaged = report.damaged.len(), "volume in use");
        if let Some(device) = self.device() {
            events.name(device.number(), self.volume.id.as_str());
        }
        if let Some(waiting) = self.waiting.take() {
            let what = if report.joined { Happening::Joined } else { Happening::Attached };
            events.tell_of(Some(self.volume.id.to_string()), what);
            // It may not be waited for any more.
            let _ = waiting.send(Ok(report));
        }
    }

    /// Tells who waits why it is not.
    pub(super) fn refuse(mut self, error: AttachError) {
        self.turn_away(error);
    }

    /// The same, of one that stays.
    pub(super) fn turn_away(&mut self, error: AttachError) {
        if let Some(waiting) = self.waiting.take() {
            // It may not be waited for any more.
            let _ = waiting.send(Err(error));
        }
    }
}

/// The store while it is open.
#[derive(Debug)]
pub(super) struct Serving {
    pub core: Arc<Core>,
    pub index: Arc<Watched>,
    /// Both of them, as the store sees them.
    pub mirror: Arc<Mirror>,
    /// Writes checkpoints; ended with this.
    pub keeper: JoinHandle<()>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// A volume to be given up, and who waits for that.
pub(super) type Forget = (VolumeId, oneshot::Sender<Result<(), ForgetError>>);

/// What is asked for of a volume, and who waits for the answer.
#[derive(Debug)]
pub(super) struct Decision {
    pub id: VolumeId,
    pub wanted: Wanted,
    pub reply: oneshot::Sender<Result<(), RetireError>>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Retire it.
    Retire,
    /// Give that up.
    Cancel,
}

/// The owner's state. Changed in short steps that do not block.
#[derive(Debug)]
pub(super) struct State {
    pub slots: BTreeMap<VolumeId, Slot>,
    pub serving: Option<Serving>,
    /// Volumes of stores that were open or half open; their journals are to be closed.
    pub closing: Vec<Volumes>,
    /// What is known of the pool.
    pub known: Option<Known>,
    /// Whether the store was open before: then nothing is waited for.
    pub settled: bool,
    /// When the first member of those here came.
    pub first: Option<Instant>,
    /// When the last blank volume came.
    pub last_blank: Option<Instant>,
    /// Before this nothing is tried again that failed.
    pub retry_at: Option<Instant>,
    /// What failed, in words.
    pub trouble: Option<String>,
    /// How the index failed.
    pub index_trouble: Option<IndexTrouble>,
    /// Whether the standby that superblocks name did not fail since.
    pub is_standby_sound: bool,
    /// Whether the index is a standby that took over from a damaged one.
    pub was_spared: bool,
    /// The last decision about the index that this process gave a number to.
    pub decided: Option<u64>,
    /// Before this no standby is begun, as one failed on this volume.
    pub standby_failed: Option<(Instant, VolumeNo)>,
    /// When serving was ended last.
    pub stopped_at: Option<Instant>,
    pub forgets: Vec<Forget>,
    pub decisions: Vec<Decision>,
    /// Volumes that went since the process began: what they show when they are back is on the disk.
    pub unplugged: BTreeSet<VolumeId>,
    /// Of the machine as it runs now; empty where it is not known.
    pub boot: String,
    /// Volumes that were here before: their locks may be released a little later.
    pub had: BTreeSet<VolumeId>,
    /// When members that are not here went.
    pub missing_since: BTreeMap<String, UnixMillis>,
    /// What the store's owner waits for before it attaches volumes, in words.
    pub awaited: Option<String>,
    pub opened: UnixMillis,
    pub next_token: u64,
    pub is_closed: bool,
}

impl State {
    pub(super) fn new(opened: UnixMillis, boot: String) -> Self {
        Self {
            slots: BTreeMap::new(),
            serving: None,
            closing: Vec::new(),
            known: None,
            settled: false,
            first: None,
            last_blank: None,
            retry_at: None,
            trouble: None,
            index_trouble: None,
            is_standby_sound: true,
            was_spared: false,
            decided: None,
            standby_failed: None,
            stopped_at: None,
            forgets: Vec::new(),
            decisions: Vec::new(),
            unplugged: BTreeSet::new(),
            boot,
            had: BTreeSet::new(),
            missing_since: BTreeMap::new(),
            awaited: None,
            opened,
            next_token: 0,
            is_closed: false,
        }
    }

    /// The slot of a volume, if it is still the same.
    pub(super) fn slot(&mut self, id: &VolumeId, token: u64) -> Option<&mut Slot> {
        self.slots.get_mut(id).filter(|slot| slot.token == token)
    }

    /// Takes a slot away, if it is still the same.
    pub(super) fn take(&mut self, id: &VolumeId, token: u64) -> Option<Slot> {
        self.slot(id, token)?;
        self.slots.remove(id)
    }

    /// Puts together anew what is known, as a volume came or went.
    pub(super) fn learn(&mut self) {
        let says = self.slots.values().filter_map(|slot| match &slot.phase {
            Phase::Member { says, .. } => says.as_deref(),
            _ => None,
        });
        let says: Vec<&Superblock> = says.collect();
        let before = self.known.as_ref().filter(|_| self.settled);
        let known = Known::of(before, &says);
        self.known = known;
        if !self.settled && self.known.is_none() {
            self.first = None;
        }
    }

    /// Tells what the pool consists of to those who write to it.
    pub(super) fn tell_volumes(&self, volumes: &Volumes) {
        let Some(known) = &self.known else { return };
        volumes.set_members(known.needed().count());
        volumes.set_numbers(known.needed().map(|member| member.number).collect());
        volumes.set_leaving(known.leaving());
        volumes.set_written_off(written_off(self, known));
    }

    /// Volumes of the pool that are here, in use or about to be.
    pub(super) fn devices(&self) -> Vec<(VolumeId, u64, Device)> {
        let device =
            |(id, slot): (&VolumeId, &Slot)| Some((id.clone(), slot.token, slot.device()?.clone()));
        self.slots.iter().filter_map(device).collect()
    }

    /// The same, without what is not yet in use.
    pub(super) fn in_use(&self) -> Vec<Device> {
        let device = |slot: &Slot| match &slot.phase {
            Phase::InUse { device } => Some(device.clone()),
            _ => None,
        };
        self.slots.values().filter_map(device).collect()
    }

    /// Ends serving: requests are refused from now on, and the journals are to be closed. The index
    /// is closed when the last request has ended.
    pub(super) fn stop_serving(&mut self, io: Io) {
        let Some(serving) = self.serving.take() else { return };
        let trouble = serving.index.trouble().cloned();
        let reason = trouble.as_ref().map_or_else(
            || "its volume went, failed or is to leave".to_owned(),
            |trouble| trouble.reason.clone(),
        );
        tracing::warn!(reason, "the index is closed");
        serving.core.events.tell(None, Happening::IndexLost { reason });
        self.index_trouble = trouble;
        self.stopped_at = Some(Instant::now());
        let standby = serving.mirror.standby();
        self.is_standby_sound =
            matches!(standby.phase(), StandbyPhase::Whole { .. } | StandbyPhase::InStep { .. });
        // Both end by themselves; who opens one of them waits for that.
        standby.close();
        bury(serving.index.index(), io);
        self.closing.push(serving.core.volumes.clone());
        for slot in self.slots.values_mut() {
            if let Phase::InUse { device } = &slot.phase {
                slot.phase = Phase::Member { device: device.clone(), says: None };
            }
        }
    }

    /// How many volumes are here and can be used.
    fn here(&self) -> usize {
        self.slots.values().filter(|slot| slot.device().is_some()).count()
    }

    /// Whether nothing is served, but enough volumes are here.
    pub(super) fn is_moving(&self) -> bool {
        let enough = |known: &Known| self.here() + known.spare() >= known.needed().count();
        !self.is_closed && self.serving.is_none() && self.known.as_ref().is_some_and(enough)
    }

    /// Why nothing is served.
    pub(super) fn reason(&self) -> StoreError {
        self.reason_with(None)
    }

    /// The same, with how many packed groups are read of all where the index is made anew.
    pub(super) fn reason_with(&self, rebuilding: Option<(u64, u64)>) -> StoreError {
        let reason = if self.is_closed {
            "the store is closed".to_owned()
        } else if let Some(trouble) = &self.trouble {
            format!("the volumes cannot be opened: {trouble}; it is tried again")
        } else if let Some(known) = &self.known {
            let here = self.here();
            let all = known.needed().count();
            let needed = all.saturating_sub(known.spare());
            let fenced: Vec<&str> =
                known.fenced(&self.boot).map(|(m, _)| m.volume.as_str()).collect();
            if here < needed && !fenced.is_empty() {
                format!(
                    "{here} of the pool's {all} volumes can be used, {needed} are needed; {} failed \
                     since the machine was started: restart it, or attach the others",
                    fenced.join(", ")
                )
            } else if here < needed {
                format!(
                    "{here} of the pool's {all} volumes are here, {needed} are needed; attach the \
                     others or give those up that will not come back"
                )
            } else if self.settled {
                match rebuilding.filter(|(_, all)| *all > 0) {
                    Some((read, all)) => {
                        format!("the index is made anew: {read} of {all} groups are read")
                    }
                    None if self.known.as_ref().is_some_and(|known| known.standby.is_some()) => {
                        "the standby takes the index over".to_owned()
                    }
                    None => "the index is made anew".to_owned(),
                }
            } else {
                gathered(here, all)
            }
        } else if self.slots.is_empty() {
            self.awaited.clone().unwrap_or_else(|| "no volume is attached".to_owned())
        } else {
            "the first volumes are being read in".to_owned()
        };
        StoreError::Unavailable { reason }
    }
}

/// Why a store is not open that enough volumes are here for.
fn gathered(here: usize, all: usize) -> String {
    match here < all {
        true => format!("{here} of the pool's {all} volumes are here; waiting for the others"),
        false => format!("all {all} volumes of the pool are here; the store is being opened"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_to_wait_for_volumes_that_are_here() {
        assert_eq!(gathered(4, 5), "4 of the pool's 5 volumes are here; waiting for the others");
        let opening = "all 5 volumes of the pool are here; the store is being opened";
        assert_eq!(gathered(5, 5), opening);
    }
}
