//! Packing: what is still needed of the journal is copied into rows of packed groups, and its segments
//! are freed. `docs/design/engine.md`, "Packing", says why it is safe.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use agent_object_store_pool::group::run::GroupId;
use agent_object_store_pool::journal::{
    Damage, Found, Journal, JournalPlace, SegmentState, Stretch,
};
use agent_object_store_pool::superblock::VolumeNo;
use bytes::Bytes;

use super::apply::get;
use super::compress::{Zstd, compress};
use super::core::{Core, index_error};
use super::entry::{Marker, Packed, PackedSpot, RecordAt, encode};
use super::error::EngineError;
use super::index::{Batch, Index, IndexError, Next};
use super::keys;
use super::packed::{Item, RowBuilder};
use super::record::{self, Change, Content};
use super::records::{self, Line};
use super::tally::Tally;
use super::totals;
use super::volumes::Volume;
use crate::error::StoreError;
use crate::names::UnixMillis;

/// Bytes of records that are read of a segment at once.
const STRETCH: u64 = 4 << 20;

/// Entries of the index that are changed at once: others wait meanwhile.
const AT_ONCE: usize = 64;

/// Kills in one item.
const KILLS: usize = 4096;

/// What a kill, or the marker, counts in its group.
pub(super) const WEIGHT: u64 = 20;

/// How long a volume may take to seal its segments before it is left out.
const SEALING: Duration = Duration::from_secs(10);

/// How long reads that began before may take before what they read is freed.
const READING: Duration = Duration::from_secs(60);

/// What packing did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Packing {
    /// Records that were copied.
    pub records: u64,
    /// Segments that were freed.
    pub freed: u64,
    /// Segments with damage that something still needs, or that could not be freed.
    pub kept: u64,
    /// Groups that were removed.
    pub removed: u64,
}

/// A sealed segment.
#[derive(Debug, Clone)]
struct Segment {
    volume: VolumeNo,
    journal: Journal,
    state: SegmentState,
}

impl Segment {
    fn name(&self) -> (VolumeNo, u16, u64) {
        (self.volume, self.state.slot, self.state.incarnation)
    }
}

/// A record that is to be packed.
#[derive(Debug)]
struct Chosen {
    lsn: u64,
    change: Change,
    content: Bytes,
    line: Line,
}

impl Chosen {
    fn compress(&mut self, zstd: &mut Zstd) {
        let (Change::Put { content, .. } | Change::PutPart { content, .. }) = &mut self.change
        else {
            return;
        };
        if let Content::Inline(length) = content
            && let Some(compressed) = compress(zstd, &self.content)
        {
            // It is shorter than it was.
            *length = u32::try_from(compressed.len()).unwrap_or(*length);
            *content = Content::CompressedInline(*length);
            self.content = compressed.into();
        }
    }
}

/// A row that is put together, and what is to be told to the index when it is durable.
#[derive(Debug, Default)]
pub(super) struct Pending {
    row: RowBuilder,
    lines: Vec<Line>,
    /// The records that are in it: other copies of them are met, too.
    lsns: HashSet<u64>,
    /// Kept from one stretch to the next.
    zstd: Option<Zstd>,
}

impl Core {
    /// Packs the journal if a volume has more than so many sealed segments, and cleans groups where that
    /// gives back room.
    ///
    /// # Errors
    /// As [`Core::pack`].
    pub(crate) async fn tend(&self, segments: usize) -> Result<Packing, StoreError> {
        let (victims, any_empty) = self.victims()?;
        let sealed = |volume: &Volume| {
            volume.journal.segments().iter().filter(|state| !state.is_open).count()
        };
        let is_full = self.volumes.healthy().iter().any(|volume| sealed(volume) > segments);
        if is_full || any_empty || !victims.is_empty() {
            self.pack(&victims).await
        } else {
            Ok(Packing::default())
        }
    }

    /// Whether a pass is under way.
    pub(crate) fn is_packing(&self) -> bool {
        self.packing.try_lock().is_err()
    }

    /// Packs what stands in sealed segments, and cleans the groups of `victims`.
    ///
    /// # Errors
    /// A volume or the index failed. What is not packed stays where it is.
    pub(crate) async fn pack(&self, victims: &[GroupId]) -> Result<Packing, StoreError> {
        let _turn = self.packing.lock().await;
        let mut done = Packing::default();
        let (segments, upto) = self.sealed_segments().await;
        if segments.is_empty() && victims.is_empty() && !self.any_empty()? {
            // What a volume holds that takes no writes, or is not here, must be told not to count.
            let is_all = self.volumes.all_are_here()
                && self.volumes.healthy().len() == self.volumes.all().len();
            if is_all {
                self.doubts.settle(upto);
            }
            if is_all || !self.doubts.is_any() {
                return Ok(done);
            }
        }
        let mut pending = Pending::default();
        let mut doubtful = Vec::new();
        for segment in &segments {
            if !self.pack_segment(segment, upto, &mut pending, &mut done).await? {
                doubtful.push(segment.name());
            }
        }
        self.flush(&mut pending).await?;
        let cleaned = self.clean_groups(victims, &mut pending, &mut done).await?;
        self.tell(upto, &mut pending).await?;
        let removable = self.forget_groups(cleaned, upto).await?;
        self.checkpoint().await?;
        self.doubts.settle(upto);
        self.reads.quiet(READING).await;
        done.removed += removable.len() as u64;
        self.remove_groups(&removable).await;
        self.free_segments(segments, upto, &doubtful, &mut done).await?;
        Ok(done)
    }

    /// The segments to be packed, and the LSN up to which all records are in one of them and in the
    /// index.
    async fn sealed_segments(&self) -> (Vec<Segment>, u64) {
        let volumes = self.volumes.healthy();
        let seals = volumes.iter().map(|volume| async {
            // One that hangs is left out until it is fenced; it holds up those records only.
            if tokio::time::timeout(SEALING, volume.journal.seal()).await.is_err() {
                tracing::warn!(volume = %volume.device.number(), "a journal is not sealed in time");
            }
        });
        futures::future::join_all(seals).await;
        let mut upto = self.progress().done();
        let mut sealed = Vec::new();
        for volume in volumes {
            for state in volume.journal.segments() {
                if !state.is_open {
                    let (volume, journal) = (volume.device.number(), volume.journal.clone());
                    sealed.push(Segment { volume, journal, state });
                } else if let Some((low, _)) = state.lsns {
                    upto = upto.min(low.0.saturating_sub(1));
                }
            }
        }
        sealed.retain(|segment| segment.state.lsns.is_none_or(|(low, _)| low.0 <= upto));
        (sealed, upto)
    }

    /// Packs what is needed of a segment; says whether all of it could be read.
    async fn pack_segment(
        &self,
        segment: &Segment,
        upto: u64,
        pending: &mut Pending,
        done: &mut Packing,
    ) -> Result<bool, StoreError> {
        let SegmentState { slot, incarnation, .. } = segment.state;
        let (mut found, mut damage, mut next) = (0, false, Some(0));
        while let Some(from) = next {
            let stretch = segment.journal.stretch(slot, incarnation, from, STRETCH).await;
            let Stretch { records, next: behind, damage: stretch, is_torn } =
                stretch.map_err(|error| {
                    StoreError::engine("read a segment", EngineError::Journal(error))
                })?;
            next = behind;
            damage |= is_torn || Damage { mended: 0, ..stretch } != Damage::default();
            found += records.len() as u64;
            let mut chosen = Vec::new();
            for Found { lsn, place, content } in records {
                if lsn.0 <= upto {
                    chosen.extend(self.needed_record(lsn.0, place, &content, pending)?);
                }
            }
            for Chosen { lsn, change, content, line } in self.compress(chosen, pending).await? {
                self.add(lsn, change, &content, line, pending).await?;
                done.records += 1;
            }
        }
        Ok(!damage && found >= segment.state.records)
    }

    /// A record, if it is to be packed: from the first copy that is met, as the index may name one that is
    /// not there.
    fn needed_record(
        &self,
        lsn: u64,
        place: JournalPlace,
        content: &Bytes,
        pending: &Pending,
    ) -> Result<Option<Chosen>, StoreError> {
        let (change, content) = record::decode(content)
            .map_err(|error| StoreError::engine("pack a record", EngineError::Record(error)))?;
        let Some(name) = records::name(&change) else { return Ok(None) };
        let Some(value) = self.index.get(&name).map_err(index_error)? else { return Ok(None) };
        let RecordAt::Journal(places) = records::record_at(&name, &value).map_err(index_error)?
        else {
            return Ok(None);
        };
        if !places.contains(&place) || pending.lsns.contains(&lsn) {
            return Ok(None);
        }
        let line = Line { name, from: RecordAt::Journal(places) };
        Ok(Some(Chosen { lsn, change: records::settled(change), content, line }))
    }

    /// Compresses the contents of records where that saves room; their changes say so then.
    async fn compress(
        &self,
        mut chosen: Vec<Chosen>,
        pending: &mut Pending,
    ) -> Result<Vec<Chosen>, StoreError> {
        if chosen.iter().all(|record| record.content.is_empty()) {
            return Ok(chosen);
        }
        let mut zstd = pending.zstd.take().unwrap_or_else(Zstd::new);
        let work = move || {
            chosen.iter_mut().for_each(|record| record.compress(&mut zstd));
            (chosen, zstd)
        };
        let failed = |error| StoreError::engine("compress records", error);
        let (chosen, zstd) = self.io.run(work).await.map_err(failed)?;
        pending.zstd = Some(zstd);
        Ok(chosen)
    }

    /// Adds a record to the row; a full row is written first.
    pub(super) async fn add(
        &self,
        lsn: u64,
        change: Change,
        content: &[u8],
        line: Line,
        pending: &mut Pending,
    ) -> Result<(), StoreError> {
        self.add_item(&Item::Record { lsn, change: Box::new(change) }, content, pending).await?;
        pending.lsns.insert(lsn);
        pending.lines.push(line);
        Ok(())
    }

    async fn add_item(
        &self,
        item: &Item,
        content: &[u8],
        pending: &mut Pending,
    ) -> Result<(), StoreError> {
        let failed = |error| StoreError::engine("pack a record", EngineError::Record(error));
        let limit = self.packed.row_bytes()?;
        if pending.row.push(item, content, limit).map_err(failed)? {
            return Ok(());
        }
        self.flush(pending).await?;
        match pending.row.push(item, content, limit).map_err(failed)? {
            true => Ok(()),
            // Records are at most 256 KiB and a head; rows are longer.
            false => Err(failed(record::NotARecord)),
        }
    }

    /// Writes the row and tells the index where its records stand.
    pub(super) async fn flush(&self, pending: &mut Pending) -> Result<(), StoreError> {
        let zstd = pending.zstd.take();
        let Pending { row, lines, .. } =
            std::mem::replace(pending, Pending { zstd, ..Pending::default() });
        if row.is_empty() {
            return Ok(());
        }
        let failed = |error| StoreError::engine("pack records", EngineError::Record(error));
        let (row, places) = row.finish().map_err(failed)?;
        let row_bytes = u32::try_from(row.len()).unwrap_or(u32::MAX);
        let (group, place) = self.packed.put_row(row.into()).await?;
        let spot = |number| PackedSpot { group, row: place.at, number };
        let numbered: Vec<(Line, Packed)> = lines
            .into_iter()
            .zip((0_u32..).zip(places))
            .map(|(line, (number, at))| (line, Packed::new(spot(number), row_bytes, at)))
            .collect();
        for some in numbered.chunks(AT_ONCE) {
            let moved = |index: &dyn Index| {
                let (mut batch, mut tally) = (Batch::default(), Tally::default());
                for (line, packed) in some {
                    line.point_to(*packed, index, &mut batch, &mut tally)?;
                }
                tally.settle(index, UnixMillis(0), &mut batch)?;
                Ok(batch)
            };
            self.publisher.publish(moved).map_err(index_error)?;
        }
        Ok(())
    }

    /// Writes down which packed records count no more, and up to where the journal does not.
    async fn tell(&self, upto: u64, pending: &mut Pending) -> Result<(), StoreError> {
        self.flush(pending).await?;
        let mut from = keys::FRESH.to_vec();
        loop {
            let mut kills = Vec::new();
            let visit = &mut |key: &[u8], _: &[u8]| {
                if !key.starts_with(keys::FRESH) || kills.len() >= KILLS {
                    return Next::Stop;
                }
                kills.extend(keys::killed_spot(key));
                Next::On
            };
            self.index.scan(&from, visit).map_err(index_error)?;
            let Some(last) = kills.last() else { break };
            from = [keys::fresh_kill(*last), vec![0]].concat();
            // Of a group that is gone nothing comes back.
            let mut known = Vec::with_capacity(kills.len());
            for spot in &kills {
                let group = self.index.get(&keys::group(spot.group)).map_err(index_error)?;
                known.extend(group.map(|_| *spot));
            }
            if !known.is_empty() {
                self.write_item(Item::Kills(known.clone()), kills, &known).await?;
            } else {
                let gone = kills.iter().map(|spot| (keys::fresh_kill(*spot), None));
                let batch = Batch(gone.collect());
                self.publisher.publish(|_| Ok(batch)).map_err(index_error)?;
            }
        }
        let before: Option<Marker> = get(&*self.index, keys::MARKER).map_err(index_error)?;
        let (usage, group) = self.write_usage(upto).await?;
        let told = |index: &dyn Index| {
            let (mut batch, mut tally) = (Batch::default(), Tally::default());
            if let Some(before) = before {
                tally.release(before.group, WEIGHT);
                before.usage.iter().for_each(|group| tally.release(*group, WEIGHT));
            }
            tally.hold(group, WEIGHT);
            usage.iter().for_each(|group| tally.hold(*group, WEIGHT));
            batch.put(keys::MARKER.to_vec(), encode(&Marker { upto, group, usage })?);
            tally.settle(index, UnixMillis(0), &mut batch)?;
            Ok(batch)
        };
        self.publisher.publish(told).map_err(index_error)
    }

    /// Writes kills down; those of them that are `known` are kept as told.
    async fn write_item(
        &self,
        item: Item,
        kills: Vec<PackedSpot>,
        known: &[PackedSpot],
    ) -> Result<(), StoreError> {
        let group = self.write_row_of(&item).await?;
        let told = |index: &dyn Index| {
            let (mut batch, mut tally) = (Batch::default(), Tally::default());
            for spot in &kills {
                batch.delete(keys::fresh_kill(*spot));
            }
            for spot in known {
                batch.put(keys::kill(*spot), encode(&group)?);
                tally.hold(group, WEIGHT);
            }
            tally.settle(index, UnixMillis(0), &mut batch)?;
            Ok(batch)
        };
        self.publisher.publish(told).map_err(index_error)
    }

    /// Writes down what was used of buckets, and behind it up to where the journal does not count; the
    /// groups that the one and the other are in.
    async fn write_usage(&self, upto: u64) -> Result<(Vec<GroupId>, GroupId), StoreError> {
        let failed = |error| StoreError::engine("write usage", EngineError::Record(error));
        let limit = self.packed.row_bytes()?;
        let lines = totals::told(&*self.index).map_err(index_error)?;
        let items = lines.into_iter().map(|line| Item::Usage(Box::new(line)));
        let (mut row, mut groups) = (RowBuilder::default(), Vec::new());
        for item in items.chain([Item::Upto(upto)]) {
            if row.push(&item, &[], limit).map_err(failed)? {
                continue;
            }
            let (bytes, _) = std::mem::take(&mut row).finish().map_err(failed)?;
            groups.push(self.packed.put_row(bytes.into()).await?.0);
            if !row.push(&item, &[], limit).map_err(failed)? {
                return Err(failed(record::NotARecord));
            }
        }
        let (bytes, _) = row.finish().map_err(failed)?;
        Ok((groups, self.packed.put_row(bytes.into()).await?.0))
    }

    /// Writes a row of one item; the group it is in.
    async fn write_row_of(&self, item: &Item) -> Result<GroupId, StoreError> {
        let failed = |error| StoreError::engine("write a row", EngineError::Record(error));
        let mut builder = RowBuilder::default();
        builder.push(item, &[], usize::MAX).map_err(failed)?;
        let (row, _) = builder.finish().map_err(failed)?;
        let (group, _) = self.packed.put_row(row.into()).await?;
        Ok(group)
    }

    async fn free_segments(
        &self,
        segments: Vec<Segment>,
        upto: u64,
        doubtful: &[(VolumeNo, u16, u64)],
        done: &mut Packing,
    ) -> Result<(), StoreError> {
        let is_below =
            |segment: &Segment| segment.state.lsns.is_none_or(|(_, high)| high.0 <= upto);
        let needed = match doubtful {
            [] => HashSet::new(),
            some => self.needed(some.iter().copied().collect()).await?,
        };
        for segment in segments.into_iter().filter(is_below) {
            if needed.contains(&segment.name()) {
                done.kept += 1;
                continue;
            }
            let SegmentState { slot, incarnation, .. } = segment.state;
            match segment.journal.free(slot, incarnation).await {
                Ok(()) => done.freed += 1,
                Err(error) => {
                    tracing::warn!(volume = %segment.volume, slot, %error, "a segment is not freed");
                    done.kept += 1;
                }
            }
        }
        Ok(())
    }

    /// Those of some segments that an entry of the index needs. Looks at all entries: it is called only
    /// where a disk has rotted or the power was cut.
    async fn needed(
        &self,
        segments: HashSet<(VolumeNo, u16, u64)>,
    ) -> Result<HashSet<(VolumeNo, u16, u64)>, StoreError> {
        let index = Arc::clone(&self.index);
        let look = move || {
            let (mut needed, mut failed) = (HashSet::new(), None);
            for tag in records::TAGS {
                let visit = &mut |key: &[u8], value: &[u8]| {
                    if key.first() != Some(&tag) {
                        return Next::Stop;
                    }
                    match records::record_at(key, value) {
                        Ok(RecordAt::Journal(places)) => {
                            let names = places.iter().map(|p| (p.volume, p.slot, p.incarnation));
                            needed.extend(names.filter(|name| segments.contains(name)));
                        }
                        Ok(RecordAt::Packed(_)) => {}
                        Err(error) => failed = Some(error),
                    }
                    Next::On
                };
                index.scan(&[tag], visit)?;
            }
            failed.map_or(Ok(needed), Err)
        };
        let needed: Result<_, IndexError> = self
            .io
            .run(look)
            .await
            .map_err(|error| StoreError::engine("look through the index", error))?;
        needed.map_err(index_error)
    }
}
