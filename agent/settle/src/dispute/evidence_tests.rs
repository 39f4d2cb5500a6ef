use agent_settlement::abi::messages::domain;
use agent_sla::protocol::key::SigningKey;
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::signed::{ChallengeRequest, FAILED};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::*;

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&Zeroizing::new([number; 32])).unwrap()
}

fn network() -> Eip712Domain {
    domain(5, Address::repeat_byte(6))
}

fn vote(change: impl FnOnce(&mut SlaVote)) -> Signed<SlaVote> {
    let mut message = SlaVote {
        oracleId: key(1).address(),
        nodeId: B256::repeat_byte(2),
        era: 9,
        issued: 10,
        passed: 8,
        medianLatencyUs: 1,
        medianBytesPerSecond: 1,
        provenBytes: 7,
        receiptsRoot: B256::repeat_byte(3),
        configDigest: B256::repeat_byte(4),
    };
    change(&mut message);
    Signed::new(message, &network(), &key(1)).unwrap()
}

fn kept(change: impl FnOnce(&mut ChallengeRequest), result: u8) -> KeptReceipt {
    let mut message = ChallengeRequest {
        nodeId: B256::repeat_byte(2),
        oracleId: key(1).address(),
        era: 9,
        nonce: B256::ZERO,
        dataRoot: B256::ZERO,
        objects: 1,
        totalBytes: 7,
        configDigest: B256::repeat_byte(4),
    };
    change(&mut message);
    let request = Signed::new(message, &network(), &key(5)).unwrap();
    let receipt = ChallengeReceipt {
        requestHash: request.digest(&network()),
        beacon: B256::ZERO,
        result,
        latencyUs: 1,
        bytesPerSecond: 1,
        oracleTime: 1,
    };
    let receipt = Signed::new(receipt, &network(), &key(1)).unwrap();
    KeptReceipt { oracle: key(1).address(), era: Era(9), request, receipt }
}

fn flat(vote: &Signed<SlaVote>) -> Value {
    let mut value = serde_json::to_value(&vote.message).unwrap();
    value["signature"] = serde_json::to_value(vote.signature).unwrap();
    value
}

fn file(votes: &[Signed<SlaVote>]) -> String {
    let votes: Vec<_> = votes.iter().map(flat).collect();
    json!({ "kind": "equivocation", "oracle": key(1).address(), "votes": votes }).to_string()
}

#[test]
fn two_votes_are_evidence_in_either_form_and_anything_less_is_not() {
    let (first, second) = (vote(|_| {}), vote(|vote| vote.passed = 3));
    let read = |text: &str| equivocation(text, &network());
    let found = read(&file(&[first.clone(), second.clone()])).unwrap();
    assert_eq!((&found.first, &found.second), (&first, &second));
    let oracle = key(1).address();
    let as_shown =
        json!({ "kind": "equivocation", "oracle": oracle, "votes": [first, second], "more": 1 });
    assert_eq!(read(&as_shown.to_string()).unwrap(), found);

    let two = |other: Signed<SlaVote>| read(&file(&[first.clone(), other])).unwrap_err();
    assert_eq!(two(first.clone()), EvidenceError::Same);
    assert_eq!(two(vote(|vote| vote.era = 8)), EvidenceError::NotOfOne);
    assert_eq!(two(vote(|vote| vote.nodeId = B256::ZERO)), EvidenceError::NotOfOne);
    let forged = Signed { message: second.message.clone(), signature: first.signature };
    assert!(two(forged).to_string().contains("the second vote is not signed by the oracle"));
    let other = equivocation(&file(&[first.clone(), second.clone()]), &domain(6, Address::ZERO));
    assert!(matches!(other, Err(EvidenceError::NotSigned { .. })), "another network's");
    assert!(read(&file(std::slice::from_ref(&first))).unwrap_err().to_string().contains("1 votes"));
    let kind = file(&[first, second]).replace("\"equivocation\"", "\"rumour\"");
    assert!(read(&kind).unwrap_err().to_string().contains("evidence of `rumour`"));
    assert!(matches!(read("{}"), Err(EvidenceError::Form { .. })));
}

#[test]
fn a_hidden_receipt_is_told_from_one_that_counts() {
    let of = |vote: Signed<SlaVote>, kept: KeptReceipt| hidden(vote, kept, &network());
    let passed = || kept(|_| {}, PASSED);
    assert!(!of(vote(|_| {}), passed()).unwrap().at_once, "it could be true");
    type Change = fn(&mut SlaVote);
    let cannot_be: [Change; 3] = [
        |vote| vote.passed = 0,
        |vote| vote.receiptsRoot = keccak256([]),
        |vote| vote.provenBytes = 0,
    ];
    for change in cannot_be {
        assert!(of(vote(change), passed()).unwrap().at_once);
    }
    let digest = passed().receipt.digest(&network());
    let counted = vote(|vote| vote.receiptsRoot = receipts_root(&[digest]));
    assert_eq!(of(counted, passed()), Err(EvidenceError::Counted));

    assert_eq!(of(vote(|_| {}), kept(|_| {}, FAILED)), Err(EvidenceError::NotPassed));
    let apart = |change: fn(&mut ChallengeRequest)| of(vote(|_| {}), kept(change, PASSED));
    assert_eq!(apart(|request| request.era = 8), Err(EvidenceError::Apart("the era")));
    assert_eq!(apart(|request| request.nodeId = B256::ZERO), Err(EvidenceError::Apart("the node")));
    let mut other = passed();
    other.request.message.totalBytes = 1;
    assert_eq!(of(vote(|_| {}), other), Err(EvidenceError::Apart("the request")));
    let mut other = passed();
    other.receipt.message.latencyUs = 2;
    assert!(matches!(of(vote(|_| {}), other), Err(EvidenceError::NotSigned { .. })));
}

#[test]
fn of_many_receipts_and_votes_the_one_that_is_meant_is_taken() {
    let oracle = key(1).address();
    let other = KeptReceipt { oracle: Address::ZERO, ..kept(|_| {}, PASSED) };
    let text = serde_json::to_string(&[kept(|_| {}, PASSED), other]).unwrap();
    assert_eq!(receipt(&text, Some(oracle)).unwrap(), kept(|_| {}, PASSED));
    let error = receipt(&text, None).unwrap_err().to_string();
    assert!(error.contains("2 receipts") && error.contains("--oracle"), "{error}");
    let mut reasons = serde_json::to_value(kept(|_| {}, PASSED)).unwrap();
    reasons["reasons"] = json!([]);
    assert!(receipt(&reasons.to_string(), None).is_ok(), "as the node keeps it");

    let text = serde_json::to_string(&[vote(|_| {}), vote(|vote| vote.era = 8)]).unwrap();
    let found = vote_on(votes(&text).unwrap(), &kept(|_| {}, PASSED)).unwrap();
    assert_eq!(found, vote(|_| {}));
    let none = vote_on(Vec::new(), &kept(|_| {}, PASSED)).unwrap_err();
    assert!(none.to_string().contains("0 votes on what the receipt is of"), "{none}");
}

#[test]
fn an_answer_is_all_receipts_in_their_order() {
    let all = [B256::repeat_byte(1), B256::repeat_byte(2)];
    let root = receipts_root(&all);
    let kept = kept(|_| {}, PASSED);
    let text = json!([all[0], kept, kept.receipt]).to_string();
    let digest = kept.receipt.digest(&network());
    assert_eq!(digests(&text, &network()).unwrap(), [all[0], digest, digest]);
    assert_eq!(answers(&all, root, all[1]), Ok(()));
    assert_eq!(answers(&all, root, digest), Err(EvidenceError::NotAmong));
    assert_eq!(answers(&[all[1], all[0]], root, all[1]), Err(EvidenceError::OtherReceipts));
    let many = serde_json::to_string(&vec![B256::ZERO; 65]).unwrap();
    assert_eq!(digests(&many, &network()), Err(EvidenceError::Many(65)));
}

#[test]
fn evidence_has_its_time() {
    assert_eq!(in_time(9, 9, 100, 50), Err(EvidenceError::Early(9)));
    assert_eq!(in_time(9, 10, 100, 100), Ok(()));
    assert_eq!(in_time(9, 10, 100, 101), Err(EvidenceError::Late { era: 9, until: 100 }));
}

fn settled(number: u64, reward: u64, change: impl FnOnce(&mut Settled)) -> Settled {
    let leaf = agent_sla::protocol::settled::Leaf {
        nodeId: B256::repeat_byte(2),
        toEra: number,
        cumulativeReward: U256::from(reward),
        cumulativePenalty: U256::ZERO,
        votesHash: B256::ZERO,
    };
    let root = agent_sla::protocol::settled::EraRoot {
        fromEra: number,
        toEra: number,
        previous: B256::ZERO,
        root: leaf.hash(),
        votesRoot: B256::ZERO,
        totalReward: U256::from(reward),
        totalPenalty: U256::ZERO,
        configDigest: B256::ZERO,
    };
    let mut settled = Settled { number, root, leaf, proof: Vec::new(), eras: Vec::new() };
    change(&mut settled);
    settled
}

fn posted(settled: &Settled, reward: u64) -> Posted {
    Posted {
        digest: settled.root.eip712_signing_hash(&network()),
        root: settled.root.root,
        reward: U256::from(reward),
        penalty: U256::ZERO,
        is_full: false,
        final_at: 100,
    }
}

#[test]
fn leaves_refute_only_what_cannot_be() {
    let (first, second) = (settled(0, 40, |_| {}), settled(1, 70, |_| {}));
    assert_eq!(refutation(vec![first.clone()]), Err(EvidenceError::CanBeTrue));
    let of_other_era = settled(0, 40, |one| one.root.toEra = 5);
    assert!(matches!(refutation(vec![of_other_era]), Ok(Refutation::Era(_))));
    let twice = vec![first.clone(), settled(0, 41, |_| {})];
    assert!(matches!(refutation(twice), Ok(Refutation::Twice(_))));
    assert_eq!(refutation(vec![first.clone(), first.clone()]), Err(EvidenceError::CanBeTrue));
    let strangers = vec![first.clone(), settled(1, 1, |one| one.leaf.nodeId = B256::ZERO)];
    assert_eq!(refutation(strangers), Err(EvidenceError::TwoNodes));

    // Grown by 30: possible where the roots gave that, and not where they gave less.
    let course = refutation(vec![second.clone(), first.clone()]).unwrap();
    let check = |given: u64, now: u64| {
        course.check(&[posted(&first, 40), posted(&second, 40 + given)], &network(), now)
    };
    assert_eq!(check(30, 50), Err(EvidenceError::CanBeTrue));
    assert_eq!(check(29, 50), Ok(()));
    assert_eq!(check(29, 100), Err(EvidenceError::Final { root: 1, since: 100 }));
    let other = Posted { root: B256::ZERO, ..posted(&second, 69) };
    let refused = course.check(&[posted(&first, 40), other], &network(), 50);
    assert_eq!(refused, Err(EvidenceError::OtherRoot(1)));
    let shrunk = settled(1, 39, |_| {});
    let course = refutation(vec![first.clone(), shrunk.clone()]).unwrap();
    let roots = [posted(&first, 40), posted(&shrunk, 100)];
    assert_eq!(course.check(&roots, &network(), 50), Ok(()));
}
