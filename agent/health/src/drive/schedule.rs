//! When disks test themselves. What is due follows from the disks' own logs, so that a restart of the
//! agent forgets nothing and starts nothing twice.

use std::collections::BTreeSet;

use disk_manager_plan::hardware::SelfTest;
use disk_manager_plan::report::DiskId;

use super::reading::{Drive, DriveClass, DriveReading, TestEnd};

/// A short test each week of operation.
const SHORT_HOURS: u64 = 7 * 24;

/// A long one each month of operation.
const LONG_HOURS: u64 = 30 * 24;

/// How long after it started a test it is not started again, whatever the disk's log says: some logs are
/// never written, and some hours are made up.
const RETRY_HOURS: u64 = 24;

/// ATA's log of self-tests counts hours in 16 bits (ACS-4, table 138), and begins anew after seven years.
const ATA_HOURS: u64 = 1 << 16;

/// What is known of a disk that may be tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestDisk {
    /// Its lasting name.
    pub id: DiskId,
    /// The sets that it belongs to: disks of one set hold parts of the same groups, and only one of them is
    /// tested at a time. On a node, all disks of a class are one set.
    pub sets: BTreeSet<u32>,
    /// Whether a test runs on it, by its own word, or was started within the hour.
    pub is_running: bool,
    /// How long it has been powered, in hours; none where it is not known, sleeps, or has no self-tests:
    /// then it is not tested.
    pub power_on_hours: Option<u64>,
    /// Hours of operation since its last short test ended; none if there was none.
    pub since_short: Option<u64>,
    /// Hours of operation since its last long test ended; none if there was none.
    pub since_long: Option<u64>,
    /// Hours since this process started a test on it; none if it did not.
    pub started_hours_ago: Option<u64>,
}

/// A test to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestStart {
    /// On which disk.
    pub disk: DiskId,
    /// How thorough.
    pub test: SelfTest,
}

impl TestDisk {
    /// What a reading says of a disk's tests.
    #[must_use]
    pub fn new(
        id: DiskId,
        sets: BTreeSet<u32>,
        reading: &DriveReading,
        started_hours_ago: Option<u64>,
    ) -> Self {
        let drive = reading.drive();
        let testable = drive.filter(|drive| can_test(drive));
        Self {
            id,
            sets,
            // The reading may be older than a test that was just started.
            is_running: started_hours_ago == Some(0)
                || drive.is_some_and(|drive| drive.self_tests.running.is_some()),
            power_on_hours: testable.and_then(|drive| drive.power_on_hours),
            since_short: testable.and_then(|drive| since(drive, SelfTest::Short)),
            since_long: testable.and_then(|drive| since(drive, SelfTest::Long)),
            started_hours_ago,
        }
    }
}

/// SAS disks do not say whether they can before they did; trying does no harm.
fn can_test(drive: &Drive) -> bool {
    drive.self_tests.supported.unwrap_or(drive.class == DriveClass::Scsi)
}

/// Hours of operation since the last test that was as thorough and was not broken off.
fn since(drive: &Drive, test: SelfTest) -> Option<u64> {
    let now = drive.power_on_hours?;
    let counts = |of: Option<SelfTest>| match test {
        SelfTest::Short => of.is_some(),
        SelfTest::Long => of == Some(SelfTest::Long),
    };
    let ended = drive.self_tests.log.results.iter();
    let ended = ended.filter(|result| result.end != TestEnd::Aborted && counts(result.test));
    let ages = ended.filter_map(|result| {
        let at = result.at_hours?;
        match drive.class {
            DriveClass::Ata => Some((now % ATA_HOURS + ATA_HOURS - at % ATA_HOURS) % ATA_HOURS),
            // What is said to have ended in times to come tells nothing.
            _ => now.checked_sub(at),
        }
    });
    ages.min()
}

/// The tests to start now: at most one in each set, none where one runs already, and none at all while the
/// pool is `healing`. Short ones go first, as they take minutes; among them the one that waits for longest.
#[must_use]
pub fn plan_tests(disks: &[TestDisk], healing: bool) -> Vec<TestStart> {
    if healing {
        return Vec::new();
    }
    let running = disks.iter().filter(|disk| disk.is_running);
    let mut taken: BTreeSet<u32> = running.flat_map(|disk| disk.sets.iter().copied()).collect();
    let mut waiting: Vec<_> = disks.iter().filter_map(Waiting::of).collect();
    waiting.sort();
    let mut starts = Vec::new();
    for waiting in waiting {
        if waiting.sets.is_disjoint(&taken) {
            taken.extend(waiting.sets);
            starts.push(TestStart { disk: waiting.id.clone(), test: waiting.test() });
        }
    }
    starts
}

/// A disk that is to be tested, in the order in which they are.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting<'a> {
    is_long: bool,
    /// So that the longest wait comes first.
    patience: u64,
    id: &'a DiskId,
    sets: &'a BTreeSet<u32>,
}

impl<'a> Waiting<'a> {
    fn of(disk: &'a TestDisk) -> Option<Self> {
        let hours = disk.power_on_hours?;
        let is_recent = disk.started_hours_ago.is_some_and(|ago| ago < RETRY_HOURS);
        if disk.is_running || is_recent {
            return None;
        }
        let is_due = |since, interval| is_due(&disk.id, hours, since, interval);
        let (is_long, since) = if is_due(disk.since_short, SHORT_HOURS) {
            (false, disk.since_short)
        } else if is_due(disk.since_long, LONG_HOURS) {
            (true, disk.since_long)
        } else {
            return None;
        };
        let patience = u64::MAX - since.unwrap_or(u64::MAX);
        Some(Self { is_long, patience, id: &disk.id, sets: &disk.sets })
    }

    fn test(&self) -> SelfTest {
        if self.is_long { SelfTest::Long } else { SelfTest::Short }
    }
}

/// Each disk has its own hour within the interval, so that disks that were started together are not all
/// due together. A test that was late is not repeated at once.
fn is_due(id: &DiskId, hours: u64, since: Option<u64>, interval: u64) -> bool {
    let Some(since) = since else { return true };
    let phase = spread(&id.0) % interval;
    let round = |hours: u64| hours.saturating_add(phase) / interval;
    since >= 2 * interval
        || (since >= interval / 2 && round(hours) > round(hours.saturating_sub(since)))
}

/// A number that differs for names that differ in a letter (FNV-1a of 64 bits).
fn spread(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
