//! From a reading, what it was before and what the engine saw, to a verdict.

use disk_manager_plan::report::DiskId;

use super::rates::FailureRate;
use super::reading::DriveReading;
use super::rules::Findings;
use crate::verdict::{Health, Kind, Verdict};

/// Where warnings begin and failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// From this annual failure rate on a count that tells of the disk itself is a failure, in tenths of a
    /// percent.
    pub critical_failing_permille: u16,
    /// From this annual failure rate on any other count is a warning, in tenths of a percent.
    pub warning_permille: u16,
    /// From this annual failure rate on any other count is a failure, in tenths of a percent.
    pub failing_permille: u16,
    /// A rotating disk without a limit of its own is hot from here on, in °C.
    pub hot_rotating_celsius: i16,
    /// Flash without a limit of its own is hot from here on, in °C.
    pub hot_flash_celsius: i16,
    /// Wear is a warning from here on, in percent of the rated endurance.
    pub wear_warning_percent: u64,
    /// Wear is a failure from here on, in percent of the rated endurance.
    pub wear_failing_percent: u64,
    /// What rose within this time counts as rising, in seconds.
    pub window_seconds: u64,
    /// Calls that failed, or damaged blocks, within the window, from which on it is a failure. Fewer are
    /// a warning.
    pub observed_failing: u64,
    /// So many times as slow as its peers is a warning.
    pub slow_factor: u64,
    /// Faster than this is never slow, in microseconds.
    pub slow_floor_us: u64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            // As scrutiny has them (its defaults for critical and other attributes).
            critical_failing_permille: 100,
            warning_permille: 100,
            failing_permille: 200,
            // The highest that makers of rotating disks and of flash allow is 60 and 70 for nearly all.
            hot_rotating_celsius: 60,
            hot_flash_celsius: 70,
            // A tenth of the endurance is months of work: time to order a disk.
            wear_warning_percent: 90,
            wear_failing_percent: 100,
            window_seconds: 7 * 24 * 3600,
            // One may be a cable that was touched; ten in a week are not.
            observed_failing: 10,
            // Twice is what a busy neighbour does; four times is what users notice.
            slow_factor: 4,
            // Two to three seeks and turns of a rotating disk under load.
            slow_floor_us: 50_000,
        }
    }
}

/// Counts of which it matters whether they rise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sectors replaced: attribute 5, or SCSI's grown defects.
    pub reallocated: Option<u64>,
    /// Sectors that wait to be replaced: attribute 197, or SCSI's pending defects.
    pub pending: Option<u64>,
    /// Reads that nothing could correct: attribute 187, NVMe's media errors, SCSI's uncorrected errors.
    pub media_errors: Option<u64>,
    /// Errors between disk and host: attribute 199.
    pub interface_errors: Option<u64>,
}

impl Counts {
    /// The counts of a reading; none where it has none.
    #[must_use]
    pub fn of(reading: &DriveReading) -> Self {
        let Some(drive) = reading.drive() else { return Self::default() };
        let attribute = |id| drive.usual_attribute(id)?.count();
        let scsi = drive.scsi.as_ref();
        let nvme = || {
            let errors = drive.nvme.as_ref()?.media_errors?;
            Some(u64::try_from(errors).unwrap_or(u64::MAX))
        };
        Self {
            reallocated: attribute(5).or_else(|| scsi?.grown_defects),
            pending: attribute(197).or_else(|| scsi?.pending_defects),
            media_errors: attribute(187).or_else(nvme).or_else(|| scsi?.uncorrected),
            interface_errors: attribute(199),
        }
    }
}

/// What a disk counted before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earlier {
    /// How long ago, in seconds.
    pub age_seconds: u64,
    /// What it counted.
    pub counts: Counts,
}

/// What the storage engine saw of a disk within the window; none where it does not use the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ObservedCalls {
    /// Calls that failed.
    pub errors: Option<u64>,
    /// Blocks that were read and proved damaged.
    pub damaged_blocks: Option<u64>,
    /// 99 of 100 calls took at most this, in microseconds.
    pub p99_us: Option<u64>,
    /// The same of the middle one of the disks of its class, in microseconds.
    pub peers_p99_us: Option<u64>,
}

/// Whether a disk was asked, and answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Asked {
    /// It answered.
    Answered,
    /// It sleeps, and was not woken.
    Asleep,
    /// A disk of its kind cannot answer, as in a virtual machine: nothing to look after.
    Cannot,
    /// It should have answered.
    Silent,
}

/// The verdict on a disk.
#[derive(Debug, Clone, PartialEq)]
pub struct DriveHealth {
    /// How it does. Healthy only where it said all that its kind of disk is judged by.
    pub health: Health,
    /// Why, in words, the gravest first; empty only where healthy.
    pub evidence: Vec<String>,
    /// How many of a hundred such disks fail within a year, by the worst of its counts.
    pub annual_failure_rate: Option<FailureRate>,
    /// Whether it is too hot.
    pub hot: bool,
    /// Whether it answered: what is unknown of a disk that cannot answer, or sleeps, needs nobody.
    pub asked: Asked,
}

impl DriveHealth {
    /// As one of the node's verdicts.
    #[must_use]
    pub fn verdict(&self, disk: &DiskId) -> Verdict {
        let (name, evidence) = (disk.0.clone(), self.evidence.clone());
        Verdict { kind: Kind::Disk, name, health: self.health, evidence }
    }
}

/// Judges a disk. `earlier` is in any order; what is older than the window says only how long a count has
/// rested.
#[must_use]
pub fn assess(
    reading: &DriveReading,
    earlier: &[Earlier],
    observed: &ObservedCalls,
    thresholds: &Thresholds,
) -> DriveHealth {
    let mut findings = Findings::new(*thresholds);
    let asked = match reading {
        DriveReading::Known(drive) => {
            findings.missing(drive);
            findings.own_verdict(drive);
            findings.attributes(drive, earlier);
            findings.nvme(drive);
            findings.scsi(drive);
            findings.wear(drive);
            findings.self_tests(drive);
            findings.temperature(drive);
            findings.trends(Counts::of(reading), earlier);
            Asked::Answered
        }
        DriveReading::Asleep => {
            findings.add(Health::Unknown, "it sleeps, and was not woken to be asked".to_owned());
            Asked::Asleep
        }
        DriveReading::Cannot { reason } => {
            findings.add(Health::Unknown, reason.clone());
            Asked::Cannot
        }
        DriveReading::Unknown { reason } => {
            findings.add(Health::Unknown, format!("it gave no health data: {reason}"));
            Asked::Silent
        }
    };
    findings.observed(observed);
    findings.into_verdict(asked)
}
