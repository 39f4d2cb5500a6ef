// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {vm} from "../script/Cheats.sol";
import {Local} from "../script/Local.s.sol";
import {Network} from "../script/Network.sol";
import {Fixture} from "./Fixture.sol";

contract DeploymentTest is Fixture {
    bytes32 private constant ADMIN = 0;

    function test_roles_are_where_they_belong_and_nowhere_else() public view {
        AccessControl[6] memory all = _all(net);
        address[5] memory others =
            [address(net.disputes), address(net.claims), address(net.timelock), ANYONE, address(net.vault)];
        for (uint256 i; i < all.length; ++i) {
            _true(all[i].hasRole(ADMIN, address(this)), "the administrator");
            for (uint256 j; j < others.length; ++j) {
                _true(!all[i].hasRole(ADMIN, others[j]), "nobody else");
            }
        }
        _true(net.oracles.hasRole(net.oracles.SLASHER_ROLE(), address(net.disputes)), "slashes oracles");
        _true(net.settlement.hasRole(net.settlement.CANCELLER_ROLE(), address(net.disputes)), "cancels");
        _true(net.settlement.hasRole(net.settlement.PAYER_ROLE(), address(net.claims)), "pays");
        _true(net.vault.hasRole(net.vault.SLASHER_ROLE(), address(net.claims)), "slashes nodes");
        _true(!net.vault.hasRole(net.vault.SLASHER_ROLE(), address(net.disputes)), "one slashes nodes");
    }

    function test_a_local_network_is_the_time_locks() public {
        vm.warp(2e9);
        // Not the number of a chain that may run here: its file stays as it is.
        vm.chainId(1_000_000_007);
        Network memory local = new Local().run();
        AccessControl[6] memory all = _all(local);
        for (uint256 i; i < all.length; ++i) {
            _true(all[i].hasRole(ADMIN, address(local.timelock)), "the time lock");
        }
        address deployer = local.vault.treasury();
        vm.prank(deployer);
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        local.vault.setTreasury(ANYONE);
        bytes memory call = abi.encodeCall(local.vault.setTreasury, (ANYONE));
        vm.prank(deployer);
        local.timelock.schedule(address(local.vault), 0, call, 0, 0, 0);
        local.timelock.execute(address(local.vault), 0, call, 0, 0);
        _eq(local.vault.treasury(), ANYONE);
        string memory path = string.concat("deployed/", vm.toString(block.chainid), ".json");
        _eq(vm.parseJsonAddress(vm.readFile(path), ".settlement"), address(local.settlement));
    }

    function test_what_a_change_needs_is_time() public {
        bytes32 admin = net.vault.DEFAULT_ADMIN_ROLE();
        net.vault.grantRole(admin, address(net.timelock));
        net.vault.renounceRole(admin, address(this));
        bytes memory call = abi.encodeCall(net.vault.setTreasury, (ANYONE));
        vm.prank(GOVERNOR);
        net.timelock.schedule(address(net.vault), 0, call, 0, 0, 2 days);
        vm.warp(block.timestamp + 2 days - 1);
        try net.timelock.execute(address(net.vault), 0, call, 0, 0) {
            _true(false, "before its time");
        } catch {}
        vm.warp(block.timestamp + 1);
        net.timelock.execute(address(net.vault), 0, call, 0, 0);
        _eq(net.vault.treasury(), ANYONE);
    }

    function _all(Network memory of_) private pure returns (AccessControl[6] memory) {
        return [AccessControl(of_.eras), of_.oracles, of_.settlement, of_.registry, of_.vault, of_.claims];
    }
}
