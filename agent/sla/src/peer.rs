//! A session with one peer, and the delivery of reports in it.
//!
//! ```text
//! ask who it is -> compare -> open a session -> deliver, from behind what it says it has
//!       ^                                            |
//!       '----------- wait, by what went wrong -------'
//! ```

use std::convert::Infallible;
use std::mem::discriminant;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::client::{CallError, Client};
use crate::clock::Offset;
use crate::core::Core;
use crate::exchange::ExchangeError;
use crate::local::Unusable;
use crate::protocol::Address;
use crate::protocol::key::CannotSign;
use crate::protocol::messages::{Hello, OpenSession, Refusal, S3Access};
use crate::protocol::report::SentReport;
use crate::protocol::settled::SignedBinding;
use crate::protocol::signed::{Session, Signed};
use crate::status::LinkState;
use crate::words::{reasons, shown};

/// How often an idle session is looked at, and the clocks are compared.
const LOOK: Duration = Duration::from_secs(300);

/// How far ahead of now a sequence may be that a peer says it has: 100 years. Sequences are milliseconds
/// of a clock that may have been wrong, but are not used up within any time.
const AHEAD_MAX_MS: u64 = 100 * 365 * 86_400_000;

/// How often it is looked whether the oracle would be told something else: S3 is served only some time after the
/// node began, its users can be changed, and bindings are made anew.
const TOLD_LOOK: Duration = Duration::from_secs(10);

/// How long a session lasts that counts as a good one: waits begin anew after it.
const STEADY: Duration = Duration::from_secs(60);

/// The longest and shortest wait that a peer may ask for.
const BUSY: (u64, u64) = (100, 60_000);

/// What is known between the two tasks of one oracle.
pub(crate) struct Link {
    /// Whether a session is open.
    pub(crate) open: watch::Sender<bool>,
    /// The oracle does not know the session any more: it is opened again.
    pub(crate) lost: Notify,
}

impl Link {
    pub(crate) fn new() -> Self {
        Self { open: watch::Sender::new(false), lost: Notify::new() }
    }
}

/// One peer.
pub(crate) struct PeerTask {
    pub(crate) core: Arc<Core>,
    /// Its place in the status.
    pub(crate) place: usize,
    /// What people call it, and what its cursor is kept by.
    pub(crate) name: String,
    pub(crate) cursor: String,
    /// None for a report store.
    pub(crate) oracle: Option<Address>,
    pub(crate) client: Client,
    pub(crate) link: Arc<Link>,
    /// All peers' cursors, for the status.
    pub(crate) peers: Arc<Vec<String>>,
}

/// What an oracle is told of the node as a session begins.
#[derive(Clone, Default, PartialEq, Eq)]
struct Told {
    s3: Option<S3Access>,
    binding: Option<SignedBinding>,
}

/// Why a session is not opened, or ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("it goes by other parameters: {}", .0.join("; "))]
    Parameters(Vec<String>),
    #[error(transparent)]
    Sign(#[from] CannotSign),
    #[error(transparent)]
    Memory(#[from] Unusable),
    /// It took none of the reports that it was sent.
    #[error("it took none of the reports that it was sent")]
    NothingTaken,
    /// The oracle was told another way to the node's S3, or another binding, than there is now.
    #[error("the node's S3 is reached in another way now, or its binding is another")]
    Moved,
}

/// What happens next.
enum Next {
    /// Try again, later each time.
    Later,
    /// Try again in minutes: a person has to act.
    Person,
    /// Try again when the peer said.
    In(Duration),
}

impl PeerTask {
    /// Speaks with the peer for ever.
    pub(crate) async fn run(self) {
        self.core.local.settled().await;
        let mut failures = 0;
        loop {
            let begun = Instant::now();
            let ended = match self.open().await {
                Ok((delivered, told)) => {
                    self.turn(LinkState::InSession { since: self.core.clock.now_ms() }, None);
                    self.link.open.send_replace(true);
                    let Err(ended) = self.serve(delivered, told).await;
                    if matches!(ended, Ended::Moved) {
                        continue;
                    }
                    self.link.open.send_replace(false);
                    if begun.elapsed() >= STEADY {
                        failures = 0;
                    }
                    ended
                }
                Err(ended) => ended,
            };
            failures += 1;
            // A session that the peer forgot is opened at once, if opening it did not fail.
            let forgotten = |ended: &Ended| {
                matches!(ended, Ended::Call(CallError::Refused { refusal: Refusal::NoSession, .. }))
            };
            let (state, next) = self.judge(&ended);
            if !forgotten(&ended) || failures > 1 {
                self.turn(state, Some(&ended));
            }
            let pace = &self.core.pace;
            let wait = match next {
                Next::Later => pace.after_failures(&self.name, failures),
                Next::Person => pace.after_refusal(&self.name, failures),
                Next::In(wait) => wait,
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Opens a session, and says what the peer has.
    async fn open(&self) -> Result<(Option<u64>, Told), Ended> {
        let core = &self.core;
        let hello = self.hello().await?;
        let mut differences = core.config.parameters.differences(&hello.parameters);
        if let Some(expected) = self.oracle.filter(|expected| *expected != hello.oracle) {
            differences.push(format!("address: {expected} here, {} there", hello.oracle));
        }
        if !differences.is_empty() {
            return Err(Ended::Parameters(differences));
        }
        let message = Session {
            nodeId: core.config.node_id,
            oracleId: hello.oracle,
            certificate: core.certificate,
            instance: core.instance,
            openedAt: core.clock.now_ms(),
            configDigest: core.digest,
        };
        let session = Signed::new(message, &core.domain, &core.key)?;
        let told = self.told();
        let Told { s3, binding } = told.clone();
        let opened = self.client.open(&OpenSession { session, s3, binding }).await?;
        Ok((self.taken(opened.delivered).await?, told))
    }

    /// What an oracle is told now; a report store is told nothing.
    fn told(&self) -> Told {
        let Some(oracle) = self.oracle else { return Told::default() };
        let node = &self.core.node;
        Told { s3: node.s3_access(oracle), binding: node.binding() }
    }

    /// Asks who the peer is, and compares the clocks.
    async fn hello(&self) -> Result<Hello, CallError> {
        let left = self.core.clock.now_ms();
        let hello = self.client.hello().await?;
        let offset = Offset::measured(left, hello.oracle_time, self.core.clock.now_ms());
        self.core.measured(self.place, &self.name, offset);
        Ok(hello)
    }

    /// Delivers reports until something is wrong.
    async fn serve(&self, mut has: Option<u64>, told: Told) -> Result<Infallible, Ended> {
        let mut latest = self.core.latest.subscribe();
        let mut look = Instant::now() + LOOK;
        loop {
            latest.borrow_and_update();
            let now = self.core.clock.now_ms();
            let reports = self.core.local.with(move |memory| memory.reports(has, now)).await?;
            if reports.is_empty() {
                tokio::select! {
                    _ = latest.changed() => {}
                    () = self.link.lost.notified() => return Err(self.forgotten()),
                    () = tokio::time::sleep(TOLD_LOOK) => {}
                }
                if self.told() != told {
                    return Err(Ended::Moved);
                }
                if Instant::now() >= look {
                    self.hello().await?;
                    look = Instant::now() + LOOK;
                }
            } else {
                has = self.deliver(reports, has).await?;
                self.core.refresh(Arc::clone(&self.peers)).await?;
            }
        }
    }

    /// Delivers reports, and says what the peer has then.
    async fn deliver(
        &self,
        reports: Vec<SentReport>,
        has: Option<u64>,
    ) -> Result<Option<u64>, Ended> {
        let sequence = |report: &SentReport| report.signed.message.sequence;
        let Some(last) = reports.last().map(sequence) else { return Ok(has) };
        // Reports from before the parameters were changed are of another contract or network.
        let (ours, digest) = (self.core.config.node_id, self.core.digest);
        let current: Vec<_> = reports
            .into_iter()
            .map(|report| (sequence(&report), report))
            .filter(|(_, SentReport { signed, .. })| {
                signed.message.configDigest == digest && signed.message.nodeId == ours
            })
            .collect();
        if current.is_empty() {
            self.remember(last).await?;
            return Ok(Some(last));
        }
        let many = current.len() > 1;
        match self.client.deliver(current.iter().map(|(_, report)| report.clone()).collect()).await
        {
            Ok(taken) => self.progress(taken.delivered, has, last).await,
            Err(CallError::Refused { refusal, .. }) if refuses_content(&refusal) => {
                if many {
                    return self.deliver_singly(current, has).await;
                }
                error!(peer = self.name, sequence = last, %refusal, "a report is left out");
                self.remember(last).await?;
                Ok(Some(last))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Delivers reports one by one, and leaves out those that the peer never takes.
    async fn deliver_singly(
        &self,
        reports: Vec<(u64, SentReport)>,
        mut has: Option<u64>,
    ) -> Result<Option<u64>, Ended> {
        for (sequence, report) in reports {
            match self.client.deliver(vec![report]).await {
                Ok(taken) => has = self.progress(taken.delivered, has, sequence).await?,
                Err(CallError::Refused { refusal, .. }) if refuses_content(&refusal) => {
                    error!(peer = self.name, sequence, %refusal, "a report is left out");
                    self.remember(sequence).await?;
                    has = Some(sequence);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(has)
    }

    /// What the peer has, after it was sent everything up to `last`.
    async fn progress(
        &self,
        delivered: u64,
        has: Option<u64>,
        last: u64,
    ) -> Result<Option<u64>, Ended> {
        let now = Some(delivered.min(last));
        if now <= has {
            return Err(Ended::NothingTaken);
        }
        self.remember(delivered.min(last)).await?;
        Ok(now)
    }

    /// Takes what a peer says at the beginning of a session. Where it has more than is remembered, as
    /// after a volume was lost, later reports go on behind that.
    async fn taken(&self, delivered: Option<u64>) -> Result<Option<u64>, Ended> {
        let Some(delivered) = delivered else { return Ok(None) };
        let now = self.core.clock.now_ms();
        let (cursor, name) = (self.cursor.clone(), self.name.clone());
        let taken = self.core.local.with(move |memory| {
            if memory.last().is_none_or(|last| delivered > last) {
                if delivered > now.saturating_add(AHEAD_MAX_MS) {
                    error!(peer = name, delivered, "says that it has a report that was never made");
                    return memory.cursor(&cursor);
                }
                warn!(peer = name, delivered, "has later reports than the node remembers");
                memory.raise(delivered);
            }
            memory.delivered(&cursor, delivered, now);
            Some(delivered)
        });
        Ok(taken.await?)
    }

    async fn remember(&self, sequence: u64) -> Result<(), Ended> {
        let (cursor, now) = (self.cursor.clone(), self.core.clock.now_ms());
        let kept = self.core.local.with(move |memory| memory.delivered(&cursor, sequence, now));
        Ok(kept.await?)
    }

    fn forgotten(&self) -> Ended {
        let path = "/v1/challenges".to_owned();
        CallError::Refused { path, refusal: Refusal::NoSession }.into()
    }

    /// What is shown and done after a session ended, or was not opened.
    fn judge(&self, ended: &Ended) -> (LinkState, Next) {
        let unreachable = || {
            let now = self.core.clock.now_ms();
            let since = match self.state() {
                Some(LinkState::Unreachable { since, .. }) => since,
                _ => now,
            };
            LinkState::Unreachable { since, why: shown(&ended.to_string()) }
        };
        let call = match ended {
            Ended::Call(call) => call,
            Ended::Parameters(differences) => {
                let differences = reasons(differences);
                return (LinkState::OtherParameters { differences }, Next::Person);
            }
            Ended::Sign(_) | Ended::Memory(_) | Ended::NothingTaken | Ended::Moved => {
                return (unreachable(), Next::Later);
            }
        };
        match call {
            CallError::Exchange(ExchangeError::WrongCertificate { expected, found, .. }) => {
                let (expected, found) = (*expected, *found);
                (LinkState::WrongCertificate { expected, found }, Next::Person)
            }
            CallError::Refused { refusal, .. } => match refusal {
                Refusal::NotAdmitted { daemon } => {
                    (LinkState::NotAdmitted { daemon: *daemon }, Next::Person)
                }
                Refusal::Conflict { first, second } => {
                    let (first, second) = (shown(first), shown(second));
                    (LinkState::Conflict { first, second }, Next::Person)
                }
                Refusal::OtherParameters => {
                    let differences = vec!["the oracle does not say which".to_owned()];
                    (LinkState::OtherParameters { differences }, Next::Person)
                }
                Refusal::Skew { skew_ms } => (LinkState::ClockSkew { ms: *skew_ms }, Next::Person),
                Refusal::Busy { retry_after_ms } => {
                    let wait = Duration::from_millis((*retry_after_ms).clamp(BUSY.0, BUSY.1));
                    (unreachable(), Next::In(wait))
                }
                Refusal::NoSession
                | Refusal::WrongEra { .. }
                | Refusal::Replayed
                | Refusal::TooLate
                | Refusal::Malformed { .. }
                | Refusal::Unknown { .. }
                | Refusal::BadSignature { .. } => (unreachable(), Next::Later),
            },
            CallError::Exchange(_) | CallError::Form { .. } | CallError::TooLong { .. } => {
                (unreachable(), Next::Later)
            }
        }
    }

    fn state(&self) -> Option<LinkState> {
        self.core.status.borrow().peers.get(self.place).map(|peer| peer.link.clone())
    }

    /// Shows a state, and says in the log what changed.
    fn turn(&self, state: LinkState, why: Option<&Ended>) {
        let before = self.state();
        if before.as_ref().map(discriminant) != Some(discriminant(&state)) {
            let peer = &self.name;
            match why {
                None => info!(peer, "in session"),
                Some(error) => {
                    let error = shown(&error.to_string());
                    warn!(peer, error, state = %state, "no session");
                }
            }
        }
        self.core.say(self.place, |peer| peer.link = state);
    }
}

/// Whether a refusal is about what a report says, so that it is refused each time.
fn refuses_content(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Malformed { .. } | Refusal::BadSignature { .. })
}
