//! The record on every volume, and which volumes the object store may have: those whose record is settled.
//!
//! | what stands on a volume | what is done | the store has it |
//! |---|---|---|
//! | the record in use, or an older one of as many resets | the record is written | yes, also where that fails |
//! | no record, a damaged one, or another node's | the record is written | once it is on stable storage |
//! | a record of before a factory reset | it is emptied, then the record is written | once it is on stable storage |
//! | the same, and the node was in use with it since | nothing | no |
//! | a record of after a factory reset that the one in use does not know of, or of another one | nothing | no |
//! | no record or a damaged one, and anything of the node that its key does not open, after a factory reset | nothing | no |
//! | a record that cannot be read, or of a later release | nothing | before any factory reset, or where the node's key opens its pool |
//!
//! Each factory reset makes another key of the pool. So what the key in use opens is of the node as it is now, whatever
//! became of its record, and is never kept back.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_object_store::{has_pool, is_opened_by};
use tracing::warn;

use super::anew;
use super::decide::{Found, VolumeFound, Write};
use super::file;
use super::keeper::{Held, Identity, Keeper};
use super::record::{Record, RecordError};

/// What is told of a volume while it is emptied.
const BEING_EMPTIED: &str = "is from before the factory reset, and is being emptied";

/// What helps with a disk that is neither used nor emptied.
const BY_HAND: &str = "so it is neither used nor emptied: take the disk out and write zeros over all of it on another machine \
                       (blkdiscard --force --zeroout DEVICE), or do a factory reset with it plugged in, which empties all disks";

/// What is told of a volume of after a factory reset that those in use do not know of.
const OF_AFTER: &str = "is from after a factory reset that the disks in use took no part in, so it is not used, and they are left as \
                        they are: take it out; to have the node as it is on that disk, take out the others and restart; to use \
                        it here, write zeros over all of it on another machine (blkdiscard --force --zeroout DEVICE)";

/// What is told of a volume of after another factory reset than those in use.
const OF_ANOTHER: &str = "is from after another factory reset than the disks in use, so it is not used, and they are left as they \
                          are: take it out; to have what is on it, restart the node with it and without the others; to use it \
                          here, write zeros over all of it on another machine (blkdiscard --force --zeroout DEVICE)";

/// What is told of a volume of before a factory reset that the node was in use with after.
const IN_USE_SINCE: &str = "is from before the factory reset, but the node was in use with it after; to have what is on it, restart \
                            the node without the disks of after the reset";

/// How far writing the copies has come.
#[derive(Default)]
struct Progress {
    problems: Vec<String>,
    kept_back: BTreeMap<PathBuf, String>,
    /// Those of them that stay so until a person does something.
    by_hand: BTreeSet<PathBuf>,
}

/// Why a volume is neither used nor emptied, in words.
enum Unproven {
    /// A later look or a factory reset does not help, or is not to be had with it.
    Now(String),
    /// Only a person can bring it back.
    ByHand(String),
}

impl Keeper {
    /// Writes a record to these volumes. Those that are to be emptied before come last, and what is held is told
    /// before them.
    pub(super) fn mirror(
        &mut self,
        record: Record,
        places: Vec<Write>,
        tell: &dyn Fn(Held),
    ) -> Held {
        self.current = Some(record.clone());
        let mut progress = self.unproven(&record);
        let lacking = self.known.len() - places.len();
        let kept_back = |place: &Write| progress.kept_back.contains_key(&place.mount);
        let places: Vec<Write> = places.into_iter().filter(|place| !kept_back(place)).collect();
        let has_tried = !places.is_empty();
        let (old, others): (Vec<_>, Vec<_>) =
            places.into_iter().partition(|place| self.record_of_before(place, &record).is_some());
        let mut copies = lacking;
        for place in others {
            copies += usize::from(self.write_copy(&place, &record, &mut progress));
        }
        if !old.is_empty() && self.known.iter().any(|volume| has(volume, &record)) {
            let being_emptied =
                old.iter().map(|place| (place.mount.clone(), BEING_EMPTIED.to_owned()));
            progress.kept_back.extend(being_emptied);
            tell(self.held(&record, &progress));
        }
        let mut left = old.len();
        for place in old {
            left -= 1;
            progress.kept_back.remove(&place.mount);
            match self.empty_old(&place, &record) {
                Ok(()) => copies += usize::from(self.write_copy(&place, &record, &mut progress)),
                Err(error) => {
                    warn!(%error, "cannot empty a disk from before the factory reset");
                    let why = format!(
                        "is from before the factory reset and could not be emptied: {error}"
                    );
                    progress.kept_back.insert(place.mount, why);
                }
            }
            if left > 0 && copies > 0 {
                tell(self.held(&record, &progress));
            }
        }
        let held = self.held(&record, &progress);
        if has_tried && copies == 0 {
            self.part_again();
        }
        if has_tried && copies == 0 && !self.stands_but_for_partings(&record) {
            // A user who signs in must still be able to after the next start.
            let why = format!("no copy could be written: {}", progress.in_words());
            return Held { identity: Identity::Awaited(why), is_everywhere: false, ..held };
        }
        self.is_in_use = true;
        held
    }

    /// Whether a volume has all of a record but that the node goes on without some disks, which alone makes it no newer.
    fn stands_but_for_partings(&self, record: &Record) -> bool {
        self.known.iter().any(|volume| match &volume.found {
            Found::Record(found) => {
                found.generation == record.generation && found.state.is_of_one_time(&record.state)
            }
            _ => false,
        })
    }

    /// Whether a copy was written.
    fn write_copy(&mut self, place: &Write, record: &Record, progress: &mut Progress) -> bool {
        let mount = place.mount.display();
        if place.set_aside {
            warn!(%mount, "the copy of the node's state was damaged; set aside and replaced");
            progress.problems.push(format!("the copy on {mount} was damaged; it was replaced"));
        }
        let powered = self.power.step().map_err(file::failed("write to", &place.mount));
        let written = powered.and_then(|()| file::write(place, record));
        if let Err(error) = &written {
            warn!(%error, "cannot keep a copy of the node's state");
            progress.problems.push(format!("no copy on {mount}: {error}"));
        }
        // Read again: what stands there now is what counts, also after a failure.
        self.known.retain(|volume| volume.mount != place.mount);
        self.known.push(file::read(&place.mount));
        written.is_ok()
    }

    /// What is held by now.
    fn held(&self, record: &Record, progress: &Progress) -> Held {
        let mut settled: BTreeSet<PathBuf> = self.retired.iter().cloned().collect();
        let mut kept_back = progress.kept_back.clone();
        for VolumeFound { mount, found } in &self.known {
            if kept_back.contains_key(mount) {
                continue;
            }
            match is_settled(mount, found, record) {
                true => _ = settled.insert(mount.clone()),
                false => {
                    let why = "the node's record could not be written to it".to_owned();
                    kept_back.insert(mount.clone(), why);
                }
            }
        }
        let only_by_hand = |volume: &VolumeFound| progress.by_hand.contains(&volume.mount);
        Held {
            identity: Identity::Known(Arc::new(record.state.clone())),
            problems: progress.problems.clone(),
            is_everywhere: self.known.iter().all(|v| has(v, record) || only_by_hand(v)),
            settled,
            kept_back,
        }
    }

    /// Volumes with data that may be of before a factory reset, or of after another one, and why they are not used.
    fn unproven(&self, record: &Record) -> Progress {
        let mut progress = Progress::default();
        for volume in &self.known {
            let why = match self.why_unproven(volume, record) {
                Some(Unproven::ByHand(why)) => {
                    progress.by_hand.insert(volume.mount.clone());
                    why
                }
                Some(Unproven::Now(why)) => why,
                None => continue,
            };
            progress.kept_back.insert(volume.mount.clone(), why);
        }
        progress
    }

    fn why_unproven(&self, volume: &VolumeFound, record: &Record) -> Option<Unproven> {
        let VolumeFound { mount, found } = volume;
        let trouble = match found {
            Found::Record(found) if found.state.node_id != record.state.node_id => return None,
            Found::Record(found) if found.state.resets > record.state.resets => {
                return Some(Unproven::Now(OF_AFTER.to_owned()));
            }
            Found::Record(found)
                if found.state.resets == record.state.resets
                    && !found.state.is_of_one_time(&record.state) =>
            {
                return Some(Unproven::ByHand(OF_ANOTHER.to_owned()));
            }
            Found::Record(found) if anew::is_of_before(found, record) => {
                return anew::was_in_use_since(found, record)
                    .then(|| Unproven::ByHand(format!("{IN_USE_SINCE}, {BY_HAND}")));
            }
            Found::Record(_) => return None,
            Found::Nothing => "the node's record is not on it".to_owned(),
            Found::Unusable(error) => format!("the node's record on it is {error}"),
            Found::Unreadable(error) => format!("the node's record on it cannot be read: {error}"),
        };
        if record.state.resets == 0 || self.emptied.contains(mount) {
            return None;
        }
        match is_opened_by(mount, &record.state.pool_key) {
            Ok(true) => return None,
            Ok(false) => {}
            Err(error) => {
                let why = format!(
                    "{trouble}, and its pool cannot be looked at ({error}), so it is not used: it is tried again"
                );
                return Some(Unproven::Now(why));
            }
        }
        let unknown = "what is on it may be of before the factory reset";
        if !is_lost(found) {
            return Some(Unproven::Now(format!(
                "{trouble}, and {unknown}, so it is not used: start the release that wrote the record, or replace the disk"
            )));
        }
        match is_blank(mount) {
            Ok(true) => None,
            Ok(false) => Some(Unproven::ByHand(format!("{trouble}, and {unknown}, {BY_HAND}"))),
            Err(error) => Some(Unproven::Now(format!(
                "{trouble}, and it cannot be looked at ({error}), so it is not used: it is tried again"
            ))),
        }
    }

    /// The record of before a factory reset that stands on a volume.
    fn record_of_before(&self, place: &Write, record: &Record) -> Option<&Record> {
        let found = self.known.iter().find(|volume| volume.mount == place.mount)?;
        let Found::Record(old) = &found.found else { return None };
        anew::is_of_before(old, record).then_some(old)
    }

    /// Empties a volume that was away when the node was made new.
    fn empty_old(&self, place: &Write, record: &Record) -> Result<(), anew::EraseError> {
        let Some(old) = self.record_of_before(place, record) else { return Ok(()) };
        let mount = &place.mount;
        warn!(mount = %mount.display(), "a disk is from before the factory reset: it is emptied");
        anew::erase(mount, anew::scope_between(&old.state, &record.state), &self.power)
    }
}

impl Progress {
    fn in_words(&self) -> String {
        let kept_back = self.kept_back.iter();
        let kept_back = kept_back.map(|(mount, why)| format!("{} {why}", mount.display()));
        self.problems.iter().cloned().chain(kept_back).collect::<Vec<_>>().join("; ")
    }
}

/// Whether a volume has this very record.
fn has(volume: &VolumeFound, record: &Record) -> bool {
    matches!(&volume.found, Found::Record(found) if **found == *record)
}

/// Whether nobody can say any more what the record on a volume was.
fn is_lost(found: &Found) -> bool {
    matches!(found, Found::Nothing | Found::Unusable(RecordError::Damaged(_)))
}

/// Whether what is on a volume is of the node as it is by this record, and the record is where it is to be.
fn is_settled(mount: &Path, found: &Found, record: &Record) -> bool {
    let is_of_now = match found {
        Found::Record(found) => found.state.is_of_one_time(&record.state),
        Found::Unusable(RecordError::Newer { .. }) | Found::Unreadable(_) => {
            record.state.resets == 0
        }
        Found::Nothing | Found::Unusable(RecordError::Damaged(_)) => false,
    };
    is_of_now || is_opened_by(mount, &record.state.pool_key).unwrap_or(false)
}

/// Whether neither a pool nor anything that the node keeps beside it is on a volume.
fn is_blank(mount: &Path) -> io::Result<bool> {
    if has_pool(mount)? {
        return Ok(false);
    }
    file::is_alone(mount)
}

#[cfg(test)]
#[path = "mirror_tests.rs"]
mod tests;
