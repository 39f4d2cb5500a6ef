//! A disk's numbers, with names.

use disk_manager_plan::report::DiskId;

use super::assess::Counts;
use super::reading::{Drive, DriveReading};
use crate::sample::{Family, Sample, SampleKind};

/// NVMe counts data in thousands of 512 bytes (NVMe Base 2.0, figure 207).
const DATA_UNIT_BYTES: f64 = 512_000.0;

/// What an hour has of seconds.
const HOUR_SECONDS: f64 = 3600.0;

/// What is told of disks' own data.
pub(crate) const FAMILIES: &[Family] = &[
    Family::gauge("disk_asleep", "1 while a disk sleeps and is not asked, else 0"),
    Family::gauge(
        "disk_passed",
        "1 where a disk's own verdict is that it passed, 0 where it fails",
    ),
    Family::gauge("disk_temperature_celsius", "Temperature of a disk"),
    Family::gauge("disk_temperature_limit_celsius", "Temperature above which a disk warns"),
    Family::counter("disk_power_on_seconds", "How long a disk has been powered"),
    Family::counter("disk_power_cycles", "How often a disk was powered on"),
    Family::gauge("disk_wear_ratio", "Used up of the rated endurance; above 1 is possible"),
    Family::gauge("disk_spare_ratio", "Left of the spare of a disk"),
    Family::counter("disk_reallocated_sectors", "Sectors that were replaced"),
    Family::gauge("disk_pending_sectors", "Sectors that wait to be replaced"),
    Family::counter("disk_media_errors", "Reads that nothing could correct"),
    Family::counter("disk_interface_errors", "Errors between disk and host"),
    Family::counter("disk_timeouts", "Commands that timed out"),
    Family::counter("disk_logged_errors", "Entries of the error log of a disk"),
    Family::counter("disk_unsafe_shutdowns", "How often the power of a disk failed unannounced"),
    Family::counter("disk_read_bytes", "Bytes that an NVMe disk has read"),
    Family::counter("disk_written_bytes", "Bytes that an NVMe disk has written"),
];

impl DriveReading {
    /// The numbers of this reading, each with the label `disk`. What is not known is left out.
    ///
    /// | name | kind | what |
    /// |---|---|---|
    /// | `disk_asleep` | gauge | 1 while it sleeps and is not asked |
    /// | `disk_passed` | gauge | 1 where its own verdict is that it passed, 0 where it fails |
    /// | `disk_temperature_celsius` | gauge | its temperature |
    /// | `disk_temperature_limit_celsius` | gauge | above which it warns, where it says so |
    /// | `disk_power_on_seconds` | counter | how long it has been powered |
    /// | `disk_power_cycles` | counter | how often it was powered on |
    /// | `disk_wear_ratio` | gauge | used up of its rated endurance; above 1 is possible |
    /// | `disk_spare_ratio` | gauge | left of its spare |
    /// | `disk_reallocated_sectors` | counter | attribute 5, or SCSI's grown defects |
    /// | `disk_pending_sectors` | gauge | attribute 197, or SCSI's pending defects |
    /// | `disk_media_errors` | counter | attribute 187, NVMe's media errors, or SCSI's uncorrected errors |
    /// | `disk_interface_errors` | counter | attribute 199: errors between disk and host |
    /// | `disk_timeouts` | counter | attribute 188: commands that timed out |
    /// | `disk_logged_errors` | counter | entries of its error log |
    /// | `disk_unsafe_shutdowns` | counter | times that its power failed unannounced |
    /// | `disk_read_bytes` | counter | bytes read, of NVMe |
    /// | `disk_written_bytes` | counter | bytes written, of NVMe |
    #[must_use]
    pub fn samples(&self, disk: &DiskId) -> Vec<Sample> {
        let mut list = List { disk: &disk.0, samples: Vec::new() };
        match self {
            Self::Asleep => list.gauge("disk_asleep", Some(1.0)),
            Self::Known(drive) => {
                list.gauge("disk_asleep", Some(0.0));
                list.drive(drive, &Counts::of(self));
            }
            Self::Cannot { .. } | Self::Unknown { .. } => {}
        }
        list.samples
    }
}

struct List<'a> {
    disk: &'a str,
    samples: Vec<Sample>,
}

impl List<'_> {
    fn drive(&mut self, drive: &Drive, counts: &Counts) {
        self.gauge("disk_passed", drive.passed.map(f64::from));
        let temperatures = drive.temperatures;
        self.gauge("disk_temperature_celsius", temperatures.current.map(f64::from));
        self.gauge("disk_temperature_limit_celsius", temperatures.warning.map(f64::from));
        let hours = drive.power_on_hours.map(|hours| number(hours) * HOUR_SECONDS);
        self.counter("disk_power_on_seconds", hours);
        self.counter("disk_power_cycles", drive.power_cycles.map(number));
        self.gauge("disk_wear_ratio", drive.wear_percent.map(|wear| number(wear) / 100.0));
        let nvme = drive.nvme.as_ref();
        let spare = nvme.and_then(|log| log.available_spare);
        self.gauge("disk_spare_ratio", spare.map(|spare| f64::from(spare) / 100.0));
        self.counter("disk_reallocated_sectors", counts.reallocated.map(number));
        self.gauge("disk_pending_sectors", counts.pending.map(number));
        self.counter("disk_media_errors", counts.media_errors.map(number));
        self.counter("disk_interface_errors", counts.interface_errors.map(number));
        let timeouts = drive.usual_attribute(188).and_then(|attribute| attribute.words());
        self.counter("disk_timeouts", timeouts.map(|[all, ..]| f64::from(all)));
        self.counter("disk_logged_errors", drive.logged_errors.map(number));
        let shutdowns = nvme.and_then(|log| log.unsafe_shutdowns);
        self.counter("disk_unsafe_shutdowns", shutdowns.map(wide));
        let bytes = |units: Option<u128>| units.map(|units| wide(units) * DATA_UNIT_BYTES);
        self.counter("disk_read_bytes", bytes(nvme.and_then(|log| log.data_units_read)));
        self.counter("disk_written_bytes", bytes(nvme.and_then(|log| log.data_units_written)));
    }

    fn gauge(&mut self, name: &'static str, value: Option<f64>) {
        self.add(name, SampleKind::Gauge, value);
    }

    fn counter(&mut self, name: &'static str, value: Option<f64>) {
        self.add(name, SampleKind::Counter, value);
    }

    fn add(&mut self, name: &'static str, kind: SampleKind, value: Option<f64>) {
        let Some(value) = value else { return };
        let labels = vec![("disk", self.disk.to_owned())];
        self.samples.push(Sample { name, labels, kind, value });
    }
}

#[expect(clippy::cast_precision_loss, reason = "a sample of more than 2^53 may be off by one")]
fn number(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "a sample of more than 2^53 may be off by one")]
fn wide(count: u128) -> f64 {
    count as f64
}
