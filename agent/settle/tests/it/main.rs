//! icn-settle against the contracts on a chain of the test's own: anvil, on this host, and forge that puts them there.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends with a message where its own assumption fails"
)]
#![expect(clippy::indexing_slicing, reason = "a test ends where its own assumption fails")]

mod bad_input;
mod chain;
mod dispute;
mod icn;
mod keys;
mod offline;
mod oracle;
mod payout;
mod tool;
mod unfinished;
mod wallet;
