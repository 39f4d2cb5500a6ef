//! Our contracts (`contracts/src`): what of them is called and read, and which of their errors are for good. What is
//! signed is declared here too, as the macro knows only types of its own block; [`super::messages`] is the name for it.

use crate::revert::Class::{Retryable, Terminal};
use crate::revert::KnownError;

// The macro makes public fields and helpers without a word on them.
#[allow(
    missing_docs,
    missing_debug_implementations,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::too_many_arguments,
    reason = "made by the macro; what is called is said in the contracts' own words"
)]
mod contracts {
    alloy::sol! {
        /// A node asks to be challenged, and commits to what it stores before it knows the questions.
        #[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        struct ChallengeRequest {
            bytes32 nodeId;
            address oracleId;
            uint64 era;
            /// Drawn by the node.
            bytes32 nonce;
            /// The root over all objects at the cut of the era (docs/design/proofs.md).
            bytes32 dataRoot;
            uint64 objects;
            uint64 totalBytes;
            bytes32 configDigest;
        }

        /// What an oracle found in a challenge.
        #[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        struct ChallengeReceipt {
            /// The EIP-712 digest of the request.
            bytes32 requestHash;
            /// What the questions were drawn from.
            bytes32 beacon;
            /// 1 passed, 2 failed.
            uint8 result;
            /// Median of the oracle's own reads from the node since the receipt before; 0 for none.
            uint64 latencyUs;
            /// The same of its large reads.
            uint64 bytesPerSecond;
            /// Milliseconds since 1970 by the oracle's clock.
            uint64 oracleTime;
        }

        /// What an oracle makes of a node's era.
        #[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        struct SlaVote {
            address oracleId;
            bytes32 nodeId;
            uint64 era;
            /// Checks that were made: canary reads and writes, and challenges.
            uint32 issued;
            /// How many of them the node passed.
            uint32 passed;
            uint64 medianLatencyUs;
            uint64 medianBytesPerSecond;
            /// Bytes that a passed challenge committed to.
            uint64 provenBytes;
            /// Keccak-256 of the digests of the era's receipts, one after the other in the order of their times.
            bytes32 receiptsRoot;
            bytes32 configDigest;
        }

        /// A node's key, as its HP wants it. Signed by the daemon key; the HP sends or signs it.
        #[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        struct DaemonBinding {
            bytes32 nodeId;
            address hpAccount;
            address daemonAddress;
            /// Keccak-256 of the public key that attests the machine; zero for none.
            bytes32 attestationKeyHash;
            /// Keccak-256 of the report of the node's hardware; zero for none.
            bytes32 hardwareReportHash;
            /// Seconds since 1970 after which it is not taken.
            uint256 deadline;
        }

        /// What all nodes have earned up to an era. Signed by a quorum of the oracles of `toEra`.
        #[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        struct EraRoot {
            uint64 fromEra;
            uint64 toEra;
            /// EIP-712 digest of the root before; zero for the first.
            bytes32 previous;
            /// Root of the tree of all nodes.
            bytes32 root;
            /// Root of the tree of all votes that it was computed from.
            bytes32 votesRoot;
            /// What all nodes together earned in these eras, in the token's smallest unit.
            uint256 totalReward;
            /// What all nodes together forfeited in these eras, in the token's smallest unit.
            uint256 totalPenalty;
            bytes32 configDigest;
        }

        /// A node in the tree of a root. Amounts count from the node's beginning, in the token's smallest unit.
        #[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        struct Leaf {
            bytes32 nodeId;
            uint64 toEra;
            uint256 cumulativeReward;
            uint256 cumulativePenalty;
            /// Keccak-256 of the digests of the votes on the node, in the order of era, then oracle.
            bytes32 votesHash;
        }

        #[derive(Debug, PartialEq, Eq)]
        struct Node {
            address hp;
            uint8 state;
            uint64 exitAt;
            uint24 changes;
        }

        #[derive(Debug, PartialEq, Eq)]
        struct Posted {
            bytes32 digest;
            bytes32 root;
            uint96 reward;
            uint96 penalty;
            uint64 postedAt;
        }

        interface NodeRegistry {
            function register(bytes32 label) external returns (bytes32 nodeId);
            function bind(DaemonBinding binding, bytes daemonSignature) external;
            function bindFor(DaemonBinding binding, bytes daemonSignature, bytes hpSignature) external;
            function requestExit(bytes32 nodeId) external;
            function nodeIdOf(address hpAccount, bytes32 label) external pure returns (bytes32);
            function nodeOf(bytes32 nodeId) external view returns (Node);
            function daemonAt(bytes32 nodeId, uint64 era) external view returns (address);
            function nodeOfDaemon(address daemon) external view returns (bytes32);
            function standing(bytes32 nodeId) external view returns (address hp, bool pays, bool forfeits);
            function changeState(StateChange change, bytes[] signatures) external;

            error AlreadyRegistered(bytes32 nodeId);
            error UnknownNode(bytes32 nodeId);
            error NotTheHp(bytes32 nodeId, address sender);
            error OtherHp(address expected, address given);
            error Expired(uint256 deadline);
            error NotTheDaemon(address expected, address signer);
            error BadHpSignature(address hpAccount);
            error DaemonTaken(address daemon, bytes32 nodeId);
            error Leaving(bytes32 nodeId);
            error StaleChange(bytes32 nodeId, uint8 state, uint64 nextSequence);
            error BadTransition(uint8 from, uint8 to);
            error BadEra(uint64 era, uint64 current);
        }

        /// A node goes from one state to another.
        #[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        struct StateChange {
            bytes32 nodeId;
            uint64 sequence;
            uint8 from;
            uint8 to;
            uint64 era;
            bytes32 evidenceHash;
            bytes32 configDigest;
        }

        interface EraManager {
            function currentEra() external view returns (uint64);
            function endOf(uint64 era) external view returns (uint256);
            function parametersOf(uint64 era) external view returns (uint64 genesis, uint32 duration);
        }

        interface SlaSettlement {
            function domainSeparator() external view returns (bytes32);
            function rootCount() external view returns (uint256);
            function rootAt(uint256 id) external view returns (Posted);
            function isFinal(uint256 id) external view returns (bool);
            function disputeWindow() external view returns (uint256);
            function nextEra() external view returns (uint64);
            function cancelled(bytes32 digest) external view returns (bool);
            function oracles() external view returns (address);
            function post(EraRoot root, bytes[] signatures) external returns (uint256 id);
            function cancel(uint256 id, EraRoot root, bytes32 reason) external;

            error UnknownRoot(uint256 id);
            error NotFinal(uint256 id, uint256 finalAt);
            error RewardsExhausted(uint256 wanted, uint256 left);
            error NotContiguous(uint64 expected, uint64 given);
            error EmptyRange(uint64 fromEra, uint64 toEra);
            error EraNotOver(uint64 era);
            error OtherPrevious(bytes32 expected, bytes32 given);
            error OtherConfig(bytes32 expected, bytes32 given);
            error WasCancelled(bytes32 digest);
            error PoolTooSmall(uint256 needed, uint256 available);
            error TooManyPending();
        }

        interface OracleRegistry {
            function oracles(address oracle) external view returns (uint96 bond, uint64 lastSet, bool jailed);
            function SLASHER_ROLE() external view returns (bytes32);
            function hasRole(bytes32 role, address account) external view returns (bool);

            error BadSignatureCount(uint256 count, uint256 quorum, uint256 oracles);
            error NotAnOracle(address signer);
            error Jailed(address oracle);
            error NoSet(uint64 era);
        }

        interface RewardClaims {
            function claim(uint256 rootId, Leaf leaf, bytes32[] proof) external returns (uint256 amount, uint256 taken);
            function done(bytes32 nodeId) external view returns (uint96 reward, uint96 penalty);
            function settlement() external view returns (address);

            error NotInRoot(uint256 rootId, bytes32 leaf);
            error EnforcedPause();
        }

        /// What evidence costs and brings, and for how long.
        #[derive(Debug, PartialEq, Eq)]
        struct Terms {
            uint96 bond;
            uint96 suppressionSlash;
            uint16 rewardBps;
            uint32 answerWindow;
            uint32 evidenceAge;
        }

        interface Disputes {
            function showEquivocation(SlaVote first, bytes firstSignature, SlaVote second, bytes secondSignature)
                external;
            function showReceipt(
                SlaVote vote,
                bytes voteSignature,
                ChallengeRequest request,
                ChallengeReceipt receipt,
                bytes receiptSignature
            ) external;
            function answer(bytes32 voteDigest, bytes32 receiptDigest, bytes32[] receipts) external;
            function close(bytes32 voteDigest, bytes32 receiptDigest) external;
            function takeBack(bytes32 voteDigest, bytes32 receiptDigest) external;
            function refuteEra(uint256 rootId, EraRoot root, Leaf leaf, bytes32[] proof) external;
            function refuteTwice(
                uint256 rootId,
                EraRoot root,
                Leaf first,
                bytes32[] firstProof,
                Leaf second,
                bytes32[] secondProof
            ) external;
            function refuteCourse(
                uint256 beforeId,
                Leaf before,
                bytes32[] beforeProof,
                uint256 rootId,
                EraRoot root,
                Leaf leaf,
                bytes32[] proof
            ) external;
            function domainSeparator() external view returns (bytes32);
            function roots() external view returns (address);
            function oracles() external view returns (address);
            function token() external view returns (address);
            function terms() external view returns (Terms);
            function voided(bytes32 voteDigest) external view returns (bool);
            function asked(bytes32 voteDigest, bytes32 receiptDigest) external view returns (bool);
            function questions(bytes32 voteDigest, bytes32 receiptDigest) external view
                returns (
                    address challenger,
                    uint96 bond,
                    address oracle,
                    uint48 answerBy,
                    uint48 era,
                    bytes32 receiptsRoot,
                    bytes32 nodeId
                );

            error NotOfOne();
            error NoConflict();
            error NeverAnOracle(address account);
            error NotTheOracle(address expected, address signer);
            error BadAge(uint64 era);
            error DoNotMatch();
            error NotPassed();
            error AskedBefore();
            error NoQuestion();
            error NoBond();
            error BadTime(uint64 answerBy);
            error NoAnswer();
            error CanBeTrue();
        }

        /// A vote is none any more.
        #[derive(Debug, PartialEq, Eq)]
        event VoteVoided(
            address indexed oracle,
            bytes32 indexed nodeId,
            uint64 indexed era,
            bytes32 voteDigest,
            bytes32 evidence,
            address challenger
        );
    }
}

pub use contracts::{
    ChallengeReceipt, ChallengeRequest, DaemonBinding, Disputes, EraManager, EraRoot, Leaf, Node,
    NodeRegistry, OracleRegistry, Posted, RewardClaims, SlaSettlement, SlaVote, StateChange, Terms,
    VoteVoided,
};

/// The errors of these contracts that a call of a node can meet, and whether asking again can help.
#[must_use]
pub fn errors() -> Vec<KnownError> {
    use contracts::{NodeRegistry as R, RewardClaims as C, SlaSettlement as S};
    vec![
        KnownError::of::<R::AlreadyRegistered>(Terminal),
        // The registration may be on its way.
        KnownError::of::<R::UnknownNode>(Retryable),
        KnownError::of::<R::NotTheHp>(Terminal),
        KnownError::of::<R::OtherHp>(Terminal),
        KnownError::of::<R::Expired>(Terminal),
        KnownError::of::<R::NotTheDaemon>(Terminal),
        KnownError::of::<R::BadHpSignature>(Terminal),
        KnownError::of::<R::DaemonTaken>(Terminal),
        KnownError::of::<R::Leaving>(Terminal),
        // The root may come back, or be final later; the pool may be filled; a pause ends.
        KnownError::of::<S::UnknownRoot>(Retryable),
        KnownError::of::<S::NotFinal>(Retryable),
        KnownError::of::<S::RewardsExhausted>(Retryable),
        KnownError::of::<C::EnforcedPause>(Retryable),
        KnownError::of::<C::NotInRoot>(Terminal),
    ]
}

/// The errors that the post of a root can meet, and whether asking again can help.
#[must_use]
pub fn post_errors() -> Vec<KnownError> {
    use contracts::{OracleRegistry as O, RewardClaims as C, SlaSettlement as S};
    vec![
        KnownError::of::<S::NotContiguous>(Terminal),
        KnownError::of::<S::EmptyRange>(Terminal),
        KnownError::of::<S::OtherPrevious>(Terminal),
        KnownError::of::<S::OtherConfig>(Terminal),
        KnownError::of::<S::WasCancelled>(Terminal),
        KnownError::of::<O::BadSignatureCount>(Terminal),
        KnownError::of::<O::NotAnOracle>(Terminal),
        KnownError::of::<O::Jailed>(Terminal),
        KnownError::of::<O::NoSet>(Terminal),
        // The era ends; the pool is filled; windows and pauses end.
        KnownError::of::<S::EraNotOver>(Retryable),
        KnownError::of::<S::PoolTooSmall>(Retryable),
        KnownError::of::<S::TooManyPending>(Retryable),
        KnownError::of::<C::EnforcedPause>(Retryable),
    ]
}

/// The errors that a change of a node's state can meet beside those of [`post_errors`], and whether asking again can help.
#[must_use]
pub fn state_errors() -> Vec<KnownError> {
    use contracts::NodeRegistry as R;
    vec![
        // Another change was made first, or the era that signed it is over: it is signed anew.
        KnownError::of::<R::StaleChange>(Terminal),
        KnownError::of::<R::BadEra>(Terminal),
        KnownError::of::<R::BadTransition>(Terminal),
        KnownError::of::<R::UnknownNode>(Terminal),
    ]
}

#[cfg(test)]
mod tests {
    use alloy::sol_types::SolEvent;
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_event_is_in_the_contract_as_it_is() {
        let abi = include_str!("../../contracts/abi/Disputes.json");
        let abi: Vec<Value> = serde_json::from_str(abi).expect("JSON");
        let event = abi.iter().find(|entry| entry["name"] == "VoteVoided").expect("an event");
        let inputs = event["inputs"].as_array().expect("its inputs");
        let of = |field: &str| -> Vec<String> {
            inputs.iter().map(|input| input[field].to_string().replace('"', "")).collect()
        };
        assert_eq!(VoteVoided::SIGNATURE, format!("VoteVoided({})", of("type").join(",")));
        assert_eq!(of("indexed"), ["true", "true", "true", "false", "false", "false"]);
    }
}
