//! Posting roots: one task owns the engine of the key that pays.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agent_settlement::abi::reference::post_errors;
use agent_settlement::call::{Seq, Wanted};
use agent_settlement::chain::checked::Checked;
use agent_settlement::engine::event::{Moment, Notice};
use agent_settlement::engine::policy::Policy;
use agent_settlement::engine::state::{Entry, QueueError, Stage, State};
use agent_settlement::engine::{Engine, EngineError, EnqueueError, Setup};
use agent_settlement::key::PayerKey;
use agent_settlement::outbox::{Folder, ParkReason};
use agent_sla::protocol::{B256, U256};
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

/// Roots that wait to be taken: there is one at a time, and after a reorganisation another.
const QUEUE: usize = 8;

/// How often a post that kept reverting is tried again: a pool that is filled, a pause or a window that ends are found
/// soon, and one that takes hours costs no more than a few reads of the chain each time.
const AGAIN_EVERY: Duration = Duration::from_secs(300);

/// The transactions by what they post.
type Transactions = Arc<Mutex<BTreeMap<B256, B256>>>;

/// Who posts.
#[derive(Debug)]
pub struct Poster {
    wanted: mpsc::Sender<Wanted>,
    transactions: Transactions,
    /// The era that the next root begins with, as far as is known.
    next_era: Arc<AtomicU64>,
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
        let policy = Policy {
            fee_cap_wei: config.fee_cap_wei,
            day_budget_wei: config.day_budget_wei,
            ..Policy::default()
        };
        let task = Task {
            folder: folder.to_owned(),
            chain: net.chain().clone(),
            key,
            setup: Setup { target: net.target(), policy, errors: post_errors() },
            transactions: Arc::clone(&transactions),
            next_era: Arc::clone(&next_era),
            clock,
        };
        tokio::spawn(task.run(queue, cancel));
        Self { wanted, transactions, next_era, is_closed: AtomicBool::new(false) }
    }

    /// Wants a root posted. Where the queue is full, it is to be wanted again.
    pub fn want(&self, wanted: Wanted) {
        match self.wanted.try_send(wanted) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                warn!("the queue of roots to be posted is full; trying again");
            }
            // Wanted at each look, and said once.
            Err(TrySendError::Closed(_)) if self.is_closed.swap(true, Ordering::Relaxed) => {}
            Err(TrySendError::Closed(_)) => {
                error!(
                    "a root waits and none is posted any more: see why above, and start the oracle again"
                );
            }
        }
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
    clock: Clock,
    transactions: Transactions,
    next_era: Arc<AtomicU64>,
}

/// What becomes of a post that is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parked {
    Again,
    GivenUp,
}

/// Which posts that are parked are tried again, if it is time for that, and which are given up: other roots have taken
/// their eras.
fn parked(state: &State, next_era: u64, is_time: bool) -> Vec<(Seq, Parked)> {
    let of = |entry: &Entry| {
        let Stage::Parked(reason) = &entry.stage else { return None };
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
                    match engine.enqueue(wanted) {
                        Ok(_) => {}
                        Err(EnqueueError::Queue(error @ QueueError::Full(_))) => {
                            warn!(%error, "a root is not queued; trying again");
                        }
                        Err(error) => error!(%error, "a root is not queued"),
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
        for (seq, what) in parked(engine.state(), next_era, is_time) {
            match what {
                Parked::Again if engine.unpark(seq) => {
                    info!(%seq, "the post of a root is tried again")
                }
                Parked::GivenUp if engine.give_up(seq)? => {
                    info!(%seq, next_era, "the post of a root is given up: its eras are settled");
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
                Notice::Alarm(seq, alarm) => warn!(%seq, %alarm, "the post of a root needs a look"),
                Notice::Mined { digest, .. } => info!(root = %digest, "a root is in a block"),
                Notice::Reorged { digest, .. } => warn!(root = %digest, "its block vanished"),
                Notice::Safe { digest, .. } => info!(root = %digest, "its block is safe"),
                Notice::Final { digest, how, .. } => {
                    info!(root = %digest, ?how, "its post cannot vanish any more");
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
    use agent_settlement::call::{Call, Probe};
    use agent_settlement::outbox::{Intent, Purpose, Record};
    use agent_settlement::revert::{Class, Revert};
    use agent_sla::protocol::Address;

    use super::*;

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
        let of = |next_era, is_time| parked(&state(), next_era, is_time);
        assert_eq!(of(8, false), []);
        assert_eq!(of(8, true), [(Seq(3), Parked::Again)]);
        assert_eq!(of(9, false), [(Seq(2), Parked::GivenUp)]);
        assert_eq!(of(9, true), [(Seq(2), Parked::GivenUp), (Seq(3), Parked::Again)]);
        assert_eq!(of(10, true), [(Seq(2), Parked::GivenUp), (Seq(3), Parked::GivenUp)]);
    }

    #[tokio::test]
    async fn a_queue_that_nobody_reads_is_told_from_one_that_is_full() {
        let (wanted, queue) = mpsc::channel(1);
        let (transactions, next_era) = (Transactions::default(), Arc::default());
        let poster = Poster { wanted, transactions, next_era, is_closed: AtomicBool::new(false) };
        let call = Call { to: Address::ZERO, data: Default::default(), probe: None };
        let want = || poster.want(Wanted { digest: B256::ZERO, call: call.clone() });
        want();
        want();
        assert!(!poster.is_closed.load(Ordering::Relaxed), "it is full");
        drop(queue);
        want();
        assert!(poster.is_closed.load(Ordering::Relaxed));
    }
}
