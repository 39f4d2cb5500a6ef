// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {vm} from "../script/Cheats.sol";
import {Messages} from "../src/Messages.sol";
import {NodeRegistry} from "../src/NodeRegistry.sol";
import {OracleRegistry} from "../src/OracleRegistry.sol";
import {RewardClaims} from "../src/RewardClaims.sol";
import {SlaSettlement} from "../src/SlaSettlement.sol";
import {Fixture} from "./Fixture.sol";
import {Tree} from "./Tree.sol";

contract RewardClaimsTest is Fixture {
    using Messages for *;

    uint256 private constant AMOUNT = 1000 ether;

    bytes32 private _id;

    function setUp() public override {
        super.setUp();
        _id = _node(HP, LABEL, DAEMON_KEY, AMOUNT);
    }

    function test_anyone_claims_and_the_hp_is_paid() public {
        Messages.Leaf memory leaf = _leaf(_id, 0, 7 ether, 0);
        (uint256 id,) = _postOne(leaf, 7 ether, 0);
        vm.expectPartialRevert(SlaSettlement.NotFinal.selector);
        net.claims.claim(id, leaf, new bytes32[](0));
        _ripen();
        (uint256 amount, uint256 taken) = _claim(id, leaf);
        _eq(amount, 7 ether);
        _eq(taken, 0);
        _eq(icnt.balanceOf(HP), 7 ether);
        _eq(icnt.balanceOf(ANYONE), 0);
        _eq(net.settlement.paid(), 7 ether);
        _eq(net.settlement.pool(), FUND - 7 ether);
    }

    function test_a_replay_pays_nothing_and_a_missed_claim_rolls_forward() public {
        Messages.Leaf memory first = _leaf(_id, 0, 7 ether, 0);
        (uint256 firstId,) = _postOne(first, 7 ether, 0);
        Messages.Leaf memory second = _leaf(_id, 1, 12 ether, 0);
        (uint256 secondId,) = _postOne(second, 5 ether, 0);
        _ripen();
        (uint256 amount,) = _claim(secondId, second);
        _eq(amount, 12 ether);
        (amount,) = _claim(secondId, second);
        _eq(amount, 0);
        (amount,) = _claim(firstId, first);
        _eq(amount, 0);
        _eq(icnt.balanceOf(HP), 12 ether);
    }

    function test_what_is_not_in_the_root_is_not_paid() public {
        Messages.Leaf memory leaf = _leaf(_id, 0, 7 ether, 0);
        (uint256 id,) = _postOne(leaf, 7 ether, 0);
        _ripen();
        leaf.cumulativeReward = 8 ether;
        vm.expectPartialRevert(RewardClaims.NotInRoot.selector);
        net.claims.claim(id, leaf, new bytes32[](0));
        vm.expectPartialRevert(SlaSettlement.UnknownRoot.selector);
        net.claims.claim(id + 1, leaf, new bytes32[](0));
        leaf = _leaf(bytes32(uint256(5)), 1, 1, 0);
        (id,) = _postOne(leaf, 1, 0);
        _ripen();
        vm.expectPartialRevert(RewardClaims.UnknownNode.selector);
        net.claims.claim(id, leaf, new bytes32[](0));
    }

    function test_an_inner_node_of_the_tree_is_no_leaf() public {
        Messages.Leaf[] memory leaves = new Messages.Leaf[](2);
        leaves[0] = _leaf(_id, 0, 7 ether, 0);
        leaves[1] = _leaf(bytes32(uint256(1)), 0, 1 ether, 0);
        bytes32[] memory hashes = _hashes(leaves);
        uint256 id = _post(_next(Tree.rootOf(hashes), 8 ether, 0));
        _ripen();
        bytes32[] memory proof = Tree.proofOf(hashes, 0);
        (uint256 amount,) = net.claims.claim(id, leaves[0], proof);
        _eq(amount, 7 ether);
        vm.expectPartialRevert(RewardClaims.NotInRoot.selector);
        net.claims.claim(id, leaves[0], new bytes32[](0));
    }

    function test_a_cancelled_root_pays_nobody() public {
        Messages.Leaf memory leaf = _leaf(_id, 0, 7 ether, 0);
        (uint256 id, Messages.EraRoot memory root) = _postOne(leaf, 7 ether, 0);
        net.settlement.cancel(id, root, 0);
        _ripen();
        vm.expectPartialRevert(SlaSettlement.UnknownRoot.selector);
        net.claims.claim(id, leaf, new bytes32[](0));
        _postOne(_leaf(_id, 0, 1 ether, 0), 1 ether, 0);
        _ripen();
        vm.expectPartialRevert(RewardClaims.NotInRoot.selector);
        net.claims.claim(id, leaf, new bytes32[](0));
        _eq(icnt.balanceOf(HP), 0);
    }

    function test_leaves_that_add_up_to_more_than_their_root_take_from_no_other() public {
        Messages.Leaf memory greedy = _leaf(_id, 0, 100 ether, 0);
        (uint256 id,) = _postOne(greedy, 1 ether, 0);
        _ripen();
        (uint256 later,) = _postOne(_leaf(_id, 1, 100 ether, 0), 50 ether, 0);
        vm.expectRevert(abi.encodeWithSelector(SlaSettlement.RewardsExhausted.selector, 100 ether, 1 ether));
        net.claims.claim(id, greedy, new bytes32[](0));
        _true(!net.settlement.isFinal(later), "what waits is not paid out either");
    }

    function test_held_rewards_are_paid_when_all_is_well_again() public {
        Messages.Leaf memory leaf = _leaf(_id, 0, 7 ether, 0);
        (uint256 id,) = _postOne(leaf, 7 ether, 0);
        _ripen();
        _change(_id, NodeRegistry.State.Warned);
        _change(_id, NodeRegistry.State.RewardsHeld);
        (uint256 amount,) = _claim(id, leaf);
        _eq(amount, 0);
        _change(_id, NodeRegistry.State.Healthy);
        (amount,) = _claim(id, leaf);
        _eq(amount, 7 ether);
    }

    function test_who_left_is_paid_what_was_held() public {
        Messages.Leaf memory leaf = _leaf(_id, 0, 7 ether, 0);
        (uint256 id,) = _postOne(leaf, 7 ether, 0);
        _slashing(_id);
        vm.prank(HP);
        net.registry.requestExit(_id);
        vm.warp(block.timestamp + EXIT_DELAY - 1);
        (uint256 amount,) = _claim(id, leaf);
        _eq(amount, 0);
        vm.warp(block.timestamp + 1);
        (amount,) = _claim(id, leaf);
        _eq(amount, 7 ether);
    }

    function test_penalties_are_taken_only_when_it_came_to_that_and_never_above_a_cap() public {
        Messages.Leaf memory leaf = _leaf(_id, 0, 0, 15 ether);
        (uint256 id,) = _postOne(leaf, 0, 15 ether);
        _ripen();
        uint256 taken;
        (, taken) = _claim(id, leaf);
        _eq(taken, 0);
        _slashing(_id);
        (, taken) = _claim(id, leaf);
        _eq(taken, 10 ether);
        (, taken) = _claim(id, leaf);
        _eq(taken, 0);
        vm.warp(block.timestamp + ERA);
        (, taken) = _claim(id, leaf);
        _eq(taken, 5 ether);
        vm.warp(block.timestamp + ERA);
        (, taken) = _claim(id, leaf);
        _eq(taken, 0);
        net.vault.collect();
        _eq(icnt.balanceOf(TREASURY), 15 ether);
    }

    function test_penalties_of_all_nodes_are_no_more_than_the_roots_say() public {
        Messages.Leaf memory leaf = _leaf(_id, 0, 0, 9 ether);
        (uint256 id,) = _postOne(leaf, 0, 4 ether);
        _ripen();
        _slashing(_id);
        (, uint256 taken) = _claim(id, leaf);
        _eq(taken, 4 ether);
        vm.warp(block.timestamp + ERA);
        (, taken) = _claim(id, leaf);
        _eq(taken, 0);
    }

    function test_paused_nothing_is_paid() public {
        Messages.Leaf memory leaf = _leaf(_id, 0, 7 ether, 0);
        (uint256 id,) = _postOne(leaf, 7 ether, 0);
        _ripen();
        net.claims.pause();
        vm.expectRevert(Pausable.EnforcedPause.selector);
        net.claims.claim(id, leaf, new bytes32[](0));
        vm.warp(block.timestamp + 7 days);
        (uint256 amount,) = _claim(id, leaf);
        _eq(amount, 7 ether);
    }

    /// @dev Any tree, any leaf of it: its own proof pays its own amount, another's proof nothing.
    function testFuzz_each_leaf_is_paid_its_own(uint8 size, uint8 pick, uint96 seed, uint8 other) public {
        vm.mockCall(address(net.oracles), abi.encodeWithSelector(OracleRegistry.requireQuorum.selector), "");
        uint256 count = 1 + size % 12;
        uint256 index = pick % count;
        Messages.Leaf[] memory leaves = new Messages.Leaf[](count);
        for (uint256 i; i < count; ++i) {
            leaves[i] = _leaf(i == index ? _id : bytes32(i + 1), 0, (uint256(seed) + i) % 1000 ether, 0);
        }
        bytes32[] memory hashes = _hashes(leaves);
        uint256 sum = 20_000 ether;
        Messages.EraRoot memory root = _next(Tree.rootOf(hashes), sum, 0);
        vm.warp(net.eras.endOf(0));
        uint256 id = net.settlement.post(root, new bytes[](0));
        _ripen();
        if (other % count != index) {
            bytes32[] memory wrong = Tree.proofOf(hashes, other % count);
            vm.expectPartialRevert(RewardClaims.NotInRoot.selector);
            net.claims.claim(id, leaves[index], wrong);
        }
        (uint256 amount,) = net.claims.claim(id, leaves[index], Tree.proofOf(hashes, index));
        _eq(amount, leaves[index].cumulativeReward);
        _eq(icnt.balanceOf(HP), amount);
    }

    /// @dev Roots in any order of claims: what is paid in all is the most that any claimed leaf says.
    function testFuzz_paid_is_the_most_that_was_earned(uint64[3] memory earned, uint8[4] memory order) public {
        vm.mockCall(address(net.oracles), abi.encodeWithSelector(OracleRegistry.requireQuorum.selector), "");
        Messages.Leaf[] memory leaves = new Messages.Leaf[](3);
        uint256 sum;
        vm.warp(net.eras.endOf(3));
        for (uint64 i; i < 3; ++i) {
            sum += earned[i];
            leaves[i] = _leaf(_id, i, sum, 0);
            net.settlement.post(_next(leaves[i].leaf(), earned[i], 0), new bytes[](0));
        }
        _ripen();
        uint256 most;
        for (uint256 i; i < 4; ++i) {
            uint256 id = order[i] % 3;
            if (leaves[id].cumulativeReward > most) most = leaves[id].cumulativeReward;
            _claim(id, leaves[id]);
            _eq(icnt.balanceOf(HP), most);
        }
    }
}
