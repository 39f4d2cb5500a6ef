//! How long calls to volumes took lately, from what the store measures. Pure.

use std::collections::BTreeMap;

use agent_health::drive::ObservedCalls;
use agent_health::host::latency::quantile;
use agent_health::{Family, Sample, SampleKind};
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

/// What the store saw of each disk since, by lasting names; `on` tells which volume is on which disk.
pub(super) fn observed(
    volumes: &[VolumeStatus],
    before: &Before,
    on: &BTreeMap<String, String>,
) -> BTreeMap<String, ObservedCalls> {
    let of = |volume: &VolumeStatus| of_all(&volume.measured, before.get(volume.id.as_str())?);
    let latencies: Vec<_> = volumes.iter().map(|volume| (volume.class, of(volume))).collect();
    let calls = |volume: &VolumeStatus| {
        let measured = &volume.measured;
        let failed = [&measured.reads, &measured.writes, &measured.syncs].map(|calls| calls.errors);
        let peers = latencies.iter().filter(|(class, _)| *class == volume.class);
        let mut peers: Vec<u64> = peers.filter_map(|(_, p99)| *p99).collect();
        peers.sort_unstable();
        ObservedCalls {
            // Since the volume was attached: it is fenced at the first that matters.
            errors: Some(failed.iter().fold(0, |all: u64, errors| all.saturating_add(*errors))),
            damaged_blocks: Some(volume.damaged_blocks),
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
    u64::try_from(std::time::Duration::try_from_secs_f64(slowest).ok()?.as_micros()).ok()
}

fn p99(now: &Calls, before: &Calls) -> Option<f64> {
    let ends = SPANS_US.map(|us| std::time::Duration::from_micros(us).as_secs_f64());
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
}
