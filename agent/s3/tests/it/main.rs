//! The service over a real socket and a real store, asked by clients that sign for themselves.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "in tests a panic is the report, also in what several tests share"
)]

mod connections;
mod node;
mod objects;
mod refusals;
mod signer;
