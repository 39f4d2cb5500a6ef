//! The partition ICN-SEED: how it is found and how much of it is read. Version 1 of the form.

/// GPT partition type of ICN-SEED, in the lower case that the kernel and udev use.
pub const PARTITION_TYPE: &str = "1c4e5eed-0000-4000-8000-49434e534544";

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

/// Whether an entry is one that computers leave on every stick they see.
#[must_use]
pub fn is_litter(name: &str) -> bool {
    name.starts_with('.') || name == "System Volume Information" || name == "$RECYCLE.BIN"
}
