//! The end of the log that init writes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use agent_api::control::{LOG_LINE_MAX, LOG_LINES_MAX};

/// Bytes that are read from the end of a file: the most lines that are given, at an average length.
const READ_MAX: u64 = 128 << 10;

/// The last `lines` lines, newest last, of the log and, where that is short, of the one before.
/// Unreadable logs give no lines: the console then shows none.
pub(crate) fn tail(log: &Path, log_old: &Path, lines: u32) -> Vec<String> {
    let wanted = usize::try_from(lines.min(LOG_LINES_MAX)).unwrap_or(usize::MAX);
    let mut all = last_lines(log).unwrap_or_default();
    if all.len() < wanted {
        let mut older = last_lines(log_old).unwrap_or_default();
        older.append(&mut all);
        all = older;
    }
    all.drain(..all.len().saturating_sub(wanted));
    all
}

fn last_lines(path: &Path) -> io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(READ_MAX);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(READ_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // What does not start at the start of a line is half a line.
    let skipped = usize::from(start > 0);
    Ok(text.lines().skip(skipped).map(cut).collect())
}

fn cut(line: &str) -> String {
    line.get(..line.floor_char_boundary(LOG_LINE_MAX)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(
        old: &str,
        new: &str,
    ) -> (tempfile::TempDir, std::path::PathBuf, std::path::PathBuf) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (log, log_old) = (dir.path().join("current"), dir.path().join("previous"));
        std::fs::write(&log, new).expect("a log");
        std::fs::write(&log_old, old).expect("a log");
        (dir, log, log_old)
    }

    #[test]
    fn the_last_lines_are_given_across_a_rotation() {
        let (_dir, log, log_old) = written("1\n2\n3\n", "4\n5\n");
        assert_eq!(tail(&log, &log_old, 2), ["4", "5"]);
        assert_eq!(tail(&log, &log_old, 4), ["2", "3", "4", "5"]);
        assert_eq!(tail(&log, &log_old, 100), ["1", "2", "3", "4", "5"]);
    }

    #[test]
    fn of_a_long_log_only_whole_lines_of_the_end_are_given() {
        let text: String = (0..100_000).map(|n| format!("line {n}\n")).collect();
        let (_dir, log, log_old) = written("", &text);
        let lines = tail(&log, &log_old, u32::MAX);
        assert_eq!(lines.len(), 500);
        assert_eq!(lines.last().map(String::as_str), Some("line 99999"));
        assert_eq!(lines.first().map(String::as_str), Some("line 99500"));
    }

    #[test]
    fn a_long_line_is_cut_between_characters_and_a_missing_log_has_no_lines() {
        let (_dir, log, log_old) = written("", &"ü".repeat(1000));
        assert_eq!(tail(&log, &log_old, 1), ["ü".repeat(LOG_LINE_MAX / 2)]);
        assert!(tail(Path::new("/nonexistent"), Path::new("/nonexistent"), 5).is_empty());
    }
}
