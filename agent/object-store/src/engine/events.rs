//! What happened to disks and data: the last of it is kept, and told to whoever listens.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_object_store_pool::superblock::VolumeNo;
use tokio::sync::broadcast;

use crate::clock::Clock;
use crate::names::UnixMillis;

/// Events that are kept: months of a quiet node, some minutes of one that loses a disk.
const KEPT: usize = 1000;

/// Events that a listener may be behind before it misses some.
const BEHIND: usize = 256;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Counts the events since the process began; from 1.
    pub number: u64,
    /// When.
    pub at: UnixMillis,
    /// The volume that it happened to, if it was one.
    pub volume: Option<String>,
    /// What.
    pub what: Happening,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A volume is in use.
    Attached,
    /// A blank volume joined the pool.
    Joined,
    /// A volume went.
    Detached,
    /// What a missing volume held stands on the others; it is not waited for.
    Replaced,
    /// A volume failed and takes no more writes.
    Fenced {
        /// What failed, in words.
        reason: String,
    },
    /// A volume is being emptied, to be taken out.
    Retiring,
    /// Emptying a volume was given up: it takes writes again.
    RetireCancelled,
    /// A volume is empty, out of the pool, and its key is destroyed.
    Retired,
    /// A volume is empty and out of the pool, but its key could not be destroyed.
    KeyLeft {
        /// What failed, in words.
        reason: String,
    },
    /// A missing volume was given up.
    Forgotten,
    /// A block is not what was written.
    Damaged {
        /// The group, in hex.
        group: String,
        /// Its shard.
        shard: u8,
    },
    /// A shard was made anew on the volume.
    Repaired {
        /// The group, in hex.
        group: String,
        /// Its shard.
        shard: u8,
    },
    /// What is missing is being made anew.
    HealingBegan {
        /// Groups with missing shards.
        groups: u64,
    },
    /// Nothing is missing any more, or what is cannot be made anew now.
    HealingEnded {
        /// Shards that were made.
        shards: u64,
        /// Groups with missing shards that are left.
        left: u64,
    },
    /// The index is closed: its standby takes over, or it is made anew.
    IndexLost {
        /// Why, in words.
        reason: String,
    },
    /// The index was made from what the volumes hold.
    IndexRebuilt {
        /// How long the store was not open for that, in milliseconds.
        took_ms: u64,
    },
    /// The store goes on with the standby of the index, which is on this volume.
    IndexTakenOver {
        /// How long the store was not open for that, in milliseconds.
        took_ms: u64,
    },
    /// There is no room for new content.
    Full,
    /// There is room again.
    HasRoom,
}

/// The events of a store. A clone is another handle.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    clock: Arc<dyn Clock>,
    sender: broadcast::Sender<Event>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    kept: VecDeque<Event>,
    names: BTreeMap<VolumeNo, String>,
}

impl Events {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let (sender, _) = broadcast::channel(BEHIND);
        Self { inner: Arc::new(Inner { clock, sender, state: Mutex::default() }) }
    }

    /// Makes the identity of a volume known.
    pub(crate) fn name(&self, number: VolumeNo, volume: &str) {
        self.state().names.entry(number).or_insert_with(|| volume.to_owned());
    }

    /// Tells of what happened to a volume that is known by its number.
    pub(crate) fn tell(&self, volume: Option<VolumeNo>, what: Happening) {
        let name = volume.and_then(|number| self.state().names.get(&number).cloned());
        self.tell_of(name.or_else(|| volume.map(|number| number.to_string())), what);
    }

    /// Tells of what happened to a volume.
    pub(crate) fn tell_of(&self, volume: Option<String>, what: Happening) {
        let at = self.inner.clock.now();
        let event = {
            let mut state = self.state();
            state.last += 1;
            let event = Event { number: state.last, at, volume, what };
            state.kept.push_back(event.clone());
            if state.kept.len() > KEPT {
                state.kept.pop_front();
            }
            event
        };
        // Nobody may be listening.
        let _ = self.inner.sender.send(event);
    }

    /// The events behind one, as far as they are kept, the oldest first.
    pub(crate) fn since(&self, number: u64) -> Vec<Event> {
        self.state().kept.iter().filter(|event| event.number > number).cloned().collect()
    }

    /// The number of the last event; 0 before the first.
    pub(crate) fn last(&self) -> u64 {
        self.state().last
    }

    /// Gives the events from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Event> {
        self.inner.sender.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn the_last_events_are_kept_and_told_with_the_names_of_volumes() {
        let events = Events::new(Arc::new(SystemClock));
        let mut listener = events.listen();
        events.name(VolumeNo(3), "disk-3");
        events.tell(Some(VolumeNo(3)), Happening::Attached);
        let first = listener.try_recv().unwrap();
        assert_eq!((first.number, first.volume.as_deref()), (1, Some("disk-3")));
        for _ in 0..KEPT {
            events.tell(None, Happening::Full);
        }
        let kept = events.since(0);
        assert_eq!((kept.len(), kept.first().unwrap().number), (KEPT, 2));
        assert_eq!(events.since(KEPT as u64).len(), 1);
    }
}
