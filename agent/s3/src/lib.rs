//! The S3 service of a node: HTTP, signatures and the words of S3 over an
//! [`ObjectStore`](agent_object_store::ObjectStore).
//!
//! Requests go through four hands: the connection (`wire`), what is refused from the head alone
//! (`wire::front`), s3s, which checks signatures and parses, and the operations (`ops`). Who may
//! do what is decided in `access`, once for all operations: a bucket and what is in it belong to
//! the user that made it, alone.

mod access;
mod checksums;
mod config;
mod convert;
mod error;
mod features;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod host;
mod ops;
mod server;
mod users;
mod wire;

pub use config::{ConfigError, S3Config, User};
pub use server::{RequestCounts, S3Server};
