// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {vm} from "../script/Cheats.sol";
import {EraManager} from "../src/EraManager.sol";
import {Messages} from "../src/Messages.sol";
import {OracleRegistry} from "../src/OracleRegistry.sol";
import {SlaDomain} from "../src/SlaDomain.sol";
import {Fixture} from "./Fixture.sol";
import {MockICNT} from "./MockICNT.sol";

contract Domain is SlaDomain {
    constructor(address settlement_) SlaDomain(settlement_) {}
}

/// @notice What is hashed here is what is signed in `agent/sla`: its test `vectors` computes the same file.
contract VectorsTest is Fixture {
    using Messages for *;

    address private constant CONTRACT = 0xC0C0c0c0C0C0c0c0c0C0c0C0C0C0C0C0C0C0c0c0;

    string private _kept;

    function setUp() public override {
        super.setUp();
        vm.chainId(31_337);
        _kept = vm.readFile("test/vectors.json");
    }

    function _kept32(string memory key) private view returns (bytes32) {
        return vm.parseJsonBytes32(_kept, key);
    }

    function test_parameters_have_the_digest_that_nodes_sign() public {
        vm.warp(1_000);
        EraManager eras = new EraManager(address(this), 1_000, 60);
        OracleRegistry oracles = new OracleRegistry(address(this), new MockICNT(), eras, CONTRACT, TREASURY, 0, 0);
        address[] memory members = new address[](3);
        members[0] = 0x0101010101010101010101010101010101010101;
        members[1] = 0x0202020202020202020202020202020202020202;
        members[2] = 0x0303030303030303030303030303030303030303;
        oracles.schedule(members, 16, 0);
        _eq(oracles.configDigest(5), _kept32(".configDigest"));
    }

    function test_messages_have_the_digests_that_are_signed() public {
        bytes32 separator = new Domain(CONTRACT).domainSeparator();
        bytes32 config = _kept32(".configDigest");
        address oracle = vm.parseJsonAddress(_kept, ".oracle");
        bytes32 node = bytes32(type(uint256).max / 255 * 0x11);
        Messages.ChallengeRequest memory request = Messages.ChallengeRequest({
            nodeId: node,
            oracleId: oracle,
            era: 5,
            nonce: bytes32(type(uint256).max / 255 * 0x22),
            dataRoot: bytes32(type(uint256).max / 255 * 0x33),
            objects: 6,
            totalBytes: 7_000_000_000,
            configDigest: config
        });
        bytes32 digest = MessageHashUtils.toTypedDataHash(separator, request.hash());
        _eq(digest, _kept32(".requestDigest"));
        Messages.ChallengeReceipt memory receipt =
            Messages.ChallengeReceipt(digest, bytes32(type(uint256).max / 255 * 0x44), 1, 800, 90_000_000, 1_300_001);
        _eq(MessageHashUtils.toTypedDataHash(separator, receipt.hash()), _kept32(".receiptDigest"));
        Messages.SlaVote memory vote = Messages.SlaVote({
            oracleId: oracle,
            nodeId: node,
            era: 5,
            issued: 10,
            passed: 9,
            medianLatencyUs: 800,
            medianBytesPerSecond: 90_000_000,
            provenBytes: 7_000_000_000,
            receiptsRoot: bytes32(type(uint256).max / 255 * 0x55),
            configDigest: config
        });
        digest = MessageHashUtils.toTypedDataHash(separator, vote.hash());
        _eq(digest, _kept32(".voteDigest"));
        _eq(ECDSA.recover(digest, vm.parseJsonBytes(_kept, ".voteSignature")), oracle);
    }

    function test_what_settles_has_the_digests_that_are_signed() public {
        bytes32 separator = new Domain(CONTRACT).domainSeparator();
        bytes32 node = bytes32(type(uint256).max / 255 * 0x11);
        Messages.DaemonBinding memory binding = Messages.DaemonBinding({
            nodeId: node,
            hpAccount: 0xaAaAaAaaAaAaAaaAaAAAAAAAAaaaAaAaAaaAaaAa,
            daemonAddress: vm.parseJsonAddress(_kept, ".oracle"),
            attestationKeyHash: bytes32(type(uint256).max / 255 * 0x66),
            hardwareReportHash: bytes32(type(uint256).max / 255 * 0x77),
            deadline: 1_900_000_000
        });
        _eq(MessageHashUtils.toTypedDataHash(separator, binding.hash()), _kept32(".bindingDigest"));
        bytes32 leaf =
            Messages.leaf(Messages.Leaf(node, 5, uint256(1) << 90, 9, bytes32(type(uint256).max / 255 * 0x88)));
        _eq(leaf, _kept32(".leafHash"));
        Messages.EraRoot memory root = Messages.EraRoot({
            fromEra: 3,
            toEra: 5,
            previous: bytes32(type(uint256).max / 255 * 0x99),
            root: leaf,
            votesRoot: bytes32(type(uint256).max / 255 * 0xbb),
            totalReward: uint256(1) << 80,
            totalPenalty: 7,
            configDigest: _kept32(".configDigest")
        });
        _eq(MessageHashUtils.toTypedDataHash(separator, root.hash()), _kept32(".rootDigest"));
    }

    function test_the_domain_is_of_the_contract_that_settles() public view {
        (, string memory name, string memory version, uint256 chain, address contract_,,) =
            net.settlement.eip712Domain();
        _eq(keccak256(bytes(name)), keccak256("ICN SLA"));
        _eq(keccak256(bytes(version)), keccak256("1"));
        _eq(chain, block.chainid);
        _eq(contract_, address(net.settlement));
        _eq(net.registry.domainSeparator(), net.settlement.domainSeparator());
        _eq(net.disputes.domainSeparator(), net.settlement.domainSeparator());
        _eq(net.oracles.settlement(), address(net.settlement));
    }

    function test_on_another_chain_nothing_signed_here_counts() public {
        bytes32 here = net.settlement.domainSeparator();
        bytes32 config = net.oracles.configDigest(0);
        vm.chainId(8453);
        _true(net.settlement.domainSeparator() != here, "another domain");
        _true(net.oracles.configDigest(0) != config, "another digest of parameters");
    }
}
