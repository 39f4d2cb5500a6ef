// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {vm} from "../script/Cheats.sol";
import {Custody} from "../src/Custody.sol";
import {OracleRegistry} from "../src/OracleRegistry.sol";
import {Fixture} from "./Fixture.sol";

contract OracleRegistryTest is Fixture {
    bytes32 private constant MESSAGE = keccak256("message");

    /// @dev Of the four oracles and two others; made once, as signing is what takes the time.
    bytes[6] private _signed;

    function setUp() public override {
        super.setUp();
        uint256[] memory keys = new uint256[](6);
        for (uint256 i; i < 6; ++i) {
            keys[i] = i < 4 ? oracleKeys[i] : 0xBAD + i;
        }
        bytes[] memory signatures = _signatures(keys);
        for (uint256 i; i < 6; ++i) {
            _signed[i] = signatures[i];
        }
    }

    function _signatures(uint256[] memory keys) private pure returns (bytes[] memory signatures) {
        signatures = new bytes[](keys.length);
        for (uint256 i; i < keys.length; ++i) {
            (uint8 v, bytes32 r, bytes32 s) = vm.sign(keys[i], MESSAGE);
            signatures[i] = abi.encodePacked(r, s, v);
        }
    }

    function _first(uint256 count) private view returns (uint256[] memory keys) {
        keys = new uint256[](count);
        for (uint256 i; i < count; ++i) {
            keys[i] = oracleKeys[i];
        }
    }

    function test_two_quorums_share_an_honest_oracle() public {
        uint8[10] memory quorums = [1, 2, 2, 3, 4, 4, 5, 6, 6, 7];
        for (uint256 i; i < quorums.length; ++i) {
            _eq(net.oracles.quorumOf(i + 1), quorums[i]);
        }
        for (uint256 n = 1; n <= 32; ++n) {
            uint256 liars = (n - 1) / 3;
            uint256 quorum = net.oracles.quorumOf(n);
            _true(2 * quorum - n >= liars + 1, "two quorums share an honest one");
            _true(quorum <= n - liars, "the honest ones alone decide");
        }
        vm.expectPartialRevert(OracleRegistry.BadCount.selector);
        net.oracles.quorumOf(0);
    }

    function test_a_quorum_signs_each_once_and_in_order() public {
        net.oracles.requireQuorum(0, MESSAGE, _signatures(_first(3)));
        net.oracles.requireQuorum(0, MESSAGE, _signatures(_first(4)));
        vm.expectRevert(abi.encodeWithSelector(OracleRegistry.BadSignatureCount.selector, 2, 3, 4));
        net.oracles.requireQuorum(0, MESSAGE, _signatures(_first(2)));
        uint256[] memory keys = _first(3);
        keys[2] = keys[1];
        vm.expectPartialRevert(OracleRegistry.NotAnOracle.selector);
        net.oracles.requireQuorum(0, MESSAGE, _signatures(keys));
        (keys[0], keys[1], keys[2]) = (oracleKeys[1], oracleKeys[0], oracleKeys[2]);
        vm.expectPartialRevert(OracleRegistry.NotAnOracle.selector);
        net.oracles.requireQuorum(0, MESSAGE, _signatures(keys));
        keys[0] = 0xBAD;
        vm.expectPartialRevert(OracleRegistry.NotAnOracle.selector);
        net.oracles.requireQuorum(0, MESSAGE, _signatures(keys));
    }

    function test_the_second_form_of_a_signature_is_none() public {
        bytes[] memory signatures = _signatures(_first(3));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(oracleKeys[0], MESSAGE);
        uint256 order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        signatures[0] = abi.encodePacked(r, bytes32(order - uint256(s)), v == 27 ? uint8(28) : uint8(27));
        vm.expectPartialRevert(ECDSA.ECDSAInvalidSignatureS.selector);
        net.oracles.requireQuorum(0, MESSAGE, signatures);
        signatures[0] = abi.encodePacked(r, s, v, uint8(0));
        vm.expectPartialRevert(ECDSA.ECDSAInvalidSignatureLength.selector);
        net.oracles.requireQuorum(0, MESSAGE, signatures);
    }

    /// @dev Any three keys: a quorum only if they are three oracles in order.
    function testFuzz_only_oracles_in_order_are_a_quorum(uint8[3] memory picks) public {
        bytes[] memory signatures = new bytes[](3);
        bool good = true;
        for (uint256 i; i < 3; ++i) {
            uint256 pick = picks[i] % 6;
            signatures[i] = _signed[pick];
            good = good && pick < 4 && (i == 0 || picks[i] % 6 > picks[i - 1] % 6);
        }
        if (!good) vm.expectPartialRevert(OracleRegistry.NotAnOracle.selector);
        net.oracles.requireQuorum(0, MESSAGE, signatures);
    }

    function test_a_set_is_named_by_the_administrator_and_in_order() public {
        address[] memory members = _addresses(oracleKeys);
        vm.prank(ANYONE);
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        net.oracles.schedule(members, 16, 10);
        vm.expectRevert(abi.encodeWithSelector(OracleRegistry.BadEra.selector, 1, 2, 4380));
        net.oracles.schedule(members, 16, 1);
        vm.expectPartialRevert(OracleRegistry.BadSamples.selector);
        net.oracles.schedule(members, 0, 2);
        vm.expectPartialRevert(OracleRegistry.BadSamples.selector);
        net.oracles.schedule(members, 513, 2);
        vm.expectPartialRevert(OracleRegistry.BadCount.selector);
        net.oracles.schedule(new address[](0), 16, 2);
        vm.expectPartialRevert(OracleRegistry.BadCount.selector);
        net.oracles.schedule(new address[](33), 16, 2);
        (members[0], members[1]) = (members[1], members[0]);
        vm.expectPartialRevert(OracleRegistry.NotAscending.selector);
        net.oracles.schedule(members, 16, 2);
        uint256[] memory poor = _ascending(1, 77);
        vm.expectPartialRevert(OracleRegistry.BondTooSmall.selector);
        net.oracles.schedule(_addresses(poor), 16, 2);
        _bond(vm.addr(poor[0]), MIN_BOND);
        net.oracles.schedule(_addresses(poor), 16, 2);
        vm.expectPartialRevert(OracleRegistry.BadEra.selector);
        net.oracles.schedule(_addresses(poor), 16, 2);
    }

    function test_each_era_has_its_set_and_digest() public {
        address[] memory all = _addresses(oracleKeys);
        address[] memory fewer = new address[](3);
        for (uint256 i; i < 3; ++i) {
            fewer[i] = all[i];
        }
        net.oracles.schedule(fewer, 32, 5);
        _eq(net.oracles.setOf(4).oracles.length, 4);
        _eq(net.oracles.setOf(5).oracles.length, 3);
        _eq(net.oracles.setCount(), 2);
        _eq(net.oracles.setAt(1).fromEra, 5);
        bytes32 expected =
            keccak256(abi.encode(uint64(block.chainid), address(net.settlement), GENESIS, ERA, uint16(32), fewer));
        _eq(net.oracles.configDigest(5), expected);
        _eq(net.oracles.configDigest(1e6), expected);
        _true(net.oracles.configDigest(4) != expected, "another before");
        net.oracles.requireQuorum(5, MESSAGE, _signatures(_first(2)));
        vm.expectPartialRevert(OracleRegistry.BadSignatureCount.selector);
        net.oracles.requireQuorum(4, MESSAGE, _signatures(_first(2)));
    }

    function test_without_a_set_there_is_no_digest() public {
        OracleRegistry empty =
            new OracleRegistry(address(this), icnt, net.eras, address(net.settlement), TREASURY, 0, 0);
        vm.expectPartialRevert(OracleRegistry.NoSet.selector);
        empty.configDigest(0);
        empty.schedule(_addresses(oracleKeys), 16, 3);
        vm.expectPartialRevert(OracleRegistry.NoSet.selector);
        empty.configDigest(2);
    }

    function test_a_stake_stays_until_long_after_the_last_era() public {
        address leaving = vm.addr(oracleKeys[3]);
        vm.prank(leaving);
        vm.expectPartialRevert(OracleRegistry.StillBonded.selector);
        net.oracles.withdraw(leaving);
        uint256[] memory keys = _first(3);
        net.oracles.schedule(_addresses(keys), 16, 10);
        uint256 until = net.eras.startOf(10) + UNBONDING;
        _eq(net.oracles.bondedUntil(leaving), until);
        vm.warp(until - 1);
        vm.prank(leaving);
        vm.expectPartialRevert(OracleRegistry.StillBonded.selector);
        net.oracles.withdraw(ANYONE);
        vm.warp(until);
        vm.prank(leaving);
        net.oracles.withdraw(ANYONE);
        _eq(icnt.balanceOf(ANYONE), MIN_BOND);
        vm.prank(leaving);
        vm.expectRevert(Custody.NothingToMove.selector);
        net.oracles.withdraw(ANYONE);
    }

    function test_who_was_never_in_a_set_takes_its_stake_back_at_once() public {
        _bond(HP, 5 ether);
        vm.prank(HP);
        net.oracles.withdraw(HP);
        _eq(icnt.balanceOf(HP), 5 ether);
    }

    function test_only_disputes_slash_and_never_more_than_there_is() public {
        address oracle = vm.addr(oracleKeys[0]);
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        net.oracles.slash(oracle, 1, ANYONE, 0, false, 0);
        vm.prank(address(net.disputes));
        _eq(net.oracles.slash(oracle, type(uint256).max, ANYONE, 1000, true, 0), MIN_BOND);
        _eq(icnt.balanceOf(ANYONE), MIN_BOND / 10);
        net.oracles.collect();
        _eq(icnt.balanceOf(TREASURY), MIN_BOND - MIN_BOND / 10);
        vm.prank(address(net.disputes));
        _eq(net.oracles.slash(oracle, type(uint256).max, ANYONE, 1000, true, 0), 0);
        vm.expectPartialRevert(OracleRegistry.Jailed.selector);
        net.oracles.requireQuorum(0, MESSAGE, _signatures(_first(3)));
        address[] memory members = _addresses(oracleKeys);
        vm.expectPartialRevert(OracleRegistry.Jailed.selector);
        net.oracles.schedule(members, 16, 2);
    }
}
