//! What `Disputes` says of votes (`contracts/src/Disputes.sol`).

// The macro makes public fields and helpers without a word on them.
#[allow(
    missing_docs,
    missing_debug_implementations,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "made by the macro; what the event means is said in the contract's own words"
)]
mod contract {
    alloy::sol! {
        /// What its evidence is signed for, and whose roots it cancels.
        interface Disputes {
            function domainSeparator() external view returns (bytes32);
            function roots() external view returns (address);
        }

        /// A vote is none any more.
        #[derive(Debug, PartialEq, Eq)]
        event VoteVoided(
            address indexed oracle,
            bytes32 indexed nodeId,
            uint64 indexed era,
            bytes32 voteDigest,
            bytes32 evidence,
            address challenger
        );
    }
}

pub use contract::{Disputes, VoteVoided};

#[cfg(test)]
mod tests {
    use alloy::sol_types::SolEvent;
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_is_asked_is_in_the_contract_as_it_is() {
        use alloy::sol_types::SolCall;
        let abi = include_str!("../../contracts/abi/Disputes.json");
        let abi: Vec<Value> = serde_json::from_str(abi).expect("JSON");
        let returns = |call: &str| {
            let name = call.trim_end_matches("()");
            let entry = abi.iter().find(|entry| entry["name"] == name).expect("a function");
            assert_eq!(entry["inputs"], serde_json::json!([]));
            entry["outputs"][0]["type"].as_str().expect("a type").to_owned()
        };
        assert_eq!(returns(Disputes::domainSeparatorCall::SIGNATURE), "bytes32");
        assert_eq!(returns(Disputes::rootsCall::SIGNATURE), "address");
    }

    #[test]
    fn the_event_is_in_the_contract_as_it_is() {
        let abi = include_str!("../../contracts/abi/Disputes.json");
        let abi: Vec<Value> = serde_json::from_str(abi).expect("JSON");
        let event = abi.iter().find(|entry| entry["name"] == "VoteVoided").expect("an event");
        let inputs = event["inputs"].as_array().expect("its inputs");
        let of = |field: &str| -> Vec<String> {
            inputs.iter().map(|input| input[field].to_string().replace('"', "")).collect()
        };
        assert_eq!(VoteVoided::SIGNATURE, format!("VoteVoided({})", of("type").join(",")));
        assert_eq!(of("indexed"), ["true", "true", "true", "false", "false", "false"]);
    }
}
