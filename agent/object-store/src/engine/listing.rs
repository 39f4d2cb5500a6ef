//! Listings out of the index. Behind each folded prefix the scan seeks, so that the cost follows
//! what is returned.

use super::entry::{ObjectEntry, UploadEntry, decode};
use super::index::{Index, IndexError, Next};
use super::keys;
use super::record::BucketNo;
use crate::list::{After, ListEntry, ListPage, ListQuery, ObjectSummary, UploadPage, UploadQuery};
use crate::names::{Bucket, ObjectKey, UploadId};
use crate::object::UploadInfo;

/// A key or what it is folded into.
enum Name<'a> {
    Key,
    Folded(&'a str),
}

/// Where a key belongs in a listing.
fn fold<'a>(key: &'a str, prefix: &str, delimiter: Option<&str>) -> Name<'a> {
    let behind = key.get(prefix.len()..).unwrap_or_default();
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty());
    match delimiter.and_then(|delimiter| Some((behind.find(delimiter)?, delimiter.len()))) {
        Some((at, length)) => key.get(..prefix.len() + at + length).map_or(Name::Key, Name::Folded),
        None => Name::Key,
    }
}

/// The first key of the index that can be in a listing; none if there is none.
fn start(all: &[u8], prefix: &str, after: Option<&After>) -> Option<Vec<u8>> {
    let of = |key: &str| [all, key.as_bytes()].concat();
    let first = of(prefix);
    match after {
        None => Some(first),
        Some(After::Key(key)) => Some(first.max([of(key), vec![0]].concat())),
        Some(After::Prefix(done)) => keys::behind(&of(done)).map(|next| first.max(next)),
    }
}

/// Lists objects of a bucket.
pub(crate) fn objects(
    index: &dyn Index,
    bucket: BucketNo,
    query: &ListQuery,
) -> Result<ListPage, IndexError> {
    let mut page = ListPage::default();
    let all = keys::objects(bucket);
    let Some(from) = start(&all, &query.prefix, query.after.as_ref()) else { return Ok(page) };
    let mut failed = None;
    index.scan(&from, &mut |key, value| {
        let Some(name) = key.strip_prefix(all.as_slice()).and_then(as_text) else {
            return Next::Stop;
        };
        if !name.starts_with(&query.prefix) {
            return Next::Stop;
        }
        if page.entries.len() >= query.limit {
            page.next = page.entries.last().map(after_entry);
            return Next::Stop;
        }
        match fold(name, &query.prefix, query.delimiter.as_deref()) {
            Name::Folded(prefix) => {
                page.entries.push(ListEntry::Prefix(prefix.to_owned()));
                let folded = [all.as_slice(), prefix.as_bytes()].concat();
                keys::behind(&folded).map_or(Next::Stop, Next::Seek)
            }
            Name::Key => match summary(name, value) {
                Ok(summary) => {
                    page.entries.push(ListEntry::Object(summary));
                    Next::On
                }
                Err(error) => {
                    failed = Some(error);
                    Next::Stop
                }
            },
        }
    })?;
    failed.map_or(Ok(page), Err)
}

fn as_text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn after_entry(entry: &ListEntry) -> After {
    match entry {
        ListEntry::Object(object) => After::Key(object.key.as_str().to_owned()),
        ListEntry::Prefix(prefix) => After::Prefix(prefix.clone()),
    }
}

fn summary(name: &str, value: &[u8]) -> Result<ObjectSummary, IndexError> {
    let ObjectEntry { object, .. } = decode(value)?;
    let key = ObjectKey::new(name).map_err(IndexError::damaged)?;
    let (version, etag) = (object.version, object.etag);
    Ok(ObjectSummary { key, version, etag, size: object.size, modified: object.modified })
}

/// Lists open uploads of a bucket.
pub(crate) fn uploads(
    index: &dyn Index,
    bucket: &Bucket,
    number: BucketNo,
    query: &UploadQuery,
) -> Result<UploadPage, IndexError> {
    let mut page = UploadPage::default();
    let all = keys::uploads(number);
    let from = match &query.after {
        // Behind one upload of a key: its other uploads follow.
        Some((After::Key(key), Some(upload))) => {
            Some([keys::upload(number, key, upload), vec![0]].concat())
        }
        Some((After::Key(key), None)) => Some(keys::behind_uploads_of(number, key)),
        Some((After::Prefix(done), _)) => keys::behind(&keys::uploads_from(number, done)),
        None => Some(Vec::new()),
    };
    let first = keys::uploads_from(number, &query.prefix);
    let Some(from) = from.map(|from| from.max(first)) else { return Ok(page) };
    let (mut failed, mut last) = (None, None);
    index.scan(&from, &mut |key, value| {
        let known = key.starts_with(&all).then(|| keys::upload_key(key)).flatten();
        let Some((name, upload)) = known else { return Next::Stop };
        if !name.starts_with(&query.prefix) {
            return Next::Stop;
        }
        if page.uploads.len() + page.prefixes.len() >= query.limit {
            page.next = last.take();
            return Next::Stop;
        }
        match fold(&name, &query.prefix, query.delimiter.as_deref()) {
            Name::Folded(prefix) => {
                page.prefixes.push(prefix.to_owned());
                last = Some((After::Prefix(prefix.to_owned()), None));
                let folded = keys::uploads_from(number, prefix);
                keys::behind(&folded).map_or(Next::Stop, Next::Seek)
            }
            Name::Key => match upload_info(bucket, &name, upload.clone(), value) {
                Ok(info) => {
                    page.uploads.push(info);
                    last = Some((After::Key(name), Some(upload)));
                    Next::On
                }
                Err(error) => {
                    failed = Some(error);
                    Next::Stop
                }
            },
        }
    })?;
    failed.map_or(Ok(page), Err)
}

/// What a client is told of an upload.
pub(crate) fn upload_info(
    bucket: &Bucket,
    name: &str,
    upload: UploadId,
    value: &[u8],
) -> Result<UploadInfo, IndexError> {
    let UploadEntry { about, .. } = decode(value)?;
    let key = ObjectKey::new(name).map_err(IndexError::damaged)?;
    Ok(UploadInfo {
        upload,
        bucket: bucket.clone(),
        key,
        owner: about.owner,
        begun: about.begun,
        attributes: about.attributes.into(),
        note: about.note,
    })
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
