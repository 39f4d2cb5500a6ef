//! A volume of the pool: its superblock, its key, and whether it may still be written to.

mod answer;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use zeroize::Zeroizing;

use self::answer::Answers;
pub use self::answer::{ANSWER_MAX, LONG_MAX, SCAN_MAX};
use crate::backend::{Backend, BackendFile, VolumeLock};
use crate::io::Io;
use crate::meter::{Measured, Meter, Metered};
use crate::seal::{KEY, KeyBytes, Sealer, TAG};
use crate::superblock::{Class, Member, SUPERBLOCK, Superblock, SuperblockError, VolumeNo};

/// The folder of the pool on a volume.
pub const FOLDER: &str = "icn-pool";

/// The superblocks; the older one is written.
const SUPERBLOCKS: [&str; 2] = ["superblock-0", "superblock-1"];

/// The file in it that whoever uses the volume holds locked.
pub const LOCK: &str = "lock";

/// Incarnations that are reserved with one write of the superblock.
const RESERVE: u64 = 1024;

/// Length of a nonce before a wrapped key, in bytes.
const NONCE: usize = 12;

/// Why a volume cannot be used. Nothing on it was changed, unless it failed while it was written.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Another process uses it.
    #[error("{} is in use by another process", .path.display())]
    InUse {
        /// Where it is mounted.
        path: PathBuf,
    },
    /// A file failed.
    #[error("cannot {operation} {}", .path.display())]
    Io {
        /// What was to be done.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Its superblocks are damaged, or of a later release.
    #[error("{}: {source}; it was left as it is", .path.display())]
    Superblock {
        /// Where it is mounted.
        path: PathBuf,
        /// Why.
        #[source]
        source: SuperblockError,
    },
    /// The node's key does not open the volume's.
    #[error(
        "{}: the node's key does not open it; it was written with another one",
        .path.display()
    )]
    WrongKey {
        /// Where it is mounted.
        path: PathBuf,
    },
    /// No random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

/// What a new volume is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVolume {
    /// The pool.
    pub pool: String,
    /// Its identity.
    pub volume: String,
    /// Its number, never used in this pool before.
    pub number: VolumeNo,
    /// Its class.
    pub class: Class,
    /// The pool's members, this volume included.
    pub members: Vec<Member>,
}

/// Called once when a device is fenced, with the reason.
pub type OnFence = Box<dyn Fn(VolumeNo, &str) + Send + Sync>;

/// A volume in use. A clone is another handle.
#[derive(Clone)]
pub struct Device {
    inner: Arc<Inner>,
}

struct Inner {
    backend: Arc<dyn Backend>,
    io: Io,
    root: PathBuf,
    number: VolumeNo,
    class: Class,
    sealer: Sealer,
    state: Mutex<State>,
    /// Held while a superblock is written; the state can be read meanwhile.
    writing: Mutex<()>,
    answers: Answers,
    /// Why it is fenced, once it is.
    fenced: OnceLock<String>,
    on_fence: OnFence,
    meter: Arc<Meter>,
    _lock: Box<dyn VolumeLock>,
}

struct State {
    superblock: Superblock,
    /// The next incarnation to give out; below `superblock.incarnations`.
    next: u64,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("number", &self.inner.number)
            .field("root", &self.inner.root)
            .finish_non_exhaustive()
    }
}

/// What a device needs beside the volume itself.
pub struct Surroundings {
    /// The file system.
    pub backend: Arc<dyn Backend>,
    /// Where calls that block run.
    pub io: Io,
    /// The key that wraps the volumes' keys.
    pub node_key: KeyBytes,
    /// Told when the device is fenced.
    pub on_fence: OnFence,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

/// The superblock in force of a volume mounted at `path`; none if it has none, as a blank one.
///
/// # Errors
/// It cannot be read, both superblocks are damaged, or one is of a later format.
pub fn superblock(backend: &dyn Backend, path: &Path) -> Result<Option<Superblock>, DeviceError> {
    let root = path.join(FOLDER);
    let mut newest: Option<Superblock> = None;
    let mut trouble = None;
    for name in SUPERBLOCKS {
        match read_superblock(backend, &root.join(name)) {
            Ok(Some(found)) => {
                if newest.as_ref().is_none_or(|newest| found.generation > newest.generation) {
                    newest = Some(found);
                }
            }
            Ok(None) => {}
            Err(ReadError::Io(error)) => return Err(error),
            Err(ReadError::Superblock(source @ SuperblockError::Newer { .. })) => {
                return Err(DeviceError::Superblock { path: path.to_owned(), source });
            }
            Err(ReadError::Superblock(source)) => trouble = Some(source),
        }
    }
    match (newest, trouble) {
        (None, Some(source)) => Err(DeviceError::Superblock { path: path.to_owned(), source }),
        (newest, _) => Ok(newest),
    }
}

/// Whether a node's key opens the key that a superblock has.
#[must_use]
pub fn opens(node_key: &KeyBytes, superblock: &Superblock) -> bool {
    unwrap(node_key, &superblock.key).is_some()
}

/// Ends what [`Device::destroy_key`] began, where that was cut off: on a volume whose superblock in force
/// has no key any more, the other one may still have it.
///
/// # Errors
/// See [`DeviceError`]; the other superblock may still hold the key.
pub fn end_destruction(backend: &dyn Backend, path: &Path) -> Result<(), DeviceError> {
    let root = path.join(FOLDER);
    let damaged = SuperblockError::Damaged;
    let found = superblock(backend, path)?
        .filter(|found| found.key.is_empty())
        .ok_or_else(|| DeviceError::Superblock { path: path.to_owned(), source: damaged })?;
    let _lock = lock(backend, path, &root)?;
    for name in SUPERBLOCKS {
        match read_superblock(backend, &root.join(name)) {
            Ok(Some(found)) if found.key.is_empty() => {}
            // One that is damaged may hold the key all the same.
            _ => {
                let bytes = found
                    .encode()
                    .map_err(|source| DeviceError::Superblock { path: path.to_owned(), source })?;
                put_superblock(backend, &root, &root.join(name), &bytes)?;
            }
        }
    }
    Ok(())
}

enum ReadError {
    Io(DeviceError),
    Superblock(SuperblockError),
}

fn read_superblock(backend: &dyn Backend, path: &Path) -> Result<Option<Superblock>, ReadError> {
    let failed = |operation| {
        let path = path.to_owned();
        move |source| ReadError::Io(DeviceError::Io { operation, path, source })
    };
    let file = match backend.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open")(error)),
    };
    let mut bytes = vec![0; SUPERBLOCK];
    match file.read_at(&mut bytes, 0) {
        Ok(()) => Superblock::decode(&bytes).map(Some).map_err(ReadError::Superblock),
        // Cut off while it was made.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(ReadError::Superblock(SuperblockError::Damaged))
        }
        Err(error) => Err(failed("read")(error)),
    }
}

impl Device {
    /// Makes a blank volume one of the pool. Leftovers of an attempt that was cut off are no
    /// hindrance.
    ///
    /// # Errors
    /// See [`DeviceError`].
    pub fn format(
        path: &Path,
        new: NewVolume,
        surroundings: Surroundings,
    ) -> Result<Self, DeviceError> {
        let root = path.join(FOLDER);
        let backend = Arc::clone(&surroundings.backend);
        at("make", &root, backend.create_dir(&root))?;
        at("sync", path, backend.sync_dir(path))?;
        let lock = lock(&*backend, path, &root)?;
        let mut key = Zeroizing::new([0; KEY]);
        getrandom::fill(&mut *key).map_err(DeviceError::Random)?;
        let superblock = Superblock {
            pool: new.pool,
            volume: new.volume,
            number: new.number,
            class: new.class,
            generation: 0,
            incarnations: 1,
            key: wrap(&surroundings.node_key, &key)?,
            members: new.members,
            index: None,
            standby: None,
            index_epoch: 0,
        };
        for name in SUPERBLOCKS {
            match backend.remove_file(&root.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error("remove", &root.join(name), error));
                }
                _ => {}
            }
        }
        let device = Self::new(root, &key, superblock, lock, surroundings);
        // The first generation is written to a name that is not there; both then are.
        device.update(|_| ())?;
        device.update(|_| ())?;
        Ok(device)
    }

    /// Opens a volume of the pool.
    ///
    /// # Errors
    /// See [`DeviceError`]; a blank volume is [`SuperblockError::Damaged`].
    pub fn open(path: &Path, surroundings: Surroundings) -> Result<Self, DeviceError> {
        let root = path.join(FOLDER);
        let backend = Arc::clone(&surroundings.backend);
        let damaged =
            || DeviceError::Superblock { path: path.to_owned(), source: SuperblockError::Damaged };
        let found = superblock(&*backend, path)?.ok_or_else(damaged)?;
        let lock = lock(&*backend, path, &root)?;
        let key = unwrap(&surroundings.node_key, &found.key)
            .ok_or_else(|| DeviceError::WrongKey { path: path.to_owned() })?;
        Ok(Self::new(root, &key, found, lock, surroundings))
    }

    fn new(
        root: PathBuf,
        key: &KeyBytes,
        superblock: Superblock,
        lock: Box<dyn VolumeLock>,
        surroundings: Surroundings,
    ) -> Self {
        let meter = Arc::<Meter>::default();
        let inner = Inner {
            backend: Arc::new(Metered::new(surroundings.backend, Arc::clone(&meter))),
            meter,
            io: surroundings.io,
            root,
            number: superblock.number,
            class: superblock.class,
            sealer: Sealer::new(key),
            // The superblock may be the last but one, if the last has rotted since: that one may have
            // reserved so many more.
            state: Mutex::new(State { next: superblock.incarnations + RESERVE, superblock }),
            writing: Mutex::new(()),
            answers: Answers::new(),
            fenced: OnceLock::new(),
            on_fence: surroundings.on_fence,
            _lock: lock,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Its number in the pool.
    #[must_use]
    pub fn number(&self) -> VolumeNo {
        self.inner.number
    }

    /// Its class.
    #[must_use]
    pub fn class(&self) -> Class {
        self.inner.class
    }

    /// What it was asked for since it was opened.
    #[must_use]
    pub fn measured(&self) -> Measured {
        self.inner.meter.measured()
    }

    /// The file system it is on.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.inner.backend
    }

    /// Where calls that block run.
    #[must_use]
    pub fn io(&self) -> Io {
        self.inner.io
    }

    /// The pool's folder on it.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Seals and opens with its key.
    #[must_use]
    pub fn sealer(&self) -> &Sealer {
        &self.inner.sealer
    }

    /// The superblock in force.
    #[must_use]
    pub fn superblock(&self) -> Superblock {
        self.state().superblock.clone()
    }

    /// A number that no file of this volume ever had. Blocks now and then, for one write.
    ///
    /// # Errors
    /// The superblock could not be written; the device is fenced then.
    pub fn incarnation(&self) -> Result<u64, DeviceError> {
        if let Some(next) = self.reserved() {
            return Ok(next);
        }
        let writing = self.writing();
        loop {
            // Another one may have reserved some meanwhile.
            if let Some(next) = self.reserved() {
                return Ok(next);
            }
            let reserved = self.state().next + RESERVE;
            self.write(&writing, |superblock| superblock.incarnations = reserved)?;
        }
    }

    fn reserved(&self) -> Option<u64> {
        let mut state = self.state();
        let next = state.next;
        (next < state.superblock.incarnations).then(|| {
            state.next += 1;
            next
        })
    }

    /// Changes the superblock; it is on stable storage when this returns. Blocks.
    ///
    /// # Errors
    /// It could not be written; the device is fenced then.
    pub fn update(&self, change: impl FnOnce(&mut Superblock)) -> Result<(), DeviceError> {
        self.write(&self.writing(), change)
    }

    fn write(
        &self,
        _writing: &MutexGuard<'_, ()>,
        change: impl FnOnce(&mut Superblock),
    ) -> Result<(), DeviceError> {
        let mut next = self.superblock();
        change(&mut next);
        next.generation += 1;
        let bytes = next
            .encode()
            .map_err(|source| DeviceError::Superblock { path: self.inner.root.clone(), source })?;
        let [even, odd] = SUPERBLOCKS;
        let name = if next.generation.is_multiple_of(2) { even } else { odd };
        let root = &self.inner.root;
        let result = put_superblock(&*self.inner.backend, root, &root.join(name), &bytes);
        if let Err(error) = &result {
            self.fence(&error.to_string());
        } else {
            self.state().superblock = next;
        }
        result
    }

    /// Destroys the volume's key in both superblocks: nothing that is sealed on it can be read once the
    /// last handle is dropped. Blocks.
    ///
    /// # Errors
    /// A superblock could not be written, and may still hold the key; the device is fenced then.
    pub fn destroy_key(&self) -> Result<(), DeviceError> {
        // They are written in turn.
        self.update(|superblock| superblock.key.clear())?;
        self.update(|_| ())
    }

    /// Gives up writing to the device, for as long as it is in use: after an error nobody knows what
    /// of the writes before it is on stable storage. Reading goes on.
    pub fn fence(&self, why: &str) {
        if self.inner.fenced.set(why.to_owned()).is_ok() {
            tracing::error!(volume = %self.inner.number, why, "a volume is fenced");
            (self.inner.on_fence)(self.inner.number, why);
        }
    }

    /// Why it is fenced; none while it is not.
    #[must_use]
    pub fn fenced(&self) -> Option<String> {
        self.inner.fenced.get().cloned()
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic leaves the state as it was before the change.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put_superblock(
    backend: &dyn Backend,
    root: &Path,
    path: &Path,
    bytes: &[u8],
) -> Result<(), DeviceError> {
    let (file, is_new): (Box<dyn BackendFile>, bool) = match backend.open(path) {
        Ok(file) => (file, false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            (at("make", path, backend.create(path))?, true)
        }
        Err(error) => return Err(io_error("open", path, error)),
    };
    at("write", path, file.write_at(bytes, 0))?;
    at("sync", path, file.sync_data())?;
    if is_new {
        at("sync", root, backend.sync_dir(root))?;
    }
    Ok(())
}

fn lock(
    backend: &dyn Backend,
    path: &Path,
    root: &Path,
) -> Result<Box<dyn VolumeLock>, DeviceError> {
    match backend.lock(&root.join(LOCK)) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(DeviceError::InUse { path: path.to_owned() })
        }
        other => at("lock", &root.join(LOCK), other),
    }
}

fn at<T>(operation: &'static str, path: &Path, result: io::Result<T>) -> Result<T, DeviceError> {
    result.map_err(|source| io_error(operation, path, source))
}

fn io_error(operation: &'static str, path: &Path, source: io::Error) -> DeviceError {
    DeviceError::Io { operation, path: path.to_owned(), source }
}

/// A key under the node's: a random nonce, ciphertext, tag, in hex. Wrapped keys are few, so that
/// random nonces do not meet.
fn wrap(node_key: &KeyBytes, key: &KeyBytes) -> Result<String, DeviceError> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(DeviceError::Random)?;
    let mut bytes = Zeroizing::new(key.to_vec());
    let tag = Sealer::new(node_key).seal_with(nonce, &mut bytes);
    Ok(hex::encode([&nonce[..], &bytes[..], &tag[..]].concat()))
}

fn unwrap(node_key: &KeyBytes, wrapped: &str) -> Option<KeyBytes> {
    let bytes = hex::decode(wrapped).ok()?;
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE>()?;
    if sealed.len() != KEY + TAG {
        return None;
    }
    let mut sealed = Zeroizing::new(sealed.to_vec());
    let plain = Sealer::new(node_key).open_with(*nonce, &mut sealed).ok()?;
    let mut key = Zeroizing::new([0; KEY]);
    key.copy_from_slice(plain);
    Some(key)
}

#[cfg(test)]
#[path = "device_tests.rs"]
mod tests;
