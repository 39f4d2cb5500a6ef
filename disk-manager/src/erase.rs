//! Erases what marks the content of a disk that somebody claims by hand, so that it can be claimed as a blank one:
//!
//! | write | what | after a cut behind it |
//! |---|---|---|
//! | 1 | zeros over both ends of each partition, and over every mark that was found | foreign, with less on it; to be asked for again |
//! | 2 | zeros over the tail of the disk: backup tables, RAID and ZFS labels | the same |
//! | 3 | zeros over its head: tables, superblocks, our own label | the same |
//! | 4 | zeros over what a further look still finds, at most `PASSES` times | the same |
//!
//! Before the first write the disk is looked at through the descriptors that hold it, and must be what it was when it was
//! asked for. What it holds besides is not overwritten: it can be found on the disk until it is written over.

use std::io;
use std::thread;
use std::time::Duration;

use disk_manager_plan::ObservedDisk;
use disk_manager_plan::by_hand::{Fingerprint, Refused, check_smart};
use disk_manager_plan::layout::{DATA_START, MIB};
use disk_manager_plan::observe::{Answer, Blkid};

use crate::claim::Target;
use crate::probe::signatures::own_places;

/// How much of each end of a disk is written over, in bytes: its label and table, where the file system of ours begins and
/// what programs look at behind that, and more than is looked at in full.
const ENDS: u64 = 64 * MIB;

/// How much of each end of a partition, in bytes: ZFS has labels in the last 512 KiB, md and others in less.
const PARTITION_ENDS: u64 = MIB;

/// How much is written over around a mark, in bytes, from a multiple of this on: superblocks have at most 4 KiB.
const MARK: u64 = 8192;

/// How often it is looked for marks that come out only once others are gone.
const PASSES: usize = 4;

/// How long after a look that found something the next one comes.
const BETWEEN: Duration = Duration::from_millis(100);

/// How much is written at once, in bytes.
const CHUNK: usize = 1 << 20;

/// A partition as the kernel knows it: start and length in bytes.
pub type Span = (u64, u64);

/// Why a disk was not erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// It is not what it was.
    #[error(
        "it is not as it was when it was asked for: nothing was written; look at it again before it is claimed"
    )]
    Changed,
    /// It is not well.
    #[error("{0}; nothing was written")]
    NotWell(Refused),
    /// A write or a flush failed.
    #[error("cannot write over it: {0}; part of what was on it is erased: replace it")]
    Write(#[source] io::Error),
    /// It could not be looked at again.
    #[error("cannot look at it again: {0}; part of what was on it is erased")]
    Look(String),
    /// Something is left that cannot be erased.
    #[error("{what} is still there after it was erased: erase the disk on another machine")]
    Left {
        /// What.
        what: String,
    },
}

/// Erases a disk that is held, if it is still what `wanted` says. `look` sees what is on it now.
///
/// # Errors
/// [`EraseError`].
pub fn erase<T: Target>(
    disk: &mut T,
    wanted: &Fingerprint,
    partitions: &[Span],
    mut look: impl FnMut(&mut T) -> Result<ObservedDisk, String>,
) -> Result<(), EraseError> {
    let seen = look(disk).map_err(|_| EraseError::Changed)?;
    if Fingerprint::of(&seen) != *wanted {
        return Err(EraseError::Changed);
    }
    check_smart(&seen.smart).map_err(EraseError::NotWell)?;
    let size = seen.size.0;
    for (start, length) in partitions {
        for at in [*start, start.saturating_add(length.saturating_sub(PARTITION_ENDS))] {
            put_zeros(disk, at, PARTITION_ENDS.min(*length), size)?;
        }
    }
    erase_marks(disk, &seen)?;
    disk.flush().map_err(EraseError::Write)?;
    for at in [size.saturating_sub(ENDS), 0] {
        put_zeros(disk, at, ENDS, size)?;
        disk.flush().map_err(EraseError::Write)?;
    }
    let mut left = None;
    for pass in 0..PASSES {
        if pass > 0 {
            // Others look at a disk that changes, for a moment.
            thread::sleep(BETWEEN);
        }
        // The kernel drops the partitions; it may refuse for a moment, and then they are seen below.
        let now = look(disk).map_err(EraseError::Look)?;
        left = mark_of(&now);
        if left.is_none() {
            return Ok(());
        }
        erase_marks(disk, &now)?;
        disk.flush().map_err(EraseError::Write)?;
    }
    Err(EraseError::Left { what: left.unwrap_or_default() })
}

/// Writes zeros over every mark that was found, and at every other place where one of its kind stands.
fn erase_marks<T: Target>(disk: &mut T, seen: &ObservedDisk) -> Result<(), EraseError> {
    let size = seen.size.0;
    let mut places: Vec<u64> = own_places(disk, size, seen.block)
        .map_err(|trouble| EraseError::Look(trouble.to_string()))?;
    let named = seen.wipefs.known().into_iter().chain(seen.own.known()).flatten();
    places.extend(named.map(|mark| mark.offset));
    for at in places {
        put_zeros(disk, at / MARK * MARK, MARK, size)?;
    }
    Ok(())
}

/// Something that still marks the disk, in words.
fn mark_of(seen: &ObservedDisk) -> Option<String> {
    let marks = seen.wipefs.known().into_iter().chain(seen.own.known()).flatten();
    if let Some(mark) = marks.into_iter().next() {
        return Some(format!("{} at byte {}", mark.name, mark.offset));
    }
    if let Some(partition) = seen.partitions.first() {
        return Some(format!("partition {partition}"));
    }
    match &seen.blkid {
        Answer::Is(Blkid::Nothing) => {}
        Answer::Is(Blkid::Found(name)) => return Some(name.clone()),
        Answer::Is(Blkid::Ambivalent) => return Some("what blkid cannot name".to_owned()),
        Answer::NotAsked | Answer::Failed(_) => {
            return Some("what blkid did not look at".to_owned());
        }
    }
    match (&seen.wipefs, &seen.own) {
        (Answer::Is(_), Answer::Is(_)) => None,
        _ => Some("what could not be looked at".to_owned()),
    }
}

/// Writes zeros, as far as the disk goes.
fn put_zeros<T: Target>(disk: &mut T, at: u64, length: u64, size: u64) -> Result<(), EraseError> {
    let zeros = vec![0; CHUNK];
    let (mut at, end) = (at, at.saturating_add(length).min(size));
    while at < end {
        let now = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
        disk.write(at, zeros.get(..now).unwrap_or_default()).map_err(EraseError::Write)?;
        at += now as u64;
    }
    Ok(())
}

// What is written over reaches behind the label and into the data partition.
const _: () = assert!(ENDS > DATA_START && ENDS > disk_manager_plan::layout::ENDS);

#[cfg(test)]
#[path = "erase_tests.rs"]
pub(crate) mod tests;
