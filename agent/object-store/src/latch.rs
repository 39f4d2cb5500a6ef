//! Latches: changes of one key, upload or bucket take place one after the other.

use std::hash::{Hash, Hasher as _};
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Latches per kind. Names share one at random; of 64 writers at a time each has a chance of 6% to
/// wait for another's write.
const LATCHES: usize = 1024;

/// Gates per store; only making and deleting a bucket closes one.
const GATES: usize = 64;

/// Exclusive latches, one for each of many names.
#[derive(Debug)]
pub(crate) struct Latches(Vec<Arc<Mutex<()>>>);

impl Latches {
    pub(crate) fn new() -> Self {
        Self((0..LATCHES).map(|_| Arc::default()).collect())
    }

    fn at(&self, number: u64) -> Arc<Mutex<()>> {
        self.0.get(slot(number, LATCHES)).map_or_else(Arc::default, Arc::clone)
    }

    pub(crate) async fn lock(&self, number: u64) -> OwnedMutexGuard<()> {
        self.at(number).lock_owned().await
    }
}

/// Gates that many writers pass and one can close.
#[derive(Debug)]
pub(crate) struct Gates(Vec<Arc<RwLock<()>>>);

impl Gates {
    pub(crate) fn new() -> Self {
        Self((0..GATES).map(|_| Arc::default()).collect())
    }

    fn at(&self, name: &impl Hash) -> Arc<RwLock<()>> {
        self.0.get(slot(number_of(name), GATES)).map_or_else(Arc::default, Arc::clone)
    }

    pub(crate) async fn pass(&self, name: &impl Hash) -> OwnedRwLockReadGuard<()> {
        self.at(name).read_owned().await
    }

    pub(crate) async fn close(&self, name: &impl Hash) -> OwnedRwLockWriteGuard<()> {
        self.at(name).write_owned().await
    }
}

/// A number for a name, the same within this process.
pub(crate) fn number_of(name: &impl Hash) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

fn slot(number: u64, len: usize) -> usize {
    // The remainder is smaller than `len`.
    u64::try_from(len).ok().and_then(|len| usize::try_from(number % len).ok()).unwrap_or(0)
}
