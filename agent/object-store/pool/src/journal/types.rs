//! What the journal's callers hold in their hands.

use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::frame;
use super::header::BLOCK;
use crate::superblock::{Class, VolumeNo};

/// Orders records over all lanes of all volumes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Lsn(pub u64);

/// Where a record stands: its sealed bytes in a segment. Serialized as a tuple without names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(VolumeNo, u16, u64, u32, u32)", into = "(VolumeNo, u16, u64, u32, u32)")]
pub struct JournalPlace {
    /// The volume.
    pub volume: VolumeNo,
    /// The segment's slot.
    pub slot: u16,
    /// The segment's incarnation: another one is another segment.
    pub incarnation: u64,
    /// Of the first sealed byte in the segment.
    pub offset: u32,
    /// Sealed bytes, tag included.
    pub length: u32,
}

impl From<(VolumeNo, u16, u64, u32, u32)> for JournalPlace {
    fn from((volume, slot, incarnation, offset, length): (VolumeNo, u16, u64, u32, u32)) -> Self {
        Self { volume, slot, incarnation, offset, length }
    }
}

impl From<JournalPlace> for (VolumeNo, u16, u64, u32, u32) {
    fn from(place: JournalPlace) -> Self {
        (place.volume, place.slot, place.incarnation, place.offset, place.length)
    }
}

/// How a volume's journal is written. What was written with other figures is read all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalConfig {
    /// Length of a segment: a multiple of 4096, at most 4 GiB.
    pub segment_bytes: u64,
    /// Writers side by side. Flash takes several syncs at once; a rotating disk does not.
    pub lanes: usize,
    /// Bytes that are sealed and written at once, unless one record is longer.
    pub frame_bytes_max: usize,
    /// The longest record.
    pub record_bytes_max: usize,
    /// Segments that are prepared ahead, so that an append seldom waits for one.
    pub spare_segments: usize,
}

impl JournalConfig {
    /// What suits a class of volume.
    #[must_use]
    pub fn of(class: Class) -> Self {
        let lanes = match class {
            Class::Hdd => 1,
            Class::Ssd => 2,
            Class::Nvme => 4,
        };
        Self {
            segment_bytes: 64 << 20,
            lanes,
            frame_bytes_max: 4 << 20,
            record_bytes_max: 4 << 20,
            spare_segments: 1,
        }
    }

    /// The same with segments that suit a volume of so many bytes: of a small one, few spare segments
    /// would be most of it.
    #[must_use]
    pub fn fitting(self, volume_bytes: u64) -> Self {
        /// Twice the longest record.
        const SMALLEST: u64 = 8 << 20;
        let fitting = (volume_bytes / 128 / SMALLEST * SMALLEST).max(SMALLEST);
        Self { segment_bytes: self.segment_bytes.min(fitting), ..self }
    }

    pub(super) fn check(&self) -> Result<(), JournalError> {
        let bytes = self.segment_bytes;
        if !bytes.is_multiple_of(BLOCK as u64) || bytes > 1 << 32 {
            return Err(JournalError::Config("segments are multiples of 4096 of at most 4 GiB"));
        }
        if self.lanes == 0 {
            return Err(JournalError::Config("a journal has at least one lane"));
        }
        // Far less than 4 GiB, so that no sum of lengths overflows 32 bits.
        if self.frame_bytes_max.max(self.record_bytes_max) > 1 << 30 {
            return Err(JournalError::Config("frames and records are at most 1 GiB"));
        }
        let longest = frame::framed(frame::in_body(self.record_bytes_max)) + BLOCK;
        if longest as u64 > bytes {
            return Err(JournalError::Config("the longest record does not fit a segment"));
        }
        Ok(())
    }
}

/// A record that was found when the journal was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its number.
    pub lsn: Lsn,
    /// Where it stands.
    pub place: JournalPlace,
    /// Its content.
    pub content: Bytes,
}

/// What is wrong with a segment beyond what a cut of the power explains: bit rot, or a disk that
/// lies. Nothing of it is repaired in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Damage {
    /// Frames that did not count, and were not the last: of some, records were saved.
    pub frames: u64,
    /// Records whose seal did not open in frames that are right otherwise.
    pub records: u64,
    /// Headers, the segment's or of frames, of which one bit was wrong; nothing was lost.
    pub mended: u64,
    /// Blocks of 4096 bytes that the disk could not read.
    pub unreadable: u64,
    /// The segment's header was neither whole nor to be mended nor empty: the slot is free, what
    /// was in it is lost.
    pub header: bool,
}

impl Damage {
    /// Whether anything is wrong.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self != Self::default()
    }
}

/// What was in a segment when the journal was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentScan {
    /// Its slot.
    pub slot: u16,
    /// Its incarnation; 0 if its header is lost.
    pub incarnation: u64,
    /// Whether the slot is held until it is freed; if not there was nothing in it.
    pub is_held: bool,
    /// Records found.
    pub records: u64,
    /// Their sealed bytes.
    pub bytes: u64,
    /// The lowest and the highest LSN found.
    pub lsns: Option<(Lsn, Lsn)>,
    /// Whether its last frame was not whole, as after a cut. Nothing of it was acknowledged, unless
    /// it has rotted since; its records that open were found all the same.
    pub is_torn: bool,
    /// What is wrong with it.
    pub damage: Damage,
}

/// Some records of a segment, in the order of writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// The records.
    pub records: Vec<Found>,
    /// Where the next stretch begins; none at the segment's end.
    pub next: Option<u64>,
    /// What is wrong with it.
    pub damage: Damage,
    /// As in [`SegmentScan::is_torn`].
    pub is_torn: bool,
}

/// A segment in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentState {
    /// Its slot.
    pub slot: u16,
    /// Its incarnation.
    pub incarnation: u64,
    /// Whether a lane still writes to it; it cannot be freed then.
    pub is_open: bool,
    /// The lowest and the highest LSN in it.
    pub lsns: Option<(Lsn, Lsn)>,
    /// Sealed bytes of its records.
    pub bytes: u64,
    /// Its records.
    pub records: u64,
}

/// Why the journal did not do it.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The configuration cannot be.
    #[error("the journal's configuration is wrong: {0}")]
    Config(&'static str),
    /// The volume is fenced. What was asked for is perhaps done, perhaps not.
    #[error("volume {volume} is fenced: {why}")]
    Fenced {
        /// The volume.
        volume: VolumeNo,
        /// Why.
        why: String,
    },
    /// There is no room for another segment; nothing was written.
    #[error("volume {volume} has no room for another journal segment")]
    Full {
        /// The volume.
        volume: VolumeNo,
    },
    /// The record is longer than records may be.
    #[error("a record of {length} bytes; {max} are the most")]
    TooLong {
        /// Bytes of the record.
        length: usize,
        /// The most.
        max: usize,
    },
    /// The journal was closed.
    #[error("the journal of volume {volume} is closed")]
    Closed {
        /// The volume.
        volume: VolumeNo,
    },
    /// The segment was freed; what was in it stands elsewhere.
    #[error("segment {slot:04x}, incarnation {incarnation}, of volume {volume} is gone")]
    Gone {
        /// The volume.
        volume: VolumeNo,
        /// The slot.
        slot: u16,
        /// The incarnation that was asked for.
        incarnation: u64,
    },
    /// A lane writes to the segment.
    #[error("segment {slot:04x} of volume {volume} is being written")]
    Open {
        /// The volume.
        volume: VolumeNo,
        /// The slot.
        slot: u16,
    },
    /// The bytes at a place are not those that were written: bit rot.
    #[error("the record at {offset} in segment {slot:04x} of volume {volume} is damaged",
        volume = .0.volume, slot = .0.slot, offset = .0.offset)]
    Damaged(JournalPlace),
    /// A file failed.
    #[error("cannot {operation} {}", .path.display())]
    Io {
        /// What was to be done.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A segment was written by a later release.
    #[error("{} has format {found}, which this release does not know; nothing was changed",
        .path.display())]
    Newer {
        /// The segment.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// A segment belongs to another volume.
    #[error("{} belongs to volume {found}; nothing was changed", .path.display())]
    Foreign {
        /// The segment.
        path: PathBuf,
        /// Its volume.
        found: VolumeNo,
    },
    /// The disk did not answer as soon as was wanted. It may still.
    #[error("volume {volume} is slow to answer")]
    Late {
        /// The volume.
        volume: VolumeNo,
    },
    /// The process is ending.
    #[error(transparent)]
    Unfinished(#[from] crate::io::Unfinished),
}
