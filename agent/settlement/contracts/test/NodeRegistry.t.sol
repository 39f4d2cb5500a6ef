// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {vm} from "../script/Cheats.sol";
import {Messages} from "../src/Messages.sol";
import {NodeRegistry} from "../src/NodeRegistry.sol";
import {OracleRegistry} from "../src/OracleRegistry.sol";
import {Fixture} from "./Fixture.sol";

/// @notice An HP account that is a contract: it signs what it was told to.
contract Multisig is IERC1271 {
    bytes32 public agreed;

    function agree(bytes32 digest) external {
        agreed = digest;
    }

    function isValidSignature(bytes32 digest, bytes calldata) external view returns (bytes4) {
        return digest == agreed ? IERC1271.isValidSignature.selector : bytes4(0);
    }

    function register(NodeRegistry registry, bytes32 label) external returns (bytes32) {
        return registry.register(label);
    }
}

contract NodeRegistryTest is Fixture {
    using Messages for *;

    uint256 private constant HP_KEY = 0x4B;

    /// @dev Made once, as signing is what takes the time.
    Messages.DaemonBinding[3] private _bindings;
    bytes[3] private _signatures;
    address[3] private _daemons;

    function setUp() public override {
        super.setUp();
        for (uint256 i; i < 3; ++i) {
            (Messages.DaemonBinding memory binding,) = _binding(net.registry.nodeIdOf(HP, LABEL), HP, DAEMON_KEY + i);
            binding.deadline = type(uint256).max;
            (_bindings[i], _signatures[i]) = (binding, _sign(DAEMON_KEY + i, binding.hash()));
            _daemons[i] = binding.daemonAddress;
        }
    }

    function _register() private returns (bytes32 nodeId) {
        vm.prank(HP);
        return net.registry.register(LABEL);
    }

    function _bind(bytes32 nodeId, uint256 daemonKey) private {
        (Messages.DaemonBinding memory binding, bytes memory signature) = _binding(nodeId, HP, daemonKey);
        vm.prank(HP);
        net.registry.bind(binding, signature);
    }

    function test_a_name_belongs_to_its_hp_alone() public {
        vm.prank(ANYONE);
        bytes32 other = net.registry.register(LABEL);
        bytes32 nodeId = _register();
        _true(other != nodeId, "two nodes");
        _eq(nodeId, net.registry.nodeIdOf(HP, LABEL));
        _eq(net.registry.nodeOf(nodeId).hp, HP);
        vm.expectPartialRevert(NodeRegistry.AlreadyRegistered.selector);
        vm.prank(HP);
        net.registry.register(LABEL);
    }

    function test_a_key_is_in_effect_from_the_next_era_but_one() public {
        bytes32 nodeId = _register();
        _bind(nodeId, DAEMON_KEY);
        _eq(net.registry.daemonAt(nodeId, 1), address(0));
        _eq(net.registry.daemonAt(nodeId, 2), vm.addr(DAEMON_KEY));
        vm.warp(net.eras.startOf(10));
        _bind(nodeId, 0xDAF);
        _eq(net.registry.daemonAt(nodeId, 11), vm.addr(DAEMON_KEY));
        _eq(net.registry.daemonAt(nodeId, 12), vm.addr(0xDAF));
        vm.prank(HP);
        net.registry.revoke(nodeId);
        _eq(net.registry.daemonAt(nodeId, 11), vm.addr(DAEMON_KEY));
        _eq(net.registry.daemonAt(nodeId, 12), address(0));
        vm.prank(HP);
        vm.expectPartialRevert(NodeRegistry.NoDaemon.selector);
        net.registry.revoke(nodeId);
    }

    function test_a_binding_is_of_the_daemon_and_sent_by_the_hp() public {
        bytes32 nodeId = _register();
        (Messages.DaemonBinding memory binding, bytes memory signature) = _binding(nodeId, HP, DAEMON_KEY);
        vm.prank(ANYONE);
        vm.expectPartialRevert(NodeRegistry.NotTheHp.selector);
        net.registry.bind(binding, signature);
        binding.hardwareReportHash = 0;
        vm.prank(HP);
        vm.expectPartialRevert(NodeRegistry.NotTheDaemon.selector);
        net.registry.bind(binding, signature);
        (binding, signature) = _binding(nodeId, ANYONE, DAEMON_KEY);
        vm.prank(HP);
        vm.expectPartialRevert(NodeRegistry.OtherHp.selector);
        net.registry.bind(binding, signature);
        (binding, signature) = _binding(nodeId, HP, DAEMON_KEY);
        vm.warp(binding.deadline + 1);
        vm.prank(HP);
        vm.expectPartialRevert(NodeRegistry.Expired.selector);
        net.registry.bind(binding, signature);
        (binding, signature) = _binding(bytes32(uint256(9)), HP, DAEMON_KEY);
        vm.prank(HP);
        vm.expectPartialRevert(NodeRegistry.UnknownNode.selector);
        net.registry.bind(binding, signature);
    }

    function test_what_was_signed_for_another_chain_binds_nothing() public {
        bytes32 nodeId = _register();
        (Messages.DaemonBinding memory binding, bytes memory signature) = _binding(nodeId, HP, DAEMON_KEY);
        vm.chainId(8453);
        vm.prank(HP);
        vm.expectPartialRevert(NodeRegistry.NotTheDaemon.selector);
        net.registry.bind(binding, signature);
    }

    function test_a_key_is_bound_to_one_node_and_once() public {
        bytes32 nodeId = _register();
        _bind(nodeId, DAEMON_KEY);
        vm.prank(HP);
        net.registry.revoke(nodeId);
        (Messages.DaemonBinding memory binding, bytes memory signature) = _binding(nodeId, HP, DAEMON_KEY);
        vm.prank(HP);
        vm.expectPartialRevert(NodeRegistry.DaemonTaken.selector);
        net.registry.bind(binding, signature);
        vm.prank(ANYONE);
        bytes32 other = net.registry.register(LABEL);
        (binding, signature) = _binding(other, ANYONE, DAEMON_KEY);
        vm.prank(ANYONE);
        vm.expectPartialRevert(NodeRegistry.DaemonTaken.selector);
        net.registry.bind(binding, signature);
    }

    function test_anyone_relays_what_both_signed() public {
        address hp = vm.addr(HP_KEY);
        vm.prank(hp);
        bytes32 nodeId = net.registry.register(LABEL);
        (Messages.DaemonBinding memory binding, bytes memory signature) = _binding(nodeId, hp, DAEMON_KEY);
        bytes memory other = _sign(0xBAD, binding.hash());
        vm.prank(ANYONE);
        vm.expectPartialRevert(NodeRegistry.BadHpSignature.selector);
        net.registry.bindFor(binding, signature, other);
        bytes memory agreed = _sign(HP_KEY, binding.hash());
        vm.prank(ANYONE);
        net.registry.bindFor(binding, signature, agreed);
        _eq(net.registry.daemonAt(nodeId, 2), vm.addr(DAEMON_KEY));
        vm.expectPartialRevert(NodeRegistry.DaemonTaken.selector);
        net.registry.bindFor(binding, signature, agreed);
    }

    function test_an_hp_may_be_a_contract() public {
        Multisig hp = new Multisig();
        bytes32 nodeId = hp.register(net.registry, LABEL);
        (Messages.DaemonBinding memory binding, bytes memory signature) = _binding(nodeId, address(hp), DAEMON_KEY);
        vm.expectPartialRevert(NodeRegistry.BadHpSignature.selector);
        net.registry.bindFor(binding, signature, "");
        hp.agree(_digest(binding.hash()));
        net.registry.bindFor(binding, signature, "");
        _eq(net.registry.daemonAt(nodeId, 2), vm.addr(DAEMON_KEY));
    }

    function test_states_go_down_step_by_step_and_back_to_healthy() public {
        bytes32 nodeId = _register();
        // Where each state may lead, by bits: none, healthy, warned, held, slashing, offboarded.
        uint8[6] memory ways = [0, 1 << 2, 1 << 1 | 1 << 3, 1 << 1 | 1 << 4, 1 << 1 | 1 << 5, 0];
        for (uint8 from = 1; from <= 5; ++from) {
            for (uint8 to; to <= 7; ++to) {
                if (from == uint8(net.registry.nodeOf(nodeId).state) && (to == from + 1 && to <= 5)) continue;
                if (to <= 5 && ways[from] & (1 << to) != 0) continue;
                (Messages.StateChange memory change, bytes[] memory signatures) =
                    _signedChange(nodeId, NodeRegistry.State.Healthy);
                change.to = to;
                signatures = _quorum(change.hash(), 3);
                vm.expectPartialRevert(NodeRegistry.BadTransition.selector);
                net.registry.changeState(change, signatures);
            }
            if (from > 1 && from < 5) {
                _change(nodeId, NodeRegistry.State.Healthy);
                for (uint8 again = 2; again <= from; ++again) {
                    _change(nodeId, NodeRegistry.State(again));
                }
            }
            if (from < 5) _change(nodeId, NodeRegistry.State(from + 1));
        }
        _eq(uint8(net.registry.nodeOf(nodeId).state), uint8(NodeRegistry.State.Offboarded));
    }

    function test_a_change_of_state_needs_a_quorum_the_era_and_its_number() public {
        bytes32 nodeId = _register();
        (Messages.StateChange memory change, bytes[] memory signatures) =
            _signedChange(nodeId, NodeRegistry.State.Warned);
        bytes[] memory few = _quorum(change.hash(), 2);
        vm.expectPartialRevert(OracleRegistry.BadSignatureCount.selector);
        net.registry.changeState(change, few);
        change.evidenceHash = 0;
        vm.expectPartialRevert(OracleRegistry.NotAnOracle.selector);
        net.registry.changeState(change, signatures);
        change.configDigest = 0;
        vm.expectPartialRevert(NodeRegistry.OtherConfig.selector);
        net.registry.changeState(change, signatures);
        (change, signatures) = _signedChange(nodeId, NodeRegistry.State.Warned);
        vm.warp(net.eras.startOf(2));
        vm.expectPartialRevert(NodeRegistry.BadEra.selector);
        net.registry.changeState(change, signatures);
        (change, signatures) = _signedChange(nodeId, NodeRegistry.State.Warned);
        net.registry.changeState(change, signatures);
        _change(nodeId, NodeRegistry.State.Healthy);
        vm.expectPartialRevert(NodeRegistry.StaleChange.selector);
        net.registry.changeState(change, signatures);
        change.nodeId = 0;
        vm.expectPartialRevert(NodeRegistry.UnknownNode.selector);
        net.registry.changeState(change, signatures);
    }

    function test_no_state_changes_while_paused_or_ahead_of_its_era() public {
        bytes32 nodeId = _register();
        (Messages.StateChange memory change, bytes[] memory signatures) =
            _signedChange(nodeId, NodeRegistry.State.Warned);
        net.registry.pause();
        vm.expectRevert(Pausable.EnforcedPause.selector);
        net.registry.changeState(change, signatures);
        net.registry.unpause();
        change.era += 1;
        signatures = _quorum(change.hash(), 3);
        vm.expectPartialRevert(NodeRegistry.BadEra.selector);
        net.registry.changeState(change, signatures);
        vm.warp(net.eras.startOf(change.era));
        net.registry.changeState(change, signatures);
        _eq(uint8(net.registry.nodeOf(nodeId).state), uint8(NodeRegistry.State.Warned));
    }

    function test_who_leaves_has_no_key_and_does_not_come_back() public {
        bytes32 nodeId = _register();
        _bind(nodeId, DAEMON_KEY);
        vm.prank(ANYONE);
        vm.expectPartialRevert(NodeRegistry.NotTheHp.selector);
        net.registry.requestExit(nodeId);
        vm.prank(HP);
        net.registry.requestExit(nodeId);
        _eq(net.registry.nodeOf(nodeId).exitAt, block.timestamp + EXIT_DELAY);
        _eq(net.registry.daemonAt(nodeId, 2), address(0));
        vm.prank(HP);
        vm.expectPartialRevert(NodeRegistry.Leaving.selector);
        net.registry.requestExit(nodeId);
        (Messages.DaemonBinding memory binding, bytes memory signature) = _binding(nodeId, HP, 0xDAF);
        vm.prank(HP);
        vm.expectPartialRevert(NodeRegistry.Leaving.selector);
        net.registry.bind(binding, signature);
    }

    function test_a_stolen_key_is_revoked_also_while_paused() public {
        bytes32 nodeId = _register();
        _bind(nodeId, DAEMON_KEY);
        net.registry.pause();
        vm.prank(ANYONE);
        vm.expectRevert(Pausable.EnforcedPause.selector);
        net.registry.register(LABEL);
        vm.prank(HP);
        net.registry.revoke(nodeId);
        _eq(net.registry.daemonAt(nodeId, 2), address(0));
    }

    /// @dev Whatever is bound and revoked at whatever times: no key is in effect before the next era but one, and a
    /// past era's key never changes.
    function testFuzz_the_past_does_not_change(uint16[3] memory waits, uint8 revokes) public {
        bytes32 nodeId = _register();
        for (uint256 i; i < 3; ++i) {
            vm.warp(block.timestamp + waits[i]);
            uint64 now_ = net.eras.currentEra();
            address current = net.registry.daemonAt(nodeId, now_);
            address next = net.registry.daemonAt(nodeId, now_ + 1);
            address last = net.registry.daemonAt(nodeId, type(uint64).max);
            bool revoked = last != address(0) && revokes & (1 << i) != 0;
            address expected = revoked ? address(0) : _daemons[i];
            vm.prank(HP);
            if (revoked) net.registry.revoke(nodeId);
            else net.registry.bind(_bindings[i], _signatures[i]);
            _eq(net.registry.daemonAt(nodeId, now_ + 2), expected);
            _eq(net.registry.daemonAt(nodeId, now_), current);
            _eq(net.registry.daemonAt(nodeId, now_ + 1), next);
        }
    }
}
