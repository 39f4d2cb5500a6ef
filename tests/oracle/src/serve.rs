//! `reference-oracle serve`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use reference_oracle::clock::Clock;
use reference_oracle::fault::Fault;
use reference_oracle::identity::Identity;
use reference_oracle::server::{Limits, look_after, serve, serve_pages};
use reference_oracle::service::{Config, Oracle, Role};
use reference_oracle::settle::{SettleConfig, Settler};
use reference_oracle::setup::{Admitted, parameters};
use reference_oracle::{canary, tls};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// Files that the process needs beside its connections: logs, pages, canaries.
const FILES_BESIDE: u64 = 512;

/// What is served, and with what.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address and port for nodes; port 0 takes a free one.
    #[arg(long)]
    listen: SocketAddr,
    /// The oracle's folder: its key, and everything that it writes down.
    #[arg(long)]
    data: PathBuf,
    /// The parameters of the network, JSON or TOML.
    #[arg(long)]
    parameters: PathBuf,
    /// The daemons that are admitted: ADDRESS [NODE-ID] [# comment] on each line; read again when it changes.
    #[arg(long)]
    admit: PathBuf,
    /// Address and port of the page for people, without TLS: keep it on loopback.
    #[arg(long)]
    page: Option<SocketAddr>,
    /// What is taken.
    #[arg(long, value_enum, default_value_t = Role::Oracle)]
    role: Role,
    /// How votes become roots on chain: RPC servers, peers, tariff (TOML). Without it nothing is settled.
    #[arg(long)]
    settlement: Option<PathBuf>,
    /// Connections at once.
    #[arg(long, default_value_t = Limits::default().connections)]
    connections: usize,
    /// Connections at once from one address.
    #[arg(long, default_value_t = Limits::default().connections_per_address)]
    connections_per_address: usize,
    /// Reports that are kept, in GiB; 30 days at most in any case.
    #[arg(long, default_value_t = 100)]
    reports_gib: u64,
    /// Nodes that canaries are written to or read from at once.
    #[arg(long, default_value_t = 64)]
    canaries_at_once: usize,
    /// Put the clock wrong, in seconds: for tests of nodes.
    #[arg(long, hide = true, default_value_t = 0, allow_negative_numbers = true)]
    clock_offset: i64,
    /// Do something wrong: for tests of nodes.
    #[arg(long, hide = true, value_enum, default_value_t = Fault::None)]
    fault: Fault,
}

/// Serves until SIGTERM or SIGINT, or until something cannot be written.
pub(crate) fn command(args: Args) -> Result<()> {
    let connections = with_files(args.connections);
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(run(args, connections))
}

async fn run(args: Args, connections: usize) -> Result<()> {
    let identity = Identity::open(&args.data)?;
    let (address, fingerprint) = (identity.key.address(), identity.fingerprint());
    let tls = tls::server(&identity).context("cannot set up TLS")?;
    let config = Config {
        parameters: parameters(&args.parameters)?,
        identity,
        admitted: Admitted::open(&args.admit)?,
        role: args.role,
        clock: Clock::System { ahead_ms: args.clock_offset.saturating_mul(1000) },
        fault: args.fault,
        reports_max: args.reports_gib << 30,
    };
    let mut term = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut int = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let oracle = Oracle::start(config, &args.data)?;
    let cancel = CancellationToken::new();
    let settling = match &args.settlement {
        Some(file) => Some(settle(&oracle, file, &args.data, &cancel)?),
        None => None,
    };
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let at = listener.local_addr().context("cannot tell the port")?;
    let mut looking = tokio::spawn(look_after(Arc::clone(&oracle), cancel.clone()));
    let tenant = canary::run(Arc::clone(&oracle), args.canaries_at_once, cancel.clone());
    tokio::spawn(tenant);
    if let Some(settler) = settling {
        tokio::spawn(settler.run(Arc::clone(&oracle), cancel.clone()));
    }
    let mut page = None;
    if let Some(address) = args.page {
        let pages = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address} for the page"))?;
        page = Some(pages.local_addr().context("cannot tell the page's port")?);
        tokio::spawn(serve_pages(Arc::clone(&oracle), pages, cancel.clone()));
    }
    let fingerprint = hex::encode(fingerprint);
    let mut line = format!("ready https://{at} address={address} certificate=sha256:{fingerprint}");
    if let Some(page) = page {
        line.push_str(&format!(" page=http://{page}/"));
    }
    println!("{line}");
    std::io::stdout().flush().context("cannot write to standard output")?;
    let limits = Limits {
        connections,
        connections_per_address: args.connections_per_address,
        ..Limits::default()
    };
    let serving = serve(Arc::clone(&oracle), listener, tls, limits, cancel.clone());
    let mut serving = std::pin::pin!(serving);
    let is_told = tokio::select! {
        ended = serving.as_mut() => return ended.context("cannot take connections"),
        _ = &mut looking => false,
        _ = term.recv() => true,
        _ = int.recv() => true,
    };
    info!("the oracle ends");
    cancel.cancel();
    serving.await.context("cannot take connections")?;
    if is_told {
        looking.await.context("the task that looks after eras panicked")?;
        oracle.tidy()?;
    } else {
        bail!("something could not be written; what is wrong stands in the log above");
    }
    Ok(())
}

/// Its side of settlement, by a file.
fn settle(
    oracle: &Arc<Oracle>,
    file: &Path,
    data: &Path,
    cancel: &CancellationToken,
) -> Result<Arc<Settler>> {
    let config = SettleConfig::read(file, &oracle.config().parameters, Some(oracle.address()))?;
    let settler = Settler::start(config, oracle, &data.join("settle"), cancel.clone())?;
    oracle.settle(Arc::clone(&settler));
    Ok(settler)
}

/// As many connections as files can be open, once as many are allowed as may be.
fn with_files(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    // What cannot be raised stays as it is.
    let _stays =
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let free = usize::try_from(files.saturating_sub(FILES_BESIDE)).unwrap_or(usize::MAX);
    wanted.min(free.max(1))
}
