//! Settlement: what a node is paid by, and getting transactions onto a chain exactly once.

pub mod call;
pub mod chain;
pub mod engine;
pub mod key;
pub mod outbox;
pub mod preflight;
pub mod revert;
