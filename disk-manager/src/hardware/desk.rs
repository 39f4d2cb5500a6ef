//! From a request to its answer.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use disk_manager_plan::hardware::{Answer, Request, SelfTest};
use disk_manager_plan::observe::{Bus, Smart};
use disk_manager_plan::report::DiskId;
use serde_json::Value;

use super::directory::{Directory, KnownDisk};
use super::stick::{Mounted, Place};
use super::{kmsg, locate, machine};
use crate::probe::smart::smart;
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
    hand: Option<Hand>,
}

/// Somebody wants a disk claimed by hand, or that taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandRequest {
    /// To claim it.
    Claim {
        /// Which disk.
        disk: DiskId,
        /// The end of its serial number, as it was typed.
        serial_end: String,
        /// What it says of its health.
        smart: Smart,
    },
    /// To take that back.
    Undo {
        /// Which disk.
        disk: DiskId,
    },
}

type Decide = dyn Fn(HandRequest) -> Result<(), String> + Send + Sync;

/// Who decides about disks that are claimed by hand.
#[derive(Clone)]
pub struct Hand(Arc<Decide>);

impl Hand {
    /// Has this decide.
    pub fn new(decide: impl Fn(HandRequest) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(decide))
    }
}

impl std::fmt::Debug for Hand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hand(..)")
    }
}

impl Desk {
    /// Answers for the disks of `directory`; `sysfs` is `/sys` but for tests.
    #[must_use]
    pub fn new(directory: Arc<Directory>, sysfs: PathBuf) -> Self {
        let (dev, programs) = (PathBuf::from("/dev"), Programs::default());
        let (hand, place) = (None, Arc::new(Mounted::default()));
        Self { directory, sysfs, dev, programs, place, hand }
    }

    /// The same where disks can be claimed by hand.
    #[must_use]
    pub fn with_hand(self, hand: Hand) -> Self {
        Self { hand: Some(hand), ..self }
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
            Request::ClaimDisk { disk, serial_end } => self.with_disk(disk, |known| {
                let (disk, serial_end) = (disk.clone(), serial_end.clone());
                let smart = smart(&known.device, known.bus);
                self.by_hand(HandRequest::Claim { disk, serial_end, smart })
            }),
            // Also for a disk that is gone.
            Request::UndoClaim { disk } => self.by_hand(HandRequest::Undo { disk: disk.clone() }),
            Request::Sensors => self.controller(&["-c", "sdr", "elist", "all"]),
            Request::SensorEvents => self.controller(&["-c", "sel", "elist"]),
            Request::KernelLog { after } => kmsg::read(&self.dev.join("kmsg"), *after),
            Request::Machine => machine::read(&self.sysfs),
            Request::WriteSupport { .. } => failed("no bytes come behind the request".to_owned()),
        }
    }

    fn by_hand(&self, request: HandRequest) -> Answer {
        let Some(Hand(decide)) = &self.hand else {
            return failed("disks cannot be claimed by hand here".to_owned());
        };
        match decide(request) {
            Ok(()) => Answer::Done,
            Err(reason) => failed(reason),
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
