//! Whole-node tests. Each boots the built image in QEMU, or runs the agent on the host, and looks
//! at it from outside only.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test ends with a message where its own assumption fails, and says what it met"
)]

mod clients;
mod clock;
mod config;
mod first_boot;
mod first_steps;
mod foreign;
mod healing;
mod health;
mod hot_plug;
mod network;
mod oracles;
mod power_cut;
mod settlement;
mod space;
mod supervision;
mod support;
mod write_log;
