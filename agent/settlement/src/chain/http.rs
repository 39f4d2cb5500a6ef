//! JSON-RPC over HTTP/1.1, with TLS by the agent's one provider (ring). One request at a time on a connection
//! of its own: a few hundred an hour need no pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agent_dial::Dialer;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::ChainError;

/// The longest answer in bytes: code of a contract is at most 24 KiB (EIP-170), and a list of 300 nodes 1 MiB.
const ANSWER_MAX: usize = 4 << 20;

/// How long an answer may take: servers that are asked for much take seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// The longest words of a server that are kept, in characters.
const WORDS_MAX: usize = 300;

/// A server.
#[derive(Clone)]
pub struct Server {
    uri: Uri,
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    within: Duration,
    dialer: Dialer,
    next: Arc<AtomicU64>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// Why a URL is none of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is no URL with a host.
    #[error("the URL of an RPC server is https://HOST or http://HOST, with port and path")]
    Form,
    /// TLS cannot be had with it.
    #[error(
        "the host of the RPC server is no name that a certificate can be of, or TLS cannot be set up"
    )]
    Tls,
}

#[derive(Deserialize)]
struct Answer {
    id: Option<u64>,
    result: Option<Value>,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    code: i64,
    #[serde(default)]
    message: String,
    data: Option<Value>,
}

/// TLS that believes the certificate authorities that browsers do.
///
/// # Errors
/// The provider has none of the protocol's versions.
pub fn public_tls() -> Result<Arc<rustls::ClientConfig>, rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

impl Server {
    /// The server at a URL, whose path may hold a secret: it appears nowhere else. `tls` is used for https.
    ///
    /// # Errors
    /// It is no URL of one.
    pub fn new(url: &str, tls: &Arc<rustls::ClientConfig>) -> Result<Self, UrlError> {
        let uri: Uri = url.parse().map_err(|_| UrlError::Form)?;
        let host = uri.host().ok_or(UrlError::Form)?.trim_matches(['[', ']']).to_owned();
        let (tls, port) = match uri.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => {
                let name = ServerName::try_from(host.clone()).map_err(|_| UrlError::Tls)?;
                (Some((TlsConnector::from(Arc::clone(tls)), name)), 443)
            }
            _ => return Err(UrlError::Form),
        };
        let port = uri.port_u16().unwrap_or(port);
        let (within, dialer) = (ANSWER_WITHIN, Dialer::default());
        Ok(Self { uri, host, port, tls, within, dialer, next: Arc::default() })
    }

    /// Another time in which it has to answer.
    #[must_use]
    pub fn answering_within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// Reached by this dialer: perhaps through a proxy.
    #[must_use]
    pub fn dialled_by(self, dialer: &Dialer) -> Self {
        Self { dialer: dialer.clone(), ..self }
    }

    /// What it is called in errors: host and port.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Asks, and returns the result; null is one.
    ///
    /// # Errors
    /// There is no answer, or it is none to this question, or it is an error.
    pub async fn ask(&self, method: &'static str, params: Value) -> Result<Value, ChainError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let answered = tokio::time::timeout(self.within, self.exchange(body.to_string())).await;
        let bytes = answered
            .map_err(|_| format!("not within {} s", self.within.as_secs_f32()))
            .and_then(|result| result)
            .map_err(|reason| self.no_answer(method, reason))?;
        let malformed =
            |reason: String| ChainError::Malformed { server: self.name(), method, reason };
        let answer: Answer =
            serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        if answer.id != Some(id) {
            return Err(malformed(format!("it is to question {:?}, not {id}", answer.id)));
        }
        match answer.error {
            None => Ok(answer.result.unwrap_or(Value::Null)),
            Some(failure) => Err(ChainError::Refused {
                server: self.name(),
                method,
                code: failure.code,
                message: failure.message.chars().take(WORDS_MAX).collect(),
                data: failure.data.as_ref().and_then(revert_data),
            }),
        }
    }

    fn no_answer(&self, method: &'static str, reason: String) -> ChainError {
        ChainError::NoAnswer { server: self.name(), method, reason }
    }

    async fn exchange(&self, body: String) -> Result<Bytes, String> {
        let stream = self.dialer.connect(&self.host, self.port).await.map_err(words)?;
        match &self.tls {
            None => self.over(stream, body).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await;
                self.over(stream.map_err(|error| format!("TLS: {error}"))?, body).await
            }
        }
    }

    async fn over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        body: String,
    ) -> Result<Bytes, String> {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(words)?;
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::post(path)
            .header(header::HOST, self.name())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(words)?;
        let asked = async {
            let response = sender.send_request(request).await.map_err(words)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
            let bytes = body.map_err(words)?.to_bytes();
            // An error of JSON-RPC may come with any status; without one, the status is all there is.
            match status.is_success() || bytes.trim_ascii().starts_with(b"{") {
                true => Ok(bytes),
                false => Err(format!("HTTP status {status}")),
            }
        };
        tokio::pin!(asked);
        tokio::select! {
            result = &mut asked => result,
            ended = connection => match ended {
                // The connection may end before the answer was looked at.
                Ok(()) => asked.await,
                Err(error) => Err(words(error)),
            },
        }
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The bytes of a revert: servers say them as text, or in an object.
fn revert_data(data: &Value) -> Option<alloy::primitives::Bytes> {
    let text = data.as_str().or_else(|| data.get("data").and_then(Value::as_str))?;
    text.parse().ok()
}
