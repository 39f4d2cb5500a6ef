//! Memory for cells, kept and used again: what is freed in pieces of this size goes back to the system,
//! and is paid for anew, page by page, when the next row wants it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Below so many bytes the allocator keeps memory by itself (`M_MMAP_THRESHOLD` of glibc).
const LEAST: usize = 128 << 10;

/// Bytes that are kept for the next row, at most: the sealed cells and the parity of one row.
const KEPT: usize = 8 << 20;

/// Things that are dear to make, kept for whoever needs one next.
#[derive(Debug)]
pub(crate) struct Spare<T>(Mutex<VecDeque<T>>);

impl<T> Spare<T> {
    /// Nothing is kept.
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }

    /// One that was kept, the last one first.
    pub(crate) fn take(&self) -> Option<T> {
        self.kept().pop_back()
    }

    /// Keeps one, if there are fewer than `most`.
    pub(crate) fn give(&self, thing: T, most: usize) {
        let mut kept = self.kept();
        if kept.len() < most {
            kept.push_back(thing);
        }
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<T>> {
        // No change of it can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Buffers that nobody uses; the ones given back last are at the end.
static FREE: Spare<Vec<u8>> = Spare::new();

/// Bytes in memory that is used again when this is dropped.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    /// What is skipped, so that what follows is aligned.
    skipped: usize,
}

impl Buffer {
    /// No bytes, and room for so many.
    #[must_use]
    pub fn with_capacity(length: usize) -> Self {
        let mut found = find(length);
        found.clear();
        Self::from(found)
    }

    /// The same of which the first byte stands at a multiple of `step` in memory, as long as no more is added
    /// than there is room for. In [`Buffer::bytes`] some stand in front that do not count.
    #[must_use]
    pub fn aligned(length: usize, step: usize) -> Self {
        let mut buffer = Self::with_capacity(length + step);
        buffer.skipped = buffer.bytes.as_ptr().align_offset(step).min(step);
        buffer.bytes.resize(buffer.skipped, 0);
        buffer
    }

    /// So many bytes, of any value: to be written over.
    #[must_use]
    pub fn of_any(length: usize) -> Self {
        let mut found = find(length);
        found.resize(length, 0);
        Self::from(found)
    }

    /// Its bytes, to be added to.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Its bytes, which may be shared from now on.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, skipped: 0 }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(self.skipped..).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let size = bytes.capacity();
        if !(LEAST..=KEPT).contains(&size) {
            return;
        }
        let mut free = FREE.kept();
        let mut kept: usize = free.iter().map(Vec::capacity).sum();
        // Those that nobody took for longest are not of the size that is wanted now.
        let mut gone = Vec::new();
        while kept + size > KEPT {
            let Some(oldest) = free.pop_front() else { break };
            kept -= oldest.capacity();
            gone.push(oldest);
        }
        free.push_back(bytes);
        drop(free);
        drop(gone);
    }
}

/// A buffer for so many bytes, of which not more than half would lie idle.
fn find(length: usize) -> Vec<u8> {
    let fits = |size: usize| (length..=length.saturating_mul(2)).contains(&size);
    if length >= LEAST {
        let mut free = FREE.kept();
        if let Some(found) = free.iter().rposition(|bytes| fits(bytes.capacity()))
            && let Some(bytes) = free.remove(found)
        {
            return bytes;
        }
    }
    Vec::with_capacity(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_stays_within_its_bound_and_keeps_no_bytes_of_before() {
        let many: Vec<Buffer> = (1..=20).map(|n| Buffer::of_any(n * LEAST)).collect();
        drop(many);
        let kept = || FREE.kept().iter().map(Vec::capacity).sum::<usize>();
        assert!(kept() <= KEPT);
        let mut buffer = Buffer::with_capacity(3 * LEAST);
        assert!(buffer.as_ref().is_empty());
        buffer.bytes().extend_from_slice(b"some");
        let bytes = buffer.freeze();
        assert_eq!(bytes, &b"some"[..]);
        assert_eq!(Buffer::of_any(LEAST).as_ref().len(), LEAST);
        drop(bytes);
        drop(Buffer::of_any(KEPT + 1));
        assert!(kept() <= KEPT);
    }

    #[test]
    fn an_aligned_buffer_begins_where_it_should_and_hides_what_stands_in_front() {
        for length in [10, LEAST, 5 * LEAST + 3] {
            let mut buffer = Buffer::aligned(length, 4096);
            let begin = buffer.bytes().len();
            buffer.bytes().resize(begin + length, 7);
            assert_eq!(buffer.as_ref(), vec![7; length]);
            assert_eq!(buffer.as_ref().as_ptr().align_offset(4096), 0);
        }
    }

    #[test]
    fn no_more_things_are_kept_than_asked_for() {
        let spare = Spare::new();
        for thing in 0..5 {
            spare.give(thing, 2);
        }
        assert_eq!([spare.take(), spare.take(), spare.take()], [Some(1), Some(0), None]);
    }
}
