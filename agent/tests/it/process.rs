//! A running agent.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for a machine that builds something else meanwhile, and for the minute that the store
/// waits for a disk that is missing at the start.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

/// A running agent; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    out: Option<BufReader<ChildStdout>>,
    log: Arc<Mutex<String>>,
}

impl Agent {
    pub(crate) fn start(arguments: &[String]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_icn-agent"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the agent starts");
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, kept) = (child.stderr.take().expect("piped"), Arc::clone(&log));
        thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                let mut kept = kept.lock().expect("nobody panics with it");
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        let out = child.stdout.take().map(BufReader::new);
        Self { child, out, log }
    }

    /// The next line of standard output; empty at its end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        let out = self.out.as_mut().expect("piped");
        out.read_line(&mut line).expect("standard output is UTF-8");
        line
    }

    /// Everything else on standard output, until its end.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = String::new();
        let out = self.out.as_mut().expect("piped");
        out.read_to_string(&mut rest).expect("standard output is UTF-8");
        rest
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("nobody panics with it").clone()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// How the agent ended, which it must do soon.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        eventually("the end of the agent", || self.child.try_wait().expect("a child"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log of the agent\n{}---", self.log());
        }
    }
}

/// Waits until `found` gives something.
pub(crate) fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < until, "{what} did not come within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(50));
    }
}
