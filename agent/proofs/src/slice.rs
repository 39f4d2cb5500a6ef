//! Proofs that bytes are a slice of an object.
//!
//! ```text
//! proof    form u8 (1) | size u64 | parts u16 | start u64 | end u64 | tree           (parts = 0)
//!                                                    | first u16 | lines u16 | tree of the list |
//!                                                      tree of each part that is touched  (parts > 0)
//! tree     of more than one group: chaining values of left and right subtree (64 bytes), then the left
//!          and the right subtree, those of them that are touched
//!          of one group: its bytes
//! ```
//!
//! That is the order of bao's slices, at groups of 16 chunks: each node stands before what is below it,
//! so that nothing is believed before it is verified. An empty range touches the group that it is in.

use std::ops::Range;

use blake3::hazmat::ChainingValue;

use crate::parts::{LINE, Touched, line_of, touched, touched_from};
use crate::tree::{GROUP, children, groups, leaf, leaves, left_of, parent_of, root_of, subtree};
use crate::wire::Reader;
use crate::{Content, ProofError, Root};

/// The form of proofs that is written here.
const FORM: u8 = 1;

/// The groups that a range touches.
fn covering(size: u64, range: &Range<u64>) -> Result<Range<u64>, ProofError> {
    let Range { start, end } = *range;
    if start > end || end > size {
        return Err(ProofError::Outside { start, end, size });
    }
    let group = GROUP as u64;
    let first = (start / group).min(groups(size) - 1);
    Ok(first..end.div_ceil(group).max(first + 1))
}

/// The bytes that a proof of a range of an object, or of a part, is made of: all of its groups.
///
/// # Errors
/// They are not within it.
pub fn rounded(size: u64, range: &Range<u64>) -> Result<Range<u64>, ProofError> {
    let groups = covering(size, range)?;
    let group = GROUP as u64;
    Ok(groups.start * group..groups.end.saturating_mul(group).min(size))
}

/// A proof that is being made.
#[derive(Debug)]
pub struct Prover {
    bytes: Vec<u8>,
}

impl Prover {
    /// Begins the proof of a range of an object's bytes.
    ///
    /// # Errors
    /// They are not within it.
    pub fn new(content: &Content, range: &Range<u64>) -> Result<Self, ProofError> {
        covering(content.size, range)?;
        let mut bytes = vec![FORM];
        bytes.extend_from_slice(&content.size.to_le_bytes());
        bytes.extend_from_slice(&content.parts.to_le_bytes());
        bytes.extend_from_slice(&range.start.to_le_bytes());
        bytes.extend_from_slice(&range.end.to_le_bytes());
        Ok(Self { bytes })
    }

    /// Adds what proves a range of an object of one piece, or of the part that is next: `read` are the
    /// bytes [`rounded`] says, `leaves` those of the whole piece, none if it has one group only.
    ///
    /// # Errors
    /// They are not as many as they must be.
    pub fn piece(
        &mut self,
        size: u64,
        range: &Range<u64>,
        leaves: &[ChainingValue],
        read: &[u8],
    ) -> Result<(), ProofError> {
        let wanted = covering(size, range)?;
        let bytes = rounded(size, range)?;
        let known = if leaves.is_empty() { 1 } else { leaves.len() as u64 };
        if known != groups(size) || read.len() as u64 != bytes.end - bytes.start {
            return Err(ProofError::Malformed);
        }
        let mut read = read;
        self.subtree(0, leaves, &wanted, &mut read)
    }

    /// Adds what proves the parts that a range of the object touches, from the whole list; they are to
    /// be added one by one.
    ///
    /// # Errors
    /// The list is none.
    pub fn list(&mut self, list: &[u8], range: &Range<u64>) -> Result<Vec<Touched>, ProofError> {
        let found = touched(list, range)?;
        let first = found.first().map_or(0, |part| part.number);
        let count = found.last().map_or(0, |part| part.number + 1 - first);
        for number in [first, count] {
            let number = u16::try_from(number).map_err(|_| ProofError::Malformed)?;
            self.bytes.extend_from_slice(&number.to_le_bytes());
        }
        let size = list.len() as u64;
        let lines = lines_of(first, count);
        let bytes = rounded(size, &lines)?;
        let place = usize::try_from(bytes.start).ok().zip(usize::try_from(bytes.end).ok());
        let read = place.and_then(|(start, end)| list.get(start..end));
        self.piece(size, &lines, &leaves(list), read.ok_or(ProofError::Malformed)?)?;
        Ok(found)
    }

    /// The proof.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn subtree(
        &mut self,
        first: u64,
        leaves: &[ChainingValue],
        wanted: &Range<u64>,
        read: &mut &[u8],
    ) -> Result<(), ProofError> {
        let Some((left, right)) = children(leaves) else {
            let (group, rest) = read.split_at(read.len().min(GROUP));
            self.bytes.extend_from_slice(group);
            *read = rest;
            return Ok(());
        };
        self.bytes.extend_from_slice(&subtree(left));
        self.bytes.extend_from_slice(&subtree(right));
        let middle = first + left.len() as u64;
        if wanted.start < middle {
            self.subtree(first, left, wanted, read)?;
        }
        if wanted.end > middle {
            self.subtree(middle, right, wanted, read)?;
        }
        Ok(())
    }
}

/// The bytes of a list that some of its lines, and the one before them, take.
fn lines_of(first: usize, count: usize) -> Range<u64> {
    let line = LINE as u64;
    let before = if count == 0 { first } else { first.saturating_sub(1) };
    before as u64 * line..(first + count) as u64 * line
}

/// The bytes of a range of an object, from a proof of them.
///
/// The size is proven as far as the slice shows it: wholly where it has the last byte.
///
/// # Errors
/// The proof does not hold, or is of something else.
pub fn verify(content: &Content, range: &Range<u64>, proof: &[u8]) -> Result<Vec<u8>, ProofError> {
    covering(content.size, range)?;
    let mut from = Reader::new(proof);
    if from.u8()? != FORM {
        return Err(ProofError::Malformed);
    }
    if from.u64()? != content.size {
        return Err(ProofError::Other("size"));
    }
    if from.u16()? != content.parts {
        return Err(ProofError::Other("number of parts"));
    }
    if (from.u64()?, from.u64()?) != (range.start, range.end) {
        return Err(ProofError::Other("range"));
    }
    let mut found = Vec::new();
    if content.parts == 0 {
        piece(&content.root, content.size, range, &mut from, &mut found)?;
    } else {
        parts(content, range, &mut from, &mut found)?;
    }
    from.end()?;
    Ok(found)
}

/// Verifies the slice of an object in parts.
fn parts(
    content: &Content,
    range: &Range<u64>,
    from: &mut Reader<'_>,
    found: &mut Vec<u8>,
) -> Result<(), ProofError> {
    let broken = ProofError::Broken("the list of parts");
    let (first, count) = (usize::from(from.u16()?), usize::from(from.u16()?));
    let size = u64::from(content.parts) * LINE as u64;
    let mut lines = Vec::new();
    piece(&content.root, size, &lines_of(first, count), from, &mut lines)?;
    let (start, lines) = if first == 0 || count == 0 {
        (0, lines.as_slice())
    } else {
        let (before, lines) = lines.split_at_checked(LINE).ok_or(broken)?;
        (line_of(before)?.0, lines)
    };
    let (touched, end) = touched_from(first, start, lines, range)?;
    // No more lines than are needed: there is one proof of a slice only.
    let ends = touched.first().zip(touched.last()).map(|(first, last)| (first.number, last.number));
    if range.is_empty() {
        return if (first, count, ends) == (0, 0, None) { Ok(()) } else { Err(broken) };
    }
    let is_tight = count > 0 && ends == Some((first, first + count - 1));
    let is_whole = first + count != usize::from(content.parts) || end == content.size;
    if start > range.start || end < range.end || !is_whole || !is_tight {
        return Err(broken);
    }
    for Touched { root, size, range, .. } in touched {
        piece(&root, size, &range, from, found)?;
    }
    Ok(())
}

/// What a node must be.
enum Expected<'a> {
    Root(&'a Root),
    Value(ChainingValue),
}

/// Verifies the slice of one piece, and adds its bytes.
fn piece(
    root: &Root,
    size: u64,
    range: &Range<u64>,
    from: &mut Reader<'_>,
    found: &mut Vec<u8>,
) -> Result<(), ProofError> {
    let wanted = covering(size, range)?;
    let mut slice = Slice { size, range, wanted, from, found };
    slice.subtree(&Expected::Root(root), 0, groups(size))
}

struct Slice<'a, 'b> {
    size: u64,
    range: &'a Range<u64>,
    wanted: Range<u64>,
    from: &'a mut Reader<'b>,
    found: &'a mut Vec<u8>,
}

impl Slice<'_, '_> {
    fn subtree(
        &mut self,
        expected: &Expected<'_>,
        first: u64,
        count: u64,
    ) -> Result<(), ProofError> {
        let Some(left) = left_of(count) else { return self.group(expected, first) };
        let (one, other): (ChainingValue, ChainingValue) = (self.from.array()?, self.from.array()?);
        let holds = match expected {
            Expected::Root(root) => root_of(&one, &other) == **root,
            Expected::Value(value) => parent_of(&one, &other) == *value,
        };
        if !holds {
            return Err(ProofError::Broken("a node"));
        }
        let middle = first + left;
        if self.wanted.start < middle {
            self.subtree(&Expected::Value(one), first, left)?;
        }
        if self.wanted.end > middle {
            self.subtree(&Expected::Value(other), middle, count - left)?;
        }
        Ok(())
    }

    fn group(&mut self, expected: &Expected<'_>, number: u64) -> Result<(), ProofError> {
        let start = number * GROUP as u64;
        let length = (self.size - start).min(GROUP as u64);
        let bytes = self.from.bytes(usize::try_from(length).map_err(|_| ProofError::Malformed)?)?;
        let holds = match expected {
            Expected::Root(root) => blake3::hash(bytes).as_bytes() == *root,
            Expected::Value(value) => leaf(number, bytes) == *value,
        };
        if !holds {
            return Err(ProofError::Broken("a group"));
        }
        let within = |at: u64| usize::try_from(at.clamp(start, start + length) - start).ok();
        let place = within(self.range.start).zip(within(self.range.end));
        let bytes = place.and_then(|(from, to)| bytes.get(from..to));
        self.found.extend_from_slice(bytes.ok_or(ProofError::Malformed)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
