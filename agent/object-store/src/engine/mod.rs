//! The engine: small objects in sealed journal lanes, large ones in erasure-coded groups, an index
//! that can be made again. Being built; nothing uses it yet.
#![expect(dead_code, reason = "the parts are built before what ties them together")]

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
mod progress;
mod read;
mod receive;
mod record;
mod stored;
mod tree;
mod uploads;
mod volumes;
mod write;

#[cfg(test)]
mod tests;

pub use error::EngineError;
pub use index::{IndexError, IndexFault};
pub use record::NotARecord;
