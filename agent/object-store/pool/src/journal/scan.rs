//! Reads a segment from its start to its end, whatever is in it.
//!
//! A frame whose header is right and whose body is not does not count. Its records that open are
//! given all the same: a seal that opens is proof that this record was written at this place, so a
//! rotten frame costs no more than what has rotted in it, and of a torn one a record comes back
//! that was on its way when the power went.

use std::io;

use bytes::Bytes;

use super::frame::{FRAME, FrameHeader, FrameRead, LSN, pieces};
use super::header::{BLOCK, HeaderRead, SegmentHeader};
use super::types::{Damage, Found, JournalPlace, Lsn, SegmentScan};
use crate::backend::BackendFile;
use crate::seal::{Sealer, Spot};
use crate::superblock::{VolumeNo, crc32c};

/// Bytes that are read at once: enough that a rotating disk reads in sequence.
const WINDOW: usize = 1 << 20;

/// Bytes of a block, as offsets are counted.
const STEP: u64 = BLOCK as u64;

/// What is known of a segment when its header was read.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) read: io::Result<HeaderRead>,
    /// Of the file.
    pub(super) size: u64,
}

impl Head {
    pub(super) fn of(file: &dyn BackendFile) -> io::Result<Self> {
        let size = file.size()?;
        if size < STEP {
            return Ok(Self { read: Ok(HeaderRead::Blank), size });
        }
        let mut block = vec![0; BLOCK];
        let read = file.read_at(&mut block, 0).map(|()| SegmentHeader::decode(&block));
        Ok(Self { read, size })
    }

    /// Whether all of the segment was written once: only then it gets a header.
    pub(super) fn is_whole(&self, length: u64) -> bool {
        matches!(&self.read, Ok(HeaderRead::Whole(header)) if header.length == length)
            && self.size == length
    }
}

/// Scans a segment with a header.
pub(super) struct Scanner<'a> {
    pub(super) sealer: &'a Sealer,
    pub(super) volume: VolumeNo,
    pub(super) slot: u16,
    pub(super) incarnation: u64,
    pub(super) visit: &'a mut dyn FnMut(Found),
}

impl Scanner<'_> {
    /// Goes through the frames up to `end`, the length of the segment. Gives what was found, and
    /// whether there was any frame of this incarnation at all.
    pub(super) fn run(self, file: &dyn BackendFile, end: u64) -> (SegmentScan, bool) {
        let (scan, is_any, _) = self.run_from(file, STEP, end, u64::MAX);
        (scan, is_any)
    }

    /// As [`Scanner::run`], from a frame on, until records of so many bytes were found: then also
    /// gives where it is to go on.
    pub(super) fn run_from(
        mut self,
        file: &dyn BackendFile,
        from: u64,
        end: u64,
        bytes: u64,
    ) -> (SegmentScan, bool, Option<u64>) {
        let mut scan = SegmentScan {
            slot: self.slot,
            incarnation: self.incarnation,
            is_held: true,
            records: 0,
            bytes: 0,
            lsns: None,
            is_torn: false,
            damage: Damage::default(),
        };
        let mut reader = Reader { file, end, start: 0, buffer: Vec::new(), careful_until: 0 };
        // Where the next frame is due; where one begins later, one in between was not recognized.
        let (mut at, mut due, mut any) = (from, from, false);
        while at + STEP <= end {
            if scan.bytes >= bytes && !scan.is_torn {
                return (scan, any, Some(at));
            }
            let spot = Spot { incarnation: self.incarnation, offset: at };
            let Ok(block) = reader.get(at, BLOCK) else {
                scan.damage.unreadable += 1;
                at += STEP;
                continue;
            };
            let (header, is_mended) = match FrameHeader::decode(block, spot) {
                FrameRead::Whole(header) => (header, false),
                FrameRead::Mended(header) => (header, true),
                FrameRead::Nothing => {
                    at += STEP;
                    continue;
                }
            };
            any = true;
            // What was not whole was not the last, so no cut explains it.
            scan.damage.frames += u64::from(scan.is_torn) + u64::from(at > due);
            scan.damage.mended += u64::from(is_mended);
            due = header.end();
            let counts = self.frame(&mut reader, &header, &mut scan);
            scan.is_torn = !counts;
            at = if counts { due } else { at + STEP };
        }
        (scan, any, None)
    }

    /// Gives the records of a frame; says whether it counts.
    fn frame(
        &mut self,
        reader: &mut Reader<'_>,
        header: &FrameHeader,
        scan: &mut SegmentScan,
    ) -> bool {
        let start = header.spot.offset + FRAME as u64;
        let Ok(body) = reader.get(start, header.body as usize) else { return false };
        let mut body = body.to_vec();
        let is_right = crc32c(&body) == header.body_sum;
        let ranges: Vec<_> = pieces(&body).take(header.records as usize).collect();
        if is_right {
            scan.damage.records += u64::from(header.records) - ranges.len() as u64;
        }
        for range in &ranges {
            let offset = start + range.start as u64;
            let sealed = body.get_mut(range.clone()).unwrap_or_default();
            if self.record(offset, sealed, scan).is_none() && is_right {
                scan.damage.records += 1;
            }
        }
        is_right
    }

    fn record(&mut self, offset: u64, sealed: &mut [u8], scan: &mut SegmentScan) -> Option<()> {
        let spot = Spot { incarnation: self.incarnation, offset };
        let length = u32::try_from(sealed.len()).ok()?;
        let (lsn, content) = self.sealer.open(spot, sealed).ok()?.split_first_chunk::<LSN>()?;
        let lsn = Lsn(u64::from_le_bytes(*lsn));
        let place = JournalPlace {
            volume: self.volume,
            slot: self.slot,
            incarnation: self.incarnation,
            offset: u32::try_from(offset).ok()?,
            length,
        };
        scan.records += 1;
        scan.bytes += u64::from(length);
        scan.lsns = Some(widen(scan.lsns, lsn));
        // A copy, so that one record that is kept does not keep a whole frame in memory.
        (self.visit)(Found { lsn, place, content: Bytes::copy_from_slice(content) });
        Some(())
    }
}

/// The lowest and the highest LSN with one more.
pub(super) fn widen(lsns: Option<(Lsn, Lsn)>, lsn: Lsn) -> (Lsn, Lsn) {
    lsns.map_or((lsn, lsn), |(low, high)| (low.min(lsn), high.max(lsn)))
}

/// Reads ahead, and block by block where that fails.
struct Reader<'a> {
    file: &'a dyn BackendFile,
    end: u64,
    start: u64,
    buffer: Vec<u8>,
    careful_until: u64,
}

impl Reader<'_> {
    fn get(&mut self, at: u64, length: usize) -> io::Result<&[u8]> {
        if at + length as u64 > self.end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let is_there =
            at >= self.start && at + length as u64 <= self.start + self.buffer.len() as u64;
        if !is_there {
            let left = usize::try_from(self.end - at).unwrap_or(usize::MAX);
            let ahead = if at < self.careful_until { length } else { WINDOW.max(length).min(left) };
            if let Err(error) = self.fill(at, ahead) {
                if ahead == length {
                    return Err(error);
                }
                self.careful_until = at + ahead as u64;
                self.fill(at, length)?;
            }
        }
        let from = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        let bytes = self.buffer.get(from..).and_then(|rest| rest.get(..length));
        bytes.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn fill(&mut self, at: u64, length: usize) -> io::Result<()> {
        self.buffer.resize(length, 0);
        self.start = at;
        let result = self.file.read_at(&mut self.buffer, at);
        if result.is_err() {
            self.buffer.clear();
        }
        result
    }
}
