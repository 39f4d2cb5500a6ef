//! HTTP/1.1 over TLS: connections, their limits, and the way of each request to the service.

mod body;
mod connection;
mod page;
mod roots;
mod route;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};

use crate::service::Oracle;

use body::Budget;

pub use page::serve_pages;

/// How long requests under way may take once the server is to end.
const GRACE: Duration = Duration::from_secs(10);

/// How long to wait after the system gave no connection for want of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Bytes of bodies at once from whoever has no session yet: they have their own room, so that nobody
/// without one can fill the others'.
const STRANGERS_BYTES_MAX: usize = 64 << 20;

/// How often eras are looked at that may be over, and the list of admitted daemons.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// After how many looks there is tidying: half an hour.
const LOOKS_PER_TIDYING: u32 = 3600;

/// What a server takes at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address: many nodes may stand behind one.
    pub connections_per_address: usize,
    /// Bytes of bodies at once.
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 10_000, connections_per_address: 1_000, body_bytes: 256 << 20 }
    }
}

/// Connections by address.
#[derive(Debug, Default)]
struct Counted(Mutex<HashMap<IpAddr, usize>>);

/// One of them; counted out when dropped.
#[derive(Debug)]
struct OneOf {
    all: Arc<Counted>,
    address: IpAddr,
}

impl Counted {
    fn enter(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<OneOf> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(OneOf { all: Arc::clone(self), address })
    }
}

impl Drop for OneOf {
    fn drop(&mut self) {
        let mut counts = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    oracle: Arc<Oracle>,
    /// For bodies of nodes with a session, and of whoever has none.
    budget: Budget,
    strangers: Budget,
    /// Work that goes on when its connection is gone.
    work: TaskTracker,
}

/// Serves until `cancel`; then lets requests under way finish, for at most 10 s.
///
/// # Errors
/// The socket cannot be used.
pub async fn serve(
    oracle: Arc<Oracle>,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    limits: Limits,
    cancel: CancellationToken,
) -> io::Result<()> {
    listener.local_addr()?;
    let acceptor = TlsAcceptor::from(tls);
    let counted = Arc::new(Counted::default());
    let places = Arc::new(Semaphore::new(limits.connections));
    let shared = Arc::new(Shared {
        oracle,
        budget: Budget::new(limits.body_bytes),
        strangers: Budget::new(STRANGERS_BYTES_MAX),
        work: TaskTracker::new(),
    });
    let (connections, stop) = (TaskTracker::new(), CancellationToken::new());
    let _stop_when_dropped = stop.clone().drop_guard();
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = cancel.cancelled() => break,
        };
        let socket = tokio::select! {
            socket = accept(&listener) => socket,
            () = cancel.cancelled() => break,
        };
        let Ok(peer) = socket.peer_addr() else { continue };
        let Some(one) = counted.enter(peer.ip(), limits.connections_per_address) else {
            debug!(%peer, "too many connections from one address");
            continue;
        };
        let serving =
            connection::serve(Arc::clone(&shared), acceptor.clone(), socket, peer, cancel.clone());
        let stop = stop.clone();
        connections.spawn(async move {
            tokio::select! { () = serving => {}, () = stop.cancelled() => {} }
            drop((place, one));
        });
    }
    drop(listener);
    connections.close();
    shared.work.close();
    let over = async {
        connections.wait().await;
        shared.work.wait().await;
    };
    if timeout(GRACE, over).await.is_err() {
        warn!(connections = connections.len(), "requests did not finish in time; dropped");
    }
    Ok(())
}

/// Closes eras that are over, reads the list of admitted daemons again, tidies. Ends when cancelled, or
/// when nothing can be written any more.
pub async fn look_after(oracle: Arc<Oracle>, cancel: CancellationToken) {
    let (mut ticks, mut looks) = (interval(LOOK_EVERY), 0_u32);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = oracle.broken() => return,
            () = cancel.cancelled() => return,
        }
        if let Err(error) = oracle.close_eras().await {
            error!(%error, "the votes of an era cannot be cast");
            return;
        }
        let oracle = Arc::clone(&oracle);
        let is_tidying = looks % LOOKS_PER_TIDYING == 0;
        looks = looks.wrapping_add(1);
        let done = tokio::task::spawn_blocking(move || {
            oracle.config().admitted.refresh();
            if is_tidying { oracle.tidy() } else { Ok(()) }
        });
        if let Ok(Err(error)) = done.await {
            warn!(%error, "cannot tidy; trying again");
        }
    }
}

/// The next connection. That the system gives none for a while is no reason to end.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                if let Err(error) = socket.set_nodelay(true) {
                    debug!(%error, "cannot set TCP_NODELAY");
                }
                return socket;
            }
            Err(error) => {
                debug!(%error, "cannot take a connection; trying again");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
