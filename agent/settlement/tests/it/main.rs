//! The engine against a chain: anvil, on this host.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends with a message where its own assumption fails"
)]
#![expect(clippy::indexing_slicing, reason = "a test ends where its own assumption fails")]

mod anvil;
mod backends;
mod canned;
mod chain;
mod crash;
mod liars;
mod proxy;
mod refusals;
mod rig;
mod tunnel;
