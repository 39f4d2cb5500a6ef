//! Completing uploads: what the object gets is decided from the parts, then published.

use agent_object_store::{
    Algorithm, Checksum, ChecksumScope, Checksums, CompleteRequest, ETag, PartInfo, PartNumber,
    StoreError, UploadInfo, UploadTarget,
};
use fast_md5::Md5;
use s3s::dto::{CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::uploads::Summing;
use super::{Api, PIECE_MAX_BYTES};
use crate::checksums::{decode, encode, with_checksums};
use crate::convert;
use crate::error::{checksum_mismatch, refusal};

/// Smallest part, but for the last one (S3: 5 MiB).
const PART_MIN_BYTES: u64 = 5 << 20;

/// Largest object (S3: 5 TiB).
const OBJECT_MAX_BYTES: u64 = PIECE_MAX_BYTES << 10;

pub(super) async fn complete_multipart_upload(
    api: &Api,
    req: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let input = req.input;
    let target = convert::upload_target(&input.bucket, &input.key, &input.upload_id)?;
    let conditions =
        convert::write_conditions(input.if_match.as_ref(), input.if_none_match.as_ref())?;
    let wanted = wanted(&input)?;
    let etag = etag_of_parts(&wanted)?;
    let checksums = match stored(api, &target).await {
        Ok((upload, parts)) => {
            let picked = pick(&wanted, &parts)?;
            check_sizes(&picked, input.mpu_object_size)?;
            let checksums = checksums(Summing::of(&upload), &picked);
            check_checksum(&input, &checksums, picked.len())?;
            checksums
        }
        // It may be complete already, and the answer be lost: the store knows.
        Err(StoreError::NoSuchUpload { .. }) => Checksums::default(),
        Err(error) => return Err(refusal(error)),
    };
    let parts = wanted.into_iter().map(|part| (part.number, part.etag)).collect();
    let request = CompleteRequest { target, parts, etag, checksums, conditions };
    let info = api.store.complete_upload(request).await.map_err(refusal)?;
    let mut output = CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", input.bucket, input.key)),
        bucket: Some(input.bucket),
        key: Some(input.key),
        e_tag: Some(convert::etag(&info.etag)),
        ..CompleteMultipartUploadOutput::default()
    };
    let sums = encode(&info.checksums, info.parts);
    output.checksum_type = sums.checksum_type.clone();
    with_checksums!(output, sums);
    Ok(S3Response::new(output))
}

/// A part as the client names it.
struct Wanted {
    number: PartNumber,
    etag: ETag,
    sums: Vec<(Algorithm, String)>,
}

/// The parts that the client names, in rising order.
fn wanted(input: &CompleteMultipartUploadInput) -> S3Result<Vec<Wanted>> {
    let listed = input.multipart_upload.as_ref().and_then(|upload| upload.parts.as_deref());
    let listed = listed.unwrap_or_default();
    if listed.is_empty() {
        return Err(s3_error!(
            MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published \
             schema: it names no part."
        ));
    }
    let mut wanted: Vec<Wanted> = Vec::with_capacity(listed.len());
    for part in listed {
        let part = read_part(part)?;
        if wanted.last().is_some_and(|last| last.number >= part.number) {
            return Err(s3_error!(
                InvalidPartOrder,
                "The list of parts was not in ascending order. Parts must be ordered by part number."
            ));
        }
        wanted.push(part);
    }
    Ok(wanted)
}

fn read_part(part: &CompletedPart) -> S3Result<Wanted> {
    let number =
        part.part_number.ok_or_else(|| s3_error!(MalformedXML, "A part has no number."))?;
    let number = convert::part_number(number)?;
    let tag = part.e_tag.as_ref().map(|tag| tag.value().to_owned());
    let etag = tag.and_then(|tag| ETag::new(&tag).ok()).ok_or_else(|| not_the_part(number))?;
    let sums = [
        (Algorithm::Crc32, &part.checksum_crc32),
        (Algorithm::Crc32c, &part.checksum_crc32c),
        (Algorithm::Crc64Nvme, &part.checksum_crc64nvme),
        (Algorithm::Sha1, &part.checksum_sha1),
        (Algorithm::Sha256, &part.checksum_sha256),
    ];
    let sums = sums.into_iter().filter_map(|(algorithm, sum)| Some((algorithm, sum.clone()?)));
    Ok(Wanted { number, etag, sums: sums.collect() })
}

/// The entity tag that S3 gives to an object of parts: the MD5 of their MD5s, and their number.
fn etag_of_parts(parts: &[Wanted]) -> S3Result<ETag> {
    let mut digest = Md5::new();
    for part in parts {
        let md5 = hex::decode(part.etag.as_str()).map_err(|_| not_the_part(part.number))?;
        digest.update(&md5);
    }
    let tag = format!("{}-{}", hex::encode(digest.finalize()), parts.len());
    ETag::new(&tag).map_err(|error| s3_error!(InvalidRequest, "{error}"))
}

fn not_the_part(number: PartNumber) -> s3s::S3Error {
    s3_error!(
        InvalidPart,
        "Part {number} could not be found. It may not have been uploaded, or its entity tag or \
         checksum is not the one given."
    )
}

/// The upload and all of its parts.
async fn stored(
    api: &Api,
    target: &UploadTarget,
) -> Result<(UploadInfo, Vec<PartInfo>), StoreError> {
    /// Parts asked for at once: all of a usual upload.
    const PAGE: usize = 1000;
    let mut page = api.store.list_parts(target, None, PAGE).await?;
    let mut parts = std::mem::take(&mut page.parts);
    while let Some(last) = parts.last().map(|part| part.part).filter(|_| page.more) {
        page = api.store.list_parts(target, Some(last), PAGE).await?;
        parts.append(&mut page.parts);
    }
    Ok((page.upload, parts))
}

/// The stored parts that the client names.
fn pick<'a>(wanted: &[Wanted], parts: &'a [PartInfo]) -> S3Result<Vec<&'a PartInfo>> {
    let find = |wanted: &Wanted| {
        let at = parts.binary_search_by_key(&wanted.number, |part| part.part).ok();
        let part = at.and_then(|at| parts.get(at)).filter(|part| {
            part.etag == wanted.etag
                && wanted.sums.iter().all(|(algorithm, text)| {
                    let kept = part.checksums.get(*algorithm);
                    kept.is_none_or(|kept| decode(*algorithm, text).as_ref() == Some(kept))
                })
        });
        part.ok_or_else(|| not_the_part(wanted.number))
    };
    wanted.iter().map(find).collect()
}

fn check_sizes(parts: &[&PartInfo], declared: Option<i64>) -> S3Result<()> {
    if let Some((_, all_but_last)) = parts.split_last()
        && let Some(small) = all_but_last.iter().find(|part| part.size < PART_MIN_BYTES)
    {
        return Err(s3_error!(
            EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size: part {} has {} bytes, \
             all but the last need {PART_MIN_BYTES}.",
            small.part,
            small.size
        ));
    }
    let size: u64 = parts.iter().map(|part| part.size).sum();
    if size > OBJECT_MAX_BYTES {
        return Err(crate::error::too_large(OBJECT_MAX_BYTES));
    }
    match declared {
        Some(declared) if convert::size(size) != declared => Err(s3_error!(
            InvalidRequest,
            "The provided 'x-amz-mp-object-size' header value {declared} does not match what was \
             computed: {size}"
        )),
        _ => Ok(()),
    }
}

/// The checksum that the object gets: from those of its parts, as all of them are kept.
fn checksums(summing: Option<Summing>, parts: &[&PartInfo]) -> Checksums {
    let Some(Summing { algorithm, scope }) = summing else { return Checksums::default() };
    let sums: Option<Vec<_>> =
        parts.iter().map(|part| Some((part.checksums.get(algorithm)?, part.size))).collect();
    let value = sums.and_then(|sums| match scope {
        ChecksumScope::Parts => {
            let joined: Vec<u8> = sums.iter().flat_map(|(sum, _)| sum.value()).copied().collect();
            Some(Checksum::of(algorithm, &joined))
        }
        ChecksumScope::Whole => {
            let (first, rest) = sums.split_first()?;
            rest.iter().try_fold(first.0.clone(), |whole, (sum, size)| whole.joined(sum, *size))
        }
    });
    Checksums { scope, values: value.into_iter().collect() }
}

/// Compares with the checksum of the whole object that the client may give.
fn check_checksum(
    input: &CompleteMultipartUploadInput,
    computed: &Checksums,
    parts: usize,
) -> S3Result<()> {
    let given = [
        (Algorithm::Crc32, &input.checksum_crc32),
        (Algorithm::Crc32c, &input.checksum_crc32c),
        (Algorithm::Crc64Nvme, &input.checksum_crc64nvme),
        (Algorithm::Sha1, &input.checksum_sha1),
        (Algorithm::Sha256, &input.checksum_sha256),
    ];
    for (algorithm, text) in given {
        let Some(text) = text else { continue };
        let Some(computed) = computed.get(algorithm) else {
            return Err(s3_error!(
                InvalidRequest,
                "The upload was not created with the {algorithm} checksum algorithm, so the \
                 object's checksum cannot be compared."
            ));
        };
        let counted = text.strip_suffix(&format!("-{parts}")).unwrap_or(text);
        if decode(algorithm, counted).as_ref() != Some(computed) {
            return Err(checksum_mismatch(algorithm));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_object_store::UnixMillis;

    fn part(number: u16, body: &[u8], size: u64) -> PartInfo {
        let md5 = fast_md5::digest(body);
        PartInfo {
            part: PartNumber::new(number).unwrap(),
            etag: ETag::of_md5(md5),
            size,
            modified: UnixMillis(0),
            checksums: Checksums {
                scope: ChecksumScope::Whole,
                values: vec![Checksum::of(Algorithm::Crc32, body)],
            },
        }
    }

    fn named(part: &PartInfo) -> Wanted {
        Wanted { number: part.part, etag: part.etag.clone(), sums: Vec::new() }
    }

    #[test]
    fn the_entity_tag_is_the_md5_of_md5s_and_the_number_of_parts() {
        let (a, b) = (part(1, b"a", 1), part(2, b"b", 1));
        let tag = etag_of_parts(&[named(&a), named(&b)]).unwrap();
        // md5(md5("a") + md5("b")), computed with coreutils.
        assert_eq!(tag.as_str(), "96e024ba2074fe77e8e965ba43a704be-2");
    }

    #[test]
    fn parts_must_be_there_as_they_are_named() {
        let parts = [part(1, b"a", 1), part(3, b"b", 1)];
        assert!(pick(&[named(&parts[0]), named(&parts[1])], &parts).is_ok());
        let missing = Wanted { number: PartNumber::new(2).unwrap(), ..named(&parts[0]) };
        assert!(pick(&[missing], &parts).is_err());
        let changed = Wanted { number: parts[0].part, ..named(&parts[1]) };
        assert!(pick(&[changed], &parts).is_err());
        let wrong_sum =
            Wanted { sums: vec![(Algorithm::Crc32, "AAAAAA==".to_owned())], ..named(&parts[0]) };
        assert!(pick(&[wrong_sum], &parts).is_err());
    }

    #[test]
    fn all_parts_but_the_last_need_five_mebibytes() {
        let (small, large) = (part(1, b"a", PART_MIN_BYTES - 1), part(2, b"b", PART_MIN_BYTES));
        assert!(check_sizes(&[&large, &small], None).is_ok());
        assert!(check_sizes(&[&small, &large], None).is_err());
        let both = convert::size(2 * PART_MIN_BYTES - 1);
        assert!(check_sizes(&[&large, &small], Some(both)).is_ok());
        assert!(check_sizes(&[&large, &small], Some(both + 1)).is_err());
    }

    #[test]
    fn the_checksum_of_the_whole_is_joined_from_the_parts() {
        let parts = [part(1, b"12345", 5), part(2, b"6789", 4)];
        let picked: Vec<_> = parts.iter().collect();
        let whole = Summing { algorithm: Algorithm::Crc32, scope: ChecksumScope::Whole };
        let sums = checksums(Some(whole), &picked);
        let expect = Checksum::of(Algorithm::Crc32, b"123456789");
        assert_eq!(sums.values, std::slice::from_ref(&expect));
        let composite = Summing { scope: ChecksumScope::Parts, ..whole };
        assert_ne!(checksums(Some(composite), &picked).values, [expect]);
        assert_eq!(checksums(None, &picked), Checksums::default());
    }
}
