//! Requests over a connection that is kept open: HTTP/1.1 over TLS over TCP.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use agent_dial::Dialer;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::pinned::NotPinned;
use super::{Answer, Ask, Exchange, ExchangeError, Place};
use crate::protocol::messages::ANSWER_MAX;

/// How long a name may take to be found and a host to accept: three SYNs (RFC 6298: 1, 2, 4 s), or a proxy to open a
/// tunnel, which says by itself sooner what it lacks.
const CONNECT: Duration = Duration::from_secs(15);

/// How long TLS and HTTP may take to begin, also where the oracle has 100,000 nodes that come at once.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// Requests to one peer, one after the other, over one connection that is made when it is needed.
pub(crate) struct Wire {
    place: Place,
    tls: TlsConnector,
    dialer: Dialer,
    open: Mutex<Option<Open>>,
}

/// A connection. Its task ends with it.
struct Open {
    sender: SendRequest<Full<Bytes>>,
    _task: AbortOnDropHandle<()>,
}

impl Wire {
    pub(crate) fn new(place: Place, tls: ClientConfig, dialer: Dialer) -> Self {
        Self { place, tls: TlsConnector::from(Arc::new(tls)), dialer, open: Mutex::new(None) }
    }

    async fn connect(&self) -> Result<Open, ExchangeError> {
        let Place { host, port, server, .. } = &self.place;
        let connecting = self.dialer.connect(host, *port);
        let stream = self.step("connect to", CONNECT, connecting).await?;
        // Requests are written at once: waiting for more only delays their ends.
        stream.set_nodelay(true).map_err(|error| self.failed("connect to", &error))?;
        let connecting = self.tls.connect(server.clone(), stream);
        let stream = self.step("begin TLS with", HANDSHAKE, connecting).await?;
        let shaking = http1::handshake(TokioIo::new(stream));
        let (sender, connection) = self.step("begin HTTP with", HANDSHAKE, shaking).await?;
        let task = tokio::spawn(async move {
            // What ends it is what the request on it says.
            let _ended = connection.await;
        });
        Ok(Open { sender, _task: AbortOnDropHandle::new(task) })
    }

    fn request(&self, ask: &Ask) -> Result<Request<Full<Bytes>>, ExchangeError> {
        Request::builder()
            .method(ask.method.clone())
            .uri(&ask.path)
            .header(HOST, &self.place.authority)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(ask.body.clone()))
            .map_err(|error| self.failed("ask", &error))
    }

    /// Asks over a connection. None if it was closed before the request was sent.
    async fn over(&self, open: &mut Open, ask: &Ask) -> Result<Option<Answer>, ExchangeError> {
        if open.sender.ready().await.is_err() {
            return Ok(None);
        }
        let response = match open.sender.send_request(self.request(ask)?).await {
            // An idle connection that the peer closes at the same moment.
            Err(error) if error.is_canceled() || error.is_incomplete_message() => return Ok(None),
            answered => answered.map_err(|error| self.failed("ask", &error))?,
        };
        let status = response.status();
        let body = self.body(response.into_body()).await?;
        Ok(Some(Answer { status: StatusCode::as_u16(&status), body }))
    }

    async fn body(&self, body: Incoming) -> Result<Bytes, ExchangeError> {
        match Limited::new(body, ANSWER_MAX).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(ExchangeError::TooLong { url: self.place.url.clone(), limit: ANSWER_MAX })
            }
            Err(error) => Err(self.failed("read the answer of", error.as_ref())),
        }
    }

    /// A step that may take so long.
    async fn step<T, E: Error + 'static>(
        &self,
        step: &'static str,
        within: Duration,
        doing: impl Future<Output = Result<T, E>>,
    ) -> Result<T, ExchangeError> {
        match tokio::time::timeout(within, doing).await {
            Ok(done) => done.map_err(|error| self.failed(step, &error)),
            Err(_) => Err(self.late(step, within)),
        }
    }

    fn late(&self, step: &'static str, within: Duration) -> ExchangeError {
        let url = self.place.url.clone();
        ExchangeError::Late { step, url, seconds: within.as_secs() }
    }

    fn failed(&self, step: &'static str, error: &(dyn Error + 'static)) -> ExchangeError {
        let url = self.place.url.clone();
        if let Some(NotPinned { expected, found }) = not_pinned(error) {
            return ExchangeError::WrongCertificate { url, expected, found };
        }
        ExchangeError::Failed { step, url, why: chain(error) }
    }
}

#[async_trait]
impl Exchange for Wire {
    async fn ask(&self, ask: Ask) -> Result<Answer, ExchangeError> {
        let mut kept = self.open.lock().await;
        // A connection is put back only behind a whole answer: whoever gives up leaves none that is torn.
        let old = kept.take().filter(|open| !open.sender.is_closed());
        let asking = async {
            if let Some(mut open) = old
                && let Some(answer) = self.over(&mut open, &ask).await?
            {
                return Ok((open, answer));
            }
            let mut open = self.connect().await?;
            match self.over(&mut open, &ask).await? {
                Some(answer) => Ok((open, answer)),
                None => {
                    let why = "the connection was closed".to_owned();
                    let url = self.place.url.clone();
                    Err(ExchangeError::Failed { step: "ask", url, why })
                }
            }
        };
        let all = CONNECT.saturating_add(HANDSHAKE).saturating_add(ask.within);
        let (open, answer) =
            tokio::time::timeout(all, asking).await.map_err(|_| self.late("ask", all))??;
        *kept = Some(open);
        Ok(answer)
    }
}

/// The certificate that was shown, if that is what an error is about.
fn not_pinned(error: &(dyn Error + 'static)) -> Option<NotPinned> {
    let io = error.downcast_ref::<std::io::Error>()?;
    match io.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::Other(other) => other.0.downcast_ref::<NotPinned>().copied(),
        _ => None,
    }
}

/// An error with what is behind it.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut behind = error.source();
    while let Some(error) = behind {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        behind = error.source();
    }
    words
}
