//! What a node says of itself when help is needed: what it is made of, and a bundle of all that it knows, without
//! its secrets, for the eyes of those alone whom the configuration names.
//!
//! ```text
//! answers of the node, logs, node.toml ── Redactor ──► Part ── tar ── zstd ── age ──► bytes for the stick
//! ```

mod bundle;
mod inventory;
mod redact;

pub use bundle::{BUNDLE_MAX, BundleError, LOG_MAX, Part, log, pack};
pub use inventory::{Sources, inventory};
pub use redact::{REDACTED, Redactor};
