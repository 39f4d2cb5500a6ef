//! Votes: once for each node and era, and the same whoever counts.

use super::*;
use crate::record::Record;
use crate::tally::Book;

async fn votes(bench: &Bench, era: u64) -> Vec<Vote> {
    let text = bench.oracle.votes(Era(era), None).await.expect("votes");
    serde_json::from_str(&text).expect("a list")
}

/// An era with two nodes: one passes everything, the other fails its challenge.
async fn filled(bench: &Bench) {
    for (byte, is_right) in [(1, true), (2, false)] {
        let one = party(byte);
        let speaker = bench.enter(&one).await;
        bench.oracle.checked(Era(1), one.node, passed_check(100)).await.expect("counted");
        bench.challenged(&one, speaker, is_right).await;
    }
}

/// The votes that the records alone come to.
fn recounted(folder: &Path, bench: &Bench, era: u64) -> Vec<SlaVote> {
    let log = Log::open(&folder.join("data/eras")).expect("a log");
    let mut book = Book::default();
    log.read(era, |_, payload| match Record::from_bytes(payload).expect("a record") {
        Record::Vote { .. } | Record::Closed { .. } => {}
        record => book.apply(record),
    })
    .expect("read");
    let digest = bench.target.parameters.digest();
    let vote = |(node, tally): (&B256, &crate::tally::Tally)| {
        tally.vote(bench.target.oracle, *node, Era(era), digest)
    };
    book.nodes.iter().filter_map(vote).collect()
}

#[tokio::test]
async fn an_era_is_voted_on_once_it_is_over_and_its_grace_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path());
    filled(&bench).await;
    bench.set(moment(2, 14));
    bench.oracle.close_eras().await.expect("too early");
    assert!(votes(&bench, 1).await.is_empty());
    bench.set(moment(2, 15));
    bench.oracle.close_eras().await.expect("closed");
    let cast = votes(&bench, 1).await;
    let found: Vec<_> = cast
        .iter()
        .map(|vote| (vote.message.nodeId, vote.message.issued, vote.message.passed))
        .collect();
    assert_eq!(found, [(B256::repeat_byte(1), 2, 2), (B256::repeat_byte(2), 2, 1)]);
    assert!(cast[0].message.provenBytes > 0 && cast[1].message.provenBytes == 0);
    let domain = bench.target.parameters.domain();
    assert!(cast.iter().all(|vote| vote.verify(&domain, bench.target.oracle) == Ok(())));
    let messages: Vec<_> = cast.iter().map(|vote| vote.message.clone()).collect();
    assert_eq!(messages, recounted(dir.path(), &bench, 1));
    let late = bench.oracle.checked(Era(1), B256::repeat_byte(1), passed_check(1)).await;
    assert_eq!(late, Err(Refusal::TooLate));
    bench.oracle.close_eras().await.expect("nothing to do");
    assert_eq!(votes(&bench, 1).await, cast);
}

#[tokio::test]
async fn votes_are_given_from_a_node_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path());
    filled(&bench).await;
    bench.set(moment(2, 15));
    bench.oracle.close_eras().await.expect("closed");
    let text = bench.oracle.votes(Era(1), Some(B256::repeat_byte(1))).await.expect("votes");
    let behind: Vec<Vote> = serde_json::from_str(&text).expect("a list");
    assert_eq!(behind.len(), 1);
    assert_eq!(behind[0].message.nodeId, B256::repeat_byte(2));
    assert_eq!(bench.oracle.votes(Era(7), None).await.expect("votes"), "[]");
}

#[tokio::test]
async fn a_restart_in_the_middle_changes_no_vote() {
    let (one, two) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("another"));
    let bench = Bench::open(one.path());
    filled(&bench).await;
    drop(bench);
    let bench = Bench::with(one.path(), Role::Oracle, moment(5, 0));
    let expected = recounted(one.path(), &bench, 1);
    bench.oracle.close_eras().await.expect("closed");
    let cast = votes(&bench, 1).await;
    assert_eq!(cast.iter().map(|vote| vote.message.clone()).collect::<Vec<_>>(), expected);
    // The votes are written again, from any point at which the power may have failed.
    let name = "data/eras/00000000000000000001.log";
    let whole = std::fs::read(one.path().join(name)).expect("a file");
    let mut places = Vec::new();
    let log = Log::open(&one.path().join("data/eras")).expect("a log");
    log.read(1, |place, payload| {
        if matches!(Record::from_bytes(payload), Ok(Record::Vote { .. } | Record::Closed { .. })) {
            places.push(usize::try_from(place.offset).expect("it fits"));
        }
    })
    .expect("read");
    let first = *places.first().expect("a vote");
    std::fs::create_dir_all(two.path().join("data/eras")).expect("made");
    std::fs::create_dir_all(two.path().join("key")).expect("made");
    std::fs::copy(one.path().join("key/oracle-key.json"), two.path().join("key/oracle-key.json"))
        .expect("copied");
    for cut in (first..whole.len()).step_by(97).chain(places).chain([whole.len() - 1]) {
        std::fs::write(two.path().join(name), &whole[..cut]).expect("written");
        let bench = Bench::with(two.path(), Role::Oracle, moment(5, 0));
        bench.oracle.close_eras().await.expect("closed");
        assert_eq!(votes(&bench, 1).await, cast, "cut at {cut}");
        assert_eq!(std::fs::read(two.path().join(name)).expect("a file"), whole, "cut at {cut}");
    }
}

#[tokio::test]
async fn an_era_torn_anywhere_has_the_votes_of_what_is_left() {
    let (one, two) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("another"));
    let bench = Bench::open(one.path());
    filled(&bench).await;
    drop(bench);
    let name = "data/eras/00000000000000000001.log";
    let whole = std::fs::read(one.path().join(name)).expect("a file");
    for folder in ["data/eras", "key"] {
        std::fs::create_dir_all(two.path().join(folder)).expect("made");
    }
    std::fs::copy(one.path().join("key/oracle-key.json"), two.path().join("key/oracle-key.json"))
        .expect("copied");
    let mut counts = std::collections::BTreeSet::new();
    for cut in (0..whole.len()).step_by(37).chain([whole.len()]) {
        std::fs::write(two.path().join(name), &whole[..cut]).expect("written");
        let bench = Bench::with(two.path(), Role::Oracle, moment(5, 0));
        bench.oracle.close_eras().await.expect("closed");
        let cast: Vec<_> = votes(&bench, 1).await.into_iter().map(|vote| vote.message).collect();
        assert_eq!(cast, recounted(two.path(), &bench, 1), "cut at {cut}");
        counts.insert(cast.len());
    }
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
}
