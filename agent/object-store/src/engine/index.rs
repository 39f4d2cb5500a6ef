//! The index: an ordered map on one volume that is a checkpoint of what journal and groups say. It
//! may lose what was written since its last checkpoint, never part of it, and can be made again.

use std::collections::BTreeMap;
use std::fmt;

/// The index failed.
#[derive(Debug, thiserror::Error)]
#[error("the index failed: {reason}")]
pub struct IndexError {
    /// What kind of failure it is.
    pub fault: IndexFault,
    /// Why.
    pub reason: String,
}

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexFault {
    /// What is on the disk is not what was written, or less than was brought to stable storage.
    Damaged,
    /// The index is of another form.
    OtherForm,
    /// Somebody else has the index open.
    InUse,
    /// The disk or the operating system failed; the index may be well.
    Io,
}

impl IndexFault {
    /// Only removing the index and making it again from the volumes helps.
    #[must_use]
    pub fn remake(self) -> bool {
        match self {
            Self::Damaged | Self::OtherForm => true,
            Self::InUse | Self::Io => false,
        }
    }
}

impl IndexError {
    /// The index holds what it should not.
    pub(crate) fn damaged(reason: impl fmt::Display) -> Self {
        Self { fault: IndexFault::Damaged, reason: reason.to_string() }
    }
}

/// What to do behind an entry of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Go on with the next entry.
    On,
    /// Go on with the first entry from this key on, which is greater than the present one.
    Seek(Vec<u8>),
    /// End.
    Stop,
}

/// What the index keeps in memory, in bytes. Nothing of it grows with the number of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndexMemory {
    /// The most that its cache of blocks may take.
    pub cache_total: u64,
    /// What the cache takes now.
    pub cache_held: u64,
    /// The most that its write buffers may take.
    pub buffers_total: u64,
    /// What the write buffers take now.
    pub buffers_held: u64,
}

impl IndexMemory {
    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            cache_total: self.cache_total.saturating_add(other.cache_total),
            cache_held: self.cache_held.saturating_add(other.cache_held),
            buffers_total: self.buffers_total.saturating_add(other.buffers_total),
            buffers_held: self.buffers_held.saturating_add(other.buffers_held),
        }
    }
}

/// Changes that are made together. A later change of a key replaces an earlier one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Batch(pub(crate) BTreeMap<Vec<u8>, Option<Vec<u8>>>);

impl Batch {
    pub(crate) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.0.insert(key, Some(value));
    }

    pub(crate) fn delete(&mut self, key: Vec<u8>) {
        self.0.insert(key, None);
    }

    /// Bytes of keys and values.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = |(key, value): (&Vec<u8>, &Option<Vec<u8>>)| {
            key.len() + value.as_ref().map_or(0, Vec::len)
        };
        self.0.iter().map(bytes).sum()
    }
}

/// The map as it was at one moment. Every call may block on the disk.
pub(crate) trait Snapshot: Send + Sync + fmt::Debug {
    /// As [`Index::scan`].
    fn scan(
        &self,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Next,
    ) -> Result<(), IndexError>;
}

/// An ordered map of bytes. Every call may block on the disk.
pub(crate) trait Index: Send + Sync + fmt::Debug + 'static {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError>;

    /// Makes changes, all or none of them; readers see them when this returns.
    fn write(&self, batch: &Batch) -> Result<(), IndexError>;

    /// Walks entries in the order of their keys, from the first that is not less than `from`. Sees
    /// the map as it was at one moment.
    fn scan(
        &self,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Next,
    ) -> Result<(), IndexError>;

    /// The map as it is now, whatever is written afterwards. What it holds takes room until it is
    /// dropped, which must be before the index is.
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, IndexError>;

    /// Brings everything written so far to stable storage.
    fn checkpoint(&self) -> Result<(), IndexError>;

    /// What it keeps in memory; nothing that is bounded by anything but its content, unless it says so.
    fn memory(&self) -> IndexMemory {
        IndexMemory::default()
    }
}
