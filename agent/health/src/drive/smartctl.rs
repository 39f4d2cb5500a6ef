//! `smartctl --json=c -x` of smartmontools 7.4 and what is near it.

use disk_manager_plan::hardware::SelfTest;
use serde_json::Value;

use super::json::{celsius, count, flag, is_no_list, list, narrow, text, wide};
use super::reading::{
    Attribute, Drive, DriveClass, DriveReading, Failed, Identity, Log, NvmeLog, ScsiCounters,
    SelfTestResult, SelfTests, Temperatures, TestEnd,
};

/// Bits of the exit status that mean that there is no data: the command line was not understood, or the
/// device could not be opened or sleeps (smartctl(8)).
const NO_DATA: i32 = 0b11;

/// Numbers of attributes are bytes.
const MOST_ATTRIBUTES: usize = 255;

/// More than any log keeps: ATA's extended one has 19 entries a sector, NVMe's and SCSI's 20 in all.
const MOST_TESTS: usize = 64;

/// Reads what smartctl printed before it ended with `status`. The part of it that is missing or is
/// something else than it should be is missing in the reading.
#[must_use]
pub fn decode(status: i32, printed: &str) -> DriveReading {
    let unknown = |reason: String| DriveReading::Unknown { reason };
    let answer: Value = match serde_json::from_str(printed) {
        Ok(answer) => answer,
        Err(error) => return unknown(format!("cannot read smartctl's answer: {error}")),
    };
    let said_status = answer.pointer("/smartctl/exit_status").and_then(Value::as_i64);
    let said_status = said_status.and_then(|status| i32::try_from(status).ok()).unwrap_or(0);
    let exit = status | said_status;
    if exit & NO_DATA != 0 {
        let said = messages(&answer);
        let asleep = ["STANDBY", "SLEEP"].iter().any(|word| said.contains(word));
        return if asleep {
            DriveReading::Asleep
        } else {
            unknown(format!("smartctl ended with exit status {exit}: {said}"))
        };
    }
    let drive = drive(&answer, exit);
    if has_nothing(&drive) && flag(&answer, "/smart_support/available") == Some(false) {
        return DriveReading::Cannot { reason: "the disk says that it has no SMART".to_owned() };
    }
    DriveReading::Known(Box::new(drive))
}

/// Whether a disk that says that it has no SMART indeed says nothing.
fn has_nothing(drive: &Drive) -> bool {
    drive.passed.is_none()
        && drive.attributes.is_empty()
        && drive.unread_attributes == 0
        && drive.nvme.is_none()
        && drive.scsi.is_none()
        && drive.self_tests.log.results.is_empty()
        && drive.exit & !0b111 == 0
}

fn messages(answer: &Value) -> String {
    let strings = list(answer, "/smartctl/messages").filter_map(|message| text(message, "/string"));
    let said = strings.take(4).collect::<Vec<_>>().join("; ");
    if said.is_empty() { "it said nothing".to_owned() } else { said }
}

fn drive(answer: &Value, exit: i32) -> Drive {
    let class = match text(answer, "/device/protocol").as_deref() {
        Some("ATA") => DriveClass::Ata,
        Some("NVMe") => DriveClass::Nvme,
        Some("SCSI") => DriveClass::Scsi,
        _ => DriveClass::Other,
    };
    let (attributes, unread_attributes) = attributes(answer);
    let nvme = answer.get("nvme_smart_health_information_log").map(nvme_log);
    let hours = || wide(answer.get("nvme_smart_health_information_log")?, "power_on_hours");
    let cycles = || wide(answer.get("nvme_smart_health_information_log")?, "power_cycles");
    let short = |wide: u128| u64::try_from(wide).ok();
    let model = text(answer, "/model_name").or_else(|| text(answer, "/scsi_model_name"));
    let mut drive = Drive {
        identity: Identity {
            model,
            serial: text(answer, "/serial_number"),
            firmware: text(answer, "/firmware_version").or_else(|| text(answer, "/scsi_revision")),
            capacity_bytes: count(answer, "/user_capacity/bytes"),
            rotation_rate: count(answer, "/rotation_rate"),
        },
        class,
        exit,
        passed: flag(answer, "/smart_status/passed"),
        verdict: text(answer, "/smart_status/scsi/ie_string"),
        temperatures: Temperatures::default(),
        power_on_hours: count(answer, "/power_on_time/hours").or_else(|| short(hours()?)),
        power_cycles: count(answer, "/power_cycle_count")
            .or_else(|| {
                count(answer, "/scsi_start_stop_cycle_counter/accumulated_start_stop_cycles")
            })
            .or_else(|| short(cycles()?)),
        wear_percent: wear(answer),
        attributes,
        unread_attributes,
        nvme,
        scsi: scsi(answer),
        self_tests: self_tests(answer),
        logged_errors: count(answer, "/ata_smart_error_log/extended/count")
            .or_else(|| count(answer, "/ata_smart_error_log/summary/count"))
            .or_else(|| {
                let log = answer.get("nvme_smart_health_information_log")?;
                short(wide(log, "num_err_log_entries")?)
            }),
    };
    drive.temperatures = temperatures(answer, &drive);
    drive
}

fn wear(answer: &Value) -> Option<u64> {
    const STATISTIC: &str = "Percentage Used Endurance Indicator";
    let statistic = || {
        let pages = list(answer, "/ata_device_statistics/pages");
        let mut rows = pages.flat_map(|page| list(page, "/table"));
        let row = rows.find(|row| row.get("name").and_then(Value::as_str) == Some(STATISTIC))?;
        count(row, "/value")
    };
    count(answer, "/nvme_smart_health_information_log/percentage_used")
        .or_else(|| count(answer, "/endurance_used/current_percent"))
        .or_else(|| count(answer, "/scsi_percentage_used_endurance_indicator"))
        .or_else(statistic)
}

fn temperatures(answer: &Value, drive: &Drive) -> Temperatures {
    // The lowest byte is the temperature, the others are its bounds or nothing.
    let packed = |id| i16::try_from(drive.attribute(id)?.raw? & 0xff).ok();
    // A SCSI disk without a sensor says 0.
    let is_real = |celsius: &i16| drive.class != DriveClass::Scsi || *celsius != 0;
    let current = celsius(answer, "/temperature/current")
        .or_else(|| celsius(answer, "/nvme_smart_health_information_log/temperature"))
        .filter(is_real)
        .or_else(|| packed(194))
        .or_else(|| packed(190));
    let pointers = [
        "/nvme_composite_temperature_threshold/warning",
        "/temperature/op_limit_max",
        "/temperature/drive_trip",
    ];
    // No disk warns of a room's temperature, and none stands more than this.
    let is_limit = |celsius: &i16| (40..=120).contains(celsius);
    let warning = pointers.iter().find_map(|pointer| celsius(answer, pointer).filter(is_limit));
    Temperatures { current, warning }
}

fn attributes(answer: &Value) -> (Vec<Attribute>, usize) {
    const TABLE: &str = "/ata_smart_attributes/table";
    let mut found: Vec<Attribute> = Vec::new();
    let mut unread = usize::from(is_no_list(answer, TABLE));
    for row in list(answer, TABLE) {
        let id = narrow(row, "/id").filter(|id| *id != 0);
        let is_new = |id: u8| found.iter().all(|attribute| attribute.id != id);
        match id.filter(|id| is_new(*id)) {
            Some(id) if found.len() < MOST_ATTRIBUTES => found.push(attribute(row, id)),
            _ => unread += 1,
        }
    }
    found.sort_by_key(|attribute| attribute.id);
    (found, unread)
}

fn attribute(row: &Value, id: u8) -> Attribute {
    let value: Option<u8> = narrow(row, "/value");
    let threshold: Option<u8> = narrow(row, "/thresh");
    let is_below =
        matches!((value, threshold), (Some(value), Some(1..)) if Some(value) <= threshold);
    let said = row.get("when_failed").and_then(Value::as_str);
    let failed = match said {
        Some("now") => Some(Failed::Now),
        _ if is_below => Some(Failed::Now),
        Some("") | None => None,
        Some(_) => Some(Failed::Past),
    };
    Attribute {
        id,
        name: text(row, "/name"),
        value,
        threshold,
        is_prefailure: flag(row, "/flags/prefailure"),
        raw: count(row, "/raw/value"),
        raw_text: text(row, "/raw/string"),
        failed,
        is_judged: said.is_some() || (value.is_some() && threshold.is_some()),
    }
}

fn nvme_log(log: &Value) -> NvmeLog {
    NvmeLog {
        critical_warning: narrow(log, "/critical_warning"),
        available_spare: narrow(log, "/available_spare"),
        available_spare_threshold: narrow(log, "/available_spare_threshold"),
        data_units_read: wide(log, "data_units_read"),
        data_units_written: wide(log, "data_units_written"),
        unsafe_shutdowns: wide(log, "unsafe_shutdowns"),
        media_errors: wide(log, "media_errors"),
    }
}

fn scsi(answer: &Value) -> Option<ScsiCounters> {
    let kinds = ["read", "write", "verify"];
    let of = |kind: &&str| {
        count(answer, &format!("/scsi_error_counter_log/{kind}/total_uncorrected_errors"))
    };
    let uncorrected = kinds.iter().filter_map(of).reduce(u64::saturating_add);
    let counters = ScsiCounters {
        grown_defects: count(answer, "/scsi_grown_defect_list"),
        pending_defects: count(answer, "/scsi_pending_defects/count"),
        uncorrected,
    };
    (counters != ScsiCounters::default()).then_some(counters)
}

fn self_tests(answer: &Value) -> SelfTests {
    let ata = ["extended", "standard"]
        .map(|kind| format!("/ata_smart_self_test_log/{kind}"))
        .into_iter()
        .find_map(|pointer| answer.pointer(&pointer));
    let nvme = answer.get("nvme_self_test_log");
    let mut log = Log::default();
    if let Some(ata) = ata {
        log.is_there = true;
        log.unread += usize::from(is_no_list(ata, "/table"));
        take(&mut log, list(ata, "/table"), ata_result);
    }
    if let Some(nvme) = nvme {
        log.is_there = true;
        log.unread += usize::from(is_no_list(nvme, "/table"));
        take(&mut log, list(nvme, "/table"), nvme_result);
    }
    let scsi = (0..MOST_TESTS).map_while(|number| answer.get(format!("scsi_self_test_{number}")));
    let scsi: Vec<&Value> = scsi.collect();
    log.is_there |= !scsi.is_empty();
    take(&mut log, scsi.iter().copied(), scsi_result);
    SelfTests { supported: supported(answer, log.is_there), running: running(answer, &scsi), log }
}

fn take<'a>(
    log: &mut Log,
    entries: impl Iterator<Item = &'a Value>,
    result: impl Fn(&Value) -> Option<Option<SelfTestResult>>,
) {
    for entry in entries.take(MOST_TESTS) {
        match result(entry) {
            Some(Some(result)) => log.results.push(result),
            Some(None) => {}
            None => log.unread += 1,
        }
    }
}

fn supported(answer: &Value, has_log: bool) -> Option<bool> {
    flag(answer, "/ata_smart_data/capabilities/self_tests_supported")
        .or_else(|| flag(answer, "/nvme_optional_admin_commands/self_test"))
        .or_else(|| has_log.then_some(true))
}

/// ATA's and SCSI's 15 is "in progress"; ATA has tenths that remain beside it (ACS-4, table 139; SPC-5,
/// 7.3.13).
const IN_PROGRESS: u64 = 15;

fn running(answer: &Value, scsi: &[&Value]) -> Option<Option<u8>> {
    const ATA: &str = "/ata_smart_data/self_test/status";
    let ata = count(answer, &format!("{ATA}/value")).filter(|value| value >> 4 == IN_PROGRESS);
    if let Some(value) = ata {
        let tenths = u8::try_from((value & 15) * 10).ok();
        return Some(narrow(answer, &format!("{ATA}/remaining_percent")).or(tenths));
    }
    const NVME: &str = "/nvme_self_test_log";
    let operation = count(answer, &format!("{NVME}/current_self_test_operation/value"));
    if operation.is_some_and(|operation| operation != 0) {
        let done: Option<u8> =
            narrow(answer, &format!("{NVME}/current_self_test_completion_percent"));
        return Some(done.map(|done| 100u8.saturating_sub(done)));
    }
    let runs = |test: &&Value| count(test, "/result/value") == Some(IN_PROGRESS);
    scsi.first().is_some_and(runs).then_some(None)
}

/// The outer option is whether the entry could be read, the inner whether it is of a test that ended.
/// The upper four bits of ATA's status say how (ACS-4, table 139), the lower ones of its kind which test,
/// 128 more where the disk did nothing else meanwhile.
fn ata_result(entry: &Value) -> Option<Option<SelfTestResult>> {
    let test = match count(entry, "/type/value")? & 0x7f {
        1 => Some(SelfTest::Short),
        2 => Some(SelfTest::Long),
        _ => None,
    };
    let said = flag(entry, "/status/passed");
    let end = match count(entry, "/status/value").map(|value| value >> 4) {
        Some(IN_PROGRESS) => return Some(None),
        Some(1 | 2) => TestEnd::Aborted,
        Some(0) if said != Some(false) => TestEnd::Passed,
        None if said == Some(true) => TestEnd::Passed,
        None if said.is_none() => return None,
        _ => TestEnd::Failed,
    };
    Some(Some(SelfTestResult { test, end, at_hours: count(entry, "/lifetime_hours") }))
}

/// NVMe Base 2.0, figure 213: 5 to 7 are failures, 15 is an entry that is not used.
fn nvme_result(entry: &Value) -> Option<Option<SelfTestResult>> {
    let test = match count(entry, "/self_test_code/value") {
        Some(1) => Some(SelfTest::Short),
        Some(2) => Some(SelfTest::Long),
        _ => None,
    };
    let end = match count(entry, "/self_test_result/value")? {
        0 => TestEnd::Passed,
        5..=7 => TestEnd::Failed,
        15 => return Some(None),
        _ => TestEnd::Aborted,
    };
    Some(Some(SelfTestResult { test, end, at_hours: count(entry, "/power_on_hours") }))
}

/// SPC-5, 7.3.13: 3 to 7 are failures. Kinds 1 and 2 run in the background, 5 and 6 alone.
fn scsi_result(entry: &Value) -> Option<Option<SelfTestResult>> {
    let test = match count(entry, "/code/value") {
        Some(1 | 5) => Some(SelfTest::Short),
        Some(2 | 6) => Some(SelfTest::Long),
        _ => None,
    };
    let end = match count(entry, "/result/value")? {
        0 => TestEnd::Passed,
        3..=7 => TestEnd::Failed,
        IN_PROGRESS => return Some(None),
        _ => TestEnd::Aborted,
    };
    Some(Some(SelfTestResult { test, end, at_hours: count(entry, "/power_on_time/hours") }))
}
