//! What the superblocks of a pool say together. Pure.

use std::collections::{BTreeMap, BTreeSet};

use agent_object_store_pool::redundancy::redundancy;
use agent_object_store_pool::superblock::{Class, Duty, Member, Superblock, VolumeNo};

/// What is known of the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// The pool's name, with the number of its founding.
    pub pool: String,
    /// Every volume that ever was in it, by number.
    pub members: Vec<Member>,
    /// The volume that the index is on.
    pub home: Option<VolumeNo>,
    /// The volume that its standby is on, if that is whole.
    pub standby: Option<VolumeNo>,
    /// Number of the decision about both.
    pub epoch: u64,
    /// Superblocks contradict each other under that number: what is on the index's volume is not trusted.
    pub is_disputed: bool,
}

/// What superblocks say of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Decided {
    home: Option<VolumeNo>,
    standby: Option<VolumeNo>,
    epoch: u64,
    is_disputed: bool,
}

impl Decided {
    /// These, or those that another superblock tells: the greater number counts. Two decisions have the same
    /// one if both were told to some volumes only before the power went, and none of the first was there for
    /// the second; only what they agree on is known then.
    fn or(self, other: Self) -> Self {
        if other.epoch != self.epoch {
            return if other.epoch > self.epoch { other } else { self };
        }
        let standby = self.standby.filter(|standby| other.standby == Some(*standby));
        Self { standby, is_disputed: self.is_disputed || self.home != other.home, ..self }
    }
}

/// How a volume with a superblock of the pool stands to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It belongs to it.
    Member,
    /// It was given up.
    Gone,
    /// It was formatted and never used, and its number was given to another one since.
    Unused,
    /// Its number is another volume's.
    Conflict,
}

impl Known {
    /// What superblocks of one pool say together, beside what was known before; none if there are no
    /// superblocks.
    ///
    /// Lists of members only grow, and a member that one calls gone is gone. Of two volumes that
    /// claim a number, the one that was known before has it, else the one that more superblocks
    /// name.
    pub(super) fn of(before: Option<&Self>, superblocks: &[&Superblock]) -> Option<Self> {
        let first = superblocks.first().map(|superblock| superblock.pool.clone());
        let pool = before.map(|before| before.pool.clone()).or(first)?;
        let mut claims: BTreeMap<VolumeNo, BTreeMap<&str, (usize, &Member)>> = BTreeMap::new();
        let mut gone: BTreeSet<(VolumeNo, &str)> = BTreeSet::new();
        let known = before.iter().flat_map(|before| before.members.iter().map(|m| (usize::MAX, m)));
        let said = superblocks.iter().flat_map(|superblock| &superblock.members).map(|m| (1, m));
        for (weight, member) in known.chain(said) {
            let of_number = claims.entry(member.number).or_default();
            let claim = of_number.entry(&member.volume).or_insert((0, member));
            claim.0 = claim.0.saturating_add(weight);
            // What it is for is as was last decided, whoever says it.
            if member.decided > claim.1.decided {
                claim.1 = member;
            }
            if member.gone {
                gone.insert((member.number, &member.volume));
            }
        }
        let told = superblocks.iter().map(|superblock| Decided {
            home: superblock.index,
            standby: superblock.standby,
            epoch: superblock.index_epoch,
            is_disputed: false,
        });
        let told = told.reduce(Decided::or).unwrap_or_default();
        // What this process decided is in force: numbers are not given twice by one.
        let own = before.map(|before| Decided {
            home: before.home,
            standby: before.standby,
            epoch: before.epoch,
            is_disputed: before.is_disputed,
        });
        let own = own.filter(|own| own.epoch >= told.epoch);
        let Decided { home, standby, epoch, is_disputed } = own.unwrap_or(told);
        let members = claims.into_values().filter_map(|claims| {
            let (_, member) = claims.into_values().max_by_key(|(weight, _)| *weight)?;
            let gone = gone.contains(&(member.number, member.volume.as_str()));
            Some(Member { gone, ..member.clone() })
        });
        Some(Self { pool, members: members.collect(), home, standby, epoch, is_disputed })
    }

    /// How a volume stands to the pool.
    pub(super) fn standing(&self, superblock: &Superblock) -> Standing {
        match self.members.iter().find(|member| member.number == superblock.number) {
            Some(member) if member.volume == superblock.volume => {
                if member.gone {
                    Standing::Gone
                } else {
                    Standing::Member
                }
            }
            None => Standing::Member,
            Some(_) if superblock.index.is_none() => Standing::Unused,
            Some(_) => Standing::Conflict,
        }
    }

    /// The members that were not given up.
    pub(super) fn living(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.gone)
    }

    /// The living members of which something may be needed.
    pub(super) fn needed(&self) -> impl Iterator<Item = &Member> {
        self.living().filter(|member| member.duty != Duty::Replaced)
    }

    /// The number of the living member with this identity.
    pub(super) fn number(&self, volume: &str) -> Option<VolumeNo> {
        self.living().find(|member| member.volume == volume).map(|member| member.number)
    }

    /// What a member is for; none if it never was one.
    pub(super) fn duty(&self, number: VolumeNo) -> Option<&Duty> {
        self.members.iter().find(|member| member.number == number).map(|member| &member.duty)
    }

    /// Whether the index or its standby is on a volume.
    pub(super) fn has_index(&self, number: VolumeNo) -> bool {
        self.home == Some(number) || self.standby == Some(number)
    }

    /// The living member that is to leave.
    pub(super) fn leaving(&self) -> Option<VolumeNo> {
        self.living().find(|member| member.duty == Duty::Retires).map(|member| member.number)
    }

    /// Living members that failed while the machine ran that has this boot id, with the reason.
    pub(super) fn fenced<'a>(
        &'a self,
        boot: &'a str,
    ) -> impl Iterator<Item = (&'a Member, &'a str)> {
        self.living().filter_map(move |member| match &member.duty {
            Duty::Fenced { boot: then, reason } if then == boot && !boot.is_empty() => {
                Some((member, reason.as_str()))
            }
            _ => None,
        })
    }

    /// The same with another duty of a member. One that is retired is gone.
    pub(super) fn with_duty(&self, number: VolumeNo, duty: &Duty) -> Self {
        let mut known = self.clone();
        for member in known.members.iter_mut().filter(|member| member.number == number) {
            member.gone |= *duty == Duty::Retired;
            member.duty = duty.clone();
            member.decided += 1;
        }
        known
    }

    /// The same when these volumes are used again: that they failed or were missing is over.
    pub(super) fn trusting(&self, volumes: &[VolumeNo]) -> Self {
        let was_away = |number: &&VolumeNo| {
            matches!(self.duty(**number), Some(Duty::Fenced { .. } | Duty::Replaced))
        };
        let trusted = volumes.iter().filter(was_away);
        trusted.fold(self.clone(), |known, number| known.with_duty(*number, &Duty::Serves))
    }

    /// How many of the members may be missing without anything being lost.
    pub(super) fn spare(&self) -> usize {
        redundancy(self.needed().count()).map_or(0, |redundancy| usize::from(redundancy.m))
    }

    /// The members and one more, with a number that was never used; none if all numbers were.
    pub(super) fn with(&self, volume: &str, class: Class) -> Option<(VolumeNo, Vec<Member>)> {
        let last = self.members.iter().map(|member| member.number.0).max();
        let number = VolumeNo(last.map_or(Some(0), |last| last.checked_add(1))?);
        let mut members = self.members.clone();
        members.push(Member::new(volume.to_owned(), number, class));
        Some((number, members))
    }

    /// The members, and those of another list that are not among them.
    pub(super) fn with_all(&self, others: &[Member]) -> Vec<Member> {
        let is_new = |other: &&Member| !self.members.iter().any(|m| m.number == other.number);
        let mut members = self.members.clone();
        members.extend(others.iter().filter(is_new).cloned());
        members.sort_by_key(|member| member.number);
        members
    }

    /// The same without a volume; none if it is not a living member.
    pub(super) fn without(&self, volume: &str) -> Option<Self> {
        let number = self.number(volume)?;
        let mut known = self.clone();
        for member in known.members.iter_mut().filter(|member| member.number == number) {
            member.gone = true;
            // What is on it is left alone, also if it was to be retired.
            member.duty = Duty::Serves;
            member.decided += 1;
        }
        Some(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(number: u16, volume: &str) -> Member {
        let volume = volume.to_owned();
        Member::new(volume, VolumeNo(number), Class::Ssd)
    }

    fn superblock(number: u16, members: &[Member]) -> Superblock {
        let own = members.iter().find(|member| member.number.0 == number).unwrap();
        Superblock {
            pool: "pool/1".to_owned(),
            volume: own.volume.clone(),
            number: own.number,
            class: own.class,
            generation: 2,
            incarnations: 1,
            key: String::new(),
            members: members.to_vec(),
            index: None,
            standby: None,
            index_epoch: 0,
        }
    }

    #[test]
    fn the_longest_list_counts_and_gone_is_gone() {
        let mut old = [member(0, "a"), member(1, "b")];
        old[1].gone = true;
        let new = [member(0, "a"), member(1, "b"), member(2, "c")];
        let (a, c) = (superblock(0, &old), superblock(2, &new));
        let known = Known::of(None, &[&a, &c]).unwrap();
        assert_eq!(known.living().map(|m| m.volume.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(known.standing(&superblock(1, &old)), Standing::Gone);
        assert_eq!(known.standing(&c), Standing::Member);
        assert_eq!(known.with("b", Class::Ssd).unwrap().0, VolumeNo(3));
        assert_eq!((known.spare(), known.number("b")), (1, None));
        assert_eq!(known.without("c").unwrap().living().count(), 1);
        assert_eq!(Known::of(None, &[]), None);
    }

    #[test]
    fn a_number_is_that_of_whom_more_superblocks_name() {
        let first = [member(0, "a"), member(1, "x")];
        let second = [member(0, "a"), member(1, "y")];
        let (a, mut x, y) = (superblock(0, &second), superblock(1, &first), superblock(1, &second));
        for order in [[&a, &x, &y], [&x, &y, &a]] {
            let known = Known::of(None, &order).unwrap();
            assert_eq!(known.number("y"), Some(VolumeNo(1)));
            assert_eq!(known.standing(&x), Standing::Unused);
        }
        let before = Known::of(None, &[&y]);
        x.index = Some(VolumeNo(0));
        let known = Known::of(before.as_ref(), &[&x]).unwrap();
        assert_eq!(known.standing(&x), Standing::Conflict);
    }

    #[test]
    fn the_last_decision_about_the_index_counts() {
        let members = [member(0, "a"), member(1, "b")];
        let (mut a, mut b) = (superblock(0, &members), superblock(1, &members));
        (a.index, a.index_epoch) = (Some(VolumeNo(0)), 1);
        (b.index, b.index_epoch) = (Some(VolumeNo(1)), 2);
        for order in [[&a, &b], [&b, &a]] {
            let known = Known::of(None, &order).unwrap();
            assert_eq!((known.home, known.epoch), (Some(VolumeNo(1)), 2));
        }
    }

    #[test]
    fn of_decisions_with_the_same_number_only_that_counts_which_is_in_both() {
        let members = [member(0, "a"), member(1, "b"), member(2, "c")];
        let told = |number: u16, home: u16, standby: Option<u16>| Superblock {
            index: Some(VolumeNo(home)),
            standby: standby.map(VolumeNo),
            index_epoch: 7,
            ..superblock(number, &members)
        };
        let places = |told: [&Superblock; 2]| {
            let known = Known::of(None, &told).unwrap();
            (known.home.map(|home| home.0), known.standby.map(|home| home.0), known.is_disputed)
        };
        let (with, without, other) = (told(0, 0, Some(1)), told(1, 0, None), told(1, 0, Some(2)));
        assert_eq!(places([&with, &with]), (Some(0), Some(1), false));
        for unlike in [&without, &other] {
            assert_eq!(places([&with, unlike]), (Some(0), None, false));
            assert_eq!(places([unlike, &with]), (Some(0), None, false));
        }
        let elsewhere = told(2, 2, Some(1));
        assert_eq!(places([&with, &elsewhere]), (Some(0), Some(1), true));
        // What the process itself decided under that number is what is so.
        let own = Known::of(None, &[&elsewhere]);
        assert_eq!(Known::of(own.as_ref(), &[&with, &without]), own);
    }
}
