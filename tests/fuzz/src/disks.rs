//! What stands on disks beside the pool's volumes, and on the stick.

use disk_manager_plan::label::{ClaimState, NodeKey, Record, Role};
use disk_manager_plan::layout::{Layout, partitions};
use disk_manager_plan::ledger::{Ledger, LedgerEntry};
use disk_manager_plan::report::{Bytes, DiskId};
use disk_manager_plan::slots;
use uuid::Uuid;

use crate::Given;
use crate::patches::Script;

pub(crate) const TARGETS: &[Given] = &[
    ("disk-label", summed_label, labels),
    ("partition-table", table, tables),
    ("node-toml", configuration, configurations),
];

/// Where a label's checksum stands.
const CHECKSUM_AT: std::ops::Range<usize> = 24..56;

fn label(bytes: &[u8]) {
    let Ok(found) = Record::decode(bytes) else { return };
    let Ok(again) = found.encode() else { unreachable!("a label that was read can be written") };
    assert_eq!(Record::decode(&again), Ok(found));
}

fn labels() -> Vec<Vec<u8>> {
    let record = |entries: u128| Record {
        generation: 7,
        key: NodeKey::from_seed(&[3; 32]),
        state: ClaimState::Ready,
        role: Role::Data,
        volume: Uuid::from_u128(1),
        disk: DiskId("naa.5000c50000000001".to_owned()),
        serial: "ZC1234".to_owned(),
        ledger: Ledger::new((1..=entries).map(|number| LedgerEntry {
            volume: Uuid::from_u128(number),
            disk: DiskId(format!("naa.{number:016x}")),
            serial: format!("ZC{number}"),
        })),
    };
    let bytes = |entries| record(entries).encode().map(|bytes| bytes.to_vec()).unwrap_or_default();
    vec![bytes(0), bytes(3)]
}

/// A wrong file is a complaint with a line that is there, and the same each time.
fn configuration(bytes: &[u8]) {
    let (config, problems) = provisioning_config::parse_bytes(bytes);
    assert_eq!((&config, &problems), (&provisioning_config::parse_bytes(bytes).0, &problems));
    for problem in &problems {
        assert!(!problem.to_string().is_empty());
    }
}

fn configurations() -> Vec<Vec<u8>> {
    let whole = "version = 1\n[node]\nname = \"e2e\"\n[network]\ndns = [\"10.0.0.1\", \"fd00::1\"]\n\
        ntp = [\"10.0.0.1\", \"ntp:123\"]\n\
        [[network.port]]\nmac = \"52:54:00:12:34:56\"\naddresses = [\"10.0.0.2/24\"]\n\
        gateway = \"10.0.0.1\"\n[time]\n[disks]\nclaim = \"blank\"\n\
        min_size = \"1GiB\"\n[log]\nserial = \"ttyS1\"\n[s3]\nregion = \"eu-1\"\n[[s3.user]]\n\
        name = \"tester\"\naccess_key = \"ACCESS\"\nsecret_key = \"a secret for tests only 01\"\n";
    vec![whole.into(), b"version = 2\n".to_vec(), b"[disks]\nmin_size = 0\n".to_vec()]
}

/// As it is, and with the right checksum; the signature cannot be made up.
fn summed_label(bytes: &[u8]) {
    label(bytes);
    let mut whole = bytes.to_vec();
    let length = whole.get(12..16).and_then(|four| four.first_chunk()).copied();
    let length =
        usize::try_from(u32::from_le_bytes(length.unwrap_or_default())).unwrap_or_default();
    if let Some(record) = whole.get_mut(..length)
        && let Some(sum) = record.get_mut(CHECKSUM_AT)
    {
        sum.fill(0);
        let sum = *blake3::hash(record).as_bytes();
        record.iter_mut().skip(CHECKSUM_AT.start).zip(sum).for_each(|(to, from)| *to = from);
    }
    label(&whole);
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let _verdicts = (slots::read(first, second), slots::read(&whole, first));
}

/// The ends of a disk with a partition table, or something like one.
fn table(bytes: &[u8]) {
    let mut script = Script(bytes);
    let (Some(block), Some(blocks), Some(head)) =
        (script.byte(), script.number::<4>(), script.number::<4>())
    else {
        return;
    };
    let block = [512_u32, 4096].get(usize::from(block % 2)).copied().unwrap_or(512);
    let (head, tail) =
        script.0.split_at(usize::try_from(head).unwrap_or_default().min(script.0.len()));
    // The table and its entries behind the protective MBR.
    let head = [vec![0; block as usize], head.to_vec()].concat();
    let size = Bytes(u64::from(block) * blocks);
    for partition in partitions(size, block, &head, tail) {
        assert!(partition.start.checked_add(partition.length).is_some());
    }
}

fn tables() -> Vec<Vec<u8>> {
    let seed = |number: u8, block: u32| {
        let size = Bytes(600 << 20);
        let blocks = u32::try_from(size.0 / u64::from(block)).unwrap_or_default();
        let made = Layout::new(size, block, Uuid::from_u128(42)).and_then(|layout| layout.table());
        let Ok([head, tail]) = made else { return Vec::new() };
        let head = head.bytes.get(block as usize..).unwrap_or_default().to_vec();
        let length = u32::try_from(head.len()).unwrap_or_default();
        let numbers = [blocks.to_le_bytes(), length.to_le_bytes()].concat();
        [vec![number], numbers, head, tail.bytes].concat()
    };
    vec![seed(0, 512), seed(1, 4096)]
}
