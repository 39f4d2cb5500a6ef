//! The two slots of ICN-META: a record is written to one while the other keeps the record before,
//! so that a torn write never costs the label.

use crate::label::{DecodeError, Record};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SlotName {
    /// The first.
    A,
    /// The second.
    B,
}

impl SlotName {
    /// The other one: where the next record goes.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// What the two slots of a disk say together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Neither slot holds anything like a record.
    Absent,
    /// The newest valid record.
    Valid {
        /// The record.
        record: Box<Record>,
        /// Where it stands.
        slot: SlotName,
        /// Whether the other slot holds bytes that are neither blank nor a valid record.
        other_damaged: bool,
    },
    /// A record of a later version; this code must leave the disk alone.
    Newer {
        /// Its version.
        version: u16,
    },
    /// A record that is whole but not signed by the key it names.
    BadSignature,
    /// Records that cannot be believed; what is wrong, in words.
    Damaged {
        /// What is wrong.
        what: String,
    },
}

/// How many bytes of a slot must be alike for it to count as never written.
const BLANK_PROOF: usize = 4096;

enum Slot {
    Blank,
    Valid(Box<Record>),
    Newer(u16),
    BadSignature,
    Damaged(String),
    Other,
}

/// Reads both slots, each given from its first byte and long enough for the longest record.
///
/// A later version or a bad signature in either slot decides for the whole disk: what is not
/// understood is not overruled. Otherwise the newest valid record counts.
#[must_use]
pub fn read(a: &[u8], b: &[u8]) -> Verdict {
    match (read_slot(a), read_slot(b)) {
        (Slot::Newer(version), _) | (_, Slot::Newer(version)) => Verdict::Newer { version },
        (Slot::BadSignature, _) | (_, Slot::BadSignature) => Verdict::BadSignature,
        (Slot::Valid(a), Slot::Valid(b)) => newest(a, b),
        (Slot::Valid(record), other) => valid(record, SlotName::A, &other),
        (other, Slot::Valid(record)) => valid(record, SlotName::B, &other),
        (Slot::Damaged(what), _) | (_, Slot::Damaged(what)) => Verdict::Damaged { what },
        (Slot::Blank | Slot::Other, Slot::Blank | Slot::Other) => Verdict::Absent,
    }
}

fn newest(a: Box<Record>, b: Box<Record>) -> Verdict {
    if a.node() != b.node() || a.volume != b.volume || a.disk != b.disk {
        let what = "its two label records name different nodes, volumes or disks".to_owned();
        return Verdict::Damaged { what };
    }
    let (record, slot) =
        if b.generation > a.generation { (b, SlotName::B) } else { (a, SlotName::A) };
    Verdict::Valid { record, slot, other_damaged: false }
}

fn valid(record: Box<Record>, slot: SlotName, other: &Slot) -> Verdict {
    Verdict::Valid { record, slot, other_damaged: !matches!(other, Slot::Blank) }
}

fn read_slot(bytes: &[u8]) -> Slot {
    match Record::decode(bytes) {
        Ok(record) => Slot::Valid(Box::new(record)),
        Err(DecodeError::Newer { version }) => Slot::Newer(version),
        Err(DecodeError::BadSignature) => Slot::BadSignature,
        Err(DecodeError::Damaged { what }) => Slot::Damaged(what.to_owned()),
        Err(DecodeError::NotARecord) if is_blank(bytes) => Slot::Blank,
        Err(DecodeError::NotARecord) => Slot::Other,
    }
}

fn is_blank(bytes: &[u8]) -> bool {
    let head = bytes.get(..BLANK_PROOF).unwrap_or(bytes);
    head.first().is_some_and(|first| head.iter().all(|byte| byte == first))
}
