//! What the kernel complains of, by kind and device, from its messages of level warning and worse.
//!
//! Source: the texts that Linux 6.12 prints (drivers/ata/libata-eh.c, drivers/nvme/host/core.c and pci.c,
//! block/blk-core.c, drivers/scsi/scsi_logging.c, kernel/hung_task.c, mm/oom_kill.c,
//! arch/x86/kernel/cpu/mce, fs/xfs/xfs_message.c and others). They may change with the kernel: what is not
//! known is not counted, and nothing relies on these counts alone.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use disk_manager_plan::hardware::KernelMessage;

use crate::reading::Case;
use crate::sample::{Family, Sample, number};
use crate::verdict::{Health, Kind, Verdict};

/// How long after its last message a complaint stands: a technician who comes the next day sees it.
const STANDS: Duration = Duration::from_secs(24 * 3600);

/// Most pairs of kind and device that are counted apart; what comes beyond counts for its kind alone.
const PAIRS_MAX: usize = 256;

/// Longest name of a device in bytes; the kernel's own have at most 32.
const DEVICE_MAX: usize = 48;

const MESSAGES: Family =
    Family::counter("kernel_complaints", "Messages of the kernel that tell of a fault, by kind");
const LOST: Family = Family::counter(
    "kernel_messages_lost",
    "Messages of the kernel that nobody could read in time",
);

/// What is told of the kernel's messages.
pub(crate) const FAMILIES: &[Family] = &[MESSAGES, LOST];

/// What a message tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Complaint {
    /// A SATA port or its disk.
    Ata,
    /// An NVMe controller.
    Nvme,
    /// A SCSI disk or its controller.
    Scsi,
    /// A call to a disk failed.
    Block,
    /// The processor or memory reported a fault.
    MachineCheck,
    /// PCI Express.
    Pcie,
    /// A program waits for ever, mostly for a disk.
    HungTask,
    /// A processor does not come to its work.
    Stall,
    /// A program was ended as memory ran out.
    OutOfMemory,
    /// A file system is damaged, or could not write.
    FileSystem,
    /// A network port lost its link.
    LinkDown,
    /// Heat.
    Thermal,
    /// The kernel itself failed.
    Bug,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ata => "ata",
            Self::Nvme => "nvme",
            Self::Scsi => "scsi",
            Self::Block => "block",
            Self::MachineCheck => "machine_check",
            Self::Pcie => "pcie",
            Self::HungTask => "hung_task",
            Self::Stall => "stall",
            Self::OutOfMemory => "out_of_memory",
            Self::FileSystem => "file_system",
            Self::LinkDown => "link_down",
            Self::Thermal => "thermal",
            Self::Bug => "bug",
        })
    }
}

impl Complaint {
    /// What it means, and what to do.
    fn in_words(self) -> &'static str {
        match self {
            Self::Ata => "errors of a SATA port: check the disk and its cable",
            Self::Nvme => "errors of an NVMe disk: check the disk and its slot",
            Self::Scsi => "errors of a SCSI disk: check the disk, its cable and its controller",
            Self::Block => "failed calls to a disk: see its SMART data",
            Self::MachineCheck => "faults of processor or memory",
            Self::Pcie => "errors on PCI Express: seat the card anew",
            Self::HungTask => "programs that wait for ever, mostly for a disk that hangs",
            Self::Stall => "a processor that does not come to its work",
            Self::OutOfMemory => "programs ended as memory ran out",
            Self::FileSystem => "a damaged file system or failed writes: see the disk",
            Self::LinkDown => "a link that went: check the cable",
            Self::Thermal => "heat: check fans and air",
            Self::Bug => "a fault of the kernel itself: report it with the log",
        }
    }
}

/// Sorts a message: what it tells of, and of which device; none where it tells of nothing known.
#[must_use]
pub fn classify(text: &str) -> Option<(Complaint, &str)> {
    let head = text.split_once(": ").map_or("", |(head, _)| head);
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let of = |complaint, device| Some((complaint, device_name(device)));
    if is_numbered(head.split('.').next().unwrap_or_default(), "ata") {
        let words = ["exception Emask", "failed command", "hard resetting", "soft resetting"];
        let more = ["error: {", "SError", "disabled", "limiting SATA link speed"];
        return (has(&words) || has(&more)).then_some((Complaint::Ata, device_name(head)));
    }
    // `nvme nvme0: …` of a controller, `nvme0n1: …` of its name space.
    let disk = head.strip_prefix("nvme ").unwrap_or(head);
    if is_numbered(disk, "nvme") {
        let words = ["timeout", "is down", "not ready", "I/O Error", "I/O error", "Removing after"];
        return (has(&words) || has(&["Abort status", "reset controller"]))
            .then_some((Complaint::Nvme, device_name(disk)));
    }
    if text.contains("I/O error, dev ") || text.contains(" error, dev ") {
        return of(Complaint::Block, behind(text, "error, dev "));
    }
    if head.starts_with("sd ") || text.starts_with("sd ") {
        let words = ["Sense Key", "FAILED Result", "timing out command", "Medium access timeout"];
        let device = text.split_once('[').map_or("", |(_, rest)| rest);
        return has(&words).then_some((Complaint::Scsi, device_name(device)));
    }
    if has(&["[Hardware Error]", "Machine check events logged"]) || head.starts_with("EDAC MC") {
        return of(
            Complaint::MachineCheck,
            if head.starts_with("EDAC") { behind(text, "EDAC ") } else { "" },
        );
    }
    if text.contains("AER: ") && has(&["error", "Error"]) {
        let device = head.strip_prefix("pcieport ").unwrap_or(head);
        return of(Complaint::Pcie, device);
    }
    if text.contains("blocked for more than") {
        return of(Complaint::HungTask, behind(text, "INFO: task "));
    }
    if has(&["soft lockup", "self-detected stall", "detected stalls", "hard LOCKUP"]) {
        return of(Complaint::Stall, "");
    }
    if text.contains("Killed process") {
        return of(Complaint::OutOfMemory, text.split_once('(').map_or("", |(_, name)| name));
    }
    if text.starts_with("XFS (") || text.contains("EXT4-fs error") || text.starts_with("FAT-fs (") {
        let words = ["orruption", "error", "Shutting down", "shutting down", "Unmount and run"];
        let device = text.split_once('(').map_or("", |(_, name)| name);
        let device = device.strip_prefix("device ").unwrap_or(device);
        return has(&words).then_some((Complaint::FileSystem, device_name(device)));
    }
    if has(&["Link is Down", "Link is down", "link is down", "Link down"]) {
        // `ixgbe 0000:01:00.0 eno1: NIC Link is Down`, or `eno1: Link is Down`.
        return of(Complaint::LinkDown, head.rsplit(' ').next().unwrap_or_default());
    }
    if has(&["temperature above threshold", "Critical temperature"]) {
        return of(Complaint::Thermal, "");
    }
    let words = ["BUG: ", "Oops: ", "general protection fault", "Kernel panic", "kernel BUG at"];
    has(&words).then_some((Complaint::Bug, ""))
}

fn behind<'a>(text: &'a str, words: &str) -> &'a str {
    text.split_once(words).map_or("", |(_, rest)| rest)
}

fn is_numbered(word: &str, begin: &str) -> bool {
    word.strip_prefix(begin).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// What of a text is a device's name. A program may be called anything.
fn device_name(text: &str) -> &str {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    // Addresses of PCI have colons, but a colon also ends a name.
    let end = text.char_indices().find(|(at, c)| {
        let next = text.get(at + 1..).and_then(|rest| rest.chars().next());
        !(is_name(*c) || *c == ':' && next.is_some_and(|next| next.is_ascii_hexdigit()))
    });
    let end = end.map_or(text.len(), |(at, _)| at).min(DEVICE_MAX);
    text.get(..end).unwrap_or_default()
}

/// What the kernel has complained of since the machine was started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KernelLog {
    /// The last message that was taken in; none before the first.
    pub last: Option<u64>,
    counts: BTreeMap<(Complaint, String), Count>,
    lost: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Count {
    messages: u64,
    /// Microseconds since the start of the machine.
    last_us: u64,
}

impl KernelLog {
    /// Takes in messages, and how many were lost before they could be read.
    pub fn take_in(&mut self, messages: &[KernelMessage], lost: u64) {
        self.lost = self.lost.saturating_add(lost);
        for message in messages {
            // A message that comes again is not another one.
            if self.last.is_some_and(|last| message.sequence <= last) {
                continue;
            }
            self.last = Some(message.sequence);
            let Some((complaint, device)) = classify(&message.text) else { continue };
            let mut key = (complaint, device.to_owned());
            if self.counts.len() >= PAIRS_MAX && !self.counts.contains_key(&key) {
                key.1.clear();
            }
            let count = self.counts.entry(key).or_default();
            count.messages = count.messages.saturating_add(1);
            count.last_us = count.last_us.max(message.at_us);
        }
    }

    /// The numbers.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        let counted = self.counts.iter().map(|((complaint, device), count)| {
            let labels = vec![("kind", complaint.to_string()), ("device", device.clone())];
            MESSAGES.sample(labels, number(count.messages))
        });
        counted.chain([LOST.sample(Vec::new(), number(self.lost))]).collect()
    }

    /// One verdict for each kind and device: a warning for a day after its last message. `uptime` is
    /// that of the machine.
    #[must_use]
    pub fn assess(&self, uptime: Duration) -> Vec<Verdict> {
        let mut all = Vec::new();
        for ((complaint, device), count) in &self.counts {
            let ago = uptime.saturating_sub(Duration::from_micros(count.last_us));
            if ago > STANDS {
                continue;
            }
            let mut case = Case::default();
            let (messages, minutes) = (count.messages, ago.as_secs() / 60);
            let text = format!(
                "{messages} messages since the machine was started, the last {minutes} min ago: {}",
                complaint.in_words()
            );
            case.add(Health::Warning, text);
            let name = format!("{complaint} {device}");
            all.push(case.close(Kind::Kernel, name.trim_end()));
        }
        if all.is_empty() {
            all.push(Case::default().close(Kind::Kernel, "kernel"));
        }
        all
    }
}

#[cfg(test)]
#[path = "kernel_log_tests.rs"]
mod tests;
