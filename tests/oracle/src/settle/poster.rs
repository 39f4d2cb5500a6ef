//! Posting roots: one task owns the engine of the key that pays.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agent_settlement::abi::reference::post_errors;
use agent_settlement::call::Wanted;
use agent_settlement::chain::checked::Checked;
use agent_settlement::engine::event::{Moment, Notice};
use agent_settlement::engine::policy::Policy;
use agent_settlement::engine::state::Stage;
use agent_settlement::engine::{Engine, EngineError, Setup};
use agent_settlement::key::PayerKey;
use agent_settlement::outbox::Folder;
use agent_sla::protocol::B256;
use tokio::sync::mpsc;
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

/// The transactions by what they post.
type Transactions = Arc<Mutex<BTreeMap<B256, B256>>>;

/// Who posts.
#[derive(Debug)]
pub struct Poster {
    wanted: mpsc::Sender<Wanted>,
    transactions: Transactions,
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
        let transactions = Transactions::default();
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
            clock,
        };
        tokio::spawn(task.run(queue, cancel));
        Self { wanted, transactions }
    }

    /// Wants a root posted. Where the queue is full, it is to be wanted again.
    pub fn want(&self, wanted: Wanted) {
        if self.wanted.try_send(wanted).is_err() {
            warn!("the queue of roots to be posted is full; trying again");
        }
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
}

impl Task {
    async fn run(self, mut queue: mpsc::Receiver<Wanted>, cancel: CancellationToken) {
        info!(account = %self.key.address(), "roots are posted by this account");
        let Some(mut engine) = self.open(&cancel).await else { return };
        let (mut ticks, began) = (interval(TICK), Instant::now());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // The engine's futures are not dropped before they end: nothing is awaited beside them.
            tokio::select! {
                _ = ticks.tick() => {}
                wanted = queue.recv() => {
                    let Some(wanted) = wanted else { return };
                    if let Err(error) = engine.enqueue(wanted) {
                        error!(%error, "a root is not queued");
                    }
                    continue;
                }
                () = cancel.cancelled() => return,
            }
            if let Err(error) = self.tick(&mut engine, began).await {
                error!(%error, "no root is posted any more until the oracle is started again");
                return;
            }
        }
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
