//! What is signed, and what is drawn and proven.

use std::ops::Range;

use agent_proofs::member::{Commitment, Member, MemberProof, beside, top};
use agent_proofs::slice::{Prover, rounded};
use agent_proofs::tree::leaves;
use agent_proofs::{Content, ProofError};
use alloy::primitives::{Address, B256, U256};
use alloy::sol_types::SolStruct;
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::key::SigningKey;
use super::parameters::example;
use super::sampling::{SampleError, group_of, positions, verify};
use super::signed::{
    ChallengeReceipt, ChallengeRequest, HealthReport, Session, Signature, SignatureError, Signed,
    SlaVote,
};

fn key(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&Zeroizing::new([byte; 32])).expect("a key")
}

fn report(sequence: u64) -> HealthReport {
    HealthReport {
        nodeId: B256::repeat_byte(7),
        sequence,
        takenAt: 1,
        factsHash: B256::ZERO,
        detailHash: B256::ZERO,
        configDigest: example().digest(),
    }
}

#[test]
fn what_is_signed_keeps_its_names() {
    let types = [
        Session::eip712_root_type(),
        HealthReport::eip712_root_type(),
        ChallengeRequest::eip712_root_type(),
        ChallengeReceipt::eip712_root_type(),
        SlaVote::eip712_root_type(),
    ];
    let expected = [
        "Session(bytes32 nodeId,address oracleId,bytes32 certificate,bytes32 instance,uint64 openedAt,\
         bytes32 configDigest)",
        "HealthReport(bytes32 nodeId,uint64 sequence,uint64 takenAt,bytes32 factsHash,\
         bytes32 detailHash,bytes32 configDigest)",
        "ChallengeRequest(bytes32 nodeId,address oracleId,uint64 era,bytes32 nonce,bytes32 dataRoot,\
         uint64 objects,uint64 totalBytes,bytes32 configDigest)",
        "ChallengeReceipt(bytes32 requestHash,bytes32 beacon,uint8 result,uint64 latencyUs,\
         uint64 bytesPerSecond,uint64 oracleTime)",
        "SlaVote(address oracleId,bytes32 nodeId,uint64 era,uint32 issued,uint32 passed,\
         uint64 medianLatencyUs,uint64 medianBytesPerSecond,uint64 provenBytes,bytes32 receiptsRoot,\
         bytes32 configDigest)",
    ];
    assert_eq!(types.map(|name| name.into_owned()), expected);
}

#[test]
fn a_signature_is_of_one_key_one_message_and_one_contract() {
    let (ours, other) = (example(), super::parameters::Parameters { chain: 1, ..example() });
    let signed = Signed::new(report(1), &ours.domain(), &key(1)).expect("signed");
    assert_eq!(signed.verify(&ours.domain(), key(1).address()), Ok(()));
    let is_other = |result| matches!(result, Err(SignatureError::Other { .. }));
    assert!(is_other(signed.verify(&ours.domain(), key(2).address())));
    assert!(is_other(signed.verify(&other.domain(), key(1).address())));
    let changed = Signed { message: report(2), signature: signed.signature };
    assert!(is_other(changed.verify(&ours.domain(), key(1).address())));
}

#[test]
fn the_second_form_of_a_signature_is_none() {
    /// The order of secp256k1 (SEC 2, 2.4.1).
    const ORDER: &str = "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    let domain = example().domain();
    let signed = Signed::new(report(1), &domain, &key(1)).expect("signed");
    let mut bytes = signed.signature.0;
    let order: U256 = ORDER.parse().expect("a number");
    let high = order - U256::from_be_slice(&bytes[32..64]);
    bytes[32..64].copy_from_slice(&high.to_be_bytes::<32>());
    bytes[64] ^= 27 ^ 28;
    let twin = Signed { message: report(1), signature: Signature(bytes) };
    assert_eq!(twin.signer(&domain), Err(SignatureError::Malformed));
}

#[test]
fn a_key_is_never_printed() {
    let text = format!("{:?}", key(0x5a));
    assert!(text.starts_with("SigningKey(0x") && !text.contains("5a5a"), "{text}");
    assert!(SigningKey::from_bytes(&Zeroizing::new([0; 32])).is_err());
}

/// Objects of these sizes, and the commitment to them.
fn stored(sizes: &[u64]) -> (Vec<(Member, Vec<u8>)>, Commitment) {
    let object = |(number, size): (usize, &u64)| {
        let bytes: Vec<u8> =
            (0..*size).map(|at| at.to_le_bytes()[0] ^ number.to_le_bytes()[0]).collect();
        let content = Content { root: *blake3::hash(&bytes).as_bytes(), size: *size, parts: 0 };
        let key = format!("{number:04}");
        (Member { bucket: "b".to_owned(), key, version: 1, content }, bytes)
    };
    let objects: Vec<_> = sizes.iter().enumerate().map(object).collect();
    let leaves: Vec<_> =
        objects.iter().map(|(member, _)| member.leaf(&[3; 32]).expect("a leaf")).collect();
    let commitment = Commitment::new(sizes.len() as u64, top(&leaves));
    (objects, commitment)
}

/// What a node answers that says that the byte at `position` lies in object `index`, `at` its start.
fn answer(
    objects: &[(Member, Vec<u8>)],
    index: usize,
    at: u64,
) -> Result<(Vec<u8>, Vec<u8>), ProofError> {
    let nodes: Vec<_> =
        objects.iter().map(|(member, _)| member.leaf(&[3; 32]).expect("a leaf")).collect();
    let (member, bytes) = &objects[index];
    let proof = MemberProof {
        member: member.clone(),
        position: index as u64,
        salt: [3; 32],
        beside: beside(&nodes, index),
    };
    let range = group_of(at, member.content.size);
    let Range { start, end } = rounded(member.content.size, &range)?;
    let mut prover = Prover::new(&member.content, &range)?;
    let place = |at: u64| usize::try_from(at).expect("it fits");
    let part = &bytes[place(start)..place(end)];
    prover.piece(member.content.size, &range, &leaves(bytes), part)?;
    Ok((proof.to_bytes()?, prover.finish()))
}

/// Which object has a byte, and where in it.
fn locate(sizes: &[u64], mut position: u64) -> (usize, u64) {
    for (index, size) in sizes.iter().enumerate() {
        if position < *size {
            return (index, position);
        }
        position -= size;
    }
    panic!("outside");
}

#[test]
fn positions_are_drawn_from_the_beacon_alone_and_lie_within() {
    let beacon = B256::repeat_byte(9);
    let drawn = positions(&beacon, 500, 1_000_003);
    assert_eq!(drawn, positions(&beacon, 500, 1_000_003));
    assert_ne!(drawn, positions(&B256::repeat_byte(8), 500, 1_000_003));
    assert!(drawn.len() == 500 && drawn.iter().all(|at| *at < 1_000_003));
    let lower = drawn.iter().filter(|at| **at < 500_000).count();
    assert!((200..300).contains(&lower), "{lower} of 500 in the lower half");
    assert!(positions(&beacon, 500, 0).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn what_is_there_is_proven_and_nothing_else(
        sizes in prop::collection::vec(0_u64..70_000, 1..12),
        seed in any::<[u8; 32]>(),
        flip in any::<prop::sample::Index>(),
    ) {
        let (objects, commitment) = stored(&sizes);
        prop_assert_eq!(commitment.bytes, sizes.iter().sum::<u64>());
        for position in positions(&B256::from(seed), 4, commitment.bytes) {
            let (index, at) = locate(&sizes, position);
            let (member, mut slice) = answer(&objects, index, at).expect("a proof");
            prop_assert_eq!(verify(&commitment, position, &member, &slice), Ok(()));
            let behind = position + sizes[index];
            let elsewhere = verify(&commitment, behind, &member, &slice);
            prop_assert!(matches!(elsewhere, Err(SampleError::Elsewhere { .. })), "{:?}", elsewhere);
            let flipped = flip.index(slice.len());
            slice[flipped] ^= 1;
            prop_assert!(verify(&commitment, position, &member, &slice).is_err());
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_proof(member in any::<Vec<u8>>(), slice in any::<Vec<u8>>()) {
        let (_, commitment) = stored(&[1000, 20_000]);
        prop_assert!(verify(&commitment, 5, &member, &slice).is_err());
    }
}

#[test]
fn addresses_are_of_the_public_key() {
    // Private key 1: a known pair.
    let mut one = [0; 32];
    one[31] = 1;
    let address: Address =
        "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf".parse().expect("an address");
    assert_eq!(SigningKey::from_bytes(&Zeroizing::new(one)).expect("a key").address(), address);
}

#[test]
fn what_is_settled_has_hexadecimal_numbers_and_bounds() {
    use super::settled::{EraRoot, Leaf, PROOF_MAX, Settled, UnboundedError};
    let node = B256::repeat_byte(7);
    let leaf = Leaf {
        nodeId: node,
        toEra: 5,
        cumulativeReward: U256::MAX,
        cumulativePenalty: U256::ZERO,
        votesHash: B256::ZERO,
    };
    let root = EraRoot {
        fromEra: 5,
        toEra: 5,
        previous: B256::ZERO,
        root: leaf.hash(),
        votesRoot: B256::ZERO,
        totalReward: U256::from(255),
        totalPenalty: U256::ZERO,
        configDigest: B256::ZERO,
    };
    let settled = Settled { number: 1, root, leaf, proof: Vec::new(), eras: Vec::new() };
    let json = serde_json::to_value(&settled).expect("JSON");
    assert_eq!(json["root"]["totalReward"], "0xff");
    assert_eq!(json["leaf"]["cumulativeReward"], format!("0x{}", "f".repeat(64)));
    assert_eq!(serde_json::from_value::<Settled>(json).expect("the same"), settled);
    assert_eq!(settled.check(node), Ok(()));
    let other = B256::repeat_byte(8);
    let wrong = UnboundedError::Node { asked: other, found: node };
    assert_eq!(settled.check(other), Err(wrong));
    let long = Settled { proof: vec![B256::ZERO; PROOF_MAX + 1], ..settled };
    assert!(matches!(long.check(node), Err(UnboundedError::Long { found: 33, most: 32, .. })));
}
