//! How the machine's memory is shared out.

use std::path::Path;

use agent_api::pool::{BodyMemory, IndexMemory, Memory};
use agent_health::{
    LimitReading, MemoryReading, ResidentReading, read_limit, read_memory, read_resident,
};
use agent_object_store::PoolStatus;
use tracing::warn;

/// With the index's cache and the programs it fits a machine of 512 MiB.
const BODIES_LEAST: u64 = 128 << 20;

const PROC: &str = "/proc";
const GROUPS: &str = "/sys/fs/cgroup";

/// Memory for the bodies of requests in bytes: a quarter of the machine's, or of what the control group
/// may take, and never so little that a few uploads of large objects would wait for each other.
pub(crate) fn for_bodies() -> u64 {
    let info = rustix::system::sysinfo();
    let machine = u64::from(info.mem_unit).saturating_mul(info.totalram);
    let total = match read_limit(Path::new(PROC), Path::new(GROUPS)) {
        LimitReading::Known { bytes } => machine.min(bytes),
        LimitReading::Unlimited => machine,
        LimitReading::Unknown { reason } => {
            warn!(
                reason,
                "the limit of the control group is not known; that of the machine counts"
            );
            machine
        }
    };
    (total / 4).max(BODIES_LEAST)
}

/// What memory is used for, and how much there is.
pub(crate) fn shown(status: &PoolStatus) -> Memory {
    let proc = Path::new(PROC);
    let bodies = status.bodies;
    Memory {
        bodies: BodyMemory {
            total: bodies.total,
            held: bodies.held,
            waiting: bodies.waiting,
            refused: bodies.refused,
        },
        index: status.index.map(|index| IndexMemory {
            cache_total: index.cache_total,
            cache_held: index.cache_held,
            buffers_total: index.buffers_total,
            buffers_held: index.buffers_held,
        }),
        resident: match read_resident(proc) {
            ResidentReading::Known { bytes } => Some(bytes),
            ResidentReading::Unknown { .. } => None,
        },
        machine: match read_memory(proc) {
            MemoryReading::Known { total_bytes, .. } => Some(total_bytes),
            MemoryReading::Unknown { .. } => None,
        },
        limit: match read_limit(proc, Path::new(GROUPS)) {
            LimitReading::Known { bytes } => Some(bytes),
            LimitReading::Unlimited | LimitReading::Unknown { .. } => None,
        },
    }
}
