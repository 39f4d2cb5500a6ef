//! Large objects put through the engine, beside what one core hashes and what the disk writes.

use std::path::Path;
use std::time::{Duration, Instant};

use agent_object_store::{
    Attributes, Body, Bucket, Class, Engine, EngineConfig, ObjectKey, ObjectStore as _, Owner,
    PoolId, PutRequest, Volume, VolumeId, WriteConditions,
};
use agent_object_store_pool::redundancy::redundancy;
use agent_object_store_pool::seal::KEY;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use zeroize::Zeroizing;

use super::{Bench, ROUNDS, remove};
use crate::content::{LARGE, key};
use crate::disk::Disk;
use crate::table::{Row, Wanted};
use crate::{budget, progress, round_time};

/// Bytes that come at once, as from a connection.
const PIECE: usize = 64 << 10;

/// Bodies that are put at once, beside one alone.
const MANY: u64 = 4;

const UNIT: &str = "MiB/s";

/// Rounds of the engine and of its limits, in MiB/s.
#[derive(Default)]
struct Rounds {
    one: Vec<f64>,
    many: Vec<f64>,
    checksums: Vec<f64>,
    disk: Vec<f64>,
}

pub(super) async fn measure(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let disks = bench.options.disks;
    let found = redundancy(usize::from(disks)).context("no disks")?;
    let share = f64::from(found.k) / f64::from(found.k + found.m);
    let time = round_time(bench.options);
    let disk = Disk::new(&bench.dir.join("limits"), disks, time)?;
    let mut rounds = Rounds::default();
    for round in 0..ROUNDS {
        progress(&format!("64 MiB put through the engine, round {}", round + 1));
        rounds.checksums.push(budget::measure(&bench.content, time / 5)?.checksums);
        rounds.disk.push(disk.bandwidth()?.0 * share);
        rounds.one.push(put(bench, 1, time).await?);
        rounds.many.push(put(bench, MANY, time).await?);
    }
    let what = format!("disk × {}+{}", found.k, found.m);
    let name = |clients| format!("engine: 64 MiB PUT, {clients} at once");
    let Rounds { one, many, checksums, disk } = rounds;
    let row = |clients, figures| Row::new(name(clients), UNIT, figures);
    Ok(vec![
        row(1, one.clone()).beside("one core's checksums", checksums.clone(), Wanted::Nothing),
        row(1, one).beside(what.clone(), disk.clone(), Wanted::Nothing),
        row(MANY, many.clone()).beside("one core's checksums", checksums, Wanted::Nothing),
        row(MANY, many).beside(what, disk, Wanted::Nothing),
    ])
}

/// MiB/s of so many bodies at once, each on stable storage before the next one is put.
async fn put(bench: &Bench<'_>, clients: u64, time: Duration) -> Result<f64> {
    let dir = bench.dir.join("put");
    let engine = open(&dir, bench.options.disks).await?;
    let bucket = Bucket::new("bench")?;
    engine.create_bucket(&bucket, &Owner::new("bench")?).await?;
    // Groups are made before the clock starts.
    put_one(bench, &engine, &bucket, "first", 0).await?;
    let started = Instant::now();
    let work = (0..clients).map(|client| {
        let (engine, bucket) = (&engine, &bucket);
        async move {
            let (set, mut count) = (format!("{client}"), 0);
            while started.elapsed() < time {
                put_one(bench, engine, bucket, &set, count).await?;
                count += 1;
            }
            anyhow::Ok(count)
        }
    });
    let count: u64 = try_join_all(work).await?.into_iter().sum();
    let seconds = started.elapsed().as_secs_f64();
    engine.close().await;
    drop(engine);
    remove(&dir)?;
    Ok((count * LARGE as u64) as f64 / f64::from(1 << 20) / seconds)
}

/// A store on new volumes in folders.
async fn open(dir: &Path, disks: u16) -> Result<Engine> {
    let engine = Engine::open(EngineConfig::new(PoolId::new("bench")?, Zeroizing::new([1; KEY])));
    let volume = |number| {
        let path = dir.join(format!("disk-{number}"));
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        let id = VolumeId::new(&format!("disk-{number}"))?;
        anyhow::Ok(Volume { id, path, class: Class::Nvme })
    };
    let volumes: Vec<Volume> = (0..disks).map(volume).collect::<Result<_>>()?;
    try_join_all(volumes.into_iter().map(|volume| engine.attach(volume))).await?;
    Ok(engine)
}

async fn put_one(
    bench: &Bench<'_>,
    engine: &Engine,
    bucket: &Bucket,
    set: &str,
    number: u64,
) -> Result<()> {
    let content = bench.content.body(LARGE, number);
    let mut rest = content;
    let pieces = std::iter::from_fn(move || {
        let piece = rest.split_to(rest.len().min(PIECE));
        (!piece.is_empty()).then_some(Ok::<Bytes, agent_object_store::BodyError>(piece))
    });
    let body = Body::new(Box::pin(futures::stream::iter(pieces))).with_length(LARGE as u64);
    let request = PutRequest {
        bucket: bucket.clone(),
        key: ObjectKey::new(&key(LARGE, set, number))?,
        attributes: Attributes::default(),
        keep: Vec::new(),
        conditions: WriteConditions::default(),
    };
    let put = engine.put(request, body).await?;
    ensure!(put.size == LARGE as u64, "{} bytes were put", put.size);
    Ok(())
}
