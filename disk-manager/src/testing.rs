//! A disk in memory for tests: sparse, with places that cannot be read and a power cord that can be
//! pulled.

use std::collections::BTreeMap;
use std::io;

use crate::blocks::Blocks;

const PAGE: u64 = 4096;

/// A disk in memory: what was not written reads as the fill.
#[derive(Debug, Clone)]
pub(crate) struct MemoryDisk {
    size: u64,
    fill: u8,
    pages: BTreeMap<u64, Vec<u8>>,
    bad: Option<u64>,
}

impl MemoryDisk {
    pub(crate) fn new(size: u64) -> Self {
        Self::filled(size, 0)
    }

    pub(crate) fn filled(size: u64, fill: u8) -> Self {
        Self { size, fill, pages: BTreeMap::new(), bad: None }
    }

    pub(crate) fn fail_reads_at(&mut self, offset: u64) {
        self.bad = Some(offset);
    }

    pub(crate) fn put(&mut self, offset: u64, bytes: &[u8]) {
        assert!(offset + bytes.len() as u64 <= self.size, "write behind the end");
        let (fill, mut at, mut rest) = (self.fill, offset, bytes);
        while !rest.is_empty() {
            let inside = usize::try_from(at % PAGE).unwrap();
            let length = usize::try_from(PAGE).unwrap();
            let (now, later) = rest.split_at(rest.len().min(length - inside));
            let page = self.pages.entry(at / PAGE).or_insert_with(|| vec![fill; length]);
            page[inside..inside + now.len()].copy_from_slice(now);
            (at, rest) = (at + now.len() as u64, later);
        }
    }
}

impl Blocks for MemoryDisk {
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        if end > self.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.bad.is_some_and(|bad| (offset..end).contains(&bad)) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        bytes.fill(self.fill);
        let touched = self.pages.range(offset / PAGE..=end / PAGE);
        for (number, page) in touched {
            let start = number * PAGE;
            let from = start.max(offset);
            let to = (start + PAGE).min(end);
            if from < to {
                let at = |place: u64, base: u64| usize::try_from(place - base).unwrap();
                bytes[at(from, offset)..at(to, offset)]
                    .copy_from_slice(&page[at(from, start)..at(to, start)]);
            }
        }
        Ok(())
    }
}
