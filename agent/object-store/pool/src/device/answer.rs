//! Disks that do not answer. What was asked of one may stay with it for ever; who waits is told.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::Device;
use crate::backend::{BackendFile, Done, Job};
use crate::io::{Io, Unfinished};

/// How long a read, a write, or a few of them may take. Disks give up a command after some seconds,
/// the kernel after 30 (`SCSI` and `NVMe`), and a good one has a long queue behind it in less.
pub const ANSWER_MAX: Duration = Duration::from_secs(30);

/// How long a step may take that has up to an extent to bring to stable storage, beside others: a
/// slow rotating disk writes four of 256 MiB in some 20 s. Also the kernel's own measure of a task
/// that hangs (`hung_task_timeout_secs`).
pub const LONG_MAX: Duration = Duration::from_secs(120);

/// How long a segment or a folder may be read, a second of work: a disk that tries hard to read
/// rotten blocks takes seconds for each.
pub const SCAN_MAX: Duration = Duration::from_secs(600);

/// What one disk is asked for at once, at most, so that one that hangs takes few of the agent's 256
/// threads and of the 1024 places of a ring. No disk does more at once.
const ASKED_MAX: usize = 32;

/// Whether a disk still answers.
#[derive(Debug)]
pub(super) struct Answers {
    turns: Arc<Semaphore>,
    is_hung: AtomicBool,
    hangs: Notify,
}

impl Answers {
    pub(super) fn new() -> Self {
        let turns = Arc::new(Semaphore::new(ASKED_MAX));
        Self { turns, is_hung: AtomicBool::new(false), hangs: Notify::new() }
    }

    /// Waits until the disk may be asked for one more thing. That time does not count.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, Unfinished> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        self.unless_hung(async { turn.await.map_err(|_| Unfinished) }).await
    }

    /// Waits for work for so long, then `late` is called and nobody waits for the disk any more.
    async fn wait<T>(
        &self,
        limit: Duration,
        late: impl FnOnce(),
        work: impl Future<Output = Result<T, Unfinished>>,
    ) -> Result<T, Unfinished> {
        let timed = async {
            tokio::select! {
                biased;
                done = work => return done,
                // Made when it is first waited for: what ends at once needs no clock.
                () = async { tokio::time::sleep(limit).await } => {}
            }
            late();
            self.is_hung.store(true, Ordering::SeqCst);
            self.hangs.notify_waiters();
            Err(Unfinished)
        };
        self.unless_hung(timed).await
    }

    async fn unless_hung<T>(
        &self,
        work: impl Future<Output = Result<T, Unfinished>>,
    ) -> Result<T, Unfinished> {
        let mut hangs = std::pin::pin!(self.hangs.notified());
        hangs.as_mut().enable();
        if self.is_hung() {
            return Err(Unfinished);
        }
        tokio::select! {
            biased;
            done = work => done,
            () = hangs => Err(Unfinished),
        }
    }

    fn is_hung(&self) -> bool {
        self.is_hung.load(Ordering::SeqCst)
    }
}

impl Device {
    /// Does a job with one of its files. Once begun it goes on to its end, also when the answer is
    /// not waited for.
    ///
    /// # Errors
    /// [`Unfinished`]: the process is ending, or the disk hangs; then the device is fenced.
    pub async fn perform(
        &self,
        file: &Arc<dyn BackendFile>,
        job: Job,
        limit: Duration,
        path: impl Fn() -> PathBuf,
    ) -> Result<Done, Unfinished> {
        let (answers, io) = (&self.inner.answers, self.inner.io);
        let turn = self.turn().await?;
        let operation = job.action.operation();
        let late = || self.hang(limit, operation, path());
        match file.start(job) {
            Ok(started) => {
                let started = async {
                    let _turn = turn;
                    started.await
                };
                answers.wait(limit, late, started).await
            }
            Err(job) => {
                let file = Arc::clone(file);
                let work = move || {
                    // Free when the thread is.
                    let _turn = turn;
                    job.run(&*file)
                };
                answers.wait(limit, late, io.run(work)).await
            }
        }
    }

    /// Runs calls that block, as [`Io::run`]. `operation` and `path` say what they are about, if
    /// there is no answer.
    ///
    /// # Errors
    /// As [`Device::perform`].
    pub async fn run<T: Send + 'static>(
        &self,
        limit: Duration,
        operation: &'static str,
        path: impl Fn() -> PathBuf,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unfinished> {
        let turn = self.turn().await?;
        let late = || self.hang(limit, operation, path());
        let work = move || {
            let _turn = turn;
            work()
        };
        self.inner.answers.wait(limit, late, self.inner.io.run(work)).await
    }

    async fn turn(&self) -> Result<Option<OwnedSemaphorePermit>, Unfinished> {
        match self.inner.io {
            // One thing at a time anyway.
            Io::Inline => Ok(None),
            Io::Threads => self.inner.answers.turn().await.map(Some),
        }
    }

    /// Whether it did not answer in time; nothing is asked of it any more then.
    #[must_use]
    pub fn is_hung(&self) -> bool {
        self.inner.answers.is_hung()
    }

    fn hang(&self, limit: Duration, operation: &'static str, path: PathBuf) {
        let (seconds, path) = (limit.as_secs(), path.display());
        self.fence(&format!("no answer for {seconds} s when asked to {operation} {path}"));
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
pub(crate) mod tests;
