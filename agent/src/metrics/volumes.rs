//! Each volume.

use std::fmt;

use agent_object_store::{Calls, Class, SPANS_US, VolumeState, VolumeStatus};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::families::{Durations, Families};

/// The volumes.
#[derive(Debug)]
pub(super) struct VolumeReadings(pub(super) Vec<VolumeStatus>);

/// What states are called, as in `icn-agent pool status --json`.
const STATES: [&str; 6] = ["attaching", "in_use", "retiring", "retired", "fenced", "missing"];

impl Collector for VolumeReadings {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut to = Families(encoder);
        let volumes = &self.0;
        let infos = volumes.iter().map(|volume| {
            [("volume", volume.id.as_str()), ("class", volume.class.map_or("", class))]
        });
        to.infos("volume", "Volumes of the pool, and how fast they are", infos)?;
        let states = volumes.iter().flat_map(|volume| {
            let now = state(&volume.state);
            STATES.map(|state| {
                ([("volume", volume.id.as_str()), ("state", state)], u64::from(state == now))
            })
        });
        to.gauges("volume_state", "1 for the state that a volume is in, else 0", None, states)?;
        let of = |what: fn(&VolumeStatus) -> u64| {
            volumes.iter().map(move |volume| ([("volume", volume.id.as_str())], what(volume)))
        };
        let bytes = Some(&Unit::Bytes);
        let help = "Size of the file system; 0 while it is missing";
        to.gauges("volume_capacity", help, bytes, of(|volume| volume.capacity_bytes))?;
        let help = "Bytes that a volume still takes, without what is kept free";
        to.gauges("volume_free", help, bytes, of(|volume| volume.free_bytes))?;
        to.gauges("volume_files", "Shards and segments", None, of(|volume| volume.files))?;
        let help = "Damaged blocks that were met since the store was opened";
        to.counters("volume_damaged_blocks", help, None, of(|volume| volume.damaged_blocks))?;
        let help = "Shards that were made anew on a volume since the store was opened";
        to.counters("volume_repaired_shards", help, None, of(|volume| volume.repaired_shards))?;
        let help = "Calls to a volume's file system since it was attached, and how long they took";
        let calls = each_call(volumes).map(|(labels, calls)| (labels, durations(calls)));
        to.durations("volume_call", help, calls)?;
        let help = "Calls that failed";
        let errors = each_call(volumes).map(|(labels, calls)| (labels, calls.errors));
        to.counters("volume_call_errors", help, None, errors)?;
        let help =
            "Bytes that were read and written; writes that are durable at once count as syncs";
        let moved = each_call(volumes).map(|(labels, calls)| (labels, calls.bytes));
        to.counters("volume_call", help, bytes, moved)
    }
}

/// Calls of every volume and kind.
fn each_call(
    volumes: &[VolumeStatus],
) -> impl Iterator<Item = ([(&'static str, &str); 2], &Calls)> {
    volumes.iter().flat_map(|volume| {
        let measured = &volume.measured;
        let kinds =
            [("read", &measured.reads), ("write", &measured.writes), ("sync", &measured.syncs)];
        kinds.map(|(kind, calls)| ([("volume", volume.id.as_str()), ("call", kind)], calls))
    })
}

/// Whole numbers of microseconds up to 2^53 are exact.
#[expect(clippy::cast_precision_loss, reason = "285 years of microseconds fit")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn durations(calls: &Calls) -> Durations {
    let ends = SPANS_US.map(seconds).into_iter().chain([f64::INFINITY]);
    Durations {
        seconds: seconds(calls.micros),
        count: calls.count(),
        buckets: ends.zip(calls.by_time).collect(),
    }
}

fn class(class: Class) -> &'static str {
    match class {
        Class::Hdd => "hdd",
        Class::Ssd => "ssd",
        Class::Nvme => "nvme",
    }
}

fn state(state: &VolumeState) -> &'static str {
    match state {
        VolumeState::Attaching => "attaching",
        VolumeState::Attached => "in_use",
        VolumeState::Retiring => "retiring",
        VolumeState::Retired => "retired",
        VolumeState::Fenced { .. } => "fenced",
        VolumeState::Missing => "missing",
    }
}
