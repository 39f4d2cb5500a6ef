//! Durable bytes on the volumes of a node: sealed journal lanes for what is small, erasure-coded
//! groups of extents for what is large. It knows no objects; `docs/design/on-disk-format.md` draws
//! what it writes.
//!
//! - [`backend`]: the only place where files are touched, small enough for a test to stand in.
//! - [`disk`], [`uring`]: real files; what is done with them without a thread that waits.
//! - [`superblock`], [`device`]: what a volume says of itself; a volume in use.
//! - [`group`]: rows of bytes, erasure-coded over the volumes.
//! - [`redundancy`]: how many parts of a row, on which volumes.
//! - [`io`]: where calls that block are run.
//! - [`journal`]: records that are durable when an append returns.
//! - [`meter`]: counts what a volume is asked for.
//! - [`seal`]: encryption that is the checksum as well.

pub mod backend;
mod buffer;
pub mod device;
pub mod disk;
pub mod group;
pub mod io;
pub mod journal;
pub mod meter;
pub mod redundancy;
pub mod seal;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod superblock;
pub mod uring;
