//! Objects of 64 MiB.

use agent_object_store_pool::redundancy::redundancy;
use anyhow::{Context, Result};

use super::{Bench, NO_LIMIT, ROUNDS, Round, details, figures};
use crate::arguments::PeerKind;
use crate::budget;
use crate::content::LARGE;
use crate::disk::Disk;
use crate::percentile::median;
use crate::request::{Maker, Prepared};
use crate::server::Server;
use crate::table::{Row, Wanted};
use crate::{progress, round_time, space};

/// Connections of a load.
const CLIENTS: usize = 4;

/// Objects of a round.
const OBJECTS: u64 = 12;

/// The part of its limit that is wanted.
const WANTED: Wanted = Wanted::Least(0.85);

/// Figures of all rounds.
#[derive(Default)]
struct Rounds {
    write: Vec<f64>,
    read: Vec<f64>,
    checksums: Vec<f64>,
    with_sha256: Vec<f64>,
    bare_put: Vec<Round>,
    bare_get: Vec<Round>,
    put: Vec<Round>,
    put_unsigned: Vec<Round>,
    warm: Vec<Round>,
    cold: Vec<Round>,
    /// What part of the bytes of `cold` came from the disk.
    fetched: Vec<f64>,
}

pub(super) async fn measure(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let subject = bench.subject("large", bench.options.disks).await?;
    let bare = bench.peer(PeerKind::Bare)?;
    let disk =
        Disk::new(&bench.dir.join("limits"), bench.options.disks, round_time(bench.options))?;
    let mut rounds = Rounds::default();
    for round in 0..ROUNDS {
        progress(&format!("64 MiB, {CLIENTS} clients, round {}", round + 1));
        rounds.add(bench, &subject, &bare, &disk, round).await?;
    }
    drop(subject);
    bench.remove("large")?;
    rounds.rows(bench.options.disks, disk.tool())
}

impl Rounds {
    async fn add(
        &mut self,
        bench: &Bench<'_>,
        subject: &Server,
        bare: &Server,
        disk: &Disk,
        round: u32,
    ) -> Result<()> {
        let (write, read) = disk.bandwidth()?;
        self.write.push(write);
        self.read.push(read);
        let budget = budget::measure(&bench.content, round_time(bench.options) / 4)?;
        self.checksums.push(budget.checksums);
        self.with_sha256.push(budget.with_sha256);
        let set = format!("round-{round}");
        self.bare_put.push(run(bare, puts(bench, &set)?).await?);
        self.put.push(run(subject, puts(bench, &set)?).await?);
        self.put_unsigned
            .push(run(subject, puts_unsigned(bench, &format!("{set}-unsigned"))?).await?);
        self.bare_get.push(run(bare, gets(bench, &set)?).await?);
        // What is large is written past the cache: it is there once it was read.
        run(subject, gets(bench, &set)?).await?;
        self.warm.push(run(subject, gets(bench, &set)?).await?);
        space::forget(&bench.dir.join("large"))?;
        let before = subject.read_from_disk()?;
        let cold = run(subject, gets(bench, &set)?).await?;
        let fetched = subject.read_from_disk()? - before;
        self.fetched.push(fetched / f64::from(1 << 20) / mib(cold.outcome.operations));
        self.cold.push(cold);
        Ok(())
    }

    fn rows(self, disks: u16, tool: &str) -> Result<Vec<Row>> {
        let shape = redundancy(usize::from(disks)).context("no disks")?;
        let share = f64::from(shape.k) / f64::from(shape.k + shape.m);
        let parity = format!("{}+{}", shape.k, shape.m);
        let stored: Vec<f64> = self.write.iter().map(|write| write * share).collect();
        let disk = (format!("disk × {parity}"), stored);
        let (limit, limits) =
            lower(disk.clone(), ("one core's checksums".to_owned(), self.checksums));
        let (signed_limit, signed_limits) =
            lower(disk.clone(), ("the same with SHA-256".to_owned(), self.with_sha256));
        let loopback = figures(&self.bare_get, mib_per_second);
        let (cold_limit, cold_figures) = lower(
            ("disk read".to_owned(), self.read.clone()),
            ("bare".to_owned(), loopback.clone()),
        );
        let unit = "MiB/s";
        let put = || Row::new("64 MiB PUT, 4 clients", unit, figures(&self.put, mib_per_second));
        let unsigned = figures(&self.put_unsigned, mib_per_second);
        Ok(vec![
            put()
                .beside(format!("the lower: {signed_limit}"), signed_limits, WANTED)
                .details(details(&self.put)),
            Row::new("64 MiB PUT, payload not signed", unit, unsigned)
                .beside(format!("the lower: {limit}"), limits, WANTED)
                .details(details(&self.put_unsigned)),
            put().beside(disk.0, disk.1, Wanted::Nothing),
            put().beside("bare", figures(&self.bare_put, mib_per_second), Wanted::Nothing),
            Row::new("64 MiB PUT: server CPU per MiB", "µs", figures(&self.put, cpu_per_mib))
                .beside("bare", figures(&self.bare_put, cpu_per_mib), Wanted::Nothing),
            Row::new("64 MiB GET, in the page cache", unit, figures(&self.warm, mib_per_second))
                .beside("bare", loopback, WANTED)
                .details(details(&self.warm)),
            Row::new("64 MiB GET, from the disk", unit, figures(&self.cold, mib_per_second))
                .beside(format!("the lower: {cold_limit}"), cold_figures, WANTED)
                .details(details(&self.cold)),
            Row::new("its bytes read from the disk, by those sent", "", self.fetched),
            Row::new("64 MiB GET: server CPU per MiB", "µs", figures(&self.warm, cpu_per_mib))
                .beside("bare", figures(&self.bare_get, cpu_per_mib), Wanted::Nothing),
            Row::new(format!("disk write, direct ({tool})"), unit, self.write),
            Row::new(format!("disk read, direct or ahead ({tool})"), unit, self.read),
        ])
    }
}

/// Of two limits the one with the lower median.
fn lower(one: (String, Vec<f64>), other: (String, Vec<f64>)) -> (String, Vec<f64>) {
    if median(&other.1) < median(&one.1) { other } else { one }
}

async fn run(server: &Server, requests: Vec<Prepared>) -> Result<Round> {
    Round::run(server, CLIENTS, requests, NO_LIMIT).await
}

fn mib(operations: u64) -> f64 {
    operations as f64 * LARGE as f64 / f64::from(1 << 20)
}

fn mib_per_second(round: &Round) -> f64 {
    mib(round.outcome.operations) / round.outcome.elapsed.as_secs_f64()
}

fn cpu_per_mib(round: &Round) -> f64 {
    round.server_cpu.as_secs_f64() * 1e6 / mib(round.outcome.operations)
}

fn puts(bench: &Bench<'_>, set: &str) -> Result<Vec<Prepared>> {
    let maker = Maker::new(&bench.content)?;
    (0..OBJECTS).map(|number| maker.put(LARGE, set, number)).collect()
}

/// The same objects, by another name.
fn puts_unsigned(bench: &Bench<'_>, set: &str) -> Result<Vec<Prepared>> {
    let maker = Maker::new(&bench.content)?;
    (0..OBJECTS).map(|number| maker.put_unsigned(LARGE, set, number)).collect()
}

fn gets(bench: &Bench<'_>, set: &str) -> Result<Vec<Prepared>> {
    let maker = Maker::new(&bench.content)?;
    (0..OBJECTS).map(|number| maker.get(LARGE, set, number)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_of_two_limits_counts() {
        let limit = |name: &str, figure| (name.to_owned(), vec![figure]);
        assert_eq!(lower(limit("a", 1.0), limit("b", 2.0)).0, "a");
        assert_eq!(lower(limit("a", 3.0), limit("b", 2.0)).0, "b");
    }
}
