//! Many connections that send what was prepared and check every answer.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::percentile::Latencies;
use crate::request::Prepared;

/// No answer takes longer, or the server hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// What became of one load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) operations: u64,
    pub(crate) elapsed: Duration,
    pub(crate) latencies: Latencies,
}

impl Outcome {
    pub(crate) fn per_second(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64()
    }
}

/// Sends all requests from so many connections, or those that `limit` leaves time for.
///
/// # Errors
/// A connection failed, or an answer was not what was wanted; it says which.
pub(crate) async fn run(
    address: SocketAddr,
    clients: usize,
    requests: Vec<Prepared>,
    limit: Duration,
) -> Result<Outcome> {
    let mut shares: Vec<VecDeque<Prepared>> = Vec::new();
    shares.resize_with(clients, VecDeque::new);
    for (number, request) in requests.into_iter().enumerate() {
        if let Some(share) = shares.get_mut(number % clients) {
            share.push_back(request);
        }
    }
    let mut ready = Vec::new();
    for share in shares {
        ready.push((Connection::open(address).await?, share));
    }
    let started = Instant::now();
    let tasks: Vec<_> = ready
        .into_iter()
        .map(|(connection, share)| tokio::spawn(client(connection, share, started, limit)))
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.context("a client panicked")??);
    }
    let elapsed = started.elapsed();
    let operations = u64::try_from(latencies.len())?;
    let latencies = Latencies::of(latencies).context("no request was sent")?;
    Ok(Outcome { operations, elapsed, latencies })
}

async fn client(
    mut connection: Connection,
    share: VecDeque<Prepared>,
    started: Instant,
    limit: Duration,
) -> Result<Vec<Duration>> {
    let mut latencies = Vec::with_capacity(share.len());
    for prepared in share {
        if started.elapsed() >= limit {
            break;
        }
        let asked = Instant::now();
        connection.send(prepared).await?;
        latencies.push(asked.elapsed());
    }
    Ok(latencies)
}

/// One connection, kept alive.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// # Errors
    /// Nobody listens there.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // How it ends is told to the request that is under way.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender })
    }

    /// Sends a request; the answer must be as wanted.
    ///
    /// # Errors
    /// It is not, or the connection failed.
    pub(crate) async fn send(&mut self, prepared: Prepared) -> Result<()> {
        self.exchange(prepared, false).await.map(drop)
    }

    /// Sends a request and gives the answer's body.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub(crate) async fn fetch(&mut self, prepared: Prepared) -> Result<Vec<u8>> {
        self.exchange(prepared, true).await
    }

    async fn exchange(&mut self, prepared: Prepared, keep: bool) -> Result<Vec<u8>> {
        let Prepared { request, wanted } = prepared;
        let (method, uri) = (request.method().clone(), request.uri().clone());
        tokio::time::timeout(PATIENCE, self.answer(request, wanted, keep))
            .await
            .with_context(|| format!("no answer within {} s", PATIENCE.as_secs()))
            .flatten()
            .with_context(|| format!("{method} {uri}"))
    }

    async fn answer(
        &mut self,
        request: http::Request<Full<Bytes>>,
        wanted: Option<Bytes>,
        keep: bool,
    ) -> Result<Vec<u8>> {
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let mut body = response.into_body();
        let (mut at, mut kept) = (0, Vec::new());
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if let Some(wanted) = wanted.as_ref().filter(|_| status.is_success()) {
                let end = at + data.len();
                ensure!(wanted.get(at..end) == Some(&data[..]), "other bytes at {at} of the body");
            }
            at += data.len();
            if keep || !status.is_success() {
                kept.extend_from_slice(&data);
            }
        }
        if !status.is_success() {
            bail!("200 was wanted, not {status}: {}", String::from_utf8_lossy(&kept));
        }
        if let Some(wanted) = wanted {
            ensure!(at == wanted.len(), "{} bytes were wanted, not {at}", wanted.len());
        }
        Ok(kept)
    }
}
