//! Carries the schedule out: so many nodes at once, each step at its moment, none that is much too late.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_sla::protocol::messages::S3Access;
use agent_sla::protocol::parameters::Era;
use agent_sla::protocol::{Address, B256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::client::{CanaryError, Tenant};
use super::content::{Seed, bytes, key, size};
use super::schedule::{ERAS_KEPT, Step, Task, plan};
use crate::judge::shorten;
use crate::record::{Canary, Check, Work};
use crate::service::{Oracle, Role};
use crate::state::Node;

/// How often the schedule is looked at.
const TICK: Duration = Duration::from_millis(250);

/// By how much a step may be late, in milliseconds, before it is left out: the oracle was busy or away,
/// and that is not the node's.
const LATE_MAX_MS: u64 = 30_000;

/// Bytes of a small read, and at least of a large one.
const SMALL_READ: u64 = 4 << 10;
const LARGE_READ: u64 = 1 << 20;

/// The longest reason of a check that is kept, in bytes.
const WHY_MAX: usize = 300;

/// A step of a node, the earliest first.
type Due = Reverse<(Step, Era, Address)>;

/// What is needed for a step.
struct Job {
    daemon: Address,
    node: B256,
    era: Era,
    access: S3Access,
    peer: IpAddr,
    canaries: Vec<Canary>,
    step: Step,
}

/// Writes and reads canaries until cancelled, on `at_once` nodes at once.
pub async fn run(oracle: Arc<Oracle>, at_once: usize, cancel: CancellationToken) {
    if oracle.config().role != Role::Oracle {
        return;
    }
    let (places, mut due) = (Arc::new(Semaphore::new(at_once)), BinaryHeap::new());
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = cancel.cancelled() => return,
        }
        schedule(&oracle, &mut due);
        let now = oracle.now_ms();
        while due.peek().is_some_and(|Reverse((step, ..)): &Due| step.at_ms <= now) {
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { break };
            let Some(Reverse((step, era, daemon))) = due.pop() else { break };
            if now.saturating_sub(step.at_ms) > LATE_MAX_MS {
                debug!(%daemon, %era, "a read or write is left out: too late");
                continue;
            }
            if let Some(job) = job(&oracle, daemon, era, step) {
                tokio::spawn(carry_out(Arc::clone(&oracle), job, place));
            }
        }
    }
}

/// Plans the era for nodes that it is not planned for; what is past of it is left out.
fn schedule(oracle: &Oracle, due: &mut BinaryHeap<Due>) {
    let Ok(era) = oracle.era() else { return };
    let (now, config) = (oracle.now_ms(), oracle.config());
    let begin = config.parameters.begin_ms(era);
    let length = u64::from(config.parameters.era_seconds) * 1000;
    let is_wanted = |node: &Node| {
        node.s3.is_some() && node.standing.peer().is_some() && node.planned != Some(era)
    };
    let mut state = oracle.state();
    let wanted: Vec<Address> =
        state.nodes().filter(|(_, node)| is_wanted(node)).map(|(daemon, _)| *daemon).collect();
    for daemon in wanted {
        let Some(node) = state.node_mut(&daemon) else { continue };
        node.planned = Some(era);
        let steps = plan(&config.identity.canary_seed, &node.id, era, begin, length);
        // What deletes has no moment of its own.
        let ahead = steps.into_iter().filter(|step| step.task == Task::Delete || step.at_ms >= now);
        let moved = ahead.map(|step| match step.task {
            Task::Delete => Step { at_ms: now, ..step },
            _ => step,
        });
        due.extend(moved.map(|step| Reverse((step, era, daemon))));
    }
}

fn job(oracle: &Oracle, daemon: Address, era: Era, step: Step) -> Option<Job> {
    let state = oracle.state();
    let known = state.node(&daemon)?;
    let peer = known.standing.peer()?.ip();
    let (access, canaries) = (known.s3.clone()?, known.canaries.clone());
    Some(Job { daemon, node: known.id, era, access, peer, canaries, step })
}

async fn carry_out(oracle: Arc<Oracle>, job: Job, place: OwnedSemaphorePermit) {
    let seed = oracle.config().identity.canary_seed.clone();
    let Some(work) = job.step.task.work() else {
        delete(&oracle, &job).await;
        return;
    };
    let Some((canary, range)) = chosen(&seed, &job) else { return };
    let content = bytes(&seed, &job.node, canary, &range);
    let length = content.len() as u64;
    let done = match Tenant::connect(&job.access, &oracle.address(), job.peer).await {
        Ok(tenant) => worked(tenant, work, canary, range.start, content).await,
        Err(error) => Err(error),
    };
    let check = match done {
        Ok(took) => {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            Check { work, canary, passed: true, micros, bytes: length, why: None }
        }
        Err(error) => {
            let mut why = error.to_string();
            shorten(&mut why, WHY_MAX);
            debug!(daemon = %job.daemon, era = %job.era, error = why, "a check failed");
            Check { work, canary, passed: false, micros: 0, bytes: 0, why: Some(why) }
        }
    };
    if let Err(refusal) = oracle.checked(job.era, job.node, check).await {
        debug!(daemon = %job.daemon, era = %job.era, %refusal, "a check is not counted");
    }
    drop(place);
}

/// Which canary, and which bytes of it; none where the node has none yet.
fn chosen(seed: &Seed, job: &Job) -> Option<(Canary, std::ops::Range<u64>)> {
    let dice = job.step.dice;
    let pick = |from: Vec<Canary>| {
        let index = dice.checked_rem(from.len() as u64)?;
        from.get(usize::try_from(index).ok()?).copied()
    };
    let kept = |canary: &&Canary| canary.era.saturating_add(ERAS_KEPT) > job.era.0;
    let there = job.canaries.iter().filter(kept).copied();
    let (canary, length) = match job.step.task {
        Task::Delete => return None,
        Task::Put(canary) => return Some((canary, 0..size(seed, &job.node, canary))),
        Task::Small => (pick(there.collect())?, SMALL_READ),
        Task::Large => {
            let large = pick(there.filter(|canary| canary.number > 0).collect())?;
            (large, LARGE_READ)
        }
    };
    let size = size(seed, &job.node, canary);
    let length = length.min(size);
    let start = (dice >> 16) % (size - length + 1);
    Some((canary, start..start + length))
}

/// Does it, and says how long that took; connecting is not counted.
async fn worked(
    mut tenant: Tenant,
    work: Work,
    canary: Canary,
    start: u64,
    content: Vec<u8>,
) -> Result<Duration, CanaryError> {
    if work == Work::Put {
        tenant.make_bucket().await?;
    }
    let began = Instant::now();
    match work {
        Work::Put => tenant.put(&key(canary), content).await?,
        Work::Small | Work::Large => tenant.read(&key(canary), start, &content).await?,
    }
    Ok(began.elapsed())
}

/// Deletes what is too old; what cannot be deleted now is in the next era.
async fn delete(oracle: &Oracle, job: &Job) {
    let is_old = |canary: &&Canary| canary.era.saturating_add(ERAS_KEPT) <= job.era.0;
    let old: Vec<Canary> = job.canaries.iter().filter(is_old).copied().collect();
    if old.is_empty() {
        return;
    }
    let Ok(mut tenant) = Tenant::connect(&job.access, &oracle.address(), job.peer).await else {
        return;
    };
    for canary in old {
        if tenant.delete(&key(canary)).await.is_ok()
            && let Some(node) = oracle.state().node_mut(&job.daemon)
        {
            node.canaries.retain(|kept| *kept != canary);
        }
    }
}
