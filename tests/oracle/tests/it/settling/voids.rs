//! Votes that a dispute voided.

use std::process::Command;

use agent_settlement::abi::reference::{Disputes, OracleRegistry, SlaSettlement};
use agent_settlement::chain::Chain as _;
use agent_settlement::chain::checked::Checked;
use agent_sla::protocol::key::SigningKey;
use agent_sla::protocol::parameters::{Era, Parameters};
use agent_sla::protocol::signed::{ChallengeReceipt, ChallengeRequest, PASSED, Signed, SlaVote};
use agent_sla::protocol::{Address, B256, U256};
use alloy::primitives::Bytes;
use alloy::sol_types::SolStruct as _;
use reference_oracle::service::Vote;
use reference_oracle::settle::net::Net;
use reference_oracle::settle::root_digest;
use reference_oracle::settle::settler::SettleError;
use reference_oracle::settle::voids::{Follower, Source, Void};
use serde_json::{Value, json};

use super::member::{Circle, ORACLES};
use super::network::Network;
use super::{DOWN, FIRST, GOOD, SECOND, all, verify};
use crate::bench::key;

fn on_chain(vote: &Vote) -> (SlaVote, Bytes) {
    (vote.message.clone(), vote.signature.0.to_vec().into())
}

fn key_of(circle: &Circle, index: usize) -> SigningKey {
    let mut keys = (0x31..).take(ORACLES).map(key);
    keys.find(|key| key.address() == circle.members[index].address).expect("its key")
}

/// A vote of an oracle on a node, and another by the same key.
pub(super) fn two(circle: &Circle, liar: usize, era: u64) -> (Vote, Vote) {
    two_by(&circle.network.parameters, &key_of(circle, liar), era)
}

fn two_by(parameters: &Parameters, key: &SigningKey, era: u64) -> (Vote, Vote) {
    let vote = |passed| {
        let message = SlaVote {
            oracleId: key.address(),
            nodeId: GOOD,
            era,
            issued: 10,
            passed,
            medianLatencyUs: 5,
            medianBytesPerSecond: 5,
            provenBytes: 0,
            receiptsRoot: B256::ZERO,
            configDigest: parameters.digest(),
        };
        Signed::new(message, &parameters.domain(), key).expect("signed")
    };
    (vote(10), vote(9))
}

/// Shows two votes to the contract.
pub(super) async fn dispute(network: &Network, (first, second): &(Vote, Vote)) {
    let ((first, by_first), (second, by_second)) = (on_chain(first), on_chain(second));
    let call = Disputes::showEquivocationCall {
        first,
        firstSignature: by_first,
        second,
        secondSignature: by_second,
    };
    network.call(network.disputes, &call).await;
}

/// A vote as it stands in a file of evidence.
fn written(vote: &Value) -> Vote {
    let mut fields = vote.clone();
    let signature = fields.as_object_mut().expect("fields").remove("signature");
    let message = serde_json::from_value(fields).expect("a vote");
    let signature = serde_json::from_value(signature.expect("a signature")).expect("a signature");
    Signed { message, signature }
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_from_the_log_of_an_oracle_voids_both_votes() {
    let circle = all().await;
    let (liar, witness) = (1, 2);
    circle.era(FIRST, &[(GOOD, 10)]).await;
    let member = &circle.members[witness];
    let evidence = |more: &[&str]| {
        let done = Command::new(env!("CARGO_BIN_EXE_reference-oracle"))
            .args(["evidence", "--data"])
            .arg(member.folder.join("data"))
            .arg("--parameters")
            .arg(member.parameters())
            .args(more)
            .output()
            .expect("it runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (done.status.success(), text(done.stdout), text(done.stderr))
    };
    let settler = circle.settler(witness);
    settler.go_on(circle.oracle(witness)).await.expect("it looks");
    let (is_any, _, words) = evidence(&[]);
    assert!(!is_any && words.contains("no oracle voted twice"), "{words}");
    // It has the one vote that it fetched, and is shown another.
    settler.witness(two(&circle, liar, FIRST).1).await.expect("it is kept");
    let out = circle.members[0].folder.join("evidence");
    let (is_any, line, words) = evidence(&["--out", out.to_str().expect("text")]);
    assert!(is_any, "{words}");
    let file: Value =
        serde_json::from_slice(&std::fs::read(line.trim()).expect("a file")).expect("JSON");
    let oracle = circle.members[liar].address;
    assert_eq!((&file["kind"], &file["oracle"]), (&json!("equivocation"), &json!(oracle)));
    let votes = (written(&file["votes"][0]), written(&file["votes"][1]));
    dispute(&circle.network, &votes).await;
    circle.network.mine(3).await;
    settler.go_on(circle.oracle(witness)).await.expect("it looks");
    let registry = circle.network.read(&SlaSettlement::oraclesCall {}).await;
    let call = OracleRegistry::oraclesCall { oracle };
    let stake = circle.network.read_of(registry, &call).await;
    assert!(stake.jailed && stake.bond.is_zero());
    let (is_any, lines, _) = evidence(&["--era", &FIRST.to_string()]);
    assert!(is_any && lines.lines().count() == 1, "{lines}");
    assert_eq!(serde_json::from_str::<Value>(&lines).expect("JSON"), file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_that_was_voided_counts_in_no_root_and_verify_agrees() {
    let circle = all().await;
    let leader = circle.leader(FIRST + 1, 6);
    let liar = (leader + 1) % ORACLES;
    circle.era(FIRST, &[(GOOD, 10), (DOWN, 0)]).await;
    dispute(&circle.network, &two(&circle, liar, FIRST)).await;
    circle.network.mine(3).await;
    // With its signature, which counts no more, the post would be refused.
    circle.until(1).await;
    let reader = circle.members[leader].reader();
    let votes = async |node| {
        let settled = reader.settled(node).await.expect("an answer").expect("a leaf");
        (settled.eras[0].votes, settled.leaf.cumulativeReward, settled.leaf.cumulativePenalty)
    };
    assert_eq!(votes(GOOD).await, (3, U256::from(1000), U256::ZERO), "the void one is left out");
    assert_eq!(votes(DOWN).await, (4, U256::ZERO, U256::from(70)), "its other vote counts");
    let root = reader.roots(None).await.expect("roots").remove(0).root;
    let digest = root_digest(&root, &circle.network.parameters);
    let oracle = circle.members[liar].address;
    let void = Void { era: FIRST, oracle, node: Some(GOOD) };
    for index in circle.up() {
        let known = circle.settler(index).proposal(&digest).expect("it is known");
        assert_eq!(known.voided, [void], "oracle {index}");
    }
    let data = circle.members[leader].folder.join("data");
    let by_folder = ["--data", data.to_str().expect("text")];
    let (equal, words) = verify(&circle, leader, FIRST, &by_folder);
    assert!(equal && words.contains(": equal\n"), "{words}");
    let place = circle.members[(leader + 2) % ORACLES].place();
    let (equal, words) = verify(&circle, leader, FIRST, &["--oracle", &place]);
    assert!(equal && words.contains(": equal\n"), "{words}");
    // Another contract voids nothing: it is not asked.
    let path = circle.members[leader].config();
    let config = std::fs::read_to_string(&path).expect("text");
    let other = config.replace(&circle.network.disputes.to_string(), &oracle.to_string());
    std::fs::write(&path, other).expect("written");
    let (equal, words) = verify(&circle, leader, FIRST, &by_folder);
    assert!(!equal && words.contains("is not the Disputes of the settlement"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn votes_of_who_is_an_oracle_in_another_era_void_nothing() {
    let circle = all().await;
    let (network, leader, later) = (&circle.network, circle.leader(FIRST + 1, 6), key(0x51));
    circle.era(FIRST, &[(GOOD, 10)]).await;
    network.add_oracle(later.address(), FIRST + 100).await;
    dispute(network, &two_by(&network.parameters, &later, FIRST)).await;
    network.mine(3).await;
    // The contract takes them for votes of an oracle.
    let registry = network.read(&SlaSettlement::oraclesCall {}).await;
    let call = OracleRegistry::oraclesCall { oracle: later.address() };
    assert!(network.read_of(registry, &call).await.jailed);
    circle.until(1).await;
    let reader = circle.members[leader].reader();
    let settled = reader.settled(GOOD).await.expect("an answer").expect("a leaf");
    assert_eq!((settled.eras[0].votes, settled.leaf.cumulativeReward), (4, U256::from(1000)));
    let root = reader.roots(None).await.expect("roots").remove(0).root;
    let digest = root_digest(&root, &network.parameters);
    for index in circle.up() {
        let known = circle.settler(index).proposal(&digest).expect("it is known");
        assert_eq!(known.voided, [], "oracle {index}");
    }
    let data = circle.members[leader].folder.join("data");
    let (equal, words) = verify(&circle, leader, FIRST, &["--data", data.to_str().expect("text")]);
    assert!(equal && words.contains(": equal\n"), "{words}");
}

/// A receipt of a passed challenge of a node by an oracle, shown against its vote.
pub(super) async fn show_receipt(circle: &Circle, liar: usize, era: u64, node: B256) {
    let votes = circle.oracle(liar).votes(Era(era), None).await.expect("votes");
    let votes: Vec<Vote> = serde_json::from_str(&votes).expect("JSON");
    let vote = votes.iter().find(|vote| vote.message.nodeId == node).expect("a vote");
    let (network, key) = (&circle.network, key_of(circle, liar));
    let domain = network.parameters.domain();
    let request = ChallengeRequest {
        nodeId: vote.message.nodeId,
        oracleId: key.address(),
        era: vote.message.era,
        nonce: B256::ZERO,
        dataRoot: B256::ZERO,
        objects: 1,
        totalBytes: 1,
        configDigest: network.parameters.digest(),
    };
    let receipt = ChallengeReceipt {
        requestHash: request.eip712_signing_hash(&domain),
        beacon: B256::ZERO,
        result: PASSED,
        latencyUs: 1,
        bytesPerSecond: 1,
        oracleTime: 1,
    };
    let by_oracle = Signed::new(receipt.clone(), &domain, &key).expect("signed").signature;
    let (vote, by_voter) = on_chain(vote);
    let call = Disputes::showReceiptCall {
        vote,
        voteSignature: by_voter,
        request,
        receipt,
        receiptSignature: by_oracle.0.to_vec().into(),
    };
    network.call(network.disputes, &call).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_receipt_that_is_shown_mends_what_the_node_comes_to() {
    let circle = all().await;
    let leader = circle.leader(FIRST + 1, 6);
    let (liar, unlucky) = ((leader + 1) % ORACLES, (leader + 2) % ORACLES);
    // One hides what the node passed, another could not reach it: the lower median of 0, 0, 10, 10 is 0.
    let sees = |index| if index == liar || index == unlucky { 0 } else { 10 };
    circle.seen(FIRST, |index| vec![(GOOD, sees(index)), (DOWN, sees(index))]).await;
    show_receipt(&circle, liar, FIRST, GOOD).await;
    circle.network.mine(3).await;
    circle.until(1).await;
    let reader = circle.members[leader].reader();
    let leaf = async |node| {
        let settled = reader.settled(node).await.expect("an answer").expect("a leaf");
        (settled.eras[0].votes, settled.leaf.cumulativeReward, settled.leaf.cumulativePenalty)
    };
    assert_eq!(leaf(DOWN).await, (4, U256::ZERO, U256::from(70)), "nobody showed anything");
    assert_eq!(leaf(GOOD).await, (3, U256::from(1000), U256::ZERO));
    // Its stake was cut, and it is an oracle still.
    let registry = circle.network.read(&SlaSettlement::oraclesCall {}).await;
    let call = OracleRegistry::oraclesCall { oracle: circle.members[liar].address };
    let stake = circle.network.read_of(registry, &call).await;
    assert!(!stake.jailed && !stake.bond.is_zero());
    let data = circle.members[leader].folder.join("data");
    let (equal, words) = verify(&circle, leader, FIRST, &["--data", data.to_str().expect("text")]);
    assert!(equal && words.contains(": equal\n"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_counts_a_vote_which_was_voided_later_is_cancelled_and_made_anew() {
    let circle = all().await;
    let leader = circle.leader(FIRST + 1, 6);
    let liar = (leader + 1) % ORACLES;
    circle.era(FIRST, &[(GOOD, 10)]).await;
    circle.until(1).await;
    let reader = circle.members[leader].reader();
    let first = reader.roots(None).await.expect("roots").remove(0).root;
    dispute(&circle.network, &two(&circle, liar, FIRST)).await;
    circle.network.mine(3).await;
    let data = circle.members[leader].folder.join("data");
    let by_folder = ["--data", data.to_str().expect("text")];
    let (equal, words) = verify(&circle, leader, FIRST, &by_folder);
    assert!(equal && words.contains("equal; 1 of its votes were voided since"), "{words}");
    // The guardian cancels it.
    let call = SlaSettlement::cancelCall { id: U256::ZERO, root: first, reason: B256::ZERO };
    circle.network.call(circle.network.parameters.contract, &call).await;
    assert_eq!(circle.count().await, 0);
    circle.era(SECOND, &[(GOOD, 10)]).await;
    circle.until(1).await;
    let settled = reader.settled(GOOD).await.expect("an answer").expect("a leaf");
    let votes: Vec<_> = settled.eras.iter().map(|verdict| (verdict.era, verdict.votes)).collect();
    assert_eq!(votes, [(Era(FIRST), 3), (Era(SECOND), 4)]);
    assert_eq!(settled.leaf.cumulativeReward, U256::from(2000));
    let (equal, words) = verify(&circle, leader, SECOND, &by_folder);
    assert!(equal && words.contains(": equal\n"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_voided_in_a_block_that_vanished_is_not_void() {
    let circle = Circle::new().await;
    let network = &circle.network;
    circle.moment(FIRST, 1).await;
    let chain = Checked::new(network.rpc(), network.rpc());
    let net = Net::new(chain, &network.parameters);
    let folder = tempfile::tempdir().expect("a folder");
    let source = Source { disputes: network.disputes, from_block: 0 };
    let oracles = network.parameters.oracles.clone();
    let open = |source| Follower::open(Some(folder.path()), source, oracles.clone());
    let follower = open(source).expect("a folder");
    assert_eq!(follower.voids(), None, "nothing was read");
    assert!(follower.refresh(&net).await.expect("the chain answers"));
    assert_eq!(follower.voids(), Some([].into()));
    // Safe, and not final yet.
    let votes = two(&circle, 0, FIRST);
    dispute(network, &votes).await;
    assert!(follower.refresh(&net).await.expect("the chain answers"));
    assert_eq!(follower.voids(), Some([].into()), "its block is not safe yet");
    network.mine(1).await;
    assert!(follower.refresh(&net).await.expect("the chain answers"));
    let void = Void { era: FIRST, oracle: circle.members[0].address, node: Some(GOOD) };
    assert_eq!(follower.voids(), Some([void].into()));
    network.ask("anvil_reorg", serde_json::json!([2, []])).await;
    network.mine(1).await;
    assert!(follower.refresh(&net).await.expect("the chain answers"));
    assert_eq!(follower.voids(), Some([].into()));
    // What became final is known after a restart, though it is not read again.
    dispute(network, &votes).await;
    network.mine(40).await;
    assert!(follower.refresh(&net).await.expect("the chain answers"));
    assert_eq!(follower.voids(), Some([void].into()));
    drop(follower);
    let newest = network.rpc().heads().await.expect("the chain answers").latest.number;
    let late = Source { from_block: newest, ..source };
    let follower = open(late).expect("a folder");
    assert!(follower.refresh(&net).await.expect("the chain answers"));
    assert_eq!(follower.voids(), Some([void].into()));
    drop(follower);
    // A chain that has other blocks where these were is another one.
    network.ask("anvil_reorg", serde_json::json!([42, []])).await;
    let follower = open(source).expect("a folder");
    assert!(follower.refresh(&net).await.expect("the chain answers"));
    assert_eq!(follower.voids(), Some([].into()));
    // What is noted of this one is all that is known of it later.
    let others = two(&circle, 1, FIRST);
    dispute(network, &others).await;
    network.mine(40).await;
    assert!(follower.refresh(&net).await.expect("the chain answers"));
    drop(follower);
    let follower = open(source).expect("a folder");
    assert!(follower.refresh(&net).await.expect("the chain answers"));
    let void = Void { oracle: circle.members[1].address, ..void };
    assert_eq!(follower.voids(), Some([void].into()));
    drop(follower);
    // Of another contract nothing is read, be it one or none.
    for disputes in [network.registry, Address::repeat_byte(1)] {
        let follower = open(Source { disputes, from_block: 0 }).expect("a folder");
        let refused = follower.refresh(&net).await.expect_err("it is another");
        assert!(matches!(refused, SettleError::OtherDisputes { .. }), "{refused}");
        assert_eq!(follower.voids(), None);
    }
}
