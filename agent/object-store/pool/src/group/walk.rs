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

/// The rows of one extent. Blocks.
pub fn scan(extent: &Arc<Extent>) -> impl Iterator<Item = FoundRow> + use<> {
    let mut walk = Walk::new(vec![Arc::clone(extent)]);
    std::iter::from_fn(move || walk.step())
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
        let Some(first) = self.extents.first() else { return Ok(None) };
        let io = first.device().io();
        let Self { extents, at, number } = self;
        let mut walk = Self { extents: std::mem::take(extents), at: *at, number: *number };
        let (walk, found) = io
            .run(move || {
                let found = walk.step();
                (walk, found)
            })
            .await?;
        *self = walk;
        Ok(found)
    }

    fn step(&mut self) -> Option<FoundRow> {
        let here = self.extents.iter().find_map(|extent| extent.cell_at(self.at));
        let (at, header) = match here.filter(|header| header.row >= self.number) {
            Some(header) => (self.at, header),
            None => self.search()?,
        };
        let shape = self.extents.first()?.header().shape;
        let place = RowPlace { at, length: header.length };
        self.at = at + sealed_length(shape.payload(header.length));
        self.number = header.row.saturating_add(1);
        Some(FoundRow { number: header.row, place })
    }

    fn search(&self) -> Option<(u64, CellHeader)> {
        let all = self.extents.iter().filter_map(|extent| {
            let mut from = self.at;
            loop {
                let (at, header) = extent.find_cell(from)?;
                if header.row >= self.number {
                    return Some((at, header));
                }
                from = at + 1;
            }
        });
        all.min_by_key(|(at, _)| *at)
    }
}
