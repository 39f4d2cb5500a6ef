//! Runs a program of the image with a time limit and a limit on what it may print.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Where programs are looked for; nothing is taken over from our own environment.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The most that is read of what a program prints, in bytes. The longest answer of smartctl is
/// about 100 KiB.
const MAX_OUTPUT: u64 = 1 << 20;

/// How long a killed program has to end. One that waits for a dead disk in the kernel does not end
/// at all, and is left behind.
const KILL_GRACE: Duration = Duration::from_secs(1);

/// Held from before a program's process is made until its program runs: until then the new process
/// has a copy of every descriptor of ours, those included that hold a device for us alone.
static STARTING: Mutex<()> = Mutex::new(());

/// What a program that ended said.
#[derive(Debug)]
pub struct Output {
    /// Its exit status.
    pub status: i32,
    /// What it printed.
    pub stdout: String,
    /// The first line of its complaints; may be empty.
    pub complaint: String,
    /// All of its complaints.
    pub complaints: String,
}

/// Why a program gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It could not be started.
    #[error("cannot start {program}")]
    Start {
        /// Which.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It could not be waited for.
    #[error("cannot wait for {program}")]
    Wait {
        /// Which.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It took too long and was killed.
    #[error("{program} gave no answer within {seconds} s")]
    TimedOut {
        /// Which.
        program: String,
        /// The limit.
        seconds: u64,
    },
    /// A signal ended it.
    #[error("{program} was ended by a signal")]
    Killed {
        /// Which.
        program: String,
    },
}

/// Runs `program` until it ends, at most for `limit`.
///
/// # Errors
/// It cannot be started, takes too long, or is ended by a signal. An exit status other than 0 is
/// not an error here.
pub fn run(program: &str, arguments: &[&str], limit: Duration) -> Result<Output, ProgramError> {
    run_holding((), program, arguments, limit)
}

/// Runs `program` as [`run`] does, and drops `held` when it has really ended: a program that waits for
/// a dead disk outlives its time limit.
///
/// # Errors
/// As [`run`].
pub fn run_holding(
    held: impl Send + 'static,
    program: &str,
    arguments: &[&str],
    limit: Duration,
) -> Result<Output, ProgramError> {
    let name = || program.to_owned();
    let wait_error = |source| ProgramError::Wait { program: name(), source };
    let mut child = start(program, arguments)
        .map_err(|source| ProgramError::Start { program: name(), source })?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    if !ended_within(&child, limit).map_err(wait_error)? {
        end(child, held);
        return Err(ProgramError::TimedOut { program: name(), seconds: limit.as_secs() });
    }
    let status = child.wait().map_err(wait_error)?;
    let status = status.code().ok_or_else(|| ProgramError::Killed { program: name() })?;
    let text = |from: mpsc::Receiver<String>| from.recv_timeout(KILL_GRACE).unwrap_or_default();
    let complaints = text(stderr);
    let complaint = complaints.lines().next().unwrap_or_default().to_owned();
    Ok(Output { status, stdout: text(stdout), complaint, complaints })
}

/// Starts a program; by its full path, which spares a copy of our memory.
fn start(program: &str, arguments: &[&str]) -> std::io::Result<Child> {
    let paths = FOLDERS.iter().map(|folder| Path::new(folder).join(program));
    let path = paths.into_iter().find(|path| path.exists());
    let mut command = Command::new(path.unwrap_or_else(|| PathBuf::from(program)));
    command.args(arguments).env_clear().env("PATH", FOLDERS.join(":")).env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    between_starts(|| command.spawn())
}

/// Does something while no program is being started. Where a device was held for us alone and is to
/// be held by another now, the descriptor must be closed here: a copy in a process that is just
/// being made would hold the device a moment longer.
pub fn between_starts<T>(work: impl FnOnce() -> T) -> T {
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    work()
}

/// Reads a pipe to its end on a thread of its own, so that a full pipe never blocks the program.
fn collect(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // A read error ends the text early; its parser then says what is missing.
            let _ = pipe.by_ref().take(MAX_OUTPUT).read_to_end(&mut bytes);
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        }
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

fn ended_within(child: &Child, limit: Duration) -> std::io::Result<bool> {
    let handle = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let mut fds = [PollFd::new(&handle, PollFlags::IN)];
    let limit = Timespec::try_from(limit).map_err(std::io::Error::other)?;
    Ok(poll(&mut fds, Some(&limit))? > 0)
}

/// Kills a program; where it does not end, a thread waits for it so that it leaves no zombie, and
/// holds what it held.
fn end(mut child: Child, held: impl Send + 'static) {
    if let Ok(handle) = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
        // It may have ended meanwhile; then there is nothing to signal.
        let _ = pidfd_send_signal(&handle, Signal::KILL);
    }
    if ended_within(&child, KILL_GRACE).unwrap_or(false) {
        let _ = child.wait();
    } else {
        thread::spawn(move || {
            let _ = child.wait();
            drop(held);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_ends_gives_its_status_and_text() {
        let output = run("sh", &["-c", "echo hello; echo oh >&2; exit 3"], Duration::from_secs(10));
        let output = output.unwrap();
        assert_eq!((output.status, output.stdout.as_str()), (3, "hello\n"));
        assert_eq!(output.complaint, "oh");
    }

    #[test]
    fn a_program_that_hangs_is_killed_in_time() {
        let before = std::time::Instant::now();
        let result = run("sleep", &["60"], Duration::from_millis(100));
        assert!(matches!(result, Err(ProgramError::TimedOut { .. })), "{result:?}");
        assert!(before.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_program_that_prints_without_end_is_cut_off() {
        let output = run("head", &["-c", "3000000", "/dev/zero"], Duration::from_secs(10)).unwrap();
        assert_eq!(output.stdout.len(), 1 << 20);
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run("no-such-program", &[], Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.to_string(), "cannot start no-such-program");
    }
}
