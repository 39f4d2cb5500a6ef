//! The headers of extents and cells: `docs/design/on-disk-format.md`, "Groups".

use super::codec::Codec;
use super::geometry::{CELL_HEADER, EXTENT_HEADER, Shape};
use super::run::GroupId;
use crate::superblock::crc32c;

/// The newest format of extents that this release knows, and the one it writes.
pub const FORMAT: u32 = 1;

const EXTENT_MAGIC: [u8; 8] = *b"ICNEXT\0\0";
const CELL_MAGIC: [u8; 4] = *b"CELL";

/// Bytes of an extent's header that are not zero.
const USED: usize = 48;

/// Where the header stands once more: without the incarnation nothing in the extent opens.
const COPY: usize = 2048;

/// What a group holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Records that were moved out of the journal.
    Packed,
    /// Bytes of large objects.
    Bulk,
}

impl Kind {
    fn id(self) -> u8 {
        match self {
            Self::Packed => 1,
            Self::Bulk => 2,
        }
    }

    fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Packed),
            2 => Some(Self::Bulk),
            _ => None,
        }
    }
}

/// What an extent says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtentHeader {
    /// The group.
    pub group: GroupId,
    /// What it holds.
    pub kind: Kind,
    /// How its rows are laid out.
    pub shape: Shape,
    /// Which of the k + m extents this is; data cells come first.
    pub shard: u8,
    /// The file's incarnation on its volume.
    pub incarnation: u64,
    /// Of two extents that claim to be one shard the greater counts.
    pub generation: u32,
}

/// What a cell says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellHeader {
    /// The group.
    pub group: GroupId,
    /// What it holds.
    pub kind: Kind,
    /// Number of the row in the group, from 0.
    pub row: u32,
    /// Which of the row's cells this is.
    pub shard: u8,
    /// Bytes of content of the row.
    pub length: u32,
}

/// Why bytes are not the header of an extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// They are not one, or a damaged one.
    #[error("it has no whole header")]
    Damaged,
    /// It was written by a later release.
    #[error("it has format {found}, this release knows formats up to {FORMAT}")]
    Newer {
        /// Its format.
        found: u32,
    },
}

impl ExtentHeader {
    /// The bytes at the start of the extent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(USED);
        bytes.extend_from_slice(&EXTENT_MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        let Shape { k, m, cell, codec } = self.shape;
        bytes.extend_from_slice(&[self.kind.id(), k, m, self.shard, codec.id(), 0, 0, 0]);
        bytes.extend_from_slice(&cell.to_le_bytes());
        bytes.extend_from_slice(&self.group.0.to_le_bytes());
        bytes.extend_from_slice(&self.incarnation.to_le_bytes());
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&crc32c(&bytes).to_le_bytes());
        let once = bytes.clone();
        bytes.resize(COPY, 0);
        bytes.extend_from_slice(&once);
        bytes.resize(usize::try_from(EXTENT_HEADER).unwrap_or_default(), 0);
        bytes
    }

    /// Reads what [`ExtentHeader::encode`] made, from either of the two places.
    ///
    /// # Errors
    /// Neither holds a header, or one of a later format.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        match (Self::decode_at(bytes, 0), Self::decode_at(bytes, COPY)) {
            (Err(HeaderError::Damaged), copy) => copy,
            (first, _) => first,
        }
    }

    fn decode_at(bytes: &[u8], at: usize) -> Result<Self, HeaderError> {
        let bytes = bytes.get(at..at + USED).ok_or(HeaderError::Damaged)?;
        let mut fields = Fields(checked(bytes)?);
        if fields.take::<8>()? != EXTENT_MAGIC {
            return Err(HeaderError::Damaged);
        }
        let found = fields.u32()?;
        if found > FORMAT {
            return Err(HeaderError::Newer { found });
        }
        let [kind, k, m, shard, codec, _, _, _] = fields.take::<8>()?;
        let cell = fields.u32()?;
        let group = GroupId(fields.u64()?);
        let (incarnation, generation) = (fields.u64()?, fields.u32()?);
        let kind = Kind::from_id(kind).ok_or(HeaderError::Damaged)?;
        let codec = Codec::from_id(codec, k, m).ok_or(HeaderError::Damaged)?;
        let shape = Shape { k, m, cell, codec };
        if !shape.is_sound() || shard >= shape.shards() {
            return Err(HeaderError::Damaged);
        }
        Ok(Self { group, kind, shape, shard, incarnation, generation })
    }
}

impl CellHeader {
    /// The bytes before the cell's blocks.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(CELL_HEADER as usize);
        bytes.extend_from_slice(&CELL_MAGIC);
        bytes.extend_from_slice(&self.group.0.to_le_bytes());
        bytes.extend_from_slice(&self.row.to_le_bytes());
        bytes.extend_from_slice(&[self.shard, self.kind.id(), 0, 0]);
        bytes.extend_from_slice(&self.length.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// Reads what [`CellHeader::encode`] made; none if these bytes are not a whole header.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..CELL_HEADER as usize)?;
        if !bytes.starts_with(&CELL_MAGIC) {
            return None;
        }
        let mut fields = Fields(checked(bytes).ok()?);
        fields.take::<4>().ok()?;
        let group = GroupId(fields.u64().ok()?);
        let row = fields.u32().ok()?;
        let [shard, kind, _, _] = fields.take::<4>().ok()?;
        let length = fields.u32().ok()?;
        Some(Self { group, kind: Kind::from_id(kind)?, row, shard, length })
    }

    /// As [`CellHeader::decode`], of a cell that belongs into this extent.
    #[must_use]
    pub fn decode_for(bytes: &[u8], extent: &ExtentHeader) -> Option<Self> {
        let lengths = 1..=extent.shape.full_row();
        Self::decode(bytes).filter(|found| {
            found.group == extent.group
                && found.shard == extent.shard
                && found.kind == extent.kind
                && lengths.contains(&found.length)
        })
    }
}

/// What stands before the checksum at the end, if that is right.
fn checked(bytes: &[u8]) -> Result<&[u8], HeaderError> {
    let (bytes, sum) = bytes.split_last_chunk::<4>().ok_or(HeaderError::Damaged)?;
    if crc32c(bytes) == u32::from_le_bytes(*sum) { Ok(bytes) } else { Err(HeaderError::Damaged) }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], HeaderError> {
        let (first, rest) = self.0.split_first_chunk().ok_or(HeaderError::Damaged)?;
        self.0 = rest;
        Ok(*first)
    }

    fn u32(&mut self) -> Result<u32, HeaderError> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, HeaderError> {
        self.take().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::geometry::BLOCK;
    use super::*;
    use proptest::prelude::*;

    fn extent() -> impl Strategy<Value = ExtentHeader> {
        let numbers = (any::<u64>(), any::<u64>(), any::<u32>());
        (1_u8..20, 0_u8..5, 1_u32..16, any::<u8>(), any::<bool>(), numbers).prop_map(
            |(k, m, blocks, shard, packed, (group, incarnation, generation))| ExtentHeader {
                group: GroupId(group),
                kind: if packed { Kind::Packed } else { Kind::Bulk },
                shape: Shape::of(k, if k > 1 { m.max(1) } else { m }, blocks * BLOCK),
                shard: shard % (k + m),
                incarnation,
                generation,
            },
        )
    }

    fn cell(row: u32, shard: u8, length: u32) -> CellHeader {
        CellHeader { group: GroupId(7), kind: Kind::Bulk, row, shard, length }
    }

    #[test]
    fn a_later_format_is_told_apart_from_damage() {
        let shape = Shape::of(2, 1, BLOCK);
        let (group, kind) = (GroupId(1), Kind::Bulk);
        let header = ExtentHeader { group, kind, shape, shard: 0, incarnation: 3, generation: 0 };
        let mut bytes = header.encode();
        bytes[8] = 2;
        // Damaged at the first place, whole at the second.
        assert_eq!(ExtentHeader::decode(&bytes), Ok(header));
        let sum = crc32c(&bytes[..44]);
        bytes[44..48].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(ExtentHeader::decode(&bytes), Err(HeaderError::Newer { found: 2 }));
    }

    proptest! {
        #[test]
        fn an_extent_header_is_read_as_it_was_written_though_one_place_rots(
            header in extent(), at in 0_usize..USED, second: bool, bit in 0_u8..8,
        ) {
            let mut bytes = header.encode();
            prop_assert_eq!(bytes.len() as u64, EXTENT_HEADER);
            prop_assert_eq!(ExtentHeader::decode(&bytes), Ok(header));
            bytes[at + if second { COPY } else { 0 }] ^= 1 << bit;
            prop_assert_eq!(ExtentHeader::decode(&bytes), Ok(header));
            bytes[at + if second { 0 } else { COPY }] ^= 1 << bit;
            prop_assert_eq!(ExtentHeader::decode(&bytes), Err(HeaderError::Damaged));
        }

        #[test]
        fn a_cell_header_is_read_as_it_was_written(row: u32, shard: u8, length: u32, bit in 0_usize..256) {
            let header = cell(row, shard, length);
            let mut bytes = header.encode();
            prop_assert_eq!(bytes.len(), CELL_HEADER as usize);
            prop_assert_eq!(CellHeader::decode(&bytes), Some(header));
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(CellHeader::decode(&bytes), None);
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..100), header in extent(),
        ) {
            let _ = (ExtentHeader::decode(&bytes), CellHeader::decode(&bytes));
            bytes.resize(USED, 0);
            bytes[..8].copy_from_slice(&EXTENT_MAGIC);
            bytes[8..12].copy_from_slice(&1_u32.to_le_bytes());
            let sum = crc32c(&bytes[..44]);
            bytes[44..48].copy_from_slice(&sum.to_le_bytes());
            if let Ok(found) = ExtentHeader::decode(&bytes) {
                prop_assert!(found.shape.is_sound());
            }
            prop_assert_eq!(CellHeader::decode_for(&cell(1, 1, 0).encode(), &header), None);
        }
    }
}
