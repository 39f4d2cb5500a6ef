// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";

/// @notice The tree of an `EraRoot`: pairs are hashed in ascending order, what has no neighbour goes up as it is.
library Tree {
    /// @dev Hashes a level in its own memory; returns how long the next one is.
    function _up(bytes32[] memory level, uint256 length) private pure returns (uint256) {
        for (uint256 i; i < length; i += 2) {
            level[i / 2] = i + 1 < length ? Hashes.commutativeKeccak256(level[i], level[i + 1]) : level[i];
        }
        return (length + 1) / 2;
    }

    function _copy(bytes32[] memory of_) private pure returns (bytes32[] memory copy) {
        copy = new bytes32[](of_.length);
        for (uint256 i; i < of_.length; ++i) {
            copy[i] = of_[i];
        }
    }

    function rootOf(bytes32[] memory leaves) internal pure returns (bytes32) {
        bytes32[] memory level = _copy(leaves);
        for (uint256 length = level.length; length > 1;) {
            length = _up(level, length);
        }
        return level[0];
    }

    function proofOf(bytes32[] memory leaves, uint256 index) internal pure returns (bytes32[] memory proof) {
        bytes32[] memory level = _copy(leaves);
        bytes32[] memory found = new bytes32[](64);
        uint256 count;
        for (uint256 length = level.length; length > 1;) {
            uint256 beside = index ^ 1;
            if (beside < length) found[count++] = level[beside];
            length = _up(level, length);
            index /= 2;
        }
        proof = new bytes32[](count);
        for (uint256 i; i < count; ++i) {
            proof[i] = found[i];
        }
    }
}
