//! What a transaction pays for its bytes on L1, on chains that post them there. Such a chain answers at an address of its own;
//! any other has no contract there.

use alloy::primitives::{Address, Bytes, U256, address};
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

/// What a transaction pays for its bytes on L1, by the price of now.
///
/// `unsigned` are its unsigned bytes (EIP-2718), which the OP stack asks for; what a signature adds it adds itself.
///
/// # Errors
/// The chain does not say. That there is nothing at either address is no error.
pub async fn fee<C: Chain>(chain: &C, unsigned: &Bytes, call: &Call) -> Result<L1Fee, ChainError> {
    let question = GasPriceOracle::getL1FeeCall { transaction: unsigned.clone() };
    if let Some(answer) = ask(chain, OP_STACK, &question, 1).await?
        && let Ok(wei) = GasPriceOracle::getL1FeeCall::abi_decode_returns_validate(&answer)
    {
        return Ok(L1Fee::Beside { wei: u128::try_from(wei).unwrap_or(u128::MAX) });
    }
    let question = NodeInterface::gasEstimateL1ComponentCall {
        to: call.to,
        contractCreation: false,
        data: call.data.clone(),
    };
    if let Some(answer) = ask(chain, ARBITRUM, &question, 3).await?
        && let Ok(found) =
            NodeInterface::gasEstimateL1ComponentCall::abi_decode_returns_validate(&answer)
    {
        let wei = found.baseFee.saturating_mul(U256::from(found.gasEstimateForL1));
        return Ok(L1Fee::Within { wei: u128::try_from(wei).unwrap_or(u128::MAX) });
    }
    Ok(L1Fee::None)
}

/// An answer of so many words; none where there is none, or it is of something else.
async fn ask<C: Chain>(
    chain: &C,
    to: Address,
    question: &impl SolCall,
    words: usize,
) -> Result<Option<Bytes>, ChainError> {
    match chain.read(to, question.abi_encode().into(), At::Latest).await {
        Ok(answer) => Ok((answer.len() == words.saturating_mul(WORD)).then_some(answer)),
        Err(error) if error.revert().is_some() => Ok(None),
        Err(error) => Err(error),
    }
}
