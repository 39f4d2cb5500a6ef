//! What a machine wrote to its disks, in order, and what a power cut could have left of it.
//!
//! QEMU's driver blklogwrites keeps a log for each disk in the form of the kernel's dm-log-writes:
//!
//! ```text
//! sector 0    magic u64 | version u64 | entries u64 | bytes of a sector u32
//! entry       sector u64 | sectors u64 | flags u64 | 0 u64, filled up to a sector | the data
//! ```
//!
//! A disk keeps what was written before its last flush. Of the rest, each page may be there or not, as
//! a disk with a volatile cache does it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::dice::Dice;
use crate::disks::Disk;

/// Magic of the log's superblock (Linux, drivers/md/dm-log-writes.c: WRITE_LOG_MAGIC).
const MAGIC: u64 = 0x006a_7366_7773_6872;

/// Bytes of a sector of the log, as QEMU has it without more words.
const SECTOR: u64 = 512;

/// Flags of an entry: a flush, a write that is durable by itself, a range given up.
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// What is lost or kept as one, in bytes: no disk of today tears less, and some tear more.
const PAGE: usize = 4096;

/// Bytes that are copied at once.
const STEP: u64 = 1 << 20;

/// Where the log of a disk is.
#[must_use]
pub fn path(disk: &Disk) -> PathBuf {
    disk.file.with_extension("log")
}

/// How far the log of a disk has come, in bytes.
///
/// # Errors
/// When there is none.
pub fn length(disk: &Disk) -> Result<u64> {
    let path = path(disk);
    let log = path.metadata().with_context(|| format!("cannot read {}", path.display()))?;
    Ok(log.len())
}

/// What a cut left of the writes behind the last flush.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Flushes.
    pub flushes: u64,
    /// Writes before the last one.
    pub durable: u64,
    /// Writes behind it.
    pub open: u64,
    /// Pages of these that were lost.
    pub lost: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Of the disk.
    offset: u64,
    bytes: u64,
    flags: u64,
    /// Where its data stand in the log.
    data: u64,
}

/// Makes a disk of the same serial number in `dir` as a power cut could have left it when the log was
/// `until` bytes long. Of pages that may be lost, `lost_in_eight` of eight are, by chance. The machine
/// has ended by now, so that no entry is half written.
///
/// # Errors
/// When the log is not one, or a file cannot be read or made.
pub fn replay(
    disk: &Disk,
    dir: &std::path::Path,
    until: u64,
    lost_in_eight: u64,
    dice: &mut Dice,
) -> Result<(Disk, Replayed)> {
    let log = File::open(path(disk))?;
    let entries = entries(&log, until)?;
    let made = Disk { file: dir.join(format!("{}.raw", disk.serial)), ..disk.clone() };
    let image = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&made.file)
        .with_context(|| format!("cannot make {}", made.file.display()))?;
    image.set_len(disk.file.metadata()?.len())?;
    let last = entries.iter().rposition(|entry| entry.flags & FLUSH != 0);
    let mut done = Replayed::default();
    for (number, entry) in entries.iter().enumerate() {
        done.flushes += u64::from(entry.flags & FLUSH != 0);
        if entry.flags & DISCARD != 0 || entry.bytes == 0 {
            // What was given up may still be there: it is no longer read.
            continue;
        }
        if last.is_some_and(|last| number <= last) || entry.flags & FUA != 0 {
            done.durable += 1;
            copy(&log, &image, entry)?;
        } else {
            done.open += 1;
            done.lost += copy_some(&log, &image, entry, lost_in_eight, dice)?;
        }
    }
    Ok((made, done))
}

fn entries(log: &File, until: u64) -> Result<Vec<Entry>> {
    let mut sector = [0; 512];
    log.read_exact_at(&mut sector, 0).context("the log has no superblock")?;
    let number = |sector: &[u8], at: usize| {
        let bytes = sector.get(at * 8..).and_then(|rest| rest.first_chunk()).copied();
        u64::from_le_bytes(bytes.unwrap_or_default())
    };
    ensure!(number(&sector, 0) == MAGIC && number(&sector, 1) == 1, "not a log of writes");
    let (mut at, mut found) = (SECTOR, Vec::new());
    let until = until.min(log.metadata()?.len());
    while at + SECTOR <= until {
        log.read_exact_at(&mut sector, at)?;
        let flags = number(&sector, 2);
        let [offset, bytes] = [0, 1].map(|place| number(&sector, place).saturating_mul(SECTOR));
        ensure!(flags < 16 && (bytes > 0 || flags != 0), "there is no entry at {at} of the log");
        let data = at + SECTOR;
        at = if flags & DISCARD == 0 { data + bytes } else { data };
        found.push(Entry { offset, bytes, flags, data });
    }
    Ok(found)
}

fn copy(log: &File, image: &File, entry: &Entry) -> Result<()> {
    let mut done = 0;
    while done < entry.bytes {
        let step = STEP.min(entry.bytes - done);
        let mut bytes = vec![0; usize::try_from(step)?];
        log.read_exact_at(&mut bytes, entry.data + done)?;
        image.write_all_at(&bytes, entry.offset + done)?;
        done += step;
    }
    Ok(())
}

/// Copies page by page, and says how many were not.
fn copy_some(
    log: &File,
    image: &File,
    entry: &Entry,
    lost_in_eight: u64,
    dice: &mut Dice,
) -> Result<u64> {
    let mut bytes = vec![0; usize::try_from(entry.bytes)?];
    log.read_exact_at(&mut bytes, entry.data)?;
    let (mut at, mut lost) = (entry.offset, 0);
    for page in bytes.chunks(PAGE) {
        if dice.roll(8) < lost_in_eight {
            lost += 1;
        } else {
            image.write_all_at(page, at)?;
        }
        at += page.len() as u64;
    }
    Ok(lost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disks::Bus;

    fn entry(sector: u64, flags: u64, data: &[u8]) -> Vec<u8> {
        let sectors = data.len() as u64 / SECTOR;
        let mut bytes: Vec<u8> =
            [sector, sectors, flags, 0].into_iter().flat_map(u64::to_le_bytes).collect();
        bytes.resize(512, 0);
        bytes.extend_from_slice(data);
        bytes
    }

    #[test]
    fn what_was_flushed_stays_and_the_rest_may_go() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let disk = Disk::blank(dir.path(), "LOG", Bus::Virtio, 1)?;
        let mut log: Vec<u8> = [MAGIC, 1, 0, 512].into_iter().flat_map(u64::to_le_bytes).collect();
        log.resize(512, 0);
        log.extend(entry(8, 0, &[1; 8192]));
        log.extend(entry(0, FLUSH, b""));
        let flushed = log.len() as u64;
        log.extend(entry(8, 0, &[2; 8192]));
        std::fs::write(path(&disk), &log)?;
        let other = tempfile::tempdir()?;
        let read = |until: u64, lost: u64| {
            let (made, done) = replay(&disk, other.path(), until, lost, &mut Dice(1))?;
            let mut bytes = vec![0; 8192];
            File::open(&made.file)?.read_exact_at(&mut bytes, 4096)?;
            anyhow::Ok((bytes, done))
        };
        for (until, lost, wanted, open) in
            [(flushed, 8, 1, 0), (log.len() as u64, 8, 1, 1), (log.len() as u64, 0, 2, 1)]
        {
            let (bytes, done) = read(until, lost)?;
            assert!(bytes.iter().all(|byte| *byte == wanted), "{until} {lost}");
            assert_eq!((done.flushes, done.durable, done.open), (1, 1, open));
        }
        std::fs::write(path(&disk), [7; 1024])?;
        assert!(read(1024, 0).is_err());
        Ok(())
    }
}
