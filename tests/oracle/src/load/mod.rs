//! `reference-oracle load`: many simulated nodes against one oracle, in a process of its own, through one
//! era. Each node has its key and certificate, opens a session, delivers a report with readings, and
//! answers a challenge with proofs.

mod figures;
mod node;
mod oracle;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_sla::protocol::Address;
use agent_sla::protocol::B256;
use agent_sla::protocol::parameters::{Era, Parameters};
use anyhow::{Context as _, Result, ensure};
use reference_oracle::client::{Connection, Target};
use reference_oracle::identity::Identity;
use reference_oracle::store::Store;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use figures::{Figures, Spent};
use node::{Outcome, Simulated};
use oracle::Program;

/// Nodes that speak at once at most; more wait, and that shows as lateness.
const AT_ONCE: usize = 512;

/// How often the oracle's memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What is simulated.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Nodes.
    #[arg(long, default_value_t = 10_000)]
    nodes: u32,
    /// Length of the era in seconds.
    #[arg(long, default_value_t = 120)]
    era_seconds: u32,
    /// Samples of each challenge.
    #[arg(long, default_value_t = 16)]
    samples: u16,
    /// Over how much of the era the nodes come, in percent.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=90))]
    spread: u32,
    /// The folder to work in: on a disk, as every answer waits for one.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Where the figures go as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Measures, and prints a table.
pub(crate) fn command(args: &Args) -> Result<()> {
    let figures = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(measure(args))?;
    print!("{}", figures.table());
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&figures.json())?;
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    ensure!(figures.fits(), "not every node got through the era");
    Ok(())
}

/// Says what goes on.
fn progress(what: &str) {
    eprintln!("  {what}");
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

async fn measure(args: &Args) -> Result<Figures> {
    let load_before = figures::machine_load();
    let dir = tempfile::Builder::new().prefix("oracle-load-").tempdir_in(&args.dir);
    let dir = dir.with_context(|| format!("cannot make a folder in {}", args.dir.display()))?;
    progress("making keys and certificates");
    let nodes = node::make(args.nodes)?;
    let identity = Identity::open(&dir.path().join("data"))?;
    // The era begins once the oracle listens.
    let genesis = now_ms() / 1000 + 3;
    let parameters = Parameters {
        chain: 1,
        contract: Address::ZERO,
        genesis,
        era_seconds: args.era_seconds,
        samples: args.samples,
        oracles: [identity.key.address()].into(),
    };
    let mut program = Program::start(dir.path(), &parameters, &nodes).await?;
    let target = Target {
        at: program.at,
        certificate: identity.fingerprint(),
        oracle: identity.key.address(),
        parameters,
    };
    let begin = target.parameters.begin_ms(Era(0));
    sleep(Duration::from_millis(begin.saturating_sub(now_ms()))).await;
    let before = program.spent()?;
    progress("the era begins");
    let (outcomes, peak) = {
        let running = all(args, nodes, &target);
        let mut running = std::pin::pin!(running);
        let mut peak = before.resident;
        loop {
            tokio::select! {
                outcomes = running.as_mut() => break (outcomes?, peak),
                () = sleep(LOOK_EVERY) => peak = peak.max(program.spent()?.resident),
            }
        }
    };
    let after = program.spent()?;
    progress("waiting for the votes");
    let votes = votes(&target).await?;
    let voted = program.spent()?;
    let written = oracle::bytes_below(&dir.path().join("data"))?;
    program.end().await?;
    Ok(Figures {
        nodes: args.nodes,
        era_seconds: args.era_seconds,
        samples: args.samples,
        spread: args.spread,
        outcomes,
        spent: Spent { before, after, voted, peak },
        votes,
        written,
        load_before,
    })
}

/// All nodes, each at its moment.
async fn all(args: &Args, nodes: Vec<Simulated>, target: &Target) -> Result<Vec<Outcome>> {
    let stretch = u64::from(args.era_seconds) * 10 * u64::from(args.spread);
    let (count, begin) = (nodes.len() as u64, target.parameters.begin_ms(Era(0)));
    let (places, store) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(Store::new(1)));
    let target = Arc::new(target.clone());
    let mut tasks = Vec::with_capacity(nodes.len());
    for (number, node) in (0_u64..).zip(nodes) {
        // Evenly spread, in no order that matters.
        let due = begin + (stretch * number).checked_div(count).unwrap_or(0);
        let (places, store) = (Arc::clone(&places), Arc::clone(&store));
        let target = Arc::clone(&target);
        tasks.push(tokio::spawn(async move {
            sleep(Duration::from_millis(due.saturating_sub(now_ms()))).await;
            let _place = places.acquire().await;
            node.run(&target, &store, due).await
        }));
    }
    let mut outcomes = Vec::with_capacity(tasks.len());
    for task in tasks {
        outcomes.push(task.await.context("a node panicked")?);
    }
    Ok(outcomes)
}

/// How many votes there are, once there are any.
async fn votes(target: &Target) -> Result<usize> {
    /// Half a minute behind the end of the era and its grace.
    const TRIES: u32 = 120;
    let end = target.parameters.begin_ms(Era(1));
    sleep(Duration::from_millis(end.saturating_sub(now_ms()))).await;
    for _ in 0..TRIES {
        sleep(Duration::from_secs(1)).await;
        let (mut count, mut after) = (0, None::<B256>);
        let mut connection = Connection::open(target, None, None).await?;
        loop {
            let found = connection.votes(Era(0), after).await?;
            let Some(last) = found.last() else { break };
            after = Some(last.message.nodeId);
            count += found.len();
        }
        if count > 0 {
            return Ok(count);
        }
    }
    Ok(0)
}
