//! Ordered keys with values on a data volume: what a node remembers beside its objects and can lose with that
//! volume, as the history of its hardware and the spool of its reports.

mod disk;
mod store;

pub use disk::{Disk, set_aside};
pub use store::{Change, Memory, Pair, Store, StoreError, VALUE_MAX};
