// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {vm} from "../script/Cheats.sol";
import {CollateralVault} from "../src/CollateralVault.sol";
import {Custody} from "../src/Custody.sol";
import {Fixture} from "./Fixture.sol";

contract CollateralVaultTest is Fixture {
    uint256 private constant AMOUNT = 1000 ether;

    bytes32 private _id;

    function setUp() public override {
        super.setUp();
        _id = _node(HP, LABEL, DAEMON_KEY, AMOUNT);
    }

    function _slash(uint256 wanted) private returns (uint256) {
        vm.prank(address(net.claims));
        return net.vault.slash(_id, wanted, 0);
    }

    function _balance() private view returns (uint256 balance) {
        (balance,,,,) = net.vault.collateral(_id);
    }

    function test_only_the_hp_puts_in_and_takes_out() public {
        vm.prank(ANYONE);
        vm.expectPartialRevert(CollateralVault.NotTheHp.selector);
        net.vault.deposit(_id, 1);
        vm.prank(ANYONE);
        vm.expectPartialRevert(CollateralVault.NotTheHp.selector);
        net.vault.withdraw(_id);
        vm.prank(HP);
        vm.expectRevert(Custody.NothingToMove.selector);
        net.vault.deposit(_id, 0);
    }

    function test_collateral_comes_back_after_the_delay_of_an_exit() public {
        vm.prank(HP);
        vm.expectRevert(abi.encodeWithSelector(CollateralVault.NotYet.selector, 0));
        net.vault.withdraw(_id);
        vm.prank(HP);
        net.registry.requestExit(_id);
        vm.prank(HP);
        vm.expectPartialRevert(CollateralVault.Leaving.selector);
        net.vault.deposit(_id, 1);
        vm.warp(block.timestamp + EXIT_DELAY - 1);
        vm.prank(HP);
        vm.expectPartialRevert(CollateralVault.NotYet.selector);
        net.vault.withdraw(_id);
        vm.warp(block.timestamp + 1);
        _eq(_slash(1 ether), 1 ether);
        vm.prank(HP);
        net.vault.withdraw(_id);
        _eq(icnt.balanceOf(HP), AMOUNT - 1 ether);
        _eq(_slash(1 ether), 0);
        vm.prank(HP);
        vm.expectRevert(Custody.NothingToMove.selector);
        net.vault.withdraw(_id);
    }

    function test_only_claims_slash() public {
        vm.prank(HP);
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        net.vault.slash(_id, 1, 0);
        net.vault.pause();
        vm.prank(address(net.claims));
        vm.expectRevert(Pausable.EnforcedPause.selector);
        net.vault.slash(_id, 1, 0);
    }

    function test_an_era_and_all_time_have_caps() public {
        _eq(net.vault.slashable(_id), AMOUNT / 100);
        _eq(_slash(AMOUNT), AMOUNT / 100);
        _eq(_slash(AMOUNT), 0);
        _eq(_balance(), AMOUNT - AMOUNT / 100);
        for (uint256 i; i < 200; ++i) {
            vm.warp(block.timestamp + ERA);
            _slash(AMOUNT);
        }
        _eq(_balance(), AMOUNT / 2);
        net.vault.collect();
        _eq(icnt.balanceOf(TREASURY), AMOUNT / 2);
        vm.expectRevert(Custody.NothingToMove.selector);
        net.vault.collect();
    }

    function test_caps_that_cannot_be_are_refused() public {
        uint256[2] memory bad = [uint256(0), 10_001];
        for (uint256 i; i < 2; ++i) {
            vm.expectPartialRevert(CollateralVault.BadCap.selector);
            new CollateralVault(address(this), icnt, net.registry, net.eras, TREASURY, bad[i], 1);
            vm.expectPartialRevert(CollateralVault.BadCap.selector);
            new CollateralVault(address(this), icnt, net.registry, net.eras, TREASURY, 1, bad[i]);
        }
    }

    /// @dev Whatever is wanted whenever: no era takes more than its share, all eras no more than theirs, and what is
    /// gone is the treasury's.
    function testFuzz_caps_hold(uint96[6] memory wanted, uint16[6] memory waits, uint96 more) public {
        uint256 deposited = AMOUNT;
        uint256 total;
        uint256 ofEra;
        uint256 base = AMOUNT;
        uint64 era = net.eras.currentEra();
        for (uint256 i; i < 6; ++i) {
            vm.warp(block.timestamp + waits[i] % 5000);
            if (net.eras.currentEra() != era) (era, ofEra, base) = (net.eras.currentEra(), 0, _balance());
            if (i == 3) {
                uint256 amount = 1 + more % AMOUNT;
                icnt.mint(HP, amount);
                vm.prank(HP);
                icnt.approve(address(net.vault), amount);
                vm.prank(HP);
                net.vault.deposit(_id, amount);
                deposited += amount;
                base += amount;
            }
            uint256 taken = _slash(uint256(wanted[i]) % (AMOUNT / 50));
            (ofEra, total) = (ofEra + taken, total + taken);
            _true(ofEra <= base * ERA_CAP_BPS / 10_000, "the era's cap");
            _true(total <= deposited * TOTAL_CAP_BPS / 10_000, "the cap over all");
            _eq(_balance(), deposited - total);
            _eq(net.vault.treasuryDue(), total);
        }
    }
}
