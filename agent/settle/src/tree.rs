//! The tree of a root, made of all its leaves: to prove a leaf of a root that oracles have no proof ready for.

use agent_settlement::abi::messages::Leaf;
use alloy::primitives::{B256, keccak256};

/// A tree with all its levels. Pairs are hashed in ascending order, what has no neighbour goes up as it is
/// (docs/design/settlement.md).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tree {
    leaves: Vec<Leaf>,
    /// From the leaves up.
    levels: Vec<Vec<B256>>,
}

impl Tree {
    /// The tree of leaves that stand in the order of their nodes.
    pub(crate) fn new(leaves: Vec<Leaf>) -> Self {
        let mut levels = vec![leaves.iter().map(Leaf::hash).collect::<Vec<_>>()];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            let next = level.chunks(2).map(up).collect();
            levels.push(next);
        }
        Self { leaves, levels }
    }

    /// Its root; none where there is no leaf.
    pub(crate) fn root(&self) -> Option<B256> {
        self.levels.last()?.first().copied()
    }

    /// A node's leaf, and its way to the root; none where it has none.
    pub(crate) fn leaf(&self, node: B256) -> Option<(Leaf, Vec<B256>)> {
        let index = self.leaves.binary_search_by_key(&node, |leaf| leaf.nodeId).ok()?;
        let beside =
            |(height, level): (usize, &Vec<B256>)| level.get((index >> height) ^ 1).copied();
        let proof = self.levels.iter().enumerate().filter_map(beside).collect();
        Some((self.leaves.get(index)?.clone(), proof))
    }
}

fn up(pair: &[B256]) -> B256 {
    match pair {
        [alone] => *alone,
        pair => {
            let mut pair = pair.to_vec();
            pair.sort();
            keccak256(pair.concat())
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::U256;

    use super::*;

    #[test]
    fn each_leaf_of_trees_of_all_sizes_is_proven_and_no_other_is() {
        let leaf = |number: u64| Leaf {
            nodeId: B256::from(U256::from(number)),
            toEra: 5,
            cumulativeReward: U256::from(number),
            cumulativePenalty: U256::ZERO,
            votesHash: B256::ZERO,
        };
        assert_eq!(Tree::new(Vec::new()).root(), None);
        for size in 1..20 {
            let tree = Tree::new((0..size).map(leaf).collect());
            let root = tree.root().unwrap();
            for number in 0..size {
                let (found, proof) = tree.leaf(leaf(number).nodeId).unwrap();
                assert_eq!(found, leaf(number));
                assert!(found.is_in(root, &proof), "{number} of {size}");
                assert!(!leaf(size).is_in(root, &proof));
            }
            assert_eq!(tree.leaf(leaf(size).nodeId), None);
        }
    }
}
