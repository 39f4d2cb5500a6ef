//! Bytes on disk per small object.

use std::time::Duration;

use agent_object_store_pool::redundancy::redundancy;
use anyhow::{Context, Result};

use super::Bench;
use crate::content::SMALL;
use crate::progress;
use crate::space::on_disk;
use crate::table::{Row, Wanted};

/// Objects that are put at most: enough that what is set aside ahead is shared by many.
const OBJECTS_MAX: u64 = 1_000_000;

/// How long the server is left to itself before its files are measured.
const REST: Duration = Duration::from_secs(5);

/// One copy of 4 KiB with all that belongs to it, in bytes.
const WANTED: f64 = 4600.0;

pub(super) async fn measure(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let objects = bench.options.objects.min(OBJECTS_MAX);
    let mut rows = Vec::new();
    for disks in [1, bench.options.disks] {
        progress(&format!("bytes on disk, {disks} disks"));
        let name = format!("space-{disks}");
        let dir = bench.dir.join(&name);
        let subject = bench.subject(&name, disks).await?;
        let before = on_disk(&dir)?;
        bench.fill(&subject, "space", SMALL, 0..objects).await?;
        tokio::time::sleep(REST).await;
        let after = on_disk(&dir)?;
        drop(subject);
        bench.remove(&name)?;
        let each = |after: u64, before: u64| {
            let bytes = after.checked_sub(before).context("it became smaller")?;
            anyhow::Ok(bytes as f64 / objects as f64)
        };
        let what = format!("bytes on disk per 4 KiB object, {objects} objects, {disks} disks");
        let row = Row::new(&what, "B", vec![each(after.in_use(), before.in_use())?]);
        rows.push(if disks == 1 {
            row.at_most(WANTED)
        } else {
            let copies = redundancy(usize::from(disks)).context("no disks")?.copies;
            let limit = format!("that of one copy, {copies} times");
            row.beside(limit, vec![WANTED * f64::from(copies)], Wanted::Nothing)
        });
        rows.push(Row::new(
            "the same with what is taken ahead, once",
            "B",
            vec![each(after.taken, before.taken)?],
        ));
        if bench.options.disks == 1 {
            break;
        }
    }
    Ok(rows)
}
