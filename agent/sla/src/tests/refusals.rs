//! What each refusal and each wrong clock is shown as.

use std::mem::discriminant;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::U256;

use super::oracle::{Faulty, Oracle};
use super::{Setup, TestClock, daemon, oracle, parameters};
use crate::protocol::messages::{Refusal, S3Access};
use crate::protocol::parameters::{Era, Parameters};
use crate::protocol::settled::DaemonBinding;
use crate::protocol::signed::Signed;
use crate::protocol::{Address, B256};
use crate::status::LinkState;

const LONG: Duration = Duration::from_secs(300);

#[tokio::test(start_paused = true)]
async fn each_refusal_has_its_state_and_ends_with_its_cause() {
    let words = || "it is so".to_owned();
    let unreachable = LinkState::Unreachable { since: 0, why: String::new() };
    let daemon = daemon().address();
    let (first, second) = ("192.0.2.1".to_owned(), "192.0.2.2".to_owned());
    let conflict = LinkState::Conflict { first: first.clone(), second: second.clone() };
    let other = LinkState::OtherParameters { differences: Vec::new() };
    let refusals = [
        (Refusal::NotAdmitted { daemon }, LinkState::NotAdmitted { daemon }),
        (Refusal::Conflict { first, second }, conflict),
        (Refusal::OtherParameters, other),
        (Refusal::Skew { skew_ms: -600_000 }, LinkState::ClockSkew { ms: -600_000 }),
        (Refusal::Busy { retry_after_ms: 1 }, unreachable.clone()),
        (Refusal::NoSession, unreachable.clone()),
        (Refusal::WrongEra { asked: Era(1), now: Era(2) }, unreachable.clone()),
        (Refusal::Replayed, unreachable.clone()),
        (Refusal::TooLate, unreachable.clone()),
        (Refusal::Malformed { reason: words() }, unreachable.clone()),
        (Refusal::BadSignature { reason: words() }, unreachable),
    ];
    for (refusal, expected) in refusals {
        let clock = TestClock::new();
        let faulty = oracle(1, clock);
        faulty.oracle.state().refusal = Some(refusal);
        let mut running = Setup::new(clock).start(&[Arc::clone(&faulty)]);
        let shows = |state: &LinkState| discriminant(state) == discriminant(&expected);
        running.until(LONG, |status| shows(&status.peers[0].link)).await;
        faulty.oracle.state().refusal = None;
        let in_session = |state: &LinkState| matches!(state, LinkState::InSession { .. });
        running.until(LONG, |status| in_session(&status.peers[0].link)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_the_oracle_forgot_is_opened_again() {
    let clock = TestClock::new();
    let faulty = oracle(1, clock);
    let mut running = Setup::new(clock).start(&[Arc::clone(&faulty)]);
    running.until(LONG, |status| status.peers[0].receipt.is_some()).await;
    let missed = running.status.borrow().peers[0].missed_eras;
    faulty.oracle.state().forgotten = true;
    tokio::time::sleep(Duration::from_secs(130)).await;
    let status = running.status.borrow().clone();
    assert!(matches!(status.peers[0].link, LinkState::InSession { .. }), "{status:#?}");
    assert_eq!(faulty.oracle.state().sessions.len(), 2);
    assert_eq!(status.peers[0].missed_eras, missed);
}

#[tokio::test(start_paused = true)]
async fn an_oracle_is_told_when_the_nodes_s3_is_reached_in_another_way() {
    let clock = TestClock::new();
    let faulty = oracle(1, clock);
    let setup = Setup::new(clock);
    let mut running = setup.start(&[Arc::clone(&faulty)]);
    let in_session = |state: &LinkState| matches!(state, LinkState::InSession { .. });
    running.until(LONG, |status| in_session(&status.peers[0].link)).await;
    let url = "https://node.example".to_owned();
    *setup.node.s3.lock().expect("a lock") = Some(S3Access {
        endpoints: vec![url.clone()],
        certificate: None,
        region: String::new(),
        access_key: String::new(),
        secret_key: String::new(),
    });
    tokio::time::sleep(LONG).await;
    assert_eq!(faulty.oracle.state().endpoints, [None, Some(url)]);
}

#[tokio::test(start_paused = true)]
async fn an_oracle_is_told_whose_the_node_is_and_again_when_that_is_signed_anew() {
    let clock = TestClock::new();
    let faulty = oracle(1, clock);
    let setup = Setup::new(clock);
    let binding = |deadline: u64| {
        let message = DaemonBinding {
            nodeId: B256::repeat_byte(1),
            hpAccount: Address::repeat_byte(2),
            daemonAddress: daemon().address(),
            attestationKeyHash: B256::ZERO,
            hardwareReportHash: B256::ZERO,
            deadline: U256::from(deadline),
        };
        Some(Signed::new(message, &parameters().domain(), &daemon()).expect("signed"))
    };
    *setup.node.binding.lock().expect("a lock") = binding(1);
    let mut running = setup.start(&[Arc::clone(&faulty)]);
    let in_session = |state: &LinkState| matches!(state, LinkState::InSession { .. });
    running.until(LONG, |status| in_session(&status.peers[0].link)).await;
    *setup.node.binding.lock().expect("a lock") = binding(2);
    tokio::time::sleep(LONG).await;
    assert_eq!(faulty.oracle.state().bindings, [binding(1), binding(2)]);
}

#[tokio::test(start_paused = true)]
async fn other_parameters_and_another_address_are_told_by_name() {
    let clock = TestClock::new();
    let other = Parameters { samples: 99, ..parameters() };
    let mut wrong = Oracle::new(1, clock);
    wrong.parameters = other;
    let mut running = Setup::new(clock).start(&[Arc::new(Faulty::new(wrong))]);
    let status = running
        .until(LONG, |status| matches!(status.peers[0].link, LinkState::OtherParameters { .. }))
        .await;
    let words = status.peers[0].link.to_string();
    assert!(words.contains("samples: 16 here, 99 there"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_most_oracles_contradict_is_the_nodes_own() {
    let clock = TestClock::new();
    let behind = clock.ahead(5_000);
    let oracles = [oracle(1, behind), oracle(2, behind), oracle(3, clock)];
    let mut running = Setup::new(clock).start(&oracles);
    let measured =
        |status: &crate::SlaStatus| status.peers.iter().all(|peer| peer.clock_ahead_ms.is_some());
    let status = running.until(LONG, measured).await;
    assert!(status.clock.is_some_and(|words| words.contains("the node's clock is wrong")));
    let one = [oracle(1, behind), oracle(2, clock), oracle(3, clock)];
    let mut running = Setup::new(clock).start(&one);
    let status = running.until(LONG, measured).await;
    assert_eq!(status.clock, None);
    assert_eq!(status.peers[0].clock_ahead_ms.map(|ms| ms / 1_000), Some(5));
}
