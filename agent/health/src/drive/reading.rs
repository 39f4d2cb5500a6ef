//! What a disk says of itself.

use std::error::Error as _;

use disk_manager_plan::hardware::{Answer, SelfTest};

use super::smartctl::decode;
use crate::ask::AskError;

/// What came of asking a disk.
#[derive(Debug, Clone, PartialEq)]
pub enum DriveReading {
    /// It answered.
    Known(Box<Drive>),
    /// It sleeps, and was not woken to be asked.
    Asleep,
    /// A disk of its kind has nothing to say; why, in words.
    Cannot {
        /// Why.
        reason: String,
    },
    /// It should have answered.
    Unknown {
        /// Why there is no answer, in words.
        reason: String,
    },
}

impl DriveReading {
    /// What icn-disks answered to `Request::Smart`.
    #[must_use]
    pub fn of(answer: &Result<Answer, AskError>) -> Self {
        let unknown = |reason: String| Self::Unknown { reason };
        match answer {
            Ok(Answer::Output { status, text, complaint }) => match decode(*status, text) {
                Self::Unknown { reason } if !complaint.is_empty() => {
                    unknown(format!("{reason}; {complaint}"))
                }
                reading => reading,
            },
            Ok(Answer::Absent { what }) => Self::Cannot { reason: what.clone() },
            Ok(Answer::Failed { reason }) => unknown(reason.clone()),
            Ok(
                Answer::Done
                | Answer::Ready
                | Answer::Written { .. }
                | Answer::Machine { .. }
                | Answer::KernelLog { .. },
            ) => unknown("icn-disks answered another question".to_owned()),
            Err(error) => unknown(match error.source() {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            }),
        }
    }

    /// The drive, where it answered.
    #[must_use]
    pub fn drive(&self) -> Option<&Drive> {
        match self {
            Self::Known(drive) => Some(drive),
            Self::Asleep | Self::Cannot { .. } | Self::Unknown { .. } => None,
        }
    }
}

/// What language a disk speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum DriveClass {
    /// SATA, also behind a SAS adapter.
    Ata,
    /// NVMe.
    Nvme,
    /// SAS.
    Scsi,
    /// smartctl names none.
    #[default]
    Other,
}

/// What a disk said of itself. Every part may be missing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Drive {
    /// Which disk it is.
    pub identity: Identity,
    /// What language it speaks.
    pub class: DriveClass,
    /// smartctl's exit status (smartctl(8), section "exit status").
    pub exit: i32,
    /// The disk's own verdict.
    pub passed: Option<bool>,
    /// The verdict in words, where SCSI gives some.
    pub verdict: Option<String>,
    /// Temperatures.
    pub temperatures: Temperatures,
    /// Hours it has been powered.
    pub power_on_hours: Option<u64>,
    /// How often it was powered on.
    pub power_cycles: Option<u64>,
    /// Share of its rated endurance that is used up, in percent; more than 100 is possible.
    pub wear_percent: Option<u64>,
    /// Attributes of ATA, in the order of their numbers.
    pub attributes: Vec<Attribute>,
    /// Attributes that were there and could not be read.
    pub unread_attributes: usize,
    /// The health log of NVMe.
    pub nvme: Option<NvmeLog>,
    /// The counters of SCSI.
    pub scsi: Option<ScsiCounters>,
    /// Its self-tests.
    pub self_tests: SelfTests,
    /// Entries of its error log since it was made.
    pub logged_errors: Option<u64>,
}

impl Drive {
    /// The attribute of that number.
    #[must_use]
    pub fn attribute(&self, id: u8) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.id == id)
    }

    /// The attribute of that number, where the disk counts in it what most disks do.
    #[must_use]
    pub fn usual_attribute(&self, id: u8) -> Option<&Attribute> {
        self.attribute(id).filter(|attribute| !attribute.is_unusual())
    }
}

/// Which disk it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Model.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Version of its firmware.
    pub firmware: Option<String>,
    /// Size in bytes.
    pub capacity_bytes: Option<u64>,
    /// Turns per minute; 0 is flash.
    pub rotation_rate: Option<u64>,
}

/// Temperatures in °C.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Temperatures {
    /// Now.
    pub current: Option<i16>,
    /// Above which the disk itself warns, or may not be used.
    pub warning: Option<i16>,
}

/// An attribute of ATA's SMART.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its number.
    pub id: u8,
    /// smartctl's name of it.
    pub name: Option<String>,
    /// Normalised: falls towards `threshold` as things get worse.
    pub value: Option<u8>,
    /// At or below which the attribute has failed; 0 never fails.
    pub threshold: Option<u8>,
    /// Whether failing means that the disk fails soon, and not just age.
    pub is_prefailure: Option<bool>,
    /// 48 bits whose meaning the vendor chooses, often several numbers packed.
    pub raw: Option<u64>,
    /// How smartctl's data base reads them.
    pub raw_text: Option<String>,
    /// Whether it failed.
    pub failed: Option<Failed>,
    /// Whether `failed` can be relied on: smartctl said so, or value and threshold do.
    pub is_judged: bool,
}

/// When an attribute was at or below its threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failed {
    /// It is now.
    Now,
    /// It was, and is no more.
    Past,
}

/// What stands in smartctl's name of an attribute that a vendor uses for something else than most do, among
/// those that are judged by their count (smartmontools 7.4, drivedb.h: 10, 187, 197, 198 and 199).
const UNUSUAL_NAMES: [&str; 6] =
    ["Not_In_Use", "Host_", "Sectors_Tot", "ECC_Error_Count", "Unknown_JMF", "Unknown_SSD"];

impl Attribute {
    /// Whether the vendor uses the number for something else than most do.
    #[must_use]
    pub fn is_unusual(&self) -> bool {
        let name = self.name.as_deref().unwrap_or_default();
        UNUSUAL_NAMES.iter().any(|part| name.contains(part))
    }

    /// The number that it counts, where that is certain. smartctl knows which bits a vendor counts in
    /// and prints that number first: `8 (0 16)`, `8/0`; the bits themselves count where nothing else does.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        // More than a disk of 100 TB has sectors of 4 KiB: packed.
        const MOST: u64 = 1 << 35;
        let raw = self.raw.filter(|raw| *raw < MOST);
        let Some(text) = &self.raw_text else { return raw };
        match text.split_once(" (").or_else(|| text.split_once('/')) {
            Some((first, _)) => first.parse().ok().or(raw),
            // Where the two do not agree, the worse counts.
            None => text.parse().ok().max(raw),
        }
    }

    /// The three words of 16 bits that attribute 188 is made of: all time-outs, those of more than 5 s,
    /// those of more than 7.5 s.
    #[must_use]
    pub fn words(&self) -> Option<[u16; 3]> {
        let [first, second, third, fourth, fifth, sixth, ..] = self.raw?.to_le_bytes();
        let word = |low, high| u16::from_le_bytes([low, high]);
        Some([word(first, second), word(third, fourth), word(fifth, sixth)])
    }
}

/// NVMe's "SMART / Health Information" log (NVMe Base 2.0, figure 207).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NvmeLog {
    /// Bits: 0 spare below threshold, 1 temperature, 2 reliability degraded, 3 read-only, 4 backup of
    /// volatile memory failed, 5 persistent memory unreliable.
    pub critical_warning: Option<u8>,
    /// What is left of the spare, in percent.
    pub available_spare: Option<u8>,
    /// Below which the spare is too little, in percent.
    pub available_spare_threshold: Option<u8>,
    /// Thousands of 512 bytes read.
    pub data_units_read: Option<u128>,
    /// Thousands of 512 bytes written.
    pub data_units_written: Option<u128>,
    /// Times that the power failed unannounced.
    pub unsafe_shutdowns: Option<u128>,
    /// Times that data could not be read or proved damaged.
    pub media_errors: Option<u128>,
}

/// SCSI's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScsiCounters {
    /// Sectors replaced since it was made.
    pub grown_defects: Option<u64>,
    /// Sectors that wait to be replaced.
    pub pending_defects: Option<u64>,
    /// Reads, writes and verifications that no correction helped.
    pub uncorrected: Option<u64>,
}

/// The self-tests of a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SelfTests {
    /// Whether it can test itself.
    pub supported: Option<bool>,
    /// How much of the test that runs is still to do, in percent; `Some(None)` runs, and nobody says.
    pub running: Option<Option<u8>>,
    /// The log of tests, the newest first.
    pub log: Log,
}

/// The log of tests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// Whether there is one.
    pub is_there: bool,
    /// Its entries, the newest first.
    pub results: Vec<SelfTestResult>,
    /// Entries that could not be read.
    pub unread: usize,
}

/// One test that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SelfTestResult {
    /// How thorough it was; none for kinds that we do not start.
    pub test: Option<SelfTest>,
    /// How it ended.
    pub end: TestEnd,
    /// For how many hours the disk had been powered then.
    pub at_hours: Option<u64>,
}

/// How a self-test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TestEnd {
    /// Without an error.
    Passed,
    /// With one.
    Failed,
    /// It was broken off, which says nothing about the disk.
    Aborted,
}
