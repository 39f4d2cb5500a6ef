//! Frames: what a lane writes at once.

use std::ops::Range;

use bytes::Bytes;

use super::header::{BLOCK, differing_bits, is_whole, mend, take};
use super::types::Lsn;
use crate::seal::{Sealer, Spot, TAG};
use crate::superblock::crc32c;

/// Bytes of a frame's header.
pub(super) const FRAME: usize = 32;

const MAGIC: [u8; 4] = *b"FRM1";

/// Bytes of an LSN before a record's content.
pub(super) const LSN: usize = 8;

/// Bytes of a length before the sealed bytes.
const PREFIX: usize = 4;

/// Bytes that a record of so much content has when it is sealed.
pub(super) const fn sealed(content: usize) -> usize {
    LSN + content + TAG
}

/// Bytes that it takes in a frame's body.
pub(super) const fn in_body(content: usize) -> usize {
    PREFIX + sealed(content)
}

/// Bytes of a frame with such a body, as it is written.
pub(super) const fn framed(body: usize) -> usize {
    (FRAME + body).next_multiple_of(BLOCK)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// Where it stands.
    pub(super) spot: Spot,
    /// Bytes of the body.
    pub(super) body: u32,
    pub(super) records: u32,
    pub(super) body_sum: u32,
}

/// What bytes at a multiple of [`BLOCK`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameRead {
    Whole(FrameHeader),
    /// One bit was wrong.
    Mended(FrameHeader),
    /// Not the header of a frame of this place.
    Nothing,
}

impl FrameHeader {
    pub(super) fn encode(&self) -> [u8; FRAME] {
        let mut bytes = Vec::with_capacity(FRAME);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&place(self.spot));
        bytes.extend_from_slice(&self.body.to_le_bytes());
        bytes.extend_from_slice(&self.records.to_le_bytes());
        bytes.extend_from_slice(&self.body_sum.to_le_bytes());
        bytes.extend_from_slice(&crc32c(&bytes).to_le_bytes());
        let mut header = [0; FRAME];
        header.copy_from_slice(&bytes);
        header
    }

    /// The header of a frame at `spot`, and of no other.
    pub(super) fn decode(bytes: &[u8], spot: Spot) -> FrameRead {
        let Some(header) = bytes.first_chunk::<FRAME>() else { return FrameRead::Nothing };
        let mut mended = *header;
        // Magic, incarnation and offset are known: bytes that miss them are not looked at further.
        let expected = [&MAGIC[..], &place(spot)].concat();
        match differing_bits(header, &expected) {
            0 if is_whole(header) => {
                Self::parse(header, spot).map_or(FrameRead::Nothing, FrameRead::Whole)
            }
            0 | 1 if mend(&mut mended) && mended.starts_with(&expected) => {
                Self::parse(&mended, spot).map_or(FrameRead::Nothing, FrameRead::Mended)
            }
            _ => FrameRead::Nothing,
        }
    }

    fn parse(header: &[u8; FRAME], spot: Spot) -> Option<Self> {
        let mut rest = header.get(MAGIC.len() + 12..)?;
        let body = u32::from_le_bytes(take(&mut rest)?);
        let records = u32::from_le_bytes(take(&mut rest)?);
        let body_sum = u32::from_le_bytes(take(&mut rest)?);
        Some(Self { spot, body, records, body_sum })
    }

    /// Offset of the first byte behind the frame.
    pub(super) fn end(&self) -> u64 {
        self.spot.offset + framed(self.body as usize) as u64
    }
}

/// Incarnation and offset as they stand in a frame.
fn place(spot: Spot) -> [u8; 12] {
    let mut bytes = [0; 12];
    let (incarnation, offset) = bytes.split_at_mut(8);
    incarnation.copy_from_slice(&spot.incarnation.to_le_bytes());
    // Segments are at most 4 GiB, so that it fits.
    let block = u32::try_from(spot.offset / BLOCK as u64).unwrap_or(u32::MAX);
    offset.copy_from_slice(&block.to_le_bytes());
    bytes
}

/// Makes the frame of some records at `spot` in `frame`, sealed and filled up to whole blocks, and
/// gives where in the segment the sealed bytes of each stand: offset and length.
pub(super) fn build(
    sealer: &Sealer,
    spot: Spot,
    records: &[(Lsn, Bytes)],
    frame: &mut Vec<u8>,
) -> Vec<(u32, u32)> {
    let body: usize = records.iter().map(|(_, content)| in_body(content.len())).sum();
    frame.clear();
    frame.reserve(framed(body));
    frame.resize(FRAME, 0);
    let mut pieces = Vec::with_capacity(records.len());
    for (lsn, content) in records {
        let length = number(sealed(content.len()));
        frame.extend_from_slice(&length.to_le_bytes());
        let start = frame.len();
        let offset = spot.offset + start as u64;
        frame.extend_from_slice(&lsn.0.to_le_bytes());
        frame.extend_from_slice(content);
        let plain = frame.get_mut(start..).unwrap_or_default();
        let tag = sealer.seal(Spot { offset, ..spot }, plain);
        frame.extend_from_slice(&tag);
        pieces.push((u32::try_from(offset).unwrap_or(u32::MAX), length));
    }
    let (header, rest) = frame.split_at_mut(FRAME);
    let (body, records, body_sum) = (number(rest.len()), number(pieces.len()), crc32c(rest));
    header.copy_from_slice(&FrameHeader { spot, body, records, body_sum }.encode());
    frame.resize(frame.len().next_multiple_of(BLOCK), 0);
    pieces
}

/// A length or count within a frame, which [`super::types::JournalConfig`] keeps far below 4 GiB.
fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Where in a body the sealed bytes of its records are, as far as the lengths make sense.
pub(super) fn pieces(body: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let length = u32::from_le_bytes(*body.get(at..)?.first_chunk()?) as usize;
        let start = at + PREFIX;
        let end = start.checked_add(length)?;
        if length < sealed(0) || end > body.len() {
            return None;
        }
        at = end;
        Some(start..end)
    })
}

#[cfg(test)]
#[path = "tests/frames.rs"]
mod tests;
