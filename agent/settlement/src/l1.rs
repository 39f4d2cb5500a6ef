//! What a transaction pays for its bytes on L1, on chains that post them there. Such a chain answers at an address of its own;
//! any other has no contract there.

use alloy::consensus::{SignableTransaction as _, TxEip1559};
use alloy::primitives::{Address, Bytes, TxKind, U256, address};
use alloy::sol_types::SolCall;

use crate::call::Call;
use crate::chain::{At, Chain, ChainError};

/// Chains of the OP stack, Base among them (`GasPriceOracle`, a predeploy of the OP stack's specification).
pub const OP_STACK: Address = address!("420000000000000000000000000000000000000F");

/// Chains of Arbitrum's stack (`NodeInterface`: no contract, but what its servers answer calls at this address with).
pub const ARBITRUM: Address = address!("00000000000000000000000000000000000000C8");

/// Bytes of a word of the ABI.
const WORD: usize = 32;

// The macro makes public fields and helpers without a word on them.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "made by the macro; what is called is said in the chains' own documents"
)]
mod predeploys {
    alloy::sol! {
        interface GasPriceOracle {
            function getL1Fee(bytes transaction) external view returns (uint256);
        }
        interface NodeInterface {
            function gasEstimateL1Component(address to, bool contractCreation, bytes data) external payable
                returns (uint64 gasEstimateForL1, uint256 baseFee, uint256 l1BaseFeeEstimate);
        }
    }
}

use predeploys::{GasPriceOracle, NodeInterface};

/// What comes on top is reckoned with so many times over: no transaction can bound it, and L1's base fee doubles within six
/// full blocks (EIP-1559).
pub const TIMES: u128 = 2;

/// What the data of a transaction cost on L1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum L1Fee {
    /// Nothing: the chain does not charge for it, or not in a way that is known here.
    #[default]
    None,
    /// It comes on top of what gas costs, and no cap of the transaction bounds it (OP stack).
    Beside {
        /// At the price of now, in wei.
        wei: u128,
    },
    /// It is in the gas that the transaction needs (Arbitrum).
    Within {
        /// At the price of now, in wei.
        wei: u128,
    },
}

/// What a transaction pays for its bytes on L1, by the price of the block of a number: one that all servers have, as the price
/// is another in each.
///
/// `unsigned` are its unsigned bytes (EIP-2718), which the OP stack asks for; what a signature adds it adds itself.
///
/// # Errors
/// The chain does not say, or the OP stack's contract is there and refuses: what comes on top is not known then, and nothing is
/// no price for it. That there is nothing at either address is no error, nor that Arbitrum's refuses: that is in the gas.
pub async fn fee<C: Chain>(
    chain: &C,
    unsigned: &Bytes,
    call: &Call,
    block: u64,
) -> Result<L1Fee, ChainError> {
    let at = At::Number(block);
    let question = GasPriceOracle::getL1FeeCall { transaction: unsigned.clone() };
    if let Some(answer) = words(1, chain.read(OP_STACK, question.abi_encode().into(), at).await?)
        && let Ok(wei) = GasPriceOracle::getL1FeeCall::abi_decode_returns_validate(&answer)
    {
        return Ok(L1Fee::Beside { wei: u128::try_from(wei).unwrap_or(u128::MAX) });
    }
    let question = NodeInterface::gasEstimateL1ComponentCall {
        to: call.to,
        contractCreation: false,
        data: call.data.clone(),
    };
    let answer = match chain.read(ARBITRUM, question.abi_encode().into(), at).await {
        Err(error) if error.revert().is_some() => None,
        answer => words(3, answer?),
    };
    if let Some(answer) = answer
        && let Ok(found) =
            NodeInterface::gasEstimateL1ComponentCall::abi_decode_returns_validate(&answer)
    {
        let wei = found.baseFee.saturating_mul(U256::from(found.gasEstimateForL1));
        return Ok(L1Fee::Within { wei: u128::try_from(wei).unwrap_or(u128::MAX) });
    }
    Ok(L1Fee::None)
}

/// Unsigned bytes of a call, as long as they can be: what nonce and fees it will have is not known yet.
#[must_use]
pub fn sized(chain: u64, call: &Call, gas: u64, fee_wei: u128) -> Bytes {
    /// More transactions than an account sends in years.
    const NONCE: u64 = u16::MAX as u64;
    let transaction = TxEip1559 {
        chain_id: chain,
        nonce: NONCE,
        gas_limit: gas,
        max_fee_per_gas: fee_wei,
        max_priority_fee_per_gas: fee_wei,
        to: TxKind::Call(call.to),
        value: U256::ZERO,
        access_list: Default::default(),
        input: call.data.clone(),
    };
    transaction.encoded_for_signing().into()
}

/// An answer of so many words; none where it is of something else.
fn words(count: usize, answer: Bytes) -> Option<Bytes> {
    (answer.len() == count.saturating_mul(WORD)).then_some(answer)
}
