//! HTTP around S3: connections, what is refused before a request reaches s3s, bodies on their way
//! in, and the last touch on answers.

mod answer;
mod connection;
mod front;
mod guard;
mod incoming;
mod rechunk;

use std::sync::{Arc, OnceLock};

use s3s::{S3Error, s3_error};

pub(crate) use answer::{RequestIds, finish};
pub(crate) use connection::{Ends, Handler, serve_tcp, serve_tls};
pub(crate) use front::check;
pub(crate) use incoming::body;

/// What went wrong with a request's body on its way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// Nothing came for too long.
    Stalled,
    /// The connection ended, or broke the rules of HTTP.
    Lost,
    /// The aws-chunked framing is wrong.
    Malformed,
    /// A signed chunk is larger than may be held in memory.
    ChunkTooLarge,
}

impl BodyFault {
    /// The answer for it.
    pub(crate) fn refusal(self) -> S3Error {
        match self {
            Self::Stalled => s3_error!(
                RequestTimeout,
                "Your socket connection to the server was not read from or written to within the \
                 timeout period. Idle connections will be closed."
            ),
            Self::Lost => s3_error!(
                IncompleteBody,
                "You did not provide the number of bytes specified by the Content-Length HTTP \
                 header."
            ),
            Self::Malformed => s3_error!(InvalidRequest, "The aws-chunked body is malformed."),
            Self::ChunkTooLarge => s3_error!(
                InvalidRequest,
                "A signed chunk of an aws-chunked body may have at most {} bytes.",
                rechunk::SIGNED_CHUNK_MAX_BYTES
            ),
        }
    }
}

/// Where the body leaves its fault for whoever answers the request: s3s wraps errors of bodies in
/// types that cannot be looked into.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults(Arc<OnceLock<BodyFault>>);

impl Faults {
    /// The first fault.
    pub(crate) fn get(&self) -> Option<BodyFault> {
        self.0.get().copied()
    }

    fn set(&self, fault: BodyFault) {
        // Only the first one counts; what follows from it says less.
        let _first = self.0.set(fault);
    }
}
