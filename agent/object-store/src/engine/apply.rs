//! What a change does to the index: pure, but for what it reads there. The same when it is made and
//! when the journal is read again after a restart; making it twice does no more than making it once.

use super::entry::{
    BucketEntry, Departed, Holder, ObjectEntry, PartEntry, Place, RecordAt, UploadEntry, decode,
    encode,
};
use super::index::{Batch, Index, IndexError, Next};
use super::keys;
use super::record::{BucketNo, Change, Content, InGroups};
use super::stored::StoredObject;
use super::tally::{Difference, Tally, signed};
use super::traffic::{Counting, Session};
use crate::names::{ObjectKey, UnixMillis, UploadId, VersionId};

/// What to write to the index for a change whose record stands at `record`, and that counts nothing.
///
/// # Errors
/// The index cannot be read.
pub(crate) fn apply(
    index: &dyn Index,
    change: Change,
    record: RecordAt,
) -> Result<Batch, IndexError> {
    apply_counting(index, change, record, None)
}

/// The same for a change that may count as a request.
///
/// # Errors
/// The index cannot be read.
pub(crate) fn apply_counting(
    index: &dyn Index,
    change: Change,
    record: RecordAt,
    counting: Option<Counting>,
) -> Result<Batch, IndexError> {
    let counting = change.bucket().zip(counting);
    let mut effect = Effect { index, batch: Batch::default(), tally: Tally::default() };
    let now = effect.change(change, record)?;
    if let Some((bucket, counting)) = counting {
        effect.tally.count(bucket, counting);
    }
    let Effect { mut batch, tally, .. } = effect;
    tally.settle(index, now, &mut batch)?;
    Ok(batch)
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

fn place(content: Content) -> Place {
    match content {
        Content::Inline(_) | Content::CompressedInline(_) => Place::Record,
        Content::Runs(runs) | Content::Moved(runs) => {
            Place::Groups(InGroups { runs, compressed: None })
        }
        Content::CompressedRuns(runs, stored) | Content::CompressedMoved(runs, stored) => {
            Place::Groups(InGroups { runs, compressed: Some(stored) })
        }
    }
}

/// What is written to the index when a change was applied.
struct Effect<'a> {
    index: &'a dyn Index,
    batch: Batch,
    tally: Tally,
}

impl Effect<'_> {
    /// Applies a change; when it took place, as far as it knows.
    fn change(&mut self, change: Change, record: RecordAt) -> Result<UnixMillis, IndexError> {
        match change {
            Change::CreateBucket { number, bucket, owner, created } => {
                let name = keys::bucket(&bucket);
                let present: Option<BucketEntry> = get(self.index, &name)?;
                if self.keeps(present.as_ref().map(|present| &present.record), &record) {
                    return Ok(created);
                }
                self.hold_record(&record);
                let entry = BucketEntry { number, owner, created, record };
                self.batch.put(name, encode(&entry)?);
                self.batch.delete(keys::departed(number));
                Ok(created)
            }
            Change::DeleteBucket { number, bucket } => {
                let present: Option<BucketEntry> = get(self.index, &keys::bucket(&bucket))?;
                if let Some(present) = present.filter(|entry| entry.number == number) {
                    self.batch.delete(keys::bucket(&bucket));
                    self.drop_record(&present.record);
                    let departed = Departed { bucket, owner: present.owner };
                    self.batch.put(keys::departed(number), encode(&departed)?);
                }
                Ok(UnixMillis(0))
            }
            Change::Put { bucket, key, object, content } => {
                let now = object.modified;
                let is_moved = content.is_moved();
                self.put(bucket, key, object, place(content), record, is_moved).map(|()| now)
            }
            Change::Delete { bucket, key, version } => {
                self.delete(bucket, &key, version).map(|()| version.moment())
            }
            Change::BeginUpload { bucket, key, upload, about } => {
                let begun = about.begun;
                let name = keys::upload(bucket, key.as_str(), &upload);
                let present: Option<UploadEntry> = get(self.index, &name)?;
                let is_new = present.is_none();
                if !self.keeps(present.as_ref().map(|present| &present.record), &record) {
                    self.hold_record(&record);
                    self.batch.put(name, encode(&UploadEntry { about, record })?);
                    let uploads = i64::from(is_new);
                    self.tally.bucket(bucket, Difference { uploads, ..Difference::default() });
                }
                Ok(begun)
            }
            Change::PutPart { bucket, key, upload, part, content } => {
                let now = part.modified;
                let is_moved = content.is_moved();
                let place = place(content);
                let entry = PartEntry { bucket, key, part, place, record, is_counted: true };
                self.put_part(upload, entry, is_moved).map(|()| now)
            }
            Change::Complete { bucket, key, upload, object, parts } => {
                let now = object.modified;
                self.complete(bucket, key, upload, object, &parts, record).map(|()| now)
            }
            Change::Traffic { session: number, so_far } => {
                for (bucket, requests) in so_far {
                    self.tally.count_session(bucket, Session { number, requests });
                }
                Ok(UnixMillis(0))
            }
            Change::AbortUpload { bucket, key, upload, at } => {
                self.end_upload(bucket, &key, &upload)?;
                // If it became an object, by a record that nobody was told of, its parts are that.
                let present: Option<ObjectEntry> =
                    get(self.index, &keys::object(bucket, key.as_str()))?;
                let place = Place::Parts(upload.clone());
                if present.is_none_or(|present| present.place != place) {
                    self.drop_parts(&upload)?;
                }
                Ok(at)
            }
        }
    }

    fn put(
        &mut self,
        bucket: BucketNo,
        key: ObjectKey,
        object: StoredObject,
        place: Place,
        record: RecordAt,
        is_moved: bool,
    ) -> Result<(), IndexError> {
        let name = keys::object(bucket, key.as_str());
        let present: Option<ObjectEntry> = get(self.index, &name)?;
        if let Some(present) = present {
            if present.object.version > object.version {
                // Replaced already: this is an old record that is read again.
                self.kill(&record);
                return Ok(());
            }
            let is_same = present.object.version == object.version;
            let is_news = is_moved && present.place != place;
            if is_same && !is_news && self.keeps(Some(&present.record), &record) {
                return Ok(());
            }
            self.release_object(bucket, &present, &place)?;
        }
        self.hold_runs(&Holder::Object(bucket, key), &place)?;
        self.hold_record(&record);
        self.count_object(bucket, &object, 1);
        self.batch.put(name, encode(&ObjectEntry { object, place, record })?);
        Ok(())
    }

    /// An object goes; its parts too, but if they are what comes.
    fn release_object(
        &mut self,
        bucket: BucketNo,
        entry: &ObjectEntry,
        next: &Place,
    ) -> Result<(), IndexError> {
        self.release_runs(&entry.place);
        self.drop_record(&entry.record);
        self.count_object(bucket, &entry.object, -1);
        match &entry.place {
            Place::Parts(upload) if entry.place != *next => self.drop_parts(upload),
            _ => Ok(()),
        }
    }

    fn complete(
        &mut self,
        bucket: BucketNo,
        key: ObjectKey,
        upload: UploadId,
        object: StoredObject,
        chosen: &[(u16, VersionId)],
        record: RecordAt,
    ) -> Result<(), IndexError> {
        self.end_upload(bucket, &key, &upload)?;
        let present: Option<ObjectEntry> = get(self.index, &keys::object(bucket, key.as_str()))?;
        if present.is_some_and(|present| present.object.version > object.version) {
            self.kill(&record);
            return self.drop_parts(&upload);
        }
        for mut entry in parts(self.index, &upload)? {
            if !chosen.contains(&(entry.part.number, entry.part.version)) {
                self.drop_part(&upload, &entry);
            } else if entry.is_counted {
                self.count_part(&entry, -1);
                entry.is_counted = false;
                self.batch.put(keys::part(&upload, entry.part.number), encode(&entry)?);
            }
        }
        self.put(bucket, key, object, Place::Parts(upload), record, false)
    }

    fn delete(
        &mut self,
        bucket: BucketNo,
        key: &ObjectKey,
        version: VersionId,
    ) -> Result<(), IndexError> {
        let name = keys::object(bucket, key.as_str());
        let present: Option<ObjectEntry> = get(self.index, &name)?;
        let Some(present) = present.filter(|present| present.object.version < version) else {
            return Ok(());
        };
        self.batch.delete(name);
        self.release_object(bucket, &present, &Place::Record)
    }

    fn put_part(
        &mut self,
        upload: UploadId,
        mut entry: PartEntry,
        is_moved: bool,
    ) -> Result<(), IndexError> {
        let name = keys::part(&upload, entry.part.number);
        let present: Option<PartEntry> = get(self.index, &name)?;
        if let Some(present) = present {
            if present.part.version > entry.part.version {
                self.kill(&entry.record);
                return Ok(());
            }
            let is_same = present.part.version == entry.part.version;
            let is_news = is_moved && present.place != entry.place;
            if is_same && !is_news && self.keeps(Some(&present.record), &entry.record) {
                return Ok(());
            }
            if is_moved {
                entry.is_counted = present.is_counted;
            }
            self.drop_part(&upload, &present);
        }
        let number = entry.part.number;
        self.hold_runs(&Holder::Part(upload, number), &entry.place)?;
        self.hold_record(&entry.record);
        if entry.is_counted {
            self.count_part(&entry, 1);
        }
        self.batch.put(name, encode(&entry)?);
        Ok(())
    }

    /// Whether the present record of the same thing stays, and the other one counts for nothing: what
    /// is packed stays packed when the journal is read again.
    fn keeps(&mut self, present: Option<&RecordAt>, other: &RecordAt) -> bool {
        let Some(packed @ RecordAt::Packed(_)) = present else { return false };
        if packed != other {
            self.kill(other);
        }
        true
    }

    /// A record that something needs.
    fn hold_record(&mut self, record: &RecordAt) {
        if let RecordAt::Packed(packed) = record {
            self.tally.hold(packed.spot.group, u64::from(packed.weight));
        }
    }

    /// A record that nothing needs any more.
    fn drop_record(&mut self, record: &RecordAt) {
        if let RecordAt::Packed(packed) = record {
            self.tally.release(packed.spot.group, u64::from(packed.weight));
        }
        self.kill(record);
    }

    /// A record that is not to come back when the index is made again. Of the journal they do not, as
    /// what made them obsolete stands behind them there.
    fn kill(&mut self, record: &RecordAt) {
        if let RecordAt::Packed(packed) = record {
            self.batch.put(keys::fresh_kill(packed.spot), Vec::new());
        }
    }

    fn hold_runs(&mut self, holder: &Holder, place: &Place) -> Result<(), IndexError> {
        let Place::Groups(InGroups { runs, .. }) = place else { return Ok(()) };
        for run in runs {
            self.tally.hold(run.group, run.rows);
            self.batch.put(keys::owner(run), encode(holder)?);
        }
        Ok(())
    }

    fn release_runs(&mut self, place: &Place) {
        let Place::Groups(InGroups { runs, .. }) = place else { return };
        for run in runs {
            self.tally.release(run.group, run.rows);
            self.batch.delete(keys::owner(run));
        }
    }

    fn end_upload(
        &mut self,
        bucket: BucketNo,
        key: &ObjectKey,
        upload: &UploadId,
    ) -> Result<(), IndexError> {
        let name = keys::upload(bucket, key.as_str(), upload);
        let present: Option<UploadEntry> = get(self.index, &name)?;
        if let Some(present) = present {
            self.drop_record(&present.record);
            self.batch.delete(name);
            self.tally.bucket(bucket, Difference { uploads: -1, ..Difference::default() });
        }
        Ok(())
    }

    fn drop_parts(&mut self, upload: &UploadId) -> Result<(), IndexError> {
        for entry in parts(self.index, upload)? {
            self.drop_part(upload, &entry);
        }
        Ok(())
    }

    /// A part that nothing needs any more.
    fn drop_part(&mut self, upload: &UploadId, entry: &PartEntry) {
        self.batch.delete(keys::part(upload, entry.part.number));
        self.release_runs(&entry.place);
        self.drop_record(&entry.record);
        if entry.is_counted {
            self.count_part(entry, -1);
        }
    }

    fn count_object(&mut self, bucket: BucketNo, object: &StoredObject, sign: i64) {
        let bytes = sign * signed(object.size);
        self.tally.bucket(bucket, Difference { objects: sign, bytes, ..Difference::default() });
    }

    fn count_part(&mut self, entry: &PartEntry, sign: i64) {
        let part_bytes = sign * signed(entry.part.size);
        self.tally.bucket(entry.bucket, Difference { part_bytes, ..Difference::default() });
    }
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
