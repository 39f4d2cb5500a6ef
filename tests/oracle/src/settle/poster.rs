//! Posting roots: one task owns the engine of the key that pays.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agent_settlement::abi::reference::{post_errors, state_errors};
use agent_settlement::call::{Seq, Wanted};
use agent_settlement::chain::checked::Checked;
use agent_settlement::engine::event::{Moment, Notice};
use agent_settlement::engine::policy::Policy;
use agent_settlement::engine::state::{Entry, QueueError, Stage, State};
use agent_settlement::engine::{Engine, EngineError, EnqueueError, Setup};
use agent_settlement::key::PayerKey;
use agent_settlement::outbox::{Folder, ParkReason};
use agent_sla::protocol::{Address, B256, U256};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::config::SettleConfig;
use super::net::Net;
use crate::clock::Clock;

/// How often the engine looks: one block of Base.
const TICK: Duration = Duration::from_secs(2);

/// How long is waited after the engine could not be opened, as the chain does not answer.
const OPEN_AGAIN: Duration = Duration::from_secs(10);

/// What waits to be taken: there is one root at a time, after a reorganisation another, and all changes of state of a look.
const QUEUE: usize = 80;

/// How often a post that kept reverting is tried again: a pool that is filled, a pause or a window that ends are found
/// soon, and one that takes hours costs no more than a few reads of the chain each time.
const AGAIN_EVERY: Duration = Duration::from_secs(300);

/// The transactions by what they post.
type Transactions = Arc<Mutex<BTreeMap<B256, B256>>>;

type Dropped = Arc<Mutex<BTreeSet<B256>>>;

/// Who posts.
#[derive(Debug)]
pub struct Poster {
    wanted: mpsc::Sender<Wanted>,
    transactions: Transactions,
    /// The era that the next root begins with, as far as is known.
    next_era: Arc<AtomicU64>,
    /// What was wanted and is not queued, as the engine has too much to do.
    dropped: Dropped,
    /// Whether it was said that nothing is posted any more.
    is_closed: AtomicBool,
}

impl Poster {
    /// Starts the task, with its outbox in a folder that exists; it ends when cancelled.
    #[must_use]
    pub fn start(
        folder: &Path,
        net: &Net,
        key: PayerKey,
        config: &SettleConfig,
        clock: Clock,
        cancel: CancellationToken,
    ) -> Self {
        let (wanted, queue) = mpsc::channel(QUEUE);
        let (transactions, next_era) = (Transactions::default(), Arc::default());
        let dropped = Dropped::default();
        let policy = Policy {
            fee_cap_wei: config.fee_cap_wei,
            day_budget_wei: config.day_budget_wei,
            ..Policy::default()
        };
        let errors = [post_errors(), state_errors()].concat();
        let task = Task {
            folder: folder.to_owned(),
            chain: net.chain().clone(),
            key,
            setup: Setup { target: net.target(), policy, errors },
            settlement: net.contract(),
            transactions: Arc::clone(&transactions),
            next_era: Arc::clone(&next_era),
            dropped: Arc::clone(&dropped),
            clock,
        };
        tokio::spawn(task.run(queue, cancel));
        Self { wanted, transactions, next_era, dropped, is_closed: AtomicBool::new(false) }
    }

    /// Whether something was wanted and could not be queued since this was asked last: it is to be wanted again.
    pub(super) fn was_dropped(&self, digest: &B256) -> bool {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner).remove(digest)
    }

    /// Wants a root or a change of state posted; whether it will be. Where the queue is full, it is to be wanted again.
    pub fn want(&self, wanted: Wanted) -> bool {
        match self.wanted.try_send(wanted) {
            Ok(()) => return true,
            Err(TrySendError::Full(_)) => {
                warn!("the queue of what is to be posted is full; trying again");
            }
            // Wanted at each look, and said once.
            Err(TrySendError::Closed(_)) if self.is_closed.swap(true, Ordering::Relaxed) => {}
            Err(TrySendError::Closed(_)) => {
                error!(
                    "a root waits and none is posted any more: see why above, and start the oracle again"
                );
            }
        }
        false
    }

    /// Says which era the next root begins with: posts of eras before it are not needed.
    pub fn reached(&self, next_era: u64) {
        self.next_era.store(next_era, Ordering::Relaxed);
    }

    /// The transaction that posts a root, once there is one.
    #[must_use]
    pub fn transaction(&self, digest: &B256) -> Option<B256> {
        let known = self.transactions.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(digest).copied()
    }
}

struct Task {
    folder: std::path::PathBuf,
    chain: Checked,
    key: PayerKey,
    setup: Setup,
    /// Where roots are posted.
    settlement: Address,
    clock: Clock,
    transactions: Transactions,
    next_era: Arc<AtomicU64>,
    dropped: Dropped,
}

/// What becomes of a post that is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parked {
    Again,
    GivenUp,
}

/// Which posts that are parked are tried again, if it is time for that, and which are given up: other roots have taken
/// their eras, or they are changes of state, which are signed anew in the next era.
fn parked(state: &State, settlement: Address, next_era: u64, is_time: bool) -> Vec<(Seq, Parked)> {
    let of = |entry: &Entry| {
        let Stage::Parked(reason) = &entry.stage else { return None };
        if entry.intent.call.to != settlement {
            return Some((entry.intent.seq, Parked::GivenUp));
        }
        let probe = entry.intent.call.probe.as_ref();
        // The era behind the last of its own.
        let is_over = probe.is_some_and(|probe| probe.at_least <= U256::from(next_era));
        let is_again = is_time && matches!(reason, ParkReason::KeepsReverting { .. });
        match (is_over, is_again) {
            (true, _) => Some((entry.intent.seq, Parked::GivenUp)),
            (false, true) => Some((entry.intent.seq, Parked::Again)),
            (false, false) => None,
        }
    };
    state.open().filter_map(of).collect()
}

/// Posts of the same that have other bytes: signatures that counted when it was wanted first count no more.
fn others(state: &State, wanted: &Wanted) -> Vec<Seq> {
    let is_other = |entry: &&Entry| {
        entry.intent.digest == wanted.digest && entry.intent.call.data != wanted.call.data
    };
    state.open().filter(is_other).map(|entry| entry.intent.seq).collect()
}

/// Gives up what was wanted before with other bytes, unless a transaction of it may still be mined.
fn give_up_another(
    engine: &mut Engine<Folder, Checked>,
    wanted: &Wanted,
) -> Result<(), EngineError> {
    for seq in others(engine.state(), wanted) {
        if engine.give_up(seq)? {
            info!(%seq, of = %wanted.digest, "a post is given up: other signatures of it count now");
        }
    }
    Ok(())
}

impl Task {
    async fn run(self, mut queue: mpsc::Receiver<Wanted>, cancel: CancellationToken) {
        info!(account = %self.key.address(), "roots are posted by this account");
        let Some(mut engine) = self.open(&cancel).await else { return };
        let (mut ticks, began) = (interval(TICK), Instant::now());
        let mut tried = began;
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // The engine's futures are not dropped before they end: nothing is awaited beside them.
            tokio::select! {
                _ = ticks.tick() => {}
                wanted = queue.recv() => {
                    let Some(wanted) = wanted else { return };
                    if let Err(error) = give_up_another(&mut engine, &wanted) {
                        error!(%error, "no root is posted any more until the oracle is started again");
                        return;
                    }
                    let digest = wanted.digest;
                    match engine.enqueue(wanted) {
                        Ok(_) => {}
                        Err(EnqueueError::Queue(error @ QueueError::Full(_))) => {
                            warn!(%error, "a post is not queued; trying again");
                            let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
                            dropped.insert(digest);
                        }
                        Err(error) => error!(%error, "a post is not queued"),
                    }
                    continue;
                }
                () = cancel.cancelled() => return,
            }
            let is_time = tried.elapsed() >= AGAIN_EVERY;
            if is_time {
                tried = Instant::now();
            }
            let ticked = match self.go_on_with_parked(&mut engine, is_time) {
                Ok(()) => self.tick(&mut engine, began).await,
                Err(error) => Err(error),
            };
            if let Err(error) = ticked {
                error!(%error, "no root is posted any more until the oracle is started again");
                return;
            }
        }
    }

    fn go_on_with_parked(
        &self,
        engine: &mut Engine<Folder, Checked>,
        is_time: bool,
    ) -> Result<(), EngineError> {
        let next_era = self.next_era.load(Ordering::Relaxed);
        for (seq, what) in parked(engine.state(), self.settlement, next_era, is_time) {
            match what {
                Parked::Again if engine.unpark(seq) => {
                    info!(%seq, "the post of a root is tried again")
                }
                Parked::GivenUp if engine.give_up(seq)? => {
                    info!(%seq, next_era, "a post is given up: its eras are settled, or it is signed anew");
                }
                Parked::Again | Parked::GivenUp => {}
            }
        }
        Ok(())
    }

    /// Opens the engine: at once, or when the chain says whether there should be an outbox.
    async fn open(&self, cancel: &CancellationToken) -> Option<Engine<Folder, Checked>> {
        loop {
            let folder = Folder::new(&self.folder);
            let (chain, key) = (self.chain.clone(), self.key.clone());
            match Engine::open(folder, chain, key, self.setup.clone()).await {
                Ok(engine) => return Some(engine),
                Err(EngineError::Chain(error)) => {
                    warn!(%error, "the chain does not answer; trying again");
                }
                Err(error) => {
                    error!(%error, "no root is posted until somebody has looked");
                    return None;
                }
            }
            tokio::select! { () = sleep(OPEN_AGAIN) => {}, () = cancel.cancelled() => return None }
        }
    }

    async fn tick(
        &self,
        engine: &mut Engine<Folder, Checked>,
        began: Instant,
    ) -> Result<(), EngineError> {
        let unix_s = self.clock.now_ms() / 1000;
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let report = engine.tick(Moment { ms, unix_s }).await?;
        for error in report.errors {
            warn!(%error, "the engine could not find something out");
        }
        for notice in report.notices {
            match notice {
                Notice::Alarm(seq, alarm) => warn!(%seq, %alarm, "a post needs a look"),
                Notice::Mined { digest, .. } => info!(of = %digest, "a post is in a block"),
                Notice::Reorged { digest, .. } => {
                    warn!(of = %digest, "the block of a post vanished")
                }
                Notice::Safe { digest, .. } => info!(of = %digest, "the block of a post is safe"),
                Notice::Final { digest, how, .. } => {
                    info!(of = %digest, ?how, "a post cannot vanish any more");
                }
            }
        }
        let mut known = self.transactions.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that are over were written down by whoever asked.
        if known.len() > QUEUE {
            known.clear();
        }
        for entry in engine.state().open() {
            if let Stage::Mined(inclusion) | Stage::Safe(inclusion) = &entry.stage {
                known.insert(entry.intent.digest, inclusion.tx);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_settlement::call::{Call, Probe};
    use agent_settlement::outbox::{Intent, Purpose, Record};
    use agent_settlement::revert::{Class, Revert};

    fn revert(class: Class) -> Revert {
        Revert { words: "PoolTooSmall()".to_owned(), class }
    }

    /// Posts of roots up to these eras: one is queued, one is refused for good, one kept reverting.
    fn state() -> State {
        let intent = |seq, to: u64| {
            let at_least = U256::from(to + 1);
            let probe = Probe { to: Address::ZERO, data: Default::default(), word: 0, at_least };
            let call = Call { to: Address::ZERO, data: Default::default(), probe: Some(probe) };
            let digest = B256::repeat_byte(seq);
            let seq = Seq(u64::from(seq));
            Record::Intent(Intent { seq, digest, purpose: Purpose::Wanted, call })
        };
        let refused = ParkReason::Refused { revert: revert(Class::Terminal) };
        let keeps = ParkReason::KeepsReverting { times: 5, revert: revert(Class::Retryable) };
        let records = vec![
            intent(1, 7),
            intent(2, 8),
            intent(3, 9),
            Record::Parked { seq: Seq(2), reason: refused },
            Record::Parked { seq: Seq(3), reason: keeps },
        ];
        State::replay(Policy::default(), records).expect("records")
    }

    #[test]
    fn what_kept_reverting_is_tried_again_and_what_was_overtaken_is_given_up() {
        let of = |next_era, is_time| parked(&state(), Address::ZERO, next_era, is_time);
        assert_eq!(of(8, false), []);
        assert_eq!(of(8, true), [(Seq(3), Parked::Again)]);
        assert_eq!(of(9, false), [(Seq(2), Parked::GivenUp)]);
        assert_eq!(of(9, true), [(Seq(2), Parked::GivenUp), (Seq(3), Parked::Again)]);
        assert_eq!(of(10, true), [(Seq(2), Parked::GivenUp), (Seq(3), Parked::GivenUp)]);
        // Changes of state go to another contract.
        let of = parked(&state(), Address::repeat_byte(1), 8, false);
        assert_eq!(of, [(Seq(2), Parked::GivenUp), (Seq(3), Parked::GivenUp)]);
    }

    #[test]
    fn a_post_with_other_signatures_takes_the_place_of_the_one_before() {
        let state = state();
        let mut wanted = Wanted {
            digest: B256::repeat_byte(2),
            call: state.get(Seq(2)).expect("parked").intent.call.clone(),
        };
        assert_eq!(others(&state, &wanted), []);
        wanted.call.data = vec![1].into();
        assert_eq!(others(&state, &wanted), [Seq(2)]);
        wanted.digest = B256::repeat_byte(9);
        assert_eq!(others(&state, &wanted), []);
    }

    #[tokio::test]
    async fn a_queue_that_nobody_reads_is_told_from_one_that_is_full() {
        let (wanted, queue) = mpsc::channel(1);
        let (transactions, next_era) = (Transactions::default(), Arc::default());
        let dropped = Dropped::from(Mutex::new([B256::ZERO].into()));
        let is_closed = AtomicBool::new(false);
        let poster = Poster { wanted, transactions, next_era, dropped, is_closed };
        assert!(poster.was_dropped(&B256::ZERO) && !poster.was_dropped(&B256::ZERO), "said once");
        let call = Call { to: Address::ZERO, data: Default::default(), probe: None };
        let want = || poster.want(Wanted { digest: B256::ZERO, call: call.clone() });
        assert!(want() && !want());
        assert!(!poster.is_closed.load(Ordering::Relaxed), "it is full");
        drop(queue);
        assert!(!want());
        assert!(poster.is_closed.load(Ordering::Relaxed));
    }
}
