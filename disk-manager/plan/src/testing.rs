//! Made-up disks for tests.

use std::path::PathBuf;

use uuid::Uuid;

use crate::label::{ClaimState, NodeKey, Record, Role};
use crate::layout::{Layout, MIB, Partition, TYPE_DATA, TYPE_META};
use crate::ledger::Ledger;
use crate::observe::{
    Access, Answer, Blkid, Bus, Content, DeviceKind, LabelSeen, ObservedDisk, Smart, TableMatch,
};
use crate::report::{Bytes, DiskClass, DiskId};
use crate::slots::{SlotName, Verdict};
use crate::{Inventory, Policy};

pub(crate) fn policy() -> Policy {
    Policy {
        claim: true,
        min_size: Bytes(32_000_000_000),
        allow_removable: Vec::new(),
        data_dir: PathBuf::from("/data"),
    }
}

/// An inventory of these disks in which nothing is still to come.
pub(crate) fn inventory(disks: impl Into<Vec<ObservedDisk>>) -> Inventory {
    Inventory { generation: 1, disks: disks.into(), settled: true, ..Inventory::default() }
}

/// A disk that passes every rule.
pub(crate) fn blank(name: &str) -> ObservedDisk {
    ObservedDisk {
        device: PathBuf::from("/dev").join(name),
        id: Some(DiskId(format!("naa.{name}"))),
        model: "TEST".to_owned(),
        serial: format!("S-{name}"),
        size: Bytes(4_000_787_030_016),
        block: 512,
        class: DiskClass::Hdd,
        kind: DeviceKind::Disk,
        bus: Bus::Scsi,
        removable: false,
        read_only: false,
        holders: Vec::new(),
        slaves: Vec::new(),
        partitions: Vec::new(),
        mounts: Vec::new(),
        swap: false,
        loader: false,
        access: Answer::Is(Access::Free),
        label: Answer::Is(LabelSeen {
            verdict: Verdict::Absent,
            partitions: Vec::new(),
            table: TableMatch::NotCompared,
            ends: [0; 32],
        }),
        data: Answer::NotAsked,
        wipefs: Answer::Is(Vec::new()),
        blkid: Answer::Is(Blkid::Nothing),
        own: Answer::Is(Vec::new()),
        content: Answer::Is(Content::Uniform(0)),
        smart: Smart::Passed,
    }
}

pub(crate) fn key(node: u8) -> NodeKey {
    NodeKey::from_seed(&[node; 32])
}

/// A label for `disk` signed by `node`.
pub(crate) fn record(disk: &ObservedDisk, node: u8, volume: u128, state: ClaimState) -> Record {
    Record {
        generation: 4,
        key: key(node),
        state,
        role: Role::Data,
        volume: Uuid::from_u128(volume),
        disk: disk.id.clone().unwrap(),
        serial: disk.serial.clone(),
        ledger: Ledger::default(),
    }
}

/// The disk with that record and the table that goes with it.
pub(crate) fn with_record(mut disk: ObservedDisk, record: Record) -> ObservedDisk {
    let guid = Layout::data_guid(record.volume);
    let partition = |kind, guid, start: u64, length: u64| {
        let named_seed = false;
        Partition { kind, named_seed, guid, start: start * MIB, length: length * MIB }
    };
    let data = partition(TYPE_DATA, guid, 33, 100);
    let meta = partition(TYPE_META, Uuid::nil(), 1, 32);
    disk.partitions = vec!["p1".to_owned(), "p2".to_owned()];
    disk.label = Answer::Is(LabelSeen {
        verdict: Verdict::Valid {
            record: Box::new(record),
            slot: SlotName::B,
            other_damaged: false,
        },
        partitions: vec![meta, data],
        table: TableMatch::Exact,
        ends: [0; 32],
    });
    (disk.wipefs, disk.blkid, disk.own) = (Answer::NotAsked, Answer::NotAsked, Answer::NotAsked);
    disk.content = Answer::NotAsked;
    disk
}

/// A complete disk of `node`.
pub(crate) fn ours(name: &str, node: u8, volume: u128) -> ObservedDisk {
    let disk = blank(name);
    let record = record(&disk, node, volume, ClaimState::Ready);
    with_record(disk, record)
}

/// Changes what was seen of the label.
pub(crate) fn relabel(disk: &mut ObservedDisk, change: impl FnOnce(&mut LabelSeen)) {
    match &mut disk.label {
        Answer::Is(label) => change(label),
        other => panic!("no label was seen: {other:?}"),
    }
}
