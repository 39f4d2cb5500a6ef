//! What the disk can do, past the page cache: with fio where it is installed, else by ourselves.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

/// Bytes of one call when bandwidth is measured.
const PIECE: usize = 1 << 20;

/// Bytes of one append when syncs are counted.
const APPEND: usize = 4 << 10;

/// The longest file that is written.
const FILE_MAX: u64 = 1 << 30;

/// What a memory address must be a multiple of for direct I/O, on every disk we know.
const ALIGNMENT: usize = 4096;

/// Measures a disk in some folders of it.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    folders: Vec<PathBuf>,
    time: Duration,
    has_fio: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    Write,
    Read,
    /// Through the page cache, which is empty and reads ahead.
    ReadAhead,
    /// Appends, each with an fdatasync.
    Append,
}

impl Disk {
    /// Works in folders below `dir`, each measurement at most for `time`.
    ///
    /// # Errors
    /// The folders cannot be made.
    pub(crate) fn new(dir: &Path, folders: u16, time: Duration) -> Result<Self> {
        let folders: Vec<PathBuf> =
            (1..=folders).map(|number| dir.join(format!("limit-{number}"))).collect();
        for folder in &folders {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let has_fio = Command::new("fio").arg("--version").output().is_ok();
        Ok(Self { folders, time, has_fio })
    }

    /// What measures.
    pub(crate) fn tool(&self) -> &'static str {
        if self.has_fio { "fio" } else { "fio not installed, own measurement" }
    }

    /// MiB/s of writing to one file per folder at once, and of reading them again: past the page
    /// cache, or with the kernel reading ahead where that is faster.
    ///
    /// # Errors
    /// A file failed.
    pub(crate) fn bandwidth(&self) -> Result<(f64, f64)> {
        let files: Vec<PathBuf> =
            self.folders.iter().map(|folder| folder.join("sequential")).collect();
        let mib = f64::from(1 << 20);
        let write = self.rate(Job::Write, &files)? / mib;
        let direct = self.rate(Job::Read, &files)?;
        let read = direct.max(self.rate(Job::ReadAhead, &files)?) / mib;
        remove(&files)?;
        Ok((write, read))
    }

    /// Appends of 4 KiB with fdatasync per second, so many files at once.
    ///
    /// # Errors
    /// A file failed.
    pub(crate) fn syncs(&self, files: usize) -> Result<f64> {
        let folders = self.folders.iter().cycle();
        let files: Vec<PathBuf> = folders
            .zip(0..files)
            .map(|(folder, number)| folder.join(format!("append-{number}")))
            .collect();
        let rate = self.rate(Job::Append, &files)? / APPEND as f64;
        remove(&files)?;
        Ok(rate)
    }

    /// Bytes per second.
    fn rate(&self, job: Job, files: &[PathBuf]) -> Result<f64> {
        if self.has_fio { self.fio(job, files) } else { self.own(job, files) }
    }

    fn fio(&self, job: Job, files: &[PathBuf]) -> Result<f64> {
        let mut command = Command::new("fio");
        command.args(["--output-format=json", "--group_reporting", "--ioengine=psync"]);
        command.args(["--fallocate=none", "--invalidate=1"]);
        command.arg(format!("--runtime={}", self.time.as_secs().max(1)));
        command.arg(format!("--size={FILE_MAX}"));
        let direction = match job {
            Job::Write => "write",
            Job::Read | Job::ReadAhead => "read",
            Job::Append => "write",
        };
        command.arg(format!("--rw={direction}"));
        match job {
            Job::Write | Job::Read => command.args(["--bs=1M", "--direct=1"]),
            Job::ReadAhead => command.args(["--bs=1M", "--direct=0"]),
            Job::Append => command.args(["--bs=4k", "--fdatasync=1"]),
        };
        for (number, file) in files.iter().enumerate() {
            if direction == "read" {
                // As long as it was written; fio would fill it up.
                let length = file.metadata().with_context(|| cannot("see", file))?.len();
                command.arg(format!("--size={length}"));
            }
            command.arg(format!("--name=job-{number}")).arg("--filename").arg(file);
        }
        let output = command.output().context("cannot start fio")?;
        if !output.status.success() {
            bail!("fio failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        let text = String::from_utf8(output.stdout).context("fio's output is not UTF-8")?;
        fio_rate(&text, direction).context("fio's output has no bandwidth")
    }

    /// One thread per file.
    fn own(&self, job: Job, files: &[PathBuf]) -> Result<f64> {
        let started = Instant::now();
        let bytes = std::thread::scope(|scope| {
            let threads: Vec<_> = files
                .iter()
                .map(|file| {
                    scope.spawn(move || {
                        one(job, file, started, self.time).with_context(|| cannot("measure", file))
                    })
                })
                .collect();
            let mut bytes = 0;
            for thread in threads {
                bytes += thread.join().map_err(|_| anyhow!("a thread panicked"))??;
            }
            anyhow::Ok(bytes)
        })?;
        Ok(bytes as f64 / started.elapsed().as_secs_f64())
    }
}

/// Bytes that were written or read until the time was up or the file at its end.
fn one(job: Job, path: &Path, started: Instant, time: Duration) -> io::Result<u64> {
    let mut done = 0;
    if job == Job::Append {
        let mut file = File::create(path)?;
        while started.elapsed() < time && done < FILE_MAX {
            file.write_all(&[0x5a; APPEND])?;
            file.sync_data()?;
            done += APPEND as u64;
        }
        return Ok(done);
    }
    let mut memory = vec![0xa5; PIECE + ALIGNMENT];
    let from = memory.as_ptr().align_offset(ALIGNMENT);
    let piece = memory.get_mut(from..from + PIECE).ok_or(io::ErrorKind::OutOfMemory)?;
    let file = open_direct(job, path)?;
    let is_read = job != Job::Write;
    let end = if is_read { file.metadata()?.len() } else { FILE_MAX };
    if is_read {
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    while started.elapsed() < time && done < end {
        if is_read {
            file.read_exact_at(piece, done)?;
        } else {
            file.write_all_at(piece, done)?;
        }
        done += PIECE as u64;
    }
    Ok(done)
}

/// Past the page cache, where it is wanted and the file system can.
fn open_direct(job: Job, path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    match job {
        Job::Read | Job::ReadAhead => options.read(true),
        Job::Write | Job::Append => options.write(true).create(true).truncate(true),
    };
    if job == Job::ReadAhead {
        return options.open(path);
    }
    let flag = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).unwrap_or_default();
    match options.clone().custom_flags(flag).open(path) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => options.open(path),
        other => other,
    }
}

fn remove(files: &[PathBuf]) -> Result<()> {
    files
        .iter()
        .try_for_each(|file| std::fs::remove_file(file).with_context(|| cannot("remove", file)))
}

fn cannot(what: &str, file: &Path) -> String {
    format!("cannot {what} {}", file.display())
}

/// Bytes per second of fio's only group. Warnings may stand before the JSON.
fn fio_rate(text: &str, direction: &str) -> Option<f64> {
    let json = text.get(text.find('{')?..)?;
    let value: Value = serde_json::from_str(json).ok()?;
    value.get("jobs")?.get(0)?.get(direction)?.get("bw_bytes")?.as_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_measurement_writes_reads_and_appends() {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = Disk::new(dir.path(), 2, Duration::from_millis(50)).unwrap();
        disk.has_fio = false;
        let (write, read) = disk.bandwidth().unwrap();
        assert!(write > 0.0 && read > 0.0);
        assert!(disk.syncs(3).unwrap() > 0.0);
        let left = std::fs::read_dir(dir.path().join("limit-1")).unwrap().count();
        assert_eq!(left, 0);
    }

    #[test]
    fn fio_is_read_behind_its_warnings() {
        let text = "note: slow clock\n{\"jobs\": [{\"write\": {\"bw_bytes\": 4096}}]}";
        assert_eq!(fio_rate(text, "write"), Some(4096.0));
        assert_eq!(fio_rate(text, "read"), None);
        assert_eq!(fio_rate("fio: error", "read"), None);
    }
}
