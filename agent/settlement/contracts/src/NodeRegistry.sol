// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {EraManager} from "./EraManager.sol";
import {Governed} from "./Governed.sol";
import {Messages} from "./Messages.sol";
import {OracleRegistry} from "./OracleRegistry.sol";
import {SlaDomain} from "./SlaDomain.sol";

/// @title Which nodes there are, whose they are, and which key each signs with
/// @notice A node's HP never changes: what it earned goes to that account and to no other. Its daemon key may be
/// bound, rotated and revoked by the HP, in effect from the next era but one.
contract NodeRegistry is Governed, SlaDomain {
    using Checkpoints for Checkpoints.Trace160;
    using Messages for Messages.DaemonBinding;
    using Messages for Messages.StateChange;

    /// @notice How a node stands.
    enum State {
        /// Not registered.
        None,
        Healthy,
        /// Nothing is withheld yet.
        Warned,
        /// Rewards are counted and not paid.
        RewardsHeld,
        /// Penalties are taken from collateral.
        Slashing,
        /// It is gone: what it earned is paid, what it forfeited is taken.
        Offboarded
    }

    /// @notice What is known of a node. One storage slot.
    struct Node {
        address hp;
        State state;
        /// When its collateral may be withdrawn, in seconds since 1970; 0 while no exit was requested.
        uint64 exitAt;
        /// Changes of state so far.
        uint24 changes;
    }

    /// @notice Seconds from the request of an exit until collateral may be withdrawn.
    uint256 public immutable exitDelay;

    /// @notice When eras begin and end.
    EraManager public immutable eras;

    /// @notice Who signs changes of state.
    OracleRegistry public immutable oracles;

    mapping(bytes32 nodeId => Node) private _nodes;
    mapping(bytes32 nodeId => Checkpoints.Trace160) private _daemons;

    /// @notice The node that an address was ever bound to. It is never bound again: neither to another node nor, once
    /// revoked, to the same.
    mapping(address daemon => bytes32 nodeId) public nodeOfDaemon;

    /// @notice A node is an HP's.
    event NodeRegistered(bytes32 indexed nodeId, address indexed hpAccount, bytes32 label);
    /// @notice From an era on, a node signs with this key.
    event DaemonBound(
        bytes32 indexed nodeId,
        address indexed daemonAddress,
        uint64 fromEra,
        bytes32 attestationKeyHash,
        bytes32 hardwareReportHash
    );
    /// @notice From an era on, a node has no key.
    event DaemonRevoked(bytes32 indexed nodeId, address indexed daemonAddress, uint64 fromEra);
    /// @notice A node stands otherwise than before.
    event StateChanged(bytes32 indexed nodeId, State from, State to, uint64 indexed era, bytes32 evidenceHash);
    /// @notice An HP wants its collateral back.
    event ExitRequested(bytes32 indexed nodeId, uint256 exitAt);

    /// @notice The node is registered already.
    error AlreadyRegistered(bytes32 nodeId);
    /// @notice There is no such node.
    error UnknownNode(bytes32 nodeId);
    /// @notice Only the node's HP may.
    error NotTheHp(bytes32 nodeId, address sender);
    /// @notice The binding names another HP account than the node has.
    error OtherHp(address expected, address given);
    /// @notice The time of the binding is over.
    error Expired(uint256 deadline);
    /// @notice The binding is not signed by the daemon key.
    error NotTheDaemon(address expected, address signer);
    /// @notice The binding is not signed by the HP account.
    error BadHpSignature(address hpAccount);
    /// @notice The daemon address was bound before.
    error DaemonTaken(address daemon, bytes32 nodeId);
    /// @notice The node has no daemon key, or will have none.
    error NoDaemon(bytes32 nodeId);
    /// @notice The node is on its way out, or gone.
    error Leaving(bytes32 nodeId);
    /// @notice The change begins at another state, or has another number, than the node has.
    error StaleChange(bytes32 nodeId, State state, uint64 nextSequence);
    /// @notice No way leads from the one state to the other.
    error BadTransition(uint8 from, uint8 to);
    /// @notice A change of state is of the era that is or the one before.
    error BadEra(uint64 era, uint64 current);
    /// @notice The parameters of the era are others.
    error OtherConfig(bytes32 expected, bytes32 given);

    constructor(address admin, EraManager eras_, OracleRegistry oracles_, address settlement_, uint256 exitDelay_)
        Governed(admin)
        SlaDomain(settlement_)
    {
        if (address(eras_) == address(0) || address(oracles_) == address(0) || settlement_ == address(0)) {
            revert NobodyGiven();
        }
        eras = eras_;
        oracles = oracles_;
        exitDelay = exitDelay_;
    }

    /// @notice What a node of an HP is called: nobody else can register that name, before or after.
    /// @param label What the HP tells its nodes apart by: the id that the node made for itself.
    function nodeIdOf(address hpAccount, bytes32 label) public pure returns (bytes32) {
        return keccak256(abi.encode(hpAccount, label));
    }

    /// @notice Registers a node of the sender, who is its HP for good.
    function register(bytes32 label) external whenNotPaused returns (bytes32 nodeId) {
        nodeId = nodeIdOf(msg.sender, label);
        if (_nodes[nodeId].state != State.None) revert AlreadyRegistered(nodeId);
        _nodes[nodeId] = Node(msg.sender, State.Healthy, 0, 0);
        emit NodeRegistered(nodeId, msg.sender, label);
    }

    /// @notice Binds a daemon key, or puts it in the place of the one before; called by the HP.
    function bind(Messages.DaemonBinding calldata binding, bytes calldata daemonSignature) external whenNotPaused {
        _onlyHp(binding.nodeId);
        _bind(binding, daemonSignature);
    }

    /// @notice As `bind`, called by anyone with the HP account's signature beside the daemon's. The HP account may be
    /// a contract (ERC-1271).
    function bindFor(
        Messages.DaemonBinding calldata binding,
        bytes calldata daemonSignature,
        bytes calldata hpSignature
    ) external whenNotPaused {
        address hp = _known(binding.nodeId).hp;
        if (!SignatureChecker.isValidSignatureNow(hp, _digest(binding.hash()), hpSignature)) {
            revert BadHpSignature(hp);
        }
        _bind(binding, daemonSignature);
    }

    /// @notice From the next era but one on, the node has no key. Possible while paused: a stolen key waits for nobody.
    function revoke(bytes32 nodeId) external {
        _onlyHp(nodeId);
        _revoke(nodeId);
    }

    /// @notice The HP wants its collateral back: the key is revoked, and after `exitDelay` the collateral may be
    /// withdrawn. There is no way back; the HP may register another node.
    function requestExit(bytes32 nodeId) external {
        _onlyHp(nodeId);
        if (_nodes[nodeId].exitAt != 0) revert Leaving(nodeId);
        uint64 exitAt = uint64(block.timestamp + exitDelay);
        _nodes[nodeId].exitAt = exitAt;
        emit ExitRequested(nodeId, exitAt);
        if (_daemons[nodeId].latest() != 0) _revoke(nodeId);
    }

    /// @notice Changes a node's state: one step down, or back to healthy, with the signatures of a quorum of oracles.
    /// Open to anyone.
    function changeState(Messages.StateChange calldata change, bytes[] calldata signatures) external whenNotPaused {
        Node storage node = _known(change.nodeId);
        if (uint8(node.state) != change.from || change.sequence != uint64(node.changes) + 1) {
            revert StaleChange(change.nodeId, node.state, uint64(node.changes) + 1);
        }
        if (!_leads(change.from, change.to)) revert BadTransition(change.from, change.to);
        uint64 current = eras.currentEra();
        if (change.era > current || change.era + 1 < current) revert BadEra(change.era, current);
        bytes32 expected = oracles.configDigest(change.era);
        if (change.configDigest != expected) revert OtherConfig(expected, change.configDigest);
        oracles.requireQuorum(change.era, _digest(change.hash()), signatures);
        State from = node.state;
        node.state = State(change.to);
        ++node.changes;
        emit StateChanged(change.nodeId, from, State(change.to), change.era, change.evidenceHash);
    }

    /// @notice What is known of a node; state `None` where there is none.
    function nodeOf(bytes32 nodeId) external view returns (Node memory) {
        return _nodes[nodeId];
    }

    /// @notice The key that a node signs with in an era; zero for none.
    function daemonAt(bytes32 nodeId, uint64 era) external view returns (address) {
        return address(_daemons[nodeId].upperLookupRecent(era));
    }

    /// @notice Where rewards go, whether they are paid now, and whether penalties are taken now.
    function standing(bytes32 nodeId) external view returns (address hp, bool pays, bool forfeits) {
        Node memory node = _nodes[nodeId];
        bool held = node.state == State.RewardsHeld || node.state == State.Slashing;
        bool left = node.exitAt != 0 && block.timestamp >= node.exitAt;
        return (node.hp, !held || left, node.state == State.Slashing || node.state == State.Offboarded);
    }

    function _bind(Messages.DaemonBinding calldata binding, bytes calldata signature) private {
        Node memory node = _nodes[binding.nodeId];
        if (binding.hpAccount != node.hp) revert OtherHp(node.hp, binding.hpAccount);
        if (node.exitAt != 0 || node.state == State.Offboarded) revert Leaving(binding.nodeId);
        if (block.timestamp > binding.deadline) revert Expired(binding.deadline);
        address daemon = binding.daemonAddress;
        address signer = ECDSA.recoverCalldata(_digest(binding.hash()), signature);
        if (daemon != signer) revert NotTheDaemon(daemon, signer);
        bytes32 taken = nodeOfDaemon[daemon];
        if (taken != 0) revert DaemonTaken(daemon, taken);
        nodeOfDaemon[daemon] = binding.nodeId;
        uint64 fromEra = eras.nextEraButOne();
        _daemons[binding.nodeId].push(fromEra, uint160(daemon));
        emit DaemonBound(binding.nodeId, daemon, fromEra, binding.attestationKeyHash, binding.hardwareReportHash);
    }

    function _revoke(bytes32 nodeId) private {
        address daemon = address(_daemons[nodeId].latest());
        if (daemon == address(0)) revert NoDaemon(nodeId);
        uint64 fromEra = eras.nextEraButOne();
        _daemons[nodeId].push(fromEra, 0);
        emit DaemonRevoked(nodeId, daemon, fromEra);
    }

    function _known(bytes32 nodeId) private view returns (Node storage node) {
        node = _nodes[nodeId];
        if (node.state == State.None) revert UnknownNode(nodeId);
    }

    function _onlyHp(bytes32 nodeId) private view {
        if (_known(nodeId).hp != msg.sender) revert NotTheHp(nodeId, msg.sender);
    }

    /// @dev One step down from healthy to offboarded, or back to healthy from between.
    function _leads(uint8 from, uint8 to) private pure returns (bool) {
        if (from == uint8(State.None) || from >= uint8(State.Offboarded)) return false;
        return to == from + 1 || (to == uint8(State.Healthy) && from != uint8(State.Healthy));
    }
}
