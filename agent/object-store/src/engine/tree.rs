//! The BLAKE3 tree of an object's bytes ([`agent_proofs::tree`]), made while they come.

use agent_proofs::tree::{ChainingValue, GROUP, root};
use blake3::Hasher;
use blake3::hazmat::HasherExt as _;

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
}
