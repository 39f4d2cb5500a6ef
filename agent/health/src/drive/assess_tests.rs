//! What is thought of a disk.

use disk_manager_plan::report::DiskId;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::generate::{
    Fault, ata, ata_test, fault, needed, nvme, nvme_test, pointer_of, row, scsi, signs, spoil,
    with, with_count, without,
};
use super::{
    Asked, Counts, DriveHealth, DriveReading, Earlier, ObservedCalls, Thresholds, assess, decode,
};
use crate::verdict::{Health, Kind};

const DAY_SECONDS: u64 = 24 * 3600;

fn assessed(answer: &Value, earlier: &[Earlier]) -> DriveHealth {
    let reading = decode(0, &answer.to_string());
    assess(&reading, earlier, &ObservedCalls::default(), &Thresholds::default())
}

fn health(answer: &Value) -> (Health, Vec<String>) {
    let DriveHealth { health, evidence, .. } = assessed(answer, &[]);
    (health, evidence)
}

#[track_caller]
fn is(answer: &Value, expected: Health, words: &str) {
    let (health, evidence) = health(answer);
    assert_eq!(health, expected, "{evidence:?}");
    assert!(evidence.iter().any(|line| line.contains(words)), "{evidence:?}");
}

fn observed(observed: ObservedCalls) -> DriveHealth {
    let reading = decode(0, &ata().to_string());
    assess(&reading, &[], &observed, &Thresholds::default())
}

fn earlier(days: u64, counts: Counts) -> Earlier {
    Earlier { age_seconds: days * DAY_SECONDS, counts }
}

#[test]
fn disks_without_a_fault_are_healthy_and_nothing_is_said_against_them() {
    for answer in [ata(), nvme(), scsi()] {
        let verdict = assessed(&answer, &[]);
        assert_eq!((verdict.health, &verdict.evidence[..]), (Health::Healthy, &[][..]));
        assert!(!verdict.hot && verdict.asked == Asked::Answered);
    }
}

#[test]
fn each_row_of_the_table_of_failure_rates_has_its_verdict() {
    let table = [
        (5, 0, Health::Healthy),
        (5, 4, Health::Healthy),
        (5, 16, Health::Healthy),
        (5, 17, Health::Failing),
        (5, 70, Health::Failing),
        (5, 260, Health::Failing),
        (10, 1, Health::Failing),
        (187, 1, Health::Failing),
        (188, 100, Health::Healthy),
        (188, 101, Health::Warning),
        (188, 4 << 32 | 4, Health::Failing),
        (197, 1, Health::Failing),
        (197, 2, Health::Failing),
        (197, 40, Health::Failing),
        (198, 1, Health::Failing),
        (199, 1, Health::Healthy),
        (199, 2, Health::Warning),
        (199, 100_000, Health::Warning),
    ];
    for (id, count, expected) in table {
        let (health, evidence) = health(&with_count(ata(), id, count));
        assert_eq!(health, expected, "{id} at {count}: {evidence:?}");
    }
}

#[test]
fn evidence_names_the_attribute_its_count_and_the_rate() {
    let answer = with_count(with_count(ata(), 199, 50), 197, 12);
    let verdict = assessed(&answer, &[]);
    let expected = [
        "197 pending sectors: 12, annual failure rate 47–78%",
        "199 transmission errors, of the cable or slot: 50, annual failure rate 10–22%",
    ];
    assert_eq!(verdict.evidence, expected);
    let told = verdict.verdict(&DiskId("naa.1".to_owned()));
    assert_eq!(
        (told.kind, told.health, told.name.as_str()),
        (Kind::Disk, Health::Failing, "naa.1")
    );
    assert_eq!(told.evidence, expected);
    let rate = verdict.annual_failure_rate.map(|rate| rate.to_string());
    assert_eq!(rate.as_deref(), Some("47–78%"), "the worst of all");
    assert!(assessed(&ata(), &[]).annual_failure_rate.is_some());
    assert_eq!(assessed(&nvme(), &[]).annual_failure_rate, None, "nobody has published any");
}

#[test]
fn an_attribute_that_a_vendor_uses_for_something_else_is_not_judged_by_its_count() {
    let named = |id, name: &str| with(row(id, 5000), "/name", json!(name));
    let table = [
        (198, "Host_Reads_GiB"),
        (198, "Read_Sectors_Tot_Ct"),
        (199, "Host_Writes_GiB"),
        (197, "ECC_Error_Count"),
        (197, "Not_In_Use"),
        (10, "Unknown_SSD_Attribute"),
    ];
    for (id, name) in table {
        let answer = with(ata(), &pointer_of(id), named(id, name));
        assert_eq!(health(&answer), (Health::Healthy, Vec::new()), "{id} {name}");
    }
    for (id, name) in [(198, "Offline_Uncorrectable"), (197, "Current_Pending_ECC_Cnt"), (187, "?")]
    {
        let answer = with(ata(), &pointer_of(id), named(id, name));
        assert_eq!(health(&answer).0, Health::Failing, "{id} {name}");
    }
}

#[test]
fn every_sign_of_failure_is_found() {
    for (answer, pointer, sign) in signs() {
        let (health, evidence) = health(&with(answer, &pointer, sign.clone()));
        assert!(health > Health::Unknown, "{pointer} {sign}: {health} {evidence:?}");
    }
}

#[test]
fn nothing_is_healthy_that_did_not_say_all_that_it_is_judged_by() {
    for (answer, pointer) in needed() {
        let (health, evidence) = health(&without(answer, &pointer));
        assert_eq!(health, Health::Unknown, "{pointer}: {evidence:?}");
    }
}

#[test]
fn heat_alone_is_a_warning_and_says_so() {
    let hot = with(ata(), "/temperature/current", json!(60));
    is(&hot, Health::Warning, "60 °C, the disk's own limit is 60 °C");
    assert!(assessed(&hot, &[]).hot);
    let limit = "/temperature/op_limit_max";
    let unlimited = without(with(ata(), "/temperature/current", json!(61)), limit);
    is(&unlimited, Health::Warning, "61 °C, the limit is 60 °C");
    let flash = with(unlimited, "/rotation_rate", json!(0));
    assert_eq!(health(&flash).0, Health::Healthy, "flash stands 70 °C");
    let mut warned = with(nvme(), "/smart_status/passed", json!(false));
    warned = with(warned, "/nvme_smart_health_information_log/critical_warning", json!(2));
    is(&warned, Health::Warning, "its temperature is outside of what it stands");
    assert!(assessed(&warned, &[]).hot);
    let was_hot = with(row(190, 0), "/when_failed", json!("past"));
    let was_hot = with(ata(), "/ata_smart_attributes/table/0", was_hot);
    assert_eq!(health(&was_hot).0, Health::Healthy, "it was hot once");
}

#[test]
fn wear_is_a_warning_before_it_is_a_failure() {
    let worn =
        |percent| with(nvme(), "/nvme_smart_health_information_log/percentage_used", percent);
    assert_eq!(health(&worn(json!(89))).0, Health::Healthy);
    is(&worn(json!(90)), Health::Warning, "wear: 90%");
    is(&worn(json!(255)), Health::Failing, "wear: 255%");
    let spare = with(nvme(), "/nvme_smart_health_information_log/available_spare", json!(10));
    assert_eq!(health(&spare).0, Health::Healthy, "at the threshold is not below it");
}

#[test]
fn a_failed_self_test_counts_until_a_long_one_passes() {
    let failed = ata_test(1, 0x70, 12_000);
    let log =
        |tests: &[Value]| with(ata(), "/ata_smart_self_test_log/extended/table", json!(tests));
    let (short, long, aborted) = (ata_test(1, 0, 1), ata_test(2, 0, 1), ata_test(1, 0x19, 1));
    is(&log(std::slice::from_ref(&failed)), Health::Failing, "a self-test failed at 12000 h");
    is(&log(&[aborted.clone(), failed.clone()]), Health::Failing, "a self-test failed");
    is(&log(&[short, failed.clone()]), Health::Warning, "a self-test failed");
    assert_eq!(health(&log(&[long, failed])).0, Health::Healthy);
    assert_eq!(health(&log(&[aborted])).0, Health::Healthy, "it says nothing");
    is(&log(&[json!("x")]), Health::Unknown, "some of its self-tests");
    let nvme = with(nvme(), "/nvme_self_test_log/table/0", nvme_test(1, 5, 7900));
    is(&nvme, Health::Failing, "a self-test failed at 7900 h");
}

#[test]
fn age_alone_is_a_warning() {
    let old = with(row(1, 0), "/when_failed", json!("now"));
    let old = with(ata(), &pointer_of(1), with(old, "/flags/prefailure", json!(false)));
    is(&old, Health::Warning, "1 Attribute_1 is at its threshold");
    let past = with(row(1, 0), "/when_failed", json!("past"));
    is(&with(ata(), &pointer_of(1), past), Health::Warning, "1 Attribute_1 was at its threshold");
}

#[test]
fn what_rises_within_the_window_counts_and_what_rests_does_not() {
    let media = |count| Counts { media_errors: Some(count), ..Counts::default() };
    let log = "/nvme_smart_health_information_log/media_errors";
    let errors = with(nvme(), log, json!(5));
    assert_eq!(assessed(&errors, &[]).health, Health::Warning);
    assert_eq!(assessed(&errors, &[earlier(3, media(5))]).health, Health::Warning);
    let risen = assessed(&errors, &[earlier(1, media(5)), earlier(6, media(2))]);
    assert_eq!(risen.health, Health::Failing);
    let expected = "errors that nothing corrected rose from 2 to 5 within 7 days";
    assert_eq!(risen.evidence.first().map(String::as_str), Some(expected));
    assert_eq!(assessed(&errors, &[earlier(8, media(2))]).health, Health::Warning, "too long ago");
    assert_eq!(assessed(&errors, &[earlier(1, media(9))]).health, Health::Warning, "began anew");

    let sectors = |count| Counts { reallocated: Some(count), ..Counts::default() };
    let some = with_count(ata(), 5, 3);
    assert_eq!(assessed(&some, &[]).health, Health::Healthy);
    assert_eq!(assessed(&some, &[earlier(5, sectors(1))]).health, Health::Warning);
}

#[test]
fn a_cable_that_was_exchanged_is_forgotten_after_a_window_without_an_error() {
    let errors = |count| Counts { interface_errors: Some(count), ..Counts::default() };
    let answer = with_count(ata(), 199, 50);
    assert_eq!(assessed(&answer, &[earlier(6, errors(50))]).health, Health::Warning);
    assert_eq!(assessed(&answer, &[earlier(7, errors(50))]).health, Health::Healthy);
    assert_eq!(assessed(&answer, &[earlier(7, errors(49))]).health, Health::Warning);
}

#[test]
fn what_the_engine_saw_counts_as_much_as_what_the_disk_says() {
    let calls = ObservedCalls::default();
    assert_eq!(observed(calls).health, Health::Healthy);
    let zero = ObservedCalls { errors: Some(0), damaged_blocks: Some(0), ..calls };
    assert_eq!(observed(zero).health, Health::Healthy);
    let one = ObservedCalls { errors: Some(1), ..calls };
    assert_eq!(observed(one).health, Health::Warning);
    let ten = ObservedCalls { errors: Some(10), ..calls };
    assert_eq!(observed(ten).evidence, ["calls that failed: 10"]);
    assert_eq!(observed(ten).health, Health::Failing);
    let damaged = ObservedCalls { damaged_blocks: Some(1), ..calls };
    assert_eq!(observed(damaged).evidence, ["damaged blocks: 1"]);
    let slow = |own, peers| {
        let (p99_us, peers_p99_us) = (Some(own), Some(peers));
        observed(ObservedCalls { p99_us, peers_p99_us, ..calls })
    };
    assert_eq!(slow(200_000, 50_000).health, Health::Warning);
    let words = "slow: 99 of 100 calls within 200 ms, of its peers 50 ms";
    assert_eq!(slow(200_000, 50_000).evidence, [words]);
    assert_eq!(slow(199_999, 50_000).health, Health::Healthy);
    assert_eq!(slow(49_999, 1_000).health, Health::Healthy, "fast enough");
}

#[test]
fn a_disk_that_cannot_answer_or_sleeps_is_told_from_one_that_should_have_answered() {
    let asked = |reading: &DriveReading, calls: &ObservedCalls| {
        let verdict = assess(reading, &[], calls, &Thresholds::default());
        (verdict.health, verdict.asked, verdict.evidence.len())
    };
    let reason = || "a virtio disk cannot have it".to_owned();
    let cannot = DriveReading::Cannot { reason: reason() };
    let silent = DriveReading::Unknown { reason: reason() };
    let quiet = ObservedCalls { errors: Some(0), ..ObservedCalls::default() };
    assert_eq!(asked(&cannot, &quiet), (Health::Unknown, Asked::Cannot, 1));
    assert_eq!(asked(&silent, &quiet), (Health::Unknown, Asked::Silent, 1));
    assert_eq!(asked(&DriveReading::Asleep, &quiet), (Health::Unknown, Asked::Asleep, 1));
    let errors = ObservedCalls { errors: Some(11), ..quiet };
    assert_eq!(asked(&cannot, &errors), (Health::Failing, Asked::Cannot, 2));
}

/// Spoils an answer as long as the sign still stands where it was put.
fn spoil_beside(answer: &Value, faults: &[Fault], pointer: &str, sign: &Value) -> Value {
    let keep = |answer: Value, fault: &Fault| {
        let spoiled = spoil(answer.clone(), fault);
        if spoiled.pointer(pointer) == Some(sign) { spoiled } else { answer }
    };
    faults.iter().fold(answer.clone(), keep)
}

proptest! {
    /// Whatever else is missing, of the wrong type or absurd: where a sign of failure stands in what was
    /// printed, the disk is not healthy.
    #[test]
    fn no_disk_with_a_sign_of_failure_is_ever_healthy(
        which in any::<prop::sample::Index>(),
        faults in prop::collection::vec(fault(), 0..12),
    ) {
        let signs = signs();
        let (answer, pointer, sign) = which.get(&signs);
        let answer = with(answer.clone(), pointer, sign.clone());
        let spoiled = spoil_beside(&answer, &faults, pointer, sign);
        let (health, evidence) = health(&spoiled);
        // A temperature is too high or not by what is said beside it.
        let is_excused = pointer == "/temperature/current" && spoiled.pointer("/temperature") !=
            answer.pointer("/temperature");
        prop_assert!(health != Health::Healthy || is_excused, "{} {}: {:?}", pointer, sign, evidence);
    }

    /// Whatever else is missing, of the wrong type or absurd: where one of the data is missing that a disk
    /// is judged by, it is not healthy.
    #[test]
    fn no_disk_that_did_not_say_what_is_needed_is_ever_healthy(
        which in any::<prop::sample::Index>(),
        faults in prop::collection::vec(fault(), 0..12),
    ) {
        let needed = needed();
        let (answer, pointer) = which.get(&needed);
        let mut answer = without(answer.clone(), pointer);
        for fault in &faults {
            let spoiled = spoil(answer.clone(), fault);
            // Attributes 5 and 197 are needed of rotating disks, and the count of the others only where
            // they have them.
            let keeps = |pointer: &str| spoiled.pointer(pointer) == answer.pointer(pointer);
            let row = pointer.rsplit_once('/').map(|(row, _)| row).filter(|row| row.contains("table/"));
            if keeps("/rotation_rate") && row.is_none_or(keeps) {
                answer = spoiled;
            }
        }
        let (health, _) = health(&answer);
        prop_assert_ne!(health, Health::Healthy, "{} {}", pointer, answer);
    }
}
