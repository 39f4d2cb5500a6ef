//! Writing objects and parts.

use agent_object_store::{Body, PutRequest};
use http::HeaderMap;
use s3s::dto::{PutObjectInput, PutObjectOutput, StreamingBlob, UploadPartInput, UploadPartOutput};
use s3s::{S3Request, S3Response, S3Result, TrailingHeaders, s3_error};

use super::{Api, PIECE_MAX_BYTES, uploads};
use crate::checksums::{Declared, encode, with_checksums};
use crate::convert;
use crate::error::{refusal_of_write, too_large};
use crate::wire::BodyWatch;

pub(super) async fn put_object(
    api: &Api,
    req: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    let input = req.input;
    let declared = Declared::read(&req.headers)?;
    let request = PutRequest {
        bucket: convert::bucket(&input.bucket)?,
        key: convert::key(&input.key)?,
        attributes: convert::attributes(&req.headers, input.metadata)?,
        keep: declared.keep(),
        conditions: convert::write_conditions(
            input.if_match.as_ref(),
            input.if_none_match.as_ref(),
        )?,
    };
    let length = declared_length(input.content_length, &req.headers)?;
    let body = incoming(input.body, length, declared, req.trailing_headers);
    let info = api.store.put(request, body).await;
    let info = info.map_err(|error| refusal_of_write(error, req.extensions.get::<BodyWatch>()))?;
    let mut output =
        PutObjectOutput { e_tag: Some(convert::etag(&info.etag)), ..PutObjectOutput::default() };
    let sums = encode(&info.checksums, info.parts);
    output.checksum_type = sums.checksum_type.clone();
    with_checksums!(output, sums);
    Ok(S3Response::new(output))
}

pub(super) async fn upload_part(
    api: &Api,
    req: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let input = req.input;
    let declared = Declared::read(&req.headers)?;
    let target = convert::upload_target(&input.bucket, &input.key, &input.upload_id)?;
    let part = convert::part_number(input.part_number)?;
    let keep = uploads::keep_of_part(api, &target, declared.keep()).await?;
    let length = declared_length(input.content_length, &req.headers)?;
    let body = incoming(input.body, length, declared, req.trailing_headers);
    let info = api.store.put_part(&target, part, keep, body).await;
    let info = info.map_err(|error| refusal_of_write(error, req.extensions.get::<BodyWatch>()))?;
    let mut output =
        UploadPartOutput { e_tag: Some(convert::etag(&info.etag)), ..UploadPartOutput::default() };
    with_checksums!(output, encode(&info.checksums, None));
    Ok(S3Response::new(output))
}

/// The length of a body without its framing, which must be declared so that one that is cut short
/// is never taken for whole.
fn declared_length(content_length: Option<i64>, headers: &HeaderMap) -> S3Result<u64> {
    let decoded = headers.get("x-amz-decoded-content-length").map(|value| {
        let number = value.to_str().ok().and_then(|text| text.parse::<u64>().ok());
        number.ok_or_else(|| {
            s3_error!(InvalidArgument, "x-amz-decoded-content-length is not a number")
        })
    });
    let length = match (decoded, content_length) {
        (Some(decoded), _) => decoded?,
        (None, Some(length)) => u64::try_from(length)
            .map_err(|_| s3_error!(InvalidArgument, "Content-Length must not be negative"))?,
        (None, None) => {
            return Err(s3_error!(
                MissingContentLength,
                "You must provide the Content-Length HTTP header."
            ));
        }
    };
    if length > PIECE_MAX_BYTES {
        return Err(too_large(PIECE_MAX_BYTES));
    }
    Ok(length)
}

/// The body as the store takes it: with its length and all that is known of its checksums.
fn incoming(
    body: Option<StreamingBlob>,
    length: u64,
    declared: Declared,
    trailers: Option<TrailingHeaders>,
) -> Body {
    let trailer = declared.trailer(trailers);
    let body = match body {
        Some(blob) => Body::new(Box::pin(blob)),
        None => Body::from_bytes(bytes::Bytes::new()),
    };
    let mut body = body.with_length(length).with_limit(PIECE_MAX_BYTES);
    for checksum in declared.expected {
        body = body.expecting(checksum);
    }
    match trailer {
        Some(trailer) => body.with_trailer(trailer),
        None => body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_needs_a_length() {
        let mut headers = HeaderMap::new();
        assert!(declared_length(None, &headers).is_err());
        assert!(declared_length(Some(-1), &headers).is_err());
        assert_eq!(declared_length(Some(7), &headers).unwrap(), 7);
        headers.insert("x-amz-decoded-content-length", "5".parse().unwrap());
        assert_eq!(declared_length(Some(7), &headers).unwrap(), 5);
        assert!(
            declared_length(Some(convert::size(PIECE_MAX_BYTES + 1)), &HeaderMap::new()).is_err()
        );
    }
}
