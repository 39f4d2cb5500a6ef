//! How the machine's memory is shared out.

/// With the index's cache and the programs it fits a machine of 512 MiB.
const BODIES_LEAST: u64 = 128 << 20;

/// Memory for the bodies of requests in bytes: a quarter of the machine's, and never so little that a
/// few uploads of large objects would wait for each other.
pub(crate) fn for_bodies() -> u64 {
    let info = rustix::system::sysinfo();
    let total = u64::from(info.mem_unit).saturating_mul(info.totalram);
    (total / 4).max(BODIES_LEAST)
}
