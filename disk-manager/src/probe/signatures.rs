//! Rule A7: signatures that we look for ourselves, as blkid misses them (util-linux 2.38 finds none
//! of the backups, and nothing at all where two owners left marks).

use disk_manager_plan::observe::{Signature, Trouble};

use crate::blocks::{Blocks, read};

/// A mark and every place where it may stand.
struct Mark {
    name: &'static str,
    magic: &'static [u8],
    places: fn(u64) -> Vec<u64>,
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// ZFS keeps four labels of 256 KiB, two at each end (OpenZFS vdev_label.c).
const ZFS_LABEL: u64 = 256 * KIB;
/// Within a label, where its ring of uberblocks starts and how far apart they are at least.
const ZFS_RING: u64 = 128 * KIB;
const ZFS_STEP: usize = 1 << 10;

/// Offset of the ext2/3/4 magic within a superblock (Linux fs/ext4/ext4.h).
const EXT_MAGIC: u64 = 0x38;

static MARKS: &[Mark] = &[
    Mark { name: "GPT", magic: b"EFI PART", places: |_| vec![512, 4096] },
    Mark { name: "backup GPT", magic: b"EFI PART", places: |size| from_end(size, &[512, 4096]) },
    Mark { name: "boot sector or MBR", magic: &[0x55, 0xaa], places: |_| vec![510] },
    // SPDK lib/blob/blobstore.h: SPDK_BS_SUPER_BLOCK_SIG.
    Mark { name: "SPDK blobstore", magic: b"SPDKBLOB", places: |_| vec![0] },
    // Ceph src/os/bluestore/BlueStore.cc: the label's first line.
    Mark { name: "Ceph BlueStore", magic: b"bluestore block device", places: |_| vec![0] },
    Mark { name: "LVM physical volume", magic: b"LABELONE", places: |_| vec![0, 512, 1024, 1536] },
    Mark { name: "LUKS", magic: b"LUKS\xba\xbe", places: |_| vec![0] },
    // cryptsetup lib/luks2/luks2.h: every place of the second header.
    Mark {
        name: "LUKS2 second header",
        magic: b"SKUL\xba\xbe",
        places: |_| (0..9).map(|n| 0x4000 << n).collect(),
    },
    // Linux include/uapi/linux/raid/md_p.h: MD_SB_MAGIC, little-endian; 1.1, 1.2, then 1.0.
    Mark { name: "md RAID 1.1", magic: &MD, places: |_| vec![0] },
    Mark { name: "md RAID 1.2", magic: &MD, places: |_| vec![4096] },
    Mark {
        name: "md RAID 1.0",
        magic: &MD,
        places: |size| (size / 512).checked_sub(16).map(|s| s / 8 * 8 * 512).into_iter().collect(),
    },
    // MD_NEW_SIZE_SECTORS: the last whole 64 KiB but one; either byte order.
    Mark { name: "md RAID 0.90", magic: &MD, places: md_090 },
    Mark { name: "md RAID 0.90", magic: &[0xa9, 0x2b, 0x4e, 0xfc], places: md_090 },
    Mark { name: "ZFS", magic: &[0x0c, 0xb1, 0xba, 0, 0, 0, 0, 0], places: zfs },
    Mark { name: "ZFS", magic: &[0, 0, 0, 0, 0, 0xba, 0xb1, 0x0c], places: zfs },
    Mark { name: "ext2/3/4", magic: &[0x53, 0xef], places: |_| vec![KIB + EXT_MAGIC] },
    // The backup superblock of group 1, for blocks of 1, 2 and 4 KiB.
    Mark {
        name: "ext2/3/4 backup superblock",
        magic: &[0x53, 0xef],
        places: |_| [8193 * KIB, 16384 * 2 * KIB, 32768 * 4 * KIB].map(|at| at + EXT_MAGIC).into(),
    },
    Mark { name: "XFS", magic: b"XFSB", places: |_| vec![0] },
    // Linux fs/btrfs/disk-io.c: the superblock and its mirrors.
    Mark {
        name: "btrfs",
        magic: b"_BHRfS_M",
        places: |_| [64 * KIB, 64 * MIB, 256 * 1024 * MIB].map(|at| at + 0x40).into(),
    },
];

const MD: [u8; 4] = [0xfc, 0x4e, 0x2b, 0xa9];

fn from_end(size: u64, distances: &[u64]) -> Vec<u64> {
    distances.iter().filter_map(|distance| size.checked_sub(*distance)).collect()
}

fn md_090(size: u64) -> Vec<u64> {
    (size / (64 * KIB)).checked_sub(1).map(|n| n * 64 * KIB).into_iter().collect()
}

fn zfs(size: u64) -> Vec<u64> {
    let end = size / ZFS_LABEL * ZFS_LABEL;
    let labels =
        [Some(0), Some(ZFS_LABEL), end.checked_sub(2 * ZFS_LABEL), { end.checked_sub(ZFS_LABEL) }];
    labels
        .into_iter()
        .flatten()
        .flat_map(|label| (ZFS_RING..ZFS_LABEL).step_by(ZFS_STEP).map(move |at| label + at))
        .collect()
}

/// Looks for every mark at each of its places; each kind is named once, at the first place.
///
/// # Errors
/// A read failed.
pub fn own_signatures(
    disk: &impl Blocks,
    size: u64,
    block: u32,
) -> Result<Vec<Signature>, Trouble> {
    let mut cache = Cache { disk, block, start: 0, bytes: Vec::new() };
    let mut found: Vec<Signature> = Vec::new();
    for mark in MARKS {
        for place in (mark.places)(size) {
            if place + mark.magic.len() as u64 > size || found.iter().any(|f| f.name == mark.name) {
                continue;
            }
            if cache.has(place, mark.magic, size)? {
                found.push(Signature { name: mark.name.to_owned(), offset: place });
            }
        }
    }
    Ok(found)
}

/// Every place where a mark stands.
///
/// # Errors
/// A read failed.
pub fn own_places(disk: &impl Blocks, size: u64, block: u32) -> Result<Vec<u64>, Trouble> {
    let mut cache = Cache { disk, block, start: 0, bytes: Vec::new() };
    let mut found = Vec::new();
    for mark in MARKS {
        for place in (mark.places)(size) {
            if place + mark.magic.len() as u64 <= size && cache.has(place, mark.magic, size)? {
                found.push(place);
            }
        }
    }
    Ok(found)
}

/// The last piece read: marks stand in runs, so most are in it already.
struct Cache<'a, D> {
    disk: &'a D,
    block: u32,
    start: u64,
    bytes: Vec<u8>,
}

/// Length of a piece, in bytes.
const PIECE: u64 = 256 * KIB;

impl<D: Blocks> Cache<'_, D> {
    fn has(&mut self, place: u64, magic: &[u8], size: u64) -> Result<bool, Trouble> {
        let end = self.start + self.bytes.len() as u64;
        if place < self.start || place + magic.len() as u64 > end {
            self.start = place / 4096 * 4096;
            let length = usize::try_from(PIECE.min(size - self.start)).unwrap_or_default();
            self.bytes = read(self.disk, self.start, length, self.block)?;
        }
        let inside = usize::try_from(place - self.start).unwrap_or(usize::MAX);
        Ok(self.bytes.get(inside..inside + magic.len()) == Some(magic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::MemoryDisk;

    const SIZE: u64 = 600 * MIB + 3 * 512;

    #[test]
    fn every_mark_is_found_at_every_place() {
        for mark in MARKS {
            for place in (mark.places)(SIZE) {
                if place + 32 > SIZE {
                    continue;
                }
                let mut disk = MemoryDisk::new(SIZE);
                disk.put(place, mark.magic);
                let found = own_signatures(&disk, SIZE, 512).unwrap();
                assert!(found.iter().any(|f| f.name == mark.name), "{} at {place}", mark.name);
            }
        }
    }

    #[test]
    fn a_blank_disk_has_none() {
        let found = own_signatures(&MemoryDisk::filled(SIZE, 0xff), SIZE, 512).unwrap();
        assert_eq!(found, []);
    }
}
