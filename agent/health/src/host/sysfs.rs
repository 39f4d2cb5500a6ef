//! Reading small files of /sys and /proc. What is not there is none; what is there and cannot be read is
//! an error in words.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Most bytes of one file. Those of sysfs have at most a page (Documentation/filesystems/sysfs.rst);
/// /proc/diskstats has some 150 bytes for each disk and partition.
const FILE_MAX: u64 = 256 << 10;

/// Most entries of one folder that are looked at. A machine has at most some hundred processors and
/// devices.
pub(crate) const ENTRIES_MAX: usize = 2048;

/// The text of a file without blanks around it.
pub(crate) fn text(path: &Path) -> Result<Option<String>, String> {
    let read = || -> io::Result<String> {
        let mut bytes = Vec::new();
        File::open(path)?.take(FILE_MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    match read() {
        Ok(text) => Ok(Some(text)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Drivers answer so for attributes that a device has not, and for devices that go this moment.
fn is_absent(error: &io::Error) -> bool {
    const ENXIO: i32 = 6;
    const ENODEV: i32 = 19;
    const EOPNOTSUPP: i32 = 95;
    error.kind() == ErrorKind::NotFound
        || matches!(error.raw_os_error(), Some(ENXIO | ENODEV | EOPNOTSUPP))
}

/// The number in a file; none too where it holds no number, or cannot be read: single attributes are
/// often broken, and what is missing is left out.
pub(crate) fn value<T: FromStr>(path: &Path) -> Option<T> {
    text(path).ok()??.parse().ok()
}

/// The text in a file, where it can be read and is not empty.
pub(crate) fn word(path: &Path) -> Option<String> {
    text(path).ok()?.filter(|text| !text.is_empty())
}

/// The names in a folder, sorted; none where there is no such folder.
pub(crate) fn entries(folder: &Path) -> Result<Option<Vec<String>>, String> {
    let listed = match fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", folder.display())),
    };
    let names = listed.take(ENTRIES_MAX).flatten();
    let mut names: Vec<String> =
        names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_by(|a, b| natural(a).cmp(&natural(b)).then(a.cmp(b)));
    Ok(Some(names))
}

/// Orders `cpu2` before `cpu10`.
fn natural(name: &str) -> (&str, u64) {
    let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = name.get(letters.len()..).unwrap_or_default();
    (letters, digits.parse().unwrap_or(0))
}

/// The last part of what a link leads to.
pub(crate) fn link_name(link: &Path) -> Option<String> {
    fs::canonicalize(link).ok()?.file_name()?.to_str().map(str::to_owned)
}

/// The number behind a word: `dimm12` behind `dimm` is 12.
pub(crate) fn numbered(name: &str, word: &str) -> Option<u32> {
    let digits = name.strip_prefix(word)?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// A file below folders that stands for the machine's own.
pub(crate) fn below(root: &Path, parts: &[&str]) -> PathBuf {
    parts.iter().fold(root.to_owned(), |path, part| path.join(part))
}

/// Trees of files for tests.
#[cfg(test)]
pub(crate) mod fake {
    use std::path::Path;

    pub(crate) fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary directory");
        for (path, text) in files {
            write(root.path(), path, text);
        }
        root
    }

    pub(crate) fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, format!("{text}\n")).expect("written");
    }

    pub(crate) fn link(root: &Path, path: &str, to: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::os::unix::fs::symlink(root.join(to), path).expect("a link");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_none_and_what_cannot_be_read_says_why() {
        let root = fake::tree(&[("a/n10", " 7"), ("a/n9", "x"), ("a/n1", "")]);
        let a = root.path().join("a");
        assert_eq!(text(&a.join("none")), Ok(None));
        assert!(text(&a).expect_err("a folder").contains("/a: "));
        assert_eq!((value::<u64>(&a.join("n10")), value::<u64>(&a.join("n9"))), (Some(7), None));
        assert_eq!(word(&a.join("n1")), None);
        let names = ["n1", "n9", "n10"].map(str::to_owned);
        assert_eq!(entries(&a), Ok(Some(names.to_vec())));
        assert_eq!(entries(&a.join("none")), Ok(None));
    }

    #[test]
    fn a_word_with_a_number() {
        assert_eq!(numbered("dimm12", "dimm"), Some(12));
        assert_eq!(numbered("dimm", "dimm"), None);
        assert_eq!(numbered("dimm1x", "dimm"), None);
        assert_eq!(numbered("rank1", "dimm"), None);
    }
}
