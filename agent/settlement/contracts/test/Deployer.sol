// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Deployment, Network, Terms} from "../script/Network.sol";

/// @notice Makes a network for a test, which is its administrator.
contract Deployer {
    function deploy(Terms memory terms) external returns (Network memory network) {
        network = Deployment.deploy(terms, address(this));
        Deployment.handOver(network, address(this), msg.sender);
    }
}
