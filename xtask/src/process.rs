//! Running other programs so that a failure says which, how and why.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Where Debian keeps programs that an ordinary user's `PATH` leaves out, such as mkfs.vfat.
const SYSTEM_DIRECTORIES: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// As [`output`], but the command is ended after `limit`. For commands with little output: what
/// exceeds a pipe's buffer would block them.
///
/// # Errors
///
/// Those of [`output`], and when it takes too long.
pub(crate) fn output_within(command: &mut Command, limit: Duration) -> Result<String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| cannot_start(command))?;
    if !wait_within(&mut child, limit) {
        bail!("`{}` did not end within {} s", line(command), limit.as_secs());
    }
    let output = child.wait_with_output().with_context(|| cannot_start(command))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        bail!(
            "`{}` failed: {}\n{}{}",
            line(command),
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        );
    }
    Ok(text(&output.stdout))
}

/// Waits for a process at most so long, then ends it; whether it ended by itself.
pub(crate) fn wait_within(child: &mut Child, limit: Duration) -> bool {
    let started = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if started.elapsed() > limit {
            // It may have ended in this instant, which is as good.
            let _ = child.kill();
            let _ = child.wait();
            return false;
        }
        thread::sleep(Duration::from_millis(50));
    }
    true
}

/// A command that also finds system programs, speaks English and has one clock for all: output and
/// files do not depend on who runs it.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", path_with_system_programs()).env("LC_ALL", "C").env("TZ", "UTC");
    command
}

/// Runs a command with its output shown to the user.
///
/// # Errors
///
/// When it cannot be started or does not exit with 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("`{}` failed: {status}", line(command));
    }
    Ok(())
}

/// Runs a command silently and returns its standard output; standard error is shown only in the
/// error.
///
/// # Errors
///
/// When it cannot be started, does not exit with 0, or prints something other than UTF-8.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| cannot_start(command))?;
    if !output.status.success() {
        bail!(
            "`{}` failed: {}\n{}{}",
            line(command),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` printed something other than UTF-8", line(command)))
}

/// As [`output`], but standard error is shown to the user: for programs that say how far they are.
///
/// # Errors
///
/// Those of [`output`].
pub(crate) fn output_with_progress(command: &mut Command) -> Result<String> {
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().with_context(|| cannot_start(command))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", line(command), output.status);
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` printed something other than UTF-8", line(command)))
}

/// Where a program is, if anywhere.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&path_with_system_programs())
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

/// The `PATH` of this process with the directories of system programs added.
fn path_with_system_programs() -> OsString {
    let own = env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = env::split_paths(&own).collect();
    for dir in SYSTEM_DIRECTORIES {
        if !dirs.iter().any(|d| d == Path::new(dir)) {
            dirs.push(PathBuf::from(dir));
        }
    }
    env::join_paths(dirs).unwrap_or(own)
}

/// The command as a person would type it, for messages; long ones are cut.
fn line(command: &Command) -> String {
    /// Characters of a command line that a message shows.
    const SHOWN: usize = 400;
    let mut text = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    if text.chars().count() > SHOWN {
        text = text.chars().take(SHOWN).chain("…".chars()).collect();
    }
    text
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`", line(command))
}
