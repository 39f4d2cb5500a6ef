//! How reports lie in a store.
//!
//! | key | value |
//! |---|---|
//! | `r`, sequence (u64, big-endian), part (u8), number of the piece (u16, big-endian) | a piece of a part |
//! | `c`, name of a peer | the last report that it has (u64, big-endian) |
//! | `l` | the last sequence that was given away (u64, big-endian) |
//! | `n` | node id and daemon address: whose spool it is |
//!
//! Part 0 is the report without its detail, part 1 the detail, both compressed by zstd. The first piece
//! begins with a version (u8), the time of the report (u64), the length of the part (u32) and its CRC-32
//! (u32), all big-endian. A part whose pieces are not all there is none.

use std::io::Read;

use agent_kv::{Change, VALUE_MAX};
use serde_json::value::RawValue;

use crate::protocol::report::{DETAIL_MAX, FACTS_MAX, SentReport};

/// The version of the form.
const VERSION: u8 = 1;

/// Bytes before the first piece's own.
const HEAD: usize = 17;

/// The same as a length of what was found.
pub(crate) const HEAD_BYTES: u64 = HEAD as u64;

/// The longest part in bytes before it is compressed: facts with what is signed and its signature.
const PART_MAX: usize = const {
    let facts = FACTS_MAX + (4 << 10);
    if facts > DETAIL_MAX { facts } else { DETAIL_MAX }
};

/// zstd's own default; detail of 100 KiB takes a millisecond.
const LEVEL: i32 = 3;

/// The key of the last sequence.
pub(crate) const LAST: &[u8] = b"l";

/// The key of whose spool it is.
pub(crate) const OWNER: &[u8] = b"n";

/// Which part of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The report without its detail.
    Facts,
    /// The detail.
    Detail,
}

/// What a key names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// A piece of a part of a report.
    Piece { sequence: u64, part: Part, number: u16 },
    /// What a peer has.
    Cursor(String),
    /// Something else.
    Other,
}

/// A report, compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packed {
    pub(crate) sequence: u64,
    pub(crate) taken_at: u64,
    pub(crate) facts: Vec<u8>,
    pub(crate) detail: Option<Vec<u8>>,
}

impl Packed {
    /// Compresses a report. Fails as serde and zstd do, which they do not on a report that was built.
    pub(crate) fn of(report: &SentReport) -> std::io::Result<Self> {
        let facts = SentReport { detail: None, ..report.clone() };
        let facts = zstd::encode_all(serde_json::to_vec(&facts)?.as_slice(), LEVEL)?;
        let pack = |detail: &RawValue| zstd::encode_all(detail.get().as_bytes(), LEVEL);
        let detail = report.detail.as_deref().map(pack).transpose()?;
        let message = &report.signed.message;
        Ok(Self { sequence: message.sequence, taken_at: message.takenAt, facts, detail })
    }

    /// The report, if the facts can be read; without its detail, if only that cannot be.
    pub(crate) fn report(&self) -> Option<SentReport> {
        let mut report: SentReport = serde_json::from_slice(&unpack(&self.facts)?).ok()?;
        let text = |bytes: &Vec<u8>| String::from_utf8(unpack(bytes)?).ok();
        report.detail =
            self.detail.as_ref().and_then(text).and_then(|text| RawValue::from_string(text).ok());
        Some(report)
    }

    /// What puts it into a store.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let facts = self.pieces(Part::Facts, &self.facts);
        let detail = self.detail.as_deref().map(|detail| self.pieces(Part::Detail, detail));
        facts.into_iter().chain(detail.into_iter().flatten()).collect()
    }

    fn pieces(&self, part: Part, bytes: &[u8]) -> Vec<Change> {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let mut whole = vec![VERSION];
        whole.extend(self.taken_at.to_be_bytes());
        whole.extend(length.to_be_bytes());
        whole.extend(crc32fast::hash(bytes).to_be_bytes());
        whole.extend(bytes);
        let numbered = (0_u16..).zip(whole.chunks(VALUE_MAX));
        numbered
            .map(|(number, piece)| (piece_key(self.sequence, part, number), Some(piece.to_vec())))
            .collect()
    }
}

/// The time and the bytes of a part from its pieces in order, if they are all there and whole.
pub(crate) fn join<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Option<(u64, Vec<u8>)> {
    let whole = pieces.into_iter().fold(Vec::new(), |mut whole, piece| {
        whole.extend_from_slice(piece);
        whole
    });
    let (head, bytes) = whole.split_at_checked(HEAD)?;
    let (version, head) = head.split_first()?;
    let (taken_at, head) = head.split_first_chunk::<8>()?;
    let (length, crc) = head.split_first_chunk::<4>()?;
    let good = *version == VERSION
        && u32::try_from(bytes.len()) == Ok(u32::from_be_bytes(*length))
        && crc == crc32fast::hash(bytes).to_be_bytes();
    good.then(|| (u64::from_be_bytes(*taken_at), bytes.to_vec()))
}

/// The time and the length of a part, from its first piece.
pub(crate) fn head(first: &[u8]) -> Option<(u64, u64)> {
    let (version, head) = first.split_first()?;
    let (taken_at, head) = head.split_first_chunk::<8>()?;
    let (length, _) = head.split_first_chunk::<4>()?;
    let known = *version == VERSION;
    known.then(|| (u64::from_be_bytes(*taken_at), u64::from(u32::from_be_bytes(*length))))
}

/// The key of a piece.
pub(crate) fn piece_key(sequence: u64, part: Part, number: u16) -> Vec<u8> {
    let part = match part {
        Part::Facts => 0_u8,
        Part::Detail => 1,
    };
    [&b"r"[..], &sequence.to_be_bytes(), &[part], &number.to_be_bytes()].concat()
}

/// From which key on, and up to which, a report's pieces lie.
pub(crate) fn bounds(sequence: u64) -> (Vec<u8>, Vec<u8>) {
    let first = piece_key(sequence, Part::Facts, 0);
    (first, [&b"r"[..], &sequence.to_be_bytes(), &[0xff]].concat())
}

/// The key of what a peer has.
pub(crate) fn cursor_key(peer: &str) -> Vec<u8> {
    [b"c", peer.as_bytes()].concat()
}

/// What a key names.
pub(crate) fn key(bytes: &[u8]) -> Key {
    match bytes.split_first() {
        Some((b'r', rest)) => piece(rest).unwrap_or(Key::Other),
        Some((b'c', peer)) => String::from_utf8(peer.to_vec()).map_or(Key::Other, Key::Cursor),
        _ => Key::Other,
    }
}

/// A number as it lies in a value.
pub(crate) fn number(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.try_into().ok()?))
}

fn piece(rest: &[u8]) -> Option<Key> {
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let (part, rest) = rest.split_first()?;
    let number = u16::from_be_bytes(rest.try_into().ok()?);
    let part = match part {
        0 => Part::Facts,
        1 => Part::Detail,
        _ => return None,
    };
    Some(Key::Piece { sequence: u64::from_be_bytes(*sequence), part, number })
}

/// What was compressed, if it is not longer than it may be.
fn unpack(bytes: &[u8]) -> Option<Vec<u8>> {
    let limit = u64::try_from(PART_MAX).unwrap_or(u64::MAX);
    let mut found = Vec::new();
    zstd::Decoder::new(bytes).ok()?.take(limit.saturating_add(1)).read_to_end(&mut found).ok()?;
    (found.len() <= PART_MAX).then_some(found)
}
