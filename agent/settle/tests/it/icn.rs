//! ICN's protocol: what the HP signs, prepared and sent by nobody else.

use agent_settlement::abi::icn_v5::IcnV5;
use alloy::primitives::{Address, Bytes, U256};
use alloy::sol_types::SolCall;
use serde_json::json;

use crate::chain::{Chain, hp};
use crate::tool::Tool;

/// Where something is that takes any call: its code is one instruction, `STOP`.
const PROTOCOL: Address = Address::repeat_byte(0x1c);

#[tokio::test(flavor = "multi_thread")]
async fn claims_are_prepared_for_up_to_300_nodes_and_signed_by_the_hp_alone() {
    let chain = Chain::start(41_004).await;
    chain.ask("anvil_setCode", json!([PROTOCOL, "0x00"])).await;
    let tool = Tool::new(&chain, "");
    let (number, rpc) = (chain.number(), &chain.url);
    tool.write(
        "network.toml",
        &format!(
            "backend = \"icn-v5\"\nchain = {number}\nprotocol = \"{PROTOCOL}\"\nrpc = [\"{rpc}\"]\nhp_account = \"{}\"\n",
            hp()
        ),
    );
    let many: Vec<String> = (1..=300).map(|node: u32| node.to_string()).collect();
    let nodes = |count: usize| {
        let mut arguments = vec!["claim"];
        arguments.extend(many.iter().take(count).flat_map(|node| ["--node", node]));
        arguments
    };
    tool.told(&[&nodes(300)[..], &["--out", "many.json"]].concat());
    let data: Bytes =
        serde_json::from_value(tool.read("many.json")["transactions"][0]["data"].clone())
            .expect("bytes");
    let call = IcnV5::batchInitiateHpRewardsClaimCall::abi_decode(&data).expect("a batch");
    assert_eq!(call.scalerNodeIds.len(), 300);
    assert_eq!(call.scalerNodeIds[299], U256::from(300));
    let more = [&nodes(300)[..], &["--node", "301", "--dry-run"]].concat();
    tool.ask(&more).refused("301 nodes are named: at most 300");

    let tried = tool.told(&[&nodes(2)[..], &["--dry-run"]].concat());
    let links = tried["transactions"][0]["links"].as_array().expect("links");
    assert_eq!(links.len(), 2, "a link cannot hold a list: each node has its own");
    assert_eq!(chain.sent().await, 0);
    tool.done(&["claim", "--begun", "5", "--wait", "mined"]);
    assert_eq!(chain.sent().await, 1);
    let node = format!("0x{}", "11".repeat(32));
    tool.sign(&["exit", "--node", &node]).refused("use ICN's own page");
}
