//! One disk as the service knows it: what was seen of it and what is being done with it.

use std::time::{Duration, Instant};

use disk_manager_plan::ObservedDisk;
use uuid::Uuid;

use crate::device::Presence;
use crate::probe::{Pulse, timed_out};
use crate::survey::SILENCE_LIMIT;

/// Events about one disk come in bursts; it is looked at once they have ceased for this long.
const LOOK_DELAY: Duration = Duration::from_millis(200);

/// Time to the first retry of a step that failed; doubles with each.
const FIRST_RETRY: Duration = Duration::from_secs(5);
/// The longest time between two tries.
const LAST_RETRY: Duration = Duration::from_secs(60);
/// A claim is tried this often; then the disk waits for a person (plug it in again).
const CLAIM_TRIES: u32 = 3;

/// One disk as the service knows it.
#[derive(Debug)]
pub(super) struct Known {
    /// Which disk, at which plug-in.
    pub(super) presence: Presence,
    /// What sysfs said when it appeared.
    pub(super) facts: ObservedDisk,
    /// What was seen at the last look; `None` before the first has ended.
    pub(super) seen: Option<ObservedDisk>,
    /// What is being done with it.
    pub(super) work: Option<Work>,
    /// What went wrong with the last step.
    pub(super) trouble: Option<Trouble>,
    look_at: Option<Instant>,
    looking: Option<Looking>,
}

/// A look that is under way.
#[derive(Debug)]
struct Looking {
    pulse: Pulse,
    beats: u64,
    last_beat: Instant,
}

/// A step that is being carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// A claim of this volume, begun or gone on with.
    Claim(Uuid),
    /// Anything that is over in a moment.
    Other,
}

/// A step that failed.
#[derive(Debug)]
pub(super) struct Trouble {
    /// Why, in words.
    pub(super) words: String,
    tries: u32,
    retry_at: Instant,
}

impl Known {
    pub(super) fn new(presence: Presence, facts: ObservedDisk, now: Instant) -> Self {
        Self {
            presence,
            facts,
            seen: None,
            work: None,
            trouble: None,
            look_at: Some(now),
            looking: None,
        }
    }

    /// Asks for a look once the events have ceased.
    pub(super) fn look_soon(&mut self, now: Instant) {
        self.look_at = Some(now + LOOK_DELAY);
    }

    /// The pulse of a look to start now, if one is due; it then counts as begun.
    pub(super) fn begin_look(&mut self, now: Instant) -> Option<Pulse> {
        let due = self.look_at.is_some_and(|at| at <= now);
        if !due || self.looking.is_some() || self.work.is_some() {
            return None;
        }
        let pulse = Pulse::default();
        self.look_at = None;
        self.looking = Some(Looking { pulse: pulse.clone(), beats: 0, last_beat: now });
        Some(pulse)
    }

    /// Takes what a look has seen, however late.
    pub(super) fn end_look(&mut self, seen: ObservedDisk) {
        self.looking = None;
        self.seen = Some(seen);
    }

    /// Gives up waiting for a look at a disk that has fallen silent. Its thread stays and is not
    /// started again before it ends: a disk that hangs holds one thread and no more. Says whether
    /// anything changed.
    pub(super) fn expire_look(&mut self, now: Instant) -> bool {
        let Some(looking) = &mut self.looking else { return false };
        let beats = looking.pulse.count();
        if beats != looking.beats {
            (looking.beats, looking.last_beat) = (beats, now);
        }
        if now <= looking.last_beat + SILENCE_LIMIT {
            return false;
        }
        let given_up = timed_out(self.facts.clone(), SILENCE_LIMIT.as_secs());
        let changed = self.seen.as_ref() != Some(&given_up);
        self.seen = Some(given_up);
        changed
    }

    /// Whether a step may start now: none is under way, no look is pending, and what failed before
    /// has waited long enough.
    pub(super) fn is_ready(&self, now: Instant, is_claim: bool) -> bool {
        let settled = self.trouble.as_ref().is_none_or(|trouble| {
            now >= trouble.retry_at && !(is_claim && trouble.tries >= CLAIM_TRIES)
        });
        self.work.is_none() && self.looking.is_none() && self.look_at.is_none() && settled
    }

    /// Whether a claim of it was given up.
    pub(super) fn is_given_up(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.tries >= CLAIM_TRIES)
    }

    /// Whether a retry has become due since `before`.
    pub(super) fn is_retry_due(&self, before: Instant, now: Instant) -> bool {
        self.trouble.as_ref().is_some_and(|t| t.retry_at > before && t.retry_at <= now)
    }

    /// Takes the end of a step, and asks for a look at what came of it.
    pub(super) fn end_work(&mut self, failure: Option<String>, now: Instant) {
        self.work = None;
        self.look_at = Some(now);
        self.trouble = failure.map(|words| {
            let tries = self.trouble.as_ref().map_or(0, |trouble| trouble.tries) + 1;
            let wait = FIRST_RETRY.saturating_mul(1 << tries.min(5).saturating_sub(1));
            Trouble { words, tries, retry_at: now + wait.min(LAST_RETRY) }
        });
    }
}
