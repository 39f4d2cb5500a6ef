// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

/// @title The one EIP-712 domain of a network
/// @notice Nodes and oracles sign for one contract, `SlaSettlement`, whichever contract reads the message: it is the
/// `contract` in the parameters of `agent/sla`.
abstract contract SlaDomain {
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME_HASH = keccak256("ICN SLA");
    bytes32 private constant VERSION_HASH = keccak256("1");

    address private immutable _settlement;
    uint256 private immutable _chain;
    bytes32 private immutable _separator;

    /// @param settlement_ Address of `SlaSettlement`, which may not be there yet.
    constructor(address settlement_) {
        _settlement = settlement_;
        _chain = block.chainid;
        _separator = _compute();
    }

    /// @notice The contract that all messages are signed for.
    function settlement() public view returns (address) {
        return _settlement;
    }

    /// @notice The domain's separator; another one where the chain forked and took another id.
    function domainSeparator() public view returns (bytes32) {
        return block.chainid == _chain ? _separator : _compute();
    }

    /// @dev What is signed of a message with this `hashStruct`.
    function _digest(bytes32 structHash) internal view returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(domainSeparator(), structHash);
    }

    function _compute() private view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, _settlement));
    }
}
