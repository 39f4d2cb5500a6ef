//! What an oracle does with a request: asks the state, writes down what was decided, and answers when
//! that is on stable storage. No HTTP here.

mod bindings;
mod challenges;
mod eras;
mod restart;
mod sessions;
mod taken;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use agent_sla::protocol::messages::{Hello, Refusal};
use agent_sla::protocol::parameters::{Era, Parameters};
use agent_sla::protocol::signed::{Signed, SlaVote};
use agent_sla::protocol::{Address, B256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use crate::clock::Clock;
use crate::fault::Fault;
use crate::identity::Identity;
use crate::log::{Log, LogError, Pending, Turn};
use crate::record::Record;
use crate::reports::Reports;
use crate::settle::{Admits, Settler};
use crate::setup::Admitted;
use crate::state::{Speaker, State};
use crate::tally::Phase;

use bindings::Bindings;

pub use eras::{VOTES_BYTES_MAX, Votes};

/// Answers that are verified at once; each takes a thread of its own.
const VERIFYING_MAX: usize = 8;

/// After how many milliseconds to try again where the oracle itself cannot.
const RETRY_MS: u64 = 5_000;

/// Shortest and longest time, in milliseconds, that votes of an era wait for answers and reads that are
/// under way.
const GRACE_MS: (u64, u64) = (5_000, 60_000);

/// The longest time, in milliseconds, that a node has to answer: it reads 512 groups from disks that are
/// busy, and sends some 13 MiB.
const ANSWER_WITHIN_MAX_MS: u64 = 60_000;

/// What a server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Role {
    /// Everything.
    #[default]
    Oracle,
    /// Sessions and reports only.
    ReportStore,
}

/// How an oracle is run.
#[derive(Debug)]
pub struct Config {
    /// What its network goes by.
    pub parameters: Parameters,
    /// Who it is.
    pub identity: Identity,
    /// Whom it admits.
    pub admitted: Admitted,
    /// What it takes.
    pub role: Role,
    /// Its clock.
    pub clock: Clock,
    /// What it does wrong on purpose.
    pub fault: Fault,
    /// Bytes of reports that are kept at most.
    pub reports_max: u64,
}

/// Why an oracle does not start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum OracleError {
    /// A log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The parameters are of other oracles.
    #[error(
        "the parameters name the oracles {oracles}, and not {ours}, which this one is: take the address \
         into `oracles`, or name the folder with the other key"
    )]
    NotNamed {
        /// Those that are named.
        oracles: String,
        /// The address.
        ours: Address,
    },
    /// The key cannot sign.
    #[error("cannot sign a vote: {0}")]
    Sign(#[from] agent_sla::protocol::key::CannotSign),
    /// A task of the oracle ended early.
    #[error("a task ended before its work was done: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// An oracle.
#[derive(Debug)]
pub struct Oracle {
    config: Config,
    digest: B256,
    state: Mutex<State>,
    eras: Log,
    nodes: Log,
    reports: Reports,
    verifying: Semaphore,
    /// The votes of the closed era that was asked for last.
    asked: Mutex<Option<(Era, Votes)>>,
    reading: Semaphore,
    settler: OnceLock<Arc<Settler>>,
    bindings: Bindings,
}

/// A vote as it is given away.
pub type Vote = Signed<SlaVote>;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// From where.
    pub address: SocketAddr,
    /// SHA-256 of the certificate shown, if any was.
    pub certificate: Option<B256>,
}

impl Oracle {
    /// Starts with what is in a folder.
    ///
    /// # Errors
    /// The folder cannot be used, or the parameters are of other oracles.
    pub fn start(config: Config, folder: &Path) -> Result<Arc<Self>, OracleError> {
        let ours = config.identity.key.address();
        let oracles = &config.parameters.oracles;
        if config.role == Role::Oracle && !oracles.contains(&ours) {
            let oracles = oracles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(OracleError::NotNamed { oracles, ours });
        }
        let found = restart::restart(folder, &config)?;
        Ok(Arc::new(Self {
            digest: config.parameters.digest(),
            config,
            state: Mutex::new(found.state),
            eras: found.eras,
            nodes: found.nodes,
            reports: found.reports,
            verifying: Semaphore::new(VERIFYING_MAX),
            asked: Mutex::new(None),
            reading: Semaphore::new(1),
            settler: OnceLock::new(),
            bindings: found.bindings,
        }))
    }

    /// How it is run.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.config.identity.key.address()
    }

    /// Milliseconds since 1970 by its clock.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.config.clock.now_ms()
    }

    /// Who it is and what it goes by.
    #[must_use]
    pub fn hello(&self) -> Hello {
        Hello {
            oracle: self.address(),
            parameters: self.config.parameters.clone(),
            oracle_time: self.now_ms(),
        }
    }

    /// What is known.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reports.
    #[must_use]
    pub fn reports(&self) -> &Reports {
        &self.reports
    }

    /// Settles from now on; what is asked of roots is answered by `settler`. Only the first one counts.
    pub fn settle(&self, settler: Arc<Settler>) {
        let _first_counts = self.settler.set(settler);
    }

    /// Its side of settlement.
    ///
    /// # Errors
    /// It does not settle.
    pub fn settler(&self) -> Result<&Arc<Settler>, Refusal> {
        self.settler.get().ok_or_else(|| Refusal::Unknown { what: "settlement".to_owned() })
    }

    /// Waits until nothing can be written any more.
    pub async fn broken(&self) {
        tokio::select! {
            () = self.eras.failed().cancelled() => {}
            () = self.nodes.failed().cancelled() => {}
            () = self.reports.log().failed().cancelled() => {}
            () = self.bindings.failed() => {}
            () = settler_broken(self.settler.get()) => {}
        }
    }

    /// The era that it is.
    ///
    /// # Errors
    /// The first has not begun.
    pub fn era(&self) -> Result<Era, Refusal> {
        let (now, parameters) = (self.now_ms(), &self.config.parameters);
        let waits = parameters.begin_ms(Era(0)).saturating_sub(now);
        parameters.era_at(now).ok_or(Refusal::Busy { retry_after_ms: waits.max(1) })
    }

    /// How long votes of an era wait, in milliseconds.
    #[must_use]
    pub fn grace_ms(&self) -> u64 {
        grace_ms(&self.config.parameters)
    }

    /// Who speaks: whose session the certificate belongs to. Asked when the head of a request is there, so
    /// that a request of a process that ended is not taken for one that lives beside another.
    ///
    /// # Errors
    /// Nobody, two with one key, or one too often.
    pub async fn speaker(&self, peer: Peer) -> Result<Speaker, Refusal> {
        let certificate = peer.certificate.ok_or(Refusal::NoSession)?;
        let era = self.era()?;
        let turn = self.eras.turn().await.map_err(|_| busy())?;
        let heard = self.state().speak(&certificate, peer.address, era, self.now_ms());
        let speaker = match heard {
            Ok(speaker) => speaker,
            Err(turned) => return Err(self.turned(turned, era, turn).await),
        };
        if self.admits(&speaker.daemon) == Admits::No {
            self.state().dismiss(&speaker.daemon);
            return Err(Refusal::NotAdmitted { daemon: speaker.daemon });
        }
        Ok(speaker)
    }

    /// Whether a daemon is admitted: by the list, or else by the chain.
    #[must_use]
    pub fn admits(&self, daemon: &Address) -> Admits {
        match (self.config.admitted.find(daemon), self.settler.get()) {
            (Some(only), _) => Admits::For(only),
            (None, Some(settler)) => settler.admits(daemon),
            (None, None) => Admits::No,
        }
    }

    /// Room for one more request of a node, as long as it is kept.
    ///
    /// # Errors
    /// It has as many under way as it may.
    pub fn room(&self, speaker: &Speaker) -> Result<OwnedSemaphorePermit, Refusal> {
        let state = self.state();
        let node = state.node(&speaker.daemon).ok_or(Refusal::NoSession)?;
        let room = Arc::clone(&node.rooms).try_acquire_owned();
        room.map_err(|_| Refusal::Busy { retry_after_ms: RETRY_MS })
    }

    /// The refusal, once what was found out is on stable storage.
    async fn turned(&self, turned: crate::state::Turned, era: Era, turn: Turn<'_>) -> Refusal {
        let Some(record) = turned.record else { return turned.refusal };
        if let Refusal::Conflict { first, second } = &turned.refusal {
            warn!(%era, first, second, "two speak with one daemon key; no vote for this era");
        }
        match turn.append(era.0, &record.to_bytes()) {
            Ok(pending) => pending.wait().await.map_or_else(|_| busy(), |_| turned.refusal),
            Err(_) => busy(),
        }
    }

    /// Decides, takes the record into the state and hands it to the log, in one step: so the log has the
    /// records of an era in the order in which they were decided, and none behind its votes.
    async fn record<E: From<Refusal>>(
        &self,
        era: Era,
        decide: impl FnOnce(&mut State) -> Result<Record, E>,
    ) -> Result<Pending, E> {
        let turn = self.eras.turn().await.map_err(|_| busy())?;
        let mut state = self.state();
        if state.books.get(&era).is_some_and(|book| book.phase != Phase::Open) {
            return Err(Refusal::TooLate.into());
        }
        let record = decide(&mut state)?;
        let bytes = record.to_bytes();
        state.apply(era, record);
        turn.append(era.0, &bytes).map_err(|error| {
            warn!(%error, "a record was not written");
            busy().into()
        })
    }
}

async fn settler_broken(settler: Option<&Arc<Settler>>) {
    match settler {
        Some(settler) => settler.broken().await,
        None => std::future::pending().await,
    }
}

/// The oracle cannot write.
fn busy() -> Refusal {
    Refusal::Busy { retry_after_ms: RETRY_MS }
}

/// A request that is not what it should be.
fn malformed(reason: impl Into<String>) -> Refusal {
    Refusal::Malformed { reason: reason.into() }
}

fn era_ms(parameters: &Parameters) -> u64 {
    u64::from(parameters.era_seconds) * 1000
}

/// How long votes of an era wait, in milliseconds: a quarter of an era, within bounds.
#[must_use]
pub fn grace_ms(parameters: &Parameters) -> u64 {
    (era_ms(parameters) / 4).clamp(GRACE_MS.0, GRACE_MS.1)
}

/// Until when a challenge of an era can be answered that was asked at a moment: half an era, but well
/// before its votes.
fn deadline(parameters: &Parameters, era: Era, asked_at: u64) -> u64 {
    let within = (era_ms(parameters) / 2).min(ANSWER_WITHIN_MAX_MS);
    let end = parameters.begin_ms(Era(era.0.saturating_add(1)));
    let last = end.saturating_add(grace_ms(parameters) / 2);
    asked_at.saturating_add(within).min(last)
}

#[cfg(test)]
mod tests;
