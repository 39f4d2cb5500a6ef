use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};

use super::*;

const TIMEOUT: Duration = Duration::from_secs(5);

struct Server {
    dir: tempfile::TempDir,
    thread: JoinHandle<Vec<String>>,
}

/// Answers one connection per element of `answers`, one line each, and gives back what it was
/// asked. An empty answer closes the connection.
fn server(answers: &[&'static str]) -> Server {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let listener = UnixListener::bind(dir.path().join("s")).expect("a socket");
    let answers = answers.to_vec();
    let thread = thread::spawn(move || {
        let answer_one = |answer: &str| {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).expect("a request");
            stream.write_all(answer.as_bytes()).expect("an answer is sent");
            line
        };
        answers.into_iter().map(answer_one).collect()
    });
    Server { dir, thread }
}

impl Server {
    fn agent(&self) -> AgentClient {
        AgentClient::new(&self.dir.path().join("s"), TIMEOUT)
    }
}

#[test]
fn the_agent_is_asked_for_the_log_in_version_one() {
    let server = server(&["{\"v\":1,\"reply\":\"log_tail\",\"lines\":[\"a\"]}\n"]);
    assert_eq!(server.agent().log_tail(3).expect("an answer"), ["a"]);
    let asked = server.thread.join().expect("the server ends");
    assert_eq!(asked, ["{\"v\":1,\"request\":\"log_tail\",\"lines\":3}\n"]);
}

#[test]
fn a_status_is_read_alike_whether_it_begins_as_usual_or_not() {
    let status = NodeStatus { name: "a".to_owned(), set_up: true, ..NodeStatus::default() };
    let reply = Versioned::current(Reply::Status(Box::new(status.clone())));
    let usual = serde_json::to_string(&reply).expect("JSON") + "\n";
    assert!(usual.as_bytes().starts_with(STATUS_BEGINS), "{usual}");
    let other = usual.replacen("{\"v\":1,", "{\"later\":0,\"v\":1,", 1);
    let server = server(&[&*usual.leak(), &*other.leak()]);
    for _ in 0..2 {
        assert_eq!(server.agent().status().expect("an answer"), status);
    }
    server.thread.join().expect("the server ends");
}

#[test]
fn what_is_no_status_is_not_taken_for_one() {
    let server = server(&[
        "{\"v\":1,\"reply\":\"refused\",\"reason\":\"not now\"}\n",
        "{\"v\":2,\"reply\":\"accepted\"}\n",
        "{\"v\":1,\"reply\":\"status\",\"name\":\"a\"}\n",
    ]);
    let answer = || server.agent().status().expect_err("no status").to_string();
    assert_eq!(answer(), "refused: not now");
    assert!(answer().contains("version 2"));
    assert!(answer().contains("missing field"));
}

#[test]
fn a_refusal_carries_the_reason() {
    let server = server(&["{\"v\":1,\"reply\":\"refused\",\"reason\":\"no such user\"}\n"]);
    let error = server.agent().first_user_secret().expect_err("a refusal");
    assert_eq!(error.to_string(), "refused: no such user");
}

#[test]
fn an_answer_of_another_version_is_not_believed() {
    let server = server(&["{\"v\":2,\"reply\":\"accepted\"}\n"]);
    let error = server.agent().reboot().expect_err("another version");
    assert!(matches!(error, RequestError::Misunderstood { .. }), "{error}");
}

#[test]
fn a_closed_connection_is_opened_again_by_the_next_request() {
    let server = server(&["", "{\"v\":1,\"reply\":\"log_tail\",\"lines\":[]}\n"]);
    let mut client = server.agent();
    assert!(matches!(client.log_tail(1), Err(RequestError::Lost { .. })));
    assert!(client.log_tail(1).expect("an answer").is_empty());
}

#[test]
fn a_silent_service_is_given_up_in_time() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("s");
    let _listener = UnixListener::bind(&path).expect("a socket");
    let mut client = InitClient::new(&path, Duration::from_millis(50));
    assert!(matches!(client.status(), Err(RequestError::TimedOut { timeout_ms: 50, .. })));
}

#[test]
fn a_full_queue_of_connections_does_not_hang_the_client() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("s");
    let _listener = UnixListener::bind(&path).expect("a socket");
    let timeout = Duration::from_millis(20);
    let mut waiting = Vec::new();
    // More than any backlog that std or the kernel grants (net.core.somaxconn is 4096).
    for _ in 0..5000 {
        match connect_within(&path, timeout) {
            Ok(stream) => waiting.push(stream),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                return;
            }
        }
    }
    panic!("the queue never filled up");
}

#[test]
fn a_missing_socket_is_named() {
    let mut client = AgentClient::new(Path::new("/nonexistent/s"), TIMEOUT);
    let error = client.status().expect_err("no such socket").to_string();
    assert!(error.starts_with("cannot connect to /nonexistent/s: "), "{error}");
}
