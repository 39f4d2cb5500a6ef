//! One request and its answer, between a node and a peer.

mod pinned;
mod place;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;

pub use self::pinned::OwnCertificateError;
pub(crate) use self::pinned::{OwnCertificate, anonymous};
pub(crate) use self::place::Place;
pub(crate) use self::wire::Wire;
use crate::protocol::B256;

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// GET or POST.
    pub method: Method,
    /// With its query.
    pub path: String,
    /// JSON, or nothing.
    pub body: Bytes,
    /// How long it may take once there is a connection.
    pub within: Duration,
}

/// What was answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Of HTTP.
    pub status: u16,
    /// JSON.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ExchangeError {
    /// Another's certificate.
    #[error("{url} shows the certificate {found}, not {expected}")]
    WrongCertificate {
        /// Of whom.
        url: String,
        /// SHA-256 of the one that is configured.
        expected: B256,
        /// SHA-256 of the one that was shown.
        found: B256,
    },
    /// A step failed.
    #[error("cannot {step} {url}: {why}")]
    Failed {
        /// What was tried.
        step: &'static str,
        /// With whom.
        url: String,
        /// Why not, with all that is behind it.
        why: String,
    },
    /// A step took too long.
    #[error("cannot {step} {url}: nothing came within {seconds} s")]
    Late {
        /// What was tried.
        step: &'static str,
        /// With whom.
        url: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The answer is longer than it may be.
    #[error("the answer of {url} is longer than {limit} bytes")]
    TooLong {
        /// Whose.
        url: String,
        /// The limit.
        limit: usize,
    },
}

/// Whoever takes a request to a peer. Dropping the future gives the request up.
#[async_trait]
pub(crate) trait Exchange: Send + Sync {
    /// Asks, and waits for the answer.
    async fn ask(&self, ask: Ask) -> Result<Answer, ExchangeError>;
}
