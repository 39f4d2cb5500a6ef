//! Answers in the schema of smartctl 7.4, of disks that are well, and what may go wrong with them.

use proptest::prelude::*;
use serde_json::{Value, json};

/// An attribute's row.
pub(super) fn row(id: u8, raw: u64) -> Value {
    json!({
        "id": id, "name": format!("Attribute_{id}"), "value": 100, "worst": 100, "thresh": 10,
        "when_failed": "", "flags": {"value": 51, "string": "PO--CK ", "prefailure": true},
        "raw": {"value": raw, "string": raw.to_string()},
    })
}

/// An entry of ATA's log of self-tests.
pub(super) fn ata_test(kind: u64, status: u64, hours: u64) -> Value {
    json!({
        "type": {"value": kind, "string": "offline"},
        "status": {"value": status, "string": "status", "passed": status >> 4 == 0},
        "lifetime_hours": hours,
    })
}

/// A rotating SATA disk without a fault.
pub(super) fn ata() -> Value {
    let rows: Vec<Value> = [1, 5, 9, 10, 187, 188, 197, 198, 199].map(|id| row(id, 0)).into();
    json!({
        "json_format_version": [1, 0],
        "smartctl": {"version": [7, 4], "exit_status": 0},
        "device": {"name": "/dev/sda", "type": "sat", "protocol": "ATA"},
        "model_name": "ST20000NM007D", "serial_number": "ZVT0A1B2", "firmware_version": "SN03",
        "user_capacity": {"blocks": 39_063_650_304_u64, "bytes": 20_000_588_955_648_u64},
        "rotation_rate": 7200,
        "smart_support": {"available": true, "enabled": true},
        "smart_status": {"passed": true},
        "ata_smart_data": {
            "self_test": {"status": {"value": 0, "string": "completed", "passed": true}},
            "capabilities": {"self_tests_supported": true},
        },
        "ata_smart_attributes": {"revision": 10, "table": rows},
        "power_on_time": {"hours": 12_345}, "power_cycle_count": 17,
        "temperature": {"current": 35, "op_limit_max": 60},
        "ata_smart_error_log": {"extended": {"revision": 1, "count": 2}},
        "ata_smart_self_test_log": {
            "extended": {"count": 2, "table": [ata_test(1, 0, 12_300), ata_test(2, 0, 12_000)]},
        },
    })
}

/// An NVMe disk without a fault.
pub(super) fn nvme() -> Value {
    json!({
        "smartctl": {"version": [7, 4], "exit_status": 0},
        "device": {"name": "/dev/nvme0n1", "type": "nvme", "protocol": "NVMe"},
        "model_name": "SAMSUNG MZQL23T8HCLS", "serial_number": "S64HNE0R", "firmware_version": "GDC5",
        "user_capacity": {"bytes": 3_840_755_982_336_u64},
        "smart_status": {"passed": true, "nvme": {"value": 0}},
        "nvme_smart_health_information_log": {
            "critical_warning": 0, "temperature": 41, "available_spare": 100,
            "available_spare_threshold": 10, "percentage_used": 3, "data_units_read": 1000,
            "data_units_written": 2000, "power_cycles": 9, "power_on_hours": 8000,
            "unsafe_shutdowns": 4, "media_errors": 0, "num_err_log_entries": 0,
        },
        "nvme_composite_temperature_threshold": {"warning": 80, "critical": 85},
        "temperature": {"current": 41},
        "power_on_time": {"hours": 8000}, "power_cycle_count": 9,
        "nvme_self_test_log": {
            "current_self_test_operation": {"value": 0, "string": "No self-test in progress"},
            "table": [nvme_test(1, 0, 7900), nvme_test(2, 0, 7500)],
        },
    })
}

/// An entry of NVMe's log of self-tests.
pub(super) fn nvme_test(code: u64, result: u64, hours: u64) -> Value {
    json!({
        "self_test_code": {"value": code, "string": "code"},
        "self_test_result": {"value": result, "string": "result"},
        "power_on_hours": hours,
    })
}

/// A SAS disk without a fault.
pub(super) fn scsi() -> Value {
    let counters = json!({"total_errors_corrected": 7, "total_uncorrected_errors": 0});
    json!({
        "smartctl": {"version": [7, 4], "exit_status": 0},
        "device": {"name": "/dev/sdb", "type": "scsi", "protocol": "SCSI"},
        "scsi_model_name": "HGST HUH721212AL5200", "scsi_revision": "A38K", "serial_number": "8HJ",
        "user_capacity": {"bytes": 12_000_138_625_024_u64}, "rotation_rate": 7200,
        "smart_support": {"available": true, "enabled": true},
        "smart_status": {"passed": true},
        "temperature": {"current": 33, "drive_trip": 85},
        "power_on_time": {"hours": 20_000, "minutes": 5},
        "scsi_start_stop_cycle_counter": {"accumulated_start_stop_cycles": 21},
        "scsi_grown_defect_list": 0,
        "scsi_error_counter_log": {"read": counters, "write": counters, "verify": counters},
        "scsi_self_test_0": scsi_test(1, 0, 19_900),
        "scsi_self_test_1": scsi_test(2, 0, 19_500),
    })
}

/// An entry of SCSI's log of self-tests.
pub(super) fn scsi_test(code: u64, result: u64, hours: u64) -> Value {
    json!({
        "code": {"value": code, "string": "code"},
        "result": {"value": result, "string": "result"},
        "power_on_time": {"hours": hours},
    })
}

/// The answer with something else at a place that it has.
pub(super) fn with(mut answer: Value, pointer: &str, value: Value) -> Value {
    let place = answer.pointer_mut(pointer);
    *place.unwrap_or_else(|| panic!("no {pointer}")) = value;
    answer
}

/// The answer with an attribute of that count.
pub(super) fn with_count(answer: Value, id: u8, raw: u64) -> Value {
    with(answer, &pointer_of(id), row(id, raw))
}

/// Where [`ata`] has an attribute.
pub(super) fn pointer_of(id: u8) -> String {
    let ids = [1, 5, 9, 10, 187, 188, 197, 198, 199];
    let index = ids.iter().position(|of| *of == id).expect("one of the attributes");
    format!("/ata_smart_attributes/table/{index}")
}

/// The answer without something that it has.
pub(super) fn without(mut answer: Value, pointer: &str) -> Value {
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let parent = answer.pointer_mut(parent).unwrap_or_else(|| panic!("no {pointer}"));
    match parent {
        Value::Object(object) => drop(object.remove(key)),
        Value::Array(array) => drop(array.remove(key.parse().expect("an index"))),
        _ => panic!("nothing is in {pointer}"),
    }
    answer
}

/// A disk, a place of it, and what stands there when it fails.
pub(super) fn signs() -> Vec<(Value, String, Value)> {
    let mut signs: Vec<(Value, String, Value)> = Vec::new();
    let mut add = |answer: fn() -> Value, pointer: &str, value: Value| {
        signs.push((answer(), pointer.to_owned(), value));
    };
    for answer in [ata, nvme, scsi] {
        add(answer, "/smart_status/passed", json!(false));
        add(answer, "/smartctl/exit_status", json!(8));
        add(answer, "/temperature/current", json!(99));
    }
    add(ata, "/smartctl/exit_status", json!(16));
    add(ata, "/smartctl/exit_status", json!(128));
    let counts =
        [(5, 17), (10, 1), (187, 1), (188, 101), (188, 4 << 32), (197, 1), (198, 1), (199, 2)];
    for (id, raw) in counts {
        add(ata, &pointer_of(id), row(id, raw));
    }
    let failed = with(row(1, 0), "/when_failed", json!("now"));
    add(ata, &pointer_of(1), failed);
    let below = without(with(row(1, 0), "/value", json!(10)), "/when_failed");
    add(ata, &pointer_of(1), below);
    let log = "/ata_smart_self_test_log/extended/table/0";
    add(ata, log, ata_test(1, 0x70, 12_300));
    let log = "/nvme_smart_health_information_log";
    for warning in [1, 2, 4, 8, 16, 32, 64, 255] {
        add(nvme, &format!("{log}/critical_warning"), json!(warning));
    }
    add(nvme, &format!("{log}/available_spare"), json!(9));
    add(nvme, &format!("{log}/percentage_used"), json!(100));
    add(nvme, &format!("{log}/media_errors"), json!(1));
    add(nvme, "/nvme_self_test_log/table/0", nvme_test(2, 7, 7900));
    add(scsi, "/scsi_grown_defect_list", json!(17));
    add(scsi, "/scsi_error_counter_log/read/total_uncorrected_errors", json!(1));
    add(scsi, "/scsi_self_test_0", scsi_test(1, 7, 19_900));
    signs
}

/// A disk, and a place of it without which nobody can say that it is well.
pub(super) fn needed() -> Vec<(Value, String)> {
    let mut needed: Vec<(Value, String)> = Vec::new();
    let mut add =
        |answer: fn() -> Value, pointer: &str| needed.push((answer(), pointer.to_owned()));
    for answer in [ata, nvme, scsi] {
        for pointer in ["/smart_status", "/smart_status/passed", "/device", "/device/protocol"] {
            add(answer, pointer);
        }
    }
    add(ata, "/ata_smart_attributes");
    add(ata, "/ata_smart_attributes/table");
    for id in [5, 197] {
        add(ata, &pointer_of(id));
    }
    for id in [5, 10, 187, 188, 197, 198, 199] {
        add(ata, &format!("{}/raw", pointer_of(id)));
        add(ata, &format!("{}/id", pointer_of(id)));
    }
    let log = "/nvme_smart_health_information_log";
    add(nvme, log);
    for key in [
        "critical_warning",
        "available_spare",
        "available_spare_threshold",
        "percentage_used",
        "media_errors",
    ] {
        add(nvme, &format!("{log}/{key}"));
    }
    needed
}

/// Something that goes wrong with an answer: at one of its places, chosen by the number, there is nothing,
/// or something else.
pub(super) type Fault = (prop::sample::Index, Option<Value>);

/// A fault.
pub(super) fn fault() -> impl Strategy<Value = Fault> {
    let other = prop_oneof![
        Just(Value::Null),
        Just(json!(true)),
        Just(json!("x")),
        Just(json!(" ")),
        Just(json!([])),
        Just(json!([[1], {}])),
        Just(json!({})),
        Just(json!({"value": "x", "table": 7})),
        Just(json!(-1)),
        Just(json!(1)),
        Just(json!(u64::MAX)),
        Just(json!(i64::MIN)),
        Just(json!(1e300)),
        Just(json!(0.5)),
        Just(json!("9".repeat(200))),
    ];
    (any::<prop::sample::Index>(), prop::option::of(other))
}

/// Does it.
pub(super) fn spoil(answer: Value, (index, other): &Fault) -> Value {
    let mut places = Vec::new();
    list_places(&answer, String::new(), &mut places);
    let Some(place) = (!places.is_empty()).then(|| index.get(&places)) else { return answer };
    match other {
        Some(other) => with(answer, place, other.clone()),
        None => without(answer, place),
    }
}

fn list_places(value: &Value, at: String, places: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(object) => object.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(array) => {
            array.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    for (key, child) in children {
        let at = format!("{at}/{key}");
        places.push(at.clone());
        list_places(child, at, places);
    }
}
