//! Makes a blank disk ours, in an order in which a power cut at any place loses nothing:
//!
//! | write | what | after a cut behind it |
//! |---|---|---|
//! | 1 | slot A: record 1, claiming (one sector) | ours; goes on at 2 |
//! | 2, 3 | partition table, tail then head | ours; goes on at 2 |
//! | 4 | slot B: record 2, formatting (one sector) | ours; goes on at 5 |
//! | 5 | mkfs.xfs | ours; what is half-made is made again |
//! | 6 | slot A: record 3, ready (one sector) | ours; mounted, 7 is made up for by the next ledger |
//! | 7 | slot B: record 4, ready (one sector) | ours; mounted |
//!
//! Before write 1 the disk is blank. A disk writes a sector whole or not at all, and each record up
//! to here is one sector, so that no cut leaves half a record. A flush stands behind each line. The
//! volume is mounted, and so can hold data, only behind 6: while the newest record says less there is
//! nothing to lose. A disk of which one record says less than ready while the other cannot be read is
//! left alone, as the lost one may have said ready. The node's key is in write 1 already: an identity
//! that was ever used is on a disk.

use std::io;

use disk_manager_plan::label::{ClaimState, EncodeError, Role, SECTOR};
use disk_manager_plan::layout::LayoutError;
use disk_manager_plan::ledger::Ledger;
use disk_manager_plan::report::DiskId;
use disk_manager_plan::slots::SlotName;
use disk_manager_plan::{Layout, NodeKey, Record};
use uuid::Uuid;

use crate::blocks::Blocks;
use crate::program::ProgramError;

/// Why a claim stopped. What was written so far stays and is taken up again.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// A write or a flush failed.
    #[error("cannot write {what}: {source}")]
    Write {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel does not show the data partition.
    #[error("the kernel does not show the data partition: {source}")]
    Partitions {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// mkfs.xfs could not be run.
    #[error("cannot make the file system: {0}")]
    Program(#[from] ProgramError),
    /// mkfs.xfs failed.
    #[error("mkfs.xfs ended with status {status}: {complaint}")]
    Format {
        /// Its exit status.
        status: i32,
        /// The first line of its complaints.
        complaint: String,
    },
    /// The record does not fit a sector.
    #[error("the label record does not fit one sector")]
    RecordTooLong,
    /// The record cannot be written.
    #[error(transparent)]
    Record(#[from] EncodeError),
    /// The layout does not fit.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// A disk that is being claimed.
pub trait Target: Blocks {
    /// Writes `bytes` at `offset`.
    ///
    /// # Errors
    /// The write failed.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Waits until everything written is on stable storage.
    ///
    /// # Errors
    /// It is not.
    fn flush(&mut self) -> io::Result<()>;

    /// Makes the kernel read the partition table, and waits for the data partition.
    ///
    /// # Errors
    /// It does not appear.
    fn settle(&mut self) -> Result<(), ClaimError>;

    /// Makes the file system with the UUID `volume` in the data partition, over nothing but a
    /// half-made one of the same UUID; it is on stable storage when this returns.
    ///
    /// # Errors
    /// It could not be made.
    fn format(&mut self, volume: Uuid) -> Result<(), ClaimError>;
}

/// What a claim puts on a disk.
#[derive(Debug)]
pub struct Claim<'a> {
    /// The node's key.
    pub key: &'a NodeKey,
    /// The disk's identity.
    pub disk: DiskId,
    /// Its serial number.
    pub serial: String,
    /// The volume.
    pub volume: Uuid,
    /// Where everything goes.
    pub layout: Layout,
    /// The disk's block size in bytes.
    pub block: u32,
}

/// How far a claim is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What the newest record says.
    pub state: ClaimState,
    /// Where it stands.
    pub slot: SlotName,
    /// Its generation.
    pub generation: u64,
}

impl Claim<'_> {
    /// Claims a disk, from the start or from where an earlier claim stopped.
    ///
    /// # Errors
    /// See [`ClaimError`]; the same call may be made again with the progress that is then found.
    pub fn run(&self, disk: &mut impl Target, from: Option<Progress>) -> Result<(), ClaimError> {
        let mut at = match from {
            Some(progress) => progress,
            None => {
                let first =
                    Progress { state: ClaimState::Claiming, slot: SlotName::A, generation: 1 };
                self.write_record(disk, first)?;
                first
            }
        };
        if at.state == ClaimState::Claiming {
            self.write_table(disk)?;
            at = self.advance(disk, at, ClaimState::Formatting)?;
        }
        disk.settle()?;
        disk.format(self.volume)?;
        at = self.advance(disk, at, ClaimState::Ready)?;
        self.advance(disk, at, ClaimState::Ready)?;
        Ok(())
    }

    fn write_table(&self, disk: &mut impl Target) -> Result<(), ClaimError> {
        let failed = |source| ClaimError::Write { what: "the partition table", source };
        let [head, tail] = self.layout.table()?;
        for extent in [tail, head] {
            disk.write(extent.offset, &extent.bytes).map_err(failed)?;
            disk.flush().map_err(failed)?;
        }
        Ok(())
    }

    fn advance(
        &self,
        disk: &mut impl Target,
        from: Progress,
        state: ClaimState,
    ) -> Result<Progress, ClaimError> {
        let next = Progress { state, slot: from.slot.other(), generation: from.generation + 1 };
        self.write_record(disk, next)?;
        Ok(next)
    }

    fn write_record(&self, disk: &mut impl Target, at: Progress) -> Result<(), ClaimError> {
        let record = Record {
            generation: at.generation,
            key: self.key.clone(),
            state: at.state,
            role: Role::Data,
            volume: self.volume,
            disk: self.disk.clone(),
            serial: self.serial.clone(),
            ledger: Ledger::default(),
        };
        let mut bytes = record.encode()?;
        if bytes.len() > SECTOR {
            return Err(ClaimError::RecordTooLong);
        }
        let block = usize::try_from(self.block).unwrap_or(SECTOR);
        let length = bytes.len().next_multiple_of(block);
        bytes.resize(length, 0);
        let failed = |source| ClaimError::Write { what: "the label", source };
        disk.write(Layout::slot_start(at.slot), &bytes).map_err(failed)?;
        disk.flush().map_err(failed)
    }
}

#[cfg(test)]
#[path = "claim_tests.rs"]
mod tests;
