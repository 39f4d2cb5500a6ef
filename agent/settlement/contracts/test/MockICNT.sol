// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @notice A token for tests and local chains: anyone makes as much as they like.
contract MockICNT is ERC20("Mock ICNT", "mICNT") {
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}
