//! Our contracts (`contracts/src`): what of them the node calls and reads, and which of their errors are for good.

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
        /// A node's key, as its HP wants it.
        #[derive(Debug, PartialEq, Eq)]
        struct DaemonBinding {
            bytes32 nodeId;
            address hpAccount;
            address daemonAddress;
            bytes32 attestationKeyHash;
            bytes32 hardwareReportHash;
            uint256 deadline;
        }

        /// A node in the tree of a root. Amounts count from the node's beginning, in the token's smallest unit.
        #[derive(Debug, PartialEq, Eq)]
        struct Leaf {
            bytes32 nodeId;
            uint64 toEra;
            uint256 cumulativeReward;
            uint256 cumulativePenalty;
            bytes32 votesHash;
        }

        /// What all nodes have earned up to an era.
        #[derive(Debug, PartialEq, Eq)]
        struct EraRoot {
            uint64 fromEra;
            uint64 toEra;
            bytes32 previous;
            bytes32 root;
            bytes32 votesRoot;
            uint256 totalReward;
            uint256 totalPenalty;
            bytes32 configDigest;
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
    }
}

pub use contracts::{
    DaemonBinding, EraManager, EraRoot, Leaf, Node, NodeRegistry, OracleRegistry, Posted,
    RewardClaims, SlaSettlement, StateChange,
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
