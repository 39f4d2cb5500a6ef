//! Oracles that hide receipts, vote twice, or sign roots that cannot be true.

use agent_settlement::abi::messages::domain;
use agent_settlement::abi::reference::Disputes;
use agent_sla::protocol::key::SigningKey;
use agent_sla::protocol::messages::KeptReceipt;
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::settled::Settled;
use agent_sla::protocol::signed::{
    ChallengeReceipt, ChallengeRequest, PASSED, Signed, SlaVote, receipts_root,
};
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::{Eip712Domain, SolCall};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::chain::{Chain, ERA_S, Setup, WINDOW_S, hp, leaf, tokens};
use crate::oracle::Oracle;
use crate::payout::{LABEL, node};
use crate::tool::Tool;

/// Checks of an era in each vote of these tests.
const ISSUED: u32 = 10;

/// What a node earns in an era with all checks passed, in whole tokens.
const ERA_REWARD: u64 = 40;

/// Seconds that an oracle has to answer (`script/Local.s.sol`).
const ANSWER_S: u64 = 20 * ERA_S;

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&Zeroizing::new([number; 32])).expect("a key")
}

/// What signs and is signed in an era.
struct Desk {
    domain: Eip712Domain,
    era: u64,
    config: B256,
}

impl Desk {
    async fn new(chain: &Chain, era: u64) -> Self {
        let domain = domain(chain.number(), chain.contract("settlement"));
        Self { domain, era, config: chain.config(era).await }
    }

    /// What an oracle gave the node for a challenge that it passed.
    fn receipt(&self, oracle: u8) -> KeptReceipt {
        let oracle = key(oracle);
        let request = ChallengeRequest {
            nodeId: node(),
            oracleId: oracle.address(),
            era: self.era,
            nonce: B256::repeat_byte(1),
            dataRoot: B256::repeat_byte(2),
            objects: 3,
            totalBytes: 4096,
            configDigest: self.config,
        };
        let request = Signed::new(request, &self.domain, &key(7)).expect("signed");
        let receipt = ChallengeReceipt {
            requestHash: request.digest(&self.domain),
            beacon: B256::repeat_byte(3),
            result: PASSED,
            latencyUs: 800,
            bytesPerSecond: 90_000_000,
            oracleTime: 1,
        };
        let receipt = Signed::new(receipt, &self.domain, &oracle).expect("signed");
        KeptReceipt { oracle: oracle.address(), era: Era(self.era), request, receipt }
    }

    /// An oracle's vote, made of these receipts.
    fn vote(&self, oracle: u8, passed: u32, receipts: &[B256]) -> Signed<SlaVote> {
        let oracle = key(oracle);
        let vote = SlaVote {
            oracleId: oracle.address(),
            nodeId: node(),
            era: self.era,
            issued: ISSUED,
            passed,
            medianLatencyUs: 800,
            medianBytesPerSecond: 90_000_000,
            provenBytes: if passed > 0 { 4096 } else { 0 },
            receiptsRoot: receipts_root(receipts),
            configDigest: self.config,
        };
        Signed::new(vote, &self.domain, &oracle).expect("signed")
    }

    fn digest(&self, kept: &KeptReceipt) -> B256 {
        kept.receipt.digest(&self.domain)
    }

    /// What an era came to by the votes that count: whole tokens by the lower median of their passed shares.
    async fn earned(&self, chain: &Chain, votes: &[Signed<SlaVote>]) -> u64 {
        let mut passed = Vec::new();
        for vote in votes {
            if !chain.is_void(vote.digest(&self.domain)).await {
                passed.push(vote.message.passed);
            }
        }
        passed.sort_unstable();
        let median = passed[(passed.len() - 1) / 2];
        ERA_REWARD * u64::from(median) / u64::from(ISSUED)
    }
}

fn written(tool: &Tool, name: &str, what: &impl serde::Serialize) {
    tool.write(name, &serde_json::to_string(what).expect("JSON"));
}

/// A vote as a file of evidence has it.
fn flat(vote: &Signed<SlaVote>) -> Value {
    let mut flat = serde_json::to_value(&vote.message).expect("JSON");
    flat["signature"] = serde_json::to_value(vote.signature).expect("JSON");
    flat
}

fn registered(chain: &Chain) -> Tool {
    let tool = Tool::new(chain, &format!("hp_account = \"{}\"\n", hp()));
    tool.done(&["register", "--label", LABEL, "--wait", "mined"]);
    tool
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_receipt_was_hidden_is_paid_by_the_next_root() {
    let mut chain = Chain::start(41_021).await;
    let liar = Oracle::start();
    let described = liar.described("liar").replace(
        &Address::repeat_byte(1).to_string().to_lowercase(),
        &key(1).address().to_string(),
    );
    let tool = Tool::new(&chain, &format!("hp_account = \"{}\"\n{described}", hp()));
    tool.done(&["register", "--label", LABEL, "--wait", "mined"]);
    let desk = Desk::new(&chain, 0).await;
    // Two of four vote the node down; all gave it a receipt.
    let receipts: Vec<_> = (1..=4).map(|oracle| desk.receipt(oracle)).collect();
    let honest =
        |oracle: u8| desk.vote(oracle, ISSUED, &[desk.digest(&receipts[usize::from(oracle) - 1])]);
    let votes = vec![desk.vote(1, 0, &[]), desk.vote(2, 0, &[]), honest(3), honest(4)];
    let earned = desk.earned(&chain, &votes).await;
    assert_eq!(earned, 0, "voted down");
    chain.settle([leaf(node(), 0, earned), leaf(B256::ZERO, 0, 1)], tokens(1)).await;

    // The node's receipts as it keeps them; the vote as the oracle shows it.
    written(&tool, "receipts.json", &receipts);
    let before = B256::from(U256::from_be_bytes(node().0) - U256::from(1));
    liar.says(&format!("/v1/votes?era=0&after={before}"), &[&votes[0]]);
    let one = key(1).address().to_string();
    let dispute = ["dispute", "receipt", "--receipt", "receipts.json", "--oracle", &one];
    let (sent, had) = (chain.sent().await, chain.tokens(hp()).await);
    tool.ask(&["dispute", "receipt", "--receipt", "receipts.json", "--dry-run"])
        .refused("4 receipts, and one is meant");
    let tried = tool.told(&[&dispute[..], &["--dry-run"]].concat());
    assert!(tried["follows"][0].as_str().expect("words").starts_with("decided at once"), "{tried}");
    assert_eq!(chain.sent().await, sent, "nothing is changed");
    let shown = tool.done(&[&dispute[..], &["--wait", "mined"]].concat());
    assert_eq!(shown["transactions"].as_array().map(Vec::len), Some(1), "no bond");
    assert!(chain.is_void(votes[0].digest(&desk.domain)).await);
    assert_eq!(chain.stake(key(1).address()).await, (tokens(900), false));
    assert_eq!(chain.tokens(hp()).await - had, tokens(10), "a tenth of what it lost");
    tool.sign(&dispute).refused("the vote is void already");

    // What an honest oracle's vote counts is not hidden.
    written(&tool, "honest.json", &votes[2]);
    let three = key(3).address().to_string();
    let counted = ["dispute", "receipt", "--receipt", "receipts.json", "--oracle", &three];
    tool.sign(&[&counted[..], &["--vote", "honest.json"]].concat()).refused("it is not hidden");

    // Without the void vote the era is worth what it was; the next root has it, and it is paid.
    let earned = desk.earned(&chain, &votes).await;
    assert_eq!(earned, ERA_REWARD);
    let total = tokens(earned + ERA_REWARD);
    let corrected = leaf(node(), 1, earned + ERA_REWARD);
    let [settled, _] = chain.settle([corrected, leaf(B256::ZERO, 1, 1)], total).await;
    chain.pass(WINDOW_S + 1).await;
    written(&tool, "leaf.json", &settled);
    let had = chain.tokens(hp()).await;
    tool.done(&["claim", "--leaf", "leaf.json", "--wait", "mined"]);
    assert_eq!(chain.tokens(hp()).await - had, total);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oracle_that_is_asked_answers_or_is_slashed() {
    // The question that nobody answers is asked so early that its time is over when the clock has caught up.
    let setup = Setup { before_s: ANSWER_S + 300, behind_s: ANSWER_S + 100, ..Setup::default() };
    let chain = Chain::start_with(41_022, setup).await;
    let desk = Desk::new(&chain, 0).await;
    let hidden = desk.receipt(1);
    // It says that it was made from another receipt.
    let vote = desk.vote(1, 9, &[B256::repeat_byte(9)]);
    let call = Disputes::showReceiptCall {
        vote: vote.message.clone(),
        voteSignature: Bytes::from(vote.signature.0.to_vec()),
        request: hidden.request.message.clone(),
        receipt: hidden.receipt.message.clone(),
        receiptSignature: Bytes::from(hidden.receipt.signature.0.to_vec()),
    };
    chain.allow_to("disputes", tokens(10)).await;
    chain.by_another_wallet("disputes", call.abi_encode()).await;
    chain.catch_up(0).await;

    let tool = registered(&chain);
    let vote_digest = vote.digest(&desk.domain).to_string();
    let digest = desk.digest(&hidden);
    let close = ["dispute", "close", "--vote", &vote_digest, "--receipt", &digest.to_string()];
    // Where nobody can be slashed, the bond comes back, and the question stays.
    let had = chain.tokens(hp()).await;
    chain.let_slash(false).await;
    tool.done(&[&close[..], &["--wait", "mined"]].concat());
    assert_eq!(chain.tokens(hp()).await - had, tokens(10), "the bond alone");
    assert!(!chain.is_void(vote.digest(&desk.domain)).await);
    tool.sign(&close).refused("may not slash oracles");
    chain.let_slash(true).await;
    tool.done(&[&close[..], &["--wait", "mined"]].concat());
    assert_eq!(chain.tokens(hp()).await - had, tokens(10 + 10), "the bond, and a tenth");
    assert!(chain.is_void(vote.digest(&desk.domain)).await);
    tool.sign(&close).refused("nothing is asked for the receipt");

    // While nobody can be slashed, who asks is told what comes of a bond, and what is decided at once is refused.
    let ask = ["dispute", "receipt", "--receipt", "receipt.json", "--vote", "vote.json"];
    let (silent, doubtful) = (desk.vote(2, 0, &[]), desk.vote(2, 9, &[B256::repeat_byte(8)]));
    written(&tool, "receipt.json", &desk.receipt(2));
    written(&tool, "vote.json", &doubtful);
    let told = || tool.told(&[&ask[..], &["--dry-run"]].concat())["follows"].to_string();
    let words = "Disputes may slash nobody now";
    assert!(!told().contains(words), "{}", told());
    chain.let_slash(false).await;
    assert!(told().contains(words), "{}", told());
    written(&tool, "vote.json", &silent);
    tool.sign(&ask).refused("refuses what is decided at once");
    let twice = json!({ "kind": "equivocation", "oracle": key(2).address(), "votes": [flat(&silent), flat(&doubtful)] });
    written(&tool, "evidence.json", &twice);
    tool.sign(&["dispute", "equivocation", "evidence.json"])
        .refused("refuses what is decided at once");
    chain.let_slash(true).await;

    // Whoever was never an oracle is asked nothing, and no bond is allowed to be taken.
    let sent = chain.sent().await;
    written(&tool, "receipt.json", &desk.receipt(9));
    written(&tool, "vote.json", &desk.vote(9, 9, &[B256::repeat_byte(9)]));
    tool.sign(&ask).refused("was never an oracle");
    assert_eq!(chain.sent().await, sent, "nothing was signed");

    // Another oracle is asked, and answers.
    let (hidden, other) = (desk.receipt(2), B256::repeat_byte(8));
    let digest = desk.digest(&hidden);
    let vote = desk.vote(2, 9, &[other, digest]);
    written(&tool, "receipt.json", &hidden);
    written(&tool, "vote.json", &vote);
    let had = chain.tokens(hp()).await;
    let asked = tool.done(&[&ask[..], &["--wait", "mined"]].concat());
    assert_eq!(asked["transactions"].as_array().map(Vec::len), Some(2), "allowed, then asked");
    assert_eq!(had - chain.tokens(hp()).await, tokens(10), "the bond");
    tool.sign(&ask).refused("this was asked before");
    let (vote_digest, digest) = (vote.digest(&desk.domain).to_string(), digest.to_string());
    let question = ["--vote", &vote_digest, "--receipt", &digest];
    tool.sign(&[&["dispute", "close"], &question[..]].concat()).refused("it may be answered until");
    let answer = [&["dispute", "answer"], &question[..], &["--receipts", "answer.json"]].concat();
    written(&tool, "answer.json", &json!([digest]));
    tool.sign(&answer).refused("from other receipts");
    written(&tool, "answer.json", &json!([other, hidden]));
    let stake = chain.stake(key(2).address()).await;
    tool.done(&[&answer[..], &["--wait", "mined"]].concat());
    let grown = chain.stake(key(2).address()).await.0 - stake.0;
    assert_eq!(grown, tokens(10), "the bond is the oracle's");
    assert!(!chain.is_void(vote.digest(&desk.domain)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oracle_that_votes_twice_loses_its_stake_to_whoever_shows_it() {
    let chain = Chain::start(41_023).await;
    let tool = registered(&chain);
    let desk = Desk::new(&chain, 0).await;
    let evidence = |votes: [&Signed<SlaVote>; 2]| {
        let oracle = key(1).address();
        json!({ "kind": "equivocation", "oracle": oracle, "votes": votes.map(flat) })
    };
    let (first, second) = (desk.vote(1, 9, &[]), desk.vote(1, 3, &[]));
    let show = ["dispute", "equivocation", "evidence.json"];
    let sent = chain.sent().await;
    let refused = |file: &Value, words: &str| {
        written(&tool, "evidence.json", file);
        tool.sign(&show).refused(words);
    };
    refused(&evidence([&first, &first]), "both votes say the same");
    refused(&evidence([&first, &desk.vote(2, 3, &[])]), "not of one oracle");
    let forged = Signed { message: second.message.clone(), signature: first.signature };
    refused(&evidence([&first, &forged]), "the second vote is not signed by the oracle");
    assert_eq!(chain.sent().await, sent, "nothing was signed");

    // Prepared, signed on a machine without a network, and sent.
    written(&tool, "evidence.json", &evidence([&first, &second]));
    let had = chain.tokens(hp()).await;
    tool.told(&[&show[..], &["--out", "show.json"]].concat());
    tool.write("cold.json", &chain.deployed.to_string());
    let signed = tool.sign_for("cold.json", &["sign", "show.json", "--out", "signed.json"]);
    assert_eq!(signed.code, Some(0), "{}", signed.text);
    assert!(signed.text.contains("voted twice on era 0"), "{}", signed.text);
    tool.told(&["send", "signed.json", "--wait", "mined"]);
    assert_eq!(chain.stake(key(1).address()).await, (U256::ZERO, true));
    assert_eq!(chain.tokens(hp()).await - had, tokens(100), "a tenth of its stake");
    tool.sign(&show).refused("it was shown before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_cannot_be_true_is_cancelled_and_the_right_one_pays() {
    const WINDOW: u64 = 80;
    let setup = Setup { window_s: WINDOW, before_s: 300, behind_s: 200 };
    let mut chain = Chain::start_with(41_024, setup).await;
    let [first, beside] =
        chain.settle([leaf(node(), 0, 40), leaf(B256::ZERO, 0, 1)], tokens(41)).await;
    chain.pass(WINDOW + 1).await;
    chain.catch_up(50).await;
    let tool = registered(&chain);
    let file = |name: &str, settled: &Settled| written(&tool, name, settled);
    file("first.json", &first);
    file("beside.json", &beside);
    let refute = |leaves: &[&str]| {
        tool.sign(&[&["dispute", "refute"], leaves, &["--wait", "mined"]].concat())
    };
    refute(&["first.json"]).refused("can be true");
    refute(&["first.json", "beside.json"]).refused("of two nodes");

    // What the node has shrinks.
    let [bad, _] = chain.settle([leaf(node(), 1, 30), leaf(B256::ZERO, 1, 2)], tokens(30)).await;
    file("bad.json", &bad);
    let mut forged = bad.clone();
    forged.leaf.cumulativeReward = tokens(29);
    file("forged.json", &forged);
    refute(&["first.json", "forged.json"]).refused("is not in root 1 of the chain");
    let done = refute(&["bad.json", "first.json"]);
    assert_eq!(done.code, Some(0), "{}", done.text);
    refute(&["bad.json", "first.json"]).refused("root 1 of the chain is not the one");
    chain.cancelled();

    let [good, _] = chain.settle([leaf(node(), 1, 70), leaf(B256::ZERO, 1, 2)], tokens(31)).await;
    assert_eq!(good.number, 1, "in its place");
    chain.pass(WINDOW + 1).await;
    file("good.json", &good);
    refute(&["first.json", "good.json"]).refused("is final since");
    let had = chain.tokens(hp()).await;
    tool.done(&["claim", "--leaf", "good.json", "--wait", "mined"]);
    assert_eq!(chain.tokens(hp()).await - had, tokens(70));
}
