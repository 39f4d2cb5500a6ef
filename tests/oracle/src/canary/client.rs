//! The oracle as an S3 tenant of a node: requests signed by rusty-s3, carried by hyper.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use agent_sla::protocol::Address;
use agent_sla::protocol::messages::S3Access;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rusty_s3::actions::{CreateBucket, DeleteObject, GetObject, PutObject};
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Endpoint, may_dial, tls};

/// How long connecting may take, handshake included.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// How long an answer may take: 4 MiB at 1 Mbit/s are 34 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(40);

/// How long a signature counts; clocks may be apart by a minute.
const SIGNED_FOR: Duration = Duration::from_secs(600);

/// Bytes of an answer that is none of an object: an error's document.
const DOCUMENT_MAX: usize = 64 << 10;

/// Why a write or read failed.
#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    /// No endpoint can be reached.
    #[error("cannot connect to {endpoint}: {reason}")]
    Connect {
        /// Which.
        endpoint: String,
        /// Why not.
        reason: String,
    },
    /// No answer came.
    #[error("{method} {key}: no answer: {reason}")]
    Answer {
        /// What was asked.
        method: Method,
        /// Of which object.
        key: String,
        /// Why not.
        reason: String,
    },
    /// Another answer than was wanted.
    #[error("{method} {key}: status {status}")]
    Status {
        /// What was asked.
        method: Method,
        /// Of which object.
        key: String,
        /// What was answered.
        status: StatusCode,
    },
    /// Other bytes than were written.
    #[error("{key}: other bytes than were written")]
    Bytes {
        /// Which object.
        key: String,
    },
}

/// A connection to a node's S3.
pub struct Tenant {
    sender: SendRequest<Full<Bytes>>,
    bucket: Bucket,
    credentials: Credentials,
    host: String,
}

impl std::fmt::Debug for Tenant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tenant").field("host", &self.host).finish_non_exhaustive()
    }
}

/// The bucket of an oracle on each node.
#[must_use]
fn bucket_name(oracle: &Address) -> String {
    format!("icn-canary-{}", hex::encode(oracle))
}

impl Tenant {
    /// Connects to the first endpoint that answers, for a node that speaks from `peer`.
    ///
    /// # Errors
    /// None does.
    pub async fn connect(
        access: &S3Access,
        oracle: &Address,
        peer: IpAddr,
    ) -> Result<Self, CanaryError> {
        let mut last = None;
        for endpoint in &access.endpoints {
            let connecting = Self::open(access, endpoint, oracle, peer);
            let reason = match timeout(CONNECT_WITHIN, connecting).await {
                Ok(Ok(tenant)) => return Ok(tenant),
                Ok(Err(reason)) => reason,
                Err(_) => format!("not within {} s", CONNECT_WITHIN.as_secs()),
            };
            last = Some(CanaryError::Connect { endpoint: endpoint.clone(), reason });
        }
        let none =
            || CanaryError::Connect { endpoint: String::new(), reason: "no endpoint".into() };
        Err(last.unwrap_or_else(none))
    }

    async fn open(
        access: &S3Access,
        text: &str,
        oracle: &Address,
        peer: IpAddr,
    ) -> Result<Self, String> {
        let endpoint = Endpoint::parse(text)?;
        let words = |error: std::io::Error| error.to_string();
        let found = lookup_host((endpoint.host(), endpoint.port)).await.map_err(words)?;
        // The very address that was looked at: a name may lead elsewhere the next time.
        let allowed: Vec<SocketAddr> = found.filter(|at| may_dial(peer, at.ip())).collect();
        if allowed.is_empty() {
            return Err("no address that the oracle may speak to".to_owned());
        }
        let stream = TcpStream::connect(allowed.as_slice()).await.map_err(words)?;
        stream.set_nodelay(true).map_err(words)?;
        let sender = match (endpoint.is_tls, access.certificate) {
            (false, _) => handshake(stream).await?,
            (true, None) => return Err("https, but the node told no certificate".to_owned()),
            (true, Some(certificate)) => {
                let config = tls::pinned(certificate, None).map_err(|error| error.to_string())?;
                // No name is compared, but one must be said.
                let name = ServerName::try_from(endpoint.host().to_owned())
                    .map_err(|_| "the host is no name".to_owned())?;
                let stream =
                    TlsConnector::from(config).connect(name, stream).await.map_err(words)?;
                handshake(stream).await?
            }
        };
        let url = text.parse().map_err(|_| "no URL".to_owned())?;
        let name = bucket_name(oracle);
        let bucket = Bucket::new(url, UrlStyle::Path, name, access.region.clone())
            .map_err(|error| error.to_string())?;
        let credentials = Credentials::new(access.access_key.clone(), access.secret_key.clone());
        let host = bucket.base_url().authority().to_owned();
        Ok(Self { sender, bucket, credentials, host })
    }

    /// Makes the bucket, unless it is there.
    ///
    /// # Errors
    /// It is not there afterwards.
    pub async fn make_bucket(&mut self) -> Result<(), CanaryError> {
        let url = CreateBucket::new(&self.bucket, &self.credentials).sign(SIGNED_FOR).to_string();
        let (status, _) = self.ask(Method::PUT, "", &url, None, Bytes::new(), DOCUMENT_MAX).await?;
        match status {
            StatusCode::OK | StatusCode::CONFLICT => Ok(()),
            status => Err(CanaryError::Status { method: Method::PUT, key: String::new(), status }),
        }
    }

    /// Writes an object.
    ///
    /// # Errors
    /// It was not taken.
    pub async fn put(&mut self, key: &str, bytes: Vec<u8>) -> Result<(), CanaryError> {
        let action = PutObject::new(&self.bucket, Some(&self.credentials), key);
        let url = action.sign(SIGNED_FOR).to_string();
        self.wanted(Method::PUT, key, &url, None, bytes.into(), StatusCode::OK).await.map(drop)
    }

    /// Reads a range that is within the object.
    ///
    /// # Errors
    /// Other bytes came, or none.
    pub async fn read(
        &mut self,
        key: &str,
        start: u64,
        expected: &[u8],
    ) -> Result<(), CanaryError> {
        let action = GetObject::new(&self.bucket, Some(&self.credentials), key);
        let url = action.sign(SIGNED_FOR).to_string();
        let last = start + (expected.len() as u64).saturating_sub(1);
        let range = Some(format!("bytes={start}-{last}"));
        let partial = StatusCode::PARTIAL_CONTENT;
        let found = self.wanted(Method::GET, key, &url, range, Bytes::new(), partial).await?;
        if found == expected { Ok(()) } else { Err(CanaryError::Bytes { key: key.to_owned() }) }
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// It may be there still.
    pub async fn delete(&mut self, key: &str) -> Result<(), CanaryError> {
        let action = DeleteObject::new(&self.bucket, Some(&self.credentials), key);
        let url = action.sign(SIGNED_FOR).to_string();
        let none = StatusCode::NO_CONTENT;
        self.wanted(Method::DELETE, key, &url, None, Bytes::new(), none).await.map(drop)
    }

    async fn wanted(
        &mut self,
        method: Method,
        key: &str,
        url: &str,
        range: Option<String>,
        body: Bytes,
        wanted: StatusCode,
    ) -> Result<Bytes, CanaryError> {
        let longest = super::content::SIZE_MAX;
        match self.ask(method.clone(), key, url, range, body, longest).await? {
            (status, body) if status == wanted => Ok(body),
            (status, _) => Err(CanaryError::Status { method, key: key.to_owned(), status }),
        }
    }

    async fn ask(
        &mut self,
        method: Method,
        key: &str,
        url: &str,
        range: Option<String>,
        body: Bytes,
        longest: usize,
    ) -> Result<(StatusCode, Bytes), CanaryError> {
        let failed = |reason: String| CanaryError::Answer {
            method: method.clone(),
            key: key.to_owned(),
            reason,
        };
        let target = url.find(&self.host).and_then(|at| url.get(at + self.host.len()..));
        let mut request = Request::builder()
            .method(method.clone())
            .uri(target.unwrap_or("/"))
            .header("host", &self.host);
        if let Some(range) = range {
            request = request.header("range", range);
        }
        let request = request.body(Full::new(body)).map_err(|error| failed(error.to_string()))?;
        let answered = async {
            self.sender.ready().await.map_err(|error| error.to_string())?;
            let answer =
                self.sender.send_request(request).await.map_err(|error| error.to_string())?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), longest).collect().await;
            Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
        };
        let late = || format!("not within {} s", ANSWER_WITHIN.as_secs());
        timeout(ANSWER_WITHIN, answered).await.unwrap_or_else(|_| Err(late())).map_err(failed)
    }
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Full<Bytes>>, String> {
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(|error| error.to_string())?;
    // How it ends is told to the request that is under way.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}
