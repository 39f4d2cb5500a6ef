//! Where a piece of content stands: rows in sequence.

use serde::{Deserialize, Serialize};

use super::geometry::{RowPlace, Shape, sealed_length};

/// A group's number in its pool, never used again.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct GroupId(pub u64);

impl std::fmt::Display for GroupId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Content in rows of one group that follow each other. All but the last are full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Run {
    /// The group.
    pub group: GroupId,
    /// Offset of the first row in the extents, in bytes.
    pub at: u64,
    /// Bytes of content in all the rows.
    pub rows: u64,
    /// Bytes before the part that is meant.
    pub skip: u64,
    /// Bytes of that part.
    pub length: u64,
}

/// Bytes of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowRead {
    /// The row.
    pub row: RowPlace,
    /// The first byte of its content.
    pub from: u32,
    /// The byte behind the last one.
    pub to: u32,
}

impl Run {
    /// All of one row.
    #[must_use]
    pub fn row(group: GroupId, place: RowPlace) -> Self {
        let length = u64::from(place.length);
        Self { group, at: place.at, rows: length, skip: 0, length }
    }

    /// Takes the row in that follows the last one of this run, if it does and the run's rows are
    /// all full; says whether it did. Only for a run that means all of its rows.
    #[must_use = "a row that was not taken in starts another run"]
    pub fn push(&mut self, shape: &Shape, place: RowPlace) -> bool {
        let full = u64::from(shape.full_row());
        let (count, rest) = match (self.rows.checked_div(full), self.rows.checked_rem(full)) {
            (Some(count), Some(rest)) => (count, rest),
            _ => return false,
        };
        let is_next = self.at.checked_add(count.saturating_mul(sealed_length(shape.cell)));
        if rest != 0 || self.skip != 0 || self.length != self.rows || is_next != Some(place.at) {
            return false;
        }
        self.rows = self.rows.saturating_add(u64::from(place.length));
        self.length = self.rows;
        true
    }

    /// The part from byte `from` of what is meant, at most `length` bytes; rows before and behind it
    /// are left out.
    #[must_use]
    pub fn part(&self, shape: &Shape, from: u64, length: u64) -> Self {
        let full = u64::from(shape.full_row()).max(1);
        let from = from.min(self.length);
        let length = length.min(self.length - from);
        let skip = self.skip.saturating_add(from);
        // No whole row is left out in front if nothing is meant.
        let before = if length == 0 { 0 } else { skip / full };
        let at = self.at.saturating_add(before.saturating_mul(sealed_length(shape.cell)));
        let gone = before.saturating_mul(full);
        let rows = self.rows.saturating_sub(gone);
        let skip = skip - gone.min(skip);
        // The last row stays whole: its length says where its bytes are.
        let needed = skip.saturating_add(length).div_ceil(full).saturating_mul(full);
        Self { group: self.group, at, rows: rows.min(needed.max(full)), skip, length }
    }

    /// Whether the part that is meant lies in the rows.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.skip.checked_add(self.length).is_some_and(|end| end <= self.rows)
    }

    /// What is to be read of each row, in order.
    pub fn row_reads(&self, shape: &Shape) -> impl Iterator<Item = RowRead> + Send + use<> {
        let (run, shape) = (*self, *shape);
        let full = u64::from(shape.full_row()).max(1);
        let end = run.skip.saturating_add(run.length).min(run.rows);
        let mut next = run.skip;
        std::iter::from_fn(move || {
            if next >= end {
                return None;
            }
            let before = next / full;
            let start = before * full;
            let at = run.at.checked_add(before.checked_mul(sealed_length(shape.cell))?)?;
            let narrow = |bytes: u64| u32::try_from(bytes).ok();
            let length = narrow((run.rows - start).min(full))?;
            let (from, to) = (narrow(next - start)?, narrow((end - start).min(full))?);
            next = start + u64::from(to);
            Some(RowRead { row: RowPlace { at, length }, from, to })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::geometry::{BLOCK, EXTENT_HEADER};
    use super::*;
    use proptest::prelude::*;

    const SHAPE: (u8, u8, u32) = (2, 1, BLOCK);

    fn shape() -> Shape {
        Shape::of(SHAPE.0, SHAPE.1, SHAPE.2)
    }

    /// The run of so many bytes from the start of a group, row by row.
    fn run(bytes: u64) -> Run {
        let full = shape().full_row();
        let mut left = bytes;
        let mut at = EXTENT_HEADER;
        let mut run: Option<Run> = None;
        while left > 0 {
            let length = u32::try_from(left.min(u64::from(full))).unwrap();
            let place = RowPlace { at, length };
            match &mut run {
                None => run = Some(Run::row(GroupId(1), place)),
                Some(run) => assert!(run.push(&shape(), place)),
            }
            at += sealed_length(shape().payload(length));
            left -= u64::from(length);
        }
        run.unwrap()
    }

    /// The bytes that reads touch, counted from the start of the group.
    fn touched(run: &Run) -> Vec<(u64, u64)> {
        let full = u64::from(shape().full_row());
        let reads = run.row_reads(&shape()).map(|read| {
            let row = (read.row.at - EXTENT_HEADER) / sealed_length(BLOCK);
            let start = row * full;
            (start + u64::from(read.from), start + u64::from(read.to))
        });
        reads.collect()
    }

    #[test]
    fn only_the_row_behind_the_last_joins_a_run() {
        let full = shape().full_row();
        let first = RowPlace { at: EXTENT_HEADER, length: full };
        let mut run = Run::row(GroupId(1), first);
        assert!(!run.push(&shape(), first));
        let second = RowPlace { at: EXTENT_HEADER + sealed_length(BLOCK), length: 5 };
        assert!(run.push(&shape(), second));
        assert_eq!((run.rows, run.length), (u64::from(full) + 5, u64::from(full) + 5));
        // A short row ends it.
        let third = RowPlace { at: second.at + sealed_length(64), length: 5 };
        assert!(!run.push(&shape(), third));
    }

    proptest! {
        #[test]
        fn the_parts_of_a_run_are_its_bytes(bytes in 1_u64..1 << 20, a: u64, b: u64, c: u64, d: u64) {
            let run = run(bytes);
            prop_assert!(run.is_sound());
            let (mut from, mut to, mut part) = (0, bytes, run);
            for (a, b) in [(a, b), (c, d)] {
                let start = a % (to - from + 1);
                let length = b % (to - from - start + 1);
                part = part.part(&shape(), start, length);
                (from, to) = (from + start, from + start + length);
                prop_assert!(part.is_sound());
                prop_assert_eq!(part.length, to - from);
                let touched = touched(&part);
                let mut next = from;
                for (start, end) in touched {
                    prop_assert_eq!(start, next);
                    next = end;
                }
                prop_assert_eq!(next, to);
                for read in part.row_reads(&shape()) {
                    // As the whole run has it.
                    let whole = run.row_reads(&shape()).find(|other| other.row.at == read.row.at);
                    prop_assert_eq!(whole.unwrap().row, read.row);
                }
            }
        }

        #[test]
        fn arbitrary_runs_never_panic(at: u64, rows: u64, skip: u64, length: u64, a: u64, b: u64) {
            let run = Run { group: GroupId(1), at, rows, skip, length };
            let _ = run.is_sound();
            let _ = run.row_reads(&shape()).take(10).count();
            let _ = run.part(&shape(), a, b).row_reads(&shape()).take(10).count();
            let _ = run.clone().push(&shape(), RowPlace { at, length: 4 });
        }
    }
}
