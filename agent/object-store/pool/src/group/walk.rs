//! Walks the rows of a group by the headers of their cells, without the index.

use std::sync::Arc;

use super::error::ReadError;
use super::extent::Extent;
use super::geometry::{EXTENT_HEADER, RowPlace, sealed_length};
use super::header::CellHeader;
use super::reader::GroupReader;

/// A row that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundRow {
    /// Its number in the group.
    pub number: u32,
    /// Where it stands.
    pub place: RowPlace,
}

/// The rows of some extents of one group, in order. Where no header is whole, as behind the last row,
/// in a torn one or where the disk rotted, the walk goes on at the next whole one.
#[derive(Debug)]
pub struct Walk {
    extents: Vec<Arc<Extent>>,
    at: u64,
    number: u32,
}

impl Walk {
    /// A walk by the headers of these extents.
    #[must_use]
    pub fn new(extents: Vec<Arc<Extent>>) -> Self {
        Self { extents, at: EXTENT_HEADER, number: 0 }
    }

    /// A walk of a whole group.
    #[must_use]
    pub fn of(reader: &GroupReader) -> Self {
        Self::new(reader.extents().cloned().collect())
    }

    /// The offset behind the last row that was found.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.at
    }

    /// The next row; none at the end. Waits for the disk elsewhere.
    ///
    /// # Errors
    /// The process is ending.
    pub async fn next(&mut self) -> Result<Option<FoundRow>, ReadError> {
        let Some(shape) = self.extents.first().map(|extent| extent.header().shape) else {
            return Ok(None);
        };
        let Some((at, header)) = self.find().await else { return Ok(None) };
        let place = RowPlace { at, length: header.length };
        self.at = at + sealed_length(shape.payload(header.length));
        self.number = header.row.saturating_add(1);
        Ok(Some(FoundRow { number: header.row, place }))
    }

    async fn find(&self) -> Option<(u64, CellHeader)> {
        for extent in &self.extents {
            // A disk that hangs has no headers.
            if let Ok(Some(header)) = extent.cell_header(self.at).await {
                if header.row >= self.number {
                    return Some((self.at, header));
                }
                break;
            }
        }
        let mut first: Option<(u64, CellHeader)> = None;
        for extent in &self.extents {
            let mut from = self.at;
            while let Ok(Some((at, header))) = extent.next_cell_header(from).await {
                if header.row >= self.number {
                    first = first.filter(|(best, _)| *best <= at).or(Some((at, header)));
                    break;
                }
                from = at + 1;
            }
        }
        first
    }
}
