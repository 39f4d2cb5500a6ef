//! Putting a file in place of another.

use std::fs;
use std::io;
use std::path::Path;

/// How the name of a file ends that is about to take another's place.
pub(crate) const STAGED: &str = ".new";

/// Puts bytes in place of a file; readers see the old or the new, never half. All of init's files
/// are in memory, so there is nothing to bring to stable storage.
///
/// # Errors
///
/// When it cannot be written.
pub(crate) fn replace(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let mut staged = path.as_os_str().to_owned();
    staged.push(STAGED);
    fs::write(&staged, bytes)?;
    fs::rename(&staged, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::TempDir::new().expect("temporary folder");
        let path = folder.path().join("resolv.conf");
        for text in ["a long first text", "short"] {
            replace(&path, text).expect("written");
            assert_eq!(fs::read_to_string(&path).expect("read"), text);
        }
        assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1);
    }
}
