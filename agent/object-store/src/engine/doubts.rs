//! Changes that failed, of which a record may stand on a volume all the same: read again after a
//! restart, it would take effect in its place among the others. Until that cannot be any more, nobody
//! is told something that would then be untrue.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use agent_object_store_pool::group::run::GroupId;

use super::keys;
use super::record::{Change, Content};
use crate::names::VersionId;

/// What failed of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// The last record that may stand somewhere.
    lsn: u64,
    /// Groups that records need.
    groups: Vec<GroupId>,
    /// The parts that were to become an object.
    pub completed: Option<Vec<(u16, VersionId)>>,
}

/// Doubts, by the keys of the index that they are about.
#[derive(Debug)]
pub(crate) struct Doubts {
    doubts: Mutex<BTreeMap<Vec<u8>, Doubt>>,
    /// The last record that was found when the store was opened, until it is packed: what failed before
    /// that nobody remembers. 0 from then on.
    found: AtomicU64,
}

/// The keys that a change is about. What a bucket or an upload is made with is in no doubt: nobody
/// knows it.
fn names(change: &Change) -> Vec<Vec<u8>> {
    match change {
        Change::Put { bucket, key, .. } | Change::Delete { bucket, key, .. } => {
            vec![keys::object(*bucket, key.as_str())]
        }
        Change::Complete { bucket, key, upload, .. } => {
            vec![keys::object(*bucket, key.as_str()), keys::upload(*bucket, key.as_str(), upload)]
        }
        Change::AbortUpload { bucket, key, upload, .. } => {
            vec![keys::upload(*bucket, key.as_str(), upload)]
        }
        Change::PutPart { upload, part, .. } => vec![keys::part(upload, part.number)],
        Change::CreateBucket { bucket, .. } | Change::DeleteBucket { bucket, .. } => {
            vec![keys::bucket(bucket)]
        }
        Change::BeginUpload { .. } | Change::Traffic { .. } => Vec::new(),
    }
}

/// What is known of a change before it is made.
#[derive(Debug)]
pub(crate) struct Attempt {
    names: Vec<Vec<u8>>,
    groups: Vec<GroupId>,
    completed: Option<Vec<(u16, VersionId)>>,
}

impl Attempt {
    pub(crate) fn of(change: &Change) -> Self {
        let groups = change.content().into_iter().flat_map(Content::groups).collect();
        let completed = match change {
            Change::Complete { parts, .. } => Some(parts.clone()),
            _ => None,
        };
        Self { names: names(change), groups, completed }
    }
}

impl Doubts {
    /// Of a store whose journals had records up to this LSN.
    pub(crate) fn behind(found: u64) -> Self {
        Self { doubts: Mutex::default(), found: AtomicU64::new(found) }
    }

    /// Whether anything may be in doubt, as the journals of before were not packed yet.
    pub(crate) fn of_anything(&self) -> bool {
        self.found.load(Ordering::Relaxed) > 0
    }

    /// Whether anything is in doubt.
    pub(crate) fn is_any(&self) -> bool {
        self.of_anything() || !self.lock().is_empty()
    }

    /// An attempt failed.
    pub(crate) fn note(&self, lsn: u64, attempt: Attempt) {
        let mut doubts = self.lock();
        for name in attempt.names {
            let new = Doubt { lsn, groups: Vec::new(), completed: None };
            let doubt = doubts.entry(name).or_insert(new);
            doubt.lsn = doubt.lsn.max(lsn);
            doubt.groups.extend_from_slice(&attempt.groups);
            doubt.completed = attempt.completed.clone();
        }
    }

    /// An attempt was a success: whatever stands somewhere of what it is about is older.
    pub(crate) fn clear(&self, attempt: &Attempt) {
        let mut doubts = self.lock();
        if doubts.is_empty() {
            return;
        }
        for name in &attempt.names {
            doubts.remove(name);
        }
    }

    /// What is in doubt of a thing.
    pub(crate) fn of(&self, name: &[u8]) -> Option<Doubt> {
        let doubts = self.lock();
        if doubts.is_empty() { None } else { doubts.get(name).cloned() }
    }

    /// Records up to this LSN are read no more.
    pub(crate) fn settle(&self, upto: u64) {
        self.lock().retain(|_, doubt| doubt.lsn > upto);
        if self.found.load(Ordering::Relaxed) <= upto {
            self.found.store(0, Ordering::Relaxed);
        }
    }

    /// Groups that records behind this LSN may need.
    pub(crate) fn groups_behind(&self, upto: u64) -> Vec<GroupId> {
        let doubts = self.lock();
        let behind = doubts.values().filter(|doubt| doubt.lsn > upto);
        behind.flat_map(|doubt| doubt.groups.iter().copied()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Doubt>> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
