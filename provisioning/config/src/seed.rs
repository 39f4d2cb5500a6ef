//! The partition ICN-SEED: how it is found and how much of it is read. Version 1 of the form.

/// GPT partition type of ICN-SEED: Microsoft basic data, so that Windows gives it a drive letter.
/// Many other partitions have it too, so the name counts as well. In the lower case of udev.
pub const PARTITION_TYPE: &str = "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7";

/// GPT partition name and FAT label of ICN-SEED.
pub const LABEL: &str = "ICN-SEED";

/// The configuration's file name, at the top of the partition.
pub const CONFIG_FILE: &str = "node.toml";

/// Largest file that is taken from the partition, in bytes: certificate chains take a few KiB.
pub const MAX_FILE: u64 = 1024 * 1024;

/// Most files that are taken from the partition: what computers drop beside ours is not counted,
/// as names that begin with a dot and `System Volume Information` are passed over.
pub const MAX_FILES: usize = 64;

/// Most bytes that are taken from the partition in all: they are kept in memory.
pub const MAX_TOTAL: u64 = 8 * 1024 * 1024;

/// Deepest folder that is looked into: the top is 1.
pub const MAX_DEPTH: usize = 3;

/// Whether a GPT partition is ICN-SEED: its type, in either case of letters, and its exact name.
#[must_use]
pub fn is_seed(kind: &str, name: &str) -> bool {
    kind.eq_ignore_ascii_case(PARTITION_TYPE) && name == LABEL
}

/// Whether an entry is one that computers leave on every stick they see.
#[must_use]
pub fn is_litter(name: &str) -> bool {
    name.starts_with('.') || name == "System Volume Information" || name == "$RECYCLE.BIN"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_the_type_and_the_exact_name() {
        assert!(is_seed(PARTITION_TYPE, "ICN-SEED"));
        assert!(is_seed("EBD0A0A2-B9E5-4433-87C0-68B6B72699C7", "ICN-SEED"));
        for name in ["", "Basic data partition", "icn-seed", "ICN-SEED ", "ICN-SEED2"] {
            assert!(!is_seed(PARTITION_TYPE, name), "{name:?}");
        }
        assert!(!is_seed("c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "ICN-SEED"));
    }
}
