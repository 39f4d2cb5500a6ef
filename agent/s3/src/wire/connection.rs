//! One connection, from its handshake to its end.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use s3s::HttpResponse;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::guard::Guarded;

/// How long a client may take for its TLS handshake, which is a few packets.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a client may take for the head of a request, and how long a connection may idle before
/// the next one. Clients keep connections for their next request for about this long.
const HEAD: Duration = Duration::from_secs(60);

/// Longest head of a request, and what is read at once of a body. A head needs 1 KiB of key, three
/// times that when encoded, and 2 KiB of metadata; the rest is for fewer reads.
const BUFFER_BYTES: usize = 256 << 10;

/// How often an HTTP/2 client that is silent is asked whether it is there, and how long it may take
/// to answer.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// Requests that one HTTP/2 connection may have under way.
const STREAMS_MAX: u32 = 128;

/// Bytes that an HTTP/2 client may send ahead, for one body and for all of a connection: enough for
/// a gigabit over 8 ms.
const WINDOW_BYTES: (u32, u32) = (1 << 20, 4 << 20);

/// How a connection is brought to its end.
#[derive(Debug, Clone)]
pub(crate) struct Ends {
    /// No further request; those under way may finish.
    pub(crate) drain: CancellationToken,
    /// At once.
    pub(crate) stop: CancellationToken,
}

/// What answers requests.
pub(crate) trait Handler: Clone + Send + Sync + 'static {
    /// Answers one.
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = HttpResponse> + Send;
}

/// Serves a connection in the clear.
pub(crate) async fn serve_tcp(socket: TcpStream, handler: impl Handler, ends: Ends) {
    serve_http1(Guarded::new(socket), handler, ends).await;
}

/// Serves a connection with TLS, by the protocol that its handshake agreed on.
pub(crate) async fn serve_tls(
    socket: TcpStream,
    tls: TlsAcceptor,
    handler: impl Handler,
    ends: Ends,
) {
    let handshake = timeout(HANDSHAKE, tls.accept(Guarded::new(socket)));
    let stream = tokio::select! {
        stream = handshake => stream,
        () = ends.drain.cancelled() => return,
    };
    match stream {
        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
            serve_http2(stream, handler, ends).await;
        }
        Ok(Ok(stream)) => serve_http1(stream, handler, ends).await,
        Ok(Err(error)) => debug!(%error, "TLS handshake failed"),
        Err(_) => debug!("TLS handshake took too long"),
    }
}

/// Serves a connection of HTTP/1.1.
pub(crate) async fn serve_http1(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    handler: impl Handler,
    ends: Ends,
) {
    let service = service_fn(move |request| {
        let handler = handler.clone();
        async move { Ok::<_, Infallible>(handler.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    to_its_end(pin!(connection), http1::Connection::graceful_shutdown, ends).await;
}

async fn serve_http2(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    handler: impl Handler,
    ends: Ends,
) {
    let service = service_fn(move |request| {
        let handler = handler.clone();
        async move { Ok::<_, Infallible>(handler.answer(request).await) }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1)
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(WINDOW_BYTES.0)
        .initial_connection_window_size(WINDOW_BYTES.1)
        .serve_connection(TokioIo::new(stream), service);
    to_its_end(pin!(connection), http2::Connection::graceful_shutdown, ends).await;
}

async fn to_its_end<C: Future<Output = Result<(), hyper::Error>>>(
    mut connection: Pin<&mut C>,
    drain: impl Fn(Pin<&mut C>),
    ends: Ends,
) {
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = ends.drain.cancelled() => {
            drain(connection.as_mut());
            tokio::select! {
                ended = connection => ended,
                () = ends.stop.cancelled() => return,
            }
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection ended early");
    }
}
