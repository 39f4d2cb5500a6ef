//! A node that is registered, bound, settled with and paid, on a chain of the test's own.

use std::process::{Command, Output};

use agent_api::settlement::{ClaimStage, PayStage, SettlementReport, Standing};
use agent_sla::protocol::settled::SignedBinding;
use alloy::primitives::{B256, U256};
use serde_json::json;

use crate::chain::{Chain, ERA_S, HP, tokens};
use crate::fakes::Rig;
use crate::node::ready;
use crate::oracle::Oracle;
use crate::process::eventually;

/// Sections for a network on a chain, with oracles.
pub(crate) fn sections(chain: &Chain, number: u64, oracles: &[(&str, &Oracle)]) -> String {
    let contract = |name: &str| chain.contract(name);
    let genesis = chain.deployed["genesis"].as_u64().expect("a second");
    let described = (1..).zip(oracles).map(|(n, (name, oracle))| oracle.described(name, n));
    format!(
        "[sla]\nchain = {number}\ncontract = \"{}\"\ngenesis = {genesis}\nera = \"{ERA_S}s\"\n{}\
         [settlement]\nbackend = \"reference\"\nrpc = [\"{}\"]\nhp_account = \"{HP}\"\nregistry = \"{}\"\n\
         eras = \"{}\"\nclaims = \"{}\"\npay_gas = true\nclaim_every = \"10s\"\n",
        contract("settlement"),
        described.collect::<String>(),
        chain.url,
        contract("registry"),
        contract("eras"),
        contract("claims"),
    )
}

/// The report, once it satisfies `wanted`.
pub(crate) fn report(
    rig: &Rig,
    what: &str,
    wanted: impl Fn(&SettlementReport) -> bool,
) -> SettlementReport {
    let mut last = None;
    let mut client = rig.client();
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually(what, || {
            last = client.settlement().ok();
            last.clone().filter(&wanted)
        })
    }));
    found.unwrap_or_else(|_| panic!("no report with {what}; the last was {last:#?}"))
}

fn command(rig: &Rig, arguments: &[&str]) -> Output {
    let socket = rig.path().join("agent.sock");
    Command::new(env!("CARGO_BIN_EXE_icn-agent"))
        .arg("settlement")
        .args(arguments)
        .arg("--control-socket")
        .arg(socket)
        .output()
        .expect("it runs")
}

/// The HP signs what the node prepared.
pub(crate) fn hp_signs(chain: &Chain, report: &SettlementReport) {
    let unsigned = report.unsigned.first().expect("something to sign");
    assert_eq!(unsigned.from, HP);
    chain.send(HP, &unsigned.to, &unsigned.data);
}

#[test]
fn a_node_is_registered_bound_settled_with_and_paid_and_a_lying_oracle_is_named() {
    const NUMBER: u64 = 31_411;
    let mut chain = Chain::start(NUMBER);
    let (liar, honest) = (Oracle::start(), Oracle::start());
    let rig = Rig::new(&sections(&chain, NUMBER, &[("liar", &liar), ("honest", &honest)]));
    rig.report(vec![rig.mounted("a"), rig.mounted("b")], &[]);
    let mut agent = rig.start();

    // The HP registers, with what the node prepared.
    let unknown = |report: &SettlementReport| {
        let seen = report.status.seen.as_ref();
        seen.is_some_and(|seen| seen.standing == Standing::Unknown) && report.unsigned.len() == 2
    };
    let first = report(&rig, "a node that is not registered", unknown);
    assert!(first.unsigned[0].links[0].starts_with("ethereum:"), "{first:#?}");
    hp_signs(&chain, &first);
    let registered = |report: &SettlementReport| {
        let seen = report.status.seen.as_ref();
        seen.is_some_and(|seen| seen.standing == Standing::Healthy) && report.unsigned.len() == 1
    };
    let second = report(&rig, "a node whose key is not bound", registered);
    assert!(!second.status.seen.as_ref().expect("seen").is_bound);

    // The binding is what the HP's tool reads, and what is prepared of it is taken.
    let printed = command(&rig, &["binding"]);
    assert!(printed.status.success(), "{printed:?}");
    let binding: SignedBinding = serde_json::from_slice(&printed.stdout).expect("a binding");
    assert_eq!(Some(binding.message.daemonAddress.to_string()), second.status.daemon);
    assert_eq!(Some(binding.message.nodeId.to_string()), second.status.node);
    hp_signs(&chain, &second);
    chain.pass(2 * ERA_S);
    report(&rig, "a bound key", |report| {
        report.status.seen.as_ref().is_some_and(|seen| seen.is_bound) && report.unsigned.is_empty()
    });

    // A root; the first oracle says that the node earned more.
    let node: B256 = second.status.node.as_ref().expect("a name").parse().expect("a name");
    let gas = second.status.gas.as_ref().expect("a gas key").address.clone();
    assert_ne!(Some(&gas), second.status.daemon.as_ref(), "a key of its own");
    chain.ask("anvil_setBalance", json!([gas, "0xde0b6b3a7640000"]));
    let before = chain.tokens(HP);
    let shown = chain.settle(node, tokens(25), tokens(40));
    let path = format!("/v1/settled/{node}");
    let mut lie = shown.clone();
    lie.leaf.cumulativeReward = tokens(99);
    liar.says(&path, &lie);
    honest.says(&path, &shown);
    let paid = |report: &SettlementReport| {
        let claim = report.status.claim.as_ref();
        report.status.amounts.paid == Some(tokens(25).to_string())
            && claim.is_some_and(|claim| claim.stage == ClaimStage::Final)
    };
    let third = report(&rig, "a payment that is final", paid);
    assert_eq!(chain.tokens(HP) - before, tokens(25));
    let alarms = &third.status.alarms;
    assert!(alarms.iter().any(|alarm| alarm.contains("oracle liar is not believed")), "{third:#?}");
    assert_eq!(third.status.root.as_ref().expect("a root").oracle, "honest");
    assert_eq!(third.status.amounts.claimable, Some(U256::ZERO.to_string()));
    assert_eq!(command(&rig, &["status"]).status.code(), Some(2), "an alarm");

    // Nothing of that is forgotten, and nothing claimed again; what comes next is.
    agent.signal("TERM");
    assert!(agent.ended().success());
    let agent = rig.start();
    let again = report(&rig, "what it knew before", paid);
    assert_eq!(again.status.claim, third.status.claim);
    assert_eq!(again.status.gas.as_ref().map(|gas| &gas.address), Some(&gas));
    let next = chain.settle(node, tokens(31), tokens(6));
    let unshown = report(&rig, "that no oracle shows the root", |report| {
        report.status.alarms.iter().any(|alarm| alarm.contains("no oracle shows root 1"))
    });
    assert!(format!("{unshown:?}").contains("honest: its newest is root 0"), "{unshown:#?}");
    honest.says(&path, &next);
    report(&rig, "the next payment", |report| {
        report.status.amounts.paid == Some(tokens(31).to_string())
    });
    assert_eq!(chain.tokens(HP) - before, tokens(31));
    let summary = rig.status("what was paid", |status| {
        let paid = status.settlement.as_ref().and_then(|summary| summary.amounts.paid.clone());
        paid == Some(tokens(31).to_string())
    });
    assert_eq!(summary.settlement.expect("a summary").standing, Some(Standing::Healthy));
    // Eras that were counted: those before any root have nothing to be paid by.
    let counted = report(&rig, "an era", |report| !report.status.eras.is_empty());
    assert_eq!(counted.status.eras[0].stage, PayStage::Accrued);

    // The chain goes away, and nothing else does.
    drop(chain);
    let away = report(&rig, "that the chain is away", |report| report.status.error.is_some());
    assert!(away.status.error.expect("an error").what.contains("no answer"));
    assert_eq!(away.status.amounts.paid, Some(tokens(31).to_string()), "as it was last seen");
    rig.status("a node that serves", ready);
    let log = agent.log();
    assert!(!log.contains("gas_key") && log.contains("liar"), "{log}");
}

#[test]
fn servers_of_another_chain_are_told_and_nothing_is_signed() {
    let chain = Chain::start(31_412);
    let oracle = Oracle::start();
    let rig = Rig::new(&sections(&chain, 31_413, &[("one", &oracle)]));
    rig.report(vec![rig.mounted("a")], &[]);
    let _agent = rig.start();
    let other = report(&rig, "that it is another chain", |report| report.status.error.is_some());
    let what = other.status.error.as_ref().expect("an error").what.clone();
    assert!(what.contains("of chain 31412") && what.contains("31413"), "{what}");
    assert_eq!((other.status.seen, other.status.claim), (None, None));
    assert!(!rig.path().join("data/a/state/settlement/outbox-0").exists(), "no outbox is begun");
}

#[test]
fn a_node_without_settlement_says_so() {
    let rig = Rig::new("");
    rig.report(vec![rig.mounted("a")], &[]);
    let _agent = rig.start();
    rig.status("a node that serves", ready);
    let told = command(&rig, &[]);
    assert_eq!(told.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&told.stderr).contains("no [settlement]"), "{told:?}");
}
