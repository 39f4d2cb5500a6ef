//! The node's list of its own data disks, kept on each of them, so that a disk that is gone is
//! noticed by the others.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::report::DiskId;

/// One data disk that the node knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The volume on it.
    pub volume: Uuid,
    /// The disk's identity when it was claimed.
    pub disk: DiskId,
    /// Its serial number then; may be empty.
    pub serial: String,
}

/// Every data disk that the node knows, in the order of their volumes, each volume once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    entries: BTreeMap<Uuid, LedgerEntry>,
}

impl Ledger {
    /// A ledger of these disks; of two with one volume the last stays.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = LedgerEntry>) -> Self {
        Self { entries: entries.into_iter().map(|entry| (entry.volume, entry)).collect() }
    }

    /// A ledger of entries in strictly rising order of volumes; `None` for any other order.
    #[must_use]
    pub fn from_sorted(entries: Vec<LedgerEntry>) -> Option<Self> {
        let rising = entries
            .windows(2)
            .all(|pair| matches!(pair, [first, second] if first.volume < second.volume));
        rising.then(|| Self::new(entries))
    }

    /// Adds a disk.
    pub fn insert(&mut self, entry: LedgerEntry) {
        self.entries.insert(entry.volume, entry);
    }

    /// This ledger and what only `other` knows.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        for entry in other.entries() {
            self.entries.entry(entry.volume).or_insert_with(|| entry.clone());
        }
        self
    }

    /// The disks, in the order of their volumes.
    pub fn entries(&self) -> impl Iterator<Item = &LedgerEntry> {
        self.entries.values()
    }

    /// How many disks it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
