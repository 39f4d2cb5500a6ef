//! The client of icn-disks: takes in its reports and connects again when it restarts.

use std::io;
use std::path::Path;
use std::time::Duration;

use disk_manager_plan::report::DiskReport;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

use super::heard::Heard;

/// The version of reports that is understood.
const VERSION: u32 = 1;

/// A report of 1000 disks of 1 KiB each stays below.
const REPORT_MAX: u64 = 4 << 20;

/// The first wait before connecting again, and the longest: a disk pulled while nobody listens is
/// noticed late.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(2);

/// Follows the reports for ever.
pub(crate) async fn follow(socket: &Path, heard: &watch::Sender<Heard<DiskReport>>) {
    let mut wait = RETRY_FIRST;
    loop {
        let error = match UnixStream::connect(socket).await {
            Ok(stream) => {
                let before = heard.borrow().latest.clone();
                let error = read(stream, heard).await;
                if heard.borrow().latest != before {
                    wait = RETRY_FIRST;
                }
                error
            }
            Err(error) => error,
        };
        let reason = format!("{}: {error}", socket.display());
        heard.send_if_modified(|heard| {
            let new = heard.silent.is_none();
            if new {
                warn!(reason, "icn-disks does not answer; connecting again");
            }
            heard.silent = Some(reason);
            new
        });
        sleep(wait).await;
        wait = (wait * 2).min(RETRY_LAST);
    }
}

/// Reads reports until the connection ends; why it did.
async fn read(stream: UnixStream, heard: &watch::Sender<Heard<DiskReport>>) -> io::Error {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(REPORT_MAX).read_until(b'\n', &mut line).await {
            Err(error) => return error,
            Ok(_) if line.last() != Some(&b'\n') => {
                return io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended");
            }
            Ok(_) => {}
        }
        let report = match serde_json::from_slice::<DiskReport>(&line) {
            Ok(report) if report.version == VERSION => report,
            Ok(report) => {
                let what = format!("report of version {}, not {VERSION}", report.version);
                return io::Error::new(io::ErrorKind::InvalidData, what);
            }
            Err(error) => return io::Error::new(io::ErrorKind::InvalidData, error),
        };
        let mounted = report.disks.iter().filter(|disk| disk.volume.is_some()).count();
        info!(
            generation = report.generation,
            disks = report.disks.len(),
            ours = mounted,
            missing = report.missing.len(),
            "disk report"
        );
        heard.send_replace(Heard { latest: Some(report), silent: None });
    }
}
