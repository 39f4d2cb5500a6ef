use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::label::NodeKey;
use crate::observe::{Bus, Content};
use crate::report::Bytes;
use crate::testing::{blank, inventory, ours, policy, record, relabel, with_record};
use crate::{Step, plan};

/// A disk that somebody else wrote to.
fn foreign(name: &str) -> ObservedDisk {
    let found = |name: &str, offset| Signature { name: name.to_owned(), offset };
    ObservedDisk {
        serial: "WD-WX42A90K7D1P".to_owned(),
        wipefs: Answer::Is(vec![found("ext4", 0x438)]),
        blkid: Answer::Is(Blkid::Found("ext4".to_owned())),
        own: Answer::Is(vec![found("ext2/3/4", 0x438)]),
        content: Answer::NotAsked,
        smart: Smart::NotAsked,
        ..blank(name)
    }
}

fn asked(inventory: &Inventory, policy: &Policy) -> Result<Fingerprint, Refused> {
    let wanted = DiskId("naa.sda".to_owned());
    check(inventory, &plan(inventory, policy), policy, &wanted, ("0k7d1p", &Smart::Passed))
}

fn one(change: impl FnOnce(&mut ObservedDisk)) -> Result<Fingerprint, Refused> {
    let mut disk = foreign("sda");
    change(&mut disk);
    asked(&inventory([disk, ours("sdb", 1, 11)]), &policy())
}

fn labelled(
    node: u8,
    state: ClaimState,
    change: impl FnOnce(&mut ObservedDisk),
) -> Result<Fingerprint, Refused> {
    let disk = ObservedDisk { serial: "WD-WX42A90K7D1P".to_owned(), ..blank("sda") };
    let label = record(&disk, node, 10, state);
    let mut disk = with_record(disk, label);
    disk.content = Answer::Is(Content::Data { offset: 9 });
    disk.data = Answer::NotAsked;
    change(&mut disk);
    asked(&inventory([disk, ours("sdb", 1, 11), ours("sdc", 1, 12)]), &policy())
}

#[test]
fn a_foreign_disk_may_be_claimed_by_the_end_of_its_serial_number() {
    assert_eq!(one(|_| {}), Ok(Fingerprint::of(&foreign("sda"))));
    assert!(one(|disk| disk.partitions = vec!["sda1".to_owned()]).is_ok());
    assert!(one(|disk| disk.blkid = Answer::Is(Blkid::Ambivalent)).is_ok());
    // Another node's, and a claim of this one that was cut off: it never held anything.
    assert!(labelled(2, ClaimState::Ready, |disk| disk.access = Answer::NotAsked).is_ok());
    assert!(labelled(1, ClaimState::Claiming, |_| {}).is_ok());
    // The first disk of a node that is new.
    assert!(asked(&inventory([foreign("sda")]), &policy()).is_ok());
}

#[test]
fn every_reason_against_it_refuses_and_says_what_to_do() {
    type Case = (&'static str, Result<Fingerprint, Refused>);
    let usb = |disk: &mut ObservedDisk| disk.bus = Bus::Usb;
    let mut twin = blank("sdz");
    (twin.loader, twin.serial) = (true, "WD-WX42A90K7D1P".to_owned());
    let mut same = foreign("sdz");
    same.id = foreign("sda").id;
    let known = |node: u8| Some(NodeKey::from_seed(&[node; 32]).node());
    let misses = || {
        let (gone, mut other) = (ours("sda", 1, 10), ours("sdb", 1, 11));
        let listed = record(&gone, 1, 10, ClaimState::Ready).ledger_entry();
        let mut label = record(&other, 1, 11, ClaimState::Ready);
        label.ledger.insert(listed);
        other = with_record(blank("sdb"), label);
        asked(&inventory([foreign("sda"), other]), &policy())
    };
    let cases: Vec<Case> = vec![
        ("look at the list", asked(&inventory([foreign("sdq")]), &policy())),
        ("still being looked at", {
            asked(
                &Inventory {
                    pending: vec![PathBuf::from("/dev/sdx")],
                    ..inventory([foreign("sda")])
                },
                &policy(),
            )
        }),
        ("still being looked at", {
            asked(&Inventory { settled: false, ..inventory([foreign("sda")]) }, &policy())
        }),
        (
            "claiming is off",
            asked(&inventory([foreign("sda")]), &Policy { claim: false, ..policy() }),
        ),
        ("whose node this is", {
            asked(&inventory([foreign("sda"), ours("sdb", 1, 11), ours("sdc", 2, 12)]), &policy())
        }),
        ("same identity", asked(&inventory([foreign("sda"), same]), &policy())),
        ("it is blank", asked(&inventory([blank("sda")]), &policy())),
        ("retire it", asked(&inventory([ours("sda", 1, 10)]), &policy())),
        ("the node boots from it", one(|disk| disk.loader = true)),
        ("the node boots from it", asked(&inventory([foreign("sda"), twin]), &policy())),
        ("the node boots from it", one(|disk| disk.mounts = vec![PathBuf::from("/mnt")])),
        ("no disk of its own", one(|disk| disk.kind = DeviceKind::Virtual("dm".to_owned()))),
        ("allow_removable", one(usb)),
        ("read-only", one(|disk| disk.read_only = true)),
        ("smaller", one(|disk| disk.size = Bytes(31_999_999_999))),
        ("blocks of 520 bytes", one(|disk| disk.block = 520)),
        ("in use by md0", one(|disk| disk.holders = vec!["md0".to_owned()])),
        ("made of sdx", one(|disk| disk.slaves = vec!["sdx".to_owned()])),
        ("swap", one(|disk| disk.swap = true)),
        ("open for itself", one(|disk| disk.access = Answer::Is(Access::Busy))),
        ("cannot be opened", one(|disk| disk.access = Answer::Is(Access::Denied("no".to_owned())))),
        ("not known", one(|disk| disk.access = Answer::NotAsked)),
        ("cannot be read", {
            let error = "Input/output error".to_owned();
            one(|disk| disk.own = Answer::Failed(Trouble::Read { offset: 0, lba: 0, error }))
        }),
        ("could not be looked at", {
            let (program, error) = ("wipefs".to_owned(), "exit status 1".to_owned());
            one(|disk| disk.wipefs = Answer::Failed(Trouble::Program { program, error }))
        }),
        ("one of its two labels is damaged", {
            labelled(1, ClaimState::Formatting, |disk| {
                relabel(disk, |label| {
                    let Verdict::Valid { other_damaged, .. } = &mut label.verdict else {
                        panic!("{:?}", label.verdict)
                    };
                    *other_damaged = true;
                });
            })
        }),
        (
            "later release",
            one(|disk| relabel(disk, |label| label.verdict = Verdict::Newer { version: 9 })),
        ),
        ("its label is of this node", {
            labelled(1, ClaimState::Ready, |disk| relabel(disk, |label| label.partitions.clear()))
        }),
        ("list of disks", misses()),
        ("no serial number", one(|disk| disk.serial = String::new())),
        ("type the last 6 characters", one(|disk| disk.serial = "WD-WX42A90K7D1Q".to_owned())),
        ("type the last 4 characters", one(|disk| disk.serial = "7D1P".to_owned())),
    ];
    for (words, result) in cases {
        let refused = result.expect_err(words);
        assert!(refused.to_string().contains(words), "{words}: {refused}");
    }
    let held = Inventory { node: known(3), ..inventory([foreign("sda")]) };
    assert!(asked(&held, &policy()).is_ok(), "the node knows who it is");
}

#[test]
fn a_disk_is_judged_again_by_what_is_known_then() {
    let again = |change: fn(&mut ObservedDisk), policy: &Policy| {
        let mut disk = foreign("sda");
        change(&mut disk);
        let inventory = inventory([disk, ours("sdb", 1, 11)]);
        let wanted = DiskId("naa.sda".to_owned());
        check_again(&inventory, &plan(&inventory, policy), policy, &wanted).map(|_| ())
    };
    assert_eq!(again(|_| {}, &policy()), Ok(()));
    let mounted = again(|disk| disk.mounts = vec![PathBuf::from("/mnt")], &policy());
    assert_eq!(mounted, Err(Refused::Not(Ownership::Boot)));
    let off = Policy { claim: false, ..policy() };
    assert_eq!(again(|_| {}, &off), Err(Refused::ClaimingOff));
}

#[test]
fn a_removable_disk_that_node_toml_names_may_be_claimed() {
    let mut disk = foreign("sda");
    disk.bus = Bus::Usb;
    let policy = Policy { allow_removable: vec![disk.serial.clone()], ..policy() };
    assert!(asked(&inventory([disk]), &policy).is_ok());
}

#[test]
fn a_disk_that_is_not_well_is_refused() {
    let inventory = inventory([foreign("sda")]);
    let (policy, wanted) = (policy(), DiskId("naa.sda".to_owned()));
    let plan = plan(&inventory, &policy);
    for smart in [
        Smart::Failing("worn".to_owned()),
        Smart::Unreadable("no answer".to_owned()),
        Smart::Asleep,
        Smart::NotAsked,
    ] {
        let refused = check(&inventory, &plan, &policy, &wanted, ("0K7D1P", &smart));
        assert!(matches!(refused, Err(Refused::Failing(_))), "{smart:?}: {refused:?}");
    }
    let none = Smart::NotSupported("virtio".to_owned());
    assert!(check(&inventory, &plan, &policy, &wanted, ("0K7D1P", &none)).is_ok());
}

#[test]
fn anything_else_that_marks_a_disk_is_another_fingerprint() {
    let before = Fingerprint::of(&foreign("sda"));
    let changes: [fn(&mut ObservedDisk); 9] = [
        |disk| disk.id = Some(DiskId("naa.other".to_owned())),
        |disk| disk.serial.push('X'),
        |disk| disk.size = Bytes(disk.size.0 - 512),
        |disk| disk.partitions.push("sda1".to_owned()),
        |disk| disk.wipefs = Answer::Is(Vec::new()),
        |disk| disk.blkid = Answer::Is(Blkid::Found("xfs".to_owned())),
        |disk| disk.own = Answer::NotAsked,
        |disk| relabel(disk, |label| label.verdict = Verdict::BadSignature),
        |disk| relabel(disk, |label| label.ends = [1; 32]),
    ];
    for change in changes {
        let mut disk = foreign("sda");
        change(&mut disk);
        assert!(Fingerprint::of(&disk) != before, "{disk:?}");
    }
    // Its name in this boot, and how it does, are no part of it.
    let renamed =
        ObservedDisk { device: "/dev/sdq".into(), smart: Smart::Passed, ..foreign("sda") };
    assert_eq!(Fingerprint::of(&renamed), before);
}

#[test]
fn an_erased_disk_is_claimed_though_there_is_data_between_its_ends_and_no_other() {
    let between = Content::Data { offset: 1 << 30 };
    let judged = |content, erased: &[&str]| {
        let mut disk = blank("sda");
        disk.content = Answer::Is(content);
        let erased = erased.iter().map(|name| DiskId((*name).to_owned())).collect();
        let inventory = Inventory { erased, ..inventory([disk, ours("sdb", 1, 11)]) };
        let plan = plan(&inventory, &policy());
        plan.steps.iter().any(|step| matches!(step, Step::Claim { .. }))
    };
    assert!(judged(between, &["naa.sda"]));
    assert!(!judged(between, &[]));
    assert!(!judged(between, &["naa.sdb"]));
    let size = blank("sda").size.0;
    for offset in [0, 1 << 20, (16 << 20) - 1, size - (16 << 20), size - 1] {
        assert!(!judged(Content::Data { offset }, &["naa.sda"]), "{offset}");
    }
}

proptest! {
    #[test]
    fn only_the_very_end_of_a_serial_number_is_accepted(serial in "[A-Za-z0-9-]{1,20}", typed in "[A-Za-z0-9-]{0,8}") {
        let end: String = serial.chars().rev().take(6).collect::<Vec<_>>().into_iter().rev().collect();
        let is = typed.eq_ignore_ascii_case(&end);
        prop_assert_eq!(check_end(&serial, &typed).is_ok(), is);
        let padded = format!(" {} ", end.to_lowercase());
        prop_assert!(check_end(&serial, &padded).is_ok());
    }

    #[test]
    fn no_disk_that_is_not_foreign_is_ever_let_through(
        loader in any::<bool>(), swap in any::<bool>(), usb in any::<bool>(), busy in any::<bool>(),
        mounted in any::<bool>(), held in any::<bool>(), empty in any::<bool>(), off in any::<bool>(),
    ) {
        let mut disk = if empty { blank("sda") } else { foreign("sda") };
        disk.serial = "WD-WX42A90K7D1P".to_owned();
        (disk.loader, disk.swap) = (loader, swap);
        if usb { disk.bus = Bus::Usb; }
        if busy { disk.access = Answer::Is(Access::Busy); }
        if mounted { disk.mounts.push("/mnt".into()); }
        if held { disk.holders.push("dm-0".to_owned()); }
        let result = asked(&inventory([disk]), &Policy { claim: !off, ..policy() });
        let may = !(loader || swap || usb || busy || mounted || held || empty || off);
        prop_assert_eq!(result.is_ok(), may, "{:?}", result);
    }
}
