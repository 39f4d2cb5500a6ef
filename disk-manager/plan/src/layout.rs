//! What a data disk looks like: a GUID partition table with ICN-META and ICN-DATA.
//!
//! ```text
//!  0        1 MiB            17 MiB           33 MiB                                end-1 MiB  end
//!  ├─ GPT ──┼─ ICN-META ─────┴────────────────┼─ ICN-DATA (XFS) ─────────────────────────┼─ GPT ─┤
//!           │ slot A         │ slot B         │
//! ```
//!
//! Every byte of the table follows from the disk's size and the volume's UUID, so that a table that
//! was cut off half-way can be told from anyone else's.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};

use gpt::disk::LogicalBlockSize;
use gpt::partition_types::{OperatingSystem, Type};
use uuid::{Uuid, uuid};

use crate::report::Bytes;
use crate::slots::SlotName;

/// Partition type Microsoft basic data: that of ICN-SEED on sticks, and of most partitions that
/// Windows made.
pub const TYPE_BASIC_DATA: Uuid = uuid!("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7");
/// Partition name of the first-boot configuration, which tells it from other basic data.
pub const NAME_SEED: &str = "ICN-SEED";
/// Partition type of the raw label records.
pub const TYPE_META: Uuid = uuid!("1c4e5eed-0001-4000-8000-49434e4d4554");
/// Partition type of a data volume.
pub const TYPE_DATA: Uuid = uuid!("1c4e5eed-0002-4000-8000-49434e444154");

/// One mebibyte, in bytes: everything here is aligned to it.
pub const MIB: u64 = 1 << 20;
/// Where ICN-META starts and with it slot A, in bytes.
pub const META_START: u64 = MIB;
/// Length of one slot, in bytes.
pub const SLOT_LENGTH: u64 = 16 * MIB;
/// Where ICN-DATA starts, in bytes.
pub const DATA_START: u64 = META_START + 2 * SLOT_LENGTH;
/// The smallest disk that a layout fits on: mkfs.xfs refuses less than 300 MiB.
pub const MIN_DISK: Bytes = Bytes(512 * MIB);

/// How much of the head and of the tail of a disk is looked at in full before it counts as blank, in bytes.
pub const ENDS: u64 = 16 * MIB;

/// Bytes at each end of a disk that hold nothing but the partition table (and, at the head, what
/// stands before it).
const TABLE_AREA: u64 = MIB;

/// Bytes that stand at one place of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Where, in bytes from the disk's start.
    pub offset: u64,
    /// What.
    pub bytes: Vec<u8>,
}

/// One partition as found in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Its type.
    pub kind: Uuid,
    /// Whether its name is [`NAME_SEED`].
    pub named_seed: bool,
    /// Its own GUID.
    pub guid: Uuid,
    /// Where it starts, in bytes.
    pub start: u64,
    /// How long it is, in bytes.
    pub length: u64,
}

impl Partition {
    /// Whether it is one of ours: ICN-SEED, ICN-META or ICN-DATA.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.is_seed() || [TYPE_META, TYPE_DATA].contains(&self.kind)
    }

    /// Whether it is ICN-SEED: its type and its name.
    #[must_use]
    pub fn is_seed(&self) -> bool {
        self.kind == TYPE_BASIC_DATA && self.named_seed
    }
}

/// Why a disk cannot have our layout, or its table could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The disk is too small.
    #[error("a disk of {} bytes is smaller than {} bytes", .size.0, MIN_DISK.0)]
    TooSmall {
        /// Its size.
        size: Bytes,
    },
    /// Neither 512 nor 4096 bytes per block.
    #[error("blocks of {block} bytes are not supported")]
    BlockSize {
        /// What the disk says.
        block: u32,
    },
    /// The partition table could not be made.
    #[error("cannot make the partition table")]
    Table(#[from] gpt::GptError),
    /// The protective MBR could not be made.
    #[error("cannot make the protective MBR")]
    Mbr(#[source] gpt::mbr::MBRError),
}

/// Where everything stands on one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    size: u64,
    block: LogicalBlockSize,
    volume: Uuid,
}

impl Layout {
    /// The layout of a disk of `size` bytes with blocks of `block` bytes that holds `volume`.
    ///
    /// # Errors
    /// The disk is too small or its blocks are of an unknown size.
    pub fn new(size: Bytes, block: u32, volume: Uuid) -> Result<Self, LayoutError> {
        if size < MIN_DISK {
            return Err(LayoutError::TooSmall { size });
        }
        Ok(Self { size: size.0, block: block_size(block)?, volume })
    }

    /// Where a slot of ICN-META starts, in bytes.
    #[must_use]
    pub fn slot_start(slot: SlotName) -> u64 {
        match slot {
            SlotName::A => META_START,
            SlotName::B => META_START + SLOT_LENGTH,
        }
    }

    /// Length of ICN-DATA in bytes: up to one table area before the end, in whole mebibytes.
    #[must_use]
    pub fn data_length(&self) -> u64 {
        (self.size - TABLE_AREA - DATA_START) / MIB * MIB
    }

    /// The GUID of the partition ICN-DATA that holds `volume`.
    #[must_use]
    pub fn data_guid(volume: Uuid) -> Uuid {
        derived(volume, "data")
    }

    /// The partition table: the head of the disk with the protective MBR, then its tail with the
    /// backup. Each may be written in any order; together they are whole.
    ///
    /// # Errors
    /// The table cannot be made.
    pub fn table(&self) -> Result<[Extent; 2], LayoutError> {
        let size = usize::try_from(TABLE_AREA).unwrap_or_default();
        let mut device = Ends::new(self.size, vec![0; size], vec![0; size]);
        let block = self.block.as_u64();
        gpt::mbr::ProtectiveMBR::with_lb_size(
            u32::try_from(self.size / block - 1).unwrap_or(u32::MAX),
        )
        .overwrite_lba0(&mut device)
        .map_err(LayoutError::Mbr)?;
        let mut table = gpt::GptConfig::new()
            .writable(true)
            .logical_block_size(self.block)
            .create_from_device(&mut device, Some(derived(self.volume, "disk")))?;
        let partition =
            |name: &str, kind, guid, start: u64, length: u64| gpt::partition::Partition {
                part_type_guid: Type { guid: kind, os: OperatingSystem::None },
                part_guid: guid,
                first_lba: start / block,
                last_lba: (start + length) / block - 1,
                flags: 0,
                name: name.to_owned(),
            };
        let meta = derived(self.volume, "meta");
        let data = Self::data_guid(self.volume);
        table.update_partitions(BTreeMap::from([
            (1, partition("ICN-META", TYPE_META, meta, META_START, 2 * SLOT_LENGTH)),
            (2, partition("ICN-DATA", TYPE_DATA, data, DATA_START, self.data_length())),
        ]))?;
        table.write()?;
        let table_bytes = usize::try_from(block * 2).unwrap_or_default() + 128 * 128;
        device.head.truncate(table_bytes);
        let tail_start = device.tail.len() + self.block_bytes() - table_bytes;
        let tail = device.tail.split_off(tail_start);
        let offset = self.size - u64::try_from(tail.len()).unwrap_or_default();
        Ok([Extent { offset: 0, bytes: device.head }, Extent { offset, bytes: tail }])
    }

    fn block_bytes(&self) -> usize {
        usize::try_from(self.block.as_u64()).unwrap_or_default()
    }
}

/// The partitions in the GPT of a disk, of which the first and last mebibyte are given. A damaged
/// primary table is read from its backup. Empty where there is no table.
#[must_use]
pub fn partitions(size: Bytes, block: u32, head: &[u8], tail: &[u8]) -> Vec<Partition> {
    let Ok(block) = block_size(block) else { return Vec::new() };
    if !size.0.is_multiple_of(block.as_u64()) || !entries_are_bounded(head, tail, block) {
        return Vec::new();
    }
    let device = Ends::new(size.0, head.to_vec(), tail.to_vec());
    let Ok(table) = gpt::GptConfig::new()
        .writable(false)
        .logical_block_size(block)
        .only_valid_headers(false)
        .open_from_device(device)
    else {
        return Vec::new();
    };
    let bytes = |lba: u64| lba.checked_mul(block.as_u64());
    table
        .partitions()
        .values()
        .filter_map(|found| {
            let start = bytes(found.first_lba)?;
            let end = bytes(found.last_lba.checked_add(1)?)?;
            let length = end.checked_sub(start)?;
            let kind = found.part_type_guid.guid;
            let named_seed = found.name == NAME_SEED;
            Some(Partition { kind, named_seed, guid: found.part_guid, start, length })
        })
        .collect()
}

/// Whether every GPT header has entries of 128 bytes, the only length that the crate gpt reads (all
/// tables in use have it), and at most 1024 of them: a crafted header must not keep us busy.
fn entries_are_bounded(head: &[u8], tail: &[u8], block: LogicalBlockSize) -> bool {
    let size = usize::try_from(block.as_u64()).unwrap_or_default();
    let primary = head.get(size..).unwrap_or_default();
    let backup = tail.len().checked_sub(size).and_then(|at| tail.get(at..)).unwrap_or_default();
    [primary, backup].into_iter().filter(|header| header.starts_with(b"EFI PART")).all(|header| {
        let field = |at: usize| {
            let bytes = header.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_le_bytes(bytes))
        };
        matches!((field(80), field(84)), (Some(..=1024), Some(128)))
    })
}

fn block_size(block: u32) -> Result<LogicalBlockSize, LayoutError> {
    match block {
        512 => Ok(LogicalBlockSize::Lb512),
        4096 => Ok(LogicalBlockSize::Lb4096),
        _ => Err(LayoutError::BlockSize { block }),
    }
}

/// A GUID that follows from the volume: version 8 (custom) of RFC 9562 over BLAKE3.
fn derived(volume: Uuid, what: &str) -> Uuid {
    let mut hash = blake3::Hasher::new();
    hash.update(b"ICN layout v1\0");
    hash.update(volume.as_bytes());
    hash.update(what.as_bytes());
    let mut bytes = [0; 16];
    hash.finalize_xof().fill(&mut bytes);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// A disk of which only both ends are held: the middle reads as zeros and swallows writes.
#[derive(Debug)]
struct Ends {
    size: u64,
    at: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Ends {
    fn new(size: u64, head: Vec<u8>, tail: Vec<u8>) -> Self {
        Self { size, at: 0, head, tail }
    }

    fn tail_start(&self) -> u64 {
        self.size.saturating_sub(self.tail.len() as u64)
    }
}

impl Read for Ends {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (head_end, tail_start) = (self.head.len() as u64, self.tail_start());
        let read = if self.at < head_end {
            let mut head = Cursor::new(&self.head);
            head.set_position(self.at);
            head.read(buffer)?
        } else if self.at >= tail_start {
            let mut tail = Cursor::new(&self.tail);
            tail.set_position(self.at - tail_start);
            tail.read(buffer)?
        } else {
            let middle = usize::try_from(tail_start - self.at).unwrap_or(usize::MAX);
            let count = buffer.len().min(middle);
            buffer.iter_mut().take(count).for_each(|byte| *byte = 0);
            count
        };
        self.at += read as u64;
        Ok(read)
    }
}

impl Write for Ends {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (head_end, tail_start) = (self.head.len() as u64, self.tail_start());
        let (area, start) = if self.at < head_end {
            (&mut self.head, 0)
        } else if self.at >= tail_start {
            (&mut self.tail, tail_start)
        } else {
            return Err(io::Error::other("the table reaches into the data"));
        };
        let skip = usize::try_from(self.at - start).unwrap_or(usize::MAX);
        let room = area.len().saturating_sub(skip);
        let written = bytes.len().min(room);
        area.iter_mut().skip(skip).zip(bytes).for_each(|(to, from)| *to = *from);
        self.at += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Ends {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::other("seek before the start"))?;
        Ok(self.at)
    }
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
