//! Bodies of requests: bounded in length, in time, and all together.

use std::time::Duration;

use agent_sla::protocol::messages::Refusal;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// How long a body may take: 16 MiB at 2 Mbit/s are 67 s.
const BODY_WITHIN: Duration = Duration::from_secs(90);

/// How long a request waits for room among the bodies of others.
const ROOM_WITHIN: Duration = Duration::from_secs(10);

/// After how many milliseconds to try again where there was no room.
const RETRY_MS: u64 = 3_000;

/// Bytes of bodies are counted in this many.
const UNIT: usize = 1024;

/// How many bytes of bodies there may be at once.
#[derive(Debug)]
pub(super) struct Budget(Semaphore);

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Semaphore::new((bytes / UNIT).max(1)))
    }

    /// Reads a body of at most so many bytes; its room is free when the permit is dropped.
    ///
    /// # Errors
    /// It has no length, is too long, came too slowly, or there was no room.
    pub(super) async fn read(
        &self,
        headers: &HeaderMap,
        body: Incoming,
        longest: usize,
    ) -> Result<(Bytes, SemaphorePermit<'_>), Refusal> {
        let malformed = |reason: String| Refusal::Malformed { reason };
        let length: Option<usize> =
            headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let Some(length) = length else {
            return Err(malformed("a body with content-length is wanted".to_owned()));
        };
        if length > longest {
            return Err(malformed(format!("a body of {length} bytes, more than {longest}")));
        }
        let units = u32::try_from(length.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let room = timeout(ROOM_WITHIN, self.0.acquire_many(units)).await;
        let Ok(Ok(room)) = room else { return Err(Refusal::Busy { retry_after_ms: RETRY_MS }) };
        let reading = timeout(BODY_WITHIN, Limited::new(body, longest).collect());
        match reading.await {
            Ok(Ok(body)) => Ok((body.to_bytes(), room)),
            Ok(Err(error)) => Err(malformed(format!("the body broke off: {error}"))),
            Err(_) => {
                let seconds = BODY_WITHIN.as_secs();
                Err(malformed(format!("the body did not come within {seconds} s")))
            }
        }
    }
}
