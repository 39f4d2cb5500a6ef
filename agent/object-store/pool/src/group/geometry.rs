//! Where the bytes of a row stand: `docs/design/on-disk-format.md`, "Groups". Pure.

use super::codec::{Codec, STRIPE};
use crate::seal::TAG;

/// Plaintext of a block in bytes, but for the last of a cell.
pub const BLOCK: u32 = 65_536;

/// Length of an extent's header in bytes; the first row stands behind it.
pub const EXTENT_HEADER: u64 = 4096;

/// Length of a cell's header in bytes.
pub const CELL_HEADER: u32 = 32;

/// Cells start at multiples of so many bytes, and take as many: what the kernel wants of writes past its
/// cache (`O_DIRECT`), on disks with blocks of up to 4 KiB.
pub const CELL_STEP: u32 = 4096;

/// Largest extent in bytes: nonces reach 64 GiB, and a scan of one should end.
pub const MAX_EXTENT: u64 = 16 << 30;

/// A tag's length.
#[expect(clippy::cast_possible_truncation, reason = "16")]
const TAG_BYTES: u32 = TAG as u32;

/// How the rows of a group are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Data cells of a row.
    pub k: u8,
    /// Parity cells of a row.
    pub m: u8,
    /// Payload of a cell of a full row in bytes, a multiple of [`BLOCK`].
    pub cell: u32,
    /// How parity is computed.
    pub codec: Codec,
}

/// Where a row stands, in every extent of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowPlace {
    /// Offset of its cells in bytes.
    pub at: u64,
    /// Bytes of content.
    pub length: u32,
}

/// Blocks of one cell, the last one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The cell.
    pub shard: u8,
    /// The first block.
    pub first: u32,
    /// The last block.
    pub last: u32,
}

/// Bytes of one block that are part of what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// The cell.
    pub shard: u8,
    /// The block.
    pub block: u32,
    /// First byte in the block.
    pub from: u32,
    /// The byte behind the last one.
    pub to: u32,
}

impl Shape {
    /// The shape of new groups with k data and m parity cells of `cell` bytes.
    #[must_use]
    pub fn of(k: u8, m: u8, cell: u32) -> Self {
        Self { k, m, cell, codec: Codec::of(k, m) }
    }

    /// Whether a group can be laid out so: at least one data cell, cells of whole blocks, and a full
    /// row of less than 2 GiB.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let row = u64::from(self.k) * u64::from(self.cell);
        let blocks = self.cell > 0 && self.cell.is_multiple_of(BLOCK);
        let known = Codec::from_id(self.codec.id(), self.k, self.m) == Some(self.codec);
        blocks && known && self.k.checked_add(self.m).is_some() && row < 1 << 31
    }

    /// Volumes that a group of this shape stands on.
    #[must_use]
    pub fn shards(&self) -> u8 {
        self.k.saturating_add(self.m)
    }

    /// Content of a full row in bytes.
    #[must_use]
    pub fn full_row(&self) -> u32 {
        u32::from(self.k).saturating_mul(self.cell)
    }

    /// Payload of each cell of a row with so much content, in bytes.
    #[must_use]
    pub fn payload(&self, length: u32) -> u32 {
        length.div_ceil(u32::from(self.k.max(1))).next_multiple_of(STRIPE)
    }

    /// Largest row that `room` bytes of each extent hold; 0 if none.
    #[must_use]
    pub fn row_for(&self, room: u64) -> u32 {
        let full = sealed_length(self.cell);
        if room >= full {
            return self.full_row();
        }
        let room = (room - room % u64::from(CELL_STEP)).saturating_sub(u64::from(CELL_HEADER));
        let (whole, rest) = (room / sealed_block(), room % sealed_block());
        let rest = rest.saturating_sub(u64::from(TAG_BYTES));
        let rest = rest - rest % u64::from(STRIPE);
        let payload = whole.saturating_mul(u64::from(BLOCK)).saturating_add(rest);
        u32::try_from(payload * u64::from(self.k)).unwrap_or(0).min(self.full_row())
    }

    /// Which bytes of which blocks hold bytes `from..to` of a row's content, in order.
    pub fn slices(&self, length: u32, from: u32, to: u32) -> impl Iterator<Item = Slice> + use<> {
        let payload = self.payload(length);
        let to = to.min(length);
        let mut at = from;
        std::iter::from_fn(move || {
            if at >= to {
                return None;
            }
            let cell = at.checked_div(payload)?;
            let shard = u8::try_from(cell).ok()?;
            let within = at - cell * payload;
            let (block, from) = (within / BLOCK, within % BLOCK);
            let wanted = from.saturating_add(to - at);
            let end = block_length(payload, block).min(wanted);
            at = at.saturating_add(end - from);
            Some(Slice { shard, block, from, to: end })
        })
    }

    /// The blocks that these bytes need: one span for each cell.
    #[must_use]
    pub fn spans(&self, length: u32, from: u32, to: u32) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        for slice in self.slices(length, from, to) {
            match spans.last_mut() {
                Some(span) if span.shard == slice.shard => span.last = slice.block,
                _ => {
                    let Slice { shard, block, .. } = slice;
                    spans.push(Span { shard, first: block, last: block });
                }
            }
        }
        spans
    }
}

fn sealed_block() -> u64 {
    u64::from(BLOCK + TAG_BYTES)
}

/// Blocks of a cell with so much payload.
#[must_use]
pub fn blocks(payload: u32) -> u32 {
    payload.div_ceil(BLOCK)
}

/// Plaintext of a block of a cell with so much payload, in bytes; 0 behind the last one.
#[must_use]
pub fn block_length(payload: u32, block: u32) -> u32 {
    payload.saturating_sub(block.saturating_mul(BLOCK)).min(BLOCK)
}

/// Offset of a block of the cell at `at`.
#[must_use]
pub fn block_at(at: u64, block: u32) -> u64 {
    at.saturating_add(u64::from(CELL_HEADER))
        .saturating_add(u64::from(block).saturating_mul(sealed_block()))
}

/// Bytes that a cell with so much payload takes in its extent; zeros fill it up.
#[must_use]
pub fn sealed_length(payload: u32) -> u64 {
    let tags = u64::from(blocks(payload)) * u64::from(TAG_BYTES);
    (u64::from(CELL_HEADER) + u64::from(payload) + tags).next_multiple_of(u64::from(CELL_STEP))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redundancy::redundancy;
    use proptest::prelude::*;

    fn shape() -> impl Strategy<Value = Shape> {
        prop_oneof![
            (1_usize..20).prop_map(|volumes| redundancy(volumes).unwrap().shape()),
            (1_u8..11, 0_u8..5, 1_u32..4).prop_map(|(k, m, blocks)| Shape::of(
                k,
                m,
                blocks * BLOCK
            )),
        ]
    }

    #[test]
    fn an_example_by_hand() {
        let shape = Shape::of(2, 1, 128 << 10);
        assert!(shape.is_sound());
        assert_eq!(shape.payload(200_000), 100_032);
        // 32 + 100,032 + 2 × 16, filled up.
        assert_eq!(sealed_length(100_032), 102_400);
        assert_eq!(block_at(4096, 1), 4096 + 32 + 65_552);
        let slices: Vec<Slice> = shape.slices(200_000, 65_535, 100_033).collect();
        let slice = |shard, block, from, to| Slice { shard, block, from, to };
        assert_eq!(
            slices,
            [slice(0, 0, 65_535, 65_536), slice(0, 1, 0, 34_496), slice(1, 0, 0, 1)]
        );
        assert_eq!(shape.payload(1), 64);
        assert_eq!(shape.row_for(4095), 0);
        // 4096 - 32 - 16 in cells of a multiple of 64.
        assert_eq!(shape.row_for(4096), 2 * 4032);
    }

    #[test]
    fn shapes_that_make_no_sense_are_told() {
        for (k, m, cell) in [(0, 1, BLOCK), (2, 1, 0), (2, 1, 1000), (250, 6, BLOCK)] {
            assert!(!Shape::of(k, m, cell).is_sound(), "{k}+{m} {cell}");
        }
        assert!(!Shape { codec: Codec::Mirror, ..Shape::of(2, 1, BLOCK) }.is_sound());
    }

    proptest! {
        #[test]
        fn the_slices_of_a_range_are_its_bytes(shape in shape(), seed: [u32; 3]) {
            let length = seed[0] % shape.full_row() + 1;
            let (a, b) = (seed[1] % (length + 1), seed[2] % (length + 1));
            let (from, to) = (a.min(b), a.max(b));
            let payload = shape.payload(length);
            let mut next = from;
            for slice in shape.slices(length, from, to) {
                prop_assert!(slice.shard < shape.k);
                let start = u32::from(slice.shard) * payload + slice.block * BLOCK + slice.from;
                prop_assert_eq!(start, next);
                prop_assert!(slice.from < slice.to);
                prop_assert!(slice.to <= block_length(payload, slice.block));
                next += slice.to - slice.from;
            }
            prop_assert_eq!(next, to);
            let spans = shape.spans(length, from, to);
            for slice in shape.slices(length, from, to) {
                let held = |span: &&Span| {
                    span.shard == slice.shard && (span.first..=span.last).contains(&slice.block)
                };
                prop_assert_eq!(spans.iter().filter(held).count(), 1);
            }
        }

        #[test]
        fn cells_hold_the_row_and_its_blocks_tile_them(shape in shape(), seed: u32, at in 0_u64..1 << 33) {
            let length = seed % shape.full_row() + 1;
            let payload = shape.payload(length);
            prop_assert!(payload <= shape.cell && payload.is_multiple_of(STRIPE));
            prop_assert!(u64::from(payload) * u64::from(shape.k) >= u64::from(length));
            let at = at / 16 * 16;
            let mut next = at + u64::from(CELL_HEADER);
            for block in 0..blocks(payload) {
                prop_assert_eq!(block_at(at, block), next);
                prop_assert!(next.is_multiple_of(16));
                next += u64::from(block_length(payload, block)) + TAG as u64;
            }
            let end = at + sealed_length(payload);
            prop_assert!(next <= end && end - next < u64::from(CELL_STEP));
            prop_assert!(sealed_length(payload).is_multiple_of(u64::from(CELL_STEP)));
            prop_assert_eq!(block_length(payload, blocks(payload)), 0);
        }

        #[test]
        fn the_largest_row_fits_and_no_larger_one(shape in shape(), room in 0_u64..(2 << 20)) {
            let row = shape.row_for(room);
            let taken = |row| sealed_length(shape.payload(row));
            prop_assert!(row == 0 || taken(row) <= room);
            prop_assert!(row == shape.full_row() || taken(row + 1) > room);
        }
    }
}
