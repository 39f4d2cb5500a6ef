//! How large files are, and what stays free, as the volumes allow.

use super::EngineConfig;

/// Extents are not made smaller: a row of two megabytes is to fit several times.
const EXTENT_MIN: u64 = 8 << 20;

/// A volume holds at least so many extents: a few groups are open at a time.
const EXTENTS: u64 = 64;

/// What suits the volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Length of a group's extents in bytes.
    pub extent: u64,
    /// Bytes that stay free on every volume: enough to make two groups, so that cleaning always can.
    pub reserve: u64,
}

impl Sizes {
    /// For volumes of which the smallest has so many bytes.
    pub(super) fn of(config: &EngineConfig, smallest: u64) -> Self {
        let fitting = (smallest / EXTENTS / EXTENT_MIN * EXTENT_MIN).max(EXTENT_MIN);
        let extent = config.extent.min(fitting);
        Self { extent, reserve: config.reserve_bytes.max(3 * extent) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::PoolId;
    use agent_object_store_pool::seal::KEY;
    use zeroize::Zeroizing;

    #[test]
    fn a_small_volume_holds_small_extents_and_a_large_one_keeps_room_for_large_ones() {
        let config = EngineConfig::new(PoolId::new("pool").unwrap(), Zeroizing::new([0; KEY]));
        let mib = |bytes: u64| bytes >> 20;
        let small = Sizes::of(&config, 1 << 30);
        assert_eq!((mib(small.extent), mib(small.reserve)), (16, 64));
        let tiny = Sizes::of(&config, 100 << 20);
        assert_eq!((mib(tiny.extent), mib(tiny.reserve)), (8, 64));
        let large = Sizes::of(&config, 4 << 40);
        assert_eq!((mib(large.extent), mib(large.reserve)), (256, 768));
    }
}
