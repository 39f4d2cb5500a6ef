//! Starting programs and ending them.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
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

/// A port of loopback that nobody listens on now.
pub(crate) fn free_port() -> Result<u16> {
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(holder.local_addr().context("no free port")?.port())
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
