//! The engine: small objects in sealed journal lanes, large ones in erasure-coded groups, an index
//! that can be made again.
#![expect(dead_code, reason = "some parts are built before what uses them: packing, proofs")]

mod apply;
mod bulk;
mod core;
mod entry;
mod error;
mod feed;
mod fjall;
mod index;
mod keys;
mod listing;
mod open;
mod pool;
mod progress;
mod read;
mod receive;
mod record;
mod stored;
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
