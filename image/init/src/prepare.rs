//! Devices and configuration: everything of the start that may have to wait for hardware.
//!
//! This runs in a process of its own (`init prepare`), so that PID 1 goes on feeding the watchdog
//! and hearing the power button while a broken stick holds a mount. What it prints goes to the
//! log; problems for people go to [`PROBLEMS`].

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use provisioning_config::{PATH, SEED_DIR};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::cmdline::CommandLine;
use crate::coldplug;
use crate::seed::{self, Decision, Files, Partition, Sight};

/// The word on the command line that selects this module.
pub(crate) const COMMAND: &str = "prepare";

/// Problems for people, one on each line.
pub(crate) const PROBLEMS: &str = "/run/icn/init/problems";

/// How long PID 1 lets all of this take, more than the sum of the waits below.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// How long udevd may take to listen.
const UDEV_START: Duration = Duration::from_secs(10);
/// How long the devices that are there may take, in seconds.
const SETTLE: &str = "20";
/// How long the disk that the node was started from is waited for: a machine that is slow to show
/// its disks takes seconds.
const WAIT_FOR_BOOT_DISK: Duration = Duration::from_secs(30);
/// How long a USB storage device that is there may take to show its disk: the driver alone waits
/// one second.
const WAIT_FOR_STORAGE: Duration = Duration::from_secs(15);
/// How long USB may take to show a device at all, where nothing says that there is one.
const WAIT_FOR_USB: Duration = Duration::from_secs(1);
/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(crate) const MODPROBE: &str = "/usr/sbin/modprobe";

/// Arguments that load what a stick needs; the other drivers of USB controllers have older sticks
/// and come by themselves.
const USB_MODULES: [&str; 5] = ["-a", "-q", "xhci_pci", "usb_storage", "sd_mod"];

const SYSFS: &str = "/sys";
const UDEV: &str = "/run/udev";
const NETLINK_SOCKETS: &str = "/proc/net/netlink";
const MOUNT_POINT: &str = "/run/icn/init/seed";

/// Does it all. What fails is told; the rest is done all the same.
pub(crate) fn run() {
    // A group of its own, so that PID 1 can end it with all it has started.
    let _ = rustix::process::setsid();
    let command_line = CommandLine::read();
    let mut problems = Vec::new();
    step("finding devices", find_devices);
    let decision = step("looking for ICN-SEED", || {
        if command_line.look_for_seed { look_for_seed(&mut problems) } else { Decision::None }
    });
    let files = match decision {
        Decision::None => Files::new(),
        Decision::Use(files) => files,
        Decision::Refuse { problem } => {
            let files = seed::safe_config(&problem);
            problems.push(problem);
            files
        }
    };
    if let Err(error) = seed::write(Path::new(SEED_DIR), &files) {
        problems.push(format!("cannot write the configuration to {SEED_DIR}: {error}"));
    }
    for problem in &problems {
        say(problem);
    }
    let text: String = problems.iter().flat_map(|problem| [problem.as_str(), "\n"]).collect();
    if let Err(error) = fs::write(PROBLEMS, text) {
        say(&format!("cannot write {PROBLEMS}: {error}"));
    }
}

/// Called by PID 1 where [`run`] did not come to its end: no disk is claimed unless the
/// configuration is there already. Gives the problem to show.
pub(crate) fn give_up(why: &str) -> String {
    let problem = format!(
        "the search for devices and configuration did not come to its end ({why}): remove devices \
         that do not answer and restart; without a configuration no disk is claimed"
    );
    if !Path::new(PATH).exists() {
        let _ = seed::write(Path::new(SEED_DIR), &seed::safe_config(&problem));
    }
    problem
}

/// Runs one step and prints how long it took.
pub(crate) fn step<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    say(&format!("{name} took {} ms", start.elapsed().as_millis()));
    result
}

fn say(text: &str) {
    // Without a reader there is nothing left to tell.
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Runs a program and tells where it failed.
pub(crate) fn run_program(program: &str, arguments: &[&str]) {
    match Command::new(program).args(arguments).stdin(Stdio::null()).status() {
        Ok(status) if status.success() => {}
        Ok(status) => say(&format!("{program} {}: {status}", arguments.join(" "))),
        Err(error) => say(&format!("cannot start {program}: {error}")),
    }
}

/// Starts a program and does not wait for it; one that does not start is told.
fn start_program(program: &str, arguments: &[&str]) -> Option<Child> {
    let child = Command::new(program).args(arguments).stdin(Stdio::null()).spawn();
    child.map_err(|error| say(&format!("cannot start {program}: {error}"))).ok()
}

/// Has udev go over the devices, which loads their modules and names them.
fn find_devices() {
    // A stick shows itself more than a second after its driver is there, which is the longest wait
    // of all on most machines. It begins before udevd is ready to load the driver.
    let usb = coldplug::has_usb(Path::new(SYSFS)).then(|| start_program(MODPROBE, &USB_MODULES));
    let start = Instant::now();
    while !coldplug::is_heard(&fs::read_to_string(NETLINK_SOCKETS).unwrap_or_default()) {
        if start.elapsed() > UDEV_START {
            say("udevd does not start");
            return;
        }
        sleep(Duration::from_millis(5));
    }
    let count = coldplug::trigger(Path::new(SYSFS));
    say(&format!("udev sees to {count} devices"));
    run_program("/usr/bin/udevadm", &["settle", &format!("--timeout={SETTLE}")]);
    if let Some(Some(mut modprobe)) = usb {
        let _ = modprobe.wait();
    }
}

fn look_for_seed(problems: &mut Vec<String>) -> Decision {
    let start = Instant::now();
    let sight = loop {
        let sight = seed::look(Path::new(SYSFS), Path::new(UDEV));
        if start.elapsed() >= patience(&sight) {
            break sight;
        }
        sleep(LOOK_EVERY);
    };
    match sight {
        Sight { partitions, .. } if !partitions.is_empty() => read_all(partitions, problems),
        Sight { boot_disk_missing: true, .. } => {
            seed::hidden("the disk that this node was started from")
        }
        Sight { storage_starting: true, .. } => seed::hidden("a USB storage device"),
        _ => Decision::None,
    }
}

fn read_all(partitions: Vec<Partition>, problems: &mut Vec<String>) -> Decision {
    let mut found = Vec::new();
    for partition in partitions {
        let files = read(&partition).map(|(files, left_out)| {
            problems.extend(left_out);
            files
        });
        say(&format!("found ICN-SEED on {}", partition.name));
        found.push((partition.name, files.map_err(|error| error.to_string())));
    }
    seed::decide(found)
}

/// How long is looked, given what is seen.
fn patience(sight: &Sight) -> Duration {
    if sight.boot_disk_missing {
        WAIT_FOR_BOOT_DISK
    } else if sight.storage_starting {
        WAIT_FOR_STORAGE
    } else if sight.partitions.is_empty() && sight.has_usb {
        WAIT_FOR_USB
    } else {
        Duration::ZERO
    }
}

fn read(partition: &Partition) -> io::Result<(Files, Vec<String>)> {
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(&partition.device, MOUNT_POINT, "vfat", flags, c"utf8")?;
    let files = seed::copy(Path::new(MOUNT_POINT));
    unmount(MOUNT_POINT, UnmountFlags::DETACH)?;
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_as_long_as_there_is_something_to_wait_for() {
        let sight = |partitions: usize, boot_disk_missing, storage_starting, has_usb| Sight {
            partitions: vec![
                Partition { name: "sda2".into(), device: "/dev/sda2".into() };
                partitions
            ],
            boot_disk_missing,
            storage_starting,
            has_usb,
        };
        assert_eq!(patience(&sight(1, false, false, true)), Duration::ZERO);
        assert_eq!(patience(&sight(0, false, false, true)), WAIT_FOR_USB);
        assert_eq!(patience(&sight(1, false, true, true)), WAIT_FOR_STORAGE);
        assert_eq!(patience(&sight(1, true, false, true)), WAIT_FOR_BOOT_DISK);
        assert_eq!(patience(&sight(0, false, false, false)), Duration::ZERO);
        let settle = Duration::from_secs(SETTLE.parse().expect("number"));
        let waits = UDEV_START + settle + WAIT_FOR_BOOT_DISK;
        assert!(waits + Duration::from_secs(10) < LIMIT);
    }
}
