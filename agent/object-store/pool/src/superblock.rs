//! What a volume says of itself: `docs/design/on-disk-format.md`, "Superblock".

use serde::{Deserialize, Serialize};

/// Bytes of a superblock on the volume: room for 500 members, of which 60 are there at once and the
/// others were before.
pub const SUPERBLOCK: usize = 65_536;

/// The newest format that this release knows, and the one it writes. A release that knows only the first would
/// free journals without asking the standby of the index, and still leave it named.
pub const FORMAT: u32 = 2;

const MAGIC: [u8; 8] = *b"ICNPOOL\0";

/// Magic, format, length and checksum of the body.
const HEAD: usize = 20;

/// A volume's number in its pool: never used again for another one.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct VolumeNo(pub u16);

impl std::fmt::Display for VolumeNo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// How fast a volume is, in coarse steps; a group stands on volumes of one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// A rotating disk.
    Hdd,
    /// Flash behind SATA or SAS.
    Ssd,
    /// Flash behind NVMe.
    Nvme,
}

/// What a volume is for, as was last decided.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Duty {
    /// It takes what is to be kept.
    #[default]
    Serves,
    /// It takes nothing new; what it holds is moved to others.
    Retires,
    /// Nothing is on it any more; its key is to be destroyed wherever it is met.
    Retired,
    /// It was missing for long, and nothing of what it holds is needed any more: it is not waited for.
    /// Should it come back, it serves again.
    Replaced,
    /// A write or a sync of it failed while the machine ran that had this boot id.
    Fenced {
        /// The boot id.
        boot: String,
        /// What failed, in words.
        reason: String,
    },
}

impl Duty {
    fn is_default(&self) -> bool {
        *self == Self::Serves
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A volume as another one knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its identity.
    pub volume: String,
    /// Its number.
    pub number: VolumeNo,
    /// Its class.
    pub class: Class,
    /// Whether it was given up: then it is refused should it come back.
    #[serde(default)]
    pub gone: bool,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Duty::is_default")]
    pub duty: Duty,
    /// How often that was decided: of several superblocks, the greatest knows.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub decided: u64,
}

impl Member {
    /// A volume that joins.
    #[must_use]
    pub fn new(volume: String, number: VolumeNo, class: Class) -> Self {
        Self { volume, number, class, gone: false, duty: Duty::Serves, decided: 0 }
    }
}

/// A superblock's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superblock {
    /// The pool.
    pub pool: String,
    /// The volume's identity, which stays when it is mounted elsewhere.
    pub volume: String,
    /// Its number in the pool.
    pub number: VolumeNo,
    /// Its class.
    pub class: Class,
    /// Counts the superblocks of this volume.
    pub generation: u64,
    /// Incarnations below this may be in use.
    pub incarnations: u64,
    /// The volume's key, wrapped with the node's, in hex; empty where it was destroyed.
    pub key: String,
    /// Every volume that ever was in the pool, this one included.
    pub members: Vec<Member>,
    /// The volume that the index is on; none before there was one.
    #[serde(default)]
    pub index: Option<VolumeNo>,
    /// The volume that the standby of the index is on, if it is whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby: Option<VolumeNo>,
    /// Number of the decision about both: of several superblocks, the greatest knows.
    #[serde(default)]
    pub index_epoch: u64,
}

/// Why bytes are not a superblock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SuperblockError {
    /// They are not one, or not a whole one.
    #[error("it is not a whole superblock")]
    Damaged,
    /// It was written by a later release.
    #[error("it has format {found}, this release knows formats up to {FORMAT}")]
    Newer {
        /// Its format.
        found: u32,
    },
    /// The body does not fit.
    #[error("the members do not fit the superblock")]
    TooLong,
}

impl Superblock {
    /// The bytes on the volume.
    ///
    /// # Errors
    /// [`SuperblockError::TooLong`].
    pub fn encode(&self) -> Result<Vec<u8>, SuperblockError> {
        let body = serde_json::to_vec(self).map_err(|_| SuperblockError::TooLong)?;
        if HEAD + body.len() > SUPERBLOCK {
            return Err(SuperblockError::TooLong);
        }
        let length = u32::try_from(body.len()).map_err(|_| SuperblockError::TooLong)?;
        let mut bytes = Vec::with_capacity(SUPERBLOCK);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&crc32c(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes.resize(SUPERBLOCK, 0);
        Ok(bytes)
    }

    /// Reads what [`Superblock::encode`] made.
    ///
    /// # Errors
    /// The bytes are no superblock, a damaged one, or one of a later format.
    pub fn decode(bytes: &[u8]) -> Result<Self, SuperblockError> {
        let number = |at: usize| {
            let four = bytes.get(at..at + 4)?;
            Some(u32::from_le_bytes(four.try_into().ok()?))
        };
        let (Some(format), Some(length), Some(sum)) = (number(8), number(12), number(16)) else {
            return Err(SuperblockError::Damaged);
        };
        if !bytes.starts_with(&MAGIC) {
            return Err(SuperblockError::Damaged);
        }
        if format > FORMAT {
            return Err(SuperblockError::Newer { found: format });
        }
        let end = usize::try_from(length).ok().and_then(|length| HEAD.checked_add(length));
        let body = end.and_then(|end| bytes.get(HEAD..end)).ok_or(SuperblockError::Damaged)?;
        if crc32c(body) != sum {
            return Err(SuperblockError::Damaged);
        }
        serde_json::from_slice(body).map_err(|_| SuperblockError::Damaged)
    }
}

/// The checksum of everything that is not sealed: CRC-32C (RFC 3720, appendix B.4).
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes);
    u32::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> Superblock {
        let member = |number: u16| Member {
            volume: format!("6bd1afc4-148b-4d01-81e2-{number:012}"),
            number: VolumeNo(number),
            class: Class::Nvme,
            gone: number == 1,
            duty: if number == 1 { Duty::Retired } else { Duty::Serves },
            decided: number.into(),
        };
        Superblock {
            pool: "7902a6d0b4f31c1d78b99bd9ce343dd2".into(),
            volume: member(2).volume,
            number: VolumeNo(2),
            class: Class::Nvme,
            generation: 9,
            incarnations: 4096,
            key: "00".repeat(60),
            members: (0..3).map(member).collect(),
            index: Some(VolumeNo(0)),
            standby: Some(VolumeNo(2)),
            index_epoch: 3,
        }
    }

    #[test]
    fn a_superblock_is_read_as_it_was_written() {
        let bytes = example().encode().unwrap();
        assert_eq!(bytes.len(), SUPERBLOCK);
        assert_eq!(Superblock::decode(&bytes), Ok(example()));
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_later_format_is_told_apart_from_damage() {
        let mut bytes = example().encode().unwrap();
        bytes[8] = 3;
        assert_eq!(Superblock::decode(&bytes), Err(SuperblockError::Newer { found: 3 }));
        // The format before had no standby; nothing else is new.
        bytes[8] = 1;
        assert_eq!(Superblock::decode(&bytes), Ok(example()));
        let mut bytes = example().encode().unwrap();
        bytes[40] ^= 1;
        assert_eq!(Superblock::decode(&bytes), Err(SuperblockError::Damaged));
        assert_eq!(Superblock::decode(&[0; SUPERBLOCK]), Err(SuperblockError::Damaged));
    }

    #[test]
    fn the_members_of_many_years_fit_and_more_are_refused() {
        let mut block = example();
        let member = block.members[0].clone();
        block.members = vec![member.clone(); 500];
        assert!(block.encode().is_ok());
        block.members = vec![member; 2000];
        assert_eq!(block.encode(), Err(SuperblockError::TooLong));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Superblock::decode(&bytes);
            let mut whole = example().encode().unwrap();
            whole.splice(8..8 + bytes.len().min(64), bytes.iter().take(64).copied());
            let _ = Superblock::decode(&whole);
        }
    }
}
