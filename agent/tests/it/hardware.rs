//! The health of hardware: from files of the kernel and answers of icn-disks to the control socket, the
//! status, the metrics and `icn-agent health`.

use std::process::{Command, Output};

use agent_api::client::RequestError;
use agent_api::disks::DiskClass;
use agent_api::hardware::{HealthReport, PointValue};
use agent_api::health::{Health, Kind};
use agent_api::pool::PoolVolumeState;
use agent_api::status::{Severity, StateWord};
use disk_manager_plan::hardware::{Answer, Request};

use crate::fakes::Rig;
use crate::node::ready;
use crate::process::eventually;

const NVME_CRITICAL: &str =
    include_str!("../../health/fixtures/smartctl/nvme-critical-warning.json");
const NVME: &str = include_str!("../../health/fixtures/smartctl/nvme.json");

fn health(rig: &Rig, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_icn-agent"))
        .arg("health")
        .args(arguments)
        .arg("--control-socket")
        .arg(rig.path().join("agent.sock"))
        .output()
        .expect("the command runs")
}

/// The report, once it satisfies `wanted`.
fn report(rig: &Rig, what: &str, wanted: impl Fn(&HealthReport) -> bool) -> HealthReport {
    eventually(what, || rig.client().health().ok().filter(&wanted))
}

fn health_of(report: &HealthReport, kind: Kind, name: &str) -> Option<Health> {
    let is = |one: &&agent_api::hardware::Component| {
        one.verdict.kind == kind && one.verdict.name == name
    };
    report.components.iter().find(is).map(|one| one.verdict.health)
}

fn smart(text: &str, status: i32) -> Answer {
    Answer::Output { status, text: text.to_owned(), complaint: String::new() }
}

#[test]
fn a_module_that_fails_is_told_everywhere_and_its_history_is_kept() {
    let rig = Rig::new("");
    rig.hardware_answers(|request| match request {
        Request::Smart { .. } => smart(NVME, 0),
        Request::KernelLog { .. } => Answer::KernelLog { messages: Vec::new(), lost: 0 },
        _ => Answer::Absent { what: "a management controller".to_owned() },
    });
    let module = "sys/devices/system/edac/mc/mc0/dimm0";
    for (file, text) in [("dimm_label", "DIMM_A1"), ("dimm_ce_count", "0"), ("dimm_ue_count", "3")]
    {
        rig.kernel_tells(&format!("{module}/{file}"), text);
    }
    rig.kernel_tells("sys/class/hwmon/hwmon0/name", "coretemp");
    rig.kernel_tells("sys/class/hwmon/hwmon0/temp1_input", "45500");
    rig.report(vec![rig.mounted("a"), rig.mounted("b")], &[]);
    let mut agent = rig.start();
    let status = rig.status("the failing module", |status| {
        status.problems.iter().any(|problem| problem.about == "memory")
            && status.state.word == StateWord::Degraded
    });
    let problem = status.problems.iter().find(|problem| problem.about == "memory");
    let problem = problem.expect("just seen");
    assert_eq!(problem.severity, Severity::Error);
    assert!(problem.text.contains("3 uncorrectable memory errors on DIMM_A1"), "{problem:?}");

    let seen = report(&rig, "the disks", |report| {
        health_of(report, Kind::Disk, "wwn-a").is_some_and(|health| health != Health::Unknown)
            && report.history_awaited.is_none()
    });
    assert_eq!(health_of(&seen, Kind::Memory, "DIMM_A1"), Some(Health::Failing));
    assert_eq!(health_of(&seen, Kind::Sensor, "coretemp temp1"), Some(Health::Healthy));
    assert_eq!(seen.components[0].verdict.health, Health::Failing, "the gravest first");
    assert!(seen.drains);

    let output = health(&rig, &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let words = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(words.starts_with("failing  memory DIMM_A1 (read "), "{words}");
    let output = health(&rig, &["--json"]);
    let json: HealthReport = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(health_of(&json, Kind::Memory, "DIMM_A1"), Some(Health::Failing));

    let series = "memory_uncorrected_errors{module=\"DIMM_A1\"}";
    let stretch = rig.client().health_history(series, (0, u64::MAX / 2), 0).expect("a history");
    let last = stretch.points.last().map(|point| point.value);
    assert_eq!(
        last,
        Some(PointValue::Counter { last: 3.0 }),
        "also what was read before the volume came"
    );
    let refused = rig.client().health_history("no such series", (0, u64::MAX), 0);
    assert!(matches!(refused, Err(RequestError::Refused { .. })), "{refused:?}");
    let url = format!("http://127.0.0.1:{}/metrics", rig.metrics_port);
    let text = ureq::get(&url).call().expect("readings").body_mut().read_to_string().expect("text");
    for line in [
        "icn_component_health{kind=\"memory\",name=\"DIMM_A1\",health=\"failing\"} 1",
        "icn_memory_uncorrected_errors_total{module=\"DIMM_A1\"} 3.0",
        "icn_sensor_temperature_celsius{chip=\"coretemp\",sensor=\"temp1\"} 45.5",
    ] {
        assert!(text.lines().any(|is| is == line), "{line}\n{text}");
    }
    agent.signal("TERM");
    assert!(agent.ended().success());
    let kept = ["a", "b"].map(|name| rig.path().join("data").join(name).join("health/history/db"));
    assert_eq!(kept.iter().filter(|path| path.exists()).count(), 1);
}

#[test]
fn the_history_of_a_reading_is_there_after_a_restart() {
    let rig = Rig::new("");
    rig.kernel_tells("proc/uptime", "100.00 50.00");
    rig.report(vec![rig.mounted("a")], &[]);
    let mut agent = rig.start();
    rig.status("the disk in use", ready);
    report(&rig, "a history", |report| report.history_awaited.is_none());
    let series = || rig.client().health_series().unwrap_or_default();
    let name = eventually("a series", || {
        series().into_iter().map(|one| one.name).find(|name| name == "clock_synchronised")
    });
    agent.signal("TERM");
    assert!(agent.ended().success());
    let _agent = rig.start();
    let stretch = eventually("what was kept", || {
        rig.client().health_history(&name, (0, u64::MAX / 2), 60_000).ok()
    });
    assert!(!stretch.points.is_empty());
    for point in &stretch.points {
        let PointValue::Gauge { min, mean, max } = point.value else { panic!("{point:?}") };
        assert!((0.0..=1.0).contains(&min) && min <= mean && mean <= max, "{point:?}");
    }
    let output = health(&rig, &["history", &name]);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("every "), "{output:?}");
    let output = health(&rig, &["series"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("gauge   clock_synchronised\n"));
}

#[test]
fn without_icn_disks_what_it_would_tell_is_unknown_and_the_node_serves() {
    let rig = Rig::new("");
    rig.report(vec![rig.mounted("a")], &[]);
    let _agent = rig.start();
    rig.status("the disk in use", ready);
    let seen = report(&rig, "the disk", |report| {
        health_of(report, Kind::Disk, "wwn-a").is_some()
            && health_of(report, Kind::Kernel, "kernel").is_some()
    });
    assert_eq!(health_of(&seen, Kind::Disk, "wwn-a"), Some(Health::Unknown));
    assert_eq!(health_of(&seen, Kind::Kernel, "kernel"), Some(Health::Unknown));
    rig.status("still ready", ready);
}

/// Takes a minute and a half: a disk has to fail twice, at least a minute apart.
#[test]
fn a_disk_that_keeps_failing_is_emptied_by_itself_and_no_other() {
    let rig = Rig::new("");
    rig.hardware_answers(|request| match request {
        Request::Smart { disk } if disk.0 == "wwn-a" => smart(NVME_CRITICAL, 8),
        Request::Smart { .. } => smart(NVME, 0),
        Request::KernelLog { .. } => Answer::KernelLog { messages: Vec::new(), lost: 0 },
        _ => Answer::Absent { what: "a management controller".to_owned() },
    });
    let disks = ["a", "b", "c"].map(|name| {
        let mut disk = rig.mounted(name);
        disk.class = DiskClass::Nvme;
        disk
    });
    rig.report(disks.to_vec(), &[]);
    let agent = rig.start();
    let seen = report(&rig, "the failing disk", |report| {
        health_of(report, Kind::Disk, "wwn-a") == Some(Health::Failing)
    });
    assert!(seen.components[0].verdict.evidence.iter().any(|text| text.contains("critical")));
    let state = |name: &str| {
        let volumes = rig.client().pool().ok()?.volumes;
        volumes.into_iter().find(|volume| volume.id == name).map(|volume| volume.state)
    };
    // Once is not enough.
    eventually("the failing disk in use", || {
        state("a").filter(|state| *state == PoolVolumeState::InUse)
    });
    eventually("the retired disk", || {
        state("a").filter(|state| *state == PoolVolumeState::Retired)
    });
    assert!(agent.log().contains("the volume's disk fails"), "it is told in the log");
    for name in ["b", "c"] {
        assert_eq!(state(name), Some(PoolVolumeState::InUse));
    }
}

#[test]
fn a_locate_led_is_switched_through_icn_disks_and_a_slot_without_one_is_told() {
    let rig = Rig::new("");
    rig.hardware_answers(|request| match request {
        Request::Locate { disk, on: true } if disk.0 == "wwn-1" => Answer::Done,
        Request::Locate { .. } => Answer::Absent { what: "an enclosure".to_owned() },
        _ => Answer::Absent { what: "a management controller".to_owned() },
    });
    let _agent = rig.start();
    eventually("an answer", || rig.client().status().ok());
    rig.client().locate("wwn-1", true).expect("lit");
    let refused = rig.client().locate("wwn-2", true).expect_err("no slot");
    let RequestError::Refused { reason } = refused else { panic!("{refused}") };
    assert_eq!(reason, "this machine does not have an enclosure");
}
