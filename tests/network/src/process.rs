//! Starting programs and ending them.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How long a program may take to end when it is asked to.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A program that ends with the thread that starts it, whatever ends that: no oracle and no chain is left behind.
pub(crate) fn tied(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(program);
    command
}

/// A port of loopback that is kept free for a program, which others must know the port of before it starts.
#[derive(Debug)]
pub(crate) struct HeldPort {
    /// Which.
    pub(crate) number: u16,
    /// Nobody else gets the port while this listens on it.
    holder: Option<TcpListener>,
}

impl HeldPort {
    /// Takes a port that is free.
    pub(crate) fn take() -> Result<Self> {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
        let number = holder.local_addr().context("no free port")?.port();
        Ok(Self { number, holder: Some(holder) })
    }

    /// Lets go of it: right before the program starts that listens there.
    pub(crate) fn let_go(&mut self) {
        self.holder = None;
    }
}

/// The first line that a program prints, waited for at most so long; empty where it ends without one.
pub(crate) fn first_line(from: impl Read + Send + 'static, limit: Duration) -> Result<String> {
    let (told, line) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(from).read_line(&mut line).map(|_| line);
        // Nobody may be waiting any more.
        let _ = told.send(read);
    });
    match line.recv_timeout(limit) {
        Ok(line) => line.context("cannot read what it prints"),
        Err(_) => bail!("it printed no line within {} s", limit.as_secs()),
    }
}

/// Runs a program to its end, at most so long, and gives what it printed. For programs with little output: what
/// exceeds a pipe's buffer would block them.
pub(crate) fn output(command: &mut Command, limit: Duration) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    if !waited(&mut child, limit) {
        let _ = child.kill();
        let _ = child.wait();
        bail!("{program} did not end within {} s", limit.as_secs());
    }
    let output = child.wait_with_output().with_context(|| format!("cannot run {program}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        bail!("{program}: {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr));
    }
    Ok(text(&output.stdout))
}

/// Asks a program to end, and ends it where it does not.
pub(crate) fn stop(mut child: Child) {
    if let Ok(None) = child.try_wait() {
        // It may end in this instant, which is as good.
        let _ = kill_process(Pid::from_child(&child), Signal::TERM);
        if !waited(&mut child, STOP_LIMIT) {
            let _ = child.kill();
        }
    }
    let _ = child.wait();
}

fn waited(child: &mut Child, limit: Duration) -> bool {
    let started = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if started.elapsed() > limit {
            return false;
        }
        thread::sleep(Duration::from_millis(50));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_prints_no_line_is_not_waited_for_for_ever() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let error = first_line(reader, Duration::from_millis(50)).expect_err("nothing is printed");
        assert!(error.to_string().contains("no line within"), "{error}");
        drop(writer);
        assert_eq!(first_line(std::io::empty(), STOP_LIMIT).expect("its end"), "");
        let lines = std::io::Cursor::new("ready https://127.0.0.1:1\nmore\n");
        assert_eq!(first_line(lines, STOP_LIMIT).expect("a line"), "ready https://127.0.0.1:1\n");
    }

    #[test]
    fn a_held_port_is_nobody_elses() {
        let port = HeldPort::take().expect("a port");
        TcpListener::bind((Ipv4Addr::LOCALHOST, port.number)).expect_err("it is held");
    }
}
