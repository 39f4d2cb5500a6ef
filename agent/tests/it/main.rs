//! The agent as a process: in host mode, and as a node among stand-ins for icn-disks and init.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "functions that only tests use; a failure is a failed test"
)]

mod away;
mod chain;
mod counting;
mod fakes;
mod hardware;
mod host;
mod icn;
mod local;
mod metrics;
mod network;
mod node;
mod oracle;
mod pool;
mod process;
mod receipts;
mod s3;
mod settlement;
mod support;
