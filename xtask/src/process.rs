//! Running other programs so that a failure says which, how and why.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Where Debian keeps programs that an ordinary user's `PATH` leaves out, such as mkfs.vfat.
const SYSTEM_DIRECTORIES: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

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
