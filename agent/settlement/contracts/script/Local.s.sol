// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Disputes} from "../src/Disputes.sol";
import {MockICNT} from "../test/MockICNT.sol";
import {vm} from "./Cheats.sol";
import {Deployment, Network, Terms} from "./Network.sol";

/// @title A network for a local chain, with a token that is worth nothing
/// @notice `ORACLES` are its oracles, `HP` gets tokens to stake; `ERA_SECONDS`, `SAMPLES` and `DISPUTE_WINDOW` may be
/// short. Writes addresses and parameters to `deployed/CHAIN.json`. For a real network, `Deployment` is what to
/// call, with terms that were thought about.
contract Local {
    /// @dev The first account of every anvil: its key is public.
    uint256 private constant ANVIL_KEY = 0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80;

    uint256 private constant MIN_BOND = 1000 ether;
    uint256 private constant HP_TOKENS = 100_000 ether;
    uint256 private constant POOL = 1_000_000 ether;

    function run() external returns (Network memory network) {
        uint256 key = vm.envOr("DEPLOYER_KEY", ANVIL_KEY);
        address deployer = vm.addr(key);
        address[] memory oracles = _oracles(deployer);
        vm.startBroadcast(key);
        MockICNT token = new MockICNT();
        network = Deployment.deploy(_terms(token, deployer), deployer);
        token.mint(deployer, POOL + oracles.length * MIN_BOND);
        token.mint(vm.envOr("HP", deployer), HP_TOKENS);
        token.approve(address(network.settlement), POOL);
        network.settlement.fund(POOL);
        token.approve(address(network.oracles), oracles.length * MIN_BOND);
        for (uint256 i; i < oracles.length; ++i) {
            network.oracles.deposit(oracles[i], MIN_BOND);
        }
        network.oracles.schedule(oracles, uint16(vm.envOr("SAMPLES", uint256(16))), 0);
        Deployment.handOver(network, deployer, address(network.timelock));
        vm.stopBroadcast();
        _write(network, address(token));
    }

    /// @dev As `ORACLES` has them, in ascending order; the deployer where it has none.
    function _oracles(address deployer) private view returns (address[] memory oracles) {
        address[] memory otherwise = new address[](1);
        otherwise[0] = deployer;
        oracles = vm.envOr("ORACLES", ",", otherwise);
        for (uint256 i; i < oracles.length; ++i) {
            for (uint256 j = i + 1; j < oracles.length; ++j) {
                if (oracles[j] < oracles[i]) (oracles[i], oracles[j]) = (oracles[j], oracles[i]);
            }
        }
    }

    function _terms(MockICNT token, address deployer) private view returns (Terms memory) {
        uint256 window = vm.envOr("DISPUTE_WINDOW", uint256(60));
        uint256 era = vm.envOr("ERA_SECONDS", uint256(60));
        return Terms({
            token: token,
            treasury: deployer,
            guardian: deployer,
            governor: deployer,
            genesis: uint64(block.timestamp),
            eraSeconds: uint32(era),
            minBond: MIN_BOND,
            unbonding: 100 * era,
            exitDelay: window + 2 * era,
            eraCapBps: 100,
            totalCapBps: 5000,
            disputeWindow: window,
            timelockDelay: 0,
            disputes: Disputes.Terms({
                bond: 10 ether,
                suppressionSlash: 100 ether,
                rewardBps: 1000,
                answerWindow: uint32(20 * era),
                evidenceAge: uint32(80 * era)
            })
        });
    }

    function _write(Network memory network, address token) private {
        string memory o = "network";
        vm.serializeUint(o, "chain", block.chainid);
        vm.serializeAddress(o, "token", token);
        vm.serializeAddress(o, "eras", address(network.eras));
        vm.serializeAddress(o, "oracles", address(network.oracles));
        vm.serializeAddress(o, "registry", address(network.registry));
        vm.serializeAddress(o, "vault", address(network.vault));
        vm.serializeAddress(o, "claims", address(network.claims));
        vm.serializeAddress(o, "disputes", address(network.disputes));
        vm.serializeAddress(o, "timelock", address(network.timelock));
        vm.serializeUint(o, "genesis", network.eras.startOf(0));
        vm.serializeUint(o, "eraSeconds", network.eras.segmentOf(0).duration);
        vm.serializeUint(o, "samples", network.oracles.setOf(0).samples);
        vm.serializeUint(o, "disputeWindow", network.settlement.disputeWindow());
        string memory json = vm.serializeAddress(o, "settlement", address(network.settlement));
        vm.createDir("deployed", true);
        vm.writeFile(string.concat("deployed/", vm.toString(block.chainid), ".json"), json);
    }
}
