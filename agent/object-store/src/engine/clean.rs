//! Cleaning: what is still needed of groups with little that is goes to new ones, and groups that
//! nothing is needed of are removed.

use std::collections::BTreeSet;
use std::sync::{Arc, MutexGuard, PoisonError};

use agent_object_store_pool::group::error::ReadError;
use agent_object_store_pool::group::header::Kind;
use agent_object_store_pool::group::reader::GroupReader;
use agent_object_store_pool::group::run::{GroupId, Run};
use agent_object_store_pool::group::walk::Walk;
use bytes::Bytes;

use super::apply::get;
use super::bulk::Rows;
use super::core::{Core, index_error};
use super::entry::{
    GroupEntry, Holder, ObjectEntry, PackedSpot, PartEntry, Place, RecordAt, decode,
};
use super::error::EngineError;
use super::hold::Hold;
use super::index::{Batch, Index, IndexError, Next};
use super::keys;
use super::pack::{Packing, Pending, WEIGHT};
use super::packed::{Item, content_of, items};
use super::record::{BucketNo, Change, InGroups};
use super::records::{self, Line};
use super::tally::Tally;
use super::victims::{Candidate, choose};
use crate::error::StoreError;
use crate::latch::number_of;
use crate::names::{ObjectKey, UnixMillis, UploadId};

/// Bytes that are copied in one go, so that others get their turn.
const AT_ONCE: u64 = 256 << 20;

/// An object or a part with bytes in bulk groups.
struct Held {
    bucket: BucketNo,
    key: ObjectKey,
    upload: Option<UploadId>,
    place: InGroups,
    /// The change that says all of it.
    change: Change,
}

fn read_error(error: ReadError) -> StoreError {
    StoreError::engine("read a group", EngineError::Read(error))
}

impl Core {
    /// Groups to be cleaned, those first that are worth most for what is copied, and whether there are
    /// any that nothing is needed of.
    ///
    /// # Errors
    /// The index failed.
    pub(crate) fn victims(&self) -> Result<(Vec<GroupId>, bool), StoreError> {
        let (parity, now) = (self.volumes.least_parity(), self.clock.now());
        let (mut candidates, mut any_empty) = (Vec::new(), false);
        for (group, entry) in self.known_groups()? {
            let Some(written) = entry.written.filter(|written| *written > 0) else { continue };
            let live = entry.live;
            if live == 0 {
                any_empty = true;
                continue;
            }
            if self.unclean().contains(&group) {
                continue;
            }
            let is_weak = self.groups.status(group).is_some_and(|status| status.shape.m < parity);
            // Of one that is not known to have changed, the age is that of the epoch.
            let age_ms = now.0.saturating_sub(entry.changed.0);
            candidates.push(Candidate { group, live, written, age_ms, is_weak });
        }
        Ok((choose(candidates, self.volumes.is_short(), AT_ONCE), any_empty))
    }

    /// Whether there is a group that nothing is needed of.
    pub(super) fn any_empty(&self) -> Result<bool, StoreError> {
        self.victims().map(|(_, any_empty)| any_empty)
    }

    fn unclean(&self) -> MutexGuard<'_, BTreeSet<GroupId>> {
        self.unclean.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the index knows of groups.
    pub(super) fn known_groups(&self) -> Result<Vec<(GroupId, GroupEntry)>, StoreError> {
        let mut found = Vec::new();
        let visit = &mut |key: &[u8], value: &[u8]| match keys::group_id(key) {
            Some(group) => {
                found.push((group, decode(value)));
                Next::On
            }
            None => Next::Stop,
        };
        self.index.scan(keys::GROUPS, visit).map_err(index_error)?;
        let read = |(group, entry): (GroupId, Result<GroupEntry, IndexError>)| {
            Ok((group, entry.map_err(index_error)?))
        };
        found.into_iter().map(read).collect()
    }

    /// Copies what is needed of groups; those of which all could be read.
    pub(super) async fn clean_groups(
        &self,
        victims: &[GroupId],
        pending: &mut Pending,
        done: &mut Packing,
    ) -> Result<Vec<GroupId>, StoreError> {
        let mut cleaned = Vec::new();
        for group in victims {
            let Some(reader) = self.groups.reader(*group).await else { continue };
            let result = match reader.kind() {
                Kind::Packed => self.clean_packed(&reader, pending, done).await,
                Kind::Bulk => self.clean_bulk(&reader, done).await,
            };
            match result {
                Ok(()) => cleaned.push(*group),
                Err(StoreError::Engine { source: EngineError::Read(error), .. }) => {
                    tracing::warn!(%group, %error, "a group cannot be cleaned");
                    self.unclean().insert(*group);
                }
                // What was copied counts; others may be empty and give back room.
                Err(StoreError::Full { .. }) => {
                    tracing::warn!(%group, "there is no room to clean a group");
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        self.flush(pending).await?;
        Ok(cleaned)
    }

    async fn clean_packed(
        &self,
        reader: &GroupReader,
        pending: &mut Pending,
        done: &mut Packing,
    ) -> Result<(), StoreError> {
        let group = reader.group();
        let mut walk = Walk::of(reader);
        while let Some(row) = walk.next().await.map_err(read_error)? {
            let bytes = reader.read(&Run::row(group, row.place)).await.map_err(read_error)?;
            let failed = |error| StoreError::engine("read a row", EngineError::Record(error));
            for (number, (item, at)) in (0_u32..).zip(items(&bytes).map_err(failed)?) {
                let spot = PackedSpot { group, row: row.place.at, number };
                let content = content_of(&bytes, &item, at).map_err(failed)?;
                match item {
                    Item::Record { lsn, change } => {
                        self.keep_record(spot, lsn, *change, &content, pending, done).await?;
                    }
                    Item::Kills(spots) => self.untell(group, &spots)?,
                    // A newer one is written at the end.
                    Item::Upto(_) | Item::Usage(_) => {}
                }
            }
        }
        Ok(())
    }

    async fn keep_record(
        &self,
        spot: PackedSpot,
        lsn: u64,
        change: Change,
        content: &Bytes,
        pending: &mut Pending,
        done: &mut Packing,
    ) -> Result<(), StoreError> {
        let Some(name) = records::name(&change) else { return Ok(()) };
        let Some(value) = self.index.get(&name).map_err(index_error)? else { return Ok(()) };
        let from = records::record_at(&name, &value).map_err(index_error)?;
        if !matches!(&from, RecordAt::Packed(packed) if packed.spot == spot) {
            return Ok(());
        }
        done.records += 1;
        self.add(lsn, change, content, Line { name, from }, pending).await
    }

    /// Kills that this group tells are to be told anew.
    fn untell(&self, group: GroupId, spots: &[PackedSpot]) -> Result<(), StoreError> {
        let untold = |index: &dyn Index| {
            let (mut batch, mut tally) = (Batch::default(), Tally::default());
            for spot in spots {
                let teller: Option<GroupId> = get(index, &keys::kill(*spot))?;
                if teller == Some(group) {
                    batch.delete(keys::kill(*spot));
                    batch.put(keys::fresh_kill(*spot), Vec::new());
                    tally.release(group, WEIGHT);
                }
            }
            tally.settle(index, UnixMillis(0), &mut batch)?;
            Ok(batch)
        };
        self.publisher.publish(untold).map_err(index_error)
    }

    async fn clean_bulk(&self, reader: &GroupReader, done: &mut Packing) -> Result<(), StoreError> {
        let all = keys::owners(reader.group());
        let mut holders: Vec<Result<Holder, IndexError>> = Vec::new();
        let visit = &mut |key: &[u8], value: &[u8]| {
            if !key.starts_with(&all) {
                return Next::Stop;
            }
            holders.push(decode(value));
            Next::On
        };
        self.index.scan(&all, visit).map_err(index_error)?;
        let mut last = None;
        for holder in holders {
            let holder = holder.map_err(index_error)?;
            // The runs of one stand together.
            if last.as_ref() == Some(&holder) {
                continue;
            }
            done.records += u64::from(self.move_bytes(reader, &holder).await?);
            last = Some(holder);
        }
        Ok(())
    }

    /// Copies the bytes of a group that an object or a part holds; says whether it still did.
    async fn move_bytes(&self, reader: &GroupReader, holder: &Holder) -> Result<bool, StoreError> {
        let Some(held) = self.held(holder)? else { return Ok(false) };
        let InGroups { runs, compressed } = held.place;
        let (runs, _holds) = self.copy_runs(reader, runs).await?;
        // Nobody replaces or deletes it meanwhile: a record of bytes that moved stands for the object.
        let upload = match &held.upload {
            Some(upload) => Some(self.uploads.lock(number_of(upload)).await),
            None => None,
        };
        let latch = self.key_latch(held.bucket, &held.key).await;
        let is_held = self.held(holder)?.is_some_and(|now| now.change == held.change);
        if is_held {
            let mut change = held.change;
            if let Change::Put { content, .. } | Change::PutPart { content, .. } = &mut change {
                *content = InGroups { runs, compressed }.moved();
            }
            self.commit(change, &[]).await?;
        }
        drop((latch, upload));
        Ok(is_held)
    }

    /// What holds bytes in bulk groups.
    fn held(&self, holder: &Holder) -> Result<Option<Held>, StoreError> {
        let Some(value) = self.index.get(&records::holder_name(holder)).map_err(index_error)?
        else {
            return Ok(None);
        };
        match holder.clone() {
            Holder::Object(bucket, key) => {
                let ObjectEntry { object, place, .. } = decode(&value).map_err(index_error)?;
                let Place::Groups(place) = place else { return Ok(None) };
                let content = place.clone().written();
                let change = Change::Put { bucket, key: key.clone(), object, content };
                Ok(Some(Held { bucket, key, upload: None, place, change }))
            }
            Holder::Part(upload, _) => {
                let PartEntry { bucket, key, part, place, .. } =
                    decode(&value).map_err(index_error)?;
                let Place::Groups(place) = place else { return Ok(None) };
                let content = place.clone().written();
                let of = upload.clone();
                let change = Change::PutPart { bucket, key: key.clone(), upload, part, content };
                Ok(Some(Held { bucket, key, upload: Some(of), place, change }))
            }
        }
    }

    /// Copies those of some runs that are in a group; all of them with the copies in their places.
    async fn copy_runs(
        &self,
        reader: &GroupReader,
        runs: Vec<Run>,
    ) -> Result<(Vec<Run>, Vec<Arc<Hold>>), StoreError> {
        let (mut all, mut holds) = (Vec::with_capacity(runs.len()), Vec::new());
        for run in runs {
            if run.group != reader.group() {
                all.push(run);
                continue;
            }
            let full = self.bulk.row_bytes()?;
            let mut rows = Rows::new(&self.bulk);
            let mut stream = reader.stream(&run).map_err(read_error)?;
            let mut row = Vec::with_capacity(full);
            while let Some(block) = stream.next().await {
                let mut block = block.map_err(read_error)?;
                while !block.is_empty() {
                    let piece = block.split_to(block.len().min(full - row.len()));
                    row.extend_from_slice(&piece);
                    if row.len() == full {
                        let whole = std::mem::replace(&mut row, Vec::with_capacity(full));
                        rows.write(whole.into()).await?;
                    }
                }
            }
            if !row.is_empty() {
                rows.write(row.into()).await?;
            }
            let (runs, hold) = rows.sync().await?;
            all.extend(runs);
            holds.push(hold);
        }
        Ok((all, holds))
    }

    /// Takes groups out of the index that nothing is needed of, nor by a record of the journal behind
    /// `upto`: those that were cleaned, and others.
    pub(super) async fn forget_groups(
        &self,
        cleaned: Vec<GroupId>,
        upto: u64,
    ) -> Result<Vec<GroupId>, StoreError> {
        let needed = self.doubts.groups_behind(upto);
        let known = self.known_groups()?;
        // Behind that: what is filled no more is in use by now, if it is at all.
        let in_use = [self.bulk.in_use(), self.packed.in_use()].concat();
        let filling = [self.bulk.filling(), self.packed.filling(), in_use, needed].concat();
        let mut empty = Vec::new();
        for (group, entry) in known {
            if entry.written.is_none() || filling.contains(&group) {
                continue;
            }
            if entry.live > 0 {
                if cleaned.contains(&group) {
                    tracing::warn!(%group, live = entry.live, "a group was not cleaned wholly");
                    self.unclean().insert(group);
                }
                continue;
            }
            // From here on it is a leftover; its kills follow.
            let mut batch = Batch::default();
            batch.delete(keys::group(group));
            self.publisher.publish(|_| Ok(batch)).map_err(index_error)?;
            self.forget_kills(group)?;
            empty.push(group);
        }
        Ok(empty)
    }

    /// Nothing comes back of a group that is gone.
    fn forget_kills(&self, group: GroupId) -> Result<(), StoreError> {
        for prefix in keys::kills(group) {
            let mut found = Vec::new();
            let visit = &mut |key: &[u8], value: &[u8]| {
                if !key.starts_with(&prefix) {
                    return Next::Stop;
                }
                let teller: Option<GroupId> =
                    if value.is_empty() { None } else { decode(value).ok() };
                found.push((key.to_vec(), teller));
                Next::On
            };
            self.index.scan(&prefix, visit).map_err(index_error)?;
            for some in found.chunks(1024) {
                let gone = |index: &dyn Index| {
                    let (mut batch, mut tally) = (Batch::default(), Tally::default());
                    for (key, teller) in some {
                        batch.delete(key.clone());
                        let known = teller.filter(|teller| *teller != group);
                        if let Some(teller) = known {
                            tally.release(teller, WEIGHT);
                        }
                    }
                    tally.settle_known(index, &mut batch)?;
                    Ok(batch)
                };
                self.publisher.publish(gone).map_err(index_error)?;
            }
        }
        Ok(())
    }

    /// Removes the files of groups that the index knows no more. What is left on a volume that fails
    /// is removed when it comes back.
    pub(super) async fn remove_groups(&self, groups: &[GroupId]) {
        if let Err(error) = self.groups.remove(groups).await {
            tracing::warn!(%error, "a group is not removed everywhere");
        }
    }
}
