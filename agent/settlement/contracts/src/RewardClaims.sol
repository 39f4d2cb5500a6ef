// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {CollateralVault} from "./CollateralVault.sol";
import {Governed} from "./Governed.sol";
import {Messages} from "./Messages.sol";
import {NodeRegistry} from "./NodeRegistry.sol";
import {SlaSettlement} from "./SlaSettlement.sol";

/// @title What nodes earned becomes money of their HPs
/// @notice Leaves count from a node's beginning, so a claim pays what was not paid yet: one that was missed rolls
/// forward, and one that is made twice pays nothing. Holds no tokens.
contract RewardClaims is Governed, ReentrancyGuardTransient {
    using Messages for Messages.Leaf;
    using SafeCast for uint256;

    /// @notice What was done for a node, in the token's smallest unit. One storage slot.
    struct Done {
        /// Rewards paid.
        uint96 reward;
        /// Penalties taken from collateral.
        uint96 penalty;
    }

    /// @notice Where roots are, and the pool.
    SlaSettlement public immutable settlement;

    /// @notice Whose nodes are.
    NodeRegistry public immutable registry;

    /// @notice Where collateral is.
    CollateralVault public immutable vault;

    /// @notice Penalties taken from all nodes, in the token's smallest unit.
    uint256 public penaltiesTaken;

    /// @notice What was done for each node.
    mapping(bytes32 nodeId => Done) public done;

    /// @notice A node's HP was paid. `cumulative` is all that it was paid so far.
    event Claimed(
        bytes32 indexed nodeId, address indexed hp, uint256 indexed rootId, uint256 amount, uint256 cumulative
    );
    /// @notice A node's collateral was charged. `cumulative` is all that was taken so far.
    event PenaltyTaken(
        bytes32 indexed nodeId, uint256 indexed rootId, uint256 amount, uint256 cumulative, bytes32 votesHash
    );

    /// @notice The leaf is not in the root.
    error NotInRoot(uint256 rootId, bytes32 leaf);
    /// @notice There is no such node.
    error UnknownNode(bytes32 nodeId);

    constructor(address admin, SlaSettlement settlement_, NodeRegistry registry_, CollateralVault vault_)
        Governed(admin)
    {
        if (address(settlement_) == address(0) || address(registry_) == address(0) || address(vault_) == address(0)) {
            revert NobodyGiven();
        }
        settlement = settlement_;
        registry = registry_;
        vault = vault_;
    }

    /// @notice Pays the node's HP what it earned up to a final root and was not paid yet, unless its rewards are held;
    /// takes from its collateral what it forfeited, if it came to that. Open to anyone; where there is nothing to
    /// do, nothing is done.
    /// @return amount What was paid, in the token's smallest unit.
    /// @return taken What was taken from collateral, in the token's smallest unit.
    function claim(uint256 rootId, Messages.Leaf calldata leaf, bytes32[] calldata proof)
        external
        nonReentrant
        whenNotPaused
        returns (uint256 amount, uint256 taken)
    {
        (bytes32 root, uint256 penaltyLimit) = settlement.useRoot(rootId);
        bytes32 hash = leaf.leaf();
        if (!MerkleProof.verifyCalldata(proof, root, hash)) revert NotInRoot(rootId, hash);
        (address hp, bool pays, bool forfeits) = registry.standing(leaf.nodeId);
        if (hp == address(0)) revert UnknownNode(leaf.nodeId);
        if (forfeits) taken = _forfeit(rootId, leaf, penaltyLimit);
        if (pays) amount = _pay(rootId, leaf, hp);
    }

    function _pay(uint256 rootId, Messages.Leaf calldata leaf, address hp) private returns (uint256 amount) {
        Done storage of_ = done[leaf.nodeId];
        if (leaf.cumulativeReward <= of_.reward) return 0;
        amount = leaf.cumulativeReward - of_.reward;
        of_.reward = leaf.cumulativeReward.toUint96();
        emit Claimed(leaf.nodeId, hp, rootId, amount, leaf.cumulativeReward);
        settlement.pay(leaf.nodeId, hp, amount);
    }

    function _forfeit(uint256 rootId, Messages.Leaf calldata leaf, uint256 limit) private returns (uint256 taken) {
        Done storage of_ = done[leaf.nodeId];
        if (leaf.cumulativePenalty <= of_.penalty) return 0;
        uint256 wanted = leaf.cumulativePenalty - of_.penalty;
        uint256 left = limit - penaltiesTaken;
        if (wanted > left) wanted = left;
        if (wanted == 0) return 0;
        taken = vault.slash(leaf.nodeId, wanted, leaf.votesHash);
        if (taken == 0) return 0;
        of_.penalty += taken.toUint96();
        penaltiesTaken += taken;
        emit PenaltyTaken(leaf.nodeId, rootId, taken, of_.penalty, leaf.votesHash);
    }
}
