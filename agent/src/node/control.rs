//! The control socket: answers the console.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_api::control::{REQUEST_MAX, Reply, Request, VERSION, Versioned};
use nix::unistd::{Group, chown};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::warn;

use super::Node;

/// The group that may connect; only the agent and the console are in it.
const GROUP: &str = "icn";

/// Connections at a time. A node has one console per terminal, at most a handful.
const CONNECTIONS_MAX: usize = 16;

/// A client that asks nothing for so long is closed; the console asks every second or two.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// A client that does not read its answer for so long is closed.
const WRITE_MAX: Duration = Duration::from_secs(5);

/// Opens the socket, in the place of one that an earlier run left.
///
/// # Errors
/// When the system refuses.
pub(crate) fn open(path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => fs::remove_file(path)?,
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    match Group::from_name(GROUP) {
        Ok(Some(group)) => {
            if let Err(error) = chown(path, None, Some(group.gid)) {
                warn!(group = GROUP, %error, "cannot give the control socket to the group");
            }
        }
        // Not on a node: then only this user may connect.
        Ok(None) => {}
        Err(error) => warn!(group = GROUP, %error, "cannot look up the group"),
    }
    Ok(listener)
}

/// Answers clients for ever.
pub(crate) async fn serve(listener: UnixListener, node: Arc<Node>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let node = Arc::clone(&node);
                tokio::spawn(async move {
                    // A client that goes away in the middle is none of our business.
                    let _ = converse(stream, &node).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept on the control socket");
                // Out of descriptors, most likely: others will be closed.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, node: &Node) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    while let Some(line) = next_line(&mut read).await? {
        let reply = match serde_json::from_slice::<Versioned<Request>>(&line) {
            Ok(Versioned { v: VERSION, body }) => node.answer(body).await,
            Ok(Versioned { v, .. }) => refused(format!("version {v} is not known, only {VERSION}")),
            Err(error) => refused(format!("not a request: {error}")),
        };
        timeout(WRITE_MAX, send(&mut write, reply)).await??;
    }
    Ok(())
}

/// A refusal with its reason.
pub(crate) fn refused(reason: impl Into<String>) -> Reply {
    Reply::Refused { reason: reason.into() }
}

/// The next request; `None` at the end.
async fn next_line(read: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let most = u64::try_from(REQUEST_MAX).unwrap_or(u64::MAX);
    timeout(IDLE_MAX, read.take(most).read_until(b'\n', &mut line)).await??;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "no whole request")),
    }
}

async fn send(write: &mut OwnedWriteHalf, reply: Reply) -> io::Result<()> {
    let mut line = zeroize::Zeroizing::new(serde_json::to_vec(&Versioned::current(reply))?);
    line.push(b'\n');
    write.write_all(&line).await
}
