//! The record on a volume: `state/agent.json`, mode 0600, replaced by renaming.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::decide::{Found, VolumeFound, Write};
use super::record::{RECORD_MAX, Record};

/// The folder at the root of a volume.
pub(super) const FOLDER: &str = "state";

/// The record in it.
pub(super) const FILE: &str = "agent.json";

/// Where a damaged record is kept.
const SET_ASIDE: &str = "agent.json.damaged";

/// A record that is being written.
const TEMPORARY: &str = ".agent.json.new";

/// Files beside the record that may have a node's keys as well.
pub(super) const LEFTOVERS: [&str; 2] = [SET_ASIDE, TEMPORARY];

/// Why a record was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// A step failed.
    #[error("cannot {operation} {path}: {source}")]
    Io {
        /// What was to be done.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The record has no form as JSON.
    #[error("cannot write the record as JSON: {0}")]
    Encode(#[from] serde_json::Error),
}

/// Looks what stands on a volume.
pub(crate) fn read(mount: &Path) -> VolumeFound {
    let path = mount.join(FOLDER).join(FILE);
    let found = match read_bytes(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Nothing,
        Err(error) => Found::Unreadable(format!("{}: {error}", path.display())),
        Ok(bytes) => match Record::decode(&bytes) {
            Ok(record) => Found::Record(Box::new(record)),
            Err(error) => Found::Unusable(error),
        },
    };
    VolumeFound { mount: mount.to_owned(), found }
}

fn read_bytes(path: &Path) -> io::Result<zeroize::Zeroizing<Vec<u8>>> {
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    File::open(path)?.take(RECORD_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a record: temporary file → fsync → rename → fsync of the folder.
///
/// # Errors
/// [`WriteError`]; then what stood there before still does.
pub(crate) fn write(place: &Write, record: &Record) -> Result<(), WriteError> {
    let bytes = record.encode()?;
    let folder = place.mount.join(FOLDER);
    let path = folder.join(FILE);
    let temporary = folder.join(TEMPORARY);
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(failed("create", &folder)(error));
        }
        _ => {}
    }
    sync_dir(&place.mount)?;
    if place.set_aside {
        let aside = folder.join(SET_ASIDE);
        fs::rename(&path, &aside).map_err(failed("set aside", &path))?;
    }
    // What an interrupted write left.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove", &temporary)(error));
        }
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(failed("create", &temporary))?;
    file.write_all(&bytes).map_err(failed("write", &temporary))?;
    file.sync_all().map_err(failed("sync", &temporary))?;
    fs::rename(&temporary, &path).map_err(failed("rename", &temporary))?;
    sync_dir(&folder)
}

/// Writes over what stands on a volume and removes it: the node's keys do not leave with its disk.
///
/// # Errors
/// [`WriteError`]; something may be left then.
pub(crate) fn destroy(mount: &Path) -> Result<(), WriteError> {
    let folder = mount.join(FOLDER);
    for name in [FILE, SET_ASIDE, TEMPORARY] {
        let path = folder.join(name);
        overwrite(&path).map_err(failed("write over", &path))?;
    }
    if folder.exists() { sync_dir(&folder) } else { Ok(()) }
}

/// Writes over a file and removes it, if there is one; its folder is not synced.
///
/// # Errors
/// A call failed; something may be left then.
pub(super) fn overwrite(path: &Path) -> io::Result<()> {
    let mut file = match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let length = file.metadata()?.len();
    file.write_all(&vec![0; usize::try_from(length.min(RECORD_MAX)).unwrap_or_default()])?;
    file.sync_all()?;
    fs::remove_file(path)
}

/// Whether nothing of the node is on a volume but what writing a first record leaves where it is cut off.
///
/// # Errors
/// The folder cannot be listed.
pub(super) fn is_alone(mount: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(mount.join(FOLDER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        entries => entries?,
    };
    for entry in entries {
        if entry?.file_name() != TEMPORARY {
            return Ok(false);
        }
    }
    Ok(true)
}

fn sync_dir(path: &Path) -> Result<(), WriteError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(failed("sync", path))
}

/// A step that failed on a file.
pub(super) fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WriteError {
    move |source| WriteError::Io { operation, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::state::record::example;

    fn place(dir: &tempfile::TempDir, set_aside: bool) -> Write {
        Write { mount: dir.path().to_owned(), set_aside }
    }

    #[test]
    fn a_written_record_is_found_again_and_only_for_its_owner() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        write(&place(&dir, false), &example("n1", 1)).expect("written");
        write(&place(&dir, false), &example("n1", 2)).expect("written again");
        assert_eq!(read(dir.path()).found, Found::Record(Box::new(example("n1", 2))));
        let mode = |path: &str| {
            let meta = fs::metadata(dir.path().join(path)).expect("it is there");
            meta.permissions().mode() & 0o777
        };
        assert_eq!((mode("state"), mode("state/agent.json")), (0o700, 0o600));
    }

    #[test]
    fn an_interrupted_write_changes_nothing_and_is_cleaned_up() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        write(&place(&dir, false), &example("n1", 1)).expect("written");
        fs::write(dir.path().join("state/.agent.json.new"), "half").expect("a leftover");
        assert_eq!(read(dir.path()).found, Found::Record(Box::new(example("n1", 1))));
        write(&place(&dir, false), &example("n1", 2)).expect("written");
        assert_eq!(read(dir.path()).found, Found::Record(Box::new(example("n1", 2))));
    }

    #[test]
    fn a_damaged_record_is_kept_under_another_name() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(dir.path().join("state")).expect("a folder");
        fs::write(dir.path().join("state/agent.json"), "torn").expect("a damaged record");
        assert!(matches!(read(dir.path()).found, Found::Unusable(_)));
        write(&place(&dir, true), &example("n1", 1)).expect("written");
        let aside = fs::read_to_string(dir.path().join("state/agent.json.damaged"));
        assert_eq!(aside.expect("set aside"), "torn");
    }

    #[test]
    fn a_volume_that_is_gone_cannot_be_written_to() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let place = Write { mount: dir.path().join("gone"), set_aside: false };
        let error = write(&place, &example("n1", 1)).expect_err("no such directory");
        assert!(error.to_string().contains("gone/state"), "{error}");
    }
}
