//! The reports of all nodes: one log in files of an hour each, so that one sync serves all who deliver,
//! and what is too old goes by the file. Beside it `delivered.json`, written each hour, says what the last
//! report of each node is, so that a start reads the last hours only.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_sla::protocol::report::{Facts, SentReport};
use agent_sla::protocol::{Address, B256};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::judge::shorten;
use crate::log::{Log, LogError, Place};
use crate::state::ReportHead;

/// How long reports are kept, in hours: 30 days, as long as nodes keep them.
const HOURS_KEPT: u64 = 30 * 24;

/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;

/// The longest word for how a node does that is kept in memory, in bytes.
const STATE_MAX: usize = 64;

/// The file that says what the last report of each node is.
const DELIVERED: &str = "delivered.json";

/// A report as it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub struct Stored {
    /// Who signed it.
    pub daemon: Address,
    /// When it came, in milliseconds since 1970 by the oracle's clock.
    pub received_at: u64,
    /// As the node sent it.
    pub report: SentReport,
}

/// What [`DELIVERED`] has.
#[derive(Debug, Serialize, Deserialize)]
struct Delivered {
    /// 1.
    version: u32,
    /// The first hour, since 1970, that may have reports which are not here.
    from_hour: u64,
    /// The last report of each daemon, and its node.
    last: BTreeMap<Address, (B256, ReportHead)>,
}

/// The reports of all nodes.
#[derive(Debug)]
pub struct Reports {
    log: Log,
    folder: PathBuf,
    bytes_max: u64,
}

/// The last report of each daemon, with the node that it speaks for.
pub type Heads = BTreeMap<Address, (B256, ReportHead)>;

/// What is kept in memory of a report.
#[must_use]
pub fn head(report: &SentReport, facts: &Facts, received_at: u64, place: Place) -> ReportHead {
    let mut state = facts.state.clone();
    shorten(&mut state, STATE_MAX);
    ReportHead {
        sequence: report.signed.message.sequence,
        taken_at: report.signed.message.takenAt,
        received_at,
        state,
        verdicts: u32::try_from(facts.verdicts.len()).unwrap_or(u32::MAX),
        place,
    }
}

impl Reports {
    /// Opens the reports in a folder, and finds the last one of each daemon. Where all of them take more
    /// than `bytes_max` bytes, the oldest go.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn open(folder: &Path, bytes_max: u64) -> Result<(Self, Heads), LogError> {
        let log = Log::open(folder)?;
        let path = folder.join(DELIVERED);
        let (from, mut heads) = match read_delivered(&path) {
            Ok(Some(found)) => (found.from_hour, found.last),
            Ok(None) => (0, Heads::new()),
            Err(reason) => {
                warn!(path = %path.display(), reason, "damaged; every report is read instead");
                (0, Heads::new())
            }
        };
        let files = log.files()?;
        for hour in files.iter().copied().filter(|hour| *hour >= from) {
            let torn = log.read(hour, |place, payload| learn(&mut heads, place, payload))?;
            if torn > 0 && files.last() == Some(&hour) {
                warn!(hour, bytes = torn, "cut off what a stop in the middle left of reports");
                log.cut(hour, torn)?;
            } else if torn > 0 {
                warn!(hour, bytes = torn, "reports are damaged; those behind are not read");
            }
        }
        Ok((Self { log, folder: folder.to_owned(), bytes_max }, heads))
    }

    /// The log, to append to.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The file that a report of this moment goes to.
    #[must_use]
    pub fn hour(now_ms: u64) -> u64 {
        now_ms / HOUR_MS
    }

    /// A report that is kept.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn get(&self, place: Place) -> Result<Option<Stored>, LogError> {
        Ok(serde_json::from_slice(&self.log.get(place)?).ok())
    }

    /// Writes what the last reports are.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep_heads(&self, last: Heads, now_ms: u64) -> Result<(), LogError> {
        // A report may still be on its way to the file of the hour before.
        let from_hour = Self::hour(now_ms).saturating_sub(1);
        let path = self.folder.join(DELIVERED);
        let failed = |source: io::Error| LogError::File {
            operation: "write",
            path: path.clone(),
            source: Arc::new(source),
        };
        let form = Delivered { version: 1, from_hour, last };
        let bytes = serde_json::to_vec(&form).map_err(|error| failed(error.into()))?;
        let aside = path.with_extension("new");
        let mut file = File::create(&aside).map_err(failed)?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed)?;
        fs::rename(&aside, &path).map_err(failed)?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// Removes what is too old, and of the rest the oldest where it is too much; never the last hours.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn prune(&self, now_ms: u64) -> Result<(), LogError> {
        let now = Self::hour(now_ms);
        let files: Vec<_> =
            self.log.files()?.into_iter().map(|hour| (hour, self.log.bytes(hour))).collect();
        for hour in too_old(&files, now, self.bytes_max) {
            info!(hour, "reports of an hour are removed: too old, or too many bytes in all");
            self.log.remove(hour)?;
        }
        Ok(())
    }
}

/// Which hours go.
fn too_old(files: &[(u64, u64)], now: u64, bytes_max: u64) -> Vec<u64> {
    let mut bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    let mut gone = Vec::new();
    for (hour, size) in files {
        let is_last = hour.saturating_add(1) >= now;
        if !is_last && (hour.saturating_add(HOURS_KEPT) < now || bytes > bytes_max) {
            gone.push(*hour);
            bytes = bytes.saturating_sub(*size);
        }
    }
    gone
}

fn learn(heads: &mut Heads, place: Place, payload: &[u8]) {
    let Ok(stored) = serde_json::from_slice::<Stored>(payload) else { return };
    let Ok(facts) = stored.report.facts() else { return };
    let node = stored.report.signed.message.nodeId;
    let found = head(&stored.report, &facts, stored.received_at, place);
    let is_known = heads
        .get(&stored.daemon)
        .is_some_and(|(of, known)| *of == node && known.sequence >= found.sequence);
    if !is_known {
        heads.insert(stored.daemon, (node, found));
    }
}

fn read_delivered(path: &Path) -> Result<Option<Delivered>, String> {
    match fs::read(path) {
        Ok(bytes) => match serde_json::from_slice::<Delivered>(&bytes) {
            Ok(found) if found.version == 1 => Ok(Some(found)),
            Ok(found) => Err(format!("version {}, not 1", found.version)),
            Err(error) => Err(error.to_string()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_the_last_hours_stay() {
        let files = [(1, 10), (800, 10), (801, 10), (999, 10), (1000, 10)];
        assert_eq!(too_old(&files, 1000, 100), [1]);
        assert_eq!(too_old(&files, 1000, 35), [1, 800]);
        assert_eq!(too_old(&files, 1000, 0), [1, 800, 801]);
        assert_eq!(too_old(&files, 0, 100), [0; 0]);
    }
}
