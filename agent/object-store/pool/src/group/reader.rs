//! Reads a group from the extents that are there.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::task::JoinHandle;

use super::codec::Codec;
use super::error::ReadError;
use super::extent::{Extent, Fault};
use super::geometry::{Shape, Span};
use super::header::Kind;
use super::row::RowBlocks;
use super::run::{GroupId, RowRead, Run};
use crate::io::{Io, Unfinished};
use crate::superblock::VolumeNo;

/// A block that is not as it was written. Its bytes were not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// The group.
    pub group: GroupId,
    /// Offset of its row.
    pub at: u64,
    /// Its shard.
    pub shard: u8,
    /// Its volume.
    pub volume: Option<VolumeNo>,
    /// Its number in the cell.
    pub block: u32,
    /// What is wrong.
    pub fault: Fault,
}

/// Told of every damaged block that is met; must not wait.
pub type OnDamage = Arc<dyn Fn(&Damage) + Send + Sync>;

/// Reads a group. A clone is another handle.
#[derive(Clone)]
pub struct GroupReader {
    inner: Arc<Inner>,
}

struct Inner {
    group: GroupId,
    kind: Kind,
    shape: Shape,
    io: Io,
    /// By shard.
    extents: Vec<Option<Arc<Extent>>>,
    on_damage: OnDamage,
}

impl fmt::Debug for GroupReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.inner;
        let extents = inner.extents.iter().map(Option::is_some).collect::<Vec<_>>();
        let mut debug = f.debug_struct("GroupReader");
        debug.field("group", &inner.group).field("extents", &extents).finish_non_exhaustive()
    }
}

impl GroupReader {
    /// A reader of one group's extents, those that there are; none if there are none. Extents that do
    /// not belong to the group of the first one are left out.
    #[must_use]
    pub fn new(
        extents: impl IntoIterator<Item = Arc<Extent>>,
        on_damage: OnDamage,
    ) -> Option<Self> {
        let extents: Vec<Arc<Extent>> = extents.into_iter().collect();
        let first = extents.first()?;
        let (header, io) = (*first.header(), first.device().io());
        let belongs = |extent: &Extent| {
            let other = extent.header();
            (other.group, other.kind, other.shape) == (header.group, header.kind, header.shape)
        };
        let shard = |shard| {
            let mut found = extents.iter().filter(|extent| belongs(extent));
            found.find(|extent| extent.header().shard == shard).cloned()
        };
        let by_shard = (0..header.shape.shards()).map(shard).collect();
        let (group, kind, shape) = (header.group, header.kind, header.shape);
        let inner = Inner { group, kind, shape, io, extents: by_shard, on_damage };
        Some(Self { inner: Arc::new(inner) })
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> GroupId {
        self.inner.group
    }

    /// What it holds.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// How its rows are laid out.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.inner.shape
    }

    /// A shard's extent, if it is there.
    #[must_use]
    pub fn extent(&self, shard: u8) -> Option<&Arc<Extent>> {
        self.inner.extents.get(usize::from(shard))?.as_ref()
    }

    /// The extents that are there.
    pub fn extents(&self) -> impl Iterator<Item = &Arc<Extent>> {
        self.inner.extents.iter().flatten()
    }

    pub(crate) fn io(&self) -> Io {
        self.inner.io
    }

    pub(crate) fn report(&self, damage: &Damage) {
        (self.inner.on_damage)(damage);
    }

    /// Reads what a run means, block by block. Takes two rows of memory: while one is passed on, the
    /// next is read.
    ///
    /// # Errors
    /// The run is not one of this group.
    pub fn stream(&self, run: &Run) -> Result<RunReader, ReadError> {
        if run.group != self.group() || !run.is_sound() {
            return Err(ReadError::Run { group: self.group() });
        }
        let rows = Box::new(run.row_reads(self.shape()));
        Ok(RunReader {
            reader: self.clone(),
            rows,
            blocks: VecDeque::new(),
            ahead: None,
            left: run.length,
        })
    }

    /// Reads what a run means into one piece of memory: for small ones.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read(&self, run: &Run) -> Result<Bytes, ReadError> {
        let mut stream = self.stream(run)?;
        let Some(first) = stream.next().await.transpose()? else { return Ok(Bytes::new()) };
        if first.len() as u64 == run.length {
            return Ok(first);
        }
        let mut all = BytesMut::from(first);
        while let Some(block) = stream.next().await.transpose()? {
            all.extend_from_slice(&block);
        }
        Ok(all.freeze())
    }

    /// Reads bytes of one row: each from its block, or made from others.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read_row(&self, read: RowRead) -> Result<VecDeque<Bytes>, ReadError> {
        let mut blocks = RowBlocks::impatient(self, read.row);
        match self.read_blocks(read, &mut blocks).await {
            // They are all slow, perhaps.
            Err(ReadError::Lost { .. }) if blocks.met_late() => {
                self.read_blocks(read, &mut RowBlocks::new(self, read.row)).await
            }
            other => other,
        }
    }

    async fn read_blocks(
        &self,
        read: RowRead,
        blocks: &mut RowBlocks<'_>,
    ) -> Result<VecDeque<Bytes>, ReadError> {
        let RowRead { row, from, to } = read;
        let shape = self.shape();
        let wanted = shape.spans(row.length, from, to);
        // Of a mirror, each copy serves its share of the rows.
        let nearest: Vec<Span> = match shape.codec {
            Codec::Mirror if shape.k == 1 => {
                let shard = self.copy_for(row.at);
                wanted.iter().map(|span| Span { shard, ..*span }).collect()
            }
            _ => wanted.clone(),
        };
        blocks.fetch(&nearest).await?;
        blocks.complete(&wanted).await?;
        let cut = |slice: super::geometry::Slice| {
            let block = blocks.get(slice.shard, slice.block)?;
            let range = slice.from as usize..slice.to as usize;
            (range.end <= block.len()).then(|| block.slice(range))
        };
        let cut: Option<VecDeque<Bytes>> = shape.slices(row.length, from, to).map(cut).collect();
        cut.ok_or(ReadError::Run { group: self.group() })
    }

    fn copy_for(&self, at: u64) -> u8 {
        let there: Vec<u8> = self.extents().map(|extent| extent.header().shard).collect();
        // Rows are about 1 MiB apart.
        let turn = usize::try_from(at >> 20).unwrap_or_default();
        turn.checked_rem(there.len()).and_then(|turn| there.get(turn)).copied().unwrap_or_default()
    }
}

type RowResult = Result<VecDeque<Bytes>, ReadError>;

/// The bytes of a run, in order.
pub struct RunReader {
    reader: GroupReader,
    rows: Box<dyn Iterator<Item = RowRead> + Send>,
    blocks: VecDeque<Bytes>,
    ahead: Option<JoinHandle<RowResult>>,
    left: u64,
}

impl fmt::Debug for RunReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunReader").field("left", &self.left).finish_non_exhaustive()
    }
}

impl RunReader {
    /// The next bytes, at most 64 KiB; none at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, ReadError>> {
        loop {
            if let Some(block) = self.blocks.pop_front() {
                self.left = self.left.saturating_sub(block.len() as u64);
                return Some(Ok(block));
            }
            if self.left == 0 {
                return None;
            }
            match self.next_row().await {
                Some(Ok(blocks)) => self.blocks = blocks,
                Some(Err(error)) => {
                    self.left = 0;
                    return Some(Err(error));
                }
                // Shorter than it says: its offsets overflow.
                None => {
                    self.left = 0;
                    return Some(Err(ReadError::Run { group: self.reader.group() }));
                }
            }
        }
    }

    async fn next_row(&mut self) -> Option<RowResult> {
        let row = match self.ahead.take() {
            Some(ahead) => ahead.await.unwrap_or(Err(Unfinished.into())),
            None => self.reader.read_row(self.rows.next()?).await,
        };
        if let Some(next) = self.rows.next() {
            let reader = self.reader.clone();
            self.ahead = Some(tokio::spawn(async move { reader.read_row(next).await }));
        }
        Some(row)
    }
}

impl Drop for RunReader {
    fn drop(&mut self) {
        if let Some(ahead) = self.ahead.take() {
            ahead.abort();
        }
    }
}
