//! Makes segments: a file of zeros that were written, because a write to room that was only
//! reserved changes the file system's own structures with every sync.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::scan::Head;
use super::slots::{File, Ready, Slots};
use super::types::JournalError;
use crate::device::ANSWER_MAX;

/// Zeros that are written and synced at once, so that frames of other segments wait no longer than
/// for these.
const PIECE: u64 = 4 << 20;

/// What a step of making a segment came to, if not to its end.
#[derive(Debug)]
enum Stop {
    Full,
    Failed(JournalError),
}

/// Takes a segment for writing; makes one if none is ready. To be run to its end.
pub(super) async fn take(slots: &Arc<Slots>) -> Result<Ready, JournalError> {
    if let Some(ready) = slots.open_ready() {
        return Ok(ready);
    }
    let _making = slots.making.lock().await;
    loop {
        if let Some(ready) = slots.open_ready() {
            return Ok(ready);
        }
        make(slots).await?;
    }
}

/// Sees to it that as many segments are ready as are wanted, in a task of its own.
pub(super) fn prepare(slots: &Arc<Slots>) {
    let mut preparing = slots.preparing.lock().unwrap_or_else(PoisonError::into_inner);
    let is_running = preparing.as_ref().is_some_and(|task| !task.is_finished());
    if is_running || slots.ready() >= slots.config.spare_segments {
        return;
    }
    let slots = Arc::clone(slots);
    *preparing = Some(tokio::spawn(async move {
        while slots.ready() < slots.config.spare_segments {
            let _making = slots.making.lock().await;
            // A volume without room has none prepared; whoever needs a segment is told so.
            if slots.is_closing() || make(&slots).await.is_err() {
                break;
            }
        }
    }));
}

/// Nothing is prepared from now on.
pub(super) fn stop(slots: &Slots) {
    slots.is_closing.store(true, Ordering::SeqCst);
}

/// Waits until nothing is prepared any more.
pub(super) async fn finish(slots: &Slots) {
    let preparing = slots.preparing.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(task) = preparing {
        // A task that panicked has ended too.
        let _ = task.await;
    }
}

/// Makes one more segment ready.
async fn make(slots: &Arc<Slots>) -> Result<(), JournalError> {
    slots.check()?;
    let (slot, is_file) = slots.pick().ok_or_else(|| slots.full())?;
    let result = make_of(slots, slot, is_file).await;
    match result {
        Ok(ready) => {
            slots.put_ready(ready);
            Ok(())
        }
        Err(Stop::Full) => {
            let all = Arc::clone(slots);
            // It gives back what it took. That it is gone need not be durable: it holds nothing.
            let removed =
                on(slots, move || match all.device.backend().remove_file(&all.path(slot)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        Err(Stop::Failed(all.fence("remove", &all.path(slot), &error)))
                    }
                    _ => Ok(()),
                });
            let removed = removed.await;
            slots.drop_busy(slot);
            match removed {
                Err(Stop::Failed(error)) => Err(error),
                _ => Err(slots.full()),
            }
        }
        Err(Stop::Failed(error)) => {
            slots.drop_busy(slot);
            Err(error)
        }
    }
}

async fn make_of(slots: &Arc<Slots>, slot: u16, is_file: bool) -> Result<Ready, Stop> {
    let all = Arc::clone(slots);
    let (file, is_written) = on(slots, move || all.file(slot, is_file)).await?;
    let length = slots.config.segment_bytes;
    let mut at = if is_written { length } else { 0 };
    while at < length {
        let piece = PIECE.min(length - at);
        let (all, to) = (Arc::clone(slots), Arc::clone(&file));
        on(slots, move || all.zeros(slot, &to, at, piece)).await?;
        at += piece;
    }
    let all = Arc::clone(slots);
    on(slots, move || {
        let folder = &all.folder;
        all.device.backend().sync_dir(folder).map_err(|e| all.fence("sync", folder, &e))?;
        let incarnation = all.renew(slot, &*file)?;
        Ok(Ready { slot, incarnation, file })
    })
    .await
}

/// Runs one step where calls may block.
async fn on<T: Send + 'static>(
    slots: &Arc<Slots>,
    step: impl FnOnce() -> Result<T, Stop> + Send + 'static,
) -> Result<T, Stop> {
    let done = slots.device.run(ANSWER_MAX, "make a segment in", || slots.folder.clone(), step);
    done.await.unwrap_or_else(|error| Err(Stop::Failed(slots.unfinished(error))))
}

impl From<JournalError> for Stop {
    fn from(error: JournalError) -> Self {
        Self::Failed(error)
    }
}

impl Slots {
    /// The file of a slot with its room taken, and whether it was all written before.
    fn file(&self, slot: u16, is_file: bool) -> Result<(File, bool), Stop> {
        let (path, backend) = (self.path(slot), self.device.backend());
        let length = self.config.segment_bytes;
        if is_file {
            if let Ok(file) = backend.open(&path)
                && Head::of(&*file).is_ok_and(|head| head.is_whole(length))
            {
                return Ok((file.into(), true));
            }
            match backend.remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(self.fence("remove", &path, &error).into());
                }
                _ => {}
            }
        }
        // Asked first, so that a full volume is not written to with each append.
        if backend.space(&self.folder).is_ok_and(|space| space.free < length) {
            return Err(Stop::Full);
        }
        let file = backend.create(&path).map_err(|e| self.stop("make", slot, &e))?;
        file.allocate(length).map_err(|e| self.stop("allocate", slot, &e))?;
        Ok((file.into(), false))
    }

    fn zeros(&self, slot: u16, file: &File, at: u64, length: u64) -> Result<(), Stop> {
        file.write_zeros_at(length, at).map_err(|error| self.stop("write", slot, &error))?;
        file.sync_data().map_err(|error| self.stop("sync", slot, &error))
    }

    /// That there is no room is no fault of the device.
    fn stop(&self, operation: &'static str, slot: u16, error: &io::Error) -> Stop {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded if operation != "sync" => {
                Stop::Full
            }
            _ => Stop::Failed(self.fence(operation, &self.path(slot), error)),
        }
    }
}
