//! Copying objects, whole or as parts.

use agent_object_store::{
    Body, CopyTarget, GetRequest, ObjectReader, Owner, ReadConditions, ReadRange, StoreError,
    WriteConditions,
};
use http::HeaderMap;
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource,
    MetadataDirective, Range, UploadPartCopyInput, UploadPartCopyOutput,
};
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use super::{Api, PIECE_MAX_BYTES, uploads};
use crate::access::{Side, may_use, user};
use crate::checksums::{algorithm, encode, with_checksums};
use crate::convert;
use crate::error::{refusal, refusal_of_write};

pub(super) async fn copy_object(
    api: &Api,
    req: S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let owner = user(&req.extensions)?;
    let input = req.input;
    let conditions = convert::read_conditions(
        input.copy_source_if_match.as_ref(),
        input.copy_source_if_none_match.as_ref(),
        input.copy_source_if_modified_since.as_ref(),
        input.copy_source_if_unmodified_since.as_ref(),
    );
    let source = source(api, &owner, &input.copy_source, conditions, &req.headers).await?;
    let replace = replaces(input.metadata_directive.as_ref())?;
    let (bucket, key) = (convert::bucket(&input.bucket)?, convert::key(&input.key)?);
    let unchanged = !replace && input.checksum_algorithm.is_none();
    if unchanged && source.bucket == bucket && source.key == key && source.version.is_none() {
        return Err(s3_error!(
            InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself without \
             changing the object's metadata, storage class, website redirect location or \
             encryption attributes."
        ));
    }
    let attributes = match replace {
        true => Some(convert::attributes(&req.headers, input.metadata)?),
        false => None,
    };
    let chosen = input.checksum_algorithm.as_ref().map(algorithm).transpose()?;
    let kept = async {
        let info = api.store.head(&source).await?;
        Ok(info.checksums.values.iter().map(|sum| sum.algorithm()).collect())
    };
    let keep = match chosen {
        Some(algorithm) => vec![algorithm],
        None => kept.await.map_err(refusal_of_source)?,
    };
    let conditions = write_conditions(&req.headers)?;
    let target = CopyTarget { bucket, key, attributes, keep, conditions, limit: PIECE_MAX_BYTES };
    let info = api.store.copy(&source, target).await.map_err(refusal_of_source)?;
    let mut result = CopyObjectResult {
        e_tag: Some(convert::etag(&info.etag)),
        last_modified: Some(convert::timestamp(info.modified)),
        ..CopyObjectResult::default()
    };
    let sums = encode(&info.checksums, info.parts);
    result.checksum_type = sums.checksum_type.clone();
    with_checksums!(result, sums);
    Ok(S3Response::new(CopyObjectOutput {
        copy_object_result: Some(result),
        ..CopyObjectOutput::default()
    }))
}

pub(super) async fn upload_part_copy(
    api: &Api,
    req: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let owner = user(&req.extensions)?;
    let input = req.input;
    let conditions = convert::read_conditions(
        input.copy_source_if_match.as_ref(),
        input.copy_source_if_none_match.as_ref(),
        input.copy_source_if_modified_since.as_ref(),
        input.copy_source_if_unmodified_since.as_ref(),
    );
    let mut source = source(api, &owner, &input.copy_source, conditions, &req.headers).await?;
    source.range = copied_range(input.copy_source_range.as_deref())?;
    let target = convert::upload_target(&input.bucket, &input.key, &input.upload_id)?;
    let part = convert::part_number(input.part_number)?;
    let keep = uploads::keep_of_part(api, &target, Vec::new()).await?;
    let reader = api.store.get(&source).await.map_err(refusal_of_source)?;
    let length = whole_range(&source, &reader)?;
    let body = Body::new(reader.body.into_stream())
        .with_length(length)
        .with_limit(PIECE_MAX_BYTES)
        .of_store();
    let info = api.store.put_part(&target, part, keep, body).await;
    let info = info.map_err(|error| refusal_of_write(error, None))?;
    let mut result = CopyPartResult {
        e_tag: Some(convert::etag(&info.etag)),
        last_modified: Some(convert::timestamp(info.modified)),
        ..CopyPartResult::default()
    };
    with_checksums!(result, encode(&info.checksums, None));
    Ok(S3Response::new(UploadPartCopyOutput {
        copy_part_result: Some(result),
        ..UploadPartCopyOutput::default()
    }))
}

/// What is copied, which must be the user's own.
async fn source(
    api: &Api,
    owner: &Owner,
    source: &CopySource,
    conditions: ReadConditions,
    headers: &HeaderMap,
) -> S3Result<GetRequest> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(s3_error!(NotImplemented, "Access points are not implemented."));
    };
    let bucket = convert::bucket(bucket)?;
    may_use(api.store.as_ref(), owner, &bucket, Side::Source, headers).await?;
    Ok(GetRequest {
        bucket,
        key: convert::key(key)?,
        version: convert::version(version_id.as_deref())?,
        range: ReadRange::All,
        conditions,
    })
}

/// For a copy there is no answer "not modified": the condition does not hold.
fn refusal_of_source(error: StoreError) -> S3Error {
    match error {
        StoreError::NotModified { .. } => refusal(StoreError::PreconditionFailed {
            condition: "x-amz-copy-source-If-None-Match or -If-Modified-Since",
        }),
        StoreError::TooLarge { .. } => s3_error!(
            InvalidRequest,
            "The specified copy source is larger than the maximum allowable size for a copy \
             source: {PIECE_MAX_BYTES}"
        ),
        other => refusal_of_write(other, None),
    }
}

fn replaces(directive: Option<&MetadataDirective>) -> S3Result<bool> {
    match directive.map(MetadataDirective::as_str) {
        None | Some(MetadataDirective::COPY) => Ok(false),
        Some(MetadataDirective::REPLACE) => Ok(true),
        Some(_) => Err(s3_error!(InvalidArgument, "Unknown metadata directive.")),
    }
}

/// Conditions on the target, which s3s does not read for copies.
fn write_conditions(headers: &HeaderMap) -> S3Result<WriteConditions> {
    let read = |name| {
        let wrong = |_| s3_error!(InvalidArgument, "The header {name} is not an entity tag.");
        let value = headers.get(name);
        let parse = |value: &http::HeaderValue| {
            s3s::dto::ETagCondition::parse_http_header(value.as_bytes()).map_err(wrong)
        };
        value.map(parse).transpose()
    };
    let (if_match, if_none_match) = (read("if-match")?, read("if-none-match")?);
    convert::write_conditions(if_match.as_ref(), if_none_match.as_ref())
}

/// The range of a part's source: `bytes=first-last`, both given.
fn copied_range(range: Option<&str>) -> S3Result<ReadRange> {
    match range.map(Range::parse) {
        None => Ok(ReadRange::All),
        Some(Ok(Range::Int { first, last: Some(last) })) => Ok(ReadRange::Between(first, last)),
        Some(_) => Err(s3_error!(
            InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first \
             and last are the zero-based offsets of the first and last bytes to copy"
        )),
    }
}

/// The bytes to copy. Unlike a read, a copy must not be cut to what there is.
fn whole_range(source: &GetRequest, reader: &ObjectReader) -> S3Result<u64> {
    if let ReadRange::Between(_, last) = source.range
        && last >= reader.info.size
    {
        return Err(s3_error!(
            InvalidRange,
            "Range specified is not valid for source object of size: {}",
            reader.info.size
        ));
    }
    Ok(reader.range.end.saturating_sub(reader.range.start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_a_copied_part_has_both_ends() {
        assert_eq!(copied_range(None).unwrap(), ReadRange::All);
        assert_eq!(copied_range(Some("bytes=0-9")).unwrap(), ReadRange::Between(0, 9));
        for wrong in ["bytes=5-", "bytes=-5", "0-9", "bytes=9-0"] {
            assert!(copied_range(Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_known_directives_are_taken() {
        let directive = |name: &'static str| replaces(Some(&MetadataDirective::from_static(name)));
        assert!(directive("REPLACE").unwrap());
        assert!(!directive("COPY").unwrap());
        assert!(directive("MERGE").is_err());
    }
}
