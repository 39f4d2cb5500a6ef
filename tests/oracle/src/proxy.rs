//! A proxy that loses, holds up and cuts what goes through it, for tests of nodes and oracles. It
//! carries TCP, and so knows nothing of what is said.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

/// Bytes that are carried at once.
const CHUNK: usize = 16 << 10;

/// What the proxy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Carries.
    Pass,
    /// Ends every connection, and takes none.
    Down,
    /// Takes connections, and carries nothing.
    Silent,
    /// Carries what comes from the node, and loses every answer.
    AnswersLost,
    /// Holds every chunk up.
    Slow(Duration),
}

/// A proxy; it ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub at: SocketAddr,
    mode: watch::Sender<Mode>,
    _serving: AbortOnDropHandle<()>,
}

impl Proxy {
    /// A proxy before `target`, that carries.
    ///
    /// # Errors
    /// It cannot listen.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let at = listener.local_addr()?;
        let (mode, told) = watch::channel(Mode::Pass);
        let serving = tokio::spawn(serve(listener, target, told));
        Ok(Self { at, mode, _serving: AbortOnDropHandle::new(serving) })
    }

    /// Does something else from now on, also with the connections that are open.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn serve(listener: TcpListener, target: SocketAddr, mode: watch::Receiver<Mode>) {
    loop {
        let Ok((near, _)) = listener.accept().await else { continue };
        if *mode.borrow() == Mode::Down {
            continue;
        }
        let mode = mode.clone();
        tokio::spawn(async move {
            let Ok(far) = TcpStream::connect(target).await else { return };
            let ((from_node, to_node), (from_oracle, to_oracle)) =
                (near.into_split(), far.into_split());
            let there = carry(from_node, to_oracle, mode.clone(), false);
            let back = carry(from_oracle, to_node, mode.clone(), true);
            tokio::select! {
                _ = there => {}
                _ = back => {}
                () = down(mode) => {}
            }
        });
    }
}

async fn down(mut mode: watch::Receiver<Mode>) {
    // Ends with the proxy as well.
    let _ended = mode.wait_for(|mode| *mode == Mode::Down).await;
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    is_answer: bool,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = from.read(&mut chunk).await?;
        let Some(read) = chunk.get(..count).filter(|read| !read.is_empty()) else {
            return to.shutdown().await;
        };
        let now = mode.borrow_and_update().to_owned();
        match now {
            Mode::Pass | Mode::Down => {}
            Mode::Slow(wait) => sleep(wait).await,
            Mode::AnswersLost if !is_answer => {}
            Mode::AnswersLost => continue,
            Mode::Silent => {
                let _ended = mode.wait_for(|mode| *mode != Mode::Silent).await;
            }
        }
        to.write_all(read).await?;
    }
}
