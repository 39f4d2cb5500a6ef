//! Claims by hand on disks in memory: what is written, when, and that a claim follows.

use std::time::{Duration, Instant};

use disk_manager_plan::by_hand::check;
use disk_manager_plan::label::{ClaimState, NodeKey};
use disk_manager_plan::observe::{Access, Bus, DataSeen, DeviceKind, Signature, Smart};
use disk_manager_plan::report::{Bytes, DiskId, HandClaimState, Ownership};
use disk_manager_plan::slots::Verdict;
use disk_manager_plan::{Inventory, Layout, Plan, Policy, Step, plan};
use uuid::Uuid;

use super::*;
use crate::blocks::Blocks;
use crate::by_hand::{ByHand, WAIT};
use crate::claim::{Claim, ClaimError, Progress};
use crate::device::Presence;
use crate::probe::content::content;
use crate::probe::signatures::own_signatures;
use crate::probe::{Pulse, label, unasked};
use crate::testing::MemoryDisk;

const SIZE: u64 = 600 * MIB;
const VOLUME: Uuid = Uuid::from_u128(77);

/// A disk that counts what is written to it, and fails at a write.
pub(crate) struct Fake {
    pub(crate) disk: MemoryDisk,
    pub(crate) writes: usize,
    fails_at: Option<usize>,
}

impl Fake {
    pub(crate) fn new(disk: MemoryDisk) -> Self {
        Self { disk, writes: 0, fails_at: None }
    }
}

impl Blocks for Fake {
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, bytes)
    }
}

impl Target for Fake {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.fails_at == Some(self.writes) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        self.writes += 1;
        self.disk.put(offset, bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn settle(&mut self) -> Result<(), ClaimError> {
        Ok(())
    }

    /// Refuses, as mkfs.xfs does, where something stands already.
    fn format(&mut self, volume: Uuid) -> Result<(), ClaimError> {
        let mut head = vec![0; 1 << 20];
        self.disk.read(DATA_START, &mut head).unwrap();
        assert!(head.iter().all(|byte| *byte == 0), "mkfs.xfs would refuse");
        let mut superblock = [0; 512];
        superblock[..4].copy_from_slice(b"XFSB");
        superblock[32..48].copy_from_slice(volume.as_bytes());
        self.disk.put(DATA_START, &superblock);
        Ok(())
    }
}

/// A disk with a table, two file systems, marks at both ends and data in between.
pub(crate) fn used() -> MemoryDisk {
    let mut disk = MemoryDisk::new(SIZE);
    disk.put(510, &[0x55, 0xaa]);
    disk.put(512, b"EFI PART");
    disk.put(SIZE - 512, b"EFI PART");
    disk.put(1024 + 0x38, &[0x53, 0xef]);
    disk.put(131_072 * 1024 + 0x38, &[0x53, 0xef]);
    disk.put(64 * MIB + 0x40, b"_BHRfS_M");
    disk.put(SIZE - 128 * 1024, &0x00ba_b10c_u64.to_le_bytes());
    for at in (100..500).step_by(2) {
        disk.put(at * MIB, &[0xa5; 4096]);
    }
    disk.put(PARTITION.0, b"XFSB");
    disk.put(PARTITION.0 + PARTITION.1 - 4096, &[0xfc, 0x4e, 0x2b, 0xa9]);
    disk
}

pub(crate) const PARTITION: Span = (200 * MIB, 100 * MIB);

/// Looks at the disk as the probe does.
pub(crate) fn observe(disk: &impl Blocks, smart: Smart) -> ObservedDisk {
    let found = label::look(disk, Bytes(SIZE), 512).unwrap();
    let own = own_signatures(disk, SIZE, 512).unwrap();
    let is_labelled = matches!(found.label.verdict, Verdict::Valid { .. });
    let looked = content(disk, SIZE, 512, 1, &found.own, &Pulse::default()).unwrap();
    let is_clean = own.is_empty();
    ObservedDisk {
        id: Some(DiskId("naa.1".to_owned())),
        serial: "WX42A90K7D1P".to_owned(),
        size: Bytes(SIZE),
        bus: Bus::Scsi,
        access: Answer::Is(Access::Free),
        label: Answer::Is(found.label),
        data: if is_labelled { Answer::Is(DataSeen::Blank) } else { Answer::NotAsked },
        wipefs: Answer::Is(own.iter().take(1).cloned().collect::<Vec<Signature>>()),
        blkid: Answer::Is(if is_clean { Blkid::Nothing } else { Blkid::Ambivalent }),
        own: Answer::Is(own),
        content: if is_clean || is_labelled { Answer::Is(looked) } else { Answer::NotAsked },
        smart,
        ..unasked("/dev/sda".into(), DeviceKind::Disk)
    }
}

pub(crate) fn policy() -> Policy {
    Policy {
        claim: true,
        min_size: Bytes(0),
        allow_removable: Vec::new(),
        data_dir: "/data".into(),
    }
}

fn judge(disk: &impl Blocks, erased: Vec<DiskId>) -> (Inventory, Plan) {
    let disks = vec![observe(disk, Smart::Passed)];
    let inventory = Inventory { disks, erased, settled: true, ..Inventory::default() };
    let plan = plan(&inventory, &policy());
    (inventory, plan)
}

pub(crate) fn id() -> DiskId {
    DiskId("naa.1".to_owned())
}

pub(crate) fn presence() -> Presence {
    Presence { name: "sda".to_owned(), sequence: 7 }
}

/// The disk after it was asked for at a moment.
fn asked(disk: &Fake, now: Instant) -> ByHand {
    let (inventory, plan) = judge(disk, Vec::new());
    assert_eq!(plan.judgements[0].ownership, Ownership::Foreign, "{plan}");
    let typed = ("0k7d1p", &Smart::Passed);
    let wanted = check(&inventory, &plan, &policy(), &id(), typed).unwrap();
    let mut by_hand = ByHand::default();
    by_hand.ask(id(), presence(), wanted, now).unwrap();
    by_hand
}

/// Does what is due, as the service does.
fn turn(by_hand: &mut ByHand, disk: &mut Fake, smart: &Smart, now: Instant) {
    for due in by_hand.due(now, |_, _| true) {
        let look = |disk: &mut Fake| Ok(observe(disk, smart.clone()));
        let result = erase(disk, &due.wanted, &[PARTITION], look);
        by_hand.erased(&due.presence, result.map_err(|error| error.to_string()));
    }
}

fn failure(by_hand: &ByHand, now: Instant) -> String {
    let told = by_hand.told(now);
    let [claim] = told.as_slice() else { panic!("{told:?}") };
    let HandClaimState::Failed { reason } = &claim.state else { panic!("{told:?}") };
    reason.clone()
}

#[test]
fn nothing_is_written_before_the_time_and_then_an_ordinary_claim_follows() {
    let start = Instant::now();
    let mut disk = Fake::new(used());
    let mut by_hand = asked(&disk, start);
    for seconds in 0..60 {
        let now = start + Duration::from_secs(seconds);
        turn(&mut by_hand, &mut disk, &Smart::Passed, now);
        assert_eq!(disk.writes, 0, "after {seconds} s");
        let left = u32::try_from(60 - seconds).unwrap();
        assert_eq!(by_hand.told(now)[0].state, HandClaimState::Waiting { seconds_left: left });
    }
    let now = start + WAIT;
    turn(&mut by_hand, &mut disk, &Smart::Passed, now);
    assert!(disk.writes > 0);
    assert_eq!(by_hand.told(now)[0].state, HandClaimState::Erasing);
    assert!(by_hand.undo(&id()).is_err(), "too late");
    assert_eq!(own_signatures(&disk, SIZE, 512).unwrap(), []);
    let at = |offset| {
        let mut bytes = [0; 4];
        disk.disk.read(offset, &mut bytes).unwrap();
        bytes
    };
    assert_eq!((at(PARTITION.0), at(PARTITION.0 + PARTITION.1 - 4096)), ([0; 4], [0; 4]));
    assert_eq!(at(400 * MIB), [0xa5; 4], "what is not marked stays");

    // Without the word of a person it stays foreign, as there is data.
    let (_, plan) = judge(&disk, Vec::new());
    assert_eq!(plan.judgements[0].ownership, Ownership::Foreign, "{plan}");
    let (_, plan) = judge(&disk, by_hand.given_up());
    let [Step::MintIdentity, Step::Claim { disk: claimed, .. }] = plan.steps.as_slice() else {
        panic!("{plan}")
    };
    let key = NodeKey::from_seed(&[5; 32]);
    let layout = Layout::new(Bytes(SIZE), 512, VOLUME).unwrap();
    let serial = "WX42A90K7D1P".to_owned();
    let claim =
        Claim { key: &key, disk: claimed.clone(), serial, volume: VOLUME, layout, block: 512 };
    claim.run(&mut disk, None).unwrap();
    let (_, plan) = judge(&disk, by_hand.given_up());
    assert!(matches!(plan.steps[0], Step::Mount { volume: VOLUME, .. }), "{plan}");
    by_hand.settle(|_, _| Some(Ok(())));
    assert_eq!(by_hand.told(now), []);
    let (_, plan) = judge(&disk, Vec::new());
    assert_eq!(plan.judgements[0].ownership, Ownership::Ours, "{plan}");
}

#[test]
fn a_claim_cut_off_behind_its_first_record_goes_on_while_the_word_stands_and_is_asked_for_again_after()
 {
    let start = Instant::now();
    let mut disk = Fake::new(used());
    let mut by_hand = asked(&disk, start);
    turn(&mut by_hand, &mut disk, &Smart::Passed, start + WAIT);
    let key = NodeKey::from_seed(&[5; 32]);
    let layout = Layout::new(Bytes(SIZE), 512, VOLUME).unwrap();
    let claim = Claim {
        key: &key,
        disk: id(),
        serial: "WX42A90K7D1P".to_owned(),
        volume: VOLUME,
        layout,
        block: 512,
    };
    disk.fails_at = Some(disk.writes + 1);
    claim.run(&mut disk, None).unwrap_err();
    disk.fails_at = None;
    let (_, plan) = judge(&disk, by_hand.given_up());
    let [Step::Resume { from: ClaimState::Claiming, .. }] = plan.steps.as_slice() else {
        panic!("{plan}")
    };
    // After a restart nothing is known of it.
    let (inventory, plan) = judge(&disk, Vec::new());
    assert!(plan.steps.is_empty(), "{plan}");
    let typed = ("0K7D1P", &Smart::Passed);
    let wanted = check(&inventory, &plan, &policy(), &id(), typed).unwrap();
    let look = |disk: &mut Fake| Ok(observe(disk, Smart::Passed));
    erase(&mut disk, &wanted, &[], look).unwrap();
    let (_, plan) = judge(&disk, vec![id()]);
    assert!(matches!(plan.steps.last(), Some(Step::Claim { .. })), "{plan}");
    let progress: Option<Progress> = None;
    claim.run(&mut disk, progress).unwrap();
}

#[test]
fn nothing_is_written_after_it_was_taken_back() {
    let start = Instant::now();
    let mut disk = Fake::new(used());
    let mut by_hand = asked(&disk, start);
    assert!(by_hand.undo(&DiskId("naa.2".to_owned())).is_err());
    by_hand.undo(&id()).unwrap();
    turn(&mut by_hand, &mut disk, &Smart::Passed, start + 2 * WAIT);
    assert_eq!((disk.writes, by_hand.told(start)), (0, Vec::new()));
    assert!(by_hand.undo(&id()).is_err(), "there is none any more");
}

#[test]
fn nothing_is_written_to_a_disk_that_changed_or_is_not_well_or_gone() {
    let start = Instant::now();
    let later = start + WAIT;
    let changes: [fn(&mut Fake); 5] = [
        |fake| fake.disk.put(0, b"LUKS\xba\xbe"),
        |fake| fake.disk.put(SIZE - 512, &[0; 8]),
        |fake| fake.disk.put(MIB - 1, &[7]),
        |fake| fake.disk.put(SIZE - MIB, &[7]),
        |fake| fake.disk.put(MIB, &[7]),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut disk = Fake::new(used());
        let mut by_hand = asked(&disk, start);
        change(&mut disk);
        turn(&mut by_hand, &mut disk, &Smart::Passed, later);
        // The last writes behind the first MiB, where nothing marks content: the disk counts as the same.
        let is_same = number == 4;
        assert_eq!(disk.writes > 0, is_same, "{number}");
        if !is_same {
            assert!(failure(&by_hand, later).contains("nothing was written"), "{number}");
            assert_eq!(by_hand.given_up(), []);
        }
    }
    let mut disk = Fake::new(used());
    let mut by_hand = asked(&disk, start);
    turn(&mut by_hand, &mut disk, &Smart::Failing("worn".to_owned()), later);
    assert_eq!(disk.writes, 0);
    assert!(failure(&by_hand, later).contains("worn"));

    let mut by_hand = asked(&disk, start);
    by_hand.keep_present(|_| false);
    turn(&mut by_hand, &mut disk, &Smart::Passed, later);
    assert_eq!(disk.writes, 0);
    assert!(failure(&by_hand, later).contains("taken out; nothing was written"));
    // It is plugged in again and asked for anew.
    by_hand.undo(&id()).unwrap();
    assert_eq!(by_hand.told(later), []);
}

#[test]
fn a_disk_that_is_busy_when_its_time_comes_waits_on() {
    let start = Instant::now();
    let disk = Fake::new(used());
    let mut by_hand = asked(&disk, start);
    assert_eq!(by_hand.due(start + 2 * WAIT, |_, _| false), []);
    assert!(matches!(
        by_hand.told(start + 2 * WAIT)[0].state,
        HandClaimState::Waiting { seconds_left: 0 }
    ));
    assert_eq!(by_hand.due(start + 2 * WAIT, |_, _| true).len(), 1);
    assert_eq!(by_hand.due(start + 3 * WAIT, |_, _| true), [], "once");
}

#[test]
fn a_disk_that_may_not_be_erased_any_more_when_its_time_comes_is_left_alone() {
    let start = Instant::now();
    let disk = Fake::new(used());
    let mut by_hand = asked(&disk, start);
    assert_eq!(by_hand.coming(start + WAIT / 2), []);
    assert_eq!(by_hand.coming(start + WAIT), [id()]);
    by_hand.refuse(&id(), "it is mounted at /mnt");
    assert_eq!(failure(&by_hand, start + WAIT), "it is mounted at /mnt; nothing was written to it");
    assert_eq!(by_hand.due(start + WAIT, |_, _| true), []);
    assert_eq!(by_hand.coming(start + WAIT), []);
}

#[test]
fn a_write_that_fails_is_told_and_the_disk_is_not_claimed() {
    let start = Instant::now();
    let mut disk = Fake::new(used());
    let mut by_hand = asked(&disk, start);
    disk.fails_at = Some(3);
    turn(&mut by_hand, &mut disk, &Smart::Passed, start + WAIT);
    assert!(failure(&by_hand, start + WAIT).contains("cannot write over it"));
    assert_eq!(by_hand.given_up(), []);
    let (_, plan) = judge(&disk, by_hand.given_up());
    assert_eq!(plan.steps, []);
}

#[test]
fn what_cannot_be_erased_is_named() {
    let mut disk = Fake::new(used());
    let wanted = Fingerprint::of(&observe(&disk, Smart::Passed));
    let mut is_first = true;
    let look = |disk: &mut Fake| {
        let seen = observe(disk, Smart::Passed);
        let partitions =
            if std::mem::take(&mut is_first) { Vec::new() } else { vec!["sda1".to_owned()] };
        Ok(ObservedDisk { partitions, ..seen })
    };
    let error = erase(&mut disk, &wanted, &[], look).unwrap_err();
    assert!(error.to_string().contains("partition sda1"), "{error}");
}

#[test]
fn a_claim_is_asked_for_once_and_one_that_failed_again() {
    let start = Instant::now();
    let disk = Fake::new(used());
    let wanted = Fingerprint::of(&observe(&disk, Smart::Passed));
    let mut by_hand = asked(&disk, start);
    assert!(by_hand.ask(id(), presence(), wanted.clone(), start).is_err());
    by_hand.keep_present(|_| false);
    by_hand.ask(id(), presence(), wanted, start).unwrap();
    assert_eq!(by_hand.told(start).len(), 1);
}
