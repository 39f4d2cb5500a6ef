//! The S3 service of a node, from the first moment on: also without a disk, so that clients get
//! an answer (503) and the console can say why.
//!
//! The store needs the node's id and the pool's key, which stand in the node's record on its disks.
//! Reading or making that waits for no store, only for disks; so the order is always the same: disks,
//! record, store.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use agent_object_store::{Engine, EngineConfig, Event, Happening, ObjectStore, Owner, PoolId};
use agent_s3::{S3Config, S3Server, User};
use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use zeroize::Zeroizing;

use super::sla::tenants;
use super::{Node, spawn, volumes};
use crate::drain::{close, drained};
use crate::memory;
use crate::state::{Identity, NodeState, SecretKey};

/// How long the service waits for the node's identity before it starts without: usually the disks
/// are mounted and read within this time after start.
const IDENTITY_TAKES: Duration = Duration::from_secs(10);

/// The region of a node whose configuration cannot be used.
const DEFAULT_REGION: &str = "us-east-1";

/// The pool of a node that has no identity yet. No volume ever joins it.
const NO_POOL: &str = "none";

/// Serves until `cancel`. A node without an identity serves an empty store; once it has one, it goes
/// on with its own store on the same socket.
///
/// # Errors
/// When the socket cannot be used.
pub(crate) async fn serve(
    node: Arc<Node>,
    listener: TcpListener,
    cancel: CancellationToken,
) -> Result<()> {
    let listener = listener.into_std().context("cannot use the socket")?;
    let state = tokio::select! {
        state = timeout(IDENTITY_TAKES, identity(&node)) => state.ok().flatten(),
        () = cancel.cancelled() => return Ok(()),
    };
    let state = match state {
        Some(state) => state,
        None => match serve_without_identity(&node, same_socket(&listener)?, &cancel).await? {
            Some(state) => state,
            None => return Ok(()),
        },
    };
    serve_pool(&node, &state, same_socket(&listener)?, &cancel).await
}

/// Serves the node's own store until `cancel`.
async fn serve_pool(
    node: &Arc<Node>,
    state: &NodeState,
    listener: TcpListener,
    cancel: &CancellationToken,
) -> Result<()> {
    let pool = PoolId::new(&state.node_id).context("icn-disks gave no usable node id")?;
    let mut config = EngineConfig::new(pool, state.pool_key.clone()).with_io(node.arguments.io)?;
    config.body_memory = memory::for_bodies();
    config.absence = node.config.disks.replace_after;
    let store = Engine::open(config);
    spawn(node, {
        let events = store.listen();
        |node| tell_retired(node, events)
    });
    let (reports, held) = (node.disks.subscribe(), node.held.subscribe());
    let keeping = volumes::keep(store.clone(), reports, held, node.failures.clone());
    let served = serve_store(node, &store, keeping, listener, cancel.clone()).await;
    close(&store).await;
    served
}

/// Serves an empty store until the node has an identity, which is returned, or until `cancel`.
async fn serve_without_identity(
    node: &Arc<Node>,
    listener: TcpListener,
    cancel: &CancellationToken,
) -> Result<Option<Arc<NodeState>>> {
    warn!("no identity of this node yet; S3 answers with 503 meanwhile");
    let pool = PoolId::new(NO_POOL).context("the empty store has no name")?;
    let store = Engine::open(EngineConfig::new(pool, SecretKey::default()));
    let telling = tell_awaited(Arc::clone(node), store.clone());
    let until = cancel.child_token();
    let mut serving = std::pin::pin!(serve_store(node, &store, telling, listener, until.clone()));
    let state = tokio::select! {
        served = &mut serving => return served.map(|()| None),
        state = identity(node) => state,
        () = cancel.cancelled() => None,
    };
    until.cancel();
    serving.await.map(|()| state)
}

/// Waits until the node's identity is known.
async fn identity(node: &Node) -> Option<Arc<NodeState>> {
    let mut held = node.held.subscribe();
    loop {
        if let Identity::Known(state) = &held.borrow_and_update().identity {
            return Some(Arc::clone(state));
        }
        held.changed().await.ok()?;
    }
}

/// Has the empty store say why it is empty, for ever.
async fn tell_awaited(node: Arc<Node>, store: Engine) {
    let mut held = node.held.subscribe();
    loop {
        if let Identity::Awaited(why) = &held.borrow_and_update().identity {
            store.set_awaited(why);
        }
        if held.changed().await.is_err() {
            return;
        }
    }
}

/// Tells when a volume was retired, until the store is gone.
async fn tell_retired(node: Arc<Node>, mut events: Receiver<Event>) {
    loop {
        match events.recv().await {
            Ok(Event { what: Happening::Retired, .. }) | Err(RecvError::Lagged(_)) => {
                node.retired.notify_one();
            }
            Ok(_) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// Another descriptor of the listening socket: connections that come between two servers wait.
fn same_socket(listener: &std::net::TcpListener) -> Result<TcpListener> {
    let socket = listener.try_clone().context("cannot use the socket twice")?;
    TcpListener::from_std(socket).context("cannot use the socket")
}

/// Serves a store until `cancel`, while `keeping` runs.
async fn serve_store(
    node: &Arc<Node>,
    store: &Engine,
    keeping: impl Future<Output = ()> + Send + 'static,
    listener: TcpListener,
    cancel: CancellationToken,
) -> Result<()> {
    node.store.send_replace(Some(store.clone()));
    let server = Arc::new(server(node, store)?);
    node.server.send_replace(Some(S3Server::clone(&server)));
    let keeping = tokio::spawn(keeping);
    let signing_in = tokio::spawn(follow_users(Arc::clone(node), Arc::clone(&server)));
    let serving = server.serve(listener, Some(node.tls.config()), cancel.clone());
    let served: io::Result<()> = drained(serving, &cancel).await;
    keeping.abort();
    signing_in.abort();
    served.context("S3 stopped serving")
}

/// The server with the configuration, or, where that cannot be used, with the defaults: wrong words
/// on a stick must not keep objects away from their users.
fn server(node: &Node, store: &Engine) -> Result<S3Server> {
    let store: Arc<dyn ObjectStore> = Arc::new(store.clone());
    let section = &node.config.s3;
    let wanted = S3Config {
        users: users(node),
        region: section.region.clone(),
        domains: section.domains.clone(),
    };
    let error = match S3Server::new(Arc::clone(&store), wanted) {
        Ok(server) => return Ok(server),
        Err(error) => error,
    };
    let why = format!("[s3] of node.toml cannot be used: {error}; nobody of it can sign in");
    error!(why, "S3 starts with defaults");
    node.s3_problem.send_replace(Some(why));
    let defaults =
        S3Config { users: Vec::new(), region: DEFAULT_REGION.into(), domains: Vec::new() };
    S3Server::new(store, defaults).context("cannot set up S3")
}

/// Gives the server its users as they come to be known, for ever.
async fn follow_users(node: Arc<Node>, server: Arc<S3Server>) {
    let mut held = node.held.subscribe();
    while held.changed().await.is_ok() {
        held.borrow_and_update();
        if let Err(error) = server.set_users(users(&node)) {
            error!(%error, "cannot set the users");
        }
    }
}

/// The users of the configuration, else the node's own, once there is one; and the oracles, as tenants.
fn users(node: &Node) -> Vec<User> {
    let user = |name: &str, access_key: &str, secret_key: &str| match Owner::new(name) {
        Ok(name) => Some(User {
            name,
            access_key: access_key.to_owned(),
            secret_key: Zeroizing::new(secret_key.to_owned()),
        }),
        Err(error) => {
            warn!(%error, "a user cannot be used");
            None
        }
    };
    let configured = &node.config.s3.users;
    let mut users: Vec<User> =
        configured.iter().filter_map(|u| user(&u.name, &u.access_key, &u.secret_key)).collect();
    let Identity::Known(state) = &node.held.borrow().identity else { return users };
    if configured.is_empty() {
        let first = &state.first_user;
        users.extend(user(&first.name, &first.access_key, &first.secret_key));
    }
    if let (Some(sla), Some(key)) = (&node.config.sla, &state.daemon_key) {
        let oracles: Vec<_> = sla.oracles.iter().map(|oracle| oracle.address).collect();
        users.extend(tenants::users(key, &oracles));
    }
    users
}
