//! The BLAKE3 tree of some bytes, in groups of 16 KiB.
//!
//! Kept beside the bytes are the chaining values of the groups, the *leaves*, 2 MiB for each GiB; what
//! is above them is computed when a proof is wanted (BLAKE3 specification, 2.5: the left subtree holds
//! the largest power of two that leaves something to the right one).

use blake3::Hasher;
use blake3::hazmat::{HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};

use crate::Root;

pub use blake3::hazmat::ChainingValue;

/// Bytes of a group: 16 chunks of BLAKE3.
pub const GROUP: usize = 16 * 1024;

/// Length of a chaining value in bytes.
pub const LEAF: usize = 32;

/// How many groups so many bytes have: one at least.
#[must_use]
pub fn groups(size: u64) -> u64 {
    size.div_ceil(GROUP as u64).max(1)
}

/// The leaves of some bytes; none if they have one group only.
#[must_use]
pub fn leaves(bytes: &[u8]) -> Vec<ChainingValue> {
    if bytes.len() <= GROUP {
        return Vec::new();
    }
    (0..).zip(bytes.chunks(GROUP)).map(|(number, group)| leaf(number, group)).collect()
}

/// The chaining value of a group that is not alone.
pub(crate) fn leaf(number: u64, group: &[u8]) -> ChainingValue {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(number.saturating_mul(GROUP as u64));
    hasher.update(group).finalize_non_root()
}

/// The root above at least two leaves; zeros above fewer, which is no root of anything.
#[must_use]
pub fn root(leaves: &[ChainingValue]) -> Root {
    match children(leaves) {
        Some((left, right)) => root_of(&subtree(left), &subtree(right)),
        None => [0; 32],
    }
}

pub(crate) fn root_of(left: &ChainingValue, right: &ChainingValue) -> Root {
    *merge_subtrees_root(left, right, Mode::Hash).as_bytes()
}

pub(crate) fn parent_of(left: &ChainingValue, right: &ChainingValue) -> ChainingValue {
    merge_subtrees_non_root(left, right, Mode::Hash)
}

/// The chaining value above some leaves.
pub(crate) fn subtree(leaves: &[ChainingValue]) -> ChainingValue {
    match (children(leaves), leaves) {
        (Some((left, right)), _) => parent_of(&subtree(left), &subtree(right)),
        (None, [alone]) => *alone,
        (None, _) => [0; 32],
    }
}

/// The leaves of the left and of the right subtree; none where there are less than two.
pub(crate) fn children(leaves: &[ChainingValue]) -> Option<(&[ChainingValue], &[ChainingValue])> {
    let left = usize::try_from(left_of(leaves.len() as u64)?).ok()?;
    leaves.split_at_checked(left)
}

/// How many of so many groups are in the left subtree; none where there are less than two.
pub(crate) fn left_of(groups: u64) -> Option<u64> {
    (groups > 1).then(|| 1 << (groups - 1).ilog2())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_above_the_leaves_is_that_of_blake3() {
        for length in [1, 2, 3, 4, 5, 7, 8, 9, 16].map(|groups| groups * GROUP) {
            for length in [length - 1, length, length + 1] {
                let bytes: Vec<u8> =
                    (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
                let leaves = leaves(&bytes);
                assert_eq!(
                    leaves.len() as u64,
                    if length <= GROUP { 0 } else { groups(length as u64) }
                );
                if length > GROUP {
                    assert_eq!(root(&leaves), *blake3::hash(&bytes).as_bytes(), "{length}");
                }
            }
        }
        assert_eq!((groups(0), groups(1)), (1, 1));
        assert_eq!(root(&[]), [0; 32]);
    }
}
