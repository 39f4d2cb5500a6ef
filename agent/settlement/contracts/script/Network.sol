// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {CollateralVault} from "../src/CollateralVault.sol";
import {Disputes} from "../src/Disputes.sol";
import {EraManager} from "../src/EraManager.sol";
import {Governed} from "../src/Governed.sol";
import {NodeRegistry} from "../src/NodeRegistry.sol";
import {OracleRegistry} from "../src/OracleRegistry.sol";
import {RewardClaims} from "../src/RewardClaims.sol";
import {SlaSettlement} from "../src/SlaSettlement.sol";
import {vm} from "./Cheats.sol";

/// @notice What a deployment chooses. Times in seconds, amounts in the token's smallest unit.
struct Terms {
    IERC20 token;
    address treasury;
    address guardian;
    /// Proposes to the time lock: not the guardian, or nobody could remove that.
    address governor;
    uint64 genesis;
    uint32 eraSeconds;
    uint256 minBond;
    uint256 unbonding;
    uint256 exitDelay;
    uint256 eraCapBps;
    uint256 totalCapBps;
    uint256 disputeWindow;
    uint256 timelockDelay;
    Disputes.Terms disputes;
}

/// @notice All contracts of one network.
struct Network {
    EraManager eras;
    OracleRegistry oracles;
    SlaSettlement settlement;
    NodeRegistry registry;
    CollateralVault vault;
    RewardClaims claims;
    Disputes disputes;
    TimelockController timelock;
}

/// @title How the contracts come to be
library Deployment {
    /// @dev `SlaSettlement` is the third that is made; two before it are told its address.
    uint256 private constant SETTLEMENT_AT = 2;

    /// @notice The exit of a node must outlast what may still be found about its last era.
    error ExitTooShort(uint256 exitDelay, uint256 needed);
    /// @notice It did not come to lie where it was expected.
    error Elsewhere(address expected, address found);

    /// @notice Makes all contracts, with the deployer as their administrator until `handOver`.
    function deploy(Terms memory terms, address deployer) internal returns (Network memory network) {
        uint256 needed = terms.disputeWindow + 2 * terms.eraSeconds;
        if (terms.exitDelay < needed) revert ExitTooShort(terms.exitDelay, needed);
        address expected = vm.computeCreateAddress(deployer, vm.getNonce(deployer) + SETTLEMENT_AT);
        network.eras = new EraManager(deployer, terms.genesis, terms.eraSeconds);
        network.oracles = new OracleRegistry(
            deployer, terms.token, network.eras, expected, terms.treasury, terms.minBond, terms.unbonding
        );
        network.settlement =
            new SlaSettlement(deployer, terms.token, network.eras, network.oracles, terms.disputeWindow, 0);
        if (address(network.settlement) != expected) revert Elsewhere(expected, address(network.settlement));
        network.registry = new NodeRegistry(deployer, network.eras, network.oracles, expected, terms.exitDelay);
        network.vault = new CollateralVault(
            deployer, terms.token, network.registry, network.eras, terms.treasury, terms.eraCapBps, terms.totalCapBps
        );
        network.claims = new RewardClaims(deployer, network.settlement, network.registry, network.vault);
        network.disputes = new Disputes(network.settlement, network.oracles, network.eras, terms.token, terms.disputes);
        network.timelock = _timelock(terms);
        _grant(network, terms.guardian);
    }

    /// @notice Leaves the contracts to another administrator: the deployer may nothing more.
    function handOver(Network memory network, address deployer, address admin) internal {
        AccessControl[6] memory all = [
            AccessControl(network.eras),
            network.oracles,
            network.settlement,
            network.registry,
            network.vault,
            network.claims
        ];
        bytes32 role = network.eras.DEFAULT_ADMIN_ROLE();
        for (uint256 i; i < all.length; ++i) {
            all[i].grantRole(role, admin);
            all[i].renounceRole(role, deployer);
        }
    }

    function _timelock(Terms memory terms) private returns (TimelockController) {
        address[] memory governor = new address[](1);
        governor[0] = terms.governor;
        // After the delay anyone carries out; nobody is above the delay.
        return new TimelockController(terms.timelockDelay, governor, new address[](1), address(0));
    }

    function _grant(Network memory network, address guardian) private {
        network.oracles.grantRole(network.oracles.SLASHER_ROLE(), address(network.disputes));
        network.settlement.grantRole(network.settlement.CANCELLER_ROLE(), address(network.disputes));
        network.settlement.grantRole(network.settlement.PAYER_ROLE(), address(network.claims));
        network.vault.grantRole(network.vault.SLASHER_ROLE(), address(network.claims));
        Governed[5] memory all =
            [Governed(network.oracles), network.settlement, network.registry, network.vault, network.claims];
        for (uint256 i; i < all.length; ++i) {
            all[i].grantRole(all[i].GUARDIAN_ROLE(), guardian);
        }
    }
}
