//! Writes a support bundle to the stick that is labelled for it, and to nothing else.
//!
//! ```text
//! find: disks that can be plugged in ── blkid ──► choose() (pure) ──► one device
//! take: mount ── free space ── NAME.part ── fsync ── rename ── fsync the folder ── unmount
//!       mount read-only ── read back, compare ── unmount
//! ```

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use disk_manager_plan::hardware::{Answer, BUNDLE_MAX};
use disk_manager_plan::stick::{Candidate, FileSystem, LABEL, choose};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::desk::{Desk, failed};
use super::directory::{Place as Turn, Pluggable};
use crate::device::presence;
use crate::program::run;

/// Where sticks are mounted, for root alone.
const FOLDER: &str = "/run/icn-disks-stick";

/// What is mounted is one of these.
const FILE_SYSTEM: &str = "vfat";

/// The place of who writes to a stick; no disk has such a name.
const STICK: &str = "support stick";

/// How long blkid may look at a partition: it reads some kilobytes.
const BLKID_LIMIT: Duration = Duration::from_secs(15);

/// What a file system needs beside the bundle, in bytes: a cluster of up to 32 KiB for the folder, some of slack.
const SPARE: u64 = 1 << 20;

/// Longest name of a file.
const NAME_MAX: usize = 100;

/// How many files of one name a stick may have.
const NUMBERS: u32 = 99;

/// What is written at a time.
const PIECE: usize = 1 << 20;

/// Mounts a file system in a place of its own.
pub trait Place: fmt::Debug + Send + Sync {
    /// Mounts it and says where.
    ///
    /// # Errors
    /// The kernel refused.
    fn mount(&self, device: &Path, writable: bool) -> io::Result<PathBuf>;

    /// Unmounts it, once all of it is on the device.
    ///
    /// # Errors
    /// The kernel refused; then it is detached, and what was written is in doubt.
    fn unmount(&self) -> io::Result<()>;
}

/// The real one.
#[derive(Debug)]
pub(super) struct Mounted(PathBuf);

impl Default for Mounted {
    fn default() -> Self {
        Self(PathBuf::from(FOLDER))
    }
}

impl Place for Mounted {
    fn mount(&self, device: &Path, writable: bool) -> io::Result<PathBuf> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let flags = MountFlags::NODEV
            | MountFlags::NOSUID
            | MountFlags::NOEXEC
            | MountFlags::NOATIME
            | if writable { MountFlags::SYNCHRONOUS } else { MountFlags::RDONLY };
        mount(device, &self.0, FILE_SYSTEM, flags, Some(c"utf8"))?;
        Ok(self.0.clone())
    }

    fn unmount(&self) -> io::Result<()> {
        if let Err(error) = unmount(&self.0, UnmountFlags::empty()) {
            // Better gone from sight than in the way of the next one.
            let _ = unmount(&self.0, UnmountFlags::DETACH);
            return Err(error.into());
        }
        // It may stay; the next mount uses it.
        let _ = fs::remove_dir(&self.0);
        Ok(())
    }
}

/// Why a bundle is not on the stick.
#[derive(Debug, thiserror::Error)]
enum StickError {
    #[error("cannot {what} {}: {source}", .device.display())]
    Device { what: &'static str, device: PathBuf, source: io::Error },
    #[error("cannot {what} {file} on the stick: {source}")]
    File { what: &'static str, file: String, source: io::Error },
    #[error("{} was pulled, or another stick has its place: try again", .0.display())]
    Gone(PathBuf),
    #[error("the stick has {free} bytes free, and {wanted} are needed: remove some files from it")]
    Full { free: u64, wanted: u64 },
    #[error("the stick has {NUMBERS} files called {0} already: remove some")]
    Taken(String),
    #[error("{came} bytes came of {length}: the stick has none of them")]
    Short { came: u64, length: u64 },
    #[error("what was read back from the stick is not what was written: use another stick")]
    Differs,
}

/// A stick that was found, for one file. Nobody else writes to one meanwhile.
#[derive(Debug)]
pub(super) struct Stick {
    place: Arc<dyn Place>,
    sysfs: PathBuf,
    device: PathBuf,
    /// Of the disk, as it was seen when it was chosen: name and number of its plug-in.
    disk: (String, Option<u64>),
    name: String,
    length: u64,
    _turn: Turn,
}

impl Desk {
    /// Finds the stick that a file of this name and length is to be written to; writes nothing.
    ///
    /// # Errors
    /// In words: there is none, it is not clear which, or another writes.
    pub(super) fn find_stick(&self, name: &str, length: u64) -> Result<Stick, String> {
        if !is_name(name) {
            return Err("the name of the bundle is not one that a stick can have".to_owned());
        }
        if length == 0 || length > BUNDLE_MAX {
            return Err(format!("a bundle has 1 to {BUNDLE_MAX} bytes, not {length}"));
        }
        let turn = self
            .directory
            .take_place(STICK)
            .ok_or("another bundle is being written: wait for it".to_owned())?;
        let mut disks = self.directory.pluggable();
        let sequences: Vec<Option<u64>> = disks.iter().map(|disk| self.sequence(disk)).collect();
        for disk in &mut disks {
            disk.candidate.labelled =
                disk.devices.iter().filter_map(|device| labelled(device)).collect();
        }
        let candidates: Vec<Candidate> = disks.iter().map(|disk| disk.candidate.clone()).collect();
        let device = choose(&candidates).map_err(|why| why.to_string())?;
        let chosen = disks.iter().zip(sequences).find(|(disk, _)| disk.devices.contains(&device));
        let (disk, sequence) =
            chosen.ok_or("the stick is not known any more: try again".to_owned())?;
        tracing::info!(device = %device.display(), length, "a support bundle goes to a stick");
        Ok(Stick {
            place: Arc::clone(&self.place),
            sysfs: self.sysfs.clone(),
            device,
            disk: (disk.name.clone(), sequence),
            name: name.to_owned(),
            length,
            _turn: turn,
        })
    }

    fn sequence(&self, disk: &Pluggable) -> Option<u64> {
        presence(&self.sysfs, &disk.name).map(|presence| presence.sequence)
    }
}

impl Stick {
    /// Writes the bytes, all or none, and compares what the stick has then.
    pub(super) fn take(self, bytes: &mut impl Read) -> Answer {
        match self.deliver(bytes) {
            Ok(file) => {
                tracing::info!(device = %self.device.display(), file, "the bundle is on the stick");
                let device = self.device.display().to_string();
                Answer::Written { device, file, size: self.length }
            }
            Err(error) => {
                tracing::warn!(device = %self.device.display(), %error, "no bundle on the stick");
                failed(error.to_string())
            }
        }
    }

    fn deliver(&self, bytes: &mut impl Read) -> Result<String, StickError> {
        let (file, digest) = self.mounted(true, |folder| {
            has_room(folder, self.length).map_err(|error| error.of(&self.device))?;
            write(folder, &self.name, self.length, bytes)
        })?;
        let found = self.mounted(false, |folder| {
            let failed = failing("read back", &file);
            let mut hasher = blake3::Hasher::new();
            let read = File::open(folder.join(&file)).map_err(&failed)?;
            io::copy(&mut read.take(BUNDLE_MAX + 1), &mut hasher).map_err(&failed)?;
            Ok(hasher.finalize())
        })?;
        if found == digest { Ok(file) } else { Err(StickError::Differs) }
    }

    /// Does something with the file system while it is mounted.
    fn mounted<T>(
        &self,
        writable: bool,
        work: impl FnOnce(&Path) -> Result<T, StickError>,
    ) -> Result<T, StickError> {
        let (name, sequence) = &self.disk;
        if presence(&self.sysfs, name).map(|presence| presence.sequence) != *sequence {
            return Err(StickError::Gone(self.device.clone()));
        }
        let failed = |what| {
            let device = self.device.clone();
            move |source| StickError::Device { what, device, source }
        };
        let folder = self.place.mount(&self.device, writable).map_err(failed("mount"))?;
        let done = work(&folder);
        let unmounted = self.place.unmount().map_err(failed("unmount"));
        let done = done?;
        unmounted.map(|()| done)
    }
}

/// The file system of a device, where it has our label.
fn labelled(device: &Path) -> Option<FileSystem> {
    let output = run("blkid", &["-p", "-o", "export", &device.to_string_lossy()], BLKID_LIMIT);
    let output = output.ok().filter(|output| output.status == 0)?;
    let kind = kind_of(&output.stdout)?;
    Some(FileSystem { device: device.to_owned(), kind })
}

/// What `blkid -p -o export` says of the type, where it says our label.
fn kind_of(text: &str) -> Option<String> {
    let value = |key: &str| {
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=').map(str::trim))
    };
    // Blanks stand behind backslashes in this form.
    (value("LABEL")? == LABEL).then(|| value("TYPE").unwrap_or("nothing known").to_owned())
}

fn is_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    (1..=NAME_MAX).contains(&name.len())
        && name.chars().all(legal)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// Why there is no room, before it is known on what.
enum NoRoom {
    Unknown(io::Error),
    Full { free: u64, wanted: u64 },
}

impl NoRoom {
    fn of(self, device: &Path) -> StickError {
        match self {
            Self::Unknown(source) => {
                let (what, device) = ("ask for the free space of", device.to_owned());
                StickError::Device { what, device, source }
            }
            Self::Full { free, wanted } => StickError::Full { free, wanted },
        }
    }
}

fn has_room(folder: &Path, length: u64) -> Result<(), NoRoom> {
    let space = rustix::fs::statvfs(folder).map_err(|error| NoRoom::Unknown(error.into()))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let wanted = length + SPARE;
    if free < wanted { Err(NoRoom::Full { free, wanted }) } else { Ok(()) }
}

/// Writes the bytes under a name that is free, and returns that and their digest.
fn write(
    folder: &Path,
    name: &str,
    length: u64,
    bytes: &mut impl Read,
) -> Result<(String, blake3::Hash), StickError> {
    let name = free_name(folder, name)?;
    let part = format!("{name}.part");
    let path = folder.join(&part);
    let written = fill(&path, &part, length, bytes).and_then(|digest| {
        fs::rename(&path, folder.join(&name)).map_err(failing("rename", &part))?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failing("sync", &name))?;
        Ok(digest)
    });
    match written {
        Ok(digest) => Ok((name, digest)),
        Err(error) => {
            // What is left of it is of no use, and is told as not there.
            let _ = fs::remove_file(&path);
            Err(error)
        }
    }
}

fn fill(
    path: &Path,
    part: &str,
    length: u64,
    bytes: &mut impl Read,
) -> Result<blake3::Hash, StickError> {
    let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let mut file = open.map_err(failing("make", part))?;
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; PIECE];
    let mut came = 0;
    loop {
        let read = match bytes.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(failing("receive", part))?,
        };
        let read = piece.get(..read).unwrap_or_default();
        if read.is_empty() {
            break;
        }
        came += read.len() as u64;
        hasher.update(read);
        file.write_all(read).map_err(failing("write", part))?;
    }
    if came != length {
        return Err(StickError::Short { came, length });
    }
    file.sync_all().map_err(failing("sync", part))?;
    Ok(hasher.finalize())
}

/// The name, with a number where it is taken: `a.tar.zst.age`, then `a-2.tar.zst.age`.
fn free_name(folder: &Path, name: &str) -> Result<String, StickError> {
    let (stem, rest) = name.split_once('.').unwrap_or((name, ""));
    let dot = if rest.is_empty() { "" } else { "." };
    let numbered = (2..=NUMBERS).map(|number| format!("{stem}-{number}{dot}{rest}"));
    for name in std::iter::once(name.to_owned()).chain(numbered) {
        match fs::symlink_metadata(folder.join(&name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(name),
            Err(source) => return Err(StickError::File { what: "look for", file: name, source }),
            Ok(_) => {}
        }
    }
    Err(StickError::Taken(name.to_owned()))
}

fn failing(what: &'static str, file: &str) -> impl Fn(io::Error) -> StickError {
    let file = file.to_owned();
    move |source| StickError::File { what, file: file.clone(), source }
}

#[cfg(test)]
#[path = "stick_tests.rs"]
mod tests;
