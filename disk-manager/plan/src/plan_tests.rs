use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::observe::{Access, Answer, Blkid, Bus, Content, DeviceKind, Signature, Smart};
use crate::testing::{blank, inventory, key, ours, policy, record, relabel, with_record};

fn with_ledger(mut disk: ObservedDisk, ledger: &Ledger) -> ObservedDisk {
    relabel(&mut disk, |label| {
        if let Verdict::Valid { record, .. } = &mut label.verdict {
            record.ledger = ledger.clone();
        }
    });
    disk
}

fn entry_of(disk: &ObservedDisk) -> crate::ledger::LedgerEntry {
    record_of(disk).unwrap().ledger_entry()
}

#[test]
fn a_first_boot_claims_every_blank_disk_and_leaves_the_others() {
    let mut boot = blank("sdc");
    boot.loader = true;
    boot.bus = Bus::Usb;
    let mut used = blank("sdd");
    used.wipefs = Answer::Is(vec![Signature { name: "LVM2_member".to_owned(), offset: 536 }]);
    used.blkid = Answer::Is(Blkid::Found("LVM2_member".to_owned()));
    let mut dying = blank("sde");
    dying.smart = Smart::Failing("overall health failed".to_owned());
    let disks = [blank("sda"), blank("sdb"), boot, used, dying];
    expect![[r"
        inventory 1: no identity yet
          make    a new node identity
          claim   /dev/sda (naa.sda): label, partition table, XFS
          claim   /dev/sdb (naa.sdb): label, partition table, XFS
          leave   /dev/sdc (naa.sdc): boot disk; the node was booted from it
          leave   /dev/sdd (naa.sdd): foreign; wipefs found LVM2_member at byte 536; blkid found LVM2_member
          leave   /dev/sde (naa.sde): failing; SMART says it is failing: overall health failed
    "]]
    .assert_eq(&plan(&inventory(disks), &policy()).to_string());
}

#[test]
fn a_second_boot_only_mounts() {
    let disks = [ours("sda", 1, 1), ours("sdb", 1, 2)];
    let ledger = Ledger::new(disks.iter().map(entry_of));
    let disks = disks.map(|disk| with_ledger(disk, &ledger));
    let mut inventory = inventory(disks);
    expect![[r"
        inventory 1: node 34750f98bd59fcfc946da45aaabe933b
          mount   /dev/sda (naa.sda): volume 00000000-0000-0000-0000-000000000001
          mount   /dev/sdb (naa.sdb): volume 00000000-0000-0000-0000-000000000002
    "]]
    .assert_eq(&plan(&inventory, &policy()).to_string());
    inventory.mounted = vec![Uuid::from_u128(1), Uuid::from_u128(2)];
    let plan = plan(&inventory, &policy());
    assert!(plan.steps.is_empty() && plan.refusals.is_empty(), "{plan}");
}

#[test]
fn a_changed_set_of_disks_is_written_to_all_and_a_lost_one_is_missed() {
    let lost = ours("sdc", 1, 3);
    let disks = [ours("sda", 1, 1), ours("sdb", 1, 2)];
    let old = Ledger::new([entry_of(&disks[0]), entry_of(&lost)]);
    let [first, second] = disks;
    let mut inventory = inventory([with_ledger(first, &old), second]);
    inventory.mounted = vec![Uuid::from_u128(1), Uuid::from_u128(2)];
    expect![[r"
        inventory 1: node 34750f98bd59fcfc946da45aaabe933b
          ledger  /dev/sda (naa.sda): write the list of the node's disks
          ledger  /dev/sdb (naa.sdb): write the list of the node's disks
          missing naa.sdc
    "]]
    .assert_eq(&plan(&inventory, &policy()).to_string());
}

#[test]
fn a_listed_disk_is_claimed_again_once_zeros_stand_on_all_of_it_and_not_once_wipefs_is_done_with_it()
 {
    let (kept, listed) = (ours("sda", 1, 1), ours("sdb", 1, 2));
    let kept = with_ledger(kept.clone(), &Ledger::new([entry_of(&kept), entry_of(&listed)]));
    // The label is not in the partition table, and stays.
    let mut without_table = listed;
    without_table.partitions.clear();
    relabel(&mut without_table, |label| label.partitions.clear());
    let left = plan(&inventory([kept.clone(), without_table]), &policy()).to_string();
    assert!(left.contains("leave   /dev/sdb (naa.sdb): foreign"), "{left}");
    let taken = plan(&inventory([kept, blank("sdb")]), &policy()).to_string();
    assert!(taken.contains("claim   /dev/sdb (naa.sdb): label, partition table, XFS"), "{taken}");
}

#[test]
fn a_pulled_disk_is_unmounted_and_mounted_again_only_after_that() {
    let disk = ours("sda", 1, 1);
    let disk = with_ledger(disk.clone(), &Ledger::new([entry_of(&disk)]));
    let mut inventory = inventory([disk]);
    inventory.stale = vec![Uuid::from_u128(1)];
    let steps = plan(&inventory, &policy()).steps;
    assert_eq!(steps, [Step::Unmount { volume: Uuid::from_u128(1) }]);
    inventory.stale.clear();
    assert!(matches!(plan(&inventory, &policy()).steps.as_slice(), [Step::Mount { .. }]));
}

#[test]
fn nodes_at_odds_stop_everything_in_words() {
    let disks = [ours("sda", 1, 1), ours("sdb", 2, 2), blank("sdc")];
    let plan = plan(&inventory(disks), &policy());
    assert!(plan.steps.is_empty(), "{plan}");
    let text = plan.to_string();
    for node in [1, 2] {
        assert!(text.contains(&key(node).node().to_string()), "{text}");
    }
    assert_eq!(plan.refusals.len(), 3);
}

#[test]
fn a_blank_disk_beside_an_unverified_label_stays_blank_and_says_why() {
    let mut broken = ours("sdb", 1, 1);
    relabel(&mut broken, |label| label.verdict = Verdict::BadSignature);
    expect![[r"
        inventory 1: no identity, and none may be made
          leave   /dev/sda (naa.sda): blank; no new node identity is made while /dev/sdb may carry one: repair or remove; blank: every byte read is 0x00; SMART passed
          leave   /dev/sdb (naa.sdb): foreign; its label's signature does not verify
    "]]
    .assert_eq(&plan(&inventory([blank("sda"), broken]), &policy()).to_string());
}

/// A disk with any mix of findings.
fn any_disk(number: usize) -> impl Strategy<Value = ObservedDisk> {
    let base = (0..6u8, 1..3u8, 0..4u128);
    let flaws = prop::collection::vec(0..14u8, 0..3);
    (base, flaws).prop_map(move |((kind, node, volume), flaws)| {
        use crate::label::ClaimState::{Claiming, Formatting};
        let name = format!("sd{number}");
        let begun = |state| {
            let disk = blank(&name);
            let label = record(&disk, node, volume, state);
            with_record(disk, label)
        };
        let mut disk = match kind {
            0..=2 => blank(&name),
            3 => ours(&name, node, volume),
            4 => begun(Claiming),
            _ => begun(Formatting),
        };
        for flaw in flaws {
            match flaw {
                0 => disk.read_only = true,
                1 => disk.loader = true,
                2 => disk.mounts.push("/mnt".into()),
                3 => disk.removable = true,
                4 => disk.id = None,
                5 => disk.id = Some(DiskId("naa.same".to_owned())),
                6 => disk.holders.push("dm-0".to_owned()),
                7 => disk.access = Answer::Is(Access::Busy),
                8 => disk.blkid = Answer::Is(Blkid::Ambivalent),
                9 => disk.content = Answer::Is(Content::Data { offset: 1 }),
                10 => disk.label = Answer::NotAsked,
                11 => disk.smart = Smart::Asleep,
                12 => disk.kind = DeviceKind::Virtual("md".to_owned()),
                _ => disk.own = Answer::NotAsked,
            }
        }
        disk
    })
}

fn any_inventory() -> impl Strategy<Value = Inventory> {
    let disks: Vec<_> = (0..6).map(any_disk).collect();
    (disks, any::<bool>(), prop::option::of(1..3u8)).prop_map(|(disks, settled, node)| Inventory {
        settled,
        node: node.map(|node| key(node).node()),
        ..inventory(disks)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_plan_has_a_step_on_a_disk_that_is_not_blank_or_ours(inventory in any_inventory()) {
        let plan = plan(&inventory, &policy());
        for step in &plan.steps {
            let Some(device) = step.device() else { continue };
            let place = inventory.disks.iter().position(|disk| disk.device == *device).unwrap();
            let (disk, judgement) = (&inventory.disks[place], &plan.judgements[place]);
            match step {
                Step::Claim { .. } => {
                    prop_assert_eq!(judgement.ownership, Ownership::Blank);
                    prop_assert!(record_of(disk).is_none(), "{:?}", disk);
                    prop_assert_eq!(&disk.content, &Answer::Is(Content::Uniform(0)));
                }
                _ => {
                    prop_assert_eq!(judgement.ownership, Ownership::Ours);
                    let node = record_of(disk).unwrap().node();
                    prop_assert_eq!(&plan.identity, &Identity::Known(node));
                }
            }
        }
    }

    #[test]
    fn every_disk_has_a_step_or_a_refusal_with_reasons_or_is_in_service(
        inventory in any_inventory(),
    ) {
        let plan = plan(&inventory, &policy());
        for (disk, judgement) in inventory.disks.iter().zip(&plan.judgements) {
            let refusal = plan.refusals.iter().find(|refusal| refusal.device == disk.device);
            if let Some(refusal) = refusal {
                prop_assert!(!refusal.reasons.is_empty(), "{}", refusal);
            }
            prop_assert!(judgement.ownership == Ownership::Ours || !judgement.reasons.is_empty());
            let has_step = plan.steps.iter().any(|step| step.device() == Some(&disk.device));
            let kept = plan.in_service.iter().any(|kept| kept.device == disk.device);
            let answers = [has_step, refusal.is_some(), kept];
            prop_assert_eq!(answers.iter().filter(|is| **is).count(), 1, "{}", plan);
        }
    }

    #[test]
    fn with_claiming_off_nothing_is_formatted(inventory in any_inventory()) {
        let plan = plan(&inventory, &Policy { claim: false, ..policy() });
        let formats = |step: &Step| {
            matches!(step, Step::Claim { .. } | Step::Resume { .. } | Step::MintIdentity)
        };
        prop_assert!(!plan.steps.iter().any(formats), "{}", plan);
    }
}
