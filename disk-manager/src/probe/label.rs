//! Our own label and partitions on a disk.

use disk_manager_plan::label::{HEADER, MAGIC, MAX_RECORD, SECTOR};
use disk_manager_plan::layout::{self, DATA_START, Extent, MIB, Partition};
use disk_manager_plan::observe::{LabelSeen, TableMatch, Trouble};
use disk_manager_plan::report::Bytes;
use disk_manager_plan::slots::{self, SlotName, Verdict};
use disk_manager_plan::{Layout, Record};

use crate::blocks::{Blocks, read};

/// What stands on a disk of ours, or every partition of anyone else's.
#[derive(Debug)]
pub struct Found {
    /// What is seen of us.
    pub label: LabelSeen,
    /// Every partition of the GPT.
    pub partitions: Vec<Partition>,
    /// What a claim by the label's record has written or would write: table and records. Empty
    /// without a valid record.
    pub own: Vec<Extent>,
}

/// First read of a slot, in bytes; more only where a longer record starts there.
const FIRST_READ: usize = 4096;

/// Reads the partition table and both slots.
///
/// # Errors
/// A read failed.
pub fn look(disk: &impl Blocks, size: Bytes, block: u32) -> Result<Found, Trouble> {
    let ends = usize::try_from(MIB.min(size.0)).unwrap_or_default();
    let head = read(disk, 0, ends, block)?;
    let tail = read(disk, size.0 - ends as u64, ends, block)?;
    let partitions = layout::partitions(size, block, &head, &tail);
    let verdict = if size.0 < DATA_START { Verdict::Absent } else { read_slots(disk, block)? };
    let mut table = TableMatch::NotCompared;
    let mut own = Vec::new();
    if let Verdict::Valid { record, .. } = &verdict {
        (table, own) = compare(disk, size, block, record, [&head, &tail])?;
    }
    let ours = partitions.iter().filter(|partition| partition.is_ours()).copied().collect();
    let ends = *blake3::Hasher::new().update(&head).update(&tail).finalize().as_bytes();
    let label = LabelSeen { verdict, partitions: ours, table, ends };
    Ok(Found { label, partitions, own })
}

/// Reads both slots.
///
/// # Errors
/// A read failed.
pub fn read_slots(disk: &impl Blocks, block: u32) -> Result<Verdict, Trouble> {
    let a = read_slot(disk, SlotName::A, block)?;
    let b = read_slot(disk, SlotName::B, block)?;
    Ok(slots::read(&a, &b))
}

fn read_slot(disk: &impl Blocks, slot: SlotName, block: u32) -> Result<Vec<u8>, Trouble> {
    let start = Layout::slot_start(slot);
    let first = read(disk, start, FIRST_READ, block)?;
    let length = first.get(12..16).and_then(|bytes| bytes.try_into().ok());
    let length = length.map(u32::from_le_bytes).and_then(|n| usize::try_from(n).ok());
    match length {
        Some(length)
            if first.starts_with(&MAGIC) && (FIRST_READ..=MAX_RECORD).contains(&length) =>
        {
            read(disk, start, length, block)
        }
        _ => Ok(first),
    }
}

/// Compares the ends of a disk with the table that a record asks for.
fn compare(
    disk: &impl Blocks,
    size: Bytes,
    block: u32,
    record: &Record,
    [head, tail]: [&[u8]; 2],
) -> Result<(TableMatch, Vec<Extent>), Trouble> {
    let Ok(wanted) = Layout::new(size, block, record.volume).and_then(|layout| layout.table())
    else {
        return Ok((TableMatch::Other, Vec::new()));
    };
    let (mut exact, mut begun) = (true, true);
    let tail_start = size.0 - tail.len() as u64;
    for extent in &wanted {
        let (area, start) = if extent.offset == 0 { (head, 0) } else { (tail, tail_start) };
        let from = usize::try_from(extent.offset - start).unwrap_or(usize::MAX);
        let there = area.get(from..from + extent.bytes.len()).unwrap_or_default();
        for (is, should) in there.chunks(SECTOR).zip(extent.bytes.chunks(SECTOR)) {
            let blank = is.first().is_some_and(|first| is.iter().all(|byte| byte == first));
            exact &= is == should;
            begun &= is == should || blank;
        }
    }
    let mut own = Vec::from(wanted);
    for slot in [SlotName::A, SlotName::B] {
        let bytes = read_slot(disk, slot, block)?;
        // Only what decodes is known to be ours; HEADER is the least that could.
        if bytes.len() >= HEADER
            && let Ok(other) = Record::decode(&bytes)
            && other.volume == record.volume
        {
            let length = other.encode().map(|bytes| bytes.len()).unwrap_or(SECTOR);
            let length = length.next_multiple_of(usize::try_from(block).unwrap_or(SECTOR));
            let offset = Layout::slot_start(slot);
            own.push(Extent { offset, bytes: read(disk, offset, length, block)? });
        }
    }
    let found = match (exact, begun) {
        (true, _) => TableMatch::Exact,
        (false, true) => TableMatch::Begun,
        (false, false) => TableMatch::Other,
    };
    Ok((found, own))
}
