//! A whole oracle, spoken with over its port.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends with a message where its own assumption fails"
)]

mod bench;
mod canaries;
mod design;
mod faults;
mod node;
mod process;
mod settling;
mod tenant;
mod wire;
