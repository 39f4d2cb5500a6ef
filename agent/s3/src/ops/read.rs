//! Reading objects.

use std::pin::Pin;
use std::task::{Context, Poll};

use agent_object_store::{
    Attributes, ByteStream, GetRequest, Meter, ObjectInfo, ReadBody, ReadRange, StoreError,
};
use bytes::Bytes;
use futures::Stream;
use s3s::dto::{
    ChecksumMode, GetObjectInput, GetObjectOutput, GetObjectTaggingInput, GetObjectTaggingOutput,
    HeadObjectInput, HeadObjectOutput, Range, StreamingBlob, Timestamp, TimestampFormat,
};
use s3s::stream::RemainingLength;
use s3s::{Body, S3Request, S3Response, S3Result, StdError, s3_error};

use super::Api;
use crate::checksums::{encode, with_checksums};
use crate::convert;
use crate::error::refusal;

/// What S3 says an object is when its writer did not.
const UNKNOWN_TYPE: &str = "binary/octet-stream";

pub(super) async fn get_object(
    api: &Api,
    req: S3Request<GetObjectInput>,
) -> S3Result<S3Response<GetObjectOutput>> {
    let input = req.input;
    let request = GetRequest {
        bucket: convert::bucket(&input.bucket)?,
        key: convert::key(&input.key)?,
        version: convert::version(input.version_id.as_deref())?,
        range: read_range(input.range, input.part_number)?,
        conditions: convert::read_conditions(
            input.if_match.as_ref(),
            input.if_none_match.as_ref(),
            input.if_modified_since.as_ref(),
            input.if_unmodified_since.as_ref(),
        ),
    };
    let meter = api.store.meter(&request.bucket);
    let reader = api.store.get(&request).await.map_err(refusal)?;
    meter.read();
    let info = reader.info;
    let length = reader.range.end.saturating_sub(reader.range.start);
    let mut output = GetObjectOutput {
        body: Some(outgoing(reader.body, length, meter)),
        content_length: Some(convert::size(length)),
        content_range: content_range(request.range, &reader.range, info.size),
        ..GetObjectOutput::default()
    };
    if wants_checksums(input.checksum_mode.as_ref()) && length == info.size {
        let sums = encode(&info.checksums, info.parts);
        output.checksum_type = sums.checksum_type.clone();
        with_checksums!(output, sums);
    }
    describe!(output, info, request.range);
    Ok(S3Response::new(output))
}

pub(super) async fn head_object(
    api: &Api,
    req: S3Request<HeadObjectInput>,
) -> S3Result<S3Response<HeadObjectOutput>> {
    let input = req.input;
    let request = GetRequest {
        bucket: convert::bucket(&input.bucket)?,
        key: convert::key(&input.key)?,
        version: convert::version(input.version_id.as_deref())?,
        range: read_range(input.range, input.part_number)?,
        conditions: convert::read_conditions(
            input.if_match.as_ref(),
            input.if_none_match.as_ref(),
            input.if_modified_since.as_ref(),
            input.if_unmodified_since.as_ref(),
        ),
    };
    let (info, range) = match request.range {
        ReadRange::All => {
            let info = api.store.head(&request).await.map_err(refusal)?;
            let range = 0..info.size;
            (info, range)
        }
        // Only opening the object tells where a part begins.
        _ => {
            let reader = api.store.get(&request).await.map_err(refusal)?;
            (reader.info, reader.range)
        }
    };
    let length = range.end.saturating_sub(range.start);
    let mut output = HeadObjectOutput {
        content_length: Some(convert::size(length)),
        content_range: content_range(request.range, &range, info.size),
        ..HeadObjectOutput::default()
    };
    if wants_checksums(input.checksum_mode.as_ref()) && length == info.size {
        let sums = encode(&info.checksums, info.parts);
        output.checksum_type = sums.checksum_type.clone();
        with_checksums!(output, sums);
    }
    describe!(output, info, request.range);
    output.cache_control = input.response_cache_control.or(output.cache_control);
    output.content_disposition = input.response_content_disposition.or(output.content_disposition);
    output.content_encoding = input.response_content_encoding.or(output.content_encoding);
    output.content_language = input.response_content_language.or(output.content_language);
    output.content_type = input.response_content_type.or(output.content_type);
    output.expires = input.response_expires.or(output.expires);
    Ok(S3Response::new(output))
}

/// Objects have no tags, as none can be given to them.
pub(super) async fn get_object_tagging(
    api: &Api,
    req: S3Request<GetObjectTaggingInput>,
) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let input = req.input;
    let request = GetRequest {
        version: convert::version(input.version_id.as_deref())?,
        ..GetRequest::new(convert::bucket(&input.bucket)?, convert::key(&input.key)?)
    };
    api.store.head(&request).await.map_err(refusal)?;
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set: Vec::new(), version_id: None }))
}

/// Fills in what S3 says of an object in answers to both GET and HEAD.
macro_rules! describe {
    ($output:expr, $info:expr, $range:expr) => {{
        let info: ObjectInfo = $info;
        let Attributes {
            content_type,
            content_encoding,
            content_language,
            content_disposition,
            cache_control,
            expires,
            redirect,
            user,
        } = info.attributes;
        $output.accept_ranges = Some("bytes".to_owned());
        $output.e_tag = Some(convert::etag(&info.etag));
        $output.last_modified = Some(convert::timestamp(info.modified));
        $output.content_type = Some(content_type.unwrap_or_else(|| UNKNOWN_TYPE.to_owned()));
        $output.content_encoding = content_encoding;
        $output.content_language = content_language;
        $output.content_disposition = content_disposition;
        $output.cache_control = cache_control;
        $output.expires =
            expires.and_then(|text| Timestamp::parse(TimestampFormat::HttpDate, &text).ok());
        $output.website_redirect_location = redirect;
        $output.metadata = (!user.is_empty()).then(|| user.into_iter().collect());
        if matches!($range, ReadRange::Part(_)) {
            $output.parts_count = info.parts.map(i32::from);
        }
    }};
}
use describe;

fn read_range(range: Option<Range>, part: Option<i32>) -> S3Result<ReadRange> {
    match (range, part) {
        (Some(_), Some(_)) => Err(s3_error!(
            InvalidRequest,
            "Cannot specify both Range header and partNumber query parameter"
        )),
        (None, Some(part)) => convert::part_number(part).map(ReadRange::Part),
        (Some(range), None) => Ok(match range {
            Range::Int { first, last: None } => ReadRange::From(first),
            Range::Int { first, last: Some(last) } => ReadRange::Between(first, last),
            Range::Suffix { length } => ReadRange::Last(length),
        }),
        (None, None) => Ok(ReadRange::All),
    }
}

/// The range that was read; none where all was asked for. HTTP has no way to name no bytes, so a
/// part without any has none either.
fn content_range(asked: ReadRange, read: &std::ops::Range<u64>, size: u64) -> Option<String> {
    let last = read.end.checked_sub(1).filter(|_| !read.is_empty())?;
    (asked != ReadRange::All).then(|| format!("bytes {}-{last}/{size}", read.start))
}

fn wants_checksums(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED)
}

/// A body on its way out. A small one goes with the head in one write.
fn outgoing(body: ReadBody, length: u64, meter: Meter) -> StreamingBlob {
    match body {
        ReadBody::Whole(bytes) => {
            meter.sent(length);
            StreamingBlob::from(Body::from(bytes))
        }
        ReadBody::Stream(stream) => StreamingBlob::new(Outgoing { stream, left: length, meter }),
    }
}

/// A stream that knows its length. When it breaks, so does the connection: the client sees that
/// bytes are missing.
struct Outgoing {
    stream: ByteStream,
    left: u64,
    /// Counts what went out, also of a body that breaks off.
    meter: Meter,
}

impl Stream for Outgoing {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.stream.as_mut().poll_next(cx);
        match &next {
            Poll::Ready(Some(Ok(bytes))) => {
                let length = u64::try_from(bytes.len()).unwrap_or(0);
                self.left = self.left.saturating_sub(length);
                self.meter.sent(length);
            }
            Poll::Ready(Some(Err(error))) => log_broken(error),
            Poll::Ready(None) | Poll::Pending => {}
        }
        next
    }
}

impl s3s::stream::ByteStream for Outgoing {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact(usize::try_from(self.left).unwrap_or(usize::MAX))
    }
}

fn log_broken(error: &StdError) {
    match error.downcast_ref::<StoreError>() {
        Some(StoreError::Io { source, .. }) => {
            tracing::error!(%error, cause = %source, "answer cut short");
        }
        _ => tracing::error!(%error, "answer cut short"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_told_as_http_has_it() {
        let told = |asked, read| content_range(asked, &read, 100);
        assert_eq!(told(ReadRange::From(10), 10..100).as_deref(), Some("bytes 10-99/100"));
        assert_eq!(told(ReadRange::Last(1), 99..100).as_deref(), Some("bytes 99-99/100"));
        assert_eq!(told(ReadRange::All, 0..100), None);
        assert_eq!(told(ReadRange::Last(5), 0..0), None);
    }

    #[test]
    fn a_range_and_a_part_exclude_each_other() {
        let range = Range::Int { first: 0, last: None };
        assert!(read_range(Some(range), Some(1)).is_err());
        assert!(read_range(None, Some(0)).is_err());
        assert_eq!(read_range(None, None).unwrap(), ReadRange::All);
    }
}
