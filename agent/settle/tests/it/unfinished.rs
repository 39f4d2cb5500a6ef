//! Runs that end before what they signed is over.

use serde_json::json;

use crate::chain::{Chain, hp, tokens};
use crate::payout::{LABEL, node};
use crate::tool::Tool;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ended_in_between_is_gone_on_with_and_nothing_happens_twice() {
    let chain = Chain::start(41_003).await;
    let tool = Tool::new(&chain, "");
    tool.done(&["register", "--label", LABEL, "--wait", "mined"]);
    let id = node().to_string();
    // A first deposit, so that the next needs no allowance of its own.
    tool.done(&["deposit", "--node", &id, "--amount", "1", "--wait", "mined"]);
    let had = chain.tokens(hp()).await;
    let sent = chain.sent().await;

    chain.mines(false).await;
    chain.ask("evm_setAutomine", json!([false])).await;
    let deposit = ["deposit", "--node", &id, "--amount", "10"];
    let cut = tool.sign(&[&deposit[..], &["--timeout", "3"]].concat());
    assert_eq!(cut.code, Some(3), "it is under way: {}", cut.text);
    assert!(cut.text.contains("run the same command again"), "{}", cut.text);
    assert_eq!(chain.sent().await, sent + 1);

    // The server loses it, as one that restarts does: the very same bytes are sent again.
    let waiting = chain.ask("txpool_content", json!([])).await;
    let nonces = waiting["pending"].as_object().expect("an account").values().next();
    let waiting = nonces.and_then(|nonces| nonces.as_object()?.values().next()).expect("one waits");
    let hash = waiting["hash"].clone();
    chain.ask("anvil_dropTransaction", json!([hash])).await;
    assert_eq!(chain.sent().await, sent);
    chain.mines(true).await;
    let allowed = tool.done(&deposit);
    assert_eq!(allowed["finishedEarlier"], serde_json::Value::Null);
    assert_eq!(had - chain.tokens(hp()).await, tokens(10), "once");
    // Allowed by the first run, deposited by the second.
    assert_eq!(chain.sent().await, sent + 2);
    let receipt = chain.ask("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt["status"], "0x1", "the first run's bytes");

    // The same once more is another.
    tool.done(&deposit);
    assert_eq!(had - chain.tokens(hp()).await, tokens(20));

    // Cut off with nothing but the deposit under way: the same command again is that deposit, and no other.
    chain.allow(tokens(10)).await;
    chain.mines(false).await;
    let cut = tool.sign(&[&deposit[..], &["--timeout", "3"]].concat());
    assert_eq!(cut.code, Some(3), "{}", cut.text);
    let before = chain.sent().await;
    chain.mines(true).await;
    assert_eq!(tool.done(&deposit)["finishedEarlier"], true);
    assert_eq!(had - chain.tokens(hp()).await, tokens(30), "once");
    assert_eq!(chain.sent().await, before);

    // A call of which there is one only is known again.
    chain.mines(false).await;
    let exit = ["exit", "--node", &id];
    let cut = tool.sign(&[&exit[..], &["--timeout", "3"]].concat());
    assert_eq!(cut.code, Some(3), "{}", cut.text);
    let before = chain.sent().await;
    chain.mines(true).await;
    let again = tool.sign(&exit);
    again.refused("on its way out");
    assert!(again.text.contains("an earlier run began a transaction"), "{}", again.text);
    assert_eq!(chain.sent().await, before);
}
