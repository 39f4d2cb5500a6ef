//! Listing objects.

use agent_object_store::{After, ListEntry, ListPage, ListQuery, ObjectSummary};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{
    CommonPrefix, EncodingType, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, Object, ObjectStorageClass, Owner,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::{Api, page_limit, shown_owner};
use crate::access::user;
use crate::convert;
use crate::error::refusal;

pub(super) async fn list_objects(
    api: &Api,
    req: S3Request<ListObjectsInput>,
) -> S3Result<S3Response<ListObjectsOutput>> {
    let owner = shown_owner(&user(&req.extensions)?);
    let input = req.input;
    let coding = Coding::new(input.encoding_type.as_ref())?;
    let prefix = input.prefix.unwrap_or_default();
    let (limit, max_keys) = page_limit("max-keys", input.max_keys)?;
    let delimiter = input.delimiter.filter(|d| !d.is_empty());
    let marker = input.marker.as_deref().filter(|marker| !marker.is_empty());
    let query = ListQuery {
        after: marker.map(|marker| behind(marker, &prefix, delimiter.as_deref())),
        prefix,
        delimiter,
        limit,
    };
    let bucket = convert::bucket(&input.bucket)?;
    let page = if limit == 0 {
        ListPage::default()
    } else {
        api.store.list(&bucket, &query).await.map_err(refusal)?
    };
    // S3 tells where to go on only where the last entry may be a prefix.
    let next = page.next.as_ref().filter(|_| query.delimiter.is_some());
    let next = next.map(|after| coding.text(marker_of(after)));
    let truncated = page.next.is_some();
    let (contents, common_prefixes) = entries(page, coding, Some(&owner));
    Ok(S3Response::new(ListObjectsOutput {
        name: Some(bucket.to_string()),
        prefix: Some(coding.text(&query.prefix)),
        marker: Some(coding.text(input.marker.as_deref().unwrap_or_default())),
        max_keys: Some(max_keys),
        is_truncated: Some(truncated),
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        delimiter: query.delimiter.as_deref().map(|d| coding.text(d)),
        next_marker: next,
        encoding_type: input.encoding_type,
        request_charged: None,
    }))
}

pub(super) async fn list_objects_v2(
    api: &Api,
    req: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let owner = shown_owner(&user(&req.extensions)?);
    let input = req.input;
    let coding = Coding::new(input.encoding_type.as_ref())?;
    let prefix = input.prefix.unwrap_or_default();
    let (limit, max_keys) = page_limit("max-keys", input.max_keys)?;
    let delimiter = input.delimiter.filter(|d| !d.is_empty());
    let start = input.start_after.as_deref().filter(|start| !start.is_empty());
    let after = match &input.continuation_token {
        Some(token) => Some(from_token(token)?),
        None => start.map(|start| behind(start, &prefix, delimiter.as_deref())),
    };
    let query = ListQuery { after, prefix, delimiter, limit };
    let bucket = convert::bucket(&input.bucket)?;
    let page = if limit == 0 {
        ListPage::default()
    } else {
        api.store.list(&bucket, &query).await.map_err(refusal)?
    };
    let next = page.next.as_ref().map(to_token);
    let shown = (input.fetch_owner == Some(true)).then_some(&owner);
    let (contents, common_prefixes) = entries(page, coding, shown);
    let count = contents.len() + common_prefixes.len();
    Ok(S3Response::new(ListObjectsV2Output {
        name: Some(bucket.to_string()),
        prefix: Some(coding.text(&query.prefix)),
        max_keys: Some(max_keys),
        key_count: Some(i32::try_from(count).unwrap_or(i32::MAX)),
        continuation_token: input.continuation_token,
        is_truncated: Some(next.is_some()),
        next_continuation_token: next,
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        delimiter: query.delimiter.as_deref().map(|d| coding.text(d)),
        encoding_type: input.encoding_type,
        start_after: start.map(|start| coding.text(start)),
        request_charged: None,
    }))
}

fn entries(
    page: ListPage,
    coding: Coding,
    owner: Option<&Owner>,
) -> (Vec<Object>, Vec<CommonPrefix>) {
    let (mut objects, mut prefixes) = (Vec::new(), Vec::new());
    for entry in page.entries {
        match entry {
            ListEntry::Object(object) => objects.push(shown(&object, coding, owner)),
            ListEntry::Prefix(prefix) => {
                prefixes.push(CommonPrefix { prefix: Some(coding.text(&prefix)) });
            }
        }
    }
    (objects, prefixes)
}

fn shown(object: &ObjectSummary, coding: Coding, owner: Option<&Owner>) -> Object {
    Object {
        e_tag: Some(convert::etag(&object.etag)),
        key: Some(coding.text(object.key.as_str())),
        last_modified: Some(convert::timestamp(object.modified)),
        owner: owner.cloned(),
        size: Some(convert::size(object.size)),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        ..Object::default()
    }
}

/// Where a listing goes on that a client wants behind some text. If that text is a common prefix
/// itself, all of its keys are behind the client.
pub(super) fn behind(text: &str, prefix: &str, delimiter: Option<&str>) -> After {
    let folded = delimiter.and_then(|delimiter| {
        let rest = text.strip_prefix(prefix)?;
        let end = rest.find(delimiter)? + delimiter.len();
        (end == rest.len()).then_some(())
    });
    match folded {
        Some(()) => After::Prefix(text.to_owned()),
        None => After::Key(text.to_owned()),
    }
}

/// Where a listing goes on, as S3's markers tell it.
pub(super) fn marker_of(after: &After) -> &str {
    match after {
        After::Key(text) | After::Prefix(text) => text,
    }
}

/// Where a listing goes on, as a token that clients give back unread.
fn to_token(after: &After) -> String {
    let (kind, text) = match after {
        After::Key(key) => ('k', key),
        After::Prefix(prefix) => ('p', prefix),
    };
    URL_SAFE_NO_PAD.encode(format!("{kind}{text}"))
}

fn from_token(token: &str) -> S3Result<After> {
    let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.as_deref().unwrap_or_default();
    match (text.strip_prefix('k'), text.strip_prefix('p')) {
        (Some(key), _) => Ok(After::Key(key.to_owned())),
        (None, Some(prefix)) => Ok(After::Prefix(prefix.to_owned())),
        (None, None) => {
            Err(s3_error!(InvalidArgument, "The continuation token provided is incorrect"))
        }
    }
}

/// What stays as it is in text that is percent-encoded.
const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// How text is written into a listing: XML cannot carry all that keys may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// As it is.
    Plain,
    /// Percent-encoded.
    Url,
}

impl Coding {
    pub(super) fn new(asked: Option<&EncodingType>) -> S3Result<Self> {
        match asked.map(EncodingType::as_str) {
            None => Ok(Self::Plain),
            Some(EncodingType::URL) => Ok(Self::Url),
            Some(_) => {
                Err(s3_error!(InvalidArgument, "Invalid Encoding Method specified in Request"))
            }
        }
    }

    pub(super) fn text(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Url => utf8_percent_encode(text, PLAIN).to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_that_is_a_common_prefix_skips_all_of_it() {
        let prefix = |text: &str| After::Prefix(text.to_owned());
        let key = |text: &str| After::Key(text.to_owned());
        assert_eq!(behind("a/", "", Some("/")), prefix("a/"));
        assert_eq!(behind("a/b/", "a/", Some("/")), prefix("a/b/"));
        assert_eq!(behind("a/b/", "", Some("/")), key("a/b/"));
        assert_eq!(behind("a/b", "", Some("/")), key("a/b"));
        assert_eq!(behind("a/", "", None), key("a/"));
        assert_eq!(behind("a/", "b", Some("/")), key("a/"));
    }

    #[test]
    fn tokens_bring_back_where_to_go_on() {
        for after in [After::Key("k p/ü".to_owned()), After::Prefix("a/".to_owned())] {
            assert_eq!(from_token(&to_token(&after)).unwrap(), after);
        }
        for wrong in ["", "!", "AAAA", "eHg"] {
            assert!(from_token(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_are_percent_encoded_when_asked() {
        assert_eq!(Coding::Url.text("a b+c/ü%"), "a%20b%2Bc/%C3%BC%25");
        assert_eq!(Coding::Plain.text("a b"), "a b");
    }
}
