//! Canaries, against S3 services that do right and wrong.

use agent_sla::protocol::B256;
use agent_sla::protocol::messages::S3Access;
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::signed::SlaVote;
use reference_oracle::canary::{self, ERAS_KEPT};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use crate::bench::{Bench, moment, party};
use crate::tenant::{Service, Wrong};

/// Goes through an era and counts what was checked.
async fn era(bench: &Bench, era: u64) {
    let (daemon, node) = (party(1).key.address(), party(1).node);
    bench.set(moment(era, 0));
    bench
        .until("planned", |oracle| {
            oracle.state().node(&daemon).is_some_and(|node| node.planned == Some(Era(era)))
        })
        .await;
    bench.set(moment(era, 19));
    bench
        .until("checked", |oracle| {
            let state = oracle.state();
            let tally = state.books.get(&Era(era)).and_then(|book| book.nodes.get(&node));
            tally.is_some_and(|tally| tally.issued >= expected(tally.passed))
        })
        .await;
}

/// Two writes and eight reads; where no write succeeds, there is nothing to read.
fn expected(passed: u32) -> u32 {
    if passed == 0 { 2 } else { 10 }
}

async fn voted(access: S3Access) -> SlaVote {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path()).await;
    let cancel = CancellationToken::new();
    let _ends = cancel.clone().drop_guard();
    // One at a time, so that reads come behind writes though all are due.
    tokio::spawn(canary::run(Arc::clone(&bench.oracle), 1, cancel));
    bench.enter(&party(1), Some(access)).await;
    era(&bench, 1).await;
    let votes = bench.close(1).await;
    assert_eq!(votes.len(), 1);
    votes[0].message.clone()
}

#[tokio::test]
async fn a_node_that_keeps_what_is_written_passes_all() {
    for is_tls in [false, true] {
        let service = Service::start(Wrong::Nothing, is_tls).await;
        let vote = voted(service.access.clone()).await;
        assert_eq!((vote.issued, vote.passed), (10, 10));
        assert!(vote.medianLatencyUs > 0 && vote.medianBytesPerSecond > 0);
        assert_eq!(vote.nodeId, party(1).node);
    }
}

#[tokio::test]
async fn other_bytes_or_none_are_no_passed_read() {
    for wrong in [Wrong::Bits, Wrong::Lost] {
        let service = Service::start(wrong, false).await;
        let vote = voted(service.access.clone()).await;
        assert_eq!((vote.issued, vote.passed), (10, 2), "{wrong:?}");
        assert_eq!((vote.medianLatencyUs, vote.medianBytesPerSecond), (0, 0));
    }
}

#[tokio::test]
async fn who_shows_another_certificate_is_told_nothing() {
    let service = Service::start(Wrong::Nothing, true).await;
    let vote = voted(service.mistaken()).await;
    assert_eq!((vote.issued, vote.passed), (2, 0));
    assert!(service.objects.lock().expect("no panic").is_empty());
}

#[tokio::test]
async fn old_canaries_are_deleted_and_known_after_a_restart() {
    let service = Service::start(Wrong::Nothing, false).await;
    let dir = tempfile::tempdir().expect("a folder");
    let names = || {
        let objects = service.objects.lock().expect("no panic");
        let name = |path: &String| path.rsplit('/').next().map(str::to_owned);
        let mut names: Vec<String> = objects.keys().filter_map(name).collect();
        names.retain(|name| name.starts_with("canary-"));
        names
    };
    for number in [1, 1 + ERAS_KEPT] {
        let bench = Bench::open(dir.path()).await;
        bench.set(moment(number, 0));
        let cancel = CancellationToken::new();
        let _ends = cancel.clone().drop_guard();
        tokio::spawn(canary::run(Arc::clone(&bench.oracle), 1, cancel));
        bench.enter(&party(1), Some(service.access.clone())).await;
        era(&bench, number).await;
        assert_eq!(names(), [0, 1].map(|object| format!("canary-{number}-{object}")));
        assert_eq!(bench.oracle.state().canaries(&party(1).key.address()).len(), 2);
        assert_eq!(B256::repeat_byte(1), party(1).node);
    }
}
