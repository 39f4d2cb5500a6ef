// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Governed} from "./Governed.sol";

/// @title Who holds tokens, and what of them is the treasury's
/// @notice Only tokens that came through a contract's own calls count; what was sent to it otherwise is nobody's.
abstract contract Custody is Governed, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @notice The token that everything is paid in.
    IERC20 public immutable token;

    /// @notice Where slashed tokens go.
    address public treasury;

    /// @notice Slashed tokens that were not collected yet, in the token's smallest unit.
    uint96 public treasuryDue;

    /// @notice The treasury is another address now.
    event TreasuryChanged(address indexed treasury);
    /// @notice Slashed tokens went to the treasury.
    event TreasuryCollected(address indexed treasury, uint256 amount);

    /// @notice Another amount arrived than was sent: a token that takes fees cannot be used.
    error AmountChanged(uint256 sent, uint256 arrived);
    /// @notice Nothing would be moved.
    error NothingToMove();

    constructor(address admin, IERC20 token_, address treasury_) Governed(admin) {
        if (address(token_) == address(0) || treasury_ == address(0)) revert NobodyGiven();
        token = token_;
        treasury = treasury_;
        emit TreasuryChanged(treasury_);
    }

    /// @notice Names another treasury.
    function setTreasury(address treasury_) external onlyRole(DEFAULT_ADMIN_ROLE) {
        if (treasury_ == address(0)) revert NobodyGiven();
        treasury = treasury_;
        emit TreasuryChanged(treasury_);
    }

    /// @notice Sends the treasury what is its due. Open to anyone.
    function collect() external nonReentrant whenNotPaused {
        uint256 amount = treasuryDue;
        if (amount == 0) revert NothingToMove();
        treasuryDue = 0;
        emit TreasuryCollected(treasury, amount);
        token.safeTransfer(treasury, amount);
    }

    /// @dev Takes tokens from an account that approved it.
    function _take(address from, uint256 amount) internal {
        if (amount == 0) revert NothingToMove();
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(from, address(this), amount);
        uint256 arrived = token.balanceOf(address(this)) - before;
        if (arrived != amount) revert AmountChanged(amount, arrived);
    }

    /// @dev Sends tokens away.
    function _give(address to, uint256 amount) internal {
        token.safeTransfer(to, amount);
    }
}
