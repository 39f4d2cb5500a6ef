//! icn-agent: the node's agent, and the same S3 service from folders of any machine.

mod arguments;
mod certificate;
mod drain;
mod first_user;
mod health;
mod listen;
mod memory;
mod metrics;
mod node;
mod pool;
mod serve;
mod settlement;
mod state;
mod tls;

use std::io;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::{Context, Result};
use arguments::{Arguments, Mode};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::error;
use tracing_subscriber::EnvFilter;

/// Requests take and give back buffers of some KiB, on one thread and another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads that carry requests. One is enough for a gigabit with TLS; more than the largest
/// network of a node needs would only cost memory.
const WORKERS_MAX: usize = 16;

/// Threads that wait for disks: 64 calls per volume at the most, and several volumes. They end
/// when idle.
const BLOCKING_MAX: usize = 256;

/// How long an idle thread that waited for disks stays.
const BLOCKING_IDLE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let mode = Arguments::read();
    start_log();
    match run(mode) {
        Ok(code) => code,
        Err(error) => {
            error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mode: Mode) -> Result<ExitCode> {
    if let Mode::Pool(arguments) = &mode {
        return pool::run(arguments);
    }
    if let Mode::Health(arguments) = &mode {
        return health::run(arguments);
    }
    if let Mode::Settlement(arguments) = &mode {
        return settlement::run(arguments);
    }
    let workers = available_parallelism().map_or(1, usize::from).min(WORKERS_MAX);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(BLOCKING_MAX)
        .thread_keep_alive(BLOCKING_IDLE)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let done = runtime.block_on(async {
        let cancel = CancellationToken::new();
        cancel_on_signal(&cancel)?;
        match mode {
            Mode::Run(arguments) => node::run(arguments, cancel).await,
            Mode::Serve(arguments) => serve::run(arguments, cancel).await,
            Mode::Pool(_) | Mode::Health(_) | Mode::Settlement(_) => Ok(()),
        }
    });
    // A thread that hangs on a dead disk must not keep the process.
    runtime.shutdown_background();
    done.map(|()| ExitCode::SUCCESS)
}

/// What is logged unless the variable ICN_LOG says otherwise. The crate s3s logs parts of clients'
/// requests as errors; agent-s3 has its own line for each failed request.
const LOG_FILTER: &str = "info,s3s=off";

/// Log lines to standard error, without time and colours: init stamps them.
fn start_log() {
    let filter = EnvFilter::try_from_env("ICN_LOG").unwrap_or_else(|_| EnvFilter::new(LOG_FILTER));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .without_time()
        .with_ansi(false)
        .with_target(false)
        .init();
}

/// Cancels on SIGTERM and SIGINT.
fn cancel_on_signal(cancel: &CancellationToken) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
    let cancel = cancel.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        cancel.cancel();
    });
    Ok(())
}
