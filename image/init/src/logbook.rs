//! The log of all services: one file that is turned over at a bound, and optionally a serial line.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::users::{AGENT, ROOT};

/// Size at which the log is turned over, in bytes: with the one before it, 2 MiB of memory.
const MAX_SIZE: u64 = 1024 * 1024;

/// Longest line, in bytes; what is longer is cut into several.
pub(crate) const MAX_LINE: usize = 4096;

/// The log. What cannot be written is dropped: PID 1 never waits for its log.
#[derive(Debug)]
pub(crate) struct Logbook {
    current: PathBuf,
    previous: PathBuf,
    file: Option<File>,
    size: u64,
    serial: Option<File>,
}

impl Logbook {
    /// A log in these two files.
    pub(crate) fn open(current: &Path, previous: &Path) -> Self {
        let mut book = Self {
            current: current.to_owned(),
            previous: previous.to_owned(),
            file: None,
            size: 0,
            serial: None,
        };
        book.reopen();
        book
    }

    /// Sends every further line to a serial line as well.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub(crate) fn copy_to(&mut self, line: &Path) -> io::Result<()> {
        // A line that takes no more characters must not hold PID 1: what does not fit is lost.
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
        let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
        self.serial = Some(OpenOptions::new().write(true).custom_flags(flags).open(line)?);
        Ok(())
    }

    /// Adds one line; characters that would move a cursor are replaced.
    pub(crate) fn line(&mut self, now: Timestamp, service: &str, text: &str) {
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let line = format!("{now:.3} {service} {}\n", text.trim_end());
        if let Some(serial) = &mut self.serial {
            let _ = serial.write_all(line.replace('\n', "\r\n").as_bytes());
        }
        if self.size + line.len() as u64 > MAX_SIZE {
            let _ = fs::rename(&self.current, &self.previous);
            self.reopen();
        }
        if let Some(file) = &mut self.file
            && file.write_all(line.as_bytes()).is_ok()
        {
            self.size += line.len() as u64;
        }
    }

    fn reopen(&mut self) {
        let opened = OpenOptions::new().create(true).append(true).open(&self.current);
        self.size = opened.as_ref().ok().and_then(|f| f.metadata().ok()).map_or(0, |m| m.len());
        self.file = opened.ok();
        // In tests init is not root and the file stays the tester's.
        let _ = chown(&self.current, Some(ROOT), Some(AGENT));
        let _ = fs::set_permissions(&self.current, Permissions::from_mode(0o640));
    }
}

/// From bytes as they come out of a pipe to lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Takes bytes in and gives the lines that are complete now.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for &byte in bytes {
            if byte == b'\n' || self.rest.len() >= MAX_LINE {
                lines.extend(self.finish());
            }
            if byte != b'\n' {
                self.rest.push(byte);
            }
        }
        lines
    }

    /// The last line, where it has no end.
    pub(crate) fn finish(&mut self) -> Option<String> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned();
        (!line.trim().is_empty()).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOON: Timestamp = Timestamp::constant(1_800_000_000, 123_456_789);

    fn book(folder: &Path) -> Logbook {
        Logbook::open(&folder.join("current"), &folder.join("previous"))
    }

    #[test]
    fn a_line_has_its_time_and_service_and_moves_no_cursor() {
        let folder = tempfile::TempDir::new().expect("temporary folder");
        book(folder.path()).line(NOON, "icn-disks", "claimed \u{1b}[31mred\tand\r round 日本 ");
        let text = fs::read_to_string(folder.path().join("current")).expect("log");
        let expected = "2027-01-15T08:00:00.123Z icn-disks claimed  [31mred and  round 日本\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_log_is_turned_over_at_its_bound_and_goes_on_after_a_restart() {
        let folder = tempfile::TempDir::new().expect("temporary folder");
        let text = "x".repeat(1000);
        for _ in 0..5 {
            let mut book = book(folder.path());
            (0..500).for_each(|_| book.line(NOON, "init", &text));
        }
        let sizes = ["current", "previous"]
            .map(|name| fs::metadata(folder.path().join(name)).expect("log").len());
        assert!(sizes.iter().all(|size| (1..=MAX_SIZE).contains(size)), "{sizes:?}");
        assert!(sizes[1] > MAX_SIZE - 2000);
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_their_bytes_arrive(
            text in "[a-z\n]{0,200}",
            cuts in prop::collection::vec(0_usize..200, 0..10),
        ) {
            let mut whole = Lines::default();
            let mut expected = whole.push(text.as_bytes());
            expected.extend(whole.finish());
            let mut pieces = Lines::default();
            let mut found = Vec::new();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            for pair in cuts.windows(2) {
                found.extend(pieces.push(&text.as_bytes()[pair[0]..pair[1]]));
            }
            found.extend(pieces.finish());
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn no_line_is_longer_than_its_bound(length in 0..3 * MAX_LINE) {
            let mut lines = Lines::default();
            let mut found = lines.push("x".repeat(length).as_bytes());
            found.extend(lines.finish());
            prop_assert!(found.iter().all(|line| line.len() <= MAX_LINE));
            prop_assert_eq!(found.iter().map(String::len).sum::<usize>(), length);
        }
    }
}
