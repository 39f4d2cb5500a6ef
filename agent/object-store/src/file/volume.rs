//! One attached volume: where its files lie, and what a failure of it means.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Volume;
use super::backend::{Backend, BackendFile, Space, VolumeLock};
use super::format::NameHash;
use crate::error::StoreError;
use crate::names::{PartNumber, UploadId, VolumeId};

/// The folder in a volume that holds everything of the store.
pub(crate) const FOLDER: &str = "icn-store";

/// Calls under way on one volume at a time. More would only queue in the disk; fewer would leave a
/// flash disk idle. A disk that hangs holds no more than these threads.
const CALLS_MAX: usize = 64;

/// How old a figure of free space may get.
const SPACE_AGE: Duration = Duration::from_millis(100);

/// A volume that is attached. What holds it may go on using it while it is detached; its calls
/// then fail.
pub(crate) struct VolumeIo {
    pub(crate) id: VolumeId,
    pub(crate) path: PathBuf,
    pub(crate) root: PathBuf,
    pub(crate) backend: Arc<dyn Backend>,
    reserve_bytes: u64,
    lock: Mutex<Option<Hold>>,
    calls: Arc<Semaphore>,
    fence: OnceLock<String>,
    temp: AtomicU64,
    pending_bytes: AtomicU64,
    space: Mutex<Option<(Instant, Space)>>,
}

impl fmt::Debug for VolumeIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VolumeIo").field("id", &self.id).field("path", &self.path).finish()
    }
}

impl VolumeIo {
    pub(crate) fn new(volume: Volume, backend: Arc<dyn Backend>, reserve_bytes: u64) -> Self {
        Self {
            id: volume.id,
            root: volume.path.join(FOLDER),
            path: volume.path,
            backend,
            reserve_bytes,
            lock: Mutex::new(None),
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            fence: OnceLock::new(),
            temp: AtomicU64::new(0),
            pending_bytes: AtomicU64::new(0),
            space: Mutex::new(None),
        }
    }

    /// Keeps other processes away for as long as the volume is attached.
    pub(crate) fn lock_with(&self, lock: Box<dyn VolumeLock>) {
        let hold = Hold { _lock: Arc::from(lock) };
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(hold);
    }

    /// Lets go of it: calls that wait for their turn fail. When the last call under way has ended
    /// the volume may be attached again, by this process or another.
    pub(crate) fn release(&self) {
        self.fence_with("it was detached".to_owned());
        self.calls.close();
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Keeps the volume from being attached anew while a call is under way.
    pub(crate) fn hold(&self) -> Result<Hold, StoreError> {
        let hold = self.lock.lock().unwrap_or_else(PoisonError::into_inner).clone();
        hold.ok_or_else(|| self.unavailable("was detached"))
    }

    /// Waits for a turn to call the volume.
    pub(crate) async fn turn(&self) -> Result<Turn, StoreError> {
        let permit = Arc::clone(&self.calls).acquire_owned().await;
        let permit = permit.map_err(|_| self.unavailable("was detached"))?;
        Ok(Turn { _permit: permit, _hold: self.hold()? })
    }

    pub(crate) fn unavailable(&self, what: &str) -> StoreError {
        StoreError::Unavailable { reason: format!("volume {} {what}", self.id) }
    }

    /// Why it takes no more writes, if so.
    pub(crate) fn fenced(&self) -> Option<&str> {
        self.fence.get().map(String::as_str)
    }

    /// Refuses a write to a fenced volume.
    pub(crate) fn check_writable(&self) -> Result<(), StoreError> {
        match self.fenced() {
            None => Ok(()),
            Some(reason) => Err(self.unavailable(&format!("takes no writes: {reason}"))),
        }
    }

    fn fence_with(&self, reason: String) {
        // The first reason is the one that matters.
        let _ = self.fence.set(reason);
    }

    /// What a failed write means: no room, or a volume that takes no more writes.
    pub(crate) fn write_failed(
        &self,
        operation: &'static str,
        path: &Path,
        source: io::Error,
    ) -> StoreError {
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            && operation != SYNC
        {
            self.space.lock().unwrap_or_else(PoisonError::into_inner).take();
            return StoreError::Full { wanted: 1 };
        }
        tracing::error!(volume = %self.id, operation, path = %path.display(), error = %source,
            "volume failed and takes no more writes until it is attached again");
        self.fence_with(format!("cannot {operation} {}: {source}", path.display()));
        StoreError::Io { operation, volume: self.id.clone(), path: path.to_owned(), source }
    }

    /// What a failed read means.
    pub(crate) fn read_failed(&self, path: &Path, source: io::Error) -> StoreError {
        tracing::warn!(volume = %self.id, path = %path.display(), error = %source, "read failed");
        let (operation, volume, path) = ("read", self.id.clone(), path.to_owned());
        StoreError::Io { operation, volume, path, source }
    }

    /// What content that is not what was written means.
    pub(crate) fn damaged(&self, path: &Path, reason: &dyn fmt::Display) -> StoreError {
        tracing::error!(volume = %self.id, path = %path.display(), %reason, "damaged file");
        let (volume, what, reason) = (self.id.clone(), path.to_owned(), reason.to_string());
        StoreError::Damaged { volume, what, reason }
    }

    /// Makes a file for writing under `tmp`.
    pub(crate) fn stage(self: &Arc<Self>) -> Result<TempFile, StoreError> {
        self.check_writable()?;
        let number = self.temp.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join("tmp").join(format!("{number:016x}"));
        let file = self.backend.create(&path).map_err(|e| self.write_failed("create", &path, e))?;
        Ok(TempFile { io: Arc::clone(self), path: Some(path), file })
    }

    /// Writes a small file in one go and gives it its name, durably.
    pub(crate) fn write_record(self: &Arc<Self>, to: &Path, tail: &[u8]) -> Result<(), StoreError> {
        let temp = self.stage()?;
        temp.write_at(tail, 0)?;
        temp.sync()?;
        temp.publish(to)
    }

    pub(crate) fn sync_dir(&self, path: &Path) -> Result<(), StoreError> {
        self.check_writable()?;
        self.backend.sync_dir(path).map_err(|e| self.write_failed(SYNC, path, e))
    }

    /// Removes a file durably. That it is gone already is no error.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), StoreError> {
        self.remove_lazily(path)?;
        self.sync_dir(parent(path))
    }

    /// Removes a file; after a crash it may be back.
    pub(crate) fn remove_lazily(&self, path: &Path) -> Result<(), StoreError> {
        self.check_writable()?;
        match self.backend.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.write_failed("remove", path, error))
            }
            _ => Ok(()),
        }
    }

    /// Removes the folder of an upload with all in it; after a crash some may be back.
    pub(crate) fn remove_upload_dir(&self, upload: &UploadId) -> Result<(), StoreError> {
        let dir = self.multi_dir(upload);
        let names = match self.backend.list_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|e| self.read_failed(&dir, e))?,
        };
        for (name, _) in names {
            self.remove_lazily(&dir.join(name))?;
        }
        match self.backend.remove_dir(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.write_failed("remove", &dir, error))
            }
            _ => Ok(()),
        }
    }

    /// Size of the file system, and bytes that it still takes beside the reserve and what is being
    /// written.
    pub(crate) fn room(&self) -> io::Result<Space> {
        let mut space = self.space.lock().unwrap_or_else(PoisonError::into_inner);
        let known = space.filter(|(at, _)| at.elapsed() < SPACE_AGE).map(|(_, space)| space);
        let Space { total, free } = match known {
            Some(known) => known,
            None => {
                let fresh = self.backend.space(&self.root)?;
                *space = Some((Instant::now(), fresh));
                fresh
            }
        };
        let taken = self.reserve_bytes + self.pending_bytes.load(Ordering::Relaxed);
        Ok(Space { total, free: free.saturating_sub(taken) })
    }

    /// Counts bytes that are about to be written, until the answer is dropped.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: u64) -> Reservation {
        self.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
        Reservation { io: Arc::clone(self), bytes }
    }

    pub(crate) fn catalog_path(&self) -> PathBuf {
        self.root.join("catalog")
    }

    pub(crate) fn object_path(&self, name: &NameHash) -> PathBuf {
        let hex = name.hex();
        let dir = hex.get(..2).unwrap_or_default().to_owned();
        self.root.join("objects").join(dir).join(hex)
    }

    pub(crate) fn tombstone_path(&self, name: &NameHash) -> PathBuf {
        self.root.join("tombstones").join(name.hex())
    }

    pub(crate) fn multi_dir(&self, upload: &UploadId) -> PathBuf {
        self.root.join("multi").join(upload.as_str())
    }

    pub(crate) fn upload_path(&self, upload: &UploadId) -> PathBuf {
        self.multi_dir(upload).join("upload")
    }

    pub(crate) fn part_path(&self, upload: &UploadId, part: PartNumber) -> PathBuf {
        self.multi_dir(upload).join(format!("{:05}", part.get()))
    }
}

/// The operation whose failure is never taken for a full disk.
const SYNC: &str = "sync";

/// The directory a file is in.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Proof that the volume was not given back to others.
#[derive(Debug, Clone)]
pub(crate) struct Hold {
    _lock: Arc<dyn VolumeLock>,
}

/// A turn to call the volume.
#[derive(Debug)]
pub(crate) struct Turn {
    _permit: OwnedSemaphorePermit,
    _hold: Hold,
}

/// Bytes that are about to be written.
#[derive(Debug)]
pub(crate) struct Reservation {
    io: Arc<VolumeIo>,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // What was written counts as used until the next look at the file system.
        let mut space = self.io.space.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, space)) = space.as_mut() {
            space.free = space.free.saturating_sub(self.bytes);
        }
        self.io.pending_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A file under `tmp`. Dropped before it is published, it goes away.
#[derive(Debug)]
pub(crate) struct TempFile {
    io: Arc<VolumeIo>,
    path: Option<PathBuf>,
    file: Box<dyn BackendFile>,
}

impl TempFile {
    fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(&self.io.root)
    }

    pub(crate) fn write_at(&self, data: &[u8], offset: u64) -> Result<(), StoreError> {
        self.io.check_writable()?;
        let done = self.file.write_at(data, offset);
        done.map_err(|e| self.io.write_failed("write", self.path(), e))
    }

    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.io.check_writable()?;
        self.file.sync_data().map_err(|e| self.io.write_failed(SYNC, self.path(), e))
    }

    /// Gives the file its name, in the place of one that has it, and makes that durable. The
    /// content must have been synced before.
    pub(crate) fn publish(mut self, to: &Path) -> Result<(), StoreError> {
        self.io.check_writable()?;
        let renamed = self.io.backend.rename(self.path(), to);
        renamed.map_err(|e| self.io.write_failed("rename", to, e))?;
        self.path = None;
        self.io.sync_dir(parent(to))
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let Some(path) = self.path.take() else { return };
        let io = Arc::clone(&self.io);
        let remove = move || {
            // What stays behind is removed when the volume is attached next.
            if let Err(error) = io.remove_lazily(&path) {
                tracing::debug!(%error, "staged file stays behind");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}
