//! The SLA of a node: what it says of itself to SLA oracles, and how it proves what it stores.
//!
//! [`protocol`] is what both sides speak, pure: messages, what is signed and how, and the
//! verification of proofs. [`run()`] is the node's side: sessions, reports, challenges. Both are drawn in
//! `docs/design/sla.md`. [`Reader`] reads what oracles show to anyone.

mod challenge;
mod client;
mod clock;
pub mod config;
mod core;
mod exchange;
mod journal;
mod local;
mod pace;
mod peer;
pub mod protocol;
mod reader;
mod reporter;
mod run;
mod spool;
pub mod status;
#[cfg(test)]
mod tests;
mod view;
mod words;

pub use client::CallError;
pub use clock::SKEW_WARN_MS;
pub use config::SlaConfig;
pub use exchange::{ExchangeError, OwnCertificateError};
pub use journal::{JournalError, receipts};
pub use reader::{ReadError, Reader, ReaderError};
pub use run::{SlaError, run};
pub use status::SlaStatus;
pub use view::{HealthView, NodeView};
