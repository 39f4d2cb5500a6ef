//! Each rule with a disk that breaks it alone. [`CASES`] is the table; a test fails if a rule has
//! no case, so that no reason can be added without one.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::*;
use crate::label::NodeKey;
use crate::layout::{Partition, TYPE_BASIC_DATA, TYPE_META};
use crate::observe::Signature;
use crate::reason::Rule;
use crate::report::{Bytes, DiskId};
use crate::testing::{blank, inventory, key, ours, policy, record, relabel, with_record};
use crate::{Inventory, Plan, plan};

/// A rule, whose the disk `sda` then is, and the inventory that shows it.
type Case = (Rule, Ownership, fn() -> (Inventory, Policy));

fn one(change: fn(&mut ObservedDisk)) -> (Inventory, Policy) {
    let mut disk = blank("sda");
    change(&mut disk);
    (inventory([disk]), policy())
}

/// `sda` as ours with a change, beside another disk of ours.
fn labelled(change: fn(&mut ObservedDisk)) -> (Inventory, Policy) {
    let mut disk = ours("sda", 1, 10);
    change(&mut disk);
    (inventory([disk, ours("sdb", 1, 11)]), policy())
}

fn begun(state: ClaimState, change: fn(&mut ObservedDisk)) -> (Inventory, Policy) {
    let disk = blank("sda");
    let label = record(&disk, 1, 10, state);
    let mut disk = with_record(disk, label);
    disk.content = Answer::Is(Content::Uniform(0));
    disk.data = Answer::Is(DataSeen::Blank);
    change(&mut disk);
    (inventory([disk]), policy())
}

fn signature(name: &str, offset: u64) -> Answer<Vec<Signature>> {
    Answer::Is(vec![Signature { name: name.to_owned(), offset }])
}

fn read_error() -> Trouble {
    Trouble::Read { offset: 1 << 20, lba: 2048, error: "Input/output error (os error 5)".into() }
}

fn foreign_partition(kind: Uuid) -> Partition {
    Partition { kind, named_seed: false, guid: Uuid::nil(), start: 1 << 20, length: 1 << 25 }
}

fn seed() -> Partition {
    Partition { named_seed: true, ..foreign_partition(TYPE_BASIC_DATA) }
}

use Ownership::{Blank, Boot, Failing, Foreign, Ours};

const CASES: &[Case] = &[
    (Rule::NotADisk, Foreign, || one(|d| d.kind = DeviceKind::Virtual("dm".to_owned()))),
    (Rule::ReadOnly, Foreign, || one(|d| d.read_only = true)),
    (Rule::TooSmall, Foreign, || one(|d| d.size = Bytes(31_999_999_999))),
    (Rule::BlockSize, Foreign, || one(|d| d.block = 520)),
    (Rule::BootLoader, Boot, || one(|d| d.loader = true)),
    (Rule::Seed, Boot, || one(|d| relabel(d, |l| l.partitions.push(seed())))),
    (Rule::Mounted, Boot, || one(|d| d.mounts.push(PathBuf::from("/")))),
    (Rule::BootTwin, Boot, || {
        let mut boot = blank("sdb");
        boot.loader = true;
        boot.serial = "S-sda".to_owned();
        (inventory([blank("sda"), boot]), policy())
    }),
    (Rule::Removable, Foreign, || one(|d| d.removable = true)),
    (Rule::Removable, Foreign, || one(|d| d.bus = Bus::Usb)),
    (Rule::Removable, Foreign, || one(|d| d.bus = Bus::Mmc)),
    (Rule::NoIdentity, Foreign, || one(|d| d.id = None)),
    (Rule::NameTooLong, Foreign, || one(|d| d.serial = "s".repeat(97))),
    (Rule::SharedIdentity, Foreign, || {
        let mut path = blank("sdb");
        path.id = Some(DiskId("naa.sda".to_owned()));
        (inventory([blank("sda"), path]), policy())
    }),
    (Rule::Holders, Foreign, || one(|d| d.holders.push("md0".to_owned()))),
    (Rule::Slaves, Foreign, || one(|d| d.slaves.push("sdx".to_owned()))),
    (Rule::Partitions, Foreign, || one(|d| d.partitions.push("sda1".to_owned()))),
    (Rule::Swap, Foreign, || one(|d| d.swap = true)),
    (Rule::Busy, Foreign, || one(|d| d.access = Answer::Is(Access::Busy))),
    (Rule::Denied, Foreign, || {
        one(|d| d.access = Answer::Is(Access::Denied("permission denied".to_owned())))
    }),
    (Rule::Signature, Foreign, || one(|d| d.wipefs = signature("ext4", 0x438))),
    (Rule::Signature, Foreign, || {
        one(|d| d.blkid = Answer::Is(Blkid::Found("LVM2_member".to_owned())))
    }),
    (Rule::Ambivalent, Foreign, || one(|d| d.blkid = Answer::Is(Blkid::Ambivalent))),
    (Rule::Unanswered, Foreign, || one(|d| d.smart = Smart::NotAsked)),
    (Rule::Unanswered, Foreign, || one(|d| d.content = Answer::NotAsked)),
    (Rule::Unanswered, Foreign, || one(|d| d.wipefs = Answer::NotAsked)),
    (Rule::Unanswered, Foreign, || one(|d| d.blkid = Answer::NotAsked)),
    (Rule::Unanswered, Foreign, || one(|d| d.own = Answer::NotAsked)),
    (Rule::Unanswered, Foreign, || one(|d| d.label = Answer::NotAsked)),
    (Rule::Unanswered, Foreign, || one(|d| d.access = Answer::NotAsked)),
    (Rule::Unanswered, Foreign, || {
        one(|d| {
            d.wipefs = Answer::Failed(Trouble::Program {
                program: "wipefs".to_owned(),
                error: "exit status 1".to_owned(),
            });
        })
    }),
    (Rule::OwnSignature, Foreign, || one(|d| d.own = signature("SPDK blobstore", 0))),
    (Rule::Data, Foreign, || one(|d| d.content = Answer::Is(Content::Data { offset: 9 }))),
    (Rule::SmartFailing, Failing, || one(|d| d.smart = Smart::Failing("worn out".to_owned()))),
    (Rule::SmartFailing, Ours, || labelled(|d| d.smart = Smart::Failing("worn out".to_owned()))),
    (Rule::SmartUnreadable, Failing, || one(|d| d.smart = Smart::Unreadable("no".to_owned()))),
    (Rule::SmartUnreadable, Failing, || one(|d| d.smart = Smart::Asleep)),
    (Rule::Unreadable, Failing, || one(|d| d.content = Answer::Failed(read_error()))),
    (Rule::Unreadable, Failing, || one(|d| d.label = Answer::Failed(read_error()))),
    (Rule::Unreadable, Failing, || {
        one(|d| {
            d.blkid = Answer::Failed(Trouble::TimedOut { what: "blkid".to_owned(), seconds: 20 });
        })
    }),
    (Rule::OtherNode, Foreign, || {
        let disks = [ours("sda", 2, 10), ours("sdb", 1, 11), ours("sdc", 1, 12)];
        (inventory(disks), policy())
    }),
    (Rule::BadSignature, Foreign, || {
        labelled(|d| relabel(d, |l| l.verdict = Verdict::BadSignature))
    }),
    (Rule::NewerLabel, Foreign, || {
        labelled(|d| relabel(d, |l| l.verdict = Verdict::Newer { version: 2 }))
    }),
    (Rule::CopyOf, Foreign, || {
        labelled(|d| (d.id, d.serial) = (Some(DiskId("naa.copy".into())), "S-copy".into()))
    }),
    (Rule::DamagedLabel, Foreign, || {
        let what = || "the checksum does not match".to_owned();
        let (mut inventory, policy) = labelled(|_| {});
        relabel(&mut inventory.disks[0], |l| l.verdict = Verdict::Damaged { what: what() });
        (inventory, policy)
    }),
    (Rule::NoLabel, Foreign, || {
        one(|d| relabel(d, |l| l.partitions.push(foreign_partition(TYPE_META))))
    }),
    (Rule::TableMismatch, Foreign, || labelled(|d| relabel(d, |l| l.partitions.clear()))),
    (Rule::SharedVolume, Foreign, || {
        let disks = [ours("sda", 1, 10), ours("sdb", 1, 10), ours("sdc", 1, 11)];
        (inventory(disks), policy())
    }),
    (Rule::ClaimDisturbed, Foreign, || {
        begun(ClaimState::Claiming, |d| d.content = Answer::Is(Content::Data { offset: 9 }))
    }),
    (Rule::ClaimDisturbed, Foreign, || {
        begun(ClaimState::Claiming, |d| d.content = Answer::NotAsked)
    }),
    (Rule::ClaimDisturbed, Foreign, || {
        begun(ClaimState::Claiming, |d| relabel(d, |l| l.table = TableMatch::Other))
    }),
    (Rule::ClaimDisturbed, Foreign, || {
        begun(ClaimState::Claiming, |d| d.data = Answer::Is(DataSeen::OurXfs))
    }),
    (Rule::ClaimDisturbed, Foreign, || {
        begun(ClaimState::Formatting, |d| d.data = Answer::NotAsked)
    }),
    (Rule::ClaimDisturbed, Foreign, || {
        begun(ClaimState::Formatting, |d| d.data = Answer::Is(DataSeen::Other("ext4".to_owned())))
    }),
    (Rule::ClaimDisturbed, Foreign, || {
        begun(ClaimState::Formatting, |d| relabel(d, |l| l.table = TableMatch::Begun))
    }),
    (Rule::ClaimDisturbed, Foreign, || {
        begun(ClaimState::Formatting, |d| {
            relabel(d, |label| {
                if let Verdict::Valid { other_damaged, .. } = &mut label.verdict {
                    *other_damaged = true;
                }
            });
        })
    }),
    (Rule::ClaimDisturbed, Foreign, || {
        begun(ClaimState::Formatting, |d| d.access = Answer::Is(Access::Busy))
    }),
    (Rule::NodeUndecided, Foreign, || {
        (inventory([ours("sda", 1, 10), ours("sdb", 2, 11)]), policy())
    }),
    (Rule::Blank, Blank, || one(|_| {})),
    (Rule::Erased, Blank, || {
        let (mut inventory, policy) =
            one(|d| d.content = Answer::Is(Content::Data { offset: 1 << 30 }));
        inventory.erased = vec![DiskId("naa.sda".to_owned())];
        (inventory, policy)
    }),
    (Rule::ClaimingOff, Blank, || (inventory([blank("sda")]), Policy { claim: false, ..policy() })),
    (Rule::ClaimingOff, Ours, || {
        (begun(ClaimState::Claiming, |_| {}).0, Policy { claim: false, ..policy() })
    }),
    (Rule::IdentityHeld, Blank, || {
        let mut unreadable = blank("sdb");
        unreadable.label = Answer::Failed(read_error());
        (inventory([blank("sda"), unreadable]), policy())
    }),
    (Rule::IdentityWaits, Blank, || {
        (Inventory { settled: false, ..inventory([blank("sda")]) }, policy())
    }),
];

fn judged(case: fn() -> (Inventory, Policy)) -> (Plan, Judgement) {
    let (inventory, policy) = case();
    let plan = plan(&inventory, &policy);
    let judgement = plan.judgements[0].clone();
    (plan, judgement)
}

#[test]
fn each_rule_is_found_and_its_disk_judged_as_it_says() {
    for (number, (rule, ownership, case)) in CASES.iter().enumerate() {
        let (_, judgement) = judged(*case);
        let rules: Vec<Rule> = judgement.reasons.iter().map(Reason::rule).collect();
        assert!(rules.contains(rule), "case {number}: {rule:?} not in {judgement:?}");
        assert_eq!(judgement.ownership, *ownership, "case {number}: {rule:?} {judgement:?}");
    }
}

#[test]
fn every_rule_has_a_case() {
    let covered: BTreeSet<Rule> = CASES.iter().map(|(rule, ..)| *rule).collect();
    let missing: Vec<_> = Rule::ALL.iter().filter(|rule| !covered.contains(rule)).collect();
    assert!(missing.is_empty(), "no case for {missing:?}");
}

#[test]
fn no_case_but_the_blank_one_has_a_step_that_writes() {
    for (number, (rule, ownership, case)) in CASES.iter().enumerate() {
        let (plan, judgement) = judged(*case);
        let touched = plan.steps.iter().any(|s| s.device() == Some(&PathBuf::from("/dev/sda")));
        if ![Rule::Blank, Rule::Erased].contains(rule) && *ownership != Ours {
            assert!(!touched, "case {number}: {rule:?} {:?}", plan.steps);
        }
        assert!(!touched || !is_untouchable(&judgement), "case {number}: {rule:?}");
    }
}

#[test]
fn every_reason_says_something_and_no_two_rules_the_same() {
    let mut words = BTreeSet::new();
    for rule in Rule::ALL {
        let (_, judgement) = judged(CASES.iter().find(|case| case.0 == *rule).unwrap().2);
        let reason = judgement.reasons.iter().find(|reason| reason.rule() == *rule).unwrap();
        assert!(reason.to_string().len() > 5, "{rule:?}");
        words.insert(reason.to_string());
    }
    assert!(words.len() >= Rule::ALL.len() - 1, "two rules share their words");
}

#[test]
fn a_removable_disk_asked_for_by_serial_number_is_blank() {
    let (inventory, mut policy) = one(|d| d.bus = Bus::Usb);
    policy.allow_removable.push("S-sda".to_owned());
    assert_eq!(plan(&inventory, &policy).judgements[0].ownership, Blank);
}

#[test]
fn a_begun_claim_is_taken_up_and_a_complete_disk_is_only_mounted() {
    for state in [ClaimState::Claiming, ClaimState::Formatting] {
        let (inventory, policy) = begun(state, |_| {});
        let plan = plan(&inventory, &policy);
        assert!(
            matches!(plan.steps.as_slice(), [crate::Step::Resume { from, .. }] if *from == state),
            "{plan}"
        );
    }
    let (inventory, policy) = begun(ClaimState::Ready, |_| {});
    let plan = plan(&inventory, &policy);
    assert!(matches!(plan.steps[0], crate::Step::Mount { .. }), "{plan}");
}

#[test]
fn a_disk_behind_another_controller_is_still_the_same_disk() {
    let (inventory, policy) = labelled(|d| d.id = Some(DiskId("t10.ATA_TEST_S-sda".into())));
    assert_eq!(plan(&inventory, &policy).judgements[0].ownership, Ours);
}

#[test]
fn a_mounted_volume_of_ours_is_no_boot_disk_even_while_its_label_cannot_be_read() {
    let mount = PathBuf::from("/data").join(Uuid::from_u128(10).to_string());
    let (mut inventory, policy) = labelled(|_| {});
    inventory.disks[0].mounts.push(mount.clone());
    assert_eq!(plan(&inventory, &policy).judgements[0].ownership, Ours);
    inventory.disks[0].label = Answer::Failed(read_error());
    assert_eq!(plan(&inventory, &policy).judgements[0].ownership, Failing);
    inventory.disks[0] = blank("sda");
    inventory.disks[0].mounts.push(mount);
    assert_eq!(plan(&inventory, &policy).judgements[0].ownership, Boot);
}

#[test]
fn the_node_of_a_foreign_disk_is_shown() {
    let (_, judgement) = judged(CASES.iter().find(|case| case.0 == Rule::OtherNode).unwrap().2);
    let node = NodeKey::from_seed(&[2; 32]).node().to_string();
    assert!(judgement.reasons[0].to_string().contains(&node));
    assert_ne!(node, key(1).node().to_string());
}
