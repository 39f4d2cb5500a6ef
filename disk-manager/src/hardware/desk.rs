//! From a request to its answer.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use disk_manager_plan::hardware::{Answer, Request, SelfTest};
use disk_manager_plan::observe::Bus;
use disk_manager_plan::report::DiskId;
use serde_json::Value;

use super::directory::{Directory, KnownDisk};
use super::stick::{Mounted, Place};
use super::{kmsg, locate};
use crate::program::{ProgramError, run_holding};

/// `smartctl -x` reads some twenty logs, which takes a busy disk some seconds; a single command that
/// the disk does not answer takes the kernel 30 s to give up.
const SMART_LIMIT: Duration = Duration::from_secs(60);

/// One or two commands.
const SELF_TEST_LIMIT: Duration = Duration::from_secs(40);

/// A controller takes some 50 ms for each of its sensors and events, of which a large server has some
/// hundred and some thousand.
const CONTROLLER_LIMIT: Duration = Duration::from_secs(180);

/// Bits of smartctl's exit status (smartctl(8)) that mean that a command to the disk did not succeed.
const NOT_DONE: i32 = 0b111;

/// The most of smartctl's messages that is passed on, in characters.
const LONGEST_REASON: usize = 300;

/// The device of the management controller that ipmitool opens first.
const CONTROLLER: &str = "ipmi0";

/// The place of who writes to an enclosure; no disk has such a name.
const ENCLOSURES: &str = "enclosures";

/// What is answered while another asks the same.
const STILL_RUNS: &str = "the last one still runs";

/// What ipmitool complains of wherever the registry of vendor names is not installed; it names no cause.
const HARMLESS_COMPLAINT: &str = "IANA PEN registry open failed";

/// The programs; tests put others in their place.
#[derive(Debug, Clone)]
pub struct Programs {
    /// smartctl of smartmontools.
    pub smartctl: String,
    /// ipmitool.
    pub ipmitool: String,
    /// How long `smartctl -x` may take.
    pub smart_limit: Duration,
}

impl Default for Programs {
    fn default() -> Self {
        let (smartctl, ipmitool) = ("smartctl".to_owned(), "ipmitool".to_owned());
        Self { smartctl, ipmitool, smart_limit: SMART_LIMIT }
    }
}

/// Answers requests; any number of threads may ask at a time.
#[derive(Debug, Clone)]
pub struct Desk {
    pub(super) directory: Arc<Directory>,
    pub(super) sysfs: PathBuf,
    pub(super) dev: PathBuf,
    pub(super) programs: Programs,
    /// Mounts sticks; tests put another in its place.
    pub(super) place: Arc<dyn Place>,
}

impl Desk {
    /// Answers for the disks of `directory`; `sysfs` is `/sys` but for tests.
    #[must_use]
    pub fn new(directory: Arc<Directory>, sysfs: PathBuf) -> Self {
        let (dev, programs) = (PathBuf::from("/dev"), Programs::default());
        Self { directory, sysfs, dev, programs, place: Arc::new(Mounted::default()) }
    }

    /// Answers one request; takes as long as the program may.
    #[must_use]
    pub fn answer(&self, request: &Request) -> Answer {
        match request {
            Request::Smart { disk } => self.with_disk(disk, |known| self.smart(disk, known)),
            Request::SelfTest { disk, test } => {
                self.with_disk(disk, |known| self.self_test(disk, known, *test))
            }
            Request::Locate { disk, on } => self.with_disk(disk, |known| self.locate(known, *on)),
            Request::Sensors => self.controller(&["-c", "sdr", "elist", "all"]),
            Request::SensorEvents => self.controller(&["-c", "sel", "elist"]),
            Request::KernelLog { after } => kmsg::read(&self.dev.join("kmsg"), *after),
            Request::WriteSupport { .. } => failed("no bytes come behind the request".to_owned()),
        }
    }

    fn with_disk(&self, disk: &DiskId, ask: impl FnOnce(&KnownDisk) -> Answer) -> Answer {
        match self.directory.find(disk) {
            Some(known) => ask(&known),
            None => failed(format!("no disk is known as {}", disk.0)),
        }
    }

    fn smart(&self, id: &DiskId, disk: &KnownDisk) -> Answer {
        if let Some(absent) = without_smart(disk.bus) {
            return absent;
        }
        let device = disk.device.to_string_lossy();
        let arguments = ["--json=c", "-x", "-n", "standby", &device];
        self.run(&id.0, &self.programs.smartctl, &arguments, self.programs.smart_limit)
    }

    fn self_test(&self, id: &DiskId, disk: &KnownDisk, test: SelfTest) -> Answer {
        if !disk.is_ours {
            return failed("only a disk of this node is tested".to_owned());
        }
        if let Some(absent) = without_smart(disk.bus) {
            return absent;
        }
        let test = match test {
            SelfTest::Short => "short",
            SelfTest::Long => "long",
        };
        let device = disk.device.to_string_lossy();
        let arguments = ["--json=c", "-n", "standby", "-t", test, &device];
        match self.run(&id.0, &self.programs.smartctl, &arguments, SELF_TEST_LIMIT) {
            Answer::Output { status, .. } if status & NOT_DONE == 0 => Answer::Done,
            Answer::Output { status, text, .. } => failed(format!(
                "smartctl -t {test} ended with exit status {status}: {}",
                messages(&text)
            )),
            other => other,
        }
    }

    /// Enclosures are asked one at a time, and beside the disks: the LED of a disk that hangs is wanted
    /// most of all.
    fn locate(&self, disk: &KnownDisk, on: bool) -> Answer {
        match self.directory.take_place(ENCLOSURES) {
            Some(_place) => locate::switch(&self.sysfs, &disk.device, on),
            None => failed(STILL_RUNS.to_owned()),
        }
    }

    fn controller(&self, arguments: &[&str]) -> Answer {
        if !exists(&self.dev.join(CONTROLLER)) {
            let what = format!("a management controller (/dev/{CONTROLLER})");
            return Answer::Absent { what };
        }
        self.run(CONTROLLER, &self.programs.ipmitool, arguments, CONTROLLER_LIMIT)
    }

    /// Runs a program that asks `whom`, unless one still runs that does.
    fn run(&self, whom: &str, program: &str, arguments: &[&str], limit: Duration) -> Answer {
        let Some(place) = self.directory.take_place(whom) else {
            return failed(STILL_RUNS.to_owned());
        };
        match run_holding(place, program, arguments, limit) {
            Ok(output) => {
                let mut complaints = output.complaints.lines();
                let complaint = complaints.find(|line| !line.starts_with(HARMLESS_COMPLAINT));
                let complaint = complaint.unwrap_or_default().to_owned();
                Answer::Output { status: output.status, text: output.stdout, complaint }
            }
            Err(ProgramError::Start { program, source }) => {
                failed(format!("cannot start {program}: {source}"))
            }
            Err(error) => failed(error.to_string()),
        }
    }
}

/// What is answered for disks that no SMART can be had from.
fn without_smart(bus: Bus) -> Option<Answer> {
    let what = match bus {
        Bus::Virtio => "SMART: a virtio disk cannot have it",
        Bus::Mmc => "SMART: a memory card cannot have it",
        Bus::Ata | Bus::Scsi | Bus::Nvme | Bus::Usb | Bus::Other => return None,
    };
    Some(Answer::Absent { what: what.to_owned() })
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// smartctl's messages, in a line.
fn messages(text: &str) -> String {
    let answer: Value = serde_json::from_str(text).unwrap_or_default();
    let list = answer.pointer("/smartctl/messages").and_then(Value::as_array);
    let strings = list.into_iter().flatten().filter_map(|message| message.get("string")?.as_str());
    let said = strings.collect::<Vec<_>>().join("; ");
    if said.is_empty() {
        return "it said nothing".to_owned();
    }
    said.chars().take(LONGEST_REASON).collect()
}

pub(super) fn failed(reason: String) -> Answer {
    Answer::Failed { reason }
}
