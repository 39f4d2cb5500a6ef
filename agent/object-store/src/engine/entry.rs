//! Values of the index. The index can be made again from the volumes, so its form may change with
//! any release: an index of another [`FORM`] is made again.

use agent_object_store_pool::group::run::Run;
use agent_object_store_pool::journal::JournalPlace;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::index::IndexError;
use super::record::BucketNo;
use super::stored::{StoredObject, StoredPart, StoredUpload};
use crate::names::{Owner, UnixMillis, UploadId, VersionId};

/// Changes when an older index cannot be read any more.
pub(crate) const FORM: u32 = 1;

/// How far the index has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Applied {
    pub form: u32,
    /// Every record up to this LSN is in the index.
    pub lsn: u64,
    /// The next bucket's number.
    pub next_bucket: u64,
    /// No version up to this one is given again.
    pub version: VersionId,
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BucketEntry {
    pub number: BucketNo,
    pub owner: Owner,
    pub created: UnixMillis,
}

/// An object and where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectEntry {
    pub object: StoredObject,
    pub place: Place,
}

/// A part and where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartEntry {
    pub part: StoredPart,
    pub place: Place,
}

/// An open upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UploadEntry {
    pub about: StoredUpload,
}

/// Where bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Place {
    /// In a record of the journal, of which these are the copies.
    Journal(Vec<JournalPlace>),
    /// In groups; the record that says so is in the journal.
    Runs { runs: Vec<Run>, record: Vec<JournalPlace> },
    /// In the parts of this upload.
    Parts { upload: UploadId, record: Vec<JournalPlace> },
}

/// The bytes of a value.
///
/// # Errors
/// The value cannot be written down.
pub(crate) fn encode(value: &impl Serialize) -> Result<Vec<u8>, IndexError> {
    postcard::to_allocvec(value).map_err(IndexError::damaged)
}

/// The value in bytes.
///
/// # Errors
/// The bytes are no such value.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, IndexError> {
    postcard::from_bytes(bytes).map_err(IndexError::damaged)
}
