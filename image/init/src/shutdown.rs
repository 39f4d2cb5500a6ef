//! The end: what is left is killed, the disks are left clean, the machine goes off.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, WaitOptions};
use rustix::system::RebootCommand;

use crate::kmsg::{self, Level};
use crate::supervisor::Goal;
use crate::watchdog::Watchdogs;

/// How long processes that belong to no service may take to end before and after they are killed.
const LEFTOVERS: Duration = Duration::from_secs(1);

/// Where data volumes are mounted.
const DATA: &str = "/data/";

/// Ends everything. The watchdog stays armed through kill, sync and unmount, as each of them may
/// hang on a broken disk; only a machine that is to stay off has it switched off at last.
pub(crate) fn finish(goal: Goal, watchdogs: &mut Watchdogs) -> ! {
    watchdogs.last_feed();
    end_all(Signal::TERM);
    end_all(Signal::KILL);
    rustix::fs::sync();
    unmount_data();
    rustix::fs::sync();
    kmsg::write(Level::Info, "all services have stopped, all volumes are unmounted");
    if goal == Goal::PowerOff {
        watchdogs.disarm();
    }
    halt(goal)
}

/// The last call of all.
pub(crate) fn halt(goal: Goal) -> ! {
    let command = match goal {
        Goal::PowerOff => RebootCommand::PowerOff,
        Goal::Reboot => RebootCommand::Restart,
    };
    loop {
        if let Err(error) = rustix::system::reboot(command) {
            kmsg::write(Level::Emergency, &format!("the machine does not go off: {error}"));
        }
        std::thread::sleep(Duration::from_secs(60));
    }
}

/// Signals every process but this and waits for them, for a bounded time.
fn end_all(signal: Signal) {
    let everyone = nix::unistd::Pid::from_raw(-1);
    let signal = nix::sys::signal::Signal::try_from(signal.as_raw()).ok();
    let _ = nix::sys::signal::kill(everyone, signal);
    let start = Instant::now();
    while start.elapsed() < LEFTOVERS {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            Err(_) => return,
        }
    }
}

/// Unmounts the data volumes, the newest mount first. One that is busy is detached: its data is
/// synced, and its journal makes it whole at the next start.
fn unmount_data() {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for target in data_mounts(&table) {
        if let Err(error) = unmount(&target, UnmountFlags::empty()) {
            let text = format!("cannot unmount {}: {error}; detaching it", target.display());
            kmsg::write(Level::Error, &text);
            let _ = unmount(&target, UnmountFlags::DETACH);
        }
    }
}

/// Mount points below /data in proc_pid_mountinfo(5), the newest first.
fn data_mounts(table: &str) -> Vec<PathBuf> {
    let targets = table.lines().filter_map(|line| line.split(' ').nth(4));
    let below = targets.filter(|target| target.starts_with(DATA));
    let mut targets: Vec<PathBuf> = below.map(|target| Path::new(target).to_owned()).collect();
    targets.reverse();
    targets
}

/// What a process's end was, in words.
pub(crate) fn describe(status: rustix::process::WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (_, Some(number)) => {
            let name = nix::sys::signal::Signal::try_from(number);
            let name = name.map_or_else(|_| String::new(), |name| format!(" ({name})"));
            format!("killed by signal {number}{name}")
        }
        _ => "ended in an unknown way".to_owned(),
    }
}

/// Kills the process group of a process.
pub(crate) fn signal_group(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // The process may just have ended.
        let _ = rustix::process::kill_process_group(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_volumes_are_unmounted_in_reverse_and_nothing_else_is() {
        let table = "22 1 7:0 / / ro - squashfs /dev/loop0 ro\n\
                     30 22 0:27 / /data rw - tmpfs tmpfs rw\n\
                     31 30 8:3 / /data/aaa rw,noatime - xfs /dev/sda3 rw\n\
                     32 30 8:19 / /data/bbb rw - xfs /dev/sdb3 rw\n\
                     33 22 0:28 / /database rw - tmpfs tmpfs rw\n\
                     short\n";
        assert_eq!(data_mounts(table), [Path::new("/data/bbb"), Path::new("/data/aaa")]);
    }
}
