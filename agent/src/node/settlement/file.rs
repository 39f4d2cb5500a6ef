//! What is kept beside the outbox: one value a file, as JSON with its version and checksum.
//!
//! ```text
//! { "version": 1, "sha256": "<hex of the body's bytes>", "body": { … } }
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use tracing::warn;

/// The version of the form.
const VERSION: u32 = 1;

/// The longest file in bytes: 48 eras of 4,096 buckets each, at some 150 bytes, twice.
const FILE_MAX: u64 = 64 << 20;

/// Why nothing could be kept, or read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// A step failed.
    #[error("cannot {operation} {path}: {source}")]
    Io {
        /// What was to be done.
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It has no form as JSON.
    #[error("cannot write what was used and settled as JSON: {0}")]
    Encode(#[from] serde_json::Error),
    /// A later release wrote it.
    #[error(
        "{path} is of form {found}, this release knows {VERSION}: start the release that wrote it"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its form.
        found: u32,
    },
}

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    version: u32,
    sha256: String,
    #[serde(borrow)]
    body: &'a RawValue,
}

#[derive(Deserialize)]
struct AnyVersion {
    version: u32,
}

/// Makes the folder, unless it is there.
///
/// # Errors
/// [`FileError::Io`].
pub(super) fn make_folder(folder: &Path) -> Result<(), FileError> {
    let made = DirBuilder::new().mode(0o700).recursive(true).create(folder);
    made.map_err(failed("make", folder))?;
    match folder.parent() {
        Some(above) => sync_folder(above),
        None => Ok(()),
    }
}

/// A value; none where there is none. One that is damaged is set aside, with a line in the log.
///
/// # Errors
/// It cannot be read, or is of a later release.
pub(super) fn read<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<T>, FileError> {
    let path = folder.join(name);
    let mut bytes = Vec::new();
    match File::open(&path).and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(failed("read", &path))?,
    };
    match decode(&bytes) {
        Ok(value) => Ok(Some(value)),
        Err(Undecoded::Newer(found)) => Err(FileError::Newer { path, found }),
        Err(Undecoded::Damaged(why)) => {
            warn!(path = %path.display(), why, "damaged: set aside, and begun anew");
            let aside = folder.join(format!("{name}.damaged"));
            fs::rename(&path, aside).map_err(failed("set aside", &path))?;
            Ok(None)
        }
    }
}

/// Keeps a value: written aside, synced, renamed, the folder synced.
///
/// # Errors
/// [`FileError`]; what stood there before still does.
pub(super) fn write<T: Serialize>(folder: &Path, name: &str, value: &T) -> Result<(), FileError> {
    let body = serde_json::to_string(value)?;
    let sha256 = hex::encode(Sha256::digest(body.as_bytes()));
    let envelope = Envelope { version: VERSION, sha256, body: serde_json::from_str(&body)? };
    let bytes = serde_json::to_vec(&envelope)?;
    let (path, aside) = (folder.join(name), folder.join(format!(".{name}.new")));
    let mut open = OpenOptions::new();
    let file = open.write(true).create(true).truncate(true).mode(0o600).open(&aside);
    let mut file = file.map_err(failed("create", &aside))?;
    file.write_all(&bytes).map_err(failed("write", &aside))?;
    file.sync_all().map_err(failed("sync", &aside))?;
    fs::rename(&aside, &path).map_err(failed("rename", &aside))?;
    sync_folder(folder)
}

enum Undecoded {
    Newer(u32),
    Damaged(String),
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Undecoded> {
    let damaged = |error: serde_json::Error| Undecoded::Damaged(error.to_string());
    let AnyVersion { version } = serde_json::from_slice(bytes).map_err(damaged)?;
    if version > VERSION {
        return Err(Undecoded::Newer(version));
    }
    let envelope: Envelope<'_> = serde_json::from_slice(bytes).map_err(damaged)?;
    let body = envelope.body.get();
    if envelope.sha256 != hex::encode(Sha256::digest(body.as_bytes())) {
        return Err(Undecoded::Damaged("the checksum does not fit".to_owned()));
    }
    serde_json::from_str(body).map_err(damaged)
}

fn sync_folder(folder: &Path) -> Result<(), FileError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(failed("sync", folder))
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io { operation, path, source }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::book::Book;
    use super::super::usage::UsageBook;
    use super::*;

    proptest! {
        #[test]
        fn whatever_stands_in_a_file_it_is_read_or_refused(bytes in any::<Vec<u8>>(), body in ".{0,60}") {
            let _ = decode::<Book>(&bytes);
            let sha256 = hex::encode(Sha256::digest(body.as_bytes()));
            let whole = format!("{{\"version\":1,\"sha256\":\"{sha256}\",\"body\":{body}}}");
            prop_assert!(decode::<UsageBook>(whole.as_bytes()).is_err(), "no such text is a book");
        }
    }

    #[test]
    fn what_was_kept_is_read_and_what_is_damaged_is_set_aside() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let folder = dir.path().join("state/settlement");
        make_folder(&folder).expect("a folder");
        let value = vec![(1_u64, u128::MAX)];
        assert_eq!(read::<Vec<(u64, u128)>>(&folder, "x").expect("read"), None);
        write(&folder, "x", &value).expect("written");
        assert_eq!(read(&folder, "x").expect("read"), Some(value.clone()));
        let path = folder.join("x");
        let torn = std::fs::read_to_string(&path).expect("text").replace("[[1,", "[[2,");
        std::fs::write(&path, torn).expect("written");
        assert_eq!(read::<Vec<(u64, u128)>>(&folder, "x").expect("read"), None);
        assert!(folder.join("x.damaged").exists() && !path.exists());
        std::fs::write(&path, r#"{"version":2,"other":1}"#).expect("written");
        let later = read::<Vec<(u64, u128)>>(&folder, "x").expect_err("a later form");
        assert!(matches!(later, FileError::Newer { found: 2, .. }) && path.exists());
    }
}
