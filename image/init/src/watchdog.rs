//! Hardware watchdogs: a node whose init hangs is reset.
//!
//! Every watchdog that the kernel offers is fed, at most [`MAX_WATCHDOGS`], so that it does not
//! matter which of them is the real one; all of them starve together.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sys;

/// Time after which a starving watchdog resets the machine, in seconds: six times the interval of
/// feeding, and long enough for a machine under heavy load.
const TIMEOUT: i32 = 60;

/// The same while the system stops: no more feeding, so it bounds the whole stop.
pub(crate) const STOP_TIMEOUT: i32 = 150;

/// How often a watchdog is fed.
pub(crate) const FEED_EVERY: Duration = Duration::from_secs(10);

/// Most watchdogs: a chipset's, a BMC's, one of the board, and one to spare.
const MAX_WATCHDOGS: usize = 4;

/// Written before closing, it tells the driver that the end is meant (linux/Documentation,
/// watchdog-api: magic close).
const MAGIC_CLOSE: &[u8] = b"V";

/// The watchdogs that are open.
#[derive(Debug, Default)]
pub(crate) struct Watchdogs {
    open: Vec<(PathBuf, File)>,
}

impl Watchdogs {
    /// Opens those that have come since the last call; gives what to log.
    pub(crate) fn look(&mut self, devices: &Path) -> Vec<String> {
        let mut messages = Vec::new();
        for path in candidates(devices) {
            let known = self.open.iter().any(|(other, _)| *other == path);
            if known || self.open.len() >= MAX_WATCHDOGS {
                continue;
            }
            match OpenOptions::new().write(true).open(&path) {
                Ok(device) => {
                    let taken = sys::watchdog_timeout(&device, TIMEOUT);
                    let time = taken.map_or_else(
                        |error| format!("its own time-out, as it takes none ({error})"),
                        |taken| format!("a time-out of {taken} s"),
                    );
                    messages.push(format!("feeding {} with {time}", path.display()));
                    self.open.push((path, device));
                }
                Err(error) => messages.push(format!("cannot open {}: {error}", path.display())),
            }
        }
        messages
    }

    /// Feeds them.
    pub(crate) fn feed(&mut self) {
        for (_, device) in &mut self.open {
            // One that cannot be fed resets the machine, which is what it is there for.
            let _ = device.write_all(b"\0");
        }
    }

    /// Feeds them once more for the whole of the stop.
    pub(crate) fn last_feed(&mut self) {
        for (_, device) in &self.open {
            let _ = sys::watchdog_timeout(device, STOP_TIMEOUT);
        }
        self.feed();
    }

    /// Switches them off, as a machine that is powered off must not come back.
    pub(crate) fn disarm(&mut self) {
        for (_, mut device) in self.open.drain(..) {
            let _ = device.write_all(MAGIC_CLOSE);
        }
    }
}

/// The numbered watchdogs, or the one of old drivers that have no number.
fn candidates(devices: &Path) -> Vec<PathBuf> {
    let is_numbered = |name: &str| {
        name.strip_prefix("watchdog")
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    let entries = fs::read_dir(devices).into_iter().flatten().flatten();
    let mut numbered: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_numbered))
        .map(|entry| entry.path())
        .collect();
    numbered.sort();
    let old = devices.join("watchdog");
    if numbered.is_empty() && old.exists() {
        numbered.push(old);
    }
    numbered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_watchdogs_are_taken_and_the_old_name_only_without_them() {
        let devices = tempfile::TempDir::new().expect("temporary folder");
        let touch = |name: &str| fs::write(devices.path().join(name), "").expect("file");
        let names = || -> Vec<_> {
            let found = candidates(devices.path()).into_iter();
            found.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
        };
        assert_eq!(names(), Vec::<String>::new());
        touch("watchdog");
        assert_eq!(names(), ["watchdog"]);
        ["watchdog1", "watchdog0", "watchdogs", "null"].into_iter().for_each(touch);
        assert_eq!(names(), ["watchdog0", "watchdog1"]);
    }

    #[test]
    fn what_is_open_is_fed_once_each_time_and_ends_on_purpose() {
        let devices = tempfile::TempDir::new().expect("temporary folder");
        let path = devices.path().join("watchdog0");
        fs::write(&path, "").expect("file");
        let mut watchdogs = Watchdogs::default();
        assert_eq!(watchdogs.look(devices.path()).len(), 1);
        assert_eq!(watchdogs.look(devices.path()), Vec::<String>::new());
        watchdogs.feed();
        watchdogs.last_feed();
        watchdogs.disarm();
        assert_eq!(fs::read(&path).expect("file"), b"\0\0V");
    }
}
