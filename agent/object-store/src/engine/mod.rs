//! The engine: small objects in sealed journal lanes, large ones in erasure-coded groups, an index
//! that can be made again.

mod admission;
mod apply;
mod bulk;
mod clean;
mod compress;
mod core;
mod doubts;
mod entry;
mod eras;
mod error;
mod events;
mod expand;
mod expanding;
mod feed;
mod fjall;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod heal;
mod hold;
mod index;
mod keeper;
mod keys;
mod leave;
mod listing;
#[cfg(any(test, feature = "fuzzing"))]
mod memory;
mod open;
mod pack;
mod packed;
mod pool;
mod progress;
mod prove;
mod publish;
mod read;
mod reads;
mod rebuild;
mod receive;
mod record;
mod records;
mod settle;
mod standby;
mod stored;
mod tally;
mod totals;
mod traffic;
mod tree;
mod uploads;
mod victims;
mod volumes;
mod without;
mod write;

#[cfg(test)]
mod tests;

pub use admission::BodyMemory;
pub use eras::EraRoot;
pub use error::EngineError;
pub use events::{Event, Happening};
pub use expand::NotCompressed;
pub use index::{IndexError, IndexFault, IndexMemory};
pub use leave::Leaving;
pub use pool::{
    ContentStatus, Engine, EngineConfig, HealingStatus, PackingStatus, PoolSpace, PoolStatus,
    ScrubStatus, Spread, StandbyStatus, VolumeStatus, destroy_volume, has_pool, is_opened_by,
    is_retired,
};
pub use prove::SliceProof;
pub use record::NotARecord;
pub use standby::Unsettled;
pub use totals::BucketTotals;
pub use traffic::{Meter, Requests};
