//! Changes of the index, one after the other: what a change writes follows from what stands there.

use std::sync::{Arc, Mutex, PoisonError};

use super::index::{Batch, Index, IndexError};

/// Changes an index. A clone is another handle.
#[derive(Debug, Clone)]
pub(crate) struct Publisher {
    index: Arc<dyn Index>,
    turn: Arc<Mutex<()>>,
}

impl Publisher {
    pub(crate) fn new(index: Arc<dyn Index>) -> Self {
        Self { index, turn: Arc::default() }
    }

    /// Writes what `change` makes of the index as it is; nobody else writes in between.
    ///
    /// # Errors
    /// Those of `change`, or the index failed.
    pub(crate) fn publish(
        &self,
        change: impl FnOnce(&dyn Index) -> Result<Batch, IndexError>,
    ) -> Result<(), IndexError> {
        // It guards nothing but the order.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let batch = change(&*self.index)?;
        if batch.0.is_empty() { Ok(()) } else { self.index.write(&batch) }
    }
}
