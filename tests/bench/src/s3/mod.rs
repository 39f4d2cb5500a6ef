//! S3 from outside: the agent in host mode beside its peers and the disk.

mod large;
mod many;
mod small;
mod space;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::arguments::{Options, PeerKind};
use crate::content::Content;
use crate::load::{self, Connection, Outcome};
use crate::progress;
use crate::request::{ACCESS, Maker, SECRET};
use crate::server::Server;
use crate::table::Row;

/// Rounds of each server, in turns: the machine is not the same from minute to minute.
const ROUNDS: u32 = 3;

/// Requests that are signed at once: signatures are good for 15 minutes, and take memory.
const BATCH: u64 = 20_000;

/// No end but that of the requests.
const NO_LIMIT: Duration = Duration::MAX;

/// The works, for `--only`.
const WORKS: [&str; 5] = ["put-small", "get-small", "large", "many", "space"];

/// What all works need.
struct Bench<'a> {
    options: &'a Options,
    dir: &'a Path,
    agent: PathBuf,
    content: Content,
}

/// Measures in a folder.
///
/// # Errors
/// A server cannot be started, or an answer was wrong.
pub(crate) async fn measure(options: &Options, dir: &Path) -> Result<Vec<Row>> {
    options.check_only(&WORKS)?;
    let agent = options.agent.clone().context("name the agent's program with --agent")?;
    let bench = Bench { options, dir, agent, content: Content::new() };
    let mut rows = Vec::new();
    if options.wants("put-small") || options.wants("get-small") {
        rows.extend(small::measure(&bench).await?);
    }
    if options.wants("large") {
        rows.extend(large::measure(&bench).await?);
    }
    if options.wants("many") {
        rows.extend(many::measure(&bench).await?);
    }
    if options.wants("space") {
        rows.extend(space::measure(&bench).await?);
    }
    Ok(rows)
}

impl Bench<'_> {
    /// Starts the agent with a new bucket on folders below `name`, which must be new.
    async fn subject(&self, name: &str, disks: u16) -> Result<Server> {
        let server = self.reopened(name, disks)?;
        let request = Maker::new(&self.content)?.make_bucket()?;
        Connection::open(server.address).await?.send(request).await?;
        Ok(server)
    }

    /// Starts the agent on what lies below `name`.
    fn reopened(&self, name: &str, disks: u16) -> Result<Server> {
        Server::start(
            Command::new(&self.agent)
                .env("ICN_LOG", "warn")
                .args(["serve", "--listen", "127.0.0.1:0", "--dir"])
                .arg(self.dir.join(name))
                .args(["--disks", &disks.to_string()])
                .args(["--user", &format!("bench:{ACCESS}:{SECRET}")]),
        )
    }

    fn peer(&self, kind: PeerKind) -> Result<Server> {
        let own = std::env::current_exe().context("no name of this program")?;
        let kind =
            kind.to_possible_value().map_or_else(String::new, |kind| kind.get_name().to_owned());
        Server::start(
            Command::new(own)
                .args(["peer", &kind, "--disks", &self.options.disks.to_string(), "--dir"])
                .arg(self.dir.join(&kind)),
        )
    }

    /// Puts objects of `size` bytes with these numbers, however long it takes; gives their rate per second.
    async fn fill(
        &self,
        server: &Server,
        set: &str,
        size: usize,
        numbers: Range<u64>,
    ) -> Result<f64> {
        let Range { start: from, end: to } = numbers;
        let mut seconds = 0.0;
        let mut at = from;
        while at < to {
            let end = to.min(at + BATCH);
            let maker = Maker::new(&self.content)?;
            let requests = (at..end).map(|number| maker.put(size, set, number));
            let requests = requests.collect::<Result<_>>()?;
            let done = load::run(server.address, 64, requests, NO_LIMIT).await?;
            seconds += done.elapsed.as_secs_f64();
            at = end;
            if (end / BATCH).is_multiple_of(5) || end == to {
                progress(&format!("{end} objects"));
            }
        }
        Ok((to - from) as f64 / seconds)
    }

    /// Removes what lies below a name.
    fn remove(&self, name: &str) -> Result<()> {
        let dir = self.dir.join(name);
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.with_context(|| format!("cannot remove {}", dir.display())),
        }
    }
}

/// One round, and what the server used for it.
struct Round {
    outcome: Outcome,
    server_cpu: Duration,
}

impl Round {
    async fn run(
        server: &Server,
        clients: usize,
        requests: Vec<crate::request::Prepared>,
        limit: Duration,
    ) -> Result<Self> {
        let before = server.cpu_time()?;
        let outcome = load::run(server.address, clients, requests, limit).await?;
        let server_cpu = server.cpu_time()?.saturating_sub(before);
        Ok(Self { outcome, server_cpu })
    }

    /// Of each operation, in µs.
    fn cpu_us(&self) -> f64 {
        self.server_cpu.as_secs_f64() * 1e6 / self.outcome.operations as f64
    }

    fn p50_ms(&self) -> f64 {
        self.outcome.latencies.p50.as_secs_f64() * 1e3
    }
}

fn figures(rounds: &[Round], figure: impl Fn(&Round) -> f64) -> Vec<f64> {
    rounds.iter().map(figure).collect()
}

/// What only JSON shows of rounds.
fn details(rounds: &[Round]) -> serde_json::Value {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let round = |round: &Round| {
        let latencies = round.outcome.latencies;
        serde_json::json!({ "operations": round.outcome.operations,
            "seconds": round.outcome.elapsed.as_secs_f64(), "server_cpu_us": round.cpu_us(),
            "p50_ms": ms(latencies.p50), "p99_ms": ms(latencies.p99), "max_ms": ms(latencies.max) })
    };
    rounds.iter().map(round).collect()
}
