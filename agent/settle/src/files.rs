//! Files and passwords of the HP's machine.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

/// The longest password in bytes.
const PASSWORD_MAX: u64 = 1024;

/// The longest keystore in bytes; wallets write some 500.
const KEYSTORE_MAX: u64 = 64 << 10;

/// Only the owner reads what this program writes.
const OWNER_ONLY: u32 = 0o600;

/// The same for folders.
const OWNER_ONLY_FOLDER: u32 = 0o700;

/// What could not be done with a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("cannot {operation} {}: {source}", path.display())]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
    #[error("{} has more than {limit} bytes: it is another kind of file", path.display())]
    Long { path: PathBuf, limit: u64 },
    #[error("{} is there already: it is not overwritten; choose another name", .0.display())]
    Exists(PathBuf),
    #[error("{} is no text", .0.display())]
    NoText(PathBuf),
    #[error("cannot ask for the password: {0}; use --password-file where there is no terminal")]
    NoTerminal(io::Error),
    #[error("the password is empty")]
    NoPassword,
    #[error("the two passwords differ")]
    Differ,
    #[error("another icn-settle works for this account ({} is locked): wait until it is done", .0.display())]
    Locked(PathBuf),
    #[error(
        "there is neither $XDG_STATE_HOME nor $HOME: say with --state where to remember transactions"
    )]
    NoHome,
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io { operation, path, source }
}

/// Reads a file of at most so many bytes, and wipes them when they are dropped.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let file = File::open(path).map_err(failed("open", path))?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed("read", path))?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= limit => Ok(bytes),
        _ => Err(FileError::Long { path: path.to_owned(), limit }),
    }
}

/// Reads a text of at most so many bytes.
pub(crate) fn text(path: &Path, limit: u64) -> Result<String, FileError> {
    let bytes = read(path, limit)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| FileError::NoText(path.to_owned()))
}

/// Reads a keystore.
pub(crate) fn keystore(path: &Path) -> Result<String, FileError> {
    text(path, KEYSTORE_MAX)
}

/// Writes a file that is not there yet: aside, synced, and linked to its name.
pub(crate) fn write_new(path: &Path, text: &str) -> Result<(), FileError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let aside = folder.join(name);
    let written = write_aside(&aside, text).and_then(|()| {
        // A link is refused where the name is taken; a rename would take its place.
        fs::hard_link(&aside, path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => FileError::Exists(path.to_owned()),
            _ => failed("make", path)(error),
        })
    });
    let removed = fs::remove_file(&aside);
    written?;
    removed.map_err(failed("remove", &aside))?;
    sync_folder(folder)
}

fn write_aside(path: &Path, text: &str) -> Result<(), FileError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path);
    let mut file = opened.map_err(failed("make", path))?;
    file.write_all(text.as_bytes()).map_err(failed("write", path))?;
    file.sync_all().map_err(failed("sync", path))
}

fn sync_folder(folder: &Path) -> Result<(), FileError> {
    let opened = File::open(folder).map_err(failed("open", folder))?;
    opened.sync_all().map_err(failed("sync", folder))
}

/// Gets a password from a file, or from the terminal; twice where it is a new one.
pub(crate) fn password(file: Option<&Path>, new: bool) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let password = match file {
        Some(path) => {
            let bytes = read(path, PASSWORD_MAX)?;
            let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            Zeroizing::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
        }
        None => {
            let first = ask("Password of the keystore: ")?;
            if new && first != ask("The same again: ")? {
                return Err(FileError::Differ);
            }
            first
        }
    };
    if password.is_empty() { Err(FileError::NoPassword) } else { Ok(password) }
}

fn ask(prompt: &str) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let password = rpassword::prompt_password(prompt).map_err(FileError::NoTerminal)?;
    Ok(Zeroizing::new(password.into_bytes()))
}

/// The folder of one account, which no other process uses while this lives.
#[derive(Debug)]
pub(crate) struct Place {
    pub folder: PathBuf,
    _lock: File,
}

impl Place {
    /// Makes the folder where it is not there, and locks it.
    pub(crate) fn open(state: Option<&Path>, account: &str) -> Result<Self, FileError> {
        let state = match state {
            Some(state) => state.to_owned(),
            None => default_state()?,
        };
        let folder = state.join(account);
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(OWNER_ONLY_FOLDER);
        builder.create(&folder).map_err(failed("make", &folder))?;
        sync_folder(&state)?;
        let path = folder.join("lock");
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(OWNER_ONLY)
            .open(&path);
        let lock = opened.map_err(failed("make", &path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => FileError::Locked(path.clone()),
            error => failed("lock", &path)(error.into()),
        })?;
        Ok(Self { folder, _lock: lock })
    }
}

/// Where state of programs is kept (XDG Base Directory Specification 0.8).
fn default_state() -> Result<PathBuf, FileError> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let state = set("XDG_STATE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(set("HOME")?).join(".local/state"));
    let state = state.or_else(home).ok_or(FileError::NoHome)?;
    Ok(state.join("icn-settle"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_written_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write_new(&path, "one").unwrap();
        assert!(matches!(write_new(&path, "two"), Err(FileError::Exists(_))));
        assert_eq!(text(&path, 3).unwrap(), "one");
        assert!(matches!(text(&path, 2), Err(FileError::Long { .. })));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, OWNER_ONLY);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left aside");
    }

    #[test]
    fn a_password_is_a_line_without_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        for (written, expected) in [("word\n", "word"), ("word\r\n", "word"), (" word ", " word ")]
        {
            fs::write(&path, written).unwrap();
            assert_eq!(password(Some(&path), false).unwrap().as_slice(), expected.as_bytes());
        }
        fs::write(&path, "\n").unwrap();
        assert!(matches!(password(Some(&path), false), Err(FileError::NoPassword)));
    }

    #[test]
    fn a_place_is_for_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = Place::open(Some(folder.path()), "5-0x1").unwrap();
        let second = Place::open(Some(folder.path()), "5-0x1");
        assert!(matches!(second, Err(FileError::Locked(_))));
        Place::open(Some(folder.path()), "5-0x2").unwrap();
        drop(first);
        Place::open(Some(folder.path()), "5-0x1").unwrap();
    }
}
