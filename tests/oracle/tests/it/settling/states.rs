//! Changes of a node's state that oracles propose.

use agent_settlement::abi::reference::{Node, NodeRegistry, StateChange};
use agent_sla::protocol::messages::Refusal;
use agent_sla::protocol::signed::Signed;
use agent_sla::protocol::{Address, B256};
use alloy::sol_types::SolEvent as _;
use reference_oracle::settle::states::wire::{
    AskedChanges, ChangeObjection, ChangeReply, StateProposal, changes_digest,
};
use serde_json::{Value, json};

use super::member::{Circle, LOOKS, ORACLES, PAUSE};
use super::voids::show_receipt;
use super::{FIRST, GOOD};
use crate::bench::key;

alloy::sol! {
    event StateChanged(bytes32 indexed nodeId, uint8 from, uint8 to, uint64 indexed era, bytes32 evidenceHash);
}

const HEALTHY: u8 = 1;
const WARNED: u8 = 2;
const HELD: u8 = 3;

/// After one era a node is warned, after two its rewards are held; after two others it is healthy.
const STATES: &str =
    "[states]\nwarn_after = 1\nhold_after = 2\nslash_after = 9\nrestore_after = 2\n";

/// All oracles with rules for states, and a node in the registry. Blocks come a second after each other, so that an era lasts
/// however busy the machine is.
async fn all() -> (Circle, B256) {
    let mut circle = Circle::new().await;
    for index in 0..ORACLES {
        circle.members[index].states = STATES.to_owned();
        circle.start(index);
    }
    circle.network.ask("anvil_setBlockTimestampInterval", json!([1])).await;
    let label = B256::repeat_byte(0x1a);
    let hp = circle.network.as_hp(&NodeRegistry::registerCall { label }).await;
    let call = NodeRegistry::nodeIdOfCall { hpAccount: hp, label };
    let node = circle.network.read_of(circle.network.registry, &call).await;
    (circle, node)
}

async fn on_chain(circle: &Circle, node: B256) -> Node {
    let call = NodeRegistry::nodeOfCall { nodeId: node };
    circle.network.read_of(circle.network.registry, &call).await
}

/// All look until the node stands so, after so many changes.
async fn until(circle: &Circle, node: B256, state: u8, changes: u64) {
    for _ in 0..LOOKS {
        circle.look().await;
        let found = on_chain(circle, node).await;
        let count: u64 = found.changes.to();
        assert!(count <= changes, "there are {count} changes");
        if (found.state, count) == (state, changes) {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("the node is not in state {state} after {changes} changes");
}

/// All look some times more, and nothing changes.
async fn nothing_changes(circle: &Circle, node: B256) {
    let before = on_chain(circle, node).await;
    for _ in 0..4 {
        circle.look().await;
        tokio::time::sleep(PAUSE).await;
    }
    assert_eq!(on_chain(circle, node).await, before);
}

/// What the registry said of changes of state: from, to and evidence.
async fn said(circle: &Circle) -> Vec<(u8, u8, B256)> {
    let filter = json!({
        "address": circle.network.registry,
        "topics": [StateChanged::SIGNATURE_HASH],
        "fromBlock": "0x0",
    });
    let logs = circle.network.ask("eth_getLogs", json!([filter])).await;
    let read = |log: &Value| {
        let topics: Vec<B256> = serde_json::from_value(log["topics"].clone()).expect("topics");
        let data: alloy::primitives::Bytes =
            serde_json::from_value(log["data"].clone()).expect("data");
        let said = StateChanged::decode_raw_log(topics, &data).expect("a change");
        (said.from, said.to, said.evidenceHash)
    };
    logs.as_array().expect("logs").iter().map(read).collect()
}

/// Transactions that all oracles sent, mined.
async fn sent(circle: &Circle) -> u64 {
    let accounts: Vec<Address> =
        serde_json::from_value(circle.network.ask("eth_accounts", json!([])).await).expect("some");
    let mut sum = 0;
    for account in accounts.iter().skip(1) {
        let count = circle.network.ask("eth_getTransactionCount", json!([account, "latest"])).await;
        let count: alloy::primitives::U64 = serde_json::from_value(count).expect("a number");
        sum += count.to::<u64>();
    }
    sum
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_goes_away_is_warned_and_held_and_one_that_returns_is_restored() {
    let (circle, node) = all().await;
    // The other one is in no registry: nothing is said of it.
    circle.era(FIRST, &[(node, 0), (GOOD, 0)]).await;
    circle.until(1).await;
    until(&circle, node, WARNED, 1).await;
    nothing_changes(&circle, node).await;
    circle.era(FIRST + 1, &[(node, 4), (GOOD, 10)]).await;
    circle.until(2).await;
    until(&circle, node, HELD, 2).await;
    circle.era(FIRST + 2, &[(node, 10), (GOOD, 10)]).await;
    circle.until(3).await;
    nothing_changes(&circle, node).await;
    circle.era(FIRST + 3, &[(node, 10), (GOOD, 10)]).await;
    circle.until(4).await;
    until(&circle, node, HEALTHY, 3).await;
    nothing_changes(&circle, node).await;
    let mut roots = circle.members[0].reader().roots(None).await.expect("roots");
    roots.reverse();
    let digest = |index: usize| {
        reference_oracle::settle::root_digest(&roots[index].root, &circle.network.parameters)
    };
    let steps =
        [(HEALTHY, WARNED, digest(0)), (WARNED, HELD, digest(1)), (HELD, HEALTHY, digest(3))];
    assert_eq!(said(&circle).await, steps);
    assert_eq!(sent(&circle).await, 4 + 3, "each root and each change is posted once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_made_anew_where_votes_of_its_eras_became_void() {
    let (circle, node) = all().await;
    circle.era(FIRST, &[(node, 0)]).await;
    circle.until(1).await;
    until(&circle, node, WARNED, 1).await;
    circle.era(FIRST + 1, &[(node, 0)]).await;
    // Without the votes of two of four, the first era has no verdict, and the run begins behind it.
    for liar in [0, 1] {
        show_receipt(&circle, liar, FIRST, node).await;
    }
    circle.until(2).await;
    nothing_changes(&circle, node).await;
    circle.era(FIRST + 2, &[(node, 0)]).await;
    circle.until(3).await;
    until(&circle, node, HELD, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_after_a_change_was_sent_it_is_not_sent_again() {
    let (mut circle, node) = all().await;
    circle.era(FIRST, &[(node, 0)]).await;
    circle.until(1).await;
    // The root stands; the change is signed and sent, and no block has it.
    circle.network.ask("evm_setAutomine", json!([false])).await;
    let mut is_sent = false;
    for _ in 0..LOOKS {
        circle.look().await;
        let waiting = circle.network.ask("txpool_status", json!([])).await;
        is_sent = waiting["pending"] == "0x1";
        if is_sent {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    assert!(is_sent, "no change is sent");
    assert_eq!(on_chain(&circle, node).await.state, HEALTHY);
    // All go down; what they signed and sent they know by their folders alone.
    for index in 0..ORACLES {
        circle.stop(index);
    }
    for index in 0..ORACLES {
        circle.start(index);
    }
    circle.look().await;
    circle.network.ask("evm_setAutomine", json!([true])).await;
    circle.network.mine(1).await;
    until(&circle, node, WARNED, 1).await;
    nothing_changes(&circle, node).await;
    assert_eq!(said(&circle).await.len(), 1);
    assert_eq!(sent(&circle).await, 1 + 1, "the root, and the change");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_due_is_signed_by_nobody() {
    let (circle, node) = all().await;
    circle.era(FIRST, &[(node, 10)]).await;
    circle.until(1).await;
    let parameters = circle.network.parameters.clone();
    let settler = circle.settler(0);
    let root = settler.tip().expect("it looked").view.previous();
    let change = |era: u64| StateChange {
        nodeId: node,
        sequence: 1,
        from: HEALTHY,
        to: WARNED,
        era,
        evidenceHash: root,
        configDigest: parameters.digest(),
    };
    let own_rules = {
        let text = toml::from_str::<toml::Table>(STATES).expect("TOML");
        let rules: reference_oracle::settle::states::rules::Rules =
            text["states"].clone().try_into().expect("rules");
        rules.digest()
    };
    let mut keys = (0x31..).take(ORACLES).map(key);
    let leader = keys.find(|key| key.address() == circle.members[1].address).expect("its key");
    let ask = async |change: StateChange, rules: B256| {
        let changes = vec![change];
        let message = StateProposal { changes: changes_digest(&changes), rules };
        let by = Signed::new(message, &parameters.domain(), &leader).expect("signed");
        let mut replies = settler.propose_changes(AskedChanges { changes, by }).await?;
        Ok::<_, Refusal>(replies.remove(0))
    };
    let objects = |objection| Ok(ChangeReply::Objects { objection });
    let now = FIRST + 1;
    assert_eq!(ask(change(now), B256::ZERO).await, objects(ChangeObjection::OtherRules));
    assert_eq!(ask(change(now), own_rules).await, objects(ChangeObjection::NotDue), "it is up");
    for era in [now - 2, now + 1] {
        assert_eq!(ask(change(era), own_rules).await, objects(ChangeObjection::OtherEra), "{era}");
    }
    let other = StateChange { evidenceHash: B256::repeat_byte(1), ..change(now) };
    assert_eq!(ask(other, own_rules).await, objects(ChangeObjection::OtherRoot { root }));
    // The next era it is down: what is another change than the one that is due is signed by nobody.
    circle.era(FIRST + 1, &[(node, 0)]).await;
    circle.until(2).await;
    let root = settler.tip().expect("it looked").view.previous();
    let due = StateChange { evidenceHash: root, ..change(now + 1) };
    for wrong in [
        StateChange { to: HELD, ..due.clone() },
        StateChange { from: WARNED, ..due.clone() },
        StateChange { sequence: 2, ..due.clone() },
        StateChange { nodeId: GOOD, ..due.clone() },
    ] {
        let reply = ask(wrong.clone(), own_rules).await;
        assert_eq!(reply, objects(ChangeObjection::NotDue), "{wrong:?}");
    }
    let stranger = key(0x51);
    let message =
        StateProposal { changes: changes_digest(std::slice::from_ref(&due)), rules: own_rules };
    let by = Signed::new(message, &parameters.domain(), &stranger).expect("signed");
    let refused = settler.propose_changes(AskedChanges { changes: vec![due], by }).await;
    assert!(matches!(refused, Err(Refusal::BadSignature { .. })), "{refused:?}");
}
