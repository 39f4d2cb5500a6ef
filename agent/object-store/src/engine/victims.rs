//! Which groups are cleaned, and in which order. Pure.
//!
//! As in log-structured file systems (Rosenblum and Ousterhout 1991): to copy a group costs reading all of
//! it and writing what is needed, 1 + u of its size; it gives back 1 - u. What is given back is worth more
//! the longer the rest stays needed, and what has not changed for long will likely stay so. So the groups
//! with the greatest (1 - u) × age / (1 + u) come first: cold ones while much of them is needed, hot ones
//! only when little is, as more of them will soon be needed no more by itself.

use std::cmp::Reverse;

use agent_object_store_pool::group::run::GroupId;

/// Groups of which at most this share is needed are cleaned, in percent: below it, copying one byte
/// gives back at least one.
const SHARE: u64 = 50;

/// The same while room is short: copying four bytes gives back one, at the worst.
const SHARE_SHORT: u64 = 80;

/// A group that something is needed of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub group: GroupId,
    /// Bytes that are needed.
    pub live: u64,
    /// Bytes in it; not 0.
    pub written: u64,
    /// How long nothing in it changed, in milliseconds.
    pub age_ms: u64,
    /// Whether it has less parity than new groups get.
    pub is_weak: bool,
}

impl Candidate {
    /// What cleaning it is worth, for what it costs.
    fn worth(&self) -> u128 {
        let (live, written) = (u128::from(self.live.min(self.written)), u128::from(self.written));
        // No age is nothing: those that changed just now differ by their share.
        let age = u128::from(self.age_ms) + 1;
        // In parts of a thousand, as shares of groups that are all young differ by less than one.
        (written - live) * age * 1000 / (written + live).max(1)
    }
}

/// The groups to be cleaned, the best first: as many as have up to `budget` bytes to be copied, and one at
/// least.
pub(super) fn choose(
    mut candidates: Vec<Candidate>,
    is_short: bool,
    mut budget: u64,
) -> Vec<GroupId> {
    let most = if is_short { SHARE_SHORT } else { SHARE };
    candidates.retain(|group| {
        group.is_weak || group.live.saturating_mul(100) / group.written.max(1) <= most
    });
    // First those that were written when there were fewer volumes: what is in them may be lost with fewer
    // of them.
    candidates.sort_by_key(|group| (!group.is_weak, Reverse(group.worth()), group.group));
    let fits = |candidate: Candidate| {
        let fits = budget > 0;
        budget = budget.saturating_sub(candidate.live);
        fits.then_some(candidate.group)
    };
    candidates.into_iter().map_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use agent_object_store_pool::sim::Dice;

    use super::*;

    fn candidate(group: u64, live: u64, age_ms: u64) -> Candidate {
        Candidate { group: GroupId(group), live, written: 100, age_ms, is_weak: false }
    }

    fn chosen(candidates: &[Candidate], is_short: bool, budget: u64) -> Vec<u64> {
        let groups = choose(candidates.to_vec(), is_short, budget);
        groups.into_iter().map(|group| group.0).collect()
    }

    #[test]
    fn of_two_of_one_age_the_emptier_and_of_two_of_one_share_the_older_comes_first() {
        assert_eq!(chosen(&[candidate(1, 40, 0), candidate(2, 39, 0)], false, 1000), [2, 1]);
        assert_eq!(chosen(&[candidate(1, 40, 5), candidate(2, 40, 9)], false, 1000), [2, 1]);
        assert_eq!(chosen(&[candidate(2, 40, 5), candidate(1, 40, 5)], false, 1000), [1, 2]);
        // 0.8 × 10 / 1.2 is less than 0.5 × 30 / 1.5: the young one will be emptier soon.
        assert_eq!(chosen(&[candidate(1, 20, 9), candidate(2, 50, 29)], false, 1000), [2, 1]);
    }

    #[test]
    fn groups_of_more_than_half_are_left_unless_room_is_short() {
        let all = [candidate(1, 51, 1 << 40), candidate(2, 50, 0), candidate(3, 81, 1 << 40)];
        assert_eq!(chosen(&all, false, 1000), [2]);
        assert_eq!(chosen(&all, true, 1000), [1, 2]);
        let weak = Candidate { is_weak: true, ..candidate(4, 99, 0) };
        assert_eq!(chosen(&[all[1], weak], false, 1000), [4, 2], "whatever is needed of it");
    }

    #[test]
    fn no_more_is_chosen_than_is_copied_in_one_go_but_one_at_least() {
        let all = [candidate(1, 30, 3), candidate(2, 30, 2), candidate(3, 30, 1)];
        assert_eq!(chosen(&all, false, 1), [1]);
        assert_eq!(chosen(&all, false, 31), [1, 2]);
        assert_eq!(chosen(&all, false, 0), [] as [u64; 0]);
    }

    #[test]
    fn large_and_strange_figures_overflow_nothing() {
        let strange = Candidate {
            group: GroupId(1),
            live: u64::MAX,
            written: u64::MAX,
            age_ms: u64::MAX,
            is_weak: true,
        };
        let more = Candidate { group: GroupId(2), written: 1, ..strange };
        assert_eq!(chosen(&[strange, more], true, u64::MAX), [1]);
        assert_eq!(choose(vec![Candidate { live: 0, ..strange }], true, 1).len(), 1);
    }

    /// A disk of so many groups with so many objects of one size each, written at random.
    struct Disk {
        live: Vec<BTreeSet<usize>>,
        changed: Vec<u64>,
        place: Vec<usize>,
        free: Vec<usize>,
        open: usize,
        filled: u64,
        now: u64,
        copied: u64,
    }

    const GROUPS: usize = 100;
    const OBJECTS: u64 = 32;

    impl Disk {
        /// With so many objects; the rest is free.
        fn new(objects: usize) -> Self {
            let mut disk = Self {
                live: vec![BTreeSet::new(); GROUPS],
                changed: vec![0; GROUPS],
                place: vec![usize::MAX; objects],
                free: (1..GROUPS).rev().collect(),
                open: 0,
                filled: 0,
                now: 0,
                copied: 0,
            };
            (0..objects).for_each(|object| disk.write(object));
            disk
        }

        fn put(&mut self, object: usize) {
            if self.filled == OBJECTS {
                (self.open, self.filled) = (self.free.pop().expect("a free group"), 0);
            }
            self.live[self.open].insert(object);
            (self.place[object], self.filled) = (self.open, self.filled + 1);
        }

        fn write(&mut self, object: usize) {
            self.now += 1;
            let before = self.place[object];
            if before != usize::MAX {
                self.live[before].remove(&object);
                self.changed[before] = self.now;
            }
            self.put(object);
            self.changed[self.open] = self.now;
        }

        fn candidates(&self) -> Vec<Candidate> {
            let is_closed = |group: &usize| *group != self.open && !self.free.contains(group);
            let of = |group: usize| {
                let live = self.live[group].len() as u64;
                let age_ms = self.now - self.changed[group];
                let group = GroupId(group as u64);
                Candidate { group, live, written: OBJECTS, age_ms, is_weak: false }
            };
            (0..GROUPS).filter(is_closed).map(of).collect()
        }

        /// Cleans while there are few free groups.
        fn clean(&mut self, choose: fn(Vec<Candidate>) -> Vec<GroupId>) {
            while self.free.len() < 6 {
                let victims = choose(self.candidates());
                assert!(!victims.is_empty(), "nothing to clean");
                for victim in victims.into_iter().take(4) {
                    let victim = usize::try_from(victim.0).expect("a group");
                    for object in std::mem::take(&mut self.live[victim]) {
                        self.put(object);
                        self.copied += 1;
                    }
                    self.free.push(victim);
                }
            }
        }
    }

    /// Objects that are copied for each that is written, where nine of ten writes go to one of ten objects,
    /// on a disk of which seven tenths are needed.
    fn amplification(choose: fn(Vec<Candidate>) -> Vec<GroupId>, seed: u64) -> f64 {
        const WRITES: u32 = 20_000;
        let objects = GROUPS * 32 * 7 / 10;
        let (mut disk, mut dice) = (Disk::new(objects), Dice(seed));
        let hot = objects as u64 / 10;
        let mut before = 0;
        for write in 0..2 * WRITES {
            if write == WRITES {
                before = disk.copied;
            }
            let object = match dice.roll(10) {
                0 => hot + dice.roll(objects as u64 - hot),
                _ => dice.roll(hot),
            };
            disk.write(usize::try_from(object).expect("an object"));
            disk.clean(choose);
        }
        (disk.copied - before) as f64 / f64::from(WRITES)
    }

    #[test]
    fn where_some_is_hot_and_some_is_cold_less_is_copied_than_by_share_alone() {
        let by_share = |mut candidates: Vec<Candidate>| {
            candidates.sort_by_key(|group| (group.live, group.group));
            candidates.into_iter().map(|group| group.group).collect::<Vec<_>>()
        };
        for seed in 0..3 {
            let greedy = amplification(by_share, seed);
            let best = amplification(|candidates| choose(candidates, true, u64::MAX), seed);
            println!("seed {seed}: {best:.2} copied for each written, by share alone {greedy:.2}");
            assert!(best < greedy * 0.8, "seed {seed}: {best:.2}, by share alone {greedy:.2}");
        }
    }
}
