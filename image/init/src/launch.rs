//! From a fresh process to a service: `init launch SPEC` becomes the service's process step by
//! step and then the program itself.
//!
//! All of it runs in a process of its own with one thread, so that nothing has to be done between
//! fork and exec of PID 1, and a step that fails is told on the service's own log.

use std::convert::Infallible;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Gid, Resource, Rlimit, Uid};
use rustix::termios::{ControlModes, OptionalActions};
use serde::{Deserialize, Serialize};

/// The word on the command line that selects this module.
pub(crate) const COMMAND: &str = "launch";

/// Where control groups are mounted; one group for each service below it.
pub(crate) const GROUPS: &str = "/sys/fs/cgroup";

/// Speed of serial lines, in bit/s.
const SERIAL_SPEED: u32 = 115_200;

/// How a service's process is made. Passed from init to itself as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub name: String,
    pub program: String,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub user: u32,
    pub group: u32,
    /// Further groups; none of init's is kept.
    pub groups: Vec<u32>,
    /// The terminal that becomes input, output and error output, and that it may control.
    pub terminal: Option<String>,
    /// Most open files.
    pub open_files: u64,
    /// `oom_score_adj` of proc(5).
    pub out_of_memory: i32,
}

/// Why a service's process could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error("the specification cannot be read")]
    Specification { source: serde_json::Error },
    #[error("cannot open the terminal {path}")]
    Terminal { path: String, source: io::Error },
    #[error("cannot {what}")]
    Prepare { what: &'static str, source: io::Error },
    #[error("cannot start {program}")]
    Exec { program: String, source: io::Error },
}

/// Becomes the service; comes back only with an error.
///
/// # Errors
///
/// When a step fails; nothing of the program has run then.
pub(crate) fn run(specification: &str) -> Result<Infallible, LaunchError> {
    let launch: Launch = serde_json::from_str(specification)
        .map_err(|source| LaunchError::Specification { source })?;
    let step = |what| move |source: io::Error| LaunchError::Prepare { what, source };

    // A kernel without control groups is no reason not to run.
    let _ = join_group(Path::new(GROUPS), &launch.name);
    rustix::process::setsid().map_err(|e| step("begin a session")(e.into()))?;
    let mut command = Command::new(&launch.program);
    command.args(&launch.arguments).env_clear().envs(launch.environment.iter().cloned());
    if let Some(line) = &launch.terminal {
        let path = format!("/dev/{line}");
        let failed = |source| LaunchError::Terminal { path: path.clone(), source };
        let terminal = open_terminal(Path::new(&path), &launch).map_err(failed)?;
        let copy = || terminal.try_clone().map(Stdio::from);
        command.stdin(copy().map_err(failed)?);
        command.stdout(copy().map_err(failed)?);
        command.stderr(copy().map_err(failed)?);
    }
    fs::write("/proc/self/oom_score_adj", launch.out_of_memory.to_string())
        .map_err(step("set the rank for lack of memory"))?;
    limit(Resource::Nofile, launch.open_files).map_err(step("limit open files"))?;
    limit(Resource::Core, 0).map_err(step("switch core files off"))?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    drop_privileges(&launch).map_err(step("give up privileges"))?;
    let source = command.exec();
    Err(LaunchError::Exec { program: launch.program, source })
}

/// Puts this process into the service's control group, so that all it makes can be found.
fn join_group(groups: &Path, name: &str) -> io::Result<()> {
    let group = groups.join(name);
    match fs::create_dir(&group) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => (),
    }
    fs::write(group.join("cgroup.procs"), "0")
}

/// Opens a terminal for a service of one user, who owns it from then on.
fn open_terminal(path: &Path, launch: &Launch) -> io::Result<OwnedFd> {
    // Without NONBLOCK, a serial line without carrier would block here.
    let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
    let bits = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let terminal = OpenOptions::new().read(true).write(true).custom_flags(bits).open(path)?;
    let is_serial = !launch.terminal.as_ref().is_some_and(|line| is_virtual(line));
    if is_serial {
        let mut modes = rustix::termios::tcgetattr(&terminal)?;
        modes.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD | ControlModes::CS8;
        modes.control_modes -= ControlModes::PARENB | ControlModes::CSTOPB;
        modes.set_speed(SERIAL_SPEED)?;
        rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &modes)?;
    }
    let status = rustix::fs::fcntl_getfl(&terminal)?;
    rustix::fs::fcntl_setfl(&terminal, status - OFlags::NONBLOCK)?;
    rustix::process::ioctl_tiocsctty(&terminal)?;
    fchown(&terminal, Some(launch.user), Some(launch.group))?;
    terminal.set_permissions(Permissions::from_mode(0o600))?;
    Ok(File::into(terminal))
}

/// Whether a terminal is one of the screen: `tty` and a number.
fn is_virtual(line: &str) -> bool {
    line.strip_prefix("tty").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let limit = Rlimit { current: Some(most), maximum: Some(most) };
    Ok(rustix::process::setrlimit(resource, limit)?)
}

/// Takes on the service's user and groups; a program with the set-user bit gives nothing back.
fn drop_privileges(launch: &Launch) -> io::Result<()> {
    let groups: Vec<Gid> = launch.groups.iter().map(|&group| Gid::from_raw(group)).collect();
    let (user, group) = (Uid::from_raw(launch.user), Gid::from_raw(launch.group));
    rustix::thread::set_no_new_privs(true)?;
    rustix::thread::set_thread_groups(&groups)?;
    rustix::thread::set_thread_res_gid(group, group, group)?;
    rustix::thread::set_thread_res_uid(user, user, user)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specification_survives_the_way_to_the_new_process() {
        for service in crate::services::rest(&provisioning_config::Config::default()) {
            let text = serde_json::to_string(&service.launch).expect("JSON");
            let back: Launch = serde_json::from_str(&text).expect("JSON");
            assert_eq!(back, service.launch);
        }
    }

    #[test]
    fn a_broken_specification_is_an_error() {
        assert!(matches!(run("{}"), Err(LaunchError::Specification { .. })));
    }

    #[test]
    fn serial_lines_are_told_from_the_screen() {
        for (line, is) in [("tty1", true), ("tty63", true), ("ttyS0", false), ("hvc0", false)] {
            assert_eq!(is_virtual(line), is, "{line}");
        }
    }

    #[test]
    fn a_group_is_made_where_it_is_missing() {
        let groups = tempfile::TempDir::new().expect("temporary folder");
        for _ in 0..2 {
            join_group(groups.path(), "icn-agent").expect("joined");
        }
        let joined = fs::read_to_string(groups.path().join("icn-agent/cgroup.procs"));
        assert_eq!(joined.expect("file"), "0");
    }
}
