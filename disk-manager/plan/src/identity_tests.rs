use proptest::prelude::*;

use super::*;
use crate::observe::{ObservedDisk, Trouble};
use crate::testing::{blank, inventory, key, ours, policy, record, relabel, with_record};

fn decide(disks: impl Into<Vec<ObservedDisk>>) -> Identity {
    super::decide(&inventory(disks), &policy())
}

fn unreadable(name: &str) -> ObservedDisk {
    let mut disk = blank(name);
    let (offset, lba, error) = (0, 0, "os error 5".to_owned());
    disk.label = Answer::Failed(Trouble::Read { offset, lba, error });
    disk
}

fn begun(name: &str, node: u8, volume: u128) -> ObservedDisk {
    let disk = blank(name);
    let label = record(&disk, node, volume, ClaimState::Claiming);
    with_record(disk, label)
}

#[test]
fn blank_disks_alone_let_an_identity_be_made() {
    assert_eq!(decide([blank("sda"), blank("sdb")]), Identity::None);
    assert_eq!(decide([]), Identity::None);
}

#[test]
fn an_identity_on_any_disk_is_this_nodes() {
    assert_eq!(decide([blank("sda"), ours("sdb", 1, 1)]), Identity::Known(key(1).node()));
    assert_eq!(decide([blank("sda"), begun("sdb", 1, 1)]), Identity::Known(key(1).node()));
}

#[test]
fn the_node_with_the_most_disks_is_this_one_and_a_tie_is_nobodys() {
    let two_to_one = [ours("sda", 1, 1), ours("sdb", 2, 2), ours("sdc", 2, 3)];
    assert_eq!(decide(two_to_one), Identity::Known(key(2).node()));
    let tie = decide([ours("sda", 1, 1), ours("sdb", 2, 2)]);
    assert!(matches!(tie, Identity::Tie(nodes) if nodes.len() == 2));
}

#[test]
fn one_complete_disk_outvotes_begun_claims() {
    let disks = [ours("sda", 1, 1), begun("sdb", 2, 2), begun("sdc", 2, 3)];
    assert_eq!(decide(disks), Identity::Known(key(1).node()));
}

#[test]
fn what_may_be_ours_but_does_not_verify_keeps_an_identity_from_being_made() {
    let mut broken = ours("sdb", 1, 1);
    relabel(&mut broken, |label| label.verdict = Verdict::BadSignature);
    let mut bare = ours("sdc", 1, 1);
    relabel(&mut bare, |label| label.verdict = Verdict::Absent);
    let mut copy = ours("sdd", 1, 1);
    (copy.id, copy.serial) = (Some(crate::report::DiskId("naa.x".into())), "x".into());
    for disk in [broken, bare, copy, unreadable("sde")] {
        let device = disk.device.clone();
        assert_eq!(decide([blank("sda"), disk]), Identity::Held(vec![device]));
    }
    let (mut path, mut other) = (ours("sdb", 1, 1), ours("sdc", 1, 1));
    (path.id, other.id) = (blank("sdz").id, blank("sdz").id);
    assert!(matches!(decide([blank("sda"), path, other]), Identity::Held(_)));
}

#[test]
fn a_disk_with_anyones_data_keeps_nobody_from_an_identity() {
    let mut data = blank("sdb");
    data.content = Answer::Is(crate::observe::Content::Data { offset: 0 });
    assert_eq!(decide([blank("sda"), data]), Identity::None);
}

#[test]
fn while_disks_are_looked_at_or_expected_nothing_is_made() {
    let mut waiting = inventory([blank("sda")]);
    waiting.pending.push("/dev/sdb".into());
    assert_eq!(super::decide(&waiting, &policy()), Identity::Waiting);
    let unsettled = Inventory { settled: false, ..inventory([blank("sda")]) };
    assert_eq!(super::decide(&unsettled, &policy()), Identity::Waiting);
}

#[test]
fn a_node_whose_ledger_is_complete_waits_for_no_one() {
    let mut disks = [ours("sda", 1, 1), ours("sdb", 1, 2)];
    let unsettled = Inventory { settled: false, ..inventory(disks.clone()) };
    assert_eq!(super::decide(&unsettled, &policy()), Identity::Waiting);
    let both = Ledger::new([record(&disks[0], 1, 1, ClaimState::Ready).ledger_entry(), {
        record(&disks[1], 1, 2, ClaimState::Ready).ledger_entry()
    }]);
    for disk in &mut disks {
        relabel(disk, |label| {
            if let Verdict::Valid { record, .. } = &mut label.verdict {
                record.ledger = both.clone();
            }
        });
    }
    let mut unsettled = Inventory { settled: false, ..inventory(disks.clone()) };
    unsettled.pending.push("/dev/sdc".into());
    assert_eq!(super::decide(&unsettled, &policy()), Identity::Known(key(1).node()));
    let alone = Inventory { settled: false, ..inventory(disks[..1].to_vec()) };
    assert_eq!(super::decide(&alone, &policy()), Identity::Waiting);
}

#[test]
fn an_identity_in_use_stays_whatever_is_plugged_in() {
    let inventory = Inventory {
        node: Some(key(1).node()),
        ..inventory([ours("sda", 2, 1), ours("sdb", 2, 2)])
    };
    assert_eq!(super::decide(&inventory, &policy()), Identity::Known(key(1).node()));
}

#[test]
fn a_label_on_the_boot_disk_has_no_vote() {
    let mut boot = ours("sda", 1, 1);
    boot.loader = true;
    assert_eq!(decide([boot, blank("sdb")]), Identity::None);
}

proptest! {
    #[test]
    fn a_new_identity_is_never_made_beside_anything_of_ours(
        kinds in prop::collection::vec(0..5u8, 1..8),
    ) {
        let disks: Vec<_> = kinds.iter().enumerate().map(|(n, kind)| {
            let (name, volume) = (format!("sd{n}"), n as u128);
            match kind {
                0 => blank(&name),
                1 => ours(&name, 1, volume),
                2 => ours(&name, 2, volume),
                3 => begun(&name, 3, volume),
                _ => unreadable(&name),
            }
        }).collect();
        let all_blank = kinds.iter().all(|kind| *kind == 0);
        prop_assert_eq!(decide(disks) == Identity::None, all_blank);
    }
}
