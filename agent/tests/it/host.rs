//! `icn-agent serve`.

use crate::process::Agent;
use crate::s3::Client;

const KEYS: (&str, &str) = ("AKIAEXAMPLE", "very:secret:key");

fn serve(dir: &tempfile::TempDir, more: &[&str]) -> Agent {
    let dir = dir.path().join("store").display().to_string();
    let user = format!("alice:{}:{}", KEYS.0, KEYS.1);
    let fixed = ["serve", "--dir", &dir, "--disks", "3", "--listen", "127.0.0.1:0"];
    let arguments = fixed.into_iter().chain(["--user", &user]).chain(more.iter().copied());
    Agent::start(&arguments.map(str::to_owned).collect::<Vec<_>>())
}

fn endpoint(agent: &mut Agent) -> String {
    let line = agent.line();
    line.strip_prefix("ready ").unwrap_or_else(|| panic!("{line:?}")).trim_end().to_owned()
}

#[test]
fn objects_outlive_the_server_and_it_ends_on_sigterm() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut agent = serve(&dir, &[]);
    let url = endpoint(&mut agent);
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    let client = Client::new(&url, KEYS, None);
    assert_eq!(client.create_bucket().expect("an answer"), 200);
    let body: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    assert_eq!(client.put("2026/a cat.bin", &body).expect("an answer"), 200);
    agent.signal("TERM");
    assert!(agent.ended().success());
    assert_eq!(agent.rest(), "", "nothing but the ready line on standard output");
    assert!(!agent.log().contains(KEYS.1), "no secret in the log");
    let state = std::fs::read(dir.path().join("store/disk-3/state/agent.json")).expect("state");
    let state: serde_json::Value = serde_json::from_slice(&state).expect("JSON");
    let key = state["state"]["pool_key"].as_str().expect("a key");
    assert_eq!(key.len(), 64);
    assert!(!agent.log().contains(key), "no key in the log");

    let mut agent = serve(&dir, &[]);
    let client = Client::new(&endpoint(&mut agent), KEYS, None);
    assert_eq!(client.get("2026/a cat.bin").expect("an answer"), (200, body));
    agent.signal("INT");
    assert!(agent.ended().success());
}

#[test]
fn another_secret_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut agent = serve(&dir, &[]);
    let stranger = Client::new(&endpoint(&mut agent), (KEYS.0, "another-secret"), None);
    assert_eq!(stranger.create_bucket().expect("an answer"), 403);
}

#[test]
fn https_has_the_same_certificate_from_run_to_run() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut agent = serve(&dir, &["--tls"]);
    let url = endpoint(&mut agent).replace("127.0.0.1", "localhost");
    assert!(url.starts_with("https://"), "{url}");
    let state = std::fs::read(dir.path().join("store/disk-2/state/agent.json")).expect("state");
    let state: serde_json::Value = serde_json::from_slice(&state).expect("JSON");
    let pem = state["state"]["certificate_pem"].as_str().expect("PEM").to_owned();
    let client = Client::new(&url, KEYS, Some(&pem));
    assert_eq!(client.create_bucket().expect("an answer"), 200);
    agent.signal("TERM");
    assert!(agent.ended().success());

    let mut agent = serve(&dir, &["--tls"]);
    let url = endpoint(&mut agent).replace("127.0.0.1", "localhost");
    assert_eq!(Client::new(&url, KEYS, Some(&pem)).put("key", b"x").expect("an answer"), 200);
}

#[test]
fn a_taken_port_is_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = holder.local_addr().expect("its address");
    let dir = dir.path().display().to_string();
    let arguments =
        ["serve", "--dir", &dir, "--listen", &address.to_string(), "--user", "a:AKIA:12345678"];
    let mut agent = Agent::start(&arguments.map(str::to_owned));
    assert!(!agent.ended().success());
    assert_eq!(agent.rest(), "");
    let wanted = format!("port {} is taken by another program", address.port());
    crate::process::eventually("the reason", || agent.log().contains(&wanted).then_some(()));
}

#[test]
fn a_wrong_user_is_told_without_quoting_its_secret() {
    let arguments = ["serve", "--dir", "/nonexistent/x", "--user", "alice:AKIA:sec"];
    let mut agent = Agent::start(&arguments.map(str::to_owned));
    assert!(!agent.ended().success());
    crate::process::eventually("the reason", || {
        agent.log().contains("the secret key must have 8 to 128").then_some(())
    });
}
