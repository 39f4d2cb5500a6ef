// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {vm} from "../script/Cheats.sol";
import {EraManager} from "../src/EraManager.sol";
import {Fixture} from "./Fixture.sol";

contract EraManagerTest is Fixture {
    function test_eras_follow_each_other_without_a_gap() public view {
        _eq(net.eras.eraAt(GENESIS), 0);
        _eq(net.eras.eraAt(GENESIS + ERA - 1), 0);
        _eq(net.eras.eraAt(GENESIS + ERA), 1);
        _eq(net.eras.startOf(7), GENESIS + 7 * ERA);
        _eq(net.eras.endOf(7), net.eras.startOf(8));
    }

    function test_before_the_first_there_is_none() public {
        vm.expectPartialRevert(EraManager.BeforeGenesis.selector);
        net.eras.eraAt(GENESIS - 1);
        vm.expectPartialRevert(EraManager.GenesisAhead.selector);
        new EraManager(address(this), uint64(block.timestamp + 1), ERA);
    }

    function test_lengths_that_no_parameters_have_are_refused() public {
        uint32[3] memory bad = [uint32(0), 19, 86_401];
        for (uint256 i; i < bad.length; ++i) {
            vm.expectPartialRevert(EraManager.BadDuration.selector);
            net.eras.schedule(10, bad[i]);
        }
    }

    function test_a_change_takes_effect_at_the_next_era_but_one_or_later() public {
        vm.warp(GENESIS + 5 * ERA);
        vm.expectRevert(abi.encodeWithSelector(EraManager.BadEra.selector, 6, 7, 5 + 4380));
        net.eras.schedule(6, 60);
        vm.expectPartialRevert(EraManager.BadEra.selector);
        net.eras.schedule(5 + 4381, 60);
        net.eras.schedule(7, 60);
        vm.expectPartialRevert(EraManager.BadEra.selector);
        net.eras.schedule(7, 120);
        _eq(net.eras.endOf(6), GENESIS + 7 * ERA);
        _eq(net.eras.endOf(7), GENESIS + 7 * ERA + 60);
        _eq(net.eras.eraAt(GENESIS + 7 * ERA + 61), 8);
        (uint64 genesis, uint32 duration) = net.eras.parametersOf(8);
        _eq(duration, 60);
        _eq((GENESIS + 7 * ERA + 61 - genesis) / duration, 8);
        _eq(net.eras.segments().length, 2);
    }

    function test_only_the_administrator_changes_it() public {
        vm.prank(ANYONE);
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        net.eras.schedule(10, 60);
    }

    function test_segments_have_a_bound() public {
        for (uint64 i = 1; i < 64; ++i) {
            net.eras.schedule(i * 2, i % 2 == 0 ? 60 : 120);
        }
        vm.expectRevert(EraManager.TooManySegments.selector);
        net.eras.schedule(200, 60);
    }

    /// @dev Whatever is scheduled: an era's begin lies in it, its end does not, and parameters say the same.
    function testFuzz_each_moment_has_one_era(uint32[4] memory durations, uint16[4] memory gaps, uint40 later) public {
        vm.warp(1e9);
        EraManager eras = new EraManager(address(this), 1e9, ERA);
        uint64 era = 1;
        for (uint256 i; i < 4; ++i) {
            era += 1 + gaps[i] % 1000;
            eras.schedule(era, 20 + durations[i] % 86_381);
        }
        uint256 time = 1e9 + later % 1e9;
        uint64 found = eras.eraAt(time);
        uint256 start = eras.startOf(found);
        uint256 end = eras.endOf(found);
        _true(start <= time && time < end, "within");
        _eq(eras.eraAt(start), found);
        _eq(eras.eraAt(end), found + 1);
        _eq(eras.startOf(found + 1), end);
        (uint64 genesis, uint32 duration) = eras.parametersOf(found);
        _eq((time - genesis) / duration, found);
    }
}
