//! Which tests are started.

use std::collections::{BTreeMap, BTreeSet};

use disk_manager_plan::hardware::SelfTest;
use disk_manager_plan::report::DiskId;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::generate::{ata, ata_test, nvme, scsi, with, without};
use super::{DriveReading, TestDisk, TestStart, decode, plan_tests};

/// A disk of set 0 that was tested within the hour.
fn tested(id: &str) -> TestDisk {
    TestDisk {
        id: DiskId(id.to_owned()),
        sets: BTreeSet::from([0]),
        is_running: false,
        power_on_hours: Some(10_000),
        since_short: Some(0),
        since_long: Some(0),
        started_hours_ago: None,
    }
}

fn names(starts: &[TestStart]) -> Vec<(&str, SelfTest)> {
    starts.iter().map(|start| (start.disk.0.as_str(), start.test)).collect()
}

fn of(answer: &Value) -> TestDisk {
    let reading = decode(0, &answer.to_string());
    TestDisk::new(DiskId("a".to_owned()), BTreeSet::from([0]), &reading, None)
}

#[test]
fn disks_that_were_never_tested_are_tested_one_at_a_time_in_each_set() {
    let new = |id: &str, set| TestDisk {
        since_short: None,
        since_long: None,
        sets: BTreeSet::from([set]),
        ..tested(id)
    };
    let disks = [new("a", 0), new("b", 0), new("c", 1), new("d", 1)];
    assert_eq!(names(&plan_tests(&disks, false)), [("a", SelfTest::Short), ("c", SelfTest::Short)]);
    assert!(plan_tests(&disks, true).is_empty(), "not while the pool heals");
}

#[test]
fn a_short_test_goes_before_a_long_one_and_the_longest_wait_first() {
    let disks = [
        TestDisk { since_long: Some(2000), ..tested("a") },
        TestDisk { since_short: Some(400), ..tested("b") },
        TestDisk { since_short: Some(500), ..tested("c") },
    ];
    assert_eq!(names(&plan_tests(&disks, false)), [("c", SelfTest::Short)]);
    assert_eq!(names(&plan_tests(&disks[..1], false)), [("a", SelfTest::Long)]);
}

#[test]
fn nothing_is_started_beside_a_test_that_runs() {
    let running = TestDisk { is_running: true, ..tested("a") };
    let due = TestDisk { since_short: None, ..tested("b") };
    let other = TestDisk { sets: BTreeSet::from([7]), ..due.clone() };
    assert!(plan_tests(&[running.clone(), due], false).is_empty());
    assert_eq!(plan_tests(&[running, other], false).len(), 1);
}

#[test]
fn a_test_that_was_started_is_not_started_again_within_a_day_whatever_the_log_says() {
    let reading = decode(0, &ata().to_string());
    let disk = |ago| TestDisk {
        since_short: None,
        ..TestDisk::new(DiskId("a".to_owned()), BTreeSet::from([0]), &reading, ago)
    };
    let other = TestDisk { since_short: None, ..tested("b") };
    assert!(plan_tests(&[disk(Some(0)), other.clone()], false).is_empty(), "it runs as yet");
    assert_eq!(names(&plan_tests(&[disk(Some(1)), other], false)), [("b", SelfTest::Short)]);
    assert!(plan_tests(&[disk(Some(23))], false).is_empty());
    assert_eq!(plan_tests(&[disk(Some(24))], false).len(), 1);
}

#[test]
fn a_disk_that_sleeps_or_gives_no_answer_or_has_no_tests_is_left_alone() {
    let sets = BTreeSet::from([0]);
    let silent = DriveReading::Unknown { reason: String::new() };
    for reading in [DriveReading::Asleep, silent] {
        let disk = TestDisk::new(DiskId("a".to_owned()), sets.clone(), &reading, None);
        assert!(plan_tests(&[disk], false).is_empty(), "{reading:?}");
    }
    let supported = "/ata_smart_data/capabilities/self_tests_supported";
    let without_tests = without(with(ata(), supported, json!(false)), "/ata_smart_self_test_log");
    assert!(plan_tests(&[of(&without_tests)], false).is_empty());
    let silent = without(nvme(), "/nvme_self_test_log");
    assert!(plan_tests(&[of(&silent)], false).is_empty(), "it does not say that it can");
    let new = without(without(scsi(), "/scsi_self_test_0"), "/scsi_self_test_1");
    assert_eq!(names(&plan_tests(&[of(&new)], false)), [("a", SelfTest::Short)]);
}

#[test]
fn the_time_since_a_test_comes_from_the_disks_own_log() {
    let disk = of(&ata());
    assert_eq!((disk.since_short, disk.since_long), (Some(45), Some(345)));
    assert_eq!((of(&nvme()).since_short, of(&nvme()).since_long), (Some(100), Some(500)));
    assert_eq!((of(&scsi()).since_short, of(&scsi()).since_long), (Some(100), Some(500)));
    let log = |tests: Value| with(ata(), "/ata_smart_self_test_log/extended/table", tests);
    let long = of(&log(json!([ata_test(2, 0x70, 12_344)])));
    assert_eq!((long.since_short, long.since_long), (Some(1), Some(1)), "a long one is thorough");
    let broken_off = of(&log(json!([ata_test(2, 0x10, 12_344)])));
    assert_eq!((broken_off.since_short, broken_off.since_long), (None, None));
}

#[test]
fn the_hours_of_atas_log_begin_anew_after_65536() {
    let old = with(ata(), "/power_on_time/hours", json!(70_000));
    let log = json!([ata_test(1, 0, 70_000 - 65_536 - 3)]);
    let old = with(old, "/ata_smart_self_test_log/extended/table", log);
    assert_eq!(of(&old).since_short, Some(3));
}

#[test]
fn disks_are_tested_each_week_and_month_and_not_all_at_the_same_hour() {
    let ids: Vec<String> = (0..12).map(|number| format!("naa.5000c500a1b2c3{number:02}")).collect();
    let mut last: BTreeMap<(&str, bool), u64> = BTreeMap::new();
    let mut shorts: BTreeMap<u64, usize> = BTreeMap::new();
    let mut counts = [0, 0];
    // A hundred days. Each disk is a set of its own, so that only its own hours tell when.
    for hour in 10_000..12_400_u64 {
        let since = |id: &str, is_long| {
            let short = last.get(&(id, false)).copied();
            let long = last.get(&(id, true)).copied();
            let at = if is_long { long } else { short.max(long) };
            Some(hour - at.unwrap_or(10_000))
        };
        let disks: Vec<TestDisk> = ids
            .iter()
            .zip(0..)
            .map(|(id, set)| TestDisk {
                power_on_hours: Some(hour),
                since_short: since(id, false),
                since_long: since(id, true),
                sets: BTreeSet::from([set]),
                ..tested(id)
            })
            .collect();
        for start in plan_tests(&disks, false) {
            let id = ids.iter().find(|id| **id == start.disk.0).expect("one of them");
            let is_long = start.test == SelfTest::Long;
            last.insert((id, is_long), hour);
            counts[usize::from(is_long)] += 1;
            // By then each has found its own hour.
            if !is_long && hour > 10_720 {
                *shorts.entry(hour).or_default() += 1;
            }
        }
    }
    // 2400 hours are 14.3 weeks and 3.3 months, of 12 disks; a long one in the same week stands for a
    // short one, and the first round may be short or wait.
    assert!((12 * 10..=12 * 15).contains(&counts[0]), "{counts:?}");
    assert!((12 * 3..=12 * 4).contains(&counts[1]), "{counts:?}");
    assert!(shorts.values().all(|count| *count <= 2), "{shorts:?}");
}

proptest! {
    #[test]
    fn no_two_tests_run_in_a_set_and_none_where_it_must_not(
        disks in prop::collection::vec(
            (
                prop::collection::btree_set(0u32..4, 0..3),
                any::<bool>(),
                prop::option::of(any::<u64>()),
                prop::option::of(any::<u64>()),
                prop::option::of(any::<u64>()),
                prop::option::of(0u64..50),
            ),
            0..12,
        ),
        healing in any::<bool>(),
    ) {
        let disks: Vec<TestDisk> = disks
            .into_iter()
            .zip(0..)
            .map(|((sets, is_running, hours, short, long, ago), number)| TestDisk {
                id: DiskId(format!("disk-{number}")),
                sets,
                is_running,
                power_on_hours: hours,
                since_short: short,
                since_long: long,
                started_hours_ago: ago,
            })
            .collect();
        let starts = plan_tests(&disks, healing);
        prop_assert!(!healing || starts.is_empty());
        let mut busy: BTreeMap<u32, usize> = BTreeMap::new();
        for start in &starts {
            let disk = disks.iter().find(|disk| disk.id == start.disk).expect("one of them");
            prop_assert!(!disk.is_running && disk.power_on_hours.is_some());
            for set in &disk.sets {
                *busy.entry(*set).or_default() += 1;
            }
        }
        for (set, started) in busy {
            let runs = disks.iter().any(|disk| disk.is_running && disk.sets.contains(&set));
            prop_assert!(started == 1 && !runs);
        }
    }
}
