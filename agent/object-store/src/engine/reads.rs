//! Reads that are under way: what one may still need is not taken away under it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::progress::Progress;

/// Counts reads. A clone is another handle.
#[derive(Debug, Clone)]
pub(crate) struct Reads {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    begun: Mutex<Progress>,
    ended: Notify,
}

/// A read that is under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Reading {
    reads: Reads,
    number: u64,
}

impl Reads {
    pub(crate) fn new() -> Self {
        let begun = Mutex::new(Progress::behind(0));
        Self { inner: Arc::new(Inner { begun, ended: Notify::new() }) }
    }

    pub(crate) fn begin(&self) -> Reading {
        let number = self.begun().begin();
        Reading { reads: self.clone(), number }
    }

    /// Waits for the reads that are under way, at most so long.
    pub(crate) async fn quiet(&self, patience: Duration) {
        let last = self.begun().last();
        let all_ended = async {
            loop {
                let ended = self.inner.ended.notified();
                if self.begun().done() >= last {
                    break;
                }
                ended.await;
            }
        };
        // One that takes longer fails, if it needs what is taken away.
        let _ = tokio::time::timeout(patience, all_ended).await;
    }

    fn begun(&self) -> MutexGuard<'_, Progress> {
        self.inner.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.reads.begun().end(self.number);
        self.reads.inner.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_reads_that_began_before_are_waited_for() {
        let reads = Reads::new();
        reads.quiet(Duration::from_secs(1)).await;
        let before = reads.begin();
        let waiting = tokio::spawn({
            let reads = reads.clone();
            async move { reads.quiet(Duration::from_secs(1000)).await }
        });
        tokio::task::yield_now().await;
        let _behind = reads.begin();
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(before);
        waiting.await.unwrap();
        // And not for ever.
        reads.quiet(Duration::from_secs(1)).await;
    }
}
