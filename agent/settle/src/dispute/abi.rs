//! What of `Disputes`, and of what it looks at, an HP calls and reads.

use agent_settlement::revert::Class::{Retryable, Terminal};
use agent_settlement::revert::KnownError;
use agent_sla::protocol::{settled, signed};

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
        #[derive(Debug, PartialEq, Eq)]
        struct ChallengeRequest {
            bytes32 nodeId;
            address oracleId;
            uint64 era;
            bytes32 nonce;
            bytes32 dataRoot;
            uint64 objects;
            uint64 totalBytes;
            bytes32 configDigest;
        }

        #[derive(Debug, PartialEq, Eq)]
        struct ChallengeReceipt {
            bytes32 requestHash;
            bytes32 beacon;
            uint8 result;
            uint64 latencyUs;
            uint64 bytesPerSecond;
            uint64 oracleTime;
        }

        #[derive(Debug, PartialEq, Eq)]
        struct SlaVote {
            address oracleId;
            bytes32 nodeId;
            uint64 era;
            uint32 issued;
            uint32 passed;
            uint64 medianLatencyUs;
            uint64 medianBytesPerSecond;
            uint64 provenBytes;
            bytes32 receiptsRoot;
            bytes32 configDigest;
        }

        #[derive(Debug, PartialEq, Eq)]
        struct EraRoot {
            uint64 fromEra;
            uint64 toEra;
            bytes32 previous;
            bytes32 root;
            bytes32 votesRoot;
            uint256 totalReward;
            uint256 totalPenalty;
            bytes32 configDigest;
        }

        #[derive(Debug, PartialEq, Eq)]
        struct Leaf {
            bytes32 nodeId;
            uint64 toEra;
            uint256 cumulativeReward;
            uint256 cumulativePenalty;
            bytes32 votesHash;
        }

        #[derive(Debug, PartialEq, Eq)]
        struct Terms {
            uint96 bond;
            uint96 suppressionSlash;
            uint16 rewardBps;
            uint32 answerWindow;
            uint32 evidenceAge;
        }

        interface Disputes {
            function showEquivocation(SlaVote first, bytes firstSignature, SlaVote second, bytes secondSignature)
                external;
            function showReceipt(
                SlaVote vote,
                bytes voteSignature,
                ChallengeRequest request,
                ChallengeReceipt receipt,
                bytes receiptSignature
            ) external;
            function answer(bytes32 voteDigest, bytes32 receiptDigest, bytes32[] receipts) external;
            function close(bytes32 voteDigest, bytes32 receiptDigest) external;
            function refuteEra(uint256 rootId, EraRoot root, Leaf leaf, bytes32[] proof) external;
            function refuteTwice(
                uint256 rootId,
                EraRoot root,
                Leaf first,
                bytes32[] firstProof,
                Leaf second,
                bytes32[] secondProof
            ) external;
            function refuteCourse(
                uint256 beforeId,
                Leaf before,
                bytes32[] beforeProof,
                uint256 rootId,
                EraRoot root,
                Leaf leaf,
                bytes32[] proof
            ) external;
            function domainSeparator() external view returns (bytes32);
            function oracles() external view returns (address);
            function token() external view returns (address);
            function terms() external view returns (Terms);
            function voided(bytes32 voteDigest) external view returns (bool);
            function asked(bytes32 voteDigest, bytes32 receiptDigest) external view returns (bool);
            function questions(bytes32 voteDigest, bytes32 receiptDigest) external view
                returns (
                    address challenger,
                    uint96 bond,
                    address oracle,
                    uint48 answerBy,
                    uint48 era,
                    bytes32 receiptsRoot,
                    bytes32 nodeId
                );

            error NotOfOne();
            error NoConflict();
            error NotTheOracle(address expected, address signer);
            error BadAge(uint64 era);
            error DoNotMatch();
            error NotPassed();
            error AskedBefore();
            error NoQuestion();
            error BadTime(uint64 answerBy);
            error NoAnswer();
            error CanBeTrue();
        }

        interface Stakes {
            function oracles(address oracle) external view returns (uint96 bond, uint64 lastSet, bool jailed);
            function SLASHER_ROLE() external view returns (bytes32);
            function hasRole(bytes32 role, address account) external view returns (bool);
        }

        interface EraTimes {
            function currentEra() external view returns (uint64);
            function endOf(uint64 era) external view returns (uint256);
        }
    }
}

pub(crate) use contracts::{
    ChallengeReceipt, ChallengeRequest, Disputes, EraRoot, EraTimes, Leaf, SlaVote, Stakes, Terms,
};

/// The errors that showing evidence can meet.
pub(crate) fn errors() -> [KnownError; 11] {
    use Disputes as D;
    [
        KnownError::of::<D::NotOfOne>(Terminal),
        KnownError::of::<D::NoConflict>(Terminal),
        KnownError::of::<D::NotTheOracle>(Terminal),
        // The era ends; the time to answer does.
        KnownError::of::<D::BadAge>(Retryable),
        KnownError::of::<D::BadTime>(Retryable),
        KnownError::of::<D::DoNotMatch>(Terminal),
        KnownError::of::<D::NotPassed>(Terminal),
        KnownError::of::<D::AskedBefore>(Terminal),
        KnownError::of::<D::NoQuestion>(Terminal),
        KnownError::of::<D::NoAnswer>(Terminal),
        KnownError::of::<D::CanBeTrue>(Terminal),
    ]
}

impl From<&signed::SlaVote> for SlaVote {
    fn from(vote: &signed::SlaVote) -> Self {
        Self {
            oracleId: vote.oracleId,
            nodeId: vote.nodeId,
            era: vote.era,
            issued: vote.issued,
            passed: vote.passed,
            medianLatencyUs: vote.medianLatencyUs,
            medianBytesPerSecond: vote.medianBytesPerSecond,
            provenBytes: vote.provenBytes,
            receiptsRoot: vote.receiptsRoot,
            configDigest: vote.configDigest,
        }
    }
}

impl From<&signed::ChallengeRequest> for ChallengeRequest {
    fn from(request: &signed::ChallengeRequest) -> Self {
        Self {
            nodeId: request.nodeId,
            oracleId: request.oracleId,
            era: request.era,
            nonce: request.nonce,
            dataRoot: request.dataRoot,
            objects: request.objects,
            totalBytes: request.totalBytes,
            configDigest: request.configDigest,
        }
    }
}

impl From<&signed::ChallengeReceipt> for ChallengeReceipt {
    fn from(receipt: &signed::ChallengeReceipt) -> Self {
        Self {
            requestHash: receipt.requestHash,
            beacon: receipt.beacon,
            result: receipt.result,
            latencyUs: receipt.latencyUs,
            bytesPerSecond: receipt.bytesPerSecond,
            oracleTime: receipt.oracleTime,
        }
    }
}

impl From<&settled::EraRoot> for EraRoot {
    fn from(root: &settled::EraRoot) -> Self {
        Self {
            fromEra: root.fromEra,
            toEra: root.toEra,
            previous: root.previous,
            root: root.root,
            votesRoot: root.votesRoot,
            totalReward: root.totalReward,
            totalPenalty: root.totalPenalty,
            configDigest: root.configDigest,
        }
    }
}

impl From<&settled::Leaf> for Leaf {
    fn from(leaf: &settled::Leaf) -> Self {
        Self {
            nodeId: leaf.nodeId,
            toEra: leaf.toEra,
            cumulativeReward: leaf.cumulativeReward,
            cumulativePenalty: leaf.cumulativePenalty,
            votesHash: leaf.votesHash,
        }
    }
}

#[cfg(test)]
mod tests {
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
            (&disputes, D::refuteEraCall::SIGNATURE, "()"),
            (&disputes, D::refuteTwiceCall::SIGNATURE, "()"),
            (&disputes, D::refuteCourseCall::SIGNATURE, "()"),
            (&disputes, D::domainSeparatorCall::SIGNATURE, "(bytes32)"),
            (&disputes, D::oraclesCall::SIGNATURE, "(address)"),
            (&disputes, D::tokenCall::SIGNATURE, "(address)"),
            (&disputes, D::termsCall::SIGNATURE, terms),
            (&disputes, D::voidedCall::SIGNATURE, "(bool)"),
            (&disputes, D::askedCall::SIGNATURE, "(bool)"),
            (&disputes, D::questionsCall::SIGNATURE, question),
            (&oracles, Stakes::oraclesCall::SIGNATURE, "(uint96,uint64,bool)"),
            (&oracles, Stakes::SLASHER_ROLECall::SIGNATURE, "(bytes32)"),
            (&oracles, Stakes::hasRoleCall::SIGNATURE, "(bool)"),
            (&eras, EraTimes::currentEraCall::SIGNATURE, "(uint64)"),
            (&eras, EraTimes::endOfCall::SIGNATURE, "(uint256)"),
        ];
        for (contract, call, returns) in cases {
            assert!(contract.contains(&(call.to_owned(), returns.to_owned())), "{call}");
        }
        for known in errors() {
            assert!(disputes.iter().any(|(entry, _)| entry == known.signature), "{known:?}");
        }
    }
}
