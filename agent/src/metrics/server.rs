//! Where the readings are served: HTTP/1.1, one path, nothing to ask for and nothing to change.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::{Facts, expose};
use crate::listen::{bind, why};

const PATH: &str = "/metrics";

/// The form of the text (OpenMetrics 1.0).
const FORM: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Connections at a time; more wait. A fleet manager has one or two.
const CONNECTIONS_MAX: usize = 8;

/// How long a connection may take in all; it has one request. Reading the state of the pool takes
/// less than a second, also with a million groups.
const CONNECTION: Duration = Duration::from_secs(30);

/// How long readings are told again before they are taken anew: who asks more often learns nothing
/// more, and costs nothing.
const FRESH: Duration = Duration::from_secs(1);

/// Longest head of a request; the least that the HTTP library takes.
const HEAD_BYTES: usize = 8 << 10;

/// Between tries to listen, and after the system gave no connection.
const RETRY: Duration = Duration::from_secs(15);

/// Listens, trying again until it works: an address may come with its port, later.
pub(crate) async fn listen(address: SocketAddr) -> TcpListener {
    let mut told = None;
    loop {
        match bind(address).await {
            Ok(listener) => {
                info!(%address, "readings are served");
                return listener;
            }
            Err(error) => {
                let reason = Some(why(address, &error));
                if told != reason {
                    warn!(%address, reason, "readings are not served; see [metrics] in node.toml");
                    told = reason;
                }
            }
        }
        sleep(RETRY).await;
    }
}

/// Serves readings for ever; `read` takes them.
pub(crate) async fn serve<R: Future<Output = Facts> + Send + 'static>(
    listener: TcpListener,
    read: impl Fn() -> R + Send + Sync + 'static,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let readings = Arc::new(Readings { read, last: Mutex::new(None) });
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((socket, _)) => {
                let readings = Arc::clone(&readings);
                tokio::spawn(async move {
                    if timeout(CONNECTION, converse(socket, readings)).await.is_err() {
                        debug!("a connection for readings took too long");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection for readings");
                sleep(RETRY).await;
            }
        }
    }
}

async fn converse<F, R>(socket: TcpStream, readings: Arc<Readings<F>>)
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = Facts> + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let readings = Arc::clone(&readings);
        async move { Ok::<_, Infallible>(answer(&request, &readings).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(socket), service);
    if let Err(error) = connection.await {
        debug!(%error, "a connection for readings ended early");
    }
}

async fn answer<F, R>(request: &Request<Incoming>, readings: &Readings<F>) -> Response<Full<Bytes>>
where
    F: Fn() -> R + Send + Sync,
    R: Future<Output = Facts> + Send,
{
    if request.uri().path() != PATH {
        return plain(StatusCode::NOT_FOUND, "the readings are at /metrics\n");
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match readings.text().await {
        Ok(text) => {
            let mut answer = Response::new(Full::new(text));
            answer.headers_mut().insert(CONTENT_TYPE, FORM);
            answer
        }
        Err(error) => {
            warn!(%error, "cannot write readings down");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "the readings cannot be written down\n")
        }
    }
}

fn plain(status: StatusCode, words: &'static str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from_static(words.as_bytes())));
    *answer.status_mut() = status;
    let form = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, form);
    answer
}

/// Readings, taken by one request at a time.
struct Readings<F> {
    read: F,
    last: Mutex<Option<(Instant, Bytes)>>,
}

impl<F, R> Readings<F>
where
    F: Fn() -> R,
    R: Future<Output = Facts>,
{
    async fn text(&self) -> Result<Bytes, std::fmt::Error> {
        let mut last = self.last.lock().await;
        if let Some((taken, text)) = last.as_ref().filter(|(taken, _)| taken.elapsed() < FRESH) {
            debug!(age = ?taken.elapsed(), "readings are told again");
            return Ok(text.clone());
        }
        let text = Bytes::from(expose((self.read)().await)?);
        *last = Some((Instant::now(), text.clone()));
        Ok(text)
    }
}
