//! Where calls that block on a disk are run.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::{BackendFile, Done, Job};

/// How long a read waits for a disk before what is wanted is taken from others. A rotating disk answers
/// in a fraction of it, with many asking.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// Runs calls that block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Io {
    /// On tokio's threads for blocking calls.
    #[default]
    Threads,
    /// At once, on the caller's thread: for tests, which so run in one order only.
    Inline,
}

/// The process is ending, the call panicked, or the disk gives no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a call to a disk did not end")]
pub struct Unfinished;

impl Io {
    /// Runs `work` and waits for it. Once begun it runs to its end, also when the answer is not
    /// waited for.
    ///
    /// # Errors
    /// [`Unfinished`].
    pub async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unfinished> {
        match self {
            Self::Threads => tokio::task::spawn_blocking(work).await.map_err(|_| Unfinished),
            Self::Inline => Ok(work()),
        }
    }

    /// Does a job: without a thread if the file needs none, else as [`Io::run`].
    ///
    /// # Errors
    /// [`Unfinished`].
    pub async fn perform(self, file: &Arc<dyn BackendFile>, job: Job) -> Result<Done, Unfinished> {
        match file.start(job) {
            Ok(started) => started.await,
            Err(job) => {
                let file = Arc::clone(file);
                self.run(move || job.run(&*file)).await
            }
        }
    }
}

/// Waits so long for work; none if it has not ended by then. It goes on all the same.
pub(crate) async fn within<T: Send + 'static>(
    patience: Duration,
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let mut work = Box::pin(work);
    tokio::select! {
        biased;
        done = &mut work => Some(done),
        // Made when it is first waited for: what ends at once needs no clock.
        () = async { tokio::time::sleep(patience).await } => {
            tokio::spawn(work);
            None
        }
    }
}
