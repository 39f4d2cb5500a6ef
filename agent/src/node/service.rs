//! The S3 service of a node, from the first moment on: also without a disk, so that clients get
//! an answer (503) and the console can say why.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use agent_object_store::{FileStore, FileStoreConfig, ObjectStore, Owner, PoolId};
use agent_s3::{S3Config, S3Server, User};
use anyhow::{Context, Result};
use disk_manager_plan::report::DiskReport;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use zeroize::Zeroizing;

use super::heard::Heard;
use super::{Node, volumes};
use crate::drain::drained;
use crate::state::Identity;

/// How long the service waits for the node's id before it starts without: usually icn-disks tells
/// it within this time after start.
const NODE_ID_TAKES: Duration = Duration::from_secs(10);

/// The region of a node whose configuration cannot be used.
const DEFAULT_REGION: &str = "us-east-1";

/// The pool of a node that has no id yet. No volume ever joins it.
const NO_POOL: &str = "none";

/// Serves until `cancel`. A node without an id serves an empty store; once it has one, it goes on
/// with the store of that id on the same socket.
///
/// # Errors
/// When the socket cannot be used.
pub(crate) async fn serve(
    node: Arc<Node>,
    listener: TcpListener,
    cancel: CancellationToken,
) -> Result<()> {
    let listener = listener.into_std().context("cannot use the socket")?;
    let id = tokio::select! {
        id = timeout(NODE_ID_TAKES, node_id(&node)) => id.ok().flatten(),
        () = cancel.cancelled() => return Ok(()),
    };
    let id = match id {
        Some(id) => id,
        None => match serve_without_id(&node, same_socket(&listener)?, &cancel).await? {
            Some(id) => id,
            None => return Ok(()),
        },
    };
    serve_pool(&node, &id, same_socket(&listener)?, cancel).await
}

/// Serves an empty store until the node has an id, which is returned, or until `cancel`.
async fn serve_without_id(
    node: &Arc<Node>,
    listener: TcpListener,
    cancel: &CancellationToken,
) -> Result<Option<String>> {
    warn!("no disk of this node yet; S3 answers with 503 meanwhile");
    let until_known = cancel.child_token();
    let waiting = async {
        let id = tokio::select! { id = node_id(node) => id, () = cancel.cancelled() => None };
        until_known.cancel();
        id
    };
    let serving = serve_pool(node, NO_POOL, listener, until_known.clone());
    let (id, served) = tokio::join!(waiting, serving);
    served.map(|()| id)
}

/// Waits until icn-disks tells the node's id.
async fn node_id(node: &Node) -> Option<String> {
    let mut reports = node.disks.subscribe();
    let known = reports.wait_for(|heard| id_in(heard).is_some()).await.ok()?;
    id_in(&known).map(str::to_owned)
}

fn id_in(heard: &Heard<DiskReport>) -> Option<&str> {
    heard.latest.as_ref()?.node_id.as_deref()
}

/// Another descriptor of the listening socket: connections that come between two servers wait.
fn same_socket(listener: &std::net::TcpListener) -> Result<TcpListener> {
    let socket = listener.try_clone().context("cannot use the socket twice")?;
    TcpListener::from_std(socket).context("cannot use the socket")
}

async fn serve_pool(
    node: &Arc<Node>,
    pool: &str,
    listener: TcpListener,
    cancel: CancellationToken,
) -> Result<()> {
    let pool = PoolId::new(pool).context("icn-disks gave no usable node id")?;
    let store: Arc<FileStore> = FileStore::open(FileStoreConfig::new(pool)).into();
    node.store.send_replace(Some(Arc::clone(&store)));
    let server = Arc::new(server(node, &store)?);
    let keeping = tokio::spawn(volumes::keep(store, node.disks.subscribe(), node.failures.clone()));
    let signing_in = tokio::spawn(follow_users(Arc::clone(node), Arc::clone(&server)));
    let serving = server.serve(listener, Some(node.tls.config()), cancel.clone());
    let served: io::Result<()> = drained(serving, &cancel).await;
    keeping.abort();
    signing_in.abort();
    served.context("S3 stopped serving")
}

/// The server with the configuration, or, where that cannot be used, with the defaults: wrong words
/// on a stick must not keep objects away from their users.
fn server(node: &Node, store: &Arc<FileStore>) -> Result<S3Server> {
    let section = &node.config.s3;
    let wanted = S3Config {
        users: users(node),
        region: section.region.clone(),
        domains: section.domains.clone(),
    };
    let error = match S3Server::new(Arc::clone(store) as Arc<dyn ObjectStore>, wanted) {
        Ok(server) => return Ok(server),
        Err(error) => error,
    };
    let why = format!("[s3] of node.toml cannot be used: {error}; nobody of it can sign in");
    error!(why, "S3 starts with defaults");
    node.s3_problem.send_replace(Some(why));
    let defaults =
        S3Config { users: Vec::new(), region: DEFAULT_REGION.into(), domains: Vec::new() };
    let store = Arc::clone(store) as Arc<dyn ObjectStore>;
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

/// The users of the configuration, else the node's own, once there is one.
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
    if !configured.is_empty() {
        let all = configured.iter();
        return all.filter_map(|u| user(&u.name, &u.access_key, &u.secret_key)).collect();
    }
    match &node.held.borrow().identity {
        Identity::Known(state) => {
            let first = &state.first_user;
            user(&first.name, &first.access_key, &first.secret_key).into_iter().collect()
        }
        Identity::Awaited(_) => Vec::new(),
    }
}
