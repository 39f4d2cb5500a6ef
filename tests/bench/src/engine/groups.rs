//! Groups written and read, beside the disk's bandwidth.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use agent_object_store_pool::device::Device;
use agent_object_store_pool::group::geometry::Shape;
use agent_object_store_pool::group::header::Kind;
use agent_object_store_pool::group::reader::GroupReader;
use agent_object_store_pool::group::run::{GroupId, Run};
use agent_object_store_pool::group::set::Groups;
use agent_object_store_pool::group::writer::{EXTENT, GroupWriter, NewGroup};
use agent_object_store_pool::redundancy::redundancy;
use anyhow::{Context, Result, ensure};

use super::{Bench, ROUNDS, compute, remove, volumes};
use crate::content::Content;
use crate::disk::Disk;
use crate::table::{Row, Wanted};
use crate::{progress, round_time, space};

/// Rows that are appended at once: as many as a group writes at a time.
const AT_ONCE: usize = 4;

const UNIT: &str = "MiB/s";

/// MiB/s of all rounds.
#[derive(Default)]
struct Rounds {
    disk_write: Vec<f64>,
    disk_read: Vec<f64>,
    open: Vec<f64>,
    write: Vec<f64>,
    cached: Vec<f64>,
    cold: Vec<f64>,
    degraded_cached: Vec<f64>,
    degraded_cold: Vec<f64>,
}

pub(super) async fn measure(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let disks = bench.options.disks;
    let shape = redundancy(usize::from(disks)).context("no disks")?.shape();
    let disk = Disk::new(&bench.dir.join("limits"), disks, round_time(bench.options))?;
    let mut rounds = Rounds::default();
    for round in 0..ROUNDS {
        progress(&format!("groups of {}+{}, round {}", shape.k, shape.m, round + 1));
        rounds.add(bench, &disk, shape).await?;
    }
    let share = f64::from(shape.k) / f64::from(shape.shards());
    let what = format!("{}+{}", shape.k, shape.m);
    let stored: Vec<f64> = rounds.disk_write.iter().map(|write| write * share).collect();
    let read = || rounds.disk_read.clone();
    let open = || rounds.open.clone();
    let row = |name: &str, figures| Row::new(format!("group {what}: {name}"), UNIT, figures);
    let nothing = Wanted::Nothing;
    let lost = shape.m;
    Ok(vec![
        row("write and sync", rounds.write).beside(format!("disk × {what}"), stored, nothing),
        row("read, in the page cache", rounds.cached).beside("open, one core", open(), nothing),
        row("read, from the disk", rounds.cold).beside("disk read", read(), nothing),
        row(&format!("read without {lost}, page cache"), rounds.degraded_cached).beside(
            "open, one core",
            open(),
            nothing,
        ),
        row(&format!("read without {lost}, from the disk"), rounds.degraded_cold).beside(
            "disk read",
            read(),
            nothing,
        ),
        Row::new(format!("disk write, direct ({})", disk.tool()), UNIT, rounds.disk_write),
    ])
}

impl Rounds {
    async fn add(&mut self, bench: &Bench<'_>, disk: &Disk, shape: Shape) -> Result<()> {
        let (write, read) = disk.bandwidth()?;
        self.disk_write.push(write);
        self.disk_read.push(read);
        self.open.push(compute::open_rate(&bench.content, round_time(bench.options) / 10)?);
        let dir = bench.dir.join("groups");
        let devices = volumes(&dir, u16::from(shape.shards()))?;
        let groups = attached(&devices).await?;
        let group = GroupId(1);
        let started = Instant::now();
        let run = fill(&groups, &devices, &bench.content, group, EXTENT).await?;
        self.write.push(rate(&run, started));
        let reader = groups.reader(group).await.context("the group is gone")?;
        self.cached.push(read_all(&reader, &run, &bench.content, &dir, false).await?);
        self.cold.push(read_all(&reader, &run, &bench.content, &dir, true).await?);
        for device in devices.iter().take(usize::from(shape.m)) {
            groups.remove_device(device.number());
        }
        let reader = groups.reader(group).await.context("the group is gone")?;
        self.degraded_cached.push(read_all(&reader, &run, &bench.content, &dir, false).await?);
        self.degraded_cold.push(read_all(&reader, &run, &bench.content, &dir, true).await?);
        drop((reader, groups, devices));
        remove(&dir)
    }
}

/// All groups on some volumes.
pub(super) async fn attached(devices: &[Device]) -> Result<Groups> {
    let groups = Groups::new(Arc::new(|damage| eprintln!("  damage: {damage:?}")));
    for device in devices {
        groups.add_device(device).await?;
    }
    Ok(groups)
}

/// Fills a group with full rows over all devices, and seals it; the run is all of it.
pub(super) async fn fill(
    groups: &Groups,
    devices: &[Device],
    content: &Content,
    group: GroupId,
    extent: u64,
) -> Result<Run> {
    let shape = redundancy(devices.len()).context("no disks")?.shape();
    let writer =
        groups.create(NewGroup { group, kind: Kind::Bulk, shape, extent }, devices).await?;
    let mut run: Option<Run> = None;
    let full = shape.full_row();
    while writer.room() == full {
        let places =
            futures::future::join_all((0..AT_ONCE).map(|_| append(writer.clone(), content, full)));
        for place in places.await {
            let Some(place) = place? else { continue };
            match &mut run {
                None => run = Some(Run::row(group, place)),
                Some(run) => {
                    ensure!(run.push(&shape, place), "a row does not stand behind another")
                }
            }
        }
    }
    writer.seal().await?;
    run.context("no row fits the group")
}

/// Appends a row; none if it does not fit any more.
async fn append(
    writer: GroupWriter,
    content: &Content,
    full: u32,
) -> Result<Option<agent_object_store_pool::group::geometry::RowPlace>> {
    use agent_object_store_pool::group::error::WriteError;
    let row = content.body(usize::try_from(full)?, 0).to_vec();
    match writer.append(row).await {
        Ok(place) => Ok(Some(place)),
        Err(WriteError::Full) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads a run that [`fill`] wrote, and compares it.
async fn read_all(
    reader: &GroupReader,
    run: &Run,
    content: &Content,
    dir: &Path,
    from_disk: bool,
) -> Result<f64> {
    if from_disk {
        space::forget(dir)?;
    }
    let row = usize::try_from(reader.shape().full_row())?;
    let body = content.body(row, 0);
    let started = Instant::now();
    let mut stream = reader.stream(run)?;
    let mut at = 0;
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        let mut rest = &piece[..];
        while !rest.is_empty() {
            let from = at % row;
            let length = rest.len().min(row - from);
            let (now, later) = rest.split_at(length);
            ensure!(body.get(from..from + length) == Some(now), "other bytes at {at} of a run");
            at += length;
            rest = later;
        }
    }
    ensure!(u64::try_from(at)? == run.length, "{} bytes were wanted, not {at}", run.length);
    Ok(rate(run, started))
}

fn rate(run: &Run, started: Instant) -> f64 {
    run.length as f64 / f64::from(1 << 20) / started.elapsed().as_secs_f64()
}
