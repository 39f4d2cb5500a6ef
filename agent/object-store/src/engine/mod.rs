//! The engine: small objects in sealed journal lanes, large ones in erasure-coded groups, an index
//! that can be made again.

mod apply;
mod bulk;
mod clean;
mod core;
mod doubts;
mod entry;
mod error;
mod feed;
mod fjall;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod heal;
mod index;
mod keeper;
mod keys;
mod listing;
#[cfg(any(test, feature = "fuzzing"))]
mod memory;
mod open;
mod pack;
mod packed;
mod pool;
mod progress;
mod publish;
mod read;
mod reads;
mod rebuild;
mod receive;
mod record;
mod records;
mod settle;
mod stored;
mod tally;
mod totals;
mod tree;
mod uploads;
mod volumes;
mod write;

#[cfg(test)]
mod tests;

pub use error::EngineError;
pub use index::{IndexError, IndexFault};
pub use pool::{Engine, EngineConfig};
pub use record::NotARecord;
