//! Reports arrive once and in order, whatever is lost on the way and wherever the node stops.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokio::sync::watch;

use super::oracle::{Fault, Faulty};
use super::{Setup, TestClock, oracle};
use crate::status::{Kept, SlaStatus};

const MINUTE: Duration = Duration::from_secs(60);

/// That everything that was made is there, each once, each behind the one before.
fn is_unbroken(oracle: &Faulty) -> bool {
    let state = oracle.oracle.state();
    let pairs = state.reports.windows(2).all(|pair| {
        let [(before, _), (_, facts)] = pair else { return false };
        facts.previous == Some(*before)
    });
    pairs && state.reports.first().is_some_and(|(_, facts)| facts.previous.is_none())
}

fn all_delivered(status: &SlaStatus) -> bool {
    let last = status.report.map(|report| report.sequence);
    last.is_some() && status.peers.iter().all(|peer| peer.delivered == last && peer.pending == 0)
}

#[tokio::test(start_paused = true)]
async fn reports_come_when_they_are_due_and_at_once_when_a_verdict_changed() {
    let clock = TestClock::new();
    let oracles = [oracle(1, clock)];
    let mut running = Setup::new(clock).start(&oracles);
    running.until(MINUTE * 2, all_delivered).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let before = oracles[0].oracle.state().reports.len();
    for _ in 0..10 {
        running.urgent.notify_one();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // One at once, and one for those within the ten seconds after it.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(oracles[0].oracle.state().reports.len() - before, 2);
    running.stop().await.expect("it stops when it is told to");
}

#[tokio::test(start_paused = true)]
async fn an_oracle_that_is_down_or_slow_delays_no_other() {
    let clock = TestClock::new();
    let oracles = [oracle(1, clock), oracle(2, clock), oracle(3, clock)];
    oracles[1].set_down(true);
    for _ in 0..100 {
        oracles[2].next("/v1/reports", Fault::Slow(Duration::from_secs(25)));
    }
    let running = Setup::new(clock).start(&oracles);
    tokio::time::sleep(MINUTE * 11).await;
    let status = running.status.borrow().clone();
    let pending: Vec<_> = status.peers.iter().map(|peer| peer.pending).collect();
    assert_eq!((pending[0], pending[1]), (0, status.spool.reports), "{status:#?}");
    assert!(is_unbroken(&oracles[0]) && is_unbroken(&oracles[2]));
    oracles[1].set_down(false);
    tokio::time::sleep(MINUTE * 2).await;
    assert!(is_unbroken(&oracles[1]));
    let made = oracles[0].oracle.state().reports.len();
    assert_eq!(oracles[1].oracle.state().reports.len(), made);
}

#[tokio::test(start_paused = true)]
async fn a_report_that_an_oracle_never_takes_holds_up_no_other() {
    let clock = TestClock::new();
    let oracles = [oracle(1, clock), oracle(2, clock)];
    oracles[0].set_down(true);
    let mut running = Setup::new(clock).start(&oracles);
    running.until(MINUTE * 10, |status| status.spool.reports >= 5).await;
    let poison = oracles[1].oracle.state().reports[2].0;
    oracles[0].oracle.state().poison = Some(poison);
    oracles[0].set_down(false);
    running.until(MINUTE * 5, all_delivered).await;
    let sequences = |of: &Faulty| -> Vec<u64> {
        of.oracle.state().reports.iter().map(|(sequence, _)| *sequence).collect()
    };
    let mut expected = sequences(&oracles[1]);
    expected.retain(|sequence| *sequence != poison);
    assert_eq!(sequences(&oracles[0]), expected);
}

#[tokio::test(start_paused = true)]
async fn reports_move_from_memory_to_a_volume_to_memory_to_the_next_volume() {
    let clock = TestClock::new();
    let (one, two) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
    let oracles = [oracle(1, clock)];
    oracles[0].set_down(true);
    let (folder, told) = watch::channel(None);
    let mut running = Setup::new(clock).start_at(&oracles, told);
    let at = |kept: Kept, reports: u64| {
        move |status: &SlaStatus| status.spool.kept == kept && status.spool.reports >= reports
    };
    running.until(MINUTE * 5, at(Kept::InMemory, 2)).await;
    folder.send_replace(Some(one.path().to_owned()));
    running.until(MINUTE * 5, at(Kept::OnDisk, 4)).await;
    folder.send_replace(None);
    running.until(MINUTE * 5, at(Kept::InMemory, 6)).await;
    folder.send_replace(Some(two.path().to_owned()));
    running.until(MINUTE * 5, at(Kept::OnDisk, 8)).await;
    oracles[0].set_down(false);
    running.until(MINUTE * 5, all_delivered).await;
    assert!(is_unbroken(&oracles[0]), "{:?}", oracles[0].oracle.state().reports);
    assert!(oracles[0].oracle.state().reports.len() >= 8);
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_volume_reports_go_on_behind_what_the_oracle_has() {
    let clock = TestClock::new();
    let oracles = [oracle(1, clock)];
    // What the node made before, by a clock that was an hour ahead.
    let ahead = Setup::new(clock.ahead(3_600_000)).start(&oracles);
    tokio::time::sleep(MINUTE * 3).await;
    drop(ahead);
    let before = oracles[0].oracle.state().reports.len();
    let last = oracles[0].oracle.state().reports[before - 1].0;
    let running = Setup { instance: 2, ..Setup::new(clock) }.start(&oracles);
    tokio::time::sleep(MINUTE * 6).await;
    let state = oracles[0].oracle.state();
    let new: Vec<_> = state.reports[before..].iter().map(|(sequence, _)| *sequence).collect();
    assert!(new.len() >= 2 && new.iter().all(|sequence| *sequence > last), "{new:?} behind {last}");
    drop(running);
}

/// Runs with these faults, one for each request, and stops without a word after each of these times.
async fn run_with_crashes(faults: &[u8], crashes: &[u16], folder: &Path) {
    let clock = TestClock::new();
    let oracles = [oracle(1, clock), oracle(2, clock)];
    for (number, fault) in faults.iter().enumerate() {
        let faulty: &Arc<Faulty> = &oracles[number % 2];
        faulty.next(
            "/",
            match fault % 5 {
                0 => Fault::LoseRequest,
                1 => Fault::LoseAnswer,
                2 => Fault::Twice,
                3 => Fault::Slow(Duration::from_secs(u64::from(*fault) / 4)),
                _ => Fault::None,
            },
        );
    }
    let setup =
        |instance: u8| Setup { instance, folder: Some(folder.to_owned()), ..Setup::new(clock) };
    let mut instance = 1;
    for crash in crashes {
        let running = setup(instance).start(&oracles);
        tokio::time::sleep(Duration::from_millis(u64::from(*crash) * 4)).await;
        drop(running);
        // What was at a disk when the process died comes to its end before the next begins.
        tokio::time::sleep(Duration::from_millis(1)).await;
        instance += 1;
    }
    let mut last = setup(instance).start(&oracles);
    tokio::time::sleep(MINUTE * 3).await;
    let status = last.until(MINUTE * 60, all_delivered).await;
    let [first, second] = oracles.each_ref().map(|oracle| {
        assert!(is_unbroken(oracle), "{:?}", oracle.oracle.state().reports);
        let state = oracle.oracle.state();
        state.reports.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>()
    });
    assert_eq!(first, second);
    assert_eq!(status.spool.reports, u64::try_from(first.len()).expect("a number"));
    // One request for each era and oracle, however often it was sent.
    for oracle in &oracles {
        let state = oracle.oracle.state();
        assert!(!state.challenges.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]

    #[test]
    fn each_report_arrives_once_and_in_order_at_each_oracle(
        faults in prop::collection::vec(any::<u8>(), 0..60),
        crashes in prop::collection::vec(any::<u16>(), 0..4),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(run_with_crashes(&faults, &crashes, folder.path()));
    }
}
