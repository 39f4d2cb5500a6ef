//! The program itself: started, spoken with, ended.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_sla::protocol::messages::Refusal;
use agent_sla::protocol::parameters::Parameters;
use agent_sla::protocol::{Address, B256};
use reference_oracle::client::{Party, Target, healthy};

use crate::bench::{key, party, refusal};

/// How long an oracle may take to be ready, on a machine that is busy.
const START: Duration = Duration::from_secs(120);

/// One that runs; it is ended where a test is.
struct Running(Child);

struct Program {
    running: Running,
    _output: BufReader<ChildStdout>,
    target: Target,
    page: SocketAddr,
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_reference-oracle"))
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("it fits")
}

/// The value behind `name=` in a line.
fn value<'a>(line: &'a str, name: &str) -> &'a str {
    let found = line.split_whitespace().find_map(|word| word.strip_prefix(name));
    found.unwrap_or_else(|| panic!("no {name} in {line}"))
}

/// The first line that a program prints, and where more comes from.
fn first_line(output: ChildStdout) -> (BufReader<ChildStdout>, String) {
    let (told, line) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let (mut output, mut line) = (BufReader::new(output), String::new());
        let read = output.read_line(&mut line);
        let _ = told.send(read.map(|_| (output, line)));
    });
    let read = line.recv_timeout(START).expect("the oracle prints a line within two minutes");
    read.expect("its output is text")
}

fn start(folder: &Path, more: &[&str]) -> Program {
    let data = folder.join("data");
    let made = program().arg("key").arg("--data").arg(&data).output().expect("it runs");
    let text = String::from_utf8(made.stdout).expect("text");
    let oracle: Address = value(&text, "address=").parse().expect("an address");
    let parameters = Parameters {
        chain: 1,
        contract: Address::ZERO,
        genesis: now() / 1000 - 1000,
        era_seconds: 3600,
        samples: 4,
        oracles: [oracle].into(),
    };
    let (file, admit) = (folder.join("parameters.json"), folder.join("admit"));
    std::fs::write(&file, serde_json::to_string(&parameters).expect("JSON")).expect("written");
    std::fs::write(&admit, key(1).address().to_string()).expect("written");
    let child = program()
        .args(["serve", "--listen", "127.0.0.1:0", "--page", "127.0.0.1:0"])
        .arg("--data")
        .arg(&data)
        .arg("--parameters")
        .arg(&file)
        .arg("--admit")
        .arg(&admit)
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut running = Running(child);
    let (output, line) = first_line(running.0.stdout.take().expect("its output"));
    assert!(line.starts_with("ready https://127.0.0.1:"), "{line}");
    assert_eq!(value(&line, "address="), oracle.to_string());
    let target = Target {
        at: value(&line, "https://").parse().expect("an address"),
        certificate: value(&line, "certificate=sha256:").parse::<B256>().expect("a fingerprint"),
        oracle,
        parameters,
    };
    let page = value(&line, "page=http://").trim_end_matches('/').parse().expect("an address");
    Program { running, _output: output, target, page }
}

impl Program {
    fn page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.page).expect("a connection");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    fn end(mut self) {
        let id = rustix::process::Pid::from_child(&self.running.0);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("sent");
        let status = self.running.0.wait().expect("it ended");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already cannot be killed.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_started_shows_its_page_and_ends_when_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let running = start(dir.path(), &[]);
    let (target, one) = (running.target.clone(), party(1));
    let mut connection = one.connect(&target, None).await.expect("a connection");
    assert_eq!(connection.hello().await.expect("parameters").parameters, target.parameters);
    let asked = one.session(&target, now(), None).expect("signed");
    assert_eq!(connection.session(&asked).await.expect("a session").delivered, None);
    let mut facts = healthy(None);
    facts.state = "<script>alert(1)</script>".to_owned();
    let report = one.report(&target.parameters, 5, now(), &facts, None).expect("signed");
    assert_eq!(connection.reports(vec![report]).await.expect("taken").delivered, 5);
    let overview = running.page("/");
    assert!(overview.contains("&lt;script&gt;") && !overview.contains("<script"), "{overview}");
    assert!(overview.contains("self-reported"));
    let node = running.page(&format!("/node/{}", one.key.address()));
    assert!(node.contains(&one.node.to_string()) && node.contains("simulated"), "{node}");
    assert!(running.page("/votes?era=0").ends_with("[]"));
    assert!(running.page("/node/0x00").starts_with("HTTP/1.1 404"));
    running.end();
    let again = start(dir.path(), &[]);
    assert_eq!(again.target.certificate, target.certificate);
    let one = party(1);
    let mut connection = one.connect(&again.target, None).await.expect("a connection");
    let asked = one.session(&again.target, now(), None).expect("signed");
    // The parameters were made anew; what is known of the node was not.
    assert_eq!(connection.session(&asked).await.expect("a session").delivered, Some(5));
    again.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn its_clock_can_be_put_wrong() {
    let dir = tempfile::tempdir().expect("a folder");
    let running = start(dir.path(), &["--clock-offset", "-600"]);
    let one: Party = party(1);
    let mut connection = one.connect(&running.target, None).await.expect("a connection");
    let asked = one.session(&running.target, now(), None).expect("signed");
    let found = refusal(connection.session(&asked).await);
    let Refusal::Skew { skew_ms } = found else { panic!("{found:?}") };
    assert!((590_000..610_000).contains(&skew_ms), "{skew_ms}");
    running.end();
}

#[test]
fn parameters_of_other_oracles_are_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let parameters = Parameters {
        chain: 1,
        contract: Address::ZERO,
        genesis: 0,
        era_seconds: 60,
        samples: 4,
        oracles: [Address::ZERO].into(),
    };
    let (file, admit) = (dir.path().join("parameters.json"), dir.path().join("admit"));
    std::fs::write(&file, serde_json::to_string(&parameters).expect("JSON")).expect("written");
    std::fs::write(&admit, "").expect("written");
    let ended = program()
        .args(["serve", "--listen", "127.0.0.1:0"])
        .arg("--data")
        .arg(dir.path().join("data"))
        .arg("--parameters")
        .arg(&file)
        .arg("--admit")
        .arg(&admit)
        .output()
        .expect("it runs");
    assert!(!ended.status.success());
    let why = String::from_utf8_lossy(&ended.stderr);
    assert!(why.contains("oracles"), "{why}");
}
