// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";

/// @title When each era begins and ends
/// @notice Eras follow each other without a gap. Their length may change at the begin of an era to come: a list of
/// segments (era, start, duration) says since when.
contract EraManager is AccessControl {
    /// @notice Eras of one length.
    struct Segment {
        /// The first era of this length.
        uint64 era;
        /// When that one begins, in seconds since 1970.
        uint64 start;
        /// Seconds of each era.
        uint32 duration;
    }

    /// @notice The shortest era in seconds: as in `agent/sla`.
    uint32 public constant ERA_SECONDS_MIN = 20;

    /// @notice The longest era in seconds: as in `agent/sla`.
    uint32 public constant ERA_SECONDS_MAX = 86_400;

    /// @notice Eras between a change's announcement and its effect, at least: the next but one.
    uint64 public constant LEAD_ERAS = 2;

    /// @notice How far ahead a change may lie: half a year of hours. A slip of the pen blocks no later change for good.
    uint64 public constant AHEAD_ERAS_MAX = 4380;

    /// @notice So many segments at most: they are searched one by one.
    uint256 public constant SEGMENTS_MAX = 64;

    Segment[] private _segments;

    /// @notice From this era on, eras have this length.
    event SegmentScheduled(uint64 indexed era, uint64 start, uint32 duration);

    /// @notice An era of so many seconds is not possible.
    error BadDuration(uint32 duration);
    /// @notice Era 0 begins in the future: without a current era nothing works.
    error GenesisAhead(uint64 genesis);
    /// @notice No era of ours: it lies before the first.
    error BeforeGenesis(uint256 time);
    /// @notice A change can take effect from `earliest` to `latest` only.
    error BadEra(uint64 era, uint64 earliest, uint64 latest);
    /// @notice There are `SEGMENTS_MAX` segments already.
    error TooManySegments();
    /// @notice Eras of this length would have begun before 1970: parameters cannot say that.
    error OriginBefore1970();

    /// @param admin May change the length of eras to come.
    /// @param genesis When era 0 began, in seconds since 1970.
    /// @param duration Seconds of an era.
    constructor(address admin, uint64 genesis, uint32 duration) {
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
        if (genesis > block.timestamp) revert GenesisAhead(genesis);
        _checkDuration(duration);
        _segments.push(Segment(0, genesis, duration));
        emit SegmentScheduled(0, genesis, duration);
    }

    /// @notice Changes the length of eras from `era` on.
    function schedule(uint64 era, uint32 duration) external onlyRole(DEFAULT_ADMIN_ROLE) {
        _checkDuration(duration);
        if (_segments.length >= SEGMENTS_MAX) revert TooManySegments();
        Segment memory last = _segments[_segments.length - 1];
        uint64 current = currentEra();
        uint64 earliest = current + LEAD_ERAS > last.era + 1 ? current + LEAD_ERAS : last.era + 1;
        uint64 latest = current + AHEAD_ERAS_MAX;
        if (era < earliest || era > latest) revert BadEra(era, earliest, latest);
        uint64 start = last.start + (era - last.era) * last.duration;
        if (start < era * uint64(duration)) revert OriginBefore1970();
        _segments.push(Segment(era, start, duration));
        emit SegmentScheduled(era, start, duration);
    }

    /// @notice The era of this moment.
    function currentEra() public view returns (uint64) {
        return eraAt(block.timestamp);
    }

    /// @notice The first era that a change of now may take effect in.
    function nextEraButOne() external view returns (uint64) {
        return currentEra() + LEAD_ERAS;
    }

    /// @notice The era of a moment, in seconds since 1970.
    function eraAt(uint256 time) public view returns (uint64) {
        for (uint256 i = _segments.length; i > 0; --i) {
            Segment memory segment = _segments[i - 1];
            if (time >= segment.start) {
                return uint64(segment.era + (time - segment.start) / segment.duration);
            }
        }
        revert BeforeGenesis(time);
    }

    /// @notice When an era begins, in seconds since 1970.
    function startOf(uint64 era) public view returns (uint256) {
        Segment memory segment = segmentOf(era);
        return uint256(segment.start) + uint256(era - segment.era) * segment.duration;
    }

    /// @notice When an era ends, which is when the next begins, in seconds since 1970.
    function endOf(uint64 era) external view returns (uint256) {
        Segment memory segment = segmentOf(era);
        return uint256(segment.start) + (uint256(era - segment.era) + 1) * segment.duration;
    }

    /// @notice `genesis` and `era_seconds` of the parameters that are in force in an era. After a change of length,
    /// genesis is when era 0 would have begun had all eras had this length.
    function parametersOf(uint64 era) external view returns (uint64 genesis, uint32 duration) {
        Segment memory segment = segmentOf(era);
        return (segment.start - segment.era * segment.duration, segment.duration);
    }

    /// @notice The segment that an era belongs to.
    function segmentOf(uint64 era) public view returns (Segment memory) {
        uint256 i = _segments.length - 1;
        while (_segments[i].era > era) --i;
        return _segments[i];
    }

    /// @notice All segments.
    function segments() external view returns (Segment[] memory) {
        return _segments;
    }

    function _checkDuration(uint32 duration) private pure {
        if (duration < ERA_SECONDS_MIN || duration > ERA_SECONDS_MAX) revert BadDuration(duration);
    }
}
