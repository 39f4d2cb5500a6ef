//! What the disk itself can do, measured in the same run.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

/// Bytes written in one go when measuring bandwidth.
const LARGE: usize = 64 << 20;

/// MiB/s of writing 64 MiB to a new file and syncing it, the best of `rounds`.
pub(crate) fn sequential_write(dir: &Path, rounds: u32) -> Result<f64> {
    let body = vec![0xa5; LARGE];
    let mut best: f64 = 0.0;
    for round in 0..rounds {
        let path = dir.join(format!("limit-{round}"));
        let started = Instant::now();
        let mut file = File::create(&path)?;
        file.write_all(&body)?;
        file.sync_data()?;
        best = best.max(64.0 / started.elapsed().as_secs_f64());
        std::fs::remove_file(&path)?;
    }
    Ok(best)
}

/// Files of 4 KiB per second, each written, synced, renamed and its folder synced, by `clients`
/// threads: what a server with a file per object can do at most.
pub(crate) fn file_per_object(dir: &Path, clients: u32, run: Duration) -> Result<f64> {
    let done = AtomicU64::new(0);
    let started = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|client| {
                let done = &done;
                scope.spawn(move || -> Result<()> {
                    let folder = File::open(dir)?;
                    let staged = dir.join(format!("staged-{client}"));
                    for number in 0_u64.. {
                        if started.elapsed() > run {
                            break;
                        }
                        let mut file =
                            OpenOptions::new().write(true).create_new(true).open(&staged)?;
                        file.write_all(&[0x5a; 4096])?;
                        file.sync_data()?;
                        std::fs::rename(&staged, dir.join(format!("o-{client}-{number}")))?;
                        folder.sync_all()?;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        anyhow::Ok(())
    })?;
    #[expect(clippy::cast_precision_loss, reason = "a count of seconds' work")]
    let count = done.load(Ordering::Relaxed) as f64;
    Ok(count / started.elapsed().as_secs_f64())
}
