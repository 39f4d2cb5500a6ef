//! Content as it is stored where that saves room: `docs/design/on-disk-format.md`, "Compressed content".
//!
//! ```text
//! content  blocks, each of 65536 bytes but the last, as a frame of zstd or as it is | table
//! table    of each block: bytes that are stored of it - 1, u16; nothing if there is one block
//! ```
//!
//! A block is compressed where that saves a tenth of it. Of each MiB the first block is tried; if that one is
//! stored as it is, so are the others. Content of which no block is compressed is stored as it came.

use std::fmt;

use bytes::Bytes;

/// Plain bytes of a block: a range that is read costs one at each end, and larger ones give little more.
pub(crate) const BLOCK: usize = 64 << 10;

/// Blocks of which the first tells whether the others are tried: what cannot be compressed costs a
/// sixteenth of a try.
const STRETCH: u64 = 16;

/// zstd's level 1: higher ones gain nothing more in blocks of 64 KiB, lower ones are little faster and leave
/// half as much again (`docs/design/codecs.md`).
const LEVEL: i32 = 1;

/// Blocks of fewer bytes are not tried: a frame has 9 bytes of its own.
const LEAST: usize = 128;

/// Bytes of a block's line in the table.
pub(super) const LINE: usize = 2;

/// Bytes of the table of so many blocks.
pub(super) fn table_bytes(blocks: u64) -> u64 {
    if blocks > 1 { blocks.saturating_mul(LINE as u64) } else { 0 }
}

/// What zstd works with: about 300 KiB, worth keeping from one content to the next.
pub(crate) struct Zstd {
    /// None where there is no memory for it: then nothing is compressed.
    context: Option<zstd::bulk::Compressor<'static>>,
    room: Vec<u8>,
}

impl fmt::Debug for Zstd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zstd").finish_non_exhaustive()
    }
}

impl Zstd {
    pub(crate) fn new() -> Self {
        Self::at(LEVEL)
    }

    pub(super) fn at(level: i32) -> Self {
        let context = zstd::bulk::Compressor::new(level);
        Self { context: context.ok(), room: vec![0; BLOCK] }
    }

    /// The block compressed, if that takes so many bytes at most.
    fn frame(&mut self, block: &[u8], most: usize) -> Option<&[u8]> {
        let room = self.room.get_mut(..most)?;
        // That it does not fit is an error, too; whatever it is, the block is stored as it is.
        let length = self.context.as_mut()?.compress_to_buffer(block, room).ok()?;
        self.room.get(..length)
    }
}

/// The blocks of one content, as they were stored so far.
#[derive(Debug, Default)]
struct Blocks {
    count: u64,
    table: Vec<u8>,
    /// Whether any is compressed.
    gained: bool,
    /// Whether blocks are stored as they are up to the next MiB.
    skips: bool,
}

impl Blocks {
    /// What is stored of the next block, if not itself.
    fn next<'a>(&mut self, zstd: &'a mut Zstd, block: &[u8]) -> Option<&'a [u8]> {
        let is_first = self.count.is_multiple_of(STRETCH);
        self.count += 1;
        self.skips &= !is_first;
        // The first that is compressed pays for the table.
        let table = if self.gained { 0 } else { table_bytes(self.count) };
        let table = usize::try_from(table).unwrap_or(usize::MAX);
        let least = block.len().div_ceil(10).max(table.saturating_add(1));
        let most = block.len().checked_sub(least).filter(|_| block.len() >= LEAST && !self.skips);
        let frame = most.and_then(|most| zstd.frame(block, most));
        self.gained |= frame.is_some();
        self.skips |= is_first && frame.is_none();
        let stored = frame.map_or(block.len(), <[u8]>::len);
        // A block is never empty nor longer than what the line can say.
        let line = u16::try_from(stored.saturating_sub(1)).unwrap_or(u16::MAX);
        self.table.extend_from_slice(&line.to_le_bytes());
        frame
    }

    /// The table; none if nothing is compressed.
    fn finish(self) -> Option<Vec<u8>> {
        let table = if self.count > 1 { self.table } else { Vec::new() };
        self.gained.then_some(table)
    }
}

/// Content that is in memory, compressed; none if that saves nothing.
pub(crate) fn compress(zstd: &mut Zstd, content: &[u8]) -> Option<Vec<u8>> {
    let (mut blocks, mut stored) = (Blocks::default(), Vec::new());
    for block in content.chunks(BLOCK) {
        let frame = blocks.next(zstd, block);
        // What is stored as it is up to here is not copied as long as nothing is gained.
        if frame.is_some() || blocks.gained {
            if stored.is_empty() {
                let before = (blocks.count - 1).saturating_mul(BLOCK as u64);
                let before = usize::try_from(before).ok().and_then(|end| content.get(..end));
                stored.reserve(content.len());
                stored.extend_from_slice(before?);
            }
            stored.extend_from_slice(frame.unwrap_or(block));
        }
    }
    stored.extend_from_slice(&blocks.finish()?);
    (stored.len() < content.len()).then_some(stored)
}

/// Content that comes in pieces and is stored in rows, with something behind it.
#[derive(Debug)]
pub(crate) struct Compressing {
    zstd: Zstd,
    blocks: Blocks,
    /// What is less than a block yet.
    tail: Bytes,
    rows: RowCutter,
}

impl Compressing {
    /// For rows of so many bytes.
    pub(crate) fn new(row_bytes: usize) -> Self {
        let rows = RowCutter { full: row_bytes.max(1), row: Vec::new(), stored: 0 };
        Self { zstd: Zstd::new(), blocks: Blocks::default(), tail: Bytes::new(), rows }
    }

    /// Takes the next bytes; the rows that are full now. What is stored as it is is not copied where rows
    /// and pieces begin at the same place.
    pub(crate) fn push(&mut self, bytes: Bytes) -> Vec<Bytes> {
        let mut bytes = match self.tail.is_empty() {
            true => bytes,
            false => [&std::mem::take(&mut self.tail)[..], &bytes[..]].concat().into(),
        };
        self.tail = bytes.split_off(bytes.len() - bytes.len() % BLOCK);
        self.store(bytes)
    }

    /// The rows that are left, with `behind` behind the content, and how many bytes that takes without it;
    /// none if nothing is compressed.
    pub(crate) fn finish(mut self, behind: &[u8]) -> (Vec<Bytes>, Option<u64>) {
        let tail = std::mem::take(&mut self.tail);
        let mut rows = self.store(tail);
        let Self { blocks, rows: mut cutter, .. } = self;
        let stored = blocks.finish().map(|table| {
            cutter.copy(&table, &mut rows);
            cutter.stored
        });
        cutter.copy(behind, &mut rows);
        rows.extend((!cutter.row.is_empty()).then(|| cutter.row.into()));
        (rows, stored)
    }

    fn store(&mut self, mut bytes: Bytes) -> Vec<Bytes> {
        let mut rows = Vec::new();
        // Blocks at the start of `bytes` that are stored as they are.
        let mut plain = 0;
        while let Some(block) = bytes.get(plain..).filter(|rest| !rest.is_empty()) {
            let block = block.get(..BLOCK).unwrap_or(block);
            let length = block.len();
            match self.blocks.next(&mut self.zstd, block) {
                None => plain += length,
                Some(frame) => {
                    self.rows.take(bytes.split_to(plain), &mut rows);
                    self.rows.copy(frame, &mut rows);
                    bytes = bytes.split_off(length);
                    plain = 0;
                }
            }
        }
        self.rows.take(bytes, &mut rows);
        rows
    }
}

/// Cuts bytes into rows.
#[derive(Debug)]
struct RowCutter {
    full: usize,
    row: Vec<u8>,
    /// Bytes that were taken.
    stored: u64,
}

impl RowCutter {
    fn take(&mut self, mut bytes: Bytes, rows: &mut Vec<Bytes>) {
        while self.row.is_empty() && bytes.len() >= self.full {
            self.stored += self.full as u64;
            rows.push(bytes.split_to(self.full));
        }
        self.copy(&bytes, rows);
    }

    fn copy(&mut self, mut bytes: &[u8], rows: &mut Vec<Bytes>) {
        while !bytes.is_empty() {
            if self.row.capacity() == 0 {
                self.row.reserve_exact(self.full);
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.full - self.row.len()));
            self.row.extend_from_slice(now);
            self.stored += now.len() as u64;
            if self.row.len() == self.full {
                rows.push(std::mem::take(&mut self.row).into());
            }
            bytes = later;
        }
    }
}

#[cfg(test)]
#[path = "compress_tests.rs"]
mod tests;
