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
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Buffer(Vec<u8>);

impl Buffer {
    /// No bytes, and room for so many.
    #[must_use]
    pub fn with_capacity(length: usize) -> Self {
        let mut found = find(length);
        found.clear();
        Self(found)
    }

    /// So many bytes, of any value: to be written over.
    #[must_use]
    pub fn of_any(length: usize) -> Self {
        let mut found = find(length);
        found.resize(length, 0);
        Self(found)
    }

    /// Its bytes, to be added to.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// Its bytes, which may be shared from now on.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.0);
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
    fn no_more_things_are_kept_than_asked_for() {
        let spare = Spare::new();
        for thing in 0..5 {
            spare.give(thing, 2);
        }
        assert_eq!([spare.take(), spare.take(), spare.take()], [Some(1), Some(0), None]);
    }
}
