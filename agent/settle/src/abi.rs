//! What only an HP calls and reads of our contracts, beside what a node does (agent-settlement, `abi::reference`).

use agent_settlement::abi::reference;
use agent_settlement::revert::Class::{Retryable, Terminal};
use agent_settlement::revert::KnownError;

/// Digits of the token behind its point: amounts of the contracts are of such tokens (docs/design/settlement.md).
pub(crate) const TOKEN_DIGITS: u8 = 18;

// The macro makes public fields and helpers without a word on them.
#[allow(
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::too_many_arguments,
    reason = "made by the macro; what is called is said in the contracts' own words"
)]
mod contracts {
    alloy::sol! {
        interface HpRegistry {
            function revoke(bytes32 nodeId) external;
            function exitDelay() external view returns (uint256);

            error NoDaemon(bytes32 nodeId);
        }

        interface Eras {
            function nextEraButOne() external view returns (uint64);
            function startOf(uint64 era) external view returns (uint256);
        }

        interface CollateralVault {
            function token() external view returns (address);
            function deposit(bytes32 nodeId, uint256 amount) external;
            function withdraw(bytes32 nodeId) external;
            function collateral(bytes32 nodeId) external view
                returns (uint96 balance, uint96 eraSlashed, uint64 era, uint96 deposited, uint96 slashed);

            error NotYet(uint256 exitAt);
            error NothingToMove();
            error AmountChanged(uint256 sent, uint256 arrived);
        }

        // ERC-20, and the errors that OpenZeppelin's has (ERC-6093).
        interface Token {
            function decimals() external view returns (uint8);
            function balanceOf(address account) external view returns (uint256);
            function allowance(address owner, address spender) external view returns (uint256);
            function approve(address spender, uint256 value) external returns (bool);

            error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed);
            error ERC20InsufficientAllowance(address spender, uint256 allowance, uint256 needed);
        }
    }
}

pub(crate) use contracts::{CollateralVault, Eras, HpRegistry, Token};

/// The errors that a call of an HP can meet.
pub(crate) fn errors() -> Vec<KnownError> {
    let mut known = reference::errors();
    known.extend([
        KnownError::of::<HpRegistry::NoDaemon>(Terminal),
        KnownError::of::<CollateralVault::NotYet>(Retryable),
        KnownError::of::<CollateralVault::NothingToMove>(Terminal),
        KnownError::of::<CollateralVault::AmountChanged>(Terminal),
        KnownError::of::<Token::ERC20InsufficientBalance>(Terminal),
        KnownError::of::<Token::ERC20InsufficientAllowance>(Terminal),
    ]);
    known.extend(crate::dispute::abi::errors());
    known
}

#[cfg(test)]
mod tests {
    use alloy::sol_types::SolCall;
    use serde_json::Value;

    use super::*;

    /// Each function and error of a contract with the types of its arguments, and of what it returns.
    fn entries(abi: &str) -> Vec<(String, String)> {
        let abi: Vec<Value> = serde_json::from_str(abi).unwrap();
        let kinds = |parameters: &Value| {
            let kinds: Vec<_> = parameters
                .as_array()
                .map(|all| all.iter().filter_map(|one| one["type"].as_str()).collect())
                .unwrap_or_default();
            format!("({})", kinds.join(","))
        };
        let signature = |entry: &Value| {
            let name = entry["name"].as_str()?;
            Some((format!("{name}{}", kinds(&entry["inputs"])), kinds(&entry["outputs"])))
        };
        abi.iter().filter_map(signature).collect()
    }

    #[test]
    fn what_is_called_is_in_the_contracts_as_they_are() {
        let registry = entries(include_str!("../../settlement/contracts/abi/NodeRegistry.json"));
        let eras = entries(include_str!("../../settlement/contracts/abi/EraManager.json"));
        let vault = entries(include_str!("../../settlement/contracts/abi/CollateralVault.json"));
        use CollateralVault as V;
        let cases = [
            (&registry, HpRegistry::revokeCall::SIGNATURE, "()"),
            (&registry, HpRegistry::exitDelayCall::SIGNATURE, "(uint256)"),
            (&eras, Eras::nextEraButOneCall::SIGNATURE, "(uint64)"),
            (&eras, Eras::startOfCall::SIGNATURE, "(uint256)"),
            (&vault, V::tokenCall::SIGNATURE, "(address)"),
            (&vault, V::depositCall::SIGNATURE, "()"),
            (&vault, V::withdrawCall::SIGNATURE, "()"),
            (&vault, V::collateralCall::SIGNATURE, "(uint96,uint96,uint64,uint96,uint96)"),
        ];
        for (contract, call, returns) in cases {
            assert!(contract.contains(&(call.to_owned(), returns.to_owned())), "{call}");
        }
        let ours = errors();
        for name in ["NoDaemon", "NotYet", "NothingToMove", "AmountChanged"] {
            let known = ours.iter().find(|error| error.signature.starts_with(name)).unwrap();
            let found = registry.iter().chain(&vault).any(|(entry, _)| entry == known.signature);
            assert!(found, "{name}");
        }
    }
}
