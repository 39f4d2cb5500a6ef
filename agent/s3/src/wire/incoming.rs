//! The body of a request on its way in.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use http::header;
use http::request::Parts;
use http_body::Body as _;
use hyper::body::Incoming;
use s3s::stream::{ByteStream, DynByteStream, RemainingLength};
use s3s::{Body, StdError};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::document::Document;
use super::rechunk::{Rechunk, RechunkError};
use super::{BodyFault, BodyWatch};

/// How long a client may send nothing in the middle of a body. Long enough for a client that waits
/// for a slow disk of its own; S3 itself gives up sooner.
const STALL: Duration = Duration::from_secs(60);

/// Most bytes that are read after a refusal, so that a client that sends all of its body first gets
/// to read why: some large parts. What is longer is cut off.
const DRAIN_MAX_BYTES: u64 = 64 << 20;

/// How long such reading may take.
const DRAIN: Duration = Duration::from_secs(15);

/// The body of a request as s3s takes it. What becomes of it is left in `watch`. One that must have
/// a checksum as a whole is compared with `document`.
pub(crate) fn body(
    parts: &Parts,
    incoming: Incoming,
    document: Option<Document>,
    watch: &BodyWatch,
) -> Body {
    if incoming.is_end_stream() && document.is_none() {
        return Body::empty();
    }
    let coding = parts.headers.get("x-amz-content-sha256").map(http::HeaderValue::as_bytes);
    let rechunk = match coding {
        Some(b"STREAMING-UNSIGNED-PAYLOAD-TRAILER") => Some(Rechunk::new(false)),
        Some(coding) if coding.starts_with(b"STREAMING-") => Some(Rechunk::new(true)),
        _ => None,
    };
    let stream = Watched {
        incoming: Some(incoming),
        asks: parts.headers.contains_key(header::EXPECT),
        rechunk,
        document,
        ready: VecDeque::new(),
        patience: None,
        waiting: false,
        watch: watch.clone(),
    };
    let stream: DynByteStream = Box::pin(stream);
    Body::from(stream)
}

/// What was left of a body when it was dropped.
#[derive(Debug)]
pub(crate) struct Rest {
    body: Incoming,
    /// Whether the client waits to be told to send it.
    asks: bool,
}

/// Reads what was left of a body, within bounds, and tells whether the connection is ready for its
/// next request.
pub(crate) async fn drain(watch: &BodyWatch) -> bool {
    let Some(Rest { mut body, asks }) = watch.take_rest() else { return true };
    if asks || body.size_hint().lower() > DRAIN_MAX_BYTES {
        return false;
    }
    let reading = async {
        let mut left = DRAIN_MAX_BYTES;
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let length = frame.ok()?.data_ref().map_or(0, Bytes::len);
            left = left.checked_sub(u64::try_from(length).ok()?)?;
        }
        Some(())
    };
    matches!(timeout(DRAIN, reading).await, Ok(Some(())))
}

/// A body that is watched for stalls, and cut into chunks that fit in memory.
struct Watched {
    /// None once it has ended.
    incoming: Option<Incoming>,
    /// Whether the client asks before it sends, and was not answered yet.
    asks: bool,
    rechunk: Option<Rechunk>,
    document: Option<Document>,
    /// Pieces that go out before the next one is asked for.
    ready: VecDeque<Bytes>,
    /// Made when the client is waited for the first time.
    patience: Option<Pin<Box<Sleep>>>,
    /// Whether `patience` runs.
    waiting: bool,
    watch: BodyWatch,
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
    #[error("the document is not what its checksum says")]
    Digest(BodyFault),
}

impl From<&IncomingError> for BodyFault {
    fn from(error: &IncomingError) -> Self {
        match error {
            IncomingError::Stalled => Self::Stalled,
            IncomingError::Lost(_) => Self::Lost,
            IncomingError::Framing(RechunkError::Malformed) => Self::Malformed,
            IncomingError::Framing(RechunkError::TooLarge) => Self::ChunkTooLarge,
            IncomingError::Digest(fault) => *fault,
        }
    }
}

impl Watched {
    /// The next piece from the wire; none at the end.
    fn poll_wire(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, IncomingError>> {
        loop {
            let Some(incoming) = &mut self.incoming else { return Poll::Ready(Ok(None)) };
            match Pin::new(incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.waiting = false;
                    // Trailers of HTTP itself mean nothing in S3.
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Ok(Some(data)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.incoming = None;
                    return Poll::Ready(Err(IncomingError::Lost(error)));
                }
                Poll::Ready(None) => self.incoming = None,
                Poll::Pending => {
                    // By now the client that asked was told to send.
                    self.asks = false;
                    ready!(self.poll_patience(cx));
                    self.incoming = None;
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
            let Some(data) = ready!(self.poll_wire(cx))? else {
                return Poll::Ready(match self.document.take().map(Document::end) {
                    Some(Err(fault)) => Err(IncomingError::Digest(fault)),
                    None | Some(Ok(())) => Ok(None),
                });
            };
            if let Some(document) = &mut self.document {
                document.add(&data);
            }
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
            self.watch.set_fault(error.into());
        }
        Poll::Ready(piece.map_err(StdError::from).transpose())
    }
}

impl ByteStream for Watched {
    fn remaining_length(&self) -> RemainingLength {
        match (&self.rechunk, &self.incoming) {
            // The framing is not part of what is counted.
            (Some(_), _) => RemainingLength::unknown(),
            (None, Some(incoming)) => RemainingLength::from(incoming.size_hint()),
            (None, None) => RemainingLength::new_exact(0),
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(body) = self.incoming.take() {
            self.watch.set_rest(Rest { body, asks: self.asks });
        }
    }
}
