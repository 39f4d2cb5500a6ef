//! The end: what is left is killed, the disks are left clean, the machine goes off.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, WaitOptions};
use rustix::system::RebootCommand;

use crate::kmsg::{self, Level};
use crate::supervisor::Goal;
use crate::watchdog::Watchdogs;

/// How long processes that belong to no service may take to end before and after they are killed.
const LEFTOVERS: Duration = Duration::from_secs(1);

/// How long the data volumes may take, side by side, to be synced and unmounted. Longer than the 30 s
/// after which the kernel gives up a command would need the watchdog fed meanwhile, and who pulls the
/// plug instead does no less harm.
const UNMOUNT: Duration = Duration::from_secs(20);

/// Where data volumes are mounted.
const DATA: &str = "/data/";

/// Ends everything. The watchdog stays armed through kill, sync and unmount, as each of them may
/// hang on a broken disk; only a machine that is to stay off has it switched off at last.
pub(crate) fn finish(goal: Goal, watchdogs: &mut Watchdogs) -> ! {
    watchdogs.last_feed();
    end_all(Signal::TERM);
    end_all(Signal::KILL);
    // Nothing but the data volumes holds anything that lasts. A sync of everything would wait for a
    // disk that hangs, for ever.
    let left = unmount_data();
    for target in &left {
        let text = format!("{} does not answer and is left as it is", target.display());
        kmsg::write(Level::Error, &text);
    }
    if left.is_empty() {
        kmsg::write(Level::Info, "all services have stopped, all volumes are unmounted");
    }
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
        thread::sleep(Duration::from_secs(60));
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
            Ok(None) => thread::sleep(Duration::from_millis(10)),
            Err(_) => return,
        }
    }
}

/// Unmounts the data volumes, each on a thread of its own; those that are not done in time.
fn unmount_data() -> BTreeSet<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut waiting: BTreeSet<PathBuf> = data_mounts(&table).into_iter().collect();
    let (sender, done) = mpsc::channel();
    for target in waiting.clone() {
        let sender = sender.clone();
        let work = move || {
            unmount_volume(&target);
            // The receiver is gone once this has taken too long.
            let _ = sender.send(target);
        };
        if let Err(error) = thread::Builder::new().spawn(work) {
            kmsg::write(Level::Error, &format!("cannot start a thread: {error}"));
        }
    }
    drop(sender);
    let until = Instant::now() + UNMOUNT;
    while !waiting.is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        let Ok(target) = done.recv_timeout(left) else { break };
        waiting.remove(&target);
    }
    waiting
}

/// Unmounts a volume, which syncs it. One that is busy is synced and detached; its journal makes it
/// whole at the next start.
fn unmount_volume(target: &Path) {
    if let Err(error) = unmount(target, UnmountFlags::empty()) {
        let text = format!("cannot unmount {}: {error}; detaching it", target.display());
        kmsg::write(Level::Error, &text);
        if let Ok(volume) = fs::File::open(target) {
            let _ = rustix::fs::syncfs(&volume);
        }
        let _ = unmount(target, UnmountFlags::DETACH);
    }
}

/// Mount points below /data in proc_pid_mountinfo(5).
fn data_mounts(table: &str) -> Vec<PathBuf> {
    let targets = table.lines().filter_map(|line| line.split(' ').nth(4));
    let below = targets.filter(|target| target.starts_with(DATA));
    below.map(|target| Path::new(target).to_owned()).collect()
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
    fn data_volumes_are_unmounted_and_nothing_else_is() {
        let table = "22 1 7:0 / / ro - squashfs /dev/loop0 ro\n\
                     30 22 0:27 / /data rw - tmpfs tmpfs rw\n\
                     31 30 8:3 / /data/aaa rw,noatime - xfs /dev/sda3 rw\n\
                     32 30 8:19 / /data/bbb rw - xfs /dev/sdb3 rw\n\
                     33 22 0:28 / /database rw - tmpfs tmpfs rw\n\
                     short\n";
        assert_eq!(data_mounts(table), [Path::new("/data/aaa"), Path::new("/data/bbb")]);
    }
}
