//! Measures S3 from outside, and the engine below it, beside limits that are measured in the same
//! run. Run it as `cargo xtask bench s3` or `cargo xtask bench engine`.
//!
//! Prints a table on standard output and progress on standard error.
#![expect(clippy::print_stdout, reason = "the results go to standard output")]

mod arguments;
mod budget;
mod content;
mod disk;
mod engine;
mod load;
mod peer;
mod percentile;
mod request;
mod s3;
mod server;
mod sign;
mod space;
mod table;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde_json::json;

use crate::arguments::{Arguments, Command, Options};
use crate::table::Row;

/// `TMPFS_MAGIC` of linux/magic.h.
const IN_MEMORY: u64 = 0x0102_1994;

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    match Arguments::parse().command {
        Command::Peer(peer) => runtime.block_on(peer::serve(&peer)),
        Command::S3(options) => {
            let dir = folder(&options)?;
            report(&options, &runtime.block_on(s3::measure(&options, dir.path()))?)
        }
        Command::Engine(options) => {
            let dir = folder(&options)?;
            report(&options, &runtime.block_on(engine::measure(&options, dir.path()))?)
        }
    }
}

/// A folder for one run, removed when dropped.
fn folder(options: &Options) -> Result<tempfile::TempDir> {
    let dir = &options.dir;
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let stat = rustix::fs::statfs(dir).with_context(|| format!("cannot see {}", dir.display()))?;
    if u64::try_from(stat.f_type).is_ok_and(|kind| kind == IN_MEMORY) {
        bail!("{} is in memory: name a folder on a disk with --dir", dir.display());
    }
    let made = tempfile::Builder::new().prefix("bench-").tempdir_in(dir);
    made.with_context(|| format!("cannot make a folder in {}", dir.display()))
}

fn report(options: &Options, rows: &[Row]) -> Result<()> {
    print!("{}", table::text(rows));
    if let Some(path) = &options.json {
        let rows: Vec<_> = rows.iter().map(Row::json).collect();
        let json = json!({ "disks": options.disks, "objects": options.objects,
            "seconds": options.seconds, "rows": rows });
        let text = serde_json::to_string_pretty(&json)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Says what goes on.
fn progress(what: &str) {
    eprintln!("  {what}");
}

/// How long a measured round lasts.
fn round_time(options: &Options) -> Duration {
    Duration::from_secs(options.seconds)
}
