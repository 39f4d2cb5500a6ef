// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {vm} from "../script/Cheats.sol";
import {Messages} from "../src/Messages.sol";
import {NodeRegistry} from "../src/NodeRegistry.sol";
import {Fixture} from "./Fixture.sol";
import {Tree} from "./Tree.sol";

/// @notice What each call costs as a transaction of its own, kept in `snapshots/Gas.json`: a test fails where it
/// changed, and `cargo xtask contracts --update` writes what is so now.
/// forge-config: default.isolate = true
contract GasTest is Fixture {
    using Messages for *;

    /// @dev As many nodes as one root settles.
    uint256 private constant NODES = 100_000;

    function test_register_bind_deposit_exit_withdraw() public {
        vm.prank(HP);
        bytes32 nodeId = net.registry.register(LABEL);
        vm.snapshotGasLastCall("Gas", "NodeRegistry.register");
        (Messages.DaemonBinding memory binding, bytes memory signature) = _binding(nodeId, HP, DAEMON_KEY);
        vm.prank(HP);
        net.registry.bind(binding, signature);
        vm.snapshotGasLastCall("Gas", "NodeRegistry.bind, first key");
        vm.warp(net.eras.startOf(5));
        (binding, signature) = _binding(nodeId, HP, 0xDAF);
        vm.prank(HP);
        net.registry.bind(binding, signature);
        vm.snapshotGasLastCall("Gas", "NodeRegistry.bind, another key");
        vm.warp(net.eras.startOf(6));
        vm.prank(HP);
        net.registry.revoke(nodeId);
        vm.snapshotGasLastCall("Gas", "NodeRegistry.revoke");
        icnt.mint(HP, 2 ether);
        vm.prank(HP);
        icnt.approve(address(net.vault), 2 ether);
        vm.prank(HP);
        net.vault.deposit(nodeId, 1 ether);
        vm.snapshotGasLastCall("Gas", "CollateralVault.deposit");
        vm.prank(HP);
        net.registry.requestExit(nodeId);
        vm.snapshotGasLastCall("Gas", "NodeRegistry.requestExit");
        vm.warp(block.timestamp + EXIT_DELAY);
        vm.prank(HP);
        net.vault.withdraw(nodeId);
        vm.snapshotGasLastCall("Gas", "CollateralVault.withdraw");
    }

    function test_change_of_state() public {
        bytes32 nodeId = _node(HP, LABEL, DAEMON_KEY, 0);
        (Messages.StateChange memory change, bytes[] memory signatures) =
            _signedChange(nodeId, NodeRegistry.State.Warned);
        net.registry.changeState(change, signatures);
        vm.snapshotGasLastCall("Gas", "NodeRegistry.changeState, 3 of 4 oracles");
    }

    function test_a_root_of_100_000_nodes() public {
        bytes32 nodeId = _node(HP, LABEL, DAEMON_KEY, 1000 ether);
        bytes32[] memory hashes = new bytes32[](NODES);
        for (uint256 i; i < NODES; ++i) {
            hashes[i] = keccak256(abi.encode(i));
        }
        Messages.Leaf memory leaf = _leaf(nodeId, 0, 7 ether, 1 ether);
        // In the middle, where the way to the root is longest.
        hashes[NODES / 2] = leaf.leaf();
        bytes32[] memory proof = Tree.proofOf(hashes, NODES / 2);
        _true(proof.length == 17 && 32 * proof.length <= 1024, "a proof is 1 KiB at most");
        _post(_next(keccak256("first"), 1, 0));
        Messages.EraRoot memory root = _next(Tree.rootOf(hashes), 8 ether, 1 ether);
        uint256 id = _post(root);
        vm.snapshotGasLastCall("Gas", "SlaSettlement.post, 3 of 4 oracles");
        _ripen();
        net.claims.claim(id, leaf, proof);
        vm.snapshotGasLastCall("Gas", "RewardClaims.claim, a node's first");
        net.claims.claim(id, leaf, proof);
        vm.snapshotGasLastCall("Gas", "RewardClaims.claim, a replay");
        _slashing(nodeId);
        net.claims.claim(id, leaf, proof);
        vm.snapshotGasLastCall("Gas", "RewardClaims.claim, a node's first penalty");
    }

    function test_claims_cost_the_same_however_many_eras_there_were() public {
        bytes32 nodeId = _node(HP, LABEL, DAEMON_KEY, 0);
        uint256[3] memory cost;
        uint64 era;
        for (uint256 round; round < 3; ++round) {
            // The third time, 24 roots became final since; the first only makes what later ones change.
            for (uint256 i; i < (round == 2 ? 24 : 1); ++i) {
                _postOne(_leaf(nodeId, era, 1 ether * (uint256(era) + 1), 0), 1 ether, 0);
                ++era;
            }
            _ripen();
            _claim(era - 1, _leaf(nodeId, era - 1, 1 ether * uint256(era), 0));
            string memory name =
                string.concat("RewardClaims.claim, alone in root ", round == 0 ? "1" : round == 1 ? "2" : "26");
            cost[round] = vm.snapshotGasLastCall("Gas", name);
        }
        _true(cost[2] <= cost[1] + 100, "the same but for the bytes of the numbers");
    }

    function test_disputes() public {
        vm.warp(net.eras.startOf(6));
        (uint256 key, address oracle) = (oracleKeys[0], vm.addr(oracleKeys[0]));
        bytes32 config = net.oracles.configDigest(5);
        Messages.ChallengeRequest memory request = Messages.ChallengeRequest(LABEL, oracle, 5, 0, 0, 1, 1, config);
        Messages.ChallengeReceipt memory receipt =
            Messages.ChallengeReceipt(_digest(request.hash()), 0, Messages.PASSED, 1, 1, 1);
        bytes32 receiptDigest = _digest(receipt.hash());
        Messages.SlaVote memory vote =
            Messages.SlaVote(oracle, LABEL, 5, 1, 1, 1, 1, 1, keccak256(abi.encodePacked(receiptDigest)), config);
        bytes32 voteDigest = _digest(vote.hash());
        (bytes memory a, bytes memory b) = (_sign(key, vote.hash()), _sign(key, receipt.hash()));
        icnt.mint(address(this), 2 * DISPUTE_BOND);
        icnt.approve(address(net.disputes), 2 * DISPUTE_BOND);
        net.disputes.showReceipt(vote, a, request, receipt, b);
        vm.snapshotGasLastCall("Gas", "Disputes.showReceipt, asked");
        bytes32[] memory shown = new bytes32[](1);
        shown[0] = receiptDigest;
        net.disputes.answer(voteDigest, receiptDigest, shown);
        vm.snapshotGasLastCall("Gas", "Disputes.answer");
        vote.passed = 0;
        bytes memory c = _sign(key, vote.hash());
        net.disputes.showReceipt(vote, c, request, receipt, b);
        vm.snapshotGasLastCall("Gas", "Disputes.showReceipt, decided at once");
        Messages.SlaVote memory first = vote;
        bytes memory d = _sign(key, first.hash());
        vote = abi.decode(abi.encode(vote), (Messages.SlaVote));
        vote.issued = 2;
        bytes memory e = _sign(key, vote.hash());
        net.disputes.showEquivocation(first, d, vote, e);
        vm.snapshotGasLastCall("Gas", "Disputes.showEquivocation");
        Messages.Leaf memory leaf = _leaf(LABEL, 99, 1, 0);
        // The first oracle equivocated: the others sign.
        for (uint256 i; i < 3; ++i) {
            oracleKeys[i] = oracleKeys[i + 1];
        }
        (uint256 id, Messages.EraRoot memory root) = _postOne(leaf, 1, 0);
        net.disputes.refuteEra(id, root, leaf, new bytes32[](0));
        vm.snapshotGasLastCall("Gas", "Disputes.refuteEra");
        (id, root) = _postOne(_leaf(LABEL, 0, 1, 0), 1, 0);
        net.settlement.cancel(id, root, 0);
        vm.snapshotGasLastCall("Gas", "SlaSettlement.cancel");
    }
}
