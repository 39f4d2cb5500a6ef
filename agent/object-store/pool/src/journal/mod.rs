//! The journal of a volume: records of bytes, durable when [`Journal::append`] returns.
//!
//! A few lanes write segments side by side; each takes all that waits for it, seals it, and brings
//! it to stable storage with one write and one sync. `docs/design/on-disk-format.md` draws the
//! segments. What was there when the journal was opened is never appended to; its owner moves the
//! records elsewhere and frees the segment, which is then written again.
//!
//! - A write or sync that fails fences the device; nothing is tried again.
//! - A header in which one bit has rotted is read all the same: its checksum tells which.
//!
//! Private parts: `header` and `frame` are the format, `plan` says what goes into a frame, `scan`
//! reads a segment, `slots` knows the segments, `make` prepares them, `trim` removes those that are not
//! needed, `lane` writes.

mod frame;
mod header;
mod lane;
mod make;
mod open;
mod plan;
mod scan;
mod slots;
#[cfg(test)]
mod tests;
mod trim;
mod types;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::backend::{Buffer, Done, Failed, Job};
use crate::device::{ANSWER_MAX, Device, SCAN_MAX};
use crate::io::{PATIENCE, within};
use crate::seal::{Damaged, Sealer, Spot, TAG};
use lane::Lane;
use scan::Scanner;
use slots::{File, Slots};
pub use trim::Keep;
pub use types::{
    Damage, Found, JournalConfig, JournalError, JournalPlace, Lsn, SegmentScan, SegmentState,
    Stretch,
};

/// The folder of the segments in the pool's folder on a volume.
pub const FOLDER: &str = "journal";

/// The longest record that is read and opened on the caller's thread if it is in memory: what takes
/// some 100 µs.
const AT_ONCE: u32 = 256 << 10;

/// The journal of one volume. A clone is another handle.
#[derive(Debug, Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    slots: Arc<Slots>,
    lanes: Vec<Lane>,
}

impl Journal {
    /// Opens the journal of a volume, or begins one. Every record that is found is given to `visit`,
    /// segment by segment, on a thread that may block; within a segment in the order of writing. All
    /// that is given is on stable storage, unless the device is fenced afterwards.
    ///
    /// Records that were never acknowledged may be among them, but each is whole.
    ///
    /// # Errors
    /// The configuration is wrong, the folder or a file cannot be opened, or a segment is another
    /// volume's or a later release's. Damage is no error.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn open(
        device: Device,
        config: JournalConfig,
        visit: impl FnMut(Found) + Send + 'static,
    ) -> Result<(Self, Vec<SegmentScan>), JournalError> {
        config.check()?;
        let folder = device.root().join(FOLDER);
        let slots = Arc::new(Slots::new(device, config, folder));
        let scans = open::open(&slots, visit).await?;
        make::prepare(&slots);
        let lanes = (0..config.lanes).map(|_| Lane::start(Arc::clone(&slots))).collect();
        Ok((Self { inner: Arc::new(Inner { slots, lanes }) }, scans))
    }

    /// Appends a record; it is on stable storage when this returns. When the answer is not waited
    /// for, the record is written or not, and nothing else suffers.
    ///
    /// # Errors
    /// The record is too long, the volume full or fenced, or the journal closed. After
    /// [`JournalError::Fenced`] the record may be found when the journal is opened again, after the
    /// others it will not.
    pub async fn append(&self, lsn: Lsn, record: Bytes) -> Result<JournalPlace, JournalError> {
        let slots = &self.inner.slots;
        let (length, max) = (record.len(), slots.config.record_bytes_max);
        if length > max {
            return Err(JournalError::TooLong { length, max });
        }
        slots.check()?;
        // The first of those with the fewest that wait.
        let lane = self.inner.lanes.iter().min_by_key(|lane| lane.waiting());
        let Some(lane) = lane else { return Err(slots.ended()) };
        lane.append(lsn, record).await.unwrap_or_else(|| Err(slots.ended()))
    }

    /// Reads a record. What it gives is what was appended, or an error.
    ///
    /// # Errors
    /// [`JournalError::Gone`] if the segment was freed, [`JournalError::Damaged`] if the bytes are
    /// wrong, [`JournalError::Io`] if the disk does not give them.
    pub async fn read(&self, place: JournalPlace) -> Result<Bytes, JournalError> {
        self.read_with(place, None).await
    }

    /// As [`Journal::read`], for records of which there is another copy: waits for two seconds.
    ///
    /// # Errors
    /// As [`Journal::read`], or [`JournalError::Late`].
    pub async fn read_soon(&self, place: JournalPlace) -> Result<Bytes, JournalError> {
        self.read_with(place, Some(PATIENCE)).await
    }

    async fn read_with(
        &self,
        place: JournalPlace,
        patience: Option<Duration>,
    ) -> Result<Bytes, JournalError> {
        let slots = &self.inner.slots;
        let Some(file) = slots.find(place)? else { return Err(JournalError::Damaged(place)) };
        let sealer = slots.device.sealer();
        if place.length <= AT_ONCE {
            let mut sealed = vec![0; place.length as usize];
            if file.read_cached_at(&mut sealed, u64::from(place.offset))
                && let Ok(content) = open_record(sealer, place, sealed)
            {
                return Ok(content);
            }
        }
        let (slots, reading) = (Arc::clone(slots), read_from_disk(Arc::clone(slots), file, place));
        let failed = |source| {
            let io = JournalError::Io { operation: "read", path: slots.path(place.slot), source };
            slots.find(place).err().unwrap_or(io)
        };
        let read = match patience {
            Some(patience) => within(patience, reading).await,
            None => Some(reading.await),
        };
        match read {
            Some(Ok(Ok(content))) => Ok(content),
            // The segment may have been written anew meanwhile.
            Some(Ok(Err(Damaged))) => {
                Err(slots.find(place).err().unwrap_or(JournalError::Damaged(place)))
            }
            Some(Err(Failed { source, .. })) => Err(failed(source)),
            None => Err(JournalError::Late { volume: place.volume }),
        }
    }

    /// Reads a sealed segment again, from the offset `from` on (0 for its start), until records of at
    /// least so many bytes were found.
    ///
    /// # Errors
    /// [`JournalError::Gone`] if there is no such segment, [`JournalError::Open`] if it is being
    /// written. Damage is no error.
    pub async fn stretch(
        &self,
        slot: u16,
        incarnation: u64,
        from: u64,
        bytes: u64,
    ) -> Result<Stretch, JournalError> {
        let slots = Arc::clone(&self.inner.slots);
        let (file, length) = slots.sealed(slot, incarnation)?;
        let work = move || {
            let (mut records, device) = (Vec::new(), &slots.device);
            let visit = &mut |found| records.push(found);
            let (sealer, volume) = (device.sealer(), device.number());
            let scanner = Scanner { sealer, volume, slot, incarnation, visit };
            let from = from.max(header::BLOCK as u64);
            let (scan, _, next) = scanner.run_from(&*file, from, length, bytes);
            Stretch { records, next, damage: scan.damage, is_torn: scan.is_torn }
        };
        let all = &self.inner.slots;
        Ok(all.device.run(SCAN_MAX, "read", || all.path(slot), work).await?)
    }

    /// The segments in use, by slot.
    #[must_use]
    pub fn segments(&self) -> Vec<SegmentState> {
        self.inner.slots.states()
    }

    /// Seals all open segments: what was appended before this was called stands in segments that
    /// can be freed. Lanes take new ones with the next append.
    pub async fn seal(&self) {
        for lane in &self.inner.lanes {
            lane.seal().await;
        }
    }

    /// Gives a sealed segment's slot to be written again: all that is needed of it stands
    /// elsewhere. When this returns, it is on stable storage that its records do not count.
    ///
    /// # Errors
    /// [`JournalError::Gone`] if there is no such segment, [`JournalError::Open`] if it is being
    /// written, [`JournalError::Fenced`].
    pub async fn free(&self, slot: u16, incarnation: u64) -> Result<(), JournalError> {
        let slots = Arc::clone(&self.inner.slots);
        let all = &self.inner.slots;
        let free = move || slots.free(slot, incarnation);
        let freed = all.device.run(ANSWER_MAX, "write", || all.path(slot), free);
        freed.await.map_err(|error| all.unfinished(error))?
    }

    /// Gives files of slots that hold nothing back to the file system, as far as they are not kept; how
    /// many. No record is touched.
    ///
    /// # Errors
    /// [`JournalError::Fenced`].
    pub async fn trim(&self, keep: Keep) -> Result<usize, JournalError> {
        let slots = Arc::clone(&self.inner.slots);
        let all = &self.inner.slots;
        let trim = move || slots.trim(keep);
        let trimmed = all.device.run(ANSWER_MAX, "remove", || all.folder.clone(), trim);
        trimmed.await.map_err(|error| all.unfinished(error))?
    }

    /// Ends the lanes behind all that was appended before, and what goes on in the background.
    /// Reading goes on; appends fail. When all handles are dropped as well, nothing of the journal
    /// holds the device any more.
    pub async fn close(&self) {
        make::stop(&self.inner.slots);
        for lane in &self.inner.lanes {
            lane.close().await;
        }
        make::finish(&self.inner.slots).await;
    }
}

/// Reads and opens a record; waits for the disk.
async fn read_from_disk(
    slots: Arc<Slots>,
    file: File,
    place: JournalPlace,
) -> Result<Result<Bytes, Damaged>, Failed> {
    let unfinished = |_| Failed { operation: "read", source: io::ErrorKind::TimedOut.into() };
    let device = slots.device.clone();
    let job = Job::read(Buffer::of_any(place.length as usize), u64::from(place.offset));
    let done = device.perform(&file, job, ANSWER_MAX, || slots.path(place.slot)).await;
    let Done { mut data, result } = done.map_err(unfinished)?;
    result?;
    let io = device.io();
    let sealed = std::mem::take(data.bytes());
    let open = move || open_record(device.sealer(), place, sealed);
    if place.length <= AT_ONCE { Ok(open()) } else { io.run(open).await.map_err(unfinished) }
}

/// Opens the sealed bytes of a record and gives its content.
fn open_record(
    sealer: &Sealer,
    place: JournalPlace,
    mut sealed: Vec<u8>,
) -> Result<Bytes, Damaged> {
    let spot = Spot { incarnation: place.incarnation, offset: u64::from(place.offset) };
    let plain = sealer.open(spot, &mut sealed)?.len();
    sealed.truncate(plain);
    if plain < frame::LSN {
        return Err(Damaged);
    }
    debug_assert_eq!(plain + TAG, place.length as usize, "a tag is all that sealing adds");
    Ok(Bytes::from(sealed).slice(frame::LSN..))
}
