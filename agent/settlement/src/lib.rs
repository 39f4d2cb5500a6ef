//! Settlement: what a node is paid by, and getting transactions onto a chain exactly once.

pub mod abi;
pub mod backend;
pub mod call;
pub mod chain;
pub mod claim;
pub mod engine;
pub mod key;
pub mod l1;
pub mod outbox;
pub mod preflight;
pub mod revert;
pub mod usage;
