//! Reports: each once, in order, and kept.

use agent_sla::protocol::report::SentReport;

use super::*;

fn report(bench: &Bench, one: &Party, sequence: u64) -> SentReport {
    let facts = healthy(sequence.checked_sub(1));
    one.report(&bench.target.parameters, sequence, bench.oracle.now_ms(), &facts, None)
        .expect("signed")
}

async fn sent(bench: &Bench, speaker: Speaker, reports: Vec<SentReport>) -> Result<u64, Refusal> {
    let taken = bench.oracle.take_reports(speaker, DeliverReports { reports }).await;
    taken.map(|taken| taken.delivered)
}

/// What lies in the log.
fn kept(bench: &Bench) -> Vec<u64> {
    let mut found = Vec::new();
    let log = bench.oracle.reports().log();
    for file in log.files().expect("files") {
        let read = log.read(file, |_, payload| {
            let stored: crate::reports::Stored = serde_json::from_slice(payload).expect("a report");
            found.push(stored.report.signed.message.sequence);
        });
        assert_eq!(read.expect("read"), 0);
    }
    found
}

#[tokio::test]
async fn each_is_kept_once_whatever_is_sent_again_and_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path());
    let one = party(1);
    let speaker = bench.enter(&one).await;
    let all = |bench: &Bench, of: &[u64]| of.iter().map(|n| report(bench, &one, *n)).collect();
    assert_eq!(sent(&bench, speaker, all(&bench, &[3, 5])).await, Ok(5));
    assert_eq!(sent(&bench, speaker, all(&bench, &[3, 5])).await, Ok(5));
    assert_eq!(sent(&bench, speaker, all(&bench, &[4, 5, 9])).await, Ok(9));
    assert_eq!(sent(&bench, speaker, Vec::new()).await, Ok(9));
    assert_eq!(kept(&bench), [3, 5, 9]);
    for is_tidy in [false, true] {
        if is_tidy {
            bench.oracle.tidy().expect("tidied");
        }
        let again = Bench::open(dir.path());
        let asked = one.session(&again.target, again.oracle.now_ms(), None).expect("signed");
        let opened = again.oracle.open_session(peer(&one), asked).await.expect("a session");
        assert_eq!(opened.delivered, Some(9));
    }
}

#[tokio::test]
async fn one_that_is_not_what_was_signed_is_refused_with_all_beside_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path());
    let one = party(1);
    let speaker = bench.enter(&one).await;
    let mut facts = report(&bench, &one, 2);
    facts.facts = report(&bench, &one, 7).facts;
    let mut number = report(&bench, &one, 2);
    number.signed.message.sequence = 3;
    let thief = Party::new(key(2), one.node, one.instance).expect("a party");
    let stolen = report(&bench, &thief, 2);
    let foreign = report(&bench, &party(2), 2);
    for wrong in [facts, number, stolen, foreign] {
        let found = sent(&bench, speaker, vec![report(&bench, &one, 1), wrong]).await;
        let is_refused =
            matches!(found, Err(Refusal::Malformed { .. } | Refusal::BadSignature { .. }));
        assert!(is_refused, "{found:?}");
    }
    let order = vec![report(&bench, &one, 2), report(&bench, &one, 1)];
    assert!(sent(&bench, speaker, order).await.is_err());
    let many = (1..=65).map(|number| report(&bench, &one, number)).collect();
    assert!(sent(&bench, speaker, many).await.is_err());
    assert!(sent(&bench, speaker, Vec::new()).await.is_err(), "nothing, and nothing before");
    assert_eq!(kept(&bench), [0; 0]);
}

#[tokio::test]
async fn a_store_takes_reports_and_challenges_nobody() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::with(dir.path(), Role::ReportStore, moment(1, 10));
    let one = party(1);
    let speaker = bench.enter(&one).await;
    assert_eq!(sent(&bench, speaker, vec![report(&bench, &one, 1)]).await, Ok(1));
    let asked = bench.oracle.challenge(speaker, bench.request(&one, 1, 1)).await;
    assert!(matches!(asked, Err(Refusal::Malformed { .. })), "{asked:?}");
}
