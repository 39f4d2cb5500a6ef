//! The segments of a volume's journal: which there are, and in what state each is.
//!
//! ```text
//! (no file) ──make──▶ ready ──take──▶ open ──seal──▶ sealed ──free──▶ ready
//!     ▲                 ▲                              ▲
//!     │ found empty ──▶ idle                     found with frames
//!     └──trim── ready, idle
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinHandle;

use super::frame::LSN;
use super::header::SegmentHeader;
use super::scan::widen;
use super::trim::{Count, Keep, surplus};
use super::types::{JournalConfig, JournalError, JournalPlace, Lsn, SegmentState};
use crate::backend::BackendFile;
use crate::device::Device;
use crate::io::Unfinished;

/// A file that is open for reading and writing.
pub(super) type File = Arc<dyn BackendFile>;

#[derive(Debug)]
pub(super) struct Slots {
    pub(super) device: Device,
    pub(super) config: JournalConfig,
    /// The folder of the segments.
    pub(super) folder: PathBuf,
    table: Mutex<Table>,
    /// Held while a segment is made: one at a time is enough for any disk.
    pub(super) making: tokio::sync::Mutex<()>,
    /// The task that prepares segments, if one ever did.
    pub(super) preparing: Mutex<Option<JoinHandle<()>>>,
    pub(super) is_closing: AtomicBool,
}

#[derive(Debug, Default)]
struct Table {
    /// Open and sealed ones.
    segments: BTreeMap<u16, Segment>,
    /// With a new header on stable storage and no frame.
    ready: VecDeque<Ready>,
    /// Files with nothing in them, of which nothing else is assumed.
    idle: BTreeSet<u16>,
    /// Slots of which a segment is being made, freed or removed.
    busy: BTreeSet<u16>,
    /// The most segments that were in use at once since the trim before, and in the time before that.
    most: usize,
    most_before: usize,
}

impl Table {
    fn hold(&mut self, slot: u16, segment: Segment) {
        self.segments.insert(slot, segment);
        self.most = self.most.max(self.segments.len());
    }
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) incarnation: u64,
    pub(super) file: File,
    pub(super) length: u64,
    pub(super) is_open: bool,
    pub(super) lsns: Option<(Lsn, Lsn)>,
    pub(super) bytes: u64,
    pub(super) records: u64,
}

/// A segment that can be written.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    pub(super) slot: u16,
    pub(super) incarnation: u64,
    pub(super) file: File,
}

impl Slots {
    pub(super) fn new(device: Device, config: JournalConfig, folder: PathBuf) -> Self {
        Self {
            device,
            config,
            folder,
            table: Mutex::default(),
            making: tokio::sync::Mutex::new(()),
            preparing: Mutex::default(),
            is_closing: AtomicBool::new(false),
        }
    }

    pub(super) fn path(&self, slot: u16) -> PathBuf {
        self.folder.join(format!("{slot:04x}"))
    }

    /// A segment that was there when the journal was opened.
    pub(super) fn hold(&self, slot: u16, segment: Segment) {
        self.table().hold(slot, segment);
    }

    /// A file that was there, with nothing in it.
    pub(super) fn hold_idle(&self, slot: u16) {
        self.table().idle.insert(slot);
    }

    /// Takes a ready segment for writing, if there is one.
    pub(super) fn open_ready(&self) -> Option<Ready> {
        let mut table = self.table();
        let ready = table.ready.pop_front()?;
        let segment = Segment {
            incarnation: ready.incarnation,
            file: Arc::clone(&ready.file),
            length: self.config.segment_bytes,
            is_open: true,
            lsns: None,
            bytes: 0,
            records: 0,
        };
        table.hold(ready.slot, segment);
        Some(ready)
    }

    pub(super) fn put_ready(&self, ready: Ready) {
        let mut table = self.table();
        table.busy.remove(&ready.slot);
        table.ready.push_back(ready);
    }

    pub(super) fn ready(&self) -> usize {
        self.table().ready.len()
    }

    /// The slot to make a segment of, and whether there is a file; none if all are in use.
    pub(super) fn pick(&self) -> Option<(u16, bool)> {
        let mut table = self.table();
        let (slot, is_file) = if let Some(slot) = table.idle.pop_first() {
            (slot, true)
        } else {
            let is_ready = |slot: u16| table.ready.iter().any(|ready| ready.slot == slot);
            let is_used = |slot: &u16| {
                table.segments.contains_key(slot) || table.busy.contains(slot) || is_ready(*slot)
            };
            ((0..=u16::MAX).find(|slot| !is_used(slot))?, false)
        };
        table.busy.insert(slot);
        Some((slot, is_file))
    }

    /// Takes slots that hold nothing and are not wanted out of use, to be removed.
    pub(super) fn take_surplus(&self, keep: Keep) -> Vec<u16> {
        let mut table = self.table();
        let (used, free) = (table.segments.len(), table.ready.len() + table.idle.len());
        let count = Count { used, free, most: table.most.max(table.most_before) };
        if keep == Keep::Recent {
            (table.most_before, table.most) = (table.most, used);
        }
        let mut slots = Vec::new();
        for _ in 0..surplus(count, self.config.spare_segments, keep) {
            // Those first that are to be written once more before they can be used.
            let slot = table.idle.pop_last().or_else(|| Some(table.ready.pop_back()?.slot));
            slots.extend(slot);
        }
        table.busy.extend(&slots);
        slots
    }

    /// Nothing came of a slot that was picked.
    pub(super) fn drop_busy(&self, slot: u16) {
        self.table().busy.remove(&slot);
    }

    pub(super) fn wrote(&self, slot: u16, records: &[(Lsn, u32)]) {
        if let Some(segment) = self.table().segments.get_mut(&slot) {
            for (lsn, length) in records {
                segment.lsns = Some(widen(segment.lsns, *lsn));
                segment.bytes += u64::from(*length);
                segment.records += 1;
            }
        }
    }

    /// No frame is written to the segment any more. One without records is written later.
    pub(super) fn seal(&self, ready: Ready, is_untouched: bool) {
        let mut table = self.table();
        if is_untouched {
            table.segments.remove(&ready.slot);
            table.ready.push_front(ready);
        } else if let Some(segment) = table.segments.get_mut(&ready.slot) {
            segment.is_open = false;
        }
    }

    pub(super) fn states(&self) -> Vec<SegmentState> {
        let state = |(slot, segment): (&u16, &Segment)| SegmentState {
            slot: *slot,
            incarnation: segment.incarnation,
            is_open: segment.is_open,
            lsns: segment.lsns,
            bytes: segment.bytes,
            records: segment.records,
        };
        self.table().segments.iter().map(state).collect()
    }

    /// The file that holds a place; none if the place cannot be one of it.
    pub(super) fn find(&self, place: JournalPlace) -> Result<Option<File>, JournalError> {
        let table = self.table();
        let segment = table
            .segments
            .get(&place.slot)
            .filter(|segment| segment.incarnation == place.incarnation)
            .filter(|_| place.volume == self.device.number())
            .ok_or_else(|| gone(place.volume, place.slot, place.incarnation))?;
        let end = u64::from(place.offset) + u64::from(place.length);
        let fits = end <= segment.length && place.length as usize >= LSN + crate::seal::TAG;
        Ok(fits.then(|| Arc::clone(&segment.file)))
    }

    /// The file of a sealed segment and its length.
    pub(super) fn sealed(&self, slot: u16, incarnation: u64) -> Result<(File, u64), JournalError> {
        let (table, volume) = (self.table(), self.device.number());
        let found = table.segments.get(&slot).filter(|s| s.incarnation == incarnation);
        let found = found.ok_or_else(|| gone(volume, slot, incarnation))?;
        match found.is_open {
            true => Err(JournalError::Open { volume, slot }),
            false => Ok((Arc::clone(&found.file), found.length)),
        }
    }

    /// Makes a sealed segment one that can be written again. Blocks.
    pub(super) fn free(&self, slot: u16, incarnation: u64) -> Result<(), JournalError> {
        self.check()?;
        let volume = self.device.number();
        let segment = {
            let mut table = self.table();
            let found = table.segments.get(&slot).filter(|s| s.incarnation == incarnation);
            let found = found.ok_or_else(|| gone(volume, slot, incarnation))?;
            if found.is_open {
                return Err(JournalError::Open { volume, slot });
            }
            table.busy.insert(slot);
            table.segments.remove(&slot).ok_or_else(|| gone(volume, slot, incarnation))?
        };
        // A slot whose header is lost has no incarnation, and is made anew like one of another size.
        if segment.length != self.config.segment_bytes || incarnation == 0 {
            self.remove(&[slot])?;
            self.drop_busy(slot);
            return Ok(());
        }
        let incarnation = self.renew(slot, &*segment.file)?;
        self.put_ready(Ready { slot, incarnation, file: segment.file });
        Ok(())
    }

    /// Writes a header with a new incarnation, so that nothing that stands behind it counts. Blocks.
    pub(super) fn renew(&self, slot: u16, file: &dyn BackendFile) -> Result<u64, JournalError> {
        let incarnation = self.device.incarnation().map_err(|error| {
            self.device.fence(&error.to_string());
            self.fenced()
        })?;
        let (volume, length) = (self.device.number(), self.config.segment_bytes);
        let header = SegmentHeader { volume, incarnation, length }.encode();
        let path = self.path(slot);
        file.write_at(&header, 0).map_err(|error| self.fence("write", &path, &error))?;
        file.sync_data().map_err(|error| self.fence("sync", &path, &error))?;
        Ok(incarnation)
    }

    /// Removes segments' files. Blocks.
    pub(super) fn remove(&self, slots: &[u16]) -> Result<(), JournalError> {
        let backend = self.device.backend();
        for slot in slots {
            let path = self.path(*slot);
            backend.remove_file(&path).map_err(|error| self.fence("remove", &path, &error))?;
        }
        backend.sync_dir(&self.folder).map_err(|error| self.fence("sync", &self.folder, &error))
    }

    /// Fences the device for what failed.
    pub(super) fn fence(
        &self,
        operation: &'static str,
        path: &Path,
        error: &io::Error,
    ) -> JournalError {
        self.device.fence(&format!("cannot {operation} {}: {error}", path.display()));
        self.fenced()
    }

    /// What was begun did not end: nobody knows what of it is on stable storage.
    pub(super) fn unfinished(&self, error: Unfinished) -> JournalError {
        self.device.fence(&error.to_string());
        self.fenced()
    }

    /// Refuses if the device is fenced.
    pub(super) fn check(&self) -> Result<(), JournalError> {
        if self.device.fenced().is_some() { Err(self.fenced()) } else { Ok(()) }
    }

    /// What is answered once the lanes have ended: the device is fenced, or the journal closed.
    pub(super) fn ended(&self) -> JournalError {
        self.check().err().unwrap_or(JournalError::Closed { volume: self.device.number() })
    }

    pub(super) fn full(&self) -> JournalError {
        JournalError::Full { volume: self.device.number() }
    }

    pub(super) fn fenced(&self) -> JournalError {
        let why = self.device.fenced().unwrap_or_default();
        JournalError::Fenced { volume: self.device.number(), why }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::SeqCst)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // No change of the table can end half-way.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gone(volume: crate::superblock::VolumeNo, slot: u16, incarnation: u64) -> JournalError {
    JournalError::Gone { volume, slot, incarnation }
}
