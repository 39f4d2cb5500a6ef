//! Between the words of S3 and those of the store.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_object_store::{
    Attributes, Bucket, ETag, ObjectKey, PartNumber, ReadConditions, TagMatch, UnixMillis,
    UploadId, UploadTarget, VersionId, WriteConditions,
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use s3s::dto::{ETagCondition, Metadata, Timestamp, TimestampFormat};
use s3s::{S3Result, s3_error};
use time::OffsetDateTime;

/// Most bytes of names and values of user metadata (S3: 2 KB).
const METADATA_MAX_BYTES: usize = 2048;

pub(crate) fn bucket(name: &str) -> S3Result<Bucket> {
    Bucket::new(name).map_err(|error| s3_error!(InvalidBucketName, "{error}"))
}

pub(crate) fn key(name: &str) -> S3Result<ObjectKey> {
    ObjectKey::new(name).map_err(|error| {
        if name.len() > agent_object_store::KEY_MAX_BYTES {
            s3_error!(KeyTooLongError, "Your key is too long: at most 1024 bytes of UTF-8.")
        } else {
            s3_error!(InvalidArgument, "{error}")
        }
    })
}

/// A version as clients name it. `null` is the version of a bucket that keeps no history, which is
/// the present one.
pub(crate) fn version(id: Option<&str>) -> S3Result<Option<VersionId>> {
    match id {
        None | Some("null") => Ok(None),
        Some(id) => match id.parse() {
            Ok(version) => Ok(Some(version)),
            Err(_) => Err(s3_error!(InvalidArgument, "Invalid version id specified")),
        },
    }
}

pub(crate) fn part_number(number: i32) -> S3Result<PartNumber> {
    let wrong = || {
        s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive")
    };
    let number = u16::try_from(number).map_err(|_| wrong())?;
    PartNumber::new(number).map_err(|_| wrong())
}

/// The upload that a request names; one with an impossible name does not exist.
pub(crate) fn upload_target(bucket_name: &str, key_name: &str, id: &str) -> S3Result<UploadTarget> {
    let upload = UploadId::new(id)
        .map_err(|_| s3_error!(NoSuchUpload, "The specified upload does not exist."))?;
    Ok(UploadTarget { bucket: bucket(bucket_name)?, key: key(key_name)?, upload })
}

pub(crate) fn etag(tag: &ETag) -> s3s::dto::ETag {
    s3s::dto::ETag::Strong(tag.as_str().to_owned())
}

/// The entity tags that a condition names. A tag that no object can have matches none.
pub(crate) fn tags(condition: &ETagCondition) -> TagMatch {
    match condition {
        ETagCondition::Any => TagMatch::Any,
        ETagCondition::ETag(tag) => TagMatch::OneOf(ETag::new(tag.value()).into_iter().collect()),
    }
}

/// Conditions of a read.
pub(crate) fn read_conditions(
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
    if_modified_since: Option<&Timestamp>,
    if_unmodified_since: Option<&Timestamp>,
) -> ReadConditions {
    ReadConditions {
        if_match: if_match.map(tags),
        if_none_match: if_none_match.map(tags),
        if_modified_since: if_modified_since.map(unix_millis),
        if_unmodified_since: if_unmodified_since.map(unix_millis),
    }
}

/// Conditions of a write. `If-None-Match` with an entity tag has no meaning for one.
pub(crate) fn write_conditions(
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<WriteConditions> {
    let if_absent = match if_none_match {
        None => false,
        Some(ETagCondition::Any) => true,
        Some(ETagCondition::ETag(_)) => {
            return Err(s3_error!(NotImplemented, "If-None-Match of a write takes only \"*\"."));
        }
    };
    Ok(WriteConditions { if_absent, if_match: if_match.map(tags) })
}

/// What the headers of a write say of the object.
pub(crate) fn attributes(headers: &HeaderMap, metadata: Option<Metadata>) -> S3Result<Attributes> {
    let metadata = metadata.unwrap_or_default();
    let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > METADATA_MAX_BYTES {
        return Err(s3_error!(
            MetadataTooLarge,
            "Your metadata headers have {bytes} bytes, at most {METADATA_MAX_BYTES} are allowed."
        ));
    }
    Ok(Attributes {
        content_type: text(headers, &header::CONTENT_TYPE)?,
        content_encoding: text(headers, &header::CONTENT_ENCODING)?.and_then(own_coding),
        content_language: text(headers, &header::CONTENT_LANGUAGE)?,
        content_disposition: text(headers, &header::CONTENT_DISPOSITION)?,
        cache_control: text(headers, &header::CACHE_CONTROL)?,
        expires: text(headers, &header::EXPIRES)?,
        redirect: text(headers, &s3s::header::X_AMZ_WEBSITE_REDIRECT_LOCATION)?,
        user: metadata.into_iter().collect(),
    })
}

fn text(headers: &HeaderMap, name: &HeaderName) -> S3Result<Option<String>> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    match std::str::from_utf8(value.as_bytes()) {
        Ok("") => Ok(None),
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => Err(s3_error!(InvalidArgument, "The header {name} is not UTF-8.")),
    }
}

/// The coding of the object itself: `aws-chunked` is only how it came.
fn own_coding(coding: String) -> Option<String> {
    let own: Vec<_> = coding
        .split(',')
        .map(str::trim)
        .filter(|c| !c.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!own.is_empty()).then(|| own.join(", "))
}

/// A moment as S3 tells it: in whole seconds, as all of its answers carry no more or may not.
pub(crate) fn timestamp(moment: UnixMillis) -> Timestamp {
    let since = Duration::from_secs(moment.seconds());
    Timestamp::from(UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH))
}

pub(crate) fn unix_millis(moment: &Timestamp) -> UnixMillis {
    let moment = OffsetDateTime::from(moment.clone());
    UnixMillis(u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).unwrap_or(0))
}

/// The date of an HTTP header.
pub(crate) fn http_date(moment: UnixMillis) -> Option<HeaderValue> {
    let mut text = Vec::new();
    timestamp(moment).format(TimestampFormat::HttpDate, &mut text).ok()?;
    HeaderValue::from_bytes(&text).ok()
}

pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A count of bytes as S3's types have it.
pub(crate) fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aws_chunked_is_not_kept_as_a_coding() {
        let coding = |text: &str| own_coding(text.to_owned());
        assert_eq!(coding("aws-chunked"), None);
        assert_eq!(coding("aws-chunked,gzip").as_deref(), Some("gzip"));
        assert_eq!(coding("gzip, AWS-Chunked").as_deref(), Some("gzip"));
        assert_eq!(coding("gzip").as_deref(), Some("gzip"));
    }

    #[test]
    fn moments_survive_the_way_through_s3() {
        let moment = UnixMillis(1_600_000_000_000);
        assert_eq!(unix_millis(&timestamp(moment)), moment);
        assert_eq!(http_date(moment).unwrap(), "Sun, 13 Sep 2020 12:26:40 GMT");
        assert_eq!(unix_millis(&timestamp(UnixMillis(1_999))), UnixMillis(1_000));
    }

    #[test]
    fn an_impossible_tag_matches_no_object() {
        let odd = ETagCondition::ETag(s3s::dto::ETag::Strong("a b".to_owned()));
        assert_eq!(tags(&odd), TagMatch::OneOf(Vec::new()));
    }

    #[test]
    fn too_much_metadata_is_refused() {
        let metadata = Metadata::from([("a".to_owned(), "x".repeat(METADATA_MAX_BYTES))]);
        assert!(attributes(&HeaderMap::new(), Some(metadata)).is_err());
    }

    #[test]
    fn the_null_version_is_the_present_one() {
        assert_eq!(version(Some("null")).unwrap(), None);
        assert!(version(Some("x")).is_err());
        assert!(version(Some("00000000000000ff")).unwrap().is_some());
    }
}
