// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {vm} from "../script/Cheats.sol";
import {OracleRegistry} from "../src/OracleRegistry.sol";
import {Fixture} from "./Fixture.sol";
import {Handler} from "./Handler.sol";

/// @notice What holds whatever anyone does in whatever order, even if all oracles lie.
contract InvariantsTest is Fixture {
    Handler private _handler;

    function setUp() public override {
        super.setUp();
        vm.mockCall(address(net.oracles), abi.encodeWithSelector(OracleRegistry.requireQuorum.selector), "");
        _handler = new Handler(net, icnt, address(this));
    }

    /// @notice Asked by forge: only the handler is called at random.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_handler);
    }

    /// @dev One test, so that every invariant is looked at after the same steps.
    function invariant_money() external view {
        _eq(_handler.wrongs(), 0);
        _no_more_is_paid_than_was_earned();
        _collateral_is_what_was_put_in_less_what_was_taken();
        _what_came_in_went_out_or_is_there();
        _what_is_set_aside_is_there();
    }

    /// @dev That the random steps reach what the invariants are about, shown on steps that are always the same.
    function test_the_steps_do_something() external {
        // Down to slashing with the first node; the others stay healthy.
        for (uint256 i; i < 3; ++i) {
            _handler.state(0, 2);
        }
        for (uint64 round = 1; round <= 30; ++round) {
            uint64 sum = round * 0.1 ether;
            for (uint8 i; i < 4; ++i) {
                _handler.deposit(i, 100 ether);
            }
            _handler.post([sum, sum, sum, sum], [sum, 0, 0, 0], 100 ether, 100 ether);
            if (round % 3 == 0) _handler.cancel(0);
            _handler.wait(1 days);
            for (uint8 i; i < 4; ++i) {
                _handler.claimTwice(0, i);
            }
            _handler.claimCancelled(uint8(round), 1);
        }
        _true(_handler.claims() > 5, "rewards are paid");
        _true(_handler.slashes() > 5, "penalties are taken");
        _true(_handler.cancels() > 5, "roots are cancelled");
        this.invariant_money();
    }

    function _no_more_is_paid_than_was_earned() private view {
        uint256 paid;
        for (uint256 i; i < _handler.NODES(); ++i) {
            _true(_handler.paid(i) <= _handler.proven(i), "paid is at most what was proven");
            _eq(icnt.balanceOf(_handler.hps(i)) >= _handler.paid(i) ? 1 : 0, 1);
            (uint256 reward, uint256 penalty) = net.claims.done(_handler.ids(i));
            _eq(reward, _handler.paid(i));
            _eq(penalty, _handler.taken(i));
            _true(penalty <= _handler.provenPenalty(i), "taken is at most what was proven");
            paid += reward;
        }
        _eq(paid, net.settlement.paid());
        uint256 count = net.settlement.rootCount();
        uint256 given;
        for (uint256 id = count; id > 0 && given == 0; --id) {
            if (net.settlement.isFinal(id - 1)) given = net.settlement.rootAt(id - 1).reward;
        }
        _true(paid <= given, "paid is at most what final roots gave");
    }

    function _collateral_is_what_was_put_in_less_what_was_taken() private view {
        uint256 held;
        uint256 taken;
        for (uint256 i; i < _handler.NODES(); ++i) {
            (uint256 balance,,, uint256 deposited, uint256 slashed) = net.vault.collateral(_handler.ids(i));
            _eq(deposited, _handler.put(i));
            _eq(slashed, _handler.taken(i));
            _true(slashed <= deposited * TOTAL_CAP_BPS / 10_000, "the cap over all");
            _true(balance + slashed <= deposited, "never more than was put in");
            held += balance;
            taken += slashed;
        }
        _eq(_handler.deposited(), held + taken + _handler.withdrawn());
        _eq(taken, net.vault.treasuryDue() + _handler.collected());
        _eq(taken, net.claims.penaltiesTaken());
    }

    function _what_came_in_went_out_or_is_there() private view {
        uint256 held = icnt.balanceOf(address(net.vault));
        _eq(_handler.deposited(), held + _handler.withdrawn() + _handler.collected());
        _eq(FUND + _handler.funded(), icnt.balanceOf(address(net.settlement)) + net.settlement.paid());
        _eq(icnt.balanceOf(address(net.settlement)), net.settlement.pool());
        _eq(icnt.balanceOf(TREASURY), _handler.collected());
        _eq(icnt.balanceOf(address(net.claims)), 0);
        uint256 ofHps;
        for (uint256 i; i < _handler.NODES(); ++i) {
            ofHps += icnt.balanceOf(_handler.hps(i));
        }
        _eq(ofHps, net.settlement.paid() + _handler.withdrawn());
    }

    function _what_is_set_aside_is_there() private view {
        uint256 count = net.settlement.rootCount();
        uint256 given = count == 0 ? 0 : net.settlement.rootAt(count - 1).reward;
        _true(net.settlement.pool() >= given - net.settlement.paid(), "set aside");
        _eq(net.settlement.available(), net.settlement.pool() - (given - net.settlement.paid()));
    }
}
