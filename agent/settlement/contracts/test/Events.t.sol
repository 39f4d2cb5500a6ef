// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {vm} from "../script/Cheats.sol";
import {CollateralVault} from "../src/CollateralVault.sol";
import {Messages} from "../src/Messages.sol";
import {NodeRegistry} from "../src/NodeRegistry.sol";
import {RewardClaims} from "../src/RewardClaims.sol";
import {SlaSettlement} from "../src/SlaSettlement.sol";
import {Fixture} from "./Fixture.sol";

/// @notice What nodes, oracles and explorers follow: the events of a node's life, with what they say.
contract EventsTest is Fixture {
    using Messages for *;

    function test_a_nodes_life_can_be_followed() public {
        bytes32 nodeId = net.registry.nodeIdOf(HP, LABEL);
        vm.expectEmit(address(net.registry));
        emit NodeRegistry.NodeRegistered(nodeId, HP, LABEL);
        vm.prank(HP);
        net.registry.register(LABEL);

        (Messages.DaemonBinding memory binding, bytes memory signature) = _binding(nodeId, HP, DAEMON_KEY);
        vm.expectEmit(address(net.registry));
        emit NodeRegistry.DaemonBound(nodeId, vm.addr(DAEMON_KEY), 2, bytes32(uint256(1)), bytes32(uint256(2)));
        vm.prank(HP);
        net.registry.bind(binding, signature);

        icnt.mint(HP, 1000 ether);
        vm.prank(HP);
        icnt.approve(address(net.vault), 1000 ether);
        vm.expectEmit(address(net.vault));
        emit CollateralVault.Deposited(nodeId, HP, 1000 ether);
        vm.prank(HP);
        net.vault.deposit(nodeId, 1000 ether);

        vm.expectEmit(address(net.registry));
        emit NodeRegistry.StateChanged(
            nodeId, NodeRegistry.State.Healthy, NodeRegistry.State.Warned, 0, keccak256("evidence")
        );
        (Messages.StateChange memory change, bytes[] memory signatures) =
            _signedChange(nodeId, NodeRegistry.State.Warned);
        net.registry.changeState(change, signatures);

        vm.expectEmit(address(net.registry));
        emit NodeRegistry.DaemonRevoked(nodeId, vm.addr(DAEMON_KEY), 2);
        vm.prank(HP);
        net.registry.revoke(nodeId);

        vm.expectEmit(address(net.registry));
        emit NodeRegistry.ExitRequested(nodeId, block.timestamp + EXIT_DELAY);
        vm.prank(HP);
        net.registry.requestExit(nodeId);
        vm.warp(block.timestamp + EXIT_DELAY);
        vm.expectEmit(address(net.vault));
        emit CollateralVault.Withdrawn(nodeId, HP, 1000 ether);
        vm.prank(HP);
        net.vault.withdraw(nodeId);
    }

    function test_what_a_root_did_can_be_followed() public {
        bytes32 nodeId = _node(HP, LABEL, DAEMON_KEY, 1000 ether);
        _slashing(nodeId);
        Messages.Leaf memory leaf = _leaf(nodeId, 0, 7 ether, 2 ether);
        Messages.EraRoot memory root = _next(leaf.leaf(), 7 ether, 2 ether);
        bytes[] memory signatures = _quorum(root.hash(), 3);
        bytes32 digest = _digest(root.hash());
        vm.warp(net.eras.endOf(0));
        vm.expectEmit(address(net.settlement));
        emit SlaSettlement.RootPosted(0, digest, root, block.timestamp + WINDOW);
        net.settlement.post(root, signatures);
        _ripen();

        uint64 era = net.eras.currentEra();
        vm.expectEmit(address(net.vault));
        emit CollateralVault.Slashed(nodeId, era, 2 ether, 2 ether, leaf.votesHash);
        vm.expectEmit(address(net.claims));
        emit RewardClaims.PenaltyTaken(nodeId, 0, 2 ether, 2 ether, leaf.votesHash);
        _claim(0, leaf);
        _change(nodeId, NodeRegistry.State.Healthy);
        vm.expectEmit(address(net.claims));
        emit RewardClaims.Claimed(nodeId, HP, 0, 7 ether, 7 ether);
        vm.expectEmit(address(net.settlement));
        emit SlaSettlement.Paid(nodeId, HP, 7 ether);
        _claim(0, leaf);

        root = _next(leaf.leaf(), 1 ether, 0);
        _post(root);
        digest = _digest(root.hash());
        vm.expectEmit(address(net.settlement));
        emit SlaSettlement.RootCancelled(1, 1, digest, address(this), "why");
        net.settlement.cancel(1, root, "why");
    }
}
