// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {EraManager} from "./EraManager.sol";
import {Forfeits} from "./Forfeits.sol";

/// @title Who the SLA oracles are, what they stake, and what they agreed to measure by
/// @notice A set of oracles is in force from an era on until the next set is. An oracle's stake stays until some time
/// after its last era.
contract OracleRegistry is Forfeits {
    using SafeCast for uint256;

    /// @notice A set of oracles.
    struct Set {
        /// The first era that it is in force in.
        uint64 fromEra;
        /// Bytes of a node that each oracle asks for in each challenge.
        uint16 samples;
        /// Ascending.
        address[] oracles;
    }

    /// @notice What is known of an oracle. One storage slot.
    struct Oracle {
        /// Its stake in the token's smallest unit.
        uint96 bond;
        /// 1 + index of the newest set that it is in; 0 for none.
        uint64 lastSet;
        /// It equivocated: its signatures count no more.
        bool jailed;
    }

    /// @notice The most oracles of a set: as in `agent/sla`.
    uint256 public constant ORACLES_MAX = 32;

    /// @notice The most samples of a challenge: as in `agent/sla`.
    uint16 public constant SAMPLES_MAX = 512;

    /// @notice Sets at most, over all times: a set each week for 19 years. They are searched by halves.
    uint256 public constant SETS_MAX = 1000;

    /// @notice When eras begin and end.
    EraManager public immutable eras;

    /// @notice The contract that settles, which is part of what `configDigest` binds.
    address public immutable settlement;

    /// @notice The least stake of an oracle when it is put in a set, in the token's smallest unit.
    uint256 public immutable minBond;

    /// @notice Seconds from the end of an oracle's last era until it may withdraw its stake.
    uint256 public immutable unbonding;

    Set[] private _sets;

    /// @notice Oracles by address.
    mapping(address oracle => Oracle) public oracles;

    /// @notice A set of oracles will be in force from an era on.
    event SetScheduled(uint256 indexed id, uint64 indexed fromEra, uint16 samples, address[] oracles);
    /// @notice An oracle's stake grew.
    event Bonded(address indexed oracle, address indexed from, uint256 amount);
    /// @notice An oracle took its stake back.
    event Unbonded(address indexed oracle, address indexed to, uint256 amount);
    /// @notice An oracle lost stake; `reward` of it went to who showed the evidence.
    event OracleSlashed(
        address indexed oracle, address indexed reporter, uint256 amount, uint256 reward, bytes32 evidence
    );
    /// @notice An oracle's signatures count no more.
    event OracleJailed(address indexed oracle, bytes32 evidence);

    /// @notice There are too few or too many oracles.
    error BadCount(uint256 count);
    /// @notice So many samples are not possible.
    error BadSamples(uint16 samples);
    /// @notice The oracles do not stand in ascending order, or one stands twice.
    error NotAscending(address oracle);
    /// @notice Its stake is less than `minBond`.
    error BondTooSmall(address oracle, uint256 bond);
    /// @notice It equivocated.
    error Jailed(address oracle);
    /// @notice A set can be in force from `earliest` to `latest` only.
    error BadEra(uint64 era, uint64 earliest, uint64 latest);
    /// @notice There are `SETS_MAX` sets already.
    error TooManySets();
    /// @notice No set is in force in this era.
    error NoSet(uint64 era);
    /// @notice Fewer or more signatures than can be.
    error BadSignatureCount(uint256 count, uint256 quorum, uint256 oracles);
    /// @notice No oracle of the set, or its signature stands twice or not in ascending order of signers.
    error NotAnOracle(address signer);
    /// @notice It is in a set that is in force, or will be, or its time after that is not over.
    error StillBonded(uint256 until);

    /// @param admin Names sets of oracles.
    /// @param settlement_ Address of `SlaSettlement`, which may not be there yet.
    constructor(
        address admin,
        IERC20 token_,
        EraManager eras_,
        address settlement_,
        address treasury_,
        uint256 minBond_,
        uint256 unbonding_
    ) Forfeits(admin, token_, treasury_) {
        if (address(eras_) == address(0) || settlement_ == address(0)) revert NobodyGiven();
        eras = eras_;
        settlement = settlement_;
        minBond = minBond_;
        unbonding = unbonding_;
    }

    /// @notice Adds to an oracle's stake. Open to anyone. Has no pause: an answer to a dispute pays in here, in time.
    function deposit(address oracle, uint256 amount) external nonReentrant {
        if (oracle == address(0)) revert NobodyGiven();
        oracles[oracle].bond += amount.toUint96();
        emit Bonded(oracle, msg.sender, amount);
        _take(msg.sender, amount);
    }

    /// @notice Takes the sender's whole stake back, when the time after its last era is over.
    function withdraw(address to) external nonReentrant whenNotPaused {
        if (to == address(0)) revert NobodyGiven();
        uint256 until = bondedUntil(msg.sender);
        if (block.timestamp < until) revert StillBonded(until);
        uint256 amount = oracles[msg.sender].bond;
        if (amount == 0) revert NothingToMove();
        oracles[msg.sender].bond = 0;
        emit Unbonded(msg.sender, to, amount);
        _give(to, amount);
    }

    /// @notice Names the oracles from an era on, in ascending order. The first set may be in force at once.
    function schedule(address[] calldata members, uint16 samples, uint64 fromEra)
        external
        onlyRole(DEFAULT_ADMIN_ROLE)
    {
        if (members.length == 0 || members.length > ORACLES_MAX) {
            revert BadCount(members.length);
        }
        if (samples == 0 || samples > SAMPLES_MAX) revert BadSamples(samples);
        uint256 id = _sets.length;
        if (id >= SETS_MAX) revert TooManySets();
        _checkEra(id, fromEra);
        address before = address(0);
        for (uint256 i; i < members.length; ++i) {
            address member = members[i];
            if (member <= before) revert NotAscending(member);
            Oracle storage oracle = oracles[member];
            if (oracle.jailed) revert Jailed(member);
            if (oracle.bond < minBond) revert BondTooSmall(member, oracle.bond);
            oracle.lastSet = uint64(id + 1);
            before = member;
        }
        _sets.push(Set(fromEra, samples, members));
        emit SetScheduled(id, fromEra, samples, members);
    }

    /// @notice Takes stake from an oracle, as much as there is of `amount`, and gives `rewardBps` of it to the
    /// reporter. With `jail`, its signatures count no more.
    /// @return taken What it lost, in the token's smallest unit.
    function slash(address oracle, uint256 amount, address reporter, uint256 rewardBps, bool jail, bytes32 evidence)
        external
        nonReentrant
        onlyRole(SLASHER_ROLE)
        returns (uint256 taken)
    {
        Oracle storage of_ = oracles[oracle];
        taken = amount < of_.bond ? amount : of_.bond;
        uint256 reward = taken * rewardBps / BPS;
        of_.bond -= uint96(taken);
        treasuryDue += uint96(taken - reward);
        if (jail && !of_.jailed) {
            of_.jailed = true;
            emit OracleJailed(oracle, evidence);
        }
        emit OracleSlashed(oracle, reporter, taken, reward, evidence);
        if (reward > 0) _give(reporter, reward);
    }

    /// @notice That a quorum of the oracles of an era signed a digest. Signatures stand in ascending order of
    /// signers; those of oracles that equivocated do not count, and must be left out.
    function requireQuorum(uint64 era, bytes32 digest, bytes[] calldata signatures) external view {
        address[] memory members = _setOf(era).oracles;
        uint256 quorum = quorumOf(members.length);
        if (signatures.length < quorum || signatures.length > members.length) {
            revert BadSignatureCount(signatures.length, quorum, members.length);
        }
        uint256 place;
        for (uint256 i; i < signatures.length; ++i) {
            address signer = ECDSA.recoverCalldata(digest, signatures[i]);
            while (place < members.length && members[place] < signer) ++place;
            if (place == members.length || members[place] != signer) revert NotAnOracle(signer);
            if (oracles[signer].jailed) revert Jailed(signer);
            ++place;
        }
    }

    /// @notice How many of `count` oracles decide: with f = (count − 1) / 3 that lie, any two quorums share one that
    /// does not. 2f + 1 where count is 3f + 1.
    function quorumOf(uint256 count) public pure returns (uint256) {
        if (count == 0) revert BadCount(0);
        return (count + (count - 1) / 3) / 2 + 1;
    }

    /// @notice Digest of the parameters in force in an era: Keccak-256 of the ABI encoding of chain, contract,
    /// genesis, seconds of an era, samples and oracles, as `Parameters::digest` of `agent/sla` has it.
    function configDigest(uint64 era) external view returns (bytes32) {
        Set storage set = _setOf(era);
        (uint64 genesis, uint32 duration) = eras.parametersOf(era);
        return keccak256(abi.encode(uint64(block.chainid), settlement, genesis, duration, set.samples, set.oracles));
    }

    /// @notice When an oracle may take its stake back, in seconds since 1970; the end of time while it is in the
    /// newest set.
    function bondedUntil(address oracle) public view returns (uint256) {
        uint256 lastSet = oracles[oracle].lastSet;
        if (lastSet == 0) return 0;
        if (lastSet == _sets.length) return type(uint256).max;
        return eras.startOf(_sets[lastSet].fromEra) + unbonding;
    }

    /// @notice The set in force in an era.
    function setOf(uint64 era) external view returns (Set memory) {
        return _setOf(era);
    }

    /// @notice The sets, by number from 0.
    function setAt(uint256 id) external view returns (Set memory) {
        return _sets[id];
    }

    /// @notice How many sets there are.
    function setCount() external view returns (uint256) {
        return _sets.length;
    }

    function _checkEra(uint256 id, uint64 fromEra) private view {
        uint64 current = eras.currentEra();
        uint64 earliest;
        if (id > 0) {
            uint64 last = _sets[id - 1].fromEra;
            earliest = current + eras.LEAD_ERAS();
            if (earliest <= last) earliest = last + 1;
        }
        uint64 latest = current + eras.AHEAD_ERAS_MAX();
        if (fromEra < earliest || fromEra > latest) revert BadEra(fromEra, earliest, latest);
    }

    /// @dev The newest set that begins at or before `era`, found by halves: recent eras are near the end, but
    /// evidence may be of any.
    function _setOf(uint64 era) private view returns (Set storage) {
        uint256 low;
        uint256 high = _sets.length;
        while (low < high) {
            uint256 middle = (low + high) / 2;
            if (_sets[middle].fromEra <= era) low = middle + 1;
            else high = middle;
        }
        if (low == 0) revert NoSet(era);
        return _sets[low - 1];
    }
}
