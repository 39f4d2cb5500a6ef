//! What is signed by EIP-712 (`agent/sla`, and the contracts' `Messages.sol`). The types are declared here again, as this
//! crate uses none of ours; a test compares digests that were computed there.

use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::sol_types::{Eip712Domain, SolValue};

// The macro makes public fields and helpers without a word on them.
#[allow(
    missing_docs,
    missing_debug_implementations,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "made by the macro; what the messages mean is said in agent/sla and in Messages.sol"
)]
mod types {
    alloy::sol! {
        /// A node asks to be challenged.
        #[derive(Debug, PartialEq, Eq)]
        struct ChallengeRequest {
            bytes32 nodeId;
            address oracleId;
            uint64 era;
            bytes32 nonce;
            bytes32 dataRoot;
            uint64 objects;
            uint64 totalBytes;
            bytes32 configDigest;
        }

        /// What an oracle found.
        #[derive(Debug, PartialEq, Eq)]
        struct ChallengeReceipt {
            bytes32 requestHash;
            bytes32 beacon;
            uint8 result;
            uint64 latencyUs;
            uint64 bytesPerSecond;
            uint64 oracleTime;
        }

        /// What an oracle makes of a node's era.
        #[derive(Debug, PartialEq, Eq)]
        struct SlaVote {
            address oracleId;
            bytes32 nodeId;
            uint64 era;
            uint32 issued;
            uint32 passed;
            uint64 medianLatencyUs;
            uint64 medianBytesPerSecond;
            uint64 provenBytes;
            bytes32 receiptsRoot;
            bytes32 configDigest;
        }
    }
}

pub use super::reference::{DaemonBinding, Leaf};
pub use types::{ChallengeReceipt, ChallengeRequest, SlaVote};

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
    use alloy::primitives::{address, b256};
    use alloy::sol_types::SolStruct;

    use super::*;

    /// Computed by `agent/sla` (`tests/vectors.rs` there), of the same values.
    const CONFIG: B256 = b256!("e2f81dd855e4b2d3c73653b21a65d291cc2566719916abeac9f1d53045696eef");
    const ORACLE: Address = address!("4a62316623ad457f02cdc5d997ded67a383ec569");
    const REQUEST: B256 = b256!("0db67b562926d7b046959954828b12741a7cd84621ab5dc812b42d4d4b2d0e5a");
    const RECEIPT: B256 = b256!("f5b356d7d62df6f7501c51daa88a44d95eb0701cfea9a5dcfbfa3ec7f576fd46");
    const VOTE: B256 = b256!("4d5140b22e4a447d3793f7bfc0afc9eb96547b7006faecbf193b7f9446b037d8");

    #[test]
    fn digests_are_those_of_agent_sla() {
        let domain = domain(31_337, Address::repeat_byte(0xc0));
        let request = ChallengeRequest {
            nodeId: B256::repeat_byte(0x11),
            oracleId: ORACLE,
            era: 5,
            nonce: B256::repeat_byte(0x22),
            dataRoot: B256::repeat_byte(0x33),
            objects: 6,
            totalBytes: 7_000_000_000,
            configDigest: CONFIG,
        };
        assert_eq!(request.eip712_signing_hash(&domain), REQUEST);
        let receipt = ChallengeReceipt {
            requestHash: REQUEST,
            beacon: B256::repeat_byte(0x44),
            result: 1,
            latencyUs: 800,
            bytesPerSecond: 90_000_000,
            oracleTime: 1_300_001,
        };
        assert_eq!(receipt.eip712_signing_hash(&domain), RECEIPT);
        let vote = SlaVote {
            oracleId: ORACLE,
            nodeId: B256::repeat_byte(0x11),
            era: 5,
            issued: 10,
            passed: 9,
            medianLatencyUs: 800,
            medianBytesPerSecond: 90_000_000,
            provenBytes: 7_000_000_000,
            receiptsRoot: B256::repeat_byte(0x55),
            configDigest: CONFIG,
        };
        assert_eq!(vote.eip712_signing_hash(&domain), VOTE);
    }

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
