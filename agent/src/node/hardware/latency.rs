//! How long calls to volumes took lately, from what the store measures. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use agent_health::drive::{ObservedCalls, Thresholds};
use agent_health::host::latency::quantile;
use agent_health::{Family, Sample, SampleKind, Trends};
use agent_object_store::{Calls, Measured, SPANS_US, VolumeStatus};

/// What this source is called.
pub(super) const SOURCE: &str = "volumes";

/// The share of calls that took less.
const SHARE: f64 = 0.99;

/// Disks of a class of which one can be called slower than the others.
const PEERS_LEAST: usize = 3;

/// What is told of the latency of volumes.
pub(crate) const FAMILY: Family = Family {
    name: "volume_call_p99_seconds",
    help: "Time below which 99 of 100 calls to a volume's file system stayed in the last minute",
    kind: SampleKind::Gauge,
};

/// What volumes measured at an earlier time, by their ids.
pub(super) type Before = BTreeMap<String, Measured>;

/// What the volumes have measured now.
pub(super) fn measured(volumes: &[VolumeStatus]) -> Before {
    volumes.iter().map(|volume| (volume.id.to_string(), volume.measured)).collect()
}

/// The numbers of what happened since.
pub(super) fn samples(volumes: &[VolumeStatus], before: &Before) -> Vec<Sample> {
    let mut all = Vec::new();
    for volume in volumes {
        let Some(earlier) = before.get(volume.id.as_str()) else { continue };
        let now = &volume.measured;
        let kinds = [
            ("read", &now.reads, &earlier.reads),
            ("write", &now.writes, &earlier.writes),
            ("sync", &now.syncs, &earlier.syncs),
        ];
        for (call, now, earlier) in kinds {
            let labels = vec![("volume", volume.id.to_string()), ("call", call.to_owned())];
            all.extend(p99(now, earlier).map(|seconds| FAMILY.sample(labels, seconds)));
        }
    }
    all
}

/// What went wrong on a volume since it was attached. Judges see how these grew.
fn counters(volume: &VolumeStatus) -> [Sample; 2] {
    let measured = &volume.measured;
    let failed = [&measured.reads, &measured.writes, &measured.syncs].map(|calls| calls.errors);
    let failed = failed.iter().fold(0_u64, |all, errors| all.saturating_add(*errors));
    let of = |name, count: u64| Sample {
        name,
        labels: vec![("volume", volume.id.to_string())],
        kind: SampleKind::Counter,
        // Exact up to 2^32; more failures than that are not told apart.
        value: f64::from(u32::try_from(count).unwrap_or(u32::MAX)),
    };
    [of("volume_failed_calls", failed), of("volume_damaged", volume.damaged_blocks)]
}

/// Takes in what went wrong on volumes. They began at 0 when they were attached.
pub(super) fn record(trends: &mut Trends, volumes: &[VolumeStatus], before: &Before, now_ms: u64) {
    for volume in volumes {
        let counters = counters(volume);
        if !before.contains_key(volume.id.as_str()) {
            let zero = counters.clone().map(|sample| Sample { value: 0.0, ..sample });
            trends.record(now_ms, &zero);
        }
        trends.record(now_ms, &counters);
    }
}

/// What the store saw of each disk since, by lasting names; `on` tells which volume is on which disk.
pub(super) fn observed(
    volumes: &[VolumeStatus],
    before: &Before,
    on: &BTreeMap<String, String>,
    trends: &Trends,
    now_ms: u64,
) -> BTreeMap<String, ObservedCalls> {
    let of = |volume: &VolumeStatus| of_all(&volume.measured, before.get(volume.id.as_str())?);
    let latencies: Vec<_> = volumes.iter().map(|volume| (volume.class, of(volume))).collect();
    let calls = |volume: &VolumeStatus| {
        let lately = |sample: &Sample| {
            let window = Duration::from_secs(Thresholds::default().window_seconds);
            let grown = trends.increase(&sample.series(), now_ms, window)?;
            Some(Duration::try_from_secs_f64(grown).ok()?.as_secs())
        };
        let [errors, damaged] = counters(volume).map(|sample| lately(&sample));
        let peers = latencies.iter().filter(|(class, _)| *class == volume.class);
        let mut peers: Vec<u64> = peers.filter_map(|(_, p99)| *p99).collect();
        peers.sort_unstable();
        ObservedCalls {
            errors,
            damaged_blocks: damaged,
            p99_us: of(volume),
            // With fewer than three there is no middle one.
            peers_p99_us: (peers.len() >= PEERS_LEAST)
                .then(|| peers.get(peers.len() / 2).copied())
                .flatten(),
        }
    };
    let disks = on.iter().filter_map(|(disk, id)| {
        let volume = volumes.iter().find(|volume| volume.id.as_str() == id)?;
        Some((disk.clone(), calls(volume)))
    });
    disks.collect()
}

/// Microseconds below which 99 of 100 calls of all kinds stayed.
pub(super) fn of_all(now: &Measured, before: &Measured) -> Option<u64> {
    let kinds =
        [(&now.reads, &before.reads), (&now.writes, &before.writes), (&now.syncs, &before.syncs)];
    let slowest = kinds.into_iter().filter_map(|(now, before)| p99(now, before));
    let slowest = slowest.reduce(f64::max)?;
    u64::try_from(Duration::try_from_secs_f64(slowest).ok()?.as_micros()).ok()
}

fn p99(now: &Calls, before: &Calls) -> Option<f64> {
    let ends = SPANS_US.map(|us| Duration::from_micros(us).as_secs_f64());
    quantile(&ends, &before.by_time, &now.by_time, SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_kind_counts_for_the_volume() {
        let (mut before, mut now) = (Measured::default(), Measured::default());
        assert_eq!(of_all(&now, &before), None);
        before.reads.by_time[0] = 7;
        now.reads.by_time[0] = 107;
        assert_eq!(of_all(&now, &before), Some(63));
        now.syncs.by_time[4] = 1;
        // Between 4096 and 16384 µs.
        let all = of_all(&now, &before).expect("calls");
        assert!((16_000..=16_384).contains(&all), "{all}");
    }

    #[test]
    fn failed_calls_of_the_last_week_are_seen_per_disk_also_the_first() {
        let mut volume = VolumeStatus {
            id: agent_object_store::VolumeId::new("a").expect("an id"),
            number: None,
            class: None,
            path: None,
            state: agent_object_store::VolumeState::Attached,
            since: agent_object_store::UnixMillis(0),
            capacity_bytes: 0,
            free_bytes: 0,
            has_index: false,
            has_standby: false,
            is_hot: false,
            files: 0,
            leaving: None,
            measured: Measured::default(),
            damaged_blocks: 2,
            repaired_shards: 0,
        };
        volume.measured.writes.errors = 3;
        let on = BTreeMap::from([("wwn-1".to_owned(), "a".to_owned())]);
        let (mut trends, none) = (Trends::default(), Before::new());
        let volumes = [volume];
        record(&mut trends, &volumes, &none, 5);
        let seen = |now_ms| observed(&volumes, &none, &on, &trends, now_ms)["wwn-1"];
        assert_eq!((seen(5).errors, seen(5).damaged_blocks), (Some(3), Some(2)));
        assert_eq!((seen(5).p99_us, seen(5).peers_p99_us), (None, None));
        assert_eq!(seen(8 * 86_400_000).errors, Some(0), "older than a week");
    }
}
