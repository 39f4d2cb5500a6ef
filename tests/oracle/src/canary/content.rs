//! What canaries contain: drawn from the oracle's secret seed, so that nothing of them is stored.

use std::ops::Range;

use agent_sla::protocol::B256;

use crate::record::Canary;

/// A secret that content and times are drawn from.
pub type Seed = [u8; 32];

/// Least and greatest size in bytes of the small canary (number 0) of an era, and of the large one.
const SMALL: (u64, u64) = (4 << 10, 64 << 10);
const LARGE: (u64, u64) = (1 << 20, 4 << 20);

/// The largest canary in bytes.
pub const SIZE_MAX: usize = 4 << 20;

/// A number that only who has the seed can tell.
#[must_use]
pub fn dice(seed: &Seed, what: &str, node: &B256, era: u64, number: u64) -> u64 {
    let mut hasher = blake3::Hasher::new_keyed(seed);
    hasher.update(what.as_bytes()).update(&[0]).update(node.as_slice());
    hasher.update(&era.to_le_bytes()).update(&number.to_le_bytes());
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Bytes of a canary.
#[must_use]
pub fn size(seed: &Seed, node: &B256, canary: Canary) -> u64 {
    let (least, greatest) = if canary.number == 0 { SMALL } else { LARGE };
    let drawn = dice(seed, "size", node, canary.era, u64::from(canary.number));
    least + drawn % (greatest - least + 1)
}

/// Some bytes of a canary.
#[must_use]
pub fn bytes(seed: &Seed, node: &B256, canary: Canary, range: &Range<u64>) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new_keyed(seed);
    hasher.update(b"content\0").update(node.as_slice());
    hasher.update(&canary.era.to_le_bytes()).update(&[canary.number]);
    let mut reader = hasher.finalize_xof();
    reader.set_position(range.start);
    let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
    let mut bytes = vec![0; length];
    reader.fill(&mut bytes);
    bytes
}

/// The key of a canary. What it is of is no secret; what it contains is.
#[must_use]
pub fn key(canary: Canary) -> String {
    format!("canary-{}-{}", canary.era, canary.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: B256 = B256::repeat_byte(1);

    #[test]
    fn a_range_is_a_part_of_the_whole_and_each_canary_another() {
        let canary = Canary { era: 7, number: 0 };
        let whole = bytes(&[1; 32], &NODE, canary, &(0..5000));
        assert_eq!(bytes(&[1; 32], &NODE, canary, &(4000..4500)), &whole[4000..4500]);
        let others = [
            bytes(&[2; 32], &NODE, canary, &(0..5000)),
            bytes(&[1; 32], &B256::ZERO, canary, &(0..5000)),
            bytes(&[1; 32], &NODE, Canary { era: 8, ..canary }, &(0..5000)),
            bytes(&[1; 32], &NODE, Canary { number: 1, ..canary }, &(0..5000)),
        ];
        assert!(others.iter().all(|other| *other != whole));
    }

    #[test]
    fn sizes_are_within_their_bounds() {
        for era in 0..200 {
            let small = size(&[1; 32], &NODE, Canary { era, number: 0 });
            let large = size(&[1; 32], &NODE, Canary { era, number: 1 });
            assert!((SMALL.0..=SMALL.1).contains(&small) && (LARGE.0..=LARGE.1).contains(&large));
        }
    }
}
