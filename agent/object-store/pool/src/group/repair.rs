//! Scrubs groups and rebuilds their shards.
//!
//! A damaged block is not written anew in its place: what a place was sealed with is used once. Its
//! whole shard is, into a new extent, which counts from when it has its name: the one it is written
//! under before counts for nothing. The old extent is removed when the new one is durable.

use std::sync::Arc;

use super::ahead::{Ahead, Made};
use super::error::{ExtentError, ReadError, RebuildError};
use super::extent::{Extent, Fault};
use super::files;
use super::geometry::{Span, blocks};
use super::header::{CellHeader, ExtentHeader};
use super::reader::{Damage, GroupReader};
use super::row::RowBlocks;
use super::walk::{FoundRow, Walk};
use crate::device::{ANSWER_MAX, Device, LONG_MAX};

/// What a scrub found. Every damaged block was told to the reader's
/// [`OnDamage`](super::reader::OnDamage).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verified {
    /// Rows.
    pub rows: u64,
    /// Blocks of the extents that are there.
    pub blocks: u64,
    /// Of these, blocks that do not open or cannot be read.
    pub damaged: u64,
    /// Headers of cells that are not whole.
    pub headers: u64,
    /// Blocks with others of their number, too few of which are whole to make the rest: lost, or of a
    /// row that nobody was told is durable.
    pub lost: u64,
    /// Blocks whose parity is not that of the data.
    pub disagreeing: u64,
}

impl Verified {
    /// Whether nothing is wrong with the extents that are there.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.damaged + self.headers + self.lost + self.disagreeing == 0
    }
}

/// What to do where content cannot be made from what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holes {
    /// Give up, unless all extents are there and read without errors: then nothing would come back,
    /// and holes are left as with [`Holes::Leave`].
    Refuse,
    /// Leave them, as blocks that do not open: for when a missing volume is given up for ever.
    Leave,
}

/// A shard that was rebuilt.
#[derive(Debug)]
pub struct Rebuilt {
    /// Its new extent.
    pub extent: Arc<Extent>,
    /// Rows that are in it.
    pub rows: u64,
    /// Blocks of it that could not be made.
    pub holes: u64,
}

/// Opens every block of a group that is not being filled and compares parity with data. `pace` is awaited after each row: there
/// the caller slows it down or, by going away, ends it. Takes the memory of one row.
///
/// # Errors
/// The process is ending.
pub async fn verify<P: Future<Output = ()>>(
    reader: &GroupReader,
    mut pace: impl FnMut() -> P,
) -> Result<Verified, ReadError> {
    let mut found = Verified::default();
    let mut walk = Walk::of(reader);
    while let Some(row) = walk.next().await? {
        verify_row(reader, row, &mut found).await?;
        pace().await;
    }
    Ok(found)
}

async fn verify_row(
    reader: &GroupReader,
    row: FoundRow,
    found: &mut Verified,
) -> Result<(), ReadError> {
    let mut cells = RowBlocks::new(reader, row.place);
    let there: Vec<u8> = reader.extents().map(|extent| extent.header().shard).collect();
    let spans: Vec<Span> = there.iter().map(|shard| cells.cell(*shard)).collect();
    cells.fetch(&spans).await?;
    found.rows += 1;
    let k = usize::from(reader.shape().k);
    for block in 0..blocks(reader.shape().payload(row.place.length)) {
        let whole = there.iter().filter(|shard| cells.get(**shard, block).is_some()).count();
        found.blocks += there.len() as u64;
        found.damaged += (there.len() - whole) as u64;
        found.lost += u64::from(whole < k);
        if !cells.agrees(block).await? {
            found.disagreeing += 1;
            report(reader, row, reader.shape().k, block, Fault::Disagrees);
        }
    }
    for shard in bad_headers(reader, row).await? {
        found.headers += 1;
        report(reader, row, shard, 0, Fault::Header);
    }
    Ok(())
}

async fn bad_headers(reader: &GroupReader, row: FoundRow) -> Result<Vec<u8>, ReadError> {
    let mut bad = Vec::new();
    for extent in reader.extents() {
        // What is late is not known to be bad.
        let Ok(header) = extent.cell_header(row.place.at).await else { continue };
        let is_right =
            |header: CellHeader| (header.row, header.length) == (row.number, row.place.length);
        if !header.is_some_and(is_right) {
            bad.push(extent.header().shard);
        }
    }
    Ok(bad)
}

fn report(reader: &GroupReader, row: FoundRow, shard: u8, block: u32, fault: Fault) {
    let volume = reader.extent(shard).map(|extent| extent.device().number());
    let (group, at) = (reader.group(), row.place.at);
    reader.report(&Damage { group, at, shard, volume, block, fault });
}

/// Makes a shard anew on a volume, from its own extent as far as that is whole and from the others.
/// When this returns, the new extent is durable and the old one removed, unless its volume is not
/// there or fenced: then it is when that comes back, as its generation is less. A cut at any point
/// leaves one or the other. The group must not be written to meanwhile. `pace` as for [`verify`], but up
/// to three rows are read ahead and held in memory.
///
/// # Errors
/// See [`RebuildError`]; the group is as it was.
pub async fn rebuild_shard<P: Future<Output = ()>>(
    reader: &GroupReader,
    shard: u8,
    onto: &Device,
    holes: Holes,
    pace: impl FnMut() -> P,
) -> Result<Rebuilt, RebuildError> {
    rebuild_while(Arc::new(()), reader, shard, onto, holes, pace).await
}

/// As [`rebuild_shard`]; `keep` is dropped when no call to the disk is under way any more, also if the
/// caller goes away.
pub(super) async fn rebuild_while<P: Future<Output = ()>>(
    keep: Keep,
    reader: &GroupReader,
    shard: u8,
    onto: &Device,
    holes: Holes,
    mut pace: impl FnMut() -> P,
) -> Result<Rebuilt, RebuildError> {
    let new = create(Arc::clone(&keep), reader, shard, onto).await?;
    let unfinished = Unfinished { extent: Arc::clone(&new), keep, is_idle: true };
    let mut rebuild = Rebuild { reader, shard, holes, unfinished, rows: 0, left: 0 };
    rebuild.run(&mut pace).await?;
    let Rebuild { mut unfinished, rows, left, .. } = rebuild;
    unfinished.is_idle = false;
    if let Some(old) = reader.extent(shard).filter(|old| old.device().number() != onto.number()) {
        remove_old(old).await;
    }
    Ok(Rebuilt { extent: new, rows, holes: left })
}

/// Lives as long as something may still be written.
type Keep = Arc<dyn Send + Sync>;

async fn create(
    keep: Keep,
    reader: &GroupReader,
    shard: u8,
    onto: &Device,
) -> Result<Arc<Extent>, RebuildError> {
    let group = reader.group();
    let volume = onto.number();
    let wrong = RebuildError::Shard { group, shard };
    let mut extents = reader.extents();
    let first = extents.next().filter(|_| shard < reader.shape().shards()).ok_or(wrong)?;
    let on_volume = |extent: &&Arc<Extent>| extent.device().number() == volume;
    if reader.extents().filter(on_volume).any(|extent| extent.header().shard != shard) {
        return Err(RebuildError::Taken { group, volume });
    }
    let newest = reader.extents().map(|extent| extent.header().generation).max();
    let generation = newest.unwrap_or_default().saturating_add(1);
    let header = ExtentHeader { shard, generation, ..*first.header() };
    let all: Vec<Arc<Extent>> = reader.extents().cloned().collect();
    let (on, path) = (onto.clone(), || files::folder(onto));
    let made = onto.run(ANSWER_MAX, "make a file in", path, move || {
        let _keep = keep;
        let room = all.iter().filter_map(|extent| extent.size().ok()).max().unwrap_or_default();
        Extent::create(&on, header, room, true)
    });
    let made = made.await.unwrap_or_else(|unfinished| Err(unfinished.into()));
    made.map(Arc::new).map_err(|source| RebuildError::Extent { volume, source })
}

async fn remove_old(old: &Arc<Extent>) {
    let (on, header) = (old.device().clone(), *old.header());
    let removed = old.device().run(
        ANSWER_MAX,
        "remove",
        || old.path(),
        move || {
            files::remove(&on, header.group, header.shard)?;
            files::sync_folder(&on)
        },
    );
    if let Ok(Err(error)) = removed.await {
        tracing::warn!(%error, group = %header.group, "an extent that was replaced is left");
    }
}

/// A new extent, which is removed if it is dropped while nothing is being written to it. Else it is
/// removed when its volume is attached again, or when the shard is made anew once more.
struct Unfinished {
    extent: Arc<Extent>,
    keep: Keep,
    is_idle: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !self.is_idle {
            return;
        }
        let (extent, keep) = (Arc::clone(&self.extent), Arc::clone(&self.keep));
        runtime.spawn(async move {
            let on = Arc::clone(&extent);
            let remove = move || {
                let _keep = keep;
                if let Err(error) = on.abandon() {
                    tracing::warn!(%error, "an extent that was not finished is left");
                }
            };
            let (device, path) = (extent.device(), || extent.path());
            // One that hangs is told of by its fence.
            let _ = device.run(ANSWER_MAX, "remove", path, remove).await;
        });
    }
}

struct Rebuild<'a> {
    reader: &'a GroupReader,
    shard: u8,
    holes: Holes,
    unfinished: Unfinished,
    rows: u64,
    left: u64,
}

impl Rebuild<'_> {
    async fn run<P: Future<Output = ()>>(
        &mut self,
        pace: &mut impl FnMut() -> P,
    ) -> Result<(), RebuildError> {
        let mut ahead = Ahead::new(self.reader, self.shard, self.holes);
        while let Some(made) = ahead.next().await? {
            self.write(made).await?;
            self.rows += 1;
            pace().await;
        }
        let end = ahead.end().await?;
        self.on_disk(move |new| {
            new.truncate(end)?;
            new.finish()
        })
        .await
    }

    async fn write(&mut self, made: Made) -> Result<(), RebuildError> {
        let Made { row, blocks } = made;
        self.left += blocks.iter().filter(|block| block.is_none()).count() as u64;
        let payload = self.reader.shape().payload(row.place.length);
        self.on_disk(move |new| {
            let block = |block: u32| blocks.get(block as usize)?.as_deref();
            let sealed = new.sealed_cell(row.number, row.place, payload, block);
            new.write(sealed.as_ref(), row.place.at)
        })
        .await
    }

    async fn on_disk(
        &mut self,
        work: impl FnOnce(&Extent) -> Result<(), ExtentError> + Send + 'static,
    ) -> Result<(), RebuildError> {
        let (new, keep) = (Arc::clone(&self.unfinished.extent), Arc::clone(&self.unfinished.keep));
        let (extent, device) = (Arc::clone(&new), new.device().clone());
        let volume = device.number();
        self.unfinished.is_idle = false;
        let done = device.run(
            LONG_MAX,
            "write",
            || extent.path(),
            move || {
                let _keep = keep;
                work(&new)
            },
        );
        let done = done.await.unwrap_or_else(|unfinished| Err(unfinished.into()));
        self.unfinished.is_idle = true;
        done.map_err(|source| RebuildError::Extent { volume, source })
    }
}
