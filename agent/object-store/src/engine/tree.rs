//! The BLAKE3 tree of an object's bytes, in groups of 16 KiB, so that a slice can be proven without
//! reading the rest.
//!
//! Kept are the chaining values of the groups, 2 MiB for each GiB; what is above them is computed when
//! a proof is wanted (BLAKE3 specification, 2.5: the left subtree is the largest power of two).

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root,
};

/// Bytes of a group: 16 chunks of BLAKE3.
pub(crate) const GROUP: usize = 16 * 1024;

/// Takes the bytes of an object in their order.
#[derive(Debug)]
pub(crate) struct TreeHasher {
    leaves: Vec<ChainingValue>,
    current: Hasher,
    /// Bytes in `current`; never a whole group while nothing stands behind it.
    filled: usize,
}

/// The root and the chaining values of the groups; an object of one group at most has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tree {
    pub root: [u8; 32],
    pub leaves: Vec<ChainingValue>,
}

impl TreeHasher {
    pub(crate) fn new() -> Self {
        Self { leaves: Vec::new(), current: Hasher::new(), filled: 0 }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.filled == GROUP {
                self.leaves.push(self.current.finalize_non_root());
                self.current = Hasher::new();
                let offset = self.leaves.len() as u64 * GROUP as u64;
                self.current.set_input_offset(offset);
                self.filled = 0;
            }
            let (now, later) = bytes.split_at(bytes.len().min(GROUP - self.filled));
            self.current.update(now);
            self.filled += now.len();
            bytes = later;
        }
    }

    pub(crate) fn finish(mut self) -> Tree {
        if self.leaves.is_empty() {
            return Tree { root: *self.current.finalize().as_bytes(), leaves: Vec::new() };
        }
        self.leaves.push(self.current.finalize_non_root());
        Tree { root: root(&self.leaves), leaves: self.leaves }
    }
}

/// The root above at least two groups.
fn root(leaves: &[ChainingValue]) -> [u8; 32] {
    let mut level = leaves.to_vec();
    while level.len() > 2 {
        level = parents(&level);
    }
    match level.as_slice() {
        [left, right] => *merge_subtrees_root(left, right, Mode::Hash).as_bytes(),
        _ => [0; 32],
    }
}

fn parents(level: &[ChainingValue]) -> Vec<ChainingValue> {
    let pairs = level.chunks(2).filter_map(|pair| match pair {
        [left, right] => Some(merge_subtrees_non_root(left, right, Mode::Hash)),
        [alone] => Some(*alone),
        _ => None,
    });
    pairs.collect()
}

/// The chaining values beside the way from a group to the root, lowest first; with them and the
/// group's bytes [`holds`] finds the root. `leaves` are all of the object's.
#[cfg_attr(not(test), expect(dead_code, reason = "for the challenges of oracles"))]
pub(crate) fn prove(leaves: &[ChainingValue], index: usize) -> Vec<ChainingValue> {
    let (mut level, mut index, mut path) = (leaves.to_vec(), index, Vec::new());
    while level.len() > 1 {
        path.extend(level.get(index ^ 1));
        if level.len() == 2 {
            break;
        }
        level = parents(&level);
        index /= 2;
    }
    path
}

/// Whether `bytes` are group `index` of the object of `size` bytes that has this root.
#[cfg_attr(not(test), expect(dead_code, reason = "for the challenges of oracles"))]
pub(crate) fn holds(
    root: &[u8; 32],
    size: u64,
    index: u64,
    bytes: &[u8],
    path: &[ChainingValue],
) -> bool {
    let group = GROUP as u64;
    let mut count = size.div_ceil(group).max(1);
    let Some(start) = index.checked_mul(group).filter(|_| index < count) else { return false };
    if bytes.len() as u64 != (size - start).min(group) {
        return false;
    }
    if count == 1 {
        return path.is_empty() && blake3::hash(bytes).as_bytes() == root;
    }
    let mut value = Hasher::new().set_input_offset(start).update(bytes).finalize_non_root();
    let (mut index, mut path) = (index, path.iter());
    let pair = |index: u64, own: ChainingValue, beside: ChainingValue| {
        if index.is_multiple_of(2) { (own, beside) } else { (beside, own) }
    };
    while count > 2 {
        if index ^ 1 < count {
            let Some(beside) = path.next() else { return false };
            let (left, right) = pair(index, value, *beside);
            value = merge_subtrees_non_root(&left, &right, Mode::Hash);
        }
        index /= 2;
        count = count.div_ceil(2);
    }
    let (Some(beside), None) = (path.next(), path.next()) else { return false };
    let (left, right) = pair(index, value, *beside);
    merge_subtrees_root(&left, &right, Mode::Hash).as_bytes() == root
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    fn tree(bytes: &[u8], step: usize) -> Tree {
        let mut hasher = TreeHasher::new();
        bytes.chunks(step.max(1)).for_each(|part| hasher.update(part));
        hasher.finish()
    }

    const LENGTHS: [usize; 9] =
        [0, 1, GROUP - 1, GROUP, GROUP + 1, 2 * GROUP, 3 * GROUP + 5, 7 * GROUP, 16 * GROUP + 1];

    #[test]
    fn the_root_is_that_of_blake3_however_the_bytes_come() {
        for length in LENGTHS {
            let bytes = bytes(length);
            for step in [1000, GROUP, 3 * GROUP + 7] {
                let tree = tree(&bytes, step);
                assert_eq!(tree.root, *blake3::hash(&bytes).as_bytes(), "{length} by {step}");
                let groups = length.div_ceil(GROUP);
                assert_eq!(tree.leaves.len(), if groups > 1 { groups } else { 0 });
            }
        }
    }

    #[test]
    fn every_group_can_be_proven_and_nothing_else() {
        for length in LENGTHS {
            let bytes = bytes(length);
            let size = length as u64;
            let tree = tree(&bytes, GROUP);
            for (index, group) in bytes.chunks(GROUP).enumerate() {
                let path = prove(&tree.leaves, index);
                let number = index as u64;
                assert!(holds(&tree.root, size, number, group, &path), "{length} {index}");
                let mut other = group.to_vec();
                other[0] ^= 1;
                assert!(!holds(&tree.root, size, number, &other, &path));
                assert!(!holds(&tree.root, size, number + 1, group, &path));
                assert!(!holds(&tree.root, size + 1, number, group, &path) || group.len() == GROUP);
                assert!(!holds(&[0; 32], size, number, group, &path));
                let longer = [&path[..], &[[0; 32]]].concat();
                assert!(!holds(&tree.root, size, number, group, &longer));
                if let Some((_, shorter)) = path.split_last() {
                    assert!(!holds(&tree.root, size, number, group, shorter));
                }
            }
        }
    }
}
