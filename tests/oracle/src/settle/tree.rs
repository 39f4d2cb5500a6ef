//! The tree of a root: pure. Pairs are hashed in ascending order, what has no neighbour goes up as it is
//! (`contracts/test/Tree.sol`).

use agent_sla::protocol::B256;
use alloy::primitives::keccak256;

/// A tree with all its levels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// From the leaves up; each but the last has more than one.
    levels: Vec<Vec<B256>>,
}

fn pair(one: &B256, other: &B256) -> B256 {
    let (low, high) = if one <= other { (one, other) } else { (other, one) };
    let mut bytes = [0; 64];
    let (left, right) = bytes.split_at_mut(32);
    left.copy_from_slice(low.as_slice());
    right.copy_from_slice(high.as_slice());
    keccak256(bytes)
}

impl Tree {
    /// The tree of these leaves, in their order.
    #[must_use]
    pub fn new(leaves: Vec<B256>) -> Self {
        let up = |level: &[B256]| -> Vec<B256> {
            let parent = |pairs: &[B256]| match pairs {
                [one, other] => pair(one, other),
                [alone, ..] => *alone,
                [] => B256::ZERO,
            };
            level.chunks(2).map(parent).collect()
        };
        let mut levels = vec![leaves];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            let next = up(level);
            levels.push(next);
        }
        Self { levels }
    }

    /// Its root; zero where there is no leaf, which no proof leads to.
    #[must_use]
    pub fn root(&self) -> B256 {
        self.levels.last().and_then(|top| top.first()).copied().unwrap_or_default()
    }

    /// The way from a leaf to the root, from below; none where there is no such leaf.
    #[must_use]
    pub fn proof(&self, index: usize) -> Option<Vec<B256>> {
        self.levels.first()?.get(index)?;
        let beside =
            |(height, level): (usize, &Vec<B256>)| level.get((index >> height) ^ 1).copied();
        Some(self.levels.iter().enumerate().filter_map(beside).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use agent_settlement::abi::messages::{Leaf, PROOF_MAX};
    use agent_sla::protocol::U256;

    use super::*;

    fn leaf(number: u64) -> Leaf {
        Leaf {
            nodeId: B256::from(U256::from(number)),
            toEra: 5,
            cumulativeReward: U256::from(number) << 60,
            cumulativePenalty: U256::ZERO,
            votesHash: keccak256(number.to_le_bytes()),
        }
    }

    fn tree(leaves: &[Leaf]) -> Tree {
        Tree::new(leaves.iter().map(Leaf::hash).collect())
    }

    #[test]
    fn each_leaf_of_a_tree_of_any_size_is_proven_and_no_other() {
        for count in 1..=70 {
            let leaves: Vec<Leaf> = (0..count).map(leaf).collect();
            let tree = tree(&leaves);
            for (index, one) in leaves.iter().enumerate() {
                let proof = tree.proof(index).expect("a proof");
                assert!(proof.len() <= PROOF_MAX && one.is_in(tree.root(), &proof), "{count}");
                let richer = Leaf { cumulativeReward: U256::MAX, ..one.clone() };
                assert!(!richer.is_in(tree.root(), &proof));
            }
            assert_eq!(tree.proof(leaves.len()), None);
        }
        assert_eq!(
            (Tree::new(Vec::new()).root(), Tree::new(Vec::new()).proof(0)),
            (B256::ZERO, None)
        );
    }

    #[test]
    fn what_has_no_neighbour_goes_up_as_it_is() {
        let hashes: Vec<B256> = (0..3).map(|number| leaf(number).hash()).collect();
        let tree = Tree::new(hashes.clone());
        assert_eq!(tree.root(), pair(&pair(&hashes[0], &hashes[1]), &hashes[2]));
        assert_eq!(tree.proof(2), Some(vec![pair(&hashes[0], &hashes[1])]));
    }

    /// Figures: `cargo test --release -p reference-oracle --lib tree -- --ignored --nocapture`.
    #[test]
    #[ignore = "measures"]
    fn a_tree_of_100_000_nodes() {
        let leaves: Vec<Leaf> = (0..100_000).map(leaf).collect();
        let began = Instant::now();
        let tree = tree(&leaves);
        let built = began.elapsed();
        let began = Instant::now();
        let mut hash = B256::ZERO;
        // As many hashes as the tree has, of as many bytes: two for each leaf, one for each pair.
        for one in &leaves {
            let inner = keccak256([hash.as_slice(), &[7; 128]].concat());
            hash = keccak256(inner);
            hash = pair(&hash, &one.nodeId);
        }
        let hashing = began.elapsed();
        let proof = tree.proof(99_999).expect("a proof");
        let longest =
            (0..leaves.len()).filter_map(|at| tree.proof(at)).map(|proof| proof.len()).max();
        println!(
            "100,000 leaves: {built:?}, hashing alone {hashing:?}, ratio {:.2}; longest proof {} bytes; {hash}",
            built.as_secs_f64() / hashing.as_secs_f64(),
            longest.unwrap_or_default() * 32
        );
        assert!(
            leaves[99_999].is_in(tree.root(), &proof)
                && longest.is_some_and(|longest| longest * 32 <= 1024)
        );
    }
}
