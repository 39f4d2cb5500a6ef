// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Custody} from "./Custody.sol";

/// @title Who slashes, and where that goes
/// @notice Slashed tokens wait here until they are collected, so that no slash depends on a transfer.
abstract contract Forfeits is Custody {
    /// @notice May slash.
    bytes32 public constant SLASHER_ROLE = keccak256("SLASHER_ROLE");

    /// @notice One in ten thousand: what shares are given in.
    uint256 public constant BPS = 10_000;

    /// @notice Where slashed tokens go.
    address public treasury;

    /// @notice Slashed tokens that were not collected yet, in the token's smallest unit.
    uint96 public treasuryDue;

    /// @notice The treasury is another address now.
    event TreasuryChanged(address indexed treasury);
    /// @notice Slashed tokens went to the treasury.
    event TreasuryCollected(address indexed treasury, uint256 amount);

    constructor(address admin, IERC20 token_, address treasury_) Custody(admin, token_) {
        _setTreasury(treasury_);
    }

    /// @notice Names another treasury.
    function setTreasury(address treasury_) external onlyRole(DEFAULT_ADMIN_ROLE) {
        _setTreasury(treasury_);
    }

    /// @notice Sends the treasury what is its due. Open to anyone.
    function collect() external nonReentrant whenNotPaused {
        uint256 amount = treasuryDue;
        if (amount == 0) revert NothingToMove();
        treasuryDue = 0;
        emit TreasuryCollected(treasury, amount);
        _give(treasury, amount);
    }

    function _setTreasury(address treasury_) private {
        if (treasury_ == address(0)) revert NobodyGiven();
        treasury = treasury_;
        emit TreasuryChanged(treasury_);
    }
}
