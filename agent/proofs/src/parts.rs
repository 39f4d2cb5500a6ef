//! Objects that were uploaded in parts.
//!
//! Each part has a root of its own, that of its bytes. The root of the object is BLAKE3 of the *list* of
//! its parts: for each, in their order, where it ends in the object and its root. So a slice is proven
//! by a slice of the list and slices of the parts that it touches.

use std::ops::Range;

use crate::{ProofError, Root};

/// Bytes of a line of the list: end u64, root.
pub const LINE: usize = 40;

/// The list of parts of these sizes and roots, in their order.
#[must_use]
pub fn list(parts: impl IntoIterator<Item = (u64, Root)>) -> Vec<u8> {
    let (mut bytes, mut end) = (Vec::new(), 0_u64);
    for (size, root) in parts {
        end = end.saturating_add(size);
        bytes.extend_from_slice(&end.to_le_bytes());
        bytes.extend_from_slice(&root);
    }
    bytes
}

/// A part that a slice touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// Its number in the list, from 0.
    pub number: usize,
    /// Its root.
    pub root: Root,
    /// Its bytes in all.
    pub size: u64,
    /// Those of its bytes that the slice has; not empty.
    pub range: Range<u64>,
}

/// The parts of a whole list that a range of the object's bytes touches.
///
/// # Errors
/// The list is none.
pub fn touched(list: &[u8], range: &Range<u64>) -> Result<Vec<Touched>, ProofError> {
    Ok(touched_from(0, 0, list, range)?.0)
}

/// The same of some lines of a list, of which the first has this number and begins at this byte; and
/// where the last one ends.
pub(crate) fn touched_from(
    first: usize,
    mut start: u64,
    lines: &[u8],
    range: &Range<u64>,
) -> Result<(Vec<Touched>, u64), ProofError> {
    let mut found = Vec::new();
    for (number, line) in (first..).zip(lines.chunks(LINE)) {
        let (end, root) = line_of(line)?;
        let size = end.checked_sub(start).ok_or(ProofError::Broken("the list of parts"))?;
        let (from, to) = (range.start.max(start), range.end.min(end));
        if from < to {
            found.push(Touched { number, root, size, range: from - start..to - start });
        }
        start = end;
    }
    Ok((found, start))
}

/// Where a part ends, and its root.
pub(crate) fn line_of(line: &[u8]) -> Result<(u64, Root), ProofError> {
    let (end, root) = line.split_first_chunk().ok_or(ProofError::Malformed)?;
    let root = root.try_into().map_err(|_| ProofError::Malformed)?;
    Ok((u64::from_le_bytes(*end), root))
}
