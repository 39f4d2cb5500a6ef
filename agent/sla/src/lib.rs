//! The SLA of a node: what it says of itself to SLA oracles, and how it proves what it stores.
//!
//! [`protocol`] is what both sides speak, pure: messages, what is signed and how, and the
//! verification of proofs. It is drawn in `docs/design/sla.md`.

pub mod protocol;
