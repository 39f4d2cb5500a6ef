// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {vm} from "../script/Cheats.sol";
import {Messages} from "../src/Messages.sol";
import {OracleRegistry} from "../src/OracleRegistry.sol";
import {SlaSettlement} from "../src/SlaSettlement.sol";
import {Fixture} from "./Fixture.sol";

contract SlaSettlementTest is Fixture {
    using Messages for *;

    bytes32 private constant ROOT = keccak256("root");

    function _refused(Messages.EraRoot memory root, bytes4 why) private {
        bytes[] memory signatures = _quorum(root.hash(), 3);
        vm.expectPartialRevert(why);
        net.settlement.post(root, signatures);
    }

    function test_a_root_is_signed_by_a_quorum_of_its_last_era() public {
        Messages.EraRoot memory root = _next(ROOT, 5 ether, 1 ether);
        vm.warp(net.eras.endOf(0));
        bytes[] memory few = _quorum(root.hash(), 2);
        vm.expectPartialRevert(OracleRegistry.BadSignatureCount.selector);
        net.settlement.post(root, few);
        bytes[] memory signatures = _quorum(root.hash(), 3);
        root.totalReward = 6 ether;
        vm.expectPartialRevert(OracleRegistry.NotAnOracle.selector);
        net.settlement.post(root, signatures);
        root.totalReward = 5 ether;
        _eq(net.settlement.post(root, signatures), 0);
        _eq(net.settlement.available(), FUND - 5 ether);
        _eq(net.settlement.nextEra(), 1);
        _eq(net.settlement.rootAt(0).digest, _digest(root.hash()));
    }

    function test_ranges_follow_each_other() public {
        vm.warp(net.eras.startOf(20));
        Messages.EraRoot memory root = _next(ROOT, 0, 0);
        root.fromEra = 1;
        _refused(root, SlaSettlement.NotContiguous.selector);
        root.fromEra = 0;
        root.toEra = 9;
        _post(root);
        _eq(net.settlement.nextEra(), 10);
        _refused(root, SlaSettlement.NotContiguous.selector);
        root = _next(ROOT, 0, 0);
        root.toEra = 9;
        _refused(root, SlaSettlement.EmptyRange.selector);
        root.toEra = 20;
        _refused(root, SlaSettlement.EraNotOver.selector);
        root.toEra = 19;
        root.previous = 0;
        _refused(root, SlaSettlement.OtherPrevious.selector);
        root = _next(ROOT, 0, 0);
        root.configDigest = 0;
        _refused(root, SlaSettlement.OtherConfig.selector);
    }

    function test_what_the_pool_does_not_have_is_not_promised() public {
        vm.warp(net.eras.startOf(20));
        _post(_next(ROOT, FUND - 1, 0));
        Messages.EraRoot memory root = _next(ROOT, 2, 0);
        _refused(root, SlaSettlement.PoolTooSmall.selector);
        icnt.mint(address(this), 1);
        icnt.approve(address(net.settlement), 1);
        net.settlement.fund(1);
        _post(root);
        _eq(net.settlement.available(), 0);
        vm.expectPartialRevert(SlaSettlement.PoolTooSmall.selector);
        net.settlement.defund(ANYONE, 1);
        net.settlement.cancel(1, root, 0);
        _eq(net.settlement.available(), 2);
        net.settlement.defund(ANYONE, 2);
        _eq(icnt.balanceOf(ANYONE), 2);
        vm.prank(ANYONE);
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        net.settlement.defund(ANYONE, 0);
    }

    function test_a_cancelled_root_falls_with_all_after_it_and_does_not_come_back() public {
        vm.warp(net.eras.startOf(20));
        _post(_next(ROOT, 1 ether, 0));
        Messages.EraRoot memory bad = _next(keccak256("bad"), 2 ether, 0);
        _post(bad);
        Messages.EraRoot memory onBad = _next(keccak256("on bad"), 4 ether, 0);
        _post(onBad);
        // Signed, and not posted yet, when the root before it is cancelled.
        Messages.EraRoot memory later = _next(keccak256("later"), 8 ether, 0);
        vm.prank(ANYONE);
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        net.settlement.cancel(1, bad, 0);
        vm.expectPartialRevert(SlaSettlement.OtherRoot.selector);
        net.settlement.cancel(0, bad, 0);
        net.settlement.cancel(1, bad, 0);
        _eq(net.settlement.rootCount(), 1);
        _eq(net.settlement.nextEra(), 1);
        _eq(net.settlement.available(), FUND - 1 ether);
        vm.expectPartialRevert(SlaSettlement.UnknownRoot.selector);
        net.settlement.rootAt(1);
        _refused(bad, SlaSettlement.WasCancelled.selector);
        _post(_next(keccak256("good"), 2 ether, 0));
        _refused(onBad, SlaSettlement.OtherPrevious.selector);
        _post(_next(keccak256("on good"), 4 ether, 0));
        _refused(later, SlaSettlement.OtherPrevious.selector);
    }

    function test_a_root_that_was_cancelled_by_mistake_comes_back_within_a_longer_one() public {
        vm.warp(net.eras.startOf(20));
        Messages.EraRoot memory root = _next(ROOT, 1 ether, 0);
        _post(root);
        net.settlement.cancel(0, root, 0);
        _refused(root, SlaSettlement.WasCancelled.selector);
        root.toEra = 1;
        _post(root);
        _eq(net.settlement.nextEra(), 2);
    }

    function test_what_is_final_stays() public {
        (uint256 id, Messages.EraRoot memory root) = _postOne(_leaf(0, 0, 1, 0), 1, 0);
        vm.warp(block.timestamp + WINDOW - 1);
        _true(!net.settlement.isFinal(id), "not final");
        vm.warp(block.timestamp + 1);
        _true(net.settlement.isFinal(id), "final");
        vm.expectPartialRevert(SlaSettlement.Final.selector);
        net.settlement.cancel(id, root, 0);
    }

    function test_a_root_is_cancelled_while_paused() public {
        (uint256 id, Messages.EraRoot memory root) = _postOne(_leaf(0, 0, 1, 0), 1, 0);
        net.settlement.pause();
        Messages.EraRoot memory next = _next(ROOT, 0, 0);
        vm.warp(net.eras.startOf(20));
        _refused(next, Pausable.EnforcedPause.selector);
        net.settlement.cancel(id, root, 0);
        _eq(net.settlement.rootCount(), 0);
    }

    function test_a_new_set_settles_what_an_old_one_left_behind() public {
        uint256[] memory fresh = _ascending(1, 99);
        _bond(vm.addr(fresh[0]), MIN_BOND);
        net.oracles.schedule(_addresses(fresh), 16, 5);
        vm.warp(net.eras.startOf(20));
        Messages.EraRoot memory root = _next(ROOT, 0, 0);
        root.toEra = 10;
        _refused(root, SlaSettlement.OtherConfig.selector);
        root.configDigest = net.oracles.configDigest(10);
        _refused(root, OracleRegistry.BadSignatureCount.selector);
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = _sign(fresh[0], root.hash());
        net.settlement.post(root, signatures);
    }

    function test_roots_that_wait_have_a_bound() public {
        vm.mockCall(address(net.oracles), abi.encodeWithSelector(OracleRegistry.requireQuorum.selector), "");
        vm.warp(net.eras.startOf(300));
        bytes[] memory none = new bytes[](0);
        for (uint256 i; i < 256; ++i) {
            net.settlement.post(_next(ROOT, 1, 0), none);
        }
        Messages.EraRoot memory root = _next(ROOT, 1, 0);
        vm.expectRevert(SlaSettlement.TooManyPending.selector);
        net.settlement.post(root, none);
        _ripen();
        _eq(net.settlement.post(root, none), 256);
    }

    function test_only_claims_have_rewards_paid() public {
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        net.settlement.pay(0, ANYONE, 1);
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        net.settlement.useRoot(0);
        vm.prank(address(net.claims));
        vm.expectRevert(abi.encodeWithSelector(SlaSettlement.RewardsExhausted.selector, 1, 0));
        net.settlement.pay(0, ANYONE, 1);
    }

    /// @dev Whatever is posted and cancelled: what is set aside is the sum of the roots that stand.
    function testFuzz_what_is_set_aside_is_what_stands(uint96[4] memory rewards, uint8 cancels) public {
        vm.mockCall(address(net.oracles), abi.encodeWithSelector(OracleRegistry.requireQuorum.selector), "");
        vm.warp(net.eras.startOf(20));
        bytes[] memory none = new bytes[](0);
        Messages.EraRoot[] memory roots = new Messages.EraRoot[](4);
        uint256[] memory before = new uint256[](5);
        uint256 count;
        for (uint256 i; i < 4; ++i) {
            uint256 reward = rewards[i] % (FUND / 2);
            roots[count] = _next(keccak256(abi.encode(i)), reward, 0);
            if (before[count] + reward > FUND) {
                vm.expectPartialRevert(SlaSettlement.PoolTooSmall.selector);
                net.settlement.post(roots[count], none);
                continue;
            }
            net.settlement.post(roots[count], none);
            before[count + 1] = before[count] + reward;
            ++count;
            if (cancels & (1 << i) != 0) {
                count = count * (cancels >> 6) / 4;
                net.settlement.cancel(count, roots[count], 0);
            }
            _eq(net.settlement.rootCount(), count);
            _eq(net.settlement.nextEra(), count);
            _eq(net.settlement.available(), FUND - before[count]);
        }
    }
}
