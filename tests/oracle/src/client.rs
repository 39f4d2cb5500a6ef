//! A small client of oracles: what tests and simulated nodes speak with. Not the node's own, which
//! remembers, waits and tries again.

use std::net::SocketAddr;
use std::time::Duration;

use agent_sla::protocol::key::{CannotSign, SigningKey};
use agent_sla::protocol::messages::{
    ANSWER_MAX, Challenge, ChallengeAnswer, DeliverReports, Hello, OpenSession, Receipt, Refusal,
    ReportsTaken, S3Access, SessionOpened,
};
use agent_sla::protocol::parameters::{Era, Parameters};
use agent_sla::protocol::report::{Detail, Facts, SentReport, VERSION, hash};
use agent_sla::protocol::signed::{ChallengeRequest, HealthReport, Session, Signed};
use agent_sla::protocol::{Address, B256};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::canary::tls::pinned;
use crate::identity::{fingerprint, self_signed};

/// No answer takes longer, or the oracle hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// Why nothing came of a request.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection, or it broke.
    #[error("{what}: {reason}")]
    Broken {
        /// What was done.
        what: String,
        /// Why it did not work.
        reason: String,
    },
    /// The oracle says no.
    #[error("status {status}: {refusal}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// Why.
        refusal: Refusal,
    },
    /// Nothing was signed.
    #[error(transparent)]
    Sign(#[from] CannotSign),
}

fn broken(what: &str) -> impl Fn(String) -> ClientError + use<> {
    let what = what.to_owned();
    move |reason| ClientError::Broken { what: what.clone(), reason }
}

/// The oracle that is spoken with.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it listens.
    pub at: SocketAddr,
    /// The certificate that it shows.
    pub certificate: B256,
    /// Who it is.
    pub oracle: Address,
    /// What it goes by.
    pub parameters: Parameters,
}

/// A node in one of its processes.
#[derive(Debug)]
pub struct Party {
    /// The daemon key.
    pub key: SigningKey,
    /// The node's id.
    pub node: B256,
    /// Drawn by the process.
    pub instance: B256,
    certificate: CertificateDer<'static>,
    tls_key: PrivateKeyDer<'static>,
}

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Party {
    /// A process of a node, with a certificate of its own.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn new(key: SigningKey, node: B256, instance: B256) -> Result<Self, rcgen::Error> {
        let (certificate, tls_key) = self_signed("node")?;
        let tls_key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(tls_key));
        Ok(Self { key, node, instance, certificate, tls_key })
    }

    /// SHA-256 of its certificate.
    #[must_use]
    pub fn fingerprint(&self) -> B256 {
        fingerprint(&self.certificate)
    }

    /// The session of this process.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn session(
        &self,
        target: &Target,
        now_ms: u64,
        s3: Option<S3Access>,
    ) -> Result<OpenSession, CannotSign> {
        let message = Session {
            nodeId: self.node,
            oracleId: target.oracle,
            certificate: self.fingerprint(),
            instance: self.instance,
            openedAt: now_ms,
            configDigest: target.parameters.digest(),
        };
        let session = Signed::new(message, &target.parameters.domain(), &self.key)?;
        Ok(OpenSession { session, s3, binding: None })
    }

    /// A report with these facts and, perhaps, readings.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn report(
        &self,
        parameters: &Parameters,
        sequence: u64,
        now_ms: u64,
        facts: &Facts,
        detail: Option<&Detail>,
    ) -> Result<SentReport, CannotSign> {
        // A form of plain fields is always JSON.
        let facts: Box<RawValue> = to_raw_value(facts).unwrap_or_default();
        let detail: Box<RawValue> = to_raw_value(&detail).unwrap_or_default();
        let message = HealthReport {
            nodeId: self.node,
            sequence,
            takenAt: now_ms,
            factsHash: hash(&facts),
            detailHash: hash(&detail),
            configDigest: parameters.digest(),
        };
        let signed = Signed::new(message, &parameters.domain(), &self.key)?;
        Ok(SentReport { signed, facts, detail: Some(detail) })
    }

    /// A request for a challenge, for what `stored` commits to.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn request(
        &self,
        target: &Target,
        era: Era,
        nonce: B256,
        stored: ChallengeRequest,
    ) -> Result<Signed<ChallengeRequest>, CannotSign> {
        let message = ChallengeRequest {
            nodeId: self.node,
            oracleId: target.oracle,
            era: era.0,
            nonce,
            configDigest: target.parameters.digest(),
            ..stored
        };
        Signed::new(message, &target.parameters.domain(), &self.key)
    }

    /// Connects, from an address of this machine if one is given.
    ///
    /// # Errors
    /// There is no connection.
    pub async fn connect(
        &self,
        target: &Target,
        from: Option<SocketAddr>,
    ) -> Result<Connection, ClientError> {
        let ours = (self.certificate.clone(), self.tls_key.clone_key());
        Connection::open(target, Some(ours), from).await
    }
}

/// Facts of a healthy node.
#[must_use]
pub fn healthy(previous: Option<u64>) -> Facts {
    Facts {
        version: VERSION,
        self_reported: true,
        previous,
        software: "simulated".to_owned(),
        uptime_seconds: 1,
        state: "serving".to_owned(),
        clock_synchronised: Some(true),
        capacity: None,
        verdicts: Vec::new(),
        healthy: 12,
    }
}

impl Connection {
    /// Connects, with or without a certificate of one's own.
    ///
    /// # Errors
    /// There is no connection.
    pub async fn open(
        target: &Target,
        ours: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
        from: Option<SocketAddr>,
    ) -> Result<Self, ClientError> {
        let failed = broken(&format!("connecting to {}", target.at));
        let config = pinned(target.certificate, ours).map_err(|error| failed(error.to_string()))?;
        let connecting = async {
            let stream = connected(target.at, from).await.map_err(|error| error.to_string())?;
            let name = ServerName::from(target.at.ip());
            let stream = TlsConnector::from(config).connect(name, stream).await;
            let stream = stream.map_err(|error| error.to_string())?;
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())
        };
        let late = |_| Err("not in time".to_owned());
        let done = timeout(ANSWER_WITHIN, connecting).await.unwrap_or_else(late);
        let (sender, connection) = done.map_err(failed)?;
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender })
    }

    /// What the oracle says of itself.
    ///
    /// # Errors
    /// As of every request: a broken connection, or a refusal.
    pub async fn hello(&mut self) -> Result<Hello, ClientError> {
        self.ask(Method::GET, "/v1/parameters", Vec::new()).await
    }

    /// Opens a session.
    ///
    /// # Errors
    /// As [`Connection::hello`].
    pub async fn session(&mut self, asked: &OpenSession) -> Result<SessionOpened, ClientError> {
        self.post("/v1/sessions", asked).await
    }

    /// Delivers reports.
    ///
    /// # Errors
    /// As [`Connection::hello`].
    pub async fn reports(&mut self, reports: Vec<SentReport>) -> Result<ReportsTaken, ClientError> {
        self.post("/v1/reports", &DeliverReports { reports }).await
    }

    /// Opens a challenge.
    ///
    /// # Errors
    /// As [`Connection::hello`].
    pub async fn challenge(
        &mut self,
        request: &Signed<ChallengeRequest>,
    ) -> Result<Challenge, ClientError> {
        self.post("/v1/challenges", request).await
    }

    /// Answers a challenge.
    ///
    /// # Errors
    /// As [`Connection::hello`].
    pub async fn answer(
        &mut self,
        request: &B256,
        answer: &ChallengeAnswer,
    ) -> Result<Receipt, ClientError> {
        self.post(&format!("/v1/challenges/{request}"), answer).await
    }

    /// The votes of an era from a node on.
    ///
    /// # Errors
    /// As [`Connection::hello`].
    pub async fn votes(
        &mut self,
        era: Era,
        after: Option<B256>,
    ) -> Result<Vec<crate::service::Vote>, ClientError> {
        let behind = after.map_or_else(String::new, |node| format!("&after={node}"));
        self.ask(Method::GET, &format!("/v1/votes?era={era}{behind}"), Vec::new()).await
    }

    async fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        form: &impl Serialize,
    ) -> Result<T, ClientError> {
        let bytes = serde_json::to_vec(form).map_err(|error| broken(path)(error.to_string()))?;
        self.ask(Method::POST, path, bytes).await
    }

    /// Asks anything.
    ///
    /// # Errors
    /// As [`Connection::hello`].
    pub async fn ask<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        bytes: Vec<u8>,
    ) -> Result<T, ClientError> {
        let failed = broken(&format!("{method} {path}"));
        let request = Request::builder().method(method).uri(path).header("host", "oracle");
        let request = request.body(Full::from(bytes)).map_err(|error| failed(error.to_string()))?;
        let answering = async {
            self.sender.ready().await.map_err(|error| error.to_string())?;
            let answer =
                self.sender.send_request(request).await.map_err(|error| error.to_string())?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
            Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
        };
        let late = |_| Err("not in time".to_owned());
        let (status, body) =
            timeout(ANSWER_WITHIN, answering).await.unwrap_or_else(late).map_err(&failed)?;
        let words = |error: serde_json::Error| {
            failed(format!("{error} in {}", String::from_utf8_lossy(&body)))
        };
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(words);
        }
        let refusal = serde_json::from_slice(&body).map_err(words)?;
        Err(ClientError::Refused { status, refusal })
    }
}

async fn connected(at: SocketAddr, from: Option<SocketAddr>) -> std::io::Result<TcpStream> {
    let stream = match from {
        None => TcpStream::connect(at).await?,
        Some(from) => {
            let socket = if at.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.bind(from)?;
            socket.connect(at).await?
        }
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}
