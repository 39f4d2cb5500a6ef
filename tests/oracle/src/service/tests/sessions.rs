//! Sessions that are refused.

use super::*;

async fn opened(bench: &Bench, target: &Target, one: &Party, now: u64) -> Result<(), Refusal> {
    let asked = one.session(target, now, None).expect("signed");
    bench.oracle.open_session(peer(one), asked).await.map(drop)
}

#[tokio::test]
async fn who_is_not_admitted_or_has_another_clock_or_network_is_told_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path());
    let (now, one) = (bench.oracle.now_ms(), party(1));
    let stranger = party(77);
    let daemon = stranger.key.address();
    let found = opened(&bench, &bench.target, &stranger, now).await;
    assert_eq!(found, Err(Refusal::NotAdmitted { daemon }));
    let ahead = opened(&bench, &bench.target, &one, now + 60_001).await;
    assert_eq!(ahead, Err(Refusal::Skew { skew_ms: 60_001 }));
    let behind = opened(&bench, &bench.target, &one, now - 600_000).await;
    assert_eq!(behind, Err(Refusal::Skew { skew_ms: -600_000 }));
    let far = opened(&bench, &bench.target, &one, u64::MAX).await;
    assert_eq!(far, Err(Refusal::Skew { skew_ms: i64::MAX }));
    let mut other = bench.target.clone();
    other.parameters.era_seconds += 1;
    let network = opened(&bench, &other, &one, now).await;
    assert_eq!(network, Err(Refusal::OtherParameters));
    let other = Target { oracle: Address::ZERO, ..bench.target.clone() };
    let oracle = opened(&bench, &other, &one, now).await;
    assert!(matches!(oracle, Err(Refusal::Malformed { .. })), "{oracle:?}");
    assert_eq!(opened(&bench, &bench.target, &one, now + 60_000).await, Ok(()));
}

#[tokio::test]
async fn a_session_binds_the_certificate_that_is_shown() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path());
    let one = party(1);
    let asked = one.session(&bench.target, bench.oracle.now_ms(), None).expect("signed");
    for certificate in [None, Some(B256::ZERO)] {
        let shown = Peer { certificate, ..peer(&one) };
        let found = bench.oracle.open_session(shown, asked.clone()).await;
        assert!(matches!(found, Err(Refusal::BadSignature { .. })), "{found:?}");
        assert_eq!(bench.oracle.speaker(shown).await, Err(Refusal::NoSession));
    }
    let mut forged = asked;
    forged.session.message.nodeId = B256::ZERO;
    let found = bench.oracle.open_session(peer(&one), forged).await;
    assert!(matches!(found, Err(Refusal::NotAdmitted { .. })), "somebody else's: {found:?}");
}

#[tokio::test]
async fn before_the_first_era_one_is_asked_to_come_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::with(dir.path(), Role::Oracle, moment(0, 0) - 5_000);
    let found = opened(&bench, &bench.target, &party(1), bench.oracle.now_ms()).await;
    assert_eq!(found, Err(Refusal::Busy { retry_after_ms: 5_000 }));
}

#[tokio::test]
async fn a_node_belongs_to_one_daemon_also_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path());
    bench.enter(&party(1)).await;
    drop(bench);
    let bench = Bench::open(dir.path());
    let thief = Party::new(key(2), party(1).node, B256::ZERO).expect("a party");
    let found = opened(&bench, &bench.target, &thief, bench.oracle.now_ms()).await;
    assert!(matches!(found, Err(Refusal::Malformed { .. })), "{found:?}");
    bench.enter(&party(1)).await;
}

#[tokio::test]
async fn who_is_struck_off_the_list_is_out_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path());
    let one = party(1);
    bench.enter(&one).await;
    std::fs::write(dir.path().join("admit"), "# nobody").expect("written");
    bench.oracle.config().admitted.refresh();
    let daemon = one.key.address();
    let found = bench.oracle.speaker(peer(&one)).await;
    assert_eq!(found, Err(Refusal::NotAdmitted { daemon }));
    assert_eq!(bench.oracle.speaker(peer(&one)).await, Err(Refusal::NoSession));
}

#[tokio::test]
async fn two_processes_with_one_key_freeze_the_era_also_after_a_restart() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path());
    let (one, copy) = (party(1), Party::new(key(1), party(1).node, B256::ZERO).expect("a party"));
    let speaker = bench.enter(&one).await;
    bench.challenged(&one, speaker, true).await;
    bench.enter(&copy).await;
    let (first, second) = ("192.0.2.1:1".to_owned(), "192.0.2.1:0".to_owned());
    let conflict = Refusal::Conflict { first, second };
    assert_eq!(bench.oracle.speaker(peer(&one)).await, Err(conflict.clone()));
    assert_eq!(bench.oracle.speaker(peer(&copy)).await, Err(conflict.clone()));
    drop(bench);
    let bench = Bench::open(dir.path());
    let now = bench.oracle.now_ms();
    assert_eq!(opened(&bench, &bench.target, &copy, now).await, Err(conflict));
    bench.set(moment(2, 30));
    bench.oracle.close_eras().await.expect("closed");
    assert_eq!(bench.oracle.votes(Era(1), None).await.expect("votes"), "[]");
    bench.enter(&copy).await;
}

#[tokio::test]
async fn an_endpoint_of_the_oracles_own_machine_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path());
    let one = party(1);
    for endpoint in ["http://127.0.0.1:9000", "ftp://192.0.2.7", "http://192.0.2.7/path"] {
        let s3 = agent_sla::protocol::messages::S3Access {
            endpoints: vec![endpoint.to_owned()],
            certificate: None,
            region: "r".to_owned(),
            access_key: "a".to_owned(),
            secret_key: "s".to_owned(),
        };
        let asked = one.session(&bench.target, bench.oracle.now_ms(), Some(s3)).expect("signed");
        let found = bench.oracle.open_session(peer(&one), asked).await;
        assert!(matches!(found, Err(Refusal::Malformed { .. })), "{endpoint}: {found:?}");
    }
}
