//! What the kernel counts of each disk: /proc/diskstats (Documentation/admin-guide/iostats.rst). Reading it
//! asks no disk and wakes none.

use std::collections::BTreeMap;
use std::path::Path;

use super::sysfs;
use crate::reading::Reading;
use crate::sample::{Family, Sample, number};

/// Bytes of a sector in /proc/diskstats, whatever the disk's own are.
const SECTOR: f64 = 512.0;

const CALLS: Family = Family::counter("disk_io_calls", "Calls that a disk has completed");
const BYTES: Family = Family::counter("disk_io_bytes", "Bytes that a disk has read or written");
const TIME: Family = Family::counter("disk_io_seconds", "How long calls to a disk took together");
const BUSY: Family =
    Family::counter("disk_io_busy_seconds", "How long a disk had at least one call to carry out");
const LATENCY: Family = Family::gauge(
    "disk_io_latency_seconds",
    "How long calls took on average between the last two readings",
);

/// What is told of the activity of disks.
pub(crate) const FAMILIES: &[Family] = &[CALLS, BYTES, TIME, BUSY, LATENCY];

/// What the kernel has counted of a disk since it was plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Activity {
    /// Reads.
    pub reads: Calls,
    /// Writes.
    pub writes: Calls,
    /// Milliseconds during which there was at least one call.
    pub busy_ms: u64,
}

/// Calls of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Calls {
    /// Those that were completed.
    pub count: u64,
    /// Sectors of 512 bytes.
    pub sectors: u64,
    /// Milliseconds that all took together.
    pub time_ms: u64,
}

/// Reads the activity of the disks in `names` (kernel's name → lasting name) below `proc`, which is `/proc`
/// but for tests; by lasting name.
#[must_use]
pub fn read_activity(
    proc: &Path,
    names: &BTreeMap<String, String>,
) -> Reading<BTreeMap<String, Activity>> {
    Reading::of(sysfs::text(&proc.join("diskstats")).map(|text| {
        let all = text?;
        let known = all.lines().filter_map(|line| {
            let (device, activity) = activity(line)?;
            Some((names.get(device)?.clone(), activity))
        });
        Some(known.collect())
    }))
}

/// A line: the kernel's name of the disk, and what it counts.
#[must_use]
pub fn activity(line: &str) -> Option<(&str, Activity)> {
    let mut words = line.split_ascii_whitespace().skip(2);
    let device = words.next()?;
    let mut next = || words.next()?.parse::<u64>().ok();
    let mut calls = || {
        let (count, _merged, sectors, time_ms) = (next()?, next()?, next()?, next()?);
        Some(Calls { count, sectors, time_ms })
    };
    let (reads, writes) = (calls()?, calls()?);
    let (_under_way, busy_ms) = (next()?, next()?);
    Some((device, Activity { reads, writes, busy_ms }))
}

/// The numbers; `before` is the reading before this one, for what happened between.
#[must_use]
pub fn samples(
    now: &BTreeMap<String, Activity>,
    before: &BTreeMap<String, Activity>,
) -> Vec<Sample> {
    let mut all = Vec::new();
    for (disk, activity) in now {
        let labels = |call: Option<&str>| {
            let mut labels = vec![("disk", disk.clone())];
            labels.extend(call.map(|call| ("call", call.to_owned())));
            labels
        };
        let earlier = before.get(disk);
        let both = [
            ("read", activity.reads, earlier.map(|earlier| earlier.reads)),
            ("write", activity.writes, earlier.map(|earlier| earlier.writes)),
        ];
        for (call, calls, earlier) in both {
            let labels = || labels(Some(call));
            all.push(CALLS.sample(labels(), number(calls.count)));
            all.push(BYTES.sample(labels(), number(calls.sectors) * SECTOR));
            all.push(TIME.sample(labels(), number(calls.time_ms) / 1e3));
            let latency = earlier.and_then(|earlier| latency(calls, earlier));
            all.extend(latency.map(|seconds| LATENCY.sample(labels(), seconds)));
        }
        all.push(BUSY.sample(labels(None), number(activity.busy_ms) / 1e3));
    }
    all
}

/// Seconds that a call took on average between two readings; none where there was none, or where the
/// counters began anew.
fn latency(now: Calls, before: Calls) -> Option<f64> {
    let count = now.count.checked_sub(before.count).filter(|count| *count > 0)?;
    let time_ms = now.time_ms.checked_sub(before.time_ms)?;
    Some(number(time_ms) / 1e3 / number(count))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::host::sysfs::fake::tree;

    const LINES: &str = "   8       0 sda 100 5 2048 400 50 3 4096 600 0 700 1000 0 0 0 0 0 0\n   \
                         8       1 sda1 9 0 9 9 9 9 9 9 0 9 9\n 259 0 nvme0n1 1 0 8 2\n";

    #[test]
    fn disks_are_told_by_their_lasting_names_and_partitions_not() {
        let root = tree(&[("diskstats", LINES)]);
        let names = [("sda".to_owned(), "wwn-1".to_owned()), ("nvme0n1".into(), "eui-2".into())];
        let reading = read_activity(root.path(), &names.into());
        let Reading::Known(found) = reading else { panic!("{reading:?}") };
        let reads = Calls { count: 100, sectors: 2048, time_ms: 400 };
        let writes = Calls { count: 50, sectors: 4096, time_ms: 600 };
        let activity = Activity { reads, writes, busy_ms: 700 };
        assert_eq!(found, [("wwn-1".to_owned(), activity)].into(), "half a line is none");
        assert_eq!(read_activity(Path::new("/nonexistent"), &BTreeMap::new()), Reading::Absent);
    }

    #[test]
    fn latency_is_that_between_two_readings() {
        let calls = |count, time_ms| Calls { count, sectors: 0, time_ms };
        assert_eq!(latency(calls(110, 450), calls(100, 400)), Some(0.005));
        assert_eq!(latency(calls(100, 400), calls(100, 400)), None);
        assert_eq!(latency(calls(5, 10), calls(100, 400)), None, "plugged in anew");
        let of = |reads| {
            let activity = Activity { reads, ..Activity::default() };
            BTreeMap::from([("d".to_owned(), activity)])
        };
        let all = samples(&of(calls(110, 450)), &of(calls(100, 400)));
        let latency = all.iter().find(|sample| sample.name == "disk_io_latency_seconds");
        let series = latency.map(|sample| (sample.series(), sample.value));
        let wanted = "disk_io_latency_seconds{disk=\"d\",call=\"read\"}";
        assert_eq!(series, Some((wanted.to_owned(), 0.005)));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_crash(text in "(?s).{0,200}") {
            for line in text.lines() {
                let _ = activity(line);
            }
        }
    }
}
