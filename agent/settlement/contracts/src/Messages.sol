// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What is signed, by EIP-712
/// @notice The names and fields are part of what is signed and never change; a new meaning gets a new name.
/// `ChallengeRequest`, `ChallengeReceipt` and `SlaVote` are those of `agent/sla`, which hashes them the same.
library Messages {
    /// @notice `result` of a receipt: everything that was asked for was proven.
    uint8 internal constant PASSED = 1;

    /// @notice A node's key, as its HP wants it. Signed by the daemon key, and sent or signed by the HP account.
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

    /// @notice A node asks to be challenged, and commits to what it stores.
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

    /// @notice What an oracle found in a challenge.
    struct ChallengeReceipt {
        /// The EIP-712 digest of the request.
        bytes32 requestHash;
        bytes32 beacon;
        /// 1 passed, 2 failed.
        uint8 result;
        uint64 latencyUs;
        uint64 bytesPerSecond;
        /// Milliseconds since 1970.
        uint64 oracleTime;
    }

    /// @notice What an oracle makes of a node's era.
    struct SlaVote {
        address oracleId;
        bytes32 nodeId;
        uint64 era;
        uint32 issued;
        uint32 passed;
        uint64 medianLatencyUs;
        uint64 medianBytesPerSecond;
        uint64 provenBytes;
        /// Keccak-256 of the digests of the era's receipts, one after the other in the order of their times.
        bytes32 receiptsRoot;
        bytes32 configDigest;
    }

    /// @notice What all nodes have earned up to an era. Signed by a quorum of the oracles of `toEra`.
    struct EraRoot {
        uint64 fromEra;
        uint64 toEra;
        /// EIP-712 digest of the root before; zero for the first. What was computed on top of a root that was
        /// cancelled can thereby never be posted.
        bytes32 previous;
        /// Root of the tree of all nodes, see `leaf`.
        bytes32 root;
        /// Root of the tree of all votes that it was computed from.
        bytes32 votesRoot;
        /// What all nodes together earned in these eras, in the token's smallest unit.
        uint256 totalReward;
        /// What all nodes together forfeited in these eras, in the token's smallest unit.
        uint256 totalPenalty;
        bytes32 configDigest;
    }

    /// @notice A node goes from one state to another. Signed by a quorum of the oracles of `era`.
    struct StateChange {
        bytes32 nodeId;
        /// Counts a node's changes from 1: a change is made once.
        uint64 sequence;
        uint8 from;
        uint8 to;
        uint64 era;
        bytes32 evidenceHash;
        bytes32 configDigest;
    }

    /// @notice A node in the tree of an `EraRoot`. Amounts count from the node's beginning.
    struct Leaf {
        bytes32 nodeId;
        uint64 toEra;
        uint256 cumulativeReward;
        uint256 cumulativePenalty;
        /// Keccak-256 of the digests of the votes on the node, in the order of era, then oracle.
        bytes32 votesHash;
    }

    bytes32 internal constant DAEMON_BINDING_TYPEHASH = keccak256(
        "DaemonBinding(bytes32 nodeId,address hpAccount,address daemonAddress,bytes32 attestationKeyHash,bytes32 hardwareReportHash,uint256 deadline)"
    );
    bytes32 internal constant CHALLENGE_REQUEST_TYPEHASH = keccak256(
        "ChallengeRequest(bytes32 nodeId,address oracleId,uint64 era,bytes32 nonce,bytes32 dataRoot,uint64 objects,uint64 totalBytes,bytes32 configDigest)"
    );
    bytes32 internal constant CHALLENGE_RECEIPT_TYPEHASH = keccak256(
        "ChallengeReceipt(bytes32 requestHash,bytes32 beacon,uint8 result,uint64 latencyUs,uint64 bytesPerSecond,uint64 oracleTime)"
    );
    bytes32 internal constant SLA_VOTE_TYPEHASH = keccak256(
        "SlaVote(address oracleId,bytes32 nodeId,uint64 era,uint32 issued,uint32 passed,uint64 medianLatencyUs,uint64 medianBytesPerSecond,uint64 provenBytes,bytes32 receiptsRoot,bytes32 configDigest)"
    );
    bytes32 internal constant ERA_ROOT_TYPEHASH = keccak256(
        "EraRoot(uint64 fromEra,uint64 toEra,bytes32 previous,bytes32 root,bytes32 votesRoot,uint256 totalReward,uint256 totalPenalty,bytes32 configDigest)"
    );
    bytes32 internal constant STATE_CHANGE_TYPEHASH = keccak256(
        "StateChange(bytes32 nodeId,uint64 sequence,uint8 from,uint8 to,uint64 era,bytes32 evidenceHash,bytes32 configDigest)"
    );

    /// @notice EIP-712 `hashStruct` of a binding.
    function hash(DaemonBinding memory m) internal pure returns (bytes32) {
        return keccak256(abi.encode(DAEMON_BINDING_TYPEHASH, m));
    }

    /// @notice EIP-712 `hashStruct` of a request.
    function hash(ChallengeRequest memory m) internal pure returns (bytes32) {
        return keccak256(abi.encode(CHALLENGE_REQUEST_TYPEHASH, m));
    }

    /// @notice EIP-712 `hashStruct` of a receipt.
    function hash(ChallengeReceipt memory m) internal pure returns (bytes32) {
        return keccak256(abi.encode(CHALLENGE_RECEIPT_TYPEHASH, m));
    }

    /// @notice EIP-712 `hashStruct` of a vote.
    function hash(SlaVote memory m) internal pure returns (bytes32) {
        return keccak256(abi.encode(SLA_VOTE_TYPEHASH, m));
    }

    /// @notice EIP-712 `hashStruct` of a root.
    function hash(EraRoot memory m) internal pure returns (bytes32) {
        return keccak256(abi.encode(ERA_ROOT_TYPEHASH, m));
    }

    /// @notice EIP-712 `hashStruct` of a change of state.
    function hash(StateChange memory m) internal pure returns (bytes32) {
        return keccak256(abi.encode(STATE_CHANGE_TYPEHASH, m));
    }

    /// @notice A node's leaf: hashed twice, so that no inner node of the tree can pass for one.
    function leaf(Leaf memory m) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(m))));
    }
}
