//! What a change does to the index: pure, but for what it reads there. The same when it is made and
//! when the journal is read again after a restart; making it twice does no more than making it once.

use agent_object_store_pool::journal::JournalPlace;

use super::entry::{BucketEntry, ObjectEntry, PartEntry, Place, UploadEntry, decode, encode};
use super::index::{Batch, Index, IndexError, Next};
use super::keys;
use super::record::{BucketNo, Change, Content};
use super::stored::{StoredObject, StoredPart};
use crate::names::{ObjectKey, UploadId, VersionId};

/// What to write to the index, and which bytes nobody needs any more once that is done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    pub batch: Batch,
    pub released: Vec<Place>,
}

/// The effect of a change whose record stands at `record`.
///
/// # Errors
/// The index cannot be read.
pub(crate) fn apply(
    index: &dyn Index,
    change: Change,
    record: Vec<JournalPlace>,
) -> Result<Effect, IndexError> {
    let mut effect = Effect::default();
    match change {
        Change::CreateBucket { number, bucket, owner, created } => {
            let entry = BucketEntry { number, owner, created };
            effect.batch.put(keys::bucket(&bucket), encode(&entry)?);
        }
        Change::DeleteBucket { number, bucket } => {
            let present: Option<BucketEntry> = get(index, &keys::bucket(&bucket))?;
            if present.is_some_and(|entry| entry.number == number) {
                effect.batch.delete(keys::bucket(&bucket));
            }
        }
        Change::Put { bucket, key, object, content } => {
            effect.put(index, bucket, &key, object, place(content, record))?;
        }
        Change::Delete { bucket, key, version } => effect.delete(index, bucket, &key, version)?,
        Change::BeginUpload { bucket, key, upload, about } => {
            let key = keys::upload(bucket, key.as_str(), &upload);
            effect.batch.put(key, encode(&UploadEntry { about })?);
        }
        Change::PutPart { upload, part, content } => {
            effect.put_part(index, &upload, part, place(content, record))?;
        }
        Change::Complete { bucket, key, upload, object, parts } => {
            effect.batch.delete(keys::upload(bucket, key.as_str(), &upload));
            let kept = |part: &StoredPart| parts.contains(&(part.number, part.version));
            effect.drop_parts(index, &upload, |part| !kept(part))?;
            effect.put(index, bucket, &key, object, Place::Parts { upload, record })?;
        }
        Change::AbortUpload { bucket, key, upload } => {
            effect.batch.delete(keys::upload(bucket, key.as_str(), &upload));
            effect.drop_parts(index, &upload, |_| true)?;
        }
    }
    Ok(effect)
}

/// The value of a key, read as what it is.
///
/// # Errors
/// The index cannot be read, or holds something else there.
pub(crate) fn get<T: serde::de::DeserializeOwned>(
    index: &dyn Index,
    key: &[u8],
) -> Result<Option<T>, IndexError> {
    index.get(key)?.map(|bytes| decode(&bytes)).transpose()
}

/// The parts of an upload by number.
///
/// # Errors
/// As [`get`].
pub(crate) fn parts(index: &dyn Index, upload: &UploadId) -> Result<Vec<PartEntry>, IndexError> {
    let all = keys::parts(upload);
    let mut found = Vec::new();
    index.scan(&all, &mut |key, value| {
        if !key.starts_with(&all) {
            return Next::Stop;
        }
        found.push(decode(value));
        Next::On
    })?;
    found.into_iter().collect()
}

fn place(content: Content, record: Vec<JournalPlace>) -> Place {
    match content {
        Content::Inline(_) => Place::Journal(record),
        Content::Runs(runs) => Place::Runs { runs, record },
    }
}

impl Effect {
    fn put(
        &mut self,
        index: &dyn Index,
        bucket: BucketNo,
        key: &ObjectKey,
        object: StoredObject,
        place: Place,
    ) -> Result<(), IndexError> {
        let name = keys::object(bucket, key.as_str());
        let present: Option<ObjectEntry> = get(index, &name)?;
        match present {
            Some(present) if present.object.version > object.version => {
                // Replaced already: this is an old record that is read again.
                return self.release(index, place);
            }
            Some(present) if present.object.version < object.version => {
                self.release(index, present.place)?;
            }
            _ => {}
        }
        self.batch.put(name, encode(&ObjectEntry { object, place })?);
        Ok(())
    }

    fn delete(
        &mut self,
        index: &dyn Index,
        bucket: BucketNo,
        key: &ObjectKey,
        version: VersionId,
    ) -> Result<(), IndexError> {
        let name = keys::object(bucket, key.as_str());
        let present: Option<ObjectEntry> = get(index, &name)?;
        match present {
            Some(present) if present.object.version < version => {
                self.batch.delete(name);
                self.release(index, present.place)
            }
            _ => Ok(()),
        }
    }

    fn put_part(
        &mut self,
        index: &dyn Index,
        upload: &UploadId,
        part: StoredPart,
        place: Place,
    ) -> Result<(), IndexError> {
        let name = keys::part(upload, part.number);
        let present: Option<PartEntry> = get(index, &name)?;
        match present {
            Some(present) if present.part.version > part.version => {
                return self.release(index, place);
            }
            Some(present) if present.part.version < part.version => {
                self.release(index, present.place)?;
            }
            _ => {}
        }
        self.batch.put(name, encode(&PartEntry { part, place })?);
        Ok(())
    }

    /// Takes the parts of an upload away that are not wanted.
    fn drop_parts(
        &mut self,
        index: &dyn Index,
        upload: &UploadId,
        unwanted: impl Fn(&StoredPart) -> bool,
    ) -> Result<(), IndexError> {
        for entry in parts(index, upload)? {
            if unwanted(&entry.part) {
                self.batch.delete(keys::part(upload, entry.part.number));
                self.released.push(entry.place);
            }
        }
        Ok(())
    }

    /// Bytes that nobody needs any more; of an object in parts, the parts.
    fn release(&mut self, index: &dyn Index, place: Place) -> Result<(), IndexError> {
        if let Place::Parts { upload, .. } = &place {
            self.drop_parts(index, upload, |_| true)?;
        }
        self.released.push(place);
        Ok(())
    }
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
