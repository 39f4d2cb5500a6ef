use proptest::prelude::*;

use super::*;

const VOLUME: Uuid = Uuid::from_u128(42);

/// The first and last mebibyte of a disk with the table of `layout`.
fn ends(layout: &Layout) -> (Vec<u8>, Vec<u8>) {
    let (mut head, mut tail) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let [first, last] = layout.table().unwrap();
    head[..first.bytes.len()].copy_from_slice(&first.bytes);
    let at = tail.len() - last.bytes.len();
    tail[at..].copy_from_slice(&last.bytes);
    (head, tail)
}

#[test]
fn the_table_holds_both_partitions_where_the_layout_says() {
    for (size, block) in [(4_000_787_030_016, 512), (4_000_787_030_016, 4096), (600 * MIB, 512)] {
        let size = Bytes(size);
        let layout = Layout::new(size, block, VOLUME).unwrap();
        let (head, tail) = ends(&layout);
        let found = partitions(size, block, &head, &tail);
        let [meta, data] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((meta.kind, meta.start, meta.length), (TYPE_META, MIB, 32 * MIB));
        assert_eq!((data.kind, data.start), (TYPE_DATA, 33 * MIB));
        assert_eq!(data.guid, Layout::data_guid(VOLUME));
        assert_eq!(data.length, layout.data_length());
        assert!(data.start + data.length <= size.0 - MIB);
    }
}

#[test]
fn a_lost_head_is_read_from_the_tail() {
    let size = Bytes(600 * MIB);
    let (head, tail) = ends(&Layout::new(size, 512, VOLUME).unwrap());
    assert_eq!(partitions(size, 512, &vec![0; head.len()], &tail).len(), 2);
    assert_eq!(partitions(size, 512, &head, &vec![0; tail.len()]).len(), 2);
    assert!(partitions(size, 512, &vec![0; head.len()], &vec![0; tail.len()]).is_empty());
}

#[test]
fn the_table_follows_from_size_and_volume_alone() {
    let table = |volume| Layout::new(Bytes(600 * MIB), 512, volume).unwrap().table().unwrap();
    assert_eq!(table(VOLUME), table(VOLUME));
    assert_ne!(table(VOLUME), table(Uuid::from_u128(43)));
}

/// The partitions of a GPT with one partition of a type and name.
fn table_with(kind: Uuid, name: &str) -> Vec<Partition> {
    let size = 600 * MIB;
    let (head, tail) = ends(&Layout::new(Bytes(size), 512, VOLUME).unwrap());
    let mut device = Ends::new(size, head, tail);
    let partition = gpt::partition::Partition {
        part_type_guid: Type { guid: kind, os: OperatingSystem::None },
        part_guid: VOLUME,
        first_lba: 2048,
        last_lba: 4095,
        flags: 0,
        name: name.to_owned(),
    };
    let mut table = gpt::GptConfig::new().writable(true).open_from_device(&mut device).unwrap();
    table.update_partitions(BTreeMap::from([(1, partition)])).unwrap();
    table.write().unwrap();
    partitions(Bytes(size), 512, &device.head, &device.tail)
}

#[test]
fn a_seed_is_known_by_type_and_exact_name_together() {
    for (kind, name, seed) in [
        (TYPE_BASIC_DATA, "ICN-SEED", true),
        (TYPE_BASIC_DATA, "icn-seed", false),
        (TYPE_BASIC_DATA, "ICN-SEED ", false),
        (TYPE_BASIC_DATA, "Basic data partition", false),
        (TYPE_BASIC_DATA, "", false),
        (uuid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"), "ICN-SEED", false),
    ] {
        let found = table_with(kind, name);
        let [partition] = found.as_slice() else { panic!("{name:?}: {found:?}") };
        assert_eq!(partition.is_seed(), seed, "{kind} {name:?}");
        assert_eq!(partition.is_ours(), seed, "{kind} {name:?}");
    }
    let [meta] = table_with(TYPE_META, "ICN-SEED")[..] else { panic!("no partition") };
    assert!(meta.is_ours() && !meta.is_seed());
}

#[test]
fn a_disk_too_small_or_with_odd_blocks_has_no_layout() {
    let small = Layout::new(Bytes(MIN_DISK.0 - 1), 512, VOLUME);
    assert!(matches!(small, Err(LayoutError::TooSmall { .. })));
    let odd = Layout::new(MIN_DISK, 520, VOLUME);
    assert!(matches!(odd, Err(LayoutError::BlockSize { block: 520 })));
}

#[test]
fn a_header_with_entries_of_another_length_is_not_read() {
    let size = Bytes(600 * MIB);
    let (mut head, tail) = ends(&Layout::new(size, 512, VOLUME).unwrap());
    head[512 + 84] = 0;
    head[512 + 85] = 1;
    assert!(partitions(size, 512, &head, &tail).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_crafted_header_is_read_without_a_panic(
        changes in prop::collection::vec((0..92usize, any::<u8>()), 1..8),
        fix in any::<bool>(),
    ) {
        let size = Bytes(600 * MIB);
        let (mut head, mut tail) = ends(&Layout::new(size, 512, VOLUME).unwrap());
        let at = tail.len() - 512;
        for (place, byte) in changes {
            head[512 + place] = byte;
            tail[at + place] = byte;
        }
        if fix {
            for header in [&mut head[512..604], &mut tail[at..at + 92]] {
                header[16..20].fill(0);
                let sum = crc32(header);
                header[16..20].copy_from_slice(&sum.to_le_bytes());
            }
        }
        let _ = partitions(size, 512, &head, &tail);
    }
}

/// CRC-32 (ISO-HDLC), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (0u32.wrapping_sub(crc & 1)));
        }
    }
    !crc
}
