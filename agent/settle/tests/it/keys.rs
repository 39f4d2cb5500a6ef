//! Daemon keys: one that takes the place of another in the middle of an era, and one that two nodes have.

use agent_settlement::abi::messages::domain;
use agent_settlement::abi::reference::NodeRegistry;
use agent_sla::protocol::key::SigningKey;
use agent_sla::protocol::settled::SignedBinding;
use agent_sla::protocol::signed::{ChallengeRequest, Signed};
use alloy::primitives::{Address, B256, Bytes, keccak256};
use alloy::sol_types::{SolCall, SolError, SolValue};
use zeroize::Zeroizing;

use crate::chain::{Chain, ERA_S, Setup, WINDOW_S, hp, leaf, tokens};
use crate::payout::{LABEL, binding, node};
use crate::tool::Tool;

/// What the node earns in an era, in whole tokens.
const ERA_REWARD: u64 = 7;

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&Zeroizing::new([number; 32])).expect("a key")
}

fn bind_call(signed: &SignedBinding) -> NodeRegistry::bindCall {
    NodeRegistry::bindCall {
        binding: signed.message.clone(),
        daemonSignature: Bytes::from(signed.signature.0.to_vec()),
    }
}

fn label() -> B256 {
    B256::left_padding_from(&alloy::hex::decode(LABEL).expect("hex"))
}

/// The key of the node in an era, as oracles read it.
async fn daemon(chain: &Chain, era: u64) -> Address {
    let call = NodeRegistry::daemonAtCall { nodeId: node(), era };
    chain.call(chain.contract("registry"), &call).await
}

/// The requests for a challenge of an era that oracles answer: those that the node's key of that era signed.
async fn answered(chain: &Chain, era: u64, keys: &[u8]) -> Vec<u8> {
    let domain = domain(chain.number(), chain.contract("settlement"));
    let (counts, config) = (daemon(chain, era).await, chain.config(era).await);
    let is_answered = |number: &&u8| {
        let message = ChallengeRequest {
            nodeId: node(),
            oracleId: key(1).address(),
            era,
            nonce: B256::repeat_byte(1),
            dataRoot: B256::ZERO,
            objects: 0,
            totalBytes: 0,
            configDigest: config,
        };
        let signed = Signed::new(message, &domain, &key(**number)).expect("signed");
        signed.verify(&domain, counts).is_ok()
    };
    keys.iter().filter(is_answered).copied().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_replaced_within_an_era_loses_no_era_and_none_is_paid_twice() {
    const OLD: u8 = 7;
    const NEW: u8 = 8;
    let setup = Setup { before_s: 400, behind_s: 350, ..Setup::default() };
    let mut chain = Chain::start_with(41_025, setup).await;
    chain
        .by_another_wallet("registry", NodeRegistry::registerCall { label: label() }.abi_encode())
        .await;
    let first = binding(&chain, OLD, |_| {});
    chain.by_another_wallet("registry", bind_call(&first).abi_encode()).await;
    let begun = chain.era().await;
    chain.catch_up(55).await;

    // In the middle of an era, the HP puts another key in the old one's place.
    chain.pass(ERA_S - chain.second_of_era().await % ERA_S + ERA_S / 2).await;
    let tool = Tool::new(&chain, &format!("hp_account = \"{}\"\n", hp()));
    let second = binding(&chain, NEW, |_| {});
    tool.write("binding.json", &serde_json::to_string(&second).expect("JSON"));
    tool.done(&["rotate", "--binding", "binding.json", "--wait", "mined"]);
    let id = node().to_string();
    let status = tool.told(&["status", "--node", &id]);
    let row = &status["nodes"][0];
    assert_eq!(row["daemon"], serde_json::json!(key(OLD).address()), "{status}");
    let next = &row["daemonNext"];
    assert_eq!(next["daemon"], serde_json::json!(key(NEW).address()), "{status}");

    // In each era one key counts and never both: the old one until the next era but one.
    let from = (begun..begun + 40).collect::<Vec<_>>();
    let mut keys = Vec::new();
    for era in &from {
        keys.push(answered(&chain, *era, &[OLD, NEW]).await);
    }
    let old = keys.iter().filter(|keys| keys[..] == [OLD]).count();
    let new = keys.iter().filter(|keys| keys[..] == [NEW]).count();
    assert!(keys[..2].iter().all(Vec::is_empty), "no key counts before the next era but one");
    assert_eq!(old + new + 2, keys.len(), "each era has one key: {keys:?}");
    let effective = begun + 2 + u64::try_from(old).expect("a number");
    assert!(keys[2..2 + old].iter().all(|keys| keys[..] == [OLD]), "{keys:?}");
    let now = chain.era().await;
    assert!((now..=now + 2).contains(&effective), "era {now}, in force from {effective}");

    // Over the change every era is paid, and once.
    chain.pass(ERA_S * (effective + 2 - chain.era().await)).await;
    let had = chain.tokens(hp()).await;
    let mut earned = 0;
    let mut claims = Vec::new();
    for era in 0..effective + 2 {
        let counted = answered(&chain, era, &[OLD, NEW]).await.len();
        earned += ERA_REWARD * u64::try_from(counted).expect("a number");
        let total = tokens(ERA_REWARD + 1);
        let [settled, _] =
            chain.settle([leaf(node(), era, earned), leaf(B256::ZERO, era, 0)], total).await;
        if [effective - 1, effective + 1].contains(&era) {
            claims.push((settled, earned));
        }
    }
    chain.wait(WINDOW_S + 1).await;
    for (settled, earned) in &claims {
        tool.write("leaf.json", &serde_json::to_string(settled).expect("JSON"));
        tool.done(&["claim", "--leaf", "leaf.json", "--wait", "mined"]);
        assert_eq!(chain.tokens(hp()).await - had, tokens(*earned));
        tool.sign(&["claim", "--leaf", "leaf.json"]).refused("was claimed");
    }
    let eras = effective + 2 - (begun + 2);
    assert_eq!(chain.tokens(hp()).await - had, tokens(ERA_REWARD * eras), "{eras} eras");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_key_that_two_nodes_have_is_of_the_first_and_paid_once() {
    const OTHER: &str = "aa";
    let mut chain = Chain::start(41_026).await;
    let tool = Tool::new(&chain, &format!("hp_account = \"{}\"\n", hp()));
    let other = keccak256((hp(), B256::left_padding_from(&[0xaa])).abi_encode());
    for label in [LABEL, OTHER] {
        tool.done(&["register", "--label", label, "--wait", "mined"]);
    }
    let (first, second) =
        (binding(&chain, 7, |_| {}), binding(&chain, 7, |message| message.nodeId = other));
    for (name, signed) in [("first.json", &first), ("second.json", &second)] {
        tool.write(name, &serde_json::to_string(signed).expect("JSON"));
    }
    tool.done(&["bind", "--binding", "first.json", "--wait", "mined"]);
    tool.sign(&["bind", "--binding", "second.json"]).refused("was bound before, to the node");
    // Whoever asks the contract without this tool is told the same.
    let refusal = chain.refusal("registry", bind_call(&second).abi_encode()).await;
    let taken = NodeRegistry::DaemonTaken { daemon: key(7).address(), nodeId: node() };
    assert_eq!(refusal, Bytes::from(taken.abi_encode()), "DaemonTaken, with the node that has it");

    // What the key proves is of one node: the other has nothing in any root, and nothing to claim.
    let mine = chain
        .call(
            chain.contract("registry"),
            &NodeRegistry::nodeOfDaemonCall { daemon: key(7).address() },
        )
        .await;
    assert_eq!(mine, node());
    let [settled, beside] = chain.settle([leaf(mine, 0, 40), leaf(other, 0, 0)], tokens(41)).await;
    chain.wait(WINDOW_S + 1).await;
    tool.write("mine.json", &serde_json::to_string(&settled).expect("JSON"));
    tool.write("other.json", &serde_json::to_string(&beside).expect("JSON"));
    let had = chain.tokens(hp()).await;
    tool.done(&["claim", "--leaf", "mine.json", "--leaf", "other.json", "--wait", "mined"]);
    tool.sign(&["claim", "--leaf", "mine.json", "--leaf", "other.json"])
        .refused("nothing to claim");
    assert_eq!(chain.tokens(hp()).await - had, tokens(40));
}
