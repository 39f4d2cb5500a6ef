//! One disk of eight is lost, and its shards are made anew on another.

use std::time::Instant;

use agent_object_store_pool::group::repair::Holes;
use agent_object_store_pool::group::run::GroupId;
use agent_object_store_pool::redundancy::redundancy;
use agent_object_store_pool::superblock::VolumeNo;
use anyhow::{Context, Result, ensure};

use super::groups::{attached, fill};
use super::{Bench, ROUNDS, remove, volumes};
use crate::disk::Disk;
use crate::table::{Row, Wanted};
use crate::{progress, round_time, space};

/// Disks that hold the groups; one more takes the place of the lost one.
const DISKS: u16 = 8;

/// Groups that are filled.
const GROUPS: u64 = 4;

/// Length of their extents.
const EXTENT: u64 = 128 << 20;

/// Groups that are rebuilt at once.
const AT_ONCE: usize = 2;

/// Bytes written to the new disk per second, in MiB.
#[derive(Default)]
struct Rounds {
    disk_write: Vec<f64>,
    disk_read: Vec<f64>,
    one: Vec<f64>,
    two: Vec<f64>,
}

pub(super) async fn measure(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let redundancy = redundancy(usize::from(DISKS)).context("no disks")?;
    // One folder: on a machine with a disk for each, the new one is what limits.
    let disk = Disk::new(&bench.dir.join("limits"), 1, round_time(bench.options))?;
    let mut rounds = Rounds::default();
    for round in 0..ROUNDS {
        progress(&format!("rebuild of one of {DISKS} disks, round {}", round + 1));
        let (write, read) = disk.bandwidth()?;
        rounds.disk_write.push(write);
        rounds.disk_read.push(read);
        rounds.one.push(rebuild(bench, 1).await?);
        rounds.two.push(rebuild(bench, AT_ONCE).await?);
    }
    let k = f64::from(redundancy.k);
    let unit = "MiB/s";
    let name = format!("rebuild of one of {DISKS} disks");
    let moved = |figures: &[f64], times: f64| figures.iter().map(|figure| figure * times).collect();
    let wanted = Wanted::Least(0.7);
    let limit = "one folder's write (all share a disk)";
    Ok(vec![
        Row::new(format!("{name}, group by group"), unit, rounds.one.clone()).beside(
            limit,
            rounds.disk_write.clone(),
            wanted,
        ),
        Row::new(format!("{name}, {AT_ONCE} groups at once"), unit, rounds.two.clone()).beside(
            limit,
            rounds.disk_write.clone(),
            wanted,
        ),
        Row::new("its bytes read from the others", unit, moved(&rounds.two, k)).beside(
            "disk read",
            rounds.disk_read.clone(),
            Wanted::Nothing,
        ),
        Row::new("its bytes read and written", unit, moved(&rounds.two, k + 1.0)).beside(
            "disk read",
            rounds.disk_read,
            Wanted::Nothing,
        ),
    ])
}

/// MiB/s of the new shards.
async fn rebuild(bench: &Bench<'_>, at_once: usize) -> Result<f64> {
    let dir = bench.dir.join("rebuild");
    let mut devices = volumes(&dir, DISKS + 1)?;
    let spare = devices.pop().context("no spare")?;
    let groups = attached(&devices).await?;
    for group in 1..=GROUPS {
        fill(&groups, &devices, &bench.content, GroupId(group), EXTENT).await?;
    }
    groups.remove_device(VolumeNo(0));
    groups.add_device(&spare).await?;
    let lost = groups.degraded();
    ensure!(u64::try_from(lost.len())? == GROUPS, "{GROUPS} groups should miss a shard");
    space::forget(&dir)?;
    let started = Instant::now();
    let mut bytes = 0;
    for some in lost.chunks(at_once) {
        let some = some.iter().map(|status| async {
            let shard = *status.missing.first().context("no shard is missing")?;
            let pace = || async {};
            let rebuilt = groups.rebuild(status.group, shard, &spare, Holes::Refuse, pace).await?;
            ensure!(rebuilt.holes == 0, "group {} has holes", status.group);
            Ok(rebuilt.extent.size()?)
        });
        bytes += futures::future::try_join_all(some).await?.into_iter().sum::<u64>();
    }
    let seconds = started.elapsed().as_secs_f64();
    ensure!(groups.degraded().is_empty(), "a shard is still missing");
    drop((groups, devices, spare));
    remove(&dir)?;
    Ok(bytes as f64 / f64::from(1 << 20) / seconds)
}
