//! What the agent is compared with: a server that stores nothing, and one with a file per object.

use std::convert::Infallible;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::arguments::{PeerArguments, PeerKind};
use crate::content::{Content, parse_key};

/// The state of a peer.
#[derive(Debug)]
struct Peer {
    kind: PeerKind,
    content: Content,
    folders: Vec<PathBuf>,
    /// Numbers the files that are being written.
    staged: AtomicU64,
}

/// Serves for ever on a free port.
///
/// # Errors
/// It cannot listen, or the folders cannot be made.
pub(crate) async fn serve(arguments: &PeerArguments) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen")?;
    println!("ready http://{}", listener.local_addr()?);
    serve_on(listener, arguments).await
}

async fn serve_on(listener: TcpListener, arguments: &PeerArguments) -> Result<()> {
    let folders: Vec<PathBuf> =
        (1..=arguments.disks).map(|number| arguments.dir.join(format!("disk-{number}"))).collect();
    for folder in &folders {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let staged = AtomicU64::new(0);
    let peer = Peer { kind: arguments.kind, content: Content::new(), folders, staged };
    let peer = Arc::new(peer);
    loop {
        let (stream, _) = listener.accept().await.context("cannot accept")?;
        stream.set_nodelay(true)?;
        let peer = Arc::clone(&peer);
        let service = service_fn(move |request| answer(Arc::clone(&peer), request));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        // A client that goes away is no concern.
        tokio::spawn(async move { drop(connection.await) });
    }
}

async fn answer(
    peer: Arc<Peer>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(served(peer, request).await.unwrap_or_else(|error| {
        let mut response = Response::new(Full::from(format!("{error:#}")));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    }))
}

async fn served(peer: Arc<Peer>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
    let (head, mut body) = request.into_parts();
    let path = head.uri.path();
    let key = path.trim_start_matches('/').split_once('/').map_or("", |(_, key)| key);
    if head.method == Method::GET {
        let (size, number) = parse_key(key).context("no such key")?;
        return Ok(Response::new(Full::new(peer.content.body(size, number))));
    }
    if peer.kind == PeerKind::Bare || key.is_empty() {
        while let Some(frame) = body.frame().await {
            drop(frame?);
        }
        return Ok(Response::default());
    }
    let bytes = body.collect().await?.to_bytes();
    let name = key.replace('/', "-");
    tokio::task::spawn_blocking(move || peer.store(&name, &bytes)).await??;
    Ok(Response::default())
}

impl Peer {
    /// Stores an object as a file, durably with its name.
    fn store(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let number = self.staged.fetch_add(1, Ordering::Relaxed);
        let folder = usize::try_from(number)? % self.folders.len();
        let folder: &Path = self.folders.get(folder).context("no folder")?;
        let staged = folder.join(format!("staged-{number}"));
        let mut file = File::create_new(&staged)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        std::fs::rename(&staged, folder.join(name))?;
        File::open(folder)?.sync_all()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;
    use crate::content::SMALL;
    use crate::load;
    use crate::request::{Maker, Prepared};

    async fn started(kind: PeerKind, dir: &Path) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let arguments = PeerArguments { kind, dir: dir.to_owned(), disks: 2 };
        tokio::spawn(async move { serve_on(listener, &arguments).await.unwrap() });
        address
    }

    async fn run(address: SocketAddr, requests: Vec<Prepared>) -> Result<u64> {
        Ok(load::run(address, 3, requests, Duration::MAX).await?.operations)
    }

    #[tokio::test]
    async fn peers_answer_what_is_prepared_and_files_stores_it() {
        let dir = tempfile::tempdir().unwrap();
        let content = Content::new();
        let maker = Maker::new(&content).unwrap();
        for kind in [PeerKind::Bare, PeerKind::Files] {
            let address = started(kind, dir.path()).await;
            let puts = (0..10).map(|number| maker.put(SMALL, "set", number).unwrap());
            assert_eq!(run(address, puts.collect()).await.unwrap(), 10);
            let gets = (0..10).map(|number| maker.get(SMALL, "set", number).unwrap());
            assert_eq!(run(address, gets.collect()).await.unwrap(), 10);
        }
        let mut stored = 0;
        for number in 0..10_u64 {
            let name = format!("{SMALL}-set-{number:010}");
            for disk in ["disk-1", "disk-2"] {
                if let Ok(bytes) = std::fs::read(dir.path().join(disk).join(&name)) {
                    assert_eq!(bytes, content.body(SMALL, number));
                    stored += 1;
                }
            }
        }
        assert_eq!(stored, 10);
    }

    #[tokio::test]
    async fn an_answer_that_is_not_what_was_put_ends_the_load() {
        let dir = tempfile::tempdir().unwrap();
        let content = Content::new();
        let maker = Maker::new(&content).unwrap();
        let address = started(PeerKind::Bare, dir.path()).await;
        let other = maker.get(SMALL, "set", 1).unwrap();
        let wrong = Prepared { wanted: Some(content.body(SMALL, 2)), ..other };
        let error = format!("{:#}", run(address, vec![wrong]).await.unwrap_err());
        assert!(error.contains("other bytes") && error.contains("set/0000000001"), "{error}");
        let longer = maker.get(SMALL, "set", 1).unwrap();
        let longer = Prepared { wanted: Some(content.body(SMALL + 1, 1)), ..longer };
        let error = format!("{:#}", run(address, vec![longer]).await.unwrap_err());
        assert!(error.contains("4097 bytes were wanted, not 4096"), "{error}");
        let refused = maker.list("list-type=2").unwrap();
        let error = format!("{:#}", run(address, vec![refused]).await.unwrap_err());
        assert!(error.contains("no such key"), "{error}");
    }
}
