//! What a node sees when the way to the oracle, or the oracle itself, does wrong.

use std::time::Duration;

use agent_sla::protocol::messages::ChallengeAnswer;
use agent_sla::protocol::signed::{PASSED, SignatureError};
use reference_oracle::client::Target;
use reference_oracle::fault::Fault;
use reference_oracle::proxy::{Mode, Proxy};
use reference_oracle::server::Limits;
use reference_oracle::store::Store;
use tokio::time::timeout;

use crate::bench::{Bench, SAMPLES, moment, party};

/// How long to wait for what does not come.
const PATIENCE: Duration = Duration::from_millis(500);

async fn faulty(fault: Fault) -> (Bench, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::with(dir.path(), fault, Limits::default()).await;
    (bench, dir)
}

#[tokio::test]
async fn a_receipt_with_another_signature_is_told_apart() {
    let (bench, _dir) = faulty(Fault::WrongSignature).await;
    let one = party(1);
    let mut connection = bench.enter(&one, None).await;
    let receipt = bench.challenged(&one, &mut connection).await;
    let found = receipt.receipt.verify(&bench.target.parameters.domain(), bench.target.oracle);
    assert!(matches!(found, Err(SignatureError::Other { .. })), "{found:?}");
}

#[tokio::test]
async fn a_receipt_of_another_node_or_an_old_one_is_told_apart() {
    for fault in [Fault::OtherNode, Fault::OldReceipt] {
        let (bench, _dir) = faulty(fault).await;
        let one = party(1);
        let mut connection = bench.enter(&one, None).await;
        let before = bench.challenged(&one, &mut connection).await;
        bench.set(moment(2, 0));
        let domain = bench.target.parameters.domain();
        let ours = bench.request(&one, 1).digest(&domain);
        let receipt = bench.challenged(&one, &mut connection).await;
        assert_eq!(receipt.receipt.verify(&domain, bench.target.oracle), Ok(()));
        assert_ne!(receipt.receipt.message.requestHash, ours, "{fault:?}");
        assert_eq!(receipt == before, fault == Fault::OldReceipt);
    }
}

#[tokio::test]
async fn what_is_sent_twice_counts_once() {
    let (bench, _dir) = faulty(Fault::Twice).await;
    let one = party(1);
    let mut connection = bench.enter(&one, None).await;
    for sequence in [1, 2] {
        let taken = connection.reports(vec![bench.report(&one, sequence)]).await.expect("taken");
        assert_eq!(taken.delivered, sequence);
    }
    let receipt = bench.challenged(&one, &mut connection).await;
    assert_eq!(receipt.receipt.message.result, PASSED);
    let log = bench.oracle.reports().log();
    let mut kept = 0;
    for file in log.files().expect("files") {
        log.read(file, |_, _| kept += 1).expect("read");
    }
    assert_eq!(kept, 2);
    let votes = bench.close(1).await;
    assert_eq!((votes[0].message.issued, votes[0].message.passed), (1, 1));
}

#[tokio::test]
async fn a_lost_answer_is_given_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path()).await;
    let proxy = Proxy::start(bench.target.at).await.expect("a proxy");
    let through = Target { at: proxy.at, ..bench.target.clone() };
    let one = party(1);
    let mut connection = one.connect(&through, None).await.expect("a connection");
    let asked = one.session(&through, moment(1, 0), None).expect("signed");
    connection.session(&asked).await.expect("a session");
    // Each answer is lost once; what the oracle did meanwhile stays done.
    proxy.set(Mode::AnswersLost);
    let lost = timeout(PATIENCE, connection.reports(vec![bench.report(&one, 5)])).await;
    assert!(lost.is_err());
    bench
        .until("the report is there", |oracle| {
            let state = oracle.state();
            let node = state.node(&one.key.address()).map(|node| node.delivery.delivered);
            node == Some(Some(5))
        })
        .await;
    proxy.set(Mode::Pass);
    let mut connection = one.connect(&through, None).await.expect("a connection");
    let opened = connection.session(&asked).await.expect("a session");
    assert_eq!(opened.delivered, Some(5));
    let request = bench.request(&one, 1);
    let challenge = connection.challenge(&request).await.expect("a challenge");
    let answer = ChallengeAnswer { samples: Store::new(1).answer(&challenge.beacon, SAMPLES) };
    proxy.set(Mode::AnswersLost);
    let lost = timeout(PATIENCE, connection.answer(&challenge.request, &answer)).await;
    assert!(lost.is_err());
    bench
        .until("the receipt is there", |oracle| {
            let state = oracle.state();
            let book = state.books.values().next_back();
            book.and_then(|book| book.nodes.get(&one.node)?.challenge.as_ref()?.receipt.clone())
                .is_some()
        })
        .await;
    proxy.set(Mode::Pass);
    let mut connection = one.connect(&through, None).await.expect("a connection");
    assert_eq!(connection.challenge(&request).await.expect("again").beacon, challenge.beacon);
    let receipt = connection.answer(&challenge.request, &answer).await.expect("a receipt");
    assert_eq!(receipt.receipt.message.result, PASSED);
    let votes = bench.close(1).await;
    assert_eq!((votes[0].message.issued, votes[0].message.passed), (1, 1));
}

#[tokio::test]
async fn down_silent_and_slow_are_what_they_say() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path()).await;
    let proxy = Proxy::start(bench.target.at).await.expect("a proxy");
    let through = Target { at: proxy.at, ..bench.target.clone() };
    let one = party(1);
    let mut open = one.connect(&through, None).await.expect("a connection");
    proxy.set(Mode::Down);
    assert!(open.hello().await.is_err());
    assert!(one.connect(&through, None).await.is_err());
    proxy.set(Mode::Silent);
    let silent = timeout(PATIENCE, one.connect(&through, None)).await;
    assert!(silent.is_err());
    proxy.set(Mode::Slow(Duration::from_millis(20)));
    let mut slow = one.connect(&through, None).await.expect("a connection");
    assert!(slow.hello().await.is_ok());
}
