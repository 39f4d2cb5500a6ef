// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {vm} from "../script/Cheats.sol";
import {Network, Terms} from "../script/Network.sol";
import {Disputes} from "../src/Disputes.sol";
import {Messages} from "../src/Messages.sol";
import {NodeRegistry} from "../src/NodeRegistry.sol";
import {Deployer} from "./Deployer.sol";
import {MockICNT} from "./MockICNT.sol";
import {Tree} from "./Tree.sol";

/// @notice A network with four oracles (three decide), and what tests do with it again and again. The test is the
/// administrator and the guardian.
abstract contract Fixture {
    using Messages for *;

    uint64 internal constant GENESIS = 1_000_000;
    uint32 internal constant ERA = 3600;
    uint256 internal constant WINDOW = 1 days;
    uint256 internal constant EXIT_DELAY = 14 days;
    uint256 internal constant UNBONDING = 30 days;
    uint256 internal constant MIN_BOND = 1000 ether;
    uint256 internal constant DISPUTE_BOND = 10 ether;
    uint256 internal constant SUPPRESSION = 100 ether;
    uint256 internal constant FUND = 1_000_000 ether;
    uint256 internal constant ERA_CAP_BPS = 100;
    uint256 internal constant TOTAL_CAP_BPS = 5000;
    uint16 internal constant REWARD_BPS = 1000;
    address internal constant GOVERNOR = address(0x60F);
    address internal constant TREASURY = address(0x7EA5);
    address internal constant HP = address(0x4890);
    address internal constant ANYONE = address(0xA11);
    uint256 internal constant DAEMON_KEY = 0xDAE;
    bytes32 internal constant LABEL = bytes32(uint256(0x1abe1));

    MockICNT internal icnt;
    Network internal net;
    /// @dev Ascending by address.
    uint256[] internal oracleKeys;

    function setUp() public virtual {
        vm.warp(GENESIS);
        icnt = new MockICNT();
        // By its name and not by `new`: no test carries the code of all contracts, which would be compiled with each.
        net = Deployer(vm.deployCode("Deployer.sol:Deployer"))
            .deploy(
                Terms({
                token: icnt,
                treasury: TREASURY,
                guardian: address(this),
                governor: GOVERNOR,
                genesis: GENESIS,
                eraSeconds: ERA,
                minBond: MIN_BOND,
                unbonding: UNBONDING,
                exitDelay: EXIT_DELAY,
                eraCapBps: ERA_CAP_BPS,
                totalCapBps: TOTAL_CAP_BPS,
                disputeWindow: WINDOW,
                timelockDelay: 2 days,
                disputes: Disputes.Terms({
                bond: uint96(DISPUTE_BOND),
                suppressionSlash: uint96(SUPPRESSION),
                rewardBps: REWARD_BPS,
                answerWindow: 3 days,
                evidenceAge: 14 days
            })
            })
            );
        oracleKeys = _ascending(4, 0x0AC);
        address[] memory members = _addresses(oracleKeys);
        for (uint256 i; i < members.length; ++i) {
            _bond(members[i], MIN_BOND);
        }
        net.oracles.schedule(members, 16, 0);
        icnt.mint(address(this), FUND);
        icnt.approve(address(net.settlement), FUND);
        net.settlement.fund(FUND);
    }

    function _bond(address oracle, uint256 amount) internal {
        icnt.mint(address(this), amount);
        icnt.approve(address(net.oracles), amount);
        net.oracles.deposit(oracle, amount);
    }

    /// @dev Keys whose addresses ascend.
    function _ascending(uint256 count, uint256 seed) internal pure returns (uint256[] memory keys) {
        keys = new uint256[](count);
        for (uint256 i; i < count; ++i) {
            keys[i] = uint256(keccak256(abi.encode(seed, i)));
        }
        for (uint256 i; i < count; ++i) {
            for (uint256 j = i + 1; j < count; ++j) {
                if (vm.addr(keys[j]) < vm.addr(keys[i])) (keys[i], keys[j]) = (keys[j], keys[i]);
            }
        }
    }

    function _addresses(uint256[] memory keys) internal pure returns (address[] memory found) {
        found = new address[](keys.length);
        for (uint256 i; i < keys.length; ++i) {
            found[i] = vm.addr(keys[i]);
        }
    }

    function _digest(bytes32 structHash) internal view returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(net.settlement.domainSeparator(), structHash);
    }

    function _sign(uint256 key, bytes32 structHash) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, _digest(structHash));
        return abi.encodePacked(r, s, v);
    }

    /// @dev Signatures of the first `count` oracles.
    function _quorum(bytes32 structHash, uint256 count) internal view returns (bytes[] memory signatures) {
        signatures = new bytes[](count);
        for (uint256 i; i < count; ++i) {
            signatures[i] = _sign(oracleKeys[i], structHash);
        }
    }

    function _binding(bytes32 nodeId, address hp, uint256 daemonKey)
        internal
        view
        returns (Messages.DaemonBinding memory binding, bytes memory signature)
    {
        binding = Messages.DaemonBinding({
            nodeId: nodeId,
            hpAccount: hp,
            daemonAddress: vm.addr(daemonKey),
            attestationKeyHash: bytes32(uint256(1)),
            hardwareReportHash: bytes32(uint256(2)),
            deadline: block.timestamp + 1 hours
        });
        signature = _sign(daemonKey, binding.hash());
    }

    /// @dev A node of an HP with a key and collateral.
    function _node(address hp, bytes32 label, uint256 daemonKey, uint256 amount) internal returns (bytes32 nodeId) {
        vm.prank(hp);
        nodeId = net.registry.register(label);
        (Messages.DaemonBinding memory binding, bytes memory signature) = _binding(nodeId, hp, daemonKey);
        vm.prank(hp);
        net.registry.bind(binding, signature);
        if (amount == 0) return nodeId;
        icnt.mint(hp, amount);
        vm.prank(hp);
        icnt.approve(address(net.vault), amount);
        vm.prank(hp);
        net.vault.deposit(nodeId, amount);
    }

    function _leaf(bytes32 nodeId, uint64 toEra, uint256 reward, uint256 penalty)
        internal
        pure
        returns (Messages.Leaf memory)
    {
        return Messages.Leaf(nodeId, toEra, reward, penalty, keccak256(abi.encode(nodeId, toEra)));
    }

    function _hashes(Messages.Leaf[] memory leaves) internal pure returns (bytes32[] memory hashes) {
        hashes = new bytes32[](leaves.length);
        for (uint256 i; i < leaves.length; ++i) {
            hashes[i] = leaves[i].leaf();
        }
    }

    /// @dev The next root, of one era, with these leaves.
    function _next(bytes32 root, uint256 reward, uint256 penalty) internal view returns (Messages.EraRoot memory) {
        uint64 era = net.settlement.nextEra();
        uint256 count = net.settlement.rootCount();
        return Messages.EraRoot({
            fromEra: era,
            toEra: era,
            previous: count == 0 ? bytes32(0) : net.settlement.rootAt(count - 1).digest,
            root: root,
            votesRoot: keccak256(abi.encode("votes", root)),
            totalReward: reward,
            totalPenalty: penalty,
            configDigest: net.oracles.configDigest(era)
        });
    }

    /// @dev Posts a root as soon as its last era is over.
    function _post(Messages.EraRoot memory root) internal returns (uint256 id) {
        uint256 over = net.eras.endOf(root.toEra);
        if (block.timestamp < over) vm.warp(over);
        bytes[] memory signatures = _quorum(root.hash(), 3);
        vm.prank(ANYONE);
        return net.settlement.post(root, signatures);
    }

    /// @dev Posts a root with one leaf.
    function _postOne(Messages.Leaf memory leaf, uint256 reward, uint256 penalty)
        internal
        returns (uint256 id, Messages.EraRoot memory root)
    {
        root = _next(leaf.leaf(), reward, penalty);
        id = _post(root);
    }

    function _ripen() internal {
        vm.warp(block.timestamp + WINDOW);
    }

    function _claim(uint256 id, Messages.Leaf memory leaf) internal returns (uint256 amount, uint256 taken) {
        vm.prank(ANYONE);
        return net.claims.claim(id, leaf, new bytes32[](0));
    }

    /// @dev Puts a node in another state, as a quorum wants it.
    function _change(bytes32 nodeId, NodeRegistry.State to) internal {
        (Messages.StateChange memory change, bytes[] memory signatures) = _signedChange(nodeId, to);
        net.registry.changeState(change, signatures);
    }

    function _signedChange(bytes32 nodeId, NodeRegistry.State to)
        internal
        view
        returns (Messages.StateChange memory change, bytes[] memory signatures)
    {
        NodeRegistry.Node memory node = net.registry.nodeOf(nodeId);
        uint64 era = net.eras.currentEra();
        change = Messages.StateChange({
            nodeId: nodeId,
            sequence: uint64(node.changes) + 1,
            from: uint8(node.state),
            to: uint8(to),
            era: era,
            evidenceHash: keccak256("evidence"),
            configDigest: net.oracles.configDigest(era)
        });
        signatures = _quorum(change.hash(), 3);
    }

    /// @dev Down to slashing.
    function _slashing(bytes32 nodeId) internal {
        _change(nodeId, NodeRegistry.State.Warned);
        _change(nodeId, NodeRegistry.State.RewardsHeld);
        _change(nodeId, NodeRegistry.State.Slashing);
    }

    error NotEqual(uint256 left, uint256 right);
    error NotEqual32(bytes32 left, bytes32 right);
    error NotTrue(string what);

    function _eq(uint256 left, uint256 right) internal pure {
        if (left != right) revert NotEqual(left, right);
    }

    function _eq(bytes32 left, bytes32 right) internal pure {
        if (left != right) revert NotEqual32(left, right);
    }

    function _eq(address left, address right) internal pure {
        _eq(uint160(left), uint160(right));
    }

    function _true(bool it, string memory what) internal pure {
        if (!it) revert NotTrue(what);
    }
}
