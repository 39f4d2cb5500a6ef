//! The index made again from the volumes alone: first what the tables of the packed rows say, then the
//! journals behind what was packed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use agent_object_store_pool::group::header::Kind;
use agent_object_store_pool::group::reader::GroupReader;
use agent_object_store_pool::group::run::{GroupId, Run};
use agent_object_store_pool::group::walk::Walk;

use super::apply::apply;
use super::bulk::written_bytes;
use super::core::{Core, index_error};
use super::entry::{
    BucketUsage, GroupEntry, Marker, Packed, PackedSpot, PartEntry, RecordAt, decode, encode,
};
use super::error::EngineError;
use super::index::{Batch, Index, IndexError, Next};
use super::keys;
use super::pack::WEIGHT;
use super::packed::{Item, ItemAt, UsageLine, items, table_end};
use super::record::BucketNo;
use super::tally::{Difference, Tally};
use crate::error::StoreError;
use crate::names::{UnixMillis, UploadId};

/// The latest usage of each bucket that was found, and the group that tells it.
type Lines = BTreeMap<BucketNo, (UsageLine, GroupId)>;

/// Changes that are written to the index at once.
const AT_ONCE: usize = 256;

/// How far an index is that is made anew.
#[derive(Debug, Default)]
pub(crate) struct Rebuilding {
    /// Packed groups that are to be read.
    pub groups: AtomicU64,
    /// Of these, those that were.
    pub read: AtomicU64,
}

impl Rebuilding {
    /// Nothing is known yet.
    pub(crate) fn reset(&self) {
        self.groups.store(0, Ordering::Relaxed);
        self.read.store(0, Ordering::Relaxed);
    }
}

impl Core {
    /// Fills an empty index from the packed groups; up to which LSN the journals need not be read.
    ///
    /// # Errors
    /// The index failed, or the process is ending.
    pub(super) async fn rebuild(&self, progress: &Rebuilding) -> Result<u64, StoreError> {
        self.wipe()?;
        let mut readers = Vec::new();
        for group in self.groups.all() {
            let Some(reader) = self.groups.reader(group).await else { continue };
            if reader.kind() == Kind::Packed {
                self.sync_group(group).await;
                readers.push(reader);
            } else {
                self.know_group(group, GroupEntry::default())?;
            }
        }
        progress.groups.store(readers.len() as u64, Ordering::Relaxed);
        let (mut marker, mut lines): (Option<Marker>, Lines) = (None, Lines::new());
        for reader in &readers {
            self.know_group(reader.group(), GroupEntry::default())?;
        }
        for reader in &readers {
            let newest = self.rebuild_kills(reader, &mut lines).await?;
            marker = marker.into_iter().chain(newest).max_by_key(|marker| marker.upto);
        }
        let usage = self.rebuild_usage(lines)?;
        let marker = marker.map(|marker| Marker { usage, ..marker });
        for reader in &readers {
            self.rebuild_records(reader).await?;
            progress.read.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(marker) = &marker {
            let known = |index: &dyn Index| {
                let (mut batch, mut tally) = (Batch::default(), Tally::default());
                tally.hold(marker.group, WEIGHT);
                marker.usage.iter().for_each(|group| tally.hold(*group, WEIGHT));
                batch.put(keys::MARKER.to_vec(), encode(marker)?);
                tally.settle(index, UnixMillis(0), &mut batch)?;
                Ok(batch)
            };
            self.publisher.publish(known).map_err(index_error)?;
        }
        Ok(marker.map_or(0, |marker| marker.upto))
    }

    /// Takes out what an attempt left that was cut off.
    fn wipe(&self) -> Result<(), StoreError> {
        loop {
            let mut batch = Batch::default();
            let visit = &mut |key: &[u8], _: &[u8]| {
                batch.delete(key.to_vec());
                if batch.0.len() < AT_ONCE { Next::On } else { Next::Stop }
            };
            self.index.scan(b"", visit).map_err(index_error)?;
            if batch.0.is_empty() {
                return Ok(());
            }
            self.publisher.publish(|_| Ok(batch)).map_err(index_error)?;
        }
    }

    fn know_group(&self, group: GroupId, entry: GroupEntry) -> Result<(), StoreError> {
        let known = |_: &dyn Index| {
            let mut batch = Batch::default();
            batch.put(keys::group(group), encode(&entry)?);
            Ok(batch)
        };
        self.publisher.publish(known).map_err(index_error)
    }

    /// Takes over what was used of buckets; what they hold is counted anew. The groups that tell it.
    fn rebuild_usage(&self, lines: Lines) -> Result<Vec<GroupId>, StoreError> {
        let mut groups: Vec<GroupId> = lines.values().map(|(_, group)| *group).collect();
        groups.sort_unstable();
        groups.dedup();
        let known = |_: &dyn Index| {
            let mut batch = Batch::default();
            for (bucket, (UsageLine { usage, departed, .. }, _)) in lines {
                let empty =
                    BucketUsage { objects: 0, bytes: 0, uploads: 0, part_bytes: 0, ..usage };
                batch.put(keys::usage(bucket), encode(&empty)?);
                if let Some(departed) = departed {
                    batch.put(keys::departed(bucket), encode(&departed)?);
                }
            }
            Ok(batch)
        };
        self.publisher.publish(known).map_err(index_error)?;
        Ok(groups)
    }

    /// Takes over the kills that a group tells, and gives the last marker in it.
    async fn rebuild_kills(
        &self,
        reader: &GroupReader,
        lines: &mut Lines,
    ) -> Result<Option<Marker>, StoreError> {
        let group = reader.group();
        let mut marker: Option<Marker> = None;
        let mut rows = Rows::of(reader, Read::Table);
        while let Some((_, _, items)) = rows.next().await? {
            for (item, _) in items {
                match item {
                    Item::Kills(spots) => self.rebuild_kill(group, &spots)?,
                    Item::Upto(upto) => {
                        let upto = marker.map_or(upto, |marker| marker.upto.max(upto));
                        marker = Some(Marker { upto, group, usage: Vec::new() });
                    }
                    Item::Usage(line) => {
                        let present = lines.get(&line.bucket);
                        if present.is_none_or(|(present, _)| present.age() <= line.age()) {
                            lines.insert(line.bucket, (*line, group));
                        }
                    }
                    Item::Record { .. } => {}
                }
            }
        }
        Ok(marker)
    }

    fn rebuild_kill(&self, group: GroupId, spots: &[PackedSpot]) -> Result<(), StoreError> {
        let told = |index: &dyn Index| {
            let (mut batch, mut tally) = (Batch::default(), Tally::default());
            for spot in spots {
                let is_known = index.get(&keys::group(spot.group))?.is_some();
                if is_known && index.get(&keys::kill(*spot))?.is_none() {
                    batch.put(keys::kill(*spot), encode(&group)?);
                    tally.hold(group, WEIGHT);
                }
            }
            tally.settle(index, UnixMillis(0), &mut batch)?;
            Ok(batch)
        };
        self.publisher.publish(told).map_err(index_error)
    }

    async fn rebuild_records(&self, reader: &GroupReader) -> Result<(), StoreError> {
        let group = reader.group();
        let mut rows = Rows::of(reader, Read::All);
        while let Some((at, row_bytes, items)) = rows.next().await? {
            let row_bytes = u32::try_from(row_bytes).unwrap_or(u32::MAX);
            for (number, (item, place)) in (0_u32..).zip(items) {
                let Item::Record { change, .. } = item else { continue };
                let spot = PackedSpot { group, row: at, number };
                if self.index.get(&keys::kill(spot)).map_err(index_error)?.is_some() {
                    continue;
                }
                self.remember(&change);
                let record = RecordAt::Packed(Packed::new(spot, row_bytes, place));
                self.publisher
                    .publish(|index| apply(index, *change, record))
                    .map_err(index_error)?;
            }
        }
        let written = written_bytes(reader.shape(), rows.walk.end());
        let settled = |index: &dyn Index| {
            let mut batch = Batch::default();
            let entry: GroupEntry =
                super::apply::get(index, &keys::group(group))?.unwrap_or_default();
            let entry = GroupEntry { written: Some(written), ..entry };
            batch.put(keys::group(group), encode(&entry)?);
            Ok(batch)
        };
        self.publisher.publish(settled).map_err(index_error)
    }

    /// Parts that became objects do not count as parts of open uploads. For when all is read.
    pub(super) fn uncount_parts_of_objects(&self) -> Result<(), StoreError> {
        let mut open: BTreeSet<UploadId> = BTreeSet::new();
        let visit = &mut |key: &[u8], _: &[u8]| match key.first() {
            Some(b'U') => {
                open.extend(keys::upload_key(key).map(|(_, upload)| upload));
                Next::On
            }
            _ => Next::Stop,
        };
        self.index.scan(b"U", visit).map_err(index_error)?;
        let mut from = b"P".to_vec();
        loop {
            let mut some: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
            let visit = &mut |key: &[u8], value: &[u8]| {
                if key.first() != Some(&b'P') || some.len() >= AT_ONCE {
                    return Next::Stop;
                }
                some.push((key.to_vec(), value.to_vec()));
                Next::On
            };
            self.index.scan(&from, visit).map_err(index_error)?;
            let Some((last, _)) = some.last() else { return Ok(()) };
            from = [last.as_slice(), &[0]].concat();
            let uncounted = |index: &dyn Index| uncount(index, &open, &some);
            self.publisher.publish(uncounted).map_err(index_error)?;
        }
    }
}

fn uncount(
    index: &dyn Index,
    open: &BTreeSet<UploadId>,
    parts: &[(Vec<u8>, Vec<u8>)],
) -> Result<Batch, IndexError> {
    let (mut batch, mut tally) = (Batch::default(), Tally::default());
    for (key, value) in parts {
        let entry: PartEntry = decode(value)?;
        let upload = keys::upload_of_part(key).ok_or_else(|| IndexError::damaged("a part"))?;
        if entry.is_counted && !open.contains(&upload) {
            let part_bytes = -super::tally::signed(entry.part.size);
            tally.bucket(entry.bucket, Difference { part_bytes, ..Difference::default() });
            batch.put(key.clone(), encode(&PartEntry { is_counted: false, ..entry })?);
        }
    }
    tally.settle(index, UnixMillis(0), &mut batch)?;
    Ok(batch)
}

/// What is read of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// Its table.
    Table,
    /// Everything: of a row that was being written when the power went, the table may be there and
    /// what it tells of not. That stands elsewhere then.
    All,
}

/// The rows of a packed group that can be read.
struct Rows<'a> {
    reader: &'a GroupReader,
    read: Read,
    walk: Walk,
}

/// Offset of a row, its bytes, and its items.
type Row = (u64, u64, Vec<(Item, ItemAt)>);

impl<'a> Rows<'a> {
    fn of(reader: &'a GroupReader, read: Read) -> Self {
        Self { reader, read, walk: Walk::of(reader) }
    }

    async fn next(&mut self) -> Result<Option<Row>, StoreError> {
        let failed = |source| StoreError::engine("walk a group", EngineError::Read(source));
        let group = self.reader.group();
        while let Some(row) = self.walk.next().await.map_err(failed)? {
            let run = Run::row(group, row.place);
            let items = match self.read {
                Read::Table => read_table(self.reader, run).await,
                Read::All => read_all(self.reader, run).await,
            };
            match items {
                Ok(items) => return Ok(Some((row.place.at, run.length, items))),
                // Torn, as nothing that was told is ever lost on enough volumes.
                Err(error) => {
                    tracing::warn!(%group, at = row.place.at, %error, "a row cannot be read");
                }
            }
        }
        Ok(None)
    }
}

/// The items of a row, without their contents.
///
/// # Errors
/// The row cannot be read, or is none.
pub(super) async fn read_table(
    reader: &GroupReader,
    row: Run,
) -> Result<Vec<(Item, ItemAt)>, EngineError> {
    /// A table of a row of objects of 4 KiB is about so long.
    const GUESS: u64 = 64 << 10;
    let start = reader.read(&Run { length: row.length.min(GUESS), ..row }).await?;
    let end = table_end(&start)?;
    let table = match end <= start.len() {
        true => start,
        false => reader.read(&Run { length: row.length.min(end as u64), ..row }).await?,
    };
    Ok(items(&table)?)
}

async fn read_all(reader: &GroupReader, row: Run) -> Result<Vec<(Item, ItemAt)>, EngineError> {
    let bytes = reader.read(&row).await?;
    Ok(items(&bytes)?)
}
