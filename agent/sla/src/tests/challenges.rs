//! One receipt for each oracle and era, whatever goes wrong on the way.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::oracle::{Fault, Faulty, Oracle};
use super::{Node, Setup, TestClock, key, oracle, parameters};
use crate::exchange::{Answer, Ask};
use crate::protocol::messages::{Challenge, Receipt, Refusal};
use crate::protocol::parameters::Era;
use crate::protocol::signed::{PASSED, Signed};
use crate::protocol::{Address, B256};
use crate::status::SlaStatus;

const ERA: Duration = Duration::from_secs(60);

/// That the first oracle's last receipt is of `era`.
fn has(era: u64) -> impl Fn(&SlaStatus) -> bool {
    move |status| status.peers[0].receipt.as_ref().is_some_and(|receipt| receipt.era == Era(era))
}

#[tokio::test(start_paused = true)]
async fn each_era_is_cut_once_and_each_oracle_gives_one_receipt() {
    let clock = TestClock::new();
    let oracles = [oracle(1, clock), oracle(2, clock), oracle(3, clock)];
    let setup = Setup::new(clock);
    let running = setup.start(&oracles);
    // Era 10 begins with the wait for a volume; 11 to 13 are whole.
    tokio::time::sleep(ERA * 4 - Duration::from_secs(5)).await;
    let cuts = setup.node.cuts.lock().expect("a lock").clone();
    assert_eq!(cuts, [Era(11), Era(12), Era(13)]);
    for faulty in &oracles {
        let state = faulty.oracle.state();
        assert_eq!(state.challenges.keys().copied().collect::<Vec<_>>(), [11, 12, 13]);
        for (era, asked) in &state.challenges {
            assert!(asked.receipt.is_some());
            let late = asked.at_ms - parameters().begin_ms(Era(*era));
            assert!(*era == 11 || late < 7_000, "era {era}: {late} ms after it began");
        }
    }
    let status = running.status.borrow().clone();
    let receipt = status.peers[2].receipt.as_ref().expect("a receipt");
    assert!(receipt.passed && receipt.reasons.is_empty());
    assert_eq!((receipt.latency_us, receipt.bytes_per_second), (Some(800), None));
    assert_eq!(status.spool.receipts, 9);
}

/// Runs for the whole of era 11 with these faults, and returns the status at its end.
async fn era_with(faults: Vec<(&'static str, Fault)>) -> (SlaStatus, Arc<Faulty>) {
    let clock = TestClock::new();
    let faulty = oracle(1, clock);
    for (path, fault) in faults {
        faulty.next(path, fault);
    }
    let running = Setup::new(clock).start(&[Arc::clone(&faulty)]);
    tokio::time::sleep(ERA * 2 - Duration::from_secs(1)).await;
    let status = running.status.borrow().clone();
    (status, faulty)
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_or_doubled_on_the_way_is_asked_again_with_the_same_request() {
    for path in ["/v1/challenges", "/v1/challenges/"] {
        let faults = [Fault::LoseRequest, Fault::LoseAnswer, Fault::Twice];
        let (status, faulty) = era_with(faults.map(|fault| (path, fault)).into()).await;
        assert!(has(11)(&status), "{path}: {status:#?}");
        assert_eq!(status.peers[0].refused_receipts, 0);
        // Another request of the era would have been refused.
        assert_eq!(faulty.oracle.state().challenges.len(), 1);
    }
}

/// Changes the receipt in an answer.
fn with_receipt(change: impl Fn(&Oracle, &mut Receipt) + Send + 'static) -> Fault {
    Fault::Alter(Box::new(move |oracle: &Oracle, _: &Ask, answer: Answer| {
        let mut receipt: Receipt = serde_json::from_slice(&answer.body).expect("a receipt");
        change(oracle, &mut receipt);
        let body = serde_json::to_vec(&receipt).expect("JSON").into();
        Answer { body, ..answer }
    }))
}

/// The same receipt, changed and signed by the oracle again.
fn forged(
    change: impl Fn(&mut crate::protocol::signed::ChallengeReceipt) + Send + 'static,
) -> Fault {
    with_receipt(move |oracle, receipt| {
        let mut message = receipt.receipt.message.clone();
        change(&mut message);
        let domain = oracle.parameters.domain();
        receipt.receipt = Signed::new(message, &domain, &oracle.key).expect("signed");
    })
}

#[tokio::test(start_paused = true)]
async fn a_receipt_that_is_none_is_refused_and_counted_and_the_right_one_is_taken() {
    let other_key = with_receipt(|oracle, receipt| {
        let message = receipt.receipt.message.clone();
        let domain = oracle.parameters.domain();
        receipt.receipt = Signed::new(message, &domain, &key(7)).expect("signed");
    });
    let other_node = with_receipt(|oracle, receipt| {
        receipt.receipt = oracle.receipt(B256::repeat_byte(5), PASSED);
    });
    let unsigned = with_receipt(|_, receipt| receipt.receipt.message.result = 2);
    let faults = vec![
        ("/v1/challenges/", other_key),
        ("/v1/challenges/", other_node),
        ("/v1/challenges/", unsigned),
        ("/v1/challenges/", forged(|message| message.beacon = B256::ZERO)),
        ("/v1/challenges/", forged(|message| message.result = 0)),
        ("/v1/challenges/", forged(|message| message.oracleTime -= 600_000)),
    ];
    let count = u64::try_from(faults.len()).expect("a number");
    let (status, _) = era_with(faults).await;
    assert_eq!(status.peers[0].refused_receipts, count);
    assert!(has(11)(&status), "{status:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_challenge_of_another_request_is_not_answered() {
    let old = Fault::Alter(Box::new(|_: &Oracle, _: &Ask, answer: Answer| {
        let mut challenge: Challenge = serde_json::from_slice(&answer.body).expect("a challenge");
        challenge.request = B256::repeat_byte(3);
        let body = serde_json::to_vec(&challenge).expect("JSON").into();
        Answer { body, ..answer }
    }));
    let (status, _) = era_with(vec![("/v1/challenges", old)]).await;
    assert!(has(11)(&status), "{status:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_replayed_receipt_of_the_era_before_counts_for_nothing() {
    let clock = TestClock::new();
    let faulty = oracle(1, clock);
    let mut running = Setup::new(clock).start(&[Arc::clone(&faulty)]);
    running.until(ERA * 3, has(11)).await;
    let old = faulty.oracle.state().challenges[&11].receipt.clone().expect("a receipt");
    for _ in 0..200 {
        let old = old.clone();
        faulty.next("/v1/challenges/", with_receipt(move |_, receipt| *receipt = old.clone()));
    }
    let status = running.until(ERA * 3, |status| status.peers[0].missed_eras == 1).await;
    assert!(has(11)(&status) && status.peers[0].refused_receipts > 3, "{status:#?}");
}

#[tokio::test(start_paused = true)]
async fn an_era_without_its_oracle_is_missed_and_the_next_is_not() {
    let clock = TestClock::new();
    let oracles = [oracle(1, clock), oracle(2, clock)];
    let mut running = Setup::new(clock).start(&oracles);
    running.until(ERA * 3, has(11)).await;
    oracles[0].set_down(true);
    running.until(ERA * 2, |status| status.peers[0].missed_eras == 1).await;
    oracles[0].set_down(false);
    let status = running.until(ERA * 2, has(13)).await;
    assert_eq!((status.peers[0].missed_eras, status.peers[1].missed_eras), (1, 0));
    assert_eq!(oracles[1].oracle.state().challenges.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_the_same_request_is_sent_and_a_kept_receipt_is_not_asked_for() {
    let clock = TestClock::new();
    let folder = tempfile::tempdir().expect("a folder");
    let faulty = oracle(1, clock);
    let setup = |instance: u8| Setup {
        instance,
        folder: Some(folder.path().to_owned()),
        ..Setup::new(clock)
    };
    // It stops between question and answer.
    faulty.next("/v1/challenges/", Fault::Slow(Duration::from_secs(3_600)));
    let first = setup(1).start(&[Arc::clone(&faulty)]);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let asked = faulty.oracle.state().challenges[&10].request.clone();
    drop(first);
    let mut second = setup(2).start(&[Arc::clone(&faulty)]);
    let status = second.until(ERA, has(10)).await;
    assert_eq!(status.spool.receipts, 1);
    assert_eq!(faulty.oracle.state().challenges[&10].request, asked);
    drop(second);
    // Whoever asks again now is refused.
    faulty.oracle.state().challenges.clear();
    let mut third = setup(3).start(&[Arc::clone(&faulty)]);
    third.until(ERA, has(10)).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!faulty.oracle.state().challenges.contains_key(&10));
}

#[tokio::test(start_paused = true)]
async fn an_empty_node_is_challenged_too() {
    let clock = TestClock::new();
    let faulty = oracle(1, clock);
    let setup = Setup { node: Arc::new(Node::default()), ..Setup::new(clock) };
    let mut running = setup.start(&[Arc::clone(&faulty)]);
    let status = running.until(ERA * 3, has(11)).await;
    assert!(status.peers[0].receipt.as_ref().is_some_and(|receipt| receipt.passed));
    assert_eq!(faulty.oracle.state().challenges[&11].request.message.objects, 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_byte_fails_the_challenge_with_the_reason() {
    let clock = TestClock::new();
    let faulty = oracle(1, clock);
    // Everything that is stored is one byte: each question asks for it.
    let node = Node { bytes: 1, lost: Some(0), ..Node::default() };
    let setup = Setup { node: Arc::new(node), ..Setup::new(clock) };
    let mut running = setup.start(&[Arc::clone(&faulty)]);
    let status = running.until(ERA * 3, has(11)).await;
    let receipt = status.peers[0].receipt.as_ref().expect("a receipt");
    assert!(!receipt.passed && receipt.reasons[0].contains("it is gone"), "{receipt:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_opens_late_is_cut_when_it_is_open() {
    let clock = TestClock::new();
    let node = Node { bytes: 1_000, failing: 3.into(), ..Node::default() };
    let setup = Setup { node: Arc::new(node), ..Setup::new(clock) };
    let mut running = setup.start(&[oracle(1, clock)]);
    running.until(ERA * 2, has(11)).await;
}

#[tokio::test(start_paused = true)]
async fn an_oracle_that_answered_another_request_is_not_asked_until_the_next_era() {
    let clock = TestClock::new();
    let faulty = oracle(1, clock);
    let refuse = Fault::Alter(Box::new(|_: &Oracle, _: &Ask, _: Answer| Answer {
        status: 409,
        body: serde_json::to_vec(&Refusal::Replayed).expect("JSON").into(),
    }));
    faulty.next("/v1/challenges", refuse);
    let mut running = Setup::new(clock).start(&[Arc::clone(&faulty)]);
    running.until(ERA * 2, |status| status.peers[0].missed_eras == 1).await;
    assert!(running.status.borrow().peers[0].receipt.is_none());
    running.until(ERA * 2, has(12)).await;
}

#[test]
fn kept_receipts_keep_their_form() {
    use crate::journal::{Receipted, Step};
    use crate::protocol::messages::KeptReceipt;
    let oracle = Oracle::new(1, {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async { TestClock::new() })
    });
    let receipt = oracle.receipt(B256::ZERO, PASSED);
    let request = crate::protocol::signed::ChallengeRequest {
        nodeId: B256::ZERO,
        oracleId: Address::ZERO,
        era: 3,
        nonce: B256::ZERO,
        dataRoot: B256::ZERO,
        objects: 0,
        totalBytes: 0,
        configDigest: B256::ZERO,
    };
    let request = Signed::new(request, &parameters().domain(), &key(1)).expect("signed");
    let kept = KeptReceipt { oracle: Address::ZERO, era: Era(3), request, receipt };
    let step = Step::Receipt(Box::new(Receipted { kept, reasons: Vec::new() }));
    let found = serde_json::to_value(&step).expect("JSON");
    assert_eq!(found["receipt"]["era"], json!(3));
    assert_eq!(serde_json::from_value::<Step>(found).expect("the same"), step);
}
