// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";

/// @title Roles, and a pause that ends by itself
/// @notice The administrator is a `TimelockController`: what it does is seen before it takes effect. Contracts cannot
/// be upgraded. A guardian may pause at once, but not for good: no pause traps funds.
abstract contract Governed is AccessControl, Pausable {
    /// @notice May pause, and cancel roots.
    bytes32 public constant GUARDIAN_ROLE = keccak256("GUARDIAN_ROLE");

    /// @notice How long a pause lasts at most: a week is enough to look, decide and pass the time lock.
    uint256 public constant PAUSE_LIMIT = 7 days;

    /// @notice From one pause's begin to the next one's: at least half of all time is not paused.
    uint256 public constant PAUSE_INTERVAL = 14 days;

    uint64 private _pausedAt;

    /// @notice The address zero was given for something that must be somebody.
    error NobodyGiven();
    /// @notice It was paused not long ago: the next pause is possible at this second.
    error PausedNotLongAgo(uint256 possibleAt);

    /// @param admin Grants and revokes roles.
    constructor(address admin) {
        if (admin == address(0)) revert NobodyGiven();
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
    }

    /// @notice Whether it is paused: at most `PAUSE_LIMIT` after the guardian said so.
    function paused() public view override returns (bool) {
        return super.paused() && block.timestamp < _pausedAt + PAUSE_LIMIT;
    }

    /// @notice Pauses.
    function pause() external onlyRole(GUARDIAN_ROLE) {
        uint256 possibleAt = _pausedAt == 0 ? 0 : _pausedAt + PAUSE_INTERVAL;
        if (block.timestamp < possibleAt) revert PausedNotLongAgo(possibleAt);
        // In this order: with the new time, the pause that ended would seem to go on.
        _pause();
        _pausedAt = uint64(block.timestamp);
    }

    /// @notice Ends a pause before its time.
    function unpause() external onlyRole(GUARDIAN_ROLE) {
        _unpause();
    }
}
