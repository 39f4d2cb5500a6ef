//! What is read out of real and made-up answers.

use disk_manager_plan::hardware::{Answer, SelfTest};
use disk_manager_plan::report::DiskId;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::generate::{ata, fault, nvme, scsi, scsi_test, spoil, with, without};
use super::{
    Drive, DriveClass, DriveReading, Failed, ObservedCalls, TestEnd, Thresholds, assess, decode,
};
use crate::ask::AskError;
use crate::sample::SampleKind;
use crate::verdict::Health;

fn fixture(name: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/smartctl");
    std::fs::read_to_string(format!("{folder}/{name}.json")).expect("a fixture")
}

fn known(text: &str) -> Drive {
    match decode(0, text) {
        DriveReading::Known(drive) => *drive,
        other => panic!("{other:?}"),
    }
}

fn read(answer: &Value) -> Drive {
    known(&answer.to_string())
}

fn judged(reading: &DriveReading) -> Health {
    assess(reading, &[], &ObservedCalls::default(), &Thresholds::default()).health
}

#[test]
fn an_nvme_disk_of_qemu_is_read_and_healthy() {
    let drive = known(&fixture("nvme"));
    assert_eq!(drive.class, DriveClass::Nvme);
    assert_eq!(drive.identity.serial.as_deref(), Some("NVME1"));
    assert_eq!(drive.temperatures.current, Some(50));
    assert_eq!((drive.power_on_hours, drive.wear_percent), (Some(0), Some(0)));
    assert_eq!(drive.nvme.as_ref().and_then(|log| log.data_units_read), Some(1));
    assert_eq!(judged(&decode(0, &fixture("nvme"))), Health::Healthy);
}

#[test]
fn an_nvme_disk_of_qemu_with_a_critical_warning_fails() {
    let reading = decode(8, &fixture("nvme-critical-warning"));
    let health = assess(&reading, &[], &ObservedCalls::default(), &Thresholds::default());
    assert_eq!(health.health, Health::Failing);
    let expected = [
        "the disk itself says that it fails",
        "critical warning: the spare is below its threshold",
        "critical warning: it is less reliable for its many errors",
    ];
    assert_eq!(health.evidence, expected);
}

#[test]
fn an_ata_disk_of_qemu_is_read_although_a_command_failed() {
    let drive = known(&fixture("ata"));
    assert_eq!((drive.class, drive.exit, drive.passed), (DriveClass::Ata, 4, Some(true)));
    assert_eq!((drive.power_on_hours, drive.power_cycles), (Some(1), Some(0)));
    let airflow = drive.attribute(190).expect("its temperature");
    assert_eq!((airflow.raw, airflow.failed), (Some(522_125_343), None));
    assert_eq!(drive.temperatures.current, Some(31));
    assert_eq!(judged(&decode(4, &fixture("ata"))), Health::Healthy);
}

#[test]
fn a_self_test_of_a_disk_of_qemu_is_in_its_log() {
    let drive = known(&fixture("ata-after-self-test"));
    assert!(drive.self_tests.log.is_there && drive.self_tests.running.is_none());
    let [test] = drive.self_tests.log.results[..] else { panic!("{:?}", drive.self_tests) };
    assert_eq!((test.test, test.end), (Some(SelfTest::Short), TestEnd::Passed));
    assert_eq!(test.at_hours, Some(4660), "made up by QEMU");
}

#[test]
fn a_disk_that_has_no_smart_cannot_answer_and_one_that_is_not_understood_is_unknown() {
    let scsi = decode(4, &fixture("scsi-without-smart"));
    assert!(matches!(scsi, DriveReading::Cannot { .. }), "{scsi:?}");
    let virtio = decode(1, &fixture("virtio"));
    let DriveReading::Unknown { reason } = virtio else { panic!("{virtio:?}") };
    assert!(reason.ends_with("/dev/vda: Unable to detect device type"), "{reason}");
}

#[test]
fn a_disk_that_sleeps_is_asleep_and_not_unknown() {
    let message =
        json!({"string": "Device is in STANDBY mode, exit(2)", "severity": "information"});
    let answer = json!({"smartctl": {"messages": [message], "exit_status": 2}}).to_string();
    assert_eq!(decode(2, &answer), DriveReading::Asleep);
    assert_eq!(decode(0, &answer), DriveReading::Asleep, "the status of the program is not needed");
    let refused = json!({"smartctl": {"messages": [{"string": "Permission denied"}]}}).to_string();
    assert!(matches!(decode(2, &refused), DriveReading::Unknown { .. }));
}

#[test]
fn only_two_bits_of_the_exit_status_mean_that_there_is_nothing() {
    for bit in 0..8 {
        let is_known = matches!(decode(1 << bit, &ata().to_string()), DriveReading::Known(_));
        assert_eq!(is_known, bit > 1, "bit {bit}");
    }
}

#[test]
fn packed_numbers_are_taken_apart() {
    let mut answer = without(ata(), "/temperature");
    let packed = |id: u8, value: u64, string: &str| {
        json!({"id": id, "value": 76, "thresh": 0, "when_failed": "",
            "raw": {"value": value, "string": string}})
    };
    let rows = [
        packed(194, 133_145_034_776, "24 (Min/Max 16/31)"),
        packed(188, 0x0002_0003_0007, "2 3 7"),
        packed(5, 0x0010_0000_0008, "8 (0 16)"),
        packed(197, 0x0010_0000_0008, "0x1000000008"),
        packed(198, 0x0010_0000_0008, "16/8"),
    ];
    answer["ata_smart_attributes"]["table"] = json!(rows);
    let drive = read(&answer);
    assert_eq!(drive.temperatures.current, Some(24));
    assert_eq!(drive.attribute(188).and_then(super::Attribute::words), Some([7, 3, 2]));
    assert_eq!(drive.attribute(5).and_then(super::Attribute::count), Some(8));
    assert_eq!(drive.attribute(197).and_then(super::Attribute::count), None, "nobody knows");
    assert_eq!(drive.attribute(198).and_then(super::Attribute::count), Some(16));
    let ids: Vec<u8> = drive.attributes.iter().map(|attribute| attribute.id).collect();
    assert_eq!(ids, [5, 188, 194, 197, 198]);
}

#[test]
fn counters_of_128_bits_are_read_from_any_of_their_three_forms() {
    let log = "/nvme_smart_health_information_log";
    let written = |extra: Value| {
        let mut answer = without(nvme(), &format!("{log}/data_units_written"));
        let object = answer.pointer_mut(log).and_then(Value::as_object_mut).expect("the log");
        object.extend(extra.as_object().cloned().expect("an object"));
        read(&answer).nvme.expect("the log").data_units_written
    };
    const BIG: u128 = u64::MAX as u128 * 3;
    let bytes = BIG.to_le_bytes();
    assert_eq!(written(json!({"data_units_written": 7})), Some(7));
    assert_eq!(written(json!({"data_units_written_s": BIG.to_string()})), Some(BIG));
    assert_eq!(written(json!({"data_units_written_le": bytes})), Some(BIG));
    let all = json!({"data_units_written": 5.5e19, "data_units_written_s": BIG.to_string()});
    assert_eq!(written(all), Some(BIG));
    let broken = json!({"data_units_written": 7, "data_units_written_s": "x"});
    assert_eq!(written(broken), Some(7));
    assert_eq!(written(json!({"data_units_written_le": vec![0; 17]})), None);
    assert_eq!(written(json!({"data_units_written": -1})), None);
}

#[test]
fn a_sas_disk_is_read() {
    let drive = read(&scsi());
    assert_eq!(drive.class, DriveClass::Scsi);
    assert_eq!(drive.identity.model.as_deref(), Some("HGST HUH721212AL5200"));
    let counters = drive.scsi.expect("its counters");
    assert_eq!((counters.grown_defects, counters.uncorrected), (Some(0), Some(0)));
    assert_eq!((drive.temperatures.current, drive.temperatures.warning), (Some(33), Some(85)));
    assert_eq!((drive.power_on_hours, drive.power_cycles), (Some(20_000), Some(21)));
    assert_eq!(drive.self_tests.log.results.len(), 2);
    let without_sensor = with(scsi(), "/temperature/current", json!(0));
    assert_eq!(read(&without_sensor).temperatures.current, None);
}

#[test]
fn the_progress_of_a_self_test_is_told_for_each_kind_of_disk() {
    let value = "/ata_smart_data/self_test/status/value";
    assert_eq!(read(&with(ata(), value, json!(0xf9))).self_tests.running, Some(Some(90)));
    let status = "/ata_smart_data/self_test/status";
    let told = with(ata(), status, json!({"value": 0xf3, "remaining_percent": 30}));
    assert_eq!(read(&told).self_tests.running, Some(Some(30)));
    let log = json!({"current_self_test_operation": {"value": 2},
        "current_self_test_completion_percent": 35});
    let told = with(nvme(), "/nvme_self_test_log", log);
    assert_eq!(read(&told).self_tests.running, Some(Some(65)));
    let told = with(scsi(), "/scsi_self_test_0", scsi_test(2, 15, 0));
    let tests = read(&told).self_tests;
    assert_eq!((tests.running, tests.log.results.len()), (Some(None), 1));
    for answer in [ata(), nvme(), scsi()] {
        assert_eq!(read(&answer).self_tests.running, None);
    }
}

#[test]
fn attributes_at_their_threshold_have_failed_whatever_smartctl_says_of_it() {
    let row = "/ata_smart_attributes/table/0";
    let failed =
        |row: Value| read(&with(ata(), "/ata_smart_attributes/table/0", row)).attributes[0].failed;
    let base = ata().pointer(row).cloned().expect("a row");
    let when = |word: &str| failed(with(base.clone(), "/when_failed", json!(word)));
    assert_eq!(when(""), None);
    assert_eq!(when("now"), Some(Failed::Now));
    assert_eq!(when("past"), Some(Failed::Past));
    assert_eq!(failed(with(base.clone(), "/value", json!(10))), Some(Failed::Now));
    let never = with(with(base, "/value", json!(0)), "/thresh", json!(0));
    assert_eq!(failed(never), None, "a threshold of 0 never fails");
}

#[test]
fn what_icn_disks_answers_becomes_a_reading() {
    let of = |answer| DriveReading::of(&Ok(answer));
    let (text, complaint) = (ata().to_string(), String::new());
    let output = Answer::Output { status: 0, text, complaint };
    assert!(matches!(of(output), DriveReading::Known(_)));
    let absent = Answer::Absent { what: "SMART".to_owned() };
    assert!(matches!(of(absent), DriveReading::Cannot { .. }));
    let failed = Answer::Failed { reason: "hung".to_owned() };
    assert_eq!(of(failed), DriveReading::Unknown { reason: "hung".to_owned() });
    let died =
        Answer::Output { status: 1, text: String::new(), complaint: "no library".to_owned() };
    let DriveReading::Unknown { reason } = of(died) else { panic!("not unknown") };
    assert!(reason.ends_with("; no library"), "{reason}");
    assert!(matches!(of(Answer::Done), DriveReading::Unknown { .. }));
    let silent = DriveReading::of(&Err(AskError::HungUp));
    assert!(matches!(silent, DriveReading::Unknown { .. }));
    let (socket, source) = ("/run/x".into(), std::io::ErrorKind::NotFound.into());
    let unreachable = DriveReading::of(&Err(AskError::Connect { socket, source }));
    let expected = "cannot connect to /run/x; does icn-disks run?: entity not found";
    assert_eq!(unreachable, DriveReading::Unknown { reason: expected.to_owned() });
}

#[test]
fn a_reading_has_samples_with_base_units_and_leaves_out_what_is_not_known() {
    let samples = decode(0, &nvme().to_string()).samples(&DiskId("eui.1".to_owned()));
    let of = |name: &str| samples.iter().find(|sample| sample.name == name).map(|s| s.value);
    assert_eq!(of("disk_temperature_celsius"), Some(41.0));
    assert_eq!(of("disk_temperature_limit_celsius"), Some(80.0));
    assert_eq!(of("disk_power_on_seconds"), Some(8000.0 * 3600.0));
    assert_eq!(of("disk_wear_ratio"), Some(0.03));
    assert_eq!(of("disk_written_bytes"), Some(2000.0 * 512_000.0));
    assert_eq!(of("disk_media_errors"), Some(0.0));
    assert_eq!(of("disk_reallocated_sectors"), None);
    assert!(samples.iter().all(|sample| sample.labels == [("disk", "eui.1".to_owned())]));
    let hours = samples.iter().find(|sample| sample.name == "disk_power_on_seconds");
    assert_eq!(hours.map(|sample| sample.kind), Some(SampleKind::Counter));
    let unknown = DriveReading::Unknown { reason: String::new() };
    assert!(unknown.samples(&DiskId("x".to_owned())).is_empty());
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_crash_and_is_not_healthy(status in any::<i32>(), text in ".{0,300}") {
        prop_assert_ne!(judged(&decode(status, &text)), Health::Healthy);
    }

    #[test]
    fn an_answer_that_is_cut_off_is_unknown(
        which in 0usize..3,
        cut in any::<prop::sample::Index>(),
    ) {
        let text = [ata(), nvme(), scsi()][which].to_string();
        let reading = decode(0, &text[..cut.index(text.len())]);
        let is_unknown = matches!(reading, DriveReading::Unknown { .. });
        prop_assert!(is_unknown, "{:?}", reading);
    }

    #[test]
    fn a_spoiled_answer_is_read_as_far_as_it_goes(
        which in 0usize..3,
        faults in prop::collection::vec(fault(), 1..20),
    ) {
        let answer = faults.iter().fold([ata(), nvme(), scsi()][which].clone(), spoil);
        let reading = decode(0, &answer.to_string());
        let is_unknown = matches!(reading, DriveReading::Unknown { .. });
        let exit = answer.pointer("/smartctl/exit_status").and_then(Value::as_i64);
        prop_assert!(!is_unknown || exit.is_some_and(|exit| exit & 3 != 0), "{:?}", reading);
        for sample in reading.samples(&DiskId("x".to_owned())) {
            prop_assert!(sample.value.is_finite(), "{:?}", sample);
        }
    }
}
