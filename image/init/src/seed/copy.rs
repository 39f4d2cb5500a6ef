//! Reading the files of a mounted partition, bounded in number, size and depth.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use provisioning_config::seed::{MAX_DEPTH, MAX_FILE, MAX_FILES, MAX_TOTAL, is_litter};

use super::Files;

/// The files, and problems of those that were left out. What cannot be read is an error of the
/// whole, as a file system that fails in one place cannot be trusted in another.
///
/// # Errors
///
/// When a folder or file cannot be read.
pub(crate) fn copy(folder: &Path) -> io::Result<(Files, Vec<String>)> {
    let mut reader = Reader { files: Files::new(), problems: Vec::new(), total: 0 };
    reader.folder(folder, "", 1)?;
    Ok((reader.files, reader.problems))
}

struct Reader {
    files: Files,
    problems: Vec<String>,
    total: u64,
}

impl Reader {
    fn folder(&mut self, folder: &Path, prefix: &str, depth: usize) -> io::Result<()> {
        let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| !is_litter(name)) else { continue };
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() && depth < MAX_DEPTH {
                self.folder(&entry.path(), &format!("{path}/"), depth + 1)?;
            } else if kind.is_dir() {
                self.leave_out(&path, &format!("it is deeper than {MAX_DEPTH} folders"));
            } else if kind.is_file() {
                self.file(&entry.path(), path)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, file: &Path, path: String) -> io::Result<()> {
        if self.files.len() >= MAX_FILES {
            self.leave_out(&path, &format!("there are more than {MAX_FILES} files"));
            return Ok(());
        }
        let mut bytes = Vec::new();
        File::open(file)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        let size = bytes.len() as u64;
        if size > MAX_FILE {
            self.leave_out(&path, &format!("it is larger than {MAX_FILE} bytes"));
        } else if self.total + size > MAX_TOTAL {
            self.leave_out(&path, &format!("all files together are larger than {MAX_TOTAL} bytes"));
        } else {
            self.total += size;
            self.files.insert(path, bytes);
        }
        Ok(())
    }

    fn leave_out(&mut self, path: &str, why: &str) {
        /// Most files that are named: the first few say what is wrong.
        const MAX_NAMED: usize = 4;
        if self.problems.len() < MAX_NAMED {
            let path = path.escape_debug();
            self.problems
                .push(format!("ICN-SEED: {path} was left out: {why}; remove or shorten it"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(files: &[(&str, usize)]) -> tempfile::TempDir {
        let root = tempfile::TempDir::new().expect("temporary folder");
        for (path, size) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            fs::write(path, vec![b'x'; *size]).expect("file");
        }
        root
    }

    #[test]
    fn files_and_folders_are_taken_and_what_computers_leave_is_not() {
        let root = partition(&[
            ("node.toml", 9),
            ("tls/node.pem", 7),
            (".Trashes/501", 5),
            ("._node.toml", 5),
            ("System Volume Information/IndexerVolumeGuid", 5),
        ]);
        let (files, problems) = copy(root.path()).expect("copied");
        let sizes: Vec<_> =
            files.iter().map(|(name, bytes)| (name.as_str(), bytes.len())).collect();
        assert_eq!(sizes, [("node.toml", 9), ("tls/node.pem", 7)]);
        assert_eq!(problems, Vec::<String>::new());
    }

    #[test]
    fn what_is_too_large_too_deep_or_too_much_is_left_out_and_told() {
        let size = usize::try_from(MAX_FILE).expect("fits");
        let root = partition(&[("a", size), ("b", size + 1), ("x/y/z/deep", 1), ("x/y/c", 1)]);
        let (files, problems) = copy(root.path()).expect("copied");
        assert_eq!(files.keys().collect::<Vec<_>>(), ["a", "x/y/c"]);
        assert_eq!(problems.len(), 2);
        let names: Vec<String> = (0..100).map(|n| format!("{n:03}")).collect();
        let many: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        let (files, problems) = copy(partition(&many).path()).expect("copied");
        assert_eq!((files.len(), problems.len()), (MAX_FILES, 4));
        let large: Vec<(&str, usize)> =
            many.iter().map(|(name, _)| (*name, size)).take(20).collect();
        let (files, _) = copy(partition(&large).path()).expect("copied");
        assert_eq!(files.values().map(Vec::len).sum::<usize>() as u64, MAX_TOTAL);
    }

    #[test]
    fn links_are_not_followed() {
        let root = partition(&[("node.toml", 1)]);
        std::os::unix::fs::symlink("/etc/passwd", root.path().join("link")).expect("link");
        let (files, _) = copy(root.path()).expect("copied");
        assert_eq!(files.len(), 1);
    }

    #[test]
    fn a_folder_that_cannot_be_read_is_an_error() {
        assert!(copy(Path::new("/nonexistent")).is_err());
    }
}
