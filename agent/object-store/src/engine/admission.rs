//! Memory for the bodies of requests: what would need more than there is waits, and is sent away when
//! that takes too long. So memory has a bound, however many clients there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::StoreError;

/// What permits count, in bytes: fine enough for small objects, and any memory fits 32 bits.
const UNIT: u64 = 1 << 10;

/// Memory for bodies, at the least: ten uploads of large objects at once, in a node of 512 MiB.
pub(crate) const BODY_MEMORY_LEAST: u64 = 128 << 20;

/// How long a request waits. Clients try again after a 503, and give up waiting after a minute.
const PATIENCE: Duration = Duration::from_secs(20);

/// Memory for bodies, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BodyMemory {
    /// That all requests may hold together.
    pub total: u64,
    /// That requests hold now.
    pub held: u64,
    /// Requests that wait for some.
    pub waiting: u64,
    /// Requests that were sent away since the start.
    pub refused: u64,
}

/// Hands memory out. What is read and what is written have a half each, as a copy reads first and then
/// writes: with one store of memory two copies could wait for each other. A clone is another handle.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    reads: Arc<Half>,
    writes: Arc<Half>,
}

#[derive(Debug)]
struct Half {
    permits: Arc<Semaphore>,
    units: u32,
    waiting: AtomicU64,
    refused: AtomicU64,
}

/// Memory that a request may use, until it is dropped.
#[derive(Debug)]
pub(crate) struct Admitted(#[expect(dead_code, reason = "held")] OwnedSemaphorePermit);

impl Admission {
    /// So many bytes for all requests.
    pub(crate) fn new(bytes: u64) -> Self {
        let half = || Arc::new(Half::new(bytes / 2));
        Self { reads: half(), writes: half() }
    }

    /// Waits for memory for bytes on their way out. Nobody may ask who holds some already.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when it takes too long.
    pub(crate) async fn read(&self, bytes: u64) -> Result<Admitted, StoreError> {
        self.reads.admit(bytes).await
    }

    /// Waits for memory for bytes on their way in. Nobody may ask who holds some already, but for
    /// reading.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when it takes too long.
    pub(crate) async fn write(&self, bytes: u64) -> Result<Admitted, StoreError> {
        self.writes.admit(bytes).await
    }

    /// What is handed out now.
    pub(crate) fn memory(&self) -> BodyMemory {
        let [reads, writes] = [self.reads.memory(), self.writes.memory()];
        BodyMemory {
            total: reads.total + writes.total,
            held: reads.held + writes.held,
            waiting: reads.waiting + writes.waiting,
            refused: reads.refused + writes.refused,
        }
    }
}

impl Half {
    fn new(bytes: u64) -> Self {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let most = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
        let units = units.clamp(1, most);
        Self {
            permits: Arc::new(Semaphore::new(units as usize)),
            units,
            waiting: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// In the order of asking. A request that needs more than there is at all gets all of it.
    async fn admit(&self, bytes: u64) -> Result<Admitted, StoreError> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.units);
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_many_owned(units) {
            return Ok(Admitted(permit));
        }
        let _waiting = Counted::new(&self.waiting);
        let permit = Arc::clone(&self.permits).acquire_many_owned(units);
        if let Ok(Ok(permit)) = tokio::time::timeout(PATIENCE, permit).await {
            return Ok(Admitted(permit));
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(StoreError::Busy { seconds: PATIENCE.as_secs() })
    }

    fn memory(&self) -> BodyMemory {
        let bytes = |units: u64| units * UNIT;
        let free = self.permits.available_permits() as u64;
        BodyMemory {
            total: bytes(self.units.into()),
            held: bytes(u64::from(self.units).saturating_sub(free)),
            waiting: self.waiting.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

/// One more, until it is dropped.
struct Counted<'a>(&'a AtomicU64);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_memory_waits_and_is_sent_away_when_none_comes() {
        let admission = Admission::new(20 << 10);
        // What is read does not take from what is written.
        let reading = admission.read(10 << 10).await.unwrap();
        drop(reading);
        let most = admission.write(8 << 10).await.unwrap();
        let some = admission.write(1 << 10).await.unwrap();
        let memory = BodyMemory { total: 20 << 10, held: 9 << 10, waiting: 0, refused: 0 };
        assert_eq!(admission.memory(), memory);
        assert!(matches!(admission.write(2 << 10).await, Err(StoreError::Busy { .. })));
        assert_eq!(admission.memory(), BodyMemory { refused: 1, ..memory });

        let later = tokio::spawn({
            let admission = admission.clone();
            async move { admission.write(1 << 30).await.is_ok() }
        });
        tokio::task::yield_now().await;
        assert_eq!(admission.memory().waiting, 1);
        drop((most, some));
        assert!(later.await.unwrap());
        assert_eq!(admission.memory(), BodyMemory { held: 0, refused: 1, ..memory });
    }
}
