//! Requests that are signed before the clock starts.

use anyhow::{Context, Result};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::content::{Content, key};
use crate::sign::{PAYLOAD, Signer, Unsigned, sha256};

/// The bucket that everything goes to.
pub(crate) const BUCKET: &str = "bench";

/// The keys of the only user.
pub(crate) const ACCESS: &str = "BENCHACCESS";
/// See [`ACCESS`].
pub(crate) const SECRET: &str = "bench-secret-of-no-worth";

/// What all servers are called, so that one signature serves for each.
const HOST: &str = "bench.invalid";

/// A request, and what is wanted of the answer.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) request: Request<Full<Bytes>>,
    /// The body wanted; none if any will do.
    pub(crate) wanted: Option<Bytes>,
}

/// Makes and signs requests. A signature is good for 15 minutes.
#[derive(Debug)]
pub(crate) struct Maker<'a> {
    content: &'a Content,
    signer: Signer,
    /// The digest of no body.
    nothing: String,
}

impl<'a> Maker<'a> {
    /// Signs with the time of now.
    ///
    /// # Errors
    /// The clock shows no time that can be written.
    pub(crate) fn new(content: &'a Content) -> Result<Self> {
        let form = format_description!("[year][month][day]T[hour][minute][second]Z");
        let moment = OffsetDateTime::now_utc().format(form).context("the clock is wrong")?;
        let signer = Signer::new(ACCESS, SECRET, "us-east-1", &moment);
        Ok(Self { content, signer, nothing: sha256(b"") })
    }

    /// Puts an object.
    ///
    /// # Errors
    /// The request cannot be made.
    pub(crate) fn put(&self, size: usize, set: &str, number: u64) -> Result<Prepared> {
        let path = format!("/{BUCKET}/{}", key(size, set, number));
        let body = self.content.body(size, number);
        self.make("PUT", &path, "", body, &self.content.digest(size, number), None)
    }

    /// Puts an object whose digest the signature does not cover, so that nobody computes it.
    ///
    /// # Errors
    /// The request cannot be made.
    pub(crate) fn put_unsigned(&self, size: usize, set: &str, number: u64) -> Result<Prepared> {
        let path = format!("/{BUCKET}/{}", key(size, set, number));
        self.make("PUT", &path, "", self.content.body(size, number), "UNSIGNED-PAYLOAD", None)
    }

    /// Gets an object, which must be as it was put.
    ///
    /// # Errors
    /// The request cannot be made.
    pub(crate) fn get(&self, size: usize, set: &str, number: u64) -> Result<Prepared> {
        let path = format!("/{BUCKET}/{}", key(size, set, number));
        let wanted = self.content.body(size, number);
        self.make("GET", &path, "", Bytes::new(), &self.nothing, Some(wanted))
    }

    /// Makes the bucket.
    ///
    /// # Errors
    /// The request cannot be made.
    pub(crate) fn make_bucket(&self) -> Result<Prepared> {
        self.make("PUT", &format!("/{BUCKET}"), "", Bytes::new(), &self.nothing, None)
    }

    /// Lists the bucket; the query must be in canonical order.
    ///
    /// # Errors
    /// The request cannot be made.
    pub(crate) fn list(&self, query: &str) -> Result<Prepared> {
        self.make("GET", &format!("/{BUCKET}"), query, Bytes::new(), &self.nothing, None)
    }

    fn make(
        &self,
        method: &str,
        path: &str,
        query: &str,
        body: Bytes,
        payload: &str,
        wanted: Option<Bytes>,
    ) -> Result<Prepared> {
        let headers = [("host", HOST)];
        let unsigned = Unsigned { method, path, query, headers: &headers, payload };
        let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("host", HOST)
            .header(PAYLOAD, payload)
            .header("x-amz-date", self.signer.moment())
            .header("authorization", self.signer.authorization(&unsigned))
            .body(Full::new(body))
            .with_context(|| format!("cannot make {method} {path}"))?;
        Ok(Prepared { request, wanted })
    }
}
