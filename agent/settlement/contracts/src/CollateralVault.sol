// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {EraManager} from "./EraManager.sol";
import {Forfeits} from "./Forfeits.sol";
import {NodeRegistry} from "./NodeRegistry.sol";

/// @title What HPs stake for their nodes
/// @notice Goes in and out by the HP's account only. What is forfeited has a cap for each era and one over all.
contract CollateralVault is Forfeits {
    using SafeCast for uint256;

    /// @notice A node's collateral, in the token's smallest unit. Two storage slots.
    struct Collateral {
        /// What is there.
        uint96 balance;
        /// What was forfeited in `era`.
        uint96 eraSlashed;
        /// The era in which something was forfeited last.
        uint64 era;
        /// What was ever put in.
        uint96 deposited;
        /// What was ever forfeited.
        uint96 slashed;
    }

    /// @notice Whose nodes are.
    NodeRegistry public immutable registry;

    /// @notice When eras begin and end.
    EraManager public immutable eras;

    /// @notice The most that one era may cost a node, of what it had when the era began, in ten-thousandths.
    uint256 public immutable eraCapBps;

    /// @notice The most that a node may ever lose, of what was ever put in, in ten-thousandths.
    uint256 public immutable totalCapBps;

    /// @notice Collateral by node.
    mapping(bytes32 nodeId => Collateral) public collateral;

    /// @notice An HP put collateral in.
    event Deposited(bytes32 indexed nodeId, address indexed hp, uint256 amount);
    /// @notice An HP took what was left.
    event Withdrawn(bytes32 indexed nodeId, address indexed hp, uint256 amount);
    /// @notice A node forfeited collateral: `wanted` was asked for, the caps allowed `taken`.
    event Slashed(bytes32 indexed nodeId, uint64 indexed era, uint256 wanted, uint256 taken, bytes32 evidence);

    /// @notice Only the node's HP may.
    error NotTheHp(bytes32 nodeId, address sender);
    /// @notice The node is on its way out, or gone.
    error Leaving(bytes32 nodeId);
    /// @notice An exit was not requested, or its delay is not over; 0 for not requested.
    error NotYet(uint256 exitAt);
    /// @notice A cap above everything, or none at all.
    error BadCap(uint256 bps);

    constructor(
        address admin,
        IERC20 token_,
        NodeRegistry registry_,
        EraManager eras_,
        address treasury_,
        uint256 eraCapBps_,
        uint256 totalCapBps_
    ) Forfeits(admin, token_, treasury_) {
        if (address(registry_) == address(0) || address(eras_) == address(0)) revert NobodyGiven();
        if (eraCapBps_ == 0 || eraCapBps_ > BPS) revert BadCap(eraCapBps_);
        if (totalCapBps_ == 0 || totalCapBps_ > BPS) revert BadCap(totalCapBps_);
        registry = registry_;
        eras = eras_;
        eraCapBps = eraCapBps_;
        totalCapBps = totalCapBps_;
    }

    /// @notice Puts collateral in for a node of the sender.
    function deposit(bytes32 nodeId, uint256 amount) external nonReentrant whenNotPaused {
        NodeRegistry.Node memory node = _ofSender(nodeId);
        if (node.exitAt != 0 || node.state == NodeRegistry.State.Offboarded) revert Leaving(nodeId);
        Collateral storage of_ = collateral[nodeId];
        of_.balance += amount.toUint96();
        of_.deposited += uint96(amount);
        emit Deposited(nodeId, msg.sender, amount);
        _take(msg.sender, amount);
    }

    /// @notice Sends the HP all that is left, when the delay of its exit is over.
    function withdraw(bytes32 nodeId) external nonReentrant whenNotPaused {
        NodeRegistry.Node memory node = _ofSender(nodeId);
        if (node.exitAt == 0 || block.timestamp < node.exitAt) revert NotYet(node.exitAt);
        uint256 amount = collateral[nodeId].balance;
        if (amount == 0) revert NothingToMove();
        collateral[nodeId].balance = 0;
        emit Withdrawn(nodeId, node.hp, amount);
        _give(node.hp, amount);
    }

    /// @notice Takes as much of `wanted` as there is and the caps allow.
    /// @return taken What was taken, in the token's smallest unit.
    function slash(bytes32 nodeId, uint256 wanted, bytes32 evidence)
        external
        nonReentrant
        whenNotPaused
        onlyRole(SLASHER_ROLE)
        returns (uint256 taken)
    {
        Collateral storage of_ = collateral[nodeId];
        uint64 era = eras.currentEra();
        taken = _allowed(of_, era);
        if (taken > wanted) taken = wanted;
        if (taken == 0) return 0;
        of_.eraSlashed = uint96(taken) + (of_.era == era ? of_.eraSlashed : 0);
        of_.era = era;
        of_.balance -= uint96(taken);
        of_.slashed += uint96(taken);
        treasuryDue += uint96(taken);
        emit Slashed(nodeId, era, wanted, taken, evidence);
    }

    /// @notice What could be taken from a node now, in the token's smallest unit.
    function slashable(bytes32 nodeId) external view returns (uint256) {
        return _allowed(collateral[nodeId], eras.currentEra());
    }

    function _allowed(Collateral storage of_, uint64 era) private view returns (uint256) {
        uint256 balance = of_.balance;
        uint256 eraSlashed = of_.era == era ? of_.eraSlashed : 0;
        uint256 ofEra = _left((balance + eraSlashed) * eraCapBps / BPS, eraSlashed);
        uint256 ofAll = _left(of_.deposited * totalCapBps / BPS, of_.slashed);
        uint256 least = ofEra < ofAll ? ofEra : ofAll;
        return least < balance ? least : balance;
    }

    function _left(uint256 cap, uint256 used) private pure returns (uint256) {
        return used < cap ? cap - used : 0;
    }

    function _ofSender(bytes32 nodeId) private view returns (NodeRegistry.Node memory node) {
        node = registry.nodeOf(nodeId);
        if (node.hp != msg.sender) revert NotTheHp(nodeId, msg.sender);
    }
}
