//! What a frame of a journal costs, by threads and by `io_uring`; figures are in
//! `docs/design/io.md`. `cargo run --release -p agent-object-store-pool --example journal_io -- DIR`

#![expect(clippy::print_stdout, reason = "that is what it is for")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_object_store_pool::backend::{Action, Backend as _, BackendFile, Buffer, Job};
use agent_object_store_pool::disk::{Choice, DiskBackend};
use agent_object_store_pool::io::Io;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Bytes of a segment, written before.
const SEGMENT: usize = 64 << 20;

/// How long each is measured.
const TIME: Duration = Duration::from_secs(3);

/// How often a process's time counts up in a second (`USER_HZ`).
const TICKS: f64 = 100.0;

/// How a frame is written.
#[derive(Debug, Clone, Copy)]
struct Way {
    choice: Choice,
    is_one_call: bool,
}

/// One lane's frames.
#[derive(Debug, Clone)]
struct Lane {
    file: Arc<dyn BackendFile>,
    frame: usize,
    way: Way,
}

impl Lane {
    async fn write(&self, data: Buffer, offset: usize) -> Result<Buffer> {
        let action = if self.way.is_one_call { Action::WriteDurable } else { Action::Write };
        let job = Job { action, data, offset: offset as u64 };
        let done = Io::Threads.perform(&self.file, job).await?;
        done.result?;
        if !self.way.is_one_call {
            Io::Threads.perform(&self.file, Job::sync()).await?.result?;
        }
        Ok(done.data)
    }

    /// How long each frame took.
    async fn run(self) -> Result<Vec<Duration>> {
        let (began, mut took, mut at) = (Instant::now(), Vec::new(), 0);
        let mut data = Buffer::from(vec![7; self.frame]);
        while began.elapsed() < TIME {
            let asked = Instant::now();
            data = self.write(data, at).await?;
            took.push(asked.elapsed());
            at = (at + self.frame) % (SEGMENT - self.frame);
            at -= at % 4096;
        }
        Ok(took)
    }
}

/// Seconds of processors that this process used, the kernel's threads for it included.
fn used() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let ticks = rest.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.collect::<std::result::Result<Vec<_>, _>>()?.iter().sum::<f64>() / TICKS)
}

async fn measure(dir: &Path, way: Way, lanes: usize, frame: usize) -> Result<()> {
    let backend = DiskBackend::choose(way.choice)?;
    let mut running = Vec::new();
    let before = used()?;
    for lane in 0..lanes {
        let file = backend.open(&dir.join(format!("segment-{lane}")))?.into();
        running.push(tokio::spawn(Lane { file, frame, way }.run()));
    }
    let mut took = Vec::new();
    for lane in running {
        took.extend(lane.await??);
    }
    took.sort_unstable();
    let count = u32::try_from(took.len())?;
    let rate = f64::from(count) / TIME.as_secs_f64();
    let micros = (used()? - before) * 1e6 / f64::from(count);
    let median = took.get(took.len() / 2).copied().unwrap_or_default().as_micros();
    let calls = if way.is_one_call { "one call" } else { "write, sync" };
    let choice = format!("{:?}", way.choice);
    println!(
        "{:>3} KiB  {lanes} lanes  {choice:<8} {calls:<11} {rate:>7.0}/s  {micros:>5.0} us of \
         processor each  median {median:>5} us",
        frame / 1024
    );
    Ok(())
}

/// Reads of 4 KiB each that are not in memory, one after the other.
async fn measure_reads(dir: &Path, choice: Choice) -> Result<()> {
    let backend = DiskBackend::choose(choice)?;
    let path = dir.join("segment-0");
    let file: Arc<dyn BackendFile> = backend.open(&path)?.into();
    let opened = std::fs::File::open(&path)?;
    let mut took = Vec::new();
    for n in 0..1000_u64 {
        rustix::fs::fadvise(&opened, 0, None, rustix::fs::Advice::DontNeed)?;
        let job = Job::read(Buffer::of_any(4096), n * 7919 % 16_000 * 4096);
        let asked = Instant::now();
        Io::Threads.perform(&file, job).await?.result?;
        took.push(asked.elapsed());
    }
    took.sort_unstable();
    let median = took.get(took.len() / 2).copied().unwrap_or_default().as_micros();
    println!("read of 4 KiB that is not in memory  {choice:?}  median {median} us");
    Ok(())
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let dir = std::env::args().nth(1).ok_or("which folder? It must be on a disk")?;
    let dir = Path::new(&dir);
    for lane in 0..4 {
        let path = dir.join(format!("segment-{lane}"));
        std::fs::write(&path, vec![0; SEGMENT])?;
        std::fs::File::open(&path)?.sync_all()?;
    }
    for frame in [4 << 10, 64 << 10] {
        for lanes in [1, 4] {
            for (choice, is_one_call) in [
                (Choice::Threads, false),
                (Choice::Threads, true),
                (Choice::IoUring, false),
                (Choice::IoUring, true),
            ] {
                measure(dir, Way { choice, is_one_call }, lanes, frame).await?;
            }
        }
    }
    for choice in [Choice::Threads, Choice::IoUring] {
        measure_reads(dir, choice).await?;
    }
    for lane in 0..4 {
        std::fs::remove_file(dir.join(format!("segment-{lane}")))?;
    }
    Ok(())
}
