//! Numbers and bytes that follow from a seed.

/// A small generator (SplitMix64), so that a seed always gives the same.
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    /// A number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)).checked_rem(sides).unwrap_or_default()
    }

    /// Bytes that nobody can compress.
    pub fn noise(&mut self, length: usize) -> Vec<u8> {
        // By words: tests are built without optimisation.
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.roll(u64::MAX).to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// The same bytes for the same name, which nobody can compress.
#[must_use]
pub fn noise(name: &str, length: usize) -> Vec<u8> {
    let seed = name.bytes().fold(0, |sum: u64, byte| sum.rotate_left(7) ^ u64::from(byte));
    Dice(seed).noise(length)
}
