//! How far the index has come: records become durable in any order, and it may only be said of one
//! that it is in the index when that holds for all before it.

use std::collections::BTreeSet;

/// Gives out LSNs and knows up to which all are done.
#[derive(Debug)]
pub(crate) struct Progress {
    next: u64,
    /// Given out and not done.
    open: BTreeSet<u64>,
    /// Those of `open` that are counted already.
    counted: BTreeSet<u64>,
}

impl Progress {
    /// The first LSN that is given out follows `last`.
    pub(crate) fn behind(last: u64) -> Self {
        Self { next: last + 1, open: BTreeSet::new(), counted: BTreeSet::new() }
    }

    /// LSNs up to `last` are not given out any more. Only while none is open.
    pub(crate) fn skip(&mut self, last: u64) {
        self.next = self.next.max(last + 1);
    }

    /// The next LSN; open until [`Progress::end`].
    pub(crate) fn begin(&mut self) -> u64 {
        let lsn = self.next;
        self.next += 1;
        self.open.insert(lsn);
        lsn
    }

    /// A record is in the index, or was given up: then nothing of it will ever be seen.
    pub(crate) fn end(&mut self, lsn: u64) {
        self.open.remove(&lsn);
        self.counted.remove(&lsn);
    }

    /// A record is being counted; those that are open and are not.
    pub(crate) fn count(&mut self, lsn: u64) -> Vec<u64> {
        self.counted.insert(lsn);
        self.open.difference(&self.counted).copied().collect()
    }

    /// The last LSN that was given out.
    pub(crate) fn last(&self) -> u64 {
        self.next - 1
    }

    /// The greatest LSN up to which every one is done.
    pub(crate) fn done(&self) -> u64 {
        self.open.first().map_or(self.next, |first| *first) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_counts_before_all_ahead_of_it_are_done() {
        let mut progress = Progress::behind(9);
        assert_eq!(progress.done(), 9);
        let [a, b, c] = [progress.begin(), progress.begin(), progress.begin()];
        assert_eq!([a, b, c], [10, 11, 12]);
        progress.end(b);
        assert_eq!(progress.done(), 9);
        progress.end(a);
        assert_eq!(progress.done(), 11);
        progress.end(c);
        assert_eq!(progress.done(), 12);
        assert_eq!(progress.begin(), 13);
        assert_eq!(progress.done(), 12);
    }

    #[test]
    fn what_is_counted_is_open_no_more_though_it_is_not_done() {
        let mut progress = Progress::behind(9);
        let [a, b, c] = [progress.begin(), progress.begin(), progress.begin()];
        assert_eq!(progress.count(b), [a, c]);
        assert_eq!(progress.count(a), [c]);
        assert_eq!(progress.done(), 9);
        progress.end(a);
        progress.end(b);
        assert!(progress.count(c).is_empty());
        assert_eq!(progress.done(), 11);
    }
}
