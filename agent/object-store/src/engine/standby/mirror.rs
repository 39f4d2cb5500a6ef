//! The index as the store sees it: what is written to it goes to the standby, too.

use std::sync::Arc;

use super::Standby;
use crate::engine::index::{Batch, Index, IndexError, IndexFault, IndexMemory, Next, Snapshot};
use crate::engine::keys;

/// An index with its standby, which is closed with it.
#[derive(Debug)]
pub(crate) struct Mirror {
    home: Arc<dyn Index>,
    standby: Standby,
}

impl Mirror {
    pub(crate) fn new(home: Arc<dyn Index>, standby: Standby) -> Self {
        Self { home, standby }
    }

    /// The standby.
    pub(crate) fn standby(&self) -> &Standby {
        &self.standby
    }

    /// The index itself.
    pub(crate) fn home(&self) -> Arc<dyn Index> {
        Arc::clone(&self.home)
    }

    /// Writes a last batch to both, which tells at the next start that they are alike; what comes behind it
    /// is refused. Blocks on the disk.
    ///
    /// # Errors
    /// The index failed.
    pub(crate) fn seal(&self, number: u64) -> Result<(), IndexError> {
        let mut batch = Batch::default();
        batch.put(keys::TWINS.to_vec(), number.to_le_bytes().to_vec());
        let mut order = self.standby.order();
        self.home.write(&batch)?;
        self.standby.push(&batch);
        order.is_sealed = true;
        self.home.checkpoint()
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        // What is left to be written is, by a task of its own.
        let _ = self.standby.close();
    }
}

/// Takes the number out of an index that [`Mirror::seal`] left there: it tells only how things were at the
/// end before. It is gone for good when this returns. Blocks on the disk.
///
/// # Errors
/// The index failed.
pub(crate) fn unseal(index: &dyn Index) -> Result<Option<u64>, IndexError> {
    let Some(number) = index.get(keys::TWINS)? else { return Ok(None) };
    let mut batch = Batch::default();
    batch.delete(keys::TWINS.to_vec());
    index.write(&batch)?;
    index.checkpoint()?;
    Ok(<[u8; 8]>::try_from(number.as_slice()).ok().map(u64::from_le_bytes))
}

impl Index for Mirror {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        self.home.get(key)
    }

    fn write(&self, batch: &Batch) -> Result<(), IndexError> {
        let order = self.standby.order();
        if order.is_sealed {
            let reason = "it is closed".to_owned();
            return Err(IndexError { fault: IndexFault::Io, reason });
        }
        self.home.write(batch)?;
        self.standby.push(batch);
        Ok(())
    }

    fn scan(
        &self,
        from: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> Next,
    ) -> Result<(), IndexError> {
        self.home.scan(from, visit)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, IndexError> {
        self.home.snapshot()
    }

    fn checkpoint(&self) -> Result<(), IndexError> {
        self.home.checkpoint()
    }

    fn memory(&self) -> IndexMemory {
        self.home.memory().plus(self.standby.memory())
    }
}
