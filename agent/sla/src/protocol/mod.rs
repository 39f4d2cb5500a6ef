//! What nodes and oracles say to each other. Pure: time, randomness and keys arrive as arguments.

pub mod key;
pub mod messages;
pub mod parameters;
pub mod report;
pub mod sampling;
pub mod settled;
pub mod signed;

#[cfg(test)]
mod tests;

pub use alloy::primitives::{Address, B256, U256};
