//! HTTP around S3: connections, what is refused before a request reaches s3s, bodies on their way
//! in, and the last touch on answers.

mod answer;
mod connection;
mod document;
mod front;
mod guard;
mod incoming;
pub(crate) mod rechunk;

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use agent_object_store::Algorithm;
use s3s::{S3Error, s3_error};

use crate::error::checksum_mismatch;
use incoming::Rest;

pub(crate) use answer::{RequestIds, finish};
#[cfg(feature = "fuzzing")]
pub(crate) use connection::serve_http1;
pub(crate) use connection::{Ends, Handler, serve_tcp, serve_tls};
pub(crate) use document::{DOCUMENT_MAX_BYTES, Document};
pub(crate) use front::admit;
pub(crate) use incoming::{body, drain};

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
    /// A document is not what its checksum says.
    Digest(Algorithm),
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
            Self::Digest(algorithm) => checksum_mismatch(algorithm),
        }
    }
}

/// What becomes of the body of a request, for whoever answers it: s3s wraps errors of bodies in
/// types that cannot be looked into, and drops what it does not read.
#[derive(Clone, Default)]
pub(crate) struct BodyWatch(Arc<Watch>);

#[derive(Default)]
struct Watch {
    fault: OnceLock<BodyFault>,
    rest: Mutex<Option<Rest>>,
}

impl BodyWatch {
    /// The first thing that went wrong.
    pub(crate) fn fault(&self) -> Option<BodyFault> {
        self.0.fault.get().copied()
    }

    fn set_fault(&self, fault: BodyFault) {
        // Only the first one counts; what follows from it says less.
        let _first = self.0.fault.set(fault);
    }

    /// What was dropped unread.
    fn take_rest(&self) -> Option<Rest> {
        self.0.rest.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set_rest(&self, rest: Rest) {
        *self.0.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(rest);
    }
}

impl fmt::Debug for BodyWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyWatch").field("fault", &self.fault()).finish_non_exhaustive()
    }
}
