//! Listing with prefix and delimiter: what is asked, and what is answered.

use crate::names::{ETag, ObjectKey, UnixMillis, UploadId, VersionId};
use crate::object::UploadInfo;

/// What to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListQuery {
    /// Only keys that start so.
    pub prefix: String,
    /// Folds keys that have this text behind the prefix into one entry up to it.
    pub delimiter: Option<String>,
    /// Where to go on.
    pub after: Option<After>,
    /// At most so many entries, prefixes included.
    pub limit: usize,
}

/// Where a listing goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum After {
    /// Behind this key; it need not exist.
    Key(String),
    /// Behind every key that starts so.
    Prefix(String),
}

/// An entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListEntry {
    /// An object.
    Object(ObjectSummary),
    /// At least one key starts so, delimiter included.
    Prefix(String),
}

/// What a listing says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectSummary {
    /// The key.
    pub key: ObjectKey,
    /// Its present version.
    pub version: VersionId,
    /// Its entity tag.
    pub etag: ETag,
    /// Size in bytes.
    pub size: u64,
    /// When it was published.
    pub modified: UnixMillis,
}

/// Some entries of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListPage {
    /// The entries in the order of their bytes.
    pub entries: Vec<ListEntry>,
    /// Where to go on; none at the end.
    pub next: Option<After>,
}

/// Which uploads to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UploadQuery {
    /// Only keys that start so.
    pub prefix: String,
    /// Folds keys that have this text behind the prefix into one entry up to it.
    pub delimiter: Option<String>,
    /// Where to go on: behind this key, or behind this upload of it.
    pub after: Option<(After, Option<UploadId>)>,
    /// At most so many entries, prefixes included.
    pub limit: usize,
}

/// Some open uploads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UploadPage {
    /// Uploads by key and upload.
    pub uploads: Vec<UploadInfo>,
    /// Keys folded at the delimiter.
    pub prefixes: Vec<String>,
    /// Where to go on; none at the end.
    pub next: Option<(After, Option<UploadId>)>,
}
