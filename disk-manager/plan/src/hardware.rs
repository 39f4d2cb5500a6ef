//! What icn-disks does for the agent that needs privileges: programs with fixed arguments on disks that
//! it knows, and devices that only root may open. Answers are what the programs printed: who
//! asks, takes it apart, without any privilege. Version 1 of the wire form: one line of JSON asks, one
//! line answers, then the next may be asked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::report::DiskId;

/// Where icn-disks listens for requests.
pub const SOCKET: &str = "/run/icn/hardware.sock";

/// The longest request line in bytes; a disk's name has some 20 to 80.
pub const REQUEST_MAX: usize = 1024;

/// The longest answer line in bytes. The longest answer of smartctl is about 100 KiB, and 1 MiB is
/// the most that is taken from any program; JSON may make six bytes of one.
pub const ANSWER_MAX: usize = 8 << 20;

/// The largest support bundle that is written to a stick, in bytes. The node's logs have some MiB.
pub const BUNDLE_MAX: u64 = 64 << 20;

/// What only root may read of the machine: files in `/sys/class/dmi/id` that the kernel makes readable for nobody else
/// (Linux, drivers/firmware/dmi-id.c).
pub const MACHINE_FILES: [&str; 4] =
    ["product_serial", "product_uuid", "board_serial", "chassis_serial"];

/// The longest text of one of these, in characters. SMBIOS sets no bound; serial numbers have some 10 to 40.
pub const MACHINE_TEXT_MAX: usize = 200;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "request")]
pub enum Request {
    /// Everything a disk says of itself: `smartctl --json=c -x -n standby`. One that sleeps is not
    /// woken.
    Smart {
        /// Which disk.
        disk: DiskId,
    },
    /// Has a disk test itself, in the background (`smartctl -t`).
    SelfTest {
        /// Which disk.
        disk: DiskId,
        /// How thoroughly.
        test: SelfTest,
    },
    /// Switches the locate LED of a disk's slot.
    Locate {
        /// Which disk.
        disk: DiskId,
        /// Whether it is to be lit.
        on: bool,
    },
    /// Claims a disk that was not proven blank: a minute later, unless it is taken back, what marks its content is
    /// erased, and then it is claimed as a blank one.
    ClaimDisk {
        /// Which disk.
        disk: DiskId,
        /// The end of its serial number, as somebody typed it.
        serial_end: String,
    },
    /// Takes a claim by hand back while it waits, and forgets one that failed.
    UndoClaim {
        /// Which disk.
        disk: DiskId,
    },
    /// The sensors of the management controller: `ipmitool -c sdr elist all`, a line each: name, number,
    /// state, entity, reading.
    Sensors,
    /// The event log of the management controller: `ipmitool -c sel elist`, a line each: number, date,
    /// time, sensor, event, direction.
    SensorEvents,
    /// The kernel's messages of level warning and worse behind one; at most 500, then the next are asked
    /// for behind the last.
    KernelLog {
        /// The sequence number behind which to begin; none for all that the kernel still has.
        after: Option<u64>,
    },
    /// Serial numbers and UUID of the machine, its board and its chassis: [`MACHINE_FILES`].
    Machine,
    /// Writes a file to the one stick that is labelled for support bundles (see [`crate::stick`]). Where that can
    /// be done, [`Answer::Ready`] comes first; then the client sends the bytes, and the answer to them is
    /// [`Answer::Written`].
    WriteSupport {
        /// The file's name: letters, digits, dashes and dots. Where it is taken, it gets a number.
        name: String,
        /// How many bytes come, at most [`BUNDLE_MAX`].
        length: u64,
    },
}

/// How thoroughly a disk tests itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SelfTest {
    /// About two minutes.
    Short,
    /// The whole surface: hours.
    Long,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Answer {
    /// A program ended.
    Output {
        /// Its exit status.
        status: i32,
        /// What it printed; cut off where it was too much.
        text: String,
        /// The first line of its complaints; may be empty.
        complaint: String,
    },
    /// The kernel's messages, the oldest first.
    KernelLog {
        /// The messages.
        messages: Vec<KernelMessage>,
        /// Messages behind the one asked for that the kernel has dropped already.
        lost: u64,
    },
    /// What the firmware says of the machine, a line each.
    Machine {
        /// By [`MACHINE_FILES`], without what this machine does not have: at most [`MACHINE_TEXT_MAX`] characters without
        /// control characters, as the maker wrote them, also where that says nothing.
        texts: BTreeMap<String, String>,
    },
    /// The bytes may be sent.
    Ready,
    /// They stand on the stick, and were read back from it and compared.
    Written {
        /// The device with the file system, such as `/dev/sdc1`.
        device: String,
        /// The file's name on it.
        file: String,
        /// Its size in bytes.
        size: u64,
    },
    /// It is done.
    Done,
    /// This machine has no such thing; what, in words. Not an error: what is absent is not unknown.
    Absent {
        /// What is not there.
        what: String,
    },
    /// It could not be done.
    Failed {
        /// Why, in words.
        reason: String,
    },
}

/// A message of the kernel (/dev/kmsg, Documentation/ABI/testing/dev-kmsg).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelMessage {
    /// Counts the messages since boot.
    pub sequence: u64,
    /// Level of syslog: 0 emergency to 4 warning.
    pub level: u8,
    /// Microseconds since boot.
    pub at_us: u64,
    /// The text, one line.
    pub text: String,
}
