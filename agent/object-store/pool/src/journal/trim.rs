//! Gives files of slots that hold nothing back to the file system.

use super::slots::Slots;
use super::types::JournalError;

/// How many slots that hold nothing are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// As many as were in use of late: since the trim before the last one. To be asked for at even
    /// intervals.
    Recent,
    /// Only those that are prepared ahead: the disk is short of room.
    Least,
}

/// Segments and slots of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    /// Segments in use.
    pub(super) used: usize,
    /// Slots that hold nothing and have a file.
    pub(super) free: usize,
    /// Segments that were in use at once of late, at the most.
    pub(super) most: usize,
}

/// How many of the free slots are given back, where `spare` are always kept.
pub(super) fn surplus(count: Count, spare: usize, keep: Keep) -> usize {
    let wanted = match keep {
        Keep::Recent => count.most.max(count.used),
        Keep::Least => count.used,
    };
    (count.used + count.free).saturating_sub(wanted + spare).min(count.free)
}

impl Slots {
    /// Removes the files of slots that hold nothing and are not wanted; how many. Blocks.
    ///
    /// What such a slot held was freed before: a cut brings back files without records, if any.
    pub(super) fn trim(&self, keep: Keep) -> Result<usize, JournalError> {
        self.check()?;
        let slots = self.take_surplus(keep);
        if slots.is_empty() {
            return Ok(0);
        }
        // A slot is made again only when it is durable that its file is gone: else a cut could give the
        // old file back in the place of the new one.
        let removed = self.remove(&slots);
        slots.iter().for_each(|slot| self.drop_busy(*slot));
        removed.map(|()| slots.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_use_of_late_is_kept_unless_room_is_short() {
        let table: &[(Count, Keep, usize)] = &[
            (Count { used: 0, free: 0, most: 0 }, Keep::Recent, 0),
            (Count { used: 0, free: 9, most: 0 }, Keep::Recent, 8),
            (Count { used: 2, free: 7, most: 5 }, Keep::Recent, 3),
            (Count { used: 5, free: 1, most: 5 }, Keep::Recent, 0),
            (Count { used: 2, free: 3, most: 9 }, Keep::Recent, 0),
            (Count { used: 2, free: 7, most: 9 }, Keep::Least, 6),
            (Count { used: 2, free: 1, most: 9 }, Keep::Least, 0),
            // More than ever counted, as when the journal was opened.
            (Count { used: 9, free: 4, most: 3 }, Keep::Recent, 3),
        ];
        for (count, keep, expected) in table {
            assert_eq!(surplus(*count, 1, *keep), *expected, "{count:?} {keep:?}");
        }
    }
}
