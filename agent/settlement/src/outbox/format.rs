//! The bytes of an outbox. `docs/design/settlement-engine.md` draws them.
//!
//! A frame is brought to stable storage, and after that a *mark* that names it. So a frame that is
//! broken and has no mark was never answered for, and is cut off; one that is broken and has a mark
//! was lost later, and nothing is signed on top of that.

use alloy::primitives::Address;
use crc_fast::{CrcAlgorithm, checksum};

use super::record::Record;

/// First bytes of the file.
const MAGIC: [u8; 8] = *b"ICNOUTBX";

/// Version of the format: header, frames and records.
const VERSION: u32 = 1;

/// Bytes of the header: magic, version, chain, account, nothing, checksum.
pub(super) const HEADER_BYTES: usize = 48;

/// First bytes of a mark.
const MARK_MAGIC: [u8; 8] = *b"ICNSYNCD";

/// Bytes of a mark: magic, where its frame begins, the frame's checksum, its own checksum.
pub(super) const MARK_BYTES: usize = 24;

/// Bytes before a frame's record: its length and its checksum.
const FRAME_HEAD: usize = 8;

/// The longest record in bytes: a transaction with the longest data, in hexadecimal, twice over.
pub(super) const RECORD_MAX: usize = 512 << 10;

/// Whose outbox it is: one file is of one key on one chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The chain (EIP-155).
    pub chain: u64,
    /// The account that signs.
    pub account: Address,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// It is none of ours, or its first bytes are lost.
    #[error("its first {HEADER_BYTES} bytes are no header of an outbox")]
    Header,
    /// A record that was on stable storage is lost.
    #[error("the record at byte {at} was on stable storage, and is not what was written")]
    Record {
        /// Where it begins, in bytes.
        at: usize,
    },
    /// The bytes of a record are as they were written, and no record.
    #[error("the record at byte {at} is not understood: {reason}")]
    Meaning {
        /// Where it begins, in bytes.
        at: usize,
        /// Why.
        reason: String,
    },
}

/// Why a file is not used, though nothing is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// It was written by another version.
    #[error("it is of version {0}; this program reads version {VERSION}")]
    Version(u32),
    /// It is of another key or chain.
    #[error("it is of account {} on chain {}", .0.account, .0.chain)]
    Owner(Owner),
}

/// What a file holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    /// Its records.
    pub records: Vec<Record>,
    /// How much of it counts, in bytes; what is behind was never answered for.
    pub keep: usize,
    /// A mark that is missing behind the last frame.
    pub lacks_mark: Option<[u8; MARK_BYTES]>,
}

/// Why nothing is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    Damaged(Damage),
    Foreign(Foreign),
}

fn crc(bytes: &[u8]) -> u32 {
    // CRC-32C has 32 bits; the crate answers for all widths.
    u32::try_from(checksum(CrcAlgorithm::Crc32Iscsi, bytes)).unwrap_or(u32::MAX)
}

/// The header of an owner's file.
pub(super) fn header(owner: &Owner) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(owner.chain.to_le_bytes());
    bytes.extend(owner.account);
    bytes.extend([0; 4]);
    bytes.extend(crc(&bytes).to_le_bytes());
    bytes
}

/// The frame of a record; none if it is too long or has no JSON form.
pub(super) fn frame(record: &Record) -> Option<Vec<u8>> {
    let payload = serde_json::to_vec(record).ok()?;
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= RECORD_MAX)?;
    let mut bytes = Vec::with_capacity(FRAME_HEAD + payload.len());
    bytes.extend(length.to_le_bytes());
    bytes.extend(sum_of(length, &payload).to_le_bytes());
    bytes.extend(payload);
    Some(bytes)
}

/// The mark of a frame that begins at `at`.
pub(super) fn mark(at: usize, frame: &[u8]) -> [u8; MARK_BYTES] {
    let mut bytes = [0; MARK_BYTES];
    let (magic, rest) = bytes.split_at_mut(8);
    magic.copy_from_slice(&MARK_MAGIC);
    let (place, rest) = rest.split_at_mut(8);
    place.copy_from_slice(&(at as u64).to_le_bytes());
    let (of, own) = rest.split_at_mut(4);
    of.copy_from_slice(frame.get(4..FRAME_HEAD).unwrap_or(&[0; 4]));
    let sum = crc(&[&MARK_MAGIC[..], &*place, &*of].concat());
    own.copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The checksum of a frame covers its length too.
fn sum_of(length: u32, payload: &[u8]) -> u32 {
    crc(&[&length.to_le_bytes()[..], payload].concat())
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    four.try_into().ok().map(u32::from_le_bytes)
}

fn owner_of(header: &[u8]) -> Option<Owner> {
    let chain = u64::from_le_bytes(header.get(12..20)?.try_into().ok()?);
    Some(Owner { chain, account: Address::try_from(header.get(20..40)?).ok()? })
}

fn check_header(bytes: &[u8], owner: &Owner) -> Result<(), Unreadable> {
    let damaged = Unreadable::Damaged(Damage::Header);
    let Some(header) = bytes.get(..HEADER_BYTES) else { return Err(damaged) };
    let summed = header.get(..HEADER_BYTES - 4).map(crc);
    if !header.starts_with(&MAGIC) || summed != word(header, HEADER_BYTES - 4) {
        return Err(damaged);
    }
    match (word(header, 8), owner_of(header)) {
        (Some(VERSION), Some(found)) if found == *owner => Ok(()),
        (Some(VERSION), Some(found)) => Err(Unreadable::Foreign(Foreign::Owner(found))),
        (Some(version), _) => Err(Unreadable::Foreign(Foreign::Version(version))),
        (None, _) => Err(damaged),
    }
}

/// The frame at a place, if its checksum fits.
fn frame_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let length = word(bytes, at)?;
    let size = usize::try_from(length).ok().filter(|size| (1..=RECORD_MAX).contains(size))?;
    let frame = bytes.get(at..at.checked_add(FRAME_HEAD + size)?)?;
    let payload = frame.get(FRAME_HEAD..)?;
    (word(frame, 4)? == sum_of(length, payload)).then_some(frame)
}

/// Whether a mark of a frame at `at` or behind it stands anywhere behind `at`.
fn marked_behind(bytes: &[u8], at: usize) -> bool {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.windows(MARK_BYTES).any(|window| {
        window.starts_with(&MARK_MAGIC)
            && window.get(..MARK_BYTES - 4).map(crc) == word(window, MARK_BYTES - 4)
    })
}

/// Reads a file.
pub(super) fn parse(bytes: &[u8], owner: &Owner) -> Result<Parsed, Unreadable> {
    check_header(bytes, owner)?;
    let mut records = Vec::new();
    let mut at = HEADER_BYTES;
    while at < bytes.len() {
        let Some(frame) = frame_at(bytes, at) else {
            return match marked_behind(bytes, at) {
                true => Err(Unreadable::Damaged(Damage::Record { at })),
                false => Ok(Parsed { records, keep: at, lacks_mark: None }),
            };
        };
        let record = serde_json::from_slice(frame.get(FRAME_HEAD..).unwrap_or_default());
        records.push(record.map_err(|error| {
            Unreadable::Damaged(Damage::Meaning { at, reason: error.to_string() })
        })?);
        let (mark, end) = (mark(at, frame), at + frame.len());
        if bytes.get(end..end + MARK_BYTES) != Some(&mark[..]) {
            // Of the last frame only the mark may be missing: nothing is written behind a frame without one.
            return match bytes.len() > end + MARK_BYTES || marked_behind(bytes, end) {
                true => Err(Unreadable::Damaged(Damage::Record { at: end })),
                false => Ok(Parsed { records, keep: end, lacks_mark: Some(mark) }),
            };
        }
        at = end + MARK_BYTES;
    }
    Ok(Parsed { records, keep: at, lacks_mark: None })
}
