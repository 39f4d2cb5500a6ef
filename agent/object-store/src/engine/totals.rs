//! How much is stored.

use super::core::Core;

/// What is stored in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    pub objects: u64,
    /// Bytes of those objects, as their readers count them.
    pub bytes: u64,
    /// Open uploads.
    pub uploads: u64,
}

impl Core {
    /// How much is stored; not counted yet.
    #[expect(clippy::unused_self, reason = "counting comes with the usage of buckets")]
    pub(super) fn totals(&self) -> Totals {
        Totals::default()
    }
}
