//! What an engine knows: all of it follows from the outbox and what the chain answered since.

use std::collections::BTreeMap;

use super::policy::Policy;
use crate::call::{CALL_DATA_MAX, Seq, Wanted};
use crate::engine::event::Action;
use crate::outbox::{Inclusion, Intent, Outcome, ParkReason, Purpose, Record, Signed, Spent};

/// Fewer intents that are over are not worth writing the outbox anew.
const COMPACT_FROM: usize = 32;

/// All intents that are not over.
#[derive(Debug, Clone)]
pub struct State {
    pub(super) policy: Policy,
    pub(super) open: BTreeMap<Seq, Entry>,
    pub(super) next: Seq,
    pub(super) spent: Spent,
    /// The one intent that is being given a nonce.
    pub(super) signing: Option<Seq>,
    /// A nonce that nothing has, and since when, in milliseconds.
    pub(super) gap: Option<(u64, u64)>,
    /// Since when transactions of others wait, in milliseconds.
    pub(super) strangers_since: Option<u64>,
    /// The newest safe block.
    pub(super) safe: u64,
    /// The newest final block.
    pub(super) finalized: u64,
    /// Intents that were over since the outbox was written anew.
    over: usize,
}

/// One intent.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What is wanted.
    pub intent: Intent,
    /// What was signed for it, all with one nonce, the newest last.
    pub attempts: Vec<Signed>,
    /// How far it is.
    pub stage: Stage,
    /// How often the contract refused it.
    pub reverts: u32,
    /// How often in a row something failed.
    pub(super) failures: u32,
    /// Nothing is done before this, in milliseconds.
    pub(super) not_before: u64,
    /// Something is being done.
    pub(super) busy: bool,
    /// When its newest transaction began to wait, in milliseconds.
    pub(super) since: u64,
}

/// How far an intent is.
///
/// ```text
///  Queued ──sign──▶ Unsure ──sent──▶ Waits ──▶ Mined ──▶ Safe ──▶ (final: forgotten)
///    ▲  ▲             ▲  ▲            │          │         │
///    │  │             │  └─not known──┘          │         │
///    │  │             └────────reorg─────────────┴─────────┘
///    │  └── nonce taken (safe), reverted (safe) ─┘
///    └──────────────────────▶ Parked
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Nothing is signed.
    Queued,
    /// It is signed. Whether it was sent is not known.
    Unsure,
    /// A server has it.
    Waits,
    /// It is in a block.
    Mined(Inclusion),
    /// It is in a safe block.
    Safe(Inclusion),
    /// Somebody has to look at it.
    Parked(ParkReason),
}

/// Why a call is not taken into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// Too much is open.
    #[error("{0} calls are open already: try again when some are over")]
    Full(usize),
    /// It is too long.
    #[error("a call has {0} bytes; {CALL_DATA_MAX} are possible")]
    TooLong(usize),
}

/// What is wrong with records that were read well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// A record is of an intent that there is not.
    #[error("a record is of intent {0}, which is not open")]
    NoIntent(Seq),
    /// Two intents have one number.
    #[error("there are two intents {0}")]
    Twice(Seq),
    /// What replaces another does not have its nonce.
    #[error("a transaction of intent {0} replaces one that it cannot")]
    Replaces(Seq),
}

impl Entry {
    fn new(intent: Intent) -> Self {
        Self {
            intent,
            attempts: Vec::new(),
            stage: Stage::Queued,
            reverts: 0,
            failures: 0,
            not_before: 0,
            busy: false,
            since: 0,
        }
    }

    /// Whether a transaction of it may wait to be mined.
    pub(super) fn in_flight(&self) -> bool {
        matches!(self.stage, Stage::Unsure | Stage::Waits)
    }

    /// The nonce that it holds.
    pub(super) fn nonce(&self) -> Option<u64> {
        match self.stage {
            Stage::Queued | Stage::Parked(_) => None,
            Stage::Unsure | Stage::Waits | Stage::Mined(_) | Stage::Safe(_) => {
                self.attempts.last().map(|signed| signed.nonce)
            }
        }
    }

    /// Where it is mined.
    pub(super) fn inclusion(&self) -> Option<Inclusion> {
        match self.stage {
            Stage::Mined(inclusion) | Stage::Safe(inclusion) => Some(inclusion),
            Stage::Queued | Stage::Unsure | Stage::Waits | Stage::Parked(_) => None,
        }
    }

    /// Forgets what was signed: its nonce is used, by whatever.
    pub(super) fn queue_again(&mut self) {
        self.attempts.clear();
        self.stage = Stage::Queued;
    }

    /// What its transactions can cost on a day, in wei, beyond what was set aside for them on that day.
    pub(super) fn cost_beyond(&self, cost_wei: u128, nonce: u64, day: u64) -> u128 {
        match self.attempts.last() {
            Some(last) if last.nonce == nonce && last.day == day => {
                cost_wei.saturating_sub(last.cost_wei())
            }
            _ => cost_wei,
        }
    }
}

impl State {
    /// Nothing is wanted yet.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            open: BTreeMap::new(),
            next: Seq(0),
            spent: Spent::default(),
            signing: None,
            gap: None,
            strangers_since: None,
            safe: 0,
            finalized: 0,
            over: 0,
        }
    }

    /// What an outbox says.
    ///
    /// # Errors
    /// Its records do not follow from each other.
    pub fn replay(policy: Policy, records: Vec<Record>) -> Result<Self, ReplayError> {
        let mut state = Self::new(policy);
        for record in records {
            state.take(record)?;
        }
        Ok(state)
    }

    fn take(&mut self, record: Record) -> Result<(), ReplayError> {
        match record {
            Record::Carried { next, spent } => {
                self.next = self.next.max(next);
                self.spent = spent;
            }
            Record::Intent(intent) => {
                let seq = intent.seq;
                self.next = self.next.max(Seq(seq.0.saturating_add(1)));
                if self.open.insert(seq, Entry::new(intent)).is_some() {
                    return Err(ReplayError::Twice(seq));
                }
            }
            Record::Signed(signed) => {
                let entry = self.entry(signed.seq)?;
                let refused = entry.inclusion().is_some_and(|inclusion| !inclusion.ok);
                entry.reverts += u32::from(refused);
                entry.queue_again();
                self.signed(signed);
            }
            Record::Replaced(signed) => {
                let entry = self.entry(signed.seq)?;
                if entry.attempts.last().map(|last| last.nonce) != Some(signed.nonce) {
                    return Err(ReplayError::Replaces(signed.seq));
                }
                self.signed(signed);
            }
            Record::Mined { seq, inclusion } => self.entry(seq)?.stage = Stage::Mined(inclusion),
            Record::Parked { seq, reason } => self.entry(seq)?.stage = Stage::Parked(reason),
            Record::Final { seq, .. } => {
                self.entry(seq)?;
                self.forget(seq);
            }
        }
        Ok(())
    }

    fn entry(&mut self, seq: Seq) -> Result<&mut Entry, ReplayError> {
        self.open.get_mut(&seq).ok_or(ReplayError::NoIntent(seq))
    }

    /// Notes what was signed, and what it can cost.
    pub(super) fn signed(&mut self, signed: Signed) {
        let Some(entry) = self.open.get_mut(&signed.seq) else { return };
        let more = entry.cost_beyond(signed.cost_wei(), signed.nonce, signed.day);
        let before = if self.spent.day == signed.day { self.spent.wei } else { 0 };
        self.spent = Spent { day: signed.day, wei: before.saturating_add(more) };
        entry.attempts.push(signed);
        entry.stage = Stage::Unsure;
    }

    pub(super) fn forget(&mut self, seq: Seq) {
        self.over += usize::from(self.open.remove(&seq).is_some());
    }

    /// Takes a call into the queue. One that is there already is the same.
    ///
    /// # Errors
    /// The queue is full, or the call too long.
    pub fn enqueue(&mut self, wanted: Wanted) -> Result<(Seq, Option<Action>), QueueError> {
        let same = |entry: &&Entry| entry.intent.digest == wanted.digest;
        if let Some(entry) = self.open.values().find(same) {
            return Ok((entry.intent.seq, None));
        }
        let probe = wanted.call.probe.as_ref().map_or(0, |probe| probe.data.len());
        let bytes = wanted.call.data.len().max(probe);
        if bytes > CALL_DATA_MAX {
            return Err(QueueError::TooLong(bytes));
        }
        if self.open.len() >= self.policy.open_max {
            return Err(QueueError::Full(self.open.len()));
        }
        let (seq, action) = self.intend(wanted, Purpose::Wanted);
        Ok((seq, Some(action)))
    }

    pub(super) fn intend(&mut self, wanted: Wanted, purpose: Purpose) -> (Seq, Action) {
        let Wanted { digest, call } = wanted;
        let seq = self.next;
        self.next = Seq(seq.0.saturating_add(1));
        let intent = Intent { seq, digest, purpose, call };
        self.open.insert(seq, Entry::new(intent.clone()));
        (seq, Action::Persist(Record::Intent(intent)))
    }

    /// Tries again what was parked; false if it was not.
    pub fn unpark(&mut self, seq: Seq) -> bool {
        match self.open.get_mut(&seq) {
            Some(entry) if matches!(entry.stage, Stage::Parked(_)) => {
                let signed = !entry.attempts.is_empty();
                entry.stage = if signed { Stage::Unsure } else { Stage::Queued };
                (entry.reverts, entry.failures, entry.not_before) = (0, 0, 0);
                true
            }
            _ => false,
        }
    }

    /// Forgets a call of which nothing is signed that could still be mined; none if there is such a transaction, or the
    /// call is not open. What was signed for one that is parked was reverted, or its nonce is used.
    pub(super) fn give_up(&mut self, seq: Seq) -> Option<Record> {
        let entry = self.open.get(&seq)?;
        if !matches!(entry.stage, Stage::Queued | Stage::Parked(_)) {
            return None;
        }
        if self.signing == Some(seq) {
            self.signing = None;
        }
        self.forget(seq);
        Some(Record::Final { seq, how: Outcome::NotNeeded })
    }

    /// Intents that are not over, in the order in which they were wanted.
    pub fn open(&self) -> impl Iterator<Item = &Entry> {
        self.open.values()
    }

    /// One that is not over.
    #[must_use]
    pub fn get(&self, seq: Seq) -> Option<&Entry> {
        self.open.get(&seq)
    }

    /// What was set aside for gas on the last day on which something was signed.
    #[must_use]
    pub fn spent(&self) -> Spent {
        self.spent
    }

    /// The first nonce that nothing of ours holds; none if nothing of ours does.
    pub(super) fn own_next(&self) -> Option<u64> {
        self.open.values().filter_map(Entry::nonce).max().map(|nonce| nonce.saturating_add(1))
    }

    /// Whether most of the outbox is of intents that are over.
    #[must_use]
    pub fn worth_compacting(&self) -> bool {
        self.over >= COMPACT_FROM && self.over / 2 >= self.open.len()
    }

    /// Records that say all of this, and nothing that is over.
    #[must_use]
    pub fn compacted(&mut self) -> Vec<Record> {
        self.over = 0;
        let mut records = Vec::new();
        for entry in self.open.values() {
            records.push(Record::Intent(entry.intent.clone()));
            let first = entry.attempts.iter().take(1).cloned().map(Record::Signed);
            records.extend(first);
            records.extend(entry.attempts.iter().skip(1).cloned().map(Record::Replaced));
            let seq = entry.intent.seq;
            records.extend(entry.inclusion().map(|inclusion| Record::Mined { seq, inclusion }));
            if let Stage::Parked(reason) = &entry.stage {
                records.push(Record::Parked { seq, reason: reason.clone() });
            }
        }
        // The last: it counts what the transactions above cost, too.
        records.push(Record::Carried { next: self.next, spent: self.spent });
        records
    }
}
