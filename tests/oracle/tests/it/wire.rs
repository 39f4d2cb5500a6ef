//! What goes over the wire, and what does not.

use agent_sla::protocol::B256;
use agent_sla::protocol::messages::{Hello, REQUEST_MAX, Refusal};
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::signed::PASSED;
use http::Method;
use reference_oracle::client::{ClientError, Connection, Party, Target};
use reference_oracle::fault::Fault;
use reference_oracle::server::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bench::{Bench, moment, party, refusal};

#[tokio::test]
async fn a_node_goes_through_an_era() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path()).await;
    let one = party(1);
    let mut connection = one.connect(&bench.target, None).await.expect("a connection");
    let hello = connection.hello().await.expect("parameters");
    assert_eq!((hello.oracle, hello.oracle_time), (bench.target.oracle, moment(1, 0)));
    assert_eq!(hello.parameters, bench.target.parameters);
    let closed = refusal(connection.reports(vec![bench.report(&one, 7)]).await);
    assert_eq!(closed, Refusal::NoSession);
    let asked = one.session(&bench.target, moment(1, 0), None).expect("signed");
    assert_eq!(connection.session(&asked).await.expect("a session").delivered, None);
    let reports = vec![bench.report(&one, 7), bench.report(&one, 8)];
    assert_eq!(connection.reports(reports).await.expect("taken").delivered, 8);
    let receipt = bench.challenged(&one, &mut connection).await;
    assert_eq!(receipt.receipt.message.result, PASSED);
    // The session is the certificate's, not the connection's.
    let mut other = one.connect(&bench.target, None).await.expect("a connection");
    assert_eq!(bench.challenged(&one, &mut other).await, receipt);
    assert_eq!(other.session(&asked).await.expect("a session").delivered, Some(8));
    let votes = bench.close(1).await;
    assert_eq!(votes.len(), 1);
    assert_eq!(connection.votes(Era(1), None).await.expect("votes"), votes);
    assert!(connection.votes(Era(1), Some(one.node)).await.expect("votes").is_empty());
}

#[tokio::test]
async fn anybody_sees_parameters_and_votes_and_only_nodes_go_further() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path()).await;
    let mut nobody = Connection::open(&bench.target, None, None).await.expect("a connection");
    assert_eq!(nobody.hello().await.expect("parameters").oracle, bench.target.oracle);
    assert!(nobody.votes(Era(0), None).await.expect("votes").is_empty());
    let one = party(1);
    let asked = one.session(&bench.target, moment(1, 0), None).expect("signed");
    let found = refusal(nobody.session(&asked).await);
    assert!(matches!(found, Refusal::BadSignature { .. }), "{found:?}");
    let found = refusal(nobody.challenge(&bench.request(&one, 1)).await);
    assert_eq!(found, Refusal::NoSession);
    let found = nobody.ask::<Hello>(Method::GET, "/v2/parameters", Vec::new()).await;
    assert!(matches!(found, Err(ClientError::Refused { status, .. }) if status == 404));
    let other = Target { certificate: B256::ZERO, ..bench.target.clone() };
    assert!(matches!(one.connect(&other, None).await, Err(ClientError::Broken { .. })));
}

#[tokio::test]
async fn what_is_too_long_or_no_json_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path()).await;
    let one = party(1);
    let mut connection = bench.enter(&one, None).await;
    let posted = async |connection: &mut Connection, path: &str, bytes: Vec<u8>| {
        refusal(connection.ask::<Hello>(Method::POST, path, bytes).await)
    };
    let digest = format!("/v1/challenges/{}", B256::ZERO);
    for path in ["/v1/reports", "/v1/challenges", "/v1/sessions", &digest] {
        let found = posted(&mut connection, path, b"[1".to_vec()).await;
        assert!(matches!(found, Refusal::Malformed { .. }), "{path}: {found:?}");
    }
    let session = posted(&mut connection, "/v1/sessions", vec![b' '; (64 << 10) + 1]).await;
    assert!(session.to_string().contains("more than"), "{session}");
    let mut fresh = bench.enter(&one, None).await;
    let found = fresh.ask::<Hello>(Method::POST, "/v1/reports", vec![b' '; REQUEST_MAX + 1]).await;
    assert!(found.is_err(), "refused, or broken off while it was sent");
}

#[tokio::test]
async fn two_processes_with_one_key_are_told_of_each_other() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path()).await;
    let one = party(1);
    let copy = Party::new(one.key.clone(), one.node, B256::ZERO).expect("a party");
    let mut first = bench.enter(&one, None).await;
    bench.challenged(&one, &mut first).await;
    let mut second = bench.enter(&copy, None).await;
    assert_eq!(second.reports(vec![bench.report(&copy, 1)]).await.expect("taken").delivered, 1);
    let told = refusal(first.reports(vec![bench.report(&one, 2)]).await);
    let Refusal::Conflict { first: one_at, second: other_at } = &told else { panic!("{told:?}") };
    assert!(one_at.starts_with("127.0.0.1:") && other_at.starts_with("127.0.0.1:"));
    assert_ne!(one_at, other_at);
    assert_eq!(refusal(second.reports(vec![bench.report(&copy, 2)]).await), told);
    assert!(bench.close(1).await.is_empty(), "no vote");
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_others_are_not_held_up() {
    let dir = tempfile::tempdir().expect("a folder");
    let limits = Limits { connections_per_address: 2, ..Limits::default() };
    let bench = Bench::with(dir.path(), Fault::None, limits).await;
    let one = party(1);
    let from = |last: u8| Some(([127, 0, 0, last], 0).into());
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(one.connect(&bench.target, from(2)).await.expect("a connection"));
    }
    assert!(one.connect(&bench.target, from(2)).await.is_err());
    assert!(one.connect(&bench.target, from(3)).await.is_ok());
    drop(held);
}

#[tokio::test]
async fn who_asks_without_end_is_told_when_to_come_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path()).await;
    let mut nobody = Connection::open(&bench.target, None, None).await.expect("a connection");
    let mut found = Ok(());
    for _ in 0..1000 {
        found = nobody.hello().await.map(drop);
        if found.is_err() {
            break;
        }
    }
    assert!(matches!(refusal(found), Refusal::Busy { retry_after_ms } if retry_after_ms <= 1000));
}

#[tokio::test]
async fn what_is_no_tls_is_ended() {
    let dir = tempfile::tempdir().expect("a folder");
    let bench = Bench::open(dir.path()).await;
    let mut stream = TcpStream::connect(bench.target.at).await.expect("a connection");
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("written");
    let mut answer = Vec::new();
    let _ended = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}
