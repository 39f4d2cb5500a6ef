// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {vm} from "../script/Cheats.sol";
import {Custody} from "../src/Custody.sol";
import {Governed} from "../src/Governed.sol";
import {Messages} from "../src/Messages.sol";
import {Fixture} from "./Fixture.sol";

/// @notice A token that calls back where it is moved, and keeps a part of what is moved.
contract Hostile is ERC20("Hostile", "H") {
    address private _target;
    bytes private _call;
    uint256 private _fee;
    bytes public answer;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function callBack(address target, bytes calldata call) external {
        (_target, _call) = (target, call);
    }

    function charge(uint256 fee) external {
        _fee = fee;
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount - (from == address(0) ? 0 : _fee));
        if (_target == address(0)) return;
        (bool ok, bytes memory said) = _target.call(_call);
        answer = said;
        if (ok) answer = "entered";
    }
}

contract CustodyTest is Fixture {
    function test_a_pause_ends_by_itself_and_does_not_follow_another() public {
        vm.prank(ANYONE);
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        net.vault.pause();
        net.vault.pause();
        _true(net.vault.paused(), "paused");
        vm.warp(block.timestamp + 7 days - 1);
        _true(net.vault.paused(), "still");
        vm.warp(block.timestamp + 1);
        _true(!net.vault.paused(), "over");
        vm.expectPartialRevert(Governed.PausedNotLongAgo.selector);
        net.vault.pause();
        vm.warp(block.timestamp + 7 days);
        net.vault.pause();
        net.vault.unpause();
        _true(!net.vault.paused(), "ended");
        vm.expectPartialRevert(Governed.PausedNotLongAgo.selector);
        net.vault.pause();
    }

    function test_the_treasury_is_the_administrators_to_name() public {
        vm.prank(ANYONE);
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        net.vault.setTreasury(ANYONE);
        vm.expectRevert(Governed.NobodyGiven.selector);
        net.vault.setTreasury(address(0));
        net.vault.setTreasury(ANYONE);
        _eq(net.vault.treasury(), ANYONE);
    }

    /// @dev The token in the place of the network's one: what is behind the address changes, not who holds what.
    function _hostile() private returns (Hostile hostile) {
        vm.etch(address(icnt), type(Hostile).runtimeCode);
        return Hostile(address(icnt));
    }

    function test_a_token_that_keeps_a_part_is_refused() public {
        Hostile hostile = _hostile();
        hostile.mint(address(this), 10);
        hostile.approve(address(net.settlement), 10);
        hostile.charge(1);
        vm.expectRevert(abi.encodeWithSelector(Custody.AmountChanged.selector, 10, 9));
        net.settlement.fund(10);
    }

    function test_who_calls_back_while_tokens_move_finds_the_door_shut() public {
        bytes32 nodeId = _node(HP, LABEL, DAEMON_KEY, 1000 ether);
        Messages.Leaf memory leaf = _leaf(nodeId, 0, 7 ether, 0);
        (uint256 id,) = _postOne(leaf, 7 ether, 0);
        _ripen();
        Hostile hostile = _hostile();
        hostile.callBack(address(net.claims), abi.encodeCall(net.claims.claim, (id, leaf, new bytes32[](0))));
        net.claims.claim(id, leaf, new bytes32[](0));
        _eq(hostile.balanceOf(HP), 7 ether);
        bytes32 shut = keccak256(abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector));
        _eq(keccak256(hostile.answer()), shut);
        vm.prank(HP);
        net.registry.requestExit(nodeId);
        vm.warp(block.timestamp + EXIT_DELAY);
        hostile.callBack(address(net.vault), abi.encodeCall(net.vault.collect, ()));
        vm.prank(HP);
        net.vault.withdraw(nodeId);
        _eq(keccak256(hostile.answer()), shut);
        _eq(hostile.balanceOf(HP), 1007 ether);
    }

    function test_paused_nothing_goes_in_or_out() public {
        net.settlement.pause();
        vm.expectRevert(Pausable.EnforcedPause.selector);
        net.settlement.fund(1);
        net.oracles.pause();
        vm.expectRevert(Pausable.EnforcedPause.selector);
        net.oracles.collect();
        vm.expectRevert(Pausable.EnforcedPause.selector);
        net.oracles.withdraw(ANYONE);
    }

    function test_what_was_sent_by_itself_is_nobodys() public {
        icnt.mint(address(net.settlement), 5 ether);
        _eq(net.settlement.available(), FUND);
        icnt.mint(address(net.vault), 5 ether);
        vm.expectRevert(Custody.NothingToMove.selector);
        net.vault.collect();
    }
}
