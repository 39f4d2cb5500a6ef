//! Blocking clients of the control socket and of init's socket, every step with a time-out.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use serde::Serialize;

use crate::control::{REPLY_MAX, Reply, Request, Secret, VERSION, Versioned};
use crate::hardware::{HealthReport, Series, Stretch};
use crate::init::{InitReply, InitRequest, SystemStatus};
use crate::network::{ClockReport, LookUpReport, PingReport};
use crate::pool::{BucketUse, PoolEvent, PoolStatus};
use crate::settlement::SettlementReport;
use crate::status::NodeStatus;
use crate::support::{Inventory, SUPPORT_ANSWER, SupportWritten};

/// How the answer to [`Request::Status`] begins, as [`Versioned`] writes it.
const STATUS_BEGINS: &[u8] = br#"{"v":1,"reply":"status","#;

/// Why a request got no useful answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Nobody listens, or this user may not connect.
    #[error("cannot connect to {path}: {source}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No complete answer came in time.
    #[error("{path}: no answer within {timeout_ms} ms")]
    TimedOut {
        /// The socket.
        path: PathBuf,
        /// How long was waited.
        timeout_ms: u128,
    },
    /// The connection broke.
    #[error("{path}: connection lost: {source}")]
    Lost {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The answer is not one this client understands.
    #[error("{path}: cannot understand the answer: {what}; are both of the same version?")]
    Misunderstood {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The service refused.
    #[error("refused: {reason}")]
    Refused {
        /// Why, in the words of the service.
        reason: String,
    },
}

/// A client of the agent's control socket. Connects when first asked and again after a failure.
#[derive(Debug)]
pub struct AgentClient(Line);

impl AgentClient {
    /// A client of the socket `path`, usually [`crate::control::SOCKET`], that waits at most
    /// `timeout` for each answer.
    #[must_use]
    pub fn new(path: &Path, timeout: Duration) -> Self {
        Self(Line::new(path, timeout))
    }

    /// The state of the node.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn status(&mut self) -> Result<NodeStatus, RequestError> {
        let reply = self.0.exchange(&Versioned::current(Request::Status), |answer| {
            // It is long and asked for all the time: to find out which reply it is while it is read takes twice as long.
            if answer.starts_with(STATUS_BEGINS) {
                let status = serde_json::from_slice(answer)?;
                return Ok(Versioned::current(Reply::Status(Box::new(status))));
            }
            serde_json::from_slice(answer)
        })?;
        match self.taken(reply)? {
            Reply::Status(status) => Ok(*status),
            other => Err(self.0.unexpected(&other)),
        }
    }

    /// The last `lines` lines of the log of all services, newest last.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn log_tail(&mut self, lines: u32) -> Result<Vec<String>, RequestError> {
        match self.ask(Request::LogTail { lines })? {
            Reply::LogTail { lines } => Ok(lines),
            other => Err(self.0.unexpected(&other)),
        }
    }

    /// The secret key of the user that the node made for itself.
    ///
    /// # Errors
    /// [`RequestError::Refused`] where there is none; else the other [`RequestError`]s.
    pub fn first_user_secret(&mut self) -> Result<Secret, RequestError> {
        match self.ask(Request::FirstUserSecret)? {
            Reply::FirstUserSecret { secret_key } => Ok(secret_key),
            other => Err(self.0.unexpected(&other)),
        }
    }

    /// Whether `pin` is the PIN of the console.
    ///
    /// # Errors
    /// [`RequestError::Refused`] where it is not or none is checked now; else the other
    /// [`RequestError`]s.
    pub fn check_pin(&mut self, pin: Secret) -> Result<(), RequestError> {
        self.accepted(Request::CheckPin { pin })
    }

    /// The state of the storage pool.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn pool(&mut self) -> Result<PoolStatus, RequestError> {
        match self.ask(Request::PoolStatus)? {
            Reply::PoolStatus(status) => Ok(*status),
            other => Err(self.0.unexpected(&other)),
        }
    }

    /// What happened to disks and data behind the event `since`, the oldest first.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn pool_events(&mut self, since: u64) -> Result<Vec<PoolEvent>, RequestError> {
        match self.ask(Request::PoolEvents { since })? {
            Reply::PoolEvents { events } => Ok(events),
            other => Err(self.0.unexpected(&other)),
        }
    }

    /// What all buckets hold and what was used of them, in the order of their numbers.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn bucket_usage(&mut self) -> Result<Vec<BucketUse>, RequestError> {
        let mut all: Vec<BucketUse> = Vec::new();
        loop {
            let after = all.last().map(|last| last.number);
            match self.ask(Request::BucketUsage { after })? {
                Reply::BucketUsage { buckets, more } => {
                    let is_last = !more || buckets.is_empty();
                    all.extend(buckets);
                    if is_last {
                        return Ok(all);
                    }
                }
                other => return Err(self.0.unexpected(&other)),
            }
        }
    }

    /// Has something decided that changes the storage pool, which then goes on by itself.
    ///
    /// # Errors
    /// [`RequestError::Refused`] with the reason; else the other [`RequestError`]s.
    pub fn change_pool(&mut self, change: Request) -> Result<(), RequestError> {
        self.accepted(change)
    }

    /// What the node says of its hardware.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn health(&mut self) -> Result<HealthReport, RequestError> {
        match self.ask(Request::Health)? {
            Reply::Health(report) => Ok(*report),
            other => Err(self.0.unexpected(&other)),
        }
    }

    /// What the node earned, and what its HP has to sign.
    ///
    /// # Errors
    /// [`RequestError::Refused`] where the configuration has no `[settlement]`; else the other [`RequestError`]s.
    pub fn settlement(&mut self) -> Result<SettlementReport, RequestError> {
        match self.ask(Request::Settlement)? {
            Reply::Settlement(report) => Ok(*report),
            other => Err(self.0.unexpected(&other)),
        }
    }

    /// The receipts of challenges of an era, as agent-sla writes them.
    ///
    /// # Errors
    /// [`RequestError::Refused`] where none can be read; else the other [`RequestError`]s.
    pub fn receipts(&mut self, era: u64) -> Result<Vec<serde_json::Value>, RequestError> {
        match self.ask(Request::Receipts { era })? {
            Reply::Receipts { receipts } => Ok(receipts),
            other => Err(self.0.unexpected(&other)),
        }
    }

    /// Has the network set up otherwise, as [`Request`] tells.
    ///
    /// # Errors
    /// [`RequestError::Refused`] with the reason; else the other [`RequestError`]s.
    pub fn change_network(&mut self, change: Request) -> Result<(), RequestError> {
        self.accepted(change)
    }

    /// Asks a machine for echoes, from the node.
    ///
    /// # Errors
    /// [`RequestError::Refused`] where its name is not known; else the other [`RequestError`]s.
    pub fn ping(&mut self, host: &str) -> Result<PingReport, RequestError> {
        match self.ask(Request::Ping { host: host.to_owned() })? {
            Reply::Ping(report) => Ok(report),
            other => Err(self.0.unexpected(&other)),
        }
    }

    /// Looks a name up, on the node.
    ///
    /// # Errors
    /// [`RequestError::Refused`] where it is not found; else the other [`RequestError`]s.
    pub fn look_up(&mut self, name: &str) -> Result<LookUpReport, RequestError> {
        match self.ask(Request::LookUp { name: name.to_owned() })? {
            Reply::LookUp(report) => Ok(report),
            other => Err(self.0.unexpected(&other)),
        }
    }

    /// How the node's clock stands against the time servers.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn test_clock(&mut self) -> Result<ClockReport, RequestError> {
        match self.ask(Request::ClockTest)? {
            Reply::ClockTest(report) => Ok(*report),
            other => Err(self.0.unexpected(&other)),
        }
    }

    /// The series that have a history.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn health_series(&mut self) -> Result<Vec<Series>, RequestError> {
        match self.ask(Request::HealthSeries)? {
            Reply::HealthSeries { series } => Ok(series),
            other => Err(self.0.unexpected(&other)),
        }
    }

    /// A stretch of the history of a series: times in milliseconds since 1970, and the step in
    /// milliseconds.
    ///
    /// # Errors
    /// [`RequestError::Refused`] where there is no such series; else the other [`RequestError`]s.
    pub fn health_history(
        &mut self,
        series: &str,
        (from_ms, to_ms): (u64, u64),
        step_ms: u64,
    ) -> Result<Stretch, RequestError> {
        let series = series.to_owned();
        match self.ask(Request::HealthHistory { series, from_ms, to_ms, step_ms })? {
            Reply::HealthHistory(stretch) => Ok(*stretch),
            other => Err(self.0.unexpected(&other)),
        }
    }

    /// Switches the locate LED of the slot of the disk with the lasting name `disk`.
    ///
    /// # Errors
    /// [`RequestError::Refused`] where the slot has none; else the other [`RequestError`]s.
    pub fn locate(&mut self, disk: &str, on: bool) -> Result<(), RequestError> {
        self.accepted(Request::Locate { disk: disk.to_owned(), on })
    }

    /// Has something done that only a person may decide: one of the requests about disks claimed by hand, the
    /// PIN, the first steps, the daemon key, and the factory reset.
    ///
    /// # Errors
    /// [`RequestError::Refused`] with the reason; else the other [`RequestError`]s.
    pub fn decide(&mut self, request: Request) -> Result<(), RequestError> {
        self.accepted(request)
    }

    /// The words from which the daemon key can be made again.
    ///
    /// # Errors
    /// [`RequestError::Refused`] where there is no key yet; else the other [`RequestError`]s.
    pub fn recovery_words(&mut self) -> Result<Secret, RequestError> {
        match self.ask(Request::RecoveryWords)? {
            Reply::RecoveryWords { words } => Ok(words),
            other => Err(self.0.unexpected(&other)),
        }
    }

    /// What the node is made of.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn inventory(&mut self) -> Result<Inventory, RequestError> {
        match self.ask(Request::Inventory)? {
            Reply::Inventory(inventory) => Ok(*inventory),
            other => Err(self.0.unexpected(&other)),
        }
    }

    /// Writes a support bundle to the stick that is labelled for it; waits for up to [`SUPPORT_ANSWER`].
    ///
    /// # Errors
    /// [`RequestError::Refused`] with the reason; else the other [`RequestError`]s.
    pub fn write_support(&mut self) -> Result<SupportWritten, RequestError> {
        let usual = std::mem::replace(&mut self.0.timeout, SUPPORT_ANSWER);
        let answer = self.ask(Request::WriteSupport);
        self.0.timeout = usual;
        match answer? {
            Reply::SupportWritten(written) => Ok(written),
            other => Err(self.0.unexpected(&other)),
        }
    }

    /// Powers the machine off.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn power_off(&mut self) -> Result<(), RequestError> {
        self.accepted(Request::PowerOff)
    }

    /// Restarts the machine.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn reboot(&mut self) -> Result<(), RequestError> {
        self.accepted(Request::Reboot)
    }

    fn accepted(&mut self, request: Request) -> Result<(), RequestError> {
        match self.ask(request)? {
            Reply::Accepted => Ok(()),
            other => Err(self.0.unexpected(&other)),
        }
    }

    fn ask(&mut self, request: Request) -> Result<Reply, RequestError> {
        let reply = self
            .0
            .exchange(&Versioned::current(request), |answer| serde_json::from_slice(answer))?;
        self.taken(reply)
    }

    /// What a reply says, if it is one that is understood and no refusal.
    fn taken(&self, reply: Versioned<Reply>) -> Result<Reply, RequestError> {
        match reply {
            Versioned { body: Reply::Refused { reason }, .. } => {
                Err(RequestError::Refused { reason })
            }
            Versioned { v: VERSION, body } => Ok(body),
            Versioned { v, .. } => Err(self.0.misunderstood(format!("version {v}"))),
        }
    }
}

/// A client of init's socket. Connects when first asked and again after a failure.
#[derive(Debug)]
pub struct InitClient(Line);

impl InitClient {
    /// A client of the socket `path`, usually [`crate::init::SOCKET`], that waits at most
    /// `timeout` for each answer.
    #[must_use]
    pub fn new(path: &Path, timeout: Duration) -> Self {
        Self(Line::new(path, timeout))
    }

    /// The state of the system.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn status(&mut self) -> Result<SystemStatus, RequestError> {
        match self.ask(InitRequest::Status)? {
            InitReply::Status(status) => Ok(*status),
            other => Err(self.refusal(other)),
        }
    }

    /// Powers the machine off.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn power_off(&mut self) -> Result<(), RequestError> {
        self.accepted(InitRequest::PowerOff)
    }

    /// Restarts the machine.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn reboot(&mut self) -> Result<(), RequestError> {
        self.accepted(InitRequest::Reboot)
    }

    /// Has the network set up otherwise, as [`InitRequest`] tells.
    ///
    /// # Errors
    /// [`RequestError::Refused`] with the reason; else the other [`RequestError`]s.
    pub fn change_network(&mut self, request: InitRequest) -> Result<(), RequestError> {
        self.accepted(request)
    }

    fn accepted(&mut self, request: InitRequest) -> Result<(), RequestError> {
        match self.ask(request)? {
            InitReply::Accepted => Ok(()),
            other => Err(self.refusal(other)),
        }
    }

    fn ask(&mut self, request: InitRequest) -> Result<InitReply, RequestError> {
        self.0.exchange(&request, |answer| serde_json::from_slice(answer))
    }

    fn refusal(&self, reply: InitReply) -> RequestError {
        match reply {
            InitReply::Refused { reason } => RequestError::Refused { reason },
            other => self.0.unexpected(&other),
        }
    }
}

/// One connection that carries a line each way per exchange. Any failure closes it, since a late
/// answer must never be taken for the answer to a later question.
#[derive(Debug)]
struct Line {
    path: PathBuf,
    timeout: Duration,
    stream: Option<UnixStream>,
}

impl Line {
    fn new(path: &Path, timeout: Duration) -> Self {
        Self { path: path.to_owned(), timeout, stream: None }
    }

    /// Asks a question; `read` reads the line that answers it.
    fn exchange<Q: Serialize, R>(
        &mut self,
        question: &Q,
        read: impl FnOnce(&[u8]) -> serde_json::Result<R>,
    ) -> Result<R, RequestError> {
        let deadline = Instant::now() + self.timeout;
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect_within(&self.path, self.timeout)
                .map_err(|source| RequestError::Connect { path: self.path.clone(), source })?,
        };
        let line = serde_json::to_vec(question)
            .map_err(|error| self.misunderstood(format!("cannot write the request: {error}")))?;
        // A PIN may be in it.
        let mut line = zeroize::Zeroizing::new(line);
        line.push(b'\n');
        stream
            .set_write_timeout(Some(self.timeout))
            .and_then(|()| stream.write_all(&line))
            .map_err(|source| self.broken(source))?;
        let answer = read_line(&mut stream, deadline).map_err(|source| self.broken(source))?;
        let answer = read(&answer).map_err(|error| self.misunderstood(error.to_string()))?;
        self.stream = Some(stream);
        Ok(answer)
    }

    fn broken(&self, source: io::Error) -> RequestError {
        let path = self.path.clone();
        match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                RequestError::TimedOut { path, timeout_ms: self.timeout.as_millis() }
            }
            _ => RequestError::Lost { path, source },
        }
    }

    fn misunderstood(&self, what: String) -> RequestError {
        RequestError::Misunderstood { path: self.path.clone(), what }
    }

    fn unexpected(&self, reply: &impl std::fmt::Debug) -> RequestError {
        let mut what = format!("{reply:?}");
        what.truncate(what.floor_char_boundary(80));
        self.misunderstood(format!("another kind of reply than asked for: {what}"))
    }
}

/// Connects, waiting at most `timeout` where the listener's queue is full.
fn connect_within(path: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(timeout))?;
    connect(&socket, &address)?;
    Ok(UnixStream::from(socket))
}

/// Reads up to the next line break, which must be the last byte that came.
fn read_line(stream: &mut UnixStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut chunk = [0_u8; 8192];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let read = match stream.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the other side"));
        }
        line.extend_from_slice(chunk.get(..read).unwrap_or_default());
        if line.last() == Some(&b'\n') {
            return Ok(line);
        }
        if line.len() > REPLY_MAX {
            let what = format!("answer longer than {REPLY_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
