//! Disks that somebody claims by hand, from the request to the end. Pure: time comes as an argument.
//!
//! ```text
//!  asked ─► Waiting ──60 s──► Erasing ─► Erased ─► the ordinary claim of a blank disk ─► gone from here
//!              │                 └──────────┴────► Failed
//!              └─ undone ─► gone from here
//! ```
//!
//! All of this is in memory: a restart takes back what waits, and what was being erased has to be asked for again.

use std::time::{Duration, Instant};

use disk_manager_plan::by_hand::Fingerprint;
use disk_manager_plan::report::{DiskId, HandClaim, HandClaimState};

use crate::device::Presence;

/// How long a claim can be taken back: long enough to look at the rack once more.
pub const WAIT: Duration = Duration::from_secs(60);

/// The most claims at a time: those of the largest chassis, and as many that failed.
const MOST: usize = 256;

/// All claims by hand, in the order in which they were asked for.
#[derive(Debug, Default)]
pub struct ByHand(Vec<One>);

#[derive(Debug)]
struct One {
    disk: DiskId,
    presence: Presence,
    phase: Phase,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    Waiting { since: Instant, wanted: Box<Fingerprint> },
    Erasing,
    Erased,
    Failed(String),
}

impl Phase {
    fn is_due(&self, now: Instant) -> bool {
        matches!(self, Self::Waiting { since, .. } if now.saturating_duration_since(*since) >= WAIT)
    }
}

/// A disk to erase now.
#[derive(Debug, PartialEq, Eq)]
pub struct Due {
    /// Its lasting name.
    pub disk: DiskId,
    /// Which, at which plug-in.
    pub presence: Presence,
    /// What it was when it was asked for.
    pub wanted: Fingerprint,
}

impl ByHand {
    /// Takes a request that was found right. One that failed before is forgotten.
    ///
    /// # Errors
    /// It is claimed already, or too many are, in words.
    pub fn ask(
        &mut self,
        disk: DiskId,
        presence: Presence,
        wanted: Fingerprint,
        now: Instant,
    ) -> Result<(), String> {
        self.0.retain(|one| one.disk != disk || !matches!(one.phase, Phase::Failed(_)));
        if self.0.iter().any(|one| one.disk == disk) {
            return Err("it is being claimed already: wait, or take that back".to_owned());
        }
        if self.0.len() >= MOST {
            return Err("too many disks are being claimed: take back those that failed".to_owned());
        }
        let phase = Phase::Waiting { since: now, wanted: Box::new(wanted) };
        self.0.push(One { disk, presence, phase });
        Ok(())
    }

    /// Takes a claim back that waits, and forgets one that failed.
    ///
    /// # Errors
    /// There is none, or it is too late, in words.
    pub fn undo(&mut self, disk: &DiskId) -> Result<(), String> {
        match self.0.iter().find(|one| one.disk == *disk).map(|one| &one.phase) {
            None => {
                Err("it is not being claimed by hand: there is nothing to take back".to_owned())
            }
            Some(Phase::Erasing | Phase::Erased) => {
                Err("it is too late: what was on it is being erased".to_owned())
            }
            Some(Phase::Waiting { .. } | Phase::Failed(_)) => {
                self.0.retain(|one| one.disk != *disk);
                Ok(())
            }
        }
    }

    /// The disks whose time has come, and which wait for nothing but to be free.
    #[must_use]
    pub fn coming(&self, now: Instant) -> Vec<DiskId> {
        let coming = self.0.iter().filter(|one| one.phase.is_due(now));
        coming.map(|one| one.disk.clone()).collect()
    }

    /// Ends the claim of a disk that waits and may not be erased any more.
    pub fn refuse(&mut self, disk: &DiskId, why: &str) {
        let waits = |one: &&mut One| matches!(one.phase, Phase::Waiting { .. });
        if let Some(one) = self.0.iter_mut().filter(waits).find(|one| one.disk == *disk) {
            one.phase = Phase::Failed(format!("{why}; nothing was written to it"));
        }
    }

    /// The disks whose time has come, where they are free; they count as being erased from now on.
    pub fn due(&mut self, now: Instant, is_free: impl Fn(&DiskId, &Presence) -> bool) -> Vec<Due> {
        let mut due = Vec::new();
        for one in &mut self.0 {
            if !one.phase.is_due(now) || !is_free(&one.disk, &one.presence) {
                continue;
            }
            if let Phase::Waiting { wanted, .. } = std::mem::replace(&mut one.phase, Phase::Erasing)
            {
                let (disk, presence) = (one.disk.clone(), one.presence.clone());
                due.push(Due { disk, presence, wanted: *wanted });
            }
        }
        due
    }

    /// Takes the end of an erasure.
    pub fn erased(&mut self, presence: &Presence, result: Result<(), String>) {
        let erasing =
            self.0.iter_mut().find(|one| one.presence == *presence && one.phase == Phase::Erasing);
        if let Some(one) = erasing {
            one.phase = match result {
                Ok(()) => Phase::Erased,
                Err(reason) => Phase::Failed(reason),
            };
        }
    }

    /// Gives claims up whose disk is gone.
    pub fn keep_present(&mut self, is_there: impl Fn(&Presence) -> bool) {
        for one in self.0.iter_mut().filter(|one| !is_there(&one.presence)) {
            let written = match one.phase {
                Phase::Waiting { .. } => "nothing was written to it",
                Phase::Erasing | Phase::Erased => "what was on it may be erased",
                Phase::Failed(_) => continue,
            };
            let reason =
                format!("the disk was taken out; {written}: plug it in and claim it again");
            one.phase = Phase::Failed(reason);
        }
    }

    /// Disks that were erased and whose ordinary claim has not ended.
    #[must_use]
    pub fn given_up(&self) -> Vec<DiskId> {
        self.0.iter().filter(|one| one.phase == Phase::Erased).map(|one| one.disk.clone()).collect()
    }

    /// Ends claims of erased disks: `outcome` says nothing while one goes on, that it is ours, or why it will not be.
    pub fn settle(&mut self, outcome: impl Fn(&DiskId, &Presence) -> Option<Result<(), String>>) {
        self.0.retain_mut(|one| {
            if one.phase != Phase::Erased {
                return true;
            }
            match outcome(&one.disk, &one.presence) {
                None => true,
                Some(Ok(())) => false,
                Some(Err(reason)) => {
                    one.phase = Phase::Failed(format!("what was on it is erased, but {reason}"));
                    true
                }
            }
        });
    }

    /// What is told of them.
    #[must_use]
    pub fn told(&self, now: Instant) -> Vec<HandClaim> {
        let told = |one: &One| {
            let state = match &one.phase {
                Phase::Waiting { since, .. } => {
                    let left = (*since + WAIT).saturating_duration_since(now);
                    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
                    HandClaimState::Waiting {
                        seconds_left: u32::try_from(seconds).unwrap_or(u32::MAX),
                    }
                }
                Phase::Erasing | Phase::Erased => HandClaimState::Erasing,
                Phase::Failed(reason) => HandClaimState::Failed { reason: reason.clone() },
            };
            HandClaim { disk: one.disk.clone(), state }
        };
        self.0.iter().map(told).collect()
    }
}
