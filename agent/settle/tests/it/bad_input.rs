//! What is refused before anything is signed.

use alloy::primitives::{Address, B256, U256};
use serde_json::json;

use crate::chain::{Chain, hp, now_s};
use crate::oracle::Oracle;
use crate::payout::{LABEL, binding, node};
use crate::tool::Tool;

fn after<'a>(first: &[&'a str], then: &[&'a str]) -> Vec<&'a str> {
    [first, then].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mistake_is_named_and_nothing_is_signed() {
    let chain = Chain::start(41_005).await;
    let oracle = Oracle::start();
    let tool = Tool::new(&chain, &oracle.described("a"));
    let register = ["register", "--label", LABEL];
    let with = |name: &str, change: &dyn Fn(&mut serde_json::Value)| {
        let mut deployed = chain.deployed.clone();
        change(&mut deployed);
        tool.write(
            "network.toml",
            &format!("deployment = \"{name}\"\nrpc = [\"{}\"]\n", chain.url),
        );
        tool.write(name, &deployed.to_string());
    };

    // The network.
    with("other-chain.json", &|deployed| deployed["chain"] = json!(1));
    tool.sign(&register).refused("the RPC servers are of chain 41005, not 1");
    for (name, contract) in [("registry", "NodeRegistry"), ("vault", "CollateralVault")] {
        with("no-code.json", &|deployed| deployed[name] = json!(Address::repeat_byte(0x77)));
        tool.sign(&register).refused(&format!("there is no contract {contract}"));
        with("other-abi.json", &|deployed| deployed[name] = deployed["eras"].clone());
        tool.sign(&register).refused("is not of the version that this program knows");
    }
    with("zero.json", &|deployed| deployed["claims"] = json!(Address::ZERO));
    tool.sign(&register).refused("`claims` in the description of the network is the address zero");
    tool.write(
        "network.toml",
        &format!("deployment = \"deployed.json\"\n{}", oracle.described("a")),
    );
    tool.sign(&register).refused("say where the chain is");
    let rpc = ["--rpc", &chain.url];

    // The HP.
    let zero = Address::ZERO.to_string();
    tool.sign(&after(&rpc, &["--hp", &zero, "register", "--label", LABEL]))
        .refused("the HP account is zero");
    let other = Address::repeat_byte(5).to_string();
    tool.sign(&after(&rpc, &["--hp", &other, "register", "--label", LABEL]))
        .refused("the keystore is of");
    tool.ask(&after(&rpc, &register)).refused("say whose nodes");
    let mine = hp().to_string();
    let of_hp = after(&rpc, &["--hp", &mine, "register", "--label", LABEL]);
    tool.ask(&of_hp).refused("say what is to become of it");

    // The keystore and its password.
    let good = tool.read("hp.json").to_string();
    tool.write("hp.json", &good.replace("aes-128-ctr", "rot13"));
    tool.sign(&after(&rpc, &register)).refused("cipher `rot13`");
    tool.write("hp.json", "{}");
    tool.sign(&after(&rpc, &register)).refused("the keystore is malformed");
    tool.write("hp.json", &good);
    tool.write("password", "wrong");
    tool.sign(&after(&rpc, &register)).refused("the password does not open the keystore");
    tool.write("password", "correct horse");

    // The binding.
    let id = node().to_string();
    let bind = after(&rpc, &["bind", "--binding", "binding.json"]);
    let bad = |signed: &agent_sla::protocol::settled::SignedBinding, words: &str| {
        tool.write("binding.json", &serde_json::to_string(signed).expect("JSON"));
        tool.sign(&bind).refused(words);
    };
    bad(&binding(&chain, 7, |_| {}), "is not registered");
    bad(&binding(&chain, 7, |m| m.deadline = U256::from(now_s() + 60)), "expires at");
    bad(&binding(&chain, 7, |m| m.hpAccount = Address::repeat_byte(5)), "is of HP account");
    let mut forged = binding(&chain, 7, |_| {});
    forged.message.deadline = U256::MAX;
    bad(&forged, "is not signed by its daemon key");
    tool.write("binding.json", &serde_json::to_string(&binding(&chain, 7, |_| {})).expect("JSON"));
    let elsewhere = B256::repeat_byte(3).to_string();
    tool.sign(&after(&rpc, &["bind", "--binding", "binding.json", "--node", &elsewhere]))
        .refused("is of node");
    let daemon = Address::repeat_byte(6).to_string();
    tool.sign(&after(&rpc, &["bind", "--daemon", &daemon])).refused("no oracle has a binding");

    // The node, the amount, the price.
    tool.sign(&after(&rpc, &["revoke", "--node", &id])).refused("is not registered");
    tool.sign(&after(&rpc, &["claim", "--node", &id])).refused("no oracle proves anything");
    tool.sign(&after(&rpc, &["register", "--label", LABEL, "--max-fee", "0.000000001"]))
        .refused("raise --max-fee");
    let mut asked =
        tool.ask(&after(&rpc, &["deposit", "--node", &id, "--amount", "1,5", "--dry-run"]));
    assert_eq!(asked.code, Some(2), "{}", asked.text);
    asked = tool.ask(&after(&rpc, &["status"]));
    asked.refused("name a node");

    tool.alone(&after(&rpc, &register)).refused("nobody can be asked");

    // The clock, and the purse.
    assert_eq!(chain.sent().await, 0, "nothing was signed until here");
    chain.ask("anvil_setBalance", json!([hp(), "0x1"])).await;
    tool.sign(&after(&rpc, &register)).refused("are needed for gas");
    chain.ask("anvil_setBalance", json!([hp(), "0x0"])).await;
    tool.sign(&after(&rpc, &register)).refused("has nothing to pay gas with");
    chain.ask("anvil_setBalance", json!([hp(), "0xde0b6b3a7640000"])).await;
    chain.pass(600).await;
    tool.sign(&after(&rpc, &register)).refused("ahead of the newest block");
    assert_eq!(chain.sent().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_hp_is_left_alone() {
    let chain = Chain::start(41_006).await;
    let tool = Tool::new(&chain, "");
    tool.done(&["register", "--label", LABEL, "--wait", "mined"]);
    let id = node().to_string();
    let other = Address::repeat_byte(5).to_string();
    chain.ask("anvil_setBalance", json!([other, "0xde0b6b3a7640000"])).await;
    for command in ["revoke", "exit", "withdraw"] {
        tool.ask(&["--hp", &other, command, "--node", &id, "--dry-run"]).refused("is of the HP");
    }
    let deposit = ["--hp", &other, "deposit", "--node", &id, "--amount", "1", "--dry-run"];
    tool.ask(&deposit).refused("is of the HP");
    // Two servers that agree are one.
    let (first, second) = (&chain.url, &chain.url);
    let status = tool.told(&["--rpc", first, "--rpc", second, "status", "--node", &id]);
    assert_eq!(status["nodes"][0]["standing"], "healthy");

    // What another wallet sent comes first.
    chain.mines(false).await;
    chain.ask("evm_setAutomine", json!([false])).await;
    chain.ask("anvil_impersonateAccount", json!([hp()])).await;
    chain.ask("eth_sendTransaction", json!([{ "from": hp(), "to": other }])).await;
    let mine = hp().to_string();
    let exit = ["--hp", &mine, "exit", "--node", &id, "--out", "exit.json"];
    tool.ask(&exit).refused("1 transaction(s) of the account");
    assert!(!tool.path("exit.json").exists());
    tool.told(&[&exit[..], &["--nonce", "7"]].concat());
    assert_eq!(tool.read("exit.json")["transactions"][0]["nonce"], "0x7");
}
