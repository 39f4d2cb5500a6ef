//! Uploads in parts, but for their completion.

use agent_object_store::{
    After, Algorithm, ChecksumScope, PartInfo, UploadId, UploadInfo, UploadQuery, UploadRequest,
    UploadTarget,
};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumType, CommonPrefix,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, Initiator, ListMultipartUploadsInput,
    ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput, MultipartUpload, Part,
    StorageClass,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::list::{Coding, behind, marker_of};
use super::{Api, page_limit, shown_owner};
use crate::access::user;
use crate::checksums::{algorithm, algorithm_name, encode, scope_name, with_checksums};
use crate::convert;
use crate::error::refusal;

/// How the object of an upload is summed, kept as the upload's note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Summing {
    pub(super) algorithm: Algorithm,
    pub(super) scope: ChecksumScope,
}

/// The algorithms that uploads can have.
const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme, Algorithm::Sha1, Algorithm::Sha256];

impl Summing {
    /// What a client asks for; none if nothing.
    fn asked(input: &CreateMultipartUploadInput) -> S3Result<Option<Self>> {
        let kind = input.checksum_type.as_ref().map(ChecksumType::as_str);
        let Some(name) = &input.checksum_algorithm else {
            return match kind {
                None => Ok(None),
                Some(_) => Err(s3_error!(
                    InvalidRequest,
                    "The x-amz-checksum-type header can only be used with the \
                     x-amz-checksum-algorithm header."
                )),
            };
        };
        let algorithm = algorithm(name)?;
        let scope = match (algorithm, kind) {
            (Algorithm::Crc64Nvme, None | Some(ChecksumType::FULL_OBJECT))
            | (Algorithm::Crc32 | Algorithm::Crc32c, Some(ChecksumType::FULL_OBJECT)) => {
                ChecksumScope::Whole
            }
            (
                Algorithm::Crc32 | Algorithm::Crc32c | Algorithm::Sha1 | Algorithm::Sha256,
                None | Some(ChecksumType::COMPOSITE),
            ) => ChecksumScope::Parts,
            (_, Some(kind)) => {
                return Err(s3_error!(
                    InvalidRequest,
                    "The {kind} checksum type cannot be used with the {algorithm} checksum \
                     algorithm."
                ));
            }
            (Algorithm::Md5, None) => {
                return Err(s3_error!(InvalidRequest, "MD5 is no checksum algorithm of S3."));
            }
        };
        Ok(Some(Self { algorithm, scope }))
    }

    fn note(self) -> String {
        format!("{} {}", self.algorithm, scope_name(self.scope).as_str())
    }

    /// From a note. One that is not understood says nothing.
    pub(super) fn of(upload: &UploadInfo) -> Option<Self> {
        let (name, scope) = upload.note.as_deref()?.split_once(' ')?;
        let algorithm = ALGORITHMS.into_iter().find(|a| a.to_string() == name)?;
        let scope = match scope {
            ChecksumType::FULL_OBJECT => ChecksumScope::Whole,
            ChecksumType::COMPOSITE => ChecksumScope::Parts,
            _ => return None,
        };
        Some(Self { algorithm, scope })
    }
}

/// What to keep of a part: what its client chose, and what completing the upload needs.
pub(super) async fn keep_of_part(
    api: &Api,
    target: &UploadTarget,
    mut chosen: Vec<Algorithm>,
) -> S3Result<Vec<Algorithm>> {
    let page = api.store.list_parts(target, None, 0).await.map_err(refusal)?;
    let Some(Summing { algorithm, .. }) = Summing::of(&page.upload) else { return Ok(chosen) };
    if let Some(other) = chosen.iter().find(|a| **a != algorithm) {
        return Err(s3_error!(
            InvalidRequest,
            "Checksum Type mismatch occurred, expected checksum Type: {algorithm}, actual checksum \
             Type: {other}"
        ));
    }
    if chosen.is_empty() {
        chosen.push(algorithm);
    }
    Ok(chosen)
}

pub(super) async fn create_multipart_upload(
    api: &Api,
    req: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let owner = user(&req.extensions)?;
    let summing = Summing::asked(&req.input)?;
    let input = req.input;
    let request = UploadRequest {
        bucket: convert::bucket(&input.bucket)?,
        key: convert::key(&input.key)?,
        owner,
        attributes: convert::attributes(&req.headers, input.metadata)?,
        note: summing.map(Summing::note),
    };
    let upload = api.store.create_upload(request).await.map_err(refusal)?;
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(upload.upload.to_string()),
        checksum_algorithm: summing.map(|s| algorithm_name(s.algorithm)),
        checksum_type: summing.map(|s| scope_name(s.scope)),
        ..CreateMultipartUploadOutput::default()
    }))
}

pub(super) async fn abort_multipart_upload(
    api: &Api,
    req: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let input = req.input;
    if input.if_match_initiated_time.is_some() {
        return Err(s3_error!(NotImplemented, "Aborting on a condition is not implemented."));
    }
    let target = convert::upload_target(&input.bucket, &input.key, &input.upload_id)?;
    api.store.abort_upload(&target).await.map_err(refusal)?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

pub(super) async fn list_parts(
    api: &Api,
    req: S3Request<ListPartsInput>,
) -> S3Result<S3Response<ListPartsOutput>> {
    let input = req.input;
    let target = convert::upload_target(&input.bucket, &input.key, &input.upload_id)?;
    let (limit, max_parts) = page_limit("max-parts", input.max_parts)?;
    let marker = input.part_number_marker.filter(|marker| *marker != 0);
    let after = marker.map(convert::part_number).transpose()?;
    let page = api.store.list_parts(&target, after, limit).await.map_err(refusal)?;
    let summing = Summing::of(&page.upload);
    let owner = shown_owner(&page.upload.owner);
    let last = page.parts.last().map(|part| i32::from(part.part.get()));
    let truncated = page.more && limit > 0;
    Ok(S3Response::new(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        checksum_algorithm: summing.map(|s| algorithm_name(s.algorithm)),
        checksum_type: summing.map(|s| scope_name(s.scope)),
        initiator: Some(initiator(&owner)),
        owner: Some(owner),
        is_truncated: Some(truncated),
        max_parts: Some(max_parts),
        part_number_marker: Some(marker.unwrap_or(0)),
        next_part_number_marker: last,
        parts: Some(page.parts.iter().map(shown_part).collect()),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        ..ListPartsOutput::default()
    }))
}

fn shown_part(part: &PartInfo) -> Part {
    let mut shown = Part {
        e_tag: Some(convert::etag(&part.etag)),
        last_modified: Some(convert::timestamp(part.modified)),
        part_number: Some(i32::from(part.part.get())),
        size: Some(convert::size(part.size)),
        ..Part::default()
    };
    with_checksums!(shown, encode(&part.checksums, None));
    shown
}

fn initiator(owner: &s3s::dto::Owner) -> Initiator {
    Initiator { display_name: owner.display_name.clone(), id: owner.id.clone() }
}

pub(super) async fn list_multipart_uploads(
    api: &Api,
    req: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let input = req.input;
    let coding = Coding::new(input.encoding_type.as_ref())?;
    let prefix = input.prefix.unwrap_or_default();
    let (limit, max_uploads) = page_limit("max-uploads", input.max_uploads)?;
    let delimiter = input.delimiter.filter(|d| !d.is_empty());
    let key_marker = input.key_marker.unwrap_or_default();
    let id_marker = input.upload_id_marker.filter(|id| !id.is_empty() && !key_marker.is_empty());
    let after = match key_marker.as_str() {
        "" => None,
        marker => Some(after_markers(marker, id_marker.as_deref(), &prefix, delimiter.as_deref())?),
    };
    let bucket = convert::bucket(&input.bucket)?;
    let query = UploadQuery { after, prefix, delimiter, limit };
    let page = api.store.list_uploads(&bucket, &query).await.map_err(refusal)?;
    let next_key = page.next.as_ref().map(|(after, _)| coding.text(marker_of(after)));
    let next_id = page.next.as_ref().and_then(|(_, id)| id.as_ref().map(UploadId::to_string));
    let prefix_of = |text: &String| CommonPrefix { prefix: Some(coding.text(text)) };
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(bucket.to_string()),
        common_prefixes: Some(page.prefixes.iter().map(prefix_of).collect()),
        delimiter: query.delimiter.as_deref().map(|d| coding.text(d)),
        encoding_type: input.encoding_type,
        is_truncated: Some(page.next.is_some()),
        key_marker: Some(coding.text(&key_marker)),
        max_uploads: Some(max_uploads),
        next_key_marker: next_key,
        next_upload_id_marker: next_id,
        prefix: Some(coding.text(&query.prefix)),
        request_charged: None,
        upload_id_marker: id_marker,
        uploads: Some(page.uploads.iter().map(|upload| shown_upload(upload, coding)).collect()),
    }))
}

fn after_markers(
    marker: &str,
    id: Option<&str>,
    prefix: &str,
    delimiter: Option<&str>,
) -> S3Result<(After, Option<UploadId>)> {
    match id {
        None => Ok((behind(marker, prefix, delimiter), None)),
        Some(id) => match UploadId::new(id) {
            Ok(id) => Ok((After::Key(marker.to_owned()), Some(id))),
            Err(_) => Err(s3_error!(InvalidArgument, "Invalid uploadId marker")),
        },
    }
}

fn shown_upload(upload: &UploadInfo, coding: Coding) -> MultipartUpload {
    let summing = Summing::of(upload);
    let owner = shown_owner(&upload.owner);
    MultipartUpload {
        checksum_algorithm: summing.map(|s| algorithm_name(s.algorithm)),
        checksum_type: summing.map(|s| scope_name(s.scope)),
        initiated: Some(convert::timestamp(upload.begun)),
        initiator: Some(initiator(&owner)),
        key: Some(coding.text(upload.key.as_str())),
        owner: Some(owner),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        upload_id: Some(upload.upload.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::dto::ChecksumAlgorithm;

    fn asked(name: Option<&'static str>, kind: Option<&'static str>) -> Option<Option<Summing>> {
        let input = CreateMultipartUploadInput {
            checksum_algorithm: name.map(ChecksumAlgorithm::from_static),
            checksum_type: kind.map(ChecksumType::from_static),
            ..CreateMultipartUploadInput::default()
        };
        Summing::asked(&input).ok()
    }

    #[test]
    fn each_algorithm_has_its_usual_scope() {
        let scope = |name| asked(Some(name), None).flatten().map(|s| s.scope);
        assert_eq!(scope("CRC32"), Some(ChecksumScope::Parts));
        assert_eq!(scope("SHA256"), Some(ChecksumScope::Parts));
        assert_eq!(scope("CRC64NVME"), Some(ChecksumScope::Whole));
        assert_eq!(asked(None, None), Some(None));
    }

    #[test]
    fn scopes_that_cannot_be_computed_are_refused() {
        assert_eq!(asked(Some("SHA1"), Some("FULL_OBJECT")), None);
        assert_eq!(asked(Some("CRC64NVME"), Some("COMPOSITE")), None);
        assert_eq!(asked(None, Some("COMPOSITE")), None);
        assert_eq!(asked(Some("CRC99"), None), None);
    }
}
