//! Getting calls onto a chain exactly once: intent → sign → persist → send, and never the other way round.
//!
//! [`State::step`] decides and is pure; [`Engine`] does what it says. One engine is the only writer of its key.
//! `docs/design/settlement-engine.md` draws the states.

pub mod event;
mod facts;
pub mod policy;
pub mod state;
mod step;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

pub use facts::observe;

use event::{Action, Event, Moment, Notice};
use policy::Policy;
use state::{QueueError, ReplayError, State};

use crate::call::{Seq, Wanted};
use crate::chain::{At, Chain, ChainError, Heads};
use crate::key::{CannotSign, Order, PayerKey};
use crate::outbox::{Backend, Opened, Outbox, OutboxError, Owner, Record};
use crate::preflight::Target;
use crate::revert::KnownError;

/// So many actions are done in one tick at most; what is left is done in the next. Each open intent needs fewer than
/// eight.
const ACTIONS_MAX: usize = 8192;

/// What an engine is made for.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Chain, contracts and HP.
    pub target: Target,
    /// What it may spend.
    pub policy: Policy,
    /// Errors of the contracts that are told apart.
    pub errors: Vec<KnownError>,
}

/// Why an engine does nothing any more.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Its memory failed.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// What it remembers cannot be.
    #[error("the outbox contradicts itself: {0}; nothing is signed")]
    Replay(#[from] ReplayError),
    /// The chain cannot be asked whether an outbox should be there.
    #[error("there is no outbox, and whether there should be one is not known: {0}")]
    Chain(#[from] ChainError),
    /// The servers are of another chain.
    #[error("the RPC servers are of chain {found}, not {expected}: correct the configuration")]
    OtherChain {
        /// The chain in the configuration.
        expected: u64,
        /// The servers' chain.
        found: u64,
    },
    /// There is none, where one should be.
    #[error(
        "there is no outbox, and account {} has sent {count} transactions: what was signed is unknown, so nothing \
         is signed; see that none of them waits, then begin anew", .owner.account
    )]
    Missing {
        /// Whose it should be.
        owner: Owner,
        /// How many transactions the chain counts.
        count: u64,
    },
}

/// Why a call is not taken.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// The queue does not take it.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The engine does nothing any more.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// What a tick brought.
#[derive(Debug, Default)]
pub struct Report {
    /// What callers are told, in order.
    pub notices: Vec<Notice>,
    /// What could not be found out. It is tried again; where two servers differ, somebody has to look.
    pub errors: Vec<StepError>,
}

/// What could not be done, and is tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// The chain did not say.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The key could not sign.
    #[error(transparent)]
    Key(#[from] CannotSign),
    /// It is not there any more.
    #[error("intent {0} is not open")]
    Gone(Seq),
}

/// The one writer of a key. Its futures are not to be dropped before they end: run it in a task of its own.
#[derive(Debug)]
pub struct Engine<B, C> {
    state: State,
    outbox: Outbox<B>,
    chain: C,
    key: PayerKey,
    setup: Setup,
    heads: Option<Heads>,
    todo: VecDeque<Action>,
    /// The outbox failed: what was to follow is not done, and nothing else is.
    stopped: bool,
}

impl<B: Backend, C: Chain> Engine<B, C> {
    /// An engine that goes on where the outbox ends.
    ///
    /// # Errors
    /// The outbox cannot be used, or is not there though the account has sent transactions.
    pub async fn open(
        backend: B,
        chain: C,
        key: PayerKey,
        setup: Setup,
    ) -> Result<Self, EngineError> {
        Self::open_with(backend, chain, key, setup, false).await
    }

    /// The same for a caller whose calls may all take effect twice without harm, as claims of cumulative amounts may:
    /// where the outbox is lost, another one is begun as soon as no transaction of the account waits. What waited and
    /// was dropped by all servers may still be mined later.
    ///
    /// # Errors
    /// The outbox cannot be used, or is not there while transactions wait, or servers are of another chain.
    pub async fn open_or_begin(
        backend: B,
        chain: C,
        key: PayerKey,
        setup: Setup,
    ) -> Result<Self, EngineError> {
        Self::open_with(backend, chain, key, setup, true).await
    }

    async fn open_with(
        backend: B,
        chain: C,
        key: PayerKey,
        setup: Setup,
        may_lose: bool,
    ) -> Result<Self, EngineError> {
        let owner = Owner { chain: setup.target.chain, account: key.address() };
        let (outbox, records) = match Outbox::open(backend, owner)? {
            Opened::Ready(outbox, records) => (outbox, records),
            Opened::Absent(backend) => {
                // What another chain counts says nothing of this one.
                if may_lose {
                    let (expected, found) = (owner.chain, chain.chain_id().await?);
                    if found != expected {
                        return Err(EngineError::OtherChain { expected, found });
                    }
                }
                let count = chain.nonce(owner.account, At::Pending).await?;
                let waits = count != chain.nonce(owner.account, At::Latest).await?;
                if count != 0 && (waits || !may_lose) {
                    return Err(EngineError::Missing { owner, count });
                }
                (Outbox::begin_anew(backend, owner)?, Vec::new())
            }
        };
        let state = State::replay(setup.policy.clone(), records)?;
        let todo = VecDeque::new();
        Ok(Self { state, outbox, chain, key, setup, heads: None, todo, stopped: false })
    }

    /// Wants a call. When this returns, it is remembered.
    ///
    /// # Errors
    /// It is not.
    pub fn enqueue(&mut self, wanted: Wanted) -> Result<Seq, EnqueueError> {
        let (seq, action) = self.state.enqueue(wanted)?;
        if let Some(Action::Persist(record)) = action {
            self.persist(&record)?;
        }
        Ok(seq)
    }

    /// What is open.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Tries again what was parked; false if it was not.
    pub fn unpark(&mut self, seq: Seq) -> bool {
        self.state.unpark(seq)
    }

    /// Gives up a call of which nothing is signed that could still be mined; false if there is such a transaction, or the
    /// call is not open.
    ///
    /// # Errors
    /// The outbox failed: nothing is signed or sent from then on.
    pub fn give_up(&mut self, seq: Seq) -> Result<bool, EngineError> {
        let Some(record) = self.state.give_up(seq) else { return Ok(false) };
        self.persist(&record)?;
        Ok(true)
    }

    /// Looks how far everything is, and does what is to be done. Call it every two seconds or more rarely.
    ///
    /// # Errors
    /// The outbox failed: nothing is signed or sent from then on.
    pub async fn tick(&mut self, now: Moment) -> Result<Report, EngineError> {
        if self.stopped {
            return Err(OutboxError::Fenced.into());
        }
        let mut report = Report::default();
        match self.chain.heads().await {
            Ok(heads) => {
                self.heads = Some(heads);
                let Heads { safe, finalized, .. } = heads;
                self.todo.extend(self.state.step(now, Event::Tick { safe, finalized }));
            }
            Err(error) => report.errors.push(error.into()),
        }
        for _ in 0..ACTIONS_MAX {
            let Some(action) = self.todo.pop_front() else { break };
            let Some(event) = self.act(now, action, &mut report).await? else { continue };
            // What follows from it comes first: a record before what is sent on top of it.
            for next in self.state.step(now, event).into_iter().rev() {
                self.todo.push_front(next);
            }
        }
        if self.todo.is_empty() && self.state.worth_compacting() {
            self.stopped = true;
            self.outbox.compact(&self.state.compacted())?;
            self.stopped = false;
        }
        Ok(report)
    }

    /// Brings a record to stable storage. Where that fails, what was to follow must never be done.
    fn persist(&mut self, record: &Record) -> Result<(), EngineError> {
        if self.stopped {
            return Err(OutboxError::Fenced.into());
        }
        self.outbox.append(record).map_err(|error| {
            self.stopped = true;
            self.todo.clear();
            EngineError::Outbox(error)
        })
    }

    async fn act(
        &mut self,
        now: Moment,
        action: Action,
        report: &mut Report,
    ) -> Result<Option<Event>, EngineError> {
        let (seq, result) = match action {
            Action::Persist(record) => {
                self.persist(&record)?;
                return Ok(None);
            }
            Action::Tell(notice) => {
                report.notices.push(notice);
                return Ok(None);
            }
            Action::Prepare(seq) => (seq, self.prepare(now, seq).await),
            Action::LookUp(seq) => (seq, self.look_up(seq).await),
            Action::Diagnose(seq) => (seq, self.diagnose(seq).await),
            Action::Send(seq) => (seq, self.send(seq).await),
            Action::Sign { seq, nonce, gas, fee, l1_wei } => {
                let (chain, day) = (self.setup.target.chain, now.day());
                (seq, self.sign(&Order { seq, chain, nonce, gas, fee, l1_wei, day }))
            }
        };
        Ok(Some(result.unwrap_or_else(|error| {
            report.errors.push(error);
            Event::Failed(seq)
        })))
    }

    fn sign(&self, order: &Order) -> Result<Event, StepError> {
        let entry = self.state.get(order.seq).ok_or(StepError::Gone(order.seq))?;
        Ok(Event::Signed(self.key.sign(&entry.intent.call, order)?))
    }

    async fn send(&self, seq: Seq) -> Result<Event, StepError> {
        let last = self.state.get(seq).and_then(|entry| entry.attempts.last());
        let last = last.ok_or(StepError::Gone(seq))?;
        Ok(Event::Sent(seq, self.chain.send(&last.raw).await?))
    }
}
