//! Groups: k data and m parity extents on k + m volumes, filled together with rows of bytes whose
//! meaning is the caller's. `docs/design/on-disk-format.md`, "Groups", draws what stands on disk.
//!
//! ```text
//! create ─▶ GroupWriter ── append … sync … ──▶ seal ─▶ GroupReader ── read, verify, rebuild
//!                └── a write or sync fails: device fenced, group closed, Degraded
//! ```
//!
//! A group is filled by the process that made it and never added to after a restart.

mod ahead;
mod attach;
pub mod codec;
pub mod error;
pub mod extent;
mod files;
mod filling;
pub mod geometry;
pub mod header;
pub mod reader;
mod reed_solomon;
mod registry;
pub mod repair;
mod row;
pub mod run;
pub mod set;
pub mod walk;
pub mod writer;

#[cfg(test)]
mod tests;
