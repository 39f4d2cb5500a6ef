//! Power cuts at every write of a claim, on a disk in memory that may lose or keep each sector that
//! was not flushed.

use disk_manager_plan::layout::{DATA_START, MIB};
use disk_manager_plan::observe::{Access, ObservedDisk};
use disk_manager_plan::observe::{Answer, Blkid, Bus, Content, DataSeen, DeviceKind, Smart};
use disk_manager_plan::plan::record_of;
use disk_manager_plan::report::{Bytes, Ownership};
use disk_manager_plan::slots::Verdict;
use disk_manager_plan::{Inventory, Plan, Policy, Step, plan};
use proptest::prelude::*;

use super::*;
use crate::probe::content::content;
use crate::probe::{Pulse, label, unasked};
use crate::testing::MemoryDisk;
use crate::volume::is_xfs_of;

const SIZE: u64 = 600 * MIB;
const VOLUME: Uuid = Uuid::from_u128(77);

/// Which unflushed sectors a power cut keeps.
#[derive(Debug, Clone, Copy)]
enum Kept {
    /// Those written first, in order.
    InOrder,
    /// Those whose turn a seed picks.
    Some(u64),
}

/// A disk whose power goes off after so many sectors.
struct Cut {
    disk: MemoryDisk,
    unflushed: Vec<(u64, Vec<u8>)>,
    left: usize,
    kept: Kept,
}

impl Cut {
    fn new(disk: MemoryDisk, left: usize, kept: Kept) -> Self {
        Self { disk, unflushed: Vec::new(), left, kept }
    }

    /// What is on the disk when the power is back.
    fn after(mut self) -> MemoryDisk {
        let mut random = match self.kept {
            Kept::InOrder => None,
            Kept::Some(seed) => Some(seed),
        };
        for (offset, sector) in self.unflushed {
            let keep = random.as_mut().is_none_or(|state| {
                *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *state >> 63 == 1
            });
            if keep {
                self.disk.put(offset, &sector);
            }
        }
        self.disk
    }

    fn is_off(&self) -> io::Result<()> {
        if self.left == 0 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

impl Blocks for Cut {
    fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, bytes)
    }
}

impl Target for Cut {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        for (at, sector) in (offset..).step_by(SECTOR).zip(bytes.chunks(SECTOR)) {
            self.is_off()?;
            self.left -= 1;
            self.unflushed.push((at, sector.to_vec()));
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.is_off()?;
        for (offset, sector) in self.unflushed.drain(..) {
            self.disk.put(offset, &sector);
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), ClaimError> {
        Ok(())
    }

    /// Writes what mkfs.xfs writes, in little: superblock in progress, headers of each group, log,
    /// superblock. Refuses what it would refuse.
    fn format(&mut self, volume: Uuid) -> Result<(), ClaimError> {
        let failed = |source| ClaimError::Write { what: "the data partition", source };
        let mut head = [0; SECTOR];
        self.disk.read(DATA_START, &mut head).map_err(failed)?;
        if is_xfs_of(&head, volume) {
            self.write(DATA_START, &[0; 16 * SECTOR]).map_err(failed)?;
            self.flush().map_err(failed)?;
        }
        let mut superblock = [0; SECTOR];
        superblock[..4].copy_from_slice(b"XFSB");
        superblock[32..48].copy_from_slice(volume.as_bytes());
        superblock[126] = 1;
        self.write(DATA_START, &superblock).map_err(failed)?;
        for group in 0..4 {
            let at = DATA_START + group * 140 * MIB;
            self.write(at + 512, &[b'X'; 8 * SECTOR]).map_err(failed)?;
        }
        self.write(DATA_START + 300 * MIB, &[0xfe; 8 * SECTOR]).map_err(failed)?;
        self.flush().map_err(failed)?;
        superblock[126] = 0;
        self.write(DATA_START, &superblock).map_err(failed)?;
        self.flush().map_err(failed)
    }
}

fn key() -> NodeKey {
    NodeKey::from_seed(&[5; 32])
}

fn claim(key: &NodeKey, volume: Uuid) -> Claim<'_> {
    Claim {
        key,
        disk: DiskId("naa.1".to_owned()),
        serial: "S1".to_owned(),
        volume,
        layout: Layout::new(Bytes(SIZE), 512, volume).unwrap(),
        block: 512,
    }
}

/// Looks at the disk as the probe does.
fn observe(disk: &MemoryDisk) -> ObservedDisk {
    let found = label::look(disk, Bytes(SIZE), 512).unwrap();
    let looked = content(disk, SIZE, 512, 1, &found.own, &Pulse::default()).unwrap();
    let mut head = [0; 8 * SECTOR];
    disk.read(DATA_START, &mut head).unwrap();
    // blkid knows an XFS by its superblock alone, which may be missing from a half-made one.
    let has_no_signature = head.iter().all(|byte| [0, 0xff, b'X'].contains(byte));
    let data = if is_xfs_of(&head, VOLUME) {
        DataSeen::OurXfs
    } else if has_no_signature {
        DataSeen::Blank
    } else {
        DataSeen::Other("something".to_owned())
    };
    let clean = matches!(looked, Content::Uniform(_)) && found.own.is_empty();
    ObservedDisk {
        id: Some(DiskId("naa.1".to_owned())),
        serial: "S1".to_owned(),
        size: Bytes(SIZE),
        bus: Bus::Scsi,
        access: Answer::Is(Access::Free),
        label: Answer::Is(found.label),
        data: Answer::Is(data),
        wipefs: if clean { Answer::Is(Vec::new()) } else { Answer::NotAsked },
        blkid: if clean { Answer::Is(Blkid::Nothing) } else { Answer::NotAsked },
        own: Answer::Is(Vec::new()),
        content: Answer::Is(looked),
        smart: Smart::Passed,
        ..unasked("/dev/sda".into(), DeviceKind::Disk)
    }
}

fn judge(disk: &MemoryDisk) -> (ObservedDisk, Plan) {
    let seen = observe(disk);
    let policy = Policy {
        claim: true,
        min_size: Bytes(0),
        allow_removable: Vec::new(),
        data_dir: "/data".into(),
    };
    let inventory = Inventory { disks: vec![seen.clone()], settled: true, ..Inventory::default() };
    (seen, plan(&inventory, &policy))
}

fn progress(seen: &ObservedDisk) -> Option<Progress> {
    match &seen.label.known()?.verdict {
        Verdict::Valid { record, slot, .. } => {
            Some(Progress { state: record.state, slot: *slot, generation: record.generation })
        }
        _ => None,
    }
}

/// Cuts a claim, then judges and goes on, with cuts in `cuts` one after the other, and at last to
/// the end. Says how many sectors the last run wrote.
fn claim_with_cuts(fill: u8, cuts: &[usize], kept: Kept) -> usize {
    let key = key();
    let mut disk = MemoryDisk::filled(SIZE, fill);
    let mut identity_was_durable = false;
    let mut was_ready = false;
    for left in cuts.iter().copied().chain([usize::MAX]) {
        let (seen, plan) = judge(&disk);
        let judgement = &plan.judgements[0];
        let what = format!("fill {fill}, cuts {cuts:?}, {kept:?}: {plan}");
        let record = record_of(&seen);
        assert!(!identity_was_durable || record.is_some(), "the identity was lost: {what}");
        assert!(!was_ready || record.is_some_and(|r| r.state == ClaimState::Ready), "{what}");
        if let Some(record) = record {
            assert_eq!(record.node(), key.node(), "{what}");
            assert!(!plan.steps.contains(&Step::MintIdentity), "{what}");
            identity_was_durable = true;
        }
        let from = match (judgement.ownership, plan.steps.as_slice()) {
            (Ownership::Blank, [Step::MintIdentity, Step::Claim { .. }]) => None,
            (Ownership::Ours, [Step::Resume { volume: VOLUME, .. }]) => progress(&seen),
            (Ownership::Ours, [Step::Mount { volume: VOLUME, .. }, ..]) => {
                was_ready = true;
                let mut head = [0; SECTOR];
                disk.read(DATA_START, &mut head).unwrap();
                assert!(is_xfs_of(&head, VOLUME) && head[126] == 0, "half-made: {what}");
                continue;
            }
            _ => panic!("stuck: {what}"),
        };
        let mut target = Cut::new(disk, left, kept);
        let result = claim(&key, VOLUME).run(&mut target, from);
        let written = left - target.left;
        disk = target.after();
        if left == usize::MAX {
            result.unwrap();
            let (_, plan) = judge(&disk);
            assert!(matches!(plan.steps[0], Step::Mount { .. }), "{what}\nthen {plan}");
            return written;
        }
    }
    0
}

#[test]
fn a_claim_cut_behind_any_sector_is_blank_or_taken_up() {
    let all = claim_with_cuts(0, &[], Kept::InOrder);
    assert!(all > 100, "{all}");
    for left in 0..all {
        claim_with_cuts(0, &[left], Kept::InOrder);
    }
}

#[test]
fn a_disk_that_reads_as_ones_is_claimed_and_taken_up_alike() {
    for left in [1, 2, 20, 34, 35, 50, 68, 69, 70, 90, 110] {
        claim_with_cuts(0xff, &[left], Kept::InOrder);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn cuts_upon_cuts_with_lost_sectors_are_taken_up(
        cuts in prop::collection::vec(0..130usize, 1..5),
        seed in any::<u64>(),
    ) {
        claim_with_cuts(0, &cuts, Kept::Some(seed));
    }
}

#[test]
fn a_stranger_who_writes_between_cut_and_restart_is_left_alone() {
    let key = key();
    // In the middle of the table: behind the first record, before the second.
    let mut target = Cut::new(MemoryDisk::new(SIZE), 40, Kept::InOrder);
    claim(&key, VOLUME).run(&mut target, None).unwrap_err();
    for (at, bytes) in [
        (512, &b"EFI PART of another"[..]),
        (SIZE - 512, b"EFI PART of another"),
        (DATA_START + 1080, b"\x53\xef"),
        (MIB + 512, b"x"),
    ] {
        let mut disk = target.disk.clone();
        disk.put(at, bytes);
        let (_, plan) = judge(&disk);
        assert_eq!(plan.judgements[0].ownership, Ownership::Foreign, "byte {at}: {plan}");
        assert!(plan.steps.is_empty(), "byte {at}: {plan}");
    }
}

#[test]
fn a_ready_record_that_rots_never_leads_to_a_new_format() {
    let key = key();
    let all = claim_with_cuts(0, &[], Kept::InOrder);
    // Cut before the very last sector: slot A says ready, slot B formatting.
    let mut target = Cut::new(MemoryDisk::new(SIZE), all - 1, Kept::InOrder);
    claim(&key, VOLUME).run(&mut target, None).unwrap_err();
    let mut disk = target.after();
    assert!(matches!(judge(&disk).1.steps[0], Step::Mount { .. }));
    disk.put(MIB + 100, &[0xff; 8]);
    let (_, plan) = judge(&disk);
    assert_eq!(plan.judgements[0].ownership, Ownership::Foreign, "{plan}");
    assert!(plan.steps.is_empty(), "{plan}");
}
