//! Compressed content read again: which stored bytes hold a range of it, and that range from them. Whatever
//! the stored bytes are, a block never gives more than it has, and no other number of bytes.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::compress::{BLOCK, LINE, table_bytes};

/// Blocks that are expanded in one go: 1 MiB, about 0.7 ms.
const AT_ONCE: usize = 16;

/// Contexts of zstd that are kept for the next reader: about 100 KiB each, and to make one costs more than to
/// expand a small object.
const IDLE: usize = 8;

static CONTEXTS: Mutex<Vec<Context>> = Mutex::new(Vec::new());

type Context = zstd::bulk::Decompressor<'static>;

fn contexts() -> MutexGuard<'static, Vec<Context>> {
    CONTEXTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why stored bytes are not compressed content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotCompressed {
    /// The table does not say what must stand before it.
    #[error(
        "the table of compressed content of {plain} bytes does not fit the {stored} bytes that are stored; \
         the object is to be written anew"
    )]
    Table {
        /// Bytes of the content.
        plain: u64,
        /// Bytes that are stored.
        stored: u64,
    },
    /// A block cannot be expanded.
    #[error(
        "block {number} of compressed content is damaged: {stored} bytes are stored that do not give the \
         {plain} of the block; the object is to be written anew"
    )]
    Block {
        /// Its number, from 0 on.
        number: u64,
        /// Bytes that are stored of it.
        stored: u32,
        /// Bytes that it has.
        plain: u32,
    },
}

/// How long compressed content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Its bytes.
    pub plain: u64,
    /// Bytes that are stored, with the table.
    pub stored: u64,
}

/// A block as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stored {
    number: u64,
    stored: u32,
    plain: u32,
}

/// What holds a range of compressed content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The stored bytes.
    pub stored: Range<u64>,
    blocks: VecDeque<Stored>,
    /// Bytes of the first block before the range.
    skip: usize,
    /// Bytes of the range.
    length: u64,
}

impl Layout {
    /// The error for stored bytes that are not so long.
    pub(crate) fn damaged(&self) -> NotCompressed {
        NotCompressed::Table { plain: self.plain, stored: self.stored }
    }

    fn blocks(&self) -> u64 {
        self.plain.div_ceil(BLOCK as u64)
    }

    /// Where the part of the table stands that tells of a range, in stored bytes; empty where no table is
    /// needed.
    ///
    /// # Errors
    /// There is no room for the table.
    pub(crate) fn table(&self, range: &Range<u64>) -> Result<Range<u64>, NotCompressed> {
        let all = table_bytes(self.blocks());
        let start = self.stored.checked_sub(all).ok_or(self.damaged())?;
        let needed = range.end.min(self.plain).div_ceil(BLOCK as u64);
        Ok(start..start + all.min(needed.saturating_mul(LINE as u64)))
    }

    /// What holds a range, by the part of the table that tells of it.
    ///
    /// # Errors
    /// The table is not one of this content.
    pub(crate) fn wanted(&self, range: &Range<u64>, table: &[u8]) -> Result<Wanted, NotCompressed> {
        let range = range.start.min(self.plain)..range.end.min(self.plain);
        let first = range.start / BLOCK as u64;
        let room = self.table(&range)?.start;
        let mut wanted = Wanted {
            stored: 0..0,
            blocks: VecDeque::new(),
            skip: usize::try_from(range.start % BLOCK as u64).unwrap_or_default(),
            length: range.end.saturating_sub(range.start),
        };
        let mut end = 0;
        for number in 0..range.end.div_ceil(BLOCK as u64) {
            let stored = self.stored_of(number, table).ok_or(self.damaged())?;
            let start = end;
            end += u64::from(stored.stored);
            if stored.stored > stored.plain || end > room {
                return Err(self.damaged());
            }
            if number == first {
                wanted.stored.start = start;
            }
            if number >= first {
                wanted.blocks.push_back(stored);
            }
        }
        wanted.stored.end = end;
        if range.end == self.plain && end != room {
            return Err(self.damaged());
        }
        Ok(wanted)
    }

    fn stored_of(&self, number: u64, table: &[u8]) -> Option<Stored> {
        let before = number.checked_mul(BLOCK as u64)?;
        let plain = u32::try_from(self.plain.checked_sub(before)?.min(BLOCK as u64)).ok()?;
        let stored = if self.blocks() > 1 {
            let at = usize::try_from(number).ok()?.checked_mul(LINE)?;
            u32::from(u16::from_le_bytes(*table.get(at..)?.first_chunk()?)) + 1
        } else {
            u32::try_from(self.stored).ok()?
        };
        Some(Stored { number, stored, plain })
    }
}

/// Gives a range of content from the stored bytes that hold it.
pub(crate) struct Expander {
    context: Option<Context>,
    wanted: Wanted,
    held: VecDeque<Bytes>,
    held_bytes: usize,
}

impl fmt::Debug for Expander {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expander").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

impl Drop for Expander {
    fn drop(&mut self) {
        let mut idle = contexts();
        if idle.len() < IDLE {
            idle.extend(self.context.take());
        }
    }
}

impl Expander {
    pub(crate) fn new(wanted: Wanted) -> Self {
        Self { context: contexts().pop(), wanted, held: VecDeque::new(), held_bytes: 0 }
    }

    /// Takes stored bytes, in their order.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.held_bytes += bytes.len();
        self.held.push_back(bytes);
    }

    /// Whether nothing more is to come.
    pub(crate) fn is_done(&self) -> bool {
        self.wanted.length == 0
    }

    /// Whether [`Expander::expand`] is worth a call: it would give a MiB, or the end.
    pub(crate) fn is_ready(&self) -> bool {
        let next = self.wanted.blocks.iter().take(AT_ONCE).map(|block| block.stored as usize);
        !self.is_done() && next.sum::<usize>() <= self.held_bytes
    }

    /// The next bytes, as far as they are held, 1 MiB at most.
    ///
    /// # Errors
    /// A block is damaged. Nothing is to be asked for after that.
    pub(crate) fn expand(&mut self) -> Result<Vec<Bytes>, NotCompressed> {
        let mut all = Vec::new();
        while let Some(block) = self.wanted.blocks.front().copied().filter(|_| all.len() < AT_ONCE)
        {
            let Some(stored) = self.take(block.stored as usize) else { break };
            self.wanted.blocks.pop_front();
            let mut plain = match block.stored == block.plain {
                true => stored,
                false => self.block(block, &stored)?,
            };
            let before = plain.split_to(self.wanted.skip.min(plain.len()));
            self.wanted.skip -= before.len();
            let left = usize::try_from(self.wanted.length).unwrap_or(usize::MAX);
            plain.truncate(left);
            self.wanted.length -= plain.len() as u64;
            all.push(plain);
        }
        Ok(all)
    }

    fn block(&mut self, block: Stored, stored: &[u8]) -> Result<Bytes, NotCompressed> {
        let Stored { number, stored: length, plain } = block;
        let damaged = NotCompressed::Block { number, stored: length, plain };
        let context = match &mut self.context {
            Some(context) => context,
            none => none.insert(Context::new().map_err(|_| damaged)?),
        };
        // It writes no further than this, whatever the frame says of itself.
        let mut bytes = Vec::with_capacity(plain as usize);
        let made = context.decompress_to_buffer(stored, &mut bytes).map_err(|_| damaged)?;
        if made == plain as usize { Ok(bytes.into()) } else { Err(damaged) }
    }

    fn take(&mut self, length: usize) -> Option<Bytes> {
        self.held_bytes = self.held_bytes.checked_sub(length)?;
        let front = self.held.front_mut()?;
        if front.len() > length {
            return Some(front.split_to(length));
        }
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let mut front = self.held.pop_front()?;
            if bytes.is_empty() && front.len() == length {
                return Some(front);
            }
            let now = front.split_to(front.len().min(length - bytes.len()));
            bytes.reserve_exact(length - bytes.len());
            bytes.extend_from_slice(&now);
            if !front.is_empty() {
                self.held.push_front(front);
            }
        }
        Some(bytes.into())
    }
}

/// A range of compressed content of which all stored bytes are in memory.
///
/// # Errors
/// They are no such content.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn expand(
    layout: Layout,
    stored: &Bytes,
    range: &Range<u64>,
) -> Result<Vec<u8>, NotCompressed> {
    let cut = |range: Range<u64>| {
        let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
        (range.end <= stored.len()).then(|| stored.slice(range))
    };
    let table = cut(layout.table(range)?).ok_or(layout.damaged())?;
    let wanted = layout.wanted(range, &table)?;
    let bytes = cut(wanted.stored.clone()).ok_or(layout.damaged())?;
    let mut expander = Expander::new(wanted);
    expander.push(bytes);
    let mut all = Vec::new();
    while !expander.is_done() {
        for piece in expander.expand()? {
            all.extend_from_slice(&piece);
        }
    }
    Ok(all)
}
