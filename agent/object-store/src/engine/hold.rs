//! Groups that a request has written to before anything says so: they are not removed meanwhile,
//! although nothing in them counts yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_object_store_pool::group::run::GroupId;

/// Groups, with how many hold each. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub(crate) struct InUse {
    groups: Arc<Mutex<BTreeMap<GroupId, usize>>>,
}

/// What one request holds, until it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    all: InUse,
    mine: Mutex<BTreeSet<GroupId>>,
}

impl InUse {
    /// A hold of nothing.
    pub(crate) fn hold(&self) -> Arc<Hold> {
        Arc::new(Hold { all: self.clone(), mine: Mutex::default() })
    }

    /// The groups that are held.
    pub(crate) fn groups(&self) -> Vec<GroupId> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<GroupId, usize>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Holds one more.
    pub(crate) fn add(&self, group: GroupId) {
        let mut mine = self.mine.lock().unwrap_or_else(PoisonError::into_inner);
        if mine.insert(group) {
            *self.all.lock().entry(group).or_default() += 1;
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mine = std::mem::take(&mut *self.mine.lock().unwrap_or_else(PoisonError::into_inner));
        let mut all = self.all.lock();
        for group in mine {
            if let Some(count) = all.get_mut(&group) {
                *count -= 1;
                if *count == 0 {
                    all.remove(&group);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_held_until_the_last_one_lets_go() {
        let (all, [a, b]) = (InUse::default(), [GroupId(1), GroupId(2)]);
        let (first, second) = (all.hold(), all.hold());
        for group in [a, a, b] {
            first.add(group);
        }
        second.add(a);
        assert_eq!(all.groups(), [a, b]);
        drop(first);
        assert_eq!(all.groups(), [a]);
        drop(second);
        assert_eq!(all.groups(), []);
    }
}
