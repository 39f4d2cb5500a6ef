//! The server: accepts connections and answers their requests.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agent_object_store::ObjectStore;
use http::header::{CONNECTION, EXPECT};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use rustix::process::{Resource, getrlimit};
use s3s::config::StaticConfigProvider;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{HttpResponse, S3Error};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::access::Access;
use crate::config::{ConfigError, S3Config, User, check_region};
use crate::convert;
use crate::error::internal;
use crate::host::Domains;
use crate::ops::Api;
use crate::users::Users;
use crate::wire::{self, BodyWatch, DOCUMENT_MAX_BYTES, Document, Ends, Handler, RequestIds};

/// Most connections at once; more wait in the listening socket's queue. Each holds a few KiB when
/// idle.
const CONNECTIONS_MAX: usize = 4096;

/// A third of the files that the process may have open is for connections; a request has at most
/// one of the store's open beside its own.
const FILES_PER_CONNECTION: u64 = 3;

/// How long requests under way may take to finish once the server is to end. Less than what the
/// agent waits for the server.
const GRACE: Duration = Duration::from_secs(6);

/// How long to wait after the system gave no connection for want of something, so that the log does
/// not fill.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// S3 over a store. Cloning gives another handle of the same server.
#[derive(Clone)]
pub struct S3Server(Arc<Inner>);

struct Inner {
    service: S3Service,
    users: Users,
    ids: RequestIds,
    served: AtomicU64,
    failed: AtomicU64,
    connections: AtomicU64,
}

/// What a server did since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestCounts {
    /// Requests answered.
    pub served: u64,
    /// Those of them that failed for a reason of the node's (status 500 and above).
    pub failed: u64,
    /// Connections open now.
    pub connections: u64,
}

impl S3Server {
    /// Sets a server up. It serves nothing until [`S3Server::serve`].
    ///
    /// # Errors
    /// [`ConfigError`]: what is wrong with `config`.
    pub fn new(store: Arc<dyn ObjectStore>, config: S3Config) -> Result<Self, ConfigError> {
        check_region(&config.region)?;
        let users = Users::new(config.users)?;
        let domains = Domains::new(&config.domains)?;
        let api = Api { store: Arc::clone(&store), region: config.region };
        let mut builder = S3ServiceBuilder::new(api);
        builder.set_auth(users.clone());
        builder.set_access(Access { store, users: users.clone() });
        builder.set_host(domains);
        let mut limits = s3s::config::S3Config::default();
        limits.xml_max_body_size = DOCUMENT_MAX_BYTES;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(limits))));
        let mut random = [0; 8];
        // Without randomness names of requests may repeat after a restart, which harms nothing.
        let _random = getrandom::fill(&mut random);
        Ok(Self(Arc::new(Inner {
            service: builder.build(),
            users,
            ids: RequestIds::new(u64::from_ne_bytes(random)),
            served: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            connections: AtomicU64::new(0),
        })))
    }

    /// Replaces all users at once. Requests under way finish as those they began as.
    ///
    /// # Errors
    /// [`ConfigError`]; the users then stay as they were.
    pub fn set_users(&self, users: Vec<User>) -> Result<(), ConfigError> {
        self.0.users.replace(users)
    }

    /// What this server did so far.
    #[must_use]
    pub fn requests(&self) -> RequestCounts {
        RequestCounts {
            served: self.0.served.load(Ordering::Relaxed),
            failed: self.0.failed.load(Ordering::Relaxed),
            connections: self.0.connections.load(Ordering::Relaxed),
        }
    }

    /// Serves connections until `cancel`; then takes no more, lets requests under way finish for at
    /// most 6 seconds, and returns. With `tls` it speaks HTTP/1.1 or HTTP/2, as the client likes,
    /// else HTTP/1.1. When the returned future is dropped, all connections end at once.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub async fn serve(
        &self,
        listener: TcpListener,
        tls: Option<Arc<rustls::ServerConfig>>,
        cancel: CancellationToken,
    ) -> io::Result<()> {
        listener.local_addr()?;
        let tls = tls.map(|config| TlsAcceptor::from(with_protocols(&config)));
        let places = Arc::new(Semaphore::new(places()));
        let connections = TaskTracker::new();
        let ends = Ends { drain: cancel.clone(), stop: CancellationToken::new() };
        let _stop_when_dropped = ends.stop.clone().drop_guard();
        loop {
            let place = tokio::select! {
                place = Arc::clone(&places).acquire_owned() => place,
                () = cancel.cancelled() => break,
            };
            let socket = tokio::select! {
                socket = accept(&listener) => socket,
                () = cancel.cancelled() => break,
            };
            let serving = self.clone().connection(socket, tls.clone(), ends.clone());
            let stop = ends.stop.clone();
            connections.spawn(async move {
                tokio::select! { () = serving => {}, () = stop.cancelled() => {} }
                drop(place);
            });
        }
        drop(listener);
        connections.close();
        if timeout(GRACE, connections.wait()).await.is_err() {
            let left = connections.len();
            warn!(connections = left, "requests did not finish in time; connections dropped");
        }
        Ok(())
    }

    async fn connection(self, socket: TcpStream, tls: Option<TlsAcceptor>, ends: Ends) {
        let inner = Arc::clone(&self.0);
        inner.connections.fetch_add(1, Ordering::Relaxed);
        let _leave = Leave(inner);
        match tls {
            Some(tls) => wire::serve_tls(socket, tls, self, ends).await,
            None => wire::serve_tcp(socket, self, ends).await,
        }
    }

    async fn answered(&self, request: Request<Incoming>) -> HttpResponse {
        let (mut parts, incoming) = request.into_parts();
        let version = parts.version;
        let skips_continue = expects_continue(&parts.headers) && incoming.is_end_stream();
        let watch = BodyWatch::default();
        let head = wire::admit(&mut parts, convert::now()).and_then(|()| Document::of(&parts));
        let answer = match head {
            Ok(document) => {
                let body = wire::body(&parts, incoming, document, &watch);
                parts.extensions.insert(watch.clone());
                self.0.service.call(Request::from_parts(parts, body)).await
            }
            Err(refusal) => {
                drop(wire::body(&parts, incoming, None, &watch));
                Ok(plain(refusal))
            }
        };
        let mut answer = match (answer, watch.fault()) {
            // A document that did not arrive is the client's fault, though s3s cannot tell.
            (Ok(answer), Some(fault)) if answer.status() == StatusCode::INTERNAL_SERVER_ERROR => {
                plain(fault.refusal())
            }
            (Ok(answer), _) => answer,
            (Err(_), _) => plain(internal()),
        };
        // Without the first, the client would use the connection again, which is about to end. The
        // second: an empty body gets its answer without `100 Continue`, behind which the AWS CLI
        // hangs or misreads the next answer on the connection (seen with 1.46).
        let is_over = !wire::drain(&watch).await || skips_continue;
        if is_over && version < Version::HTTP_2 {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// Whether the client waits for `100 Continue` (RFC 9110, 10.1.1).
fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

impl Handler for S3Server {
    async fn answer(&self, request: Request<Incoming>) -> HttpResponse {
        let id = self.0.ids.next();
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let answer = wire::finish(self.answered(request).await, &id, &path);
        let status = answer.status();
        self.0.served.fetch_add(1, Ordering::Relaxed);
        if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED {
            self.0.failed.fetch_add(1, Ordering::Relaxed);
        }
        // Full and unavailable are states of the node, which says them once and shows them; clients
        // repeat their requests many times meanwhile.
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            warn!(%method, path, status = status.as_u16(), request = id, "request failed");
        } else {
            debug!(%method, path, status = status.as_u16(), request = id, "request answered");
        }
        answer
    }
}

impl fmt::Debug for S3Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Server").field("requests", &self.requests()).finish_non_exhaustive()
    }
}

/// Counts a connection out, however it ends.
struct Leave(Arc<Inner>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An error as an answer of its own.
fn plain(error: S3Error) -> HttpResponse {
    error.to_http_response().unwrap_or_else(|_| {
        let mut answer = HttpResponse::new(s3s::Body::empty());
        *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        *answer.headers_mut() = HeaderMap::new();
        answer
    })
}

/// The next connection. That the system gives none for a while is no reason to end.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                // Without it answers in more than one packet wait for the client's delayed
                // acknowledgement, 40 ms on Linux.
                if let Err(error) = socket.set_nodelay(true) {
                    debug!(%error, "cannot set TCP_NODELAY");
                }
                return socket;
            }
            Err(error) if is_of_client(&error) => debug!(%error, "connection lost"),
            Err(error) => {
                warn!(%error, "cannot take connections; trying again");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether a connection ended before it was taken.
fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | ConnectionRefused)
}

/// How many connections there may be, by the files that the process may have open.
fn places() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let places = usize::try_from(files / FILES_PER_CONNECTION).unwrap_or(CONNECTIONS_MAX);
    places.clamp(16, CONNECTIONS_MAX)
}

/// The same configuration, offering the protocols that are spoken here.
fn with_protocols(config: &Arc<rustls::ServerConfig>) -> Arc<rustls::ServerConfig> {
    let mut config = rustls::ServerConfig::clone(config);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}
