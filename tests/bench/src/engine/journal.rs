//! Appends to a journal, beside the syncs that the disk makes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use agent_object_store_pool::journal::{Journal, JournalConfig, Lsn};
use agent_object_store_pool::superblock::Class;
use anyhow::{Context, Result, ensure};

use super::{Bench, ROUNDS, remove, volumes};
use crate::content::SMALL;
use crate::disk::Disk;
use crate::percentile::{Latencies, median};
use crate::progress;
use crate::round_time;
use crate::table::{Row, Wanted};

const LANES: [usize; 2] = [1, 4];

const WRITERS: [usize; 3] = [1, 16, 64];

/// Bytes of a record: an object of 4 KiB and what is said of it.
const RECORD: usize = SMALL;

pub(super) async fn measure(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let time = round_time(bench.options) / 2;
    let disk = Disk::new(&bench.dir.join("limits"), 1, time)?;
    let (mut one, mut many) = (Vec::new(), Vec::new());
    let works: Vec<(usize, usize)> =
        LANES.iter().flat_map(|lanes| WRITERS.map(|writers| (*lanes, writers))).collect();
    let mut rates = vec![Vec::new(); works.len()];
    let mut p50s = vec![Vec::new(); works.len()];
    for round in 0..ROUNDS {
        progress(&format!("journal, round {}", round + 1));
        one.push(disk.syncs(1)?);
        many.push(disk.syncs(16)?);
        for (number, (lanes, writers)) in works.iter().enumerate() {
            let (rate, latencies) = load(bench, *lanes, *writers, time).await?;
            rates.get_mut(number).context("no work")?.push(rate);
            let p50 = latencies.p50.as_secs_f64() * 1e3;
            p50s.get_mut(number).context("no work")?.push(p50);
        }
    }
    let mut rows = Vec::new();
    for (((lanes, writers), rates), p50s) in works.into_iter().zip(rates).zip(p50s) {
        let name = format!("journal, {lanes} lanes, {writers} writers of 4 KiB");
        let (limit, figures) = if lanes.min(writers) == 1 { ("1", &one) } else { ("16", &many) };
        let row = Row::new(name, "/s", rates)
            .beside(format!("fdatasync, depth {limit}"), figures.clone(), Wanted::Nothing)
            .details(serde_json::json!({ "p50_ms": median(&p50s) }));
        rows.push(row);
    }
    Ok(rows)
}

/// Appends per second.
async fn load(
    bench: &Bench<'_>,
    lanes: usize,
    writers: usize,
    time: Duration,
) -> Result<(f64, Latencies)> {
    let dir = bench.dir.join("journal");
    let device = volumes(&dir, 1)?.pop().context("no volume")?;
    let config = JournalConfig { lanes, ..JournalConfig::of(Class::Nvme) };
    let (journal, _) = Journal::open(device, config, |_| ()).await?;
    // The first segments are made before the clock starts.
    let first = futures::future::try_join_all(
        (0..64).map(|lsn| journal.append(Lsn(lsn), bench.content.body(RECORD, lsn))),
    );
    first.await?;
    let next = Arc::new(AtomicU64::new(64));
    let bodies: Arc<Vec<_>> = Arc::new((0..64).map(|n| bench.content.body(RECORD, n)).collect());
    let started = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|_| {
            let (journal, next, bodies) = (journal.clone(), Arc::clone(&next), Arc::clone(&bodies));
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while started.elapsed() < time {
                    let lsn = next.fetch_add(1, Ordering::Relaxed);
                    let body = bodies.get(usize::try_from(lsn % 64)?).context("no body")?;
                    let asked = Instant::now();
                    let place = journal.append(Lsn(lsn), body.clone()).await?;
                    latencies.push(asked.elapsed());
                    // Read now and then, so that what is measured is known to be there.
                    if lsn.is_multiple_of(1024) {
                        ensure!(journal.read(place).await? == *body, "record {lsn} is another");
                    }
                }
                Ok(latencies)
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.context("a writer panicked")??);
    }
    let rate = latencies.len() as f64 / started.elapsed().as_secs_f64();
    journal.close().await;
    drop(journal);
    remove(&dir)?;
    Ok((rate, Latencies::of(latencies).context("nothing was appended")?))
}
