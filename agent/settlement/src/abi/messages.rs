//! What is signed by EIP-712 (the contracts' `Messages.sol`): by nodes, oracles and HPs.

use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::sol_types::{Eip712Domain, SolValue};

pub use super::reference::{
    ChallengeReceipt, ChallengeRequest, DaemonBinding, EraRoot, Leaf, SlaVote,
};

/// The longest proof: a tree of 2^32 nodes.
pub const PROOF_MAX: usize = 32;

/// The EIP-712 domain of all messages: `contract` is `SlaSettlement`.
#[must_use]
pub fn domain(chain: u64, contract: Address) -> Eip712Domain {
    Eip712Domain::new(
        Some("ICN SLA".into()),
        Some("1".into()),
        Some(U256::from(chain)),
        Some(contract),
        None,
    )
}

impl Leaf {
    /// Its hash in the tree: Keccak-256 twice, so that no inner node can pass for a leaf.
    #[must_use]
    pub fn hash(&self) -> B256 {
        keccak256(keccak256(self.abi_encode()))
    }

    /// Whether it is in the tree with this root. Pairs are hashed in ascending order (OpenZeppelin, `MerkleProof`).
    #[must_use]
    pub fn is_in(&self, root: B256, proof: &[B256]) -> bool {
        let up = |below: B256, beside: &B256| {
            let (low, high) = if below <= *beside { (below, *beside) } else { (*beside, below) };
            keccak256([low, high].concat())
        };
        proof.len() <= PROOF_MAX && proof.iter().fold(self.hash(), up) == root
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_is_in_its_tree_and_in_no_other() {
        let leaf = |number: u8| Leaf {
            nodeId: B256::repeat_byte(number),
            toEra: 5,
            cumulativeReward: U256::from(100),
            cumulativePenalty: U256::ZERO,
            votesHash: B256::ZERO,
        };
        let (left, right) = (leaf(1), leaf(2));
        let mut pair = [left.hash(), right.hash()];
        pair.sort();
        let root = keccak256(pair.concat());
        assert!(left.is_in(root, &[right.hash()]) && right.is_in(root, &[left.hash()]));
        assert!(!left.is_in(root, &[]) && !leaf(3).is_in(root, &[right.hash()]));
        assert!(left.is_in(left.hash(), &[]), "a tree of one");
        assert!(!left.is_in(root, &[B256::ZERO; PROOF_MAX + 1]));
        let richer = Leaf { cumulativeReward: U256::from(101), ..left };
        assert!(!richer.is_in(root, &[right.hash()]));
    }
}
