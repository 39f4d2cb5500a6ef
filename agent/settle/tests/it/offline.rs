//! Prepared on one machine, signed on another without a network, sent by the first.

use alloy::primitives::B256;

use crate::chain::{Chain, WINDOW_S, hp, leaf, tokens};
use crate::payout::{LABEL, node};
use crate::tool::Tool;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_signed_without_a_network_is_sent_and_takes_effect_once() {
    let mut chain = Chain::start(41_002).await;
    let tool = Tool::new(&chain, &format!("hp_account = \"{}\"\n", hp()));
    // The machine with the key knows the contracts, and no server.
    tool.write("cold.json", &chain.deployed.to_string());
    let id = node().to_string();
    let cold = |from: &str, out: &str| tool.sign_for("cold.json", &["sign", from, "--out", out]);

    let written = tool.told(&["register", "--label", LABEL, "--out", "register.json"]);
    assert_eq!(written["sent"], false);
    let unsigned = tool.read("register.json");
    let one = &unsigned["transactions"][0];
    assert_eq!((&one["nonce"], &one["value"]), (&"0x0".into(), &"0x0".into()));
    assert_eq!(one["chainId"], "0xa02a");
    assert_eq!(chain.sent().await, 0);
    let again = tool.ask(&["register", "--label", LABEL, "--out", "register.json"]);
    again.refused("is there already");

    let signed = cold("register.json", "register.signed.json");
    assert_eq!(signed.code, Some(0), "{}", signed.text);
    assert_eq!(chain.sent().await, 0, "signing sends nothing");
    let sent = tool.told(&["send", "register.signed.json"]);
    assert_eq!(sent["transactions"][0]["hash"], signed.json["hashes"][0]);
    tool.told(&["send", "register.signed.json"]);
    assert_eq!(chain.sent().await, 1, "sent again, it has no second effect");

    // Two transactions in one file, in their order.
    tool.told(&["deposit", "--node", &id, "--amount", "7", "--out", "deposit.json"]);
    assert_eq!(cold("deposit.json", "deposit.signed.json").code, Some(0));
    let had = chain.tokens(hp()).await;
    tool.told(&["send", "deposit.signed.json", "--wait", "mined"]);
    assert_eq!(had - chain.tokens(hp()).await, tokens(7));

    let [settled, _] = chain.settle([leaf(node(), 0, 5), leaf(B256::ZERO, 0, 1)], tokens(6)).await;
    chain.pass(WINDOW_S + 1).await;
    tool.write("leaf.json", &serde_json::to_string(&settled).expect("JSON"));
    tool.told(&["claim", "--leaf", "leaf.json", "--out", "claim.json"]);
    assert_eq!(cold("claim.json", "claim.signed.json").code, Some(0));

    // Whatever a file says of itself, what it does is read from its data.
    let mut other = tool.read("claim.json");
    other["transactions"][0]["data"] = "0xa9059cbb".into();
    tool.write("other.json", &other.to_string());
    cold("other.json", "other.signed.json").refused("are not of its fields");
    for bytes in ["raw", "signingHash"] {
        other["transactions"][0].as_object_mut().expect("fields").remove(bytes);
    }
    tool.write("other.json", &other.to_string());
    cold("other.json", "other.signed.json").refused("does not know");
    let mut other = tool.read("claim.json");
    other["transactions"][0]["chainId"] = "0x1".into();
    tool.write("other.json", &other.to_string());
    cold("other.json", "other.signed.json").refused("for chain 1");
    assert!(!tool.path("other.signed.json").exists());

    // The nonce is used otherwise meanwhile: what was signed can never take effect.
    tool.done(&["exit", "--node", &id, "--wait", "safe"]);
    tool.ask(&["send", "claim.signed.json"]).refused("it can never take effect");
}
