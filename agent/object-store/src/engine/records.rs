//! What a record and its entry in the index have to do with each other.

use super::entry::{
    BucketEntry, Holder, ObjectEntry, Packed, PartEntry, RecordAt, UploadEntry, decode, encode,
};
use super::index::{Batch, Index, IndexError};
use super::keys;
use super::record::{Change, Content};
use super::tally::Tally;

/// What the keys of entries begin with that a record stands behind.
pub(crate) const TAGS: [u8; 4] = *b"BCPU";

/// The key of the entry that a change makes; none if it only takes away.
pub(crate) fn name(change: &Change) -> Option<Vec<u8>> {
    match change {
        Change::CreateBucket { bucket, .. } => Some(keys::bucket(bucket)),
        Change::Put { bucket, key, .. } | Change::Complete { bucket, key, .. } => {
            Some(keys::object(*bucket, key.as_str()))
        }
        Change::BeginUpload { bucket, key, upload, .. } => {
            Some(keys::upload(*bucket, key.as_str(), upload))
        }
        Change::PutPart { upload, part, .. } => Some(keys::part(upload, part.number)),
        Change::DeleteBucket { .. }
        | Change::Delete { .. }
        | Change::AbortUpload { .. }
        | Change::Traffic { .. } => None,
    }
}

/// The key of what holds bytes of a group.
pub(crate) fn holder_name(holder: &Holder) -> Vec<u8> {
    match holder {
        Holder::Object(bucket, key) => keys::object(*bucket, key.as_str()),
        Holder::Part(upload, number) => keys::part(upload, *number),
    }
}

/// Where the record of an entry stands.
///
/// # Errors
/// The value is not what the key says.
pub(crate) fn record_at(name: &[u8], value: &[u8]) -> Result<RecordAt, IndexError> {
    match name.first() {
        Some(b'B') => Ok(decode::<BucketEntry>(value)?.record),
        Some(b'C') => Ok(decode::<ObjectEntry>(value)?.record),
        Some(b'P') => Ok(decode::<PartEntry>(value)?.record),
        Some(b'U') => Ok(decode::<UploadEntry>(value)?.record),
        _ => Err(IndexError::damaged("a key that no record has")),
    }
}

/// The entry with its record elsewhere.
fn with_record(name: &[u8], value: &[u8], record: RecordAt) -> Result<Vec<u8>, IndexError> {
    match name.first() {
        Some(b'B') => encode(&BucketEntry { record, ..decode(value)? }),
        Some(b'C') => encode(&ObjectEntry { record, ..decode(value)? }),
        Some(b'P') => encode(&PartEntry { record, ..decode(value)? }),
        Some(b'U') => encode(&UploadEntry { record, ..decode(value)? }),
        _ => Err(IndexError::damaged("a key that no record has")),
    }
}

/// The change as it is packed: where bytes were moved to is where they are.
pub(crate) fn settled(mut change: Change) -> Change {
    if let Change::Put { content, .. } | Change::PutPart { content, .. } = &mut change {
        *content = std::mem::replace(content, Content::Inline(0)).settled();
    }
    change
}

/// An entry whose record is copied to a row.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its key.
    pub name: Vec<u8>,
    /// Where its record stood.
    pub from: RecordAt,
}

impl Line {
    /// Tells the index that the record stands there now; if the entry has another record by now, the
    /// copy is killed.
    ///
    /// # Errors
    /// The index cannot be read.
    pub(crate) fn point_to(
        &self,
        packed: Packed,
        index: &dyn Index,
        batch: &mut Batch,
        tally: &mut Tally,
    ) -> Result<(), IndexError> {
        let value = index.get(&self.name)?;
        let present = value.as_deref().map(|value| record_at(&self.name, value)).transpose()?;
        let (Some(value), Some(record)) = (value, present.filter(|record| *record == self.from))
        else {
            batch.put(keys::fresh_kill(packed.spot), Vec::new());
            return Ok(());
        };
        batch.put(self.name.clone(), with_record(&self.name, &value, RecordAt::Packed(packed))?);
        tally.hold(packed.spot.group, u64::from(packed.weight));
        if let RecordAt::Packed(old) = record {
            tally.release(old.spot.group, u64::from(old.weight));
            batch.put(keys::fresh_kill(old.spot), Vec::new());
        }
        Ok(())
    }
}
