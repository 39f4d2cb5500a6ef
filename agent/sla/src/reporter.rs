//! Takes reports: when they are due, and at once when a verdict changed.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use agent_health::{Health, Verdict};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tracing::{error, warn};

use crate::core::Core;
use crate::protocol::key::CannotSign;
use crate::protocol::report::{
    DETAIL_MAX, Detail, FACTS_MAX, Facts, Reading, SentReport, VERSION, hash,
};
use crate::protocol::signed::{HealthReport, Signed};
use crate::status::ReportStatus;
use crate::view::HealthView;
use crate::words::shorten;

/// How long the node may take to say how it does; after that, it does not know.
const HEALTH: Duration = Duration::from_secs(30);

/// The shortest time between two reports, so that a component that flaps does not fill the spool.
const LEAST: Duration = Duration::from_secs(10);

/// How long changes are gathered before they are reported: one fault changes many verdicts.
const GATHER: Duration = Duration::from_secs(1);

/// The longest wait before the first report, so that nodes that start together do not report together.
const FIRST: Duration = Duration::from_secs(10);

/// Words of evidence for one verdict, and bytes of each: the rest is on the node's own console.
const EVIDENCE: usize = 4;
const EVIDENCE_BYTES: usize = 240;

/// Takes reports for ever.
pub(crate) async fn run(core: Arc<Core>, peers: Arc<Vec<String>>, urgent: Arc<Notify>) {
    core.local.settled().await;
    let every = core.config.report_every;
    let mut due = Instant::now() + core.pace.jitter("first report", 0, FIRST.min(every / 10));
    let mut number = 0_u64;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            () = urgent.notified(), if number > 0 => tokio::time::sleep(GATHER).await,
        }
        number = number.saturating_add(1);
        take(&core).await;
        if let Err(error) = core.refresh(Arc::clone(&peers)).await {
            error!(%error, "what waits for oracles cannot be counted");
        }
        // Nine to eleven tenths of what is configured.
        let jitter = core.pace.jitter("report", number, every / 5);
        due = Instant::now() + every.mul_f64(0.9) + jitter;
        tokio::time::sleep(LEAST.min(every)).await;
    }
}

/// Takes one report.
async fn take(core: &Arc<Core>) {
    let health = timeout(HEALTH, core.node.health()).await.unwrap_or_else(|_| {
        warn!("the node did not say how it does in time; it is reported as unknown");
        HealthView {
            state: "unknown".to_owned(),
            uptime_seconds: 0,
            clock_synchronised: None,
            capacity: None,
            verdicts: Vec::new(),
            readings: Vec::new(),
        }
    });
    let taken_at = core.clock.now_ms();
    let making = Arc::clone(core);
    let made = core.local.with(move |memory| {
        memory.report(taken_at, |sequence, previous| {
            report(&making, &health, taken_at, sequence, previous)
        })
    });
    match made.await {
        Ok(Ok(sequence)) => {
            let status = ReportStatus { sequence, taken_at };
            core.status.send_modify(|all| all.report = Some(status));
            core.latest.send_replace(Some(sequence));
        }
        Ok(Err(error)) => error!(%error, "no report was made"),
        Err(error) => error!(%error, "no report was made"),
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
enum ReportError {
    #[error("the report cannot be signed: {0}")]
    Sign(#[from] CannotSign),
    #[error("the report has no JSON form: {0}")]
    Form(#[from] serde_json::Error),
}

/// A signed report.
fn report(
    core: &Core,
    health: &HealthView,
    taken_at: u64,
    sequence: u64,
    previous: Option<u64>,
) -> Result<SentReport, ReportError> {
    let (facts, detail) = parts(health, previous, &core.config.software)?;
    let message = HealthReport {
        nodeId: core.config.node_id,
        sequence,
        takenAt: taken_at,
        factsHash: hash(&facts),
        detailHash: hash(&detail),
        configDigest: core.digest,
    };
    let signed = Signed::new(message, &core.domain, &core.key)?;
    Ok(SentReport { signed, facts, detail: Some(detail) })
}

/// Facts and detail, neither longer than it may be.
fn parts(
    health: &HealthView,
    previous: Option<u64>,
    software: &str,
) -> Result<(Box<RawValue>, Box<RawValue>), serde_json::Error> {
    let mut bad: Vec<Verdict> = health
        .verdicts
        .iter()
        .filter(|verdict| verdict.health != Health::Healthy)
        .cloned()
        .collect();
    let healthy = health.verdicts.len().saturating_sub(bad.len());
    // The worst first: they stay where there are too many.
    bad.sort_by_key(|verdict| Reverse(verdict.health));
    for verdict in &mut bad {
        verdict.evidence.truncate(EVIDENCE);
        verdict.evidence.iter_mut().for_each(|words| shorten(words, EVIDENCE_BYTES));
    }
    let facts = |verdicts: &[Verdict]| Facts {
        version: VERSION,
        self_reported: true,
        previous,
        software: software.to_owned(),
        uptime_seconds: health.uptime_seconds,
        state: health.state.clone(),
        clock_synchronised: health.clock_synchronised,
        capacity: health.capacity,
        verdicts: verdicts.to_vec(),
        healthy: u32::try_from(healthy).unwrap_or(u32::MAX),
    };
    // JSON has no number for what is none.
    let readings: Vec<Reading> =
        health.readings.iter().filter(|reading| reading.value.is_finite()).cloned().collect();
    let detail = |readings: &[Reading]| Detail { version: VERSION, readings: readings.to_vec() };
    Ok((
        fitting("facts", &bad, FACTS_MAX, facts)?,
        fitting("detail", &readings, DETAIL_MAX, detail)?,
    ))
}

/// The JSON of as many of `items` as fit: all, else the first half, and so on.
fn fitting<I, T: Serialize>(
    part: &'static str,
    items: &[I],
    limit: usize,
    form: impl Fn(&[I]) -> T,
) -> Result<Box<RawValue>, serde_json::Error> {
    let mut taken = items;
    loop {
        let found = to_raw_value(&form(taken))?;
        if found.get().len() <= limit || taken.is_empty() {
            if taken.len() < items.len() {
                warn!(part, all = items.len(), kept = taken.len(), "a report was too long");
            }
            return Ok(found);
        }
        taken = taken.get(..taken.len() / 2).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use agent_health::Kind;

    use super::*;

    fn verdict(number: usize, health: Health) -> Verdict {
        let evidence = vec!["ä".repeat(400); 20];
        Verdict { kind: Kind::Disk, name: format!("disk {number}"), health, evidence }
    }

    #[test]
    fn what_is_too_long_is_shortened_from_the_least_important_end() {
        let mut verdicts: Vec<_> =
            (0..2_000).map(|number| verdict(number, Health::Warning)).collect();
        verdicts.push(verdict(9_999, Health::Failing));
        verdicts.push(verdict(0, Health::Healthy));
        let mut readings = vec![Reading { series: "a".repeat(200), value: 1.0 }; 10_000];
        readings.push(Reading { series: "none".to_owned(), value: f64::NAN });
        let health = HealthView {
            state: "degraded".to_owned(),
            uptime_seconds: 1,
            clock_synchronised: None,
            capacity: None,
            verdicts,
            readings,
        };
        let (facts, detail) = parts(&health, Some(3), "1").expect("parts");
        assert!(facts.get().len() <= FACTS_MAX && detail.get().len() <= DETAIL_MAX);
        let facts: Facts = serde_json::from_str(facts.get()).expect("facts");
        assert_eq!(facts.verdicts[0].name, "disk 9999");
        assert_eq!((facts.healthy, facts.previous), (1, Some(3)));
        let detail: Detail = serde_json::from_str(detail.get()).expect("detail");
        assert!(!detail.readings.is_empty());
    }
}
