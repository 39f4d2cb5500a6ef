//! What is signed here is what the settlement contracts hash: both read the same file of vectors.

#![expect(
    clippy::expect_used,
    reason = "a test ends with a message where its own assumption fails"
)]

use agent_sla::protocol::key::SigningKey;
use agent_sla::protocol::parameters::Parameters;
use agent_sla::protocol::settled::{DaemonBinding, EraRoot, Leaf};
use agent_sla::protocol::signed::{ChallengeReceipt, ChallengeRequest, PASSED, Signed, SlaVote};
use agent_sla::protocol::{Address, B256, U256};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// Also read by `test/Vectors.t.sol` of the contracts.
const VECTORS: &str = include_str!("../../settlement/contracts/test/vectors.json");

/// What the vectors are of: the same numbers stand in `test/Vectors.t.sol`.
fn computed() -> Value {
    let parameters = Parameters {
        chain: 31_337,
        contract: Address::repeat_byte(0xc0),
        genesis: 1_000,
        era_seconds: 60,
        samples: 16,
        oracles: [3, 1, 2].map(Address::repeat_byte).into(),
    };
    let key = SigningKey::from_bytes(&Zeroizing::new([7; 32])).expect("a key");
    let (config, domain) = (parameters.digest(), parameters.domain());
    let request = ChallengeRequest {
        nodeId: B256::repeat_byte(0x11),
        oracleId: key.address(),
        era: 5,
        nonce: B256::repeat_byte(0x22),
        dataRoot: B256::repeat_byte(0x33),
        objects: 6,
        totalBytes: 7_000_000_000,
        configDigest: config,
    };
    let request = Signed::new(request, &domain, &key).expect("signed");
    let receipt = ChallengeReceipt {
        requestHash: request.digest(&domain),
        beacon: B256::repeat_byte(0x44),
        result: PASSED,
        latencyUs: 800,
        bytesPerSecond: 90_000_000,
        oracleTime: 1_300_001,
    };
    let receipt = Signed::new(receipt, &domain, &key).expect("signed");
    let vote = SlaVote {
        oracleId: key.address(),
        nodeId: B256::repeat_byte(0x11),
        era: 5,
        issued: 10,
        passed: 9,
        medianLatencyUs: 800,
        medianBytesPerSecond: 90_000_000,
        provenBytes: 7_000_000_000,
        receiptsRoot: B256::repeat_byte(0x55),
        configDigest: config,
    };
    let vote = Signed::new(vote, &domain, &key).expect("signed");
    let binding = DaemonBinding {
        nodeId: B256::repeat_byte(0x11),
        hpAccount: Address::repeat_byte(0xaa),
        daemonAddress: key.address(),
        attestationKeyHash: B256::repeat_byte(0x66),
        hardwareReportHash: B256::repeat_byte(0x77),
        deadline: U256::from(1_900_000_000_u64),
    };
    let binding = Signed::new(binding, &domain, &key).expect("signed");
    let leaf = Leaf {
        nodeId: B256::repeat_byte(0x11),
        toEra: 5,
        cumulativeReward: U256::from(2).pow(U256::from(90)),
        cumulativePenalty: U256::from(9),
        votesHash: B256::repeat_byte(0x88),
    };
    let root = EraRoot {
        fromEra: 3,
        toEra: 5,
        previous: B256::repeat_byte(0x99),
        root: leaf.hash(),
        votesRoot: B256::repeat_byte(0xbb),
        totalReward: U256::from(2).pow(U256::from(80)),
        totalPenalty: U256::from(7),
        configDigest: config,
    };
    let root = Signed::new(root, &domain, &key).expect("signed");
    json!({
        "configDigest": config,
        "oracle": key.address().to_string().to_lowercase(),
        "requestDigest": request.digest(&domain),
        "receiptDigest": receipt.digest(&domain),
        "voteDigest": vote.digest(&domain),
        "voteSignature": vote.signature,
        "bindingDigest": binding.digest(&domain),
        "leafHash": leaf.hash(),
        "rootDigest": root.digest(&domain),
    })
}

#[test]
fn contracts_hash_what_is_signed_here() {
    let kept: Value = serde_json::from_str(VECTORS).expect("JSON");
    assert_eq!(kept, computed());
}
