//! What a client is told when the store refuses or fails.

use std::borrow::Cow;

use agent_object_store::{Algorithm, BodyError, ObjectInfo, StoreError};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use s3s::{S3Error, S3ErrorCode, s3_error};
use tracing::{error, warn};

use crate::convert::http_date;
use crate::wire::{BodyFault, BodyWatch};

/// When a client should ask again for what is not available, in seconds. Disks of a node that
/// starts are mounted within seconds.
const RETRY_AFTER_SECONDS: &str = "5";

/// The answer for an error of the store.
pub(crate) fn refusal(error: StoreError) -> S3Error {
    log(&error);
    match error {
        StoreError::NoSuchBucket { .. } => {
            s3_error!(NoSuchBucket, "The specified bucket does not exist.")
        }
        StoreError::BucketExists { .. } => s3_error!(
            BucketAlreadyExists,
            "The requested bucket name is not available. Names are shared by all users of the \
             system. Choose another one."
        ),
        StoreError::BucketNotEmpty { .. } => {
            s3_error!(BucketNotEmpty, "The bucket you tried to delete is not empty.")
        }
        StoreError::NoSuchKey { .. } => s3_error!(NoSuchKey, "The specified key does not exist."),
        StoreError::NoSuchVersion { .. } => {
            s3_error!(NoSuchVersion, "The specified version does not exist.")
        }
        StoreError::NoSuchUpload { .. } => s3_error!(
            NoSuchUpload,
            "The specified upload does not exist. The upload ID may be invalid, or the upload may \
             have been aborted or completed."
        ),
        StoreError::InvalidPart { part, .. } => s3_error!(
            InvalidPart,
            "Part {part} could not be found. It may not have been uploaded, or its entity tag is \
             not the one given."
        ),
        StoreError::RangeNotSatisfiable { size } => range_not_satisfiable(size),
        StoreError::PreconditionFailed { condition } => precondition_failed(condition),
        StoreError::NotModified { info } => not_modified(&info),
        StoreError::ChecksumMismatch { expected, .. } => checksum_mismatch(expected.algorithm()),
        StoreError::LengthMismatch { declared, received } => s3_error!(
            IncompleteBody,
            "The request body has {received} bytes or more, but {declared} were declared."
        ),
        StoreError::TooLarge { limit } => too_large(limit),
        StoreError::Body { source } => body(&source, None),
        StoreError::Full { .. } => full(),
        StoreError::Busy { .. } => s3_error!(SlowDown, "Please reduce your request rate."),
        StoreError::Unavailable { reason } => unavailable(&reason),
        StoreError::Damaged { .. } | StoreError::Io { .. } | StoreError::Engine { .. } => {
            internal()
        }
    }
}

/// The answer for an error of a write, whose body may be what failed.
pub(crate) fn refusal_of_write(error: StoreError, watch: Option<&BodyWatch>) -> S3Error {
    match error {
        StoreError::Body { source } => match source.downcast::<StoreError>() {
            Ok(inner) => refusal(*inner),
            Err(source) => body(&source, watch.and_then(BodyWatch::fault)),
        },
        other => refusal(other),
    }
}

/// What the operator has to know of.
fn log(failure: &StoreError) {
    match failure {
        StoreError::Io { source, .. } => error!(error = %failure, cause = %source, "disk failed"),
        StoreError::Damaged { .. } => error!(error = %failure, "object damaged"),
        StoreError::Full { .. } => warn!(error = %failure, "write refused"),
        _ => {}
    }
}

/// The answer for a body that could not be read to its end.
fn body(source: &BodyError, fault: Option<BodyFault>) -> S3Error {
    if let Some(fault) = fault {
        return fault.refusal();
    }
    if let Some(trailer) = source.downcast_ref::<TrailerError>() {
        return bad_request("MalformedTrailerError", trailer.to_string());
    }
    // The types of these errors are private to s3s; their words are pinned by a test.
    let words = source.to_string();
    let has = |part: &str| words.contains(part);
    if has("Sha256Mismatch") {
        bad_request(
            "XAmzContentSHA256Mismatch",
            "The provided x-amz-content-sha256 header does not match what was computed.",
        )
    } else if has("SignatureMismatch") {
        s3_error!(SignatureDoesNotMatch, "The signature of a chunk or of the trailer is wrong.")
    } else if has("FormatError") || has("TooLarge") || has("TooMany") {
        s3_error!(InvalidRequest, "The aws-chunked body is malformed.")
    } else {
        s3_error!(
            IncompleteBody,
            "You did not provide the number of bytes specified by the Content-Length HTTP header."
        )
    }
}

/// Why the checksums behind a body cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TrailerError {
    #[error("The trailer {name}, which x-amz-trailer announced, is missing.")]
    Missing { name: String },
    #[error("The value of the trailer {name} is not a checksum of that kind.")]
    Value { name: String },
}

/// An error with a code that s3s has no name for.
fn bad_request(code: &'static str, words: impl Into<Cow<'static, str>>) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), words);
    error.set_status_code(StatusCode::BAD_REQUEST);
    error
}

fn range_not_satisfiable(size: u64) -> S3Error {
    let mut error = s3_error!(InvalidRange, "The requested range is not satisfiable.");
    let mut headers = xml_headers();
    if let Ok(range) = HeaderValue::try_from(format!("bytes */{size}")) {
        headers.insert(header::CONTENT_RANGE, range);
    }
    error.set_headers(headers);
    error
}

fn precondition_failed(condition: &str) -> S3Error {
    s3_error!(
        PreconditionFailed,
        "At least one of the preconditions you specified did not hold: {condition}."
    )
}

fn not_modified(info: &ObjectInfo) -> S3Error {
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    let mut headers = HeaderMap::new();
    if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", info.etag)) {
        headers.insert(header::ETAG, tag);
    }
    if let Some(date) = http_date(info.modified) {
        headers.insert(header::LAST_MODIFIED, date);
    }
    error.set_headers(headers);
    error
}

pub(crate) fn checksum_mismatch(algorithm: Algorithm) -> S3Error {
    if algorithm == Algorithm::Md5 {
        return s3_error!(
            BadDigest,
            "The Content-MD5 you specified did not match what we received."
        );
    }
    s3_error!(BadDigest, "The {algorithm} you specified did not match the calculated checksum.")
}

pub(crate) fn too_large(limit_bytes: u64) -> S3Error {
    s3_error!(
        EntityTooLarge,
        "Your proposed upload exceeds the maximum allowed size of {limit_bytes} bytes."
    )
}

fn full() -> S3Error {
    let code = S3ErrorCode::Custom("InsufficientStorage".into());
    let words = "There is not enough free space to store this object. Delete objects or add disks.";
    let mut error = S3Error::with_message(code, words);
    error.set_status_code(StatusCode::INSUFFICIENT_STORAGE);
    error
}

fn unavailable(reason: &str) -> S3Error {
    let mut error = s3_error!(ServiceUnavailable, "Not available now, please retry: {reason}.");
    let mut headers = xml_headers();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    error.set_headers(headers);
    error
}

pub(crate) fn internal() -> S3Error {
    s3_error!(InternalError, "We encountered an internal error. Please try again.")
}

/// The headers of an error that sets its own.
fn xml_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_object_store::{Bucket, Checksum};

    fn status(error: StoreError) -> (String, u16) {
        let error = refusal(error);
        let status = error.status_code().map_or(0, |status| status.as_u16());
        (error.code().as_str().to_owned(), status)
    }

    #[test]
    fn every_kind_of_refusal_has_the_code_that_clients_know() {
        let bucket = Bucket::new("photos").unwrap();
        let sum = || Checksum::of(Algorithm::Crc32, b"x");
        let expect = [
            (StoreError::NoSuchBucket { bucket: bucket.clone() }, "NoSuchBucket", 404),
            (StoreError::BucketNotEmpty { bucket }, "BucketNotEmpty", 409),
            (StoreError::RangeNotSatisfiable { size: 3 }, "InvalidRange", 416),
            (StoreError::PreconditionFailed { condition: "If-Match" }, "PreconditionFailed", 412),
            (StoreError::ChecksumMismatch { expected: sum(), computed: sum() }, "BadDigest", 400),
            (StoreError::LengthMismatch { declared: 2, received: 1 }, "IncompleteBody", 400),
            (StoreError::TooLarge { limit: 5 }, "EntityTooLarge", 400),
            (StoreError::Full { wanted: 1 }, "InsufficientStorage", 507),
            (StoreError::Busy { seconds: 1 }, "SlowDown", 503),
            (StoreError::Unavailable { reason: "no disk".to_owned() }, "ServiceUnavailable", 503),
        ];
        for (error, code, number) in expect {
            assert_eq!(status(error), (code.to_owned(), number));
        }
    }

    #[test]
    fn what_is_not_available_says_when_to_retry() {
        let error = refusal(StoreError::Unavailable { reason: "no disk".to_owned() });
        let headers = error.headers().unwrap();
        assert_eq!(headers.get(header::RETRY_AFTER).unwrap(), RETRY_AFTER_SECONDS);
        assert!(error.message().unwrap().contains("no disk"));
    }

    #[test]
    fn an_error_of_the_copied_object_is_not_taken_for_one_of_the_client() {
        let inner: BodyError = Box::new(StoreError::Full { wanted: 1 });
        let error = refusal_of_write(StoreError::Body { source: inner }, None);
        assert_eq!(error.code().as_str(), "InsufficientStorage");
    }
}
