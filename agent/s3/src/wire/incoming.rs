//! The body of a request on its way in.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use http::request::Parts;
use http_body::Body as _;
use hyper::body::Incoming;
use s3s::stream::{ByteStream, DynByteStream, RemainingLength};
use s3s::{Body, StdError};
use tokio::time::{Instant, Sleep, sleep};

use super::rechunk::{Rechunk, RechunkError};
use super::{BodyFault, Faults};

/// How long a client may send nothing in the middle of a body. Long enough for a client that waits
/// for a slow disk of its own; S3 itself gives up sooner.
const STALL: Duration = Duration::from_secs(60);

/// The body of a request as s3s takes it. Its fault, if any, is left in `faults`.
pub(crate) fn body(parts: &Parts, incoming: Incoming, faults: &Faults) -> Body {
    if incoming.is_end_stream() {
        return Body::empty();
    }
    let coding = parts.headers.get("x-amz-content-sha256").map(http::HeaderValue::as_bytes);
    let rechunk = match coding {
        Some(b"STREAMING-UNSIGNED-PAYLOAD-TRAILER") => Some(Rechunk::new(false)),
        Some(coding) if coding.starts_with(b"STREAMING-") => Some(Rechunk::new(true)),
        _ => None,
    };
    let stream = Watched {
        incoming,
        rechunk,
        ready: VecDeque::new(),
        patience: None,
        waiting: false,
        faults: faults.clone(),
    };
    let stream: DynByteStream = Box::pin(stream);
    Body::from(stream)
}

/// A body that is watched for stalls, and cut into chunks that fit in memory.
struct Watched {
    incoming: Incoming,
    rechunk: Option<Rechunk>,
    /// Pieces that go out before the next one is asked for.
    ready: VecDeque<Bytes>,
    /// Made when the client is waited for the first time.
    patience: Option<Pin<Box<Sleep>>>,
    /// Whether `patience` runs.
    waiting: bool,
    faults: Faults,
}

/// Why a body ended early; told in full by its [`BodyFault`].
#[derive(Debug, thiserror::Error)]
enum IncomingError {
    #[error("the client sent nothing for {} seconds", STALL.as_secs())]
    Stalled,
    #[error("the connection ended in the middle of the body")]
    Lost(#[source] hyper::Error),
    #[error(transparent)]
    Framing(#[from] RechunkError),
}

impl From<&IncomingError> for BodyFault {
    fn from(error: &IncomingError) -> Self {
        match error {
            IncomingError::Stalled => Self::Stalled,
            IncomingError::Lost(_) => Self::Lost,
            IncomingError::Framing(RechunkError::Malformed) => Self::Malformed,
            IncomingError::Framing(RechunkError::TooLarge) => Self::ChunkTooLarge,
        }
    }
}

impl Watched {
    /// The next piece from the wire; none at the end.
    fn poll_wire(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, IncomingError>> {
        loop {
            match Pin::new(&mut self.incoming).poll_frame(cx) {
                Poll::Ready(frame) => {
                    self.waiting = false;
                    match frame.transpose().map_err(IncomingError::Lost)? {
                        None => return Poll::Ready(Ok(None)),
                        Some(frame) => match frame.into_data() {
                            Ok(data) => return Poll::Ready(Ok(Some(data))),
                            // Trailers of HTTP itself mean nothing in S3.
                            Err(_) => continue,
                        },
                    }
                }
                Poll::Pending => {
                    ready!(self.poll_patience(cx));
                    return Poll::Ready(Err(IncomingError::Stalled));
                }
            }
        }
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(STALL)));
        if !self.waiting {
            patience.as_mut().reset(Instant::now() + STALL);
            self.waiting = true;
        }
        patience.as_mut().poll(cx)
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, IncomingError>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Poll::Ready(Ok(Some(piece)));
            }
            let Some(data) = ready!(self.poll_wire(cx))? else { return Poll::Ready(Ok(None)) };
            match &mut self.rechunk {
                None => return Poll::Ready(Ok(Some(data))),
                Some(rechunk) => rechunk.feed(data, &mut self.ready)?,
            }
        }
    }
}

impl Stream for Watched {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = ready!(self.poll_piece(cx));
        if let Err(error) = &piece {
            self.faults.set(error.into());
        }
        Poll::Ready(piece.map_err(StdError::from).transpose())
    }
}

impl ByteStream for Watched {
    fn remaining_length(&self) -> RemainingLength {
        match self.rechunk {
            // The framing is not part of what is counted.
            Some(_) => RemainingLength::unknown(),
            None => RemainingLength::from(self.incoming.size_hint()),
        }
    }
}
