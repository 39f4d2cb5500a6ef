// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC5267} from "@openzeppelin/contracts/interfaces/IERC5267.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Custody} from "./Custody.sol";
import {EraManager} from "./EraManager.sol";
import {Messages} from "./Messages.sol";
import {OracleRegistry} from "./OracleRegistry.sol";
import {SlaDomain} from "./SlaDomain.sol";

/// @title What all nodes have earned, as the oracles found, and the pool that it is paid from
/// @notice Roots follow each other without a gap. A root's reward must be in the pool when it is posted, and is set
/// aside; after the dispute window it is final. Until then it may be cancelled, with all that were built on it.
contract SlaSettlement is Custody, SlaDomain, IERC5267 {
    using Messages for Messages.EraRoot;
    using SafeCast for uint256;

    /// @notice A root. Three storage slots.
    struct Posted {
        /// EIP-712 digest of the `EraRoot`.
        bytes32 digest;
        bytes32 root;
        /// Reward of this and all roots before it, in the token's smallest unit.
        uint96 reward;
        /// Penalty of this and all roots before it, in the token's smallest unit; ends at what fits.
        uint96 penalty;
        /// Seconds since 1970.
        uint64 postedAt;
    }

    /// @notice May cancel roots on evidence.
    bytes32 public constant CANCELLER_ROLE = keccak256("CANCELLER_ROLE");

    /// @notice May have rewards paid.
    bytes32 public constant PAYER_ROLE = keccak256("PAYER_ROLE");

    /// @notice Roots that may wait for their dispute window at once, so that looking back stays bounded: eras of an
    /// hour and a window of a week need 168.
    uint256 public constant PENDING_MAX = 256;

    /// @notice Who signs.
    OracleRegistry public immutable oracles;

    /// @notice When eras begin and end.
    EraManager public immutable eras;

    /// @notice Seconds from the post of a root until it is final.
    uint256 public immutable disputeWindow;

    /// @dev One storage slot: tokens here for rewards, rewards paid, roots that stand, roots known to be final.
    uint96 private _pool;
    uint96 private _paid;
    uint32 private _count;
    uint32 private _final;

    /// @notice The era that the next root begins with.
    uint64 public nextEra;

    mapping(uint256 id => Posted) private _roots;

    /// @notice Digests of roots that were cancelled: they cannot be posted again.
    mapping(bytes32 digest => bool) public cancelled;

    /// @notice Somebody paid into the pool.
    event Funded(address indexed from, uint256 amount);
    /// @notice Tokens that were not set aside left the pool.
    event Defunded(address indexed to, uint256 amount);
    /// @notice A root stands, and is final at `finalAt` if it is not cancelled.
    event RootPosted(uint256 indexed id, bytes32 indexed digest, Messages.EraRoot root, uint256 finalAt);
    /// @notice A root was cancelled, and so were all after it, up to `through`.
    event RootCancelled(
        uint256 indexed id, uint256 through, bytes32 indexed digest, address indexed by, bytes32 reason
    );
    /// @notice A node's reward left the pool.
    event Paid(bytes32 indexed nodeId, address indexed hp, uint256 amount);

    /// @notice The root begins with another era than the next.
    error NotContiguous(uint64 expected, uint64 given);
    /// @notice The root ends before it begins.
    error EmptyRange(uint64 fromEra, uint64 toEra);
    /// @notice The last era of the root is not over.
    error EraNotOver(uint64 era);
    /// @notice The root follows another one than the last that stands.
    error OtherPrevious(bytes32 expected, bytes32 given);
    /// @notice The parameters of the era are others.
    error OtherConfig(bytes32 expected, bytes32 given);
    /// @notice This root was cancelled.
    error WasCancelled(bytes32 digest);
    /// @notice The pool has less than the roots need.
    error PoolTooSmall(uint256 needed, uint256 available);
    /// @notice `PENDING_MAX` roots wait already.
    error TooManyPending();
    /// @notice There is no root of this number.
    error UnknownRoot(uint256 id);
    /// @notice The root of this number is another.
    error OtherRoot(uint256 id, bytes32 expected, bytes32 given);
    /// @notice The root is not final yet.
    error NotFinal(uint256 id, uint256 finalAt);
    /// @notice The root is final.
    error Final(uint256 id);
    /// @notice More is claimed than all final roots have for all nodes: the leaves of a root add up to more than it
    /// says.
    error RewardsExhausted(uint256 wanted, uint256 left);

    constructor(
        address admin,
        IERC20 token_,
        EraManager eras_,
        OracleRegistry oracles_,
        uint256 disputeWindow_,
        uint64 firstEra
    ) Custody(admin, token_) SlaDomain(address(this)) {
        if (address(eras_) == address(0) || address(oracles_) == address(0)) {
            revert NobodyGiven();
        }
        eras = eras_;
        oracles = oracles_;
        disputeWindow = disputeWindow_;
        nextEra = firstEra;
    }

    /// @notice Pays into the pool. Open to anyone.
    function fund(uint256 amount) external nonReentrant whenNotPaused {
        _pool += amount.toUint96();
        emit Funded(msg.sender, amount);
        _take(msg.sender, amount);
    }

    /// @notice Takes tokens out of the pool that no root has set aside.
    function defund(address to, uint256 amount) external nonReentrant onlyRole(DEFAULT_ADMIN_ROLE) {
        if (to == address(0)) revert NobodyGiven();
        uint256 free = available();
        if (amount > free) revert PoolTooSmall(amount, free);
        _pool -= uint96(amount);
        emit Defunded(to, amount);
        _give(to, amount);
    }

    /// @notice Posts a root with the signatures of a quorum of the oracles of its last era, in ascending order of
    /// signers. Open to anyone.
    function post(Messages.EraRoot calldata root, bytes[] calldata signatures)
        external
        whenNotPaused
        returns (uint256 id)
    {
        id = _count;
        if (root.fromEra != nextEra) revert NotContiguous(nextEra, root.fromEra);
        if (root.toEra < root.fromEra) revert EmptyRange(root.fromEra, root.toEra);
        if (eras.currentEra() <= root.toEra) revert EraNotOver(root.toEra);
        Posted memory last = _last();
        if (root.previous != last.digest) revert OtherPrevious(last.digest, root.previous);
        bytes32 config = oracles.configDigest(root.toEra);
        if (root.configDigest != config) revert OtherConfig(config, root.configDigest);
        if (id >= PENDING_MAX && !_isFinal(_roots[id - PENDING_MAX])) revert TooManyPending();
        uint256 free = available();
        if (root.totalReward > free) revert PoolTooSmall(root.totalReward, free);
        bytes32 digest = _digest(root.hash());
        if (cancelled[digest]) revert WasCancelled(digest);
        oracles.requireQuorum(root.toEra, digest, signatures);
        _roots[id] = Posted({
            digest: digest,
            root: root.root,
            reward: last.reward + root.totalReward.toUint96(),
            penalty: _capped(uint256(last.penalty) + root.totalPenalty.toUint96()),
            postedAt: uint64(block.timestamp)
        });
        _count = uint32(id + 1);
        nextEra = root.toEra + 1;
        emit RootPosted(id, digest, root, block.timestamp + disputeWindow);
    }

    /// @notice Cancels a root that is not final, and all after it: what they set aside is free again. Possible while
    /// paused.
    function cancel(uint256 id, Messages.EraRoot calldata root, bytes32 reason) external {
        if (!hasRole(CANCELLER_ROLE, msg.sender)) _checkRole(GUARDIAN_ROLE, msg.sender);
        bytes32 digest = requireRoot(id, root);
        if (_isFinal(_roots[id])) revert Final(id);
        uint256 through = _count - 1;
        cancelled[digest] = true;
        _count = uint32(id);
        nextEra = root.fromEra;
        emit RootCancelled(id, through, digest, msg.sender, reason);
    }

    /// @notice What `RewardClaims` pays by: a root that is final, and what all nodes together may have been charged.
    function useRoot(uint256 id) external onlyRole(PAYER_ROLE) returns (bytes32 root, uint256 penaltyLimit) {
        Posted storage posted = _at(id);
        if (!_isFinal(posted)) revert NotFinal(id, posted.postedAt + disputeWindow);
        // Roots are final in their order: one look is enough, however many there are.
        if (id >= _final) _final = uint32(id + 1);
        return (posted.root, _roots[_final - 1].penalty);
    }

    /// @notice Pays a node's HP from what final roots set aside.
    function pay(bytes32 nodeId, address hp, uint256 amount) external nonReentrant whenNotPaused onlyRole(PAYER_ROLE) {
        uint256 left = (_final == 0 ? 0 : _roots[_final - 1].reward) - _paid;
        if (amount > left) revert RewardsExhausted(amount, left);
        _paid += uint96(amount);
        _pool -= uint96(amount);
        emit Paid(nodeId, hp, amount);
        _give(hp, amount);
    }

    /// @notice That the root of this number is this one, not cancelled.
    /// @return digest Its EIP-712 digest.
    function requireRoot(uint256 id, Messages.EraRoot calldata root) public view returns (bytes32 digest) {
        digest = _digest(root.hash());
        bytes32 expected = _at(id).digest;
        if (digest != expected) revert OtherRoot(id, expected, digest);
    }

    /// @notice A root that stands.
    function rootAt(uint256 id) external view returns (Posted memory) {
        return _at(id);
    }

    /// @notice Whether a root is final.
    function isFinal(uint256 id) external view returns (bool) {
        return _isFinal(_at(id));
    }

    /// @notice How many roots stand; their numbers begin with 0.
    function rootCount() external view returns (uint256) {
        return _count;
    }

    /// @notice Tokens for rewards that are here, in the token's smallest unit.
    function pool() external view returns (uint256) {
        return _pool;
    }

    /// @notice Rewards paid so far, in the token's smallest unit.
    function paid() external view returns (uint256) {
        return _paid;
    }

    /// @notice Tokens of the pool that no root has set aside, in the token's smallest unit.
    function available() public view returns (uint256) {
        return _pool - (_last().reward - _paid);
    }

    /// @inheritdoc IERC5267
    function eip712Domain()
        external
        view
        returns (bytes1, string memory, string memory, uint256, address, bytes32, uint256[] memory)
    {
        return (hex"0f", "ICN SLA", "1", block.chainid, address(this), 0, new uint256[](0));
    }

    function _at(uint256 id) private view returns (Posted storage) {
        if (id >= _count) revert UnknownRoot(id);
        return _roots[id];
    }

    function _last() private view returns (Posted memory last) {
        if (_count > 0) last = _roots[_count - 1];
    }

    /// @dev Penalties are only a limit to what may be taken: a sum that does not fit must not refuse all later roots.
    function _capped(uint256 sum) private pure returns (uint96) {
        return sum < type(uint96).max ? uint96(sum) : type(uint96).max;
    }

    function _isFinal(Posted storage posted) private view returns (bool) {
        return block.timestamp >= posted.postedAt + disputeWindow;
    }
}
