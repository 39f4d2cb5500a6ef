//! The blocks of one row, as far as they are wanted: read, or made from others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;

use super::codec::CodecError;
use super::error::ReadError;
use super::extent::Fault;
use super::geometry::{RowPlace, Span, blocks};
use super::reader::{Damage, GroupReader};
use crate::io::{PATIENCE, within};

/// A block of a row: its number, then the cell's. Blocks of one number belong together.
type Key = (u32, u8);

/// What is known of a row.
#[derive(Debug)]
pub(crate) struct RowBlocks<'a> {
    reader: &'a GroupReader,
    place: RowPlace,
    payload: u32,
    got: BTreeMap<Key, Bytes>,
    tried: BTreeSet<Key>,
    met_errors: bool,
    /// How long a disk is waited for; none for as long as it may take.
    patience: Option<Duration>,
    met_late: bool,
}

impl<'a> RowBlocks<'a> {
    pub(crate) fn new(reader: &'a GroupReader, place: RowPlace) -> Self {
        let payload = reader.shape().payload(place.length);
        Self {
            reader,
            place,
            payload,
            got: BTreeMap::new(),
            tried: BTreeSet::new(),
            met_errors: false,
            patience: None,
            met_late: false,
        }
    }

    /// The same for a reader who takes what is late from others, if there are enough.
    pub(crate) fn impatient(reader: &'a GroupReader, place: RowPlace) -> Self {
        Self { patience: Some(PATIENCE), ..Self::new(reader, place) }
    }

    /// Whether a disk did not answer in time.
    pub(crate) fn met_late(&self) -> bool {
        self.met_late
    }

    /// A block that was read or made.
    pub(crate) fn get(&self, shard: u8, block: u32) -> Option<&Bytes> {
        self.got.get(&(block, shard))
    }

    /// Whether the system gave an error for a block.
    pub(crate) fn met_errors(&self) -> bool {
        self.met_errors
    }

    /// All blocks of a cell.
    pub(crate) fn cell(&self, shard: u8) -> Span {
        Span { shard, first: 0, last: blocks(self.payload).saturating_sub(1) }
    }

    /// Reads blocks from the extents that are there, all at once, and reports those that are damaged.
    pub(crate) async fn fetch(&mut self, spans: &[Span]) -> Result<(), ReadError> {
        let (at, payload, patience) = (self.place.at, self.payload, self.patience);
        let reads = spans.iter().filter_map(|span| {
            let extent = Arc::clone(self.reader.extent(span.shard)?);
            let span = *span;
            Some(async move {
                // One block is worth a look whether it is there at once.
                let cached = (span.first == span.last)
                    .then(|| extent.cached_blocks(at, payload, span))
                    .flatten();
                let blocks = extent.blocks(at, payload, span);
                let found = match (cached, patience) {
                    (Some(found), _) => Some(found),
                    (None, Some(patience)) => within(patience, blocks).await,
                    (None, None) => Some(blocks.await),
                };
                let late = || (span.first..=span.last).map(|_| Err(Fault::Late)).collect();
                (span, found.unwrap_or_else(late))
            })
        });
        let results = join_all(reads).await;
        for result in results {
            let (span, found) = result;
            for (block, found) in (span.first..=span.last).zip(found) {
                let is_new = self.tried.insert((block, span.shard));
                match found {
                    Ok(bytes) => drop(self.got.insert((block, span.shard), bytes)),
                    Err(Fault::Late) => {
                        self.met_errors = true;
                        self.met_late = true;
                    }
                    Err(fault) if is_new => {
                        self.met_errors |= fault == Fault::Unreadable;
                        self.report(span.shard, block, fault);
                    }
                    Err(_) => {}
                }
            }
        }
        Ok(())
    }

    fn report(&self, shard: u8, block: u32, fault: Fault) {
        let volume = self.reader.extent(shard).map(|extent| extent.device().number());
        self.reader.report(&Damage {
            group: self.reader.group(),
            at: self.place.at,
            shard,
            volume,
            block,
            fault,
        });
    }

    /// Makes the blocks of these spans that are not there from others, reading as many as that takes.
    pub(crate) async fn complete(&mut self, spans: &[Span]) -> Result<(), ReadError> {
        let mut missing: BTreeMap<u32, BTreeSet<u8>> = BTreeMap::new();
        for span in spans {
            for block in span.first..=span.last {
                if self.get(span.shard, block).is_none() {
                    missing.entry(block).or_default().insert(span.shard);
                }
            }
        }
        let (Some((first, _)), Some((last, _))) =
            (missing.first_key_value(), missing.last_key_value())
        else {
            return Ok(());
        };
        let (first, last) = (*first, *last);
        loop {
            let lack = missing.keys().map(|block| self.lack(*block)).max().unwrap_or(0);
            if lack == 0 {
                break;
            }
            let more = self.untried(missing.keys(), lack);
            if more.is_empty() {
                break;
            }
            let spans: Vec<Span> =
                more.into_iter().map(|shard| Span { shard, first, last }).collect();
            self.fetch(&spans).await?;
        }
        self.make(missing).await
    }

    /// Blocks of one number that are there.
    fn whole(&self, block: u32) -> usize {
        self.got.range((block, 0)..=(block, u8::MAX)).count()
    }

    fn lack(&self, block: u32) -> usize {
        usize::from(self.reader.shape().k).saturating_sub(self.whole(block))
    }

    /// Cells that are there and of which not all of these blocks were asked for, at most so many.
    fn untried<'b>(&self, blocks: impl Iterator<Item = &'b u32> + Clone, count: usize) -> Vec<u8> {
        let is_untried = |shard: &u8| {
            let mut blocks = blocks.clone();
            self.reader.extent(*shard).is_some()
                && blocks.any(|block| !self.tried.contains(&(*block, *shard)))
        };
        (0..self.reader.shape().shards()).filter(is_untried).take(count).collect()
    }

    async fn make(&mut self, missing: BTreeMap<u32, BTreeSet<u8>>) -> Result<(), ReadError> {
        let shape = *self.reader.shape();
        let (codec, needed) = (shape.codec, usize::from(shape.k));
        let mut jobs = Vec::new();
        for (block, shards) in missing {
            let whole = self.whole(block);
            if whole < needed {
                let (group, at) = (self.reader.group(), self.place.at);
                return Err(ReadError::Lost { group, at, block, whole, needed });
            }
            let have: Vec<Option<Bytes>> =
                (0..shape.shards()).map(|shard| self.get(shard, block).cloned()).collect();
            jobs.push((block, shards, have));
        }
        let make = move || {
            let mut made = Vec::new();
            for (block, shards, have) in jobs {
                let want: Vec<usize> = shards.iter().map(|shard| usize::from(*shard)).collect();
                let blocks = codec.reconstruct(needed, &have, &want)?;
                made.extend(shards.into_iter().map(|shard| (block, shard)).zip(blocks));
            }
            Ok::<_, CodecError>(made)
        };
        self.got.extend(self.reader.io().run(make).await??);
        Ok(())
    }

    /// Whether the parity blocks of this number are those of the data blocks; only told of blocks that
    /// are all there.
    pub(crate) async fn agrees(&self, block: u32) -> Result<bool, ReadError> {
        let shape = self.reader.shape();
        let all: Option<Vec<Bytes>> =
            (0..shape.shards()).map(|shard| self.get(shard, block).cloned()).collect();
        let Some(data) = all else { return Ok(true) };
        let (codec, k, m) = (shape.codec, usize::from(shape.k), usize::from(shape.m));
        let agrees = move || {
            let (data, parity) = data.split_at_checked(k).ok_or(CodecError)?;
            Ok::<_, CodecError>(codec.encode(data, m)? == parity)
        };
        Ok(self.reader.io().run(agrees).await??)
    }
}
