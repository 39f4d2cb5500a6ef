//! An oracle's side of settlement: what it knows, and the task that goes on with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_sla::protocol::key::{CannotSign, SigningKey};
use agent_sla::protocol::parameters::{Era, Parameters};
use agent_sla::protocol::settled::EraRoot;
use agent_sla::protocol::signed::{Signature, Signed};
use agent_sla::protocol::{Address, B256};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::admission::{Admission, Admits};
use super::book::{Book, BookError};
use super::compute::{Base, Computed, Ledger, Set, Terms, compute, without};
use super::config::SettleConfig;
use super::net::{Net, NetError, View};
use super::poster::Poster;
use super::states::States;
use super::tree::Tree;
use super::turn::Heard;
use super::voids::{Follower, Void, left_out};
use super::votes::{Store, VotesError};
use super::wire::Proposal;
use crate::clock::Clock;
use crate::log::LogError;
use crate::service::{Oracle, Vote};

/// How often the chain and the peers are looked at: one block of Base.
pub const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Why something is not done now; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The chain does not say.
    #[error(transparent)]
    Net(#[from] NetError),
    /// What is remembered cannot be read or written.
    #[error(transparent)]
    Book(#[from] BookError),
    /// Votes cannot be kept.
    #[error(transparent)]
    Votes(#[from] VotesError),
    /// A log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// No peer gave what a root on chain consists of.
    #[error(
        "no peer can say what root {number} ({digest}) consists of; is one of them within reach?"
    )]
    Unknown {
        /// Its number on chain.
        number: u64,
        /// Its digest.
        digest: B256,
    },
    /// Not all blocks that are safe could be read for votes that are void.
    #[error(
        "the chain has not come as far as disputes_from_block, or changes while it is read; try again"
    )]
    VoidsUnread,
    /// `disputes` is another contract.
    #[error(
        "disputes {contract} is not the Disputes of the settlement {settlement}: correct the file that --settlement names"
    )]
    OtherDisputes {
        /// What the file says.
        contract: Address,
        /// Of which it should be.
        settlement: Address,
    },
    /// The key cannot sign.
    #[error(transparent)]
    Sign(#[from] CannotSign),
    /// A task ended early.
    #[error("a computation ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// The newest root on chain, ready to prove leaves of.
#[derive(Debug)]
pub struct Stood {
    /// Its number on chain.
    pub number: u64,
    /// The root, and what it was computed from.
    pub proposal: Proposal,
    /// What nodes came to.
    pub ledger: Arc<Ledger>,
    /// Its nodes in the order of leaves.
    pub nodes: Vec<B256>,
    /// Its tree.
    pub tree: Tree,
    /// The votes that it was computed from; empty where they are not here.
    pub sets: Vec<Set>,
}

/// How far roots are.
#[derive(Debug, Clone)]
pub struct Tip {
    /// On chain.
    pub view: View,
    /// Roots that are final.
    pub finals: u64,
    /// What the next one is computed on top of.
    pub base: Arc<Base>,
    /// The newest one.
    pub stood: Option<Arc<Stood>>,
}

/// A root that is proposed: its digest, and its ledger.
pub(super) type Leading = (B256, EraRoot, Arc<Ledger>);

/// An oracle's side of settlement.
#[derive(Debug)]
pub struct Settler {
    pub(super) parameters: Parameters,
    pub(super) key: SigningKey,
    pub(super) config: SettleConfig,
    pub(super) store: Store,
    pub(super) book: Book,
    pub(super) net: Net,
    /// None where all votes count.
    pub(super) voids: Option<Follower>,
    pub(super) clock: Clock,
    admission: Option<Admission>,
    pub(super) poster: Option<Poster>,
    /// None where it proposes no changes of state, and signs none.
    pub(super) states: Option<States>,
    tip: Mutex<Option<Tip>>,
    /// What is proposed now, so that who comes to another root can find the first leaf that differs.
    pub(super) leading: Mutex<Option<Leading>>,
    /// A proposal of another oracle that was signed by some already.
    pub(super) adopted: Mutex<Option<Proposal>>,
    /// Votes that were asked for and not there: looks until they are asked for again, and how many they were last.
    pub(super) tries: Mutex<BTreeMap<(u64, Address), (u32, u32)>>,
    /// Eras of which all of our own votes are kept.
    pub(super) own: Mutex<BTreeSet<u64>>,
    /// How often the range that is proposed was begun anew.
    pub(super) rounds: Mutex<((u64, u64), u32)>,
    /// Held while a root is judged and signed: one after the other.
    pub(super) gate: tokio::sync::Mutex<()>,
}

impl Settler {
    /// Goes on with what is in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn start(
        mut config: SettleConfig,
        oracle: &Oracle,
        folder: &Path,
        cancel: CancellationToken,
    ) -> Result<Arc<Self>, SettleError> {
        let parameters = oracle.config().parameters.clone();
        let net = Net::new(config.chain.clone(), &parameters);
        let (store, book) =
            (Store::open(&folder.join("votes"), parameters.clone())?, Book::open(folder)?);
        let oracles = &parameters.oracles;
        let follow = |source| Follower::open(Some(&folder.join("voids")), source, oracles.clone());
        let voids = config.disputes.map(follow).transpose()?;
        let states = match (config.states.take(), config.registry) {
            (Some(rules), Some(registry)) => {
                Some(States::open(&folder.join("states"), rules, registry)?)
            }
            _ => None,
        };
        let clock = oracle.config().clock.clone();
        let gas_key = config.gas_key.take();
        let poster =
            gas_key.map(|key| Poster::start(folder, &net, key, &config, clock.clone(), cancel));
        Ok(Arc::new(Self {
            key: oracle.config().identity.key.clone(),
            parameters,
            store,
            book,
            admission: config.registry.map(Admission::new),
            config,
            net,
            voids,
            clock,
            poster,
            states,
            tip: Mutex::default(),
            leading: Mutex::default(),
            adopted: Mutex::default(),
            tries: Mutex::default(),
            own: Mutex::default(),
            rounds: Mutex::default(),
            gate: tokio::sync::Mutex::default(),
        }))
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.key.address()
    }

    /// Digest of its tariff.
    #[must_use]
    pub fn tariff(&self) -> B256 {
        self.config.tariff.digest()
    }

    /// How far roots are; none before the chain was first seen.
    #[must_use]
    pub fn tip(&self) -> Option<Tip> {
        self.tip.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_tip(&self, tip: Tip) {
        *self.tip.lock().unwrap_or_else(PoisonError::into_inner) = Some(tip);
    }

    /// What roots are signed by, and their digest.
    pub(super) fn digest(&self, root: &EraRoot) -> B256 {
        super::root_digest(root, &self.parameters)
    }

    /// Waits until nothing can be written any more.
    pub async fn broken(&self) {
        let voids = async {
            match self.voids.as_ref().and_then(Follower::log) {
                Some(log) => log.failed().cancelled().await,
                None => std::future::pending().await,
            }
        };
        let states = async {
            match &self.states {
                Some(states) => states.changes().log().failed().cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.store.log().failed().cancelled() => {}
            () = self.book.log().failed().cancelled() => {}
            () = voids => {}
            () = states => {}
        }
    }

    /// Looks at chain and peers, and does what is its turn, until cancelled.
    pub async fn run(self: Arc<Self>, oracle: Arc<Oracle>, cancel: CancellationToken) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = String::new();
        loop {
            tokio::select! { _ = ticks.tick() => {}, () = cancel.cancelled() => return }
            let going = self.go_on(&oracle);
            let done = tokio::select! { done = going => done, () = cancel.cancelled() => return };
            match done {
                Ok(()) if failing.is_empty() => {}
                Ok(()) => {
                    info!("settlement goes on");
                    failing.clear();
                }
                Err(error) => {
                    let words = error.to_string();
                    if words == failing {
                        debug!(%error, "settlement still waits");
                    } else {
                        warn!(%error, "settlement waits; challenges and votes go on, and it is tried again");
                        failing = words;
                    }
                }
            }
        }
    }

    /// One look.
    ///
    /// # Errors
    /// Something is not known now, or cannot be done.
    pub async fn go_on(&self, oracle: &Arc<Oracle>) -> Result<(), SettleError> {
        // Votes are fetched also while the chain is away: who asks later may find their oracle gone.
        let looked = self.look().await;
        let from = self.tip().map(|tip| tip.base.from);
        self.fetch(oracle, from).await?;
        looked?;
        // What is signed is posted, and daemons are admitted, also while it is not known which votes are void.
        let followed = self.follow_voids().await;
        let now = self.parameters.era_at(self.clock.now_ms());
        let refreshed = match (&self.admission, now) {
            (Some(admission), Some(Era(era))) => admission.refresh(&self.net, era).await,
            _ => Ok(()),
        };
        // Roots do not wait for the registry.
        self.lead().await?;
        let stated = self.lead_states().await;
        refreshed?;
        stated?;
        followed.map(drop)
    }

    /// Keeps a vote that somebody showed, if its oracle signed it. Two of one oracle on a node leave it out.
    ///
    /// # Errors
    /// It is not its oracle's, or cannot be kept.
    pub async fn witness(&self, vote: Vote) -> Result<(), SettleError> {
        let (era, oracle) = (Era(vote.message.era), vote.message.oracleId);
        self.store.merge(era, oracle, vec![vote]).await?;
        Ok(())
    }

    /// Whether the chain admits a daemon, as far as is known.
    #[must_use]
    pub fn admits(&self, daemon: &Address) -> Admits {
        self.admission.as_ref().map_or(Admits::No, |admission| admission.find(daemon))
    }

    /// What is known of the votes on an era.
    pub(super) fn heard(&self, era: u64) -> Heard {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner).contains(&era);
        let mut heard = Heard { own, ..Heard::default() };
        for oracle in &self.parameters.oracles {
            let conflict = matches!(self.store.conflict(Era(era), oracle), Ok(Some(_)));
            let set = self.store.set(Era(era), oracle).ok().flatten();
            let any = set.is_some_and(|votes| !votes.is_empty());
            heard.oracles += usize::from(conflict || any);
            heard.any |= any && !conflict;
        }
        heard
    }

    /// Reads which votes are void; whether that is known now.
    pub(super) async fn follow_voids(&self) -> Result<bool, SettleError> {
        match &self.voids {
            Some(voids) => voids.refresh(&self.net).await,
            None => Ok(true),
        }
    }

    /// What is left out of some eras; none while that is not known.
    pub(super) fn left_out(&self, from: u64, to: u64) -> Option<Vec<Void>> {
        match &self.voids {
            Some(voids) => voids.voids().map(|voids| left_out(&voids, from, to)),
            None => Some(Vec::new()),
        }
    }

    /// Computes a root without what is void, on a thread of its own.
    pub(super) async fn compute(
        &self,
        base: Arc<Base>,
        to: u64,
        sets: Vec<Set>,
        voided: Vec<Void>,
    ) -> Result<Computed, SettleError> {
        let (parameters, tariff) = (self.parameters.clone(), self.config.tariff.clone());
        let computing = tokio::task::spawn_blocking(move || {
            let sets = without(sets, &voided);
            compute(Terms { parameters: &parameters, tariff: &tariff }, &base, to, &sets)
        });
        Ok(computing.await?)
    }

    /// Signs a root of which nothing else was signed, after that is on stable storage. The gate is held.
    pub(super) async fn sign(
        &self,
        proposal: &Proposal,
        ledger: &Ledger,
    ) -> Result<Signature, SettleError> {
        let root = &proposal.root;
        let digest = self.digest(root);
        let signed = Signed::new(root.clone(), &self.parameters.domain(), &self.key)?;
        self.book.learn(digest, proposal.clone()).await?;
        self.book.keep_ledger(&digest, ledger)?;
        self.book.sign(digest, root.fromEra, signed.signature).await?;
        Ok(signed.signature)
    }
}
