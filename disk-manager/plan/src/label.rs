//! The record on a disk of ours: whose disk it is, how far its claim went, and which other disks
//! the node knows. Drawn in docs/design/disk-label.md.
//!
//! [`Record::encode`] and [`Record::decode`] are the on-disk format, version [`VERSION`]. A record
//! is checksummed as a whole, and the part that says whose the disk is (the label) is signed with
//! the node's key. Decoding any bytes at all answers a [`Record`] or a [`DecodeError`]; it never
//! panics and never believes a changed bit.

use std::fmt;

use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::codec::{Reader, Short, put_text};
use crate::ledger::{Ledger, LedgerEntry};
use crate::report::DiskId;

/// First bytes of every record, of every version.
pub const MAGIC: [u8; 8] = *b"ICN-META";

/// The version that this code writes, and the newest that it reads.
pub const VERSION: u16 = 1;

/// Records are padded with zeros to a multiple of this many bytes: the smallest unit that a disk
/// writes whole or not at all.
pub const SECTOR: usize = 512;

/// The longest record, in bytes: 4096 ledger entries of the greatest length fit.
pub const MAX_RECORD: usize = 1 << 20;

/// The longest disk identity or serial number in a record, in bytes. SCSI names of type T10 are the
/// longest in use (about 72). With both at this length a record without ledger still fits one
/// [`SECTOR`], which the crash safety of a claim rests on.
pub const MAX_NAME: usize = 96;

/// The most disks that a ledger holds: several times the slots of the largest chassis.
pub const MAX_LEDGER: usize = 4096;

/// Bytes before the body: magic, version, flags, length, generation, checksum. The same in every
/// version.
pub const HEADER: usize = 56;

/// Where the checksum stands in the header.
const CHECKSUM_AT: std::ops::Range<usize> = 24..56;

/// What is signed starts with this, so that no other signature of the key can pass for a label.
const SIGNED_PREFIX: &[u8] = b"ICN disk label v1\0";

/// A node's name: SHA-256 of its public key. Shown as the first 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 32]);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(16).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

/// The node's ed25519 key. Its secret half is wiped from memory when dropped and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeKey(SigningKey);

impl NodeKey {
    /// The key made from 32 random bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// The node's id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        NodeId(Sha256::digest(self.public()).into())
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        use ed25519_dalek::Signer as _;
        self.0.sign(message).to_bytes()
    }

    fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.node())
    }
}

/// How far the claim of a disk went. The order is the order in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClaimState {
    /// The first thing written to a blank disk. Nothing else but our partition table may be on it.
    Claiming,
    /// The partition table is whole; the file system is being made. No data was ever stored.
    Formatting,
    /// The file system is made. From here on the disk is never formatted again.
    Ready,
}

impl ClaimState {
    /// Whether the claim is complete.
    #[must_use]
    pub fn is_ready(self) -> bool {
        self == Self::Ready
    }

    fn code(self) -> u8 {
        match self {
            Self::Claiming => 1,
            Self::Formatting => 2,
            Self::Ready => 3,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Claiming, Self::Formatting, Self::Ready].into_iter().find(|s| s.code() == code)
    }
}

impl fmt::Display for ClaimState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Claiming => "claiming",
            Self::Formatting => "formatting",
            Self::Ready => "ready",
        })
    }
}

/// What a disk of ours is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Holds one data volume.
    Data,
}

/// Code of [`Role::Data`] on the disk; other codes are reserved.
const ROLE_DATA: u8 = 1;

/// One record of ICN-META.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Counts up with every record written to this disk; of two slots the higher counts.
    pub generation: u64,
    /// The node's key.
    pub key: NodeKey,
    /// How far the claim went (signed).
    pub state: ClaimState,
    /// What the disk is for (signed).
    pub role: Role,
    /// The volume on the disk (signed); also the UUID of its file system.
    pub volume: Uuid,
    /// The disk that this record was written for (signed).
    pub disk: DiskId,
    /// That disk's serial number; may be empty (signed).
    pub serial: String,
    /// Every data disk that the node knows.
    pub ledger: Ledger,
}

/// Why a record cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A disk identity or serial number is longer than [`MAX_NAME`] bytes.
    #[error("a disk identity or serial number is longer than {MAX_NAME} bytes")]
    NameTooLong,
    /// The ledger has more than [`MAX_LEDGER`] disks.
    #[error("the ledger has more than {MAX_LEDGER} disks")]
    LedgerTooLong,
}

/// Why bytes are not a record of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There is no record: the magic is not there.
    #[error("no record")]
    NotARecord,
    /// There was a record, but bytes of it changed.
    #[error("{what}")]
    Damaged {
        /// What does not fit.
        what: &'static str,
    },
    /// The record is whole and of a later version.
    #[error("version {version} is newer than {VERSION}")]
    Newer {
        /// Its version.
        version: u16,
    },
    /// The record is whole but its label was not signed by the key it names.
    #[error("the label's signature does not verify")]
    BadSignature,
}

impl From<Short> for DecodeError {
    fn from(_: Short) -> Self {
        Self::Damaged { what: "a field is out of bounds" }
    }
}

impl Record {
    /// The node that signed this record.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.key.node()
    }

    /// This disk's entry for a ledger.
    #[must_use]
    pub fn ledger_entry(&self) -> LedgerEntry {
        LedgerEntry { volume: self.volume, disk: self.disk.clone(), serial: self.serial.clone() }
    }

    /// The bytes of this record, a multiple of [`SECTOR`]. One sector where the ledger is empty.
    ///
    /// # Errors
    /// A name or the ledger is too long.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, EncodeError> {
        if self.ledger.len() > MAX_LEDGER {
            return Err(EncodeError::LedgerTooLong);
        }
        let mut out = Zeroizing::new(Vec::with_capacity(SECTOR));
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&[0; 32]);
        out.push(self.state.code());
        out.push(ROLE_DATA);
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.key.public());
        out.extend_from_slice(&*self.key.seed());
        out.extend_from_slice(self.volume.as_bytes());
        out.extend_from_slice(&self.key.sign(&self.signed_bytes()?));
        put_name(&mut out, &self.disk.0)?;
        put_name(&mut out, &self.serial)?;
        let count = u16::try_from(self.ledger.len()).map_err(|_| EncodeError::LedgerTooLong)?;
        out.extend_from_slice(&count.to_le_bytes());
        for entry in self.ledger.entries() {
            out.extend_from_slice(entry.volume.as_bytes());
            put_name(&mut out, &entry.disk.0)?;
            put_name(&mut out, &entry.serial)?;
        }
        let length = out.len().next_multiple_of(SECTOR);
        out.resize(length, 0);
        let length = u32::try_from(length).map_err(|_| EncodeError::LedgerTooLong)?;
        put_at(&mut out, 12, &length.to_le_bytes());
        let sum = checksum(&out);
        put_at(&mut out, CHECKSUM_AT.start, &sum);
        Ok(out)
    }

    /// Reads the record at the start of `bytes`, which may go on behind it.
    ///
    /// # Errors
    /// There is none, it is damaged, of a later version, or its signature does not verify.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let damaged = |what| DecodeError::Damaged { what };
        if bytes.get(..MAGIC.len()) != Some(&MAGIC) {
            return Err(DecodeError::NotARecord);
        }
        let mut header = Reader::new(bytes);
        header.bytes(MAGIC.len())?;
        let version = header.u16()?;
        let flags = header.u16()?;
        let length = usize::try_from(header.u32()?).map_err(|_| damaged("the length is wrong"))?;
        if !(SECTOR..=MAX_RECORD).contains(&length) || length % SECTOR != 0 {
            return Err(damaged("the length is wrong"));
        }
        let whole = bytes.get(..length).ok_or(damaged("the record is cut short"))?;
        let mut unsummed = Zeroizing::new(whole.to_vec());
        put_at(&mut unsummed, CHECKSUM_AT.start, &[0; 32]);
        if whole.get(CHECKSUM_AT) != Some(checksum(&unsummed).as_slice()) {
            return Err(damaged("the checksum does not match"));
        }
        if version > VERSION {
            return Err(DecodeError::Newer { version });
        }
        if version != VERSION || flags != 0 {
            return Err(damaged("the version is unknown"));
        }
        let generation = header.u64()?;
        Self::decode_body(generation, whole.get(HEADER..).unwrap_or_default())
    }

    fn decode_body(generation: u64, body: &[u8]) -> Result<Self, DecodeError> {
        let damaged = |what| DecodeError::Damaged { what };
        let mut body = Reader::new(body);
        let state =
            ClaimState::from_code(body.u8()?).ok_or(damaged("the claim state is unknown"))?;
        if body.u8()? != ROLE_DATA || body.u16()? != 0 {
            return Err(damaged("the role is unknown"));
        }
        let public: [u8; 32] = body.array()?;
        let seed = Zeroizing::new(body.array::<32>()?);
        let volume = Uuid::from_bytes(body.array()?);
        let signature = Signature::from_bytes(&body.array()?);
        let disk = DiskId(body.text(MAX_NAME)?);
        let serial = body.text(MAX_NAME)?;
        let count = usize::from(body.u16()?);
        if count > MAX_LEDGER {
            return Err(damaged("the ledger is too long"));
        }
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            entries.push(LedgerEntry {
                volume: Uuid::from_bytes(body.array()?),
                disk: DiskId(body.text(MAX_NAME)?),
                serial: body.text(MAX_NAME)?,
            });
        }
        if !body.rest_is_zero() {
            return Err(damaged("the padding is not zero"));
        }
        let ledger = Ledger::from_sorted(entries).ok_or(damaged("the ledger is out of order"))?;
        let key = NodeKey::from_seed(&seed);
        let record =
            Self { generation, key, state, role: Role::Data, volume, disk, serial, ledger };
        let message = record.signed_bytes().map_err(|_| damaged("a name is too long"))?;
        let verifier = VerifyingKey::from_bytes(&public).map_err(|_| DecodeError::BadSignature)?;
        verifier.verify_strict(&message, &signature).map_err(|_| DecodeError::BadSignature)?;
        if record.key.public() != public {
            return Err(DecodeError::BadSignature);
        }
        Ok(record)
    }

    /// What the signature covers: node, claim state, role, volume, disk and serial number.
    fn signed_bytes(&self) -> Result<Vec<u8>, EncodeError> {
        let mut out = SIGNED_PREFIX.to_vec();
        out.extend_from_slice(&self.key.node().0);
        out.push(self.state.code());
        out.push(ROLE_DATA);
        out.extend_from_slice(self.volume.as_bytes());
        put_name(&mut out, &self.disk.0)?;
        put_name(&mut out, &self.serial)?;
        Ok(out)
    }
}

fn put_name(out: &mut Vec<u8>, name: &str) -> Result<(), EncodeError> {
    if name.len() > MAX_NAME || !put_text(out, name) {
        return Err(EncodeError::NameTooLong);
    }
    Ok(())
}

fn put_at(out: &mut [u8], at: usize, bytes: &[u8]) {
    for (to, from) in out.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
}

fn checksum(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

#[cfg(test)]
#[path = "label_tests.rs"]
mod tests;
