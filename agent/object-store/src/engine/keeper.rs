//! What goes on while nobody asks: checkpoints, packing and cleaning, healing, scrubbing. It holds the
//! store only while it does something, and ends with it.

use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use agent_object_store_pool::group::run::GroupId;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::apply::get;
use super::core::{Core, index_error};
use super::entry::encode;
use super::error::in_words;
use super::heal::gentle;
use super::index::Batch;
use super::keys;
use super::leave::Left;
use super::volumes::Takers;
use crate::error::StoreError;
use crate::names::UnixMillis;

/// Between checkpoints, while there are changes: what a start reads again of the journals.
const CHECKPOINT: Duration = Duration::from_secs(30);

/// Between records of what was counted in memory: what a power cut may lose of it.
const TRAFFIC: Duration = Duration::from_secs(1);

/// Between looks at whether there is something to pack, to clean or to heal.
const LOOK: Duration = Duration::from_secs(5);

/// Sealed segments of a journal that are left: packing many at once makes whole rows.
const SEGMENTS: usize = 4;

/// Between looks at how many segments of journals were in use: what a journal needed at most in two such
/// times is kept for the next burst. Half an hour's pause is no reason to write it anew.
const TRIM: Duration = Duration::from_secs(1800);

/// A scrub of everything takes at least so long.
const SCRUB: Duration = Duration::from_secs(30 * 24 * 3600);

/// Healing takes at most every second moment of a disk's time, scrubbing every tenth: requests go
/// first.
const HEAL_PARTS: u32 = 2;
const SCRUB_PARTS: u32 = 10;

/// How much more slowly a group is scrubbed of which a part is on a disk that is too hot: it is still done,
/// as a disk may be too hot for weeks, and a hundredth of its time does not warm it.
const HOT_SLOWER: u32 = 10;

/// How far a scrub has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Scrub {
    begun: UnixMillis,
    /// Groups below this one are done.
    next: GroupId,
}

/// How far the scrub has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scrubbed {
    /// When this round began.
    pub begun: UnixMillis,
    /// When it will have taken its time.
    pub ends: UnixMillis,
    /// Groups that were read in it.
    pub groups: u64,
}

impl Core {
    /// How far the scrub has come; none before the first round.
    ///
    /// # Errors
    /// The index failed.
    pub(crate) fn scrubbed(&self) -> Result<Option<Scrubbed>, StoreError> {
        let state: Option<Scrub> = get(&*self.index, keys::SCRUB).map_err(index_error)?;
        let length = u64::try_from(SCRUB.as_millis()).unwrap_or(u64::MAX);
        Ok(state.map(|Scrub { begun, next }| {
            let done = self.groups.all().iter().filter(|group| **group < next).count();
            let ends = UnixMillis(begun.0.saturating_add(length));
            Scrubbed { begun, ends, groups: done as u64 }
        }))
    }
}

/// Keeps a store until it is gone. A volume that went is waited for `absence` before what it held is
/// made anew elsewhere; `left` is told when one that is to leave holds nothing more.
pub(super) async fn keep(core: Weak<Core>, absence: Duration, left: Arc<Notify>) {
    let volumes = core.upgrade().map(|core| core.volumes.takers());
    tokio::join!(
        every(CHECKPOINT, core.clone(), u64::MAX, "write a checkpoint", checkpoint),
        every(TRAFFIC, core.clone(), (), "write down what was read", traffic),
        every(LOOK, core.clone(), volumes, "pack the journal", tend),
        heal(core.clone(), absence, left),
        scrub(core.clone()),
        trim(core),
    );
}

async fn every<T: Clone, F: Future<Output = Result<T, StoreError>>>(
    pause: Duration,
    core: Weak<Core>,
    mut last: T,
    what: &'static str,
    work: impl Fn(Arc<Core>, T) -> F,
) {
    loop {
        sleep(pause).await;
        let Some(core) = core.upgrade() else { return };
        match work(core, last.clone()).await {
            Ok(now) => last = now,
            Err(error) => tracing::error!(error = in_words(&error), "cannot {what}"),
        }
    }
}

async fn checkpoint(core: Arc<Core>, last: u64) -> Result<u64, StoreError> {
    let done = core.done();
    if done != last {
        core.checkpoint().await?;
    }
    Ok(done)
}

async fn traffic(core: Arc<Core>, (): ()) -> Result<(), StoreError> {
    core.write_traffic().await
}

/// Packs where there is much, and whenever volumes came or went: what the journals hold has too few
/// copies then.
pub(super) async fn tend(
    core: Arc<Core>,
    last: Option<Takers>,
) -> Result<Option<Takers>, StoreError> {
    let volumes = Some(core.volumes.takers());
    // What failed before the start is to be out of the way soon.
    let packed = match last == volumes && !core.doubts.of_anything() {
        true => core.tend(SEGMENTS).await?,
        false => core.pack(&core.victims()?.0).await?,
    };
    if packed != super::pack::Packing::default() {
        tracing::info!(?packed, "packed the journal");
    }
    Ok(volumes)
}

async fn heal(core: Weak<Core>, absence: Duration, left: Arc<Notify>) {
    let mut since: Option<Instant> = None;
    let mut away = (Vec::new(), Instant::now());
    loop {
        sleep(LOOK).await;
        let Some(core) = core.upgrade() else { return };
        let redundant = core.redundant();
        if redundant.degraded == 0 && since.take().is_some() {
            tracing::info!(groups = redundant.groups, "all groups are whole again");
        }
        if redundant.degraded > 0 && since.is_none() {
            let (groups, shards) = (redundant.degraded, redundant.shards);
            tracing::warn!(groups, shards, "groups lack shards");
            since = Some(Instant::now());
        }
        let is_missing_for_long =
            since.is_some_and(|since| since.elapsed() >= absence) || core.volumes.all_are_here();
        let step = async || -> Result<bool, StoreError> {
            if core.heal_one(is_missing_for_long, gentle(HEAL_PARTS)).await? {
                core.healing_began();
                return Ok(true);
            }
            core.healing_ended();
            Ok(core.evacuate(HEAL_PARTS).await? == Left::Moved
                || core.even_one(gentle(HEAL_PARTS)).await?)
        };
        loop {
            match step().await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::error!(error = in_words(&error), "cannot heal");
                    break;
                }
            }
        }
        let absent = core.volumes.absent();
        if absent != away.0 {
            away = (absent, Instant::now());
        } else if !away.0.is_empty() && away.1.elapsed() >= absence && core.is_whole() {
            away.1 = Instant::now();
            match core.do_without(&away.0).await {
                Ok(true) => left.notify_one(),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(error = in_words(&error), "cannot do without a volume")
                }
            }
        }
        if core.left().is_some() {
            left.notify_one();
        }
        core.note_room();
    }
}

/// Gives room of journals back: at once where it is short, else what was not in use for long.
async fn trim(core: Weak<Core>) {
    let mut last = Instant::now();
    loop {
        sleep(LOOK).await;
        let Some(core) = core.upgrade() else { return };
        let is_due = last.elapsed() >= TRIM;
        if is_due {
            last = Instant::now();
        }
        let segments = core.volumes.trim(is_due).await;
        if segments > 0 {
            tracing::info!(segments, "journals gave room back");
        }
    }
}

async fn scrub(core: Weak<Core>) {
    loop {
        sleep(LOOK).await;
        let pause = {
            let Some(core) = core.upgrade() else { return };
            match scrub_next(&core).await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(error = in_words(&error), "cannot scrub");
                    LOOK
                }
            }
        };
        sleep(pause).await;
    }
}

/// Scrubs the next group; how long to wait for the one behind it.
async fn scrub_next(core: &Core) -> Result<Duration, StoreError> {
    let now = core.clock.now();
    let begun = Scrub { begun: now, next: GroupId(0) };
    let state: Scrub = get(&*core.index, keys::SCRUB).map_err(index_error)?.unwrap_or(begun);
    let groups = core.groups.all();
    let Some(group) = groups.iter().find(|group| **group >= state.next) else {
        // All are done; the next round begins when this one has taken its time.
        let length = u64::try_from(SCRUB.as_millis()).unwrap_or(u64::MAX);
        let taken = now.0.saturating_sub(state.begun.0);
        if taken >= length {
            note(core, begun)?;
            return Ok(Duration::ZERO);
        }
        return Ok(Duration::from_millis(length - taken).min(Duration::from_secs(3600)));
    };
    let on = core.groups.status(*group).map(|status| status.volumes).unwrap_or_default();
    let is_hot = on.iter().any(|volume| core.volumes.is_hot(*volume));
    let parts = if is_hot { SCRUB_PARTS * HOT_SLOWER } else { SCRUB_PARTS };
    core.scrub_group(*group, gentle(parts)).await?;
    note(core, Scrub { next: GroupId(group.0 + 1), ..state })?;
    let count = u32::try_from(groups.len()).unwrap_or(u32::MAX);
    Ok(SCRUB.checked_div(count).unwrap_or(SCRUB))
}

fn note(core: &Core, state: Scrub) -> Result<(), StoreError> {
    let noted = |_: &dyn super::index::Index| {
        let mut batch = Batch::default();
        batch.put(keys::SCRUB.to_vec(), encode(&state)?);
        Ok(batch)
    };
    core.publisher.publish(noted).map_err(index_error)
}
