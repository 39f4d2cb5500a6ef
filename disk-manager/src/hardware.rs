//! Answers [`disk_manager_plan::hardware`]: fixed programs on disks that the service knows by their
//! lasting name, the management controller, locate LEDs, the kernel's log, and serial numbers that only root may read.
//!
//! ```text
//!  socket ── one thread a client ──► Desk ──► disk by id (Directory) ──► smartctl ─┐
//!                                      │    └ one request at a time a disk         ├─► Answer
//!                                      └──► ipmitool, enclosures, /dev/kmsg ───────┘
//! ```
//!
//! A support bundle is the one thing that is written: to the stick that is labelled for it (`stick`).
//!
//! No path, program or argument comes out of a request. A disk that hangs keeps its own place until its
//! program has really ended, and nobody else's.

mod desk;
mod directory;
mod kmsg;
mod locate;
mod machine;
mod record;
mod server;
mod stick;

pub use desk::{Desk, Hand, HandRequest, Programs};
pub use directory::{Directory, KnownDisk};
pub use server::start;
pub use stick::Place;

#[cfg(test)]
#[path = "hardware/tests.rs"]
mod tests;
