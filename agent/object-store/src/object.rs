//! What is said of an object beside its bytes, and the bodies that go in and come out.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;
use serde::{Deserialize, Serialize};

use crate::checksum::{Checksum, Checksums};
use crate::error::BodyError;
use crate::names::{Bucket, ETag, ObjectKey, Owner, PartNumber, UnixMillis, UploadId, VersionId};

/// What a writer says of an object and a reader gets back unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// Media type of the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Coding of the content, such as `gzip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// Language of the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    /// How a browser should present it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    /// How caches may keep it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    /// When it expires, as the writer wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Where a web browser is to be sent instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redirect: Option<String>,
    /// The writer's own names and values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub user: BTreeMap<String, String>,
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketInfo {
    /// Its name.
    pub bucket: Bucket,
    /// Who made it.
    pub owner: Owner,
    /// When it was made.
    pub created: UnixMillis,
}

/// One version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The version.
    pub version: VersionId,
    /// Its entity tag.
    pub etag: ETag,
    /// Size in bytes.
    pub size: u64,
    /// When it was published.
    pub modified: UnixMillis,
    /// What its writer said of it.
    pub attributes: Attributes,
    /// Checksums kept with it.
    pub checksums: Checksums,
    /// How many parts it was uploaded in; none when in one piece.
    pub parts: Option<u16>,
}

/// A part of an open upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartInfo {
    /// Its number.
    pub part: PartNumber,
    /// Its entity tag.
    pub etag: ETag,
    /// Size in bytes.
    pub size: u64,
    /// When it was published.
    pub modified: UnixMillis,
    /// Checksums kept with it.
    pub checksums: Checksums,
}

/// An open upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadInfo {
    /// The upload.
    pub upload: UploadId,
    /// The bucket it goes to.
    pub bucket: Bucket,
    /// The key it goes to.
    pub key: ObjectKey,
    /// Who began it.
    pub owner: Owner,
    /// When it was begun.
    pub begun: UnixMillis,
    /// What the object will carry.
    pub attributes: Attributes,
    /// A note of the layer above, kept as it was given.
    pub note: Option<String>,
}

/// Bytes on their way, with the error that ended them.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send + Sync>>;

/// Gives the checksums that arrive behind a body.
pub type Trailer = Box<dyn FnOnce() -> Result<Vec<Checksum>, BodyError> + Send + Sync>;

/// The body of a write.
pub struct Body {
    pub(crate) stream: ByteStream,
    pub(crate) length: Option<u64>,
    pub(crate) limit: u64,
    pub(crate) expected: Vec<Checksum>,
    pub(crate) trailer: Option<Trailer>,
    pub(crate) is_of_store: bool,
}

impl Body {
    /// A body of unknown length, without checksums.
    #[must_use]
    pub fn new(stream: ByteStream) -> Self {
        let (length, limit, expected, trailer) = (None, u64::MAX, Vec::new(), None);
        Self { stream, length, limit, expected, trailer, is_of_store: false }
    }

    /// A body that is in memory.
    #[must_use]
    pub fn from_bytes(bytes: Bytes) -> Self {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let stream = futures::stream::once(futures::future::ready(Ok(bytes)));
        Self::new(Box::pin(stream)).with_length(length)
    }

    /// Declares the length in bytes. A body of any other length is refused.
    #[must_use]
    pub fn with_length(mut self, length: u64) -> Self {
        self.length = Some(length);
        self
    }

    /// Says that the bytes come from the store itself: they do not count as received.
    #[must_use]
    pub fn of_store(mut self) -> Self {
        self.is_of_store = true;
        self
    }

    /// Refuses more bytes than this.
    #[must_use]
    pub fn with_limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// Adds a checksum that the body must have. A body without it is never published.
    #[must_use]
    pub fn expecting(mut self, checksum: Checksum) -> Self {
        self.expected.push(checksum);
        self
    }

    /// Asks for further checksums when the last byte has arrived. Their algorithms must be named in
    /// the request's `keep`, as they are computed on the way.
    #[must_use]
    pub fn with_trailer(mut self, trailer: Trailer) -> Self {
        self.trailer = Some(trailer);
        self
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("length", &self.length)
            .field("limit", &self.limit)
            .field("expected", &self.expected)
            .field("trailer", &self.trailer.is_some())
            .finish_non_exhaustive()
    }
}

/// What was read.
pub enum ReadBody {
    /// All of it, as it was small.
    Whole(Bytes),
    /// A stream of exactly the range's bytes, or an error.
    Stream(ByteStream),
}

impl ReadBody {
    /// The same as a stream.
    #[must_use]
    pub fn into_stream(self) -> ByteStream {
        match self {
            Self::Whole(bytes) => {
                Box::pin(futures::stream::once(futures::future::ready(Ok(bytes))))
            }
            Self::Stream(stream) => stream,
        }
    }

    /// Reads everything into memory.
    ///
    /// # Errors
    /// What ended the stream.
    pub async fn collect(self) -> Result<Vec<u8>, BodyError> {
        use futures::TryStreamExt as _;
        self.into_stream()
            .try_fold(Vec::new(), |mut all, bytes| async move {
                all.extend_from_slice(&bytes);
                Ok(all)
            })
            .await
    }
}

impl fmt::Debug for ReadBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// An opened object.
#[derive(Debug)]
pub struct ObjectReader {
    /// What the store knows of it.
    pub info: ObjectInfo,
    /// Which of its bytes the body holds.
    pub range: Range<u64>,
    /// The bytes.
    pub body: ReadBody,
}
