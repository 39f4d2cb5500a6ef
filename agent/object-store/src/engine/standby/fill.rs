//! Filling a standby from the index, by key. A stretch is read from a snapshot while requests go on; what they
//! change meanwhile is held back, and goes behind the stretch into the queue.

use std::sync::{Arc, Weak};

use agent_object_store_pool::io::Io;

use super::{Attempt, Op, Phase, QUEUE_BYTES_MAX, Reach, Standby};
use crate::engine::core::Core;
use crate::engine::heal::gentle;
use crate::engine::index::{Batch, Index, IndexError, Next};

/// Bytes of a stretch: some milliseconds of reading and writing.
const STRETCH_BYTES: usize = 1 << 20;

/// Entries of a stretch.
const STRETCH_ENTRIES: usize = 4096;

/// Filling takes at most every second moment: requests go first.
const FILL_PARTS: u32 = 2;

/// What waits for the disk before another stretch is read, at most: filling leaves room for requests.
const QUEUE_BYTES: usize = QUEUE_BYTES_MAX / 4;

/// Fills a standby that was begun, and has everything brought to stable storage; then it is
/// [`Phase::Whole`]. Where that fails it is given up.
pub(crate) async fn fill(
    standby: Standby,
    attempt: Attempt,
    home: Arc<dyn Index>,
    core: Weak<Core>,
    io: Io,
) {
    if let Err(reason) = fill_up(&standby, attempt, &home, core, io).await {
        standby.fail(attempt, &reason);
    }
}

/// # Errors
/// In words.
async fn fill_up(
    standby: &Standby,
    attempt: Attempt,
    home: &Arc<dyn Index>,
    core: Weak<Core>,
    io: Io,
) -> Result<(), String> {
    let (mut rest, mut is_whole) = (gentle(FILL_PARTS), false);
    while !is_whole {
        if !standby.has_room(attempt).await {
            return Ok(());
        }
        let (from, on) = (standby.clone(), Arc::clone(home));
        let step = io.run(move || from.copy_stretch(attempt, &*on)).await;
        is_whole = step.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        rest().await;
    }
    let Some(core) = core.upgrade() else { return Ok(()) };
    // It waits for the standby from now on.
    core.checkpoint().await.map_err(|error| error.to_string())?;
    standby.filled(attempt);
    Ok(())
}

impl Standby {
    /// Waits until another stretch may be read; false if it is not to be filled any more.
    async fn has_room(&self, attempt: Attempt) -> bool {
        self.until(|state| {
            if state.attempt != attempt || !matches!(state.phase, Phase::Filling { .. }) {
                return Some(false);
            }
            if state.is_closing {
                return Some(false);
            }
            (state.bytes < QUEUE_BYTES).then_some(true)
        })
        .await
    }

    /// Copies the next stretch; says whether it was the last one. From then on it is awaited. Blocks.
    pub(super) fn copy_stretch(
        &self,
        attempt: Attempt,
        home: &dyn Index,
    ) -> Result<bool, IndexError> {
        let (snapshot, from) = {
            let _order = self.order();
            let snapshot = home.snapshot()?;
            let mut state = self.state();
            if state.attempt != attempt {
                return Ok(false);
            }
            state.held = Some(Vec::new());
            let Reach::Below(from) = &state.reach else { return Ok(true) };
            (snapshot, from.clone())
        };
        let (mut stretch, mut bytes, mut next) = (Batch::default(), 0, None);
        snapshot.scan(&from, &mut |key, value| {
            if bytes >= STRETCH_BYTES || stretch.0.len() >= STRETCH_ENTRIES {
                next = Some(key.to_vec());
                return Next::Stop;
            }
            bytes += key.len() + value.len();
            stretch.put(key.to_vec(), value.to_vec());
            Next::On
        })?;
        drop(snapshot);
        let reach = next.map_or(Reach::All, Reach::Below);
        let is_last = reach == Reach::All;
        // Nothing is written to the index while what was held back goes into the queue.
        let _order = self.order();
        let mut state = self.state();
        if state.attempt != attempt {
            return Ok(false);
        }
        let Phase::Filling { copied, .. } = &mut state.phase else { return Ok(false) };
        *copied += stretch.0.len() as u64;
        if !stretch.0.is_empty() {
            state.push(Op::Write(stretch));
        }
        for batch in state.held.take().unwrap_or_default() {
            state.bytes = state.bytes.saturating_sub(Op::Write(batch.clone()).bytes());
            let part = reach.part(&batch);
            if !part.0.is_empty() {
                state.push(Op::Write(part));
            }
        }
        state.reach = reach;
        state.is_awaited |= is_last;
        drop(state);
        self.inner.work.notify_one();
        Ok(is_last)
    }

    fn filled(&self, attempt: Attempt) {
        let mut state = self.state();
        if state.attempt == attempt
            && let Phase::Filling { volume, copied } = state.phase
        {
            tracing::info!(%volume, copied, "the standby of the index is whole");
            state.phase = Phase::Whole { volume, copied };
        }
        drop(state);
        self.changed();
    }
}
