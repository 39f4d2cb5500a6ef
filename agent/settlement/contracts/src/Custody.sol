// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Governed} from "./Governed.sol";

/// @title Who holds tokens
/// @notice Only tokens that came through a contract's own calls count; what was sent to it otherwise is nobody's.
abstract contract Custody is Governed, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @notice The token that everything is paid in.
    IERC20 public immutable token;

    /// @notice Another amount arrived than was sent: a token that takes fees cannot be used.
    error AmountChanged(uint256 sent, uint256 arrived);
    /// @notice Nothing would be moved.
    error NothingToMove();

    constructor(address admin, IERC20 token_) Governed(admin) {
        if (address(token_) == address(0)) revert NobodyGiven();
        token = token_;
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
