//! Jobs that the kernel does by itself: `io_uring`. No thread of ours waits for a disk.
//!
//! Whoever wants a job done hands it to the kernel; one task, woken through the ring's descriptor,
//! takes what has ended and tells who waits. The table of what is under way owns memory and file
//! of each job until the kernel is done with it, whether somebody still waits or not.

mod sys;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::JoinHandle;

use self::sys::{Pollable, Table};
use crate::backend::{Action, Done, Job, Started};
use crate::io::Unfinished;

/// Jobs that are waited for at once; more wait before they are begun. Far more than the disks of a
/// node take at once; those that never end do not count once nobody waits for them.
const AT_ONCE: u32 = 1024;

/// How long after the kernel took no job for want of memory it is asked again.
const RETRY: Duration = Duration::from_millis(1);

/// Why there is no `io_uring`.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The kernel has none, or does not allow it: `kernel.io_uring_disabled`, or a filter of calls.
    #[error("the kernel gives no io_uring: {0}")]
    Refused(#[source] io::Error),
    /// The kernel is older than what is needed.
    #[error("the io_uring of this kernel cannot {0}")]
    Old(&'static str),
}

/// A ring. A clone is another handle; when the last one goes, and what is under way has ended, the
/// ring is given back.
#[derive(Debug, Clone)]
pub struct Uring {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    /// The task that takes what has ended.
    reaper: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
    descriptor: RawFd,
    room: Semaphore,
    /// The task is to look at the table.
    wake: Notify,
    is_closed: AtomicBool,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
        self.shared.wake.notify_one();
    }
}

impl Uring {
    /// A ring, if the kernel gives one that can do what is needed.
    ///
    /// # Errors
    /// See [`Unavailable`].
    pub fn new() -> Result<Self, Unavailable> {
        Self::with_entries(AT_ONCE)
    }

    fn with_entries(entries: u32) -> Result<Self, Unavailable> {
        let table = Table::new(entries)?;
        let shared = Shared {
            descriptor: table.descriptor(),
            table: Mutex::new(table),
            room: Semaphore::new(entries as usize),
            wake: Notify::new(),
            is_closed: AtomicBool::new(false),
        };
        let handle = Handle { shared: Arc::new(shared), reaper: Mutex::default() };
        Ok(Self { handle: Arc::new(handle) })
    }

    /// Begins a job, within a tokio runtime that runs tasks until the job has ended.
    ///
    /// # Errors
    /// The job, if there is no such runtime.
    pub fn start(&self, file: &Arc<File>, job: Job) -> Result<Started, Job> {
        if !self.handle.is_watched() {
            return Err(job);
        }
        let (shared, file) = (Arc::clone(&self.handle.shared), Arc::clone(file));
        Ok(Box::pin(async move {
            if job.data.as_ref().is_empty() && job.action != Action::Sync {
                return Ok(Done { data: job.data, result: Ok(()) });
            }
            // Never closed. Given back when nobody waits any more.
            let _room = shared.room.acquire().await;
            let (reply, answer) = oneshot::channel();
            shared.begin(file, job, reply);
            answer.await.map_err(|_| Unfinished)
        }))
    }
}

impl Handle {
    /// Sees to it that the task runs that takes what has ended. One whose runtime has ended is
    /// followed by another.
    fn is_watched(&self) -> bool {
        let mut reaper = self.reaper.lock().unwrap_or_else(PoisonError::into_inner);
        if reaper.as_ref().is_some_and(|task| !task.is_finished()) {
            return true;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return false };
        match sys::watch(Arc::clone(&self.shared)) {
            Ok(descriptor) => *reaper = Some(runtime.spawn(reap(descriptor))),
            Err(error) => {
                tracing::warn!(%error, "io_uring cannot be polled");
                return false;
            }
        }
        true
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        // No change of it can panic half-way.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, file: Arc<File>, job: Job, reply: oneshot::Sender<Done>) {
        let mut table = self.table();
        table.begin(file, job, reply);
        let is_stuck = table.is_stuck();
        drop(table);
        if is_stuck {
            self.wake.notify_one();
        }
    }
}

/// Takes what has ended and tells who waits, until nobody has the ring any more.
async fn reap(descriptor: AsyncFd<Pollable>) {
    let shared = Arc::clone(descriptor.get_ref().shared());
    loop {
        let (ended, is_stuck, is_idle) = {
            let mut table = shared.table();
            (table.reap(), table.is_stuck(), table.is_idle())
        };
        for (reply, done) in ended {
            // Nobody may wait for it any more.
            let _ = reply.send(done);
        }
        if is_idle && shared.is_closed.load(Ordering::SeqCst) {
            return;
        }
        let retry = async {
            match is_stuck {
                true => tokio::time::sleep(RETRY).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            // Told before it is looked at what has ended, so that nothing is missed.
            ready = descriptor.readable() => if let Ok(mut ready) = ready { ready.clear_ready() },
            () = shared.wake.notified() => {}
            () = retry => {}
        }
    }
}
