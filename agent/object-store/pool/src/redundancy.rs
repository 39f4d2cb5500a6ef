//! How much redundancy so many volumes carry, and which of them hold a group. Pure.

use crate::group::geometry::{BLOCK, Shape};
use crate::superblock::{Class, VolumeNo};

/// Content of a full row in bytes, at most: large enough that a disk reads and writes each cell in
/// one go, small enough that several rows in flight take little memory.
pub const ROW: u32 = 2 << 20;

/// Cells are at least so large, in bytes: below, seeking costs a rotating disk more than reading.
const MIN_CELL: u32 = 128 << 10;

/// Cells are at most so large, in bytes.
const MAX_CELL: u32 = 1 << 20;

/// How content is spread over volumes of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redundancy {
    /// Data cells of a row.
    pub k: u8,
    /// Parity cells of a row: so many volumes may be lost.
    pub m: u8,
    /// Volumes that hold a record of the journal.
    pub copies: u8,
}

/// The redundancy for so many usable volumes of one class; none for none.
///
/// Up to 8 volumes it is the table of the design. From 8 on both parts grow step by step to 10+4 at
/// 14: neither ever shrinks when a volume is added, parity stays between a quarter and a half of the
/// data, and every volume takes part. More than 14 share the groups among them.
#[must_use]
pub fn redundancy(volumes: usize) -> Option<Redundancy> {
    let (k, m, copies) = match volumes {
        0 => return None,
        1 => (1, 0, 1),
        2 => (1, 1, 2),
        3 => (2, 1, 2),
        4 => (2, 2, 3),
        5 => (3, 2, 3),
        6 => (4, 2, 3),
        7 => (5, 2, 3),
        8 => (6, 2, 3),
        9 => (6, 3, 4),
        10 => (7, 3, 4),
        11 => (8, 3, 4),
        12 => (8, 4, 4),
        13 => (9, 4, 4),
        _ => (10, 4, 4),
    };
    Some(Redundancy { k, m, copies })
}

impl Redundancy {
    /// The rows of groups with this redundancy.
    #[must_use]
    pub fn shape(self) -> Shape {
        let cell = (ROW / u32::from(self.k.max(1))).clamp(MIN_CELL, MAX_CELL) / BLOCK * BLOCK;
        Shape::of(self.k, self.m, cell)
    }
}

/// Picks `count` volumes of one class for a group, by chance weighted with their free bytes, so that
/// all fill up alike; none if no class has so many with free bytes. The order is that of the shards.
/// The same arguments give the same answer.
#[must_use]
pub fn choose_volumes(
    volumes: &[(VolumeNo, u64, Class)],
    count: usize,
    seed: u64,
) -> Option<Vec<VolumeNo>> {
    let mut left = best_class(volumes, count)?;
    // The order of the argument is of no matter.
    left.sort_unstable();
    left.dedup_by_key(|(number, _)| *number);
    let mut random = seed;
    let mut chosen = Vec::with_capacity(count);
    while chosen.len() < count {
        let total: u128 = left.iter().map(|(_, free)| u128::from(*free)).sum();
        let mut drawn = wide_draw(&mut random).checked_rem(total)?;
        let at = left.iter().position(|(_, free)| {
            let free = u128::from(*free);
            let here = drawn < free;
            drawn = drawn.saturating_sub(free);
            here
        })?;
        chosen.push(left.remove(at).0);
    }
    Some(chosen)
}

/// The volumes with room of the class that has the most free bytes, of those that have enough.
fn best_class(volumes: &[(VolumeNo, u64, Class)], count: usize) -> Option<Vec<(VolumeNo, u64)>> {
    let with_room = |class| {
        let of_class = volumes.iter().filter(move |(_, free, found)| *found == class && *free > 0);
        of_class.map(|(number, free, _)| (*number, *free)).collect::<Vec<_>>()
    };
    [Class::Hdd, Class::Ssd, Class::Nvme]
        .into_iter()
        .map(with_room)
        .filter(|found| found.len() >= count.max(1))
        .max_by_key(|found| found.iter().map(|(_, free)| u128::from(*free)).sum::<u128>())
}

/// 128 bits of SplitMix64, so that the remainder favours nobody.
fn wide_draw(state: &mut u64) -> u128 {
    let mut draw = || {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = *state;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u128::from(x ^ (x >> 31))
    };
    draw() << 64 | draw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn more_volumes_never_mean_less() {
        assert_eq!(redundancy(0), None);
        let mut before = redundancy(1).unwrap();
        for volumes in 1..70 {
            let now = redundancy(volumes).unwrap();
            assert!(usize::from(now.k + now.m) <= volumes, "{volumes}: {now:?}");
            assert!(volumes > 14 || usize::from(now.k + now.m) == volumes, "{volumes}: {now:?}");
            assert!(now.m >= before.m && now.copies >= before.copies, "{volumes}: {now:?}");
            // 4 volumes: 2+2 instead of 2+1.
            assert!(now.k >= before.k, "{volumes}: {now:?}");
            // What the journal survives, the groups survive too.
            assert!(now.copies <= now.m + 1);
            before = now;
        }
        assert_eq!(before, Redundancy { k: 10, m: 4, copies: 4 });
    }

    #[test]
    fn cells_are_whole_blocks_and_rows_at_most_two_mebibytes() {
        for volumes in 1..20 {
            let shape = redundancy(volumes).unwrap().shape();
            assert!((MIN_CELL..=MAX_CELL).contains(&shape.cell), "{shape:?}");
            assert_eq!(shape.cell % BLOCK, 0);
            assert!((ROW / 2..=ROW).contains(&shape.full_row()), "{shape:?}");
        }
    }

    #[test]
    fn volumes_fill_up_alike() {
        let sizes: Vec<u64> = vec![4000, 1000, 2000, 2000, 500];
        let mut free = sizes.clone();
        for seed in 0..1500 {
            let volumes: Vec<_> =
                (0..).zip(&free).map(|(n, free)| (VolumeNo(n), *free, Class::Hdd)).collect();
            for number in choose_volumes(&volumes, 3, seed).unwrap() {
                free[usize::from(number.0)] -= 1;
            }
        }
        // 4500 of 9500 are taken, from the largest as often as one group allows.
        assert!(free[0] < 2700, "{free:?}");
        assert!(free.iter().zip(&sizes).all(|(free, size)| *free * 10 > size * 3), "{free:?}");
    }

    #[test]
    fn a_group_stands_on_one_class() {
        let volume = |n, free, class| (VolumeNo(n), free, class);
        let volumes = [
            volume(1, 9000, Class::Hdd),
            volume(2, 10, Class::Ssd),
            volume(3, 10, Class::Ssd),
            volume(4, 0, Class::Hdd),
        ];
        let mut chosen = choose_volumes(&volumes, 2, 5).unwrap();
        chosen.sort_unstable();
        assert_eq!(chosen, [VolumeNo(2), VolumeNo(3)]);
        assert_eq!(choose_volumes(&volumes, 1, 5), Some(vec![VolumeNo(1)]));
        assert_eq!(choose_volumes(&volumes, 3, 5), None);
        assert_eq!(choose_volumes(&[], 0, 5), None);
    }

    proptest! {
        #[test]
        fn chosen_volumes_are_distinct_and_have_room(
            free in proptest::collection::vec(0_u64..=u64::MAX, 0..20),
            count in 1_usize..15,
            seed: u64,
        ) {
            let volumes: Vec<_> =
                (0..).zip(&free).map(|(n, free)| (VolumeNo(n), *free, Class::Ssd)).collect();
            let chosen = choose_volumes(&volumes, count, seed);
            let mut turned = volumes.clone();
            turned.reverse();
            prop_assert_eq!(&choose_volumes(&turned, count, seed), &chosen);
            match chosen {
                None => prop_assert!(free.iter().filter(|free| **free > 0).count() < count),
                Some(chosen) => {
                    let distinct: std::collections::BTreeSet<_> = chosen.iter().collect();
                    prop_assert_eq!(distinct.len(), count);
                    prop_assert!(chosen.iter().all(|n| free[usize::from(n.0)] > 0));
                }
            }
        }
    }
}
