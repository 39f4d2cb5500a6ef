//! What one core hashes, seals and encodes.

use std::time::{Duration, Instant};

use agent_object_store_pool::redundancy::redundancy;
use agent_object_store_pool::seal::{KEY, Sealer, Spot};
use anyhow::{Context, Result};
use bytes::Bytes;
use fast_md5::Md5;
use zeroize::Zeroizing;

use super::Bench;
use crate::content::{Content, LARGE};
use crate::table::{Row, Wanted};
use crate::{budget, progress, round_time};

/// Bytes that are hashed or sealed at once.
const PIECE: usize = 64 << 10;

/// Disks whose codec is measured, beside the one that is asked for.
const DISKS: [u16; 3] = [3, 4, 8];

const UNIT: &str = "MiB/s";

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Row>> {
    progress("hashes, seals and codecs");
    let time = round_time(bench.options) / 5;
    let piece = bench.content.body(PIECE, 1);
    let budget = budget::measure(&bench.content, time)?;
    let mut rows = vec![
        one("MD5", time, PIECE, || {
            let mut md5 = Md5::new();
            md5.update(&piece);
            std::hint::black_box(md5.finalize());
            Ok(())
        })?,
        one("BLAKE3", time, PIECE, || {
            std::hint::black_box(blake3::hash(&piece));
            Ok(())
        })?,
    ];
    let (seal, open) = seals(&piece, time)?;
    rows.push(Row::new("seal blocks of 64 KiB", UNIT, vec![seal]));
    rows.push(Row::new("open blocks of 64 KiB", UNIT, vec![open]));
    rows.push(Row::new("MD5 + BLAKE3 + AES-256-GCM", UNIT, vec![budget.checksums]));
    rows.push(Row::new("the same with SHA-256", UNIT, vec![budget.with_sha256]));
    let mut disks = DISKS.to_vec();
    disks.push(bench.options.disks);
    disks.sort_unstable();
    disks.dedup();
    for disks in disks {
        rows.extend(codec(bench, disks, time)?);
    }
    let copy = copy_rate(&bench.content, time);
    let beside = |row: Row| row.beside("copy in memory", vec![copy], Wanted::Nothing);
    Ok(rows.into_iter().map(beside).collect())
}

/// MiB/s that one core copies, from and to memory that no cache holds.
fn copy_rate(content: &Content, time: Duration) -> f64 {
    let from = content.body(LARGE, 0);
    let mut to = vec![0; LARGE];
    // The first copy makes the pages be there.
    to.copy_from_slice(&from);
    let (started, mut count) = (Instant::now(), 0_u64);
    while started.elapsed() < time {
        to.copy_from_slice(&from);
        std::hint::black_box(&mut to);
        count += 1;
    }
    count as f64 * 64.0 / started.elapsed().as_secs_f64()
}

/// MiB/s of blocks that one core opens.
///
/// # Errors
/// A seal does not open.
pub(super) fn open_rate(content: &Content, time: Duration) -> Result<f64> {
    let (_, open) = seals(&content.body(PIECE, 1), time)?;
    Ok(open)
}

/// MiB/s of sealing, and of opening.
fn seals(piece: &[u8], time: Duration) -> Result<(f64, f64)> {
    let sealer = Sealer::new(&Zeroizing::new([3; KEY]));
    let spot = Spot { incarnation: 1, offset: 4096 };
    let mut buffer = piece.to_vec();
    let seal = rate(time, PIECE, || {
        buffer.copy_from_slice(piece);
        std::hint::black_box(sealer.seal(spot, &mut buffer));
        Ok(())
    })?;
    buffer.copy_from_slice(piece);
    let tag = sealer.seal(spot, &mut buffer);
    let mut opened = buffer.clone();
    let open = rate(time, PIECE, || {
        opened.copy_from_slice(&buffer);
        Ok(sealer.open_apart(spot, &mut opened, tag)?)
    })?;
    Ok((seal, open))
}

/// Encodes full rows, and makes good what m lost disks held.
fn codec(bench: &Bench<'_>, disks: u16, time: Duration) -> Result<Vec<Row>> {
    let shape = redundancy(usize::from(disks)).context("no disks")?.shape();
    let (k, m) = (usize::from(shape.k), usize::from(shape.m));
    let cell = usize::try_from(shape.cell)?;
    let row = bench.content.body(k * cell, 0);
    let data: Vec<Bytes> = (0..k).map(|n| row.slice(n * cell..(n + 1) * cell)).collect();
    let name = format!("{k}+{m}, cells of {} KiB", cell >> 10);
    let mut rows = vec![one(&format!("encode {name}"), time, row.len(), || {
        std::hint::black_box(shape.codec.encode(&data, m)?);
        Ok(())
    })?];
    if m > 0 {
        let parity = shape.codec.encode(&data, m)?;
        let lost = m.min(k);
        let all = data.iter().chain(&parity).cloned().enumerate();
        let have: Vec<Option<Bytes>> =
            all.map(|(number, cell)| (number >= lost).then_some(cell)).collect();
        let want: Vec<usize> = (0..lost).collect();
        let made = shape.codec.reconstruct(k, &have, &want)?;
        anyhow::ensure!(data.starts_with(&made), "{name}: other bytes came back");
        let name = format!("make good {lost} of {name}");
        rows.push(one(&name, time, lost * cell, || {
            std::hint::black_box(shape.codec.reconstruct(k, &have, &want)?);
            Ok(())
        })?);
    }
    Ok(rows)
}

/// MiB/s of a piece of work that is done again and again.
fn one(name: &str, time: Duration, bytes: usize, work: impl FnMut() -> Result<()>) -> Result<Row> {
    Ok(Row::new(name, UNIT, vec![rate(time, bytes, work)?]))
}

fn rate(time: Duration, bytes: usize, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    // What is computed once is ready before the clock starts.
    work()?;
    let (started, mut count) = (Instant::now(), 0_u64);
    while started.elapsed() < time {
        work()?;
        count += 1;
    }
    let mib = count as f64 * bytes as f64 / f64::from(1 << 20);
    Ok(mib / started.elapsed().as_secs_f64())
}
