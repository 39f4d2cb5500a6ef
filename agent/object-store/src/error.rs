//! Why the store refused or failed.

use std::path::PathBuf;

use crate::checksum::Checksum;
use crate::engine::EngineError;
use crate::names::{Bucket, ObjectKey, Owner, PartNumber, UploadId, VersionId, VolumeId};
use crate::object::ObjectInfo;

/// The source of an error that came from the body of a request. The layer above put it into the
/// stream and may take it out again by type.
pub type BodyError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why an operation of the store did not happen. Unless a variant says otherwise nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The bucket does not exist.
    #[error("bucket {bucket} does not exist")]
    NoSuchBucket {
        /// The bucket.
        bucket: Bucket,
    },
    /// The bucket exists already.
    #[error("bucket {bucket} exists already and belongs to {owner}")]
    BucketExists {
        /// The bucket.
        bucket: Bucket,
        /// Who owns it.
        owner: Owner,
    },
    /// The bucket still holds objects or open uploads.
    #[error("bucket {bucket} is not empty")]
    BucketNotEmpty {
        /// The bucket.
        bucket: Bucket,
    },
    /// The object does not exist.
    #[error("{bucket}/{key} does not exist")]
    NoSuchKey {
        /// The bucket.
        bucket: Bucket,
        /// The key.
        key: ObjectKey,
    },
    /// The object exists, but not in this version.
    #[error("{bucket}/{key} has no version {version}")]
    NoSuchVersion {
        /// The bucket.
        bucket: Bucket,
        /// The key.
        key: ObjectKey,
        /// The version asked for.
        version: VersionId,
    },
    /// The upload does not exist, was completed or aborted.
    #[error("upload {upload} does not exist")]
    NoSuchUpload {
        /// The upload.
        upload: UploadId,
    },
    /// A part that an upload should be completed with is missing or has another entity tag.
    #[error("part {part} of upload {upload} is missing or has changed")]
    InvalidPart {
        /// The upload.
        upload: UploadId,
        /// The part.
        part: PartNumber,
    },
    /// The range lies outside the object.
    #[error("the range lies outside the {size} bytes of the object")]
    RangeNotSatisfiable {
        /// Size of the object in bytes.
        size: u64,
    },
    /// A condition of the request does not hold.
    #[error("the condition {condition} does not hold")]
    PreconditionFailed {
        /// The header-like name of the condition, such as `If-Match`.
        condition: &'static str,
    },
    /// The object is the one that the caller has already.
    #[error("not modified")]
    NotModified {
        /// What the store knows of the object.
        info: Box<ObjectInfo>,
    },
    /// The body is not what its checksum says.
    #[error("the body has {computed}, but {expected} was expected")]
    ChecksumMismatch {
        /// What was declared.
        expected: Checksum,
        /// What arrived.
        computed: Checksum,
    },
    /// The body ended before its declared length, or went on after it.
    #[error("the body has {received} bytes or more, but {declared} were declared")]
    LengthMismatch {
        /// Declared length in bytes.
        declared: u64,
        /// Bytes that arrived.
        received: u64,
    },
    /// The body is longer than the caller allows.
    #[error("the body is longer than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The body's stream failed: the client went away, or the layer above refused the content.
    #[error("the body could not be read: {source}")]
    Body {
        /// What the stream said.
        #[source]
        source: BodyError,
    },
    /// Too many bodies are on their way at once.
    #[error("the memory for bodies was all in use for {seconds} s")]
    Busy {
        /// How long it was waited for.
        seconds: u64,
    },
    /// No volume has room.
    #[error("no volume has room for {wanted} more bytes beside the reserve")]
    Full {
        /// Bytes that were to be written.
        wanted: u64,
    },
    /// The data may exist but cannot be reached now.
    #[error("not available now: {reason}")]
    Unavailable {
        /// Why, and what would help.
        reason: String,
    },
    /// What is on the volume is not what was written there.
    #[error("{what} on volume {volume} is damaged: {reason}")]
    Damaged {
        /// The volume.
        volume: VolumeId,
        /// The file.
        what: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A volume failed. It takes no more writes until it is attached again. Whether the change took
    /// place is not known.
    #[error("cannot {operation} {path} on volume {volume}")]
    Io {
        /// What was to be done.
        operation: &'static str,
        /// The volume.
        volume: VolumeId,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Something below the store failed. Whether the change took place is not known.
    #[error("cannot {operation}")]
    Engine {
        /// What was to be done.
        operation: &'static str,
        /// What failed.
        #[source]
        source: EngineError,
    },
}

impl StoreError {
    /// Whether the same request may succeed later without anyone changing it.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Busy { .. }
            | Self::Unavailable { .. }
            | Self::Io { .. }
            | Self::Engine { .. } => true,
            Self::NoSuchBucket { .. }
            | Self::BucketExists { .. }
            | Self::BucketNotEmpty { .. }
            | Self::NoSuchKey { .. }
            | Self::NoSuchVersion { .. }
            | Self::NoSuchUpload { .. }
            | Self::InvalidPart { .. }
            | Self::RangeNotSatisfiable { .. }
            | Self::PreconditionFailed { .. }
            | Self::NotModified { .. }
            | Self::ChecksumMismatch { .. }
            | Self::LengthMismatch { .. }
            | Self::TooLarge { .. }
            | Self::Body { .. }
            | Self::Full { .. }
            | Self::Damaged { .. } => false,
        }
    }
}
