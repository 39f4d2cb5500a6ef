//! The cells of one shard, made from the others, some rows ahead of the one that is written.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::error::ReadError;
use super::geometry::Span;
use super::reader::GroupReader;
use super::repair::Holes;
use super::row::RowBlocks;
use super::walk::{FoundRow, Walk};
use crate::io::Unfinished;

/// Rows that are read and made at once, or wait to be written: enough that the disks read while others
/// are decoded and written. Each takes the memory of a row.
const ROWS: usize = 3;

/// A cell that was made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) row: FoundRow,
    /// Its blocks; none where nothing gives one.
    pub(super) blocks: Vec<Option<Bytes>>,
}

type Row = JoinHandle<Result<Made, ReadError>>;

/// The cells of a shard, in the order of the rows.
#[derive(Debug)]
pub(super) struct Ahead {
    rows: mpsc::Receiver<Row>,
    walk: JoinHandle<Result<u64, ReadError>>,
}

impl Ahead {
    pub(super) fn new(reader: &GroupReader, shard: u8, holes: Holes) -> Self {
        // One waits to be sent, one is waited for.
        let (send, rows) = mpsc::channel(ROWS - 2);
        Self { rows, walk: tokio::spawn(walk(reader.clone(), shard, holes, send)) }
    }

    /// The next cell; none at the end.
    ///
    /// # Errors
    /// It cannot be made, or the process is ending.
    pub(super) async fn next(&mut self) -> Result<Option<Made>, ReadError> {
        match self.rows.recv().await {
            Some(row) => row.await.unwrap_or(Err(Unfinished.into())).map(Some),
            None => Ok(None),
        }
    }

    /// The offset behind the last row. Only when there is no next one.
    ///
    /// # Errors
    /// The process is ending, or the rows could not be found to their end.
    pub(super) async fn end(&mut self) -> Result<u64, ReadError> {
        (&mut self.walk).await.unwrap_or(Err(Unfinished.into()))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // Rows that are being made are made to their end: nobody waits for them.
        self.walk.abort();
    }
}

async fn walk(
    reader: GroupReader,
    shard: u8,
    holes: Holes,
    rows: mpsc::Sender<Row>,
) -> Result<u64, ReadError> {
    let mut walk = Walk::of(&reader);
    while let Some(row) = walk.next().await? {
        let reader = reader.clone();
        let made = tokio::spawn(async move { make(&reader, shard, holes, row).await });
        if rows.send(made).await.is_err() {
            break;
        }
    }
    Ok(walk.end())
}

/// Reads the shard's own cell as far as it is whole, and makes the rest.
async fn make(
    reader: &GroupReader,
    shard: u8,
    holes: Holes,
    row: FoundRow,
) -> Result<Made, ReadError> {
    let mut cells = RowBlocks::new(reader, row.place);
    let cell = cells.cell(shard);
    cells.fetch(&[cell]).await?;
    match cells.complete(&[cell]).await {
        Err(lost @ ReadError::Lost { .. }) => {
            allow_holes(reader, holes, &cells, lost)?;
            for block in cell.first..=cell.last {
                let one = Span { first: block, last: block, ..cell };
                match cells.complete(&[one]).await {
                    Err(ReadError::Lost { .. }) | Ok(()) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        other => other?,
    }
    let blocks = (cell.first..=cell.last).map(|block| cells.get(shard, block).cloned()).collect();
    Ok(Made { row, blocks })
}

fn allow_holes(
    reader: &GroupReader,
    holes: Holes,
    cells: &RowBlocks<'_>,
    lost: ReadError,
) -> Result<(), ReadError> {
    let all = usize::from(reader.shape().shards());
    let may_come_back = reader.extents().count() < all || cells.met_errors();
    if holes == Holes::Refuse && may_come_back { Err(lost) } else { Ok(()) }
}
