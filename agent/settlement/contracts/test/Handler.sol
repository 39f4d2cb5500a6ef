// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {vm} from "../script/Cheats.sol";
import {Network} from "../script/Network.sol";
import {Messages} from "../src/Messages.sol";
import {NodeRegistry} from "../src/NodeRegistry.sol";
import {MockICNT} from "./MockICNT.sol";
import {Tree} from "./Tree.sol";

/// @notice Does at random what anyone may do to a network, and keeps beside it what must have come of it. Signatures
/// of oracles are not looked at: any root may be posted, as if all oracles lied.
contract Handler {
    using Messages for *;

    uint256 public constant NODES = 4;

    Network private _net;
    MockICNT private _icnt;
    address private immutable _guardian;

    bytes32[NODES] public ids;
    address[NODES] public hps;

    /// @dev Roots that stand, and those that were cancelled, with their leaves.
    Messages.EraRoot[] private _roots;
    mapping(bytes32 root => Messages.Leaf[]) private _leaves;
    Messages.EraRoot[] private _gone;

    /// @notice What went in and out by this contract's own count, in the token's smallest unit.
    uint256 public funded;
    uint256 public deposited;
    uint256 public withdrawn;
    uint256 public collected;
    /// @notice By node: rewards paid, penalties taken, collateral put in, the most that a leaf claimed by said.
    uint256[NODES] public paid;
    uint256[NODES] public taken;
    uint256[NODES] public put;
    uint256[NODES] public proven;
    uint256[NODES] public provenPenalty;
    /// @dev By node: era of the last slash, taken in it, collateral when it began.
    uint64[NODES] private _era;
    uint256[NODES] private _ofEra;
    uint256[NODES] private _base;
    /// @notice Things that must never happen, and how often each kind of step did something.
    uint256 public wrongs;
    uint256 public claims;
    uint256 public slashes;
    uint256 public cancels;

    constructor(Network memory network, MockICNT icnt, address guardian) {
        (_net, _icnt, _guardian) = (network, icnt, guardian);
        for (uint256 i; i < NODES; ++i) {
            hps[i] = address(uint160(0x4890 + i));
            vm.prank(hps[i]);
            ids[i] = network.registry.register(bytes32(i));
        }
    }

    function fund(uint96 amount) external {
        uint256 bounded = 1 + amount % 1000 ether;
        _icnt.mint(address(this), bounded);
        _icnt.approve(address(_net.settlement), bounded);
        _net.settlement.fund(bounded);
        funded += bounded;
    }

    function deposit(uint8 pick, uint96 amount) external {
        uint256 i = pick % NODES;
        if (_net.registry.nodeOf(ids[i]).exitAt != 0) return;
        if (_net.registry.nodeOf(ids[i]).state == NodeRegistry.State.Offboarded) return;
        uint256 bounded = 1 + amount % 1000 ether;
        _icnt.mint(hps[i], bounded);
        vm.prank(hps[i]);
        _icnt.approve(address(_net.vault), bounded);
        vm.prank(hps[i]);
        _net.vault.deposit(ids[i], bounded);
        deposited += bounded;
        put[i] += bounded;
        if (_era[i] == _net.eras.currentEra()) _base[i] += bounded;
    }

    /// @notice Posts a root of random leaves: cumulative amounts may go up, down, or add up to more than it says.
    function post(uint64[NODES] calldata rewards, uint64[NODES] calldata penalties, uint96 total, uint96 penalty)
        external
    {
        uint64 era = _net.settlement.nextEra();
        if (block.timestamp < _net.eras.endOf(era)) vm.warp(_net.eras.endOf(era));
        uint256 free = _net.settlement.available();
        bytes32[] memory hashes = new bytes32[](NODES);
        Messages.Leaf[] memory leaves = new Messages.Leaf[](NODES);
        for (uint256 i; i < NODES; ++i) {
            leaves[i] = Messages.Leaf(ids[i], era, uint256(rewards[i]) * 50, uint256(penalties[i]) * 50, 0);
            hashes[i] = leaves[i].leaf();
        }
        bytes32 top = Tree.rootOf(hashes);
        Messages.EraRoot memory root = Messages.EraRoot({
            fromEra: era,
            toEra: era,
            previous: _roots.length == 0 ? bytes32(0) : _net.settlement.rootAt(_roots.length - 1).digest,
            root: top,
            votesRoot: bytes32(_gone.length),
            totalReward: free == 0 ? 0 : total % (free + 1),
            totalPenalty: penalty,
            configDigest: _net.oracles.configDigest(era)
        });
        _net.settlement.post(root, new bytes[](0));
        _roots.push(root);
        if (_leaves[top].length == 0) {
            for (uint256 i; i < NODES; ++i) {
                _leaves[top].push(leaves[i]);
            }
        }
    }

    function cancel(uint8 pick) external {
        if (_roots.length == 0) return;
        uint256 back = pick % (_roots.length < 3 ? _roots.length : 3);
        uint256 id = _roots.length - 1 - back;
        if (_net.settlement.isFinal(id)) return;
        Messages.EraRoot memory root = _roots[id];
        vm.prank(_guardian);
        _net.settlement.cancel(id, root, 0);
        while (_roots.length > id) {
            _gone.push(_roots[_roots.length - 1]);
            _roots.pop();
        }
        ++cancels;
    }

    /// @notice Claims for a node by a root that stands.
    function claim(uint8 rootPick, uint8 pick) external {
        if (_roots.length == 0) return;
        _claim(_roots.length - 1 - rootPick % _roots.length, pick % NODES);
    }

    /// @notice Claims for a node twice: the second time nothing may move but what a cap held back.
    function claimTwice(uint8 rootPick, uint8 pick) external {
        if (_roots.length == 0) return;
        uint256 id = _roots.length - 1 - rootPick % _roots.length;
        if (!_claim(id, pick % NODES)) return;
        uint256 before = paid[pick % NODES];
        _claim(id, pick % NODES);
        if (paid[pick % NODES] != before) ++wrongs;
    }

    /// @notice Claims by a root that was cancelled, at every number: nothing may come of it.
    function claimCancelled(uint8 gonePick, uint8 pick) external {
        if (_gone.length == 0) return;
        Messages.EraRoot memory root = _gone[gonePick % _gone.length];
        Messages.Leaf[] memory leaves = _leaves[root.root];
        uint256 i = pick % NODES;
        bytes32[] memory proof = Tree.proofOf(_hashes(leaves), i);
        for (uint256 id; id <= _roots.length; ++id) {
            // The very same tree may have been posted again, in its own right.
            if (id < _roots.length && _roots[id].root == root.root) continue;
            try _net.claims.claim(id, leaves[i], proof) {
                ++wrongs;
            } catch {}
        }
    }

    function wait(uint24 time) external {
        vm.warp(block.timestamp + time % 2 days);
    }

    function state(uint8 pick, uint8 to) external {
        uint256 i = pick % NODES;
        NodeRegistry.Node memory node = _net.registry.nodeOf(ids[i]);
        uint8 from = uint8(node.state);
        if (from == uint8(NodeRegistry.State.Offboarded)) return;
        uint8 next = to % 4 == 0 && from > 1 ? 1 : from + 1;
        // Few nodes end, so that there is something to do.
        if (next == uint8(NodeRegistry.State.Offboarded) && to % 16 != 1) return;
        uint64 era = _net.eras.currentEra();
        Messages.StateChange memory change =
            Messages.StateChange(ids[i], uint64(node.changes) + 1, from, next, era, 0, _net.oracles.configDigest(era));
        _net.registry.changeState(change, new bytes[](0));
    }

    function exit(uint8 pick) external {
        uint256 i = pick % NODES;
        NodeRegistry.Node memory node = _net.registry.nodeOf(ids[i]);
        if (pick > 32 && node.exitAt == 0) return;
        if (node.exitAt == 0) {
            vm.prank(hps[i]);
            _net.registry.requestExit(ids[i]);
            return;
        }
        (uint256 balance,,,,) = _net.vault.collateral(ids[i]);
        if (block.timestamp < node.exitAt || balance == 0) return;
        uint256 before = _icnt.balanceOf(hps[i]);
        vm.prank(hps[i]);
        _net.vault.withdraw(ids[i]);
        if (_icnt.balanceOf(hps[i]) - before != balance) ++wrongs;
        withdrawn += balance;
    }

    function collect() external {
        uint256 due = _net.vault.treasuryDue();
        if (due == 0) return;
        _net.vault.collect();
        collected += due;
    }

    function _claim(uint256 id, uint256 i) private returns (bool) {
        Messages.Leaf memory leaf = _leaves[_roots[id].root][i];
        bytes32[] memory proof = Tree.proofOf(_hashes(_leaves[_roots[id].root]), i);
        uint256[NODES] memory before;
        for (uint256 n; n < NODES; ++n) {
            before[n] = _icnt.balanceOf(hps[n]);
        }
        (uint256 collateral,,,,) = _net.vault.collateral(ids[i]);
        bool isFinal = _net.settlement.isFinal(id);
        try _net.claims.claim(id, leaf, proof) returns (uint256 amount, uint256 slashed) {
            if (!isFinal) ++wrongs;
            for (uint256 n; n < NODES; ++n) {
                if (_icnt.balanceOf(hps[n]) - before[n] != (n == i ? amount : 0)) ++wrongs;
            }
            if (leaf.cumulativeReward > proven[i]) proven[i] = leaf.cumulativeReward;
            if (leaf.cumulativePenalty > provenPenalty[i]) provenPenalty[i] = leaf.cumulativePenalty;
            paid[i] += amount;
            _slashed(i, slashed, collateral);
            if (amount > 0) ++claims;
            return true;
        } catch {
            return false;
        }
    }

    function _slashed(uint256 i, uint256 amount, uint256 collateral) private {
        if (amount == 0) return;
        uint64 era = _net.eras.currentEra();
        if (_era[i] != era) (_era[i], _ofEra[i], _base[i]) = (era, 0, collateral);
        _ofEra[i] += amount;
        taken[i] += amount;
        ++slashes;
        if (_ofEra[i] > _base[i] * _net.vault.eraCapBps() / 10_000) ++wrongs;
    }

    function _hashes(Messages.Leaf[] memory leaves) private pure returns (bytes32[] memory hashes) {
        hashes = new bytes32[](leaves.length);
        for (uint256 i; i < leaves.length; ++i) {
            hashes[i] = leaves[i].leaf();
        }
    }
}
