//! A file's bytes, and what they were before what is not synced yet.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Dice;

/// What a disk writes at once: all of it or nothing.
const SECTOR: usize = 512;

#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    /// Shared with forks until one writes.
    live: Arc<Vec<u8>>,
    /// What stood there before each change since the last sync, the newest last.
    unsynced: Vec<Before>,
    /// The same of changes that were acknowledged and never become durable.
    lost: Vec<Before>,
    durable_size: usize,
    /// Room that was asked for.
    pub(super) reserved: u64,
}

/// The bytes before a change of `length` bytes; fewer if the file was shorter.
#[derive(Debug, Clone)]
struct Before {
    offset: usize,
    length: usize,
    old: Vec<u8>,
}

impl Before {
    fn meets(&self, other: &Self) -> bool {
        self.offset < other.offset + other.length && other.offset < self.offset + self.length
    }

    fn sectors(&self) -> std::ops::Range<usize> {
        self.offset / SECTOR..(self.offset + self.length).div_ceil(SECTOR)
    }
}

/// What a cut leaves of a file.
#[derive(Debug, Clone, Copy)]
pub(super) enum Keep {
    Durable,
    All,
    /// Of every sector one or the other.
    Sectors,
}

impl Content {
    pub(super) fn live(&self) -> &[u8] {
        &self.live
    }

    /// Bytes of the disk that it takes.
    pub(super) fn taken(&self) -> u64 {
        self.reserved.max(self.live.len() as u64)
    }

    pub(super) fn write(&mut self, data: &[u8], offset: usize, is_lost: bool) {
        let before = self.before(offset, data.len());
        if is_lost { &mut self.lost } else { &mut self.unsynced }.push(before);
        let live = Arc::make_mut(&mut self.live);
        let end = offset + data.len();
        if live.len() < end {
            live.resize(end, 0);
        }
        live[offset..end].copy_from_slice(data);
    }

    pub(super) fn set_size(&mut self, size: usize) {
        let from = size.min(self.live.len());
        let before = self.before(from, self.live.len().max(size) - from);
        self.unsynced.push(before);
        Arc::make_mut(&mut self.live).resize(size, 0);
        self.reserved = self.reserved.min(size as u64);
    }

    fn before(&self, offset: usize, length: usize) -> Before {
        let size = self.live.len();
        let old = self.live[offset.min(size)..(offset + length).min(size)].to_vec();
        Before { offset, length, old }
    }

    pub(super) fn sync(&mut self) {
        let unsynced = std::mem::take(&mut self.unsynced);
        self.lost.retain(|lost| !unsynced.iter().any(|later| later.meets(lost)));
        self.durable_size = self.live.len();
    }

    /// A sync that failed: what it was for is never written, though it can still be read.
    pub(super) fn sync_failed(&mut self) {
        self.lost.append(&mut self.unsynced);
    }

    /// Changes a bit for good.
    pub(super) fn flip(&mut self, at: usize, bit: u32) {
        Arc::make_mut(&mut self.live)[at] ^= 1 << bit;
        self.sync();
    }

    pub(super) fn cut(&mut self, keep: Keep, dice: &mut Dice) {
        if self.unsynced.is_empty() && self.lost.is_empty() && self.durable_size == self.live.len()
        {
            return;
        }
        let after = match keep {
            Keep::All => return,
            Keep::Durable => self.durable(),
            Keep::Sectors => self.mixed(dice),
        };
        *self = Self {
            durable_size: after.len(),
            live: Arc::new(after),
            reserved: self.reserved,
            ..Self::default()
        };
    }

    fn durable(&self) -> Vec<u8> {
        let mut image = self.live.to_vec();
        for before in self.unsynced.iter().rev().chain(self.lost.iter().rev()) {
            let end = before.offset + before.old.len();
            if image.len() < end {
                image.resize(end, 0);
            }
            image[before.offset..end].copy_from_slice(&before.old);
        }
        image.resize(self.durable_size, 0);
        image
    }

    fn mixed(&self, dice: &mut Dice) -> Vec<u8> {
        let (durable, live) = (self.durable(), &self.live);
        let (short, long) = (durable.len().min(live.len()), durable.len().max(live.len()));
        let size = match dice.roll(3) {
            0 => durable.len(),
            1 => live.len(),
            _ => short + (long - short) / SECTOR / 2 * SECTOR,
        };
        let mut image = live.to_vec();
        image.resize(long, 0);
        let mut before = durable.clone();
        before.resize(long, 0);
        let revert = |sector: usize, image: &mut Vec<u8>| {
            let range = (sector * SECTOR).min(long)..((sector + 1) * SECTOR).min(long);
            image[range.clone()].copy_from_slice(&before[range]);
        };
        let changed: BTreeSet<usize> = self.unsynced.iter().flat_map(Before::sectors).collect();
        for sector in changed {
            if dice.roll(2) == 0 {
                revert(sector, &mut image);
            }
        }
        for sector in self.lost.iter().flat_map(Before::sectors) {
            revert(sector, &mut image);
        }
        image.resize(size, 0);
        image
    }
}
