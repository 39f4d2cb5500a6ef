//! A node that was away for a month of eras, and one that there is twice.

use agent_api::settlement::{ClaimStage, SettlementReport, Standing};
use agent_settlement::abi::reference::{RewardClaims, SlaSettlement};
use alloy::primitives::B256;
use serde_json::json;

use crate::chain::{Chain, ERA_S, HP, tokens};
use crate::counting::{Counting, Counts};
use crate::fakes::Rig;
use crate::oracle::Oracle;
use crate::settlement::{hp_signs, report, sections};

/// Roots of a month of hours.
const ROOTS: u64 = 720;

/// What the node earns by each root, in whole tokens.
const EACH: u64 = 2;

/// Questions of a look at the chain, beside those that find the newest final root: its number, three heads, the node's three,
/// what was paid, how many roots and their window, two of eras, the newest root and the one that an oracle shows.
const LOOK: usize = 14;

/// Questions that find the newest of 720 roots by halves.
const HALVES: usize = 10;

/// Questions for one claim until it is sent: versions of four contracts and their code, nonces, balance, heads, price, gas.
const CLAIM: usize = 40;

/// A node that the HP has registered and bound, and its name.
fn bound(rig: &Rig, chain: &Chain) -> (B256, String) {
    let prepared = |count: usize, standing: Standing| {
        move |report: &SettlementReport| {
            let seen = report.status.seen.as_ref();
            report.unsigned.len() == count && seen.is_some_and(|seen| seen.standing == standing)
        }
    };
    hp_signs(chain, &report(rig, "what registers it", prepared(2, Standing::Unknown)));
    let registered = report(rig, "what binds its key", prepared(1, Standing::Healthy));
    hp_signs(chain, &registered);
    let node = registered.status.node.as_ref().expect("a name").parse().expect("a name");
    (node, registered.status.gas.expect("a gas key").address)
}

#[test]
fn a_node_that_was_away_for_a_month_catches_up_with_one_claim_and_few_questions() {
    const NUMBER: u64 = 31_414;
    // The chain's clock is a month of eras behind.
    let mut chain = Chain::start_before(NUMBER, (ROOTS + 10) * ERA_S);
    let oracle = Oracle::start();
    let server = Counting::start(&chain.url);
    let described = sections(&chain, NUMBER, &[("one", &oracle)]);
    let rig = Rig::new(&described.replace(&chain.url, &server.url));
    rig.report(vec![rig.mounted("a"), rig.mounted("b")], &[]);
    let mut agent = rig.start();
    let (node, gas) = bound(&rig, &chain);
    chain.ask("anvil_setBalance", json!([gas, "0xde0b6b3a7640000"]));
    agent.signal("TERM");
    assert!(agent.ended().success());

    let mut last = None;
    for number in 1..=ROOTS {
        chain.pass(ERA_S);
        last = Some(chain.settle(node, tokens(number * EACH), tokens(EACH)));
    }
    chain.catch_up();
    let last = last.expect("a root");
    assert_eq!(last.number, ROOTS - 1);
    oracle.says(&format!("/v1/settled/{node}"), &last);
    let before = chain.tokens(HP);
    server.taken();

    let _agent = rig.start();
    let all = tokens(ROOTS * EACH);
    let paid = report(&rig, "a payment of all", |report| {
        let is_final = |stage| stage == ClaimStage::Final;
        report.status.amounts.paid == Some(all.to_string())
            && report.status.claim.as_ref().is_some_and(|claim| is_final(claim.stage))
    });
    assert_eq!(chain.tokens(HP) - before, all);
    assert_eq!(paid.status.root.expect("a root").number, ROOTS - 1);

    let asked = server.taken();
    let sent = asked.iter().position(|(method, _)| method == "eth_sendRawTransaction");
    let until_sent = Counts::of(&asked[..sent.expect("a claim")]);
    let looks = until_sent.calls::<SlaSettlement::rootCountCall>();
    let halves = until_sent.calls::<SlaSettlement::isFinalCall>();
    eprintln!("until the claim was sent: {until_sent:?}; until it was final: {}", asked.len());
    assert!(looks <= 3, "{looks} looks");
    assert!(halves <= HALVES * looks, "{halves} questions whether a root is final");
    assert!(until_sent.calls::<SlaSettlement::rootAtCall>() <= 2 * looks, "{until_sent:?}");
    assert!(until_sent.all <= (LOOK + HALVES) * looks + CLAIM, "{until_sent:?}");
    let total = Counts::of(&asked);
    assert_eq!(total.method("eth_sendRawTransaction"), 1, "one claim for all of them");
    assert_eq!(chain.transactions(&gas), 1);
    let looks = total.calls::<SlaSettlement::rootCountCall>();
    assert!(total.calls::<SlaSettlement::isFinalCall>() <= HALVES * looks, "{total:?}");
    assert!(total.calls::<RewardClaims::doneCall>() > 0, "{total:?}");
}

#[test]
fn a_node_that_there_is_twice_is_paid_once() {
    const NUMBER: u64 = 31_415;
    let mut chain = Chain::start(NUMBER);
    let oracle = Oracle::start();
    let described = sections(&chain, NUMBER, &[("one", &oracle)]);
    let (rig, copy) = (Rig::new(&described), Rig::new(&described));
    rig.report(vec![rig.mounted("a")], &[]);
    let mut agent = rig.start();
    let (node, gas) = bound(&rig, &chain);
    chain.ask("anvil_setBalance", json!([gas, "0xde0b6b3a7640000"]));
    agent.signal("TERM");
    assert!(agent.ended().success());

    // Its disk is copied, and both run: with one daemon key, one key for gas, one outbox each.
    copy.report(vec![copy.mounted("a")], &[]);
    let copied = std::process::Command::new("cp")
        .args(["-a", "--"])
        .args([rig.path().join("data/a/."), copy.path().join("data/a/")])
        .status();
    assert!(copied.expect("cp runs").success());
    let before = chain.tokens(HP);
    let _agents = [rig.start(), copy.start()];
    let bound = |report: &SettlementReport| {
        report.status.seen.as_ref().is_some_and(|seen| seen.standing == Standing::Healthy)
    };
    let daemons = [&rig, &copy].map(|rig| report(rig, "a node", bound).status.daemon);
    assert!(daemons[0].is_some() && daemons[0] == daemons[1], "one key: {daemons:?}");
    let path = format!("/v1/settled/{node}");
    for (number, earned) in [25, 31].into_iter().enumerate() {
        let settled = chain.settle(node, tokens(earned), tokens(40));
        oracle.says(&path, &settled);
        for rig in [&rig, &copy] {
            report(rig, "all that was earned paid", |report| {
                report.status.amounts.paid == Some(tokens(earned).to_string())
            });
        }
        assert_eq!(chain.tokens(HP) - before, tokens(earned), "root {number} is paid once");
    }
    // A claim of both may be mined: the second pays nothing.
    let claims = chain.transactions(&gas);
    assert!((2..=4).contains(&claims), "{claims} transactions");
}
