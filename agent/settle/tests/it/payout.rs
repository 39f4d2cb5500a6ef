//! From wallet to payout.

use agent_settlement::abi::messages::domain;
use agent_sla::protocol::key::SigningKey;
use agent_sla::protocol::settled::{DaemonBinding, SignedBinding};
use agent_sla::protocol::signed::Signed;
use alloy::primitives::{B256, U256, keccak256};
use alloy::sol_types::{SolStruct, SolValue};
use zeroize::Zeroizing;

use crate::chain::{Chain, Setup, hp, leaf, now_s, tokens};
use crate::oracle::Oracle;
use crate::tool::Tool;

/// The id that the node made for itself.
pub(crate) const LABEL: &str = "0102030405060708090a0b0c0d0e0f10";

/// Its name on chain.
pub(crate) fn node() -> B256 {
    let label = B256::left_padding_from(&alloy::hex::decode(LABEL).expect("hex"));
    keccak256((hp(), label).abi_encode())
}

/// A binding of a daemon key.
pub(crate) fn binding(
    chain: &Chain,
    key: u8,
    change: impl FnOnce(&mut DaemonBinding),
) -> SignedBinding {
    let key = SigningKey::from_bytes(&Zeroizing::new([key; 32])).expect("a key");
    let mut message = DaemonBinding {
        nodeId: node(),
        hpAccount: hp(),
        daemonAddress: key.address(),
        attestationKeyHash: B256::ZERO,
        hardwareReportHash: B256::ZERO,
        deadline: U256::from(now_s() + 86_400),
    };
    change(&mut message);
    Signed::new(message, &domain(chain.number(), chain.contract("settlement")), &key)
        .expect("signed")
}

fn amount(value: &serde_json::Value) -> U256 {
    serde_json::from_value(value.clone()).expect("an amount")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hp_is_paid_what_its_node_earned() {
    // Long enough for two runs of the tool on a machine that is busy.
    const WINDOW_S: u64 = 20;
    let setup = Setup { window_s: WINDOW_S, before_s: 260, behind_s: 55 };
    let mut chain = Chain::start_with(41_001, setup).await;
    let (honest, liar) = (Oracle::start(), Oracle::start());
    let more = [liar.described("liar"), honest.described("honest")].concat();
    let tool = Tool::new(&chain, &format!("hp_account = \"{}\"\n{more}", hp()));
    let id = node().to_string();

    let before = tool.told(&["status", "--label", LABEL]);
    assert_eq!(before["nodes"][0]["standing"], "not registered");
    assert!(before["nodes"][0]["paid"].is_null(), "what is not known is not zero: {before}");

    // Tried: nothing is changed.
    let tried = tool.told(&["register", "--label", LABEL, "--dry-run"]);
    assert_eq!(tried["dryRun"], true);
    assert!(tried["costAtMostWei"].as_str().expect("a cost").len() > 10);
    assert!(
        tried["transactions"][0]["links"][0].as_str().expect("a link").starts_with("ethereum:0x")
    );
    assert_eq!(chain.sent().await, 0);
    assert!(!tool.path("state").exists(), "nothing is remembered");

    let registered = tool.done(&["register", "--label", LABEL, "--wait", "mined"]);
    assert!(registered["transactions"][0]["block"].is_u64(), "{registered}");
    assert_eq!(chain.sent().await, 1);
    tool.sign(&["register", "--label", LABEL]).refused("registered already");

    let signed = binding(&chain, 7, |_| {});
    let daemon = signed.message.daemonAddress;
    honest.says(&format!("/v1/bindings/{daemon}"), &signed);
    let bound = tool.done(&["bind", "--daemon", &daemon.to_string(), "--node", &id]);
    assert!(bound["follows"][0].as_str().expect("words").starts_with("in effect from era"));
    let status = tool.told(&["status", "--node", &id]);
    assert_eq!(status["nodes"][0]["daemonNext"]["daemon"], serde_json::json!(daemon));
    assert_eq!(status["nodes"][0]["yours"], true);

    let had = chain.tokens(hp()).await;
    let put = tool.done(&["deposit", "--node", &id, "--amount", "250.5", "--wait", "safe"]);
    assert_eq!(put["transactions"].as_array().map(Vec::len), Some(2), "allowed, then deposited");
    assert_eq!(had - chain.tokens(hp()).await, tokens(2505) / U256::from(10));

    let [settled, _] =
        chain.settle([leaf(node(), 0, 40), leaf(B256::ZERO, 0, 1)], tokens(41)).await;
    honest.says(&format!("/v1/settled/{id}"), &settled);
    let mut richer = settled.clone();
    richer.leaf.cumulativeReward = tokens(4000);
    liar.says(&format!("/v1/settled/{id}"), &richer);
    tool.ask(&["claim", "--node", &id, "--dry-run"]).refused("is not final before");
    let status = tool.told(&["status", "--node", &id]);
    let row = &status["nodes"][0];
    assert_eq!((amount(&row["earned"]), amount(&row["pending"])), (tokens(40), tokens(40)));
    assert_eq!(amount(&row["claimable"]), U256::ZERO, "no root is final");
    let problem = row["problems"][0].as_str().expect("the liar is named");
    assert!(problem.contains("liar: the leaf that it gives is not in root 0"), "{problem}");

    chain.pass(WINDOW_S + 1).await;
    let had = chain.tokens(hp()).await;
    let sent = chain.sent().await;
    tool.told(&["claim", "--node", &id, "--dry-run"]);
    assert_eq!((chain.tokens(hp()).await, chain.sent().await), (had, sent), "nothing is changed");
    tool.done(&["claim", "--node", &id]);
    assert_eq!(chain.tokens(hp()).await - had, tokens(40));
    tool.sign(&["claim", "--node", &id]).refused("everything up to root 0 was claimed");
    let status = tool.told(&["status", "--node", &id]);
    let row = &status["nodes"][0];
    assert_eq!((amount(&row["paid"]), amount(&row["claimable"])), (tokens(40), U256::ZERO));

    // A newer root is not final: what the one before it has is claimed all the same.
    let next = chain.settle([leaf(node(), 1, 70), leaf(B256::ZERO, 1, 1)], tokens(30)).await;
    chain.pass(WINDOW_S + 1).await;
    let newest = chain.settle([leaf(node(), 2, 90), leaf(B256::ZERO, 2, 1)], tokens(20)).await;
    honest.says(&format!("/v1/settled/{id}"), &newest[0]);
    let domain = domain(chain.number(), chain.contract("settlement"));
    let leaves = format!("/v1/leaves?root={}", next[0].root.eip712_signing_hash(&domain));
    honest.says(&leaves, &[&next[1].leaf, &next[0].leaf]);
    honest.says(&format!("{leaves}&after={id}"), &[0; 0]);
    liar.says(&leaves, &[&next[0].leaf]);
    liar.says(&format!("{leaves}&after={id}"), &[0; 0]);
    let status = tool.told(&["status", "--node", &id]);
    let row = &status["nodes"][0];
    assert_eq!((amount(&row["claimable"]), amount(&row["pending"])), (tokens(30), tokens(20)));
    assert!(status.to_string().contains("liar: its leaves are not those of root 1"), "{status}");
    let had = chain.tokens(hp()).await;
    tool.done(&["claim", "--node", &id, "--wait", "mined"]);
    assert_eq!(chain.tokens(hp()).await - had, tokens(30));

    // Another key takes the place of the first, and is revoked.
    tool.write("binding.json", &serde_json::to_string(&binding(&chain, 8, |_| {})).expect("JSON"));
    let rotated = tool.done(&["rotate", "--binding", "binding.json", "--wait", "mined"]);
    assert!(rotated["follows"][1].as_str().expect("words").contains(&daemon.to_string()));
    tool.done(&["revoke", "--node", &id, "--wait", "mined"]);
    tool.sign(&["revoke", "--node", &id]).refused("no daemon key");

    tool.sign(&["withdraw", "--node", &id]).refused("no exit was requested");
    tool.done(&["exit", "--node", &id, "--wait", "mined"]);
    tool.sign(&["withdraw", "--node", &id]).refused("can be withdrawn from");
    chain.pass(WINDOW_S + 2 * 20 + 1).await;
    let had = chain.tokens(hp()).await;
    tool.done(&["withdraw", "--node", &id, "--wait", "mined"]);
    assert_eq!(chain.tokens(hp()).await - had, tokens(2505) / U256::from(10));
}
