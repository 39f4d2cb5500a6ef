//! The standby: a second copy of the index on another volume, with which the store goes on when the
//! volume of the first goes.
//!
//! ```text
//! None ──begin──▶ Filling ──▶ Whole ──named──▶ InStep
//!   ▲                │          │                │
//!   └───dropped──────┴── Failed ◀────────────────┘
//! ```
//!
//! Every batch that is written to the index is put into a queue of the standby, in the same order ([`mirror`]).
//! A task writes them, so that no request waits for the standby's disk; where that falls behind or fails,
//! the standby is given up. It is filled by key ([`fill()`]): batches concern it as far as that has come.
//!
//! From [`Phase::Whole`] on the superblocks may name it, and then what it lacks must be in the journals:
//! whoever frees something waits for [`Standby::settled`] first. One that failed is waited for until no
//! superblock names it any more ([`Standby::dropped`]).

mod fill;
mod mirror;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use agent_object_store_pool::device::ANSWER_MAX;
use agent_object_store_pool::io::Io;
use agent_object_store_pool::superblock::VolumeNo;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) use self::fill::fill;
pub(crate) use self::mirror::{Mirror, unseal};
use super::index::{Batch, Index, IndexError, IndexMemory};

/// Bytes of batches that wait for the standby, at most: some ten thousand, more than a second of what the
/// index takes. A disk that is further behind does not keep up.
const QUEUE_BYTES_MAX: usize = 16 << 20;

/// What a batch takes in the queue beside its keys and values, about.
const BATCH_BYTES: usize = 128;

/// Batches that are written by one call: few enough that others are told soon, and a call of its own costs
/// little beside so many.
const AT_ONCE: usize = 64;

/// How long a checkpoint of the standby may take, with all that is in the queue before it: as long as any
/// disk has to answer.
const SETTLE_MAX: Duration = ANSWER_MAX;

/// How long is waited until no superblock names a standby that failed: all volumes are written to at once,
/// and each may take [`ANSWER_MAX`].
const DROP_MAX: Duration = Duration::from_secs(60);

/// How far a standby is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// There is none.
    None,
    /// It is being filled.
    Filling {
        /// Where.
        volume: VolumeNo,
        /// Entries that were copied.
        copied: u64,
    },
    /// It has everything, on stable storage, and is to be named.
    Whole {
        /// Where.
        volume: VolumeNo,
        /// Entries that were copied.
        copied: u64,
    },
    /// It is named.
    InStep {
        /// Where.
        volume: VolumeNo,
    },
    /// It is to be given up.
    Failed {
        /// Where.
        volume: VolumeNo,
        /// Why, in words.
        reason: String,
    },
}

impl Phase {
    /// The volume that it is on.
    pub(crate) fn volume(&self) -> Option<VolumeNo> {
        match self {
            Self::None => None,
            Self::Filling { volume, .. }
            | Self::Whole { volume, .. }
            | Self::InStep { volume }
            | Self::Failed { volume, .. } => Some(*volume),
        }
    }
}

/// A standby that failed may still be named by a superblock: nothing may be freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the standby of the index failed and superblocks still name it; nothing is freed until they do not"
)]
pub struct Unsettled;

/// Tells one standby of a store from those before it: what belongs to an earlier one has no say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempt(u64);

/// The standby of one index. A clone is another handle.
#[derive(Debug, Clone)]
pub(crate) struct Standby {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Held while a batch is written to the index and put into the queue, and while a snapshot for filling is
    /// taken: so both see batches in one order.
    order: Mutex<Order>,
    state: Mutex<State>,
    /// There is work for the task that writes.
    work: Notify,
    /// Counts changes of the state that somebody may wait for.
    changes: watch::Sender<u64>,
    /// Whoever acts on a change of the phase.
    owner: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Order {
    /// Nothing is written any more: index and standby stay alike.
    is_sealed: bool,
}

/// Which keys concern the standby.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reach {
    /// Those below this one.
    Below(Vec<u8>),
    All,
}

impl Reach {
    /// The part of a batch that concerns it.
    fn part(&self, batch: &Batch) -> Batch {
        match self {
            Self::Below(end) => {
                let below = batch.0.range::<[u8], _>((
                    std::ops::Bound::Unbounded,
                    std::ops::Bound::Excluded(end.as_slice()),
                ));
                Batch(below.map(|(key, value)| (key.clone(), value.clone())).collect())
            }
            Self::All => batch.clone(),
        }
    }
}

#[derive(Debug)]
enum Op {
    Write(Batch),
    Checkpoint,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    attempt: Attempt,
    /// Whether superblocks may name it: nothing is freed that it does not know.
    is_awaited: bool,
    reach: Reach,
    /// Batches since the snapshot that is being copied from.
    held: Option<Vec<Batch>>,
    queue: VecDeque<Op>,
    /// Bytes of `queue`, of what is being written of it, and of `held`.
    bytes: usize,
    /// Operations that were put into the queue.
    pushed: u64,
    /// Those of them that were done.
    done: u64,
    /// Those up to the last checkpoint that was done.
    durable: u64,
    /// Nothing more comes; it ends behind what is in the queue.
    is_closing: bool,
    /// The store ends: nobody acts on a failure any more.
    is_ending: bool,
    index: Option<Weak<dyn Index>>,
    writer: Option<JoinHandle<()>>,
}

impl Standby {
    /// There is none yet. `owner` is told when something is to be done about it.
    pub(crate) fn new(owner: Arc<Notify>) -> Self {
        let state = State {
            phase: Phase::None,
            attempt: Attempt(0),
            is_awaited: false,
            reach: Reach::Below(Vec::new()),
            held: None,
            queue: VecDeque::new(),
            bytes: 0,
            pushed: 0,
            done: 0,
            durable: 0,
            is_closing: false,
            is_ending: false,
            index: None,
            writer: None,
        };
        let inner = Inner {
            order: Mutex::default(),
            state: Mutex::new(state),
            work: Notify::new(),
            changes: watch::Sender::new(0),
            owner,
        };
        Self { inner: Arc::new(inner) }
    }

    /// How far it is.
    pub(crate) fn phase(&self) -> Phase {
        self.state().phase.clone()
    }

    /// Whether superblocks may name it.
    pub(crate) fn is_awaited(&self) -> bool {
        self.state().is_awaited
    }

    /// What it keeps in memory.
    pub(crate) fn memory(&self) -> IndexMemory {
        let index = self.state().index.as_ref().and_then(Weak::upgrade);
        index.map(|index| index.memory()).unwrap_or_default()
    }

    /// Takes one that is like the index, and is named.
    pub(crate) fn adopt(&self, volume: VolumeNo, index: Arc<dyn Index>, io: Io) {
        let attempt = {
            let mut state = self.state();
            state.restart(Phase::InStep { volume });
            (state.is_awaited, state.reach) = (true, Reach::All);
            state.attempt
        };
        self.write_to(attempt, index, io);
    }

    /// Begins one, to be filled.
    pub(crate) fn begin(&self, volume: VolumeNo) -> Attempt {
        let mut state = self.state();
        state.restart(Phase::Filling { volume, copied: 0 });
        state.attempt
    }

    /// Has what is in the queue written to this index from now on.
    pub(crate) fn write_to(&self, attempt: Attempt, index: Arc<dyn Index>, io: Io) {
        let mut state = self.state();
        if state.attempt == attempt && !state.is_closing {
            state.index = Some(Arc::downgrade(&index));
            state.writer = Some(tokio::spawn(self.clone().write_all(attempt, index, io)));
        }
    }

    /// The superblocks name it.
    pub(crate) fn named(&self) {
        let mut state = self.state();
        if let Phase::Whole { volume, .. } = state.phase {
            state.phase = Phase::InStep { volume };
        }
        drop(state);
        self.changed();
    }

    /// Gives it up; what is in the queue is lost.
    pub(crate) fn fail(&self, attempt: Attempt, reason: &str) {
        let mut state = self.state();
        if state.attempt == attempt {
            state.fail(reason);
        }
        drop(state);
        self.changed();
    }

    /// No superblock names it any more. Gives what ends when its disk is not used any more.
    pub(crate) fn dropped(&self) -> Option<JoinHandle<()>> {
        let writer = {
            let mut state = self.state();
            state.restart(Phase::None);
            state.writer.take()
        };
        self.changed();
        writer
    }

    /// The store ends: nobody acts on a failure from now on.
    pub(crate) fn end(&self) {
        self.state().is_ending = true;
        self.changed();
    }

    /// Nothing more comes: it ends behind what is in the queue. Gives what ends then.
    pub(crate) fn close(&self) -> Option<JoinHandle<()>> {
        let writer = {
            let mut state = self.state();
            state.is_closing = true;
            state.writer.take()
        };
        self.changed();
        writer
    }

    /// Waits until everything that was written to the index so far is on stable storage of the standby, too,
    /// or there is none that a superblock names. One that takes too long is given up.
    ///
    /// # Errors
    /// It failed, and it is not known that no superblock names it.
    pub(crate) async fn settled(&self) -> Result<(), Unsettled> {
        let (attempt, position) = {
            let mut state = self.state();
            if !state.is_awaited {
                return Ok(());
            }
            if !state.is_closing && !matches!(state.phase, Phase::Failed { .. }) {
                state.push(Op::Checkpoint);
            }
            (state.attempt, state.pushed)
        };
        self.inner.work.notify_one();
        let settled = |state: &State| {
            if state.attempt != attempt || !state.is_awaited || state.durable >= position {
                return Some(Ok(()));
            }
            let is_lost = state.is_ending && matches!(state.phase, Phase::Failed { .. });
            (is_lost || state.is_closing).then_some(Err(Unsettled))
        };
        if let Ok(settled) = timeout(SETTLE_MAX, self.until(settled)).await {
            return settled;
        }
        self.fail(attempt, &format!("no checkpoint in {SETTLE_MAX:?}"));
        timeout(DROP_MAX, self.until(settled)).await.unwrap_or(Err(Unsettled))
    }

    /// Waits until the state gives something.
    async fn until<T>(&self, seen: impl Fn(&State) -> Option<T>) -> T {
        let mut changes = self.inner.changes.subscribe();
        loop {
            if let Some(seen) = seen(&self.state()) {
                return seen;
            }
            // Fails only when there is nobody left to change it.
            let _ = changes.changed().await;
        }
    }

    /// Puts a batch into the queue that was written to the index. The caller holds the order.
    fn push(&self, batch: &Batch) {
        let mut state = self.state();
        if state.is_closing || matches!(state.phase, Phase::None | Phase::Failed { .. }) {
            return;
        }
        match &mut state.held {
            Some(held) => {
                held.push(batch.clone());
                state.bytes += batch.bytes() + BATCH_BYTES;
            }
            None => {
                let part = state.reach.part(batch);
                if !part.0.is_empty() {
                    state.push(Op::Write(part));
                }
            }
        }
        let is_full = state.bytes > QUEUE_BYTES_MAX;
        if is_full {
            state.fail(&format!("more than {QUEUE_BYTES_MAX} bytes wait for its disk"));
        }
        drop(state);
        self.inner.work.notify_one();
        if is_full {
            self.changed();
        }
    }

    /// Writes what is in the queue to an index, until that fails or nothing more comes.
    async fn write_all(self, attempt: Attempt, index: Arc<dyn Index>, io: Io) {
        while let Some(ops) = self.next(attempt).await {
            let bytes: usize = ops.iter().map(Op::bytes).sum();
            let (count, on) = (ops.len() as u64, Arc::clone(&index));
            let work = move || write(&*on, ops);
            let failed = match timeout(ANSWER_MAX, io.run(work)).await {
                Ok(Ok(Ok(is_durable))) => {
                    let mut state = self.state();
                    if state.attempt == attempt {
                        state.bytes = state.bytes.saturating_sub(bytes);
                        state.done += count;
                        if is_durable {
                            state.durable = state.done;
                        }
                    }
                    drop(state);
                    self.inner.changes.send_modify(|count| *count += 1);
                    continue;
                }
                Ok(Ok(Err(error))) => error.to_string(),
                Ok(Err(unfinished)) => unfinished.to_string(),
                Err(_) => format!("no answer for {ANSWER_MAX:?}"),
            };
            self.fail(attempt, &failed);
            break;
        }
        // Closing waits for the disk. It is closed all the same when the process is ending.
        let _ = io.run(move || drop(index)).await;
    }

    /// What is to be done next: up to a checkpoint at most. None when nothing more comes.
    async fn next(&self, attempt: Attempt) -> Option<Vec<Op>> {
        loop {
            {
                let mut state = self.state();
                if state.attempt != attempt || matches!(state.phase, Phase::Failed { .. }) {
                    return None;
                }
                let mut ops = Vec::new();
                while ops.len() < AT_ONCE
                    && !matches!(ops.last(), Some(Op::Checkpoint))
                    && let Some(op) = state.queue.pop_front()
                {
                    ops.push(op);
                }
                if !ops.is_empty() {
                    return Some(ops);
                }
                if state.is_closing {
                    return None;
                }
            }
            self.inner.work.notified().await;
        }
    }

    fn changed(&self) {
        self.inner.changes.send_modify(|count| *count += 1);
        self.inner.work.notify_one();
        self.inner.owner.notify_one();
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        // A batch that panics is in neither of both.
        self.inner.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It is changed in steps that do not panic.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets all of the standby before.
    fn restart(&mut self, phase: Phase) {
        self.phase = phase;
        self.attempt = Attempt(self.attempt.0 + 1);
        self.is_awaited = false;
        self.reach = Reach::Below(Vec::new());
        (self.held, self.bytes, self.index) = (None, 0, None);
        self.queue.clear();
        (self.pushed, self.done, self.durable) = (0, 0, 0);
    }

    fn push(&mut self, op: Op) {
        self.bytes += op.bytes();
        self.pushed += 1;
        self.queue.push_back(op);
    }

    fn fail(&mut self, reason: &str) {
        let Some(volume) = self.phase.volume() else { return };
        if matches!(self.phase, Phase::Failed { .. }) {
            return;
        }
        tracing::warn!(%volume, reason, "the standby of the index is given up");
        self.phase = Phase::Failed { volume, reason: reason.to_owned() };
        (self.held, self.bytes) = (None, 0);
        self.queue.clear();
    }
}

impl Op {
    fn bytes(&self) -> usize {
        match self {
            Self::Write(batch) => batch.bytes() + BATCH_BYTES,
            Self::Checkpoint => BATCH_BYTES,
        }
    }
}

/// Does operations in turn; says whether the last one was a checkpoint.
fn write(index: &dyn Index, ops: Vec<Op>) -> Result<bool, IndexError> {
    let mut is_durable = false;
    for op in ops {
        match op {
            Op::Write(batch) => {
                index.write(&batch)?;
                is_durable = false;
            }
            Op::Checkpoint => {
                index.checkpoint()?;
                is_durable = true;
            }
        }
    }
    Ok(is_durable)
}

#[cfg(test)]
mod tests;
