//! One connection, from its handshake to its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agent_sla::protocol::messages::Refusal;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Shared;
use super::route::{self, Answer};
use crate::identity::fingerprint;
use crate::limits::Bucket;
use crate::service::Peer;

/// How long a handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(15);

/// How long the head of a request may take; as long a connection may be idle.
const HEAD_WITHIN: Duration = Duration::from_secs(60);

/// How long a connection may live, and how long its last request may take then.
const LIFETIME: Duration = Duration::from_secs(900);
const LAST_REQUEST: Duration = Duration::from_secs(120);

/// Longest head of a request in bytes, and most headers of it.
const HEAD_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 48;

/// Serves a connection.
pub(super) async fn serve(
    shared: Arc<Shared>,
    acceptor: TlsAcceptor,
    socket: TcpStream,
    address: SocketAddr,
    cancel: CancellationToken,
) {
    let stream = match timeout(HANDSHAKE_WITHIN, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(peer = %address, %error, "no handshake"),
        Err(_) => return debug!(peer = %address, "no handshake in time"),
    };
    let shown = stream.get_ref().1.peer_certificates().and_then(|shown| shown.first());
    let peer = Peer { address, certificate: shown.map(|shown| fingerprint(shown)) };
    let began = Instant::now();
    let bucket = Arc::new(Mutex::new(Bucket::full(0)));
    let answering = service_fn(move |request: Request<Incoming>| {
        let (shared, bucket) = (Arc::clone(&shared), Arc::clone(&bucket));
        let at = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        async move {
            let taken = bucket.lock().unwrap_or_else(PoisonError::into_inner).take(at);
            Ok::<Answer, Infallible>(match taken {
                Ok(()) => route::answer(&shared, peer, request).await,
                Err(retry_after_ms) => route::refused(&Refusal::Busy { retry_after_ms }),
            })
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), answering);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return log(address, ended),
        () = sleep(LIFETIME) => {}
        () = cancel.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    if let Ok(ended) = timeout(LAST_REQUEST, connection).await {
        log(address, ended);
    }
}

fn log(peer: SocketAddr, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        debug!(%peer, %error, "a connection broke");
    }
}
