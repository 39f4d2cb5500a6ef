//! The errors of `Disputes` that an HP can meet.

use agent_settlement::abi::reference::Disputes;
use agent_settlement::revert::Class::{Retryable, Terminal};
use agent_settlement::revert::KnownError;

/// The errors that showing evidence can meet.
pub(crate) fn errors() -> [KnownError; 13] {
    use Disputes as D;
    [
        KnownError::of::<D::NotOfOne>(Terminal),
        KnownError::of::<D::NoConflict>(Terminal),
        KnownError::of::<D::NeverAnOracle>(Terminal),
        KnownError::of::<D::NotTheOracle>(Terminal),
        // The era ends; the time to answer does.
        KnownError::of::<D::BadAge>(Retryable),
        KnownError::of::<D::BadTime>(Retryable),
        KnownError::of::<D::DoNotMatch>(Terminal),
        KnownError::of::<D::NotPassed>(Terminal),
        KnownError::of::<D::AskedBefore>(Terminal),
        KnownError::of::<D::NoQuestion>(Terminal),
        KnownError::of::<D::NoBond>(Terminal),
        KnownError::of::<D::NoAnswer>(Terminal),
        KnownError::of::<D::CanBeTrue>(Terminal),
    ]
}

#[cfg(test)]
mod tests {
    use agent_settlement::abi::reference::{EraManager, OracleRegistry};
    use alloy::sol_types::SolCall;
    use serde_json::Value;

    use super::*;

    /// The type of a parameter, with those of its parts.
    fn kind(parameter: &Value) -> String {
        let kind = parameter["type"].as_str().unwrap();
        match kind.strip_prefix("tuple") {
            Some(behind) => format!("{}{behind}", kinds(&parameter["components"])),
            None => kind.to_owned(),
        }
    }

    fn kinds(parameters: &Value) -> String {
        let all: Vec<_> = parameters.as_array().into_iter().flatten().map(kind).collect();
        format!("({})", all.join(","))
    }

    fn entries(abi: &str) -> Vec<(String, String)> {
        let abi: Vec<Value> = serde_json::from_str(abi).unwrap();
        let named = abi.iter().filter_map(|entry| {
            let name = entry["name"].as_str()?;
            Some((format!("{name}{}", kinds(&entry["inputs"])), kinds(&entry["outputs"])))
        });
        named.collect()
    }

    #[test]
    fn what_is_called_is_in_the_contracts_as_they_are() {
        use Disputes as D;
        let disputes = entries(include_str!("../../../settlement/contracts/abi/Disputes.json"));
        let oracles =
            entries(include_str!("../../../settlement/contracts/abi/OracleRegistry.json"));
        let eras = entries(include_str!("../../../settlement/contracts/abi/EraManager.json"));
        let terms = "((uint96,uint96,uint16,uint32,uint32))";
        let question = "(address,uint96,address,uint48,uint48,bytes32,bytes32)";
        let cases = [
            (&disputes, D::showEquivocationCall::SIGNATURE, "()"),
            (&disputes, D::showReceiptCall::SIGNATURE, "()"),
            (&disputes, D::answerCall::SIGNATURE, "()"),
            (&disputes, D::closeCall::SIGNATURE, "()"),
            (&disputes, D::takeBackCall::SIGNATURE, "()"),
            (&disputes, D::refuteEraCall::SIGNATURE, "()"),
            (&disputes, D::refuteTwiceCall::SIGNATURE, "()"),
            (&disputes, D::refuteCourseCall::SIGNATURE, "()"),
            (&disputes, D::domainSeparatorCall::SIGNATURE, "(bytes32)"),
            (&disputes, D::rootsCall::SIGNATURE, "(address)"),
            (&disputes, D::oraclesCall::SIGNATURE, "(address)"),
            (&disputes, D::tokenCall::SIGNATURE, "(address)"),
            (&disputes, D::termsCall::SIGNATURE, terms),
            (&disputes, D::voidedCall::SIGNATURE, "(bool)"),
            (&disputes, D::askedCall::SIGNATURE, "(bool)"),
            (&disputes, D::questionsCall::SIGNATURE, question),
            (&oracles, OracleRegistry::oraclesCall::SIGNATURE, "(uint96,uint64,bool)"),
            (&oracles, OracleRegistry::SLASHER_ROLECall::SIGNATURE, "(bytes32)"),
            (&oracles, OracleRegistry::hasRoleCall::SIGNATURE, "(bool)"),
            (&eras, EraManager::currentEraCall::SIGNATURE, "(uint64)"),
            (&eras, EraManager::endOfCall::SIGNATURE, "(uint256)"),
        ];
        for (contract, call, returns) in cases {
            assert!(contract.contains(&(call.to_owned(), returns.to_owned())), "{call}");
        }
        for known in errors() {
            assert!(disputes.iter().any(|(entry, _)| entry == known.signature), "{known:?}");
        }
    }
}
