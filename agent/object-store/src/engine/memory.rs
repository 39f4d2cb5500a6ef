//! An index in memory, for tests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::index::{Batch, Index, IndexError, Next, Snapshot};

/// An index in memory, for tests: what was not brought to stable storage is lost by
/// [`MemoryIndex::crash`].
#[derive(Debug, Default)]
pub(crate) struct MemoryIndex {
    maps: Mutex<Maps>,
}

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Default)]
struct Maps {
    live: Map,
    durable: Map,
}

impl MemoryIndex {
    /// What a restart finds.
    #[cfg_attr(not(test), expect(dead_code, reason = "a fuzzer restarts nothing"))]
    pub(crate) fn crash(&self) -> Self {
        let durable = self.lock().durable.clone();
        Self { maps: Mutex::new(Maps { live: durable.clone(), durable }) }
    }

    fn lock(&self) -> MutexGuard<'_, Maps> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index for MemoryIndex {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(self.lock().live.get(key).cloned())
    }

    fn write(&self, batch: &Batch) -> Result<(), IndexError> {
        let mut maps = self.lock();
        for (key, value) in &batch.0 {
            match value {
                Some(value) => maps.live.insert(key.clone(), value.clone()),
                None => maps.live.remove(key),
            };
        }
        Ok(())
    }

    fn scan(
        &self,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Next,
    ) -> Result<(), IndexError> {
        scan(&self.lock().live, from, visit);
        Ok(())
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, IndexError> {
        Ok(Box::new(MemorySnapshot(self.lock().live.clone())))
    }

    fn checkpoint(&self) -> Result<(), IndexError> {
        let mut maps = self.lock();
        maps.durable = maps.live.clone();
        Ok(())
    }
}

#[derive(Debug)]
struct MemorySnapshot(Map);

impl Snapshot for MemorySnapshot {
    fn scan(
        &self,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Next,
    ) -> Result<(), IndexError> {
        scan(&self.0, from, visit);
        Ok(())
    }
}

fn scan(map: &Map, from: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> Next) {
    let mut range = map.range(from.to_vec()..);
    while let Some((key, value)) = range.next() {
        match visit(key, value) {
            Next::On => {}
            Next::Seek(to) => range = map.range(to..),
            Next::Stop => break,
        }
    }
}
