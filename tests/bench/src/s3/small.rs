//! Objects of 4 KiB.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::{Bench, NO_LIMIT, ROUNDS, Round, details, figures};
use crate::arguments::PeerKind;
use crate::content::{Random, SMALL};
use crate::load;
use crate::request::{Maker, Prepared};
use crate::server::Server;
use crate::table::{Row, Wanted};
use crate::{progress, round_time};

/// Connections of a load.
const CLIENTS: usize = 64;

/// Requests signed per second of a round; a faster server ends the round early.
const SIGNED_PER_SECOND: u64 = 30_000;

/// Objects that are read.
const READ: u64 = 10_000;

/// The time that a delayed acknowledgement costs, in ms (`TCP_DELACK_MIN` of Linux).
const DELAYED_ACK_MS: f64 = 40.0;

/// A server that uses less of a second than this has come to rest: what was put is packed.
const AT_REST: Duration = Duration::from_millis(30);

/// How long that may take.
const REST_MAX: Duration = Duration::from_secs(120);

pub(super) async fn measure(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let subject = bench.subject("small", bench.options.disks).await?;
    let bare = bench.peer(PeerKind::Bare)?;
    let mut rows = Vec::new();
    if bench.options.wants("put-small") {
        rows.extend(put(bench, &subject, &bare).await?);
    }
    if bench.options.wants("get-small") {
        rows.extend(get(bench, &subject, &bare).await?);
    }
    drop(subject);
    bench.remove("small")?;
    Ok(rows)
}

/// Waits until a server does nothing by itself any more.
async fn rest(server: &Server) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < REST_MAX {
        let before = server.cpu_time()?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        if server.cpu_time()?.saturating_sub(before) < AT_REST {
            return Ok(());
        }
    }
    bail!("the server is still busy after {} s without a request", REST_MAX.as_secs())
}

async fn put(bench: &Bench<'_>, subject: &Server, bare: &Server) -> Result<Vec<Row>> {
    let files = bench.peer(PeerKind::Files)?;
    let (mut of_bare, mut of_files, mut of_subject) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        progress(&format!("PUT 4 KiB, {CLIENTS} clients, round {}", round + 1));
        for (server, rounds) in
            [(bare, &mut of_bare), (&files, &mut of_files), (subject, &mut of_subject)]
        {
            let requests = puts(bench, &format!("put-{round}"), count(bench))?;
            rounds.push(Round::run(server, CLIENTS, requests, round_time(bench.options)).await?);
        }
    }
    let lone = puts(bench, "put-alone", 20_000)?;
    let files_alone = Round::run(&files, 1, lone, alone(bench)).await?;
    let lone = puts(bench, "put-alone", 20_000)?;
    let subject_alone = Round::run(subject, 1, lone, alone(bench)).await?;
    drop(files);
    bench.remove("files")?;
    let rate = |rounds: &[Round]| figures(rounds, |round| round.outcome.per_second());
    let name = "4 KiB PUT, 64 clients";
    Ok(vec![
        Row::new(name, "/s", rate(&of_subject))
            .beside("bare", rate(&of_bare), Wanted::Least(0.35))
            .details(details(&of_subject)),
        Row::new(name, "/s", rate(&of_subject))
            .beside("files", rate(&of_files), Wanted::Least(3.0))
            .details(details(&of_files)),
        Row::new(format!("{name}: server CPU"), "µs", figures(&of_subject, Round::cpu_us))
            .at_most(150.0),
        Row::new("bare PUT: server CPU", "µs", figures(&of_bare, Round::cpu_us))
            .details(details(&of_bare)),
        Row::new(format!("{name}: p50"), "ms", figures(&of_subject, Round::p50_ms)).beside(
            "files: p50",
            figures(&of_files, Round::p50_ms),
            Wanted::Nothing,
        ),
        Row::new("4 KiB PUT, 1 client: p50", "ms", vec![subject_alone.p50_ms()]).beside(
            "files: p50",
            vec![files_alone.p50_ms()],
            Wanted::Nothing,
        ),
    ])
}

async fn get(bench: &Bench<'_>, subject: &Server, bare: &Server) -> Result<Vec<Row>> {
    load::run(subject.address, CLIENTS, puts(bench, "read", READ)?, NO_LIMIT).await?;
    let early =
        Round::run(subject, CLIENTS, gets(bench, 98, count(bench))?, round_time(bench.options));
    let early = early.await?;
    progress("until what was put is packed");
    rest(subject).await?;
    let (mut of_bare, mut of_subject) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        progress(&format!("GET 4 KiB, {CLIENTS} clients, round {}", round + 1));
        for (server, rounds) in [(bare, &mut of_bare), (subject, &mut of_subject)] {
            let requests = gets(bench, u64::from(round), count(bench))?;
            rounds.push(Round::run(server, CLIENTS, requests, round_time(bench.options)).await?);
        }
    }
    let alone = Round::run(subject, 1, gets(bench, 99, 20_000)?, alone(bench)).await?;
    let rate = |rounds: &[Round]| figures(rounds, |round| round.outcome.per_second());
    let name = "4 KiB GET, 64 clients";
    Ok(vec![
        Row::new(name, "/s", rate(&of_subject))
            .beside("bare", rate(&of_bare), Wanted::Least(0.55))
            .details(details(&of_subject)),
        Row::new(format!("{name}: server CPU"), "µs", figures(&of_subject, Round::cpu_us))
            .at_most(60.0),
        Row::new(
            format!("{name}, while what was put is packed"),
            "/s",
            vec![early.outcome.per_second()],
        )
        .beside("bare", rate(&of_bare), Wanted::Nothing),
        Row::new("bare GET: server CPU", "µs", figures(&of_bare, Round::cpu_us))
            .details(details(&of_bare)),
        Row::new(format!("{name}: p50"), "ms", figures(&of_subject, Round::p50_ms)).beside(
            "bare: p50",
            figures(&of_bare, Round::p50_ms),
            Wanted::Nothing,
        ),
        Row::new("4 KiB GET, 1 client: p50", "ms", vec![alone.p50_ms()]).beside(
            "a delayed acknowledgement",
            vec![DELAYED_ACK_MS],
            Wanted::Most(0.5),
        ),
    ])
}

/// How long one client works by itself.
fn alone(bench: &Bench<'_>) -> Duration {
    round_time(bench.options).min(Duration::from_secs(2))
}

fn count(bench: &Bench<'_>) -> u64 {
    bench.options.seconds * SIGNED_PER_SECOND
}

fn puts(bench: &Bench<'_>, set: &str, count: u64) -> Result<Vec<Prepared>> {
    let maker = Maker::new(&bench.content)?;
    (0..count).map(|number| maker.put(SMALL, set, number)).collect()
}

fn gets(bench: &Bench<'_>, seed: u64, count: u64) -> Result<Vec<Prepared>> {
    let maker = Maker::new(&bench.content)?;
    let mut random = Random(seed);
    (0..count).map(|_| maker.get(SMALL, "read", random.next() % READ)).collect()
}
