//! PUT and GET through the agent on the host, beside what the disk itself can do.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::artefacts::workspace;
use e2e::host::HostAgent;
use e2e::s3::S3;
use serde_json::{Value, json};

use crate::limits;

/// How long each load of small objects runs.
const RUN: Duration = Duration::from_secs(5);

/// Folders that stand for disks.
const DISKS: u32 = 4;

/// Objects of 64 MiB that are written and read.
const LARGE_OBJECTS: u32 = 6;

/// One load's outcome.
struct Load {
    per_second: f64,
    p50: Duration,
    p99: Duration,
    server_cpu: Duration,
}

/// Measures, in a folder below the build folder.
pub(crate) fn measure() -> Result<Value> {
    let parent = workspace().join("target/e2e");
    std::fs::create_dir_all(&parent)?;
    let dir = tempfile::Builder::new().prefix("bench-").tempdir_in(parent)?;
    let limit_dir = dir.path().join("limit");
    std::fs::create_dir(&limit_dir)?;
    let mut rows = Vec::new();

    let agent = HostAgent::start(&dir.path().join("disks"), DISKS)?;
    agent.s3().create_bucket("bench")?.expect(200)?;
    for clients in [1, 64] {
        eprintln!("4 KiB, {clients} clients");
        let limit = limits::file_per_object(&limit_dir, clients, RUN)?;
        let put = small(&agent, clients, |s3, key| s3.put("bench", key, &[0x5a; 4096]))?;
        rows.push(row("PUT 4 KiB", clients, &put, "file + fsync + rename", limit));
        let get = small(&agent, clients, |s3, key| s3.get("bench", key))?;
        rows.push(json!({ "work": "GET 4 KiB", "clients": clients, "per_second": get.per_second,
            "p50_ms": get.p50.as_secs_f64() * 1e3, "p99_ms": get.p99.as_secs_f64() * 1e3,
            "server_cpu_us": get.server_cpu.as_secs_f64() * 1e6 }));
    }
    eprintln!("64 MiB");
    let limit = limits::sequential_write(&limit_dir, 4)?;
    let body: Vec<u8> = (0..=255).cycle().take(64 << 20).collect();
    let s3 = agent.s3();
    let put = large(|number| s3.put("bench", &format!("large-{number}"), &body))?;
    let get = large(|number| s3.get("bench", &format!("large-{number}")))?;
    rows.push(json!({ "work": "PUT 64 MiB", "clients": 1, "mib_per_second": put,
        "limit": "write + fdatasync", "limit_mib_per_second": limit, "ratio": put / limit }));
    rows.push(json!({ "work": "GET 64 MiB", "clients": 1, "mib_per_second": get }));
    Ok(json!({ "disks": DISKS, "rows": rows }))
}

fn row(work: &str, clients: u32, load: &Load, limit: &str, limit_rate: f64) -> Value {
    json!({ "work": work, "clients": clients, "per_second": load.per_second,
        "p50_ms": load.p50.as_secs_f64() * 1e3, "p99_ms": load.p99.as_secs_f64() * 1e3,
        "server_cpu_us": load.server_cpu.as_secs_f64() * 1e6,
        "limit": limit, "limit_per_second": limit_rate, "ratio": load.per_second / limit_rate })
}

/// Runs `request` from many clients on keys that each client counts up from zero; a GET so finds
/// what the PUT before it wrote, as it starts over where a key is not there.
fn small(
    agent: &HostAgent,
    clients: u32,
    request: impl Fn(&S3, &str) -> Result<e2e::s3::Answer> + Sync,
) -> Result<Load> {
    let latencies = Mutex::new(Vec::new());
    let cpu_before = agent.cpu_time()?;
    let started = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|client| {
                let (latencies, request) = (&latencies, &request);
                let s3 = agent.s3();
                scope.spawn(move || -> Result<()> {
                    let mut own = Vec::new();
                    let mut number = 0_u64;
                    while started.elapsed() < RUN {
                        let asked = Instant::now();
                        let answer = request(&s3, &format!("{clients}/{client}/{number}"))?;
                        number = if answer.status == 404 { 0 } else { number + 1 };
                        if answer.status != 404 {
                            answer.expect(200)?;
                            own.push(asked.elapsed());
                        }
                    }
                    latencies.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.extend(own);
                    Ok(())
                })
            })
            .collect();
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        anyhow::Ok(())
    })?;
    let elapsed = started.elapsed();
    let server_cpu = agent.cpu_time()?.saturating_sub(cpu_before);
    let mut latencies = latencies.into_inner()?;
    latencies.sort_unstable();
    let count = u32::try_from(latencies.len())?;
    ensure!(count > 0, "no request succeeded");
    let at = |part: usize| latencies.get(latencies.len() * part / 100).copied();
    Ok(Load {
        per_second: f64::from(count) / elapsed.as_secs_f64(),
        p50: at(50).context("no latency")?,
        p99: at(99).context("no latency")?,
        server_cpu: server_cpu / count,
    })
}

/// Median MiB/s over the large objects.
fn large(request: impl Fn(u32) -> Result<e2e::s3::Answer>) -> Result<f64> {
    let mut rates = Vec::new();
    for number in 0..LARGE_OBJECTS {
        let started = Instant::now();
        request(number)?.expect(200)?;
        rates.push(64.0 / started.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().context("no large object")
}
