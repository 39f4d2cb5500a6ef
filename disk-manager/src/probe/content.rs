//! Rule A8: whether a disk holds one and the same byte wherever it is looked at.

pub use disk_manager_plan::layout::ENDS;
use disk_manager_plan::layout::{Extent, MIB};
use disk_manager_plan::observe::{Content, Trouble};

use crate::blocks::{Blocks, Buffer, read_into};
use crate::probe::Pulse;

/// How many samples are read between them: one from each of as many equal parts of the disk.
pub const SAMPLES: u64 = 512;
/// Length of a sample, in bytes.
pub const SAMPLE: u64 = 64 * 1024;

/// How much is read at once, in bytes.
const CHUNK: usize = 1024 * 1024;
/// Samples start at multiples of this, in bytes: the largest block size in use.
const ALIGN: usize = 4096;
/// Where the byte is taken that all others are compared with: between the partition table and the
/// first partition, where a claim of ours writes nothing.
const REFERENCE: u64 = MIB / 2;

/// Looks at the head, the tail and the samples that follow from `seed`. Bytes that equal those of
/// `own` (what a begun claim of ours has written) count as blank, sector by sector. The disk must be
/// larger than 1 MiB.
///
/// # Errors
/// A read failed.
pub fn content(
    disk: &impl Blocks,
    size: u64,
    block: u32,
    seed: u64,
    own: &[Extent],
    pulse: &Pulse,
) -> Result<Content, Trouble> {
    let mut buffer = Buffer::new(CHUNK);
    let reference = buffer.first(ALIGN);
    read_into(disk, REFERENCE, reference, block)?;
    let fill = reference.first().copied().unwrap_or_default();
    for (start, length) in places(size, seed) {
        let mut at = start;
        while at < start + length {
            let left = usize::try_from(start + length - at).unwrap_or(CHUNK);
            let bytes = buffer.first(left);
            read_into(disk, at, bytes, block)?;
            pulse.beat();
            if let Some(offset) = difference(bytes, at, fill, own) {
                return Ok(Content::Data { offset });
            }
            at += bytes.len() as u64;
        }
    }
    Ok(Content::Uniform(fill))
}

/// Every place that is looked at: start and length in bytes.
fn places(size: u64, seed: u64) -> Vec<(u64, u64)> {
    if size <= 2 * ENDS {
        return vec![(0, size)];
    }
    let mut places = vec![(0, ENDS), (size - ENDS, ENDS)];
    let part = size / SAMPLES;
    let mut random = seed;
    for index in 0..SAMPLES {
        let room = part.saturating_sub(SAMPLE) + 1;
        let align = ALIGN as u64;
        let at = (index * part + next(&mut random) % room) / align * align;
        places.push((at, SAMPLE.min(size - at)));
    }
    places
}

/// SplitMix64 (Steele, Lea, Flood 2014): spreads a seed; no secrecy is needed here.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The first byte that is neither `fill` nor in a sector of ours.
fn difference(bytes: &[u8], start: u64, fill: u8, own: &[Extent]) -> Option<u64> {
    const SECTOR: usize = disk_manager_plan::label::SECTOR;
    let uniform = |bytes: &[u8]| is_uniform(bytes, fill);
    if uniform(bytes) {
        return None;
    }
    let mut at = start;
    for sector in bytes.chunks(SECTOR) {
        if !uniform(sector) && !is_own(sector, at, own) {
            let inside = sector.iter().position(|byte| *byte != fill).unwrap_or_default();
            return Some(at + inside as u64);
        }
        at += SECTOR as u64;
    }
    None
}

/// Whether all bytes are `fill`. Words are combined without a branch, which compilers turn into the
/// plainest of vector instructions.
fn is_uniform(bytes: &[u8], fill: u8) -> bool {
    let word = u64::from_ne_bytes([fill; 8]);
    let (words, rest) = bytes.as_chunks();
    let odd = words.iter().fold(0, |odd, bytes| odd | (u64::from_ne_bytes(*bytes) ^ word));
    odd == 0 && rest.iter().all(|byte| *byte == fill)
}

fn is_own(sector: &[u8], at: u64, own: &[Extent]) -> bool {
    own.iter().any(|extent| {
        at.checked_sub(extent.offset)
            .and_then(|inside| usize::try_from(inside).ok())
            .and_then(|inside| extent.bytes.get(inside..inside + sector.len()))
            == Some(sector)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryDisk;

    const SIZE: u64 = 600 * MIB;

    fn look(disk: &MemoryDisk) -> Content {
        content(disk, SIZE, 512, 7, &[], &Pulse::default()).unwrap()
    }

    #[test]
    fn a_disk_of_zeros_or_of_one_other_byte_is_uniform() {
        assert_eq!(look(&MemoryDisk::new(SIZE)), Content::Uniform(0));
        assert_eq!(look(&MemoryDisk::filled(SIZE, 0xff)), Content::Uniform(0xff));
    }

    #[test]
    fn one_changed_byte_in_the_head_or_the_tail_is_seen() {
        for at in [0, 1, 511, 5000, MIB / 2 + 1, ENDS - 1, SIZE - ENDS, SIZE - 1] {
            let mut disk = MemoryDisk::new(SIZE);
            disk.put(at, &[1]);
            assert_eq!(look(&disk), Content::Data { offset: at });
        }
    }

    #[test]
    fn data_longer_than_two_parts_of_the_disk_is_always_seen() {
        let mut disk = MemoryDisk::new(SIZE);
        let length = usize::try_from(2 * SIZE / SAMPLES + SAMPLE).unwrap();
        disk.put(200 * MIB, &vec![0xa5; length]);
        for seed in 0..20 {
            let seen = content(&disk, SIZE, 512, seed, &[], &Pulse::default()).unwrap();
            assert!(matches!(seen, Content::Data { .. }), "seed {seed}: {seen:?}");
        }
    }

    #[test]
    fn what_our_claim_wrote_counts_as_blank_and_one_bit_beside_it_does_not() {
        let own = [Extent { offset: 512, bytes: vec![7; 1024] }];
        let mut disk = MemoryDisk::new(SIZE);
        disk.put(512, &[7; 512]);
        assert_eq!(
            content(&disk, SIZE, 512, 1, &own, &Pulse::default()).unwrap(),
            Content::Uniform(0)
        );
        disk.put(1000, &[6]);
        assert_eq!(
            content(&disk, SIZE, 512, 1, &own, &Pulse::default()).unwrap(),
            Content::Data { offset: 512 }
        );
    }

    #[test]
    fn a_read_error_names_its_block() {
        let mut disk = MemoryDisk::new(SIZE);
        disk.fail_reads_at(8 * MIB);
        let trouble = content(&disk, SIZE, 512, 1, &[], &Pulse::default()).unwrap_err();
        assert!(matches!(trouble, Trouble::Read { lba: 16384, .. }), "{trouble:?}");
    }

    #[test]
    fn samples_stay_on_the_disk_whatever_the_seed() {
        for seed in 0..200 {
            for size in [33 * MIB, 600 * MIB, 4_000_787_030_016] {
                for (start, length) in places(size, seed) {
                    assert!(start + length <= size, "seed {seed} size {size} at {start}");
                }
            }
        }
    }
}
